#!/usr/bin/env python3
"""Given PyTorch's initial weights, data order and settings, training reproduces PyTorch's losses and gradient norms."""
import json
import os
import pathlib
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402

REFERENCE = runs.ROOT / "tests/numerics/reference"
TOLERANCE = 3e-6  # relative; PyTorch's own spread over threads, accumulation and fp64 is below 4e-7 here


class PytorchCurve(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = runs.Scratch()
        cls.folder = cls.scratch.__enter__()
        cls.curve = json.loads((REFERENCE / "gpt2_curve.json").read_text())
        runs.succeed("prepare", "bin", REFERENCE / "tokens.bin", "--vocab-size", 256, "-o", cls.folder / "tokens.h5")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.__exit__()

    def train(self, name, ranks, batch_size):
        run, model, settings = self.folder / name, self.curve["model"], self.curve["run"]
        config = runs.write_config(
            self.folder / f"{name}.yaml",
            run={"dir": str(run), "seed": 1},
            model={"name": "gpt2", "weights": str(REFERENCE / "gpt2"),
                   "config": {key: model[key] for key in ("vocab_size", "n_positions", "n_embd", "n_layer", "n_head")}},
            data={"train": str(self.folder / "tokens.h5"), "sequence_length": settings["sequence_length"], "shuffle": False},
            train={"steps": settings["steps"], "batch_size": batch_size, "global_batch": settings["global_batch"],
                   "max_grad_norm": settings["max_grad_norm"]},
            optim={"name": "adamw", "lr": settings["lr"], "betas": settings["betas"], "eps": settings["eps"],
                   "weight_decay": settings["weight_decay"]},
            schedule={"name": "cosine", "warmup_steps": settings["warmup_steps"], "min_lr_ratio": settings["min_lr_ratio"]},
            telemetry={"log_every": 1},
        )
        runs.succeed("train", config, ranks=ranks)
        return runs.metrics(run)

    def compare(self, records, curve=None):
        curve = curve or self.curve["fp32"]
        self.assertEqual(len(records), len(curve["loss"]))
        for index, record in enumerate(records):
            for ours, theirs in (("loss", "loss"), ("grad_norm", "grad_norm"), ("lr", "lr")):
                reference = curve[theirs][index]
                self.assertLessEqual(abs(record[ours] - reference), TOLERANCE * abs(reference), f"{ours} of step {index + 1}")

    def test_one_rank(self):
        self.compare(self.train("one", ranks=1, batch_size=8))

    def test_two_ranks_with_two_micro_batches(self):
        self.compare(self.train("two", ranks=2, batch_size=2))

    def test_the_pytorch_at_hand(self):
        if os.environ.get("TRIREME_PEERS") != "1":
            runs.skip(self, "needs --peers")
        python = os.environ.get("TRIREME_PEERS_PYTHON", runs.ROOT / ".deps/peers/bin/python")
        file = self.folder / "curve.json"
        subprocess.run([python, REFERENCE / "gpt2_reference.py", "--curve", file], env=runs.environment(), check=True, timeout=300,
                       capture_output=True)
        self.compare(self.train("live", ranks=2, batch_size=4), json.loads(file.read_text()))


if __name__ == "__main__":
    unittest.main(verbosity=2)
