#!/usr/bin/env python3
"""Bad input and lost ranks: the exit code, the message, exit.json, and what is left on disk."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402
from training_case import TrainingCase  # noqa: E402


def job_pid(run_dir):
    return json.loads((run_dir / "run.lock").read_text())["pid"]


class BadInput(TrainingCase):
    def refuse(self, done, code, *texts):
        """The launcher shows the code, the message says all of `texts` and has a hint."""
        output = done.stdout + done.stderr
        self.assertEqual(done.returncode, code, output)
        for text in texts:
            self.assertIn(text, output)
        self.assertIn("hint: ", output)

    def record(self, code, kind, resumable):
        record = runs.exit_record(self.run_dir)
        self.assertEqual((record["code"], record["kind"], record["resumable"]), (code, kind, resumable), record)
        return record

    def checkpoints(self):
        return sorted(path.name for path in (self.run_dir / "checkpoints").glob("*"))

    def nothing_trained(self):
        self.assertFalse((self.run_dir / "metrics.jsonl").exists() and runs.metrics(self.run_dir))
        self.assertEqual(self.checkpoints(), [])
        self.assertFalse((self.run_dir / "run.lock").exists())

    # --- configuration ---

    def test_unknown_duplicate_and_ill_typed_keys_are_all_named_with_their_place(self):
        config = self.config()
        text = config.read_text() + "optim:\n  learning_rat: 1\n  lr: fast\n  eps: 1\n  eps: 2\n"
        config.write_text(text)
        first = text.count("\n") - 3
        done = runs.trireme("train", config)
        self.refuse(done, 10, f"config.yaml:{first}:3:", "optim.learning_rat", f"config.yaml:{first + 1}:", "optim.lr",
                    f"config.yaml:{first + 3}:", "eps")
        self.assertEqual(self.record(10, "configuration", False)["step"], -1)
        self.assertFalse((self.run_dir / "checkpoints").exists())

    def test_the_nearest_key_is_offered(self):
        self.refuse(runs.trireme("train", self.config(), "train.batchsize=4"), 10, "command line", "train.batchsize",
                    "batch_size")

    def test_one_of_the_ranks_speaks_about_a_bad_configuration(self):
        done = runs.trireme("train", self.config(), "optim.lr=fast", ranks=3)
        self.refuse(done, 10, "optim.lr")
        self.assertEqual((done.stdout + done.stderr).count("optim.lr=fast"), 1)

    def test_a_global_batch_larger_than_the_data(self):
        done = runs.trireme("train", self.config(train={"global_batch": 100000}), ranks=2)
        self.refuse(done, 10, "100000", "312")
        self.record(10, "configuration", False)
        self.nothing_trained()

    def test_data_with_another_vocabulary_than_the_model(self):
        done = runs.trireme("train", self.config(), "model.config.vocab_size=100", ranks=2)
        self.refuse(done, 10, "256", "100")
        self.record(10, "configuration", False)
        self.nothing_trained()

    def test_a_run_folder_of_another_configuration(self):
        config = self.config()
        runs.succeed("train", config)
        before = {path: path.read_bytes() for path in self.run_dir.glob("*.jsonl")}
        saved = self.checkpoints()
        done = runs.trireme("train", config, "optim.lr=0.5", "train.steps=30")
        self.refuse(done, 10, "optim.lr", "0.5", "run.dir")
        self.assertEqual({path: path.read_bytes() for path in self.run_dir.glob("*.jsonl")}, before)
        self.assertEqual(self.checkpoints(), saved)
        # free keys may change: the run goes on
        runs.succeed("train", config, "train.steps=22")
        self.assertEqual(max(record["step"] for record in runs.metrics(self.run_dir)), 22)
        changed = [event for event in runs.lines(self.run_dir / "events.jsonl") if event["event"] == "changed"]
        self.assertIn("train.steps", json.dumps(changed))

    # --- data ---

    def test_a_missing_data_file(self):
        done = runs.trireme("train", self.config(), "data.train=/nowhere/x.h5", ranks=2)
        self.refuse(done, 20, "/nowhere/x.h5")
        self.record(20, "input_missing", False)
        self.nothing_trained()

    def test_a_damaged_data_file_is_named_with_its_block(self):
        damaged = self.folder / "damaged.h5"
        content = bytearray((self.folder / "text.h5").read_bytes())
        middle = content.index(b"s\0h\0i\0p\0") + 2001
        content[middle] ^= 0x40
        damaged.write_bytes(content)
        done = runs.trireme("train", self.config(), f"data.train={damaged}", ranks=2)
        self.refuse(done, 21, "damaged.h5", "tokens", "block")
        self.record(21, "data_damaged", False)
        done = runs.trireme("inspect", damaged, "--verify")
        self.refuse(done, 21, "damaged.h5")

    def test_a_truncated_data_file(self):
        cut = self.folder / "cut.h5"
        cut.write_bytes((self.folder / "text.h5").read_bytes()[:-3000])
        done = runs.trireme("train", self.config(), f"data.train={cut}", ranks=2)
        self.refuse(done, 21, "cut.h5")
        self.nothing_trained()

    # --- the environment ---

    def test_a_folder_in_use_by_another_job(self):
        config = self.config(train={"steps": 100000})
        job = runs.start("train", config, ranks=2)
        try:
            while not runs.metrics(self.run_dir):
                self.assertIsNone(job.poll())
            files = sorted(path.name for path in self.run_dir.iterdir())
            done = runs.trireme("train", config, ranks=2)
            self.refuse(done, 12, str(self.run_dir), f"process {job_pid(self.run_dir)}")
            self.assertIsNone(job.poll())  # the owner goes on, and no exit.json claims otherwise
            self.assertNotIn("exit.json", files)
            self.assertFalse((self.run_dir / "exit.json").exists())
        finally:
            (self.run_dir / "control" / "stop").touch()
            output, _ = job.communicate(timeout=60)
        self.assertEqual(job.returncode, 75, output)
        self.record(75, "stopped", True)
        self.assertFalse((self.run_dir / "run.lock").exists())

    def test_many_worlds_of_one(self):
        done = runs.trireme("train", self.config(), SLURM_PROCID="1", SLURM_NTASKS="4", SLURM_JOB_ID="7", SLURM_LOCALID="1",
                            SLURM_NODEID="0", SLURM_STEP_ID="0")
        self.assertEqual(done.returncode, 12, done.stdout + done.stderr)
        self.assertFalse((self.run_dir / "metrics.jsonl").exists())

    def test_a_run_folder_that_cannot_be_made(self):
        config = self.config()
        (self.folder / "file").write_text("in the way")
        done = runs.trireme("train", config, f"run.dir={self.folder / 'file' / 'run'}", ranks=2)
        self.refuse(done, 30, "file: cannot be made")

    def test_a_full_disk(self):
        mount = self.folder / "small"
        mount.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", mount], check=False).returncode != 0:
            runs.skip(self, "namespaces refused")
        try:
            config = self.config(model={"config": {"vocab_size": 256, "n_positions": 16, "n_embd": 64, "n_layer": 1, "n_head": 2}})
            done = runs.trireme("train", config, f"run.dir={mount / 'run'}", ranks=2)
            self.refuse(done, 30, "small/run/checkpoints")
            self.assertEqual(sorted((mount / "run/checkpoints").glob("*")), [])  # nothing half-written
        finally:
            subprocess.run(["umount", mount], check=True)

    # --- ranks ---

    def different(self, config, first, second):
        command = [str(runs.MPIRUN), "-np", "1", str(runs.BINARY), "train", str(config), *first, ":",
                   "-np", "2", str(runs.BINARY), "train", str(config), *second]
        return subprocess.run(command, env=runs.environment(), capture_output=True, text=True, timeout=120, check=False)

    def test_ranks_with_different_configurations(self):
        done = self.different(self.config(), ["optim.lr=0.001"], ["optim.lr=0.002"])
        self.refuse(done, 11, "optim.lr", "0.001 on rank 0", "0.002 on ranks 1, 2")
        self.assertFalse((self.run_dir / "metrics.jsonl").exists())

    def test_ranks_with_different_data(self):
        other = self.folder / "node_local"
        other.mkdir()
        runs.token_text(other / "text.txt", size=5000, seed=8)
        runs.succeed("prepare", "text", other / "text.txt", "-o", other / "text.h5")
        here = self.folder / "node"
        here.mkdir()
        shutil.copy(self.folder / "text.h5", here / "text.h5")
        config = self.config(data={"train": "text.h5"})
        command = [str(runs.MPIRUN), "-np", "1", "-wdir", str(here), str(runs.BINARY), "train", str(config), ":",
                   "-np", "1", "-wdir", str(other), str(runs.BINARY), "train", str(config)]
        done = subprocess.run(command, env=runs.environment(), capture_output=True, text=True, timeout=120, check=False)
        self.refuse(done, 11, "train", "on rank 0", "on rank 1")
        self.record(11, "ranks_differ", False)
        self.nothing_trained()

    def test_a_loss_that_is_not_a_number(self):
        done = runs.trireme("train", self.config(), ranks=2, TRIREME_FAULT="step.loss:1:7:nan")
        self.refuse(done, 50, "step 8", "rank 1", "samples")
        record = self.record(50, "diverged", False)
        self.assertIn("samples are ", record["message"])
        self.assertEqual(self.checkpoints(), ["step-00000005"])  # the last good one
        runs.succeed("inspect", self.run_dir / "checkpoints/step-00000005", "--verify")

    def test_a_skipped_step_is_as_if_its_batch_had_not_been(self):
        done = runs.succeed("train", self.config(guard={"nonfinite": "skip"}), ranks=2, TRIREME_FAULT="step.loss:1:7:nan")
        self.assertIn("step 8", done.stderr)
        self.assertEqual(runs.metrics(self.run_dir)[-1]["skipped"], 1)
        self.record(0, "done", False)

    def lose(self, fault):
        began = time.monotonic()
        done = runs.trireme("train", self.config(train={"steps": 100000}, checkpoint={"async": False}), ranks=3, TRIREME_FAULT=fault)
        self.assertNotEqual(done.returncode, 0)
        self.assertLess(time.monotonic() - began, 60)
        return done

    def test_a_rank_that_is_killed_is_named_by_the_survivors(self):
        for rank in (2, 0):  # rank 0 owns the side channel's hub, and the run folder
            with self.subTest(rank=rank):
                self.lose(f"step.begin:{rank}:6:kill")
                record = self.record(41, "peer_lost", True)
                self.assertEqual(record["rank"], rank)
                self.assertEqual(self.checkpoints(), ["step-00000005"])
                leftovers = subprocess.run(["pgrep", "-f", str(self.run_dir.parent / "config.yaml")], capture_output=True, text=True,
                                           check=False).stdout
                self.assertEqual(leftovers, "", "orphan processes")

    def test_an_error_of_one_rank_reaches_all_while_they_stand_in_a_collective(self):
        done = self.lose("step.begin:1:6:throw")
        self.assertEqual(done.returncode, 1, done.stderr)
        record = self.record(1, "unexpected", False)
        self.assertEqual(record["rank"], 1)
        self.assertIn("fault injected at step.begin", record["message"])


if __name__ == "__main__":
    os.chdir("/")
    unittest.main(verbosity=2)
