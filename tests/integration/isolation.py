#!/usr/bin/env python3
"""What hostile code can do inside each process, and what a hostile helper can do to all others.

The matrix: doubles of the programs, which do all that ours do and then, each in its turn, everything that tests/fake/probe.c has; what came of it has to be what isolation.expected says, so that no ability
comes or goes unseen.

ISOLATION_WRITE=1      writes that file anew
ISOLATION_WAYS=A,B     of the hostile helper's ways only those
isolation.py [NAME]... runs those tests only
"""
import concurrent.futures
import ctypes
import errno
import fcntl
import mmap
import os
import pathlib
import pty
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

import broker
from broker import BIN, Daemon, Failed, check, error_of, wait_for
from memory import address_in, give

TESTS = BIN.parent / "tests"
EXPECTED = pathlib.Path(__file__).with_name("isolation.expected")
BROKER_USER, HELPER_USER = "daemon", "bin"  # accounts that every system has; tokend's own are made by its package
USER = 61001

# ---- the plan of a probe (tests/fake/probe.h) ----

HEAD = struct.Struct("=6I2Q96s32s")
RESULT = struct.Struct("=48si")
ROWS_MAX = 192


class Plan:
    def __init__(self, path):
        path.write_bytes(bytes(HEAD.size + ROWS_MAX * RESULT.size))
        path.chmod(0o666)
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)

    def give(self, pid, **targets):
        self.map[:] = bytes(len(self.map))
        self.map[:HEAD.size] = HEAD.pack(0, 0, targets["holder"], targets["supervisor"], targets["sibling"], targets["terminal"], targets["holder_address"],
                                         targets["sibling_address"], str(targets["directory"]).encode(), targets["abstract"].encode())
        self.map[:4] = struct.pack("=I", pid)

    def done(self):
        return struct.unpack_from("=I", self.map, 4)[0] > 0

    def results(self):
        """Of what was begun: 0, an error, or -1 when the process did not come back from it."""
        found = {}
        for row in range(ROWS_MAX):
            name, error = RESULT.unpack_from(self.map, HEAD.size + row * RESULT.size)
            if name[0]:
                found[name.rstrip(b"\0").decode()] = error
        return found


def word(error):
    return {0: "yes", -1: "ended"}.get(error) or errno.errorcode[error]


# ---- a daemon of doubles ----

def without_landlock():
    """As in a kernel that has none."""
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(0x7FFF0000))
    if library.seccomp_rule_add_array(context, 0x00050000 | errno.ENOSYS, 444, 0, None) or library.seccomp_load(context):
        raise OSError("no filter")


def or_nothing(start):
    """One that does not come up leaves nothing behind."""
    def started(daemon, **arguments):
        try:
            start(daemon, **arguments)
        except BaseException:
            if daemon.process:
                daemon.__exit__(*sys.exc_info())
            for tpm in daemon.tpms:
                tpm.stop()
            shutil.rmtree(daemon.directory, ignore_errors=True)
            raise
    return started


def own(path, uid, mode):
    os.chown(path, uid, uid)
    path.chmod(mode)


class ProbedDaemon(Daemon):
    """One with three tokens: two software TPMs, and a device that is only a file. Its messages go to a terminal, as when somebody tries it out."""

    def __init__(self, system, notify=False, before=None):
        self.system, self.before, self.master = system, before, None
        self.broker_uid, self.helper_uid = (1, 2) if system else (USER, USER)
        self.notify = notify
        super().__init__(policy=f"permit unwrap list admin key * user 0\npermit unwrap list admin key * user {USER}\n", tpms=2)

    def program(self, name):
        return self.directory / "programs" / name

    def command(self, *options):
        words = super().command(*options)
        words[words.index("--config") + 1] = str(self.directory / "configuration/tokend.conf")
        return [str(self.program("tokend")), *(["--system"] if self.system else []), *words[1:]]

    def prepare(self):
        (self.directory / "programs").mkdir()
        for name in ("tokend", "tokend-tpm"):
            shutil.copy(TESTS / f"{name}_probed", self.program(name))
        text = (self.directory / "tokend.conf").read_text() + f"token tpm:device:{self.directory}/devices/tpm0\n"
        self.write("tokend.conf", text + f"user {BROKER_USER}\nhelper-user {HELPER_USER}\n")
        for name in ("devices", "open", "configuration"):
            (self.directory / name).mkdir()
        for name in ("tokend.conf", "policy.d"):
            (self.directory / name).rename(self.directory / "configuration" / name)
        if self.system:
            self.directory.chmod(0o755)
            (self.directory / "configuration/policy.d").chmod(0o755)
            for path in self.directory.glob("[01]"):
                path.chmod(0o755)
                for name in ("tpm.sock", "tpm.sock.ctrl"):
                    (path / name).chmod(0o666)
            for name in ("tokend.conf", "policy.d/50-test.conf"):
                (self.directory / "configuration" / name).chmod(0o644)
        else:
            give(self.directory, USER)
        for name in ("devices/tpm0", "devices/other", "open/file", "open/private"):
            (self.directory / name).write_text("something\n")
        own(self.directory / "devices/tpm0", self.helper_uid, 0o600)
        own(self.directory / "devices/other", self.helper_uid, 0o600)
        own(self.directory / "open", USER, 0o777)
        own(self.directory / "open/file", USER, 0o666)
        own(self.directory / "open/private", USER + 1, 0o600)
        self.plan = Plan(self.directory / "devices/plan")
        self.sockets = []
        for name, kind in (("stream", socket.SOCK_STREAM), ("datagram", socket.SOCK_DGRAM), ("notify", socket.SOCK_DGRAM)):
            self.listen(str(self.directory / "open" / name), kind)
            (self.directory / "open" / name).chmod(0o777)
        self.abstract = f"tokend-{os.getpid()}-{id(self):x}"[:31]
        self.listen("\0" + self.abstract, socket.SOCK_STREAM)

    def listen(self, address, kind):
        listener = socket.socket(socket.AF_UNIX, kind)
        listener.bind(address)
        if kind == socket.SOCK_STREAM:
            listener.listen(64)
        self.sockets.append(listener)

    @or_nothing
    def start(self, **arguments):
        self.prepare()
        self.log = open(self.directory / "log", "ab")
        self.master, slave = pty.openpty()
        threading.Thread(target=self.listen_to_terminal, args=(self.master,), daemon=True).start()

        def before():
            fcntl.ioctl(2, termios.TIOCSCTTY, 1)
            if self.before:
                self.before()
        who = {} if self.system else {"user": USER, "group": USER, "extra_groups": []}
        environment = {**os.environ, **({"NOTIFY_SOCKET": str(self.directory / "open/notify")} if self.notify else {})}
        self.process = subprocess.Popen(self.command(), stdin=slave, stdout=slave, stderr=slave, start_new_session=True, preexec_fn=before, cwd="/", env=environment, **who)
        os.close(slave)
        wait_for(self.ready, 20, "tokend is ready")
        self.fill()

    def listen_to_terminal(self, master):
        try:
            while piece := os.read(master, 4096):
                self.log.write(piece)
                self.log.flush()
        except (OSError, ValueError):
            pass

    def fill(self):
        """A key in the memory of each helper that has a TPM; files that are somebody's loss."""
        for number, tpm in enumerate(self.tpms):
            key = self.enroll(f"key{number}", "x25519", token=tpm.uri)
            check("error" not in self.call("Unwrap", {"stanzas": broker.stanzas(broker.seal(key["recipient"]))}), "a key does not work")
        for name in ("state/sample", "state/keys/sample.key", "state/removed"):
            (self.directory / name).write_text("something\n")
            own(self.directory / name, self.broker_uid, 0o600)

    def helper(self, token):
        """The process that has the token of this number; 2 is the device."""
        mark = f"{self.directory}/devices" if token == 2 else self.tpms[token].uri
        found = []
        for _ in range(100):  # one that has ended is followed by the next
            found = [pid for pid in self.helpers() if mark in command_of(pid)]
            if len(found) == 1:
                return found[0]
            time.sleep(0.05)
        raise Failed(f"token {token} has {len(found)} helpers")

    def probe(self, pid, uid):
        """Everything that is tried in the process; its user's other process is one of uid."""
        holder = self.helper(0)
        sibling = subprocess.Popen(["sleep", "200"], user=uid, group=uid, extra_groups=[])
        try:
            time.sleep(0.1)
            self.plan.give(pid, holder=holder, supervisor=self.process.pid, sibling=sibling.pid, terminal=1, holder_address=address_in(holder),
                           sibling_address=address_in(sibling.pid), directory=self.directory, abstract=self.abstract)
            helper = pid in self.helpers()
            if helper:
                self.ask_tokens()
            wait_for(lambda: self.plan.done() or not alive(pid), 30, f"what was tried in process {pid}: {list(self.plan.results().items())[-2:]}")
        finally:
            sibling.kill()
            sibling.wait()
        return self.plan.results()

    def ask_tokens(self):
        """Each helper is asked something; not all of them live to answer."""
        connection = self.connect()
        connection.ask("io.tokend.GetTokens")
        self.asked = connection

    def __exit__(self, *problem):
        try:
            super().__exit__(*problem)
        finally:
            for listener in self.sockets:
                listener.close()
            os.close(self.master)

    def stop(self):
        try:
            return super().stop()
        except Failed:
            return None


def command_of(pid):
    """Its command line; "" when it has ended meanwhile."""
    try:
        return pathlib.Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def alive(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


# ---- the matrix ----

def column_of(columns, name, results):
    columns[name] = {row: word(error) for row, error in results.items()}
    print(f"     {name}: {sum(cell == 'yes' for cell in columns[name].values())} of {len(results)} work", flush=True)


def probe_system(columns):
    """As the machine's daemon: root's supervisor, and a user for each of the others."""
    with ProbedDaemon(system=True, notify=True) as daemon:
        column_of(columns, "helper.device", daemon.probe(daemon.helper(2), daemon.helper_uid))
        column_of(columns, "helper", daemon.probe(daemon.helper(1), daemon.helper_uid))
        column_of(columns, "broker", daemon.probe(daemon.broker(), daemon.broker_uid))
    with ProbedDaemon(system=True, notify=True) as daemon:
        control = alone(daemon)
        column_of(columns, "supervisor", daemon.probe(daemon.process.pid, 0))
    return control


def probe_user(columns, prefix, before=None):
    """As somebody's own: all of it is of one user."""
    with ProbedDaemon(system=False, before=before) as daemon:
        column_of(columns, f"{prefix}.helper.device", daemon.probe(daemon.helper(2), USER))
        column_of(columns, f"{prefix}.helper", daemon.probe(daemon.helper(1), USER))
        column_of(columns, f"{prefix}.broker", daemon.probe(daemon.broker(), USER))
    with ProbedDaemon(system=False, before=before) as daemon:
        column_of(columns, f"{prefix}.supervisor", daemon.probe(daemon.process.pid, USER))


# What this machine or this kernel refuses to everybody; anything else has to work for root outside of a sandbox.
NOT_HERE = {
    "files: open by handle": "a file system without handles",
    "device: /dev/mem": "a kernel without it",
    "device: /dev/kmsg": "a container without it",
    "socket: AF_VSOCK": "a kernel without it",
    "socket: AF_ALG": "a kernel without it",
    "kernel: kexec_load": "a kernel without it",
    "kernel: acct": "a kernel without it",
    "kernel: finit_module": "a kernel without it",
    "kernel: modify_ldt": "a kernel without it",
    "kernel: iopl": "a kernel without it",
    "kernel: swapon": "a kernel without it",
    "kernel: a system call of 32 bits": "a kernel of 64 bits alone",
    "kernel: keyctl": "a kernel without it",
    "kernel: add_key": "a kernel without it",
    "kernel: landlock": "a kernel without it",
    "socket: connect to the TPM": "one connection at a time",
}


def alone(daemon):
    """The same acts by a program that nothing confines: how many of them work, and which are not possible here."""
    holder = daemon.helper(0)
    plan = Plan(daemon.directory / "control.plan")
    sibling = subprocess.Popen(["sleep", "200"])
    master, slave = pty.openpty()
    try:
        time.sleep(0.1)
        plan.give(0, holder=holder, supervisor=daemon.process.pid, sibling=sibling.pid, terminal=1, holder_address=address_in(holder),
                  sibling_address=address_in(sibling.pid), directory=daemon.directory, abstract=daemon.abstract)
        subprocess.run([TESTS / "probe_alone", daemon.directory / "control.plan"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=slave, start_new_session=True,
                       preexec_fn=lambda: fcntl.ioctl(2, termios.TIOCSCTTY, 1), cwd="/", check=True, timeout=60)
    finally:
        sibling.kill()
        sibling.wait()
        os.close(slave)
        os.close(master)
    return {row: word(error) for row, error in plan.results().items()}


def is_whole_root():
    """May it mount, which a container's root often may not? Then what is refused to it says nothing about the probe."""
    effective = pathlib.Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0]
    return int(effective, 16) >> 21 & 1


def judge_control(control):
    if not is_whole_root():
        print("     NOT PROVEN: root is not whole here, so what works outside of a sandbox is not known")
        return
    check(control, "control: nothing was tried")
    refused = {row: cell for row, cell in control.items() if cell != "yes"}
    wrong = {row: cell for row, cell in refused.items() if row not in NOT_HERE}
    check(not wrong, f"control: what works for nobody proves nothing: {wrong}")
    said = "; ".join(f"{row} ({cell}: {NOT_HERE[row]})" for row, cell in refused.items())
    print(f"     control: {len(control) - len(refused)} of {len(control)} work for root outside of a sandbox{'; not possible here: ' + said if said else ''}", flush=True)


def table(columns):
    """The matrix as text: a line for each act, a column for each process."""
    rows = list(dict.fromkeys(row for column in columns.values() for row in column))
    width = max(map(len, rows)) + 2
    lines = [f"# column {number}: {name}" for number, name in enumerate(columns, 1)]
    lines.append("".ljust(width) + "".join(str(number).ljust(8) for number in range(1, len(columns) + 1)).rstrip())
    for row in rows:
        lines.append(row.ljust(width) + "".join(column.get(row, "-").ljust(8) for column in columns.values()).rstrip())
    return "\n".join(lines) + "\n"


def read_table(text):
    lines = text.splitlines()
    names = [line.split(": ", 1)[1] for line in lines if line.startswith("#")]
    width = max(len(line) - len(line.lstrip()) for line in lines)
    columns = {name: {} for name in names}
    for line in lines[len(names) + 1:]:
        for name, cell in zip(names, line[width:].split()):
            columns[name][line[:width].rstrip()] = cell
    return columns


def compare(columns, known):
    """known: the rows that this machine has."""
    expected = read_table(EXPECTED.read_text())
    differences = []
    unknown = {row for column in expected.values() for row in column} - known
    if landlock_version() < 6:
        unknown.add("socket: connect to an abstract one")
    if unknown:
        print(f"     NOT PROVEN: this machine or its kernel does not have {', '.join(sorted(unknown))}")
    for name, column in columns.items():
        check(name in expected, f"{EXPECTED.name} has no column {name}")
        for row in sorted({*column, *expected[name]} - unknown):
            is_now, should = column.get(row, "-"), expected[name].get(row, "-")
            if is_now != should:
                differences.append(f"{name}: {row}: {is_now}, where {should} is expected")
    check(not differences, "; ".join(differences))


def landlock_version():
    return ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(444), None, ctypes.c_size_t(0), ctypes.c_uint(1))


def test_matrix():
    """Each process can do what the table says and nothing else."""
    columns = {}
    if landlock_version() > 0:
        control = probe_system(columns)
        probe_user(columns, "user")
    else:
        print("     NOT PROVEN: this kernel has no Landlock, so only the columns without it are tried")
        with ProbedDaemon(system=True, notify=True) as daemon:
            control = alone(daemon)
    probe_user(columns, "no-landlock", without_landlock)
    text = table(columns)
    print(text, end="", flush=True)
    judge_control(control)
    if os.environ.get("ISOLATION_WRITE"):
        EXPECTED.write_text(text)
    compare(columns, {row for column in [control, *columns.values()] for row in column})
    cells = [cell for column in columns.values() for cell in column.values()]
    print(f"     {len(columns)} processes, {len(cells)} attempts: {cells.count('yes')} are allowed, {len(cells) - cells.count('yes')} refused", flush=True)


# ---- a hostile helper ----

DEADLINE = 2  # seconds, of one operation of a token


def programs_with_a_hostile_helper(directory):
    """Copied once, and before there are threads: what one of them is still writing to when another starts a process cannot be executed."""
    for source, name in ((BIN / "tokend", "tokend"), (BIN / "tokend-tpm", "tokend-tpm.real"), (TESTS / "hostile_helper", "tokend-tpm")):
        shutil.copy(source, pathlib.Path(directory) / name)
    return pathlib.Path(directory)


class HostileDaemon(Daemon):
    """One with a good token, and one whose helper does what a file says."""

    def __init__(self, programs):
        self.programs = programs
        super().__init__(configuration=f"token-deadline {DEADLINE}s\n", tpms=1)

    @property
    def hostile_uri(self):
        return f"tpm:device:{self.directory}/hostile.d/hostile"

    def command(self, *options):
        return [str(self.programs / "tokend"), *super().command(*options)[1:]]

    @or_nothing
    def start(self, **arguments):
        (self.directory / "hostile.d").mkdir()
        (self.directory / "hostile.d/starts").touch()
        self.turn("good")
        self.write("tokend.conf", (self.directory / "tokend.conf").read_text() + f"token {self.hostile_uri}\n")
        super().start(**arguments)
        self.good = broker.stanzas(broker.seal(self.enroll("good", "x25519", token=self.tpms[0].uri)["recipient"]))
        self.theirs_key = self.enroll("theirs", "x25519", token=self.hostile_uri)
        self.theirs = broker.stanzas(broker.seal(self.theirs_key["recipient"]))
        pin = broker.seal_pin(self, b"123456")
        self.held_key = self.enroll("held", "x25519", token=self.tpms[0].uri, **{"class": "session", "sealedPin": pin})
        self.result("Unlock", {"key": "held", "sealedPin": pin})
        self.held = broker.stanzas(broker.seal(self.held_key["recipient"]))
        self.right = {name: self.result("Unwrap", {"key": name, "stanzas": stanzas}) for name, stanzas in (("good", self.good), ("theirs", self.theirs), ("held", self.held))}

    def turn(self, mode):
        path = self.directory / "hostile.d/mode"
        path.with_suffix(".new").write_text(mode + "\n")
        path.with_suffix(".new").rename(path)

    def starts(self):
        return len((self.directory / "hostile.d/starts").read_text())

    def cost(self):
        """What broker and supervisor are using: descriptors, KiB of memory, ticks of a processor."""
        descriptors = memory = ticks = 0
        for pid in (self.broker_pid, self.process.pid):
            process = pathlib.Path(f"/proc/{pid}")
            descriptors += len(list((process / "fd").iterdir()))
            memory += int((process / "status").read_text().split("VmRSS:")[1].split()[0])
            ticks += sum(map(int, (process / "stat").read_text().rsplit(")", 1)[1].split()[11:15]))
        return descriptors, memory, ticks


def calls_of(daemon, found, name, method, parameters):
    """A client of the hostile token: what it is told, and when."""
    began = time.monotonic()
    reply = daemon.call(method, parameters, deadline=30)
    found[name] = (error_of(reply), time.monotonic() - began, reply)


def good_calls(daemon, stop, took):
    """A client of the good token, as long as it lasts."""
    while not stop.is_set():
        for name, stanzas in (("good", daemon.good), ("held", daemon.held)):
            began = time.monotonic()
            reply = daemon.call("Unwrap", {"key": name, "stanzas": stanzas}, deadline=30)
            took.append((time.monotonic() - began, reply.get("parameters") == daemon.right[name], name, reply))
        time.sleep(0.01)


# What the clients of a token are told whose helper does so; of an unwrap, and of a look at the token.
GONE, NONSENSE, LATE = {"NoToken"}, {"TokenFault", "NoToken"}, {"Timeout"}
HOSTILE = {
    "garbage": NONSENSE, "header-only": NONSENSE, "cut": NONSENSE, "longer": NONSENSE, "too-long": NONSENSE, "others-id": NONSENSE, "others-operation": NONSENSE,
    "no-such-error": NONSENSE, "twice": {"", *NONSENSE}, "flood": {"", *NONSENSE}, "flood-of-garbage": NONSENSE, "nothing-in-it": NONSENSE, "wrong-index KEY": {"TokenFault"},
    "says-locked HELD": {"TokenFault"}, "wrong-index HELD": {"TokenFault"}, "wrong-file-key HELD": {"TokenFault"}, "wrong-file-key KEY": {""}, "speaks-first": {"", *NONSENSE},
    "descriptors": {""}, "empty": {*GONE, *NONSENSE}, "dies": GONE, "crashes": GONE, "dies-at-start": GONE, "dies-in-a-message": NONSENSE, "closes": GONE, "hangs": LATE, "deaf": LATE,
}


def under_hostility(daemon, mode):
    """Everybody asks at once; what they were told, and what it cost."""
    daemon.broker_pid = daemon.broker()
    daemon.ask = [("theirs", "Unwrap", {"key": "theirs", "stanzas": daemon.theirs}), ("tokens", "GetTokens", {}),
                  ("made", "Enroll", {"name": "made", "kind": "x25519", "class": "boot", "token": daemon.hostile_uri})]
    before = daemon.cost()
    daemon.turn(mode.replace("KEY", daemon.theirs_key["id"]).replace("HELD", daemon.held_key["id"]))
    if mode in ("dies-at-start", "speaks-first"):
        for pid in daemon.helpers():
            if daemon.hostile_uri in pathlib.Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
    found, took, stop = {}, [], threading.Event()
    good = threading.Thread(target=good_calls, args=(daemon, stop, took))
    clients = [threading.Thread(target=calls_of, args=(daemon, found, *ask)) for ask in daemon.ask]
    for thread in (good, *clients):
        thread.start()
    for thread in clients:
        thread.join()
    time.sleep(0.3)
    stop.set()
    good.join()
    idle = daemon.cost()
    time.sleep(0.7)
    after = daemon.cost()
    return found, took, (after[0] - before[0], after[1] - before[1], after[2] - idle[2])


def judge_hostility(daemon, mode, found, took, cost):
    check(set(found) == {"theirs", "tokens", "made"}, f"{mode}: somebody was not answered: {found}")
    error, _, reply = found["theirs"]
    check(error in HOSTILE[mode], f"{mode}: the unwrap is told {error or reply}, not one of {HOSTILE[mode]}")
    if not error and mode != "wrong-file-key KEY":
        check(reply["parameters"] == daemon.right["theirs"], f"{mode}: another file key")
    late = {name: f"{seconds:.1f} s" for name, (_, seconds, _) in found.items() if seconds > 2 * DEADLINE + 1}
    check(not late, f"{mode}: answers were late: {late}")
    wrong = [entry for entry in took if not entry[1]]
    check(took and not wrong, f"{mode}: of {len(took)} requests to the other token {len(wrong)} were not served: {wrong[:1]}")
    check(max(took)[0] < DEADLINE, f"{mode}: a request to the other token took {max(took)[0]:.1f} s")
    check(daemon.process.poll() is None and daemon.broker() == daemon.broker_pid, f"{mode}: the broker is another one")
    descriptors, memory, ticks = cost
    check(descriptors <= 1 and memory <= 4096 and ticks <= 20, f"{mode}: cost {descriptors} descriptors, {memory} KiB, {ticks} ticks of an idle 0.7 s")
    check(daemon.starts() <= 8, f"{mode}: {daemon.starts()} helpers were started")
    judge_audit(daemon, mode, found)


def judge_audit(daemon, mode, found):
    """The log is whole, and what it says of the hostile key is what its client was told."""
    daemon.stop()
    verified = subprocess.run([BIN / "tokenctl", "audit", "verify", "--file", daemon.directory / "state/audit.log"], capture_output=True, text=True, timeout=20, check=False)
    check(verified.returncode == 0 and "whole" in verified.stdout, f"{mode}: {verified.stdout}{verified.stderr}")
    results = [record["result"] for record in daemon.audit() if record["operation"] == "unwrap" and record.get("name") == "theirs"]
    name = {"": "ok", "NoToken": "no-token", "TokenFault": "token", "Timeout": "timeout"}[found["theirs"][0]]
    check(results[:2] == ["ok", name], f"{mode}: the log says {results}, the client was told {found['theirs'][0]}")


def hostile_turn(programs, mode):
    with HostileDaemon(programs) as daemon:
        found, took, cost = under_hostility(daemon, mode)
        if mode == "wrong-file-key KEY":
            client_notices(daemon)
        starts = daemon.starts()
        judge_hostility(daemon, mode, found, took, cost)
    told = ", ".join(f"{name}: {error or 'ok'} after {seconds:.1f} s" for name, (error, seconds, _) in sorted(found.items()))
    say(f"{mode}: {told}; {starts} starts; {len(took)} requests to the other token, {max(took)[0] * 1000:.0f} ms at most; {cost[0]:+} descriptors, {cost[1]:+} KiB")
    return len(took)


def say(text):
    """A whole line, whoever else is saying something."""
    sys.stdout.write(f"     {text}\n")
    sys.stdout.flush()


def place():
    return tempfile.TemporaryDirectory(dir=os.environ.get("TOKEND_TEST_DIR"))


def ptrace(request, pid, data=0):
    library = ctypes.CDLL(None, use_errno=True)
    library.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    if library.ptrace(request, pid, None, data) < 0:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")


def test_unkillable_helper():
    """A helper that its device's driver holds, so that not even SIGKILL ends it: the other token's helper is started anew all the same, and its own when it is let go. A tracer that holds it at its exit plays
    the driver."""
    with place() as directory, HostileDaemon(programs_with_a_hostile_helper(directory)) as daemon:
        daemon.broker_pid = daemon.broker()
        helpers = {daemon.hostile_uri in pathlib.Path(f"/proc/{pid}/cmdline").read_text(): pid for pid in daemon.helpers()}
        held = helpers[True]
        ptrace(0x4206, held, 0x40)  # PTRACE_SEIZE, to be stopped at its exit
        try:
            daemon.turn("hangs")
            began = time.monotonic()
            told = error_of(daemon.call("Unwrap", {"key": "theirs", "stanzas": daemon.theirs}))
            check(told == "Timeout", f"a helper that hangs: {told}")
            wait_for(lambda: os.waitid(os.P_PID, held, os.WSTOPPED | os.WNOHANG | os.WNOWAIT), 10, "it is killed, and held")
            os.waitpid(held, 0)
            os.kill(helpers[False], signal.SIGKILL)
            began = time.monotonic()
            wait_for(lambda: error_of(daemon.call("Unwrap", {"key": "good", "stanzas": daemon.good})) == "", 10, "the other token")
            took = time.monotonic() - began
            told = error_of(daemon.call("Unwrap", {"key": "theirs", "stanzas": daemon.theirs}))
            check(told in GONE, f"while it is held: {told}")
            check(alive(held), "it was not held")
            daemon.turn("good")
        finally:
            ptrace(17, held)  # PTRACE_DETACH: the driver lets go
        wait_for(lambda: error_of(daemon.call("Unwrap", {"key": "theirs", "stanzas": daemon.theirs})) == "", 10, "its own token")
        check(daemon.broker() == daemon.broker_pid and daemon.process.poll() is None, "the broker is another one")
        print(f"     the other token's helper is another one after {took * 1000:.0f} ms, while the first cannot be ended", flush=True)


def client_notices(daemon):
    """Who decrypts a file is not told a text by a wrong file key."""
    path = daemon.directory / "secret.age"
    path.write_bytes(broker.seal(daemon.theirs_key["recipient"]))
    done = subprocess.run([BIN / "tokenctl", "decrypt", path], env={**os.environ, "TOKEND_RUNTIME_DIR": str(daemon.run)}, capture_output=True, timeout=20, check=False)
    check(done.returncode != 0 and not done.stdout, f"a wrong file key: {done.returncode} {done.stdout}")
    say(f"a wrong file key: {done.stderr.decode().splitlines()[0]}")


def test_hostile_helper():
    """Whatever one helper does, the broker and the other token serve on, and its own clients get an error in time."""
    ways = [way for way in HOSTILE if way.split()[0] in os.environ.get("ISOLATION_WAYS", way.split()[0]).split(",")]
    with place() as directory, concurrent.futures.ThreadPoolExecutor(6) as pool:
        programs = programs_with_a_hostile_helper(directory)
        counts = list(pool.map(lambda way: hostile_turn(programs, way), ways))
    check(counts, "no way was tried")
    print(f"     {len(counts)} ways; {sum(counts)} requests to the other token, all served", flush=True)


def main():
    return broker.run_tests(globals())


if __name__ == "__main__":
    sys.exit(main())
