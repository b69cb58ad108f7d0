"""Attacks on sops.sock by frames made by hand, beside an honest client. usage: keyservice.py SOCKET PID RECIPIENT AGE-FILE

Each attack is done on several connections at once; it must be hung up on in time, cost the broker little memory, and leave the honest client served. What the design promises is one second; a busy machine gets
three. At the end the controls: connections that do nothing wrong are not hung up on.
"""
import os
import pathlib
import select
import socket
import sys
import time

PATH, PID, RECIPIENT, FILE = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode(), pathlib.Path(sys.argv[4]).read_bytes()
CONNECTIONS = 8
SECONDS = 3.0
MEMORY_MAX = 1024  # KiB for each connection
HONEST_SECONDS = 2.0
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RESET, SETTINGS, PING, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 8, 9
END_STREAM, END_HEADERS = 1, 4


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def text(value):
    assert len(value) < 127
    return bytes([len(value)]) + value


def block(path=b"/KeyService/Decrypt"):
    return b"\x83\x86\x01" + text(b"localhost") + b"\x04" + text(path) + b"\x0f\x10" + text(b"application/grpc")


def field(number, value):
    length, rest = b"", len(value)
    while rest > 127:
        length += bytes([rest & 127 | 128])
        rest >>= 7
    return bytes([number << 3 | 2]) + length + bytes([rest]) + value


def message(data):
    text = field(1, field(6, field(1, RECIPIENT))) + field(2, data)
    return b"\0" + len(text).to_bytes(4, "big") + text


def request(stream, path=b"/KeyService/Decrypt", data=FILE):
    return frame(HEADERS, END_HEADERS, stream, block(path)) + frame(DATA, END_STREAM, stream, message(data))


BEGIN = GREETING + frame(SETTINGS, 0, 0)


def connect():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(PATH)
    return connection


class Honest:
    """One call after the other; an answer to it has a frame of data, which no refusal has."""

    def __init__(self):
        self.connection = connect()
        self.connection.settimeout(HONEST_SECONDS * 5)
        self.connection.sendall(BEGIN)
        self.stream, self.rest = 1, b""

    def frames(self):
        while True:
            while len(self.rest) >= 9 and len(self.rest) >= 9 + int.from_bytes(self.rest[:3], "big"):
                length = int.from_bytes(self.rest[:3], "big")
                head, payload, self.rest = self.rest[:9], self.rest[9:9 + length], self.rest[9 + length:]
                yield head[3], head[4], int.from_bytes(head[5:9], "big"), payload
            more = self.connection.recv(65536)
            if not more:
                sys.exit("FAIL: the honest client was hung up on")
            self.rest += more

    def ask(self):
        start = time.monotonic()
        self.connection.sendall(request(self.stream))
        answer = b""
        for kind, flags, stream, payload in self.frames():
            if kind == SETTINGS and not flags & 1:
                self.connection.sendall(frame(SETTINGS, 1, 0))
            if stream != self.stream:
                continue
            answer += payload if kind == DATA else b""
            if flags & END_STREAM:
                break
        self.stream += 2
        if len(answer) != 5 + 2 + 32:
            sys.exit(f"FAIL: the honest client was answered with {len(answer)} bytes")
        # What was read is given back, or the window closes after a thousand answers.
        self.connection.sendall(frame(WINDOW_UPDATE, 0, 0, len(answer).to_bytes(4, "big")))
        return time.monotonic() - start


def broker():
    children = pathlib.Path(f"/proc/{PID}/task/{PID}/children").read_text().split()
    return [pid for pid in map(int, children) if pathlib.Path(f"/proc/{pid}/comm").read_text().strip() == "tokend"][0]


def memory():
    lines = pathlib.Path(f"/proc/{broker()}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


# ---- attacks: each yields what is sent next; a number is a pause in seconds ----

def flood(unit):
    yield BEGIN
    while True:
        yield unit * 64


def streams(make):
    yield BEGIN
    for stream in range(1, 1 << 30, 2):
        yield make(stream)


def rapid_reset():
    return streams(lambda stream: request(stream) + frame(RESET, 0, stream, b"\0\0\0\x08"))


def open_streams():
    """So many that no ceiling is passed, and then nothing."""
    yield BEGIN + b"".join(frame(HEADERS, END_HEADERS, 1 + 2 * i, block()) for i in range(30))
    while True:
        yield 0.1


def half_message():
    yield BEGIN + frame(HEADERS, END_HEADERS, 1, block()) + frame(DATA, 0, 1, message(FILE)[:20])
    while True:
        yield 0.1


def slow_bytes(whole):
    yield BEGIN
    for at in range(len(whole)):
        yield whole[at:at + 1]
        yield 0.1
    while True:
        yield 0.1


def slow_stream():
    """Frames that are whole, and a message that never is."""
    yield BEGIN + frame(HEADERS, END_HEADERS, 1, block())
    for _ in range(1000):
        yield frame(DATA, 0, 1, b"\0")
        yield 0.1


def no_window():
    yield GREETING + frame(SETTINGS, 0, 0, b"\0\x04\0\0\0\0") + b"".join(request(1 + 2 * i, b"/KeyService/Encrypt", b"key") for i in range(20))
    while True:
        yield 0.1


def no_reading():
    """Answers that nobody takes, until there is no room left for them."""
    return streams(lambda stream: request(stream, b"/KeyService/Encrypt", b"key" * 100) + frame(WINDOW_UPDATE, 0, 0, b"\0\0\x40\0"))


def bomb():
    large = b"\x40\x01x\x7f" + bytes([0x80 | (3900 - 127) & 127, (3900 - 127) >> 7]) + b"v" * 3900
    payload = block() + large + b"\xbe" * (16384 - len(block()) - len(large))
    return streams(lambda stream: frame(HEADERS, END_HEADERS | END_STREAM, stream, payload))


def once(data):
    yield data
    while True:
        yield 0.1


ATTACKS = {
    "rapid reset": rapid_reset,
    "CONTINUATION flood": lambda: flood_after(frame(HEADERS, 0, 1, block()), frame(CONTINUATION, 0, 1, b"")),
    "SETTINGS flood": lambda: flood(frame(SETTINGS, 0, 0)),
    "PING flood": lambda: flood(frame(PING, 0, 0, b"12345678")),
    "WINDOW_UPDATE flood": lambda: flood(frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1")),
    "PRIORITY flood": lambda: flood(frame(PRIORITY, 0, 1, b"\0\0\0\0\1")),
    "flood of a type that nobody knows": lambda: flood(frame(0x7f, 0, 0)),
    "empty DATA flood": lambda: flood_after(frame(HEADERS, END_HEADERS, 1, block()), frame(DATA, 0, 1)),
    "slow greeting": lambda: slow_greeting(),
    "slow headers": lambda: slow_bytes(frame(HEADERS, END_HEADERS, 1, block())),
    "slow frame header": lambda: slow_bytes(frame(PING, 0, 0, b"12345678")),
    "slow message": slow_stream,
    "streams left open": open_streams,
    "half a message": half_message,
    "answers without a window": no_window,
    "answers that nobody reads": no_reading,
    "giant frame": lambda: once(BEGIN + b"\xff\xff\xff\0\0\0\0\0\1"),
    "header bomb": bomb,
    "garbage": lambda: once(BEGIN + os.urandom(4096)),
    "another protocol": lambda: once(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
}


def flood_after(first, unit):
    yield BEGIN + first
    while True:
        yield unit * 64


def slow_greeting():
    for at in range(len(GREETING)):
        yield GREETING[at:at + 1]
        yield 0.1
    while True:
        yield 0.1


class Attacker:
    def __init__(self, attack, reads):
        self.connection = connect()
        self.connection.setblocking(False)
        self.steps, self.left, self.pause = attack(), b"", 0.0
        self.reads, self.closed = reads, None
        self.start = time.monotonic()
        self.stuck = self.start

    def hung_up(self):
        self.closed = time.monotonic() - self.start
        self.connection.close()

    def step(self):
        try:
            if self.reads and self.connection.recv(65536) == b"":
                return self.hung_up()
        except BlockingIOError:
            pass
        except OSError:
            return self.hung_up()
        try:
            if not self.left and time.monotonic() >= self.pause:
                following = next(self.steps)
                if isinstance(following, float):
                    self.pause = time.monotonic() + following
                    if not self.reads:
                        self.connection.send(b"")
                else:
                    self.left = following
            if self.left:
                sent = self.connection.send(self.left)
                self.left = self.left[sent:]
                # Who reads nothing is waited for from when nothing more fits.
                if not self.reads:
                    self.start = time.monotonic()
        except BlockingIOError:
            pass
        except OSError:
            self.hung_up()
        return None


def attack_all(name, honest):
    before = memory()
    attackers = [Attacker(ATTACKS[name], name != "answers that nobody reads") for _ in range(CONNECTIONS)]
    end, times, most = time.monotonic() + SECONDS * 4, [], before
    while time.monotonic() < end and any(attacker.closed is None for attacker in attackers):
        for attacker in attackers:
            if attacker.closed is None:
                attacker.step()
        times.append(honest.ask())
        most = max(most, memory())
        select.select([], [], [], 0.002)
    left = sum(attacker.closed is None for attacker in attackers)
    slowest = max((attacker.closed or 0) for attacker in attackers)
    worst = max(times)
    print(f"{name}: closed after {slowest * 1000:.0f} ms at most, {(most - before) / CONNECTIONS:.0f} KiB for each connection, the honest client waited {worst * 1000:.0f} ms at most ({len(times)} calls)", flush=True)
    if left or slowest > SECONDS:
        sys.exit(f"FAIL: {name}: {left} of {CONNECTIONS} connections were left, the others closed after {slowest:.1f} s")
    if most - before > MEMORY_MAX * CONNECTIONS:
        sys.exit(f"FAIL: {name}: {most - before} KiB for {CONNECTIONS} connections")
    if worst > HONEST_SECONDS:
        sys.exit(f"FAIL: {name}: the honest client waited {worst:.1f} s")


def controls():
    """What is slow, but owes nothing, stays: a connection that says nothing, one that has said all, and one that pings now and then."""
    idle, silent, pinging = connect(), connect(), Honest()
    silent.sendall(BEGIN)
    pinging.ask()
    for _ in range(20):
        pinging.connection.sendall(frame(PING, 0, 0, b"12345678"))
        time.sleep(0.1)
    pinging.ask()
    for name, connection in (("idle", idle), ("greeted", silent)):
        connection.setblocking(False)
        try:
            while True:
                if connection.recv(65536) == b"":
                    sys.exit(f"FAIL: control: the {name} connection was hung up on")
        except BlockingIOError:
            pass
    print("controls: three connections that owe nothing stayed for two seconds")


def main():
    honest = Honest()
    alone = sorted(honest.ask() for _ in range(100))
    print(f"alone: {alone[50] * 1000:.2f} ms, p99 {alone[98] * 1000:.2f} ms")
    for name in ATTACKS:
        attack_all(name, honest)
    controls()


main()
