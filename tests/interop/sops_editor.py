"""The editor of sops_write.py: nothing, drop, double, swap (with the line before), comment (behind a line) or fail; a number that says which line; where a copy of the result goes; the file."""
import sys

way, number, copy, path = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
with open(path, "rb") as file:
    lines = file.read().split(b"\n")
place = number % len(lines)
if way == "drop":
    del lines[place]
if way == "double":
    lines.insert(place, lines[place])
if way == "swap":
    lines[place - 1], lines[place] = lines[place], lines[place - 1]
if way == "comment":
    lines.insert(place, (b";" if copy.endswith(".ini") else b"#") + b" what somebody says")
for name in (path, copy):
    with open(name, "wb") as file:
        file.write(b"\n".join(lines))
sys.exit(3 if way == "fail" else 0)
