"""The end of a step: clip_grad_norm_, fused AdamW and zero_grad over many tensors, fp32.

    python tests/bench/peers/optimizer.py

Reported for each number of threads, for gradients cleared (memset) and dropped (none: the next backward allocates
and writes them anew, which is not timed here), and for both ways PyTorch takes the norm.
"""

import argparse

import torch

import blocks


def total_ms(options, foreach, drop):
    side = round((options.parameters / options.tensors) ** 0.5)
    torch.manual_seed(42)
    parameters = [torch.nn.Parameter(torch.randn(side, side)) for _ in range(options.tensors)]
    source = torch.randn(side, side) * 1e-3
    gradients = [torch.empty(side, side) for _ in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=3e-4, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, fused=True)

    def restore():
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.copy_(source)

    def step():
        torch.nn.utils.clip_grad_norm_(parameters, 1.0, foreach=foreach)
        optimizer.step()
        optimizer.zero_grad(set_to_none=drop)

    return [1e3 * s for s in blocks.measure(options, step, untimed=restore)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=int, default=50_000_000)
    parser.add_argument("--tensors", type=int, default=200)
    parser.add_argument("--threads", type=int, nargs="+", default=[2, 1])
    blocks.arguments(parser, warmup=3, blocks=7, steps=5)
    options = parser.parse_args()
    figures = {}
    for threads in options.threads:
        torch.set_num_threads(threads)
        for foreach in (False, True):
            for drop in (False, True):
                name = f"{threads}_threads_{'foreach' if foreach else 'single'}_{'none' if drop else 'memset'}"
                figures[name] = blocks.summary(total_ms(options, foreach, drop))
    blocks.report("optimizer", parameters=options.parameters, tensors=options.tensors, ms=figures)


if __name__ == "__main__":
    main()
