#!/usr/bin/env python3
"""When checkpoints are made, which are kept, and what a failed save does to a run."""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402
import small_run  # noqa: E402
from training_case import TrainingCase  # noqa: E402


class CheckpointPolicy(TrainingCase):
    def steps(self, folder="checkpoints"):
        return [int(path.name.removeprefix("step-")) for path in sorted((self.run_dir / folder).iterdir())]

    def events(self, name):
        return [event["step"] for event in runs.lines(self.run_dir / "events.jsonl") if event["event"] == name]

    def test_every_n_steps_in_the_background_and_at_the_end(self):
        for background in (True, False):
            config = self.config(checkpoint={"async": background, "keep_last": 10}, train={"steps": 18})
            runs.succeed("train", config, ranks=2)
            self.assertEqual(self.steps(), [5, 10, 15, 18])
            self.assertEqual(self.events("saved"), [5, 10, 15, 18])
            for step in self.steps():
                runs.succeed("inspect", self.run_dir / f"checkpoints/step-{step:08}", "--verify")

    def test_every_n_minutes(self):
        config = self.config(checkpoint={"every_steps": None, "every_minutes": 1e-6, "keep_last": 100})
        runs.succeed("train", config, ranks=2)
        self.assertGreater(len(self.steps()), 2)

    def test_the_last_the_best_and_every_nth_stay(self):
        config = self.config(
            train={"steps": 40}, data={"eval": str(self.folder / "text.h5")}, eval={"every_steps": 4},
            checkpoint={"every_steps": 2, "keep_last": 1, "keep_best": 2, "keep_every_steps": 10})
        runs.succeed("train", config, ranks=2)
        loss = {record["step"]: record["loss"] for record in runs.lines(self.run_dir / "eval.jsonl")}
        best = sorted(loss, key=loss.get)[:2]
        self.assertEqual(self.steps(), sorted({40, 10, 20, 30, *best}))

    def test_an_evaluation_that_is_among_the_best_is_saved(self):
        config = self.config(data={"eval": str(self.folder / "text.h5")}, eval={"every_steps": 4},
                             checkpoint={"every_steps": None, "keep_last": 1, "keep_best": 1})
        runs.succeed("train", config, ranks=1)
        self.assertIn(4, self.events("saved"))

    def test_a_failed_save_is_told_and_the_run_goes_on(self):
        done = runs.succeed("train", self.config(), ranks=2, TRIREME_FAULT="storage.write#1:1:*:enospc")
        self.assertIn("the checkpoint of step 5 could not be saved: rank 1: ", done.stderr)
        self.assertEqual(self.events("save_failed"), [5])
        self.assertEqual(self.steps(), [10, 15, 20])

    def test_or_ends_it_if_so_configured(self):
        done = runs.trireme("train", self.config(train={"steps": 100000}, checkpoint={"on_failure": "stop"}), ranks=2,
                            TRIREME_FAULT="storage.fsync#1:1:*:eio")
        self.assertEqual(done.returncode, 30, done.stderr)
        record = runs.exit_record(self.run_dir)
        self.assertEqual((record["code"], record["kind"]), (30, "storage"))
        self.assertEqual(self.steps(), [])

    def test_the_last_save_must_succeed(self):
        done = runs.trireme("train", self.config(), ranks=2, TRIREME_FAULT="storage.write:1:*:enospc")
        self.assertEqual(done.returncode, 30, done.stderr)
        self.assertEqual(self.events("save_failed"), [5, 10, 15, 20])
        self.assertEqual(self.steps(), [])

    def test_beginning_anew_deletes_nothing(self):
        config = self.config()
        runs.succeed("train", config, ranks=1)
        self.assertEqual(self.steps(), [10, 15, 20])
        runs.succeed("train", config, "run.resume=never", "train.steps=5", ranks=1)
        self.assertEqual(self.steps(), [5])
        self.assertEqual(self.steps("checkpoints.set-aside-1"), [10, 15, 20])
        older = self.run_dir / "checkpoints.set-aside-1/step-00000010"
        runs.succeed("train", config, f"run.resume={older}", "train.steps=12", ranks=1)
        self.assertEqual(self.steps(), [12])
        self.assertEqual(self.steps("checkpoints.set-aside-2"), [5])

    def test_a_run_from_another_runs_checkpoint_has_its_own_even_if_all_steps_are_done(self):
        first = self.config()
        runs.succeed("train", first, ranks=2)
        source = self.run_dir
        config = self.config()
        runs.succeed("train", config, f"run.resume={source}", ranks=2)
        self.assertEqual(self.steps(), [20])
        runs.succeed("inspect", self.run_dir, "--verify")
        self.assertEqual(small_run.state_hash(self.run_dir), small_run.state_hash(source))
        self.assertEqual(runs.exit_record(self.run_dir)["code"], 0)
        again = runs.succeed("train", config, ranks=2)  # goes on from its own, and has nothing to do
        self.assertEqual(self.events("saved"), [20], again.stderr)

    def test_a_record_that_cannot_be_written_does_not_end_the_run(self):
        done = runs.succeed("train", self.config(checkpoint={"every_steps": None}), ranks=2, TRIREME_FAULT="storage.write:0:7:enospc")
        self.assertIn("a record is lost (1 so far), the run goes on: ", done.stderr)
        self.assertIn(str(self.run_dir / "metrics.jsonl"), done.stderr)
        self.assertIn("1 record of metrics, evaluations and events could not be written", done.stderr)
        steps = [record["step"] for record in runs.metrics(self.run_dir)]
        self.assertEqual(len(steps), 19)
        self.assertEqual(sorted(set(range(1, 21)) - set(steps)), [6])
        self.assertEqual(self.steps(), [20])
        self.assertEqual(runs.exit_record(self.run_dir)["code"], 0)

    def test_an_old_checkpoint_that_cannot_be_deleted_is_told_and_goes_later(self):
        config = self.config(checkpoint={"keep_last": 1})
        done = runs.succeed("train", config, ranks=2, TRIREME_FAULT="storage.unlink#1:0:*:eio")
        self.assertIn("could not be deleted", done.stderr)
        self.assertEqual(self.steps(), [20])

    def test_too_little_space_is_foreseen(self):
        mount = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        script = f"mount -t tmpfs -o size=700k none {mount} && exec \"$@\""
        command = ["unshare", "-m", "-r", "sh", "-c", script, "sh", str(runs.BINARY), "train", str(self.config()),
                   f"run.dir={mount}/run", "checkpoint.keep_last=30"]
        done = runs.subprocess.run(command, env=runs.environment(), capture_output=True, text=True, timeout=100, check=False)
        if "unshare failed" in done.stderr or "mount:" in done.stderr:
            runs.skip(self, "namespaces refused")
        self.assertRegex(done.stderr, r"MiB are free, 31 more checkpoints of 0 MiB will need \d+ MiB")


if __name__ == "__main__":
    unittest.main(verbosity=2)
