#!/usr/bin/env python3
"""Random files of every format, encrypted by a real sops, decrypted by it and by tokenctl: the same values. Then the same files changed: both refuse.

usage: sops_decrypt.py SOPS TOKENCTL KEY-FILE SEED COUNT

YAML and INI are compared by what sops itself makes of both results (encrypted once more and decrypted), without comments; JSON and dotenv by their values; binary files by
their bytes. A file on which they differ is made shorter, line by line, as long as they differ, and then shown.
"""
import base64
import json
import os
import random
import re
import subprocess
import sys
import tempfile

SOPS, TOKENCTL, KEY = sys.argv[1:4]
SEED, COUNT = int(sys.argv[4]), int(sys.argv[5])
RECIPIENT = re.search(r"age1[0-9a-z]+", open(KEY, encoding="ascii").read()).group(0)
ENVIRONMENT = dict(os.environ, SOPS_AGE_KEY_FILE=KEY)
WORDS = ["x", "héllo", "a b", "a: b", "a #b", "123", "1e3", "true", "yes", "~", "null", "2001-01-01", "ENC[x]", "ENC[AES256_GCM,data:x]", "", " lead", "trail ", "-", "- x",
         "[a]", "{a}", "&a", "*a", "!t", "%x", "@x", "`x`", "'q'", '"q"', "back\\slash", "\t", "\u2028", "\U0001f511", "0x1f", "0o17", "017", "1_000", ".5", "-.inf", "=", "<<",
         "a\nb", "a\nb\n", "\na", " a\nb", "a\n\n", "a\r\nb", "---", "x" * 300, "a,b", "k:v", "12:30:45", "1.", "+1", "0b1", "\x7f", "\u00a0"]
PLAIN = ["1", "-7", "0", "1.0", "-0.0", "-0", "3.14", "1e400", "1e3", "6.02e23", "1.5e-9", "123456789012", "9223372036854775807", "0x1F", "0o17", "017", "1_000", "true", "True", "FALSE",
         "yes", "off", "null", "~", "", "plain text", "http://x/y", "12:30", "ENC[x]", ".inf", "[]", "{}", "[1, two, '3']", "{a: 1, b: {c: d}}", "1.", "+12", "1e6", "100000.0", "1234567.0"]


def run(*words, data=None):
    return subprocess.run(words, input=data, capture_output=True, env=ENVIRONMENT, timeout=60, check=False)


class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)
        self.comments = 0

    def word(self):
        return self.r.choice(WORDS) if self.r.random() < 0.7 else "".join(self.r.choice("abcXYZ 019_-.:#é\\\"'") for _ in range(self.r.randrange(1, 30)))

    def key(self, index):
        name = self.r.choice(["k", "Key", "a b", "a:b", "a.b", "a/b", "é", "x_unencrypted", "port", "on1", "list"])
        return f"{name}{index}" if not name.endswith("_unencrypted") else f"k{index}_unencrypted"

    def comment(self, indent=""):
        self.comments += 1
        return f"{indent}# cmt{self.comments}"

    def scalar(self, indent):
        kind = self.r.randrange(10)
        if kind < 4:
            return self.r.choice(PLAIN)
        if kind < 8:
            return json.dumps(self.word(), ensure_ascii=self.r.random() < 0.5).replace("\x7f", "\\u007f").replace("\u2028", "\\u2028")
        if kind == 8:
            return "'" + self.word().replace("'", "''").replace("\n", " ").replace("\r", "").replace("\t", " ").replace("\x7f", "").replace("\u2028", "") + "'"
        return self.r.choice("|>") + self.r.choice(["", "-"]) + "".join(f"\n{indent}    {line}" for line in self.r.choice([["one", "two"], ["one", "  deep", "", "end"], ["# no comment"]]))

    def yaml_map(self, depth, indent):
        lines = []
        for index in range(self.r.randrange(1, 5)):
            if self.r.random() < 0.15:
                lines.append(self.comment(indent))
            key = json.dumps(self.key(index), ensure_ascii=False) if self.r.random() < 0.5 else f"k{index}"
            kind = self.r.random()
            if depth and kind < 0.2:
                lines += [f"{indent}{key}:", *self.yaml_map(depth - 1, indent + "  ")]
            elif depth and kind < 0.35:
                lines += [f"{indent}{key}:", *self.yaml_list(depth - 1, indent + "  ")]
            else:
                value = self.scalar(indent)
                inline = self.comment("  ") if self.r.random() < 0.1 and value and value[0] not in "|>" else ""
                lines.append(f"{indent}{key}: {value}{inline}")
        return lines

    def yaml_list(self, depth, indent):
        lines = []
        for _ in range(self.r.randrange(1, 4)):
            if depth and self.r.random() < 0.3:
                inner = self.yaml_map(depth - 1, indent + "  ")
                while inner and inner[0].lstrip().startswith("#"):
                    inner = inner[1:]
                lines += [f"{indent}- {inner[0].lstrip()}", *inner[1:]] if inner else []
            else:
                lines.append(f"{indent}- {self.scalar(indent)}")
            if self.r.random() < 0.1:
                lines.append(self.comment(indent))
        return lines

    def yaml(self):
        documents = ["\n".join(self.yaml_map(3, "")) for _ in range(2 if self.r.random() < 0.15 else 1)]
        return ("\n---\n".join(documents) + "\n").encode()

    def value(self, depth):
        kind = self.r.random()
        if depth and kind < 0.2:
            return {self.key(i): self.value(depth - 1) for i in range(self.r.randrange(0, 5))}
        if depth and kind < 0.3:
            return [self.value(depth - 1) for _ in range(self.r.randrange(0, 5))]
        if kind < 0.7:
            return self.word()
        return self.r.choice([0, 1, -7, 1.5, 1e300, 1e-9, 2**53, 9007199254740993, True, False, None, 1e21, 100000.5])

    def json(self):
        document = {self.key(i): self.value(3) for i in range(self.r.randrange(1, 6))}
        return json.dumps(document, ensure_ascii=self.r.random() < 0.5, indent=self.r.choice([None, 1, 4])).encode()

    def dotenv(self):
        lines = []
        for index in range(self.r.randrange(1, 7)):
            lines.append(self.r.choice([f"K{index}=" + self.word().replace("\n", "\\n"), f"export K{index}='v # {index}'", f"K{index} = a=b", f"# cmt{index}", "", f"K{index}_unencrypted=x"]))
        return (self.r.choice(["\n", "\r\n"]).join(lines) + self.r.choice(["", "\n"])).encode()

    def ini(self):
        lines = []
        for section in range(self.r.randrange(1, 4)):
            lines += [f"; cmt{section}", f"[section {section}]"]
            for index in range(self.r.randrange(0, 4)):
                lines.append(f"key{index} {self.r.choice('=:')} {self.r.choice(['v', '1', 'a b', '`a;b`', '`a#b`', 'é', chr(34) + 'q q' + chr(34), 'true', '', 'x=y', 'http://x'])}")
        return ("\n".join(lines) + "\n").encode()

    def binary(self):
        return self.r.randbytes(self.r.choice([1, 100, 5000])) if self.r.random() < 0.6 else self.word().encode() + b"\n"


ENDINGS = {"yaml": ".yaml", "json": ".json", "dotenv": ".env", "ini": ".ini", "binary": ".bin"}


def sops(mode, kind, data, directory):
    path = os.path.join(directory, "file" + ENDINGS[kind])
    with open(path, "wb") as file:
        file.write(data)
    words = ["--encrypt", "--age", RECIPIENT] if mode == "encrypt" else ["--decrypt"]
    return run(SOPS, *words, path)


def ours(kind, data, directory):
    path = os.path.join(directory, "ours" + ENDINGS[kind])
    with open(path, "wb") as file:
        file.write(data)
    return run(TOKENCTL, "decrypt", "-i", KEY, path)


def meaning(kind, data, directory):
    """What the values are; None: sops cannot read it."""
    if kind == "binary":
        return data
    if kind == "json":
        return json.loads(data, object_pairs_hook=lambda pairs: [("map", *pairs)], parse_float=float)
    if kind == "dotenv":
        return [line for line in data.split(b"\n") if line]
    again = sops("encrypt", kind, data, directory)
    if again.returncode:
        return None
    text = sops("decrypt", kind, again.stdout, directory).stdout.decode()
    return [line for line in re.sub(r"[ \t]*[#;] ?cmt\d+", "", text).split("\n") if line.strip()]


def differ(kind, data, directory):
    """None: not to be encrypted. Else what is wrong, or ""."""
    encrypted = sops("encrypt", kind, data, directory)
    if encrypted.returncode:
        return None, b""
    theirs = sops("decrypt", kind, encrypted.stdout, directory)
    if theirs.returncode:
        return None, b""
    mine = ours(kind, encrypted.stdout, directory)
    if mine.returncode:
        return f"tokenctl refuses: {mine.stderr.decode(errors='replace')}", encrypted.stdout
    left, right = meaning(kind, theirs.stdout, directory), meaning(kind, mine.stdout, directory)
    if left is None:
        return None, b""
    if left != right:
        return f"sops:\n{theirs.stdout!r}\ntokenctl:\n{mine.stdout!r}", encrypted.stdout
    return "", encrypted.stdout


def shrink(kind, data, directory):
    """Drops lines as long as the two still differ."""
    lines, index = data.split(b"\n"), 0
    while index < len(lines):
        fewer = b"\n".join(lines[:index] + lines[index + 1:])
        if fewer and differ(kind, fewer, directory)[0]:
            lines = fewer.split(b"\n")
        else:
            index += 1
    return b"\n".join(lines)


def change(chooser, encrypted):
    """The file with one bit of a ciphertext changed; None when it has none."""
    # sops reads the metadata of the first YAML document only: a MAC may be one that nobody looks at.
    values = [match for match in re.finditer(rb"(?<!mac: )(?<!sops_mac=)ENC\[AES256_GCM,data:([^,]+),iv:[^\]]+type:(?:str|int|float|bool)\]", encrypted)]
    if not values:
        return None
    value = chooser.choice(values)
    data = bytearray(base64.b64decode(value.group(1)))
    data[chooser.randrange(len(data))] ^= 1 << chooser.randrange(8)
    return encrypted[:value.start(1)] + base64.b64encode(data) + encrypted[value.end(1):]


def main():
    directory = tempfile.mkdtemp(dir=os.environ.get("TMPDIR"))
    counts = {kind: [0, 0] for kind in ENDINGS}
    refused = 0
    for number in range(COUNT):
        kind = list(ENDINGS)[number % 5]
        maker = Maker(f"{SEED}/{number}")
        data = getattr(maker, kind)()
        wrong, encrypted = differ(kind, data, directory)
        if wrong is None:
            counts[kind][1] += 1
            continue
        if wrong:
            small = shrink(kind, data, directory)
            sys.exit(f"seed {SEED}, file {number}, {kind}: {differ(kind, small, directory)[0] or wrong}\nof the file:\n{small!r}")
        counts[kind][0] += 1
        changed = change(maker.r, encrypted)
        if changed is None:
            continue
        mine = ours(kind, changed, directory)
        if mine.returncode != 7 or mine.stdout:
            sys.exit(f"seed {SEED}, file {number}, {kind}: a changed file gave {mine.returncode} {mine.stdout!r}:\n{changed.decode(errors='replace')}")
        refused += 1
    for kind, (same, left) in counts.items():
        if same <= left:
            sys.exit(f"seed {SEED}: of {same + left} {kind} files sops took only {same}: the test shows nothing")
    total = sum(same for same, _ in counts.values())
    print(f"seed {SEED}: {total} files the same ({', '.join(f'{kind} {same}' for kind, (same, _) in counts.items())}; sops itself did not take {sum(left for _, left in counts.values())}), {refused} changed files refused")


main()
