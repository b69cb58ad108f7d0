#!/usr/bin/env python3
"""clang-format would change nothing. usage: format.py ROOT"""
import pathlib
import shutil
import subprocess
import sys

import tree


def check(root):
    paths = [str(path) for path in tree.files(root, tree.PRODUCT + ("tests",))]
    if not paths:
        return []
    result = subprocess.run(["clang-format", "--dry-run", "-Werror", *paths], cwd=root, capture_output=True, text=True, check=False)
    changed = sorted({line.split(":")[0] for line in result.stderr.splitlines() if ": error:" in line})
    if result.returncode and not changed:
        return [f"clang-format failed: {result.stderr[:200]}"]
    return [f"{path}: clang-format would change it (clang-format -i {path})" for path in changed]


if not shutil.which("clang-format"):
    tree.skip("clang-format is not installed")

STYLE = pathlib.Path(sys.argv[1], ".clang-format").read_text(encoding="utf-8")
GOOD = {".clang-format": STYLE, "common/good.c": "int f(void)\n{\n\treturn 1;\n}\n"}
BAD = {"spaces": {"common/bad.c": "int f(void)\n{\n  return  1;\n}\n"}, "braces": {"tests/unit/bad.c": "int f(void) {\n\treturn 1;\n}\n"}}
tree.run_check(check, sys.argv[1], BAD, GOOD)
