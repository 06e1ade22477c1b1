#!/usr/bin/env python3
"""Records, reports and switches over several attempts of a run: stopped, killed, resumed."""
import json
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs
from training_case import TrainingCase


class Attempts(TrainingCase):
    def config(self, **changes):
        changes["debug"] = {"enable": ["gradient_norms"], "every_steps": 1, **changes.get("debug", {})}
        changes["telemetry"] = {"log_every": 3, "rank_records": True, **changes.get("telemetry", {})}
        return super().config(**changes)

    def report(self):
        return json.loads((self.run_dir / "report.json").read_text())

    def test_the_last_steps_before_a_stop_are_recorded_too(self):
        config = self.config(telemetry={"log_every": 100})
        (self.run_dir / "control").mkdir(parents=True)
        (self.run_dir / "control" / "stop").touch()
        done = runs.trireme("train", config, ranks=2)
        self.assertEqual(done.returncode, 75, done.stderr)
        record, = runs.metrics(self.run_dir)
        self.assertEqual(record["step"], runs.exit_record(self.run_dir)["step"])
        self.assertEqual(self.report()["steps"], record["step"])
        resumed = runs.succeed("train", config, ranks=2)
        self.assertIn("continuing at", resumed.stderr)
        self.assertEqual([one["step"] for one in runs.metrics(self.run_dir)], [record["step"], 20])
        goodput = self.report()["goodput"]
        self.assertEqual(len(goodput["attempts"]), 2)
        self.assertGreater(goodput["checkpoint_seconds"], 0)

    def test_what_was_killed_and_made_again_is_lost_work(self):
        config = self.config()
        killed = runs.trireme("train", config, ranks=2, TRIREME_FAULT="step.begin:1:13:kill")
        self.assertNotEqual(killed.returncode, 0)
        page = runs.succeed("report", self.run_dir)
        self.assertIn("report.html", page.stdout)
        runs.succeed("train", config, ranks=2)
        for name in ("metrics.jsonl", "debug.jsonl", "logs/rank000.jsonl", "logs/rank001.jsonl"):
            steps = [line["step"] for line in runs.lines(self.run_dir / name)]
            self.assertEqual(steps, sorted(set(steps)), name)
        goodput = self.report()["goodput"]
        # The ledger is written every ten seconds: of a shorter attempt the time between is all that is known.
        self.assertGreater(goodput["lost_seconds"] + goodput["down_seconds"], 0)
        self.assertEqual(len(goodput["attempts"]), 2)
        self.assertEqual([line["attempt"] for line in runs.lines(self.run_dir / "debug.jsonl")][-1], 2)

    def test_a_run_whose_process_is_gone_is_known_to_be_lost_at_once(self):
        runs.trireme("train", self.config(), ranks=1, TRIREME_FAULT="step.begin:*:13:kill")
        self.assertTrue((self.run_dir / "run.lock").exists(), "with a heartbeat of this minute")
        self.assertEqual(json.loads(runs.succeed("report", self.run_dir, "--json").stdout)["state"], "lost")

    def test_a_killed_rank_ends_a_run_with_switches_and_a_profile(self):
        config = self.config(debug={"enable": ["gradient_norms", "forward_pass", "backward_pass", "autograd_profiler"]},
                             telemetry={"trace": "full", "profile": {"skip_first": 3, "active": 20}}, train={"steps": 100})
        done = runs.trireme("train", config, ranks=3, TRIREME_FAULT="step.reduce:2:9:kill", timeout=60)
        self.assertIn(done.returncode, (41, 137))
        self.assertEqual(runs.exit_record(self.run_dir)["code"], 41)
        status = runs.trireme("debug", self.run_dir, "status")
        self.assertEqual(status.returncode, 0, status.stderr)

    def test_a_loss_that_ends_the_run_is_explained(self):
        config = self.config(debug={"enable": ["backward_pass"]}, telemetry={"log_every": 1000})
        done = runs.trireme("train", config, ranks=2, TRIREME_FAULT="step.loss:1:7:nan")
        self.assertEqual(done.returncode, 50, done.stderr)
        found = [one for line in runs.lines(self.run_dir / "debug.jsonl") for one in line["findings"]]
        self.assertTrue(any(one["rank"] == 1 and "not finite" in one["text"] for one in found), found)

    def test_profiles_and_traces_change_no_bit(self):
        from small_run import state_hash
        for strategy in ("ddp", "zero2", "fsdp"):
            with self.subTest(strategy=strategy):
                changes = {"parallel": {"strategy": strategy, "recompute": "unit"}, "train": {"steps": 12, "accumulate": 2}}
                runs.succeed("train", self.config(debug={"enable": []}, **changes), ranks=2)
                plain = state_hash(self.run_dir)
                switches = ["gradient_norms", "forward_pass", "backward_pass", "device_placement", "autograd_anomaly", "memory_usage"]
                runs.succeed("train", self.config(debug={"enable": switches},
                                                  telemetry={"trace": "full", "profile": {"skip_first": 2, "active": 3, "repeat": 2}}, **changes),
                             ranks=2)
                self.assertEqual(state_hash(self.run_dir), plain)


if __name__ == "__main__":
    unittest.main(verbosity=2)
