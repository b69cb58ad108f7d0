#!/usr/bin/env python3
"""Denied and unknown: what may not be used and what is not there are answered alike, to the byte and in the same time.

Pairs of calls, one for a key that is there and not this user's, the other for one that is not there, for every method that names a key, by name and by id, and for files that name none. How the difference is
judged: timing_pairs.c. The control: five microseconds more in one of the two are noticed. TOKEND_TIMING_PAIRS says how many pairs (4,000 unless said); 100,000 take some minutes.
"""
import json
import os
import secrets
import subprocess
import sys

import broker
import wrapping
from broker import BIN, Daemon, Failed, check, error_of, seal_pin

PAIRS = int(os.environ.get("TOKEND_TIMING_PAIRS", "4000"))
PROGRAM = BIN.parent / "tests/timing_pairs"
CONTROL_NS = 5000


def message(method, parameters):
    return json.dumps({"method": f"io.tokend.{method}", "parameters": parameters})


def calls(daemon, theirs_id, x25519, p256):
    """What is asked, with the name that is denied and the one that is unknown."""
    nothing, pin = secrets.token_hex(16), seal_pin(daemon, b"123456")
    for place, denied, unknown in (("name", "theirs", "nobody"), ("id", theirs_id, nothing)):
        for kind, stanzas in (("X25519", x25519), ("p256tag", p256)):
            yield f"Unwrap, {kind}, by {place}", [(message("Unwrap", {"key": name, "stanzas": stanzas}), name) for name in (denied, unknown)]
        for method, more in (("GetKeys", {}), ("Lock", {}), ("Unlock", {"sealedPin": pin})):
            yield f"{method}, by {place}", [(message(method, {"key": name, **more}), name) for name in (denied, unknown)]
    # No name: files for a key that is not his, and for nobody at all.
    other = [{**p256[0], "arguments": ["AAAAAA", p256[0]["arguments"][1]]}]
    yield "Unwrap, no name, p256tag", [(message("Unwrap", {"stanzas": stanzas}), "") for stanzas in (p256, other)]
    yield "Unwrap, no name, X25519", [(message("Unwrap", {"stanzas": stanzas}), "") for stanzas in (x25519, [broker.damaged(x25519[0], 1)])]


def differ(daemon, pairs, spin, pair):
    (a, a_name), (b, b_name) = pair
    done = subprocess.run([PROGRAM, daemon.socket, str(pairs), str(spin), a, a_name, b, b_name], capture_output=True, text=True, timeout=1200, check=False)
    check(done.returncode in (0, 3), done.stderr)
    return done.returncode == 3, done.stdout.strip()


def settled(daemon, spin, pair, wanted):
    """Chance and a busy machine can mislead once; what is so is so with four times the pairs, and then with sixteen times."""
    for more in (1, 4, 16):
        found, text = differ(daemon, PAIRS * more, spin, pair)
        if found == wanted:
            return text
    raise Failed(f"{'no difference is noticed' if wanted else 'there is a difference'}: {text}")


def main():
    uid = os.getuid()
    policy = f"permit admin key * user {uid}\npermit unwrap list key mine user {uid}\n"
    with Daemon(policy=policy) as daemon:
        theirs = daemon.enroll("theirs", "x25519")
        x25519 = [wrapping.wrap(theirs["recipient"], secrets.token_bytes(16))[0]]
        recipient = daemon.enroll("theirs.p256")["recipient"]
        daemon.enroll("mine")
        p256 = [wrapping.wrap(recipient, secrets.token_bytes(16))[0]]
        pairs = dict(calls(daemon, theirs["id"], x25519, p256))
        for name, pair in pairs.items():
            print(f"     {name}: {settled(daemon, 0, pair, False)}", flush=True)
        name, pair = next(iter(pairs.items()))
        print(f"     control, {CONTROL_NS} ns, {name}: {settled(daemon, CONTROL_NS, pair, True)}", flush=True)
        check(error_of(daemon.call("GetKeys", {"key": "theirs"})) == "Denied", "it is not denied")
        print(f"{len(pairs)} calls, {PAIRS} pairs each: the same answer, no difference in time; {CONTROL_NS} ns are noticed")


if __name__ == "__main__":
    try:
        main()
    except (Failed, OSError, subprocess.SubprocessError, KeyError, TypeError, ValueError) as problem:
        print(f"FAIL: {type(problem).__name__}: {problem}", flush=True)
        sys.exit(1)
