#!/usr/bin/env python3
"""examples/five_problems.sh: what docs/finding_problems.md says of each problem is what the report says."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs


class FiveProblems(unittest.TestCase):
    def provoke(self, problem, *overrides):
        """The report of a run with the problem, and what was printed."""
        scratch = runs.Scratch()
        folder = scratch.__enter__()
        self.addCleanup(scratch.__exit__)
        self.run_dir = folder / "run"
        environment = dict(os.environ, NO_COLOR="1", OMPI_MCA_mpi_yield_when_idle="1", OMPI_MCA_btl="self,vader")
        done = subprocess.run([runs.ROOT / "examples/five_problems.sh", problem, f"run.dir={self.run_dir}", *overrides], env=environment,
                              capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertTrue((self.run_dir / "report.html").exists())
        return json.loads((self.run_dir / "report.json").read_text()), done.stdout + done.stderr

    def test_input_bound(self):
        report, said = self.provoke("input-bound")
        self.assertEqual(report["verdict"]["kind"], "input-bound", report["verdict"])
        self.assertIn("INPUT-BOUND", said)
        self.assertTrue(any("workers" in sentence for sentence in report["verdict"]["advice"]), report["verdict"])

    def test_straggler(self):
        report, said = self.provoke("straggler")
        self.assertEqual(report["verdict"]["kind"], "straggler", report["verdict"])
        self.assertEqual(report["verdict"]["rank"], 1)
        self.assertIn("forward", report["verdict"]["text"])
        self.assertIn("STRAGGLER: rank 1", said)

    def test_leak(self):
        report, said = self.provoke("leak")
        self.assertEqual(report["verdict"]["kind"], "leak", report["verdict"])
        self.assertEqual([(leak["rank"], leak["what"]) for leak in report["leaks"]], [(1, "rss")])
        self.assertAlmostEqual(report["leaks"][0]["bytes_per_step"], 1 << 20, delta=0.2 * (1 << 20))
        self.assertIn("memory_usage", said)

    def test_divergence(self):
        report, _ = self.provoke("divergence")
        self.assertEqual(report["verdict"]["kind"], "diverging", report["verdict"])
        for rank in range(2):
            norms = runs.lines(self.run_dir / "logs/debug" / f"gradient_norms.rank{rank:03}.jsonl")
            self.assertTrue(norms, "the rule has switched it on")
        self.assertFalse(json.loads((self.run_dir / "control/debug.status.json").read_text())["switches"])

    def test_exposed_communication(self):
        report, said = self.provoke("exposed-communication")
        self.assertEqual(report["verdict"]["kind"], "communication-bound", report["verdict"])
        self.assertTrue((self.run_dir / "trace.json.gz").exists())
        self.assertIn("COMMUNICATION-BOUND", said)
        self.assertTrue(any(row["operation"] == "all_reduce" and row["bytes"] > 0 for row in report["communication"]))

    def test_it_says_which_problems_there_are(self):
        done = subprocess.run([runs.ROOT / "examples/five_problems.sh", "none"], capture_output=True, text=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 2)
        self.assertIn("exposed-communication", done.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
