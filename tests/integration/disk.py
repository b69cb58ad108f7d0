#!/usr/bin/env python3
"""A disk that fails under the running daemon: full, read-only, broken, hanging, at each call that writes (tests/fake/disk_faults.c), and then works again.

While no record can be made durable nothing is released, and who asks is told so at once; where it still can, all is served. When the disk works, so does tokend, by itself. The log is whole afterwards, and has a
record for each release. disk.py [NAME]... tries those faults only.
"""
import errno
import mmap
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import time

import broker
from broker import BIN, Daemon, Failed, check, error_of, wait_for

SHIM = BIN.parent / "tests/libdisk_faults.so"
PLAN = struct.Struct("=IIiIIIQ")
WRITE, PWRITE, DATASYNC, SYNC, TRUNCATE, OPEN = (1 << bit for bit in range(6))
ALL_CALLS, LOG, AHEAD, OTHER, ALL_FILES = 63, 1, 2, 4, 7
WITHIN = 0.1  # seconds: how long a request may wait for the log (AUDIT_DEADLINE_MS)
SLACK = 0.4  # of a machine that has something else to do


class Disk:
    """What the shim is told, and what it has seen."""

    def __init__(self, path):
        path.write_bytes(bytes(PLAN.size))
        path.chmod(0o666)
        with open(path, "r+b") as file:
            self.map = mmap.mmap(file.fileno(), 0)

    def fail(self, calls, files, error=0, hang=0, half=0):
        """The one word that makes anything fail is written last."""
        self.map[4:] = PLAN.pack(0, files, error, hang, half, 0, 0)[4:]
        self.map[:4] = struct.pack("=I", calls)

    def work(self):
        self.map[:4] = bytes(4)
        self.map[12:16] = bytes(4)

    def first(self):
        return PLAN.unpack_from(self.map)[6] / 1e9

    def count(self):
        return PLAN.unpack_from(self.map)[5]


class Bench:
    def __init__(self, daemon, disk):
        self.daemon, self.disk, self.released = daemon, disk, 0
        self.keys = {name: broker.stanzas(seal(daemon.enroll(name, kind)["recipient"])) for name, kind, seal in
                     (("quick", "x25519", broker.seal), ("device", "p256", broker.seal_p256))}
        self.right = {name: self.unwrap(name)["parameters"]["fileKey"] for name in self.keys}

    def unwrap(self, name):
        reply = self.daemon.call("Unwrap", {"key": name, "stanzas": self.keys[name]}, deadline=20)
        self.released += "fileKey" in reply.get("parameters", {})
        return reply

    def key_files(self):
        return sorted(path.name for path in (self.daemon.directory / "state/keys").iterdir())

    def said(self, words):
        return self.daemon.log_text().count(words)


# What fails, and whether a record can still be made durable: the log and the file ahead of it are two ways.
FAULTS = {
    "full: the log": (False, {"calls": WRITE, "files": LOG, "error": errno.ENOSPC}),
    "full: the log, in the middle of a line": (False, {"calls": WRITE, "files": LOG, "error": errno.ENOSPC, "half": 1}),
    "full: everything": (False, {"calls": WRITE | PWRITE | OPEN, "files": ALL_FILES, "error": errno.ENOSPC}),
    "full: what is ahead": (True, {"calls": PWRITE, "files": AHEAD, "error": errno.ENOSPC}),
    "read-only: everything": (False, {"calls": ALL_CALLS, "files": ALL_FILES, "error": errno.EROFS}),
    "broken: write": (False, {"calls": WRITE, "files": LOG, "error": errno.EIO}),
    "broken: every sync": (False, {"calls": DATASYNC | SYNC, "files": ALL_FILES, "error": errno.EIO}),
    "broken: the sync of what is ahead": (True, {"calls": DATASYNC, "files": AHEAD, "error": errno.EIO}),
    "broken: the sync of the log": (True, {"calls": DATASYNC, "files": LOG, "error": errno.EIO}),
    "broken: writes, and cutting back": (False, {"calls": WRITE | TRUNCATE, "files": LOG, "error": errno.EIO, "half": 1}),
    "broken: everything": (False, {"calls": ALL_CALLS, "files": ALL_FILES, "error": errno.EIO}),
    "hanging: write": (False, {"calls": WRITE, "files": LOG, "hang": 1}),
    "hanging: what is ahead": (False, {"calls": PWRITE, "files": AHEAD, "hang": 1}),
    "hanging: sync": (False, {"calls": DATASYNC, "files": ALL_FILES, "hang": 1}),
    "hanging, then broken: everything": (False, {"calls": ALL_CALLS, "files": LOG | AHEAD, "hang": 1, "error": errno.EIO}),
}


def ask(bench, fault, served):
    """Both keys, twice; how long the longest waited for the disk."""
    longest = 0
    for name in list(bench.keys) * 2:
        began = time.monotonic()
        reply = bench.unwrap(name)
        if served:
            check(reply.get("parameters", {}).get("fileKey") == bench.right[name], f"{fault}: {name}: {reply}")
            continue
        check(error_of(reply) == "Audit", f"{fault}: {name} is told {reply}, not that nothing is released")
        longest = max(longest, time.monotonic() - max(bench.disk.first(), began))
    check(longest < WITHIN + SLACK, f"{fault}: refused only after {longest * 1000:.0f} ms")
    check("error" not in bench.daemon.call("GetStatus"), f"{fault}: what needs no record is not answered")
    return longest


def make_nothing(bench, fault):
    before = bench.key_files()
    reply = bench.daemon.call("Enroll", {"name": "made", "kind": "p256", "class": "boot"})
    check(error_of(reply) in ("Audit", "DiskFull", "FileAccess", "System"), f"{fault}: a key was made: {reply}")
    check(bench.key_files() == before, f"{fault}: of a key that was not made there is {set(bench.key_files()) - set(before)}")


def recover(bench, fault):
    """By itself, without another start. Returns how long it took."""
    bench.disk.work()
    began = time.monotonic()

    def works():
        reply = bench.unwrap("device")
        check(error_of(reply) in ("", "Audit"), f"{fault}: afterwards {reply}")
        return not error_of(reply)
    wait_for(works, 5, f"{fault}: it works again")
    took = time.monotonic() - began
    check(all(bench.unwrap(name)["parameters"].get("fileKey") == bench.right[name] for name in bench.keys), f"{fault}: it works for one only")
    return took


def try_fault(bench, fault):
    served, how = FAULTS[fault]
    failing, working = "cannot be written in time", "is written again"
    before = bench.said(failing), bench.said(working)
    bench.disk.fail(**how)
    longest = ask(bench, fault, served)
    check(served or bench.disk.count(), f"{fault}: nothing failed")
    if not served and "hang" not in how:
        make_nothing(bench, fault)
    took = recover(bench, fault)
    times = 0 if served else 1
    said = bench.said(failing) - before[0], bench.said(working) - before[1]
    check(said == (times, times), f"{fault}: it was said {said} times that the log fails and works")
    told = "all served" if served else f"refused {longest * 1000:.0f} ms after the failure at most"
    print(f"     {fault}: {told}; works again after {took * 1000:.0f} ms", flush=True)
    return longest, took


def judge_log(bench):
    """Whole, and a record for each release: no fewer, and no more but those of which the log itself says that their results were withheld."""
    daemon = bench.daemon
    check(daemon.stop() == 0, "exit status")
    verified = subprocess.run([BIN / "tokenctl", "audit", "verify", "--file", daemon.directory / "state/audit.log"], capture_output=True, text=True, timeout=20, check=False)
    check(verified.returncode == 0 and "whole" in verified.stdout, f"{verified.stdout}{verified.stderr}")
    records = daemon.audit()
    withheld = {number for record in records if record["operation"] == "withheld" for number in range(record["first"], record["last"] + 1)}
    released = [record for record in records if record["operation"] == "unwrap" and record["result"] == "ok" and record["sequence"] not in withheld]
    check(len(released) == bench.released, f"{bench.released} releases, {len(released)} records of them")
    lost = sum(record["records"] for record in records if record["operation"] == "lost")
    print(f"     {bench.released} releases, each with its record; {lost} records lost and {len(withheld)} withheld, as the log says itself", flush=True)
    daemon.start(env=daemon.environment)
    check(error_of(bench.unwrap("quick")) == "", "after another start")


class FaultyDaemon(Daemon):
    def __init__(self, plan):
        self.environment = {**os.environ, "LD_PRELOAD": str(SHIM), "DISK_FAULTS": str(plan)}
        super().__init__(env=self.environment)


def main():
    failed, faults = 0, sys.argv[1:] or list(FAULTS)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TOKEND_TEST_DIR")) as directory:
        disk = Disk(pathlib.Path(directory) / "plan")
        with FaultyDaemon(pathlib.Path(directory) / "plan") as daemon:
            bench = Bench(daemon, disk)
            results = []
            for fault in faults:
                try:
                    results.append(try_fault(bench, fault))
                except (Failed, OSError, KeyError, TypeError) as problem:
                    failed += 1
                    disk.work()
                    print(f"FAIL {fault}: {type(problem).__name__}: {problem}", flush=True)
            try:
                judge_log(bench)
            except (Failed, OSError, KeyError) as problem:
                failed += 1
                print(f"FAIL the log: {type(problem).__name__}: {problem}", flush=True)
    if results:
        print(f"{len(results)} faults: refused after {max(results)[0] * 1000:.0f} ms, works again after {max(took for _, took in results) * 1000:.0f} ms at most")
    print(f"{len(faults) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
