#!/usr/bin/env python3
"""What stands in memory: every process of tokend and its clients, after each operation, is searched for every secret that the test knows.

A secret may stand in the helper's guarded pool while the key that it belongs to is open, and nowhere else; a file key may stand in the broker while its answer
is on the way. The test makes the keys and the files itself, so that it knows the private keys, the PINs, what the PINs become on the device, the file keys,
and everything between a shared point and a file key. What was written meanwhile is searched as well: the log at its most talkative, the audit log, all that tokend
keeps, and all that its clients print. memory.py [NAME]... runs those tests only.
"""
import base64
import ctypes
import errno
import hashlib
import json
import os
import pathlib
import resource
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time

import broker
import wrapping
from broker import BIN, SOURCE, Daemon, Failed, check, error_of, seal_pin, wait_for

SCAN = BIN.parent / "tests/memory_scan"
ENCODINGS = len(list(wrapping.encodings(bytes(32))))


class Known:
    """The secrets, by name; and the files in which memory_scan finds and leaves what it needs."""

    def __init__(self, directory):
        self.values = {}
        self.forms = {}
        self.patterns = directory / "patterns"
        self.report = directory / "report"
        self.count = self.bytes = self.processes = self.operations = 0

    def add(self, name, value):
        self.values[name] = value
        with open(self.patterns, "a", encoding="ascii") as file:
            for kind, text in wrapping.encodings(value):
                self.count += 1
                self.forms[f"{name}/{kind}"] = text
                file.write(f"{name}/{kind} {text.hex()}\n")

    def add_text(self, name, text):
        """In one form only, because it is one already."""
        with open(self.patterns, "a", encoding="ascii") as file:
            self.count += 1
            self.forms[f"{name}/text"] = text.encode()
            file.write(f"{name}/text {text.encode().hex()}\n")

    def add_identity(self, name, key):
        self.add(name, key)
        identity = wrapping.bech32_encode("age-secret-key-", key)
        # Prefix and checksum tell nothing that the middle does not.
        self.add_text(f"{name}/bech32", identity[16:-6])
        self.add_text(f"{name}/BECH32", identity[16:-6].upper())

    def written(self, data):
        """The forms of secrets that stand in what was written somewhere."""
        return {form for form, text in self.forms.items() if text in data}

    def take(self, lines):
        """The places (program, secret, mapping) and the programs of a report."""
        hits, programs = {}, []
        for line in lines:
            words = line.split()
            if words[0] == "ready":
                continue
            if words[0] == "hit":
                place = (words[2], words[3].split("/")[0], "pool" if words[4] == "pool" else words[4])
                hits.setdefault(place, set()).add("/".join(words[3].split("/")[1:]))
            else:
                programs.append(words[2])
                self.bytes += int(words[3])
                self.processes += 1
        return hits, programs

    def now(self, pids):
        done = subprocess.run([SCAN, "now", self.patterns, *map(str, pids)], capture_output=True, text=True, timeout=120, check=True)
        return self.take(done.stdout.splitlines())

    def at_exit(self, command):
        """What to run instead of command, so that it is searched when it ends."""
        return [str(SCAN), "exit", str(self.patterns), str(self.report), *map(str, command)]

    def at_exits(self):
        lines = self.report.read_text().splitlines() if self.report.exists() else []
        self.report.unlink(missing_ok=True)
        return self.take(lines)


class Bench:
    """A daemon, its known secrets, and the keys that are open."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.known = Known(daemon.directory)
        self.known.add("what-nobody-was-given", secrets.token_bytes(32))
        self.open = set()
        self.environment = {**os.environ, "TOKEND_RUNTIME_DIR": str(daemon.run), "PATH": f"{BIN}:{os.environ['PATH']}"}
        self.in_pool = 0
        self.printed = {}

    def pids(self):
        return [self.daemon.process.pid, self.daemon.broker(), *self.daemon.helpers()]

    def look(self, operation):
        """Nothing is anywhere but the open keys in the helper's pool, and those are there."""
        hits, programs = self.known.now(self.pids())
        check(sorted(programs) == ["tokend", "tokend", "tokend-tpm"], f"{operation}: searched {programs}")
        clients, ended = self.known.at_exits()
        found = {(program, name) for program, name, place in hits if place == "pool"}
        for name in self.open:
            check(("tokend-tpm", name) in found, f"{operation}: {name} is open and not found in the helper's pool")
        self.in_pool += len(self.open)
        wrong = {place: kinds for place, kinds in {**hits, **clients}.items()
                 if not (place[0] == "tokend-tpm" and place[2] == "pool" and place[1] in self.open)}
        check(not wrong, f"{operation}: " + "; ".join(f"{place[0]} holds {place[1]} in {place[2]} ({', '.join(sorted(kinds))})" for place, kinds in wrong.items()))
        self.known.operations += 1
        print(f"     {operation}: {', '.join(sorted(self.open)) or 'nothing'} in the helper's pool{'; at their end: ' + ', '.join(ended) if ended else ''}", flush=True)

    def tool(self, *arguments, program="tokenctl", status=0, **more):
        """Runs a client to its end, where it is searched."""
        done = subprocess.run(self.known.at_exit([BIN / program, *arguments]), env=self.environment, stdin=more.pop("stdin", subprocess.DEVNULL),
                              capture_output=True, timeout=60, check=False, start_new_session=True, **more)
        check(done.returncode == status, f"{program} {arguments}: {done.returncode}: {done.stderr.decode()}")
        self.keep_output(program, done)
        return done.stdout

    def keep_output(self, program, done):
        for name, text in (("standard output", done.stdout), ("standard error", done.stderr)):
            self.printed[f"{program}'s {name}"] = self.printed.get(f"{program}'s {name}", b"") + text

    def typing(self, prompts, *arguments):
        """As tool, with somebody who types at the prompts."""
        answers = [word for prompt, text in prompts for word in ("--answer", prompt, text)]
        done = subprocess.run([sys.executable, str(SOURCE / "tests/interop/typed.py"), *answers, "--", *self.known.at_exit([BIN / "tokenctl", *arguments])],
                              env=self.environment, capture_output=True, timeout=60, check=False)
        check(done.returncode == 0, f"tokenctl {arguments}: {done.returncode}: {done.stdout} {done.stderr}")
        self.keep_output("a terminal", done)

    def key(self, name):
        return self.daemon.result("GetKeys", {"key": name})["keys"][0]

    def file(self, path, data, mode=0o600):
        path = self.daemon.directory / path
        path.write_bytes(data)
        path.chmod(mode)
        return str(path)

    def wrapped(self, name, label):
        """A stanza for a key, all of whose secrets are known."""
        file_key = secrets.token_bytes(16)
        stanza, between = wrapping.wrap(self.key(name)["recipient"], file_key)
        for what, value in {"file-key": file_key, **between}.items():
            self.known.add(f"{what}-of-{label}", value)
        return [stanza], file_key

    def unwrap(self, name, label, error=None):
        stanzas, file_key = self.wrapped(name, label)
        reply = self.daemon.call("Unwrap", {"key": name, "stanzas": stanzas})
        if error:
            check(error_of(reply) == error, f"{label}: {reply}")
        else:
            check(base64.b64decode(reply["parameters"]["fileKey"]) == file_key, f"{label}: {reply}")


def identity_file(bench, name):
    key = secrets.token_bytes(32)
    bench.known.add_identity(name, key)
    text = wrapping.bech32_encode("age-secret-key-", key).upper()
    return key, bench.file(f"{name}.txt", text.encode() + b"\n")


def pin_file(bench, name):
    """What may stand nowhere: the PIN, and with the key's id what the device is given for it."""
    pin = base64.b32encode(secrets.token_bytes(10))
    bench.known.add(f"pin-of-{name}", pin)
    return pin, bench.file(f"{name}.pin", pin + b"\n")


def authorisation(bench, name, pin):
    value = bytearray(hashlib.sha256(b"tokend TPM PIN 1\0" + bytes.fromhex(bench.key(name)["id"]) + pin).digest())
    value[31] |= 1
    bench.known.add(f"authorisation-of-{name}", bytes(value))


def enroll(bench):
    for kind in ("p256", "x25519", "symmetric"):
        bench.tool("enroll", "--name", f"made.{kind}", "--kind", kind)
        bench.look(f"enroll, {kind}")
    _, path = identity_file(bench, "legacy")
    bench.tool("enroll", "--name", "legacy", "--kind", "x25519", "--import", path)
    bench.open.add("legacy")
    bench.look("import, x25519")
    _, path = identity_file(bench, "held")
    pin, pin_path = pin_file(bench, "held")
    bench.tool("enroll", "--name", "held", "--kind", "x25519", "--import", path, "--class", "session", "--pin-file", pin_path)
    authorisation(bench, "held", pin)
    # What is sealed to the helper and has a PIN is proven with it, and stays open for whoever proved it.
    bench.tool("lock", "held")
    bench.look("import, x25519 with a PIN")
    pin, pin_path = pin_file(bench, "safe")
    bench.tool("enroll", "--name", "safe", "--class", "session", "--pin-file", pin_path)
    authorisation(bench, "safe", pin)
    bench.tool("lock")
    bench.look("enroll, p256 with a PIN")
    return pin


def unwraps(bench):
    for name in ("made.p256", "legacy", "made.x25519"):
        for turn in ("first", "second"):
            bench.unwrap(name, f"{name}-{turn}")
            bench.look(f"unwrap, {name}, {turn}")
    for name, error in (("made.p256", "BadCiphertext"), ("legacy", "NoMatch")):
        stanzas, _ = bench.wrapped(name, f"{name}-damaged")
        reply = bench.daemon.call("Unwrap", {"key": name, "stanzas": [broker.damaged(stanzas[0], 1)]})
        check(error_of(reply) == error, f"a damaged stanza: {reply}")
    bench.look("unwrap, damaged")


def unwraps_at_once(bench):
    """So many that the helper's second thread answers some of them: it leaves nothing either."""
    helper = pathlib.Path(f"/proc/{bench.daemon.helpers()[0]}/task")
    before = len(list(helper.iterdir()))
    wrapped = [bench.wrapped("legacy", f"legacy-{number}-of-many") for number in range(2)]
    asked = [(bench.daemon.connect(), *wrapped[number % 2]) for number in range(12)]
    for turn in range(20):
        os.kill(bench.daemon.helpers()[0], signal.SIGSTOP)
        try:
            for connection, stanzas, _ in asked:
                connection.ask("io.tokend.Unwrap", {"key": "legacy", "stanzas": stanzas})
            time.sleep(0.05)
        finally:
            os.kill(bench.daemon.helpers()[0], signal.SIGCONT)
        for connection, _, file_key in asked:
            reply = connection.answer()
            check(base64.b64decode(reply["parameters"]["fileKey"]) == file_key, f"turn {turn}: {reply}")
    for connection, _, _ in asked:
        connection.close()
    started = len(list(helper.iterdir())) - before
    check(started == (1 if len(os.sched_getaffinity(0)) > 1 else 0), f"{started} threads more answered them")
    bench.look("many unwraps at once")


def expiry(bench, pin):
    """As short a time as the machine is quick enough to search within."""
    for seconds in (1, 4, 16):
        bench.daemon.result("Unlock", {"key": "safe", "sealedPin": seal_pin(bench.daemon, pin), "seconds": seconds})
        bench.open.add("pin-of-safe")
        try:
            bench.look(f"unlocked for {seconds} s, safe")
            break
        except Failed:
            check(bench.key("safe")["unlocked"] == 0, "it is open and not in the pool, or elsewhere")
    wait_for(lambda: bench.key("safe")["unlocked"] == 0, 20, "the time is over")
    time.sleep(1.1)
    bench.open.discard("pin-of-safe")


def session_keys(bench, pin):
    directory = bench.daemon.directory
    for name in ("held", "safe"):
        wrong = secrets.token_hex(8).encode()
        bench.known.add(f"wrong-pin-of-{name}", wrong)
        if name == "held":  # two wrong ones would be too many for a software TPM
            bench.tool("unlock", name, "--pin-file", bench.file("wrong.pin", wrong + b"\n"), status=5)
            bench.look(f"wrong PIN, {name}")
        bench.unwrap(name, f"{name}-locked", "PinNeeded")
        bench.look(f"unwrap of a locked key, {name}")
        bench.tool("unlock", name, "--pin-file", str(directory / f"{name}.pin"))
        bench.open.add("held" if name == "held" else "pin-of-safe")
        bench.look(f"right PIN, {name}")
        bench.unwrap(name, f"{name}-open")
        bench.look(f"unwrap, {name}")
    bench.tool("lock", "safe")
    bench.open.discard("pin-of-safe")
    bench.look("lock, safe")
    expiry(bench, pin)
    bench.look("session expired, safe")
    bench.tool("unlock", "safe", "--pin-file", str(directory / "safe.pin"))
    bench.tool("lock")
    bench.open.discard("held")
    bench.look("lock of all")


def tools(bench):
    """The clients: what they knew is gone when they end."""
    directory, plain = bench.daemon.directory, bench.file("plain", b"a text that is no secret")
    key, path = identity_file(bench, "own")
    for name in ("made.p256", "legacy"):
        bench.tool("encrypt", "--key", name, "-o", str(directory / f"{name}.age"), plain)
        check(bench.tool("decrypt", str(directory / f"{name}.age")) == b"a text that is no secret", f"{name}: the text")
        bench.look(f"tokenctl encrypt and decrypt, {name}")
    recipient = wrapping.bech32_encode("age", wrapping.scalarmult(key))
    bench.file("own.age", broker.seal(recipient, b"own"))
    check(bench.tool("decrypt", "-i", path, str(directory / "own.age")) == b"own", "the text of an identity file")
    bench.look("tokenctl decrypt, an identity file")
    phrase = secrets.token_hex(12)
    bench.known.add("passphrase", phrase.encode())
    bench.typing([("Passphrase", phrase), ("again", phrase)], "encrypt", "-p", "-o", str(directory / "phrase.age"), plain)
    bench.look("tokenctl encrypt, a passphrase")
    bench.typing([("Passphrase", phrase)], "decrypt", "-o", str(directory / "phrase.out"), str(directory / "phrase.age"))
    bench.look("tokenctl decrypt, a passphrase")


def plugin(bench):
    """Under stock age, with files whose file keys are known."""
    directory = bench.daemon.directory
    place = directory / "plugin"
    place.mkdir()
    wrapper = place / "age-plugin-tokend"
    wrapper.write_text("#!/bin/sh\nexec " + " ".join(bench.known.at_exit([BIN / "age-plugin-tokend"])) + ' "$@"\n')
    wrapper.chmod(0o755)
    identity = bench.file("tokend.identity", bench.tool("identity"))
    bench.look("tokenctl identity")
    environment = {**bench.environment, "PATH": f"{place}:{os.environ['PATH']}"}
    for name in ("made.p256", "legacy"):
        stanzas, file_key = bench.wrapped(name, f"{name}-plugin")
        file = bench.file("by-hand.age", age_file(stanzas[0], file_key, b"by hand"))
        done = subprocess.run([broker.AGE, "-d", "-i", identity, file], env=environment, capture_output=True, timeout=60, check=False)
        check(done.stdout == b"by hand", f"age -d: {done.stderr.decode()}")
        bench.keep_output("age and the plugin", done)
        # age does not wait for its plugins' end.
        wait_for(lambda: bench.known.report.exists() and "scanned" in bench.known.report.read_text(), 10, "the plugin's end")
        bench.look(f"age through the plugin, {name}")
        check(bench.tool("decrypt", file) == b"by hand", f"tokenctl decrypt {name}")
        bench.look(f"tokenctl decrypt, {name}, a known file key")


def age_file(stanza, file_key, text):
    header = b"age-encryption.org/v1\n-> " + " ".join([stanza["type"], *stanza["arguments"]]).encode() + b"\n" + stanza["body"].encode() + b"\n---"
    header += b" " + wrapping.plain_base64(wrapping.hash_of(wrapping.hash_of(wrapping.hash_of(b"", file_key), b"header\x01"), header)).encode() + b"\n"
    nonce = secrets.token_bytes(16)
    key = wrapping.hash_of(wrapping.hash_of(nonce, file_key), b"payload\x01")
    return header + nonce + wrapping.seal(key, bytes(11) + b"\x01", text)


def broker_during(bench, what, act, may):
    """While act is under way, whenever the broker is about to write or to send: it holds what it may and nothing else. Returns whether it ever did."""
    process = subprocess.Popen([SCAN, "during", bench.known.patterns, str(bench.daemon.broker())], stdout=subprocess.PIPE, text=True)
    check(process.stdout.readline() == "ready\n", f"{what}: the broker cannot be traced")
    try:
        act()
    finally:
        process.terminate()
        lines = process.communicate(timeout=30)[0].splitlines()
    hits, programs = bench.known.take(lines)
    wrong = {place for place in hits if place[1] not in may}
    check(programs and not wrong, f"{what}: the broker was looked at {len(programs)} times and held {wrong}")
    print(f"     {what}: looked at {len(programs)} times meanwhile, the broker held {', '.join(sorted({name for _, name, _ in hits})) or 'nothing'}", flush=True)
    return bool(hits)


def in_flight(bench, pin):
    """The broker sees a file key on its way through, and neither a PIN nor a key that is imported. What it saw is gone afterwards."""
    daemon = bench.daemon
    key, _ = identity_file(bench, "brought")
    sealed = seal_pin(daemon, key)
    broker_during(bench, "an import", lambda: daemon.result("Enroll", {"name": "brought", "kind": "x25519", "class": "boot", "sealedKey": sealed}), ())
    sealed = seal_pin(daemon, pin)
    broker_during(bench, "a PIN", lambda: daemon.result("Unlock", {"key": "safe", "sealedPin": sealed}), ())
    daemon.result("Lock")
    seen = True
    for name in ("made.p256", "legacy"):
        stanzas, _ = bench.wrapped(name, f"{name}-on-its-way")
        seen &= broker_during(bench, f"an answer, {name}", lambda: daemon.result("Unwrap", {"key": name, "stanzas": stanzas}), {f"file-key-of-{name}-on-its-way"})
    bench.look("after what was on its way")
    check(seen, "control: the file key of an answer on its way was never seen in the broker")


def locked(bench):
    """Every page of a pool is locked, so none is ever in swap."""
    pages = 0
    for pid in bench.pids():
        text = pathlib.Path(f"/proc/{pid}/smaps").read_text()
        for mapping in text.split("VmFlags:")[:-1]:
            flags = text[text.index(mapping) + len(mapping) + 8:].split("\n", 1)[0].split()
            fields = {line.split(":")[0]: int(line.split()[1]) for line in mapping.split("\n") if line.endswith(" kB")}
            if "dd" not in flags or "wf" not in flags:
                continue
            check("lo" in flags and fields["Swap"] == 0, f"pid {pid}: a page of the pool is not locked: {flags}")
            check(fields["Locked"] == fields["Rss"], f"pid {pid}: {fields}")
            pages += fields["Rss"] // 4
    check(pages > 0, "no page of a pool was found")
    print(f"     {pages} pages of pools, all locked", flush=True)


def outputs(bench):
    """Name and bytes of all that was written: by tokend to its log and into its state directory, and by clients. What a client was asked for is there too, and is no secret of the list."""
    directory = bench.daemon.directory
    yield "the log", (directory / "log").read_bytes()
    for path in sorted((directory / "state").rglob("*")):
        if path.is_file():
            yield str(path.relative_to(directory)), path.read_bytes()
    yield from bench.printed.items()


def written(bench):
    """None of it holds a secret. The control: each of them with one form of one more does."""
    total, names, forms = 0, [], sorted(bench.known.forms)
    for number, (name, data) in enumerate(outputs(bench)):
        found = bench.known.written(data)
        check(not found, f"{name} holds {', '.join(sorted(found))}")
        form = forms[number * 37 % len(forms)]
        check(form in bench.known.written(data + bench.known.forms[form] + data), f"control: {form} is not found in {name}")
        total += len(data)
        names.append(name)
    for name in ("the log", "state/audit.log", "tokenctl's standard output", "tokenctl's standard error", "a terminal's standard output", "age and the plugin's standard output"):
        check(name in names, f"{name} was not kept")
    check(b"is process" in (bench.daemon.directory / "log").read_bytes(), "the log is not at its most talkative")
    print(f"     {total:,} bytes that were written in {len(names)} places (log, audit log, state, what clients print) hold none of {len(forms)} forms", flush=True)


def test_scan():
    scan_control()
    with Daemon(configuration="log-level debug\n") as daemon:
        bench = Bench(daemon)
        pin = enroll(bench)
        unwraps(bench)
        unwraps_at_once(bench)
        session_keys(bench, pin)
        tools(bench)
        plugin(bench)
        in_flight(bench, pin)
        locked(bench)
        written(bench)
        known = bench.known
        print(f"     searched {known.bytes / 2**20:,.0f} MiB of {known.processes} processes after {known.operations} operations for {known.count} forms of"
              f" {len(known.values)} secrets: {bench.in_pool} times where they belong, 0 times elsewhere", flush=True)


def scan_control():
    """Each form of a secret that is somewhere is found, in a process that runs and in one that ends; and a pool is told from other memory."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("TOKEND_TEST_DIR")) as name:
        known = Known(pathlib.Path(name))
        known.add_identity("canary", secrets.token_bytes(32))
        program = "import sys\nforms = [bytes.fromhex(word) for word in sys.stdin.read().split()]\nprint('ready', flush=True)\nsys.stdin = open(sys.argv[1])\nsys.stdin.read()\n"
        forms = [line.split() for line in known.patterns.read_text().splitlines()]
        fifo = str(pathlib.Path(name) / "fifo")
        os.mkfifo(fifo)
        child = subprocess.Popen([sys.executable, "-c", program, fifo], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.stdin.write("\n".join(form[1] for form in forms).encode())
        child.stdin.close()
        child.stdout.readline()
        hits, _ = known.now([child.pid])
        child.kill()
        child.wait()
        found = set().union(*hits.values())
        check(len(found) == len(forms) and not [place for place in hits if place[2] == "pool"], f"{len(forms) - len(found)} forms are not found: {hits}")
        environment = {**os.environ, "CANARY": known.values["canary"].hex()}
        subprocess.run(known.at_exit(["/bin/true"]), env=environment, check=True, timeout=20)
        hits, programs = known.at_exits()
        check(programs == ["true"] and ("true", "canary", "[stack]") in hits, f"at the end of a process: {hits}")
        print(f"     {len(found)} forms of a canary found", flush=True)


# ---- who may look ----

USER, CLIENT = 61001, 61002
REFUSED = ("EPERM", "EACCES")
NUMBERS = {"ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "pidfd_open": 434, "pidfd_getfd": 438}


def system(name, *arguments):
    """A system call; its error's name, or OK."""
    library = ctypes.CDLL(None, use_errno=True)
    result = library.syscall(ctypes.c_long(NUMBERS[name]), *[ctypes.c_ulong(argument) if isinstance(argument, int) else argument for argument in arguments])
    return (errno.errorcode[ctypes.get_errno()] if result < 0 else "OK"), result


def opening(path, flags=os.O_RDONLY):
    try:
        os.close(os.open(path, flags))
    except OSError as problem:
        return errno.errorcode[problem.errno]
    return "OK"


def reading_link(path):
    try:
        os.readlink(path)
    except OSError as problem:
        return errno.errorcode[problem.errno]
    return "OK"


def copying(name, pid, address):
    buffer = ctypes.create_string_buffer(8)
    ours, theirs = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8), (ctypes.c_void_p * 2)(address, 8)
    return system(name, pid, ctypes.byref(ours), 1, ctypes.byref(theirs), 1, 0)[0]


def attempts(pid, address):
    """All the ways into another process that there are without a right to them; what each came to."""
    found = {f"/proc/PID/{name}": opening(f"/proc/{pid}/{name}") for name in ("mem", "maps", "smaps", "environ", "auxv", "pagemap", "syscall", "stack")}
    found["/proc/PID/mem, writing"] = opening(f"/proc/{pid}/mem", os.O_RDWR)
    found["/proc/PID/fd"] = opening(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY)
    found["/proc/PID/exe"] = reading_link(f"/proc/{pid}/exe")
    found["process_vm_readv"] = copying("process_vm_readv", pid, address)
    found["process_vm_writev"] = copying("process_vm_writev", pid, address)
    found["kcmp"] = system("kcmp", pid, os.getpid(), 1, 0, 0)[0]
    descriptor = system("pidfd_open", pid, 0)[1]
    found["pidfd_getfd"] = system("pidfd_getfd", descriptor, 0, 0)[0]
    found["PTRACE_SEIZE"] = system("ptrace", 0x4206, pid, 0, 0)[0]
    if found["PTRACE_SEIZE"] != "OK":
        found["PTRACE_ATTACH"] = system("ptrace", 16, pid, 0, 0)[0]
    return found


def address_in(pid):
    """Of something that the process can write to."""
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        if " rw-p " in line:
            return int(line.split("-")[0], 16)
    raise Failed(f"pid {pid} has no memory")


def become(uid):
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)


def as_user(uid, work, *arguments):
    """work(...) in a process of uid, which has no capabilities; its result."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            become(uid)
            os.write(writing, json.dumps(work(*arguments)).encode())
            os._exit(0)
        except BaseException as problem:
            print(f"     as uid {uid}: {problem!r}", flush=True)
        os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        text = pipe.read()
    check(os.waitpid(pid, 0)[1] == 0, f"the process of uid {uid} failed")
    return json.loads(text)


def give(directory, uid):
    for path in [directory, *directory.rglob("*")]:
        os.chown(path, uid, uid, follow_symlinks=False)


class UserDaemon(Daemon):
    """Of an ordinary user: without a capability that would excuse it from a limit."""

    def __init__(self):
        super().__init__(policy=f"permit unwrap list admin key * user 0\npermit unwrap list admin key * user {USER}\n")
        self.stop()
        give(self.directory, USER)
        self.start(user=USER, group=USER, extra_groups=[], cwd=self.directory)


def waiting_clients(daemon, **how):
    """A tokenctl that waits for the rest of a file, and a plugin that waits for its client; each has set itself up."""
    environment = {**os.environ, "TOKEND_RUNTIME_DIR": str(daemon.run)}
    as_whom = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "user": USER, "group": USER, "extra_groups": [], "env": environment, "cwd": daemon.directory, **how}
    processes = {"tokenctl": subprocess.Popen([BIN / "tokenctl", "decrypt"], **as_whom),
                 "age-plugin-tokend": subprocess.Popen([BIN / "age-plugin-tokend", "--age-plugin=identity-v1"], **as_whom)}
    for process in processes.values():
        wait_for(lambda pid=process.pid: pathlib.Path(f"/proc/{pid}/wchan").read_text() not in ("0", "") and pathlib.Path(f"/proc/{pid}/exe").readlink().parent == BIN
                 and b"read" in syscall_of(pid), 10, "a client waits")
    return processes


def end_clients(clients):
    for process in clients.values():
        process.stdin.close()
        process.kill()
        process.wait()


def syscall_of(pid):
    number = pathlib.Path(f"/proc/{pid}/syscall").read_text().split()[0]
    return b"read" if number == "0" else number.encode()


def test_access():
    """Nobody but root looks into a process: not the same user, not another."""
    with UserDaemon() as daemon:
        clients = waiting_clients(daemon)
        targets = {"supervisor": daemon.process.pid, "broker": daemon.broker(), "helper": daemon.helpers()[0], **{name: process.pid for name, process in clients.items()}}
        count = 0
        try:
            for uid in (USER, CLIENT):
                for name, pid in targets.items():
                    found = as_user(uid, attempts, pid, address_in(pid))
                    open_ways = {way: result for way, result in found.items() if result not in REFUSED}
                    check(not open_ways, f"{name} as uid {uid}: {open_ways}")
                    count += len(found)
        finally:
            end_clients(clients)
        control = subprocess.Popen(["sleep", "100"], user=USER, group=USER, extra_groups=[])
        try:
            time.sleep(0.1)
            found = as_user(USER, attempts, control.pid, address_in(control.pid))
        finally:
            control.kill()
            control.wait()
        closed = {way: result for way, result in found.items() if result != "OK" and way not in ("/proc/PID/stack", "kcmp")}
        check(not closed, f"control: into a process that lets itself be looked into: {closed}")
        print(f"     {count} attempts on {len(targets)} processes as the same and as another user, all refused; {len(found) - len(closed)} ways into another program work", flush=True)


# ---- core dumps ----

class Comparison(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("operation", ctypes.c_int), ("value", ctypes.c_uint64), ("second", ctypes.c_uint64)]


def keep_core_limit():
    """From here on this process's own limit of core dumps cannot be lowered, though it seems so: then only what else it does about them is left."""
    resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    allow, pretend, equal, different, prlimit64 = 0x7FFF0000, 0x00050000, 4, 1, 302
    wanted = (Comparison * 2)(Comparison(1, equal, resource.RLIMIT_CORE, 0), Comparison(2, different, 0, 0))
    context = ctypes.c_void_p(library.seccomp_init(allow))
    if library.seccomp_rule_add_array(context, pretend, prlimit64, 2, wanted) or library.seccomp_load(context):
        raise OSError("no filter")


def start_clients_and(daemon, **how):
    daemon.stop()
    daemon.start(user=USER, group=USER, extra_groups=[], cwd=daemon.directory, **how)
    clients = waiting_clients(daemon, **how)
    daemon.result("GetTokens")  # now the helper has set itself up
    return clients, {"helper": daemon.helpers()[0], "broker": daemon.broker(), "supervisor": daemon.process.pid, **{name: process.pid for name, process in clients.items()}}


def crash(pid):
    """Ends the process by a signal that makes a core dump. Was there one?"""
    done = subprocess.run([SCAN, "crash", str(pid)], capture_output=True, text=True, timeout=30, check=False)
    check(done.stdout in ("core\n", "no core\n"), f"{done.stdout}{done.stderr}")
    return done.stdout == "core\n"


def core_limit(pid):
    return [line.split()[4:6] for line in pathlib.Path(f"/proc/{pid}/limits").read_text().splitlines() if line.startswith("Max core file size")][0]


def test_core():
    """A crash leaves no core dump: the limit is none, and where the limit is kept from being lowered, the kernel still refuses."""
    crashed = []
    with UserDaemon() as daemon:
        clients, pids = start_clients_and(daemon)
        limits = {victim: core_limit(pid) for victim, pid in pids.items()}
        check(set(map(tuple, limits.values())) == {("0", "0")}, f"the limits of core dumps are {limits}")
        end_clients(clients)
        for victim in pids:
            clients, pids = start_clients_and(daemon, preexec_fn=keep_core_limit)
            check(core_limit(pids[victim]) == ["unlimited", "unlimited"], f"{victim}: the limit could be lowered")
            check(pathlib.Path(f"/proc/{pids[victim]}/mem").stat().st_uid == 0, f"{victim}: it is dumpable")
            check(not crash(pids[victim]) and not list(daemon.directory.glob("core*")), f"{victim}: a core dump was written")
            crashed.append(victim)
            end_clients(clients)
            if victim in ("broker", "supervisor"):
                daemon.process.wait(20)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TOKEND_TEST_DIR")) as directory:
        give(pathlib.Path(directory), USER)
        control = subprocess.Popen(["sleep", "100"], cwd=directory, user=USER, group=USER, extra_groups=[], preexec_fn=keep_core_limit)
        flag = pathlib.Path(f"/proc/{control.pid}/mem").stat().st_uid
        dumps = crash(control.pid)
        control.wait()
    check(flag == USER, f"control: the memory of another program belongs to uid {flag}")
    print(f"     no core dump of {', '.join(crashed)}; " + ("one of another program" if dumps else "NOT PROVEN: this machine writes none at all, so only the limit and the flag were seen"), flush=True)


# ---- where no memory can be locked ----

NOT_LOCKED = "memory cannot be locked"


def limited(limit):
    def become_limited():
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (limit, limit))
        become(USER)
    return become_limited


def refusal(name, ended):
    """One sentence that says what is wrong, and the next command."""
    status, out, said = ended
    check(status > 0, f"{name}: ended with {status}: {said}")
    lines = said.splitlines()
    check(len(lines) == 2 and NOT_LOCKED in lines[0] and lines[1].endswith("ulimit -l 8192"), f"{name} says: {said}")
    check(not out, f"{name} writes: {out}")


def run_helper(limit):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        helper = subprocess.Popen([BIN / "tokend-tpm", "--socket", str(theirs.fileno()), "--token", "tpm:swtpm:path=/nowhere/tpm.sock"], pass_fds=(theirs.fileno(),),
                                  preexec_fn=limited(limit), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        theirs.close()
        ours.shutdown(socket.SHUT_WR)
        out, said = helper.communicate(timeout=20)
    return helper.returncode, out, said


def run_limited(command, limit, **more):
    done = subprocess.run(command, preexec_fn=limited(limit), capture_output=True, text=True, timeout=20, check=False, **more)
    return done.returncode, done.stdout, done.stderr


def test_no_locked_memory():
    """Without memory that can be locked nothing starts, and says so; with too little as well; with enough all of it works."""
    with UserDaemon() as daemon:
        key = secrets.token_bytes(32)
        (daemon.directory / "key.txt").write_text(wrapping.bech32_encode("age-secret-key-", key).upper() + "\n")
        (daemon.directory / "file.age").write_bytes(broker.seal(wrapping.bech32_encode("age", wrapping.scalarmult(key)), b"text"))
        identity = subprocess.run([BIN / "tokenctl", "identity"], env={**os.environ, "TOKEND_RUNTIME_DIR": str(daemon.run)}, capture_output=True, text=True, check=True).stdout
        wanted = broker.x25519_file(daemon)
        give(daemon.directory, USER)
        (daemon.directory / "key.txt").chmod(0o600)
        daemon.stop()
        decrypt = [BIN / "tokenctl", "decrypt", "-i", daemon.directory / "key.txt", daemon.directory / "file.age"]
        talk = f"-> add-identity {identity.split()[-1]}\n\n-> recipient-stanza 0 X25519 {wanted[0]['arguments'][0]}\n{wanted[0]['body']}\n-> done\n\n"
        refusal("tokend", run_limited(daemon.command(), 0))
        refusal("tokend-tpm", run_helper(0))
        refusal("tokenctl", run_limited(decrypt, 0))
        refusal("age-plugin-tokend", run_limited([BIN / "age-plugin-tokend", "--age-plugin=identity-v1"], 0, input=talk))
        started = None
        for limit in range(0, 1 << 20, 1 << 15):
            if started_with(daemon, limit, wanted):
                started = limit
                break
        check(started and started > 1 << 16, f"it starts with {started} bytes")
        print(f"     tokend, tokend-tpm, tokenctl and age-plugin-tokend refuse without lockable memory; tokend starts from {started >> 10} KiB on, and works", flush=True)


def started_with(daemon, limit, wanted):
    """With so much lockable memory it refuses properly (False), or works (True)."""
    with open(daemon.directory / "log", "w", encoding="utf-8") as log:
        daemon.process = subprocess.Popen(daemon.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=limited(limit))
    try:
        wait_for(daemon.ready, 20, "tokend is ready")
    except Failed:
        refusal(f"tokend with {limit} bytes", (daemon.process.wait(10), "", daemon.log_text()))
        return False
    reply = daemon.call("Unwrap", {"stanzas": wanted})
    check(error_of(reply) in ("", "NoToken"), f"with {limit} bytes: {reply}")
    if error_of(reply):
        check(NOT_LOCKED in daemon.log_text() and "ulimit -l 8192" in daemon.log_text(), f"with {limit} bytes: {daemon.log_text()}")
    check(daemon.stop() == 0, "exit status")
    return not error_of(reply)


def main():
    if not SCAN.exists():
        print(f"SKIP: {SCAN} is not built")
        return 77
    return broker.run_tests(globals())


if __name__ == "__main__":
    sys.exit(main())
