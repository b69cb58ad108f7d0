#!/usr/bin/env python3
"""Each allocation and each call of the kernel that can fail, of each operation, made to fail once (tests/fake/call_faults.c): faults.py broker | helper | supervisor | start | tokenctl.

First an operation's calls are counted, then it is done as often as it has them, each time with another one of them failing. Whatever fails: the answer is right or a documented error in one sentence, by its
deadline; the process of the daemon goes on and has no more descriptors than before; nothing is half written; and the same operation works when nothing fails. How many points there were is printed.

Of the helper, the supervisor and the start there are so many points that only some are tried, which a seed chooses (printed; TOKEND_TEST_SEED=NUMBER for the same again; TOKEND_TEST_POINTS=NUMBER for as many of each kind). TOKEND_TEST_POINTS=all tries each.
TOKEND_TEST_OPERATION=NAME tries one operation only, TOKEND_TEST_CALLS=FIRST-LAST of each kind those calls, each of them.
"""
import base64
import mmap
import os
import pathlib
import random
import re
import secrets
import signal
import struct
import subprocess
import sys
import tempfile
import time

import broker
import wrapping
from broker import BIN, Daemon, Failed, check, error_of, seal_pin, wait_for

SHIM = BIN.parent / "tests/libcall_faults.so"
PLAN = struct.Struct("=IiII16s32s")
KINDS = {"memory": 1, "files": 2, "sockets": 4, "pages": 8, "processes": 16, "events": 32, "channel": 64, "device": 128}
OWN = ("memory", "files", "sockets")  # what every process does in every operation
POINTS = os.environ.get("TOKEND_TEST_POINTS", "")
CALLS = os.environ.get("TOKEND_TEST_CALLS", "")
SEED = int(os.environ.get("TOKEND_TEST_SEED") or secrets.randbelow(1 << 32))
CHANCE = random.Random(SEED)
DOCUMENTED = set(re.findall(r"^error (\w+)", (broker.SOURCE / "tokend/io.tokend.varlink").read_text(), re.MULTILINE))
MOST = 20000  # calls in one operation; there are fewer, or the test does not end
LEAK_KIB = 256


def chosen(calls, most):
    """Which of so many are tried."""
    if CALLS:
        first, last = map(int, CALLS.split("-"))
        return range(first, min(last, calls) + 1)
    most = calls if POINTS == "all" else int(POINTS or most)
    if calls <= most:
        return range(1, calls + 1)
    return sorted(CHANCE.sample(range(1, calls + 1), most))


class Plan:
    """What the shim is told, and what it has seen."""

    def __init__(self, path):
        self.path = path
        path.write_bytes(bytes(PLAN.size))
        path.chmod(0o666)
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)

    def begin(self, role, kinds, pid=0, target=0):
        self.map[:] = PLAN.pack(0, pid, target, 0, role.encode(), b"")
        self.map[:4] = struct.pack("=I", kinds)

    def end(self):
        """How many calls there were, and which one failed."""
        self.map[:4] = bytes(4)
        return PLAN.unpack(self.map)[3], self.failed()

    def failed(self):
        return PLAN.unpack(self.map)[5].rstrip(b"\0").decode()

    def environment(self, role):
        return {**os.environ, "LD_PRELOAD": str(SHIM), "CALL_FAULTS": str(self.path), "CALL_FAULTS_ROLE": role}


def descriptors(pid):
    """0 when it has ended meanwhile."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return 0


def state_files(daemon):
    return sorted(path.name for path in (daemon.directory / "state/keys").iterdir())


def left_on_tpm(daemon):
    """Objects and sessions, once nobody else speaks with it."""
    environment = {**os.environ, "TPM2TOOLS_TCTI": daemon.tpms[0].uri.removeprefix("tpm:"), "TSS2_LOG": "all+none"}
    return [handle for kind in ("handles-transient", "handles-loaded-session") for handle in
            subprocess.run(["tpm2_getcap", kind], env=environment, capture_output=True, text=True, timeout=20, check=True).stdout.split() if handle != "-"]


# ---- the processes of the daemon ----

# Which calls of each fail, how many of them are tried of each kind unless all are, and in which operations; all in those that the process has no part in would be none.
ROLES = {
    "broker": (OWN, MOST, None),
    "helper": (("memory", "sockets", "pages", "device"), 8, ("unwrap, x25519", "unwrap, p256", "enroll", "import", "unlock", "lock", "tokens")),
    "supervisor": (("files", "processes", "channel"), 8, ("restart", "reload")),
    "child": (("files", "processes"), 8, ("restart",)),
}


class Subject:
    """A daemon of whose processes the calls of one fail, and the operations that are asked of it."""

    def __init__(self, plan, role):
        self.plan, self.points, self.number = plan, 0, 0
        self.daemon = Daemon(policy="permit unwrap list admin key * user 0\n", env=plan.environment("supervisor"))
        self.failing = {}
        self.use(role)
        daemon = self.daemon
        self.files = {name: broker.stanzas(seal(daemon.enroll(name, kind)["recipient"])) for name, kind, seal in (("quick", "x25519", broker.seal), ("device", "p256", broker.seal_p256))}
        self.pin = b"246-810"
        daemon.result("Enroll", {"name": "safe", "kind": "p256", "class": "session", "sealedPin": seal_pin(daemon, self.pin)})
        self.pid = daemon.broker()
        self.right = {name: daemon.result("Unwrap", {"key": name, "stanzas": stanzas})["fileKey"] for name, stanzas in self.files.items()}

    def use(self, role):
        self.role, (self.kinds, self.most, self.wanted) = role, ROLES[role]

    def call(self, method, parameters=None):
        """The reply; None when the connection was ended, or could not be made."""
        try:
            connection = self.daemon.connect(15)
        except OSError:
            return None
        try:
            connection.ask("io.tokend." + method, parameters)
            return connection.answer()
        except (BrokenPipeError, ConnectionResetError):
            return None
        finally:
            connection.close()

    def unwrap(self, name):
        reply = self.call("Unwrap", {"key": name, "stanzas": self.files[name]})
        if reply and "error" not in reply:
            check(reply["parameters"]["fileKey"] == self.right[name], "another file key")
        return reply

    def enroll(self, **more):
        self.number += 1
        name, before = f"new.{self.number}", state_files(self.daemon)
        reply = self.call("Enroll", {"name": name, "kind": "p256", "class": "boot", **more})
        self.after = lambda: self.judge_enrolment(name, before, reply)
        return reply

    def sealed(self, secret):
        """To the helper that is there now; while nothing fails."""
        return seal_pin(self.daemon, secret)

    def imported(self):
        sealed = self.sealed(secrets.token_bytes(32))
        return lambda: self.enroll(kind="x25519", sealedKey=sealed)

    def unlock(self):
        """Of a key that is locked, so that it is loaded as well."""
        self.call("Lock", {})
        sealed = self.sealed(self.pin)
        return lambda: self.call("Unlock", {"key": "safe", "sealedPin": sealed})

    def lock(self):
        self.unlock()()
        return lambda: self.call("Lock", {})

    def another_helper(self):
        """Its end is seen, and the next one is there for who asks then."""
        for pid in self.daemon.helpers():
            os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 5
        while True:
            reply = self.unwrap("device")
            if error_of(reply) != "NoToken" or time.monotonic() > end:
                return reply
            time.sleep(0.05)

    def judge_enrolment(self, name, before, reply):
        """There is the key with its two files, or nothing of it; and who was told that there is one has it. A file that could not be removed is removed at the next start."""
        there = error_of(self.call("GetKeys", {"key": name})) == ""
        new = [file for file in state_files(self.daemon) if file not in before and not (self.failed == "unlinkat" and file.endswith(".new"))]
        check(len(new) == (2 if there else 0), f"{name} is {'there' if there else 'not there'}, with the files {new}")
        check(there or not reply or "error" in reply, f"{name} was answered for, and is not there")

    def rotate(self):
        reply = self.call("RotateAudit", {})
        self.after = lambda: self.judge_logs(reply)
        return reply

    def judge_logs(self, reply):
        """All logs are one chain, and who was told that one was closed has it; of a beginning that failed nothing stays."""
        state = self.daemon.directory / "state"
        logs = sorted(state.glob("audit.log.0*")) + [state / "audit.log"]
        verified = subprocess.run([BIN / "tokenctl", "audit", "verify", *logs], capture_output=True, text=True, timeout=20, check=False)
        check(verified.returncode == 0, f"the logs: {verified.stderr}")
        check(not reply or "error" in reply or pathlib.Path(reply["parameters"]["file"]) in logs, f"{reply}, and there are {logs}")
        left = self.failed in ("unlinkat", "renameat", "linkat") or not ((state / "audit.log.next").exists() or logs[-1].stat().st_nlink > 1)
        check(left, f"what was begun stays: {list(state.iterdir())}")

    def reload(self):
        before = len(re.findall("loaded anew|not reloaded", self.daemon.log_text()))
        self.daemon.process.send_signal(signal.SIGHUP)
        said = lambda: len(re.findall("loaded anew|not reloaded", self.daemon.log_text())) > before or self.plan.failed() == "write"  # of the log itself
        wait_for(said, 10, "the policy is loaded anew, or says why not")
        return self.call("ExplainPolicy", {"operation": "unwrap", "key": "quick", "frontend": "age", "uid": 0})

    def operations(self):
        """Each as what makes it ready and gives what then is done."""
        plain = {
            "unwrap, x25519": lambda: self.unwrap("quick"),
            "unwrap, p256": lambda: self.unwrap("device"),
            "enroll": self.enroll,
            "keys": lambda: self.call("GetKeys", {}),
            "tokens": lambda: self.call("GetTokens", {}),
            "status": lambda: self.call("GetStatus", {}),
            "reload": self.reload,
            "rotate": self.rotate,
            "restart": self.another_helper,
        }
        every = {**{name: lambda act=act: act for name, act in plain.items()}, "import": self.imported, "unlock": self.unlock, "lock": self.lock}
        only = os.environ.get("TOKEND_TEST_OPERATION")
        return {name: ready for name, ready in every.items() if (name in self.wanted if self.wanted else name != "restart") and only in (None, name)}

    def recover(self, where):
        """When nothing fails any more, both keys open; a helper that ended is replaced in a second at most, and a release that a busy machine kept from the log is asked for again."""
        for name in self.files:
            replies = []

            def opens():
                replies.append(self.unwrap(name))
                return replies[-1] and not error_of(replies[-1])
            try:
                wait_for(opens, 10, "works again")
            except Failed as problem:
                raise Failed(f"{where}: {name}: {problem}: {replies[-1]}") from None

    def try_point(self, name, ready, kinds, target):
        """Whether the point was there."""
        operation = ready()
        self.after = lambda: None
        helpers = self.daemon.helpers()
        self.plan.begin(self.role, kinds, 0, target)
        began = time.monotonic()
        try:
            reply = operation()
        except TimeoutError:
            raise Failed(f"{name}, {self.plan.end()[1]} as call {target}: no answer") from None
        finally:
            count, failed = self.plan.end()
        where = f"{name}, {failed} as call {target}"
        check(time.monotonic() - began < 12, f"{where}: no answer in time")
        if not failed:
            return False
        self.failed = failed
        self.failing[failed] = self.failing.get(failed, 0) + 1
        error = error_of(reply) if reply else ""
        check(not error or error in DOCUMENTED or error.startswith("org.varlink.service."), f"{where}: {reply}")
        check(self.daemon.process.poll() is None and os.path.exists(f"/proc/{self.pid}"), f"{where}: the broker ended: {self.daemon.log_text()[-300:]}")
        try:
            self.after()
        except Failed as problem:
            raise Failed(f"{where}: {problem}") from None
        if self.role == "helper" and kinds == KINDS["memory"]:
            check(self.daemon.helpers() == helpers, f"{where}: the helper ended, and did not say that it has no memory")
        if self.role != "broker":
            self.recover(where)
        return True

    def count(self, ready, kinds):
        """The most that it was in three times: what it needs depends on what it finds."""
        counts = []
        for _ in range(3):
            operation = ready()
            self.plan.begin(self.role, kinds)
            operation()
            counts.append(self.plan.end()[0])
        return max(counts)

    def held_by_helper(self):
        """KiB of memory that is nobody else's."""
        held = 0
        for pid in self.daemon.helpers():
            try:
                found = re.search(r"^RssAnon:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
            except OSError:
                continue  # it has ended meanwhile
            held += int(found[1]) if found else 0
        return held

    def settled(self):
        """Descriptors of all that are there."""
        return sum(map(descriptors, (self.daemon.process.pid, self.pid, *self.daemon.helpers())))

    def run(self, name, ready):
        ready()()
        ready()()
        time.sleep(0.1)
        before = self.settled()
        points, there = 0, []
        for kind in self.kinds:
            calls = self.count(ready, KINDS[kind])
            there.append(f"{kind} {calls}")
            check(calls < MOST and (calls > 0 or self.role != "broker"), f"{name}: {calls} calls of {kind}")
            targets = chosen(calls, self.most)
            held = self.held_by_helper()
            struck = sum(self.try_point(f"{self.role}: {name}", ready, KINDS[kind], target) for target in targets)
            check(kind != "memory" or self.held_by_helper() - held < LEAK_KIB, f"{name}: after {struck} failures the helper holds {self.held_by_helper()} KiB where it held {held}")
            check(3 * struck >= len(targets) or kind not in (*OWN, "device"), f"{name}: only {struck} of {len(targets)} calls of {kind} were there to fail")
            points += struck
        check(points > 0, f"{name}: no call of {self.role} was there to fail")
        reply = None
        for _ in range(50):  # a release that a busy machine kept from the log in time is asked for again
            reply = ready()()
            if reply and not error_of(reply):
                break
            time.sleep(0.1)
        check(reply and not error_of(reply), f"{name}: when nothing fails: {reply}")
        wait_for(lambda: self.settled() <= before, 10, f"{name}: {self.settled()} descriptors where there were {before}")
        print(f"     {self.role}: {name}: {points} points of {', '.join(there)}", flush=True)
        self.points += points


def test_processes(plan, *roles):
    subject = Subject(plan, roles[0])
    with subject.daemon as daemon:
        for role in roles:
            subject.use(role)
            for name, ready in subject.operations().items():
                subject.run(name, ready)
        check(daemon.stop() == 0, "exit status")
        left = left_on_tpm(daemon)
        # Of helpers that were killed an object or two may stay, until their slots are needed.
        check(not left if roles == ("helper",) else len(left) <= 2 and not any(handle.startswith("0x02") for handle in left), f"on the TPM there is {left}")
        daemon.start()
        left = [name for name in state_files(daemon) if not re.fullmatch(r"[0-9a-f]{32}\.(key|0\.pem)", name)]
        check(not left, f"after another start there is {left}")
        verified = subprocess.run([BIN / "tokenctl", "audit", "verify", "--file", daemon.directory / "state/audit.log"], capture_output=True, text=True, timeout=20, check=False)
        check(verified.returncode == 0, f"the log: {verified.stderr}")
        print(f"     {subject.points} points: " + ", ".join(f"{call} {count}" for call, count in sorted(subject.failing.items())), flush=True)


# ---- the start ----

# Whose calls fail while tokend starts and its first request is answered, and how many of each kind are tried.
STARTING = {
    "supervisor": ("memory", "files", "sockets", "pages", "processes", "channel"),
    "broker": ("memory", "files", "sockets", "pages", "processes", "events", "channel"),
    "child": ("files", "processes"),
    "helper": ("memory", "files", "sockets", "pages", "processes", "channel"),
}
MOST_STARTS = 8


class Start:
    """A daemon with two keys that is started again and again."""

    def __init__(self, plan, daemon):
        self.plan, self.daemon, self.failing, self.refused, self.answer = plan, daemon, {}, 0, ""
        self.files = {name: broker.stanzas(seal(daemon.enroll(name, kind)["recipient"])) for name, kind, seal in (("quick", "x25519", broker.seal), ("device", "p256", broker.seal_p256))}
        self.right = {name: daemon.result("Unwrap", {"key": name, "stanzas": stanzas})["fileKey"] for name, stanzas in self.files.items()}
        check(daemon.stop() == 0, "exit status")

    def begin(self):
        """Whether it serves."""
        daemon = self.daemon
        self.before = len(daemon.log_text())
        daemon.process = subprocess.Popen(daemon.command(), stdin=subprocess.DEVNULL, stdout=daemon.log, stderr=daemon.log, env=self.plan.environment("supervisor"))

        def decided():
            try:
                connection = daemon.connect(5)
                connection.ask("org.varlink.service.GetInfo")
                answered = connection.answer() is not None
                connection.close()
            except (OSError, TimeoutError):
                answered = False
            return answered or daemon.process.poll() is not None
        wait_for(decided, 20, "tokend is ready, or ends")
        return daemon.process.poll() is None

    def opens(self, name):
        """Whether it does; otherwise it is told a documented error."""
        try:
            reply = self.daemon.call("Unwrap", {"key": name, "stanzas": self.files[name]})
        except (OSError, Failed):
            return False
        error = self.answer = error_of(reply)
        check(not error or error in DOCUMENTED, f"{name}: {reply}")
        check(error or reply["parameters"]["fileKey"] == self.right[name], f"{name}: another file key")
        return not error

    def leaves_out(self):
        return re.search("^tokend: keys/[0-9a-f.]+(key|pem): ", self.daemon.log_text()[self.before:], re.MULTILINE)

    def works(self):
        """Both keys open, at once or when a helper was started once more; but one that it said it leaves out, because its file cannot be read. False: it ended."""
        for name in self.files:
            wait_for(lambda: self.opens(name) or self.leaves_out() or self.daemon.process.poll() is not None, 10, f"{name} opens")
        return self.daemon.process.poll() is None

    def judge_end(self):
        """It did not start, or did not stay: it says why in a sentence, and its status says that it failed."""
        status = self.daemon.process.wait(10)
        said = self.daemon.log_text()[self.before:]
        check(0 < status < 9, f"it ended with {status}: {said}")
        check(any(re.match(r"tokend: \S+ \S+", line) for line in said.splitlines()), f"it ended with {status} and says only: {said}")
        self.refused += 1

    def once(self, role, kinds, target):
        """One start, of which one call failed; which."""
        self.plan.begin(role, kinds, 0, target)
        try:
            serves = self.begin() and self.works()
        except Failed as problem:
            self.daemon.process.kill()  # it may hang
            self.daemon.process.wait()
            raise Failed(f"{role}, {self.plan.end()[1]} as call {target}: {problem}, the last answer was {self.answer}; it said {self.daemon.log_text()[self.before:]!r}") from None
        finally:
            count, failed = self.plan.end()
        try:
            well = serves and self.daemon.stop() == 0
            if not well:
                self.judge_end()
            if not well or self.leaves_out():
                wait_for(self.begin, 10, "the next start, when nothing fails and the last one's broker has ended")
                check(not self.leaves_out() and self.works() and self.daemon.stop() == 0, "the next start, when nothing fails")
            left = [name for name in state_files(self.daemon) if not re.fullmatch(r"[0-9a-f]{32}\.(key|0\.pem)", name)]
            check(not left, f"in the state there is {left}")
        except Failed as problem:
            raise Failed(f"{role}, {failed} as call {target}: {problem}") from None
        return count, failed

    def exhaust(self, role):
        points, there = 0, []
        for kind in STARTING[role]:
            calls = self.once(role, KINDS[kind], 0)[0]
            check(calls < MOST, f"{role}: {calls} calls of {kind}")
            there.append(f"{kind} {calls}")
            for target in chosen(calls, MOST_STARTS):
                failed = self.once(role, KINDS[kind], target)[1]
                self.failing[failed] = self.failing.get(failed, 0) + bool(failed)
                points += bool(failed)
        check(points > 0, f"no call of {role} was there to fail")
        print(f"     {role}: {points} points of {', '.join(there)}", flush=True)
        return points


def test_start(plan):
    with Daemon(policy="permit unwrap list admin key * user 0\n") as daemon:
        start = Start(plan, daemon)
        only = os.environ.get("TOKEND_TEST_OPERATION")
        points = sum(start.exhaust(role) for role in STARTING if only in (None, role))
        told = ", ".join(f"{call} {count}" for call, count in sorted(start.failing.items()) if call)
        print(f"     {points} points, after {start.refused} of which tokend said why it does not start or stay: {told}", flush=True)


# ---- tokenctl ----

class Client:
    """tokenctl itself, each of whose calls fails in turn, beside a daemon that is well."""

    def __init__(self, plan, daemon):
        self.plan, self.daemon, self.number, self.failing = plan, daemon, 0, {}
        self.directory = daemon.directory / "work"
        self.directory.mkdir()
        self.environment = {**plan.environment("client"), "TOKEND_RUNTIME_DIR": str(daemon.run)}
        self.plain = b"a text that is no secret"
        (self.directory / "plain").write_bytes(self.plain)
        for name, kind in (("quick", "x25519"), ("device", "p256")):
            recipient = daemon.enroll(name, kind)["recipient"]
            self.run("encrypt", "-r", recipient, "-o", f"{name}.age", "plain")

    def run(self, *arguments):
        return subprocess.run([BIN / "tokenctl", *arguments], cwd=self.directory, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False, start_new_session=True)

    def decrypt(self, name):
        done = self.run("decrypt", "-o", "out", f"{name}.age")
        out = self.directory / "out"
        there = out.exists()
        check(not there or out.read_bytes() == self.plain, "the output file is not what was encrypted")
        check(there or done.returncode != 0, "it worked, and there is no output file")
        out.unlink(missing_ok=True)
        return done

    def encrypt(self):
        done = self.run("encrypt", "-k", "quick", "-o", "out", "plain")
        out = self.directory / "out"
        if out.exists():
            check(self.plain == subprocess.run([BIN / "tokenctl", "decrypt", out], env={"TOKEND_RUNTIME_DIR": str(self.daemon.run)}, capture_output=True, timeout=30, check=False).stdout, "what was encrypted does not open")
        check(out.exists() or done.returncode != 0, "it worked, and there is no output file")
        out.unlink(missing_ok=True)
        return done

    def imported(self):
        """With --shred: whatever happens the key is in the file still, or in tokend."""
        self.number += 1
        name, path = f"new.{self.number}", self.directory / "key.txt"
        key = secrets.token_bytes(32)
        text = wrapping.bech32_encode("age-secret-key-", key).upper().encode() + b"\n"
        path.write_bytes(text)
        path.chmod(0o600)
        done = self.run("enroll", "--name", name, "--kind", "x25519", "--import", "key.txt", "--shred")
        there = error_of(self.daemon.call("GetKeys", {"key": name})) == ""
        kept = path.exists() and path.read_bytes() == text
        check(kept or there, "the only copy of the key is lost")
        check(there or done.returncode != 0, "it worked, and there is no key")
        path.unlink(missing_ok=True)
        return done

    def operations(self):
        return {
            "decrypt, x25519": lambda: self.decrypt("quick"),
            "decrypt, p256": lambda: self.decrypt("device"),
            "encrypt": self.encrypt,
            "keys": lambda: self.run("keys"),
            "status": lambda: self.run("status"),
            "recipient": lambda: self.run("recipient", "device"),
            "audit verify": lambda: self.run("audit", "verify"),
            "import and shred": self.imported,  # last, for it makes keys
        }

    def judge(self, done, where):
        """It ended by itself, and where it did not work it says so in one sentence, perhaps with what to type."""
        said = done.stderr.decode()
        check(done.returncode in range(9), f"{where}: it ended with {done.returncode}: {said}")
        lines = said.splitlines()
        if done.returncode != 0:
            sentences = [line for line in lines if not line.startswith("hint: ")]
            check(sentences, f"{where}: it ended with {done.returncode} and says nothing")
            check(all(line.startswith("tokenctl: ") for line in sentences), f"{where}: {said}")
        left = [path.name for path in self.directory.iterdir() if path.name.startswith(".")]
        check(not left or "unlink" in self.plan.failed(), f"{where}: it leaves {left}")
        for name in left:
            (self.directory / name).unlink()

    def try_point(self, name, operation, kinds, target):
        self.plan.begin("client", kinds, 0, target)
        began = time.monotonic()
        try:
            done = operation()
        except Failed as problem:
            raise Failed(f"{name}, {self.plan.failed()} as call {target}: {problem}") from None
        finally:
            self.plan.map[:4] = bytes(4)
        failed = self.plan.failed()
        if not failed:
            return False
        self.failing[failed] = self.failing.get(failed, 0) + 1
        check(time.monotonic() - began < 15, f"{name}, {failed} as call {target}: no end in time")
        self.judge(done, f"{name}, {failed} as call {target}")
        return True

    def exhaust(self, name, operation):
        points = 0
        for kind, bit in ((kind, KINDS[kind]) for kind in OWN):
            self.plan.begin("client", bit)
            check(operation().returncode == 0, f"{name}: when nothing fails")
            calls = self.plan.end()[0]
            check(calls < MOST, f"{name}: {calls} calls of {kind}")
            points += sum(self.try_point(name, operation, bit, target) for target in range(1, calls + 1))
        check(points > 10, f"{name}: only {points} points")
        check(operation().returncode == 0, f"{name}: when nothing fails any more")
        print(f"     {name}: {points} points", flush=True)
        return points


def test_tokenctl(plan):
    with Daemon(policy="permit unwrap list admin key * user 0\n") as daemon:
        client = Client(plan, daemon)
        points = sum(client.exhaust(name, operation) for name, operation in client.operations().items())
        print(f"     {points} points: " + ", ".join(f"{call} {count}" for call, count in sorted(client.failing.items())), flush=True)


TESTS = {
    "broker": lambda plan: test_processes(plan, "broker"),
    "helper": lambda plan: test_processes(plan, "helper"),
    "supervisor": lambda plan: test_processes(plan, "supervisor", "child"),
    "start": test_start,
    "tokenctl": test_tokenctl,
}


def main():
    with tempfile.TemporaryDirectory(dir=os.environ.get("TOKEND_TEST_DIR")) as directory:
        try:
            TESTS[sys.argv[1]](Plan(pathlib.Path(directory) / "plan"))
        except Failed as problem:
            sys.exit(f"FAIL: {problem} (TOKEND_TEST_SEED={SEED})")


if __name__ == "__main__":
    main()
