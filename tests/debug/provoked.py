#!/usr/bin/env python3
"""Every debug switch shows what it is there for, on the rank and in the unit where it is: two real ranks train a small model (units
first, middle, last; tests/debug/provoked) that goes wrong on request, and rank 0's records must say what and where. A slow loader, a
loss that is not finite and replicas that differ are in switches.py."""
import gzip
import json
import pathlib
import sys
import tempfile
import time
import unittest

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402
from debug_records import digests, findings, records  # noqa: E402

PROVOKED = runs.BINARY.with_name("provoked")
SAMPLES, FEATURES, CLASSES = 24, 8, 3
HEALTHY, SICK = 0, 1
BAD_SAMPLE = 14  # unshuffled it is rank 1's in the second step of each epoch


def fault(site, steps=None, rank=SICK):
    """What goes wrong at a site of tests/debug/provoked in these steps, counted from 1 as in the records, or in all."""
    return ",".join(f"{site}:{rank}:{at}:nan" for at in (["*"] if steps is None else [step - 1 for step in steps]))


class Provoked(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = runs.Scratch()
        cls.folder = cls.scratch.__enter__()
        label = numpy.arange(SAMPLES) % CLASSES
        features = numpy.sin(numpy.arange(SAMPLES * FEATURES).reshape(SAMPLES, FEATURES) * (1 + label[:, None])).astype(numpy.float32)
        cls.samples = cls.prepared("samples", features, label)
        cls.one_sample = cls.prepared("one", features[:1], label[:1])
        features[BAD_SAMPLE, 3] = numpy.nan
        cls.bad_samples = cls.prepared("bad", features, label)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.__exit__()

    @classmethod
    def prepared(cls, name, features, label):
        numpy.save(cls.folder / f"{name}.features.npy", features)
        numpy.save(cls.folder / f"{name}.label.npy", label)
        runs.succeed("prepare", "npy", f"features={cls.folder}/{name}.features.npy", f"label={cls.folder}/{name}.label.npy",
                     "-o", cls.folder / f"{name}.h5")
        return str(cls.folder / f"{name}.h5")

    def config(self, **changes):
        """12 steps; `changes` replace or extend sections."""
        self.run_dir = pathlib.Path(tempfile.mkdtemp(dir=self.folder)) / "run"
        sections = {
            "run": {"dir": str(self.run_dir), "seed": 3},
            "model": {"name": "mlp", "config": {"inputs": FEATURES, "hidden": [8, 8], "classes": CLASSES}},
            "data": {"train": self.samples, "workers": 0},
            "train": {"steps": 12, "batch_size": 4},
            "optim": {"name": "sgd", "lr": 1e-3, "weight_decay": 0},
            "schedule": {"name": "constant"},
            "guard": {"nonfinite": "skip"},
            "checkpoint": {"every_steps": None},
            "telemetry": {"log_every": 1},
        }
        for name, values in changes.items():
            sections[name] = {**sections.get(name, {}), **values}
        return runs.write_config(self.run_dir.parent / "config.yaml", **sections)

    def provoke(self, faults, *switches, **changes):
        """Trains with these switches on from the start."""
        if switches:
            changes["debug"] = {"enable": list(switches), "every_steps": 1, **changes.get("debug", {})}
        runs.succeed("train", self.config(**changes), ranks=2, binary=PROVOKED, TRIREME_FAULT=faults)

    def records(self, switch, rank, **like):
        """The rank's records in which these fields have these values."""
        return [one for one in records(self.run_dir, switch, rank) if all(one.get(key) == value for key, value in like.items())]

    def digest(self, switch, step):
        """What rank 0 has of a step, by rank."""
        found = [line["ranks"] for line in digests(self.run_dir, switch) if any(one.get("step") == step for one in line["ranks"].values())]
        self.assertEqual(len(found), 1, f"one digest of step {step}: {digests(self.run_dir, switch)}")
        self.assertEqual(sorted(found[0]), ["0", "1"])
        return found[0]["0"], found[0]["1"]

    def said(self, switch, words, ranks):
        """Rank 0 was told this of these ranks, of each in one text at least, and of no other rank. Returns the first text."""
        texts = findings(self.run_dir, switch)
        self.assertEqual({rank for rank, text in texts if words in text}, set(ranks), f"'{words}' in {texts}")
        return next(text for _, text in texts if words in text)

    def silent(self, switch, rank):
        self.assertEqual([text for one, text in findings(self.run_dir, switch) if one == rank], [])

    def test_nothing_is_said_of_a_model_that_is_well(self):
        tools = ["autograd_anomaly", "memory_usage", "gradient_norms", "forward_pass", "backward_pass", "device_placement", "mixed_precision",
                 "validation", "early_stopping", "lr_scheduling"]  # not data_loading, which goes by time
        self.provoke("", *tools, data={"train": self.samples, "eval": self.samples, "workers": 0}, eval={"every_steps": 6})
        for tool in tools:
            self.assertTrue(digests(self.run_dir, tool), tool)
            self.assertEqual(findings(self.run_dir, tool), [], tool)

    def test_not_finite_in_a_layer(self):
        self.provoke(fault("middle.nan", [7]), "forward_pass", "backward_pass", "gradient_norms")
        text = self.said("forward_pass", "is the first of the forward pass that is not finite", [SICK])
        self.assertIn("step 7: the output 0 of unit 'middle'", text)
        self.assertIn("its parameters are finite", text)
        self.silent("forward_pass", HEALTHY)
        healthy, sick = self.digest("forward_pass", 7)
        self.assertIsNone(healthy["first_not_finite"])
        self.assertEqual(sick["first_not_finite"]["unit"], "middle")
        self.assertEqual(sick["first_not_finite"]["nan"], 4 * 8, "all of a batch of 4 and a width of 8")
        spoilt = self.records("forward_pass", SICK, step=7, finite=False)
        self.assertEqual([one["unit"] for one in spoilt if "unit" in one], ["middle", "last"])
        self.assertEqual([one["step"] for one in self.records("forward_pass", SICK, unit="middle", finite=False)], [7])
        self.assertEqual(self.records("forward_pass", HEALTHY, finite=False), [])

        self.said("backward_pass", "is the first of the backward pass that is not finite", [SICK])
        self.silent("backward_pass", HEALTHY)
        # The mean gradient belongs to all.
        self.said("gradient_norms", "are not finite", [HEALTHY, SICK])
        self.assertEqual([one["not_finite"] > 0 for one in self.digest("gradient_norms", 7)], [True, True])
        self.assertEqual([one["not_finite"] for one in self.digest("gradient_norms", 8)], [0, 0])

    def test_operation_of_backward_that_makes_it(self):
        self.provoke(fault("middle.root", [7]), "autograd_anomaly", "forward_pass")
        text = self.said("autograd_anomaly", "SqrtBackward0 in unit 'middle' is the first operation of backward", [SICK])
        self.assertTrue(text.startswith("step 7:"), text)
        self.silent("autograd_anomaly", HEALTHY)
        healthy, sick = self.digest("autograd_anomaly", 7)
        self.assertIsNone(healthy["culprit"])
        self.assertEqual(sick["culprit"], {"node": "SqrtBackward0", "unit": "middle", "inputs_finite": True})
        self.assertEqual([one["step"] for one in self.records("autograd_anomaly", SICK, finite=False)], [7])
        self.assertEqual(self.records("autograd_anomaly", HEALTHY, finite=False), [])
        self.assertEqual(findings(self.run_dir, "forward_pass"), [], "the forward pass is right")

    def test_gradients_that_vanish(self):
        self.provoke(fault("middle.faint", rank="*"), "gradient_norms", "backward_pass")
        text = self.said("gradient_norms", "4 of 6 parameters vanish", [HEALTHY, SICK])
        self.assertIn("'first.weight'", text)
        self.assertIn("'first.bias'", text)
        self.assertEqual({one["parameter"] for one in self.records("gradient_norms", HEALTHY, verdict="vanishing")},
                         {"first.weight", "first.bias", "middle.weight", "middle.bias"})
        self.assertEqual(self.records("gradient_norms", HEALTHY, verdict="exploding"), [], "the last unit's are as they should be")
        self.said("backward_pass", "gradients vanish on their way back", [HEALTHY, SICK])
        for one in self.digest("backward_pass", 5):
            self.assertEqual(one["vanishes_at"], "first")

    def test_gradients_that_vanish_on_one_rank(self):
        self.provoke(fault("middle.faint"), "gradient_norms", "backward_pass")
        self.assertIn("at the output of unit 'first'", self.said("backward_pass", "gradients vanish on their way back", [SICK]))
        self.silent("backward_pass", HEALTHY)
        healthy, sick = self.digest("backward_pass", 5)
        self.assertEqual((healthy["vanishes_at"], sick["vanishes_at"]), (None, "first"))
        self.assertEqual(findings(self.run_dir, "gradient_norms"), [], "the other rank's half of the mean gradient is there")

    def test_gradients_that_explode(self):
        self.provoke(fault("middle.loud", [9]), "gradient_norms", "backward_pass")
        self.assertIn("at the output of unit 'first'", self.said("backward_pass", "gradients explode on their way back", [SICK]))
        self.silent("backward_pass", HEALTHY)
        healthy, sick = self.digest("backward_pass", 9)
        self.assertEqual((healthy["explodes_at"], sick["explodes_at"]), (None, "first"))
        text = self.said("gradient_norms", "4 of 6 parameters explode", [HEALTHY, SICK])  # the mean gradient
        self.assertTrue(text.startswith("step 9:") and "'first.weight'" in text, text)
        self.assertEqual({one["step"] for one in self.records("gradient_norms", HEALTHY, verdict="exploding")}, {9})
        self.assertEqual(self.records("gradient_norms", HEALTHY, verdict="vanishing"), [], "the last unit's are as they should be")

    def test_unit_that_is_dead(self):
        self.provoke(fault("middle.dead"), "forward_pass", "backward_pass")
        healthy, sick = self.digest("forward_pass", 5)
        self.assertEqual((healthy["zero"], sick["zero"]), ([], ["middle"]))
        outputs = [one["outputs"][0] for one in self.records("forward_pass", SICK, unit="middle")]
        self.assertEqual({(output["min"], output["max"]) for output in outputs}, {(0, 0)})
        # Nothing comes through it to those before.
        for one, dead in zip(self.digest("backward_pass", 5), (False, True)):
            flow = dict(one["flow"])
            self.assertEqual((flow["first"] == 0, flow["last"] > 0), (dead, True))
        for rank, dead in ((HEALTHY, False), (SICK, True)):
            shares = [one["zeros"] for one in self.records("backward_pass", rank, parameter="first.weight") if "arrival" in one]
            self.assertEqual([share == 1 for share in shares], [dead] * 12)

    def test_activations_that_explode(self):
        self.provoke(fault("middle.huge", [7]), "forward_pass")
        before, after = self.digest("forward_pass", 6), self.digest("forward_pass", 7)
        self.assertLess(before[SICK]["largest"]["max_abs"], 100)
        self.assertLess(after[HEALTHY]["largest"]["max_abs"], 100)
        self.assertGreater(after[SICK]["largest"]["max_abs"], 1e4)
        [middle] = self.records("forward_pass", SICK, step=7, unit="middle")
        [first] = self.records("forward_pass", SICK, step=7, unit="first")
        self.assertGreater(middle["outputs"][0]["max"] - middle["outputs"][0]["min"], 1e4)
        self.assertLessEqual(abs(first["outputs"][0]["max"]), 1)

    def test_tensor_on_the_wrong_device(self):
        self.provoke(fault("middle.elsewhere"), "device_placement", device={"type": "emulated"}, train={"steps": 6, "batch_size": 4})
        text = self.said("device_placement", "lies on cpu", [SICK])
        self.assertIn("the input of unit 'middle' lies on cpu, while this rank computes on emulated:1", text)
        self.silent("device_placement", HEALTHY)
        healthy, sick = self.digest("device_placement", 3)
        self.assertEqual((healthy["device"], sick["device"]), ("emulated:0", "emulated:1"))
        self.assertEqual((healthy["elsewhere"], sick["elsewhere"]), (0, 1))
        copies = lambda digest: {(one["from"], one["to"]): one["copies"] for one in digest["copies"]}
        for way, other in ((("emulated:0", "cpu"), ("emulated:1", "cpu")), (("cpu", "emulated:0"), ("cpu", "emulated:1"))):
            self.assertEqual(copies(sick)[other] - copies(healthy)[way], 2, "forth and back, in forward and in backward")
        self.assertEqual({one["unit"] for one in self.records("device_placement", SICK) if "unit" in one}, {"middle"})
        self.assertFalse([one for one in self.records("device_placement", HEALTHY) if "unit" in one])

    def test_gradients_that_overflow_in_half_precision(self):
        lost = [6, 7, 8, 9, 10]
        self.provoke(fault("middle.loud", lost), "mixed_precision", "backward_pass", precision={"compute": "fp16"})
        self.assertIn("5 of them just now in a row", self.said("mixed_precision", "steps were left out", [HEALTHY, SICK]))
        self.assertEqual({rank for rank, text in findings(self.run_dir, "backward_pass") if "is not finite" in text}, {SICK})
        for rank in (HEALTHY, SICK):
            decided = {one["decided_step"]: one for one in self.records("mixed_precision", rank) if "decided_step" in one}
            self.assertEqual([step for step in decided if decided[step]["left_out"]], lost)
            scales = [decided[step]["loss_scale"] for step in sorted(decided)]
            self.assertEqual(scales[-1], scales[0] / 2 ** len(lost), "halved at each")
            self.assertEqual(sum(one["change"] == "backed off" for one in decided.values()), len(lost))
        self.assertEqual([(one["skipped"], one["back_offs"]) for one in self.digest("mixed_precision", 12)], [(len(lost), len(lost))] * 2)
        self.assertEqual([set(one["types"]["parameters"]) for one in self.digest("mixed_precision", 3)], [{"float16"}] * 2)

    def test_unit_that_keeps_memory(self):
        self.provoke(fault("middle.keeps"), "memory_usage", train={"steps": 120}, telemetry={"log_every": 10})
        text = self.said("memory_usage", "the host memory of tensors grows", [SICK])
        self.assertRegex(text, r"grows by 6[3-9]\.\d KiB a step")
        self.silent("memory_usage", HEALTHY)
        for unit, kept in (("first", 0), ("middle", 64), ("last", 0)):
            healthy, sick = (self.records("memory_usage", rank, unit=unit)[-1]["forward_delta"] for rank in (HEALTHY, SICK))
            self.assertEqual(round((sick - healthy) / 1024), kept, f"KiB in {unit}")

    def test_sample_that_is_not_finite(self):
        self.provoke("", "data_loading", data={"train": self.bad_samples, "workers": 0, "shuffle": False})
        text = self.said("data_loading", "the field 'features' of this rank's batch has 1 NaN and 0 Inf of 32", [SICK])
        self.assertTrue(text.startswith("step 2:") and f"{BAD_SAMPLE}" in text, text)
        self.silent("data_loading", HEALTHY)
        for rank, steps in ((HEALTHY, []), (SICK, [2, 5, 8, 11])):
            bad = [one for one in self.records("data_loading", rank) if any(field["nan"] for field in one.get("fields", []))]
            self.assertEqual([one["step"] for one in bad], steps)

    def test_samples_evaluated_twice(self):
        evaluation = {"data": {"train": self.samples, "eval": self.samples, "workers": 0}, "eval": {"every_steps": 6, "batch_size": 4}}
        self.provoke(fault("evaluation.share"), "validation", **evaluation)
        text = self.said("validation", "samples were seen", [None])
        self.assertIn(f"{SAMPLES} samples were seen, as many as there are, but not each of them once", text)
        self.provoke("", "validation", **evaluation)
        self.assertEqual(findings(self.run_dir, "validation"), [])

    def test_evaluation_that_is_uneven(self):
        self.provoke("", "validation", data={"train": self.samples, "eval": self.one_sample, "workers": 0}, eval={"batch_size": 4})
        self.said("validation", "this rank had no sample of the evaluation", [SICK])
        [line] = digests(self.run_dir, "validation")
        self.assertEqual([line["ranks"][rank]["samples_here"] for rank in "01"], [1, 0])

    def test_evaluation_that_is_not_finite(self):
        # The last step's faults are the evaluation's, too.
        self.provoke(fault("last.nan", [12]), "validation", "early_stopping", data={"train": self.samples, "eval": self.samples, "workers": 0})
        self.said("validation", "step 12: the loss of the evaluation is not finite", [HEALTHY, SICK])
        self.said("early_stopping", "step 12: loss is not finite", [HEALTHY, SICK])

    def test_early_stopping_says_why(self):
        self.provoke("", "early_stopping", "validation", optim={"lr": 0.0}, data={"train": self.samples, "eval": self.samples, "workers": 0},
                     eval={"every_steps": 2, "patience": 2})
        text = self.said("early_stopping", "training stops", [HEALTHY, SICK])
        self.assertRegex(text, r"step 6: training stops: loss \S+ did not improve on \S+ of step 2, for 2 evaluations in a row")
        for rank in (HEALTHY, SICK):
            decided = [one for one in self.records("early_stopping", rank) if "decision" in one]
            self.assertEqual([(one["evaluated_step"], one["decision"], one["waited"]) for one in decided],
                             [(2, "go on", 0), (4, "go on", 1), (6, "stop", 2)])
        self.assertEqual(runs.exit_record(self.run_dir)["step"], 6)

    def test_learning_rate_that_jumps(self):
        self.provoke("", "lr_scheduling", schedule={"name": "step", "decay_every": 5, "gamma": 0.01})
        text = self.said("lr_scheduling", "the learning rate jumps", [HEALTHY, SICK])
        self.assertIn("step 6: the learning rate jumps from 0.001 to 1e-05", text)
        for rank in (HEALTHY, SICK):
            falls = [(one["decided_step"], one["schedule"]) for one in self.records("lr_scheduling", rank, direction="down")]
            self.assertEqual(falls, [(6, "step"), (11, "step")])

    def test_operation_that_one_rank_alone_has(self):
        self.provoke(fault("middle.costly"), "autograd_profiler", "tensorboard_profiler")
        operators = json.loads((self.run_dir / "operators.json").read_text())["operators"]
        [mine] = [one for one in operators if one["name"] == "aten::special_erfcx"]
        for figure in ("self_seconds", "total_seconds"):
            self.assertEqual((mine[figure]["min_rank"], mine[figure]["max_rank"]), (HEALTHY, SICK), mine)
            self.assertEqual(mine[figure]["min"], 0, mine)
            self.assertGreater(mine[figure]["max"], 0, mine)
        traces = sorted((self.run_dir / "profile").glob("*.pt.trace.json.gz"))
        self.assertEqual(len(traces), 2)
        ranks = {}
        for path in traces:
            trace = json.loads(gzip.decompress(path.read_bytes()))
            ranks[trace["distributedInfo"]["rank"]] = any(event.get("name") == "aten::special_erfcx" for event in trace["traceEvents"])
        self.assertEqual(ranks, {HEALTHY: False, SICK: True})

    def test_metric_of_the_model_in_a_rule(self):
        rules = [{"when": "score > 3", "for": 2, "enable": ["forward_pass"]}]
        self.provoke(fault("score.high", [5], rank="*"), debug={"rules": rules, "every_steps": 1})
        for rank in (HEALTHY, SICK):
            steps = sorted({one["step"] for one in self.records("forward_pass", rank)})
            self.assertEqual(len(steps), 2, steps)
            self.assertGreater(steps[0], 5)

    def test_span_of_the_model_in_the_trace(self):
        self.provoke(fault("middle.lookup"), telemetry={"trace": "spans", "profile": {"skip_first": 2}})
        events = json.loads(gzip.decompress((self.run_dir / "trace.json.gz").read_bytes()))["traceEvents"]
        mine = {name: [event for event in events if event.get("name") == name] for name in ("my lookup", "my gathering")}
        for name, category in (("my lookup", "user"), ("my gathering", "forward_pass")):
            self.assertTrue(mine[name])
            self.assertEqual({(event["pid"], event["cat"]) for event in mine[name]}, {(SICK, category)})
        # Both lie on the line of their thread, one within the other.
        for outer, inner in zip(mine["my lookup"], mine["my gathering"], strict=True):
            self.assertEqual(outer["tid"], inner["tid"])
            self.assertEqual(outer["args"]["step"], inner["args"]["step"])
            self.assertLessEqual(outer["ts"], inner["ts"])
            self.assertLessEqual(inner["ts"] + inner["dur"], outer["ts"] + outer["dur"])

    def test_section_of_the_model_in_the_report(self):
        self.provoke(fault("middle.lookup"), telemetry={"trace": "spans", "profile": {"skip_first": 2}})
        section = next(one for one in json.loads((self.run_dir / "report.json").read_text())["sections"] if one["name"] == "my table")
        self.assertEqual((section["category"], section["ranks"]), ("user", 1))
        self.assertEqual(section["calls"], 12)  # a step
        for figure in ("seconds", "memory_delta", "memory_peak"):
            self.assertEqual(section[figure]["max_rank"], SICK, figure)
        for figure in ("memory_delta", "memory_peak"):  # and what the layer makes besides
            self.assertGreaterEqual(section[figure]["max"], 1 << 16)
            self.assertLess(section[figure]["max"], 1 << 17)
        events = json.loads(gzip.decompress((self.run_dir / "trace.json.gz").read_bytes()))["traceEvents"]
        calls = [event["args"] for event in events if event.get("name") == "my table"]
        self.assertTrue(calls)
        self.assertTrue(all(1 << 16 <= call["memory delta"] <= call["memory peak"] < 1 << 17 for call in calls), calls)

    def test_production_refuses_while_it_runs(self):
        config = self.config(run={"profile": "production"}, train={"steps": 1000000})
        run = runs.start("train", config, ranks=2, binary=PROVOKED)
        try:
            deadline = time.monotonic() + 60
            while len(runs.metrics(self.run_dir)) < 3:
                self.assertIsNone(run.poll(), "the run ended before")
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)
            refused = runs.trireme("debug", self.run_dir, "enable", "gradient_norms")
            self.assertEqual(refused.returncode, 10, refused.stderr)
            self.assertIn("run.profile is production, which refuses debug switches", refused.stderr)
            steps = len(runs.metrics(self.run_dir))
            while len(runs.metrics(self.run_dir)) <= steps:
                self.assertIsNone(run.poll(), "the run goes on")
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)
            self.assertEqual(json.loads(runs.succeed("debug", self.run_dir, "status", "--json").stdout)["switches"], {})
        finally:
            (self.run_dir / "control" / "stop").touch()
            output, _ = run.communicate(timeout=60)
        self.assertEqual(runs.exit_record(self.run_dir)["code"], 75, output)
        self.assertEqual(digests(self.run_dir, "gradient_norms"), [])
        self.assertEqual(records(self.run_dir, "gradient_norms", HEALTHY), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
