#!/usr/bin/env python3
"""How runs on 1, 2 and 4 ranks scale, as `trireme report --scaling` tells it: what the table holds, not how fast this machine is."""
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402
from training_case import TrainingCase  # noqa: E402


class Scaling(TrainingCase):
    def train(self, ranks, **changes):
        runs.succeed("train", self.config(**changes), ranks=ranks)
        return self.run_dir

    def test_strong_and_weak(self):
        weak = {ranks: self.train(ranks) for ranks in (1, 2, 4)}
        shown = json.loads(runs.succeed("report", "--scaling", weak[4], weak[1], weak[2], "--json").stdout)
        self.assertEqual((shown["schema"], shown["kind"]), (1, "weak"))
        self.assertEqual([row["run"] for row in shown["runs"]], [str(weak[ranks]) for ranks in (1, 2, 4)], "by ranks")
        self.assertEqual(shown["configuration"], {})
        self.assertEqual(shown["notes"], [])
        base = shown["runs"][0]
        self.assertEqual((base["speed_up"], base["efficiency"]), (1, 1))
        for row, ranks in zip(shown["runs"], (1, 2, 4)):
            self.assertEqual((row["ranks"], row["hosts"], row["samples_per_step"], row["windows"]), (ranks, 1, 4 * ranks, 20))
            self.assertAlmostEqual(row["speed_up"], row["samples_per_second"] / base["samples_per_second"])
            self.assertAlmostEqual(row["efficiency"], row["speed_up"] / ranks)
            self.assertAlmostEqual(row["tokens_per_second"], 16 * row["samples_per_second"], delta=1e-6 * row["tokens_per_second"])
            self.assertLess(abs(sum(row["shares"].values()) - 1), 0.3, "medians need not add up")
        said = runs.succeed("report", weak[1], "--scaling", weak[2], weak[4]).stdout
        self.assertIn("weak scaling: 4 samples a step on each rank", said)
        self.assertIn(shown["text"], said)
        self.assertEqual(sum(str(run) in said for run in weak.values()), 3)

        strong = self.train(2, train={"global_batch": 4, "batch_size": 2}, optim={"lr": 0.01})
        shown = json.loads(runs.succeed("report", "--scaling", weak[1], strong, "--json").stdout)
        self.assertEqual(shown["kind"], "strong")
        self.assertEqual(list(shown["configuration"]), ["optim.lr"])
        said = runs.succeed("report", "--scaling", weak[1], strong).stdout
        self.assertIn("strong scaling: 4 samples a step", said)
        self.assertIn("note: the runs differ in more than ranks and batches: optim.lr", said)

        self.refuse(2, "one run does not tell", weak[1])
        self.refuse(2, "both ran on 2 ranks", weak[2], weak[1], strong)
        self.refuse(20, "is no run folder", weak[1], self.folder / "absent")
        (strong / "report.json").unlink()
        self.refuse(20, "report.json does not exist", weak[1], strong)
        (strong / "report.json").write_text("{")
        self.refuse(21, "report.json", weak[1], strong)
        self.assertEqual(runs.trireme("report", "--scaling", weak[1], weak[2], "--compare", weak[1]).returncode, 2)
        self.assertEqual(runs.trireme("report").returncode, 2)

    def refuse(self, code, message, *folders):
        done = runs.trireme("report", "--scaling", *folders)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(message, done.stderr)
        self.assertIn("hint:", done.stderr)
        self.assertEqual(done.stdout, "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
