#!/usr/bin/env python3
"""Functions and habits that the code does without. usage: banned.py ROOT"""
import re
import sys

import tree

FUNCTIONS = {
    "strcpy": "no length", "strcat": "no length", "stpcpy": "no length", "strncpy": "leaves strings without an end",
    "strncat": "its length is not the buffer's", "sprintf": "no length", "vsprintf": "no length", "gets": "no length",
    "scanf": "no length and no errors", "fscanf": "no errors",
    "atoi": "no errors", "atol": "no errors", "atoll": "no errors", "atof": "no errors",
    "system": "runs a shell", "popen": "runs a shell", "alloca": "no errors", "strtok": "hidden state",
    "realloc": "leaves copies behind",
    "mktemp": "races", "tmpnam": "races", "tempnam": "races", "rand": "is not random", "random": "is not random", "srand": "is not random",
    "vfork": "shares memory with the child", "setjmp": "skips cleanup", "longjmp": "skips cleanup",
    "asctime": "hidden state", "ctime": "hidden state", "gmtime": "hidden state; gmtime_r", "localtime": "hidden state; localtime_r",
    "bzero": "the compiler may drop it; secret_wipe", "dlopen": "loads code; one place only",
}
# Where a banned function has its one place, and why that is right.
EXCEPTIONS = {
    ("common/buf.c", "realloc"): "the buffer wipes what it leaves",
    ("tpm/tcti.c", "dlopen"): "the one TCTI that the configuration names, before the sandbox shuts",
    ("tpm/wiped_heap.c", "realloc"): "it is the realloc that wipes",
    ("formats/dynamic_library.c", "dlopen"): "libcrypto where bulk pays; libnettle, libpcre2 and libfyaml for a SOPS file whose rule is a pattern, or that is YAML",
}
CALL = re.compile(r"(?<![\w.>])(" + "|".join(FUNCTIONS) + r")[ \t\n]*\(")
PRINTS = re.compile(r"\b(?:[fd]?printf|v?sn?printf|v?asprintf|buf_printf|table_printf|problem_printf|log_\w+|sd_journal_\w+|perror|puts|fputs|warnx?|errx?)[ \t\n]*\(")
SECRET_IN_PRINT = re.compile(r"\bsecret_(?:reveal|fill)[ \t\n]*\(")
UNFINISHED = re.compile(r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")) + r")\b")


def call_text(text, opening):
    """From the opening parenthesis to the one that closes it."""
    depth = 0
    for position in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return text[opening:position]
    return text[opening:]


def line_comments(original):
    for match in tree.LITERAL.finditer(original):
        if match.group(0).startswith("//"):
            yield match.start()


def check_product(path, text):
    for match in CALL.finditer(text):
        if (str(path), match.group(1)) not in EXCEPTIONS:
            yield match.start(), f"{match.group(1)}: {FUNCTIONS[match.group(1)]}"
    for match in PRINTS.finditer(text):
        if SECRET_IN_PRINT.search(call_text(text, match.end() - 1)):
            yield match.start(), "a secret is printed"


def check_file(path, original):
    # Tests know their input, and what they reveal is no secret.
    if path.parts[0] != "tests":
        yield from check_product(path, tree.blank(original))
    for position in line_comments(original):
        yield position, "a comment that begins with two slashes"
    for match in UNFINISHED.finditer(original):
        yield match.start(), f"{match.group(0)}: finish it"


def check(root):
    problems = []
    for path in tree.files(root, tree.PRODUCT + ("tests",)):
        original = tree.read(root, path)
        for position, what in check_file(path, original):
            problems.append(f"{path}:{tree.line_of(original, position)}: {what}")
    return problems


GOOD = {
    "common/good.c": 'int x(void)\n{\n\t/* strcpy(a, b) is banned; see http://example.org */\n\treturn token->system(1) + f("sprintf(");\n}\n',
    "common/buf.c": "void *y(void *p)\n{\n\treturn realloc(p, 2);\n}\n",
}
BAD = {name: {"tokend/bad.c": f"void f(void)\n{{\n\t{line}\n}}\n"} for name, line in {
    "strcpy": "strcpy(a, b);", "sprintf": 'sprintf (a, "%s", b);', "realloc": "p = realloc(p, 1);", "system": 'system("ls");', "atoi": "n = atoi(s);",
    "line comment": "x(); // why", "unfinished": "/* " + "TO" + "DO later */", "gets": "gets(s);", "strtok": 'strtok(s, ",");', "alloca": "alloca(7);",
    "a secret printed": 'log_info("%s",\n\t\t(const char *)secret_reveal(s).data);',
}.items()}

tree.run_check(check, sys.argv[1], BAD, GOOD)
