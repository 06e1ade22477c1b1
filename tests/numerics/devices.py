#!/usr/bin/env python3
"""Training on a device is training on a CPU: the same losses within rounding, the same bits with its steps repeated as a graph, with a
resume in between, and the same words when something is wrong. On the emulated accelerator, whose memory the host cannot mix with its
own; kernels of real ones are compared in tests/gpu."""
import json
import pathlib
import re
import shutil
import sys
import unittest

import h5py
import numpy

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402
from small_run import checkpoints, state_hash  # noqa: E402

LOSS_TOLERANCE = 2e-5  # relative, fp32
NORM_TOLERANCE = 1e-4
SAMPLES = 46  # the last batch of an epoch is 10 of 12: full on rank 0, not on rank 1
GPT2 = {"name": "gpt2", "config": {"vocab_size": 32, "n_positions": 4, "n_embd": 16, "n_layer": 1, "n_head": 2, "dropout": 0.1}}
MLP = {"name": "mlp", "config": {"inputs": 64, "hidden": [17], "classes": 3, "activation": "gelu"}}
CONVNET = {"name": "convnet", "config": {"channels": 1, "height": 8, "width": 8, "filters": [8], "classes": 3}}
DEVICE = ["device.type=emulated"]
EAGER, REPEATED = [*DEVICE, "train.graph=off"], [*DEVICE, "train.graph=on"]
FP32, BF16 = "precision.compute=fp32", "precision.compute=bf16"


class Devices(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = runs.Scratch()
        cls.folder = cls.scratch.__enter__()
        row, column = numpy.divmod(numpy.arange(SAMPLES * 4 + 1), 4)
        tokens = ((row * 5 + column * (1 + row % 3)) % 32).astype(numpy.uint16)
        tokens.tofile(cls.folder / "tokens.bin")
        cls.tokens = cls.folder / "tokens.h5"
        runs.succeed("prepare", "bin", cls.folder / "tokens.bin", "-o", cls.tokens)
        label = numpy.arange(SAMPLES) % 3
        grid = numpy.arange(64).reshape(1, 1, 8, 8) * (label[:, None, None, None] + 1)
        image = numpy.sin(grid * 0.3 + numpy.arange(SAMPLES)[:, None, None, None] * 0.37).astype(numpy.float32)
        cls.images = cls.prepared("images", image=image, label=label)
        image[31, 0, 2, 2] = numpy.nan
        cls.bad_images = cls.prepared("bad_images", image=image, label=label)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.__exit__()

    @classmethod
    def prepared(cls, name, **fields):
        """A data file of arrays with one sample in each row."""
        for field, values in fields.items():
            numpy.save(cls.folder / f"{name}.{field}.npy", values)
        runs.succeed("prepare", "npy", *(f"{field}={cls.folder}/{name}.{field}.npy" for field in fields), "-o", cls.folder / f"{name}.h5")
        return cls.folder / f"{name}.h5"

    def config(self, model, data=None, **changes):
        data = str(data or (self.tokens if model["name"] == "gpt2" else self.images))
        sections = {
            "run": {"dir": "", "seed": 11},
            "model": model,
            "data": {"train": data, "eval": data, "workers": 1},
            "train": {"steps": 20, "batch_size": 6, "global_batch": 12, "max_grad_norm": 0.5},
            "eval": {"every_steps": 7},
            "optim": {"name": "adamw", "lr": 3e-3},
            "schedule": {"name": "cosine", "warmup_steps": 5},
            "checkpoint": {"every_steps": None},
            "telemetry": {"log_every": 1},
        }
        for name, values in changes.items():
            sections[name] = {**sections.get(name, {}), **values}
        self.configs = getattr(self, "configs", 0) + 1
        return runs.write_config(self.folder / f"{self.id()}-{self.configs}.yaml", **sections)

    def trained(self, config, name, *overrides, ranks=2, **variables):
        """The folder of a run to the end, and what it said."""
        run = self.folder / self.id() / name
        done = runs.trireme("train", config, f"run.dir={run}", *overrides, ranks=ranks, **variables)
        self.assertEqual(done.returncode, 0, f"{name} {overrides}\n{done.stderr}")
        return run, done.stderr

    def course(self, run):
        evaluations = [(record["step"], record["loss"], record["samples"]) for record in runs.lines(run / "eval.jsonl")]
        steps = [(record["step"], record["loss"], record["grad_norm"], record["skipped"]) for record in runs.metrics(run)]
        return {"hash": state_hash(run), "steps": steps, "evaluations": evaluations}

    def assert_close(self, mine, theirs):
        for part in ("steps", "evaluations"):
            self.assertEqual([one[0] for one in mine[part]], [one[0] for one in theirs[part]])
        for here, there in zip(mine["steps"], theirs["steps"]):
            self.assertLessEqual(abs(here[1] - there[1]), LOSS_TOLERANCE * there[1], f"loss of step {here[0]}")
            self.assertLessEqual(abs(here[2] - there[2]), NORM_TOLERANCE * there[2], f"norm of step {here[0]}")
        for here, there in zip(mine["evaluations"], theirs["evaluations"]):
            self.assertLessEqual(abs(here[1] - there[1]), LOSS_TOLERANCE * there[1], f"evaluation at step {here[0]}")
            self.assertEqual(here[2], there[2])

    def assert_phases_add_up(self, run):
        for record in runs.metrics(run):
            phases = {name: numbers["mean"] for name, numbers in record["phases"].items()}
            self.assertGreater(record["step_seconds"], 0)
            self.assertLess(abs(sum(phases.values()) - record["step_seconds"]), 0.02 * record["step_seconds"], record)
            self.assertTrue(all(seconds >= 0 for seconds in phases.values()), record)
            self.assertGreater(record["memory"]["allocated"]["min"], 0)

    def test_fp32_is_the_cpu_within_rounding(self):
        for model in (GPT2, MLP, CONVNET):
            config = self.config(model)
            cpu = self.course(self.trained(config, f"{model['name']}-cpu", FP32)[0])
            self.assertEqual(len(cpu["steps"]), 20)
            self.assertEqual([one[0] for one in cpu["evaluations"]], [7, 14, 20])
            self.assertLess(cpu["steps"][-1][1], 0.98 * cpu["steps"][0][1], "it learns")
            for ranks, batch_size in ((1, 12), (2, 6)):
                with self.subTest(model=model["name"], ranks=ranks):
                    run, _ = self.trained(config, f"{model['name']}-{ranks}", *DEVICE, FP32, f"train.batch_size={batch_size}", ranks=ranks)
                    self.assert_close(self.course(run), cpu)
                    self.assert_phases_add_up(run)

    def traffic(self, run):
        """What the ranks of the run moved in a step, on average."""
        rows = json.loads((run / "report.json").read_text())["communication"]
        self.assertTrue(rows)
        return {(row["group"], row["operation"]): (row["calls"], row["bytes"]) for row in rows}

    def repeated_is_eager(self, config, name, *overrides, wish="train.graph=on"):
        with self.subTest(name):
            eager, said = self.trained(config, f"{name}-eager", *EAGER, *overrides)
            self.assertNotIn("as a graph", said)
            repeated, said = self.trained(config, f"{name}-repeated", *DEVICE, wish, *overrides)
            self.assertIn("steps of this shape are repeated as a graph from now on", said)
            mine, theirs = self.course(repeated), self.course(eager)
            self.assertEqual(mine, theirs)
            self.assertEqual(self.traffic(repeated), self.traffic(eager), "calls of repeated steps count as those of eager ones")
            return mine

    def test_steps_repeated_as_a_graph_are_the_same_bits(self):
        config = self.config(GPT2, train={"steps": 50}, ema={"decay": 0.9})
        self.repeated_is_eager(config, "fp32", FP32)
        self.repeated_is_eager(config, "bf16", BF16, wish="train.compile=reduce-overhead")

    def test_so_are_those_of_micro_steps_and_of_other_optimizers(self):
        config = self.config(MLP, train={"steps": 30})
        self.repeated_is_eager(config, "accumulated", FP32, "train.batch_size=2", "ema.decay=0.9")
        self.repeated_is_eager(config, "lamb", BF16, "optim.name=lamb")

    def test_so_is_a_search_for_the_loss_scale(self):
        config = self.config(MLP, train={"steps": 30})
        course = self.repeated_is_eager(config, "fp16", "precision.compute=fp16", "precision.growth_interval=2")
        skipped = [one[3] for one in course["steps"]]
        self.assertGreater(skipped[-1], skipped[4], f"repeated steps overflow, too: {skipped}")

    def test_a_last_batch_that_only_some_ranks_have(self):
        """16 + 16 + 14 samples, 8 and 6 of the last: then 40 = 16 + 16 + 8, all on rank 0, whose batch looks as ever."""
        config = self.config(MLP, data=self.images, train={"steps": 16, "batch_size": 8, "global_batch": 16})
        self.repeated_is_eager(config, "some", FP32)
        fields = {field: numpy.load(self.folder / f"images.{field}.npy")[:40] for field in ("image", "label")}
        config = self.config(MLP, data=self.prepared("forty", **fields), train={"steps": 16, "batch_size": 8, "global_batch": 16})
        self.repeated_is_eager(config, "none", FP32)

    def test_sharded_strategies(self):
        config = self.config(GPT2, train={"steps": 12})
        ddp = self.course(self.trained(config, "ddp", *DEVICE, FP32)[0])
        for strategy in ("zero1", "zero2", "fsdp"):
            with self.subTest(strategy):
                run, said = self.trained(config, strategy, *DEVICE, FP32, f"parallel.strategy={strategy}")
                self.assert_close(self.course(run), ddp)
                self.assertIn(f"steps are not repeated as a graph: parallel.strategy: {strategy} ", said)
        run = self.folder / "refused"
        done = runs.trireme("train", config, f"run.dir={run}", *REPEATED, "parallel.strategy=fsdp", ranks=2)
        self.assertEqual(done.returncode, 10, done.stderr)
        self.assertIn("train.graph: on", done.stderr)
        self.assertIn("hint: set train.graph: auto", done.stderr)
        self.assertFalse(run.exists(), "nothing is written")

    def stopped(self, config, name, *overrides):
        """A run folder that holds one checkpoint, of step 3."""
        run = self.folder / self.id() / name
        (run / "control").mkdir(parents=True)
        (run / "control/stop").touch()
        done = runs.trireme("train", config, f"run.dir={run}", *overrides, ranks=2)
        self.assertEqual(done.returncode, 75, done.stderr)
        self.assertEqual(checkpoints(run), ["step-00000003"])
        return run

    def test_resumed(self):
        """With everything in it that a checkpoint has to carry, and with the device's memory closed to the host outside of operations."""
        config = self.config(GPT2, train={"batch_size": 3, "steps": 12}, ema={"decay": 0.9}, checkpoint={"every_steps": 4, "keep_last": 1})
        whole = self.course(self.trained(config, "whole", *REPEATED, FP32)[0])
        stopped = self.stopped(config, "device", *REPEATED, FP32)
        shutil.copytree(stopped, self.folder / self.id() / "moved")
        resumed, _ = self.trained(config, "device", *REPEATED, FP32, TRIREME_EMULATED_PROTECT="1")
        self.assertEqual(self.course(resumed), whole)

        self.assert_close(self.course(self.trained(config, "moved", FP32)[0]), whole)
        self.stopped(config, "cpu", FP32)
        self.assert_close(self.course(self.trained(config, "cpu", *REPEATED, FP32)[0]), whole)

    def test_no_stray_access_of_the_host(self):
        config = self.config(GPT2, train={"steps": 8}, ema={"decay": 0.9}, checkpoint={"every_steps": 3})
        for name, overrides in (("eager", [*EAGER, FP32]), ("repeated", [*REPEATED, BF16]), ("fsdp", [*DEVICE, "parallel.strategy=fsdp"])):
            with self.subTest(name):
                self.trained(config, name, *overrides, TRIREME_EMULATED_PROTECT="1")

    def test_a_loss_that_is_not_a_number(self):
        """Of a sample: the step that has it is repeated as a graph when it comes by."""
        config = self.config(MLP, self.bad_images, guard={"nonfinite": "skip"}, eval={"every_steps": None, "at_end": False})
        said, skipped = [], []
        for name, overrides in (("cpu", []), ("device", REPEATED)):
            run, text = self.trained(config, name, FP32, *overrides)
            said.append(re.findall(r"update left out at .*", text))
            skipped.append([record["skipped"] for record in runs.metrics(run)])
        self.assertEqual(said[1], said[0])
        self.assertEqual(skipped[1], skipped[0])
        self.assertEqual(len(said[0]), 5, "once an epoch")
        for text in said[0]:
            self.assertIn("31", text)

        messages = []
        for name, overrides in (("cpu-stop", []), ("device-stop", REPEATED)):
            run = self.folder / self.id() / name
            done = runs.trireme("train", config, f"run.dir={run}", FP32, "guard.nonfinite=stop", *overrides, ranks=2)
            self.assertEqual(done.returncode, 50, done.stderr)
            record = runs.exit_record(run)
            messages.append((record["kind"], record["message"], record["hint"]))
        self.assertEqual(messages[1], messages[0])

    def test_an_injected_nan(self):
        config = self.config(MLP)
        for name, overrides in (("cpu", []), ("device", DEVICE)):
            run = self.folder / self.id() / name
            done = runs.trireme("train", config, f"run.dir={run}", FP32, *overrides, ranks=2, TRIREME_FAULT="step.loss:1:1:nan")
            self.assertEqual(done.returncode, 50, done.stderr)
            self.assertIn("step 2: the loss of rank 1 is not finite; its samples are ", runs.exit_record(run)["message"])

    def test_values_that_the_model_does_not_have(self):
        """On a device nobody looks at them any more, so that they are looked at before, and complained of in their turn."""
        tokens = self.folder / "bad_tokens.h5"
        with h5py.File(self.tokens) as good, h5py.File(tokens, "w") as file:
            file["tokens"] = good["tokens"][:]
            file["tokens"].attrs["vocab_size"] = 31
        labels = self.folder / "bad_labels.h5"
        with h5py.File(self.images) as good, h5py.File(labels, "w") as file:
            file["image"] = good["image"][:]
            file["label"] = good["label"][:]
            file["label"][29] = 7
            file["label"].attrs["classes"] = 3
        model = {"name": "gpt2", "config": {**GPT2["config"], "vocab_size": 31}}
        for config, words in ((self.config(model, tokens, train={"batch_size": 12}), "31"),
                              (self.config(MLP, labels, train={"batch_size": 12}), "7")):
            outcomes = []
            for name, overrides in (("cpu", []), ("device", DEVICE)):
                run = self.folder / self.id() / f"{config.stem}-{name}"
                done = runs.trireme("train", config, f"run.dir={run}", FP32, *overrides)
                self.assertEqual(done.returncode, 21, done.stderr)
                record = runs.exit_record(run)
                self.assertIn(words, record["message"])
                outcomes.append((record["kind"], record["message"], record["hint"], record["step"], runs.losses(run).keys()))
            self.assertEqual(outcomes[1], outcomes[0])

    def test_a_limit_on_memory(self):
        config = self.config({"name": "mlp", "config": {**MLP["config"], "hidden": [1024, 1024]}}, train={"steps": 2},
                             eval={"at_end": False, "every_steps": None})
        run = self.folder / self.id() / "ddp"
        done = runs.trireme("train", config, f"run.dir={run}", *DEVICE, FP32, "device.memory_limit_mib=17", ranks=2)
        self.assertEqual(done.returncode, 51, done.stderr)
        record = runs.exit_record(run)
        self.assertEqual((record["code"], record["kind"]), (51, "out_of_memory"))
        self.assertIn("the state of a rank with parallel.strategy: ddp takes 17.1 MiB", record["message"])
        self.assertIn("layers.1.weight [1024, 1024] 4.0 MiB", record["message"])
        self.assertIn("parallel.strategy: zero1 or zero2 would leave room under the limit", record["hint"])
        limited, _ = self.trained(config, "zero1", *DEVICE, FP32, "device.memory_limit_mib=17", "parallel.strategy=zero1")
        self.assertLess(runs.metrics(limited)[-1]["memory"]["peak"]["max"], 17 * 2**20)

    def test_eval_and_predict(self):
        model = {"name": "gpt2", "config": {**GPT2["config"], "vocab_size": 256}}
        config = self.config(model, train={"steps": 8}, optim={"lr": 0.05}, eval={"every_steps": None})
        run, _ = self.trained(config, "run", *DEVICE, FP32)
        results = {}
        for name in ("cpu", "emulated"):
            there = f"device.type={name}"
            evaluated = json.loads(runs.succeed("eval", run, there, ranks=2).stdout)
            sampled = runs.succeed("predict", run, there, "--prompt", "\5\7\t", "--max-tokens", 5, "--temperature", 0)
            logits = json.loads(runs.succeed("predict", run, there, "--prompt", "\5\7\t", "--logits").stdout)["logits"]
            results[name] = (evaluated["loss"], sampled.stdout, numpy.array(logits))
        (loss, text, logits), (cpu_loss, cpu_text, cpu_logits) = results["emulated"], results["cpu"]
        trained = runs.lines(run / "eval.jsonl")[-1]["loss"]
        self.assertEqual(loss, trained)
        self.assertLessEqual(abs(loss - cpu_loss), LOSS_TOLERANCE * cpu_loss)
        self.assertEqual(text, cpu_text)
        evaluated = json.loads(runs.succeed("eval", run, *DEVICE, BF16).stdout)  # in another type than it was trained in
        self.assertLessEqual(abs(evaluated["loss"] - loss), 1e-2 * loss)
        self.assertLess(numpy.abs(logits - cpu_logits).max(), 1e-5 * numpy.abs(cpu_logits).max())


if __name__ == "__main__":
    unittest.main(verbosity=2)
