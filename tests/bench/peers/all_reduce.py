"""Gloo's all-reduce (sum, fp32, in place) over a range of sizes.

    torchrun --standalone --nproc-per-node 2 tests/bench/peers/all_reduce.py

bus_gb_per_s is size / time * 2(n-1)/n, 10^9 bytes.
"""

import argparse

import torch
import torch.distributed as dist

import blocks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=float, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--block-mib", type=float, default=256, help="bytes reduced in a block; at least 4 calls")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dist.init_process_group("gloo")
    ranks = dist.get_world_size()
    figures = {}
    for mib in options.mib:
        data = torch.full((int(mib * 2**18),), float(dist.get_rank() + 1))
        dist.all_reduce(data)
        if not torch.all(data == ranks * (ranks + 1) / 2):
            raise SystemExit(f"all_reduce of {mib} MiB gave a wrong sum")
        data.zero_()  # sums stay finite however often they are summed
        options.steps = max(4, round(options.block_mib / mib))
        dist.barrier()
        seconds = blocks.measure(options, lambda data=data: dist.all_reduce(data))
        size = data.numel() * data.element_size()
        figures[f"{mib:g}"] = {
            "ms": blocks.summary([1e3 * s for s in seconds]),
            "bus_gb_per_s": blocks.summary([size / s * 2 * (ranks - 1) / ranks / 1e9 for s in seconds]),
        }
    if dist.get_rank() == 0:
        blocks.report("all_reduce", ranks=ranks, mib=figures)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
