"""Saving and loading a training state of AdamW: torch.distributed.checkpoint, torch.save, safetensors; all with fsync.

    python tests/bench/peers/checkpoint.py FOLDER
"""

import argparse
import os
import pathlib
import shutil
import time
import warnings

import safetensors.torch
import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp

import blocks

warnings.filterwarnings("ignore")


def make_state(mib, tensors):
    side = int(((mib << 20) / 4 / (3 * tensors)) ** 0.5)
    parts = ("model/", "optim/moment/", "optim/square_moment/")
    return {f"{part}p{i}": torch.randn(side, side) for part in parts for i in range(tensors)}


def sync(folder):
    for path in [folder, *folder.rglob("*")]:
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)


def timed(work):
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--mib", type=int, default=500)
    parser.add_argument("--tensors", type=int, default=60)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    state = make_state(options.mib, options.tensors)
    mib = sum(values.nbytes for values in state.values()) / (1 << 20)
    folder = options.folder
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)

    def write_safetensors():
        safetensors.torch.save_file(state, folder / "one.safetensors")
        sync(folder)

    def write_torch():
        torch.save(state, folder / "one.pt")
        sync(folder)

    def write_dcp():
        dcp.save(state, checkpoint_id=folder / "dcp")
        sync(folder / "dcp")

    figures = {}
    for name, write in (("safetensors", write_safetensors), ("torch_save", write_torch), ("dcp", write_dcp)):
        speeds = []
        for _ in range(options.turns):
            for leftover in folder.iterdir():
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            speeds.append(mib / timed(write))
        figures[f"{name}_write_mib_per_second"] = blocks.summary(speeds)

    write_torch()
    loads = [mib / timed(lambda: torch.load(folder / "one.pt", weights_only=True)) for _ in range(options.turns)]
    figures["torch_load_mib_per_second"] = blocks.summary(loads)
    loaded = {name: torch.zeros_like(values) for name, values in state.items()}
    loads = [mib / timed(lambda: dcp.load(loaded, checkpoint_id=folder / "dcp")) for _ in range(options.turns)]
    figures["dcp_load_mib_per_second"] = blocks.summary(loads)

    blocked = []
    for turn in range(options.turns + 1):
        begin = time.perf_counter()
        future = dcp.async_save(state, checkpoint_id=folder / f"async{turn}")
        blocked.append(1e3 * (time.perf_counter() - begin))
        future.result()
        shutil.rmtree(folder / f"async{turn}")
    figures["async_blocked_first_ms"] = blocked[0]
    figures["async_blocked_ms"] = blocks.summary(blocked[1:])
    dist.destroy_process_group()
    blocks.report("checkpoint", mib=mib, **figures)


if __name__ == "__main__":
    main()
