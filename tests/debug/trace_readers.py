#!/usr/bin/env python3
"""The trace of four ranks in the programs that people open it with: Perfetto's trace processor, and Holistic Trace Analysis' parser."""
import json
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402
from training_case import TrainingCase  # noqa: E402

PYTHON = runs.ROOT / ".deps/trace_readers/bin/python"
READER = runs.ROOT / "tests/support/read_trace.py"
RANKS = 4


def read(*arguments):
    done = subprocess.run([PYTHON, READER, *map(str, arguments)], env=runs.environment(), capture_output=True, text=True, timeout=400, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{arguments[:2]}: {done.stdout}\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


class Trace(TrainingCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        case = cls("test_perfetto_reads_it")
        config = case.config(telemetry={"log_every": 1, "trace": "full", "profile": {"skip_first": 3}}, train={"steps": 12, "batch_size": 2},
                             checkpoint={"every_steps": 2})
        runs.succeed("train", config, ranks=RANKS, timeout=500)
        cls.run_dir = case.run_dir

    def test_perfetto_reads_it(self):
        queries = {
            "ranks": "select pid, name, (select count(*) from thread_track t join thread using (utid) join slice s on s.track_id = t.id where thread.upid = p.upid) slices from process p where pid is not null and name is not null order by pid",
            "steps": "select distinct name from slice where name glob 'ProfilerStep#*'",
            "names": "select name, count(*) calls, sum(dur) ns from slice group by name",
            "flows": "select count(*) n from flow",
            "links": "select count(*) n from flow f join slice a on a.id = f.slice_out join slice b on b.id = f.slice_in join thread_track ta on ta.id = a.track_id join thread_track tb on tb.id = b.track_id join thread ha on ha.utid = ta.utid join thread hb on hb.utid = tb.utid where ha.upid != hb.upid",
            "threads": "select distinct thread.name name from thread_track t join thread using (utid) join slice s on s.track_id = t.id",
            "wrong": "select name, value from stats where severity = 'error' and value > 0",
        }
        answers = dict(zip(queries, read("perfetto", self.run_dir / "trace.json.gz", *queries.values())))
        self.assertEqual(answers["wrong"], [], "Perfetto takes every event")
        with_slices = [row for row in answers["ranks"] if row["slices"] > 0]
        self.assertEqual(len(with_slices), RANKS, answers["ranks"])
        self.assertGreaterEqual(len(answers["steps"]), 2)
        names = {row["name"] for row in answers["names"]}
        for phase in ("forward", "backward"):
            self.assertTrue(any(phase in name for name in names), sorted(names)[:100])
        self.assertTrue(any(row["ns"] > 0 for row in answers["names"]))
        threads = {row["name"] for row in answers["threads"]}
        for thread in ("main", "units", "communication", "loader 0", "checkpoint"):
            self.assertIn(thread, threads)
        self.assertGreater(answers["flows"][0]["n"], 0)
        self.assertGreater(answers["links"][0]["n"], 0, "collectives of one call are linked across ranks")

    def test_holistic_trace_analysis_reads_it(self):
        folder = self.run_dir.parent / "hta"
        shown = runs.succeed("report", self.run_dir, "--hta", folder, "--json").stdout
        self.assertEqual(json.loads(shown)["ranks"], RANKS)
        self.assertEqual(len(list(folder.iterdir())), RANKS)
        answer = read("hta", folder)
        self.assertEqual(answer["ranks"], list(range(RANKS)))
        self.assertGreaterEqual(len(answer["iterations"]), 2, answer["iterations"])
        for rank, events in answer["events"].items():
            self.assertGreater(events["count"], 20, f"rank {rank}")
            self.assertGreater(events["seconds"], 0)
            self.assertTrue(any("ProfilerStep" in name for name in events["names"]), f"rank {rank}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
