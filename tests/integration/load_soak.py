"""A soak: mixed requests from eight connections, and what of tokend grows meanwhile: load_soak.py DIRECTORY REQUESTS.

DIRECTORY is a lab directory of load_common.sh; the requests that are expected to fail are among those that are sent. Every answer has to be the right one. At forty points all is at rest for a moment, and
the descriptors and the memory of each process are read. The first quarter of the points is the warming up; after it the median of no quarter may lie above that of the one before all the way up to more than
GROWTH_KIB. Each file key that came has its record in the audit log, and no other has one.
"""
import base64
import json
import os
import pathlib
import random
import selectors
import socket
import statistics
import sys
import time

CONNECTIONS, POINTS = 8, 40
GROWTH_KIB = 256  # from the second quarter to the last: less than a page for each thousand requests of the short form
directory, requests = pathlib.Path(sys.argv[1]), int(sys.argv[2])
seed = int(os.environ.get("TOKEND_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
dice = random.Random(seed)


def call(method, **parameters):
    return json.dumps({"method": method if "." in method else "io.tokend." + method, "parameters": parameters}).encode() + b"\0"


def stored(name):
    return (directory / "calls" / name).read_bytes()


def member(*names):
    return lambda answer: any(name in answer for name in names)


# A log that a busy disk keeps from being written in time refuses; that is an answer, and counted.
KEY = member(b'"fileKey"', b"io.tokend.Audit")
unknown = base64.b64encode(bytes(range(32))).decode().rstrip("=")
stranger = {"type": "X25519", "arguments": [unknown], "body": unknown}
# how often, what is sent, what the answer has to be; None: the connection may be closed instead
DECK = {
    "sealed": (400, stored("honest-sealed"), KEY),
    "device": (20, stored("honest-device"), KEY),
    "locked": (20, stored("locked"), member(b'"fileKey"', b"PinNeeded", b"io.tokend.Audit")),
    "unlock": (3, stored("right-pin"), member(b'"seconds"', b"io.tokend.Audit", b"io.tokend.Busy")),  # all eight connections may ask for it at once
    "lock": (5, call("Lock"), member(b'"locked"')),
    "denied": (100, stored("not-ours"), member(b"io.tokend.Denied")),
    "denied-list": (20, call("GetKeys", key="never/shown"), member(b"io.tokend.Denied", b"NoKey")),
    "nobody": (80, call("Unwrap", stanzas=[stranger]), member(b"NoMatch")),
    "status": (100, call("GetStatus"), member(b'"auditRecords"')),
    "tokens": (3, call("GetTokens"), member(b'"commands"')),
    "keys": (40, call("GetKeys"), member(b'"keys"')),
    "explain": (20, call("ExplainPolicy", operation="unwrap", key="honest/sealed", frontend="age"), member(b'"verdict"')),
    "interface": (5, call("org.varlink.service.GetInfo"), member(b'"vendor"')),
    "no-method": (20, call("Nothing"), member(b"MethodNotFound")),
    "no-parameter": (20, call("GetKeys", colour="red"), member(b"InvalidParameter")),
    "no-json": (20, b'{"method":\0', None),
    "nested": (5, b"[" * 5000 + b"\0", None),
    "huge": (2, b'{"method":"' + b"a" * 300000, None),
    "half": (30, b'{"method":"io.tokend.GetStatus"', None),
    "descriptors": (20, call("GetStatus"), None),
    "reconnect": (50, b"", None),
}


def processes():
    pid = int((directory / "tokend.pid").read_text())
    yield pid
    for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield int(child)


def measure():
    """For each process: descriptors, memory in KiB."""
    found = {}
    for pid in processes():
        words = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
        found[pid] = (len(os.listdir(f"/proc/{pid}/fd")), int(words["VmRSS"].split()[0]))
    return found


class Connection:
    def __init__(self, selector):
        self.selector, self.socket = selector, None
        self.connect()

    def disconnect(self):
        if self.socket:
            self.selector.unregister(self.socket)
            self.socket.close()
        self.socket = None

    def connect(self):
        self.disconnect()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(30)
        self.socket.connect(str(directory / "run/control.sock"))
        self.selector.register(self.socket, selectors.EVENT_READ, self)
        self.kind, self.answer = None, b""

    def pass_descriptors(self, message):
        """False where the kernel refuses that for tokend: then it is a message like others."""
        try:
            socket.send_fds(self.socket, [message], [0, 1, 2])
        except PermissionError:
            return False
        return True

    def ask(self, kind):
        self.kind, self.answer = kind, b""
        message = DECK[kind][1]
        try:
            if kind != "descriptors" or not self.pass_descriptors(message):
                self.socket.sendall(message)
        except (BrokenPipeError, ConnectionResetError):
            if DECK[kind][2] is not None:
                raise
        if kind in ("half", "reconnect"):
            self.connect()
            return False
        return True

    def hear(self):
        """True when the answer is there, or the end of the connection where that is an answer."""
        try:
            piece = self.socket.recv(262144)
        except ConnectionResetError:
            piece = b""
        self.answer += piece
        expected = DECK[self.kind][2]
        if not piece:
            if expected is not None:
                sys.exit(f"FAIL: {self.kind}: the connection was closed (seed {seed})")
            self.connect()
            return True
        if not self.answer.endswith(b"\0"):
            return False
        if expected and not expected(self.answer):
            sys.exit(f"FAIL: {self.kind}: {self.answer[:500]} (seed {seed})")
        return True


def run(connections, selector, count, answered):
    """Sends count requests, one at a time on each connection, and waits for all answers. How many of each kind came."""
    kinds = dice.choices(list(DECK), weights=[row[0] for row in DECK.values()], k=count)
    busy = set()

    def go_on(connection):
        busy.discard(connection)
        while kinds:
            kind = kinds.pop()
            answered[kind] = answered.get(kind, 0) + 1
            if connection.ask(kind):
                busy.add(connection)
                return

    for connection in connections:
        go_on(connection)
    while busy:
        events = selector.select(60)
        if not events:
            sys.exit(f"FAIL: no answer within 60 s to {sorted(c.kind for c in busy)} (seed {seed})")
        for key, _ in events:
            connection = key.data
            if connection in busy and connection.hear():
                if b'"fileKey"' in connection.answer:
                    answered["KEYS"] = answered.get("KEYS", 0) + 1
                if b"io.tokend.Audit" in connection.answer:
                    answered["AUDIT"] = answered.get("AUDIT", 0) + 1
                if connection.kind in ("no-json", "nested", "huge", "descriptors"):
                    connection.connect()
                go_on(connection)


def without(connections, most=None):
    """What there is when nobody is connected: which descriptors belong to a connection depends on what was asked on it last. On a busy machine they are closed a little later; waits for at most most."""
    for connection in connections:
        connection.disconnect()
    deadline = time.monotonic() + 5
    time.sleep(0.5)
    now = measure()
    while most and time.monotonic() < deadline and any(now.get(pid, (0,))[0] > most[pid][0] for pid in most):
        time.sleep(0.05)
        now = measure()
    for connection in connections:
        connection.connect()
    return now


def released():
    """Releases in the audit log."""
    count = 0
    with open(directory / "state/audit.log", "rb") as log:
        for line in log:
            count += b'"operation":"unwrap"' in line and b'"result":"ok"' in line
    return count


def main():
    print(f"seed {seed}")
    selector = selectors.DefaultSelector()
    connections = [Connection(selector) for _ in range(CONNECTIONS)]
    answered, points, idle = {}, [], {}
    before, start = released(), time.monotonic()
    for _ in range(POINTS):
        run(connections, selector, requests // POINTS, answered)
        time.sleep(0.05)
        points.append(measure())
        idle = idle if len(points) > 1 else without(connections)
    seconds = time.monotonic() - start
    pids = points[0].keys()
    left = without(connections, idle)
    if any(point.keys() != pids for point in points):
        sys.exit("FAIL: a process ended, or one came")
    failed = False
    for pid in pids:
        name = pathlib.Path(f"/proc/{pid}/comm").read_text().strip()
        descriptors = [point[pid][0] for point in points]
        memory = [point[pid][1] for point in points]
        early, late = (statistics.median(memory[len(memory) * part // 4:len(memory) * (part + 1) // 4]) for part in (1, 3))
        print(f"{name}: descriptors {descriptors[0]} to {descriptors[-1]} (at most {max(descriptors)}), memory {memory[0]} KiB, then {early:g}, at last {late:g}")
        if left[pid][0] > idle[pid][0]:
            failed = True
            print(f"FAIL: descriptors were left open: {left[pid][0]} where there were {idle[pid][0]}, with nobody connected", file=sys.stderr)
        if late - early > GROWTH_KIB:
            failed = True
            print(f"FAIL: its memory grew by {late - early:g} KiB", file=sys.stderr)
    keys, records = answered.pop("KEYS", 0), released() - before
    refused = answered.pop("AUDIT", 0)
    print(f"{sum(answered.values())} requests of {len(answered)} kinds in {seconds:.0f} s, {keys} file keys and {records} records of releases, {refused} times the log was late")
    if not keys <= records <= keys + refused or not keys:
        failed = True
        print("FAIL: the records are not those of the file keys that came", file=sys.stderr)
    sys.exit(1 if failed else 0)


main()
