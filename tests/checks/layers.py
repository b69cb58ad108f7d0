#!/usr/bin/env python3
"""The layer rule: includes are written from the root, and only the arrows below exist. usage: layers.py ROOT"""
import re
import sys

import tree

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)

# The helper library is the part of common/ that stands above formats/: it unwraps file keys inside a helper process.
HELPER = "common/helper"

# Who may include what: folder or file-name beginning, to the beginnings of what it may include. The longest matching row counts.
ARROWS = {
    "common/": ("common/",),
    HELPER: ("common/", "formats/filekey.h", "formats/tpmkey.h"),
    "formats/": ("common/", "formats/"),
    "tokend/": ("common/", "formats/", "tokend/"),
    "tpm/": ("common/", "formats/filekey.h", "formats/tpmkey.h", "tpm/"),
    "pkcs11/": ("common/", "formats/filekey.h", "formats/tpmkey.h", "pkcs11/"),
    "cli/": ("common/", "formats/", "cli/", "tokend/policy.h", "tokend/peer.h", "tokend/text.h"),
}

# Arrows that stay forbidden inside what the rows above allow.
FORBIDDEN = (
    # Front-ends know nothing of policy, keys or tokens.
    ("tokend/frontend/", ("tokend/policy.h", "tokend/keyring.h", "tokend/audit.h", "tokend/token.h", "tokend/worker.h", "common/token.h")),
    ("tokend/wire/", ("tokend/",)),
    # Policy is a pure function of peer, front-end, operation and name.
    ("tokend/policy", ("tokend/keyring.h", "tokend/request.h", "tokend/audit.h", "tokend/worker.h", "tokend/client.h", "tokend/token.h",
                       "tokend/frontend")),
    # What runs in a helper process is no business of those who talk to it.
    ("tokend/", (HELPER,)),
    ("cli/", (HELPER, "common/token.h")),
    ("formats/", (HELPER,)),
)


def allowed(path, include):
    rows = [beginning for beginning in ARROWS if path.startswith(beginning)]
    if not rows:
        return True
    if not include.startswith(ARROWS[max(rows, key=len)]):
        return False
    for beginning, forbidden in FORBIDDEN:
        inside_wire = beginning == "tokend/wire/" and include.startswith("tokend/wire/")
        if path.startswith(beginning) and include.startswith(forbidden) and not inside_wire:
            return False
    return True


def check(root):
    problems = []
    known = {str(path) for path in tree.files(root)}
    for path in tree.files(root, tree.PRODUCT + ("tests",)):
        text = tree.blank(tree.read(root, path), strings=False)
        for match in INCLUDE.finditer(text):
            include = match.group(1)
            where = f"{path}:{tree.line_of(text, match.start())}"
            if "/" not in include or ".." in include or include not in known:
                problems.append(f'{where}: "{include}" is not a header written from the root')
            elif not allowed(str(path), include):
                problems.append(f"{where}: {include} is above this layer")
    return problems


GOOD = {
    "common/err.h": "#pragma once\n",
    "common/token.h": "#pragma once\n",
    "common/helper.h": '#pragma once\n#include "common/err.h"\n',
    "common/helper_keys.c": '#include "formats/filekey.h"\n',
    "formats/filekey.h": '#pragma once\n#include "common/err.h"\n',
    "formats/armor.h": "#pragma once\n",
    "tokend/policy.h": '#pragma once\n#include "common/err.h"\n',
    "tokend/keyring.h": "#pragma once\n",
    "tokend/wire/varlink.h": "#pragma once\n",
    "tokend/wire/varlink.c": '#include "tokend/wire/varlink.h"\n',
    "tpm/seal.h": "#pragma once\n",
    "cli/verb.c": '#include <stdio.h>\n#include "tokend/policy.h"\n#include "formats/armor.h"\n/* #include "tpm/seal.h" */\n',
}
BAD = {
    "common includes formats": {"common/bad.c": '#include "formats/armor.h"\n'},
    "formats includes tokend": {"formats/bad.c": '#include "tokend/policy.h"\n'},
    "the broker includes the TPM": {"tokend/bad.c": '#include "tpm/seal.h"\n'},
    "the command line includes the broker": {"cli/bad.c": '#include "tokend/keyring.h"\n'},
    "the helper includes armor": {"tpm/bad.c": '#include "formats/armor.h"\n'},
    "a front-end includes the keyring": {"tokend/frontend/bad.c": '#include "tokend/keyring.h"\n'},
    "the wire includes policy": {"tokend/wire/bad.c": '#include "tokend/policy.h"\n'},
    "policy includes the keyring": {"tokend/policy_rules.c": '#include "tokend/keyring.h"\n'},
    "the broker includes the helper": {"tokend/bad.c": '#include "common/helper.h"\n'},
    "an include that is not from the root": {"common/bad.c": '#include "err.h"\n'},
    "an include that goes up": {"common/bad.c": '#include "../common/err.h"\n'},
}

tree.run_check(check, sys.argv[1], BAD, GOOD)
