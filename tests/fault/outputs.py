#!/usr/bin/env python3
"""What a command that was killed leaves beside its output, and who removes it."""
import os
import pathlib
import socket
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402
from training_case import TrainingCase  # noqa: E402


class Outputs(TrainingCase):
    def test_what_a_killed_convert_left_goes_with_the_next_one_to_the_same_output(self):
        runs.succeed("train", self.config(train={"steps": 2}), ranks=1)
        for output in ("weights.safetensors", "weights"):
            folder = self.run_dir.parent / f"for-{output}"
            folder.mkdir()
            with self.subTest(output=output):
                done = runs.trireme("convert", self.run_dir, "-o", folder / output, TRIREME_FAULT="storage.fsync#1:*:*:kill")
                self.assertEqual(done.returncode, -9, done.stderr)
                left = [path.name for path in folder.iterdir()]
                self.assertEqual(len(left), 1, left)
                self.assertTrue(left[0].startswith(f"{output}.tmp-{socket.gethostname()}-"), left)
                # Of another machine, of a process that lives, of another output: none of its business.
                others = [f"{output}.tmp-elsewhere-{2**22}", f"{output}.tmp-{socket.gethostname()}-{os.getpid()}", f"{output}2.tmp-x-1"]
                for name in others:
                    (folder / name).write_text("")
                runs.succeed("convert", self.run_dir, "-o", folder / output)
                self.assertEqual(sorted(path.name for path in folder.iterdir()), sorted([output, *others]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
