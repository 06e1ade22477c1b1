#!/usr/bin/env python3
"""ddp = zero1 = zero2 = fsdp = hybrid sharding = one rank with micro-batches: the same losses and gradient norms, for every kind of
model, with tied weights, clipping and a last batch of an epoch that does not divide. And what a cap on memory lets through."""
import pathlib
import sys
import unittest

import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402

STEPS = 30
GLOBAL_BATCH = 12
LOSS_TOLERANCE = 2e-5  # relative, fp32
NORM_TOLERANCE = 1e-4

# Ranks, samples of a micro-step, strategy and the rest. 12 = 5 + 5 + 2 + 0: short on one rank, empty on the other.
LAYOUTS = [
    (2, 6, ["ddp"]),
    (2, 6, ["zero1"]),
    (2, 5, ["zero2"]),
    (2, 2, ["zero2", "parallel.reduce_every_micro_step=false"]),
    (1, 4, ["fsdp"]),
    (2, 5, ["fsdp"]),
    (3, 2, ["fsdp", "parallel.free_after_forward=false"]),
    (4, 3, ["fsdp"]),
    (4, 3, ["fsdp", "parallel.shard_group=2"]),
    (4, 3, ["zero1", "parallel.shard_group=2"]),
]


def arguments(batch_size, strategy):
    return [f"train.batch_size={batch_size}", f"parallel.strategy={strategy[0]}", *strategy[1:]]


class Strategies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = runs.Scratch()
        cls.folder = cls.scratch.__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.scratch.__exit__()

    def config(self, model, train_data, **changes):
        sections = {
            "run": {"dir": "", "seed": 11, "resume": "never"},
            "model": model,
            "data": {"train": str(train_data), "workers": 1},
            "train": {"steps": STEPS, "batch_size": 1, "global_batch": GLOBAL_BATCH, "max_grad_norm": 0.5},
            "optim": {"name": "adamw", "lr": 3e-3},
            "schedule": {"name": "cosine", "warmup_steps": 5},
            "checkpoint": {"every_steps": None},
            "telemetry": {"log_every": 1},
        }
        for name, values in changes.items():
            sections[name] = {**sections.get(name, {}), **values}
        return runs.write_config(self.folder / f"{self.id()}.yaml", **sections)

    def tokens(self):
        path = self.folder / "text.h5"
        if not path.exists():
            runs.token_text(self.folder / "text.txt", size=9000)
            runs.succeed("prepare", "text", self.folder / "text.txt", "-o", path)
        return path

    def images(self):
        path = self.folder / "images.h5"
        if not path.exists():
            samples = 101  # the last batch of an epoch has 5
            label = numpy.arange(samples) % 3
            phase = numpy.arange(samples)[:, None, None, None] * 0.37
            grid = numpy.arange(64).reshape(1, 1, 8, 8)
            numpy.save(self.folder / "image.npy", numpy.sin(grid * (label[:, None, None, None] + 1) * 0.3 + phase).astype(numpy.float32))
            numpy.save(self.folder / "label.npy", label)
            runs.succeed("prepare", "npy", f"image={self.folder}/image.npy", f"label={self.folder}/label.npy", "-o", path)
        return path

    def curve(self, config, name, ranks, batch_size, strategy):
        run = self.folder / self.id() / name
        runs.succeed("train", config, f"run.dir={run}", *arguments(batch_size, strategy), ranks=ranks)
        records = runs.metrics(run)
        self.assertEqual([r["step"] for r in records], list(range(1, STEPS + 1)))
        return [(r["loss"], r["grad_norm"]) for r in records]

    def compare_all(self, config):
        reference = self.curve(config, "reference", 1, GLOBAL_BATCH, ["ddp"])
        self.assertLess(reference[-1][0], 0.9 * reference[0][0], "the reference learns")
        self.assertGreater(max(norm for _, norm in reference), 0.5, "something is clipped")
        for i, (ranks, batch_size, strategy) in enumerate(LAYOUTS):
            with self.subTest(ranks=ranks, batch_size=batch_size, strategy=strategy):
                for step, (mine, theirs) in enumerate(zip(self.curve(config, str(i), ranks, batch_size, strategy), reference), 1):
                    self.assertLessEqual(abs(mine[0] - theirs[0]), LOSS_TOLERANCE * theirs[0], f"loss of step {step}")
                    self.assertLessEqual(abs(mine[1] - theirs[1]), NORM_TOLERANCE * theirs[1], f"norm of step {step}")

    def test_gpt2_with_its_tied_embedding(self):
        self.compare_all(self.config({"name": "gpt2", "config": {"vocab_size": 256, "n_positions": 32, "n_embd": 48, "n_layer": 2,
                                                                 "n_head": 4}}, self.tokens()))

    def test_convnet_with_group_norm(self):
        self.compare_all(self.config({"name": "convnet", "config": {"channels": 1, "height": 8, "width": 8, "filters": [8, 16],
                                                                    "classes": 3}}, self.images()))

    def test_mlp(self):
        self.compare_all(self.config({"name": "mlp", "config": {"inputs": 64, "hidden": [33, 17], "classes": 3, "activation": "gelu"}},
                                     self.images()))

    def test_one_micro_step_on_two_ranks_gives_the_same_bits_under_every_strategy(self):
        """With an average of the weights that evaluations use, and saves in the background."""
        config = self.config({"name": "gpt2", "config": {"vocab_size": 256, "n_positions": 32, "n_embd": 48, "n_layer": 2,
                                                         "n_head": 4}}, self.tokens(), data={"eval": str(self.tokens())},
                             eval={"every_steps": 7, "batch_size": 7}, ema={"decay": 0.9}, checkpoint={"every_steps": 6})
        outcomes = {}
        for strategy in (["ddp"], ["zero1"], ["zero2"], ["fsdp"], ["fsdp", "parallel.free_after_forward=false"]):
            name = "-".join(strategy)
            curve = self.curve(config, name, 2, 6, strategy)
            run = self.folder / self.id() / name
            evaluations = [record["loss"] for record in runs.lines(run / "eval.jsonl")]
            # Gradient norms are sums in another order: the last digits of float64.
            outcomes[name] = ([loss for loss, _ in curve], evaluations, runs.succeed("inspect", run, "--state-hash").stdout)
        for name, outcome in outcomes.items():
            with self.subTest(strategy=name):
                self.assertEqual(outcome[0], outcomes["ddp"][0])
                self.assertEqual(outcome[1], outcomes["ddp"][1])
                self.assertEqual(outcome[2].split()[-1], outcomes["ddp"][2].split()[-1])

    def test_an_optimizer_that_needs_norms_of_whole_parameters(self):
        config = self.config({"name": "mlp", "config": {"inputs": 64, "hidden": [33], "classes": 3, "activation": "gelu"}},
                             self.images(), optim={"name": "lamb", "lr": 1e-2}, train={"max_grad_norm": 0})
        reference = self.curve(config, "reference", 1, GLOBAL_BATCH, ["ddp"])
        for step, (mine, theirs) in enumerate(zip(self.curve(config, "fsdp", 3, 4, ["fsdp"]), reference), 1):
            self.assertLessEqual(abs(mine[0] - theirs[0]), LOSS_TOLERANCE * theirs[0], f"loss of step {step}")

    def test_low_precision(self):
        """Two ranks each: what differs from ddp is when a low-precision gradient is rounded."""
        model = {"name": "mlp", "config": {"inputs": 64, "hidden": [32], "classes": 3, "activation": "gelu"}}
        cases = [("bf16", "fp32", 1e-2, {}), ("bf16", "bf16", 2e-2, {}), ("fp16", "fp32", 2e-3, {}),
                 ("bf16", "fp32", 1e-2, {"state": "bf16", "masters": False})]
        for i, (compute, reduce, bound, optim) in enumerate(cases):
            config = self.config(model, self.images(), precision={"compute": compute, "reduce": reduce}, optim=optim)
            ddp = self.curve(config, f"ddp-{i}", 2, 3, ["ddp"])
            for strategy in (["zero1"], ["zero2"], ["fsdp"]):
                with self.subTest(compute=compute, reduce=reduce, optim=optim, strategy=strategy):
                    mine = self.curve(config, f"{strategy[0]}-{i}", 2, 3, strategy)
                    for step, (here, there) in enumerate(zip(mine, ddp), 1):
                        self.assertLessEqual(abs(here[0] - there[0]), bound * there[0], f"loss of step {step}")

    def test_frozen_parameters_stay_as_they_are(self):
        config = self.config({"name": "mlp", "config": {"inputs": 64, "hidden": [33], "classes": 3}}, self.images(),
                             optim={"groups": [{"match": "layers.0.weight", "frozen": True}]})
        reference = self.curve(config, "reference", 1, GLOBAL_BATCH, ["ddp"])
        for step, (mine, theirs) in enumerate(zip(self.curve(config, "fsdp", 2, 6, ["fsdp"]), reference), 1):
            self.assertLessEqual(abs(mine[0] - theirs[0]), LOSS_TOLERANCE * theirs[0], f"loss of step {step}")

    def test_recomputation_changes_no_bit_and_needs_less_memory(self):
        config = self.config({"name": "gpt2", "config": {"vocab_size": 256, "n_positions": 64, "n_embd": 64, "n_layer": 6, "n_head": 4,
                                                         "dropout": 0.1}}, self.tokens(), train={"steps": STEPS, "global_batch": 16})
        for ranks, strategy in ((1, ["ddp"]), (2, ["fsdp"]), (2, ["zero2"])):
            peaks = {}
            plain = None
            for recompute in ("none", "selective", "unit", "2"):
                with self.subTest(strategy=strategy, recompute=recompute):
                    name = f"{strategy[0]}-{recompute}"
                    curve = self.curve(config, name, ranks, 16 // ranks, [*strategy, f"parallel.recompute={recompute}"])
                    plain = plain or curve
                    self.assertEqual(curve, plain)
                    peaks[recompute] = runs.metrics(self.folder / self.id() / name)[-1]["memory"]["peak"]["max"]
            self.assertLess(peaks["unit"], peaks["2"])
            self.assertLess(peaks["2"], peaks["none"])
            self.assertLess(peaks["selective"], peaks["none"])

    def test_activations_in_fewer_bits(self):
        config = self.config({"name": "gpt2", "config": {"vocab_size": 256, "n_positions": 64, "n_embd": 64, "n_layer": 4,
                                                         "n_head": 4}}, self.tokens(), train={"steps": STEPS, "global_batch": 16})
        plain = self.curve(config, "plain", 2, 8, ["fsdp"])
        for form, bound in (("bf16", 2e-3), ("int8", 2e-2)):
            for recompute in ("none", "unit"):
                with self.subTest(form=form, recompute=recompute):
                    mine = self.curve(config, f"{form}-{recompute}", 2, 8,
                                      ["fsdp", f"parallel.activations={form}", f"parallel.recompute={recompute}"])
                    self.assertNotEqual(mine, plain)
                    for step, (here, there) in enumerate(zip(mine, plain), 1):
                        self.assertLessEqual(abs(here[0] - there[0]), bound * there[0], f"loss of step {step}")
        done = runs.trireme("train", config, f"run.dir={self.folder / 'host'}", "parallel.activations=host")
        self.assertEqual(done.returncode, 10, done.stderr)
        self.assertIn("where they are on a CPU", done.stderr)

    def capped(self, strategy, mib):
        config = self.config({"name": "gpt2", "config": {"vocab_size": 256, "n_positions": 16, "n_embd": 256, "n_layer": 12,
                                                         "n_head": 4}}, self.tokens(),
                             train={"steps": 3, "global_batch": None}, checkpoint={"every_steps": 2})
        run = self.folder / f"capped-{strategy}"
        return run, runs.trireme("train", config, f"run.dir={run}", f"device.memory_limit_mib={mib}", f"parallel.strategy={strategy}",
                                 "run.resume=auto", ranks=4)

    def test_under_a_cap_of_two_fifths_of_the_state(self):
        whole = 4 * 4 * (12 * (12 * 256**2 + 13 * 256) + 256 * (256 + 16 + 2)) / 2**20
        cap = int(0.4 * whole)
        run, done = self.capped("fsdp", cap)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertLess(runs.metrics(run)[-1]["memory"]["peak"]["max"], cap * 2**20)
        _, again = self.capped("fsdp", cap)  # nor when the state is read
        self.assertEqual(again.returncode, 0, again.stderr)

        run, failed = self.capped("ddp", cap)
        self.assertEqual(failed.returncode, 51, failed.stderr)
        record = runs.exit_record(run)
        self.assertEqual((record["code"], record["kind"]), (51, "out_of_memory"))
        self.assertIn(f"the state of a rank with parallel.strategy: ddp takes {whole:.1f} MiB", record["message"])
        self.assertIn("transformer.h.0.mlp.c_fc.weight [256, 1024] 1.0 MiB", record["message"])
        self.assertIn("parallel.strategy: fsdp needs", record["message"])
        self.assertIn("parallel.strategy: fsdp would leave room under the limit", record["hint"])

    def test_what_is_refused(self):
        config = self.config({"name": "mlp", "config": {"inputs": 64, "hidden": [], "classes": 3}}, self.images())
        for overrides, words in (
                (["parallel.strategy=fsdp", "parallel.shard_group=2"], "groups of 2 do not divide 3 ranks"),
                (["parallel.strategy=fsdp", "precision.mode=autocast", "precision.compute=bf16"], "would free nothing"),
                (["parallel.recompute=selective"], "a model that marks what is cheap"),
                (["parallel.strategy=zero4"], "allowed: ddp, zero1, zero2, fsdp")):
            with self.subTest(overrides=overrides):
                run = self.folder / "refused"
                done = runs.trireme("train", config, f"run.dir={run}", *overrides, ranks=3)
                self.assertEqual(done.returncode, 10, done.stderr)
                self.assertIn(words, done.stderr)
        done = runs.trireme("train", config, f"run.dir={self.folder / 'single'}", "parallel.strategy=fsdp", ranks=3)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("the model is a single unit", done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
