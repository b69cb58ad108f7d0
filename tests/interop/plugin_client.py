"""An age client of our own, which does with the plugin what stock clients do not: many files, identities and recipients in one process.

plugin_client.py open PLUGIN --identity LINE... FILE...      the file keys of age files; each is checked against the file's own MAC
plugin_client.py wrap PLUGIN --recipient LINE... --identity LINE... --count N --any IDENTITY
                                        makes N file keys, has them wrapped, has each stanza opened again, alone

It greases, and sends SIGINT as soon as it has read "done", as age does; a plugin that then does not end with 0 fails. What was opened is printed, one
line for each file: its number and "opened" or "not opened"; messages go to standard error.
"""
import argparse
import base64
import hashlib
import hmac
import os
import signal
import subprocess
import sys


def encode(data):
    return base64.b64encode(data).rstrip(b"=").decode()


def decode(text):
    return base64.b64decode(text + "=" * (-len(text) % 4))


class Plugin:
    def __init__(self, program, machine):
        self.process = subprocess.Popen([program, "--age-plugin=" + machine], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/tmp")

    def send(self, *words, body=b""):
        text = encode(body)
        lines = [text[i : i + 64] for i in range(0, len(text), 64)]
        if not lines or len(lines[-1]) == 64:
            lines.append("")
        self.process.stdin.write(("-> " + " ".join(words) + "\n" + "\n".join(lines) + "\n").encode())
        self.process.stdin.flush()

    def receive(self):
        head = self.process.stdout.readline().decode()
        if not head.startswith("-> ") or not head.endswith("\n"):
            sys.exit(f"plugin_client: not a stanza: {head!r}")
        body = ""
        while True:
            line = self.process.stdout.readline().decode()
            if not line.endswith("\n") or len(line) > 65:
                sys.exit(f"plugin_client: not a body: {line!r}")
            body += line[:-1]
            if len(line) < 65:
                return head[3:-1].split(" "), decode(body)

    def finish(self):
        self.process.send_signal(signal.SIGINT)
        self.process.stdin.close()
        status = self.process.wait(timeout=10)
        if status != 0:
            sys.exit(f"plugin_client: the plugin ended with {status} after done")


def stanzas_of(path):
    """The stanzas of an age file (words, body), the header's bytes up to the MAC, and the MAC."""
    with open(path, "rb") as file:
        data = file.read(65536)
    end = data.index(b"\n--- ") + 1
    lines = data[:end].decode().split("\n")[1:-1]
    stanzas = []
    for line in lines:
        if line.startswith("-> "):
            stanzas.append((line[3:].split(" "), ""))
        else:
            stanzas[-1] = (stanzas[-1][0], stanzas[-1][1] + line)
    mac = data[end + 4 : data.index(b"\n", end)]
    return [(words, decode(body)) for words, body in stanzas], data[: end + 3], decode(mac.decode())


def mac_of(file_key, header):
    extracted = hmac.digest(b"\0" * 32, file_key, hashlib.sha256)
    key = hmac.digest(extracted, b"header\x01", hashlib.sha256)
    return hmac.digest(key, header, hashlib.sha256)


def ask_to_open(program, identities, files):
    """files: a list of lists of stanzas. Returns {number: file key}."""
    plugin = Plugin(program, "identity-v1")
    plugin.send("grease-a4", "1", "2", body=os.urandom(60))
    for line in identities:
        plugin.send("add-identity", line)
        plugin.send("grease-" + os.urandom(4).hex())
    for number, stanzas in enumerate(files):
        for words, body in stanzas:
            plugin.send("recipient-stanza", str(number), *words, body=body)
    plugin.send("done")
    keys = {}
    while True:
        words, body = plugin.receive()
        if words == ["done"]:
            break
        if words[0] == "file-key":
            if int(words[1]) in keys:
                sys.exit("plugin_client: two keys for one file")
            keys[int(words[1])] = body
        elif words[0] in ("msg", "error"):
            print(" ".join(words) + ": " + body.decode(), file=sys.stderr)
        else:
            plugin.send("unsupported")
            continue
        plugin.send("ok")
    plugin.finish()
    return keys


def open_files(arguments):
    files = [stanzas_of(path) for path in arguments.files]
    keys = ask_to_open(arguments.plugin, arguments.identity, [file[0] for file in files])
    for number, (_, header, mac) in enumerate(files):
        if number in keys and not hmac.compare_digest(mac_of(keys[number], header), mac):
            sys.exit(f"plugin_client: the key of file {number} is wrong")
        print(number, "opened" if number in keys else "not opened")


def wrap_keys(arguments):
    plugin = Plugin(arguments.plugin, "recipient-v1")
    file_keys = [os.urandom(16) for _ in range(arguments.count)]
    for line in arguments.recipient:
        plugin.send("add-recipient", line)
    plugin.send("grease-77", body=os.urandom(7))
    for line in arguments.identity:
        plugin.send("add-identity", line)
    for key in file_keys:
        plugin.send("wrap-file-key", body=key)
    plugin.send("extension-labels")
    plugin.send("done")
    stanzas = []
    while True:
        words, body = plugin.receive()
        if words == ["done"]:
            break
        if words[0] == "recipient-stanza":
            stanzas.append((int(words[1]), words[2:], body))
        elif words[0] == "error":
            print(" ".join(words) + ": " + body.decode(), file=sys.stderr)
        plugin.send("ok" if words[0] != "labels" or len(words) == 1 else "fail")
    plugin.finish()
    # Each stanza is a file of its own for the way back, so that one that opens cannot cover for one that does not.
    opened = ask_to_open(arguments.plugin, [arguments.any], [[(words, body)] for _, words, body in stanzas])
    for number, (file, words, _) in enumerate(stanzas):
        good = opened.get(number) == file_keys[file]
        print(file, words[0], "opened" if good else "not opened")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["open", "wrap"])
    parser.add_argument("plugin")
    parser.add_argument("--identity", action="append", default=[])
    parser.add_argument("--recipient", action="append", default=[])
    parser.add_argument("--any", help="the identity that opens everything again")
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("files", nargs="*")
    arguments = parser.parse_intermixed_args()
    (open_files if arguments.what == "open" else wrap_keys)(arguments)


main()
