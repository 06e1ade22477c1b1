#!/usr/bin/env python3
"""launch/quickstart in a short form: the whole road, the run folder it leaves, and that a second call skips what is done."""
import json
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402

OVERRIDES = ["train.steps=60", "eval.every_steps=null", "checkpoint.every_steps=40", "schedule.warmup_steps=10"]


def quickstart(*overrides):
    return subprocess.run([runs.ROOT / "launch/quickstart", *overrides], env=runs.environment(), capture_output=True, text=True,
                          timeout=540, check=False, stdin=subprocess.DEVNULL)


class Quickstart(unittest.TestCase):
    def test_the_whole_road(self):
        with runs.Scratch() as folder:
            run = folder / "run"
            first = quickstart(f"run.dir={run}", *OVERRIDES)
            self.assertEqual(first.returncode, 0, first.stdout + first.stderr)
            self.assertIn(f"{run}/report.json", first.stdout)
            text = first.stdout.split("goes on:")[1].strip()
            self.assertTrue(text.startswith("And it came to pass"), text)
            self.assertGreater(len(text), 100)

            names = {path.name for path in run.iterdir()}
            self.assertLessEqual({"config.yaml", "metrics.jsonl", "eval.jsonl", "events.jsonl", "exit.json", "report.json", "logs",
                                  "control", "checkpoints"}, names)
            self.assertNotIn("run.lock", names)
            self.assertEqual({path.name for path in (run / "logs").iterdir()}, {"rank000.log", "rank001.log"})
            self.assertEqual({path.name for path in (run / "checkpoints").iterdir()}, {"step-00000040", "step-00000060"})
            self.check_metrics(runs.metrics(run))
            evaluation = runs.lines(run / "eval.jsonl")[-1]
            # 196,949 tokens in samples of 128 and their successors: every one exactly once
            self.assertEqual(evaluation["samples"], (196949 - 1) // 128)
            self.assertLess(evaluation["loss"], 2.7)
            self.assertEqual(runs.exit_record(run)["code"], 0)
            report = json.loads((run / "report.json").read_text())
            self.assertIn("verdict", report)

            again = quickstart(f"run.dir={run}", *OVERRIDES)
            self.assertEqual(again.returncode, 0, again.stdout + again.stderr)
            self.assertIn("finished already", again.stdout)
            self.assertEqual(again.stdout.split("goes on:")[1].strip(), text)

    def check_metrics(self, records):
        self.assertEqual([record["step"] for record in records], [10, 20, 30, 40, 50, 60])
        self.assertLess(records[-1]["loss"], records[0]["loss"])
        for record in records:
            self.assertEqual(record["samples"], record["step"] * 16)
            self.assertEqual(record["tokens"], record["step"] * 16 * 128)
            phases = record["phases"]
            self.assertEqual(set(phases), {"data", "forward", "backward", "comm_exposed", "optimizer", "graph", "checkpoint", "other"})
            self.assertEqual(phases["graph"]["max"], 0, "on CPUs no step is repeated")
            for spread in [*phases.values(), *record["memory"].values()]:
                self.assertLessEqual(spread["min"], spread["mean"] * (1 + 1e-9))
                self.assertLessEqual(spread["mean"], spread["max"] * (1 + 1e-9))
                self.assertIn(spread["max_rank"], (0, 1))
                self.assertTrue(spread["max_host"])
            total = sum(spread["mean"] for spread in phases.values())
            self.assertAlmostEqual(total, record["step_seconds"], delta=0.02 * record["step_seconds"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
