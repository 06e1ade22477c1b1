"""Batches of token windows in shuffled order from a contiguous uint16 HDF5 dataset, as int64 tensors.

    python tests/bench/peers/hdf5_loader.py [--file tokens.h5]

Peers: DataLoader over h5py with 0, 1 and 2 workers (each opens the file itself), DataLoader over numpy's memory map,
and a memory map gathered by hand. Every sample is --length + 1 tokens; inputs and targets are views of one batch.
Without --file a file of --tokens random tokens is written to a temporary folder; it stays in the page cache.
"""

import argparse
import tempfile
from pathlib import Path

import h5py
import numpy
import torch
from torch.utils.data import DataLoader, Dataset

import blocks


class H5Windows(Dataset):
    """Opens the file at the first sample, so that each worker has its own handle."""

    def __init__(self, path, offsets, span):
        self.path, self.offsets, self.span, self.tokens = path, offsets, span, None

    def __len__(self):
        return len(self.offsets)

    def open(self):
        return h5py.File(self.path, "r")["tokens"]

    def __getitem__(self, index):
        if self.tokens is None:
            self.tokens = self.open()
        first = self.offsets[index]
        return torch.from_numpy(self.tokens[first : first + self.span].astype(numpy.int64))


def memory_map(path):
    with h5py.File(path, "r") as file:
        tokens = file["tokens"]
        if tokens.id.get_offset() is None:
            raise SystemExit(f"{path}: tokens is not contiguous, so it cannot be mapped")
        return numpy.memmap(path, tokens.dtype, "r", tokens.id.get_offset(), tokens.shape)


class MapWindows(H5Windows):
    def open(self):
        return memory_map(self.path)


def loader_rates(dataset, workers, options):
    """Samples per second of each block; starting the workers and their first batches are not timed."""
    loader = DataLoader(dataset, options.batch, num_workers=workers, drop_last=True)
    source = iter(loader)

    def step():
        batch = next(source)
        return batch[:, :-1], batch[:, 1:]

    return [options.batch / s for s in blocks.measure(options, step)]


def gather_rates(tokens, offsets, span, options):
    batch = torch.empty(options.batch, span, dtype=torch.int64)
    rows = batch.numpy()
    position = 0

    def step():
        nonlocal position
        for row, first in enumerate(offsets[position : position + options.batch]):
            rows[row] = tokens[first : first + span]
        position += options.batch
        return batch[:, :-1], batch[:, 1:]

    return [options.batch / s for s in blocks.measure(options, step)]


def verify(path, offsets, span):
    """The paths must agree before they are compared."""
    a, b = H5Windows(path, offsets, span), MapWindows(path, offsets, span)
    if not all(torch.equal(a[k], b[k]) for k in range(8)):
        raise SystemExit("h5py and the memory map read different tokens")


def run(path, options):
    span = options.length + 1
    count = options.batch * (options.warmup + options.blocks * options.steps)
    with h5py.File(path, "r") as file:
        tokens = file["tokens"].shape[0]
    windows = numpy.random.default_rng(42).permutation((tokens - 1) // options.length)
    offsets = (numpy.resize(windows, count) * options.length).tolist()
    verify(path, offsets, span)
    numpy.fromfile(path, numpy.uint8).max()  # fills the page cache
    rates = {}
    for workers in options.workers:
        rates[f"h5py_{workers}_workers"] = loader_rates(H5Windows(path, offsets, span), workers, options)
    rates["memmap_0_workers"] = loader_rates(MapWindows(path, offsets, span), 0, options)
    rates["memmap_by_hand"] = gather_rates(memory_map(path), offsets, span, options)
    figures = {name: blocks.summary(values) for name, values in rates.items()}
    best = max((name for name in figures if name.startswith("h5py")), key=lambda name: figures[name]["median"])
    blocks.report(
        "hdf5_loader",
        tokens=tokens,
        batch=options.batch,
        length=options.length,
        best_h5py=best,
        samples_per_second=figures,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, help="with a contiguous dataset named tokens")
    parser.add_argument("--tokens", type=int, default=64 * 2**20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=1)
    blocks.arguments(parser, warmup=100, blocks=7, steps=300)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.file:
        return run(options.file, options)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tokens.h5"
        values = numpy.random.default_rng(1).integers(0, 50257, options.tokens, numpy.uint16)
        with h5py.File(path, "w") as file:
            file.create_dataset("tokens", data=values).attrs["vocab_size"] = 50257
        run(path, options)


if __name__ == "__main__":
    main()
