"""PyTorch's own training curve of a tiny GPT-2, the reference for Trireme's numerics tests.

Regenerate the whole folder from the root of the repository (after `launch/setup --peers`), about 15 seconds:
    OMP_NUM_THREADS=1 .deps/peers/bin/python tests/numerics/reference/gpt2_reference.py
`--check` writes nothing and prints how far other threads, accumulation and fp64 move the curve. `--curve FILE` trains from the
committed weights with the PyTorch at hand and writes its fp32 curve alone: the live comparison of launch/test --peers.

Written beside this file:
    gpt2/{config.json,model.safetensors}  the initial weights as a Hugging Face folder (fp32, no dropout)
    tokens.bin                            the token stream, little-endian uint16
    gpt2_curve.json                       settings, and per step: loss, learning rate, gradient norm before clipping

The run: sample k spans tokens [k*T, k*T+T+1), T inputs and their successors; an epoch is all samples in order, its
last batch is short, the next epoch starts with sample 0. Step s of an epoch takes samples [s*G, (s+1)*G).
The loss is the mean over all tokens of the batch, AdamW decays only parameters of two or more dimensions.

A fair tolerance is 3e-6 relative, for losses and norms: other threads, accumulation 2 and fp64 stay below 4e-7,
while the mildest mistakes tried move the curve by 2e-5 (eps 1e-7, exact instead of tanh GELU), most
others by more than 1e-3.
"""

import argparse
import json
import math
import os
import struct
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel
from transformers import __version__ as transformers_version
from transformers.utils import logging

# initializer_range gives activations of GPT-2's own size at width 64 (0.02 * sqrt(768/64)): with 0.02 the curve would
# hardly tell the tanh GELU from the exact one.
MODEL = {
    "vocab_size": 256,
    "n_positions": 64,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    "initializer_range": 0.07,
}
RUN = {
    "seed": 42,
    "steps": 100,
    "sequence_length": 64,
    "global_batch": 8,
    "lr": 1e-3,
    "warmup_steps": 10,
    "min_lr_ratio": 0.1,
    "betas": [0.9, 0.95],
    "eps": 1e-8,
    "weight_decay": 0.1,
    "max_grad_norm": 1.0,
}
SAMPLES = 620  # 77 full batches and one of 4: the short batch and the wrap to epoch 1 are part of the curve


def token_stream(count, vocabulary):
    """A noisy first-order chain: mostly a fixed successor of the last token, sometimes a skewed random one.

    The generator is x -> x*6364136223846793005 + 1442695040888963407 mod 2^64 (Knuth's MMIX). Three times of four
    the next token is (5*token + 17) mod vocabulary, else the upper 32 bits u of another draw give
    (u^2 >> 32) * vocabulary >> 32, which prefers small tokens.
    """
    x, token, stream = 1, 0, []
    for _ in range(count):
        stream.append(token)
        x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
        if (x >> 62) != 0:
            token = (5 * token + 17) % vocabulary
        else:
            x = (x * 6364136223846793005 + 1442695040888963407) % 2**64
            u = x >> 32
            token = ((u * u >> 32) * vocabulary) >> 32
    return stream


def learning_rate(step):
    """Linear warm-up from lr/W at step 0, then a half cosine down towards min_lr_ratio * lr."""
    warmup, floor = RUN["warmup_steps"], RUN["min_lr_ratio"]
    if step < warmup:
        return RUN["lr"] * (step + 1) / warmup
    progress = (step - warmup) / (RUN["steps"] - warmup)
    return RUN["lr"] * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress)))


def build_initial():
    torch.manual_seed(RUN["seed"])
    config = GPT2Config(
        **MODEL,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
    )
    return GPT2LMHeadModel(config)


def batches(stream):
    """Yields [samples, T+1] tensors of consecutive samples for ever, epoch after epoch."""
    length, batch = RUN["sequence_length"], RUN["global_batch"]
    samples = (len(stream) - 1) // length
    windows = torch.tensor(stream).unfold(0, length + 1, length)
    assert windows.shape[0] == samples
    while True:
        for first in range(0, samples, batch):
            yield windows[first : first + batch]


def train(folder, stream, dtype, accumulate=1):
    # Eager attention: the plain formula, the same in every precision.
    model = GPT2LMHeadModel.from_pretrained(folder, dtype=dtype, attn_implementation="eager").train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": RUN["weight_decay"]},
            {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
        ],
        lr=RUN["lr"],
        betas=tuple(RUN["betas"]),
        eps=RUN["eps"],
    )
    curve = {"loss": [], "lr": [], "grad_norm": []}
    source = batches(stream)
    for step in range(RUN["steps"]):
        windows = next(source)
        tokens = windows.shape[0] * RUN["sequence_length"]
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step)
        optimizer.zero_grad(set_to_none=True)
        loss_sum = 0.0
        for part in windows.chunk(accumulate):
            logits = model(input_ids=part[:, :-1]).logits
            loss = functional.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten(), reduction="sum")
            (loss / tokens).backward()
            loss_sum += loss.item()
        norm = torch.nn.utils.clip_grad_norm_(parameters, RUN["max_grad_norm"])  # max / (norm + 1e-6), at most 1
        optimizer.step()
        curve["loss"].append(loss_sum / tokens)
        curve["lr"].append(learning_rate(step))
        curve["grad_norm"].append(norm.item())
    return curve


def distance(a, b):
    return {
        key: max(abs(x - y) / abs(y) for x, y in zip(a[key], b[key], strict=True)) for key in ("loss", "grad_norm")
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--check", action="store_true", help="print relative distances between variants, write nothing"
    )
    parser.add_argument("--curve", type=Path, help="write the fp32 curve of this PyTorch to a file, and nothing else")
    arguments = parser.parse_args()
    here = Path(__file__).resolve().parent
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    stream = token_stream(SAMPLES * RUN["sequence_length"] + 1, MODEL["vocab_size"])

    if arguments.curve:
        arguments.curve.write_text(json.dumps(train(here / "gpt2", stream, torch.float32)) + "\n")
        return
    if not arguments.check:
        build_initial().save_pretrained(here / "gpt2")
        (here / "gpt2" / "generation_config.json").unlink(missing_ok=True)
        (here / "gpt2" / "model.safetensors").chmod(0o644)
        (here / "tokens.bin").write_bytes(struct.pack(f"<{len(stream)}H", *stream))
    single = train(here / "gpt2", stream, torch.float32)
    double = train(here / "gpt2", stream, torch.float64)
    if arguments.check:
        print("fp32 to fp64          ", distance(single, double))
        print("again                 ", distance(train(here / "gpt2", stream, torch.float32), single))
        print(
            "accumulation 2        ",
            distance(train(here / "gpt2", stream, torch.float32, accumulate=2), single),
        )
        torch.set_num_threads(2)
        print("2 threads             ", distance(train(here / "gpt2", stream, torch.float32), single))
        committed = json.loads((here / "gpt2_curve.json").read_text())
        print("committed fp32 curve  ", distance(single, committed["fp32"]))
        print("committed fp64 curve  ", distance(double, committed["fp64"]))
        return
    document = {
        "torch": torch.__version__,
        "transformers": transformers_version,
        "model": MODEL,
        "run": RUN,
        "tokens": len(stream),
        "samples": SAMPLES,
        "fp32": single,
        "fp64": double,
    }
    (here / "gpt2_curve.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
