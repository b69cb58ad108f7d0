#!/usr/bin/env python3
"""Every header compiles alone, with gcc and with clang, and twice in a row. usage: headers.py ROOT"""
import shutil
import subprocess
import sys

import tree

COMPILERS = ("gcc", "clang")
MODULES = ("libsodium", "jansson", "libcrypto", "libsystemd", "libseccomp", "tss2-esys", "cmocka")
FLAGS = ["-std=gnu17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wundef", "-Wstrict-prototypes", "-D_GNU_SOURCE", '-DTOKEND_VERSION="0"',
         "-fsyntax-only", "-x", "c", "-"]


def library_flags():
    result = subprocess.run(["pkg-config", "--cflags", *MODULES], capture_output=True, text=True, check=True)
    return result.stdout.split()


LIBRARY_FLAGS = library_flags()


def check(root):
    problems = []
    for path in tree.files(root, tree.PRODUCT + ("tests",), (".h",)):
        for compiler in COMPILERS:
            result = subprocess.run([compiler, "-I", str(root), *LIBRARY_FLAGS, *FLAGS], input=f'#include "{path}"\n#include "{path}"\n',
                                    capture_output=True, text=True, check=False)
            if result.returncode:
                first = next((line for line in result.stderr.splitlines() if "error" in line), result.stderr[:200])
                problems.append(f"{path} does not compile alone with {compiler}: {first}")
    return problems


for program in COMPILERS:
    if not shutil.which(program):
        tree.skip(f"the compiler {program} is not installed")

GOOD = {"common/good.h": "#pragma once\n#include <stddef.h>\nsize_t f(void);\n"}
BAD = {
    "a type that is not included": {"common/bad.h": "#pragma once\nsize_t f(void);\n"},
    "no guard": {"common/bad.h": "struct x {\n\tint y;\n};\n"},
    "no prototype": {"common/bad.h": "#pragma once\nint f();\n"},
}
tree.run_check(check, sys.argv[1], BAD, GOOD)
