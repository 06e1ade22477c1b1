"""One training step of GPT-2 on one GPU as fast as PyTorch does it: bf16, fused AdamW, clipping at 1.0.

Variants: eager; compile, max-autotune, reduce-overhead (torch.compile in these modes; the optimizer stays outside); graph (the
whole step, captured by hand in a CUDA graph); the last two are for small batches. --precision: autocast (fp32 parameters),
masters (bf16 parameters, fp32 masters that the fused AdamW updates), fp32 (the reference of the losses).

Reads the inputs that gpt2.py wrote. Runs --losses steps and prints their losses, then waits for lines on standard input: each
asks for one block of --steps steps, answered by its seconds a step. So a process serves many turns. Every answer is one line of
JSON.
"""

import argparse
import contextlib
import json
import sys
import time

import torch
from torch.nn import attention

import gpt2
import timing

MODES = {"compile": "default", "max-autotune": "max-autotune-no-cudagraphs", "reduce-overhead": "reduce-overhead"}
ATTENTION = {
    "flash": [attention.SDPBackend.FLASH_ATTENTION],
    "cudnn": [attention.SDPBackend.CUDNN_ATTENTION],
    "auto": None,
}


class Step:
    """call() is one optimizer step and returns its loss as a tensor."""

    def __init__(self, options, device):
        self.options, self.device = options, device
        self.model = gpt2.Gpt2(options)
        gpt2.load(self.model, options.inputs + "/model.safetensors")
        self.model.to(device)
        self.masters = None
        self.parameters = list(self.model.parameters())
        updated = self.parameters
        if options.precision == "masters":
            self.masters = [p.detach().clone() for p in self.parameters]
            updated = self.masters
            self.model.to(torch.bfloat16)
            for master in self.masters:
                master.grad = torch.zeros_like(master)
        groups = [
            {"params": [p for p in updated if p.dim() >= 2], "weight_decay": 0.1},
            {"params": [p for p in updated if p.dim() < 2], "weight_decay": 0.0},
        ]
        self.updated = updated
        captured = options.variant == "graph"
        lr = torch.tensor(options.lr, device=device) if captured else options.lr
        self.optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), eps=1e-8, fused=True, capturable=captured)
        self.loss_of = self.model
        if options.variant in MODES:
            self.loss_of = torch.compile(self.model, mode=MODES[options.variant])
        self.data = gpt2.batches(options.inputs + "/tokens.bin", options, options.batch, device)
        self.ahead = next(self.data)
        self.graph = None

    def batch(self):
        """The one that was copied while the step before computed."""
        now, self.ahead = self.ahead, next(self.data)
        return now

    def forward(self, tokens, targets):
        casts = contextlib.nullcontext()
        if self.options.precision == "autocast":
            casts = torch.autocast(self.device.type, dtype=torch.bfloat16)
        backends = ATTENTION[self.options.attention] if self.device.type == "cuda" else None
        with casts, attention.sdpa_kernel(backends) if backends else contextlib.nullcontext():
            return self.loss_of(tokens, targets)

    def backward(self, tokens, targets):
        """Mean loss over parts of the batch that fit into memory."""
        parts = max(1, self.options.batch // (self.options.part or self.options.batch))
        total = None
        for some, wanted in zip(tokens.chunk(parts), targets.chunk(parts)):
            loss = self.forward(some, wanted) / parts
            loss.backward()
            total = loss.detach() if total is None else total + loss.detach()
        return total

    @torch.no_grad()
    def update(self):
        if self.masters is not None:
            torch._foreach_copy_([m.grad for m in self.masters], [p.grad for p in self.parameters])
        torch.nn.utils.clip_grad_norm_(self.updated, 1.0, foreach=True)
        self.optimizer.step()
        if self.masters is not None:
            torch._foreach_copy_(self.parameters, self.masters)

    def plain(self, tokens, targets):
        for parameter in self.parameters:
            parameter.grad = None
        loss = self.backward(tokens, targets)
        self.update()
        return loss

    def capture(self):
        """Three steps on a side stream, which are part of the run, then the graph."""
        self.static = [t.clone() for t in self.ahead]
        self.warm = []
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                for to, by in zip(self.static, self.batch()):
                    to.copy_(by, non_blocking=True)
                self.warm.append(self.plain(*self.static))
        torch.cuda.current_stream().wait_stream(stream)
        for parameter in self.parameters:
            parameter.grad = None
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.loss = self.plain(*self.static)

    def __call__(self):
        if self.options.variant != "graph" or self.device.type != "cuda":
            if self.options.variant == "reduce-overhead":
                torch.compiler.cudagraph_mark_step_begin()
            return self.plain(*self.batch()).clone()
        if self.graph is None:
            self.capture()
        if self.warm:
            return self.warm.pop(0)
        for to, by in zip(self.static, self.batch()):
            to.copy_(by, non_blocking=True)
        self.graph.replay()
        return self.loss.clone()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    gpt2.add_arguments(parser)
    parser.add_argument("--inputs", required=True, help="folder that gpt2.py wrote")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--part", type=int, help="samples computed at a time; default: all")
    parser.add_argument("--variant", choices=["eager", *MODES, "graph"], default="compile")
    parser.add_argument("--attention", choices=list(ATTENTION), default="auto")
    parser.add_argument("--precision", choices=["autocast", "masters", "fp32"], default="masters")
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--losses", type=int, default=20, help="steps before the first block")
    parser.add_argument("--steps", type=int, default=20, help="of a block")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.backends.cuda.matmul.allow_tf32 = False
    begin = time.time()
    step = Step(options, device)
    losses = [step()]
    timing.synchronize(device)
    first = time.time() - begin
    losses += [step() for _ in range(options.losses - 1)]
    losses = [loss.item() for loss in losses]
    timing.report("gpt2_step", device, variant=options.variant, attention=options.attention, precision=options.precision,
                  losses=losses, first_step_seconds=first, first_step_at=begin + first)  # fmt: skip
    for _ in sys.stdin:
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        step()
        timing.synchronize(device)
        begin = time.perf_counter()
        for _ in range(options.steps):
            step()
        timing.synchronize(device)
        seconds = (time.perf_counter() - begin) / options.steps
        peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else None
        print(json.dumps({"seconds": seconds, "peak_bytes": peak}), flush=True)


if __name__ == "__main__":
    main()
