#!/bin/bash
# What load does to tokend, and what it does when there is none. load.sh PART, one of the parts at the end.
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"
# shellcheck source=load_common.sh
. "$(dirname "$0")/load_common.sh"

# After a request nothing is left that wakes anybody: not one switch to any thread of any process in six seconds.
part_idle() {
	load_world "$work"
	works tokenctl decrypt honest-device.age
	works tokenctl decrypt honest-sealed.age
	python3 -c 'import socket, sys, time; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.send(b"{\"half"); time.sleep(0.2)' run/control.sock
	# The last timers of what was asked have rung by then: that of half a message is ten seconds.
	sleep 11
	python3 - "$(<tokend.pid)" "$work/run/control.sock" "$LAB_TOOLS/call" <<'PYTHON'
import pathlib, subprocess, sys, time

def threads(pid):
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        yield task
        for child in (task / "children").read_text().split():
            yield from threads(int(child))

def switches():
    count = {}
    for task in threads(int(sys.argv[1])):
        words = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
        count[task.name] = int(words["voluntary_ctxt_switches"]) + int(words["nonvoluntary_ctxt_switches"])
    return count

before = switches()
time.sleep(6) # more than the period of any timer
after = switches()
woken = sum(after.values()) - sum(before.values())
print(f"idle: {woken} switches in 6 s to {len(after)} threads")
if len(after) < 3 or after.keys() != before.keys() or woken:
    sys.exit("FAIL: somebody was woken, or the threads are not those there should be")
subprocess.run([sys.argv[3], sys.argv[2], "io.tokend.GetStatus"], check=True, capture_output=True)
if sum(switches().values()) == sum(after.values()):
    sys.exit("FAIL: negative control: a request is not seen either")
PYTHON
}

# A thousand connections that say nothing: what one more client waits, and what they cost.
part_connections() {
	load_world "$work"
	python3 - "$(<tokend.pid)" run/control.sock calls/honest-sealed "$LOAD_FIRST_UID" <<'PYTHON'
import os, pathlib, resource, socket, statistics, sys, time

COUNT, REQUESTS, ROUNDS = 1000, 100, 25
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
path, call = sys.argv[2], pathlib.Path(sys.argv[3]).read_bytes()

def memory():
    pid = int(sys.argv[1])
    pids = [pid, *(int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    return sum(int(line.split()[1]) for pid in pids for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS:"))

def connect():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection

def ask():
    start = time.monotonic()
    with connect() as connection:
        connection.sendall(call)
        answer = b""
        while not answer.endswith(b"\0"):
            answer += connection.recv(65536)
    if b"fileKey" not in answer and b"io.tokend.Audit" not in answer:
        sys.exit(f"FAIL: {answer}")
    return time.monotonic() - start

def slowest(count):
    times = sorted(ask() for _ in range(count))
    return times[count * 99 // 100]

def as_users(start):
    """Connections of five users, or of one where we cannot become others."""
    made = []
    for i in range(COUNT):
        if os.getuid() == 0 and i % (COUNT // 5) == 0:
            os.seteuid(0)
            os.seteuid(start + i // (COUNT // 5))
        made.append(connect())
    if os.getuid() == 0:
        os.seteuid(0)
    return made

if os.getuid() != 0:
    print("NOT ROOT: the connections are all of one user")
slowest(REQUESTS)
before = memory()
ratios, costs = [], []
for _ in range(ROUNDS):
    alone = [slowest(REQUESTS)]
    idle = as_users(int(sys.argv[4]))
    ask()
    costs.append((memory() - before) / COUNT)
    beside = [slowest(REQUESTS), slowest(REQUESTS)]
    alive = sum(not os.get_blocking(c.fileno()) or c.send(b"") == 0 for c in idle)
    for connection in idle:
        connection.setblocking(False)
        try:
            if connection.recv(1) == b"":
                alive -= 1
        except BlockingIOError:
            pass
        connection.close()
    if alive != COUNT:
        sys.exit(f"FAIL: {COUNT - alive} of the idle connections were ended")
    alone.append(slowest(REQUESTS))
    ratios.append(statistics.mean(beside) / statistics.mean(alone))
print(f"{COUNT} idle connections: p99 of an unwrap {statistics.median(ratios):.2f} of that without them; {max(costs):.2f} KiB for each at most")
if statistics.median(ratios) > 1.5:
    sys.exit("FAIL: more than 1.5")
PYTHON
	audit_whole
}

# Requests of all kinds for a while, right ones and wrong ones; TOKEND_SOAK_REQUESTS says how many (50,000; 1,000,000 by hand).
part_soak() {
	local box_key
	lab_need tpm2_getcap
	LAB_LIFE=${TOKEND_SOAK_LIFE:-1500}
	load_world "$work"
	echo "deny unwrap list admin key abuse/sealed key abuse/device user $(id -u)" >>policy.d/50-lab.conf
	lab_tokend_reload "$work"
	box_key=$("$LAB_TOOLS/call" run/control.sock io.tokend.GetTokens | python3 -c 'import json, sys; print(json.load(sys.stdin)["tokens"][0]["boxKey"])')
	"$LAB_TOOLS/messages" calls locked=unwrap:abuse-safe.age:abuse/safe "right-pin=right-pin:abuse/safe:$box_key:pin" not-ours=unwrap:abuse-sealed.age:abuse/sealed
	works tokenctl decrypt honest-device.age
	works tokenctl lock
	python3 "$LAB_SOURCE/tests/integration/load_soak.py" "$work" "${TOKEND_SOAK_REQUESTS:-50000}"
	works tokenctl status
	audit_whole
	works tokenctl lock
	lab_tokend_stop "$work"
	[ -z "$(lab_tpm "$work" tpm2_getcap handles-transient)" ] || lab_fail "objects are left on the TPM"
	[ -z "$(lab_tpm "$work" tpm2_getcap handles-loaded-session)" ] || lab_fail "sessions are left on the TPM"
	echo "nothing is left on the TPM"
}

begin
"part_${1:?one of idle connections}"
