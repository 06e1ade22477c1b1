#!/usr/bin/env python3
"""A kill, a full disk and an I/O error at the calls of the save path, one call at a time: every folder made, file opened, written,
synced and closed, name given and removed, on each rank. TRIREME_LONG=1: at every call; else at some, chosen by TRIREME_SEED."""
import json
import os
import random
import sys
import pathlib
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402
import small_run  # noqa: E402

LONG = bool(os.environ.get("TRIREME_LONG"))
SEED = int(os.environ.get("TRIREME_SEED", time.time_ns() % 2**32))
RANKS = 2
# Which calls a rank makes; about how many in one run: the short form chooses among them. Rank 0 also writes the run's records.
CALLS = {
    ("storage.mkdir", 0): 3, ("storage.open", 0): 9, ("storage.write", 0): 118, ("storage.fsync", 0): 20, ("storage.close", 0): 20,
    ("storage.rename", 0): 8, ("storage.unlink", 0): 12,
    ("storage.open", 1): 3, ("storage.write", 1): 51, ("storage.fsync", 1): 3, ("storage.close", 1): 3,
}
ERRORS = {"enospc": "No space left on device", "eio": "Input/output error"}


class SaveCalls(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = runs.Scratch()
        cls.small = small_run.SmallRun(cls.scratch.__enter__(), train={"steps": 9}, eval={"every_steps": 20}, checkpoint={"every_steps": 6})
        cls.base = cls.small.stopped_at_the_third_step("base", RANKS)
        cls.expected = cls.small.reference(RANKS)
        cls.choose = random.Random(SEED)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.__exit__()

    def cases(self, sample, sites=None):
        """Site, rank and the number of the call, each until a run has no such call any more."""
        calls = {call: count for call, count in CALLS.items() if sites is None or call[0] in sites}
        if not LONG:
            for site, rank in self.choose.sample(sorted(calls), sample):
                yield site, rank, self.choose.randint(1, calls[site, rank])
            return
        for site, rank in calls:
            self.through = False
            number = 0
            while not self.through:
                number += 1
                yield site, rank, number

    def run_with(self, site, rank, number, action, *overrides, more=""):
        run = self.small.copy(self.base, "case")
        done = self.small.train(run, *overrides, ranks=RANKS, TRIREME_FAULT=f"{site}#{number}:{rank}:*:{action}{more}")
        return run, done

    def expect_the_whole_course(self, run):
        self.assertEqual(self.small.course(run), self.expected)
        self.assertEqual(small_run.checkpoints(run), ["step-00000009"])

    def go_on(self, run, lost_record=False):
        done = self.small.train(run, ranks=RANKS)
        self.assertEqual(done.returncode, 0, done.stderr)
        if lost_record:  # of a step that is not made again
            self.assertEqual(small_run.state_hash(run), self.expected["hash"])
        else:
            self.expect_the_whole_course(run)
        self.assertEqual(small_run.leftovers(run), [])

    def kill(self, site, rank, number, more=""):
        run, done = self.run_with(site, rank, number, "kill", more=more)
        if done.returncode == 0:
            self.through = True
            return self.expect_the_whole_course(run)
        self.assertIn(done.returncode, small_run.KILLED, done.stderr)
        if not more:  # else the name of a replaced checkpoint is missing for a moment: the next start gives it back
            runs.succeed("inspect", run, "--verify")
        self.go_on(run)

    def test_a_kill_at_a_call_loses_no_checkpoint(self):
        for site, rank, number in self.cases(sample=6):
            with self.subTest(seed=SEED, site=site, rank=rank, number=number):
                self.kill(site, rank, number)

    def test_nor_where_names_cannot_be_exchanged(self):
        for site, rank, number in self.cases(sample=1, sites=["storage.rename"]):
            with self.subTest(site=site, rank=rank, number=number):
                self.kill(site, rank, number, more=",storage.exchange:*:*:eio")

    def break_(self, site, rank, number, action, policy):
        run, done = self.run_with(site, rank, number, action, f"checkpoint.on_failure={policy}")
        hit = ERRORS[action] in done.stderr
        if not hit:
            self.through = number > CALLS[site, rank]  # before that it is an error of which nothing is told
        if done.returncode == 0:
            # A save that failed and is followed by another; an old checkpoint that could not be deleted, or what was replaced by a
            # save; a record of the run.
            self.expect_errors_to_name_a_path(run, done.stderr, action)
            told = ("could not be deleted", "could not be removed", "stays until the next start", "a record is lost", "could not be written", "cannot be written",
                    "are lost")
            self.assertTrue(policy == "continue" or any(text in done.stderr for text in told) or not hit, done.stderr)
            self.assertEqual(small_run.state_hash(run), self.expected["hash"])
        else:
            self.assertEqual(done.returncode, 30, done.stderr)
            self.expect_errors_to_name_a_path(run, done.stderr, action)
            if site != "storage.unlink" and (run / "exit.json").exists():
                record = json.loads((run / "exit.json").read_text())
                self.assertEqual((record["code"], record["kind"]), (30, "storage"))
                self.assertIn(str(run), record["message"])
        if site != "storage.unlink":  # what cannot be removed stays until the next start
            self.assertEqual(small_run.leftovers(run), [])
        for name in small_run.checkpoints(run):
            if ".tmp-" not in name:
                runs.succeed("inspect", run / "checkpoints" / name, "--verify")
        runs.succeed("inspect", run, "--verify")
        self.go_on(run, lost_record="a record is lost" in done.stderr)

    def expect_errors_to_name_a_path(self, run, output, action):
        for line in output.split("\n"):
            if ERRORS[action] in line:
                self.assertIn(str(run), line)

    def test_an_error_at_a_call_leaves_nothing_half_written(self):
        for site, rank, number in self.cases(sample=4):
            for action in ERRORS if LONG else [self.choose.choice(sorted(ERRORS))]:
                for policy in ("continue", "stop") if LONG else [self.choose.choice(["continue", "stop"])]:
                    with self.subTest(seed=SEED, site=site, rank=rank, number=number, action=action, policy=policy):
                        self.break_(site, rank, number, action, policy)


if __name__ == "__main__":
    unittest.main(verbosity=2)
