#!/usr/bin/env python3
"""What rank 0 reports adds up, and is what the ranks' own logs say."""
import json
import pathlib
import statistics
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs
from training_case import TrainingCase

RANKS = 3
PHASES = ["data", "forward", "backward", "comm_exposed", "optimizer", "graph", "checkpoint", "other"]
KINDS = ["parameters", "gradients", "optimizer", "buffers", "activations", "batches", "other"]
MODEL = {"vocab_size": 256, "n_positions": 64, "n_embd": 128, "n_layer": 3, "n_head": 4}


class Sums(TrainingCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.runs = {}
        for strategy in ("ddp", "zero2", "fsdp"):
            case = cls("config")
            config = case.config(model={"config": MODEL}, train={"steps": 24, "batch_size": 8}, parallel={"strategy": strategy},
                                 telemetry={"log_every": 4, "rank_records": True}, checkpoint={"every_steps": None})
            runs.succeed("train", config, ranks=RANKS)
            cls.runs[strategy] = case.run_dir

    def config(self, *arguments, **changes):
        return super().config(**changes)

    def each_run(self):
        for strategy, run in self.runs.items():
            with self.subTest(strategy=strategy):
                yield run

    def rows(self, run):
        """The ranks' own rows by step."""
        by_step = {}
        for rank in range(RANKS):
            for row in runs.lines(run / "logs" / f"rank{rank:03}.jsonl"):
                self.assertEqual(row["rank"], rank)
                by_step.setdefault(row["step"], []).append(row)
        return by_step

    def test_phases_add_up_to_the_step(self):
        for run in self.each_run():
            for rows in self.rows(run).values():
                for row in rows:
                    self.assertAlmostEqual(sum(row[phase] for phase in PHASES), row["step_seconds"], delta=0.02 * row["step_seconds"])
            for record in runs.metrics(run):
                total = sum(record["phases"][phase]["mean"] for phase in PHASES)
                self.assertAlmostEqual(total, record["step_seconds"], delta=0.02 * record["step_seconds"])

    def test_kinds_of_memory_add_up_to_what_the_allocator_counted(self):
        for run in self.each_run():
            for record in runs.metrics(run)[1:]:
                kinds = {kind: record["memory_kinds"][kind]["mean"] for kind in KINDS}
                peak = record["memory"]["peak"]["mean"]
                self.assertAlmostEqual(sum(kinds.values()), peak, delta=0.02 * peak)
                self.assertLess(kinds["other"], 0.02 * peak, f"what nothing explains: {kinds} of {peak}")
                for kind in ("parameters", "gradients", "optimizer", "activations"):
                    self.assertGreater(kinds[kind], 0, kind)

    def test_rank_0_reports_what_the_ranks_log(self):
        for run in self.each_run():
            rows = self.rows(run)
            for record in runs.metrics(run):
                mine = rows[record["step"]]
                self.assertEqual(len(mine), RANKS)
                for phase in PHASES:
                    self.compare(record["phases"][phase], [row[phase] for row in mine])
                for item in ("allocated", "reserved", "peak", "rss"):
                    self.compare(record["memory"][item], [row[item] for row in mine])

    def compare(self, spread, values):
        self.assertAlmostEqual(spread["min"], min(values), places=12)
        self.assertAlmostEqual(spread["max"], max(values), places=12)
        self.assertAlmostEqual(spread["mean"], statistics.fmean(values), delta=1e-9 * abs(spread["mean"]))
        self.assertEqual(values[spread["max_rank"]], max(values))
        self.assertEqual(spread["p95"], max(values), "of three ranks")

    def test_the_report_is_of_all_windows(self):
        for run in self.each_run():
            report = json.loads((run / "report.json").read_text())
            rows = self.rows(run)
            steps = sum(row["steps"] for row in (by_rank[0] for by_rank in rows.values()))
            self.assertEqual(report["steps"], steps)
            for rank in range(RANKS):
                seconds = sum(by_rank[rank]["step_seconds"] * by_rank[rank]["steps"] for by_rank in rows.values()) / steps
                shown = report["ranks"][rank]["step_seconds"]
                self.assertAlmostEqual(shown, seconds, delta=1e-6 * seconds)

    def test_the_wall_clock_is_accounted_for(self):
        for run in self.each_run():
            goodput = json.loads((run / "report.json").read_text())["goodput"]
            parts = sum(goodput[f"{part}_seconds"] for part in
                        ("useful", "startup", "checkpoint", "evaluation", "waiting", "other", "lost", "down"))
            self.assertAlmostEqual(parts, goodput["wall_seconds"], delta=0.02 * goodput["wall_seconds"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
