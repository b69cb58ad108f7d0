#!/usr/bin/env python3
"""Every shell program parses, is strict about errors, and calls only functions that are there. usage: shell.py ROOT"""
import functools
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


HEREDOC = re.compile(r"<<-?[ \t]*['\"]?(\w+)['\"]?.*?^\t*\1$", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"'[^']*'|\(\(.*?\)\)|(?:^|(?<=\s))#[^\n]*", re.MULTILINE)
# A word of our own where a command stands. Programs of that shape (with an underscore) there are none in these files.
CALLED = re.compile(r"(?:^|[;&|(]|\b(?:then|else|do|if|while|until|!|\{))[ \t]*([a-z]+(?:_[a-z]+)+)(?=[ \t;)]|$)", re.MULTILINE)
DEFINED = re.compile(r"^[ \t]*(\w+)\(\)", re.MULTILINE)


@functools.cache
def libraries(root):
    return tree.files(root, endings={".sh"})


def sourced(root, path):
    """The text of the file and of what it sources, found by name."""
    text = tree.read(root, path)
    names = set(SOURCES.findall(text)) | set(re.findall(r"shellcheck source=\S*?([\w.-]+\.sh)", text))
    return text + "".join(sourced(root, other) for other in libraries(root) if other.name in names and other != path)


def undefined(root, path):
    """Bash finds out about a function that is not there only when it comes to the line."""
    called = set(CALLED.findall(QUOTED.sub("", HEREDOC.sub("", tree.read(root, path)))))
    return sorted(called - set(DEFINED.findall(sourced(root, path))))


def check(root):
    problems = []
    for path, is_program in programs(root):
        result = subprocess.run(["bash", "-n", str(pathlib.Path(root) / path)], capture_output=True, text=True, check=False)
        if result.returncode:
            problems.append(f"{path}: {result.stderr.strip().splitlines()[-1]}")
        if is_program and not is_strict(root, path):
            problems.append(f"{path}: does not say set -euo pipefail")
        if is_program:
            problems += [f"{path}: calls {name}, which is not there" for name in undefined(root, path)]
    return problems


GOOD = {"tools/good": "#!/bin/bash\nset -euo pipefail\ntrue\n", "tests/good.sh": "true\n", "tools/calls": "#!/bin/bash\nset -euo pipefail\nown_one() { :; }\nif true; then own_one; fi\n",
        "tests/strict.sh": "set -euo pipefail\n", "tests/test.sh": '#!/bin/bash\n. "$(dirname "$0")/strict.sh"\n'}
BAD = {"syntax": {"tools/bad": "#!/bin/bash\nset -euo pipefail\nif true; then\n"}, "not strict": {"tools/bad": "#!/bin/bash\nfalse\n"},
       "sources what is not strict": {"tests/bad.sh": '#!/bin/bash\n. "$(dirname "$0")/good.sh"\n'}, "a library": {"tests/bad.sh": "f() {\n"},
       "a lost function": {"tools/bad": "#!/bin/bash\nset -euo pipefail\nif true; then lost_one; fi\n"}}
tree.run_check(check, sys.argv[1], BAD, GOOD)
