#!/usr/bin/env python3
"""Weights survive every conversion bit for bit, other programs read them, and what cannot be converted leaves nothing behind."""
import json
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402

import numpy  # noqa: E402
from safetensors import safe_open  # noqa: E402

MODEL = {"vocab_size": 256, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 2}
PROMPTS = ["the ship", "row", "wind and sail and port", "mast " * 6]
# Prints the mean loss of GPT2LMHeadModel over the same samples as `trireme eval`, and its logits after each prompt.
PEER = """
import json, sys, torch
from safetensors.torch import load_file
from transformers import GPT2LMHeadModel
folder, tokens, length = sys.argv[1], open(sys.argv[2], "rb").read(), int(sys.argv[3])
model, report = GPT2LMHeadModel.from_pretrained(folder, attn_implementation="eager", output_loading_info=True)
assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
model.eval()
ids = torch.tensor(list(tokens))
total, count = 0.0, 0
with torch.no_grad():
    for start in range(0, len(ids) - length, length):
        logits = model(ids[start:start + length].unsqueeze(0)).logits[0].double()
        total += torch.nn.functional.cross_entropy(logits, ids[start + 1:start + length + 1], reduction="sum").item()
        count += length
    logits = [model(torch.tensor([list(text.encode())])).logits[0, -1].tolist() for text in sys.argv[4:]]
print(json.dumps({"loss": total / count, "samples": count // length, "logits": logits}))
"""


def tensors_of(path):
    """Name -> (dtype, shape, bytes), as Python's safetensors package reads it."""
    with safe_open(path, framework="numpy") as file:
        return {name: (value.dtype, value.shape, value.tobytes())
                for name in file.keys() for value in [file.get_tensor(name)]}


def header_of(path):
    """Name -> description, and where the data begins."""
    data = pathlib.Path(path).read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    header.pop("__metadata__")
    return header, end


def tree(folder):
    return sorted(str(path.relative_to(folder)) for path in pathlib.Path(folder).rglob("*"))


class Trained(unittest.TestCase):
    """A run of four steps by two ranks."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = runs.Scratch()
        cls.folder = cls.scratch.__enter__()
        runs.token_text(cls.folder / "text.txt", size=7000)
        runs.token_text(cls.folder / "eval.txt", size=2000, seed=11)
        for name in ("text", "eval"):
            runs.succeed("prepare", "text", cls.folder / f"{name}.txt", "-o", cls.folder / f"{name}.h5")
        cls.config = cls.configuration("gpt", model={"name": "gpt2", "config": MODEL})
        runs.succeed("train", cls.config, ranks=2)
        cls.run_dir = cls.folder / "gpt"
        cls.checkpoint = cls.run_dir / "checkpoints/step-00000004"
        cls.loss = cls.evaluate(cls.run_dir)

    @classmethod
    def tearDownClass(cls):
        cls.scratch.__exit__()

    @classmethod
    def configuration(cls, name, model, **sections):
        sections = {"data": {"train": str(cls.folder / "text.h5"), "eval": str(cls.folder / "eval.h5")}, **sections}
        return runs.write_config(
            cls.folder / f"{name}.yaml", run={"dir": str(cls.folder / name), "seed": 5}, model=model,
            train={"steps": 4, "batch_size": 4}, optim={"name": "adamw", "lr": 2e-3}, checkpoint={"every_steps": 2}, **sections)

    @classmethod
    def evaluate(cls, *arguments):
        return json.loads(runs.succeed("eval", *arguments).stdout.splitlines()[-1])["loss"]

    def shards(self):
        """The tensors of the checkpoint's model, put together from the parts in all shards."""
        manifest = json.loads((self.checkpoint / "manifest.json").read_text())
        whole = {}
        for name, tensor in manifest["tensors"].items():
            if not name.startswith("model/"):
                continue
            values = numpy.zeros(tensor["shape"], dtype=numpy.float32)
            for box in tensor["boxes"]:
                with safe_open(self.checkpoint / manifest["files"][box["file"]]["name"], framework="numpy") as file:
                    part = file.get_tensor(box["entry"])
                values[tuple(slice(o, o + s) for o, s in zip(box["offset"], box["size"]))] = part
            whole[name.removeprefix("model/")] = (values.dtype, values.shape, values.tobytes())
        return whole


class Convert(Trained):
    def convert(self, *arguments):
        return runs.succeed("convert", *arguments).stdout

    def test_one_file_holds_the_bytes_of_the_shards(self):
        out = self.folder / "one.safetensors"
        self.convert(self.run_dir, "-o", out)
        self.assertEqual(tensors_of(out), self.shards())
        with safe_open(out, framework="numpy") as file:
            self.assertEqual(file.metadata()["format"], "pt")
            self.assertEqual(file.metadata()["trireme.step"], "4")
        self.assertEqual(self.evaluate(self.config, f"model.weights={out}"), self.loss)
        text = [runs.succeed("predict", *model, "--prompt", "the sh", "--max-tokens", 8, "--temperature", 0).stdout
                for model in ([self.run_dir], [self.config, f"model.weights={out}"])]
        self.assertEqual(text[0], text[1])

    def test_a_hugging_face_folder_holds_the_same(self):
        out = self.folder / "hf"
        self.convert(self.checkpoint, "-o", f"{out}/")
        self.assertEqual(tree(out), ["config.json", "model.safetensors"])
        self.assertEqual(tensors_of(out / "model.safetensors"), self.shards())
        config = json.loads((out / "config.json").read_text())
        for key, value in {**MODEL, "model_type": "gpt2", "activation_function": "gelu_new", "tie_word_embeddings": True,
                           "layer_norm_epsilon": 1e-5, "architectures": ["GPT2LMHeadModel"]}.items():
            self.assertEqual(config[key], value, key)
        self.assertEqual(self.evaluate(self.config, f"model.weights={out}"), self.loss)

    def test_and_back(self):
        self.convert(self.run_dir, "-o", self.folder / "back.safetensors")
        self.convert(self.run_dir, "-o", self.folder / "back-hf")
        for source in ("back.safetensors", "back-hf"):
            out = self.folder / f"from-{pathlib.Path(source).stem}"
            self.convert(self.folder / source, "-o", out, "--format", "checkpoint", "--config", self.config)
            runs.succeed("inspect", out, "--verify")
            self.assertEqual(self.evaluate(out), self.loss, "as a run")
            for path in (out, out / "checkpoints/step-00000000"):
                self.assertEqual(self.evaluate(self.config, f"model.weights={path}"), self.loss)
            again = self.folder / f"{source}-again.safetensors"
            self.convert(out, "-o", again)
            self.assertEqual(tensors_of(again), self.shards())
        # Of the run itself, without converting anything; and training starts from there.
        self.assertEqual(self.evaluate(self.config, f"model.weights={self.run_dir}"), self.loss)
        runs.succeed("train", self.config, f"model.weights={self.folder / 'back-hf'}", f"run.dir={self.folder / 'started'}",
                     "optim.lr=0", "optim.weight_decay=0", ranks=2)
        self.assertEqual(self.evaluate(self.folder / "started"), self.loss)

    def test_types(self):
        half, wide = self.folder / "half.safetensors", self.folder / "wide.safetensors"
        self.convert(self.run_dir, "-o", half, "--dtype", "fp16")
        for name, (dtype, shape, data) in self.shards().items():
            expected = numpy.frombuffer(data, numpy.float32).astype(numpy.float16)
            self.assertEqual(tensors_of(half)[name], (numpy.float16, shape, expected.tobytes()))
        self.convert(half, "-o", wide, "--dtype", "fp32")
        self.assertAlmostEqual(self.evaluate(self.config, f"model.weights={half}"), self.loss, delta=1e-2)
        self.assertEqual(self.evaluate(self.config, f"model.weights={half}"), self.evaluate(self.config, f"model.weights={wide}"))

    def test_kinds_of_weights(self):
        out = self.folder / "kind.safetensors"
        self.convert(self.run_dir, "-o", out, "--weights", "master")  # float32 parameters are their own masters
        self.assertEqual(tensors_of(out), self.shards())
        self.refuse(24, "no moving averages", self.run_dir, "-o", self.folder / "ema.safetensors", "--weights", "ema")
        self.refuse(2, "only a checkpoint", out, "-o", self.folder / "ema.safetensors", "--weights", "ema")

    def test_transformers_has_the_same_logits_and_loss(self):
        python = os.environ.get("TRIREME_PEERS_PYTHON", runs.ROOT / ".deps/peers/bin/python")
        if os.environ.get("TRIREME_PEERS") != "1":
            runs.skip(self, "needs --peers")
        out = self.folder / "peer"
        self.convert(self.run_dir, "-o", out)
        done = subprocess.run([python, "-c", PEER, out, self.folder / "eval.txt", str(MODEL["n_positions"]), *PROMPTS],
                              env=runs.environment(HF_HUB_OFFLINE="1"), capture_output=True, text=True, timeout=300, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        theirs = json.loads(done.stdout.splitlines()[-1])
        ours = json.loads(runs.succeed("eval", self.run_dir).stdout.splitlines()[-1])
        self.assertEqual(theirs["samples"], ours["samples"])
        self.assertLessEqual(abs(theirs["loss"] - ours["loss"]), 1e-5)
        for prompt, logits in zip(PROMPTS, theirs["logits"]):
            mine = json.loads(runs.succeed("predict", self.run_dir, "--prompt", prompt, "--logits").stdout)["logits"]
            self.assertEqual(len(mine), MODEL["vocab_size"])
            self.assertLessEqual(float(numpy.abs(numpy.subtract(mine, logits)).max()), 1e-5, prompt)

    def test_other_models_have_one_file_but_no_hugging_face_folder(self):
        numpy.save(self.folder / "x.npy", numpy.random.default_rng(1).random((64, 6), dtype=numpy.float32))
        numpy.save(self.folder / "y.npy", numpy.arange(64, dtype=numpy.int64) % 3)
        data = self.folder / "set.h5"
        runs.succeed("prepare", "npy", f"features={self.folder / 'x.npy'}", f"label={self.folder / 'y.npy'}", "-o", data)
        config = self.configuration("mlp", {"name": "mlp", "config": {"inputs": 6, "hidden": [5], "classes": 3}},
                                    data={"train": str(data), "eval": str(data)})
        runs.succeed("train", config)
        loss = self.evaluate(self.folder / "mlp")
        out = self.folder / "mlp.safetensors"
        self.convert(self.folder / "mlp", "-o", out)
        for path in (out, self.folder / "mlp"):
            self.assertEqual(self.evaluate(config, f"model.weights={path}"), loss)
        self.refuse(24, "the model mlp has no Hugging Face form", self.folder / "mlp", "-o", self.folder / "mlp-hf")
        other = runs.trireme("eval", self.config, f"model.weights={out}")
        self.assertEqual(other.returncode, 24, other.stderr)
        self.assertIn("there is no tensor transformer.wte.weight", other.stderr)
        self.assertIn("is none of the model's", other.stderr)

    def refuse(self, code, message, *arguments, **options):
        """Nothing new lies in the folder of the outputs, and nothing that was there has changed."""
        before = {path: path.stat().st_mtime_ns for path in self.folder.rglob("*")}
        done = runs.trireme("convert", *arguments, **options)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertIn(message, done.stderr)
        after = {path: path.stat().st_mtime_ns for path in self.folder.rglob("*") if path != self.folder}
        self.assertEqual(sorted(after), sorted(before))
        files = [path for path in before if path.is_file()]
        self.assertEqual({path: after[path] for path in files}, {path: before[path] for path in files})

    def test_bad_input_leaves_nothing(self):
        new = self.folder / "new.safetensors"
        self.refuse(20, "No such file", self.folder / "absent", "-o", new)
        self.refuse(23, "no valid checkpoint", self.scratch_folder("empty"), "-o", new)
        self.refuse(2, "is no output of --format hf", self.run_dir, "-o", new, "--format", "hf")
        self.refuse(2, "is no output of --format safetensors", self.run_dir, "-o", self.folder / "new", "--format", "safetensors")
        self.refuse(2, "needs the configuration", self.run_dir, "-o", self.folder / "new", "--format", "checkpoint")
        self.refuse(30, "No such directory", self.run_dir, "-o", self.folder / "nowhere/new.safetensors")
        file = self.folder / "bad.safetensors"
        self.convert(self.run_dir, "-o", file)
        self.refuse(2, "does not say of what model", file, "-o", self.folder / "new")
        file.write_bytes(file.read_bytes()[:-1])
        self.refuse(24, "bad.safetensors", file, "-o", new)
        small = self.configuration("small", model={"name": "gpt2", "config": {**MODEL, "n_layer": 1, "n_embd": 16}})
        self.refuse(24, "none of the model's", self.run_dir, "-o", self.folder / "new", "--format", "checkpoint", "--config", small)

    def test_damage_is_found_on_the_way(self):
        damaged = self.folder / "damaged"
        shutil.copytree(self.checkpoint, damaged)
        for shard in sorted(damaged.glob("shard-*")):
            entries, begin = header_of(shard)
            name = next((name for name in entries if name.startswith("model/")), None)
            if name:
                break
        data = bytearray(shard.read_bytes())
        data[begin + entries[name]["data_offsets"][0]] ^= 1
        shard.write_bytes(data)
        self.refuse(21, f"tensor '{name.split('[')[0]}'", damaged, "-o", self.folder / "new.safetensors")
        self.refuse(21, shard.name, damaged, "-o", self.folder / "new-hf")

    def test_a_failing_disk_leaves_nothing(self):
        for out, options in (("full.safetensors", ()), ("full-hf", ()), ("full", ("--format", "checkpoint", "--config", self.config))):
            for fault, message in (("storage.write:*:*:enospc", "No space left"), ("storage.write#3:*:*:enospc", "No space left"),
                                   ("storage.fsync:*:*:eio", "Input/output error"), ("storage.fsync#2:*:*:eio", "Input/output error")):
                with self.subTest(out=out, fault=fault):
                    self.refuse(30, message, self.run_dir, "-o", self.folder / out, *options, TRIREME_FAULT=fault)

    def test_what_exists_is_replaced_only_on_request(self):
        file, folder = self.folder / "there.safetensors", self.folder / "there"
        for out in (file, folder):
            self.convert(self.run_dir, "-o", out)
            self.refuse(2, "exists already", self.run_dir, "-o", out)
            self.convert(self.run_dir, "-o", out, "--dtype", "bf16", "--force")
        self.assertEqual({entry["dtype"] for entry in header_of(file)[0].values()}, {"BF16"})
        self.assertEqual(json.loads((folder / "config.json").read_text())["torch_dtype"], "bfloat16")
        self.assertEqual(tree(folder), ["config.json", "model.safetensors"])
        (folder / "notes.txt").write_text("mine")
        self.refuse(2, "holds 'notes.txt'", self.run_dir, "-o", folder, "--force")
        self.refuse(2, "is no folder", self.run_dir, "-o", self.config, "--force")
        self.assertEqual([path for path in self.folder.iterdir() if ".tmp-" in path.name], [])

    def scratch_folder(self, name):
        (self.folder / name).mkdir()
        return self.folder / name


class Inspect(Trained):
    """`inspect` of checkpoints agrees with what the shards hold."""

    def inspect(self, *arguments):
        return json.loads(runs.succeed("inspect", *arguments, "--json").stdout)

    def test_the_tree(self):
        seen = self.inspect(self.checkpoint, "--norms")
        self.assertEqual((seen["step"], seen["ranks"], seen["attempt"], seen["of_these_versions"]), (4, 2, "1", True))
        groups = {group["prefix"]: group for group in seen["groups"]}
        self.assertEqual(list(groups), ["model/", "optim/moment/", "optim/square_moment/"])
        model = {tensor["name"]: tensor for tensor in groups["model/"]["tensors"]}
        shards = self.shards()
        self.assertEqual(sorted(model), sorted(shards))
        for name, (_, shape, data) in shards.items():
            values = numpy.frombuffer(data, numpy.float32).astype(numpy.float64)
            tensor = model[name]
            self.assertEqual((tensor["dtype"], tensor["shape"], tensor["bytes"]), ("F32", list(shape), len(data)))
            self.assertAlmostEqual(tensor["l2"], float(numpy.linalg.norm(values)), delta=1e-9)
            self.assertEqual((tensor["min"], tensor["max"], tensor["not_finite"]), (values.min(), values.max(), 0))
        self.assertEqual(groups["model/"]["bytes"], sum(len(data) for _, _, data in shards.values()))
        self.assertEqual(self.inspect(self.run_dir)["checkpoint"]["step"], 4)
        text = runs.succeed("inspect", self.run_dir, "--norms").stdout
        for part in ("written by 2 ranks in attempt 1", "model/", "transformer.wte.weight", "optim/moment/", "l2 ", "total"):
            self.assertIn(part, text)

    def test_verify_says_how_fast(self):
        self.assertRegex(runs.succeed("inspect", self.checkpoint, "--verify").stdout, r"every byte verified, .* at \d+ MB/s")
        self.assertTrue(self.inspect(self.checkpoint, "--verify")["valid"])

    def test_differences(self):
        same = runs.trireme("inspect", self.run_dir, "--diff", self.checkpoint)
        self.assertEqual((same.returncode, same.stdout.splitlines()[-1].split(":")[0]), (0, "equal"), same.stderr)
        earlier = self.run_dir / "checkpoints/step-00000002"
        other = runs.trireme("inspect", earlier, "--diff", self.checkpoint)
        self.assertEqual(other.returncode, 1, other.stderr)
        self.assertIn("scalar run/step: 2 | 4", other.stdout)
        self.assertRegex(other.stdout.splitlines()[-1], r"^\d+ of \d+ tensors and \d+ of \d+ scalars differ$")
        found = json.loads(runs.trireme("inspect", earlier, "--diff", self.checkpoint, "--json").stdout)
        self.assertFalse(found["equal"])
        embedding = next(t for t in found["tensors"] if t["name"] == "model/transformer.wte.weight")
        self.assertGreater(embedding["differing"], 0)
        missing = runs.trireme("inspect", self.checkpoint, "--diff", self.folder / "absent")
        self.assertEqual(missing.returncode, 23, missing.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
