#!/usr/bin/env python3
"""Every verb of tokenctl has an entry in its man page, and the completion asks tokenctl itself which there are. usage: documented.py ROOT"""
import re
import sys

import tree

VERB = re.compile(r"\bconst\s+struct\s+verb\s+\w+\s*=\s*\{.*?\.name\s*=\s*\"([^\"]+)\"", re.DOTALL)
MAN = "docs/man/tokenctl.1"
COMPLETION = "packaging/completion.bash"
# In the man page a verb's entry is ".Ss audit show" or ".It Cm audit Cm show Op ...".
ENTRY = re.compile(r"^\.(?:Ss|It)[ \t]+(.*)$", re.MULTILINE)
# What integration.cli_offline tries: a list of its own would be another one some day.
ASKED = "tokenctl --completion-words"


def verbs_of(root):
    found = set()
    for path in tree.files(root, ("cli",), (".c",)):
        found.update(VERB.findall(tree.blank(tree.read(root, path), strings=False)))
    return found


def read_or_empty(root, path):
    try:
        return tree.read(root, path)
    except FileNotFoundError:
        return ""


def words_of(entry):
    """The plain words an entry begins with; macros, options and arguments end or separate them."""
    words = []
    for word in entry.replace('"', "").split():
        if word in ("Cm", "Ic", "Nm", "tokenctl"):
            continue
        if not re.fullmatch(r"(--)?[a-z][a-z-]*", word):
            break
        words.append(word)
    return words


def check(root):
    verbs = verbs_of(root)
    if not verbs:
        return ["cli: no verb was found; the check does not understand the table any more"]
    entries = [words_of(entry) for entry in ENTRY.findall(read_or_empty(root, MAN))]
    problems = [] if ASKED in read_or_empty(root, COMPLETION) else [f"{COMPLETION}: it does not ask '{ASKED}'"]
    for verb in sorted(verbs):
        words = verb.split()
        if not any(entry[: len(words)] == words for entry in entries):
            problems.append(f"{MAN}: the verb '{verb}' has no entry")
    return problems


TABLE = 'const struct verb verb_keys = {\n\t.name = "keys",\n};\nconst struct verb verb_audit_show = {\n\t.name = "audit show",\n};\n'
GOOD = {
    "cli/verb_keys.c": TABLE,
    MAN: ".Sh VERBS\n.Bl -tag\n.It Cm keys Op Fl -json\n.It Cm audit Cm show\n.El\n",
    COMPLETION: "\tverbs=$(tokenctl --completion-words 2>/dev/null)\n",
}
BAD = {
    "no entry in the man page": {MAN: ".It Cm keys\n"},
    "completion with a list of its own": {COMPLETION: '\tlocal verbs="audit keys"\n'},
    "no man page": {MAN: ""},
    "no table": {"cli/verb_keys.c": "int x;\n"},
}
tree.run_check(check, sys.argv[1], BAD, GOOD)
