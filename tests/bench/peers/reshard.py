"""A state that one number of ranks saved as DTensors, loaded by another number: torch.distributed.checkpoint over gloo.

    torchrun --standalone --nproc-per-node 4 tests/bench/peers/reshard.py save FOLDER
    torchrun --standalone --nproc-per-node 2 tests/bench/peers/reshard.py load FOLDER

Every tensor is cut along dimension 0. A figure is what all ranks together load in the time of the slowest; each rank plans its
reads by itself, or rank 0 for all.
"""

import argparse
import pathlib
import time
import warnings

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import DTensor, Shard

import blocks

warnings.filterwarnings("ignore")


def make_parts(options):
    """This rank's part of each square tensor, by name; the values say where in it they belong."""
    side = round(((options.mib << 20) / 4 / (3 * options.tensors)) ** 0.5) // 8 * 8
    rows = side // dist.get_world_size()
    first = dist.get_rank() * rows
    names = ("model/", "optim/moment/", "optim/square_moment/")
    values = torch.arange(first * side, (first + rows) * side, dtype=torch.float32).view(rows, side)
    return {f"{name}p{i}": values + i for name in names for i in range(options.tensors)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["save", "load"])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--mib", type=int, default=500)
    parser.add_argument("--tensors", type=int, default=60)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    ranks = dist.get_world_size()
    mesh = init_device_mesh("cpu", (ranks,))
    parts = make_parts(options)
    mib = ranks * sum(part.nbytes for part in parts.values()) / (1 << 20)
    speeds = {}
    if options.what == "save":
        dcp.save({name: DTensor.from_local(part, mesh, [Shard(0)]) for name, part in parts.items()}, checkpoint_id=options.folder)
    else:
        loaded = {name: DTensor.from_local(torch.zeros_like(part), mesh, [Shard(0)]) for name, part in parts.items()}
        speeds = {"planned_by_rank_0": [], "planned_alone": []}
        for _ in range(options.turns):
            for name, figures in speeds.items():
                dist.barrier()
                begin = time.perf_counter()
                dcp.load(loaded, checkpoint_id=options.folder, no_dist=name == "planned_alone")
                dist.barrier()
                figures.append(mib / (time.perf_counter() - begin))
        for name, part in parts.items():
            if not torch.equal(loaded[name].to_local(), part):
                raise SystemExit(f"what is loaded is not what was saved: {name}")
    if dist.get_rank() == 0:
        blocks.report("reshard", ranks=ranks, mib=mib, mib_per_second={name: blocks.summary(figures) for name, figures in speeds.items()})
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
