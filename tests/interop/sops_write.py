#!/usr/bin/env python3
"""Random files of every format that a real sops encrypted, changed by tokenctl; sops must then see exactly those changes, and nothing else in the file may be another.

usage: sops_write.py SOPS TOKENCTL KEY-FILE OTHER-KEY-FILE SEED COUNT [FIRST]

set and unset: one value at a random path. edit: an editor that changes a random line of the plain text. rotate and updatekeys: the values stay, the keys do not. Several of them, one after the other, over one
file, of which each second one is a pack of several (sops_maker.py), and of the others each second one that people type (sops_wide.py). encrypt: a plain file is encrypted by both.
What is expected is worked out from what sops says of the file before; what it says afterwards, its MAC accepted, has to be that. Of the text only the changed value's line, lastmodified and mac may differ.
When something is wrong, the first step that is wrong is looked for, and the file is made smaller as long as it is (sops_shrink.py).
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
from sops_shrink import shrink  # noqa: E402  pylint: disable=wrong-import-position
from sops_wide import wide  # noqa: E402  pylint: disable=wrong-import-position

SOPS, TOKENCTL, KEY, OTHER_KEY = sys.argv[1:5]
SEED, COUNT = int(sys.argv[5]), int(sys.argv[6])
FIRST = int(sys.argv[7]) if len(sys.argv) > 7 else 0
PACKED, STEPS = 10, 6
# What docs/SOPS.md says that is refused, though sops takes it.
KNOWN = re.compile(rb"this cannot be written|this key is there twice|a block \(\| or >\)|values with a tag|go on in the next line|would stay in the clear|first document is empty|no map|two apostrophes|<< takes|follows the JSON object")
RECIPIENT, OTHER = (re.search(r"age1[0-9a-z]+", open(path, encoding="ascii").read()).group(0) for path in (KEY, OTHER_KEY))
EDITOR = os.path.join(os.path.dirname(os.path.abspath(__file__)), "sops_editor.py")
ENVIRONMENT = dict(os.environ, SOPS_AGE_KEY_FILE=KEY)
VERSION = tuple(int(number) for number in re.search(r"sops-(\d+)\.(\d+)\.(\d+)", SOPS).groups())  # of the peer's path: asked for its version it looks for a newer one on the network
TOKEN = re.compile(rb"ENC\[AES256_GCM,data:[^\]]*,iv:[^\]]+\]")


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


def choose_set(maker, kind, tree):
    """Where, what is given, and what is then there; None: there is no place."""
    found = [place for place in places(tree) if kind not in ("dotenv", "ini") or not isinstance(at(tree, place), dict)]
    if not found:
        return None
    place = maker.r.choice(found)
    if maker.r.random() < 0.4:
        inner = at(tree, place[:-1])
        place = (*place[:-1], len(inner) if isinstance(inner, list) else f"new key{maker.r.randrange(9)}")
    return ("set", place, *scalar(maker, kind))


def choose_unset(maker, _kind, tree):
    return ("unset", maker.r.choice(places(tree)))


def choose_edit(maker, _kind, _tree):
    return ("edit", maker.r.choice(["nothing", "drop", "drop", "double", "swap", "comment", "fail"]), maker.r.randrange(1000))


def choose_rotate(_maker, _kind, _tree):
    return ("rotate",)


def choose_updatekeys(maker, _kind, _tree):
    """To a second key, or to two of three groups."""
    return ("updatekeys", maker.r.random() < 0.4)


def parent(tree, place):
    """The container that a place is in; None: not in this tree."""
    for step in place[:-1]:
        if isinstance(tree, dict) and step in tree or isinstance(tree, list) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
        else:
            return None
    is_index = isinstance(place[-1], int)
    return tree if isinstance(tree, list if is_index else dict) and (not is_index or place[-1] <= len(tree)) else None


def is_there(tree, place):
    inner = parent(tree, place)
    return inner is not None and (place[-1] < len(inner) if isinstance(inner, list) else place[-1] in inner)


def do_set(kind, path, tree, place, words, data, value):
    if parent(tree, place) is None:
        return tree, "refused"
    fresh = not is_there(tree, place)
    before = None if fresh else at(tree, place)
    old = read(path)
    done = run(TOKENCTL, "set", "-i", KEY, *words, path, spelled(place), data=data)
    new = read(path)
    whole = isinstance(before, (dict, list)) and not words  # a text would take its place, and all that is in it
    if whole and not done.returncode:
        raise Wrong(f"set {spelled(place)} {data!r} took the place of {before!r}")
    if done.returncode:
        if new != old:
            raise Wrong("it refused, and changed the file")
        if not whole and kind in ("yaml", "json") and not ("<<" in place and b"<< takes a map" in done.stderr):
            raise Wrong(f"set {spelled(place)} {data!r} was refused: {done.stderr.decode(errors='replace')}")
        return tree, "refused"
    if isinstance(before, (dict, list)) or fresh:  # with a map go the comments in it
        check_text(old, new, len(places(before)) + old.count(b"type:comment") if isinstance(before, (dict, list)) else 0)
    else:
        check_text(old, new, 1)
        if is_covered(place) and kind != "ini" and not isinstance(value, (dict, list)) and before not in ("", None) and value not in ("", None):
            check_lines(old, new)
    return put(tree, place, value), "set"


def do_unset(kind, path, tree, place):
    if not is_there(tree, place):
        return tree, "refused"
    old = read(path)
    done = run(TOKENCTL, "unset", "-i", KEY, path, spelled(place))
    new = read(path)
    if done.returncode:
        if new != old:
            raise Wrong("it refused, and changed the file")
        if (len(place) > 1 or len(tree) > 1) and b"there more than once" not in done.stderr:
            raise Wrong(f"unset {spelled(place)} was refused: {done.stderr.decode(errors='replace')}")
        return tree, "refused"
    if kind != "ini":  # the comment on its line goes, too, and of comments that come together there it makes one
        check_text(old, new, len(places(at(tree, place))) + 2 + (old.count(b"type:comment") if isinstance(at(tree, place), (dict, list)) else 0))
    return taken(tree, place), "unset"


def do_edit(kind, path, tree, way, number):
    """An editor drops, doubles, or moves a line, puts a comment behind one, fails, or does nothing. What sops makes of the text that was saved is what the file has to say."""
    old = read(path)
    saved = path + ".saved" + ENDINGS[kind]
    done = run(TOKENCTL, "edit", "-i", KEY, path, EDITOR=f"{sys.executable} {EDITOR} {way} {number} {saved}")
    new = read(path)
    kept = re.search(rb"--resume (\S+)/", done.stderr)
    if kept:
        shutil.rmtree(kept.group(1).decode())
    if way == "fail":
        if done.returncode == 0 or new != old or b"status 3" not in done.stderr:
            raise Wrong(f"an editor that failed: {done.returncode} {done.stderr.decode(errors='replace')}")
        return tree, "edit"
    if way == "nothing" or done.returncode:
        if new != old:
            raise Wrong("an edit without effect changed the file")
        if way == "nothing" and done.returncode:
            raise Wrong(f"edit: {done.stderr.decode(errors='replace')}")
        return tree, "edit" if way == "nothing" else "refused edit"
    got = values(path, kind)
    if got is None:
        raise Wrong(f"sops refuses what was edited:\n{new.decode(errors='replace')}")
    theirs = run(SOPS, "--encrypt", "--age", RECIPIENT, saved)
    write(saved, theirs.stdout)
    expected = values(saved, kind) if theirs.returncode == 0 else None
    if expected is not None and expected != got and not is_hashed_wrong(kind, read(path)):
        raise Wrong(f"of what was edited sops says {got!r}, not {expected!r}:\n{new.decode(errors='replace')}")
    if kind in ("yaml", "json"):
        before, after = set(map(spelled, places(tree))), set(map(spelled, places(got)))
        check_text(old, new, len(before - after) + old.count(b"type:comment") + (3 if way != "swap" else 3 + len(before)))
    return got, "edit"


def do_rotate(_kind, path, tree):
    old = read(path)
    done = run(TOKENCTL, "rotate", "--data-key", "-i", KEY, path)
    if done.returncode:
        raise Wrong(f"rotate: {done.stderr.decode(errors='replace')}")
    if set(TOKEN.findall(old)) & set(TOKEN.findall(read(path))):
        raise Wrong("rotate left a ciphertext as it was")
    return tree, "rotate"


def do_updatekeys(_kind, path, tree, grouped):
    rule = f"age: {RECIPIENT},{OTHER}" if not grouped else "key_groups: " + json.dumps([{"age": [RECIPIENT]}, {"age": [OTHER]}, {"age": [RECIPIENT]}]) + "\n    shamir_threshold: 2"
    config = os.path.join(os.path.dirname(path), ".sops.yaml")
    old = read(path)
    write(config, f"creation_rules:\n  - {rule}\n".encode())
    done = run(TOKENCTL, "updatekeys", "-i", KEY, path)
    os.unlink(config)
    if done.returncode:
        raise Wrong(f"updatekeys: {done.stderr.decode(errors='replace')}")
    if not grouped:
        opened = run(SOPS, "-d", path, SOPS_AGE_KEY_FILE=OTHER_KEY)
        if opened.returncode:
            raise Wrong(f"the new key opens nothing: {opened.stderr.decode(errors='replace')}")
    check_text(old, read(path), 0)
    return tree, "updatekeys"


def refuse_binary(path):
    old = read(path)
    done = run(TOKENCTL, "unset", "-i", KEY, path, "data")
    if done.returncode == 0 or read(path) != old:
        raise Wrong("a binary file was changed by unset")


def comments_left(text):
    return text.count(b"type:comment]")


def count_values(path):
    """Not the MAC, which sops puts into an empty document, too."""
    return len(re.findall(rb"(?<!mac: )ENC\[[^\]]*type:(?:str|int|float|bool)\]", read(path)))


RULES = [[], [], ["--unencrypted-regex", "^k"], ["--encrypted-regex", "1$"], ["--encrypted-suffix", "0"], ["--encrypted-regex", "^k", "--mac-only-encrypted"]]


def do_encrypt(kind, path, plain, rule, aliased):
    """The plain file, encrypted by tokenctl: for sops the same as what it encrypted itself."""
    theirs, mine = path + ".theirs" + ENDINGS[kind], path + ".mine" + ENDINGS[kind]
    write(theirs, plain)
    done = run(SOPS, "--encrypt", "--age", RECIPIENT, *rule, theirs)
    if done.returncode:
        return None
    write(theirs, done.stdout)
    write(mine, plain)
    done = run(TOKENCTL, "encrypt", "--in-place", "-r", RECIPIENT, *rule, mine)
    if done.returncode:
        if KNOWN.search(done.stderr):
            return "refused"
        raise Wrong(f"encrypt {rule}: {done.stderr.decode(errors='replace')}")
    if kind == "yaml" and aliased and re.search(rb"[:\-\[{,] *\*a\d", plain):
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
        if rule == [] and count_values(theirs) != count_values(mine):
            raise Wrong("another number of values is encrypted")
    return "encrypt"


CHOICES = [choose_set, choose_set, choose_set, choose_unset, choose_unset, choose_edit, choose_edit, choose_rotate, choose_updatekeys]
STEPS_OF = {"set": do_set, "unset": do_unset, "edit": do_edit, "rotate": do_rotate, "updatekeys": do_updatekeys}
COMMENTS = [0, 0]
ALIASED = [0]


def look(path, kind, tree):
    got = values(path, kind)
    if kind == "ini":  # sections without anything in them come and go
        got, tree = ({key: value for key, value in what.items() if value} if what else what for what in (got, tree))
    if got != tree:
        raise Wrong(f"sops says {got!r}, not {tree!r}, of\n{read(path).decode(errors='replace')}")


def begin(kind, path, plain):
    """The file as sops encrypts it, and what it says of it; None: it does not take it."""
    write(path, plain)
    encrypted = run(SOPS, "--encrypt", "--age", RECIPIENT, path)
    if encrypted.returncode or is_hashed_wrong(kind, plain):
        return None
    write(path, encrypted.stdout)
    if KNOWN.search(run(TOKENCTL, "decrypt", "-i", KEY, path).stderr):
        return None
    return values(path, kind)


def repeat(kind, path, plain, steps):
    """Those steps with a look after each one: which is wrong, and in what way; None: none is."""
    try:
        tree = begin(kind, path, plain)
        if tree is None:
            return None
        for number, step in enumerate(steps):
            try:
                tree, _ = STEPS_OF[step[0]](kind, path, tree, *step[1:])
                look(path, kind, tree)
            except Wrong as wrong:
                return number, f"{step!r}: {wrong}"
    except Unshown:
        pass
    return None


def explain(kind, path, plain, steps, wrong):
    """The fewest steps and the smallest file."""
    found = repeat(kind, path, plain, steps)
    if not found:
        return f"{wrong}\nafter {steps!r}, of the file:\n{plain.decode(errors='replace')}"
    steps = steps[:found[0] + 1]
    if repeat(kind, path, plain, steps[-1:]):
        steps = steps[-1:]
    small = shrink(kind, plain, lambda data: (repeat(kind, path, data, steps) or (0, ""))[1])
    return f"{(repeat(kind, path, small, steps) or found)[1]}\nafter {steps!r}, of the file:\n{small!r}"


def change(maker, kind, path, plain, many, counts):
    """Some steps, one after the other, and what sops says in the end. False: it does not take the file."""
    tree = begin(kind, path, plain)
    if tree is None or (kind != "binary" and not places(tree)):
        return False
    if kind == "binary":
        refuse_binary(path)
    steps = []
    try:
        for _ in range(STEPS if many > 1 else maker.r.randrange(1, 4)):
            step = maker.r.choice(CHOICES[5:] if kind == "binary" else CHOICES)(maker, kind, tree) if tree else None
            if step is None:
                break
            steps.append(step)
            tree, what = STEPS_OF[step[0]](kind, path, tree, *step[1:])
            counts[what] = counts.get(what, 0) + 1
        look(path, kind, tree)
    except Wrong as wrong:
        raise Wrong(explain(kind, path, plain, steps, wrong)) from wrong
    return True


def encrypt(maker, kind, path, plain, counts):
    rule = maker.r.choice(RULES)
    if is_hashed_wrong(kind, plain):
        return None
    try:
        what = do_encrypt(kind, path, plain, rule, bool(maker.anchors))
    except Wrong as wrong:
        def fails(data):
            try:
                do_encrypt(kind, path, data, rule, bool(maker.anchors))
            except Wrong as still:
                return str(still)
            except Unshown:
                pass
            return None
        small = shrink(kind, plain, fails)
        raise Wrong(f"{fails(small) or wrong}\nof the file:\n{small!r}") from wrong
    if what:
        counts[what] = counts.get(what, 0) + 1
    return what


def attempt(number, directory, counts):
    """How many documents were in file number; 0: sops itself does not take it."""
    kind = list(ENDINGS)[number % 5]
    maker = Maker(f"{SEED}/{number}")
    path = os.path.join(directory, f"file{number}{ENDINGS[kind]}")
    many = PACKED if number % 2 == 0 and kind != "binary" else 1
    plain = maker.pack(kind, many) if many > 1 else wide(maker, kind) if number % 4 == 1 else getattr(maker, kind)()
    if maker.anchors and maker.a.random() < 0.5 or maker.r.random() < 0.25:
        return many if encrypt(maker, kind, path, plain, counts) else 0
    return many if change(maker, kind, path, plain, many, counts) else 0


def main():
    directory = tempfile.mkdtemp(dir=os.environ.get("TMPDIR"))
    counts, documents, left = {}, 0, 0
    for number in range(FIRST, FIRST + COUNT):
        try:
            many = attempt(number, directory, counts)
        except Unshown:
            many = 0
        except Wrong as wrong:
            sys.exit(f"seed {SEED}, file {number} (the same again: {' '.join(sys.argv[:5])} {SEED} 1 {number}): {wrong}")
        documents += many
        left += not many
    if COMMENTS[1] > 2 + COMMENTS[0] / 50:  # of few, one that stands where two readings are possible is much
        sys.exit(f"seed {SEED}: of {COMMENTS[0]} comments sops cannot open {COMMENTS[1]}")
    if COUNT >= 50 and (left > COUNT / 2 or any(not counts.get(what) for what in (*STEPS_OF, "encrypt"))):
        sys.exit(f"seed {SEED}: {counts}, {left} files not taken by sops itself: the test shows nothing")
    print(f"seed {SEED}: {documents} documents in {COUNT - left} files; " + ", ".join(f"{count} {what}" for what, count in sorted(counts.items())) +
          f"; {left} files not taken by sops itself; {ALIASED[0]} with aliases; of {COMMENTS[0]} comments sops does not open {COMMENTS[1]}")


main()
