"""A daemon that speaks tokend's control interface and holds X25519 keys in memory: for tests of the clients alone. It has no policy and protects nothing.

usage: fake_daemon.py RUNTIME-DIRECTORY [--record FILE] [--fail METHOD=ERROR[:HINT]]... [--state DIRECTORY] [--version V]
       [--tries N] [--records N] [--longest SECONDS]

Every call is answered as io.tokend.varlink says; --record gets one line for each, --fail makes a method answer an error. --tries are those that a token has
left for PINs, --records what was written to the audit log, --longest how long an unlock lasts at most. With a KEY "locked" a PIN is wanted
as the class says: PINs are sealed to the box key that GetTokens gives, as for a helper.
"""
import argparse
import base64
import ctypes
import ctypes.util
import hashlib
import hmac
import json
import os
import pathlib
import secrets
import socket

SODIUM = ctypes.CDLL(ctypes.util.find_library("sodium") or "libsodium.so.23")
SODIUM.sodium_init()
TOKEN = "tpm:fake:1"
CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def hkdf(secret, salt, info):
    pseudo = hmac.digest(salt or bytes(32), secret, "sha256")
    return hmac.digest(pseudo, info + b"\x01", "sha256")


def x25519(scalar, point=None):
    out = ctypes.create_string_buffer(32)
    if point is None:
        SODIUM.crypto_scalarmult_base(out, scalar)
    else:
        SODIUM.crypto_scalarmult(out, scalar, point)
    return out.raw


def open_stanza(private, share, body):
    public = x25519(private)
    key = hkdf(x25519(private, share), share + public, b"age-encryption.org/v1/X25519")
    out, length = ctypes.create_string_buffer(16), ctypes.c_ulonglong()
    failed = SODIUM.crypto_aead_chacha20poly1305_ietf_decrypt(out, ctypes.byref(length), None, body, ctypes.c_ulonglong(len(body)), None,
                                                              ctypes.c_ulonglong(0), bytes(12), key)
    return None if failed else out.raw


def bech32(prefix, data):
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    values = [int(bits[i:i + 5], 2) for i in range(0, len(bits), 5)]
    check = 1
    for value in [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + values + [0] * 6:
        top = check >> 25
        check = (check & 0x1ffffff) << 5 ^ value
        for i, generator in enumerate((0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3)):
            check ^= generator if top >> i & 1 else 0
    check ^= 1
    return prefix + "1" + "".join(CHARSET[v] for v in values + [check >> 5 * (5 - i) & 31 for i in range(6)])


def unpadded(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))


class Refusal(Exception):
    def __init__(self, error, **parameters):
        super().__init__(error)
        self.error = error
        self.parameters = {"message": f"the fake says {error}", **parameters}


class Daemon:
    def __init__(self, options):
        self.options = options
        self.keys = []
        self.box_public, self.box_private = ctypes.create_string_buffer(32), ctypes.create_string_buffer(32)
        SODIUM.crypto_box_keypair(self.box_public, self.box_private)
        self.box_key = base64.b64encode(self.box_public.raw).decode()
        self.requests = 0

    def unseal(self, text):
        sealed = base64.b64decode(text, validate=True)
        out = ctypes.create_string_buffer(max(1, len(sealed) - 48))
        if SODIUM.crypto_box_seal_open(out, sealed, ctypes.c_ulonglong(len(sealed)), self.box_public, self.box_private):
            raise Refusal("Usage")
        return out.raw[:len(sealed) - 48]

    def find(self, name):
        for key in self.keys:
            if name in (key["name"], key["id"]):
                return key
        raise Refusal("NoKey", hint="tokenctl keys")

    def shown(self, key):
        shown = {name: key[name] for name in ("id", "name", "kind", "class", "recipient", "created", "slots", "usable")}
        if key["pin"] is not None:
            shown["unlocked"] = key["open"]
        return shown

    def Enroll(self, name, kind, sealedKey=None, sealedPin=None, token=None, **rest):
        if any(key["name"] == name for key in self.keys):
            raise Refusal("Exists")
        if token not in (None, TOKEN):
            raise Refusal("NoToken")
        private = self.unseal(sealedKey) if sealedKey else secrets.token_bytes(32)
        key = {"id": secrets.token_hex(16), "name": name, "kind": "x25519" if kind == "p256" else kind, "class": rest["class"],
               "recipient": bech32("age", x25519(private)), "created": "2026-01-02T03:04:05Z", "slots": [{"token": TOKEN, "present": True}],
               "usable": True, "private": private, "pin": self.unseal(sealedPin) if sealedPin else None, "open": 0}
        self.keys.append(key)
        return {"key": self.shown(key)}

    def GetKeys(self, key=None, **rest):
        """Two at a time, and one of them again, as if another had been enrolled meanwhile."""
        if key is not None:
            return {"keys": [self.shown(self.find(key))]}
        first = rest.get("from", 0)
        shown = [self.shown(k) for k in self.keys[max(0, first - 1):first + 2]]
        return {"keys": shown, **({"next": first + 2} if first + 2 < len(self.keys) else {})}

    def GetTokens(self):
        return {"tokens": [{"uri": TOKEN, "present": True, "simulation": True, "manufacturer": "fake\x1b[31m", "serial": "1", "inLockout": False, "pinTriesLeft": self.options.tries,
                            "commands": 7, "boxKey": self.box_key}]}

    def GetStatus(self):
        state = self.options.state or self.options.runtime
        return {"version": self.options.version, "pid": os.getpid(), "mode": "private", "uid": os.getuid(), "startedAt": "2026-01-02T03:04:05Z", "stateDirectory": state,
                "runtimeDirectory": self.options.runtime, "configuration": "-", "policyDirectory": f"{state}/policy.d", "policyRules": 0,
                "policyDigest": hashlib.sha256(b"").hexdigest(), "auditFile": f"{state}/audit.log", "auditRecords": self.options.records, "auditWorks": True, "memoryLocked": True, "keysLeftOut": 0,
                "keys": len(self.keys), "tokens": 1, "requests": self.requests}

    def Unwrap(self, stanzas, key=None):
        locked = None
        for candidate in self.keys if key is None else [self.find(key)]:
            if candidate["pin"] is not None and not candidate["open"]:
                locked = candidate
                continue
            for index, stanza in enumerate(stanzas):
                file_key = stanza["type"] == "X25519" and open_stanza(candidate["private"], unpadded(stanza["arguments"][0]), unpadded(stanza["body"]))
                if file_key:
                    return {"index": index, "key": candidate["id"], "name": candidate["name"], "fileKey": base64.b64encode(file_key).decode()}
        if locked:
            raise Refusal("PinNeeded", key=locked["id"], name=locked["name"], boxKey=self.box_key)
        raise Refusal("NoMatch")

    def Unlock(self, key, sealedPin, seconds=None):
        key = self.find(key)
        if key["pin"] != self.unseal(sealedPin):
            raise Refusal("PinWrong", triesLeft=2)
        key["open"] = min(seconds or 900, self.options.longest)
        return {"key": key["id"], "name": key["name"], "seconds": key["open"]}

    def Lock(self, key=None):
        keys = [k for k in ([self.find(key)] if key else self.keys) if k["open"]]
        for k in keys:
            k["open"] = 0
        return {"locked": len(keys)}

    def answer(self, message):
        method = message["method"].removeprefix("io.tokend.")
        self.requests += 1
        for older in self.options.older:
            name, _, parameter = older.partition("=")
            if name == method:
                return {"error": "org.varlink.service.InvalidParameter", "parameters": {"parameter": parameter}}
        try:
            for failure in self.options.fail:
                name, _, error = failure.partition("=")
                if name == method:
                    error, _, hint = error.partition(":")
                    raise Refusal(error, **({"hint": hint} if hint else {}))
            return {"parameters": getattr(self, method)(**message.get("parameters", {}))}
        except Refusal as refusal:
            return {"error": f"io.tokend.{refusal.error}", "parameters": refusal.parameters}

    def serve(self, connection):
        received = b""
        while piece := connection.recv(65536):
            received += piece
            while b"\0" in received:
                text, _, received = received.partition(b"\0")
                if self.options.record:
                    with open(self.options.record, "a", encoding="utf-8") as file:
                        file.write(text.decode() + "\n")
                connection.sendall(json.dumps(self.answer(json.loads(text))).encode() + b"\0")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("runtime")
    parser.add_argument("--record")
    parser.add_argument("--state")
    parser.add_argument("--version", default="0.1.0")
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--records", type=int, default=0)
    parser.add_argument("--longest", type=int, default=86400)
    parser.add_argument("--fail", action="append", default=[])
    parser.add_argument("--older", action="append", default=[], metavar="METHOD=PARAMETER", help="as a daemon that does not know the parameter yet")
    daemon = Daemon(parser.parse_args())
    path = pathlib.Path(daemon.options.runtime, "control.sock")
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        while True:
            connection, _ = listener.accept()
            with connection:
                try:
                    daemon.serve(connection)
                except OSError:
                    pass


main()
