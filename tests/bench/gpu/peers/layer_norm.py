"""Backward of layer norm with its residual as torch.compile does it: what our kernel is compared with."""

import argparse

import torch
from torch.nn import functional

import timing


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tokens", type=int, default=65536)
    parser.add_argument("--width", type=int, default=768)
    options = parser.parse_args()
    device = torch.device(options.device)
    shape, c = (options.tokens, options.width), options.width
    x, residual = (torch.randn(shape, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(2))
    weight, bias = (torch.ones(c, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(2))

    @torch.compile
    def norm(x, residual, weight, bias):
        total = x + residual
        return total, functional.layer_norm(total, (c,), weight, bias)

    total, y = norm(x, residual, weight, bias)
    d_total, dy = torch.randn_like(total), torch.randn_like(y)

    def backward():
        torch.autograd.grad([total, y], [x, residual, weight, bias], [d_total, dy], retain_graph=True)

    seconds = timing.best(device, backward)
    timing.report("layer_norm", device, backward_us=1e6 * seconds, bytes_per_second=4 * 2 * x.numel() / seconds)


if __name__ == "__main__":
    main()
