"""Runs the benchmarks: ours and the peer's in turn (A B A B A B), medians over the turns, their spread beside them.

    tests/bench/run.py [--peers PYTHON] [--build FOLDER] [--turns N] [ROW ...]

Writes FOLDER/bench.json and prints a Markdown table. It judges nothing: a ratio within the spread of its turns is
undecided. `launch/bench` sets up and builds what this needs.
"""

import argparse
import json
import os
import pathlib
import platform
import random
import shutil
import statistics
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PEERS = ROOT / "tests/bench/peers"


class Bench:
    """Where programs, data and settings are; every row gets one."""

    def __init__(self, options, scratch):
        self.peers = options.peers
        self.programs = options.build / "bin"
        self.scratch = scratch
        self.environment = dict(
            os.environ, OMP_NUM_THREADS="1", NO_COLOR="1", OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1"
        )
        self.environment.pop("TRIREME_FAULT", None)

    def run(self, command):
        """Standard output of a program that must succeed."""
        done = subprocess.run(
            [str(word) for word in command], env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"bench: {' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def figures(self, command):
        """The line of JSON that a program of ours or of the peers prints."""
        return json.loads(self.run(command).splitlines()[-1])

    def program(self, name):
        return self.programs / f"bench_{name}"

    def trireme(self):
        return self.programs / "trireme"

    @staticmethod
    def mpirun(ranks=2):
        shared = ["--oversubscribe"] if ranks > len(os.sched_getaffinity(0)) else []
        return ["mpirun", "-np", ranks, "--bind-to", "none", *shared]

    def peer(self, name):
        return [self.peers, PEERS / f"{name}.py"]

    def torchrun(self, name, ranks=2):
        return [self.peers, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", ranks, PEERS / f"{name}.py"]

    def config(self, name, **sections):
        """A configuration of one line a section: JSON is YAML."""
        path = self.scratch / f"{name}.yaml"
        sections["run"] = {"dir": str(self.scratch / f"run_{name}"), "resume": "never"}
        sections.setdefault("checkpoint", {"every_steps": None})
        path.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in sections.items()))
        return path

    def progress(self, config, steps, every, ranks=0, watch=None):
        """When the progress line of each step arrived, one every `every` steps. `watch` is called with the process at its
        start."""
        shutil.rmtree(self.scratch / f"run_{config.stem}", ignore_errors=True)
        command = self.mpirun(ranks) if ranks else []
        command = [*command, self.trireme(), "train", config, f"train.steps={steps}", f"telemetry.log_every={every}"]
        arrivals, text = {}, []
        with subprocess.Popen(
            [str(word) for word in command], env=self.environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as process:
            if watch:
                watch(process)
            for line in process.stderr:
                text.append(line)
                if line.startswith("step "):
                    arrivals[int(line.split()[1].split("/")[0])] = time.monotonic()
        if process.returncode != 0:
            raise SystemExit(f"bench: {' '.join(map(str, command))} ended with {process.returncode}\n{''.join(text)}")
        return arrivals

    def training(self, config, steps, every, ranks=0):
        """Seconds of one step in each window of `every` steps, by the arrival of the progress lines: all that the run does
        between them counts. The window of the first steps is left out."""
        arrivals = list(self.progress(config, steps, every, ranks).values())
        return [(b - a) / every for a, b in zip(arrivals, arrivals[1:])]

    def peak_memory(self, config, steps, ranks=0):
        """Bytes of tensors that the rank with the most of them had at once, at most."""
        self.progress(config, steps, 1, ranks)
        records = (self.scratch / f"run_{config.stem}" / "metrics.jsonl").read_text().splitlines()
        return json.loads(records[-1])["memory"]["peak"]["max"]

    def token_file(self, name, tokens, vocabulary):
        """uint16 tokens, uniform below `vocabulary` (a power of two), as `trireme prepare` writes them."""
        path = self.scratch / f"{name}.h5"
        if path.exists():
            return path
        values = bytearray(random.Random(1).randbytes(2 * tokens))
        high = vocabulary // 256
        values[1::2] = values[1::2].translate(bytes(byte % high for byte in range(256)))
        raw = self.scratch / f"{name}.bin"
        raw.write_bytes(values)
        self.run([self.trireme(), "prepare", "bin", raw, "--vocab-size", vocabulary, "-o", path])
        raw.unlink()
        return path

    def feature_file(self, name, samples, features, classes):
        path = self.scratch / f"{name}.h5"
        if path.exists():
            return path
        draw = random.Random(1)
        table = self.scratch / f"{name}.csv"
        with table.open("w") as file:
            file.write(",".join([f"x{i}" for i in range(features)] + ["label"]) + "\n")
            for _ in range(samples):
                row = [f"{draw.gauss(0, 1):.4f}" for _ in range(features)] + [str(draw.randrange(classes))]
                file.write(",".join(row) + "\n")
        self.run([self.trireme(), "prepare", "csv", table, "--label", "label", "-o", path])
        table.unlink()
        return path


class ThreadWatch:
    """When a process had a thread of this name, looked for a hundred times a second."""

    def __init__(self, name):
        self.name = name
        self.alive = []  # [first seen, last seen]

    def __call__(self, process):
        threading.Thread(target=self.watch, args=[process], daemon=True).start()

    def watch(self, process):
        there = False
        while process.returncode is None:
            was, there = there, self.is_there(process.pid)
            now = time.monotonic()
            if there and not was:
                self.alive.append([now, now])
            elif there:
                self.alive[-1][1] = now
            time.sleep(0.01)

    def is_there(self, pid):
        for task in pathlib.Path(f"/proc/{pid}/task").glob("*/comm"):
            try:
                if task.read_text().strip() == self.name:
                    return True
            except OSError:
                pass  # it has just ended
        return False

    def between(self, begin, end):
        return any(first < end and last > begin for first, last in self.alive)


def in_turn(ours, peer, turns):
    """Calls both `turns` times, alternately; two lists of figures."""
    a, b = [], []
    for _ in range(turns):
        a.append(ours())
        b.append(peer())
    return a, b


def row(name, unit, goal, ours, peer, peer_name):
    """One line of the table. The ratio is that of the medians; its range that of the turns, each with its neighbour."""
    a, b = statistics.median(ours), statistics.median(peer)
    ratios = [x / y for x, y in zip(ours, peer)]
    return {
        "row": name,
        "unit": unit,
        "goal": goal,
        "ours": a,
        "peer": b,
        "peer_name": peer_name,
        "ratio": a / b,
        "ratio_range": [min(ratios), max(ratios)],
        "turns": {"ours": ours, "peer": peer},
    }


def first_step(bench, turns):
    """Launch to the end of the first step, 2 ranks, a small GPT. Ours ends when rank 0 has written the record of step 1
    and its line arrives here; in a run of one step that is at its end, while in a longer one the host reads a step two
    steps late. The peer ends where its rank 0 has read the loss."""
    config = bench.config(
        "first_step",
        model={"name": "gpt2", "config": {"vocab_size": 256, "n_positions": 64, "n_embd": 128, "n_layer": 2, "n_head": 4}},
        data={"train": str(bench.token_file("first", 1 << 20, 256)), "workers": 1},
        train={"steps": 1, "batch_size": 8},
        telemetry={"log_every": 1},
    )
    folder = bench.scratch / "run_first_step"

    def ours():
        shutil.rmtree(folder, ignore_errors=True)
        command = [str(word) for word in [*bench.mpirun(), bench.trireme(), "train", config]]
        begin = time.clock_gettime(time.CLOCK_REALTIME)
        with subprocess.Popen(
            command, env=bench.environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
        ) as process:
            seconds = None
            for line in process.stderr:
                if line.startswith("step 1/1") and seconds is None:
                    seconds = time.clock_gettime(time.CLOCK_REALTIME) - begin
        if process.returncode != 0 or not (folder / "metrics.jsonl").read_text():
            raise SystemExit(f"bench: {' '.join(command)} ended with {process.returncode}")
        return seconds

    def peer():
        begin = time.clock_gettime(time.CLOCK_REALTIME)
        return bench.figures([*bench.torchrun("launch_first_step"), "--launched-at", repr(begin)])["seconds"]

    ours(), peer()  # fills the page cache
    a, b = in_turn(ours, peer, max(turns, 5))
    yield row("launch to first step, 2 ranks", "s", "<= 0.30", a, b, "torchrun, DDP, gloo")


class GptStep:
    """A step of a GPT of 4 layers x 256, vocabulary 8192, 128 tokens, 8 samples a rank, 2 ranks of 1 thread."""

    tokens = 2 * 8 * 128

    def __init__(self, bench, strategy):
        self.bench = bench
        self.strategy = strategy
        self.config = bench.config(
            f"gpt_step_{strategy}",
            model={"name": "gpt2", "config": {"vocab_size": 8192, "n_positions": 128, "n_embd": 256, "n_layer": 4, "n_head": 4}},
            data={"train": str(bench.token_file("gpt", 1 << 20, 8192)), "workers": 1},
            train={"steps": 1, "batch_size": 8, "max_grad_norm": 1.0},
            parallel={"strategy": strategy},
        )

    def seconds(self):
        """Ours, with the loader, the records and everything else that `trireme train` does."""
        return statistics.median(self.bench.training(self.config, 40, 10, ranks=2))

    def ours(self):
        return self.tokens / self.seconds()

    def peer(self, variant):
        command = [*self.bench.torchrun("gpt_step"), "--strategy", self.strategy, "--variant", variant]
        return self.bench.figures([*command, "--warmup", 5, "--blocks", 3, "--steps", 10])["tokens_per_second"]["median"]

    def peers(self):
        """Tokens per second of each variant."""
        return {variant: self.peer(variant) for variant in ("eager", "compile", "compile-inside")}


def gpt_step(bench, turns):
    step = GptStep(bench, "ddp")
    tried = step.peers()
    best = max(tried, key=tried.get)
    a, b = in_turn(step.ours, lambda: step.peer(best), turns)
    yield row("training step GPT 4x256, 2 ranks x 1 thread", "tokens/s", ">= 1.25", a, b, f"PyTorch DDP, {best}") | {"tried": tried}


def fsdp_step(bench, turns):
    """The same with everything cut over the two ranks."""
    step, uncut = GptStep(bench, "fsdp"), GptStep(bench, "ddp")
    tried = step.peers()
    best = max(tried, key=tried.get)
    # Both comparisons share our turns, which lie between those of the two peers.
    b, a, c = [], [], []
    for _ in range(turns):
        b.append(step.peer(best))
        a.append(step.seconds())
        c.append(uncut.seconds())
    label = "fsdp step GPT 4x256, 2 ranks x 1 thread"
    yield row(label, "tokens/s", ">= 0.8", [step.tokens / s for s in a], b, f"PyTorch FSDP2, {best}") | {"tried": tried}
    yield row(label, "ms", "<= 1.10", [1e3 * s for s in a], [1e3 * s for s in c], "our ddp")


class DeepGpt:
    """A GPT of 12 layers x 256, vocabulary 256: most of it is in its blocks."""

    layers, width, vocabulary, positions = 12, 256, 256, 128
    block = 12 * width**2 + 13 * width
    parameters = layers * block + (vocabulary + positions + 2) * width

    def __init__(self, bench, name, length, batch, **parallel):
        self.bench = bench
        self.config = bench.config(
            name,
            model={
                "name": "gpt2",
                "config": {
                    "vocab_size": self.vocabulary,
                    "n_positions": self.positions,
                    "n_embd": self.width,
                    "n_layer": self.layers,
                    "n_head": 4,
                },
            },
            data={"train": str(bench.token_file("bytes", 1 << 20, 256)), "sequence_length": length, "workers": 1},
            train={"steps": 1, "batch_size": batch, "max_grad_norm": 1.0},
            parallel=parallel,
        )

    def peak(self, ranks=0):
        return self.bench.peak_memory(self.config, 4, ranks) / 2**20

    def state(self):
        """MiB of parameters, gradients and AdamW's two moments in float32."""
        return 16 * self.parameters / 2**20


def state_bytes(bench, turns):
    """Bytes of all tensors of a rank at the peak of a step of 4 tokens; no turns, it is the same each time."""
    gpt = DeepGpt(bench, "state_bytes", length=4, batch=1, strategy="fsdp")
    # A unit at work and one on its way: the parameters of both, and the gradients of both.
    planned = gpt.state() / 4 + 2 * 8 * gpt.block / 2**20
    yield row("fsdp state GPT 12x256, 4 ranks, peak of a step", "MiB", "<= 1.05", [gpt.peak(4)], [planned], "state / 4 + two units")


def recompute(bench, turns):
    """What 8 samples of 128 tokens take above the state at the peak of a step; no turns, it is the same each time."""
    gpts = {how: DeepGpt(bench, f"recompute_{how}", length=128, batch=8, recompute=how) for how in ("unit", "none")}
    ours, peer = ([gpt.peak() - gpt.state()] for gpt in gpts.values())
    yield row("activations GPT 12x256, 1024 tokens, recomputed", "MiB", "<= 0.35", ours, peer, "kept")


def fabric(bench, turns):
    """A step of fsdp on an emulated network, whose bandwidth hides, balances or dominates; the peer is the step's plan."""
    figures = [bench.figures([bench.program("fabric")]) for _ in range(turns)]
    for speed in ("hidden", "balanced", "dominating"):
        measured, planned = ([turn[speed][key] for turn in figures] for key in ("measured_ms", "planned_ms"))
        ours = [figure["median"] for figure in measured]
        yield row(f"fsdp step, 4 ranks, communication {speed}", "ms", "<= 1.05", ours, planned, "critical path of the plan")


def all_reduce(bench, turns):
    sizes = ["1", "4", "16", "64"]
    mine = [*bench.mpirun(), bench.program("all_reduce"), *sizes]
    theirs = [*bench.torchrun("all_reduce"), "--mib", *sizes]
    a, b = in_turn(lambda: bench.figures(mine)["mib"], lambda: bench.figures(theirs)["mib"], turns)
    for size in sizes:
        ours, peer = ([turn[size]["ms"]["median"] for turn in side] for side in (a, b))
        yield row(f"all-reduce {size} MiB float32, 2 ranks", "ms", "<= 0.25", ours, peer, "gloo")


def hdf5_loader(bench, turns):
    """Windows of 1024 tokens in shuffled order, batches of 16; every process and its workers on one core."""
    file = bench.token_file("tokens", 64 << 20, 65536)
    core = ["taskset", "-c", min(os.sched_getaffinity(0))]
    a, b = in_turn(
        lambda: [
            bench.figures([*core, bench.program("hdf5_loader"), file, "--workers", workers])["samples_per_second"]["median"]
            for workers in (0, 1)
        ],
        lambda: {
            name: figure["median"]
            for name, figure in bench.figures([*core, *bench.peer("hdf5_loader"), "--file", file])["samples_per_second"].items()
        },
        turns,
    )
    best = max((name for name in b[0] if name.startswith("h5py")), key=lambda name: statistics.median(turn[name] for turn in b))
    for workers in (0, 1):
        ours = [turn[workers] for turn in a]
        label = f"HDF5 windows, one core, {workers} workers"
        yield row(label, "samples/s", ">= 8", ours, [turn[best] for turn in b], f"DataLoader {best}")
        yield row(label, "samples/s", ">= 2", ours, [turn["memmap_by_hand"] for turn in b], "memory map by hand")


def optimizer(bench, turns):
    for threads in (1, 2):
        if threads > len(os.sched_getaffinity(0)):
            continue
        mine = [bench.program("optimizer"), "--threads", threads]
        theirs = [*bench.peer("optimizer"), "--threads", threads]
        a, b = in_turn(lambda: bench.figures(mine)["ms"]["median"], lambda: bench.figures(theirs)["ms"], turns)
        # Gradients that are dropped are allocated and written anew by the next backward, so only cleared ones are equal work.
        for kind in ("memset", "none"):
            names = [name for name in b[0] if name.endswith(kind)]
            best = min(names, key=lambda name: statistics.median(turn[name]["median"] for turn in b))
            label = f"norm, clip, AdamW, clear; 50M in 200 tensors, {threads} thread{'s' if threads > 1 else ''}"
            goal = "<= 0.7" if kind == "memset" else "(peer drops the gradients)"
            yield row(label, "ms", goal, a, [turn[best]["median"] for turn in b], f"fused AdamW, {best}")


def small_step(bench):
    return bench.config(
        "small_step",
        model={"name": "mlp", "config": {"inputs": 64, "hidden": [256, 256], "classes": 10}},
        data={"train": str(bench.feature_file("features", 8192, 64, 10)), "workers": 1},
        train={"steps": 1, "batch_size": 64, "max_grad_norm": 1.0},
        schedule={"name": "constant"},
    )


def trainer_loop(bench, turns):
    """`trireme train` on one rank, with loader and records, against a loop of the same operations on data in memory."""
    config = small_step(bench)
    a, b = in_turn(
        lambda: 1e6 * statistics.median(bench.training(config, 8000, 1000)),
        lambda: bench.figures([bench.program("bare_loop"), config])["step_us"]["median"],
        turns,
    )
    yield row("whole trainer loop, small step", "us", "<= 1.10", a, b, "bare loop in C++")


def telemetry(bench, turns):
    config = small_step(bench)
    figures = [bench.figures([bench.program("telemetry"), config]) for _ in range(turns)]
    on, off = ([turn[name]["median"] for turn in figures] for name in ("on_us", "off_us"))
    yield row("step with telemetry, small step", "us", "<= 1.01", on, off, "telemetry off")


SWITCHES = [
    "memory_usage", "gradient_norms", "forward_pass", "backward_pass", "device_placement", "mixed_precision", "data_loading",
    "validation", "early_stopping", "lr_scheduling", "autograd_anomaly", "autograd_profiler", "tensorboard_profiler",
]


def switches(bench, turns):
    """Each debug switch on for 16 steps, off for 16, ten times in one run, by the arrival of the progress lines: the machine's pace
    changes more slowly than that. A rule acts 6 steps after its condition holds, and lines come 2 steps late, so that of each half 8
    steps are surely on one side. The recordings of profilers are written behind their last step, which counts as theirs."""
    period, length, every = 32, 16, 4
    begins = range(period, 11 * period, period)
    for name in SWITCHES:
        config = bench.config(
            f"switch_{name}",
            model={"name": "gpt2", "config": {"vocab_size": 256, "n_positions": 128, "n_embd": 256, "n_layer": 4, "n_head": 4}},
            data={"train": str(bench.token_file("bytes", 1 << 20, 256)), "workers": 1},
            train={"steps": 1, "batch_size": 2, "max_grad_norm": 1.0},
            checkpoint={"every_steps": None},
            debug={"rules": [{"when": f"step >= {begin}", "for": length, "enable": [name]} for begin in begins]},
        )
        on, off = [], []
        for _ in range(turns):
            arrivals = bench.progress(config, 12 * period, every)

            def seconds(first, last):
                return statistics.median((arrivals[begin + last] - arrivals[begin + first]) / (last - first) for begin in begins)

            on.append(1e3 * seconds(8, 24 if "profiler" in name else 16))
            off.append(1e3 * seconds(24, 32))
        goal = "<= 1.01" if SWITCHES.index(name) < 10 else "(stated)"
        yield row(f"step with {name}", "ms", goal, on, off, "switched off")


def operator_trace(bench, turns):
    """Operations of a step of 3 ms recorded by callbacks, against torch.profiler, which records the same; and Kineto called from
    C++, which our trainer uses on devices."""
    for name, shapes in (("names and times", 0), ("and shapes", 1)):
        a, b = in_turn(
            lambda: bench.figures([bench.program("operator_trace"), "--shapes", shapes]),
            lambda: bench.figures([*bench.peer("operator_trace"), "--shapes", shapes]),
            turns,
        )
        label = f"recorded operation, {name}: added to the step"
        theirs = [turn["profiler_us"]["median"] for turn in b]
        yield row(label, "us", "<= 0.5", [turn["callbacks_us"]["median"] for turn in a], theirs, "torch.profiler")
        ends = [turn["profiler_stop_us"]["median"] for turn in b]
        label = f"recorded operation, {name}: at the end"
        yield row(label, "us", "<= 0.5", [turn["callbacks_stop_us"]["median"] for turn in a], ends, "torch.profiler")


def trace_merge(bench, turns):
    """Spans of 64 ranks, threads of one process, formatted, compressed, gathered and written as one file at rank 0."""
    folder = bench.scratch / "trace_merge"
    folder.mkdir(exist_ok=True)
    figures = bench.figures([bench.program("trace_merge"), folder, "--turns", turns])
    seconds = [figures["seconds"][name] for name in ("min", "median", "max")]
    yield row("traces of 64 ranks x 100,000 spans merged", "s", "<= 1", seconds, [10.0] * len(seconds), "the 10 s allowed")


def checkpoint(bench, turns):
    """500 MiB of AdamW's state, one process of one thread, local disk; writes end with fsync."""
    ours, theirs = bench.scratch / "checkpoint_ours", bench.scratch / "checkpoint_peer"

    def fresh(command, folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return bench.figures([*command, folder, "--turns", 3])

    a, b = in_turn(
        lambda: fresh([bench.program("checkpoint")], ours), lambda: fresh(bench.peer("checkpoint"), theirs), turns
    )

    def compare(label, unit, goal, mine, other, peer_name, of_ours=False):
        def pick(figures, name):
            return figures[name]["median"] if isinstance(figures[name], dict) else figures[name]

        return row(label, unit, goal, [pick(turn, mine) for turn in a], [pick(turn, other) for turn in (a if of_ours else b)], peer_name)

    label = "step blocked by a save of 500 MiB"
    yield compare(f"{label}, the first", "ms", "<= 0.3", "blocked_first_ms", "async_blocked_first_ms", "DCP async_save")
    yield compare(f"{label}, the next", "ms", "<= 0.3", "blocked_ms", "async_blocked_ms", "DCP async_save")
    yield compare(f"{label}, nothing to hide behind", "ms", "(copy exposed)", "exposed_copy_ms", "async_blocked_ms", "DCP async_save")
    label = "500 MiB written, hashed, fsynced"
    yield compare(label, "MiB/s", ">= 0.85", "write_mib_per_second", "raw_mib_per_second", "write and fsync alone", of_ours=True)
    for name, goal in (("safetensors", ">= 1.0"), ("dcp", ">= 2.5"), ("torch_save", ">= 4")):
        yield compare(label, "MiB/s", goal, "write_mib_per_second", f"{name}_write_mib_per_second", f"{name}, fsync")
    label = "500 MiB read and verified"
    yield compare(label, "MiB/s", ">= 1.5", "read_mib_per_second", "torch_load_mib_per_second", "torch.load")
    yield compare(label, "MiB/s", ">= 1.2", "read_mib_per_second", "dcp_load_mib_per_second", "DCP load")


def steps_while_saving(bench, turns):
    """A GPT of 42 million parameters, 480 MiB of state, on one rank of one thread: the steps while the thread that saves is at
    work against those between that save and the next, in one run. All that a step waits for counts, the begin of the save too."""
    period, saves = 32, 2 * turns
    config = bench.config(
        "steps_while_saving",
        model={"name": "gpt2", "config": {"vocab_size": 8192, "n_positions": 64, "n_embd": 512, "n_layer": 12, "n_head": 8}},
        data={"train": str(bench.token_file("gpt", 1 << 20, 8192)), "workers": 1},
        train={"steps": 1, "batch_size": 1, "max_grad_norm": 1.0},
        checkpoint={"every_steps": period, "keep_last": 1, "async": True},
    )
    saving = ThreadWatch("trireme-save")
    arrivals = bench.progress(config, period * (saves + 1), 1, watch=saving)
    # The line of a step is printed at the end of the second step after it; where a save begins, what is left is printed first. So
    # the first three steps after that are timed as one.
    during, without = [], []
    for begin in range(period, period * (saves + 1), period):
        ends = [(0, arrivals[begin - 2])] + [(step, arrivals[begin + step - 2]) for step in range(3, period + 1)]
        spent = {True: [0, 0.0], False: [0, 0.0]}
        for (first, since), (last, until) in zip(ends, ends[1:]):
            sums = spent[saving.between(since, until)]
            sums[0] += last - first
            sums[1] += until - since
        if all(steps for steps, _ in spent.values()):  # else the disk was so slow that one save followed the other
            during.append(1e3 * spent[True][1] / spent[True][0])
            without.append(1e3 * spent[False][1] / spent[False][0])
    if not during:
        raise SystemExit(f"bench: no save ended within {period} steps")
    yield row("step while 480 MiB are saved, 42M parameters, 1 thread", "ms", "<= 1.03", during, without, "no save under way")


def reshard(bench, turns):
    """500 MiB of state saved by 4 ranks, loaded by 2, each of which takes its half of every tensor."""
    ours, theirs = bench.scratch / "reshard_ours", bench.scratch / "reshard_peer"
    bench.run([*bench.mpirun(4), bench.program("reshard"), "save", ours])
    bench.run([*bench.torchrun("reshard", 4), "save", theirs])
    a, b = in_turn(
        lambda: bench.figures([*bench.mpirun(2), bench.program("reshard"), "load", ours])["mib_per_second"]["median"],
        lambda: bench.figures([*bench.torchrun("reshard", 2), "load", theirs])["mib_per_second"],
        turns,
    )
    best = max(b[0], key=lambda name: statistics.median(turn[name]["median"] for turn in b))
    peer = [turn[best]["median"] for turn in b]
    yield row("500 MiB saved by 4 ranks, loaded and verified by 2", "MiB/s", ">= 1.2", a, peer, f"DCP, DTensors, {best}")


ROWS = {
    f.__name__: f
    for f in (
        first_step,
        gpt_step,
        all_reduce,
        hdf5_loader,
        optimizer,
        trainer_loop,
        telemetry,
        switches,
        trace_merge,
        operator_trace,
        checkpoint,
        steps_while_saving,
        reshard,
        fsdp_step,
        state_bytes,
        recompute,
        fabric,
    )
}


def short(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(rows):
    lines = ["| row | ours | peer | ratio | goal | range of the ratio | peer is |", "|---|---|---|---|---|---|---|"]
    for r in rows:
        low, high = r["ratio_range"]
        lines.append(
            f"| {r['row']} | {short(r['ours'])} {r['unit']} | {short(r['peer'])} {r['unit']} | {r['ratio']:.3f} "
            f"| {r['goal']} | {low:.3f} to {high:.3f} | {r['peer_name']} |"
        )
    return "\n".join(lines)


def machine():
    cpu = next(
        (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo", encoding="utf-8") if line.startswith("model name")),
        platform.machine(),
    )
    return {"cpu": cpu, "cores": len(os.sched_getaffinity(0)), "load": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d")}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; default: all")
    parser.add_argument("--peers", default=str(ROOT / ".deps/peers/bin/python"), help="a Python with PyTorch 2.11 and h5py")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    unknown = [name for name in options.rows if name not in ROWS]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    result = {"machine": machine(), "rows": []}
    with tempfile.TemporaryDirectory(prefix="trireme-bench-") as scratch:
        bench = Bench(options, pathlib.Path(scratch))
        for name in options.rows or ROWS:
            print(f"bench: {name}", flush=True)
            result["rows"] += ROWS[name](bench, options.turns)
            (options.build / "bench.json").write_text(json.dumps(result, indent=1) + "\n")
    host = result["machine"]
    print(f"\n{host['cpu']}, {host['cores']} cores, load {host['load']:.1f} at the start, {host['date']}\n\n{table(result['rows'])}")


if __name__ == "__main__":
    main()
