#!/usr/bin/env python3
"""checkpoint.staging_dir: what a killed run leaves on the fast disk is gone after the next start, and a fast disk that fails is told."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402
import small_run  # noqa: E402


class Staging(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = runs.Scratch()
        cls.folder = cls.scratch.__enter__()
        cls.small = small_run.SmallRun(cls.folder)
        cls.expected = cls.small.reference(2)  # without staging

    @classmethod
    def tearDownClass(cls):
        cls.scratch.__exit__()

    def setUp(self):
        self.fast = self.folder / f"{self.id()}-fast"
        self.fast.mkdir()
        self.run_dir = self.folder / f"{self.id()}-run"

    def train(self, **options):
        return self.small.train(self.run_dir, f"checkpoint.staging_dir={self.fast}", ranks=2, **options)

    def expect_the_whole_course(self):
        self.assertEqual(self.small.course(self.run_dir), self.expected)
        self.assertEqual(small_run.checkpoints(self.run_dir), ["step-00000014"])
        self.assertEqual(small_run.leftovers(self.run_dir), [])
        self.assertEqual(list(self.fast.iterdir()), [])

    def test_the_course_and_the_state_are_those_without_it(self):
        done = self.train()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.expect_the_whole_course()

    def test_a_killed_run_leaves_nothing_after_the_next_start(self):
        # The first file that rank 1 makes is the staged one, the second its copy.
        for call in ("storage.write#2", "storage.open#2"):
            with self.subTest(call=call):
                done = self.train(TRIREME_FAULT=f"{call}:1:*:kill")
                self.assertIn(done.returncode, small_run.KILLED, done.stderr)
                left = list(self.fast.glob("trireme-*/rank-00001/step-*.staged"))
                self.assertEqual(len(left), 1, "nothing was left that could be removed")
        done = self.train()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.expect_the_whole_course()

    def test_a_fast_disk_that_is_full_is_a_failed_save_that_names_it(self):
        done = self.train(TRIREME_FAULT="storage.write#1:1:*:enospc")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, rf"could not be saved: rank 1: {self.fast}/.*: write: No space left on device")
        failed = [event["step"] for event in runs.lines(self.run_dir / "events.jsonl") if event["event"] == "save_failed"]
        self.assertEqual(failed, [4])
        self.expect_the_whole_course()

    def test_a_folder_that_is_not_there_is_told_at_the_start(self):
        self.fast.rmdir()
        done = self.train()
        self.assertEqual(done.returncode, 30, done.stderr)
        self.assertIn(f"{self.fast}: there is no such folder", done.stderr)
        self.assertIn("hint: checkpoint.staging_dir has to exist", done.stderr)
        self.assertFalse(self.fast.exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
