#!/usr/bin/env python3
"""One arithmetic in every layout: the same global batch on 1 to 4 ranks, and as micro-batches on one, gives the same losses."""
import sys
import pathlib
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402

STEPS = 50
TOLERANCE = 2e-5  # relative, fp32


def configuration(folder):
    return runs.write_config(
        folder / "gpt.yaml",
        run={"dir": str(folder / "run"), "seed": 11, "resume": "never"},
        model={"name": "gpt2", "config": {"vocab_size": 256, "n_positions": 32, "n_embd": 48, "n_layer": 2, "n_head": 4}},
        data={"train": str(folder / "text.h5"), "eval": str(folder / "text.h5"), "workers": 1},
        train={"steps": STEPS, "batch_size": 1, "global_batch": 12, "max_grad_norm": 0.5},
        eval={"every_steps": 25, "at_end": True, "batch_size": 7},
        optim={"name": "adamw", "lr": 3e-3},
        schedule={"name": "cosine", "warmup_steps": 5},
        checkpoint={"every_steps": None},
        telemetry={"log_every": 1},
    )


class LayoutParity(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = runs.Scratch()
        cls.folder = cls.scratch.__enter__()
        runs.token_text(cls.folder / "text.txt", size=9000)
        runs.succeed("prepare", "text", cls.folder / "text.txt", "-o", cls.folder / "text.h5")
        cls.config = configuration(cls.folder)
        cls.reference, cls.evaluations = cls.curve("reference", ranks=1, batch_size=12)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.__exit__()

    @classmethod
    def curve(cls, name, ranks, batch_size):
        run = cls.folder / name
        runs.succeed("train", cls.config, f"run.dir={run}", f"train.batch_size={batch_size}", ranks=ranks)
        losses = runs.losses(run)
        assert sorted(losses) == list(range(1, STEPS + 1)), sorted(losses)
        return losses, runs.lines(run / "eval.jsonl")

    def compare(self, name, ranks, batch_size):
        losses, evaluations = self.curve(name, ranks, batch_size)
        for step, loss in losses.items():
            self.assertLessEqual(abs(loss - self.reference[step]), TOLERANCE * abs(self.reference[step]), f"step {step}")
        self.assertEqual(len(evaluations), len(self.evaluations))
        for mine, reference in zip(evaluations, self.evaluations):
            self.assertEqual(mine["samples"], reference["samples"])  # every sample exactly once, whatever the layout
            self.assertLessEqual(abs(mine["loss"] - reference["loss"]), TOLERANCE * reference["loss"])

    def test_the_reference_learns(self):
        self.assertLess(self.reference[STEPS], 0.7 * self.reference[1])

    def test_two_ranks(self):
        self.compare("two", 2, 6)

    def test_three_ranks(self):
        self.compare("three", 3, 4)

    def test_four_ranks(self):
        self.compare("four", 4, 3)

    def test_one_rank_with_four_micro_batches(self):
        self.compare("micro", 1, 3)

    def test_two_ranks_with_three_micro_batches(self):
        self.compare("two_micro", 2, 2)

    def test_a_layout_that_does_not_divide_the_global_batch(self):
        self.compare("uneven", 2, 5)  # 12 = 5 + 5 + 2 + 0: the last micro-step is short on one rank and empty on the other


if __name__ == "__main__":
    unittest.main(verbosity=2)
