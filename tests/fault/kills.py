#!/usr/bin/env python3
"""kill -9 of a random rank at random moments of all phases; the same command again, until it is through, ends in the state of the run
that nobody killed. TRIREME_LONG=1: at least 100 kills. TRIREME_SEED=n: the choices of an earlier run (what they hit depends on timing)."""
import collections
import os
import pathlib
import random
import signal
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402
import small_run  # noqa: E402

KILLS = 120 if os.environ.get("TRIREME_LONG") else 6
KILLS_OF_ONE_RUN = 3
SEED = int(os.environ.get("TRIREME_SEED", time.time_ns() % 2**32))


def process_of_rank(launcher, rank):
    """The process that mpirun started for a rank, once it is there."""
    for task in pathlib.Path(f"/proc/{launcher}/task").glob("*/children"):
        try:
            for child in task.read_text().split():
                variables = pathlib.Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
                if f"OMPI_COMM_WORLD_RANK={rank}".encode() in variables:
                    return int(child)
        except OSError:
            pass  # it has just ended
    return None


class Moment:
    """A random moment of a phase: what has to be seen, and how long to wait from then."""

    def __init__(self, choose, run, steps):
        self.phase = choose.choice(["start", "step", "save", "evaluation", "end"])
        self.run = run
        self.delay = choose.random() * {"start": 1.0, "step": 0.02, "save": 0.02, "evaluation": 0.03, "end": 0.3}[self.phase]
        done = len(runs.metrics(run))
        self.step = {"step": choose.randrange(done, steps + 1), "evaluation": 6, "end": steps}.get(self.phase, 0)

    def is_there(self):
        if self.phase == "save":
            return any(".tmp-a" in name for name in small_run.checkpoints(self.run))
        metrics = self.run / "metrics.jsonl"
        return self.step == 0 or metrics.exists() and metrics.read_bytes().count(b"\n") >= self.step


class Kills(unittest.TestCase):
    def kill_once(self, small, run, ranks, choose):
        """Returns the phase in which a rank was killed; None if the run ended before."""
        moment, rank = Moment(choose, run, small.steps), choose.randrange(ranks)
        job = small.start(run, ranks=ranks)
        try:
            victim = None
            while job.poll() is None and (victim is None or not moment.is_there()):
                victim = victim or process_of_rank(job.pid, rank)
                time.sleep(0.001)
            if victim is not None:
                time.sleep(moment.delay)
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            output, _ = job.communicate(timeout=120)
        finally:
            job.kill()
        if job.returncode == 0:
            return None
        self.assertIn(job.returncode, small_run.KILLED, output)
        return moment.phase

    def test_killed_at_random_moments_it_ends_as_if_it_was_not(self):
        choose = random.Random(SEED)
        hit = collections.Counter()
        with runs.Scratch() as folder:
            small = small_run.SmallRun(folder)
            course = 0
            while sum(hit.values()) < KILLS:
                course += 1
                ranks = 2 + course % 2
                with self.subTest(seed=SEED, course=course, ranks=ranks):
                    self.one_course(small, folder / f"course{course}", ranks, choose, hit)
                self.assertLess(course, 2 * KILLS, "the runs end before they are killed")
        print(f"seed {SEED}: {dict(hit)}", file=sys.stderr)

    def one_course(self, small, run, ranks, choose, hit):
        for _ in range(KILLS_OF_ONE_RUN):
            phase = self.kill_once(small, run, ranks, choose)
            if phase is None:
                break
            hit[phase] += 1
            if any(event["event"] == "saved" for event in runs.lines(run / "events.jsonl")):
                runs.succeed("inspect", run, "--verify")
        done = small.train(run, ranks=ranks)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(small.course(run), small.reference(ranks))
        self.assertEqual(small_run.leftovers(run), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
