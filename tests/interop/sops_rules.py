#!/usr/bin/env python3
"""Random .sops.yaml files: does tokenctl go by the same creation rule as sops, with the same recipients, groups and settings?

Usage: sops_rules.py SOPS RULES_CHOOSE SEED COUNT AGE_RECIPIENT...

sops tells what it did in the metadata of a file that it encrypts under each path (--filename-override); where it refuses, tokenctl has to find no rule or refuse as well. Prints what differs, and fails.
"""
import json
import pathlib
import random
import subprocess
import sys

SETTINGS = ("unencrypted_suffix", "encrypted_suffix", "unencrypted_regex", "encrypted_regex", "unencrypted_comment_regex", "encrypted_comment_regex")
PATHS = ("secrets/a.yaml", "secrets/prod/b.yaml", "a.enc.yaml", "x/secrets/c.yaml", "dev.yaml", "ü b.yaml", "secrets.d/e.yaml")
PATTERNS = (
    r"^secrets/", r"secrets/", r"\.enc\.yaml$", r"(prod|dev)", r"^[a-z]+\.yaml$", r"\.yaml$", "ü", r"^secrets/[^/]+\.yaml$", r"(?i)SECRETS", r"\bprod\b", r"a{1,2}",
    r"^(?P<x>dev)", r"\Aa", r"e\.yaml\z", r"[[:upper:]]", r"\p{L} b", r"^$", r"(", r"(?=a)", r"x*+", r"\/a", "b.y?ml$", r"\d",
)


# Before 3.10 recipients of a rule were one text, without a comma at its end.
OLD = "sops-3.9" in sys.argv[1]


def scalar(rng, text):
    """A text in one of YAML's forms."""
    return rng.choice((json.dumps(text, ensure_ascii=False), "'" + text.replace("'", "''") + "'"))


def key_list(rng, keys):
    chosen = rng.sample(keys, rng.randint(1, len(keys)))
    form = rng.randrange(2 if OLD else 4)
    if form == 0:
        return scalar(rng, rng.choice((",", ", ", " ,")).join(chosen))
    if form == 1:
        return ">-\n      " + ",\n      ".join(chosen)
    if form == 2:
        return "[" + ", ".join(chosen) + "]"
    return rng.choice(("'", '"')).join(("", ",".join(chosen) + ",", ""))


def group_list(rng, keys):
    """Key groups, of recipients, of aliases of them, and of merged ones."""
    groups = []
    for _ in range(rng.randint(1, 3)):
        words = [rng.choice(keys + ["*key0", "*key1"]) for _ in range(rng.randint(1, 3))]
        merged = ", merge: [*group0" + rng.choice((", *group1", "", ", {age: [*key0]}")) + "]" if rng.random() < 0.4 else ""
        groups.append("{age: [" + ", ".join(words) + "]" + merged + "}")
    return "[" + ", ".join(groups) + "]"


def rule(rng, keys):
    fields = []
    if rng.random() < 0.85:
        fields.append("path_regex: " + scalar(rng, rng.choice(PATTERNS if rng.random() < 0.3 else PATTERNS[:6])))
    if rng.random() < 0.35:
        fields.append("key_groups: " + rng.choice((group_list(rng, keys), group_list(rng, keys), "[]")))
    if rng.random() < 0.8:
        fields.append("age: " + key_list(rng, keys))
    if rng.random() < 0.2:
        fields.append("shamir_threshold: " + rng.choice(("1", "2", "0", "3", "2", "2", "two", "0x2")))
    for name in rng.sample(SETTINGS, rng.choice((0, 0, 0, 1, 1, 1, 1, 1, 1, 2))):
        fields.append(name + ": " + rng.choice((scalar(rng, "^k"), scalar(rng, "x"), scalar(rng, ""), "12", "~")))
    if rng.random() < 0.3:
        fields.append("mac_only_encrypted: " + rng.choice(("true", "false", "yes", "on", "true", "false", "off", "'true'", "\"yes\"", "~", "True")))
    if rng.random() < 0.15:
        fields.append("<<: " + rng.choice(("*base", "[*base]")))
    if not fields:
        return "  - {}\n"
    rng.shuffle(fields)
    return "  - " + "\n    ".join(fields) + "\n"


def document(rng, keys):
    text = f"keys: [&key0 {keys[0]}, &key1 {keys[1]}]\ngroups: [&group0 {{age: [*key1]}}, &group1 {{merge: [*group0], age: [*key0]}}]\n"
    text += f"base: &base {{age: *key0, encrypted_suffix: _b}}\n"
    if rng.random() < 0.05:
        return text + rng.choice(("creation_rules: []\n", "creation_rules:\n", "stores: {}\n"))
    return text + "creation_rules:\n" + "".join(rule(rng, keys) for _ in range(rng.randint(1, 5)))


def described(metadata):
    """What rules_choose would print for a file of this metadata."""
    setting = [name for name in SETTINGS if metadata.get(name)]
    groups = metadata.get("key_groups") or [{"age": metadata.get("age") or []}]
    shown = "".join(" [" + "".join(" age:" + entry["recipient"] for entry in group.get("age") or []) + " ]" for group in groups)
    return f"{setting[0]} {metadata[setting[0]]} {int(metadata.get('mac_only_encrypted', False))} {metadata.get('shamir_threshold', 0)}{shown}"


def ask_sops(sops, path):
    command = [sops, "encrypt", "--input-type", "json", "--output-type", "json", "--filename-override", path, "../plain.json"]
    done = subprocess.run(command, capture_output=True, timeout=60)
    said = done.stderr.decode(errors="replace")
    return (described(json.loads(done.stdout)["sops"]) if done.returncode == 0 else "none"), said


def cannot_encrypt(text):
    """Rules that sops chooses and then cannot encrypt by: a group without keys, a threshold that cannot be."""
    head, _, groups = text.partition(" [")
    threshold, count = int(head.split(" ")[3]), groups.count("[") + 1
    return "[ ]" in text or (count > 1 and (threshold == 1 or threshold > count))


def settled(text):
    """A threshold means nothing for one group, and sops writes that all of several are needed when none is given."""
    head, _, groups = text.partition(" [")
    words, count = head.split(" "), groups.count("[") + 1
    if words != ["none"]:
        words[3] = "0" if count == 1 else str(count) if words[3] == "0" else words[3]
    return " ".join(words) + groups


def same(ours, theirs):
    if theirs == "none" and ours != "none":
        return cannot_encrypt(ours)
    return settled(ours) == settled(theirs)


def main():
    sops, choose, seed, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    keys, rng = sys.argv[5:], random.Random(int(sys.argv[3]))
    pathlib.Path("../plain.json").write_text('{"kx": "v", "y": 1}', encoding="utf-8")
    outcomes = {"rule": 0, "none": 0}
    for number in range(count):
        text = document(rng, keys)
        pathlib.Path(".sops.yaml").write_text(text, encoding="utf-8")
        for path in rng.sample(PATHS, 2):
            theirs, said = ask_sops(sops, path)
            ours = subprocess.run([choose, path], capture_output=True, text=True, timeout=60)
            if not same(ours.stdout.strip("\n"), theirs):
                sys.exit(f"FAIL: seed {seed}, file {number}, {path}\nsops: {theirs} {said}\nours: {ours.stdout}{ours.stderr}{text}")
            outcomes["none" if theirs == "none" else "rule"] += 1
    print(f"{outcomes['rule']} rules and {outcomes['none']} refusals are the same (seed {seed})")
    if min(outcomes.values()) < count // 10:
        sys.exit("FAIL: too little of one kind to mean anything")


main()
