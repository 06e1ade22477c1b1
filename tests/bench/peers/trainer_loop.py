"""A bare training loop of a small MLP, about half a millisecond a step: what a trainer's own work is compared with.

    python tests/bench/peers/trainer_loop.py [--clip 1]

Data stand ready in memory; nothing is logged.
"""

import argparse

import torch
from torch import nn
from torch.nn import functional

import blocks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=64)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--outputs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clip", type=float, default=0, help="clip the gradient norm; 0: do not")
    blocks.arguments(parser, warmup=500, blocks=9, steps=1000)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(42)
    model = nn.Sequential(
        nn.Linear(options.inputs, options.width),
        nn.ReLU(),
        nn.Linear(options.width, options.width),
        nn.ReLU(),
        nn.Linear(options.width, options.outputs),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    data = [
        (torch.randn(options.batch, options.inputs), torch.randint(options.outputs, (options.batch,)))
        for _ in range(64)
    ]
    count = 0

    def step():
        nonlocal count
        inputs, targets = data[count % len(data)]
        count += 1
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(model(inputs), targets).backward()
        if options.clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip)
        optimizer.step()

    seconds = blocks.measure(options, step)
    blocks.report(
        "trainer_loop",
        parameters=sum(p.numel() for p in model.parameters()),
        batch=options.batch,
        step_us=blocks.summary([1e6 * s for s in seconds]),
    )


if __name__ == "__main__":
    main()
