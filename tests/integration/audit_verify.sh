#!/usr/bin/env bash
# A log that tokend really wrote, damaged in each way, and what tokenctl audit verify says of it. unit.test_audit_log does the same with every byte, order and length.
set -euo pipefail
. "$TOKEND_SOURCE_DIR/tests/lab/lab.sh"
lab_need swtpm tpm2_getrandom python3

directory=$(lab_directory)
trap 'lab_remove "$directory"' EXIT
cd "$directory"
lab_start "$directory"
for name in first second; do
	tokenctl enroll --name "$name" >/dev/null
done
tokenctl recipient first >recipients
echo text | tokenctl encrypt -R recipients -o file.age
tokenctl decrypt file.age >/dev/null
if tokenctl unlock "not there" --pin-file recipients 2>/dev/null; then lab_fail "a key that is not there was unlocked"; fi
for _ in 1 2 3; do tokenctl decrypt file.age >/dev/null; done
lab_tokend_stop "$directory"
log=$directory/state/audit.log
count=$(wc -l <"$log")
[ "$count" -ge 8 ] || lab_fail "only $count records"

head=$(tokenctl audit verify --file "$log" | sed -n "s/.*: $count records, whole; the head is //p")
[ -n "$head" ] || lab_fail "verify printed no head"
[ "$(tokenctl audit verify --file "$log" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["head"])')" = "$head" ] || lab_fail "--json has another head"
lab_expect 0 tokenctl audit verify --file "$log" --head "$head" >/dev/null
cases=0

# A clock that was set back is remarked on, and is no damage; one that tells the time in a row is not.
python3 - "$log" <<'PYTHON' || lab_fail "the log could not be written anew"
import hashlib, re, sys
lines = open(sys.argv[1]).read().splitlines()
previous = "0" * 64
with open("set-back", "w") as file:
    for number, line in enumerate(lines, 1):
        if number < 4:
            line = re.sub(r'"time":"\d{4}', '"time":"2099', line)
        line = re.sub(r'"previous":"[0-9a-f]{64}"', f'"previous":"{previous}"', line)
        bare = re.sub(r',"check":"[0-9a-f]{16}"}$', "}", line)
        line = bare[:-1] + f',"check":"{hashlib.sha256(bare.encode()).hexdigest()[:16]}"}}'
        previous = hashlib.sha256(line.encode()).hexdigest()
        print(line, file=file)
PYTHON
lab_expect 0 tokenctl audit verify --file set-back >out 2>err
lab_grep '^note: the clock was set back by [0-9]* seconds before record 4:' <err || lab_fail "a clock that was set back is not remarked on: $(cat out err)"
lab_expect 0 tokenctl audit verify --file "$log" >out 2>err
[ ! -s err ] || lab_fail "an untouched log has a remark: $(<err)"

# What others wrote into a log is shown by a terminal and not obeyed: as a table and as JSON, which is the same JSON as through a pipe.
python3 - "$log" hostile <<'PYTHON' || lab_fail "a terminal is told what stands in the log"
import json, os, pty, subprocess, sys
line = open(sys.argv[1]).readline()
hostile = '"rule":"\\u009b31m\\u202e\\u001b[31m\\u007f"'
with open(sys.argv[2], "w") as file:
    file.write(line.replace('"rule":null', hostile, 1))
for option in [], ["--json"]:
    master, slave = pty.openpty()
    subprocess.run(["tokenctl", "audit", "show", *option, "--file", sys.argv[2]], stdout=slave, check=True)
    os.close(slave)
    shown = b""
    try:
        while piece := os.read(master, 65536):
            shown += piece
    except OSError:
        pass
    shown = shown.replace(b"\r\n", b"\n").decode()
    assert "31m" in shown and not any(c != "\n" and not c.isprintable() for c in shown), repr(shown)
piped = subprocess.run(["tokenctl", "audit", "show", "--json", "--file", sys.argv[2]], capture_output=True, check=True).stdout
assert json.loads(shown) == json.loads(piped) and "\x9b" in piped.decode()
PYTHON

# named LINE OPTION...: the log "damaged" is refused, and this is the record that is named.
named() {
	local line=$1 status=0
	shift
	tokenctl audit verify --file damaged "$@" >out 2>err || status=$?
	[ "$status" -eq 7 ] || lab_fail "case $cases: ended with $status where record $line is damaged: $(cat out err)"
	lab_grep "(line $line of" <err || lab_fail "case $cases: record $line is not named: $(cat err)"
	cases=$((cases + 1))
}

# damage PYTHON: with lines (without their ends) to change.
damage() {
	python3 -c "
import sys
lines = open(sys.argv[1], 'rb').read().split(b'\n')[:-1]
$1
open('damaged', 'wb').write(b''.join(line + b'\n' for line in lines))" "$log"
}

for line in 1 2 4 $((count - 1)); do
	i=$((line - 1))
	damage "lines[$i] = lines[$i].replace(b'0', b'1', 1) if b'0' in lines[$i] else lines[$i] + b' '"
	named "$line"
	damage "at = lines[$i].rindex(b'\"') - 1; lines[$i] = lines[$i][:at] + (b'1' if lines[$i][at:at + 1] == b'0' else b'0') + lines[$i][at + 1:]"
	named "$line"
	damage "del lines[$i]"
	named "$line"
	damage "lines[$i], lines[$i + 1] = lines[$i + 1], lines[$i]"
	named "$line"
	damage "lines.insert($i, lines[$i])"
	named "$((line + 1))"
	damage "lines.insert($i, b'{}')"
	named "$line"
done
head -c -5 "$log" >damaged
named "$count"

# What the chain alone cannot see, and whoever kept the head does.
head -n -1 "$log" >damaged
lab_expect 0 tokenctl audit verify --file damaged >/dev/null
named "$count" --head "$head"
# The newest record: no other has its hash yet, so by accident only its own check shows it, and on purpose only the head.
damage "lines[-1] = lines[-1].replace(b'\"time\":\"2', b'\"time\":\"3', 1)"
cmp -s damaged "$log" && lab_fail "the newest record was not changed"
named "$count"
# As its format says, with tools that everyone has: the check is the hash of the line without it.
damage "
import hashlib
line = lines[-1].replace(b'\"time\":\"2', b'\"time\":\"3', 1)
line = line[:line.rindex(b',\"check\"')] + b'}'
lines[-1] = line[:-1] + b',\"check\":\"' + hashlib.sha256(line).hexdigest()[:16].encode() + b'\"}'"
cmp -s damaged "$log" && lab_fail "the newest record was not changed"
lab_expect 0 tokenctl audit verify --file damaged >/dev/null
named "$count" --head "$head"
check=$(tail -n 1 "$log" | sed 's/,"check":"[0-9a-f]*"}$/}/' | tr -d '\n' | sha256sum | cut -c 1-16)
tail -n 1 "$log" | lab_grep "\"check\":\"$check\"}" || lab_fail "the check is not what its format says: $check"
python3 - "$log" <<'END'
import hashlib, re, sys
previous, lines = b"0" * 64, []
for line in open(sys.argv[1], "rb").read().split(b"\n")[:-1]:
    line = re.sub(rb'"previous":"\w+".*', b'"previous":"' + previous + b'"}', line.replace(b'"unwrap"', b'"forged"'))
    line = line[:-1] + b',"check":"' + hashlib.sha256(line).hexdigest()[:16].encode() + b'"}'
    previous = hashlib.sha256(line).hexdigest().encode()
    lines.append(line + b"\n")
open("damaged", "wb").write(b"".join(lines))
END
cmp -s damaged "$log" && lab_fail "the log was not rewritten"
lab_expect 0 tokenctl audit verify --file damaged >/dev/null
named "$count" --head "$head"
lab_expect 2 tokenctl audit verify --file "$log" --head "${head#*:}" 2>err
lab_grep 'a head is the number of a record, a colon, and its hash' <err || lab_fail "what is wrong with the head is not said: $(cat err)"

# The log goes on; the head that was kept is still in it.
lab_tokend_start "$directory"
tokenctl decrypt file.age >/dev/null
tokenctl audit verify --head "$head" | lab_grep 'whole' || lab_fail "the head is lost in a log that went on"
# What newer versions left beside it is kept, each time, by a broker in its sandbox.
lab_tokend_stop "$directory"
for text in first second; do
	echo "tokend end 2 $text" >"$directory/state/audit.ahead"
	lab_tokend_start "$directory"
	lab_tokend_stop "$directory"
done
[ "$(cat "$directory/state/audit.ahead.newer" "$directory/state/audit.ahead.newer.2")" = $'tokend end 2 first\ntokend end 2 second' ] || lab_fail "what newer versions left is lost: $(ls "$directory/state")"
tokenctl audit verify --file "$log" --head "$head" >/dev/null
echo "$cases damaged logs of $count records, the first wrong record named in each"
