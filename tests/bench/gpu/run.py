"""Repeats the whole table of docs/gpu_benchmarks.md on one GPU, and writes one JSON file.

    python3 tests/bench/gpu/run.py --out FILE.json [--rows ROW,ROW] [--budget SECONDS] [--device cuda|cpu] [--quick]

Ours is `trireme train` with a configuration that this script writes; the peers are the scripts of the folder peers, run by
--peers (a Python with PyTorch 2.11). Both start from the same weights and read the same tokens in the same order; a row counts
only if the first losses of both are those of a float32 run (the gate). Turns alternate, A B A B A B; medians count, and a ratio
within the spread of its turns is undecided. The ceilings of the machine are measured first and last. Each row records the
commands it ran; one that fails is recorded with its error, and the others go on. Each call appends a run to FILE.json.
"""

import argparse
import json
import os
import pathlib
import queue
import shlex
import shutil
import statistics
import subprocess
import sys
import threading
import time
import traceback

import floors

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
ATTENTION_GUESS = (290e12, 240e12)  # FLOP/s forward and backward, where no kernel could be measured


class Failure(Exception):
    pass


class Deadline(Failure):
    pass


def words(command):
    return [str(word) for word in command]


class Bench:
    def __init__(self, options):
        self.options = options
        self.end = time.monotonic() + options.budget
        self.scratch = options.scratch
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.commands = []  # of the row under way
        self.measured = {}  # ceilings and the like, for the rows that follow
        self.environment = dict(
            os.environ,
            NO_COLOR="1",
            TORCHINDUCTOR_CACHE_DIR=str(self.scratch / "inductor"),
            TRITON_CACHE_DIR=str(self.scratch / "triton"),
            OMPI_ALLOW_RUN_AS_ROOT="1",
            OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1",
        )
        self.environment.pop("TRIREME_FAULT", None)

    def left(self, least=1.0):
        left = self.end - time.monotonic()
        if left < least:
            raise Deadline(f"the budget is spent: {left:.0f} s left, {least:.0f} s needed")
        return left

    def note(self, command):
        self.commands.append(shlex.join(words(command)))
        return words(command)

    def run(self, command, environment=None):
        """Standard output of a program that must succeed."""
        try:
            done = subprocess.run(
                self.note(command), env=environment or self.environment, capture_output=True, text=True, timeout=self.left(), check=False
            )
        except subprocess.TimeoutExpired as error:
            raise Deadline(f"the budget was spent within {self.commands[-1]}") from error
        if done.returncode != 0:
            raise Failure(f"{self.commands[-1]} ended with {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}")
        return done.stdout

    def figures(self, command):
        return json.loads(self.run(command).splitlines()[-1])

    def peer(self, name):
        return [self.options.peers, HERE / "peers" / f"{name}.py"]

    def on_device(self):
        return ["--device", self.options.device]


class Lines:
    """Lines that a process prints, with a time limit for each."""

    def __init__(self, bench, command, log, environment=None):
        self.bench, self.log = bench, log
        with open(log, "w", encoding="utf-8") as errors:
            self.process = subprocess.Popen(
                bench.note(command),
                env=environment or bench.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def next(self):
        try:
            line = self.lines.get(timeout=self.bench.left())
        except queue.Empty as error:
            raise Deadline("the budget was spent waiting for a peer") from error
        if line is None:
            raise Failure(f"a peer ended with {self.process.wait()}\n{self.log.read_text()[-4000:]}")
        return line

    def ask(self):
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # the next line says how it ended
        return self.next()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


class Workload:
    """A GPT-2 of one shape, its inputs, and the two sides that train it."""

    def __init__(self, bench, name, layers, width, heads, batch, length=1024, vocabulary=50304, part=8):
        self.bench, self.name, self.part = bench, name, part
        self.file_name = name.replace(" ", "_")
        if bench.options.quick:
            self.name = f"(tiny) {name}"
            layers, width, heads, length, vocabulary = 2, 64, 2, 64, 512
            batch, self.part = min(batch, 4), 2
        self.gpt = floors.Gpt(layers=layers, width=width, vocabulary=vocabulary, length=length, batch=batch)
        self.heads = heads
        self.inputs = bench.scratch / f"inputs_{layers}x{width}_{vocabulary}_{length}"
        self.losses = 5 if bench.options.quick else 20

    def shape(self):
        gpt = self.gpt
        return ["--layers", gpt.layers, "--width", gpt.width, "--heads", self.heads, "--vocabulary", gpt.vocabulary, "--length", gpt.length]

    def prepare(self):
        if (self.inputs / "tokens.h5").exists():
            return
        tokens = 1 << (17 if self.bench.options.quick else 25)
        self.bench.run([*self.bench.peer("gpt2"), self.inputs, "--tokens", tokens, *self.shape()])
        fresh = self.inputs / "tokens.h5.new"
        vocabulary = ["--vocab-size", self.gpt.vocabulary]
        self.bench.run([self.bench.options.trireme, "prepare", "bin", self.inputs / "tokens.bin", *vocabulary, "--force", "-o", fresh])
        fresh.rename(self.inputs / "tokens.h5")

    def reference(self):
        """First losses in float32, remembered with the inputs."""
        self.prepare()
        file = self.inputs / f"losses_{self.gpt.batch}.json"
        if not file.exists():
            peer = TorchPeer(self, "eager", "auto", "fp32", part=min(self.part, self.gpt.batch))
            file.write_text(json.dumps(peer.first["losses"]))
            peer.close()
        return json.loads(file.read_text())

    def gate(self, losses):
        expected = self.reference()
        worst = max(abs(a - b) for a, b in zip(losses, expected))
        return {"passed": len(losses) >= len(expected) and worst <= 2e-2, "worst": worst, "losses": losses, "reference": expected}


class TorchPeer:
    """A process of peers/gpt2_step.py; stays alive between turns."""

    def __init__(self, workload, variant, kernel, precision, part=None, cold=False, losses=None):
        self.name = f"{variant}, {kernel} attention, {precision}"
        bench = workload.bench
        workload.prepare()
        command = [*bench.peer("gpt2_step"), "--inputs", workload.inputs, *workload.shape(), "--batch", workload.gpt.batch]
        command += ["--variant", variant, "--attention", kernel, "--precision", precision, *bench.on_device()]
        command += ["--losses", losses or workload.losses, "--steps", bench.options.steps]
        if part:
            command += ["--part", part]
        environment = None
        if cold:
            folder = bench.scratch / "cold"
            shutil.rmtree(folder, ignore_errors=True)
            environment = dict(bench.environment, TORCHINDUCTOR_CACHE_DIR=str(folder / "inductor"), TRITON_CACHE_DIR=str(folder / "triton"))
        self.launched = time.time()
        self.lines = Lines(bench, command, bench.scratch / "peer.log", environment)
        try:
            self.first = json.loads(self.lines.next())
        except BaseException:
            self.lines.close()
            raise
        self.peak = None

    def turn(self):
        answer = json.loads(self.lines.ask())
        self.peak = answer["peak_bytes"]
        return answer["seconds"]

    def close(self):
        self.lines.close()


class Ours:
    """`trireme train`, started anew for each turn and ended once the steps that count are recorded."""

    def __init__(self, workload, **sections):
        self.workload, self.bench = workload, workload.bench
        self.folder = self.bench.scratch / f"run_{workload.file_name}"
        self.peak, self.name = None, "trireme train"
        workload.prepare()
        options, gpt = self.bench.options, workload.gpt
        model = {"vocab_size": gpt.vocabulary, "n_positions": gpt.length, "n_embd": gpt.width, "n_layer": gpt.layers, "n_head": workload.heads}
        self.sections = {
            "run": {"dir": str(self.folder), "resume": "never"},
            "device": {"type": options.device},
            "model": {"name": "gpt2", "weights": str(workload.inputs), "config": model},
            "data": {"train": str(workload.inputs / "tokens.h5"), "sequence_length": gpt.length, "shuffle": False},
            "train": {"steps": 1, "batch_size": gpt.batch, "max_grad_norm": 1.0},
            "eval": {"at_end": False},
            "optim": {"name": "adamw", "lr": 3e-4, "betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1},
            "schedule": {"name": "constant"},
            "precision": {"compute": "bf16" if options.device == "cuda" else "fp32"},
            "checkpoint": {"every_steps": None},
        }
        if options.device == "cuda":
            self.sections["device"]["optimization_level"] = options.level
        for name, values in sections.items():
            self.sections.setdefault(name, {}).update(values)
        self.config = self.bench.scratch / f"{workload.file_name}.yaml"

    def records(self, wanted, every, steps=1000000):
        """The first `wanted` records of a run, one every `every` steps; the run is then killed: its end costs a checkpoint."""
        shutil.rmtree(self.folder, ignore_errors=True)
        sections = dict(self.sections, telemetry={"log_every": every})
        sections["train"] = dict(sections["train"], steps=steps)
        self.config.write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in sections.items()))
        command = [self.bench.options.trireme, "train", self.config, *self.bench.options.set]
        log = self.bench.scratch / "ours.log"
        with open(log, "w", encoding="utf-8") as output:
            process = subprocess.Popen(self.bench.note(command), env=self.bench.environment, stdout=output, stderr=subprocess.STDOUT)
        metrics = self.folder / "metrics.jsonl"
        try:
            while True:
                ended = process.poll()
                text = metrics.read_text() if metrics.exists() else ""
                lines = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
                if len(lines) >= wanted:
                    return [json.loads(line) for line in lines[:wanted]]
                if ended is not None:
                    raise Failure(f"{self.bench.commands[-1]} ended with {ended}\n{log.read_text()[-4000:]}")
                self.bench.left()
                time.sleep(0.02)
        finally:
            process.kill()
            process.wait()

    def losses(self, count):
        return [record["loss"] for record in self.records(count, 1)]

    def seconds(self, every=None, blocks=2):
        """Of one step: the median of blocks of `every` steps, after at least 20 steps of warm-up."""
        every = every or max(1, self.bench.options.steps // blocks)
        warm = 1 if self.bench.options.quick else -(-20 // every)
        records = self.records(warm + blocks, every)
        self.peak = records[-1]["memory"]["peak"]["max"]
        return statistics.median(record["step_seconds"] for record in records[warm:])

    def turn(self):
        return self.seconds()


def alternate(bench, sides, turns):
    """Calls each side `turns` times, one after the other; a list of figures a side. Stops early rather than late."""
    figures = [[] for _ in sides]
    for turn in range(turns):
        begin = time.monotonic()
        for side, values in zip(sides, figures):
            values.append(side())
        if turn + 1 < turns and bench.end - time.monotonic() < 1.2 * (time.monotonic() - begin):
            break
    return figures


def row(name, unit, goal, ours, peer, peer_name, **more):
    """One line of the table; the ratio is that of the medians, its range that of the turns, each with its neighbour."""
    a, b = statistics.median(ours), statistics.median(peer)
    ratios = [x / y for x, y in zip(ours, peer)]
    return {
        "row": name, "unit": unit, "goal": goal, "ours": a, "peer": b, "peer_name": peer_name, "ratio": a / b,
        "ratio_range": [min(ratios), max(ratios)], "turns": {"ours": ours, "peer": peer}, **more,
    }  # fmt: skip


def measure_ceilings(bench, shapes=None):
    command = [*bench.peer("ceilings"), *bench.on_device()]
    if bench.options.quick:
        command += ["--side", 256, "--mib", 16]
    if shapes:
        command += ["--shapes", *shapes]
    return bench.figures(command)


def library_speeds(bench, workload):
    """What the libraries make of the products and the attention of this workload."""
    gpt, options = workload.gpt, bench.options
    if options.device != "cuda":
        gemm = bench.measured["ceilings"]["gemm"]
        return floors.Speeds.hardware(gemm, bench.measured["ceilings"]["copy"]), {}
    figures = measure_ceilings(bench, [*workload.shape(), "--batch", gpt.batch])
    flops = {part.name: part.flops for part in floors.parts(gpt)}
    names = {"qkv": "QKV", "projection": "attention projection", "fc": "fc", "fc_projection": "fc projection", "head": "LM head"}
    # Each of a layer's three products takes a third of its operations.
    spent = sum(flops[names[name]] / 3 / speed for name, speeds in figures["shapes"].items() for speed in speeds)
    gemm = sum(flops[name] for name in names.values()) / spent
    kernels = [value for value in figures["attention"].values() if isinstance(value, list)]
    forward, backward = max(kernels, key=lambda k: 1 / (1 / k[0] + 2.5 / k[1])) if kernels else ATTENTION_GUESS
    return floors.Speeds(gemm, figures["copy"], forward, backward), figures


def variants(bench, quick_default):
    """(variant, attention, precision) of the peers to try."""
    if bench.options.device != "cuda":
        return [("eager", "auto", "fp32")]
    return [tuple(one.split(":")) for one in bench.options.variants or quick_default]


def fastest(bench, workload, candidates, turns):
    """Ours and the fastest of the candidates in turn; the others' figures are kept."""
    ours, tried = Ours(workload), {}
    gates = {"ours": workload.gate(ours.losses(workload.losses))}
    best = None
    for candidate in candidates:
        try:
            peer = TorchPeer(workload, *candidate)
        except Deadline as error:
            tried[":".join(candidate)] = str(error)
            break
        except Failure as error:
            tried[":".join(candidate)] = str(error)
            continue
        seconds, gate = peer.turn(), workload.gate(peer.first["losses"])
        tried[":".join(candidate)] = {"seconds": seconds, "peak_bytes": peer.peak, "gate": gate}
        peer.close()  # two models at a time might not fit
        if gate["passed"] and (best is None or seconds < best[0]):
            best = seconds, candidate
    if best is None:
        raise Failure(f"no peer ran and computed right: {tried}")
    peer = None

    def theirs():
        # Its memory is needed by ours: unless there is plenty, it starts anew for every turn.
        nonlocal peer
        peer = peer or TorchPeer(workload, *best[1], losses=3)
        peer.turn()  # clocks and caches as after a run of ours
        seconds = peer.turn()
        if not bench.options.keep_peers:
            peer.close()
            done, peer = peer, None
            theirs.peak, theirs.name = done.peak, done.name
        else:
            theirs.peak, theirs.name = peer.peak, peer.name
        return seconds

    try:
        a, b = alternate(bench, [ours.turn, theirs], turns)
    finally:
        if peer:
            peer.close()
    return ours, theirs, a, b, {"gate": gates["ours"], "peers": tried}


def training_rows(bench, workload, candidates, speed_goal, floor_goals, memory_goal):
    speeds, library = library_speeds(bench, workload)
    ours, peer, a, b, more = fastest(bench, workload, candidates, bench.options.turns)
    gpt, label = workload.gpt, workload.name
    valid = more["gate"]["passed"]
    yield row(f"{label}, training", "tok/s", speed_goal, [gpt.tokens / s for s in a], [gpt.tokens / s for s in b], peer.name, valid=valid, **more)
    hardware = floors.Speeds.hardware(bench.measured["ceilings"]["gemm"], bench.measured["ceilings"]["copy"])
    for name, goal, speed in (("F_hw", floor_goals[0], hardware), ("F_lib", floor_goals[1], speeds)):
        least = floors.floor(gpt, speed)
        # The ratio of the table is ours over the peer's: 1 / t over 1 / floor.
        yield row(f"{label}, {name} / step", "steps/s", goal, [1 / s for s in a], [1 / least] * len(a), f"{name} = {1e3 * least:.2f} ms", valid=valid,
                  speeds=vars(speed), library=library, mfu=floors.model_flops(gpt) / hardware.gemm / statistics.median(a))  # fmt: skip
    if peer.peak:
        yield row(f"{label}, peak memory", "MiB", memory_goal, [ours.peak / 2**20], [peer.peak / 2**20], peer.name, valid=valid)


def gpt2_124m(bench):
    """GPT-2 124M, 64 samples of 1024 tokens: goals 1, 2 and 7."""
    workload = Workload(bench, "GPT-2 124M 64x1024", 12, 768, 12, 64)
    candidates = variants(bench, ["compile:cudnn:masters", "compile:flash:masters"])
    yield from training_rows(bench, workload, candidates, ">= 1.10", (">= 0.70", ">= 0.92"), "<= 0.75")


def peers_124m(bench):
    """All that PyTorch offers for 124M, to choose --variants from; no row of ours."""
    workload = Workload(bench, "GPT-2 124M 64x1024", 12, 768, 12, 64)
    everything = ["max-autotune:cudnn:masters", "compile:cudnn:autocast", "compile:cudnn:masters", "compile:flash:masters", "eager:cudnn:masters"]
    for candidate in variants(bench, everything):
        peer = TorchPeer(workload, *candidate)
        seconds = [peer.turn() for _ in range(2)]
        yield {"row": f"peer {peer.name}", "peer_seconds": seconds, "peak_bytes": peer.peak, "gate": workload.gate(peer.first["losses"])}
        peer.close()


def gpt2_1558m(bench):
    """GPT-2 1558M, 16 samples of 1024 tokens: goal 5."""
    workload = Workload(bench, "GPT-2 1558M 16x1024", 48, 1600, 25, 16, part=2)
    yield from training_rows(bench, workload, variants(bench, ["compile:cudnn:masters"]), ">= 1.05", (">= 0.74", "(none)"), "<= 0.75")


def gpt2_small_batch(bench):
    """GPT-2 124M, one sample of 1024 tokens, where launches count: goal 4."""
    workload = Workload(bench, "GPT-2 124M 1x1024", 12, 768, 12, 1)
    ours = Ours(workload)
    gate = workload.gate(ours.losses(workload.losses))
    goals = {"eager": ">= 3.0", "reduce-overhead": ">= 1.10", "graph": ">= 1.0"}
    quick = bench.options.device != "cuda"
    for variant, goal in goals.items():
        if quick and variant != "eager":
            continue
        try:
            peer = TorchPeer(workload, variant, "auto", "fp32" if quick else "masters")
            a, b = alternate(bench, [ours.turn, peer.turn], bench.options.turns)  # small: both fit
            peer.close()
        except Deadline:
            raise
        except Failure as error:
            yield {"row": f"{workload.name}, {variant}", "failed": str(error)}
            continue
        tokens = workload.gpt.tokens
        yield row(f"{workload.name}, training", "tok/s", goal, [tokens / s for s in a], [tokens / s for s in b], peer.name, valid=gate["passed"],
                  gate=gate, peer_gate=workload.gate(peer.first["losses"]))  # fmt: skip


def kernels(bench):
    """Our memory-bound kernels against a copy in device memory, and the backward of layer norm against a compiled one: goal 6."""
    small = bench.options.quick
    sizes = ["--tokens", 256, "--width", 64, "--vocabulary", 512, "--parameters", 100000] if small else []
    back_end = bench.options.back_end or ("cuda" if bench.options.device == "cuda" else "emulated")
    program = bench.options.trireme.parent / "bench_gpu_kernels"
    ours = [program, "--back-end", back_end, *sizes]
    theirs = [*bench.peer("layer_norm"), *bench.on_device(), *sizes[:4]]
    a, b = alternate(bench, [lambda: bench.figures(ours), lambda: bench.figures(theirs)], bench.options.turns)
    copy = bench.measured["ceilings"]["copy"]
    yield row("memory-bound kernels, weighted by bytes", "GB/s", ">= 0.85", [turn["bytes_per_second"] / 1e9 for turn in a],
              [copy / 1e9] * len(a), "device copy", kernels=a[-1]["kernels"], products_us=a[-1]["products_us"])  # fmt: skip
    backward = [1e6 / turn["kernels"]["layer_norm_backward"]["us"] for turn in a]
    yield row("layer norm backward with residual", "1/s", ">= 1.8", backward, [1e6 / turn["backward_us"] for turn in b], "torch.compile")


def telemetry(bench):
    """Records every 10 steps against one record at the end of the block: goal 13."""
    workload = Workload(bench, "GPT-2 124M 1x1024", 12, 768, 12, 1)
    ours = Ours(workload)
    steps = 40 if bench.options.quick else 200

    def often():
        records = ours.records(2 * steps // 10, 10)
        return statistics.mean(record["step_seconds"] for record in records[steps // 10 :])

    def seldom():
        return ours.records(2, steps)[1]["step_seconds"]

    on, off = alternate(bench, [often, seldom], bench.options.turns)
    yield row(f"{workload.name}, step with records", "ms", "<= 1.005", [1e3 * s for s in on], [1e3 * s for s in off], f"one record in {steps} steps")


def first_step(bench):
    """Launch to the end of the first step: goal 14."""
    workload = Workload(bench, "GPT-2 124M 8x1024", 12, 768, 12, 8)
    ours = Ours(workload)

    def mine():
        begin = time.time()
        ours.records(1, 1, steps=1)
        return time.time() - begin

    precision = "fp32" if bench.options.device != "cuda" else "masters"
    for variant, goal in (("eager", "<= 0.60"), ("compile", "<= 0.10")):
        if variant == "compile" and bench.options.quick:
            continue

        def theirs(variant=variant):
            peer = TorchPeer(workload, variant, "auto", precision, cold=True, losses=1)
            peer.close()
            return peer.first["first_step_at"] - peer.launched

        a, b = alternate(bench, [mine, theirs], 1 if variant == "compile" else bench.options.turns)
        yield row(f"{workload.name}, launch to first step", "s", goal, a, b, f"PyTorch {variant}, nothing cached")


ROWS = {f.__name__: f for f in (gpt2_124m, gpt2_small_batch, kernels, gpt2_1558m, telemetry, first_step, peers_124m)}


def short(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def table(rows):
    lines = ["| row | ours | peer | ratio | goal | range of the ratio | peer is |", "|---|---|---|---|---|---|---|"]
    for r in rows:
        if "ratio" not in r:
            lines.append(f"| {r['row']} | | {r.get('peer_seconds', 'failed')} | | | | |")
            continue
        low, high = r["ratio_range"]
        void = "" if r.get("valid", True) else " (void: its losses are not those of float32)"
        lines.append(
            f"| {r['row']}{void} | {short(r['ours'])} {r['unit']} | {short(r['peer'])} {r['unit']} | {r['ratio']:.3f} "
            f"| {r['goal']} | {low:.3f} to {high:.3f} | {r['peer_name']} |"
        )
    return "\n".join(lines)


def save(file, run):
    """Replaces this run in the file, or appends it."""
    runs = json.loads(file.read_text())["runs"] if file.exists() else []
    runs = [one for one in runs if one["started"] != run["started"]] + [run]
    new = file.with_name(file.name + ".new")
    new.write_text(json.dumps({"runs": runs}, indent=1) + "\n")
    new.rename(file)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--rows", default=",".join(name for name in ROWS if name != "peers_124m"), help=f"of {', '.join(ROWS)}")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny shapes: proves the script, measures nothing")
    parser.add_argument("--budget", type=float, default=3600, help="seconds; what does not fit is left out")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="of a turn")
    parser.add_argument("--trireme", type=pathlib.Path, default=ROOT / "build/release/bin/trireme")
    parser.add_argument("--peers", default=sys.executable, help="a Python with PyTorch 2.11")
    parser.add_argument("--scratch", type=pathlib.Path, default=ROOT / "build/gpu_bench", help="inputs and caches, kept between calls")
    parser.add_argument("--variants", type=lambda text: text.split(","), help="of the peer: VARIANT:ATTENTION:PRECISION,...")
    parser.add_argument("--keep-peers", action="store_true", help="leave the peer in memory while ours runs: saves its start")
    parser.add_argument("--level", default="maximum", help="our device.optimization_level")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="overrides of our configuration")
    parser.add_argument("--back-end", help="of the kernels row; default: that of the device")
    options = parser.parse_args()
    options.rows = [name for name in options.rows.split(",") if name]
    unknown = [name for name in options.rows if name not in ROWS]
    if unknown:
        parser.error(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return options


def main():
    options = parse()
    bench = Bench(options)
    run = {"started": time.time(), "command": shlex.join(sys.argv), "rows": [], "failures": []}
    try:
        run["ceilings"] = {"first": measure_ceilings(bench)}
    except Failure as error:
        raise SystemExit(f"bench: the ceilings could not be measured: {error}") from error
    bench.measured["ceilings"] = run["ceilings"]["first"]
    save(options.out, run)
    for name in options.rows:
        print(f"bench: {name}", flush=True)
        bench.commands, begin = [], time.monotonic()
        try:
            bench.left(5)
            for one in ROWS[name](bench):
                run["rows"].append({**one, "commands": list(bench.commands)})
                save(options.out, run)
        except Exception as error:  # one row must not cost the others
            run["failures"].append({"row": name, "error": "".join(traceback.format_exception(error))[-6000:], "commands": bench.commands})
            print(f"bench: {name} failed: {str(error)[:2000]}", flush=True)
        print(f"bench: {name} took {time.monotonic() - begin:.0f} s", flush=True)
        save(options.out, run)
    bench.end = max(bench.end, time.monotonic() + 60)
    try:
        last = measure_ceilings(bench)
        numbers = {key: value for key, value in run["ceilings"]["first"].items() if isinstance(value, float)}
        run["ceilings"].update(last=last, moved=floors.agree(numbers, last))
        if run["ceilings"]["moved"]:
            print(f"bench: REJECTED, the ceilings moved by more than 3 % during the run: {', '.join(run['ceilings']['moved'])}")
    except Failure as error:
        run["failures"].append({"row": "ceilings, last", "error": str(error)})
    save(options.out, run)
    print(f"\n{run['ceilings']['first'].get('device')}\n\n{table(run['rows'])}")
    sys.exit(1 if run["failures"] else 0)


if __name__ == "__main__":
    main()
