"""A GPT-2 as its users write it for PyTorch, with the parameter names of Hugging Face's; and the inputs that all programs of a
comparison share: initial weights in a safetensors file, and tokens.

    python gpt2.py FOLDER [--layers ...]     writes config.json, model.safetensors and tokens.bin
"""

import argparse
import json
import math
import pathlib
import struct

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1 = nn.LayerNorm(width)
        self.c_attn = nn.Linear(width, 3 * width)
        self.attn_proj = nn.Linear(width, width)
        self.ln_2 = nn.LayerNorm(width)
        self.c_fc = nn.Linear(width, 4 * width)
        self.mlp_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        samples, length, width = x.shape
        packed = self.c_attn(self.ln_1(x)).view(samples, length, 3, self.heads, width // self.heads)
        q, k, v = packed.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_proj(mixed.transpose(1, 2).reshape(samples, length, width))
        return x + self.mlp_proj(functional.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    """forward(tokens [B, T], targets [B, T]) returns the mean loss."""

    def __init__(self, options):
        super().__init__()
        self.wte = nn.Embedding(options.vocabulary, options.width)
        self.wpe = nn.Embedding(options.length, options.width)
        self.h = nn.ModuleList(Block(options.width, options.heads) for _ in range(options.layers))
        self.ln_f = nn.LayerNorm(options.width)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.h:
            x = block(x)
        logits = functional.linear(self.ln_f(x), self.wte.weight)
        return functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


NAMES = {"c_attn": "attn.c_attn", "attn_proj": "attn.c_proj", "c_fc": "mlp.c_fc", "mlp_proj": "mlp.c_proj"}


def stored_name(name):
    """Hugging Face's name of a parameter, and whether it stores the transpose."""
    parts = name.split(".")
    turned = parts[0] == "h" and parts[2] in NAMES and parts[3] == "weight"
    return ".".join(NAMES.get(part, part) for part in parts), turned


def add_arguments(parser):
    for name, value in (("layers", 12), ("width", 768), ("heads", 12), ("vocabulary", 50304), ("length", 1024)):
        parser.add_argument(f"--{name}", type=int, default=value)


def load(model, file):
    """The float32 tensors of a safetensors file that main() wrote."""
    with open(file, "rb") as stream:
        header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
        base = stream.tell()
    data = torch.from_file(str(file), shared=False, size=pathlib.Path(file).stat().st_size, dtype=torch.uint8)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            stored, turned = stored_name(name)
            begin, end = header[stored]["data_offsets"]
            value = data[base + begin : base + end].clone().view(torch.float32).view(header[stored]["shape"])
            parameter.copy_(value.t() if turned else value)


def write_weights(folder, options):
    torch.manual_seed(42)
    with torch.device("meta"):
        shapes = {name: parameter.shape for name, parameter in Gpt2(options).named_parameters()}
    header, values, place = {}, [], 0
    for name, shape in shapes.items():
        stored, turned = stored_name(name)
        deviation = 0.02 / math.sqrt(2 * options.layers) if "_proj" in name else 0.02
        if len(shape) == 1:
            value = torch.full(shape, 1.0 if name.endswith("weight") else 0.0)
        else:
            value = torch.randn(tuple(reversed(shape)) if turned else shape) * deviation
        size = 4 * value.numel()
        header[stored] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [place, place + size]}
        place += size
        values.append(value)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for value in values:
            stream.write(value.numpy().tobytes())
    config = {
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": options.vocabulary,
        "n_positions": options.length,
        "n_embd": options.width,
        "n_layer": options.layers,
        "n_head": options.heads,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5,
    }
    (folder / "config.json").write_text(json.dumps(config))


def write_tokens(file, count, vocabulary):
    """uint16 tokens that a model can learn something of: each follows from the one before, but for one in four."""
    generator = torch.Generator().manual_seed(1)
    random = torch.randint(vocabulary, (count,), generator=generator)
    jump = torch.rand(count, generator=generator) < 0.25
    jump[0] = True
    # The k-th token after a jump to r is r + 7 k.
    place = torch.arange(count)
    last = torch.where(jump, place, 0).cummax(0).values
    tokens = (random[last] + 7 * (place - last)) % vocabulary
    file.write_bytes(tokens.to(torch.int32).to(torch.uint16).numpy().tobytes())


def batches(file, options, batch, device):
    """Endless (tokens, targets) of the samples in their order, as int64 on the device."""
    size = pathlib.Path(file).stat().st_size // 2
    tokens = torch.from_file(str(file), shared=False, size=size, dtype=torch.int16).to(torch.int32) % 65536
    samples = (size - 1) // options.length
    place = 0
    while True:
        first = [(place + i) % samples * options.length for i in range(batch)]
        place += batch
        windows = torch.stack([tokens[at : at + options.length + 1] for at in first]).to(torch.int64)
        if device.type == "cuda":
            windows = windows.pin_memory()
        windows = windows.to(device, non_blocking=True)
        yield windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--tokens", type=int, default=1 << 24)
    add_arguments(parser)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    write_weights(options.folder, options)
    write_tokens(options.folder / "tokens.bin", options.tokens, options.vocabulary)


if __name__ == "__main__":
    main()
