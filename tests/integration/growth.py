"""How the time of tokenctl grows with a file that is made to take long. usage: growth.py DIRECTORY RECIPIENT

Four times as much may take at most GROWTH times as long: what is linear takes at most 4, what is quadratic 16. Compared are processor times of programs that do the same, the least of several, so that neither the machine nor
what else it does matters; below FLOOR seconds both are start-up, and nothing is compared but that the larger one is below as well.

TOKEND_TEST_ONLY=NAME tries the rows alone whose name begins so, once each."""
import os
import resource
import subprocess
import sys

ONLY = os.environ.get("TOKEND_TEST_ONLY", "")
GROWTH, FLOOR, TRIES = 9, 0.05, 1 if ONLY else 3
directory, recipient = sys.argv[1:]
os.chdir(directory)
sealing = ["tokenctl", "encrypt", "--sops", "-r", recipient, "-o", "sealed.yaml"]


def seconds(command, statuses):
    """The least processor time, and what was said."""
    least = None
    for _ in range(TRIES):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=200, check=False)
        taken = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        if done.returncode not in statuses:
            sys.exit(f"FAIL: {command} ended with {done.returncode}: {done.stderr[:500]}")
        least = taken if least is None else min(least, taken)
    return least, done.stderr


def write(name, text):
    with open(name, "w", encoding="ascii") as file:
        file.write(text)


def compare(name, n, text, commands, statuses=(0,), words="", control=False):
    taken = {}
    if not name.startswith(ONLY):
        return
    for count in (n, 4 * n):
        write("plain.yaml", text(count))
        for verb, command in commands.items():
            spent, said = seconds(command, statuses)
            taken.setdefault(verb, []).append(spent)
            if words not in said:
                sys.exit(f"FAIL: {name}: it says {said[:500]}")
    for verb, (small, large) in taken.items():
        print(f"{name}: {verb}: {n}: {small:.3f} s, {4 * n}: {large:.3f} s, {large / max(small, 0.001):.1f} times")
        if (large > FLOOR and large > GROWTH * max(small, 0.001)) != control:
            sys.exit(f"FAIL: {name}: {verb} of four times as much took {small:.3f} s and {large:.3f} s" + (", and that goes unnoticed" if control else ""))


def comments(count):
    return "".join(f"# comment {i}\n" for i in range(count)) + "a: b\n"


def beginnings(word):
    return lambda count: word * count


opening = ["-i", "key.txt", "sealed.yaml"]
verifying = {"verify": ["tokenctl", "verify", "sealed.yaml"]}
guarding = {"guard": ["tokenctl", "guard", "plain.yaml"]}
# The comparison notices what is quadratic.
squares = "n = int(open('plain.yaml').read())\nfor i in range(n):\n    sum(range(n))\n"
compare("control", 2500, str, {"squares": [sys.executable, "-c", squares]}, control=True)
compare(
    "comments",
    6000,
    comments,
    {
        "encrypt": [*sealing, "plain.yaml"],
        "decrypt": ["tokenctl", "decrypt", *opening],
        "edit": ["env", "EDITOR=true", "tokenctl", "edit", *opening],
        **verifying,
    },
)
compare("comments under a rule about them", 6000, comments, {"encrypt": [*sealing, "--encrypted-comment-regex", "none", "plain.yaml"], **verifying})
compare("beginnings of age keys", 20000, beginnings("AGE-SECRET-KEY-"), guarding)
compare("beginnings of age keys, further", 20000, beginnings("AGE-SECRET-KEY-1"), guarding)
compare("headings", 20000, beginnings("-----BEGIN PRIVATE KEY-----"), guarding)
compare("headings with comments in one line", 20000, beginnings("-----BEGIN PGP PRIVATE KEY BLOCK-----Version:"), guarding, (3,))
compare("headings with comments in lines", 20000, beginnings("-----BEGIN PGP PRIVATE KEY BLOCK-----\nVersion: "), guarding, (3,))
# More than this libfyaml would take minutes for; it is said, and with the line.
for count, status in ((8000, 0), (100000, 7), (400000, 7)) if "empty lines".startswith(ONLY) else ():
    write("plain.yaml", "a: |\n  x\n" + "\n" * count + "  y\n")
    spent, said = seconds([*sealing, "plain.yaml"], (status,))
    print(f"empty lines: {count}: {spent:.3f} s")
    if status and (f"line {count + 3}: before it are too many empty lines" not in said or spent > 5):
        sys.exit(f"FAIL: {count} empty lines: {spent:.3f} s, and it says {said[:500]}")
