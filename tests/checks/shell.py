#!/usr/bin/env python3
"""Every shell program parses, and is strict about errors. usage: shell.py ROOT"""
import pathlib
import subprocess
import sys

import tree


def programs(root):
    """Files that begin as a bash or sh program, and the libraries they source."""
    for path in tree.files(root, endings=None):
        with open(pathlib.Path(root) / path, "rb") as file:
            first = file.readline(200)
        if first.startswith((b"#!/bin/bash", b"#!/usr/bin/env bash", b"#!/bin/sh")) or path.suffix == ".sh":
            yield path, first.startswith(b"#!")


def check(root):
    problems = []
    for path, is_program in programs(root):
        result = subprocess.run(["bash", "-n", str(pathlib.Path(root) / path)], capture_output=True, text=True, check=False)
        if result.returncode:
            problems.append(f"{path}: {result.stderr.strip().splitlines()[-1]}")
        if is_program and not any(line.startswith("set -eu") for line in tree.read(root, path).splitlines()):
            problems.append(f"{path}: does not say set -euo pipefail")
    return problems


GOOD = {"tools/good": "#!/bin/bash\nset -euo pipefail\ntrue\n", "tests/good.sh": "true\n"}
BAD = {"syntax": {"tools/bad": "#!/bin/bash\nset -euo pipefail\nif true; then\n"}, "not strict": {"tools/bad": "#!/bin/bash\nfalse\n"},
       "a library": {"tests/bad.sh": "f() {\n"}}
tree.run_check(check, sys.argv[1], BAD, GOOD)
