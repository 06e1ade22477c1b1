"""The base of tests that start many small runs of a tiny GPT, each with some sections of its own."""
import pathlib
import tempfile
import unittest

import runs


class TrainingCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = runs.Scratch()
        cls.folder = cls.scratch.__enter__()
        runs.token_text(cls.folder / "text.txt", size=5000)
        runs.succeed("prepare", "text", cls.folder / "text.txt", "-o", cls.folder / "text.h5")

    @classmethod
    def tearDownClass(cls):
        cls.scratch.__exit__()

    def config(self, **changes):
        """A small run of this test's own, in self.run_dir; `changes` replace or extend sections."""
        self.run_dir = pathlib.Path(tempfile.mkdtemp(dir=self.folder)) / "run"
        sections = {
            "run": {"dir": str(self.run_dir), "seed": 3},
            "model": {"name": "gpt2", "config": {"vocab_size": 256, "n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2}},
            "data": {"train": str(self.folder / "text.h5"), "workers": 1},
            "train": {"steps": 20, "batch_size": 4},
            "checkpoint": {"every_steps": 5},
            "telemetry": {"log_every": 1},
        }
        for name, values in changes.items():
            sections[name] = {**sections.get(name, {}), **values}
        return runs.write_config(self.run_dir.parent / "config.yaml", **sections)
