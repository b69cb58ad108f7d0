#!/usr/bin/env python3
"""Prints how long functions are, folder by folder, and refuses those that nobody reads in one go. usage: lengths.py ROOT"""
import statistics
import sys

import tree

LONGEST = 60
MEDIAN = 15
NINETIETH = 55
# "file:function" to the reason why it is better in one piece.
REASONS = {}


def functions(text):
    """(name, line, lines) of each function. The layout makes it easy: the opening and the closing brace of a function stand alone in the first column."""
    lines = tree.blank(text).split("\n")
    start = None
    for number, line in enumerate(lines):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            first = start
            while first > 0 and lines[first - 1].strip() and not lines[first - 1].rstrip().endswith((";", "}")) and not lines[first - 1].startswith("#"):
                first -= 1
            name = " ".join(lines[first:start]).split("(")[0].split()[-1:] or ["?"]
            yield name[0].lstrip("*"), first + 1, number - start + 2
            start = None


def ninetieth(lengths):
    return sorted(lengths)[max(0, -(-len(lengths) * 9 // 10) - 1)]


def measure(root):
    found = {}
    for path in tree.files(root, tree.PRODUCT + ("tests",), (".c",)):
        for name, line, length in functions(tree.read(root, path)):
            found.setdefault(path.parts[0], []).append((length, f"{path}:{line}: {name}", f"{path}:{name}"))
    return found


def check(root):
    problems = []
    product = []
    for folder, entries in measure(root).items():
        if folder not in tree.PRODUCT:
            continue
        product += [entry[0] for entry in entries]
        problems += [f"{where} has {length} lines" for length, where, key in entries if length > LONGEST and key not in REASONS]
    if product and statistics.median(product) > MEDIAN:
        problems.append(f"half of the functions have more than {MEDIAN} lines")
    if product and ninetieth(product) > NINETIETH:
        problems.append(f"one in ten functions has more than {NINETIETH} lines")
    return problems


def show(root):
    print(f"{'folder':10} {'functions':>9} {'median':>7} {'90th':>5} {'longest':>8} {'lines of C':>11}")
    everything = measure(root)
    product = [entry for folder in tree.PRODUCT for entry in everything.get(folder, [])]
    for folder, entries in [*((folder, everything[folder]) for folder in (*tree.PRODUCT, "tests") if folder in everything), ("product", product)]:
        lengths = [entry[0] for entry in entries]
        folders = tree.PRODUCT if folder == "product" else (folder,)
        code = sum(1 for path in tree.files(root, folders) for line in tree.blank(tree.read(root, path)).split("\n") if line.strip())
        if lengths:
            print(f"{folder:10} {len(lengths):9} {statistics.median(lengths):7g} {ninetieth(lengths):5} {max(lengths):8} {code:11}")


def function_of(lines):
    return "int f(void)\n{\n" + "\tg();\n" * (lines - 3) + "}\n"


GOOD = {"common/good.c": "#include <x.h>\n\n" + "\n".join(function_of(12) for _ in range(9)) + function_of(60)}
BAD = {
    "one too long": {"tpm/bad.c": function_of(61)},
    "half too long": {"tpm/bad.c": "\n".join(function_of(20) for _ in range(30))},
    "one in ten too long": {"tpm/bad.c": "\n".join(function_of(58) for _ in range(3))},
}

show(sys.argv[1])
tree.run_check(check, sys.argv[1], BAD, GOOD)
