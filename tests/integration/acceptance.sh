#!/bin/bash
# What tokend is for, from end to end: real programs, a software TPM, and every verb, each with what a person would see.
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"
begin
lab_need jq
lab_start "$work"
head -c 100000 /dev/urandom >plain
age-keygen -o key.txt 2>/dev/null
typed() { timeout 60 python3 -B "$LAB_SOURCE/tests/interop/typed.py" "$@"; }

# same PLAIN COMMAND...: it prints exactly that file.
same() {
	local file=$1
	shift
	works "$@"
	cmp "$file" stdout || lab_fail "'$*' gave something else than $file"
}

# json FILTER COMMAND...: it prints JSON for which the filter is true.
json() {
	local filter=$1
	shift
	works "$@" --json
	jq -e "$filter" stdout >/dev/null || lab_fail "'$* --json': not $filter: $(cat stdout)"
}

# The control: each of these can fail.
echo '{"a": 1}' >object
must_fail same plain cat key.txt
must_fail same plain false
must_fail says 'x y' echo 'x z'
must_fail says 'x' bash -c 'echo x; exit 1'
must_fail json '.a == 2' cat object
must_fail json '.a == 1' false
rm -f object

# ---- a key is made, another imported, and both do their work ----

says 'enrolled host \(p256' tokenctl enroll --name host
grep -q '^proven: ' stdout || lab_fail "enroll does not prove the key"
says 'imported legacy \(x25519' tokenctl enroll --name legacy --kind x25519 --import key.txt
grep -q 'shred -u key.txt' stdout || lab_fail "enroll --import does not say how the file is removed"
[ -s key.txt ] || lab_fail "enroll --import removed the file"
host=$(tokenctl recipient host)
legacy=$(tokenctl recipient legacy)
[[ $host == age1tag1* ]] || lab_fail "the recipient of a p256 key: $host"
[ "$legacy" = "$(age-keygen -y key.txt)" ] || lab_fail "the imported key has another recipient"
[ "$(tokenctl recipient)" = "$host"$'\n'"$legacy" ] || lab_fail "recipient without a key does not print all"
[ "$(tokenctl recipient legacy host)" = "$legacy"$'\n'"$host" ] || lab_fail "recipient of two keys does not print both, in their order"
if tokenctl recipient host nobody >printed 2>said; then lab_fail "a key that is not there was passed over"; fi
[ ! -s printed ] && grep -q nobody said || lab_fail "recipient of a key that is not there: $(<printed) $(<said)"

age -r "$legacy" -o a.age plain
same plain tokenctl decrypt a.age
age -d -i key.txt a.age | cmp - plain || lab_fail "the imported file is not the key any more"
works tokenctl encrypt -r "$host" -o b.age plain
same plain tokenctl decrypt b.age
works tokenctl encrypt -k host -k legacy -a -o c.age plain
grep -q 'BEGIN AGE ENCRYPTED FILE' c.age || lab_fail "-a is not armored"
same plain tokenctl decrypt c.age
age -d -i key.txt c.age | cmp - plain || lab_fail "age does not open what tokenctl encrypted"
works tokenctl decrypt -o d c.age
cmp d plain
[ "$(stat -c %a d)" = 600 ] || lab_fail "a new plaintext is not for its owner alone"
for key in host legacy ''; do
	# shellcheck disable=SC2086 # no word when there is no key
	tokenctl identity $key >identity."${key:-any}"
	grep -qE '^AGE-PLUGIN-TOKEND-1[0-9A-Z]+$' identity."${key:-any}" || lab_fail "the identity of ${key:-any}"
	same plain tokenctl decrypt -i identity."${key:-any}" c.age
done
# Stock age through the plugins.
same plain age -d -i identity.legacy a.age
same plain age -d -i identity.any c.age
same plain age -d -i identity.host b.age
same plain age -d -j tokend b.age
works age -r "$host" -o e.age plain
same plain tokenctl decrypt e.age

# ---- --shred ----

age-keygen -o gone.txt 2>/dev/null
gone=$(age-keygen -y gone.txt)
exec 8<gone.txt
works tokenctl enroll --name gone --import gone.txt --shred
[ ! -e gone.txt ] || lab_fail "--shred left the file"
if grep -q AGE-SECRET-KEY <&8; then lab_fail "--shred did not write over the file"; fi
exec 8<&-
age -r "$gone" -o gone.age plain
same plain tokenctl decrypt gone.age
age-keygen -o twice.txt 2>/dev/null
refused 2 'already' 'tokenctl' tokenctl enroll --name gone --import twice.txt --shred
grep -q AGE-SECRET-KEY twice.txt || lab_fail "a failed enroll shredded the file"

# ---- what there is ----

json 'map(.name) == ["gone", "host", "legacy"]' tokenctl keys
json '.[0].kind == "p256" and .[0].class == "boot" and .[0].usable and (.[0] | has("unlocked") | not)' tokenctl keys host
says '^host +p256 +boot +no PIN +usable' tokenctl keys
json '.daemon.auditWorks and (.tokens | length) == 1 and (.keys | length) == 3' tokenctl status
says '^audit .*works: yes' tokenctl status
json '.[0].present and .[0].simulation and .[0].commands > 0' tokenctl tokens
says 'present, SIMULATION' tokenctl tokens
json 'map(select(.severity == "problem")) == [] and any(.check == "daemon" and .severity == "ok")' tokenctl doctor
says 'SIMULATION' tokenctl doctor
json ".[0].recipient == \"$host\"" tokenctl recipient host
json '.identity | startswith("AGE-PLUGIN-TOKEND-1")' tokenctl identity host

# ---- who may: policy explain names the rule and its place ----

says 'built-in' tokenctl policy explain --key host --op unwrap
{
	echo '# who may'
	echo "permit unwrap list admin key * user $(id -u)"
	echo 'permit list unwrap key repo/* user 64999 via age for 15m'
	echo 'deny unwrap key repo/prod user 64999'
} | lab_policy "$work"
lab_tokend_reload "$work"
lab_wait_for 5 bash -c 'tokenctl status --json | jq -e ".daemon.policyRules == 3" >/dev/null' || lab_fail "the policy is not loaded"
explain() { says "$1" tokenctl policy explain "${@:2}"; }
explain "50-lab.conf:2: permit unwrap list admin key \* user $(id -u)" --key host --op unwrap
explain '50-lab.conf:3: permit list unwrap' --user 64999 --key repo/test --op unwrap
explain '50-lab.conf:4: deny unwrap' --user 64999 --key repo/prod --op unwrap
explain 'no match is a no' --user 64999 --key host --op unwrap
explain 'no match is a no' --user deploy --key host --op unwrap
json '.permitted and .line == 3 and (.file | endswith("50-lab.conf")) and .seconds == 900' tokenctl policy explain --user 64999 --key repo/test
json '.permitted == false and .line == 4' tokenctl policy explain --user 64999 --key repo/prod
works tokenctl policy check
same plain tokenctl decrypt b.age

# ---- PINs ----

printf '246-810\n' >pin
printf '018-642\n' >wrong
says 'class session' tokenctl enroll --name safe --class session --pin-file pin
works tokenctl encrypt -k safe -o safe.age plain
works tokenctl lock
locked() { refused 5 "the key $1 is locked and needs its PIN" "tokenctl unlock $1" tokenctl decrypt -o out "$1.age"; }
locked safe
says 'safe is open for 15m|safe is open for 900s' tokenctl unlock safe --pin-file pin
same plain tokenctl decrypt safe.age
json '.[0].unlocked > 0' tokenctl keys safe
says '1 key was locked' tokenctl lock safe
locked safe
# For a time.
says 'open for 1s' tokenctl unlock safe --pin-file pin --for 1s
same plain tokenctl decrypt safe.age
time_is_over() { ! plainly tokenctl decrypt safe.age >/dev/null 2>&1; }
lab_wait_for 5 time_is_over || lab_fail "it does not close after its time"
locked safe
json '.name == "safe" and .seconds == 2' tokenctl unlock safe --pin-file pin --for 2s
works tokenctl lock
# From a pipe, and typed on a terminal, where it is not shown; a decryption there asks by itself.
tokenctl unlock safe --pin-file - <pin 2>/dev/null || lab_fail "a PIN from standard input"
works tokenctl lock
typed --answer 'PIN of the key safe' 246-810 --log said -- tokenctl unlock safe || lab_fail "unlock on a terminal: $(cat said)"
same plain tokenctl decrypt safe.age
works tokenctl lock
typed --answer 'PIN of the key safe' 246-810 --log said -- tokenctl decrypt -o typed safe.age || lab_fail "decrypt on a terminal: $(cat said)"
cmp typed plain
if grep -q 246-810 said; then lab_fail "the PIN stands on the terminal"; fi
works tokenctl lock
typed --answer 'PIN of the key safe' 018-642 --log said -- tokenctl unlock safe && lab_fail "a wrong PIN opens it"
grep -q 'that is not the PIN' said || lab_fail "a wrong PIN on a terminal: $(cat said)"
# A new one is typed twice.
typed --answer 'New PIN for the key twin' 13-57-9 --answer 'again' 13-57-9 --log said -- tokenctl enroll --name twin --class session || lab_fail "$(cat said)"
typed --answer 'New PIN for the key none' 13-57-9 --answer 'again' 13-57-8 --log said -- tokenctl enroll --name none --class session && lab_fail "two PINs that differ"
json 'any(.name == "twin") and (any(.name == "none") | not)' tokenctl keys

# ---- class admin: one use ----

says 'class admin' tokenctl enroll --name root --class admin --pin-file pin
works tokenctl encrypt -k root -o root.age plain
works tokenctl lock
locked root
for _ in 1 2; do
	says 'root is open for one use' tokenctl unlock root --pin-file pin
	same plain tokenctl decrypt root.age
	locked root
done

# Another key has come in its place while a PIN was waited for: that one nobody has enrolled.
age-keygen -o read.txt 2>/dev/null
age-keygen -o later.txt 2>/dev/null
cp later.txt kept.txt
mkfifo pin.pipe
timeout 20 tokenctl enroll --name read --class session --import read.txt --shred --pin-file pin.pipe >printed 2>said &
exec 8>pin.pipe
mv later.txt read.txt
echo 135-790 >&8
exec 8>&-
if wait $!; then lab_fail "--shred took a file that it had not read: $(<printed)"; fi
grep -q 'read.txt was changed or replaced since it was read' said || lab_fail "--shred of another file says $(<said)"
cmp kept.txt read.txt || lab_fail "a key was destroyed that nobody has enrolled"

# ---- a guesser is stopped before the device is ----

for _ in 1 2 3; do plainly tokenctl unlock twin --pin-file wrong >/dev/null 2>&1 && lab_fail "a wrong PIN opens it"; done
refused 5 'too many wrong PINs' 'forgives one wrong PIN' tokenctl unlock twin --pin-file pin
json '.[0].inLockout == false' tokenctl tokens
same plain tokenctl decrypt b.age

# ---- the log ----

says '[0-9]+ records, whole' tokenctl audit verify
json '.whole // true' tokenctl audit verify
json 'map(select(.operation == "unlock" and .result == "pin-wrong")) | length > 0' tokenctl audit show --last 100
json 'map(select(.operation == "unwrap" and .result == "ok" and .name == "host")) | length > 0' tokenctl audit show --last 1000
says 'enroll +ok +host' tokenctl audit show --last 1000
# One byte in the middle of a copy, and of the log itself.
damaged=$(python3 - state/audit.log damaged.log <<'PYTHON'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
middle = data.index(b'"operation":"', len(data) // 2) + 13
data[middle] ^= 1
open(sys.argv[2], "wb").write(data)
print(data.count(b"\n", 0, middle) + 1)
PYTHON
)
refused 7 "record $damaged\b" '' tokenctl audit verify --file damaged.log
cp state/audit.log whole.log
cat damaged.log >state/audit.log
refused 7 "record $damaged\b" '' tokenctl audit verify
cat whole.log >state/audit.log
sed "${damaged}d" whole.log >removed.log
refused 7 "record $damaged|record $((damaged + 1))" '' tokenctl audit verify --file removed.log
says 'whole' tokenctl audit verify
# Cut off at its end, a copy is whole; against a head that was kept it is not.
head=$(tokenctl audit verify --json | jq -r .head)
says 'whole' tokenctl audit verify --head "$head"
head -n -3 whole.log >shorter.log
says 'whole' tokenctl audit verify --file shorter.log
refused 7 'removed from the end' '' tokenctl audit verify --file shorter.log --head "$head"
refused 2 'a head is' 'tokenctl audit verify' tokenctl audit verify --head "${head%?}"

# ---- after a restart everything is as before ----

sleep 1
lab_tokend_stop "$work"
tail -n 1 state/audit.log | lab_grep '"operation":"stop"' || lab_fail "the stop of an idle daemon is not in the log"
lab_tpm_stop "$work"
lab_tpm_start "$work"
lab_tokend_start "$work"
json 'map(.name) == ["gone", "host", "legacy", "read", "root", "safe", "twin"]' tokenctl keys
for file in a.age b.age c.age e.age gone.age; do same plain tokenctl decrypt $file; done
json '.[0].unlocked == 0' tokenctl keys safe
refused 5 'too many wrong PINs' 'forgives one wrong PIN' tokenctl decrypt -o out safe.age

# ---- the daemon is stopped: one sentence, and what to type ----

lab_tokend_stop "$work"
for verb in status keys tokens 'recipient host' recipient 'identity host' 'unlock safe' lock 'enroll --name new' 'encrypt -k host -o out plain' 'decrypt -o out a.age' \
	'decrypt -i identity.host -o out b.age' 'status --json' 'keys --json'; do
	# shellcheck disable=SC2086 # the words of the verb
	refused 6 'tokend is not running' 'tools/try|systemctl start tokend' tokenctl $verb
done
lab_expect 6 plainly tokenctl doctor >stdout 2>stderr
grep -q 'tokend is not running' stdout || lab_fail "doctor: $(cat stdout)"
grep -qE -- '-> .*(tools/try|systemctl start)' stdout || lab_fail "doctor names no command: $(cat stdout)"
if plainly age -d -i identity.host b.age >stdout 2>stderr; then lab_fail "age opens it without tokend"; fi
grep -q 'tokend is not running' stderr || lab_fail "age does not pass on what the plugin says: $(cat stderr)"
# What needs no daemon goes on.
works tokenctl identity
works tokenctl audit verify
works tokenctl encrypt -r "$host" -o f.age plain
same plain tokenctl decrypt -i key.txt a.age
works tokenctl policy explain --key host --op unwrap
# In the system's place the hint names the service.
(
	unset TOKEND_RUNTIME_DIR XDG_RUNTIME_DIR
	[ ! -e /run/tokend/control.sock ] || exit 0
	refused 6 'tokend is not running' 'systemctl start tokend' tokenctl keys
)
lab_tokend_start "$work"
same plain tokenctl decrypt f.age
echo "acceptance: all of it works"
