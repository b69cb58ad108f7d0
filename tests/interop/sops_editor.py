"""The editor of sops_write.py: nothing, drop (a line) or fail; a number that says which line; the file."""
import sys

way, number, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
with open(path, "rb") as file:
    lines = file.read().split(b"\n")
if way == "drop":
    del lines[number % len(lines)]
    with open(path, "wb") as file:
        file.write(b"\n".join(lines))
sys.exit(3 if way == "fail" else 0)
