"""What torch.profiler costs: a training step of a small MLP, about 3 ms and 700 operations, untraced and traced, in turn.

    python tests/bench/peers/operator_trace.py [--shapes 1]

Microseconds that recording adds to the steps for each event, and that the end of a recording takes for each, as the thread
computes: others on the machine count less.
"""

import argparse
import math
import time

import torch
from torch.nn import functional

import blocks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=14)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--shapes", type=int, default=0)
    blocks.arguments(parser, warmup=100, blocks=9, steps=20)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(42)
    width = options.width
    weights = [(torch.randn(width, width) / math.sqrt(width)).requires_grad_() for _ in range(options.layers)]
    biases = [torch.zeros(width, requires_grad=True) for _ in range(options.layers)]
    inputs = torch.randn(options.batch, width)

    def step():
        x = inputs
        for weight, bias in zip(weights, biases, strict=True):
            x = torch.relu(functional.linear(x, weight, bias))
        x.square().mean().backward()
        for parameter in (*weights, *biases):
            parameter.grad = None

    def run():
        begin = time.thread_time()
        for _ in range(options.steps):
            step()
        return time.thread_time() - begin

    for _ in range(options.warmup):
        step()
    event_us, stop_us, untraced_ms = [], [], []
    for block in range(options.blocks + 1):
        before = run()
        profiler = torch.profiler.profile(
            activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=bool(options.shapes), acc_events=True
        )
        profiler.start()
        traced = run()
        begin = time.thread_time()
        profiler.stop()
        stop = time.thread_time() - begin
        untraced = (before + run()) / 2
        if block == 0:
            continue
        events = len(profiler.profiler.kineto_results.events())
        event_us.append(1e6 * (traced - untraced) / events)
        stop_us.append(1e6 * stop / events)
        untraced_ms.append(1e3 * untraced / options.steps)
    blocks.report(
        "operator_trace",
        shapes=bool(options.shapes),
        events_a_step=events // options.steps,
        step_ms=blocks.summary(untraced_ms),
        profiler_us=blocks.summary(event_us),
        profiler_stop_us=blocks.summary(stop_us),
    )


if __name__ == "__main__":
    main()
