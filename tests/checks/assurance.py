#!/usr/bin/env python3
"""docs/ASSURANCE.md names only tests and seeded defects that are there; each row has a test, a control and a figure; each seeded defect is in a row. usage: assurance.py ROOT"""
import pathlib
import re
import sys

import tree

TIERS = ("checks", "unit", "fuzz", "integration", "interop", "vm")
NAME = re.compile(r"`((?:%s|defect|bench)\.[\w.-]+)`" % "|".join(TIERS))


def exists(root, name):
    """unit.test_x is tests/unit/test_x.c; integration.x.part is a part of tests/integration/x, or of test_tpm_x; fuzz.run.fuzz_x is tests/fuzz/fuzz_x run for a while."""
    tier, rest = name.split(".", 1)
    if tier == "defect":
        return (root / "tests" / "defects" / f"{rest}.patch").is_file()
    if tier == "bench":
        return re.search(rf"^bench_{re.escape(rest)}\(\)", tree.read(root, "tools/bench"), re.MULTILINE) is not None
    stem = rest.removeprefix("run.").split(".")[0]
    return any(stem in (path.stem, path.stem.removeprefix("test_tpm_")) for path in (root / "tests" / tier).glob("*"))


def rows(root):
    """Line number and cells of each row of each table."""
    for number, line in enumerate(tree.read(root, "docs/ASSURANCE.md").splitlines(), 1):
        if line.startswith("|") and not line.startswith(("| promise |", "|--", "| id |")):
            yield number, [cell.strip() for cell in line.strip().strip("|").split(" | ")]


def check(root):
    root = pathlib.Path(root)
    problems, named = [], set()
    for number, cells in rows(root):
        where = f"docs/ASSURANCE.md:{number}"
        if len(cells) < 4 or not all(cells):
            problems.append(f"{where}: a row has a promise, a test, a control and a figure")
        for name in NAME.findall(" ".join(cells)):
            named.add(name)
            if not exists(root, name):
                problems.append(f"{where}: there is no {name}")
        if len(cells) > 1 and not NAME.search(cells[1]):
            problems.append(f"{where}: the row names no test")
    for path in sorted((root / "tests" / "defects").glob("*.patch")):
        if f"defect.{path.stem}" not in named:
            problems.append(f"tests/defects/{path.name}:1: no row of docs/ASSURANCE.md names it")
        test = re.search(r"^Test: *(\S+)", tree.read(root, path.relative_to(root)), re.MULTILINE)
        if not test or not exists(root, test.group(1)):
            problems.append(f"tests/defects/{path.name}:1: its test is not there")
    return problems


ROW = "| promise | test | control | last figure |\n|---|---|---|---|\n| x | `unit.test_x` | `defect.y` | 3 |\n"
GOOD = {
    "docs/ASSURANCE.md": ROW, "tests/unit/test_x.c": "", "tests/defects/y.patch": "Promise: x\nTest: unit.test_x\n", "tools/bench": "bench_z() {\n",
}
BAD = {
    "a test that is not there": {"docs/ASSURANCE.md": ROW.replace("test_x", "test_other")},
    "a row without a control": {"docs/ASSURANCE.md": ROW + "| x | `unit.test_x` | | 3 |\n"},
    "a row without a test": {"docs/ASSURANCE.md": ROW + "| x | by eye | `defect.y` | 3 |\n"},
    "a defect that is not there": {"docs/ASSURANCE.md": ROW + "| x | `unit.test_x` | `defect.z` | 3 |\n"},
    "a defect that no row names": {"tests/defects/z.patch": "Promise: x\nTest: unit.test_x\n"},
    "a defect without its test": {"tests/defects/y.patch": "Promise: x\nTest: unit.test_z\n"},
    "a bench that is not there": {"docs/ASSURANCE.md": ROW + "| x | `bench.other` | `defect.y` | 3 |\n"},
}

tree.run_check(check, sys.argv[1], BAD, GOOD)
