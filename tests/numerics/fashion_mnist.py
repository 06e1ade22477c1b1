#!/usr/bin/env python3
"""configs/fashion_mnist.yaml, as examples/fashion_mnist.sh runs it: 0.90 test accuracy, and exactly 10,000 samples at every
number of ranks."""
import json
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402


class FashionMnist(unittest.TestCase):
    def test_reaches_its_accuracy_and_counts_every_sample_once(self):
        with runs.Scratch() as folder:
            run = folder / "run"
            done = subprocess.run([runs.ROOT / "examples/fashion_mnist.sh", f"run.dir={run}"], env=runs.environment(),
                                  capture_output=True, text=True, timeout=900, check=False, stdin=subprocess.DEVNULL)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            last = runs.lines(run / "eval.jsonl")[-1]
            self.assertEqual(last["samples"], 10000)
            self.assertGreaterEqual(last["metrics"]["accuracy"], 0.90)
            for ranks in (1, 3, 4):
                again = json.loads(runs.succeed("eval", run, ranks=ranks, cwd=runs.ROOT).stdout.splitlines()[-1])
                self.assertEqual(again["samples"], 10000)
                # the very same predictions, whatever the layout: accuracy is a count
                self.assertAlmostEqual(again["metrics"]["accuracy"], last["metrics"]["accuracy"], delta=2e-4)


if __name__ == "__main__":
    unittest.main(verbosity=2)
