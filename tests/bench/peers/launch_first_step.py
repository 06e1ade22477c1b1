"""When the first optimizer step of a small DDP GPT is finished, counted from the launch of torchrun.

    torchrun --standalone --nproc-per-node 2 tests/bench/peers/launch_first_step.py --launched-at $(date +%s.%N)

One launch is one figure: the caller reads the clock (CLOCK_REALTIME) right before it, and repeats. Without torchrun
around it the script does both itself, --launches times, and reports median and spread.
"""

import argparse
import json
import os
import subprocess
import sys
import time


def first_step(options):
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    import gpt

    imported = time.clock_gettime(time.CLOCK_REALTIME)
    dist.init_process_group("gloo")
    connected = time.clock_gettime(time.CLOCK_REALTIME)
    model = gpt.build(options)
    optimizer = gpt.adamw(model)
    replica = DistributedDataParallel(model)
    loss = replica(*gpt.batches(options, dist.get_rank(), 1)[0])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    value = loss.item()
    finished = time.clock_gettime(time.CLOCK_REALTIME)
    if dist.get_rank() == 0:
        line = {
            "bench": "launch_first_step",
            "torch": torch.__version__,
            "ranks": dist.get_world_size(),
            "loss": value,
        }
        line["first_step_at"] = finished
        if options.launched_at is not None:
            line["seconds"] = round(finished - options.launched_at, 4)
            line["imported_seconds"] = round(imported - options.launched_at, 4)
            line["connected_seconds"] = round(connected - options.launched_at, 4)
        print(json.dumps(line), flush=True)
    dist.destroy_process_group()


def launch(options, forwarded):
    import blocks

    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    lines = []
    for _ in range(1 + options.launches):  # the first fills the page cache
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__]
        command += forwarded + ["--launched-at", repr(time.clock_gettime(time.CLOCK_REALTIME))]
        result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        lines.append(json.loads(result.stdout.splitlines()[-1]))
    names = ("seconds", "imported_seconds", "connected_seconds")
    figures = {name: blocks.summary([line[name] for line in lines[1:]]) for name in names}
    blocks.report("launch_first_step", ranks=2, threads=1, **figures)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = {"layers": 2, "width": 128, "heads": 4, "vocabulary": 256, "length": 64, "batch": 8}
    for name, default in names.items():
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--launched-at", type=float, help="CLOCK_REALTIME right before the launch, in seconds")
    parser.add_argument("--launches", type=int, default=5, help="only outside torchrun")
    options = parser.parse_args()
    if "RANK" in os.environ:
        first_step(options)
    else:
        launch(options, [f"--{name}={getattr(options, name)}" for name in names])


if __name__ == "__main__":
    main()
