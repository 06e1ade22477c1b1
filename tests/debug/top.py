#!/usr/bin/env python3
"""`trireme top` of runs that go on, ended well, failed and were killed; on a terminal, whose cursor it gives back; and of folders
that are none of a run."""
import codecs
import fcntl
import json
import os
import pathlib
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402
from training_case import TrainingCase  # noqa: E402

SLOW = "step.begin:*:*:sleep=50"
PATIENCE = 60


def look(*folders):
    """The objects that --json prints."""
    answer = json.loads(runs.succeed("top", *folders, "--json").stdout)
    assert answer["schema"] == 1
    return answer["runs"]


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, *arguments, columns=100, rows=40, **environment):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        env = runs.environment(TERM="xterm", LC_ALL="C.UTF-8", **environment)
        self.process = subprocess.Popen([str(runs.BINARY), *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave,
                                        env=env, start_new_session=True)
        os.close(slave)
        self.seen = ""
        self.decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end inside of a character

    def read_until(self, condition):
        end = time.monotonic() + PATIENCE
        while not condition(self.seen):
            if time.monotonic() > end:
                raise AssertionError(f"not seen on the terminal:\n{self.seen}")
            if select.select([self.master], [], [], 0.2)[0]:
                try:
                    self.seen += self.decoder.decode(os.read(self.master, 65536))
                except OSError:
                    return  # the program has ended
            elif self.process.poll() is not None:
                return

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


class Top(TrainingCase):
    def wait_for_metrics(self, job, count):
        end = time.monotonic() + PATIENCE
        while len(runs.metrics(self.run_dir)) < count:
            self.assertLess(time.monotonic(), end, "no metrics")
            self.assertIsNone(job.poll(), "the run has ended")
            time.sleep(0.02)

    def test_a_run_that_goes_on(self):
        job = runs.start("train", self.config(train={"steps": 4000}, checkpoint={"every_steps": 1000}), ranks=2, TRIREME_FAULT=SLOW)
        try:
            self.wait_for_metrics(job, 5)
            (run,) = look(self.run_dir)
            self.assertEqual(run["state"], "running")
            self.assertGreaterEqual(run["step"], 5)
            self.assertEqual(run["total_steps"], 4000)
            self.assertGreater(run["seconds_left"], 0)
            self.assertEqual(run["ranks"], 2)
            self.assertEqual(run["loss"], runs.losses(self.run_dir)[run["step"]])
            self.assertEqual(set(run["phases"]), set(runs.metrics(self.run_dir)[0]["phases"]))
            self.assertIn(run["phases"]["forward"]["max_rank"], (0, 1))
            self.assertGreater(run["memory"]["rss"]["max"], 0)
            self.assertRegex(run["holder"], r"process \d+ on ")
            text = runs.succeed("top", self.run_dir).stdout
            for part in ("running", "/4000", "loss ", "forward", "rss", "started at step 0"):
                self.assertIn(part, text)
            self.assertNotIn("\033", text)
            self.on_a_terminal()
            (self.run_dir / "control" / "stop").touch()
            job.communicate(timeout=PATIENCE)
        finally:
            if job.poll() is None:
                os.killpg(job.pid, signal.SIGKILL)
            job.wait()
            job.stdout.close()
        (run,) = look(self.run_dir)
        self.assertEqual(run["state"], "stopped")
        self.assertIn("code 75", run["message"])

    def on_a_terminal(self):
        with Terminal("top", self.run_dir, "--interval", "0.2") as terminal:
            terminal.read_until(lambda seen: seen.count("running") >= 3)
            self.assertIn("\033[?25l", terminal.seen)
            self.assertRegex(terminal.seen, "\033\\[\\d+A", "drawn in place")
            self.assertNotIn("\033[3", terminal.seen, "NO_COLOR is set")
            os.kill(terminal.process.pid, signal.SIGINT)
            terminal.read_until(lambda seen: seen.endswith("\033[?25h"))
            self.assertEqual(terminal.process.wait(PATIENCE), 0)
        with Terminal("top", self.run_dir, "--interval", "60", NO_COLOR="", columns=40, rows=12) as terminal:
            terminal.read_until(lambda seen: "\033[J" in seen)
            self.assertIn("\033[32mrunning\033[0m", terminal.seen)
            lines = terminal.seen.split("\n")
            self.assertLessEqual(len(lines) - 1, 11, "fits the terminal")
            os.kill(terminal.process.pid, signal.SIGTERM)
            terminal.read_until(lambda seen: seen.endswith("\033[?25h"))

    def test_a_run_that_is_done(self):
        runs.succeed("train", self.config(data={"eval": str(self.folder / "text.h5")}), ranks=2)
        (run,) = look(self.run_dir)
        self.assertEqual((run["state"], run["step"], run["total_steps"]), ("finished", 20, 20))
        self.assertEqual(run["losses"], [record["loss"] for record in runs.metrics(self.run_dir)])
        self.assertEqual(run["evaluation"]["step"], 20)
        self.assertEqual(run["verdict"], json.loads((self.run_dir / "report.json").read_text())["verdict"]["text"])
        self.assertIn("finished", runs.succeed("top", self.run_dir, "--once").stdout)

    def test_runs_that_failed_or_were_killed(self):
        folders = []
        for action in ("throw", "kill"):
            done = runs.trireme("train", self.config(), TRIREME_FAULT=f"step.begin:*:7:{action}")
            self.assertNotEqual(done.returncode, 0)
            folders.append(self.run_dir)
        failed, killed = look(*folders)
        self.assertEqual(failed["state"], "failed")
        self.assertIn(runs.exit_record(folders[0])["message"], failed["message"])
        self.assertEqual(killed["state"], "lost")
        self.assertIn("process is gone", killed["message"])
        text = runs.succeed("top", *folders).stdout
        self.assertIn(failed["message"][:60], text)
        self.assertIn("lost", text)

    def test_a_folder_that_is_none_of_a_run(self):
        for folder in (self.folder, self.folder / "absent"):
            done = runs.trireme("top", folder)
            self.assertEqual(done.returncode, 20)
            self.assertIn(str(folder), done.stderr)
            self.assertIn("hint: name the folder that a run writes to", done.stderr)


if __name__ == "__main__":
    unittest.main()
