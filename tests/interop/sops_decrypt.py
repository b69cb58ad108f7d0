#!/usr/bin/env python3
"""Random files of every format, encrypted by a real sops, decrypted by it and by tokenctl: the same values. Then the same files changed: both refuse.

usage: sops_decrypt.py SOPS TOKENCTL KEY-FILE SEED COUNT [FIRST]

Each third file is a pack of several (sops_maker.py), and each fourth of the others is one that people type (sops_wide.py).

YAML is compared by what sops says of the file and of our result, encrypted once more, and INI by what it makes of both results, without comments; JSON and dotenv by their values; binary files by
their bytes. A file on which they differ is made smaller as long as they do (sops_shrink.py), and then shown.
"""
import base64
import json
import os
import re
import subprocess
import sys
import tempfile

from sops_maker import ENDINGS, Maker
from sops_shrink import shrink
from sops_wide import wide

SOPS, TOKENCTL, KEY = sys.argv[1:4]
SEED, COUNT = int(sys.argv[4]), int(sys.argv[5])
FIRST = int(sys.argv[6]) if len(sys.argv) > 6 else 0
PACKED = 24
# What docs/SOPS.md says that is refused, though sops takes it.
KNOWN = re.compile(rb"this key is there twice|a block \(\| or >\)")
RECIPIENT = re.search(r"age1[0-9a-z]+", open(KEY, encoding="ascii").read()).group(0)
ENVIRONMENT = dict(os.environ, SOPS_AGE_KEY_FILE=KEY)


def run(*words, data=None):
    return subprocess.run(words, input=data, capture_output=True, env=ENVIRONMENT, timeout=60, check=False)


def sops(mode, kind, data, directory, *more):
    path = os.path.join(directory, "file" + ENDINGS[kind])
    with open(path, "wb") as file:
        file.write(data)
    words = ["--encrypt", "--age", RECIPIENT] if mode == "encrypt" else ["--decrypt"]
    return run(SOPS, *words, *more, path)


def ours(kind, data, directory):
    path = os.path.join(directory, "ours" + ENDINGS[kind])
    with open(path, "wb") as file:
        file.write(data)
    return run(TOKENCTL, "decrypt", "-i", KEY, path)


def told(encrypted, directory):
    """What sops says that is in a YAML file, and the types of the values; None: 3.9 cannot write a file as JSON when a comment is the last thing in it."""
    shown = sops("decrypt", "yaml", encrypted, directory, "--output-type", "json")
    if shown.returncode:
        return None
    types = re.findall(rb"type:(?!comment|bytes)(\w+)\]", encrypted.replace(b"type:float]", b"type:int]"))  # it writes 1e3 as 1000 itself
    return types, json.loads(shown.stdout, object_pairs_hook=lambda pairs: [("map", *pairs)])


def meaning(kind, data, directory):
    """What the values are; None: sops cannot read it. Comments are none, also one that sops wrote and cannot open."""
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
    return [line for line in re.sub(r"[ \t]*[#;] ?(cmt\d+|ENC\[[^\]]*type:comment\])", "", text).split("\n") if line.strip()]


def differ(kind, data, directory):
    """None: not to be encrypted, or known: sops 3.9 loses the line feed that a text begins with. Else what is wrong, or ""."""
    if "sops-3.9." in SOPS and kind == "yaml" and b'"\\n' in data:
        return None, b""
    encrypted = sops("encrypt", kind, data, directory)
    if encrypted.returncode:
        return None, b""
    theirs = sops("decrypt", kind, encrypted.stdout, directory)
    if theirs.returncode:
        return None, b""
    mine = ours(kind, encrypted.stdout, directory)
    if mine.returncode and KNOWN.search(mine.stderr):
        return None, b""
    if mine.returncode:
        return f"tokenctl refuses: {mine.stderr.decode(errors='replace')}", encrypted.stdout
    if theirs.stdout == mine.stdout:
        return "", encrypted.stdout
    # Of its own text sops may read something else (a block in a list that begins with an empty line), so it is asked for the values.
    left = told(encrypted.stdout, directory) if kind == "yaml" else None
    right = told(sops("encrypt", kind, mine.stdout, directory).stdout, directory) if left else None
    if not left or not right:
        left, right = meaning(kind, theirs.stdout, directory), meaning(kind, mine.stdout, directory)
    if left is None:
        return None, b""
    if left != right:
        return f"sops:\n{theirs.stdout!r}\ntokenctl:\n{mine.stdout!r}", encrypted.stdout
    return "", encrypted.stdout


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
    documents = refused = 0
    for number in range(FIRST, FIRST + COUNT):
        kind = list(ENDINGS)[number % 5]
        maker = Maker(f"{SEED}/{number}")
        many = PACKED if number % 3 == 0 and kind != "binary" else 1
        data = maker.pack(kind, many) if many > 1 else wide(maker, kind) if number % 4 == 1 else getattr(maker, kind)()
        wrong, encrypted = differ(kind, data, directory)
        if wrong is None:
            counts[kind][1] += 1
            continue
        where = f"seed {SEED}, file {number} (the same again: {' '.join(sys.argv[:4])} {SEED} 1 {number}), {kind}"
        if wrong:
            small = shrink(kind, data, lambda data: differ(kind, data, directory)[0])  # pylint: disable=cell-var-from-loop
            sys.exit(f"{where}: {differ(kind, small, directory)[0] or wrong}\nof the file:\n{small!r}")
        counts[kind][0] += 1
        documents += many
        changed = change(maker.r, encrypted)
        if changed is None:
            continue
        mine = ours(kind, changed, directory)
        if mine.returncode != 7 or mine.stdout:
            sys.exit(f"{where}: a changed file gave {mine.returncode} {mine.stdout!r}:\n{changed.decode(errors='replace')}")
        refused += 1
    for kind, (same, left) in counts.items():
        if same + left >= 4 and same * 4 < left:
            sys.exit(f"seed {SEED}: of {same + left} {kind} files sops took only {same}: the test shows nothing")
    total = sum(same for same, _ in counts.values())
    print(f"seed {SEED}: {documents} documents in {total} files the same ({', '.join(f'{kind} {same}' for kind, (same, _) in counts.items())}; sops itself did not take {sum(left for _, left in counts.values())}), {refused} changed files refused")


main()
