#!/usr/bin/env python3
"""A run that goes on with 1, 2, 3 and 8 ranks after 4, and with 4 again, with another strategy each: the same state, the same samples
in the same steps."""
import json
import pathlib
import shutil
import sys
import unittest

import numpy
from safetensors.numpy import load_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402

# After 4 ranks with ddp.
COURSE = (
    (1, ["parallel.strategy=fsdp"]),
    (2, ["parallel.strategy=fsdp"]),
    (3, ["parallel.strategy=zero2"]),
    (8, ["parallel.strategy=fsdp", "parallel.shard_group=4"]),
    (3, ["parallel.strategy=ddp"]),
    (4, ["parallel.strategy=zero1"]),
)


def checkpoint(run, step):
    return run / f"checkpoints/step-{step:08}"


def tensor(run, step, name):
    """A tensor of a checkpoint, put together from its boxes without our code."""
    folder = checkpoint(run, step)
    manifest = json.loads((folder / "manifest.json").read_text())
    stored = manifest["tensors"][name]
    whole = numpy.full(stored["shape"], numpy.nan, numpy.float32)
    for box in stored["boxes"]:
        place = tuple(slice(offset, offset + size) for offset, size in zip(box["offset"], box["size"]))
        whole[place] = load_file(folder / manifest["files"][box["file"]]["name"])[box["entry"]]
    return whole


class Reshard(unittest.TestCase):
    def setUp(self):
        scratch = runs.Scratch()
        self.folder = scratch.__enter__()
        self.addCleanup(scratch.__exit__)

    def train(self, run, steps, ranks, overrides=(), **options):
        runs.succeed("train", self.config, f"run.dir={run}", f"train.steps={steps}", *overrides, ranks=ranks, **options)

    def go_on(self, start, steps_each, **options):
        """The course from step `start` of the run of 4 ranks, each with its part of the steps. Returns the folder and the last step."""
        run, step = self.folder / "moved", start
        self.train(run, start, ranks=4)
        for ranks, overrides in COURSE:
            step += steps_each
            self.train(run, step, ranks, overrides, **options)
        return run, step

    def test_the_state_is_the_same_in_every_number_of_ranks(self):
        runs.token_text(self.folder / "text.txt", size=1500)
        runs.succeed("prepare", "text", self.folder / "text.txt", "-o", self.folder / "text.h5")
        self.config = runs.write_config(
            self.folder / "gpt.yaml",
            run={"dir": "", "seed": 5},
            model={"name": "gpt2",
                   "config": {"vocab_size": 256, "n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2, "dropout": 0.1}},
            data={"train": str(self.folder / "text.h5"), "workers": 1},
            train={"batch_size": 1, "global_batch": 12},
            optim={"name": "adamw", "lr": 2e-3},
            schedule={"name": "constant", "warmup_steps": 2},
            ema={"decay": 0.9},
            guard={"nonfinite": "skip"},
            checkpoint={"every_steps": 1, "keep_last": 100},
        )
        # Five steps that learn; after them steps that are left out and change nothing but counts, which do not round.
        start = 5
        left_out = {"TRIREME_FAULT": ",".join(f"step.loss:*:{step}:nan" for step in range(start, start + len(COURSE)))}
        stayed = self.folder / "stayed"
        self.train(stayed, start + len(COURSE), ranks=4, **left_out)
        moved, last = self.go_on(start, 1, **left_out)
        for step in range(start, last + 1):
            hashes = [runs.succeed("inspect", checkpoint(run, step), "--state-hash").stdout for run in (stayed, moved)]
            self.assertEqual(*hashes, f"step {step}")
        for name in ("model/transformer.wte.weight", "optim/moment/transformer.wte.weight"):
            before, after = tensor(moved, start, name), tensor(moved, last, name)
            self.assertTrue(numpy.array_equal(before, after))
            self.assertGreater(numpy.abs(after).max(), 0)
        shards = [len(list(checkpoint(moved, step).glob("shard-*"))) for step in range(start, last + 1)]
        self.assertEqual(shards, [4, *(ranks for ranks, _ in COURSE)])

    def test_every_sample_is_seen_once_an_epoch_and_in_the_same_step(self):
        """The run itself logs the ids: sample i alone has feature i, so in a step without momentum column i of the first layer changes
        if and only if sample i is in it."""
        samples, batch, per_epoch = 59, 12, 5
        numpy.save(self.folder / "x.npy", numpy.eye(samples, dtype=numpy.float32))
        numpy.save(self.folder / "y.npy", numpy.arange(samples) % 3)
        runs.succeed("prepare", "npy", f"features={self.folder}/x.npy", f"label={self.folder}/y.npy", "-o", self.folder / "set.h5")
        self.config = runs.write_config(
            self.folder / "mlp.yaml",
            run={"dir": "", "seed": 7},
            model={"name": "mlp", "config": {"inputs": samples, "hidden": [8], "classes": 3, "activation": "gelu"}},
            data={"train": str(self.folder / "set.h5"), "workers": 1},
            train={"batch_size": 1, "global_batch": batch, "max_grad_norm": 0},
            optim={"name": "sgd", "lr": 0.5, "momentum": 0, "weight_decay": 0},
            schedule={"name": "constant", "warmup_steps": 0},
            checkpoint={"every_steps": 1, "keep_last": 100},
            telemetry={"log_every": 1},
        )
        start, each = 5, 2  # once at the end of an epoch, else within one
        stayed = self.folder / "stayed"
        self.train(stayed, start + each * len(COURSE), ranks=4)
        moved, last = self.go_on(start, each)

        def seen(run, step):
            before, after = (tensor(run, at, "model/layers.0.weight") for at in (step - 1, step))
            return {int(i) for i in numpy.flatnonzero((before != after).any(axis=0))}

        seen_in = {step: seen(moved, step) for step in range(2, last + 1)}
        for step, ids in seen_in.items():
            self.assertEqual(len(ids), batch if step % per_epoch else samples % batch, f"step {step}")  # so none twice in it
            self.assertEqual(ids, seen(stayed, step), f"step {step}")
        for first in range(1, last + 2 - per_epoch, per_epoch):  # whole ones
            epoch = [seen_in[step] for step in range(max(first, 2), first + per_epoch)]
            together = set().union(*epoch)
            self.assertEqual(len(together), sum(map(len, epoch)), "a sample twice in an epoch")
            self.assertEqual(len(together), samples if first > 1 else samples - batch)  # the first step has no checkpoint before it
        losses = runs.losses(stayed)
        self.assertEqual(sorted(runs.losses(moved)), sorted(losses))
        for step, loss in runs.losses(moved).items():
            self.assertLessEqual(abs(loss - losses[step]), 2e-5 * losses[step], f"step {step}")


if __name__ == "__main__":
    unittest.main(verbosity=2)
