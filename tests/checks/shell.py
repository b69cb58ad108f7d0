#!/usr/bin/env python3
"""Every shell program parses, and is strict about errors. usage: shell.py ROOT"""
import pathlib
import re
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


SOURCES = re.compile(r"""^(?:\.|source)[ \t]+.*?/([\w.-]+\.sh)["']?[ \t]*$""", re.MULTILINE)


def says_strict(text):
    return any(line.startswith("set -eu") for line in text.splitlines())


def is_strict(root, path):
    """It says so itself, or the library beside it does, which it sources."""
    text = tree.read(root, path)
    beside = [path.parent / name for name in SOURCES.findall(text)]
    return says_strict(text) or any(says_strict(tree.read(root, library)) for library in beside if (pathlib.Path(root) / library).is_file())


def check(root):
    problems = []
    for path, is_program in programs(root):
        result = subprocess.run(["bash", "-n", str(pathlib.Path(root) / path)], capture_output=True, text=True, check=False)
        if result.returncode:
            problems.append(f"{path}: {result.stderr.strip().splitlines()[-1]}")
        if is_program and not is_strict(root, path):
            problems.append(f"{path}: does not say set -euo pipefail")
    return problems


GOOD = {"tools/good": "#!/bin/bash\nset -euo pipefail\ntrue\n", "tests/good.sh": "true\n",
        "tests/strict.sh": "set -euo pipefail\n", "tests/test.sh": '#!/bin/bash\n. "$(dirname "$0")/strict.sh"\n'}
BAD = {"syntax": {"tools/bad": "#!/bin/bash\nset -euo pipefail\nif true; then\n"}, "not strict": {"tools/bad": "#!/bin/bash\nfalse\n"},
       "sources what is not strict": {"tests/bad.sh": '#!/bin/bash\n. "$(dirname "$0")/good.sh"\n'}, "a library": {"tests/bad.sh": "f() {\n"}}
tree.run_check(check, sys.argv[1], BAD, GOOD)
