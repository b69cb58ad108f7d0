#!/usr/bin/env python3
"""Random files of every format that a real sops encrypted, changed by tokenctl; sops must then see exactly that change, and nothing else in the file may be another.

usage: sops_write.py SOPS TOKENCTL KEY-FILE OTHER-KEY-FILE SEED COUNT

set and unset: one value at a random path. edit: an editor that changes a random line of the plain text. rotate and updatekeys: the values stay, the keys do not. encrypt: a plain file is encrypted by both.
What is expected is worked out from what sops says of the file before; what it says afterwards, its MAC accepted, has to be that. Of the text only the changed value's line, lastmodified and mac may differ.
"""
import copy
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from sops_maker import ENDINGS, Maker  # noqa: E402  pylint: disable=wrong-import-position

SOPS, TOKENCTL, KEY, OTHER_KEY = sys.argv[1:5]
SEED, COUNT = int(sys.argv[5]), int(sys.argv[6])
RECIPIENT, OTHER = (re.search(r"age1[0-9a-z]+", open(path, encoding="ascii").read()).group(0) for path in (KEY, OTHER_KEY))
EDITOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sops_editor.py")
ENVIRONMENT = dict(os.environ, SOPS_AGE_KEY_FILE=KEY)
VERSION = tuple(int(number) for number in re.search(r"sops-(\d+)\.(\d+)\.(\d+)", SOPS).groups())  # of the peer's path: asked for its version it looks for a newer one on the network
TOKEN = re.compile(rb"ENC\[AES256_GCM,data:[^\]]+\]")


class Wrong(Exception):
    pass


class Unshown(Exception):
    """sops 3.9 cannot write a file as JSON when a comment is the last thing in it."""


def run(*words, data=b"", **more):
    return subprocess.run(words, input=data, capture_output=True, env=dict(ENVIRONMENT, **more), timeout=60, check=False, start_new_session=True)


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def pairs(items):
    return dict(items)


def values(path, kind):
    """What sops says of it, the MAC accepted; None: it refuses."""
    if kind == "binary":
        done = run(SOPS, "-d", path)
        return done.stdout if done.returncode == 0 else None
    done = run(SOPS, "-d", "--output-type", "json", path)
    if b"marshaling to json" in done.stderr:
        raise Unshown
    # Older ones took every number of a JSON file for a double, so no more than that is asked of them.
    whole = float if kind == "json" else int
    return json.loads(done.stdout, object_pairs_hook=pairs, parse_int=whole) if done.returncode == 0 else None


def is_hashed_wrong(kind, plain):
    """sops before 3.13.2 makes its MAC over the double that is nearest to an integer of a JSON file, and then refuses what is right."""
    return VERSION < (3, 13, 2) and kind == "json" and any(abs(int(number)) >= 2**53 for number in re.findall(rb"(?<![\w.\"-])-?\d{16,}(?![\w.])", plain))


def places(tree, before=()):
    found = [before] if before else []
    if isinstance(tree, dict):
        for key, value in tree.items():
            found += places(value, (*before, key))
    if isinstance(tree, list):
        for index, value in enumerate(tree):
            found += places(value, (*before, index))
    return found


def at(tree, place):
    for step in place:
        tree = tree[step]
    return tree


def spelled(place):
    return "".join(f"[{step}]" if isinstance(step, int) else f'["{step}"]' for step in place)


def put(tree, place, value):
    result = copy.deepcopy(tree)
    container = at(result, place[:-1])
    if isinstance(container, list) and place[-1] == len(container):
        container.append(value)
    else:
        container[place[-1]] = value
    return result


def taken(tree, place):
    result = copy.deepcopy(tree)
    del at(result, place[:-1])[place[-1]]
    return result


def is_covered(place):
    return not any(isinstance(step, str) and step.endswith("_unencrypted") for step in place)


def check_text(old, new, tokens):
    """All that was encrypted is still there, but for so many values and the MAC of each document."""
    documents = old.count(b"\nsops:") + old.startswith(b"sops:") or 1
    gone = set(TOKEN.findall(old)) - set(TOKEN.findall(new))
    if len(gone) > tokens + documents:
        raise Wrong(f"{len(gone)} ciphertexts are gone:\n{old.decode(errors='replace')}\nbecame\n{new.decode(errors='replace')}")


def check_lines(old, new):
    """One value, and the MAC; the time is another one only where a second has ended meanwhile."""
    documents = old.count(b"\nsops:") + old.startswith(b"sops:") or 1
    before, after = old.split(b"\n"), new.split(b"\n")
    if len(before) != len(after):
        raise Wrong(f"{len(before)} lines became {len(after)}")
    changed = sum(a != b and b"lastmodified" not in a for a, b in zip(before, after))
    if changed > 1 + documents:
        both = [f"{a.decode(errors='replace')}\n{b.decode(errors='replace')}" for a, b in zip(before, after) if a != b]
        raise Wrong(f"{changed} lines changed:\n" + "\n".join(both))


def scalar(maker, kind):
    """A value: how it is given (words, input) and what it is then."""
    if kind in ("dotenv", "ini") or maker.r.random() < 0.6:
        word = maker.word()
        return [], word.encode() + b"\n", word
    value = maker.r.choice([0, -7, 1.5, True, False, None, 12345678901, [1, "two"], {"a": {"b": "c"}}, [], {}, "ENC[x]", ""])
    return ["--json"], json.dumps(value).encode(), value


def do_set(maker, kind, path, tree):
    found = places(tree)
    place = maker.r.choice(found)
    if kind in ("dotenv", "ini"):
        place = maker.r.choice([p for p in found if not isinstance(at(tree, p), dict)] or [None])
        if place is None:
            return "refused"
    fresh = maker.r.random() < 0.4
    if fresh:
        inner = at(tree, place[:-1]) if place[:-1] else tree
        place = (*place[:-1], len(inner) if isinstance(inner, list) else f"new key{maker.r.randrange(9)}")
    words, data, value = scalar(maker, kind)
    before = at(tree, place) if place in found else None
    old = read(path)
    done = run(TOKENCTL, "set", "-i", KEY, *words, path, spelled(place), data=data)
    new = read(path)
    whole = isinstance(before, (dict, list)) and not words  # a text would take its place, and all that is in it
    if whole and not done.returncode:
        raise Wrong(f"set {spelled(place)} {data!r} took the place of {before!r}")
    if done.returncode:
        if new != old:
            raise Wrong("it refused, and changed the file")
        if whole:
            return "refused"
        if kind in ("yaml", "json"):
            raise Wrong(f"set {spelled(place)} {data!r} was refused: {done.stderr.decode(errors='replace')}")
        return "refused"
    expected = put(tree, place, value)
    got = values(path, kind)
    if got != expected:
        raise Wrong(f"set {spelled(place)} {data!r}: sops says {got!r}, not {expected!r}")
    if isinstance(before, (dict, list)) or fresh:  # with a map go the comments in it
        check_text(old, new, len(places(before)) + old.count(b"type:comment") if isinstance(before, (dict, list)) else 0)
    else:
        check_text(old, new, 1)
        if is_covered(place) and kind != "ini" and not isinstance(value, (dict, list)) and before not in ("", None) and value not in ("", None):
            check_lines(old, new)
    return "set"


def do_unset(maker, kind, path, tree):
    place = maker.r.choice(places(tree))
    old = read(path)
    done = run(TOKENCTL, "unset", "-i", KEY, path, spelled(place))
    new = read(path)
    if done.returncode:
        if new != old:
            raise Wrong("it refused, and changed the file")
        if len(place) > 1 or len(tree) > 1:
            raise Wrong(f"unset {spelled(place)} was refused: {done.stderr.decode(errors='replace')}")
        return "refused"
    expected = taken(tree, place)
    got = values(path, kind)
    if kind == "ini":
        expected = {key: value for key, value in expected.items() if value}
        got = got and {key: value for key, value in got.items() if value}
    if got != expected:
        raise Wrong(f"unset {spelled(place)}: sops says {got!r}, not {expected!r}")
    if kind != "ini":  # the comment on its line goes, too, and of comments that come together there it makes one
        check_text(old, new, len(places(at(tree, place))) + 2 + (old.count(b"type:comment") if isinstance(at(tree, place), (dict, list)) else 0))
    return "unset"


def do_edit(maker, kind, path, tree):
    """An editor drops a line, or says something else in one; nothing at all; what is no file."""
    old = read(path)
    way = maker.r.choice(["nothing", "drop", "fail"])
    done = run(TOKENCTL, "edit", "-i", KEY, path, EDITOR=f"{sys.executable} {EDITOR} {way} {maker.r.randrange(1000)}")
    new = read(path)
    if way == "nothing" or (way == "drop" and done.returncode):
        if new != old:
            raise Wrong("an edit without effect changed the file")
        if way == "nothing" and done.returncode:
            raise Wrong(f"edit: {done.stderr.decode(errors='replace')}")
    elif way == "fail":
        if done.returncode == 0 or new != old or b"status 3" not in done.stderr:
            raise Wrong(f"an editor that failed: {done.returncode} {done.stderr.decode(errors='replace')}")
    elif kind == "binary":
        if values(path, kind) is None:
            raise Wrong("sops refuses it")
    else:
        got = values(path, kind)
        if got is None:
            raise Wrong(f"sops refuses what was edited:\n{new.decode(errors='replace')}")
        if kind in ("yaml", "json"):
            before, after = set(map(spelled, places(tree))), set(map(spelled, places(got)))
            check_text(old, new, len(before - after) + old.count(b"type:comment") + 3)
    kept = re.search(rb"--resume (\S+)/", done.stderr)
    if kept:
        shutil.rmtree(kept.group(1).decode())
    return "edit"


def do_rotate(_maker, kind, path, tree):
    old = read(path)
    done = run(TOKENCTL, "rotate", "--data-key", "-i", KEY, path)
    new = read(path)
    if done.returncode or values(path, kind) != tree:
        raise Wrong(f"rotate: {done.stderr.decode(errors='replace')}, sops says {values(path, kind)!r}, not {tree!r}")
    if set(TOKEN.findall(old)) & set(TOKEN.findall(new)):
        raise Wrong("rotate left a ciphertext as it was")
    return "rotate"


def do_updatekeys(maker, kind, path, tree):
    """To a second key and back to it alone, or to two of three groups."""
    grouped = maker.r.random() < 0.4
    rule = f"age: {RECIPIENT},{OTHER}" if not grouped else "key_groups: " + json.dumps([{"age": [RECIPIENT]}, {"age": [OTHER]}, {"age": [RECIPIENT]}]) + "\n    shamir_threshold: 2"
    config = os.path.join(os.path.dirname(path), ".sops.yaml")
    old = read(path)
    write(config, f"creation_rules:\n  - {rule}\n".encode())
    done = run(TOKENCTL, "updatekeys", "-i", KEY, path)
    os.unlink(config)
    if done.returncode:
        raise Wrong(f"updatekeys: {done.stderr.decode(errors='replace')}")
    if values(path, kind) != tree:
        raise Wrong("with the old key sops says something else")
    if not grouped:
        opened = run(SOPS, "-d", path, SOPS_AGE_KEY_FILE=OTHER_KEY)
        if opened.returncode:
            raise Wrong(f"the new key opens nothing: {opened.stderr.decode(errors='replace')}")
    check_text(old, read(path), 0)
    return "updatekeys"


def comments_left(text):
    return text.count(b"type:comment]")


def do_encrypt(maker, kind, path, tree):
    """The plain file, encrypted by tokenctl: for sops the same as what it encrypted itself."""
    rule = maker.r.choice([[], [], ["--unencrypted-regex", "^k"], ["--encrypted-regex", "1$"], ["--encrypted-suffix", "0"], ["--encrypted-regex", "^k", "--mac-only-encrypted"]])
    plain = PLAINS[path]
    theirs, mine = path + ".theirs" + ENDINGS[kind], path + ".mine" + ENDINGS[kind]
    write(theirs, plain)
    done = run(SOPS, "--encrypt", "--age", RECIPIENT, *rule, theirs)
    if done.returncode:
        return "encrypt"
    write(theirs, done.stdout)
    write(mine, plain)
    done = run(TOKENCTL, "encrypt", "--in-place", "-r", RECIPIENT, *rule, mine)
    if done.returncode:
        if b"this cannot be written" in done.stderr:
            return "refused"
        raise Wrong(f"encrypt {rule}: {done.stderr.decode(errors='replace')}")
    if kind == "yaml" and maker.anchors and re.search(rb"[:\-\[{,] *\*a\d", plain):
        ALIASED[0] += 1
        if b"written out" not in done.stderr:
            raise Wrong("nobody said that aliases were written out")
    left, right = values(theirs, kind), values(mine, kind)
    if kind == "binary":  # sops 3.9 goes by the rule, leaves it in the clear, and loses what is no UTF-8
        left = plain
    if left is None:  # it cannot read what it wrote itself: a clear -0.0 becomes an integer
        return "encrypt"
    if left != right:
        raise Wrong(f"encrypt {rule}: sops says {right!r}, not {left!r}, of\n{read(mine).decode(errors='replace')}")
    if kind == "yaml":
        shown = [run(SOPS, "-d", which).stdout for which in (theirs, mine)]
        COMMENTS[0] += plain.count(b"cmt")
        COMMENTS[1] += comments_left(shown[1])
        if rule == [] and len(re.findall(rb"type:(?:str|int|float|bool)\]", read(theirs))) != len(re.findall(rb"type:(?:str|int|float|bool)\]", read(mine))):
            raise Wrong("another number of values is encrypted")
    return "encrypt"


ACTIONS = [do_set, do_set, do_set, do_unset, do_unset, do_edit, do_rotate, do_updatekeys, do_encrypt, do_encrypt]
PLAINS = {}
COMMENTS = [0, 0]
ALIASED = [0]


def attempt(number, directory):
    """What was done to file number; None: sops itself does not take it."""
    kind = list(ENDINGS)[number % 5]
    maker = Maker(f"{SEED}/{number}")
    path = os.path.join(directory, f"file{number}{ENDINGS[kind]}")
    plain = getattr(maker, kind)()
    write(path, plain)
    PLAINS.clear()
    PLAINS[path] = plain
    action = do_encrypt if maker.anchors and maker.a.random() < 0.7 else maker.r.choice(ACTIONS)
    encrypted = run(SOPS, "--encrypt", "--age", RECIPIENT, path)
    if encrypted.returncode or is_hashed_wrong(kind, plain):
        return None
    write(path, encrypted.stdout)
    tree = values(path, kind)
    if action is do_encrypt and tree is not None:
        return checked(action, maker, kind, path, tree, plain)
    if tree is None or (kind != "binary" and not places(tree)):
        return None
    if kind == "binary" and action in (do_set, do_unset):
        done = run(TOKENCTL, "unset", "-i", KEY, path, "data")
        if done.returncode == 0 or read(path) != encrypted.stdout:
            raise Wrong("a binary file was changed by unset")
        return "refused"
    return checked(action, maker, kind, path, tree, plain)


def checked(action, maker, kind, path, tree, plain):
    try:
        return action(maker, kind, path, tree)
    except Wrong as wrong:
        raise Wrong(f"{action.__name__}: {wrong}\nof the file:\n{plain.decode(errors='replace')}") from wrong


def main():
    directory = tempfile.mkdtemp(dir=os.environ.get("TMPDIR"))
    counts = {}
    for number in range(COUNT):
        try:
            what = attempt(number, directory)
        except Unshown:
            what = None
        except Wrong as wrong:
            sys.exit(f"seed {SEED}, file {number}: {wrong}")
        counts[what] = counts.get(what, 0) + 1
    if COMMENTS[1] > 2 + COMMENTS[0] / 50:  # of few, one that stands where two readings are possible is much
        sys.exit(f"seed {SEED}: of {COMMENTS[0]} comments sops cannot open {COMMENTS[1]}")
    if counts.get(None, 0) > COUNT / 2 or counts.get("set", 0) < COUNT / 10 or counts.get("unset", 0) < COUNT / 20 or len(counts) < 7:
        sys.exit(f"seed {SEED}: {counts}: the test shows nothing")
    print(f"seed {SEED}: " + ", ".join(f"{count} {what or 'not taken by sops itself'}" for what, count in sorted(counts.items(), key=str)) +
          f"; {ALIASED[0]} with aliases; of {COMMENTS[0]} comments sops does not open {COMMENTS[1]}")


main()
