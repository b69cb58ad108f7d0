#!/usr/bin/env python3
"""What crosses the bus: a recorder between tokend and its TPM, and a search for every secret that can be known.

How a secret is known: imported keys, PINs and file keys are chosen here. What a PIN becomes on the device follows from it and the key's id. The points of an ECDH follow from the key's public half, because
the other half of each pair is made here. What tokend drew itself and sealed is learned afterwards, by unsealing it without a session.

That is the control too: the same keys are used once more by tpm2-tools without sessions, and the same search has to find every one of those secrets. What tpm2-tss itself writes down of the control
(libtss2-tcti-pcap) has to be what the recorder wrote, byte for byte.

Not searched for: the private half of a p256 key, which nobody but the TPM knows, and the salts of sessions; of these it is looked at that each session has one. A PIN cannot be changed yet.
"""
import base64
import ctypes
import ctypes.util
import hashlib
import hmac
import json
import os
import pathlib
import re
import secrets
import signal
import socket
import struct
import subprocess
import sys

WORK = pathlib.Path(sys.argv[1])
RECORD = pathlib.Path(os.environ["BUS_RECORD"])
SOURCE = pathlib.Path(os.environ["TOKEND_SOURCE_DIR"])
SODIUM = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")
NAMES = {0x120: "EvictControl", 0x131: "CreatePrimary", 0x153: "Create", 0x154: "ECDH_ZGen", 0x157: "Load", 0x15E: "Unseal", 0x176: "StartAuthSession"}


def check(condition, what):
    if not condition:
        sys.exit(f"FAIL: {what}")


def run(*command, fails=False, **more):
    done = subprocess.run([str(word) for word in command], capture_output=True, timeout=60, **more)
    check(fails or done.returncode == 0, f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr.decode()}")
    check(not fails or done.returncode, f"{' '.join(map(str, command))} did not fail")
    return done.stdout


def lab(text):
    run("bash", "-c", f'set -eu; . "$0/tests/lab/lab.sh"; {text}', SOURCE, cwd=WORK)


# ---- arithmetic ----

P = 2**256 - 2**224 + 2**192 + 2**96 - 1
BASE = (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296, 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5)


def add(a, b):
    if a is None or b is None:
        return a or b
    if a[0] == b[0] and (a[1] + b[1]) % P == 0:
        return None
    slope = (3 * a[0] * a[0] - 3) * pow(2 * a[1], -1, P) if a == b else (b[1] - a[1]) * pow(b[0] - a[0], -1, P)
    x = (slope * slope - a[0] - b[0]) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def multiply(scalar, point):
    result = None
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def encoded(point):
    return b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


def decoded(octets):
    return int.from_bytes(octets[1:33], "big"), int.from_bytes(octets[33:65], "big")


def seal(key, nonce, text):
    out, length = ctypes.create_string_buffer(len(text) + 16), ctypes.c_ulonglong()
    SODIUM.crypto_aead_chacha20poly1305_ietf_encrypt(
        out, ctypes.byref(length), text, ctypes.c_ulonglong(len(text)), None, ctypes.c_ulonglong(0), None, nonce, key)
    return out.raw


def hpke_seal(x, enc, recipient, info, text):
    """RFC 9180, base mode, DHKEM(P-256, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305."""
    def extract(suite, label, material):
        return hmac.digest(b"", b"HPKE-v1" + suite + label + material, "sha256")

    def expand(suite, key, label, context, length):
        return hmac.digest(key, struct.pack(">H", length) + b"HPKE-v1" + suite + label + context + b"\x01", "sha256")[:length]

    kem, hpke = b"KEM\x00\x10", b"HPKE\x00\x10\x00\x01\x00\x03"
    shared = expand(kem, extract(kem, b"eae_prk", x), b"shared_secret", enc + recipient, 32)
    context = b"\x00" + extract(hpke, b"psk_id_hash", b"") + extract(hpke, b"info_hash", info)
    secret = hmac.digest(shared, b"HPKE-v1" + hpke + b"secret", "sha256")
    return seal(expand(hpke, secret, b"key", context, 32), expand(hpke, secret, b"base_nonce", context, 12), text)


def unpadded(data):
    return base64.b64encode(data).decode().rstrip("=")


def bech32_payload(text):
    """32 bytes; its checksum is age-keygen's affair."""
    number = 0
    for letter in text.lower().rsplit("1", 1)[1][:52]:
        number = number << 5 | "qpzry9x8gf2tvdw0s3jn54khce6mua7l".index(letter)
    return (number >> 4).to_bytes(32, "big")


# ---- secrets, and the search for them ----

SECRETS = {}  # (class, what it is) -> bytes


def secret(kind, name, value):
    SECRETS[kind, name] = bytes(value)
    return value


def base64_forms(value):
    """Of what a base64 text says the letters that come from the value alone, wherever in three bytes it begins."""
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(bytes(offset) + value + bytes(-(offset + len(value)) % 3))
            yield text[(offset * 8 + 5) // 6:(offset + len(value)) * 8 // 6]


def forms(value):
    return {value, value.hex().encode(), value.hex().upper().encode(), *base64_forms(value)}


def found_in(capture):
    return {name for name, value in SECRETS.items() if any(form in capture for form in forms(value))}


def check_search():
    """The control of the search itself: each form of each secret, planted, is found."""
    planted = 0
    for name, value in SECRETS.items():
        for form in forms(value):
            planted += 1
            check(name in found_in(secrets.token_bytes(500) + form + secrets.token_bytes(500)), f"{name} is not found where it is")
        for offset in range(3):
            text = base64.b64encode(secrets.token_bytes(9 + offset) + value + secrets.token_bytes(7))
            check(name in found_in(text), f"{name} is not found in base64")
            planted += 1
    return planted


# ---- the recorder's file ----

def records():
    data, at, found = RECORD.read_bytes(), 0, []
    while at < len(data):
        length = struct.unpack_from(">I", data, at + 1)[0]
        found.append((data[at:at + 1], data[at + 5:at + 5 + length]))
        at += 5 + length
    return found


def commands(recorded):
    return [data for letter, data in recorded if letter == b"C"]


def code(command):
    return struct.unpack_from(">I", command, 6)[0]


HANDLES = {0x153: 1, 0x154: 1, 0x157: 1, 0x15E: 1, 0x131: 1, 0x120: 2, 0x176: 2}


def sessions(command):
    """(handle, attributes, length of the HMAC) of each."""
    if command[:2] != b"\x80\x02":
        return []
    at = 10 + 4 * HANDLES.get(code(command), 0)
    end, found = at + 4 + struct.unpack_from(">I", command, at)[0], []
    at += 4
    while at < end:
        handle, nonce = struct.unpack_from(">IH", command, at)
        attributes, length = struct.unpack_from(">BH", command, at + 6 + nonce)
        found.append((handle, attributes, length))
        at += 9 + nonce + length
    return found


DECRYPT, ENCRYPT = 0x20, 0x40
PROTECTION = {0x153: DECRYPT | ENCRYPT, 0x154: DECRYPT | ENCRYPT, 0x157: DECRYPT, 0x15E: ENCRYPT}


def unprotected(recorded):
    """What carries or opens a secret and is not in a session with an HMAC that encrypts it; sessions without a salt; authorisations in the clear."""
    wrong = []
    for command in commands(recorded):
        what = NAMES.get(code(command), hex(code(command)))
        for handle, _, length in sessions(command):
            if handle == 0x40000009 and length:
                wrong.append(f"{what}: a password")
        if code(command) in PROTECTION:
            wanted, used = PROTECTION[code(command)], sessions(command)
            if len(used) != 1 or used[0][0] >> 24 != 0x02 or used[0][2] != 32 or used[0][1] & wanted != wanted:
                wrong.append(f"{what}: {used}")
        if code(command) == 0x176:
            caller = struct.unpack_from(">H", command, 18)[0]
            salt = struct.unpack_from(">H", command, 20 + caller)[0]
            rest = command[22 + caller + salt:]
            # An HMAC session, AES with 128 bits in CFB mode, SHA-256.
            if command[10:14] == b"\x40\x00\x00\x07" or not salt or rest != struct.pack(">BHHHH", 0, 6, 128, 0x43, 0x0B):
                wrong.append(f"{what}: salt of {salt} bytes, {rest.hex()}")
    return wrong


# ---- tokend, doing everything ----

def unheard(*words):
    """A program that goes to the TPM behind the recorder's back."""
    run(*words, env={**os.environ, "TPM2TOOLS_TCTI": os.environ["BUS_TPM"]})


def tokenctl(*words, **more):
    return run("tokenctl", *words, cwd=WORK, **more)


def unwrap(name, stanza, file_key):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(WORK / "run/control.sock"))
        connection.sendall(json.dumps({"method": "io.tokend.Unwrap", "parameters": {"key": name, "stanzas": [stanza]}}).encode() + b"\0")
        answer = b""
        while not answer.endswith(b"\0"):
            piece = connection.recv(65536)
            check(piece, "tokend hung up")
            answer += piece
    reply = json.loads(answer[:-1])
    check("error" not in reply, f"unwrap with {name}: {reply}")
    check(base64.b64decode(reply["parameters"]["fileKey"]) == file_key, f"{name} opened another file key")


class Key:
    """One that is enrolled: what its files say of it."""
    def __init__(self, name, kind, form, value=None):
        self.name, self.kind, self.form, self.uses = name, kind, form, []
        options = ["--name", name, "--kind", kind, "--class", form]
        self.pin = None if form == "boot" else secret("PIN", name, f"{secrets.randbelow(10**9):09d}-{len(SECRETS)}".encode())
        if self.pin:
            (WORK / f"{name}.pin").write_bytes(self.pin + b"\n")
            options += ["--pin-file", f"{name}.pin"]
        if value:
            options += ["--import", f"{name}.txt"]
        tokenctl("enroll", *options)
        shown = next(key for key in json.loads(tokenctl("keys", "--json")) if key["name"] == name)
        self.id = bytes.fromhex(shown["id"])
        text = (WORK / f"state/keys/{shown['id']}.key").read_text()
        self.public = bytes.fromhex(found.group(1)) if (found := re.search(r"^public: (\w+)$", text, re.M)) else b""
        self.pem = next((WORK / "state/keys").glob(f"{shown['id']}.*.pem"))
        if self.pin:
            value = bytearray(hashlib.sha256(b"tokend TPM PIN 1\0" + self.id + self.pin).digest())
            value[-1] |= 1
            self.auth = bytes(secret("authorisation value", name, bytes(value)))

    def unlock(self):
        (WORK / "wrong.pin").write_bytes(secret("PIN", f"{self.name}, wrong", b"not " + self.pin) + b"\n")
        tokenctl("unlock", self.name, "--pin-file", "wrong.pin", fails=True)
        unheard("tpm2_dictionarylockout", "-c")
        tokenctl("unlock", self.name, "--pin-file", f"{self.name}.pin")

    def use(self):
        """Something that was sealed to it, opened; with halves that are known."""
        if self.kind == "symmetric":
            return
        file_key = secret("file key", f"{self.name} {len(SECRETS)}", secrets.token_bytes(16))
        if self.kind == "x25519":
            ephemeral, share, shared = secrets.token_bytes(32), ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
            SODIUM.crypto_scalarmult_base(share, ephemeral)
            SODIUM.crypto_scalarmult(shared, ephemeral, self.public)
            key = hmac.digest(hmac.digest(share.raw + self.public, shared.raw, "sha256"), b"age-encryption.org/v1/X25519\x01", "sha256")
            unwrap(self.name, {"type": "X25519", "arguments": [unpadded(share.raw)], "body": unpadded(seal(key, bytes(12), file_key))}, file_key)
            return
        scalar = secrets.randbits(255) | 1
        enc, point = encoded(multiply(scalar, BASE)), encoded(multiply(scalar, decoded(self.public)))
        secret("shared point X", f"{self.name} {len(self.uses)}", point[1:33])
        secret("shared point Y", f"{self.name} {len(self.uses)}", point[33:])
        self.uses.append((enc, point))
        compressed = bytes([2 + (self.public[64] & 1)]) + self.public[1:33]
        tag = hmac.digest(b"age-encryption.org/p256tag", enc + hashlib.sha256(compressed).digest()[:4], "sha256")[:4]
        body = hpke_seal(point[1:33], enc, self.public, b"age-encryption.org/p256tag", file_key)
        unwrap(self.name, {"type": "p256tag", "arguments": [unpadded(tag), unpadded(enc)], "body": unpadded(body)}, file_key)


def imported(name, form):
    run("age-keygen", "-o", f"{name}.txt", cwd=WORK)
    value = bech32_payload(re.search(r"AGE-SECRET-KEY-1\w+", (WORK / f"{name}.txt").read_text()).group(0))
    return Key(name, "x25519", form, secret("imported key", name, value))


def everything(keys):
    for key in keys:
        if key.pin:
            key.unlock()
        key.use()
        if key.form == "session":
            key.use()


def tokend_does_everything():
    keys = [Key(f"{kind}.{form}", kind, form) for kind in ("p256", "x25519", "symmetric") for form in ("boot", "session", "admin")]
    keys += [imported("imported.boot", "boot"), imported("imported.session", "session")]
    everything(keys)
    (WORK / "plain").write_bytes(secrets.token_bytes(1000))
    for key in keys[:1] + keys[3:4]:
        tokenctl("encrypt", "-k", key.name, "-o", "file.age", "plain")
        check(tokenctl("decrypt", "file.age") == (WORK / "plain").read_bytes(), f"{key.name} decrypts a file to something else")
    tokenctl("lock")
    tokenctl("tokens")
    helper_killed()
    everything(keys)
    lab(f'lab_tokend_stop "{WORK}"; lab_tokend_start "{WORK}"')
    everything(keys)
    lab(f'lab_tokend_stop "{WORK}"')
    return keys


def helper_killed():
    """The helper of our own tokend ends without a word; another one takes its place when it is needed."""
    supervisor = (WORK / "tokend.pid").read_text().strip()
    pids = [int(pid) for pid in run("pgrep", "-P", supervisor, "-f", "tokend-tpm").split()]
    check(len(pids) == 1, f"tokend has {len(pids)} helpers")
    os.kill(pids[0], signal.SIGKILL)


# ---- the control: the same without sessions ----

def der_octets(pem):
    """The two octet strings of a TSS2 key file: public and private area."""
    data, found = base64.b64decode("".join(pem.read_text().splitlines()[1:-1])), []

    def walk(part):
        while part:
            tag, length, at = part[0], part[1], 2
            if length & 0x80:
                at += length & 0x7F
                length = int.from_bytes(part[2:at], "big")
            if tag & 0x20:
                walk(part[at:at + length])
            if tag == 4:
                found.append(part[at:at + length])
            part = part[at + length:]

    walk(data)
    check(len(found) == 2, f"{pem} has {len(found)} octet strings")
    return found


def tpm2(program, *words):
    """One of tpm2-tools, over the recorder, with tpm2-tss's own capture appended."""
    pcap = WORK / "one.pcap"
    pcap.unlink(missing_ok=True)
    environment = {**os.environ, "TPM2TOOLS_TCTI": "pcap:" + os.environ["BUS_PROXY"], "TCTI_PCAP_FILE": str(pcap)}
    out = run(program, *words, cwd=WORK, env=environment)
    PCAP.extend(pcap_packets(pcap.read_bytes()))
    return out


PCAP = []


def pcap_packets(data):
    """What is said over TCP in the enhanced packet blocks of a pcapng file."""
    at, found = 0, []
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        if kind == 6:
            size = struct.unpack_from("<I", data, at + 20)[0]
            packet = data[at + 28:at + 28 + size]
            packet = packet[packet.index(b"\x45"):] if packet[0] != 0x45 else packet
            said = packet[20 + 20:]
            if said:
                found.append(said)
        at += length
    return found


def flush():
    unheard("tpm2_flushcontext", "-t")
    unheard("tpm2_flushcontext", "-l")


def without_sessions(keys):
    flush()
    for key in keys:
        public, private = der_octets(key.pem)
        (WORK / "public").write_bytes(public)
        (WORK / "private").write_bytes(private)
        auth = ["-p", f"hex:{key.auth.hex()}"] if key.pin else []
        tpm2("tpm2_load", "-Q", "-C", "0x81000001", "-u", "public", "-r", "private", "-c", "loaded")
        if key.kind == "p256":
            for enc, point in key.uses:
                (WORK / "point").write_bytes(b"\0\x44\0\x20" + enc[1:33] + b"\0\x20" + enc[33:])
                tpm2("tpm2_ecdhzgen", "-c", "loaded", "-u", "point", "-o", "shared", *auth)
                flush()
                shared = (WORK / "shared").read_bytes()
                check(point[1:33] in shared and point[33:] in shared, f"{key.name}: the point is another one than was computed here")
        else:
            value = tpm2("tpm2_unseal", "-c", "loaded", *auth)
            check(len(value) == 32, f"{key.name}: {len(value)} bytes are sealed")
            if ("imported key", key.name) in SECRETS:
                check(value == SECRETS["imported key", key.name], f"{key.name}: another key is sealed")
            else:
                secret("sealed key", key.name, value)
        flush()
    # Objects that are made without a session: with a PIN as the authorisation value itself, with that value as tokend computes it; and a file key that is given to the TPM.
    for (kind, _), value in sorted(SECRETS.items()):
        if kind in ("PIN", "authorisation value"):
            (WORK / "thing").write_bytes(b"something")
            tpm2("tpm2_create", "-Q", "-C", "0x81000001", "-i", "thing", "-p", f"hex:{value.hex()}", "-u", "public", "-r", "private")
        if kind == "file key":
            (WORK / "thing").write_bytes(value)
            tpm2("tpm2_create", "-Q", "-C", "0x81000001", "-i", "thing", "-u", "public", "-r", "private")


def take():
    recorded = records()
    RECORD.unlink()
    return recorded, b"".join(data for _, data in recorded)


def main():
    keys = tokend_does_everything()
    tokend, tokend_capture = take()
    without_sessions(keys)
    control, control_capture = take()
    codes = [NAMES[code(command)] for command in commands(tokend) if code(command) in NAMES]
    for name in NAMES.values():
        check(name in codes, f"{name} was never sent: the capture is not of everything")
    planted = check_search()
    kinds = sorted({kind for kind, _ in SECRETS})
    print(f"{len(SECRETS)} secrets: " + ", ".join(f"{sum(kind == k for k, _ in SECRETS)} of class {kind}" for kind in kinds)
          + f"; {sum(len(forms(value)) for value in SECRETS.values())} forms; {planted} planted and found")

    leaked = found_in(tokend_capture)
    print(f"tokend: {len(commands(tokend))} commands, {len(tokend_capture)} bytes, {len(leaked)} secrets found")
    for name in sorted(leaked):
        print(f"found on the bus: {name[0]} of {name[1]}")
    wrong = unprotected(tokend)
    protected = sum(code(command) in PROTECTION for command in commands(tokend))
    print(f"tokend: {protected} commands that carry or open a secret, {codes.count('StartAuthSession')} sessions, {len(wrong)} without protection")
    for what in sorted(set(wrong)):
        print(f"without protection: {what}")

    missed = set(SECRETS) - found_in(control_capture)
    print(f"control, without sessions: {len(commands(control))} commands, {len(SECRETS) - len(missed)} of {len(SECRETS)} secrets found, {len(unprotected(control))} commands without protection")
    heard = [data for letter, data in control if letter in b"CR"]
    check(heard == PCAP, f"the recorder heard {len(heard)} messages, tpm2-tss {len(PCAP)}, and not the same")
    print(f"control: {len(PCAP)} messages, in tpm2-tss's own capture the same byte for byte")
    check(not missed, f"the search does not find {sorted(missed)}")
    check(unprotected(control), "the control's commands pass for protected")
    check(not leaked, f"{len(leaked)} secrets crossed the bus")
    check(not wrong, f"{len(wrong)} commands without protection")


main()
