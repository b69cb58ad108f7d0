#!/usr/bin/env python3
"""What a request costs among many keys and many rules: scale.py [KEYS RULES]. Two daemons, one with a handful, one with that many; the same requests to both in turn, and the processor time that the
broker of each took for them, as the kernel counts it: on a busy machine that stays what it is. Beside it, what may grow with the number: start and memory.

The many keys are made up: they have public halves and blobs, and nobody opens anything with them.
"""
import os
import pathlib
import re
import secrets
import signal
import subprocess
import sys
import time

import broker
import wrapping
from broker import Daemon, check, error_of

BLOCK, BLOCKS = 200, 9
TRIES = 4
RULES = "permit unwrap list admin key * user 0\n"
# Of the same request among few: the goal is 1.1, and what this machine does beside it must not fail the test. One look at each key or rule would be ten times as much.
MOST = 2


def processor_ns(pid):
    """Of all its threads."""
    return sum(int(path.read_text().split()[0]) for path in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat"))


def memory_kib(pid):
    return int(re.search(r"^VmRSS:\s*(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1])


def made_up_keys(state, count):
    """count more in the form of those that are there: half of each kind."""
    templates = {}
    for path in (state / "keys").glob("*.key"):
        text = path.read_text()
        kind = re.search(r"^kind: (\S+)$", text, re.MULTILINE)[1]
        templates[kind] = (text, path.with_suffix(".0.pem").read_text())
    point = wrapping.multiply(secrets.randbelow(wrapping.ORDER), wrapping.GENERATOR)
    for number in range(count):
        kind = ("p256", "x25519")[number % 2]
        if kind == "p256":
            point = wrapping.add(point, wrapping.GENERATOR)
            public = wrapping.encode(point)
            recipient = wrapping.bech32_encode("age1tag", bytes([2 + point[1] % 2]) + public[1:33])
        else:
            public = secrets.token_bytes(32)
            recipient = wrapping.bech32_encode("age", public)
        key = secrets.token_hex(16)
        text, blob = templates[kind]
        for member, value in (("id", key), ("name", f"many/{number}"), ("public", public.hex()), ("recipient", recipient)):
            text = re.sub(rf"^{member}: .*$", f"{member}: {value}", text, flags=re.MULTILINE)
        for suffix, content in ((".key", text), (".0.pem", blob)):
            path = state / "keys" / (key + suffix)
            path.write_text(content)
            path.chmod(0o600)


def made_up_rules(count):
    """About other people and other keys, in front of the one that counts; one in ten names us as well, with a key that there is not."""
    lines = [f"permit unwrap list key many/{number} user {100000 + number} via age" if number % 2 else f"deny unwrap key many/{number} user {100000 + number}" for number in range(count - 1)]
    lines[::10] = [f"deny unwrap key gone/{number} user 0" for number in range(len(lines[::10]))]
    return "\n".join(lines) + "\n" + "permit unwrap list admin key host user 0\npermit unwrap list admin key legacy user 0\n"


class Subject:
    def __init__(self, daemon):
        self.daemon = daemon
        self.pid = daemon.broker()
        self.connection = daemon.connect()
        p256 = broker.stanzas(broker.seal_p256(self.recipient("host")))
        x25519 = broker.stanzas(broker.seal(self.recipient("legacy")))
        self.requests = {
            "unwrap by name, x25519": ("Unwrap", {"key": "legacy", "stanzas": x25519}, ""),
            "unwrap without a name, x25519": ("Unwrap", {"stanzas": x25519}, ""),
            "unwrap without a name, p256": ("Unwrap", {"stanzas": p256}, ""),
            "unwrap by a name that is none": ("Unwrap", {"key": "nobody/has/it", "stanzas": x25519}, "NotFound"),
            "status": ("GetStatus", {}, ""),
            "one key": ("GetKeys", {"key": "host"}, ""),
        }

    def recipient(self, name):
        return self.daemon.result("GetKeys", {"key": name})["keys"][0]["recipient"]

    def ask(self, name):
        method, parameters, error = self.requests[name]
        reply = self.connection.call(method, parameters)
        check(error_of(reply) == error or (error and "error" in reply), f"{name}: {reply}")

    def block(self, name):
        before = processor_ns(self.pid)
        for _ in range(BLOCK):
            self.ask(name)
        return (processor_ns(self.pid) - before) / BLOCK / 1000


def compare(few, many, name):
    for subject in (few, many):
        for _ in range(20):
            subject.ask(name)
    times = {id(few): [], id(many): []}
    for number in range(BLOCKS):
        for subject in (few, many) if number % 2 else (many, few):
            times[id(subject)].append(subject.block(name))
    # What disturbs a block makes it longer, never shorter.
    fastest = {subject: sorted(blocks)[1] for subject, blocks in times.items()}
    return fastest[id(many)] / fastest[id(few)], fastest[id(few)]


def list_all(daemon, expected):
    """By the command line: a list is no longer than it need be, and has all of them."""
    began = time.monotonic()
    listed = subprocess.run([broker.BIN / "tokenctl", "keys"], env={"TOKEND_RUNTIME_DIR": str(daemon.run)}, capture_output=True, timeout=60, check=False)
    check(listed.returncode == 0, f"tokenctl keys: {listed.stderr.decode()}")
    check(len(listed.stdout.splitlines()) == expected + 1, f"tokenctl keys lists {len(listed.stdout.splitlines()) - 1} keys of {expected}")
    print(f"     tokenctl keys: {expected:,} keys in {(time.monotonic() - began) * 1000:.0f} ms", flush=True)


def main():
    keys, rules = (int(word) for word in (sys.argv[1:3] or ("10000", "5000")))
    # All on one processor: an answer of a few microseconds costs a process four times as much when it is woken from another one, and which processor it is on nobody chose.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with Daemon(policy=RULES) as few_daemon, Daemon(policy=RULES) as many_daemon:
        for daemon in (few_daemon, many_daemon):
            daemon.enroll("host")
            daemon.enroll("legacy", "x25519")
        rss = memory_kib(many_daemon.broker())
        many_daemon.stop()
        made_up_keys(many_daemon.directory / "state", keys)
        many_daemon.write("policy.d/50-test.conf", made_up_rules(rules))
        began = time.monotonic()
        many_daemon.start()
        start = time.monotonic() - began
        few, many = Subject(few_daemon), Subject(many_daemon)
        print(f"     {keys:,} keys and {rules:,} rules: ready after {start * 1000:.0f} ms, {(memory_kib(many.pid) - rss) / 1024:.1f} MiB more", flush=True)
        slow = []
        for name in few.requests:
            # What costs more does so each time; what disturbs the machine does not.
            ratio = MOST + 1
            for _ in range(TRIES):
                if ratio > MOST:
                    ratio, microseconds = compare(few, many, name)
            print(f"     {name}: {microseconds:.1f} us of the broker, {ratio:.2f} of that among many", flush=True)
            if ratio > MOST:
                slow.append(f"{name}: {ratio:.2f}")
        check(not slow, f"among many it costs more: {'; '.join(slow)}")
        list_all(many_daemon, 2)
        many_daemon.write("policy.d/50-test.conf", RULES)
        many_daemon.process.send_signal(signal.SIGHUP)
        broker.wait_for(lambda: many_daemon.result("GetStatus")["policyRules"] == 1, 10, "the policy is loaded anew")
        list_all(many_daemon, keys + 2)


if __name__ == "__main__":
    try:
        main()
    except broker.Failed as problem:
        sys.exit(f"FAIL: {problem}")
