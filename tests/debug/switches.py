#!/usr/bin/env python3
"""The debug switches in real runs: from the configuration, from the command line while the run goes on, by rules."""
import json
import pathlib
import sys
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs
from debug_records import digests, findings, records
from small_run import state_hash
from training_case import TrainingCase

TOOLS = ["autograd_anomaly", "memory_usage", "gradient_norms", "forward_pass", "backward_pass", "device_placement", "mixed_precision",
         "data_loading", "validation", "early_stopping", "lr_scheduling"]
WHERE_NOTHING_IS_WRONG = {"device_placement", "autograd_anomaly"}


class Switches(TrainingCase):
    def config(self, **changes):
        data = str(self.folder / "text.h5")
        changes["data"] = {"train": data, "eval": data, "workers": 1, **changes.get("data", {})}
        changes["eval"] = {"every_steps": 10, "patience": 5, **changes.get("eval", {})}
        return super().config(**changes)

    def wait_for(self, what, process, seconds=60):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            value = what()
            if value:
                return value
            self.assertIsNone(process.poll(), "the run ended before")
            time.sleep(0.05)
        self.fail("waited in vain")

    def test_all_of_them_record_on_both_ranks_and_change_nothing(self):
        plain = runs.succeed("train", self.config(), ranks=2) and state_hash(self.run_dir)
        runs.succeed("train", self.config(debug={"enable": TOOLS, "every_steps": 1}), ranks=2)
        self.assertEqual(state_hash(self.run_dir), plain)
        for switch in TOOLS:
            with self.subTest(switch=switch):
                lines = digests(self.run_dir, switch)
                self.assertTrue(lines, "nothing at rank 0")
                for rank in range(2):
                    self.assertTrue(any(str(rank) in line["ranks"] for line in lines), f"nothing of rank {rank} at rank 0")
                    mine = records(self.run_dir, switch, rank)
                    if switch not in WHERE_NOTHING_IS_WRONG:
                        self.assertTrue(mine, f"no record of rank {rank}")
                    for record in mine:
                        self.assertEqual((record["rank"], record["switch"]), (rank, switch))

    def test_a_loss_that_is_not_finite_is_found_where_it_begins(self):
        config = self.config(debug={"enable": ["autograd_anomaly", "backward_pass", "gradient_norms"], "every_steps": 1},
                             guard={"nonfinite": "skip"})
        runs.succeed("train", config, ranks=2, TRIREME_FAULT="step.loss:1:7:nan")
        found = findings(self.run_dir, "backward_pass")
        self.assertTrue(any(rank == 1 and "not finite" in text for rank, text in found), found)
        self.assertFalse([text for rank, text in found if rank == 0 and "not finite" in text], "its own gradients are finite")
        steps = {record["step"] for record in records(self.run_dir, "backward_pass", 1) if "not finite" in json.dumps(record)}
        self.assertTrue(steps <= {8}, f"step 8 alone, not {steps}")

    def test_each_finding_is_on_the_console_once_with_rank_and_host(self):
        config = self.config(debug={"enable": ["backward_pass"], "every_steps": 1}, guard={"nonfinite": "skip"})
        done = runs.succeed("train", config, ranks=2, TRIREME_FAULT="step.loss:0:5:nan,step.loss:1:9:nan")
        found = findings(self.run_dir, "backward_pass")
        self.assertEqual({rank for rank, text in found if "not finite" in text}, {0, 1}, found)
        for rank, text in found:
            lines = [line for line in done.stderr.splitlines() if text in line]
            self.assertEqual(len(lines), 1, f"{text}\n{done.stderr}")
            self.assertIn(f"backward_pass: rank {rank} on ", lines[0])
            self.assertNotIn("[rank", lines[0], "at rank 0")
        log = (self.run_dir / "logs" / "rank001.log").read_text()
        for rank, text in found:
            self.assertEqual(text in log, rank == 1, "a rank's own log has its findings, at once")

    def test_what_was_found_before_a_run_failed_is_told(self):
        config = self.config(debug={"enable": ["backward_pass"], "every_steps": 1}, guard={"nonfinite": "skip"}, telemetry={"log_every": 100})
        done = runs.trireme("train", config, ranks=2, TRIREME_FAULT="step.loss:1:3:nan,step.begin:1:9:throw")
        self.assertNotEqual(done.returncode, 0)
        lines = [line for line in done.stderr.splitlines() if "backward_pass: rank 1 on " in line and "not finite" in line]
        self.assertEqual(len(lines), 1, done.stderr)

    def test_a_slow_loader_is_named_on_its_rank(self):
        config = self.config(debug={"enable": ["data_loading"]}, train={"steps": 40}, eval={"every_steps": None})
        runs.succeed("train", config, ranks=2, TRIREME_FAULT="data.load:1:*:sleep=30")
        found = findings(self.run_dir, "data_loading")
        self.assertTrue(found)
        self.assertEqual({rank for rank, _ in found}, {1}, found)

    def test_switching_while_the_run_goes_on(self):
        run = runs.start("train", self.config(train={"steps": 100000}, eval={"every_steps": None, "at_end": False},
                                              checkpoint={"every_steps": None}), ranks=2, TRIREME_FAULT="step.loss:*:*:sleep=5")
        try:
            self.wait_for(lambda: len(runs.metrics(self.run_dir)) > 3, run)
            said = runs.succeed("debug", self.run_dir, "enable", "gradient_norms", "forward_pass", "--ranks", "1", "--steps", "5").stdout
            self.assertIn("rank 1", said)
            lines = self.wait_for(lambda: [line for line in digests(self.run_dir, "gradient_norms") if "1" in line["ranks"]], run)
            self.assertNotIn("0", lines[0]["ranks"])
            status = lambda: json.loads(runs.succeed("debug", self.run_dir, "status", "--json").stdout)
            self.wait_for(lambda: not status()["switches"], run)
            steps = sorted({record["step"] for record in records(self.run_dir, "forward_pass", 1)})
            self.assertEqual(steps, list(range(steps[0], steps[0] + 5)))
            self.assertEqual(records(self.run_dir, "forward_pass", 0), [])

            runs.succeed("debug", self.run_dir, "enable", "lr_scheduling")
            self.assertEqual(status()["switches"]["lr_scheduling"]["ranks"], "all")
            runs.succeed("debug", self.run_dir, "disable")
            self.assertEqual(status()["switches"], {})

            refused = runs.trireme("debug", self.run_dir, "enable", "lr_scheduling", "--ranks", "2")
            self.assertEqual(refused.returncode, 10, refused.stderr)
            unknown = runs.trireme("debug", self.run_dir, "enable", "gradient_norm")
            self.assertEqual(unknown.returncode, 2)
            self.assertIn("gradient_norms", unknown.stderr)
            self.assertIsNone(run.poll())
        finally:
            (self.run_dir / "control" / "stop").touch()
            output, _ = run.communicate(timeout=60)
        self.assertEqual(runs.exit_record(self.run_dir)["code"], 75, output)
        ended = runs.trireme("debug", self.run_dir, "enable", "lr_scheduling")
        self.assertEqual(ended.returncode, 12, ended.stderr)

    def test_profiles_on_request_while_the_run_goes_on(self):
        run = runs.start("train", self.config(train={"steps": 100000}, eval={"every_steps": None, "at_end": False},
                                              checkpoint={"every_steps": None}), ranks=2, TRIREME_FAULT="step.loss:*:*:sleep=5")
        try:
            self.wait_for(lambda: len(runs.metrics(self.run_dir)) > 3, run)
            runs.succeed("debug", self.run_dir, "enable", "autograd_profiler", "tensorboard_profiler", "--steps", "3")
            self.wait_for(lambda: (self.run_dir / "trace.json.gz").exists() and (self.run_dir / "operators.json").exists(), run)
            self.wait_for(lambda: len(list((self.run_dir / "profile").glob("*.pt.trace.json.gz"))) == 2, run)
            operators = json.loads((self.run_dir / "operators.json").read_text())
            self.assertEqual(operators["ranks"], 2)
            self.assertEqual(operators["last_step"] - operators["first_step"], 2)
            self.assertTrue(any("mm" in one["name"] for one in operators["operators"]))
        finally:
            (self.run_dir / "control" / "stop").touch()
            run.communicate(timeout=60)

    def test_a_profile_that_is_given_up_shows_in_the_status(self):
        run = runs.start("train", self.config(train={"steps": 100000}, eval={"every_steps": None, "at_end": False},
                                              checkpoint={"every_steps": None}), ranks=2, TRIREME_FAULT="step.loss:*:*:sleep=5")
        try:
            self.wait_for(lambda: len(runs.metrics(self.run_dir)) > 3, run)
            status = lambda: json.loads(runs.succeed("debug", self.run_dir, "status", "--json").stdout)
            in_the_way = self.run_dir / "profile"
            in_the_way.write_text("")
            runs.succeed("debug", self.run_dir, "enable", "tensorboard_profiler", "--ranks", "1", "--steps", "2")
            failed = self.wait_for(lambda: status()["failed"], run)
            self.assertEqual(failed.keys(), {"tensorboard_profiler"})
            self.assertEqual(failed["tensorboard_profiler"]["failed_ranks"].keys(), {"1"})
            self.assertIn("profile", failed["tensorboard_profiler"]["failed_ranks"]["1"])
            self.assertEqual(status()["switches"], {})
            said = runs.succeed("debug", self.run_dir, "status").stdout
            self.assertIn("no debug switch is on", said)
            self.assertIn("failed on rank 1", said)
            line = self.wait_for(lambda: [one for one in digests(self.run_dir, "tensorboard_profiler") if "failed" in one], run)[0]
            self.assertEqual([one["rank"] for one in line["failed"]], [1])

            refused = runs.trireme("debug", self.run_dir, "enable", "autograd_profiler", "--steps", "100000")
            self.assertEqual(refused.returncode, 10, refused.stderr)
            self.assertIn("at most 10000 steps", refused.stderr)

            in_the_way.unlink()
            runs.succeed("debug", self.run_dir, "enable", "tensorboard_profiler", "--ranks", "1", "--steps", "2")
            self.wait_for(lambda: len(list(in_the_way.glob("*.pt.trace.json.gz"))) == 1, run)
            self.assertEqual(status()["failed"], {})
            self.assertIsNone(run.poll())
        finally:
            (self.run_dir / "control" / "stop").touch()
            run.communicate(timeout=60)
        self.assertEqual(runs.exit_record(self.run_dir)["code"], 75)

    def test_rules_switch_on_conditions(self):
        rules = [{"when": "step >= 6 and loss is finite", "for": 3, "enable": ["forward_pass"], "ranks": [0]}]
        runs.succeed("train", self.config(debug={"rules": rules, "every_steps": 1}), ranks=2)
        steps = sorted({record["step"] for record in records(self.run_dir, "forward_pass", 0)})
        self.assertEqual(len(steps), 3, steps)
        self.assertGreater(steps[0], 6)
        self.assertEqual(records(self.run_dir, "forward_pass", 1), [])

    def test_production_refuses(self):
        done = runs.trireme("train", self.config(debug={"enable": ["gradient_norms"]}), "run.profile=production", ranks=2)
        self.assertEqual(done.returncode, 10, done.stderr)
        self.assertIn("production", done.stderr)
        self.assertFalse((self.run_dir / "metrics.jsonl").exists())

    def test_replicas_that_differ_end_the_run(self):
        done = runs.trireme("train", self.config(guard={"replicas_every_steps": 5}), ranks=3, TRIREME_FAULT="replicas.flip:2:9:nan")
        self.assertEqual(done.returncode, 52, done.stderr)
        record = runs.exit_record(self.run_dir)
        self.assertEqual(record["kind"], "corruption")
        self.assertIn("rank 2 differs from the other 2", record["message"])
        runs.succeed("train", self.config(guard={"replicas_every_steps": 5}), ranks=3)


if __name__ == "__main__":
    unittest.main(verbosity=2)
