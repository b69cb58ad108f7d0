"""Are data keys anywhere in tokend's processes? usage: keyservice_memory.py SOCKET PID FILE...

FILEs hold data keys that were encrypted and decrypted before: none of them may be found, whole or in half. The control is one that is on its way: its message is half said, so it has to be found in the broker, and is gone
when its connection is.
"""
import os
import pathlib
import socket
import sys
import time


def processes(pid):
    return [pid, *pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def found(pid, secrets):
    count = 0
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
            place, rights = line.split()[:2]
            begin, end = (int(number, 16) for number in place.split("-"))
            if "r" not in rights or "[v" in line:
                continue
            memory.seek(begin)
            data = memory.read(end - begin)
            count += sum(part in data for secret in secrets for part in (secret[:16], secret[16:]))
    return count


def everywhere(pid, secrets):
    return sum(found(process, secrets) for process in processes(pid))


def half_call(path, secret):
    block = b"\x83\x86\x01\x09localhost\x04\x13/KeyService/Encrypt\x0f\x10\x10application/grpc"
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\4" + bytes(5) + len(block).to_bytes(3, "big") + b"\1\4\0\0\0\1" + block
                       + len(secret).to_bytes(3, "big") + b"\0\0\0\0\0\1" + secret)
    time.sleep(0.2)
    return connection


def main():
    path, pid, secrets = sys.argv[1], sys.argv[2], [pathlib.Path(name).read_bytes() for name in sys.argv[3:]]
    left = everywhere(pid, secrets)
    secret = os.urandom(32)
    connection = half_call(path, secret)
    seen = everywhere(pid, [secret])
    connection.close()
    time.sleep(0.2)
    gone = everywhere(pid, [secret])
    print(f"{len(secrets)} data keys in {len(processes(pid))} processes: {left} found; the control: found {seen} times, then {gone}")
    if left or not seen or gone:
        sys.exit("FAIL: a data key stays in memory, or the control was not seen, or does not go")


main()
