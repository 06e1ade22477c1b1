#!/usr/bin/env python3
"""Holds the house's layer table against the includes: an arrow that points up or sideways is an error.

An include of "folder/x.h" or <trireme/folder/x.h> is an arrow to that folder. A folder may include itself, folders of lower
levels that its row allows, and what is outside the project.
"""
import pathlib
import re
import sys

LEVELS = [  # lowest first; folders of one level never include each other
    {"core"},
    {"config"},
    {"device", "storage"},
    {"telemetry"},
    {"comm", "ops", "autograd"},
    {"data", "text", "model", "optim", "precision", "parallel", "checkpoint", "debug", "security", "guard", "report",
     "plugin", "infer", "plan", "cuda"},  # cuda: nobody includes it, it is loaded
    {"trainer"},
    {"app"},
]
HDF5_OWNER_LIMIT = 1  # only one file of the project includes hdf5.h
CONCRETE_CLASSES_FILE = "src/trainer/build.cpp"

root = pathlib.Path(__file__).resolve().parents[2]
level_of = {folder: level for level, folders in enumerate(LEVELS) for folder in folders}
include = re.compile(r'^\s*#\s*include\s+(?:"([a-z]+)/|<trireme/([a-z]+)/)')
problems = []


def folder_of(path):
    parts = path.relative_to(root).parts
    return parts[1] if parts[0] == "src" else parts[2]


files = [p for base in ("src", "include/trireme") for p in (root / base).rglob("*") if p.suffix in (".h", ".cpp", ".cu")]
hdf5_files = []
for path in sorted(files):
    folder = folder_of(path)
    if folder == "pch":
        continue
    if folder not in level_of:
        problems.append(f"{path.relative_to(root)}: folder '{folder}' is not in the layer table")
        continue
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        where = f"{path.relative_to(root)}:{number}"
        if "hdf5.h" in line and "#include" in line:
            hdf5_files.append(where)
        if path.is_relative_to(root / "include") and re.search(r"#include\s+<torch/", line) and path.name != "nn.h":
            problems.append(f"{where}: a public header includes LibTorch's heavy headers")
        match = include.match(line)
        if not match:
            continue
        other = match.group(1) or match.group(2)
        if other == folder:
            continue
        if other not in level_of:
            problems.append(f"{where}: includes unknown folder '{other}'")
        elif level_of[other] >= level_of[folder]:
            direction = "sideways" if level_of[other] == level_of[folder] else "up"
            problems.append(f"{where}: {folder} (level {level_of[folder]}) includes {other} (level {level_of[other]}): {direction}")
        if match.group(1) and (root / "include/trireme" / line.split('"')[1]).exists():
            problems.append(f"{where}: a public header is included by <trireme/...>")
if len(hdf5_files) > HDF5_OWNER_LIMIT:
    problems.append("hdf5.h is included by more than one file: " + ", ".join(hdf5_files))

if len(files) < 10:
    problems.append(f"only {len(files)} files found below {root}: the test looks at the wrong place")
print("\n".join(problems) or f"{len(files)} files keep to the layers")
sys.exit(1 if problems else 0)
