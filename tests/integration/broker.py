#!/usr/bin/env python3
"""The broker over its socket: a real tokend, a real helper, a software TPM, and a client that is written from the protocol alone.

Every test has a private directory, a deadline on everything, and says what it saw when it fails. broker.py [NAME]... runs those only, as TOKEND_TEST_ONLY="NAME..." does.
"""
import array
import base64
import contextlib
import ctypes
import ctypes.util
import json
import os
import pathlib
import pty
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(os.environ.get("TOKEND_SOURCE_DIR", pathlib.Path(__file__).resolve().parents[2]))
BIN = pathlib.Path(os.environ.get("TOKEND_BIN_DIR", SOURCE / "build/release/bin"))
AGE = shutil.which("age")


class Failed(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failed(what)


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        check(time.monotonic() < end, f"{what}: not within {seconds} s")
        time.sleep(0.01)


class Connection:
    def __init__(self, path, deadline=10):
        self.socket = socket.socket(socket.AF_UNIX)
        # Waits in connect where the queue is full, as tokenctl does, and only then has a deadline: with one Python's sockets do not wait there.
        self.socket.connect(str(path))
        self.socket.settimeout(deadline)
        self.rest = b""

    def send(self, data):
        self.socket.sendall(data)

    def ask(self, method, parameters=None, **flags):
        self.send(json.dumps({"method": method, "parameters": parameters or {}, **flags}).encode() + b"\0")

    def answer(self):
        """The next reply as an object; None at the end of the connection."""
        while b"\0" not in self.rest:
            try:
                piece = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not piece:
                return None
            self.rest += piece
        text, self.rest = self.rest.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, parameters=None):
        self.ask(method if "." in method else "io.tokend." + method, parameters)
        reply = self.answer()
        check(reply is not None, f"{method}: no answer")
        return reply

    def close(self):
        self.socket.close()


def error_of(reply):
    return reply.get("error", "").removeprefix("io.tokend.") if reply else "closed"


class Tpm:
    def __init__(self, directory):
        self.directory = directory
        self.socket = directory / "tpm.sock"
        (directory / "tpm").mkdir()
        self.start()

    @property
    def uri(self):
        return f"tpm:swtpm:path={self.socket}"

    def start(self):
        for path in (self.socket, pathlib.Path(f"{self.socket}.ctrl")):
            path.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={self.directory / 'tpm'}",
             "--server", f"type=unixio,path={self.socket}", "--ctrl", f"type=unixio,path={self.socket}.ctrl",
             "--flags", "not-need-init,startup-clear", "--log", f"file={self.directory / 'tpm.log'}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: pathlib.Path(f"{self.socket}.ctrl").exists(), 10, "software TPM")

    def stop(self):
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


class Daemon:
    def __init__(self, configuration="", policy=None, tpms=1, **arguments):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="tokend.", dir=os.environ.get("TOKEND_TEST_DIR")))
        self.directory.chmod(0o700)
        self.run = self.directory / "run"
        self.socket = self.run / "control.sock"
        self.process = None
        self.tpms = []
        for number in range(tpms):
            (self.directory / str(number)).mkdir(mode=0o700)
            self.tpms.append(Tpm(self.directory / str(number)))
        text = configuration + "".join(f"token {tpm.uri}\n" for tpm in self.tpms)
        self.write("tokend.conf", text)
        (self.directory / "policy.d").mkdir(mode=0o700)
        if policy is not None:
            self.write("policy.d/50-test.conf", policy)
        try:
            self.start(**arguments)
        except BaseException:
            for tpm in self.tpms:
                tpm.stop()
            raise

    def write(self, name, text):
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o600)

    def command(self, *options):
        return [str(BIN / "tokend"), "--state-dir", str(self.directory / "state"), "--runtime-dir", str(self.run),
                "--config", str(self.directory / "tokend.conf"), *options]

    def start(self, **arguments):
        self.log = open(self.directory / "log", "ab")
        self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, **arguments)
        wait_for(self.ready, 20, "tokend is ready")

    def ready(self):
        check(self.process.poll() is None, f"tokend ended: {self.log_text()}")
        try:
            connection = self.connect()
        except OSError:
            return False
        reply = connection.call("org.varlink.service.GetInfo")
        connection.close()
        return "parameters" in reply

    def log_text(self):
        return (self.directory / "log").read_text()

    def connect(self, deadline=20):
        return Connection(self.socket, deadline)

    def call(self, method, parameters=None, deadline=20):
        connection = self.connect(deadline)
        try:
            return connection.call(method, parameters)
        finally:
            connection.close()

    def result(self, method, parameters=None):
        reply = self.call(method, parameters)
        check("error" not in reply, f"{method}: {reply}")
        return reply["parameters"]

    def enroll(self, name, kind="p256", **more):
        return self.result("Enroll", {"name": name, "kind": kind, "class": "boot", **more})["key"]

    def audit(self):
        return [json.loads(line) for line in (self.directory / "state/audit.log").read_text().splitlines()]

    def helpers(self):
        """The processes of helpers below this daemon."""
        found = []
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            try:
                text = status.read_text()
            except OSError:
                continue
            if f"PPid:\t{self.process.pid}\n" in text and "Name:\ttokend-" in text:
                found.append(int(status.parent.name))
        return found

    def broker(self):
        return self.result("GetStatus")["pid"]

    def stop(self):
        """Ends it; returns the exit status."""
        if self.process is None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failed("tokend did not end within 15 s") from None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if self.process.poll() is None:
                self.stop()
        finally:
            for tpm in self.tpms:
                tpm.stop()
            self.log.close()
            if kind:
                print("".join(f"    | {line}\n" for line in self.log_text().splitlines()[-12:]), end="")
            shutil.rmtree(self.directory)


# ---- age files, as far as a test needs them ----

def seal(recipient, text=b"secret"):
    return subprocess.run([AGE, "-r", recipient], input=text, capture_output=True, check=True, timeout=20).stdout


def stanzas(file):
    """The stanzas of an age file's header, as the interface wants them."""
    found, lines = [], file.split(b"\n---")[0].decode().split("\n")[1:]
    for line in lines:
        if line.startswith("-> "):
            kind, *arguments = line[3:].split(" ")
            found.append({"type": kind, "arguments": arguments, "body": ""})
        else:
            found[-1]["body"] += line
    return found


def x25519_file(daemon, name="legacy"):
    return stanzas(seal(daemon.enroll(name, "x25519")["recipient"]))


def seal_p256(recipient):
    """age before 1.3 needs a plugin for age1tag1: that is ours, under the name it is looked for by."""
    with tempfile.TemporaryDirectory() as directory:
        os.symlink(BIN / "age-plugin-tokend", pathlib.Path(directory) / "age-plugin-tag")
        return subprocess.run([AGE, "-r", recipient], input=b"secret", capture_output=True, check=True, timeout=20,
                              env={**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}).stdout


def damaged(stanza, number):
    """The same stanza with another body for each number from 1 to 255."""
    body = bytearray(base64.b64decode(stanza["body"] + "="))
    body[0] ^= number
    return {**stanza, "body": base64.b64encode(body).decode().rstrip("=")}


OTHER = "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq"


def other_stanza():
    """One that is for nobody here."""
    share = base64.b64encode(b"\x09" + bytes(31)).decode().rstrip("=")
    body = base64.b64encode(bytes(32)).decode().rstrip("=")
    return {"type": "X25519", "arguments": [share], "body": body}


# ---- the tests ----

def test_unwrap():
    with Daemon() as daemon:
        wanted = x25519_file(daemon)
        first = daemon.result("Unwrap", {"stanzas": wanted})
        check(len(base64.b64decode(first["fileKey"])) == 16, f"no file key: {first}")
        check(first["index"] == 0 and first["name"] == "legacy", f"{first}")
        # Among others, of other kinds, by name and by id: the same.
        many = [{"type": "ssh-ed25519", "arguments": ["x", "y"], "body": "AAAA"}, other_stanza(), *wanted]
        for key in (None, "legacy", first["key"]):
            again = daemon.result("Unwrap", {"key": key, "stanzas": many})
            check(again["fileKey"] == first["fileKey"] and again["index"] == 2, f"{key}: {again}")
        check(error_of(daemon.call("Unwrap", {"stanzas": [other_stanza()]})) == "NoMatch", "another's file")
        check(error_of(daemon.call("Unwrap", {"stanzas": []})) == "NoMatch", "no stanza")
        records = [(record["operation"], record["result"]) for record in daemon.audit()]
        check(records == [("start", "ok"), ("enroll", "ok")] + [("unwrap", "ok")] * 4 + [("unwrap", "no-match")] * 2, f"{records}")


def test_survives_restart():
    with Daemon() as daemon:
        wanted = x25519_file(daemon)
        daemon.enroll("host")
        before = daemon.result("Unwrap", {"stanzas": wanted})
        check(daemon.stop() == 0, "exit status")
        check(not daemon.socket.exists(), "the socket's name is left")
        daemon.start()
        check([key["name"] for key in daemon.result("GetKeys")["keys"]] == ["host", "legacy"], "keys after a restart")
        check(daemon.result("Unwrap", {"stanzas": wanted}) == before, "the file key after a restart")
        operations = [record["operation"] for record in daemon.audit()]
        check(operations.count("start") == 2 and operations.count("stop") == 1, f"{operations}")


def box_of(length):
    """What has the length of a sealed text, and nobody sealed."""
    return base64.b64encode(bytes(48 + length)).decode()


BOX = box_of(8)


def test_enroll_rules():
    with Daemon() as daemon:
        daemon.enroll("host")
        rows = [
            ({"name": "host"}, "Exists"), ({"name": "a b"}, "Usage"), ({"name": "../x"}, "Usage", "'..'"),
            ({"class": "session"}, "Usage"), ({"sealedPin": BOX}, "Usage"), ({"sealedKey": BOX}, "Usage"),
            ({"class": "session", "sealedPin": box_of(3)}, "Usage", "a PIN has 4 to 128 bytes"), ({"class": "session", "sealedPin": box_of(0)}, "Usage", "a PIN has"), ({"class": "session", "sealedPin": "AAAA"}, "Usage", "not sealed to the helper"),
            ({"class": "admin", "sealedPin": box_of(129)}, "Usage", "a PIN has"), ({"kind": "x25519", "sealedKey": box_of(74)}, "Usage", "32 bytes"),
            ({"sealedPin": ""}, "org.varlink.service.InvalidParameter"), ({"token": ""}, "org.varlink.service.InvalidParameter"),
            ({"token": "tpm:swtpm:path=/nowhere"}, "Usage"), ({"kind": "rsa"}, "org.varlink.service.InvalidParameter"),
            ({"class": "x"}, "org.varlink.service.InvalidParameter"), ({"extra": 1}, "org.varlink.service.InvalidParameter"),
            ({"sealedPin": "*"}, "org.varlink.service.InvalidParameter"), ({"name": 5}, "org.varlink.service.InvalidParameter"),
        ]
        for change, expected, *said in rows:
            reply = daemon.call("Enroll", {"name": "new", "kind": "p256", "class": "boot", **change})
            check(error_of(reply) == expected and all(words in reply["parameters"]["message"] for words in said), f"{change}: {reply}")
        check([key["name"] for key in daemon.result("GetKeys")["keys"]] == ["host"], "something was made after all")
        check(daemon.enroll("sym", "symmetric").get("recipient") is None, "a symmetric key has no recipient")


def test_two_at_once_one_name():
    with Daemon() as daemon:
        connections = [daemon.connect() for _ in range(4)]
        for connection in connections:
            connection.ask("io.tokend.Enroll", {"name": "same", "kind": "p256", "class": "boot"})
        results = sorted(error_of(connection.answer()) for connection in connections)
        check(results == ["", "Exists", "Exists", "Exists"], f"{results}")


def test_denied_is_unknown():
    uid = os.getuid()
    policy = f"permit admin key * user {uid}\npermit unwrap key mine user {uid} via age\npermit list key mine user {uid}\n"
    with Daemon(policy=policy) as daemon:
        wanted = x25519_file(daemon, "theirs")
        daemon.enroll("mine")
        theirs = next(re.finditer(r'"key":"([0-9a-f]{32})","name":"theirs"', (daemon.directory / "state/audit.log").read_text()), None)
        names = ["theirs", "nothing"] + ([theirs[1], "0" * 32] if theirs else [])
        answers = []
        for name in names:
            connection = daemon.connect()
            connection.ask("io.tokend.Unwrap", {"key": name, "stanzas": wanted})
            answers.append(json.dumps(connection.answer()).replace(name, "NAME"))
        check(len(set(answers)) == 1 and "io.tokend.Denied" in answers[0], f"{answers}")
        check(error_of(daemon.call("Unwrap", {"stanzas": wanted})) == "NoMatch", "a file that only a forbidden key opens")
        check([key["name"] for key in daemon.result("GetKeys")["keys"]] == ["mine"], "what may be listed")
        check(error_of(daemon.call("GetKeys", {"key": "theirs"})) == "Denied", "listing a forbidden key")
        check(error_of(daemon.call("Lock", {"key": "theirs"})) == "Denied", "locking a forbidden key")
        refusals = [record for record in daemon.audit() if record["result"] == "denied"]
        check(len(refusals) >= len(names) + 2, f"{refusals}")


def seal_pin(daemon, pin, token=0):
    """A PIN sealed to the helper of a token, as tokenctl does it."""
    library = ctypes.util.find_library("sodium")
    if not library:
        raise Failed("libsodium is not there to seal a PIN with")
    box_key = base64.b64decode(daemon.result("GetTokens")["tokens"][token]["boxKey"])
    sealed = ctypes.create_string_buffer(len(pin) + 48)
    ctypes.CDLL(library).crypto_box_seal(sealed, pin, ctypes.c_ulonglong(len(pin)), box_key)
    return base64.b64encode(sealed.raw).decode()


def test_session_key():
    with Daemon() as daemon:
        key = daemon.result("Enroll", {"name": "held", "kind": "x25519", "class": "session", "sealedPin": seal_pin(daemon, b"123456")})["key"]
        check(key["unlocked"] == 0, f"{key}")
        wanted = stanzas(seal(key["recipient"]))
        for named in (None, "held"):
            reply = daemon.call("Unwrap", {"key": named, "stanzas": wanted})
            check(error_of(reply) == "PinNeeded" and reply["parameters"]["name"] == "held" and reply["parameters"]["boxKey"], f"{reply}")
        reply = daemon.call("Unlock", {"key": "held", "sealedPin": seal_pin(daemon, b"654321")})
        check(error_of(reply) == "PinWrong" and reply["parameters"]["triesLeft"] == 1, f"a wrong PIN: {reply}")
        check(error_of(daemon.call("Unlock", {"key": "held", "sealedPin": "AAAA"})) == "Usage", "not a box")
        reply = daemon.call("Unlock", {"key": "held", "sealedPin": seal_pin(daemon, b"")})
        check(error_of(reply) == "PinWrong" and "4 to 128" in reply["parameters"]["message"], f"an empty PIN: {reply}")
        opened = daemon.result("Unlock", {"key": "held", "sealedPin": seal_pin(daemon, b"123456"), "seconds": 2})
        check(opened["name"] == "held" and opened["seconds"] == 2, f"{opened}")
        before = daemon.result("Unwrap", {"stanzas": wanted})
        check(0 < daemon.result("GetKeys", {"key": "held"})["keys"][0]["unlocked"] <= 2, "seconds left")
        time.sleep(3.1)
        check(error_of(daemon.call("Unwrap", {"stanzas": wanted})) == "PinNeeded", "its time is over")
        daemon.result("Unlock", {"key": "held", "sealedPin": seal_pin(daemon, b"123456")})
        check(daemon.result("Unwrap", {"stanzas": wanted}) == before, "opened again")
        check(error_of(daemon.call("Lock", {"key": ""})) == "org.varlink.service.InvalidParameter", "no key, or all of them?")
        check(daemon.result("Lock") == {"locked": 1} and daemon.result("Lock") == {"locked": 0}, "lock")
        check(error_of(daemon.call("Unwrap", {"stanzas": wanted})) == "PinNeeded", "locked")
        daemon.result("Unlock", {"key": "held", "sealedPin": seal_pin(daemon, b"123456")})
        for helper in daemon.helpers():
            os.kill(helper, signal.SIGKILL)
        wait_for(lambda: error_of(daemon.call("Unwrap", {"stanzas": wanted})) == "PinNeeded", 5, "lost with the helper")
        results = [record["result"] for record in daemon.audit() if record["operation"] == "unlock"]
        check(results == ["pin-wrong", "usage", "pin-wrong", "ok", "ok", "ok"], f"{results}")


def test_admin_key():
    with Daemon() as daemon:
        pin = b"one use only"
        key = daemon.result("Enroll", {"name": "root", "kind": "p256", "class": "admin", "sealedPin": seal_pin(daemon, pin)})["key"]
        boot = x25519_file(daemon)
        check(key["recipient"].startswith("age1tag1"), f"{key}")
        for _ in range(2):
            daemon.result("Unlock", {"key": "root", "sealedPin": seal_pin(daemon, pin)})
            check("error" not in daemon.call("Unwrap", {"stanzas": boot}), "another key")
            check(daemon.result("GetKeys", {"key": "root"})["keys"][0]["unlocked"] > 0, "another key's use spent it")
            daemon.result("Lock", {"key": "root"})


def test_one_pin_one_file_key():
    """Where the policy wants the PIN each time, however many ask at once, there is one file key for it."""
    uid = os.getuid()
    with Daemon(policy=f"permit admin list key * user {uid}\npermit unwrap key * user {uid} pin\n") as daemon:
        pin = seal_pin(daemon, b"123456")
        for kind, form in (("p256", "session"), ("x25519", "session"), ("p256", "admin")):
            name = f"{kind}-{form}"
            key = daemon.result("Enroll", {"name": name, "kind": kind, "class": form, "sealedPin": pin})["key"]
            wanted = stanzas(seal_p256(key["recipient"]))
            for _ in range(2):
                check(error_of(daemon.call("Unwrap", {"stanzas": wanted})) == "PinNeeded", f"{name}: locked")
                daemon.result("Unlock", {"key": name, "sealedPin": pin})
                connections = [daemon.connect() for _ in range(4)]
                for connection in connections:
                    for _ in range(8):
                        connection.ask("io.tokend.Unwrap", {"stanzas": wanted})
                results = [error_of(connection.answer()) for connection in connections for _ in range(8)]
                check(results.count("") == 1 and set(results) == {"", "PinNeeded"}, f"{name}: {results}")
                for connection in connections:
                    connection.close()
            # What opens nothing costs no PIN.
            daemon.result("Unlock", {"key": name, "sealedPin": pin})
            for _ in range(2):
                check(error_of(daemon.call("Unwrap", {"key": name, "stanzas": [damaged(wanted[0], 1)]})) in ("BadCiphertext", "NoMatch"), f"{name}: damaged")
            check(error_of(daemon.call("Unwrap", {"stanzas": wanted})) == "", f"{name}: after a damaged one")


def test_device_tries():
    """A file made of one stanza many times costs the device no more than one of it."""
    with Daemon() as daemon:
        wanted = stanzas(seal_p256(daemon.enroll("host")["recipient"]))
        many = [damaged(wanted[0], n) for n in range(1, 256)]
        daemon.result("Unwrap", {"stanzas": wanted})

        def commands():
            return daemon.result("GetTokens")["tokens"][0]["commands"]

        def cost(what):
            before = commands()
            daemon.call("Unwrap", {"stanzas": what})
            return commands() - before
        one = cost(wanted)
        check(cost(many) <= one, f"{one} commands for one, and for many {cost(many)}")


def test_guessing():
    with Daemon() as daemon:
        daemon.result("Enroll", {"name": "held", "kind": "x25519", "class": "session", "sealedPin": seal_pin(daemon, b"123456")})
        wrong = seal_pin(daemon, b"000000")
        answers = [daemon.call("Unlock", {"key": "held", "sealedPin": wrong}) for _ in range(12)]
        replies = [error_of(answer) for answer in answers]
        left = [answer["parameters"]["triesLeft"] for answer in answers if error_of(answer) == "PinWrong"]
        check(left == list(range(len(left)))[::-1], f"tries left {left}")
        check(not any("triesLeft" in answer["parameters"] for answer in answers if error_of(answer) != "PinWrong"), f"{answers}")
        right = daemon.call("Unlock", {"key": "held", "sealedPin": seal_pin(daemon, b"123456")})
        check(replies[0] == "PinWrong" and set(replies[3:]) == {"PinLocked"}, f"{replies}")
        check(error_of(right) == "PinLocked" and right["parameters"]["message"] and right["parameters"]["hint"] == "tokenctl tokens", f"{right}")
        check(not daemon.result("GetTokens")["tokens"][0]["inLockout"], "the device is in lockout")


def test_varlink_service():
    with Daemon() as daemon:
        info = daemon.result("org.varlink.service.GetInfo")
        check(info["interfaces"] == ["org.varlink.service", "io.tokend"], f"{info}")
        text = daemon.result("org.varlink.service.GetInterfaceDescription", {"interface": "io.tokend"})["description"]
        check(text == (SOURCE / "tokend/io.tokend.varlink").read_text(), "the interface text")
        for method in re.findall(r"^method (\w+)", text, re.M):
            reply = daemon.call(method)
            check("MethodNotFound" not in error_of(reply), f"{method} is described and not there")
        rows = [
            ("io.tokend.Nothing", {}, "org.varlink.service.MethodNotFound"),
            ("io.other.Nothing", {}, "org.varlink.service.InterfaceNotFound"),
            ("Nothing.", {}, "org.varlink.service.InterfaceNotFound"),
            ("org.varlink.service.GetInterfaceDescription", {"interface": "io.other"}, "org.varlink.service.InterfaceNotFound"),
            ("org.varlink.service.GetInterfaceDescription", {}, "org.varlink.service.InvalidParameter"),
            ("io.tokend.GetKeys", {"key": ""}, "org.varlink.service.InvalidParameter"),
            ("io.tokend.Unwrap", {"stanzas": [], "key": ""}, "org.varlink.service.InvalidParameter"),
            ("io.tokend.Unwrap", {"stanzas": [], "recipient": ""}, "org.varlink.service.InvalidParameter"),
            ("io.tokend.Unwrap", {"stanzas": 1}, "org.varlink.service.InvalidParameter"),
            ("io.tokend.Unwrap", {"stanzas": [{}]}, "org.varlink.service.InvalidParameter"),
            ("io.tokend.Unwrap", {"stanzas": [{"type": "X25519", "arguments": [], "body": ""}]}, "BadFile"),
            ("io.tokend.Unwrap", {"stanzas": [other_stanza()] * 257}, "org.varlink.service.InvalidParameter"),
        ]
        for method, parameters, expected in rows:
            reply = daemon.call(method, parameters)
            check(error_of(reply) == expected, f"{method} {str(parameters)[:80]}: {reply}")
        foreign, nonsense = (daemon.call("Unwrap", {"stanzas": [other_stanza()], "recipient": line}) for line in ("age1yubikey1q", "nonsense"))
        check(foreign == nonsense and foreign["parameters"]["hint"] == "tokenctl keys", f"a recipient that no token has: {foreign}")
        for method, parameters in (("org.varlink.service.GetInterfaceDescription", {"interface": "\x7f" * 10000}), ("io.tokend.GetKeys", {"\x7f" * 10000: 1})):
            reply = daemon.call(method, parameters)
            check(error_of(reply).startswith("org.varlink.service.I") and len(json.dumps(reply)) < 200, f"a long name comes back: {str(reply)[:80]}")
        connection = daemon.connect()
        connection.ask("io.tokend.GetStatus", oneway=True)
        connection.ask("io.tokend.GetKeys", more=True)
        connection.ask("io.tokend.GetStatus", upgrade=True)
        connection.ask("org.varlink.service.GetInfo")
        replies = [connection.answer() for _ in range(3)]
        check("keys" in replies[0]["parameters"] and not replies[0].get("continues"), f"oneway and more: {replies[0]}")
        check(error_of(replies[1]) == "Unsupported" and "upgrades" in replies[1]["parameters"]["message"], f"upgrade: {replies[1]}")
        check("vendor" in replies[2]["parameters"], f"order: {replies[2]}")


def test_explain_policy():
    uid = os.getuid()
    with Daemon(policy=f"permit unwrap key a/* user {uid} via age\npermit admin key * user {uid}\n") as daemon:
        ask = {"operation": "unwrap", "key": "a/b", "frontend": "age"}
        reply = daemon.result("ExplainPolicy", ask)
        check(reply["verdict"] == "permit" and ":1: permit unwrap" in reply["rule"], f"{reply}")
        reply = daemon.result("ExplainPolicy", {**ask, "key": "b"})
        check(reply == {"verdict": "deny"}, f"{reply}")
        reply = daemon.result("ExplainPolicy", {**ask, "uid": 65534})
        check(reply["verdict"] == "deny", f"{reply}")
        check(error_of(daemon.call("ExplainPolicy", {**ask, "operation": "fly"})) == "Usage", "no such operation")
        check(error_of(daemon.call("ExplainPolicy", {**ask, "frontend": "local"})) == "Usage", "no such front-end")
        check(error_of(daemon.call("ExplainPolicy", {**ask, "unit": "app"})) == "Usage", "no unit")


def test_malformed():
    with Daemon() as daemon:
        for text in (b"GET / HTTP/1.1\r\n\r\n\0", b"\0", b"{}\0", b"[" * 100000 + b"\0", b'{"method":1}\0', b'{"method":"a","method":"b"}\0'):
            connection = daemon.connect()
            connection.send(text)
            reply = connection.answer()
            check(error_of(reply) == "BadMessage" and ("64 KiB" if len(text) > 1000 else "not a call") in reply["parameters"]["message"], f"{text[:40]}: {reply}")
            check(connection.answer() is None, f"{text[:40]}: the connection goes on")
        connection = daemon.connect()
        try:
            connection.send(b" " * (300 << 10))
        except OSError:
            pass
        check(error_of(connection.answer()) in ("BadMessage", "closed"), "too long")
        # Whole messages before the end of the connection are answered, half ones are not waited for.
        connection = daemon.connect()
        connection.send(b'{"method":"org.varlink.service.GetInfo"}\0{"meth')
        connection.socket.shutdown(socket.SHUT_WR)
        check("parameters" in connection.answer() and connection.answer() is None, "half-closed")


def test_pieces_and_pipelines():
    with Daemon() as daemon:
        wanted = x25519_file(daemon)
        message = json.dumps({"method": "io.tokend.Unwrap", "parameters": {"stanzas": wanted}}).encode() + b"\0"
        connection = daemon.connect()
        for i in range(0, len(message), 7):
            connection.send(message[i:i + 7])
        check("error" not in connection.answer(), "in pieces")
        connection.send(message * 100)
        for i in range(100):
            check("error" not in connection.answer(), f"{i} of a hundred at once")
        status = b'{"method":"io.tokend.GetStatus"}\0'
        connection.send((message + status) * 20)
        for i in range(20):
            check("fileKey" in connection.answer()["parameters"], f"order, unwrap {i}")
            check("mode" in connection.answer()["parameters"], f"order, status {i}")


def test_unread_answers():
    """Who asks and does not read stops only himself."""
    with Daemon() as daemon:
        deaf = daemon.connect()
        deaf.socket.settimeout(1)
        try:
            for _ in range(20000):
                deaf.ask("org.varlink.service.GetInterfaceDescription", {"interface": "io.tokend"})
        except OSError:
            pass
        check("error" not in daemon.call("GetStatus", deadline=3), "others wait")
        wait_for(lambda: deaf_ended(deaf), 20, "the deaf one is hung up on")


def test_too_much_unread():
    """Whose answers fill his share of memory loses connections, and nobody else anything: the one that passes the ceiling ends in the midst of its answer."""
    with Daemon(tpms=0) as daemon:
        broker = daemon.broker()
        half, deaf = ([daemon.connect() for _ in range(count)] for count in (128, 20))
        for connection in half:
            connection.socket.setblocking(False)
            connection.send(b" " * 65000)  # all of them leave little of the eight MiB
        end = time.monotonic() + 15
        # One call at a time, so that what passes the ceiling is an answer and not a call.
        while "too much of it is unread" not in daemon.log_text() and time.monotonic() < end:
            for connection in deaf:
                with contextlib.suppress(OSError):
                    connection.socket.setblocking(False)
                    connection.ask("org.varlink.service.GetInterfaceDescription", {"interface": "io.tokend"})
            time.sleep(0.005)
        check("too much of it is unread" in daemon.log_text(), "nobody was hung up on")
        check(daemon.broker() == broker, "the broker is another")


def deaf_ended(connection):
    try:
        connection.socket.send(b" ", socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def test_half_message_has_a_deadline():
    with Daemon() as daemon:
        slow, idle = daemon.connect(), daemon.connect()
        slow.send(b'{"method":')
        began = time.monotonic()
        check(slow.answer() is None, "half a message")
        check(5 <= time.monotonic() - began <= 17, f"after {time.monotonic() - began:.1f} s")
        check("parameters" in idle.call("GetStatus"), "an idle connection goes on")


def test_passed_descriptors():
    with Daemon() as daemon:
        listening = restart_on_passed_socket(daemon)
        if can_refuse():
            listening.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 1)
        broker = daemon.broker()
        daemon.result("GetTokens")  # now there is a helper, whose socket is one
        count = len(os.listdir(f"/proc/{broker}/fd")) if os.access(f"/proc/{broker}/fd", os.R_OK) else None
        connection = daemon.connect()
        for _ in range(200):
            with open("/dev/null", "rb") as null:
                connection.socket.sendmsg([b'{"method":"org.varlink.service.GetInfo"}\0'],
                                          [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null.fileno()] * 20))])
            check("parameters" in connection.answer(), "a call with descriptors")
        if count is not None:
            check(len(os.listdir(f"/proc/{broker}/fd")) <= count + 1, "descriptors were kept")
        # Several that lie there together: a read ends behind each one's descriptors, and nobody tells of the next.
        os.kill(broker, signal.SIGSTOP)
        try:
            for _ in range(5):
                with open("/dev/null", "rb") as null:
                    connection.socket.sendmsg([b'{"method":"org.varlink.service.GetInfo"}\0'],
                                              [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null.fileno()]))])
        finally:
            os.kill(broker, signal.SIGCONT)
        for number in range(5):
            check("parameters" in connection.answer(), f"call {number} of those that came together")
        listening.close()


SO_PASSRIGHTS = 83  # Linux 6.16


def can_refuse():
    with socket.socket(socket.AF_UNIX) as any_socket:
        try:
            return any_socket.getsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS) == 1
        except OSError:
            return False


def lasting_descriptor(seconds):
    """A TCP connection whose last close waits so long: what it has to send nobody takes. And what is to be kept until then."""
    listening = socket.create_server(("127.0.0.1", 0))
    connection = socket.create_connection(listening.getsockname())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
    other, _ = listening.accept()
    connection.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            connection.send(bytes(65536))
    return connection, [listening, other]


def pass_lasting(daemon, broker, hang_up):
    """Passes one to the broker that is the last to have it: it reads only when we have closed ours."""
    lasting, kept = lasting_descriptor(30)
    os.kill(broker, signal.SIGSTOP)
    try:
        connection = daemon.connect()
        connection.socket.sendmsg([b'{"method":"org.varlink.service.GetInfo"}\0'],
                                  [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [lasting.fileno()]))])
        lasting.close()
        if hang_up:
            connection.close()
    finally:
        os.kill(broker, signal.SIGCONT)
    return [connection, *kept]


def test_lasting_descriptors():
    """To drop what somebody has passed may last as long as he likes; nobody waits for that, be it read or thrown away. Where the kernel can it refuses such a message; here it is also let through."""
    with Daemon() as daemon:
        if can_refuse():
            with daemon.connect().socket as connection, open("/dev/null", "rb") as null:
                try:
                    connection.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [null.fileno()]))])
                    check(False, "a descriptor can be passed")
                except PermissionError:
                    pass
        listening = restart_on_passed_socket(daemon)
        if can_refuse():
            listening.setsockopt(socket.SOL_SOCKET, SO_PASSRIGHTS, 1)
        broker = daemon.broker()
        for hang_up in (False, True):
            kept = pass_lasting(daemon, broker, hang_up)
            check("parameters" in daemon.call("GetStatus", deadline=10), "an answer beside such a descriptor")
            for one in kept:
                one.close()
        listening.close()


def test_many_connections():
    with Daemon() as daemon:
        idle = [daemon.connect() for _ in range(1100)]
        check("parameters" in daemon.call("GetStatus", deadline=5), "one more")
        check(idle[-1].call("GetStatus")["parameters"]["uid"] >= 0, "the newest of the idle ones")
        for connection in idle:
            connection.close()


def queued(path, enough):
    """Connections that a socket queues while nobody takes them, or enough."""
    waiting = []
    try:
        while len(waiting) < enough:
            connection = socket.socket(socket.AF_UNIX)
            connection.setblocking(False)
            waiting.append(connection)
            connection.connect(str(path))
    except BlockingIOError:
        waiting.pop().close()
    for connection in waiting:
        connection.close()
    return len(waiting)


def test_queue_of_newcomers():
    """Nobody is behind hundreds of others' connections where clients wait in connect(2); and whose clients do not wait there has room for them."""
    with Daemon() as daemon:
        broker = daemon.broker()
        os.kill(broker, signal.SIGSTOP)
        try:
            control, sops = (queued(daemon.run / f"{name}.sock", 600) for name in ("control", "sops"))
        finally:
            os.kill(broker, signal.SIGCONT)
        check(16 <= control <= 33, f"{control} wait at control.sock")
        check(500 <= sops < 600, f"{sops} wait at sops.sock")
        check("parameters" in daemon.call("GetStatus"), "behind them")


def test_waiting_is_said():
    """Who waits at a terminal is told so, once; what a program reads stays as it is."""
    with Daemon() as daemon:
        command = [BIN / "tokenctl", "keys"]
        environment = {**os.environ, "TOKEND_RUNTIME_DIR": str(daemon.run)}
        for terminal in (True, False):
            reading, writing = pty.openpty() if terminal else os.pipe()
            broker = daemon.broker()
            os.kill(broker, signal.SIGSTOP)
            try:
                waiting = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writing)
                said = bool(select.select([reading], [], [], 4)[0])
            finally:
                os.kill(broker, signal.SIGCONT)
                os.close(writing)
            check(waiting.wait(10) == 0, "it goes on")
            check(said == terminal, f"terminal {terminal}: said {said}")
            if said:
                check(b"no answer from tokend yet" in os.read(reading, 1000), "what is said")
            os.close(reading)


def test_hang_up_in_flight():
    with Daemon() as daemon:
        wanted = x25519_file(daemon)
        host = daemon.enroll("host")
        for _ in range(300):
            connection = daemon.connect()
            connection.ask("io.tokend.Unwrap", {"stanzas": wanted})
            connection.close()
        check(host["usable"] and "error" not in daemon.call("Unwrap", {"stanzas": wanted}), "after 300 that hung up")


def start_as(daemon, uid, work):
    """Runs work in a process of uid, whose directory is that of the sockets. Returns what waits for its result."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.chdir(daemon.run)
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.write(writing, json.dumps(work()).encode())
            status = 0
        except Exception as problem:
            print(f"     uid {uid}: {type(problem).__name__}: {problem}", flush=True)
        finally:
            os._exit(status)
    os.close(writing)

    def result():
        with os.fdopen(reading, "rb") as pipe:
            text = pipe.read()
        check(os.waitpid(pid, 0)[1] == 0, f"the process of uid {uid} failed")
        return json.loads(text)

    return result


def connected(path):
    """Waits for its place like a client without a deadline."""
    while True:
        try:
            return Connection(path, 60)
        except BlockingIOError:
            time.sleep(0.001)


def unwraps_in(seconds, wanted):
    """How long each of the releases took, by a newcomer each, one after the other."""
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        connection = connected("control.sock")
        reply = connection.call("Unwrap", {"stanzas": wanted})
        connection.close()
        # A disk that is busy with something else is not what this is about.
        check("fileKey" in reply["parameters"] or error_of(reply) == "Audit", f"{reply}")
        took.append(time.monotonic() - began)
    return sorted(took)


def hang_up_for(seconds, message):
    """Connects, says a lot, and is gone."""
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect("control.sock")
            connection.setblocking(False)
            connection.send(message * 30)
            count += 1
        except OSError:
            pass
        connection.close()
    return count


def test_one_user_among_others():
    """Somebody without any permission comes, talks and goes as fast as he can; a newcomer of another uid is served all the same."""
    if os.getuid() != 0:
        return
    victim, attacker = 61001, 61002
    with Daemon(policy=f"permit unwrap list key * user {victim}\npermit admin key * user root\n") as daemon:
        wanted = x25519_file(daemon)
        daemon.run.chmod(0o755)  # as those of the system are
        daemon.socket.chmod(0o666)
        denied = json.dumps({"method": "io.tokend.Unwrap", "parameters": {"stanzas": wanted}}).encode() + b"\0"
        quiet = start_as(daemon, victim, lambda: unwraps_in(2, wanted))()
        attack = start_as(daemon, attacker, lambda: hang_up_for(4, denied))
        time.sleep(0.5)
        pressed = start_as(daemon, victim, lambda: unwraps_in(3, wanted))()
        count = attack()
        said = " ".join(f"{name}: {len(took)}, p50 {took[len(took) // 2] * 1000:.1f} ms, p99 {took[len(took) * 99 // 100] * 1000:.1f} ms,"
                        f" max {took[-1] * 1000:.1f} ms;" for name, took in (("alone", quiet), ("pressed", pressed)))
        print(f"     {said} {count} connections of the other")
        check(count > 100, f"no attack: {count}")
        check(len(pressed) * 20 > len(quiet), said)


def hold_halves(count):
    """Begins messages and ends none; how many of the connections are there in the end."""
    connections = []
    for _ in range(count):
        with contextlib.suppress(OSError):
            connections.append(connected("control.sock"))
            connections[-1].socket.setblocking(False)
            connections[-1].send(b" " * 65000)
    time.sleep(1)
    return sum(not deaf_ended(connection) for connection in connections)


def test_many_uids():
    """Whoever is many uids has no more than one share of all the memory there is for messages, and who has little keeps it."""
    if os.getuid() != 0:
        return
    with Daemon(tpms=0) as daemon:
        daemon.run.chmod(0o755)
        daemon.socket.chmod(0o666)
        broker, little = daemon.broker(), daemon.connect()
        little.send(b'{"method":"org.varlink.service.')
        results = [start_as(daemon, uid, lambda: hold_halves(120)) for uid in range(61003, 61013)]
        held = sum(result() for result in results)
        little.send(b'GetInfo"}\0')
        check("parameters" in little.answer(), "the one who had little")
        check(daemon.broker() == broker, "the broker is another")
        check(600 < held <= 1033, f"{held} of 1200 halves were kept")  # 64 MiB
        said = daemon.log_text().count("too much of it is unread")
        check(0 < said <= 10, f"that was said {said} times")


def test_flood_of_refusals():
    """Refusals cost a sender nothing, so they must not cost the disk: some are recorded singly, the rest in sums, and none is missing."""
    uid = os.getuid()
    with Daemon(policy=f"permit admin unwrap key * user {uid}\npermit list key mine user {uid}\n") as daemon:
        wanted = x25519_file(daemon)
        connection, refused = daemon.connect(), 20000
        ask = {"method": "io.tokend.GetKeys", "parameters": {"key": "a" * 250}}
        began = time.monotonic()
        connection.ask(ask["method"], ask["parameters"])
        first = connection.answer()
        message = json.dumps({**ask, "oneway": True}).encode() + b"\0"
        for _ in range(refused // 100):
            connection.send(message * 100)
        connection.ask("io.tokend.GetKeys", {"key": "b" * 250})
        last = connection.answer()
        check(error_of(first) == "Denied" and last == first, f"the answers differ: {first}, {last}")
        connection.ask("io.tokend.GetKeys", {"key": "\u202e not a name \n"})
        check(connection.answer() == first, "what is no name")
        for _ in range(1000):
            connection.ask("io.tokend.Lock", oneway=True)  # nothing is open, so nothing was done
        for _ in range(100):
            daemon.result("Unwrap", {"stanzas": wanted})
        took = time.monotonic() - began
        check(daemon.stop() == 0, "exit status")
        records = [record for record in daemon.audit() if record.get("uid") == uid]
        sums = [record["count"] for record in records if record["operation"] == "refusals"]
        singly = [record for record in records if record["operation"] in ("list", "lock")]
        check(len(sums) + len(singly) <= 64 + 4 * took + 2, f"{len(singly)} singly, {len(sums)} sums in {took:.1f} s")
        check(sum(sums) + len(singly) == refused + 3 + 1000, f"{len(singly)} singly, sums {sums}")
        check(len([record for record in records if record["operation"] == "unwrap" and record["result"] == "ok"]) == 100, "each release has its record")


def test_names_in_the_log():
    with Daemon() as daemon:
        for name in ("x/y", "\u202e not a name \n"):
            daemon.call("Unwrap", {"key": name, "stanzas": [other_stanza()]})
        records = [(record["name"], record.get("invalid")) for record in daemon.audit() if record["operation"] == "unwrap"]
        check(records == [("x/y", None), (None, True)], f"{records}")


def test_starts_and_stops():
    """Each start and each stop is in the log, and the log is whole."""
    with Daemon() as daemon:
        for _ in range(2):
            check(daemon.stop() == 0, "exit status")
            daemon.start()
        check(daemon.stop() == 0, "exit status")
        operations = [record["operation"] for record in daemon.audit()]
        check(operations == ["start", "stop"] * 3, f"{operations}")
        check("audit log" not in daemon.log_text(), daemon.log_text())
        verified = subprocess.run([str(BIN / "tokenctl"), "audit", "verify", "--file", str(daemon.directory / "state/audit.log")],
                                  capture_output=True, text=True, timeout=20, check=False)
        check(verified.returncode == 0 and "6 records, whole" in verified.stdout, f"{verified.stdout}{verified.stderr}")


def test_second_daemon():
    with Daemon() as daemon:
        second = subprocess.run(daemon.command(), capture_output=True, text=True, timeout=20, check=False)
        check(second.returncode == 8, f"exit status {second.returncode}")
        lines = second.stderr.strip().splitlines()
        check(f"(pid {daemon.process.pid})" in lines[0] and lines[1].startswith("tokend: next: "), f"{lines}")
        check("parameters" in daemon.call("GetStatus"), "the first goes on")
        other = [*daemon.command(), "--state-dir", str(daemon.directory / "other")]
        third = subprocess.run(other, capture_output=True, text=True, timeout=20, check=False)
        check(third.returncode == 8 and "runtime directory" in third.stderr, f"{third.stderr}")


def test_stale_socket():
    with Daemon() as daemon:
        daemon.process.kill()
        daemon.process.wait()
        check(daemon.socket.exists(), "no stale socket to replace")
        time.sleep(0.2)
        daemon.start()
        check("parameters" in daemon.call("GetStatus"), "over a stale socket")


def test_open_state():
    with Daemon() as daemon:
        daemon.stop()
        state = daemon.directory / "state"
        state.chmod(0o755)
        refused = subprocess.run(daemon.command(), capture_output=True, text=True, timeout=20, check=False)
        check(refused.returncode == 1 and f"chmod 700 {state}" in refused.stderr, f"{refused.returncode}: {refused.stderr}")
        state.chmod(0o700)
        daemon.start()


def test_bad_configuration():
    with Daemon() as daemon:
        daemon.stop()
        daemon.write("tokend.conf", "tolken x\n")
        refused = subprocess.run(daemon.command(), capture_output=True, text=True, timeout=20, check=False)
        check(refused.returncode == 2 and "tokend.conf:1" in refused.stderr, f"{refused.stderr}")
        checked = subprocess.run(daemon.command("--check"), capture_output=True, text=True, timeout=20, check=False)
        check(checked.returncode == 2 and "tokend.conf:1" in checked.stderr, f"{checked.stderr}")
        wrong = subprocess.run(daemon.command("--what"), capture_output=True, text=True, timeout=20, check=False)
        check(wrong.returncode == 2, f"an unknown option: {wrong.returncode}")
        daemon.write("tokend.conf", "")
        daemon.start()
        check(error_of(daemon.call("Enroll", {"name": "x", "kind": "p256", "class": "boot"})) == "NoToken", "without a token")


def test_reload():
    uid = os.getuid()
    with Daemon(policy=f"permit unwrap list admin key * user {uid}\n") as daemon:
        wanted = x25519_file(daemon)
        good = daemon.result("GetStatus")["policyDigest"]
        daemon.write("policy.d/50-test.conf", "permit everything\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "policyProblem" in daemon.result("GetStatus"), 5, "the bad policy is seen")
        status = daemon.result("GetStatus")
        check(status["policyDigest"] == good and "50-test.conf:1" in status["policyProblem"], f"{status}")
        check("error" not in daemon.call("Unwrap", {"stanzas": wanted}), "the old policy stays in force")
        daemon.write("policy.d/50-test.conf", f"permit list key * user {uid}\n")
        daemon.process.send_signal(signal.SIGHUP)
        wait_for(lambda: daemon.result("GetStatus")["policyDigest"] != good, 5, "the new policy is loaded")
        check("policyProblem" not in daemon.result("GetStatus"), "the problem is over")
        check(error_of(daemon.call("Unwrap", {"stanzas": wanted})) == "Denied", "the new policy is in force")
        check([record["result"] for record in daemon.audit() if record["operation"] == "reload"] == ["bad-config", "ok"], "reloads in the log")


def test_reload_in_flight():
    """What was asked for before a permission was taken away and waits for the device is not released after it, and the log names a rule that is there."""
    uid = os.getuid()
    everything, less = f"permit unwrap list admin key * user {uid}\n", f"permit list key * user {uid}\n"
    pin = f"permit unwrap list key * user {uid}\npermit admin key * user {uid} pin\n"
    with Daemon(policy=everything) as daemon:
        wanted = stanzas(seal_p256(daemon.enroll("host")["recipient"]))
        daemon.result("Unwrap", {"stanzas": wanted})
        for policy, unwrapped, enrolled in ((less, "Denied", "Denied"), (pin, "", "Denied"), ("# another line\n" + everything, "", "")):
            daemon.write("policy.d/50-test.conf", everything)
            reload(daemon)
            daemon.tpms[0].process.send_signal(signal.SIGSTOP)
            unwrap, enroll = daemon.connect(), daemon.connect()
            unwrap.ask("io.tokend.Unwrap", {"stanzas": wanted})
            enroll.ask("io.tokend.Enroll", {"name": f"new{len(policy)}", "kind": "p256", "class": "boot"})
            time.sleep(0.2)
            daemon.result("GetStatus")  # behind both of them
            daemon.write("policy.d/50-test.conf", policy)
            reload(daemon)
            daemon.tpms[0].process.send_signal(signal.SIGCONT)
            check(error_of(unwrap.answer()) == unwrapped, f"not {unwrapped or 'released'}")
            check(error_of(enroll.answer()) == enrolled, f"not {enrolled or 'made'}")
        record = [record for record in daemon.audit() if record["operation"] == "unwrap"][-1]
        check(record["result"] == "ok" and record["rule"] == "50-test.conf:2", f"{record}")
        check(len(daemon.result("GetKeys")["keys"]) == 2, "the key that was denied is there, or the other is not")


def reload(daemon):
    count = len(daemon.audit())
    daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: [record for record in daemon.audit()[count:] if record["operation"] == "reload"], 5, "the policy is loaded")


def test_helper_killed():
    with Daemon() as daemon:
        wanted = x25519_file(daemon)
        before = daemon.result("Unwrap", {"stanzas": wanted})
        for _ in range(2):
            for helper in daemon.helpers():
                os.kill(helper, signal.SIGKILL)
            wait_for(lambda: error_of(daemon.call("Unwrap", {"stanzas": wanted})) == "", 10, "it works again")
            time.sleep(0.3)
        check(daemon.result("Unwrap", {"stanzas": wanted}) == before, "the same file key")


def test_device_hangs():
    """One token hangs: its requests end at their deadline, the other token goes on, and all is well when it is back."""
    with Daemon(configuration="token-deadline 2s\n", tpms=2) as daemon:
        first = stanzas(seal(daemon.enroll("one", "x25519", token=daemon.tpms[0].uri)["recipient"]))
        second = stanzas(seal(daemon.enroll("two", "x25519", token=daemon.tpms[1].uri)["recipient"]))
        daemon.tpms[0].process.send_signal(signal.SIGSTOP)
        stuck = daemon.connect()
        began = time.monotonic()
        stuck.ask("io.tokend.Unwrap", {"key": "one", "stanzas": first})
        check("error" not in daemon.call("Unwrap", {"key": "two", "stanzas": second}, deadline=1), "the other token waits")
        reply = stuck.answer()
        took = time.monotonic() - began
        check(error_of(reply) in ("Timeout", "NoToken") and 1.5 < took < 4, f"{reply} after {took:.1f} s")
        daemon.tpms[0].process.send_signal(signal.SIGCONT)
        wait_for(lambda: error_of(daemon.call("Unwrap", {"key": "one", "stanzas": first})) == "", 10, "the token is back")


def test_device_absent():
    with Daemon() as daemon:
        wanted = x25519_file(daemon)
        daemon.stop()
        daemon.tpms[0].stop()
        daemon.start()
        began = time.monotonic()
        reply = daemon.call("Unwrap", {"stanzas": wanted})
        check(error_of(reply) == "NoToken" and time.monotonic() - began < 3, f"{reply}")
        token = daemon.result("GetTokens")["tokens"][0]
        check(not token["present"] and token["problem"] and token["hint"], f"{token}")
        daemon.tpms[0].start()
        wait_for(lambda: error_of(daemon.call("Unwrap", {"stanzas": wanted})) == "", 10, "the token came")


def restart_on_passed_socket(daemon):
    """On a socket that somebody else made and bound, as a service manager does. Returns that."""
    daemon.stop()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(daemon.socket))
    listening.listen(10)

    def become():
        os.dup2(listening.fileno(), 3)
        os.set_inheritable(3, True)

    environment = {**os.environ, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "control"}
    script = 'LISTEN_PID=$$ exec "$@"'
    daemon.log = open(daemon.directory / "log", "ab")
    daemon.process = subprocess.Popen(["sh", "-c", script, "sh", *daemon.command()], env=environment, preexec_fn=become,
                                      close_fds=False, stdin=subprocess.DEVNULL, stdout=daemon.log, stderr=daemon.log)
    wait_for(daemon.ready, 20, "tokend on a passed socket")
    return listening


def test_socket_activation():
    """A socket that somebody else made and bound: found by its name, and left where it is."""
    with Daemon() as daemon:
        listening = restart_on_passed_socket(daemon)
        check(daemon.stop() == 0 and daemon.socket.exists(), "the passed socket's name was removed")
        listening.close()


def test_notify():
    """READY, RELOADING and STOPPING reach the service manager; an idle daemon sleeps."""
    with Daemon() as daemon:
        daemon.stop()
        path = str(daemon.directory / "notify")
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(path)
        manager.settimeout(10)
        daemon.start(env={**os.environ, "NOTIFY_SOCKET": path})
        check(b"READY=1" in manager.recv(4096), "READY")
        daemon.process.send_signal(signal.SIGHUP)
        check(b"RELOADING=1" in manager.recv(4096), "RELOADING")
        check(b"READY=1" in manager.recv(4096), "READY again")
        broker = daemon.broker()
        time.sleep(1)
        before = switches(broker), switches(daemon.process.pid)
        time.sleep(3)
        check((switches(broker), switches(daemon.process.pid)) == before, "an idle daemon wakes up")
        daemon.stop()
        check(b"STOPPING=1" in manager.recv(4096), "STOPPING")
        manager.close()


def watchdog_words(variables, seconds):
    """What a service manager is told in that time that was promised a word each second: it names the process that it started."""
    with Daemon() as daemon:
        daemon.stop()
        path = str(daemon.directory / "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(10)
            daemon.log = open(daemon.directory / "log", "ab")
            daemon.process = subprocess.Popen(["sh", "-c", f'{variables} exec "$@"', "sh", *daemon.command()], env={**os.environ, "NOTIFY_SOCKET": path},
                                              stdin=subprocess.DEVNULL, stdout=daemon.log, stderr=daemon.log)
            heard = [manager.recv(4096)]
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                manager.settimeout(left)
                with contextlib.suppress(TimeoutError):
                    heard.append(manager.recv(4096))
        return heard


def test_watchdog():
    """A service manager that waits for a word (WatchdogSec=) gets it from the broker; it would end tokend every half minute. To others no word is owed."""
    heard = watchdog_words("WATCHDOG_USEC=1000000 WATCHDOG_PID=$$", 2)
    check(sum(b"WATCHDOG=1" in word for word in heard) >= 2, f"the service manager waits for a word, and heard {heard}")
    heard = watchdog_words("WATCHDOG_USEC=1000000 WATCHDOG_PID=1", 2)
    check(not any(b"WATCHDOG=1" in word for word in heard), f"another process's watchdog was told {heard}")


def switches(pid):
    total = 0
    for status in pathlib.Path(f"/proc/{pid}/task").glob("*/status"):
        total += sum(int(number) for number in re.findall(r"ctxt_switches:\s+(\d+)", status.read_text()))
    return total


def open_files(pid):
    """Number and target of each, all of one moment: one that was closed between the list and the look has it begun anew."""
    for _ in range(100):
        try:
            return {int(path.name): os.readlink(path) for path in pathlib.Path(f"/proc/{pid}/fd").iterdir()}
        except FileNotFoundError:
            continue
    raise Failed(f"the files of {pid} do not come to rest")


def test_broker_is_confined():
    """What the process shows of it; what each act gets is tests/unit/test_sandbox.c."""
    left_open = os.open("/etc", os.O_RDONLY)
    with Daemon(pass_fds=[left_open]) as daemon:
        pid = daemon.broker()
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        for line in ("CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
            check(line in status, f"{line}: {status}")
        threads = list(pathlib.Path(f"/proc/{pid}/task").glob("*/status"))
        check(len(threads) == 2 and all("Seccomp:\t2" in path.read_text() for path in threads), f"the filter is not in all of {len(threads)} threads")
        targets = open_files(pid)
        check(targets[0] == targets[1] == "/dev/null", f"{targets}")
        ours = (str(daemon.directory), "socket:", "anon_inode:", "/dev/null")
        strangers = [target for number, target in targets.items() if number != 2 and not target.startswith(ours)]
        check(not strangers, f"open in the broker: {strangers}")
        locks = [target for target in targets.values() if target.endswith("/lock")]
        check(len(locks) == 2, f"the locks are not held by the broker as well: {targets}")
    os.close(left_open)


def test_confined_broker_reloads():
    """Names are found and new files read inside the sandbox; a directory that it did not start with is out of reach, and it says so."""
    with Daemon(policy="permit unwrap list admin key * user root\n") as daemon:
        def reload(words):
            daemon.process.send_signal(signal.SIGHUP)
            wait_for(lambda: words in daemon.log_text(), 10, words)
        daemon.write("policy.d/60-more.conf", "permit list key * user daemon group daemon\n")
        reload("loaded anew (2 rules)")
        (daemon.directory / "policy.d").rename(daemon.directory / "old")
        (daemon.directory / "policy.d").mkdir(mode=0o700)
        daemon.write("policy.d/50-new.conf", "permit unwrap list admin key * user root\n" * 3)
        reload("loaded anew (3 rules)")
        with tempfile.TemporaryDirectory() as elsewhere:
            daemon.write("tokend.conf", (daemon.directory / "tokend.conf").read_text() + f"policy-directory {elsewhere}\n")
            if not sanitized() and landlock_version() > 0:
                reload("systemctl restart tokend")


def landlock_version():
    return ctypes.CDLL(None).syscall(444, None, 0, 1)


def sanitized():
    return b"__asan_init" in (BIN / "tokend").read_bytes()


def test_false_lock():
    """The lock is written by root in a directory of another user: a link or another kind of file in its place is left alone."""
    with Daemon() as daemon:
        check(daemon.stop() == 0, "exit status")
        victim, lock = daemon.directory / "victim", daemon.directory / "state/lock"
        for make in (lambda: os.link(victim, lock), lambda: os.symlink(victim, lock), lambda: os.mkfifo(lock)):
            victim.write_text("precious\n")
            lock.unlink()
            make()
            done = subprocess.run(daemon.command(), capture_output=True, text=True, timeout=20, check=False)
            check(done.returncode != 0 and "/lock" in done.stderr, f"{done}")
            check(victim.read_text() == "precious\n", "what the lock points to was written over")


def test_strangers_daemon():
    """A daemon of somebody else gets no word of ours, whatever the environment says."""
    if os.getuid() != 0:
        print("     strangers_daemon: only root can be two users")
        return
    stranger = 64999
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        run = pathlib.Path(directory) / "tokend"
        run.mkdir()
        os.chown(run, stranger, stranger)
        program = ("import os, socket, sys; os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2])); s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); "
                   "os.chmod(sys.argv[1], 0o666); s.listen(); print('ready', flush=True); c = s.accept()[0]; c.settimeout(5); print(len(c.recv(10)), flush=True)")
        false = subprocess.Popen([sys.executable, "-c", program, str(run / "control.sock"), str(stranger)], stdout=subprocess.PIPE, text=True)
        try:
            check(false.stdout.readline() == "ready\n", "the false daemon")
            rest = {name: value for name, value in os.environ.items() if name not in ("TOKEND_RUNTIME_DIR", "XDG_RUNTIME_DIR")}
            for environment, words in (({"XDG_RUNTIME_DIR": directory}, "/run/tokend"), ({"TOKEND_RUNTIME_DIR": str(run)}, f"run by uid {stranger}")):
                done = subprocess.run([BIN / "tokenctl", "keys"], env={**rest, **environment}, capture_output=True, text=True, timeout=20, check=False)
                check(done.returncode != 0 and words in done.stderr, f"{environment}: {done}")
            check(false.stdout.readline() == "0\n", "the false daemon was told something")
        finally:
            false.kill()
            false.wait()
            false.stdout.close()


def test_ends_with_its_parent():
    """Whatever of the three is killed, nothing is left behind."""
    for victim in ("supervisor", "broker"):
        with Daemon() as daemon:
            broker = daemon.broker()
            left = [broker, *daemon.helpers()]
            os.kill(daemon.process.pid if victim == "supervisor" else broker, signal.SIGKILL)
            daemon.process.wait(10)
            wait_for(lambda: not [pid for pid in left if alive(pid)], 5, f"the {victim} was killed, the others end")


def alive(pid):
    try:
        return "State:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def run_tests(module):
    """Those of a module's functions test_... that the command line names, or all; the exit status."""
    tests = {name.removeprefix("test_"): test for name, test in module.items() if name.startswith("test_")}
    names = sys.argv[1:] or os.environ.get("TOKEND_TEST_ONLY", "").split() or list(tests)
    failed = 0
    for name in names:
        began = time.monotonic()
        try:
            tests[name]()
            print(f"ok   {name} ({time.monotonic() - began:.1f} s)", flush=True)
        except (Failed, OSError, subprocess.SubprocessError, KeyError, TypeError, ValueError) as problem:
            failed += 1
            print(f"FAIL {name}: {type(problem).__name__}: {problem}", flush=True)
    print(f"{len(names) - failed} passed, {failed} failed")
    return 1 if failed else 0


def main():
    for program in ("swtpm", "age"):
        if not shutil.which(program):
            print(f"SKIP: the program {program} is not installed")
            return 77
    if not (BIN / "tokend").exists():
        print(f"SKIP: {BIN / 'tokend'} is not built")
        return 77
    # As many connections as tokend allows one user, from this one process.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    return run_tests(globals())


if __name__ == "__main__":
    sys.exit(main())
