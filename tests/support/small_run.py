"""A run of seconds with everything in it that a checkpoint has to carry, and the proof that another course of it is the same run."""
import pathlib
import shutil

import runs

STEPS = 14
# What mpirun returns when a rank was killed: its own code, or that of the survivor that noticed first.
KILLED = (137, 41)


class SmallRun:
    """Two epochs of a tiny GPT with dropout, evaluations and saves in the background; only the newest checkpoint is kept, so none
    may ever be lost."""

    def __init__(self, folder, **changes):
        self.folder = pathlib.Path(folder)
        runs.token_text(self.folder / "text.txt", size=640)
        runs.succeed("prepare", "text", self.folder / "text.txt", "-o", self.folder / "text.h5")
        data = str(self.folder / "text.h5")
        model = {"vocab_size": 256, "n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2, "dropout": 0.1}
        sections = {
            "run": {"dir": str(self.folder / "run"), "seed": 5},
            "model": {"name": "gpt2", "config": model},
            "data": {"train": data, "eval": data, "workers": 1},
            "train": {"steps": STEPS, "batch_size": 1, "global_batch": 6},
            "eval": {"every_steps": 6},
            "optim": {"name": "adamw", "lr": 2e-3},
            "schedule": {"name": "cosine", "warmup_steps": 3},
            "checkpoint": {"every_steps": 4, "keep_last": 1},
            "telemetry": {"log_every": 1},
        }
        for name, values in changes.items():
            sections[name] = {**sections[name], **values}
        self.steps = sections["train"]["steps"]
        self.config = runs.write_config(self.folder / "small.yaml", **sections)
        self.references = {}

    def train(self, run, *overrides, ranks, **options):
        return runs.trireme("train", self.config, f"run.dir={run}", *overrides, ranks=ranks, **options)

    def start(self, run, *overrides, ranks, **options):
        return runs.start("train", self.config, f"run.dir={run}", *overrides, ranks=ranks, **options)

    def reference(self, ranks):
        """What an uninterrupted run leaves."""
        if ranks not in self.references:
            run = self.folder / f"reference{ranks}"
            runs.succeed("train", self.config, f"run.dir={run}", ranks=ranks)
            self.references[ranks] = self.course(run)
        return self.references[ranks]

    def course(self, run):
        evaluations = [(record["step"], record["loss"], record["samples"]) for record in runs.lines(run / "eval.jsonl")]
        losses = [(record["step"], record["loss"]) for record in runs.metrics(run)]
        return {"hash": state_hash(run), "losses": losses, "evaluations": evaluations}

    def stopped_at_the_third_step(self, name, ranks):
        """A run folder that holds one checkpoint, in mid-epoch."""
        run = self.folder / name
        (run / "control").mkdir(parents=True)
        (run / "control" / "stop").touch()
        done = self.train(run, ranks=ranks)
        assert done.returncode == 75, done.stderr
        assert checkpoints(run) == ["step-00000003"], checkpoints(run)
        return run

    def copy(self, run, name):
        copied = self.folder / name
        shutil.rmtree(copied, ignore_errors=True)
        shutil.copytree(run, copied)
        return copied


def state_hash(run):
    return runs.succeed("inspect", run, "--state-hash").stdout.split()[-1]


def checkpoints(run):
    """All there is in the folder of checkpoints, unfinished ones too."""
    folder = pathlib.Path(run) / "checkpoints"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def leftovers(run):
    return sorted(str(path.relative_to(run)) for path in pathlib.Path(run).rglob("*.tmp-*"))
