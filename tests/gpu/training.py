#!/usr/bin/env python3
"""Whole runs on a GPU: near those on the CPU, repeated as graphs to the same bits as eagerly, on one rank and on two that share the
GPU, as ddp and fsdp. TRIREME_PROBE=emulated runs them on the emulated accelerator, which says whether the test itself is right."""
import json
import os
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402
from small_run import state_hash  # noqa: E402

DEVICE = os.environ.get("TRIREME_PROBE", "cuda")
ON_DEVICE = [f"device.type={DEVICE}", "run.deterministic=true"]
EXACT = ["precision.compute=fp32", "device.tf32=false"]
EMULATED = DEVICE == "emulated"  # thousands of times slower
MODEL = {"vocab_size": 256, "n_positions": 8 if EMULATED else 64, "n_embd": 16 if EMULATED else 128, "n_layer": 1 if EMULATED else 4,
         "n_head": 2, "dropout": 0.1}
STEPS = 6 if EMULATED else 50


class Training(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = runs.Scratch()
        cls.folder = cls.scratch.__enter__()
        runs.token_text(cls.folder / "text.txt", size=4096)
        runs.succeed("prepare", "text", cls.folder / "text.txt", "-o", cls.folder / "text.h5")
        data = str(cls.folder / "text.h5")
        cls.config = runs.write_config(
            cls.folder / "run.yaml", run={"dir": "", "seed": 3}, model={"name": "gpt2", "config": MODEL},
            data={"train": data, "eval": data}, train={"steps": STEPS, "batch_size": 4, "global_batch": 8 if EMULATED else 16},
            eval={"at_end": False}, optim={"name": "adamw", "lr": 2e-3}, checkpoint={"every_steps": None}, telemetry={"log_every": 1})

    @classmethod
    def tearDownClass(cls):
        cls.scratch.__exit__()

    def setUp(self):
        if DEVICE == "cuda" and not list(pathlib.Path("/dev").glob("nvidia[0-9]*")):
            runs.skip(self, "no GPU")

    def trained(self, name, *overrides, ranks=0, **variables):
        run = self.folder / name
        if not run.exists():
            done = runs.trireme("train", self.config, f"run.dir={run}", *overrides, ranks=ranks, TRIREME_SHARE_GPU="1", **variables)
            self.assertEqual(done.returncode, 0, done.stderr)
        return run

    def losses(self, run):
        return [record["loss"] for record in runs.metrics(run)]

    def assert_near(self, run, reference, bound):
        ours, theirs = self.losses(run), self.losses(reference)
        self.assertEqual(len(ours), STEPS)
        worst = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs))
        self.assertLess(worst, bound, f"relative, over {STEPS} steps")

    def on_cpu(self):
        return self.trained("cpu", "device.type=cpu", *EXACT)

    def test_float32_is_near_the_cpu(self):
        self.assert_near(self.trained("fp32", *ON_DEVICE, *EXACT), self.on_cpu(), 1e-3)

    def test_bfloat16_and_float16_are_near_float32(self):
        for compute in ("bf16", "fp16"):
            with self.subTest(compute):
                self.assert_near(self.trained(compute, *ON_DEVICE, f"precision.compute={compute}"), self.on_cpu(), 2e-2)

    def test_repeated_steps_have_the_bits_of_eager_ones(self):
        for compute in ("fp32", "bf16"):
            with self.subTest(compute):
                eager = self.trained(f"{compute}-eager", *ON_DEVICE, f"precision.compute={compute}", "train.graph=off")
                repeated = self.trained(f"{compute}-graph", *ON_DEVICE, f"precision.compute={compute}", "train.graph=on")
                self.assertEqual(self.losses(repeated), self.losses(eager))
                self.assertEqual(state_hash(repeated), state_hash(eager))

    def test_two_ranks_train_like_one(self):
        for strategy in ("ddp", "zero2", "fsdp"):
            with self.subTest(strategy):
                run = self.trained(f"two-{strategy}", *ON_DEVICE, *EXACT, f"parallel.strategy={strategy}", ranks=2)
                self.assert_near(run, self.on_cpu(), 1e-3)

    def test_evaluation_of_the_checkpoint_is_that_of_the_cpu(self):
        run = self.trained("fp32", *ON_DEVICE, *EXACT)
        there = json.loads(runs.succeed("eval", run).stdout)
        here = json.loads(runs.succeed("eval", run, "device.type=cpu").stdout)
        self.assertAlmostEqual(there["loss"] / here["loss"], 1.0, delta=1e-4)
        self.assertEqual(there["samples"], here["samples"])


if __name__ == "__main__":
    unittest.main()
