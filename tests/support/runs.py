"""Starts the trireme binary for tests, alone or under mpirun, and reads what a run leaves behind."""
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = pathlib.Path(os.environ.get("TRIREME_BINARY", ROOT / "build/release/bin/trireme"))
MPIRUN = ROOT / "tests/support/mpirun"


def environment(**extra):
    """One compute type and one thread a rank: bit-equality is promised for equal settings."""
    env = dict(os.environ, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="passive", ATEN_CPU_CAPABILITY="avx2", NO_COLOR="1")
    env.pop("TRIREME_FAULT", None)
    env.update(extra)
    return env


def trireme(*arguments, ranks=0, timeout=300, cwd=None, binary=BINARY, **extra):
    """Runs to the end; ranks=0 without a launcher. Returns the completed process with text output."""
    command = [str(MPIRUN), "-np", str(ranks)] if ranks else []
    command += [str(binary), *map(str, arguments)]
    return subprocess.run(command, env=environment(**extra), capture_output=True, text=True, timeout=timeout, cwd=cwd,
                          stdin=subprocess.DEVNULL, check=False)


def start(*arguments, ranks=0, binary=BINARY, **extra):
    """Starts in the background (own process group); the caller waits."""
    command = [str(MPIRUN), "-np", str(ranks)] if ranks else []
    command += [str(binary), *map(str, arguments)]
    return subprocess.Popen(command, env=environment(**extra), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            stdin=subprocess.DEVNULL, start_new_session=True)


def succeed(*arguments, **options):
    done = trireme(*arguments, **options)
    if done.returncode != 0:
        raise AssertionError(f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def lines(path):
    """The objects of a .jsonl file; a last line that is just being written does not count yet."""
    path = pathlib.Path(path)
    return [json.loads(line) for line in path.read_text().split("\n")[:-1]] if path.exists() else []


def metrics(run):
    return lines(pathlib.Path(run) / "metrics.jsonl")


def losses(run):
    return {record["step"]: record["loss"] for record in metrics(run)}


def exit_record(run):
    return json.loads((pathlib.Path(run) / "exit.json").read_text())


def skip(test, reason):
    """Skips a test for one of the reasons that tests/policy/skips.py allows, and writes that down."""
    folder = os.environ.get("TRIREME_SKIPS")
    if folder:
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        with open(pathlib.Path(folder) / "skips.log", "a", encoding="utf-8") as log:
            log.write(f"{test.id()}\t{reason}\n")
    test.skipTest(reason)


class Scratch:
    """A folder for one test, deleted at the end."""

    def __enter__(self):
        self.path = pathlib.Path(tempfile.mkdtemp(prefix="trireme-test-"))
        return self.path

    def __exit__(self, *_):
        shutil.rmtree(self.path, ignore_errors=True)


def token_text(path, size=40000, seed=7):
    """A deterministic text with structure that a small model learns quickly."""
    words = ["sea", "ship", "oar", "rank", "row", "wind", "sail", "port", "wave", "crew", "deck", "mast"]
    state, out = seed, []
    length = 0
    while length < size:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        word = words[(state >> 33) % len(words)]
        out.append(word)
        length += len(word) + 1
    pathlib.Path(path).write_text(" ".join(out) + "\n")


def write_config(path, **sections):
    """Writes sections as YAML flow mappings: JSON is YAML."""
    pathlib.Path(path).write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in sections.items()))
    return path
