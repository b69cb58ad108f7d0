"""What the checks share: the files of the tree, C source without its comments, and the seeded bad trees that prove a check can fail.

A check is a function from a root directory to a list of problems, "file:line: what is wrong". run_check() first gives it every bad tree (it has to
find something in each) and the good one (it has to find nothing); only then the project.
"""
import pathlib
import re
import sys
import tempfile

PRODUCT = ("common", "formats", "tokend", "tpm", "pkcs11", "cli")
LEFT_OUT = {"build", ".git", "__pycache__"}


def files(root, folders=None, endings=(".c", ".h")):
    """Sorted paths relative to root."""
    root = pathlib.Path(root)
    found = []
    for path in root.rglob("*"):
        relative = path.relative_to(root)
        if relative.parts[0] in LEFT_OUT or "__pycache__" in relative.parts or not path.is_file() or path.is_symlink():
            continue
        if folders is not None and relative.parts[0] not in folders:
            continue
        if endings is None or path.suffix in endings:
            found.append(relative)
    return sorted(found)


def read(root, path):
    return (pathlib.Path(root) / path).read_text(encoding="utf-8", errors="replace")


LITERAL = re.compile(
    r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'',
    re.DOTALL,
)


def blank(text, comments=True, strings=True):
    """The same text with comments and the insides of literals turned into spaces; lines stay where they are."""

    def replace(match):
        piece = match.group(0)
        if piece.startswith("/"):
            return re.sub(r"[^\n]", " ", piece) if comments else piece
        return piece[0] + " " * (len(piece) - 2) + piece[-1] if strings else piece

    return LITERAL.sub(replace, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def plant(directory, contents):
    for name, text in contents.items():
        path = pathlib.Path(directory) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(77)


def fail(problems):
    for problem in problems:
        print(problem)
    print(f"FAIL: {len(problems)} problem{'s' if len(problems) != 1 else ''}; the first: {problems[0]}")
    sys.exit(1)


def run_check(check, root, bad, good):
    """bad: name to tree; good: one tree. A tree is file name to text."""
    for name, contents in bad.items():
        with tempfile.TemporaryDirectory() as directory:
            plant(directory, {**good, **contents})
            if not check(directory):
                fail([f"negative control '{name}': the check did not notice it"])
    with tempfile.TemporaryDirectory() as directory:
        plant(directory, good)
        problems = check(directory)
        if problems:
            fail([f"the good tree was refused: {problem}" for problem in problems])
    problems = check(root)
    if problems:
        fail(problems)
    print(f"{len(bad)} of {len(bad)} seeded bad trees noticed; the project is clean")
