#!/usr/bin/env python3
"""A device that was asked for and cannot be had ends the run with code 12, a message, a hint, and nothing written; doctor says why."""
import json
import os
import pathlib
import shutil
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402

LIBRARY = runs.BINARY.resolve().parents[1] / "lib/libtrireme_cuda.so"
EMULATED = LIBRARY.with_name("libtrireme_emulated.so")
BACK_ENDS = runs.BINARY.resolve().parent / "back_ends"
GPU = any(path.name[6:].isdigit() for path in pathlib.Path("/dev").glob("nvidia*"))


class Devices(unittest.TestCase):
    def refused(self, *overrides, ranks=0, **variables):
        """The error output of a training run that must end with 12 before it begins."""
        with runs.Scratch() as folder:
            config = runs.write_config(folder / "gpu.yaml", run={"dir": str(folder / "run")}, data={"train": "absent.h5"},
                                       model={"name": "gpt2"})
            done = runs.trireme("train", config, *overrides, ranks=ranks, **variables)
            self.assertEqual(done.returncode, 12, done.stdout + done.stderr)
            self.assertIn("hint: ", done.stderr)
            self.assertEqual([path.name for path in folder.iterdir()], ["gpu.yaml"])
            return done.stderr

    def test_no_back_end(self):
        with runs.Scratch() as folder:
            for ranks in (0, 2):
                text = self.refused("device.type=cuda", ranks=ranks, TRIREME_BACKEND_DIR=str(folder))
                self.assertIn("device.type: cuda", text)
                self.assertIn("no 'cuda' back end", text)

    def test_no_gpu(self):
        if GPU:
            return
        if not LIBRARY.exists():
            self.assertIn("no 'cuda' back end", self.refused("device.type=cuda"))
            return
        for ranks in (0, 2):
            text = self.refused("device.type=cuda", ranks=ranks)
            self.assertIn("device.type: cuda (no GPU is visible)", text)
            self.assertIn("finds no device (driver none", text)
            self.assertIn("device.type: cpu", text)

    def test_other_commands_refuse_alike(self):
        with runs.Scratch() as folder:
            model = {"vocab_size": 256, "n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2}
            config = runs.write_config(folder / "gpu.yaml", data={"train": "absent.h5", "eval": "absent.h5"},
                                       model={"name": "gpt2", "config": model})
            for command in (["eval", config], ["predict", config, "--prompt", "x"]):
                done = runs.trireme(*command, "device.type=cuda", TRIREME_BACKEND_DIR=str(folder))
                self.assertEqual(done.returncode, 12, done.stderr)
                self.assertIn("no 'cuda' back end", done.stderr)
                if LIBRARY.exists() and not GPU:
                    self.assertIn("finds no device", runs.trireme(*command, "device.type=cuda").stderr)

    def test_a_damaged_back_end(self):
        with runs.Scratch() as folder:
            (folder / "libtrireme_cuda.so").write_bytes(b"\x7fELF is all that is left")
            text = self.refused("device.type=cuda", TRIREME_BACKEND_DIR=str(folder))
            self.assertIn("'cuda' back end cannot be loaded", text)
            self.assertIn("launch/setup --gpu", text)

    def test_a_back_end_of_another_version(self):
        with runs.Scratch() as folder:
            shutil.copy(BACK_ENDS / "libtrireme_other_version.so", folder / "libtrireme_cuda.so")
            self.assertIn("is of another version than this program", self.refused("device.type=cuda", TRIREME_BACKEND_DIR=str(folder)))

    def test_unknown_types_are_configuration_errors(self):
        with runs.Scratch() as folder:
            config = runs.write_config(folder / "gpu.yaml", data={"train": "absent.h5"}, model={"name": "gpt2"})
            done = runs.trireme("train", config, "device.type=tpu")
            self.assertEqual(done.returncode, 10, done.stderr)
            self.assertIn("'tpu' is no device", done.stderr)

    def doctor(self, *arguments, ranks=0, code=0, **variables):
        done = runs.trireme("doctor", "--json", *arguments, ranks=ranks, **variables)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return json.loads(done.stdout[done.stdout.index("{"):done.stdout.rindex("}") + 1]), done.stderr

    def test_doctor_reports(self):
        for ranks in (0, 2):
            report, _ = self.doctor(ranks=ranks)
            self.assertEqual(len(report["hosts"]), max(1, ranks))
            self.assertTrue(report["all_reduce"]["right"])
            self.assertEqual([host["rank"] for host in report["hosts"]], list(range(max(1, ranks))))
            if LIBRARY.exists():
                for host in report["hosts"]:
                    back_end = host["back_end"]
                    self.assertTrue(back_end["loaded"], back_end)
                    self.assertEqual(back_end["devices"] == [], not GPU)
                    self.assertLessEqual({"driver", "CUDA runtime", "cuDNN", "cuBLAS", "NCCL"}, set(back_end["versions"]))
                    self.assertEqual(back_end["versions"]["NCCL"], "2.28.9")

    def test_doctor_computes_on_what_is_there(self):
        if not EMULATED.exists():
            return
        for ranks in (1, 2):
            report, _ = self.doctor("--device", "emulated", "--gpu", ranks=ranks)
            for rank, host in enumerate(report["hosts"]):
                self.assertEqual(host["device_check"]["device"], f"emulated:{rank}")
                self.assertTrue(host["device_check"]["right"])
                self.assertGreater(host["device_check"]["copies"]["on_device_gb_per_s"], 0)
                self.assertTrue(host["device_all_reduce"]["right"])
        text = runs.succeed("doctor", "--device", "emulated").stdout
        self.assertIn("computes on emulated:0: products right", text)
        self.assertIn("device 0: emulated accelerator", text)

    def test_doctor_asked_for_a_gpu(self):
        with runs.Scratch() as folder:
            for ranks in (0, 2):
                report, errors = self.doctor("--gpu", ranks=ranks, code=12, TRIREME_BACKEND_DIR=str(folder))
                self.assertFalse(report["hosts"][0]["back_end"]["installed"])
                self.assertIn("no 'cuda' back end", errors)
        if LIBRARY.exists() and not GPU:
            _, errors = self.doctor("--gpu", code=12)
            self.assertIn("finds no device", errors)

    def test_doctor_on_the_cpu_loads_nothing(self):
        report, _ = self.doctor("--device", "cpu")
        self.assertNotIn("back_end", report["hosts"][0])
        self.assertEqual(runs.trireme("doctor", "--device", "tpu").returncode, 2)


if __name__ == "__main__":
    os.environ.pop("TRIREME_BACKEND_DIR", None)
    unittest.main()
