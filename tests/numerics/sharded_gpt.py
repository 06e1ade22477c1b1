#!/usr/bin/env python3
"""configs/sharded_gpt.yaml, as examples/sharded_gpt.sh runs it, in a short form: it learns, no rank holds more than its shard and what
passes through, and one process predicts with what four ranks saved."""
import json
import pathlib
import re
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402

PARAMETERS = 8 * (12 * 384**2 + 13 * 384) + 384 * (256 + 128 + 2)
WHOLE_STATE = 4 * 4 * PARAMETERS  # bytes: parameters, gradients and two moments in float32


class ShardedGpt(unittest.TestCase):
    def test_the_example(self):
        with runs.Scratch() as folder:
            run = folder / "run"
            done = subprocess.run([runs.ROOT / "examples/sharded_gpt.sh", f"run.dir={run}", "train.steps=8", "schedule.warmup_steps=2",
                                   "telemetry.log_every=1", "eval.at_end=false"],
                                  env=runs.environment(), capture_output=True, text=True, timeout=500, check=False,
                                  stdin=subprocess.DEVNULL)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            records = runs.metrics(run)
            self.assertLess(records[-1]["loss"], 0.9 * records[0]["loss"])
            quarter = WHOLE_STATE / 4
            for record in records:
                held = record["memory"]["allocated"]
                self.assertGreater(held["min"], quarter)
                self.assertLess(held["max"], 1.05 * quarter)
            foretold = re.search(r"parallel.strategy: fsdp: ([0-9.]+) MiB: parameters", done.stdout + done.stderr)
            largest_block = 12 * 384**2 + 13 * 384
            self.assertAlmostEqual(float(foretold.group(1)) * 2**20, quarter + 2 * 2 * 4 * largest_block, delta=0.2 * 2**20)
            shards = json.loads((run / "checkpoints/step-00000008/manifest.json").read_text())["files"]
            sizes = [shard["bytes"] for shard in shards]
            self.assertEqual(len(sizes), 4)
            self.assertLess(max(sizes), 1.05 * 3 / 4 * quarter)  # no gradients
            self.assertTrue(done.stdout.split("\n")[-2], "a text at the end")

            units = json.loads((run / "report.json").read_text())["units"]
            self.assertEqual([unit["name"] for unit in units],
                             ["transformer.wte", "transformer.wpe", *(f"transformer.h.{i}" for i in range(8)), "transformer.ln_f"])
            for kind, share in (("parameters", 1 / 4), ("gradients", 1 / 4), ("optimizer", 1 / 2)):
                self.assertAlmostEqual(sum(unit["bytes"][kind] for unit in units), share * quarter, delta=64 * len(units))
            for unit in units:
                for spread in (unit["activations_bytes"], unit["forward_seconds"], unit["backward_seconds"]):
                    self.assertGreater(spread["min"], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
