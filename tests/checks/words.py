#!/usr/bin/env python3
"""No file of the project names a place that exists on one machine only. usage: words.py ROOT"""
import re
import sys

import tree

# Written in pieces, so that this file does not name them.
PLACES = re.compile("|".join((
    r"(?<![\w.])/" + r"work/\w", r"(?<![\w.$}])/" + r"root/\w", r"\.\./" + r"shared\b", r"/shared/" + r"reference", r"(?<![\w.$}])/" + r"home/(?!alice|you|user)\w",
    r"/tmp/" + r"bash_", r"/" + r"\.pyenv/", r"(?<!\w)reference/" + r"\w+\.md",
)))
BINARY_ENDINGS = {".png", ".age", ".bin", ".gz", ".zst"}


def check(root):
    problems = []
    for path in tree.files(root, endings=None):
        if path.suffix in BINARY_ENDINGS or path.parts[:3] == ("tests", "fuzz", "corpus"):
            continue
        text = tree.read(root, path)
        for match in PLACES.finditer(text):
            problems.append(f"{path}:{tree.line_of(text, match.start())}: '{match.group(0)}' exists on one machine only")
    return problems


GOOD = {"README.md": "Put it into $HOME/.config or /home/alice/keys; the network/root/cause, ${D}/root/x and framework/x are fine.\n"}
BAD = {name: {"docs/bad.md": text} for name, text in {
    "a workplace": "see /" + "work/main/x\n", "the home of root": "cp /" + "root/x .\n", "notes beside the tree": "see .." + "/shared\n",
    "someone's home": "/" + "home/builder/x\n", "a page that is not here": "see reference" + "/boot.md\n",
}.items()}

tree.run_check(check, sys.argv[1], BAD, GOOD)
