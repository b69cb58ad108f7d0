"""The CCTV vectors of the age format through `tokenctl decrypt`. usage: cli_vectors.py TOKENCTL DIRECTORY

What a vector says must be what tokenctl does: its exit code, exactly the plaintext that may be released on standard output, and with -o no file unless all
of it is good. Vectors with a passphrase are typed on a terminal.
"""
import hashlib
import os
import pathlib
import pty
import subprocess
import sys
import tempfile
import zlib

EXIT = {"success": 0, "no match": 4, "HMAC failure": 7, "header failure": 7, "payload failure": 7, "armor failure": 7}


def parse(data):
    head, _, body = data.partition(b"\n\n")
    fields = {}
    for line in head.decode().split("\n"):
        name, _, value = line.partition(": ")
        fields.setdefault(name, []).append(value)
    if fields.get("compressed", [""])[0] == "zlib":
        body = zlib.decompress(body)
    return fields, body


def on_terminal(arguments, passphrase, directory):
    """Runs with a terminal of its own, on which the passphrase is typed; standard output goes to a file."""
    out = directory / "stdout"
    pid, terminal = pty.fork()
    if pid == 0:
        with open(out, "wb") as file:
            os.dup2(file.fileno(), 1)
        os.execv(arguments[0], arguments)
    shown = b""
    while b"Passphrase: " not in shown:
        try:
            piece = os.read(terminal, 1024)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    else:
        os.write(terminal, passphrase.encode() + b"\n")
    while True:
        try:
            if not os.read(terminal, 1024):
                break
        except OSError:
            break
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.close(terminal)
    return status, out.read_bytes(), shown


def run(arguments, fields, directory):
    if "passphrase" in fields and "identity" not in fields:
        return on_terminal(arguments, fields["passphrase"][0], directory)
    done = subprocess.run(arguments, capture_output=True, stdin=subprocess.DEVNULL, start_new_session=True, check=False)
    return done.returncode, done.stdout, done.stderr


def check(tokenctl, fields, body, directory):
    """None when all is as the vector says; else what is not."""
    (directory / "file.age").write_bytes(body)
    arguments = [tokenctl, "decrypt"]
    if "identity" in fields:
        (directory / "key.txt").write_text("\n".join(fields["identity"]) + "\n", encoding="ascii")
        arguments += ["-i", str(directory / "key.txt")]
    status, out, said = run([*arguments, str(directory / "file.age")], fields, directory)
    expect = fields["expect"][0]
    if status == 2 and b"not supported yet" in said:
        return "not applicable: " + ("a post-quantum key" if b"PQ" in said or b"post-quantum" in said else said.decode().strip())
    if status != EXIT[expect]:
        return f"ended with {status} where '{expect}' is expected: {said!r}"
    released = fields.get("payload", [hashlib.sha256(b"").hexdigest()])[0]
    if hashlib.sha256(out).hexdigest() != released:
        return f"released {len(out)} bytes that are not what may be released"
    output = directory / "out"
    status, _, _ = run([*arguments, "-o", str(output), str(directory / "file.age")], fields, directory)
    if status != EXIT[expect]:
        return f"with -o ended with {status}"
    if output.exists() != (expect == "success"):
        return "with -o left a file" if output.exists() else "with -o made no file"
    return None


def main():
    tokenctl, vectors = sys.argv[1], pathlib.Path(sys.argv[2])
    passed, failed, skipped = 0, 0, []
    os.environ["TOKEND_RUNTIME_DIR"] = "/nonexistent"
    for path in sorted(vectors.iterdir()):
        fields, body = parse(path.read_bytes())
        with tempfile.TemporaryDirectory() as name:
            problem = check(tokenctl, fields, body, pathlib.Path(name))
        if problem is None:
            passed += 1
        elif problem.startswith("not applicable"):
            skipped.append(path.name)
            print(f"{path.name}: {problem}")
        else:
            failed += 1
            print(f"{path.name}: {problem}")
    print(f"{passed} vectors passed, {failed} failed, {len(skipped)} not applicable")
    return 1 if failed or not passed else 0


sys.exit(main())
