#!/usr/bin/env python3
"""launch/bundle: what it packs runs where there is nothing but glibc, a shell and LibTorch, on one rank and on two."""
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import runs  # noqa: E402

PROGRAMS = ["bash", "id", "env", "dirname", "ls", "uname"]
GLIBC = ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libutil.so.1", "libresolv.so.2", "libanl.so.1",
         "libnss_files.so.2"]
# Inside, as root of a mount namespace of its own: what is mounted goes when it ends.
ENTER = r"""
set -e
root=$1 torch=$2; shift 2
mount --make-rprivate /
mount --bind "$torch" "$root/libtorch"
mount -t proc proc "$root/proc"
mount --bind /sys "$root/sys"
mount -t tmpfs tmpfs "$root/dev"
for node in null zero random urandom; do : > "$root/dev/$node"; mount --bind /dev/$node "$root/dev/$node"; done
mkdir "$root/dev/shm"; mount -t tmpfs tmpfs "$root/dev/shm"
exec chroot "$root" /bin/env -i HOME=/root PATH=/bin TRIREME_LIBTORCH=/libtorch/torch OMP_NUM_THREADS=1 \
  OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1 "$@"
"""


def libraries_of(program):
    out = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [word for line in out.splitlines() for word in line.split() if word.startswith("/")]


def copy_into(root, path):
    target = root / str(path).lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, target)


def make_root(root):
    for folder in ["bin", "dev", "etc", "libtorch", "proc", "root", "sys", "tmp", "scratch"]:
        (root / folder).mkdir(parents=True)
    for program in PROGRAMS:
        path = shutil.which(program)
        shutil.copy(path, root / "bin" / program)
        for library in libraries_of(path):
            copy_into(root, library)
    (root / "bin/sh").symlink_to("bash")
    (root / "usr").mkdir(exist_ok=True)
    (root / "usr/bin").symlink_to("../bin")
    libc = next(path for path in libraries_of(root / "bin/bash") if path.endswith("libc.so.6"))
    for name in GLIBC:
        if (pathlib.Path(libc).parent / name).exists():
            copy_into(root, pathlib.Path(libc).parent / name)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")


class Bundle(unittest.TestCase):
    def test_runs_in_an_empty_root(self):
        if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "--pid", "--fork", "true"], check=False).returncode != 0:
            runs.skip(self, "namespaces refused")
        with runs.Scratch() as folder:
            packed = folder / "bundle.tar.gz"
            done = subprocess.run([runs.ROOT / "launch/bundle", packed], capture_output=True, text=True, timeout=120, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertLess(packed.stat().st_size, 60 << 20)
            root = folder / "root"
            make_root(root)
            subprocess.run(["tar", "-C", root / "scratch", "--strip-components=1", "-xzf", packed], check=True)
            self.check_no_traces(root / "scratch")
            libtorch = pathlib.Path(os.environ.get("TRIREME_LIBTORCH", runs.ROOT / ".deps/libtorch/torch")).resolve().parent
            runs.token_text(root / "scratch/text.txt", size=2000)
            runs.write_config(root / "scratch/small.yaml", run={"dir": "/scratch/run"}, data={"train": "/scratch/text.h5", "workers": 1},
                              model={"name": "gpt2", "config": {"vocab_size": 256, "n_positions": 16, "n_embd": 16, "n_layer": 1,
                                                                "n_head": 2}},
                              train={"steps": 4, "batch_size": 2}, checkpoint={"every_steps": 2}, telemetry={"log_every": 1})

            def inside(command, **changes):
                variables = [f"{name}={value}" for name, value in changes.items()]
                return subprocess.run(["unshare", "--mount", "--pid", "--fork", "bash", "-c", ENTER, "enter", root, libtorch, *variables,
                                       "/bin/bash", "-c", f"cd /scratch && {command}"],
                                      capture_output=True, text=True, timeout=100, check=False, stdin=subprocess.DEVNULL)

            explained = inside("./trireme config explain device.type")
            self.assertEqual(explained.returncode, 0, explained.stdout + explained.stderr)
            self.assertIn("device.type", explained.stdout)
            prepared = inside("./trireme prepare text text.txt -o text.h5")
            self.assertEqual(prepared.returncode, 0, prepared.stdout + prepared.stderr)
            trained = inside("./mpirun -np 2 ./trireme train small.yaml")
            self.assertEqual(trained.returncode, 0, trained.stdout + trained.stderr)
            self.assertEqual(runs.exit_record(root / "scratch/run")["code"], 0)
            self.assertEqual([record["step"] for record in runs.metrics(root / "scratch/run")], [1, 2, 3, 4])

            lost = inside("./trireme doctor", TRIREME_LIBTORCH="/nowhere")
            self.assertEqual(lost.returncode, 12)
            self.assertIn("TRIREME_LIBTORCH must name a folder", lost.stderr)

    def check_no_traces(self, folder):
        """No search path leads to the machine that built it."""
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.read_bytes()[:4] == b"\x7fELF":
                dynamic = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
                self.assertNotRegex(dynamic, "RPATH|RUNPATH", path)


if __name__ == "__main__":
    unittest.main()
