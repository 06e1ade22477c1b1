"""Run folders made by hand: as many ranks and steps as a page must bear, without training them."""
import json
import math
import pathlib

PHASES = {"data": 0.004, "forward": 0.04, "backward": 0.08, "comm_exposed": 0.012, "optimizer": 0.006, "checkpoint": 0.0, "other": 0.001}
MIB = 2**20


def noise(*numbers):
    """The same value in 0..1 for the same numbers."""
    state = 88172645463325252
    for number in numbers:
        state = ((state ^ (number + 1)) * 6364136223846793005 + 1442695040888963407) % 2**64
    state ^= state >> 29
    return ((state * 2862933555777941757 + 3037000493) % 2**64 >> 20) / 2**44


def spread(mean, width=0.1, rank=0):
    low, high = mean * (1 - width), mean * (1 + width)
    return {"min": low, "mean": mean, "p95": high, "max": high, "min_rank": 0, "max_rank": rank, "max_host": f"node{rank // 8:02}"}


def lines(path, records):
    with open(path, "w", encoding="utf-8") as file:
        for record in records:
            file.write(json.dumps({"schema": 1, "attempt": 1, **record}) + "\n")


def metrics(logged, ranks, spike=None):
    for step in range(1, logged + 1):
        loss = 2.2 + 5 * math.exp(-8 * step / logged) + 0.15 * noise(step, 3)
        if step == spike:
            loss = 60.0
        phases = {name: spread(value * (1 + 0.2 * noise(step, i))) for i, (name, value) in enumerate(PHASES.items())}
        seconds = sum(phase["mean"] for phase in phases.values())
        memory = {"allocated": 900 * MIB, "reserved": 1200 * MIB, "peak": (1000 + 120 * noise(step // 50)) * MIB, "rss": (700 + 0.1 * step * 1000 / logged) * MIB}
        yield {"step": step, "epoch": step * 3 // logged, "loss": loss, "lr": 3e-4 * min(1, 20 * step / logged) * (1 - 0.9 * step / logged), "grad_norm": 1 + noise(step, 9),
               "samples": step * 64, "tokens": step * 64 * 256, "step_seconds": seconds, "samples_per_second": 64 / seconds, "tokens_per_second": 64 * 256 / seconds,
               "skipped": 0, "phases": phases, "memory": {name: spread(value, 0.01, ranks - 1) for name, value in memory.items()},
               "memory_kinds": {name: spread(value * MIB) for name, value in KINDS.items()}}


KINDS = {"parameters": 220, "gradients": 220, "optimizer": 440, "buffers": 2, "activations": 90 , "batches": 4, "other": 24}


def history(ranks, bins, logged, slow):
    def value(name, base, bin_, rank):
        if name == "forward" and rank == slow and bin_ > bins // 2:
            base *= 1.5
        if name == "comm_exposed" and rank == slow and bin_ > bins // 2:
            base *= 0.1
        return base * (1 + 0.1 * noise(rank, bin_, len(name)))
    items = {name: [[value(name, base, b, r) for r in range(ranks)] for b in range(bins)] for name, base in PHASES.items()}
    items["step_seconds"] = [[sum(items[name][b][r] for name in PHASES) for r in range(ranks)] for b in range(bins)]
    for name, base in {"allocated": 900, "reserved": 1200, "peak": 1000, "rss": 700}.items():
        items[name] = [[float(round(base * MIB * (1 + 0.02 * noise(r, b // 9)))) for r in range(ranks)] for b in range(bins)]
    for name in ("utilisation", "celsius", "flops"):
        items[name] = [[None] * ranks for _ in range(bins)]
    return {"steps": [logged * (b + 1) // bins for b in range(bins)], "ranks": ranks, "items": items}


def report(ranks, logged, slow):
    def rank(number):
        phases = {name: value * (1 + 0.1 * noise(number, len(name))) for name, value in PHASES.items()}
        if number == slow:
            phases["forward"] *= 1.25
        return {"rank": number, "host": f"node{number // 8:02}", "steps": logged, "step_seconds": sum(phases.values()), "phases": phases,
                "memory": {"allocated": 900 * MIB, "reserved": 1200 * MIB, "peak": 1000 * MIB + number, "rss": 700 * MIB},
                "communication": {"busy_seconds": 0.05, "exposed_seconds": phases["comm_exposed"], "hidden_seconds": 0.04, "bytes": 220 * MIB, "calls": 14},
                "data_wait": {"seconds": phases["data"], "share": phases["data"] / sum(phases.values())}}
    host = f"node{slow // 8:02}"
    seconds = {"wall_seconds": 4000, "useful_seconds": 3200, "startup_seconds": 90, "checkpoint_seconds": 120, "evaluation_seconds": 200, "waiting_seconds": 150,
               "other_seconds": 40, "lost_seconds": 140, "down_seconds": 60, "goodput": 0.8}
    attempts = [{"attempt": 1, "from_step": 0, "to_step": logged // 2, "useful_seconds": 1500, "lost_seconds": 140}, {"attempt": 2, "from_step": logged // 3, "to_step": logged, "useful_seconds": 1700, "lost_seconds": 0}]
    units = [{"name": f"transformer.h.{i}", "bytes": {"parameters": 14 * MIB, "gradients": 14 * MIB, "optimizer": 28 * MIB, "buffers": 0},
              "activations_bytes": spread(6 * MIB), "forward_seconds": spread(0.003 + 0.0002 * i), "backward_seconds": spread(0.006)} for i in range(24)]
    return {"schema": 1, "attempt": 2, "steps": logged, "step_seconds": spread(0.143, 0.1, slow), "phases": {name: spread(value, 0.1, slow) for name, value in PHASES.items()},
            "memory": {"allocated": spread(900 * MIB), "reserved": spread(1200 * MIB), "peak": spread(1000 * MIB, 0.02, ranks - 1), "rss": spread(700 * MIB)},
            "memory_kinds": {**{name: spread(value * MIB) for name, value in KINDS.items()}, "total": spread(1000 * MIB)},
            "memory_forecast": {"parameters": 220 * MIB, "gradients": 220 * MIB, "optimizer": 440 * MIB, "buffers": 2 * MIB, "activations": 80 * MIB, "batches": 4 * MIB},
            "communication": [{"group": group, "operation": operation, "calls": calls, "bytes": size * MIB, "busy_seconds": busy, "waited_seconds": busy / 3, "bytes_per_second": spread(size * MIB / busy)}
                              for group, operation, calls, size, busy in [("world", "all_reduce", 12, 220, 0.048), ("world", "all_gather", 2, 1, 0.001), ("shard", "reduce_scatter", 4, 55, 0.009)]],
            "communication_seconds": {"busy": spread(0.05), "exposed": spread(0.012), "hidden": spread(0.038)},
            "host_syncs": spread(2.0), "host_sync_seconds": spread(0.0004), "load_seconds": spread(0.02), "model_flops_per_second": spread(3.1e12), "mfu": 0.41,
            "sensors": {"utilisation": spread(0.93, 0.05), "power_watts": spread(540), "celsius": spread(61), "throttled": spread(0.01)},
            "stragglers": [{"rank": slow, "host": host, "section": "forward", "excess": 0.25, "seconds": 0.01, "from_step": logged // 2, "to_step": logged}],
            "leaks": [{"rank": 1, "host": "node00", "what": "rss", "bytes_per_step": 4096, "from_step": 10, "to_step": logged}],
            "goodput": {**seconds, "attempts": attempts}, "history": history(ranks, 128, logged, slow), "units": units, "sections": [{"name": name, "category": category, "ranks": ranks, "calls": calls, "seconds": spread(time, 0.1, slow), "memory_delta": spread(kept) if kept is not None else None, "memory_peak": spread(peak) if peak else None}
                                                                        for name, category, calls, time, kept, peak in [("load_batch", "data_loading", logged, 9.5, None, None), ("evaluation", "model_inference", 4, 6.1, 0, 80 * MIB), ("my experts", "user", 2 * logged, 3.2, 65536, 9 * MIB)]],
            "ranks": [rank(number) for number in range(ranks)],
            "verdict": {"kind": "straggler", "rank": slow, "host": host, "text": f"STRAGGLER: rank {slow} on {host} works 25 % longer than the others, mostly in forward (+0.01 s a step); they wait 8 % of the step",
                        "evidence": {"excess": 0.25, "forward_excess_seconds": 0.01, "others_comm_exposed_share": 0.084}, "advice": [f"Look at {host}: its other ranks are not slow, so the cause is one device or one core.", "Without it a step takes 0.132 s instead of 0.143 s."]}}


def operators(logged):
    names = ["aten::addmm", "aten::mm", "MmBackward0", "aten::native_layer_norm", "aten::gelu", "aten::embedding", "aten::copy_", "trireme::cross_entropy"]
    rows = [{"name": names[i % len(names)] + ("" if i < len(names) else f"_{i}"), "kind": "operation", "calls": 96 - i, "self_seconds": spread(0.02 / (i + 1)), "total_seconds": spread(0.03 / (i + 1)),
             "share": 0.2 / (i + 1), "flops": 4e9 / (i + 1), "bytes": 3 * MIB} for i in range(40)]
    return {"schema": 1, "attempt": 2, "first_step": logged - 3, "last_step": logged, "ranks": 4, "operators": rows}


def make(folder, ranks=16, logged=400, slow=None, name="made"):
    """A run of `ranks` with everything that a run folder can hold."""
    run = pathlib.Path(folder) / name
    run.mkdir(parents=True)
    slow = ranks * 2 // 3 if slow is None else slow
    (run / "config.yaml").write_text("# </script><script>throw 1</script> must stay text\nrun:\n  dir: made\ntrain:\n  steps: 400\n")
    lines(run / "metrics.jsonl", metrics(logged, ranks, spike=logged * 3 // 5))
    lines(run / "eval.jsonl", ({"step": step, "loss": 2.3 + 5 * math.exp(-8 * step / logged), "metrics": {"accuracy": 0.5}, "samples": 1538} for step in range(logged // 8, logged + 1, max(1, logged // 8))))
    def event(event, step, **details):
        return {"time": f"2026-11-21T10:{step * 59 // logged:02}:42.499Z", "event": event, "step": step, **details}
    lines(run / "events.jsonl", [event("started", 0, ranks=ranks), event("preempted", logged // 2, signal="SIGTERM"), event("resumed", logged // 3, ranks=ranks),
                                 *(event("saved", step) for step in range(logged // 10, logged + 1, max(1, logged // 10))), event("skipped", logged * 3 // 5, rank=1), event("finished", logged)])
    (run / "exit.json").write_text(json.dumps({"schema": 1, "attempt": 2, "code": 0, "kind": "done", "rank": 0, "host": "node00", "step": logged, "message": "all steps are done", "hint": "", "resumable": False}))
    (run / "report.json").write_text(json.dumps(report(ranks, logged, slow)))
    (run / "operators.json").write_text(json.dumps(operators(logged)))
    lines(run / "debug.jsonl", [{"step": logged // 2, "switch": "gradient_norms", "ranks": {"0": {"norm": 1.0}}, "findings": [{"rank": 3, "host": "node00", "text": "transformer.h.3.attn.c_proj.weight: the gradient's norm 4.1e+03 is 800 times that of the step before"}]}])
    return run


def make_tiny(folder, name="tiny"):
    """A run that was killed before its first logged step."""
    run = pathlib.Path(folder) / name
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("run:\n  dir: tiny\n")
    lines(run / "events.jsonl", [{"time": "2026-11-21T10:30:42.499Z", "event": "started", "step": 0, "ranks": 2}])
    return run
