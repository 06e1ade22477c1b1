#!/usr/bin/env python3
"""The event files of a run, read by TensorBoard's own readers: every tag, the values of metrics.jsonl, and a resume that takes back
the steps which the next attempt makes again. The file for Prometheus, whose figures are those of the last record."""
import json
import math
import pathlib
import re
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402
from training_case import TrainingCase  # noqa: E402

from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator  # noqa: E402


def read(run):
    everything = dict.fromkeys(event_accumulator.DEFAULT_SIZE_GUIDANCE, 0)
    return event_accumulator.EventAccumulator(str(run / "tensorboard"), size_guidance=everything).Reload()


def scalars(board, tag):
    return {event.step: event.value for event in board.Scalars(tag)}


class TensorBoard(TrainingCase):
    def train(self, ranks=2, ends_with=0, fault="", **sections):
        config = self.config(**sections)
        done = runs.trireme("train", config, ranks=ranks, TRIREME_FAULT=fault)
        self.assertEqual(done.returncode != 0, ends_with != 0, done.stderr)
        return config

    def assert_same(self, written, expected):
        self.assertEqual(written.keys(), expected.keys())
        for step, value in expected.items():
            self.assertAlmostEqual(written[step], value, delta=1e-6 * abs(value) + 1e-12, msg=f"step {step}")

    def test_the_figures_are_those_of_the_records(self):
        self.train(data={"eval": str(self.folder / "text.h5")}, eval={"every_steps": 10})
        board, records = read(self.run_dir), runs.metrics(self.run_dir)
        self.assertEqual(len(records), 20)
        for tag, key in [("train/loss", "loss"), ("train/lr", "lr"), ("train/grad_norm", "grad_norm"),
                         ("throughput/samples_per_second", "samples_per_second"),
                         ("throughput/tokens_per_second", "tokens_per_second")]:
            self.assert_same(scalars(board, tag), {record["step"]: record[key] for record in records})
        for phase in records[0]["phases"]:
            self.assert_same(scalars(board, f"phases/{phase}"), {r["step"]: r["phases"][phase]["mean"] for r in records})
            self.assert_same(scalars(board, f"phases/{phase}_max"), {r["step"]: r["phases"][phase]["max"] for r in records})
        for item in records[0]["memory"]:
            self.assert_same(scalars(board, f"memory/{item}_max"), {r["step"]: r["memory"][item]["max"] for r in records})
        self.assert_same(scalars(board, "run/goodput"), {record["step"]: record["goodput"] for record in records})
        self.assertEqual("throughput/mfu" in board.Tags()["scalars"], records[-1]["mfu"] is not None, "a CPU's peak is not known")
        evaluations = runs.lines(self.run_dir / "eval.jsonl")
        self.assertEqual({e["step"] for e in evaluations}, {10, 20})
        self.assert_same(scalars(board, "eval/loss"), {e["step"]: e["loss"] for e in evaluations})
        for metric in evaluations[0]["metrics"]:
            self.assert_same(scalars(board, f"eval/{metric}"), {e["step"]: e["metrics"][metric] for e in evaluations})

    def test_histograms_over_ranks(self):
        self.train()
        board, records = read(self.run_dir), runs.metrics(self.run_dir)
        self.assertEqual(len(board.Tags()["histograms"]), 3)
        for tag, of in [("throughput/step_seconds_over_ranks", None), ("phases/data_over_ranks", "data"), ("phases/comm_exposed_over_ranks", "comm_exposed")]:
            events = board.Histograms(tag)
            self.assertEqual([event.step for event in events], [record["step"] for record in records], tag)
            for event, record in zip(events, records):
                values = event.histogram_value
                self.assertEqual((values.num, sum(values.bucket)), (2, 2), "a value a rank")
                self.assertAlmostEqual(values.sum / 2, record["phases"][of]["mean"] if of else record["step_seconds"], places=9)
                if of:
                    self.assertEqual((values.min, values.max), (record["phases"][of]["min"], record["phases"][of]["max"]))

    def test_histograms_over_parameters(self):
        self.train(debug={"enable": ["gradient_norms", "backward_pass"], "every_steps": 1})
        board = read(self.run_dir)
        digests = runs.lines(self.run_dir / "debug.jsonl")
        for tag, switch, key in [("debug/gradient_norms_log10", "gradient_norms", "norms"), ("debug/update_ratios_log10", "backward_pass", "update_ratios")]:
            said = {}
            for line in digests:
                digest = line["ranks"].get("0", {})
                if line["switch"] == switch and key in digest:
                    said[digest["step"]] = [math.log10(value) for value in digest[key].values() if value]
            events = board.Histograms(tag)
            self.assertEqual([event.step for event in events], sorted(said))
            self.assertGreater(len(events), 10)
            for event in events:
                values, expected = event.histogram_value, said[event.step]
                self.assertGreater(len(expected), 5, "the parameters of a small GPT")
                self.assertEqual(values.num, len(expected))
                self.assertAlmostEqual(values.min, min(expected), places=6)
                self.assertAlmostEqual(values.max, max(expected), places=6)
                self.assertAlmostEqual(values.sum, sum(expected), places=6)

    def test_the_dashboards_find_their_data(self):
        self.train(ranks=2)
        board = plugin_event_accumulator.EventAccumulator(str(self.run_dir / "tensorboard")).Reload()
        self.assertIn("train/loss", board.PluginTagToContent("scalars"))
        self.assertIn("phases/data_over_ranks", board.PluginTagToContent("histograms"))
        texts = board.PluginTagToContent("text")
        self.assertIn("verdict", texts)
        said = board.Tensors("verdict")[0].tensor_proto.string_val[0].decode()
        self.assertEqual(said, json.loads((self.run_dir / "report.json").read_text())["verdict"]["text"])

    def test_a_resume_takes_back_what_was_undone(self):
        config = self.train(ends_with=1, fault="step.begin:*:13:throw")
        before = scalars(read(self.run_dir), "train/loss")
        self.assertGreater(max(before), 10, "steps were logged that the checkpoint does not know")
        runs.succeed("train", config, ranks=2)
        files = sorted(path.name for path in (self.run_dir / "tensorboard").iterdir())
        self.assertEqual(len(files), 2)
        self.assertTrue(all(re.fullmatch(r"events\.out\.tfevents\.\d{10}\..+\.\d+\.\d+", name) for name in files), files)
        events = read(self.run_dir).Scalars("train/loss")
        self.assertEqual([event.step for event in events], list(range(1, 21)), "each step once")
        self.assert_same({event.step: event.value for event in events}, runs.losses(self.run_dir))

    def test_switched_off_it_writes_nothing(self):
        self.train(ranks=1, telemetry={"tensorboard": False})
        self.assertFalse((self.run_dir / "tensorboard").exists())

    def test_a_place_that_cannot_be_written_is_no_end(self):
        config = self.config(telemetry={"prometheus": "/dev/null/trireme.prom"})
        self.run_dir.mkdir()
        (self.run_dir / "tensorboard").write_text("a file where the folder should be")
        done = runs.succeed("train", config)
        self.assertEqual(len(runs.metrics(self.run_dir)), 20)
        self.assertEqual(done.stderr.count("records for TensorBoard are lost"), 1, done.stderr)
        self.assertEqual(done.stderr.count("the file for Prometheus cannot be written"), 1, done.stderr)

    def test_prometheus_has_the_last_record(self):
        file = self.folder / "trireme.prom"
        self.train(telemetry={"prometheus": str(file)})
        samples = {}
        for line in file.read_text().splitlines():
            if not line.startswith("#"):
                name, labels, value = re.fullmatch(r'(\w+)\{((?:\w+="(?:[^"\\]|\\.)*",?)*)\} (\S+)', line).groups()
                samples[name, tuple(sorted(re.findall(r'(\w+)="([^"]*)"', labels)))] = float(value)
        last = runs.metrics(self.run_dir)[-1]

        def value(name, **labels):
            found = [v for (n, have), v in samples.items() if n == name and labels.items() <= dict(have).items()]
            self.assertEqual(len(found), 1, (name, labels))
            return found[0]

        self.assertEqual(value("trireme_step"), 20)
        self.assertEqual(value("trireme_steps_planned"), 20)
        self.assertEqual(value("trireme_loss"), last["loss"])
        self.assertEqual(value("trireme_tokens_total"), last["tokens"])
        for phase, spread in last["phases"].items():
            self.assertEqual(value("trireme_phase_seconds", phase=phase, stat="mean"), spread["mean"])
            self.assertEqual(value("trireme_phase_seconds", phase=phase, stat="max", rank=str(spread["max_rank"]),
                                   host=spread["max_host"]), spread["max"])
        self.assertEqual(value("trireme_memory_bytes", kind="rss", stat="max"), last["memory"]["rss"]["max"])
        self.assertTrue(math.isfinite(value("trireme_last_update_timestamp_seconds")))
        self.assertEqual([path.name for path in self.folder.glob("trireme.prom*")], ["trireme.prom"])


if __name__ == "__main__":
    unittest.main()
