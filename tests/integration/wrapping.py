"""Wraps a file key to a recipient by hand (age v1, HPKE), so that a test knows every intermediate secret: from the specifications, not from tokend's code.

wrap(recipient, file_key) gives the stanza as the interface wants it, and a dictionary of what must never be seen: the ephemeral key, the shared point, what is
derived from it. Slow and not constant in time: for tests.
"""
import base64
import ctypes
import ctypes.util
import hashlib
import hmac
import secrets

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
CURVE_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
GENERATOR = (0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296, 0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5)


def sodium():
    return ctypes.CDLL(ctypes.util.find_library("sodium"))


# ---- bech32 ----

def polymod(values):
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return check


def regroup(values, width, new_width, pad):
    number = bits = 0
    out = []
    for value in values:
        number, bits = number << width | value, bits + width
        while bits >= new_width:
            bits -= new_width
            out.append(number >> bits & (1 << new_width) - 1)
    return out + ([number << new_width - bits & (1 << new_width) - 1] if pad and bits else [])


def expand(prefix):
    return [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]


def bech32_encode(prefix, data):
    values = regroup(data, 8, 5, True)
    check = polymod([*expand(prefix), *values, *[0] * 6]) ^ 1
    return prefix + "1" + "".join(CHARSET[value] for value in [*values, *[check >> 5 * (5 - i) & 31 for i in range(6)]])


def bech32_decode(text):
    text = text.lower()
    prefix, _, rest = text.rpartition("1")
    values = [CHARSET.index(letter) for letter in rest]
    if polymod([*expand(prefix), *values]) != 1:
        raise ValueError("not bech32")
    return prefix, bytes(regroup(values[:-6], 5, 8, False))


# ---- P-256 ----

def add(one, other):
    if one is None or other is None:
        return one or other
    if one[0] == other[0] and (one[1] + other[1]) % PRIME == 0:
        return None
    if one == other:
        slope = (3 * one[0] * one[0] - 3) * pow(2 * one[1], -1, PRIME) % PRIME
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, PRIME) % PRIME
    x = (slope * slope - one[0] - other[0]) % PRIME
    return x, (slope * (one[0] - x) - one[1]) % PRIME


def multiply(scalar, point):
    result = None
    while scalar:
        result = add(result, point) if scalar & 1 else result
        point, scalar = add(point, point), scalar >> 1
    return result


def decompress(data):
    x = int.from_bytes(data[1:], "big")
    y = pow(x * x * x - 3 * x + CURVE_B, (PRIME + 1) // 4, PRIME)
    return x, y if y & 1 == data[0] & 1 else PRIME - y


def encode(point):
    return b"\x04" + point[0].to_bytes(32, "big") + point[1].to_bytes(32, "big")


# ---- wrapping ----

def hash_of(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def seal(key, nonce, plain):
    out = ctypes.create_string_buffer(len(plain) + 16)
    sodium().crypto_aead_chacha20poly1305_ietf_encrypt(out, None, plain, ctypes.c_ulonglong(len(plain)), None, ctypes.c_ulonglong(0), None, nonce, key)
    return out.raw


def scalarmult(scalar, point=None):
    out = ctypes.create_string_buffer(32)
    if point is None:
        sodium().crypto_scalarmult_base(out, scalar)
    else:
        sodium().crypto_scalarmult(out, scalar, point)
    return out.raw


def plain_base64(data):
    return base64.b64encode(data).decode().rstrip("=")


def wrap_x25519(public_key, file_key):
    ephemeral = secrets.token_bytes(32)
    share, shared = scalarmult(ephemeral), scalarmult(ephemeral, public_key)
    extracted = hash_of(share + public_key, shared)
    key = hash_of(extracted, b"age-encryption.org/v1/X25519\x01")
    stanza = {"type": "X25519", "arguments": [plain_base64(share)], "body": plain_base64(seal(key, bytes(12), file_key))}
    return stanza, {"shared-point": shared, "extracted": extracted, "wrapping-key": key}


def wrap_p256(compressed, file_key):
    recipient = decompress(compressed)
    scalar = secrets.randbelow(ORDER - 1) + 1
    enc, public_key = encode(multiply(scalar, GENERATOR)), encode(recipient)
    x = multiply(scalar, recipient)[0].to_bytes(32, "big")
    kem, suite = b"KEM\x00\x10", b"HPKE\x00\x10\x00\x01\x00\x03"

    def extract(name, salt, label, data):
        return hash_of(salt, b"HPKE-v1" + name + label + data)

    def expand_label(name, key, label, info, length):
        return hash_of(key, length.to_bytes(2, "big") + b"HPKE-v1" + name + label + info + b"\x01")[:length]

    extracted = extract(kem, b"", b"eae_prk", x)
    shared = expand_label(kem, extracted, b"shared_secret", enc + public_key, 32)
    context = b"\x00" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", b"age-encryption.org/p256tag")
    schedule = extract(suite, shared, b"secret", b"")
    key = expand_label(suite, schedule, b"key", context, 32)
    nonce = expand_label(suite, schedule, b"base_nonce", context, 12)
    tag = hash_of(b"age-encryption.org/p256tag", enc + hashlib.sha256(compressed).digest()[:4])[:4]
    stanza = {"type": "p256tag", "arguments": [plain_base64(tag), plain_base64(enc)], "body": plain_base64(seal(key, nonce, file_key))}
    return stanza, {"shared-point": x, "extracted": extracted, "shared-secret": shared, "schedule": schedule, "wrapping-key": key}


def wrap(recipient, file_key):
    prefix, data = bech32_decode(recipient)
    return wrap_x25519(data, file_key) if prefix == "age" else wrap_p256(data, file_key)


# ---- how a secret may look ----

def encodings(data):
    """Names and bytes: raw in halves (the ends left out, where keys are clamped), backwards as big numbers are kept, hex, base64 at each of three offsets."""
    half = len(data) // 2
    yield "raw-first", data[1 if half > 8 else 0:half]
    yield "raw-last", data[half:len(data) - 1 if half > 8 else len(data)]
    yield "backwards-first", data[::-1][1 if half > 8 else 0:half]
    yield "backwards-last", data[::-1][half:len(data) - 1 if half > 8 else len(data)]
    yield "hex", data.hex().encode()
    yield "HEX", data.hex().upper().encode()
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + data)
        # Only what depends on data alone.
        first, last = (offset * 8 + 5) // 6, (offset + len(data)) * 8 // 6
        yield f"base64-{offset}", text[first:last]
        yield f"base64url-{offset}", base64.urlsafe_b64encode(bytes(offset) + data)[first:last]
