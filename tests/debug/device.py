#!/usr/bin/env python3
"""Switches and profiles where a device repeats steps as graphs: those that see the inside of steps hold the graphs while they are on,
the others do without; no bit changes. On the emulated accelerator."""
import json
import math
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402
from small_run import state_hash  # noqa: E402
from training_case import TrainingCase  # noqa: E402

STEPS = 30
FIRST_EAGER = {1, 2, 3}  # of a shape of batches, before it is recorded
LR, WARMUP = 2e-3, 5
INSIDE = ["forward_pass", "gradient_norms", "backward_pass", "memory_usage", "device_placement", "mixed_precision", "autograd_anomaly"]


def records(run, switch, rank):
    return runs.lines(pathlib.Path(run) / "logs" / "debug" / f"{switch}.rank{rank:03}.jsonl")


def steps_with(run, phase):
    return {record["step"] for record in runs.metrics(run) if record["phases"].get(phase, {"mean": 0})["mean"] > 0}


def cosine(step):
    """Of the step that is the step-th, counted from 1."""
    if step <= WARMUP:
        return LR * step / WARMUP
    return LR * 0.5 * (1 + math.cos(math.pi * (step - 1 - WARMUP) / (STEPS - WARMUP)))


class Device(TrainingCase):
    def config(self, **changes):
        changes = {
            "device": {"type": "emulated"},
            "precision": {"compute": "fp32"},
            "optim": {"name": "adamw", "lr": LR},
            "schedule": {"name": "cosine", "warmup_steps": WARMUP},
            "checkpoint": {"every_steps": None},
            **changes,
        }
        changes["train"] = {"steps": STEPS, "graph": "on", "max_grad_norm": 0.5, **changes.get("train", {})}
        return super().config(**changes)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls("test_without_switches")
        runs.succeed("train", case.config(), ranks=2)
        cls.repeated = case.run_dir
        runs.succeed("train", case.config(train={"graph": "off"}), ranks=2)
        cls.eager = case.run_dir
        cls.hash = state_hash(cls.eager)

    def trained(self, **changes):
        runs.succeed("train", self.config(**changes), ranks=2)
        self.assertEqual(state_hash(self.run_dir), self.hash, "the same bits as without switches, and without graphs")
        for rank in range(2):
            log = (self.run_dir / "logs" / f"rank{rank:03}.log").read_text()
            self.assertEqual(log.count("steps of this shape are repeated as a graph from now on"), 1, "recorded once")
        return self.run_dir

    def assert_eager(self, run, steps):
        self.assertEqual(steps_with(run, "forward"), steps)
        self.assertEqual(steps_with(run, "graph"), set(range(1, STEPS + 1)) - steps)

    def test_without_switches(self):
        self.assertEqual(state_hash(self.repeated), self.hash)
        self.assert_eager(self.repeated, FIRST_EAGER)
        self.assertEqual(steps_with(self.eager, "graph"), set())

    def test_what_sees_inside_of_steps_holds_the_graphs_on_all_ranks(self):
        rule = {"when": "step == 9", "for": 5, "enable": INSIDE, "ranks": [1]}
        run = self.trained(debug={"rules": [rule], "every_steps": 1})
        seen = {record["step"] for record in records(run, "forward_pass", 1) if "step" in record}
        first = min(seen)
        self.assertGreater(first, 9)
        self.assertEqual(seen, set(range(first, first + 5)))
        self.assertLess(max(seen), STEPS - 5, "some steps are left")
        for switch in ("gradient_norms", "backward_pass", "memory_usage"):
            self.assertEqual({record["step"] for record in records(run, switch, 1)}, seen, switch)
            self.assertEqual(records(run, switch, 0), [])
        self.assert_eager(run, FIRST_EAGER | seen)
        units = {record.get("unit") for record in records(run, "forward_pass", 1)} - {None}
        self.assertGreater(len(units), 2, "each unit is seen")

    def test_switches_one_after_the_other_record_no_graph_again(self):
        rules = [{"when": "step == 8", "for": 2, "enable": ["gradient_norms"]}, {"when": "step == 16", "for": 2, "enable": ["gradient_norms"]}]
        run = self.trained(debug={"rules": rules, "every_steps": 1})
        seen = {record["step"] for record in records(run, "gradient_norms", 0)}
        self.assertEqual(len(seen), 4, seen)
        self.assert_eager(run, FIRST_EAGER | seen)

    def test_what_needs_no_eager_steps_sees_repeated_ones(self):
        run = self.trained(debug={"enable": ["lr_scheduling", "data_loading"], "every_steps": 1})
        self.assert_eager(run, FIRST_EAGER)
        for rank in range(2):
            rates = {record["decided_step"]: record["lr"] for record in records(run, "lr_scheduling", rank) if "decided_step" in record}
            self.assertEqual(rates.keys(), set(range(1, STEPS + 1)))
            for step, rate in rates.items():
                self.assertAlmostEqual(rate, cosine(step), delta=1e-9, msg=f"step {step}")
            batches = {record["step"] for record in records(run, "data_loading", rank) if "wait_seconds" in record}
            self.assertEqual(batches, set(range(1, STEPS + 1)))

    def test_a_profile_holds_the_graphs_from_its_warm_up_on(self):
        run = self.trained(telemetry={"log_every": 1, "trace": "full", "profile": {"skip_first": 10, "warmup": 1, "active": 3}})
        self.assert_eager(run, FIRST_EAGER | set(range(11, 15)))
        operators = json.loads((run / "operators.json").read_text())
        self.assertEqual((operators["first_step"], operators["last_step"], operators["ranks"]), (12, 14, 2))
        self.assertTrue(any(one["name"] == "aten::linear" or "mm" in one["name"] for one in operators["operators"]))

    def test_kineto_rests_when_it_is_full(self):
        profile = {"skip_first": 10, "warmup": 1, "active": 3, "operators": "kineto", "max_events": 50}
        run = self.trained(telemetry={"log_every": 1, "trace": "full", "profile": profile})
        self.assert_eager(run, FIRST_EAGER | set(range(11, 15)))
        operators = json.loads((run / "operators.json").read_text())
        self.assertEqual((operators["first_step"], operators["last_step"], operators["ranks"]), (12, 14, 2))
        self.assertGreater(operators["dropped"], 100, "those of the steps after the first are counted")

    def test_so_do_the_switches_of_profilers_and_the_memory_history_has_stacks_where_they_are_asked_for(self):
        for stacks, history in ((False, "sizes"), (True, "stacks")):
            with self.subTest(stacks=stacks):
                rule = {"when": "step == 9", "for": 3, "enable": ["autograd_profiler"], "ranks": [1]}
                run = self.trained(debug={"rules": [rule]}, telemetry={"log_every": 1, "profile": {"stacks": stacks}})
                operators = json.loads((run / "operators.json").read_text())
                self.assertEqual(operators["ranks"], 1)
                profiled = set(range(operators["first_step"], operators["last_step"] + 1))
                self.assertEqual(len(profiled), 3)
                self.assert_eager(run, FIRST_EAGER | profiled)
                snapshot, = (run / "profile").glob("*.memory.pickle")
                self.assertEqual(snapshot.read_text(), history)

    def test_spans_alone_leave_the_graphs_alone(self):
        run = self.trained(telemetry={"log_every": 1, "trace": "spans", "profile": {"skip_first": 10, "warmup": 0, "active": 3}})
        self.assert_eager(run, FIRST_EAGER)
        self.assertTrue((run / "trace.json.gz").exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
