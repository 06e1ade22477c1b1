#!/usr/bin/env python3
"""Counts what the tests of this run skipped; any reason but the known ones is an error.

Usage: skips.py FOLDER   with the gtest XML files and the skips.log of this run (see tests/support/runs.py).
"""
import pathlib
import sys
import xml.etree.ElementTree as xml

VALID = ("no GPU", "namespaces refused", "needs --peers")

folder = pathlib.Path(sys.argv[1])
skips, tests = [], 0
for path in sorted(folder.glob("*.xml")):
    for case in xml.parse(path).getroot().iter("testcase"):
        tests += 1
        for skipped in case.iter("skipped"):
            skips.append((f"{case.get('classname')}.{case.get('name')}", skipped.get("message", "").strip()))
log = folder / "skips.log"
if log.exists():
    skips += [tuple(line.split("\t", 1)) for line in log.read_text().splitlines()]
bad = 0
for name, reason in skips:
    valid = reason.splitlines()[-1] in VALID if reason else False
    bad += not valid
    print(f"{'skipped' if valid else 'NOT ALLOWED'}: {name}: {reason or 'without a reason'}")
print(f"{tests} cases read, {len(skips)} skips, {bad} not allowed")
sys.exit(1 if bad or tests == 0 else 0)
