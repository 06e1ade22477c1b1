#!/usr/bin/env python3
"""A run that is killed in mid-epoch and resumed ends in the bit-identical state of the run that was not killed."""
import os
import pathlib
import random
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402

STEPS = 60


def configuration(folder):
    return runs.write_config(
        folder / "gpt.yaml",
        run={"dir": str(folder / "run"), "seed": 5},
        model={"name": "gpt2",
               "config": {"vocab_size": 256, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2, "dropout": 0.1}},
        data={"train": str(folder / "text.h5"), "eval": str(folder / "text.h5"), "workers": 2},
        train={"steps": STEPS, "batch_size": 3, "accumulate": 2},
        eval={"every_steps": 20, "at_end": True},
        optim={"name": "adamw", "lr": 2e-3},
        ema={"decay": 0.9},
        schedule={"name": "cosine", "warmup_steps": 5},
        checkpoint={"every_steps": 7, "keep_last": 2},
        telemetry={"log_every": 1},
    )


def state_hash(run):
    newest = sorted((run / "checkpoints").glob("step-*"))[-1]
    return newest.name, runs.succeed("inspect", newest, "--state-hash").stdout.split()[-1]


class ExactResume(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = runs.Scratch()
        cls.folder = cls.scratch.__enter__()
        runs.token_text(cls.folder / "text.txt", size=7000)
        runs.succeed("prepare", "text", cls.folder / "text.txt", "-o", cls.folder / "text.h5")
        cls.config = configuration(cls.folder)
        cls.whole = cls.folder / "whole"
        runs.succeed("train", cls.config, f"run.dir={cls.whole}", ranks=2)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.__exit__()

    def kill_at(self, name, step):
        """Kills one rank with SIGKILL as soon as the metrics show that `step` was reached."""
        run = self.folder / name
        job = runs.start("train", self.config, f"run.dir={run}", ranks=2)
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and job.poll() is None:
            if any(record["step"] >= step for record in runs.metrics(run)):
                break
        lock = runs.json.loads((run / "run.lock").read_text())
        os.kill(lock["pid"], signal.SIGKILL)
        output, _ = job.communicate(timeout=60)
        self.assertNotEqual(job.returncode, 0, output)
        return run

    def test_killed_three_times_at_random_steps(self):
        chooser = random.Random(time.time_ns())
        for attempt in range(3):
            step = chooser.randrange(2, STEPS - 10)
            with self.subTest(killed_after_step=step):
                run = self.kill_at(f"killed{attempt}", step)
                runs.succeed("train", self.config, f"run.dir={run}", ranks=2)
                self.assertEqual(state_hash(run), state_hash(self.whole))
                steps = [record["step"] for record in runs.metrics(run)]
                self.assertEqual(steps, list(range(1, STEPS + 1)))  # no step twice, none missing
                whole = runs.losses(self.whole)
                self.assertEqual(runs.losses(run), whole)

    def test_stopped_on_request_then_resumed_on_another_number_of_ranks(self):
        run = self.folder / "moved"
        (run / "control").mkdir(parents=True)
        (run / "control" / "stop").touch()  # found at the first step, obeyed two steps later: in mid-epoch
        stopped = runs.trireme("train", self.config, f"run.dir={run}", ranks=2)
        self.assertEqual(stopped.returncode, 75, stopped.stderr)
        self.assertEqual(runs.exit_record(run)["step"], 3)
        self.assertTrue(runs.exit_record(run)["resumable"])
        runs.succeed("train", self.config, f"run.dir={run}", ranks=3)
        whole, moved = runs.losses(self.whole), runs.losses(run)
        self.assertEqual(sorted(moved), sorted(whole))
        for step in whole:  # the same global data order, so the same losses within rounding
            self.assertLessEqual(abs(moved[step] - whole[step]), 2e-5 * whole[step], f"step {step}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
