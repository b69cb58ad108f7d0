#!/usr/bin/env python3
"""Canaries: 24 secrets go through tokend and its clients, with everything logged that can be, and are looked for wherever they must not appear.

Looked through: what the processes log at level debug, the audit log and the rest of the state directory, all that clients write to stdout, stderr and their terminal (but the one payload that was
asked for), and the arguments and environment of every process that runs meanwhile. Each secret is looked for as it is, in halves, backwards, in hex and in base64 (wrapping.encodings).

The control: a word that is no secret goes the same ways and has to be found in every one of these places.
"""
import base64
import json
import os
import pathlib
import pty
import secrets
import select
import signal
import subprocess
import sys
import threading
import time

import broker
import wrapping
from broker import AGE, BIN, Daemon, Failed, check, error_of, seal_pin, wait_for
from memory import age_file

CONTROL = f"control{secrets.token_hex(8)}"


class Search:
    """The secrets, and the text of each place."""

    def __init__(self):
        self.values = {}
        self.forms = []
        self.searched = 0

    def add(self, name, value):
        check(name not in self.values, f"two secrets are called {name}")
        self.values[name] = value
        self.forms += [(name, kind, form) for kind, form in wrapping.encodings(value)] + [(name, "whole", value)]
        return value

    def hits(self, text):
        self.searched += len(text)
        return [f"{name} ({kind})" for name, kind, form in self.forms if form in text]

    def check_forms(self):
        """Each form of each secret is found where it is planted."""
        for name, kind, form in self.forms:
            check(f"{name} ({kind})" in self.hits(secrets.token_bytes(99) + form + secrets.token_bytes(99)), f"{name} is not found as {kind}")


class Watch(threading.Thread):
    """Reads the arguments and the environment of every process that began after it did, over and over. A process whose memory is closed shows its environment to root only."""

    def __init__(self):
        super().__init__(daemon=True)
        self.old = set(os.listdir("/proc"))
        self.seen = {"cmdline": set(), "environ": set()}
        self.pids = set()
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.003):
            for pid in set(os.listdir("/proc")) - self.old:
                if pid.isdigit():
                    self.look(pid)

    def look(self, pid):
        for name, seen in self.seen.items():
            try:
                seen.add(pathlib.Path(f"/proc/{pid}/{name}").read_bytes())
                self.pids.add(pid)
            except OSError:
                pass

    def text(self, name):
        return b"\n".join(self.seen[name])


class Bench:
    def __init__(self, daemon):
        self.daemon = daemon
        self.search = Search()
        self.written = bytearray()  # by clients, to stdout, stderr and terminals
        self.environment = {**os.environ, "TOKEND_RUNTIME_DIR": str(daemon.run), "PATH": f"{BIN}:{os.environ['PATH']}"}
        self.operations = 0

    def path(self, name):
        return str(self.daemon.directory / name)

    def file(self, name, data):
        path = self.daemon.directory / name
        path.write_bytes(data)
        path.chmod(0o600)
        return str(path)

    def canary(self, name, value):
        return self.search.add(name, value)

    def pin(self, name):
        return self.file(f"{name}.pin", self.canary(f"PIN {name}", base64.b32encode(secrets.token_bytes(10))) + b"\n")

    def identity(self, name):
        key = self.canary(f"identity {name}", secrets.token_bytes(32))
        text = wrapping.bech32_encode("age-secret-key-", key).upper()
        self.search.forms.append((f"identity {name}", "bech32", text[16:-6].encode()))
        self.search.forms.append((f"identity {name}", "bech32 small", text[16:-6].lower().encode()))
        return wrapping.bech32_encode("age", wrapping.scalarmult(key)), self.file(f"{name}.txt", text.encode() + b"\n")

    def stanza(self, name, label):
        file_key = self.canary(f"file key {label}", secrets.token_bytes(16))
        recipient = self.daemon.result("GetKeys", {"key": name})["keys"][0]["recipient"]
        return wrapping.wrap(recipient, file_key)[0], file_key

    def run(self, *command, status=0, expected=None, **more):
        """expected: the payload that was asked for, which is not looked through. status None: any failure."""
        more = {"stdin": subprocess.DEVNULL, "start_new_session": True, "env": self.environment, **more}
        if "input" in more:
            del more["stdin"]
        done = subprocess.run([str(word) for word in command], capture_output=True, timeout=60, check=False, **more)
        as_it_should = done.returncode != 0 if status is None else done.returncode == status
        check(as_it_should, f"{command} ended with {done.returncode}: {done.stderr.decode()}")
        if expected is None:
            self.written += done.stdout
        else:
            check(done.stdout == expected, f"{command} wrote something else than was sealed")
        self.written += done.stderr
        self.operations += 1
        return done.stdout

    def tool(self, *arguments, **more):
        return self.run(BIN / "tokenctl", *arguments, **more)

    def typing(self, answers, *command):
        """Somebody types at the prompts; what stands on the terminal is looked through."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.execvpe(str(command[0]), [str(word) for word in command], self.environment)
        shown, end = b"", time.monotonic() + 30
        answers = list(answers)
        try:
            while time.monotonic() < end:
                if select.select([terminal], [], [], 0.2)[0]:
                    try:
                        piece = os.read(terminal, 4096)
                    except OSError:
                        piece = b""
                    if not piece:
                        break
                    shown += piece
                if answers and answers[0][0] in shown[-200:]:
                    os.write(terminal, answers.pop(0)[1] + b"\n")
                    shown += b"\n" * 200
        finally:
            if time.monotonic() >= end:
                os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
            os.close(terminal)
        check(status == 0 and not answers, f"{command}: {status}, {len(answers)} answers left: {shown}")
        self.written += shown
        self.operations += 1


def enroll(bench):
    for kind in ("p256", "x25519", "symmetric"):
        bench.tool("enroll", "--name", f"made.{kind}", "--kind", kind)
    _, legacy = bench.identity("legacy")
    bench.tool("enroll", "--name", "legacy", "--kind", "x25519", "--import", legacy)
    bench.tool("enroll", "--name", "legacy", "--kind", "x25519", "--import", bench.identity("refused")[1], status=None)
    bench.tool("enroll", "--name", "held", "--kind", "x25519", "--import", bench.identity("held")[1], "--class", "session", "--pin-file", bench.pin("held"))
    bench.tool("enroll", "--name", "safe", "--class", "session", "--pin-file", bench.pin("safe"))
    bench.tool("lock")
    bad = bench.identity("torn")[1]
    bench.file("torn.txt", pathlib.Path(bad).read_bytes()[:-3] + b"\n")
    bench.tool("enroll", "--name", "torn", "--kind", "x25519", "--import", bad, status=None)


def unlock(bench):
    wrong = bench.pin("wrong")
    bench.tool("unlock", "held", "--pin-file", wrong, status=5)
    for name in ("held", "safe"):
        bench.tool("unlock", name, "--pin-file", bench.path(f"{name}.pin"))
        stanza, file_key = bench.stanza(name, name)
        reply = bench.daemon.result("Unwrap", {"key": name, "stanzas": [stanza]})
        check(base64.b64decode(reply["fileKey"]) == file_key, f"{name}: another file key")
        bench.tool("lock", name)
        check(error_of(bench.daemon.call("Unwrap", {"key": name, "stanzas": [stanza]})) == "PinNeeded", f"{name} is still open")
    bench.typing([(b"PIN", bench.search.values["PIN safe"])], BIN / "tokenctl", "unlock", "safe")
    # Sealed to nobody, and not sealed at all.
    stray = bench.canary("PIN stray", base64.b32encode(secrets.token_bytes(15)))
    sealed = bytearray(base64.b64decode(seal_pin(bench.daemon, stray)))
    sealed[40] ^= 1
    for value in (base64.b64encode(sealed).decode(), base64.b64encode(stray).decode(), stray.decode()):
        check("error" in bench.daemon.call("Unlock", {"key": "held", "sealedPin": value}), "a PIN that is not sealed was taken")


def unwrap(bench):
    for name in ("made.p256", "made.x25519", "legacy"):
        stanza, file_key = bench.stanza(name, name)
        for _ in range(2):
            reply = bench.daemon.result("Unwrap", {"key": name, "stanzas": [stanza]})
            check(base64.b64decode(reply["fileKey"]) == file_key, f"{name}: another file key")
        for wrong in ({"key": name, "stanzas": [broker.damaged(stanza, 1)]}, {"key": "nobody", "stanzas": [stanza]}, {"key": name, "stanzas": [stanza], "more": 1}):
            check("error" in bench.daemon.call("Unwrap", wrong), f"{name}: {wrong} was taken")


PAYLOADS = {
    "a line": lambda: b"password=" + secrets.token_urlsafe(24).encode() + b"\n",
    "an object": lambda: json.dumps({"user": "admin", "password": secrets.token_hex(20)}).encode(),
    "binary": lambda: secrets.token_bytes(64),
    "an option": lambda: b"--" + secrets.token_hex(20).encode(),
    "many lines": lambda: b"".join(b"KEY%d=%s\n" % (i, secrets.token_hex(6).encode()) for i in range(9)),
    "a format": lambda: b"%s%n%d" + secrets.token_hex(20).encode() + b"\x1b[31m",
}


def decrypt(bench):
    for number, (name, make) in enumerate(PAYLOADS.items()):
        payload = bench.canary(f"payload {name}", make())
        sealed = bench.path(f"payload{number}.age")
        for key in ("made.p256", "legacy"):
            bench.tool("encrypt", "--key", key, "-o", sealed, input=payload)
            bench.tool("decrypt", sealed, expected=payload)
            bench.tool("decrypt", "-o", bench.path("out"), sealed)
        torn = pathlib.Path(sealed).read_bytes()
        bench.tool("decrypt", input=torn[:-1], status=None)
        bench.tool("decrypt", input=torn[:60] + b"\xff" + torn[61:], status=None)
    # Longer than a chunk: the first one is right and goes out, the second is torn.
    large = bench.canary("payload large", secrets.token_bytes(128)) + bytes(200000)
    bench.tool("encrypt", "--key", "legacy", "-o", bench.path("large.age"), input=large)
    bench.tool("decrypt", bench.path("large.age"), expected=large)
    bench.tool("decrypt", "-o", bench.path("none"), input=pathlib.Path(bench.path("large.age")).read_bytes()[:-9], status=None)


def own_keys(bench):
    """Identity files and passphrases, for which no daemon is needed."""
    recipient, path = bench.identity("own")
    bench.tool("encrypt", "-r", recipient, "-o", bench.path("own.age"), input=b"own")
    bench.tool("decrypt", "-i", path, bench.path("own.age"), expected=b"own")
    bench.tool("decrypt", "-i", bench.path("torn.txt"), bench.path("own.age"), status=None)
    bench.tool("decrypt", "-i", bench.file("two.txt", pathlib.Path(path).read_bytes() + b"not a key\n"), bench.path("own.age"), status=None)
    phrase = bench.canary("passphrase", secrets.token_hex(12).encode())
    bench.typing([(b"Passphrase", phrase), (b"again", phrase)], BIN / "tokenctl", "encrypt", "-p", "-o", bench.path("phrase.age"), path)
    bench.typing([(b"Passphrase", phrase)], BIN / "tokenctl", "decrypt", "-o", bench.path("phrase.out"), bench.path("phrase.age"))


def plugin(bench):
    identity = bench.file("tokend.identity", bench.tool("identity"))
    for name in ("made.p256", "legacy"):
        stanza, file_key = bench.stanza(name, f"{name} by plugin")
        file = bench.file("by-hand.age", age_file(stanza, file_key, b"by hand"))
        bench.run(AGE, "-d", "-i", identity, file, expected=b"by hand")
        bench.tool("decrypt", file, expected=b"by hand")
    bench.tool("lock")
    locked = bench.file("safe.identity", bench.tool("identity", "safe"))
    bench.tool("encrypt", "--key", "safe", "-o", bench.path("safe.age"), input=b"safe")
    bench.run(AGE, "-d", "-i", locked, bench.path("safe.age"), status=1)
    bench.typing([(b"PIN of the key safe", bench.search.values["PIN safe"])], AGE, "-d", "-o", bench.path("safe.out"), "-i", locked, bench.path("safe.age"))


def rest(bench):
    for words in (["status", "--json"], ["tokens", "--json"], ["keys", "--json"], ["recipient"], ["identity"], ["audit", "show", "--last", "1000"], ["audit", "verify"]):
        bench.tool(*words)
    # What doctor thinks of this machine is no matter here.
    bench.run("sh", "-c", f"'{BIN}/tokenctl' doctor || true")


def control(bench, watch):
    """The word goes everywhere: as a key's name, in the name of a policy that does not parse, and to a client that waits."""
    daemon = bench.daemon
    bench.tool("enroll", "--name", CONTROL)
    bench.tool("keys")
    bench.tool("unlock", f"{CONTROL}.no", "--pin-file", bench.path("safe.pin"), status=None)
    daemon.write(f"policy.d/60-{CONTROL}.conf", "nonsense\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: CONTROL in daemon.log_text(), 20, "the policy that does not parse is logged")
    waiting = subprocess.Popen([BIN / "tokenctl", "decrypt"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env={**bench.environment, "WORD": CONTROL})
    try:
        wait_for(lambda: CONTROL.encode() in watch.text("environ"), 20, "the word is in an environment")
    finally:
        waiting.stdin.close()
        waiting.wait(20)


def places(bench, watch):
    state = b"\n".join(path.read_bytes() for path in sorted((bench.daemon.directory / "state").rglob("*")) if path.is_file() and path.name != "audit.log")
    return {"the log": bench.daemon.log_text().encode(), "the audit log": (bench.daemon.directory / "state/audit.log").read_bytes(), "the state": state,
            "what clients wrote": bytes(bench.written), "arguments": watch.text("cmdline"), "environments": watch.text("environ")}


def main():
    watch = Watch()
    watch.start()
    with Daemon(configuration="log-level debug\n", policy="permit unwrap list admin key * user 0\n") as daemon:
        bench = Bench(daemon)
        for step in (enroll, unlock, unwrap, decrypt, own_keys, plugin, rest):
            step(bench)
        control(bench, watch)
        check("is process" in daemon.log_text(), "nothing was logged at level debug")
        check(daemon.stop() == 0, "exit status of tokend")
        watch.ended.set()
        watch.join()
        bench.search.check_forms()
        bench.search.searched = 0
        for place, text in places(bench, watch).items():
            check(CONTROL.encode() in text, f"control: what goes everywhere is not found in {place}")
            found = bench.search.hits(text)
            check(not found, f"{place}: {', '.join(found)}")
        count = len(bench.search.values)
        check(count == 24, f" {count} secrets")
        print(f"{count} secrets in {len(bench.search.forms)} forms, {bench.operations} runs of clients, {len(watch.pids)} processes, "
              f"{bench.search.searched >> 10} KiB in 6 places: 0 found; the control is found in each")


if __name__ == "__main__":
    try:
        main()
    except (Failed, OSError, subprocess.SubprocessError, KeyError, ValueError) as problem:
        print(f"FAIL: {type(problem).__name__}: {problem}", flush=True)
        sys.exit(1)
