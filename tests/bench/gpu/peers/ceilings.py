"""What the machine reaches at most: a large bf16 matrix product, a copy in device memory, a copy into pinned host memory; with
--shapes, also what its libraries make of the matrix products and the attention of a GPT-2.

Each figure is the best of several blocks; prints one line of JSON.
"""

import argparse

import torch
from torch.nn import attention, functional

import timing


def gemm(device, m, n, k, dtype):
    """FLOP/s of [m, k] x [k, n]."""
    a, b = torch.randn(m, k, device=device, dtype=dtype), torch.randn(k, n, device=device, dtype=dtype)
    out = torch.empty(m, n, device=device, dtype=dtype)
    return 2 * m * n * k / timing.best(device, lambda: torch.mm(a, b, out=out))


def copy(device, size):
    """Bytes per second read and written."""
    a = torch.empty(size, device=device, dtype=torch.uint8)
    b = torch.empty_like(a)
    return 2 * size / timing.best(device, lambda: b.copy_(a))


def to_host(device, size):
    a = torch.empty(size, device=device, dtype=torch.uint8)
    b = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
    return size / timing.best(device, lambda: b.copy_(a, non_blocking=True))


BACKENDS = {"flash": attention.SDPBackend.FLASH_ATTENTION, "cudnn": attention.SDPBackend.CUDNN_ATTENTION}


def causal_attention(device, options, name):
    """FLOP/s forward and backward on packed q, k, v."""
    b, t, h, d = options.batch, options.length, options.heads, options.width // options.heads
    qkv = torch.randn(b, t, 3, h, d, device=device, dtype=torch.bfloat16, requires_grad=True)
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    forward_flops = 2 * b * h * t * t * d

    def forward():
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)

    with attention.sdpa_kernel([BACKENDS[name]]):
        y = forward()
        dy = torch.randn_like(y)
        once = timing.best(device, forward)
        back = timing.best(device, lambda: torch.autograd.grad(y, qkv, dy, retain_graph=True))
    return forward_flops / once, 2.5 * forward_flops / back


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--side", type=int, default=8192, help="of the square matrices")
    parser.add_argument("--mib", type=int, default=1024, help="of the copies")
    parser.add_argument("--shapes", action="store_true")
    for name, value in (("layers", 12), ("width", 768), ("heads", 12), ("vocabulary", 50304), ("length", 1024), ("batch", 64)):
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    device = torch.device(options.device)
    size = options.mib << 20
    figures = {
        "gemm": gemm(device, options.side, options.side, options.side, torch.bfloat16),
        "copy": copy(device, size),
        "to_host": to_host(device, size),
    }
    if options.shapes:
        n, c = options.batch * options.length, options.width
        torch.cuda.empty_cache()
        products = {"qkv": (c, 3 * c), "projection": (c, c), "fc": (c, 4 * c), "fc_projection": (4 * c, c), "head": (c, options.vocabulary)}
        figures["shapes"] = {
            name: [gemm(device, n, o, i, torch.bfloat16), gemm(device, n, i, o, torch.bfloat16), gemm(device, i, o, n, torch.bfloat16)]
            for name, (i, o) in products.items()
        }
        figures["attention"] = {}
        for name in BACKENDS:
            try:
                figures["attention"][name] = causal_attention(device, options, name)
            except RuntimeError as error:
                figures["attention"][name] = str(error).splitlines()[0]
    timing.report("ceilings", device, **figures)


if __name__ == "__main__":
    main()
