"""How every peer is timed: warm up, then equal blocks of steps; the median block counts, the spread is shown."""

import json
import statistics
import time

import torch


def arguments(parser, warmup, blocks, steps):
    """Adds the options that all peers share; the values are this peer's defaults."""
    parser.add_argument("--warmup", type=int, default=warmup, help="steps before the first block")
    parser.add_argument("--blocks", type=int, default=blocks)
    parser.add_argument("--steps", type=int, default=steps, help="steps in a block")


def measure(options, step, untimed=None):
    """Seconds of one step() in each block. untimed(), if given, runs before every step off the clock."""
    for _ in range(options.warmup):
        if untimed:
            untimed()
        step()
    seconds = []
    for _ in range(options.blocks):
        total = 0.0
        if untimed:
            for _ in range(options.steps):
                untimed()
                begin = time.perf_counter()
                step()
                total += time.perf_counter() - begin
        else:
            begin = time.perf_counter()
            for _ in range(options.steps):
                step()
            total = time.perf_counter() - begin
        seconds.append(total / options.steps)
    return seconds


def summary(values, digits=4):
    """Median, extremes and (max - min) / median of one figure a block."""
    median = statistics.median(values)
    return {
        "median": float(f"{median:.{digits}g}"),
        "min": float(f"{min(values):.{digits}g}"),
        "max": float(f"{max(values):.{digits}g}"),
        "spread": round((max(values) - min(values)) / median, 3),
    }


def report(bench, **figures):
    line = {"bench": bench, "torch": torch.__version__, "threads": torch.get_num_threads(), **figures}
    print(json.dumps(line), flush=True)
