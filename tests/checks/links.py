#!/usr/bin/env python3
"""What the released programs link, and how they are hardened. usage: links.py DIRECTORY-OF-PROGRAMS"""
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

import tree

BASE = {"libc", "ld-linux-x86-64", "ld-linux-aarch64", "libm", "libgcc_s"}
# Nothing that is not in its row: the broker holds no TPM and no PKCS#11 code, the clients start fast, the helpers parse nothing.
ALLOWED = {
    "tokend": {"libsystemd", "libsodium", "libjansson", "libnghttp2", "libseccomp"},
    "tokenctl": {"libsodium", "libjansson"},
    "age-plugin-tokend": {"libsodium", "libjansson"},
    "tokend-tpm": {"libtss2-esys", "libtss2-mu", "libtss2-tctildr", "libtss2-sys", "libtss2-rc", "libcrypto", "libsodium", "libseccomp"},
}


def readelf(*arguments):
    return subprocess.run(["readelf", "-W", *map(str, arguments)], capture_output=True, text=True, check=True).stdout


def libraries(program):
    return {name.split(".so")[0] for name in re.findall(r"\(NEEDED\).*\[(.*)\]", readelf("-d", program))}


def main_of(program):
    """Its first instructions. The note of the whole program says nothing: the C library's own start files carry no mark in Debian 12."""
    return subprocess.run(["objdump", "-d", "--no-show-raw-insn", "--disassemble=main", str(program)], capture_output=True, text=True, check=True).stdout


def hardening(program):
    header, segments, dynamic, symbols = (readelf(option, program) for option in ("-h", "-l", "-d", "--dyn-syms"))
    stack = re.search(r"GNU_STACK\s+(?:0x\w+\s+){5}(\S+)", segments)
    facts = {
        "is not position-independent": bool(re.search(r"Type:\s+DYN", header)),
        "has an executable stack": bool(stack) and "E" not in stack.group(1),
        "has no RELRO": "GNU_RELRO" in segments,
        "binds symbols lazily": "BIND_NOW" in dynamic or re.search(r"FLAGS_1\).*\bNOW\b", dynamic) is not None,
        "has a search path for libraries": not re.search(r"\((RPATH|RUNPATH)\)", dynamic),
        "has no stack protector": "__stack_chk_fail" in symbols,
        "has writable code": not re.search(r"LOAD\s+(?:0x\w+\s+){5}RWE", segments),
        "is not fortified": "_chk@" in symbols.replace("__stack_chk_fail@", ""),
    }
    if platform.machine() == "x86_64":
        facts["is built without control-flow protection"] = "endbr64" in main_of(program)
    return [complaint for complaint, right in facts.items() if not right]


def check_program(program, allowed):
    problems = [f"{program.name} links {name}" for name in sorted(libraries(program) - BASE - allowed)]
    return problems + [f"{program.name} {complaint}" for complaint in hardening(program)]


def check(directory):
    directory = pathlib.Path(directory)
    problems = [f"{name} is not in {directory}" for name in ALLOWED if not (directory / name).is_file()]
    for program in sorted(directory.iterdir()) if directory.is_dir() else []:
        if program.is_symlink() or not program.is_file():
            continue
        if program.name not in ALLOWED:
            problems.append(f"{program.name} has no row here: say what it may link")
            continue
        problems += check_program(program, ALLOWED[program.name])
    return problems


SOURCE = """#include <stdio.h>
#include <string.h>

int main(int count, char **words)
{
	char copy[16];
	snprintf(copy, sizeof(copy) + (size_t)count - 1, "%s", words[0]);
	memcpy(copy, words[0], (size_t)count);
	return puts(copy);
}
"""
RIGHT = ["-O2", "-fPIE", "-D_FORTIFY_SOURCE=2", "-fstack-protector-strong", "-fcf-protection=full", "-pie",
         "-Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code"]


def without(*flags):
    return [flag for flag in RIGHT if flag not in flags]


# Flags, and the word that the complaint has to have.
SEEDS = {
    "libcrypto": (RIGHT + ["-Wl,--no-as-needed", "-lcrypto"], "links libcrypto"),
    "libsystemd": (RIGHT + ["-Wl,--no-as-needed", "-lsystemd"], "links libsystemd"),
    "no PIE": (without("-fPIE", "-pie") + ["-fno-pie", "-no-pie"], "position-independent"),
    "lazy": (without("-Wl,-z,relro,-z,now,-z,noexecstack,-z,separate-code") + ["-Wl,-z,relro,-z,lazy"], "lazily"),
    "no RELRO": (RIGHT + ["-Wl,-z,norelro"], "RELRO"),
    "stack": (RIGHT + ["-Wl,-z,execstack"], "executable stack"),
    "search path": (RIGHT + ["-Wl,-rpath,/opt/lib"], "search path"),
    "no protector": (RIGHT + ["-fno-stack-protector"], "stack protector"),
    "not fortified": (without("-D_FORTIFY_SOURCE=2") + ["-U_FORTIFY_SOURCE"], "fortified"),
    "no control-flow protection": (without("-fcf-protection=full") + ["-fcf-protection=none"], "control-flow"),
}


def compile_seed(directory, flags):
    program = pathlib.Path(directory) / "tokenctl"
    subprocess.run(["gcc", "-x", "c", "-", "-o", str(program), *flags], input=SOURCE, text=True, check=True, capture_output=True)
    return check_program(program, ALLOWED["tokenctl"])


def negative_controls():
    noticed = 0
    with tempfile.TemporaryDirectory() as directory:
        problems = compile_seed(directory, RIGHT)
        if problems:
            tree.fail([f"a hardened program was refused: {problem}" for problem in problems])
        for name, (flags, word) in SEEDS.items():
            if platform.machine() != "x86_64" and "control-flow" in name:
                continue
            if not any(word in problem for problem in compile_seed(directory, flags)):
                tree.fail([f"negative control '{name}': the check did not notice it"])
            noticed += 1
    if not check("/nonexistent"):
        tree.fail(["negative control 'missing programs': the check did not notice it"])
    return noticed + 1


count = negative_controls()
found = check(sys.argv[1])
if found:
    tree.fail(found)
print(f"{count} of {count} seeded bad programs noticed; the programs are as they should be")
