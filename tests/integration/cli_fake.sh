#!/bin/bash
# The verbs of tokenctl that ask the daemon, against a fake one: what is asked, what is said, and what an error becomes.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
lab_need age age-keygen python3 setsid cmp
directory=$(lab_directory)
fake=
stop_fake() { [ -z "$fake" ] || { kill "$fake" && wait "$fake" || true; } 2>/dev/null; fake=; }
trap 'stop_fake; lab_remove "$directory"' EXIT
cd "$directory"
PATH=$LAB_BIN:$PATH
mkdir -m 0700 run state
export TOKEND_RUNTIME_DIR=$directory/run
typed() { python3 -B "$LAB_SOURCE/tests/interop/typed.py" "$@"; }
member() { python3 -c 'import functools, json, sys; print(functools.reduce(lambda v, n: v[int(n) if n.isdigit() else n], sys.argv[1:], json.load(sys.stdin)))' "$@"; }

start_fake() {
	stop_fake
	rm -f run/control.sock calls
	python3 -B "$LAB_SOURCE/tests/fake/fake_daemon.py" run --state "$directory/state" --record calls "$@" &
	fake=$!
	lab_wait_for 10 test -S run/control.sock || lab_fail "the fake daemon does not start"
}

calls() { python3 -c 'import json, sys; print(*[json.loads(l)["method"].split(".")[-1] for l in open(sys.argv[1])])' calls; }

# fails STATUS WORDS COMMAND...
fails() {
	local expected=$1 words=$2 status=0
	shift 2
	"$@" >stdout 2>stderr || status=$?
	[ "$status" -eq "$expected" ] || lab_fail "'$*' ended with $status where $expected was expected: $(cat stderr)"
	grep -qF -- "$words" stderr || lab_fail "'$*' does not say '$words' but: $(cat stderr)"
	[ ! -e out ] || lab_fail "'$*' left an output file"
}

printf 'a secret\n' >plain
age-keygen -o key.txt 2>/dev/null
recipient=$(age-keygen -y key.txt)

# An imported key: sealed, proven, named; the file stays until --shred.
start_fake
tokenctl enroll --name legacy --import key.txt >said
grep -q 'imported legacy (x25519, class boot)' said
grep -q '^proven: ' said
grep -q SIMULATION said
grep -qF "$recipient" said
[ -e key.txt ] || lab_fail "the imported file is gone"
[ "$(calls)" = "GetTokens GetKeys Enroll Unwrap" ] || lab_fail "enroll called: $(calls)"
if grep -q "$(grep AGE-SECRET key.txt)" calls; then lab_fail "the key went over the wire as it is"; fi
[ "$(tokenctl recipient legacy)" = "$recipient" ] || lab_fail "another recipient"
fails 2 'the key in key.txt is sealed already as legacy' tokenctl enroll --name again --import key.txt
grep -q '^hint: to remove the file: shred -u key.txt' stderr || lab_fail "no hint: $(cat stderr)"
cp key.txt 'my key.txt' # what is to be typed next removes no other file
fails 2 'the key in my key.txt is sealed already as legacy' tokenctl enroll --name again --import 'my key.txt'
grep -qF "shred -u 'my key.txt';" stderr || lab_fail "the name is not one word: $(cat stderr)"
age-keygen -o 'new key.txt' 2>/dev/null
tokenctl enroll --name blank --import 'new key.txt' >said
grep -qF "shred -u 'new key.txt'" said || lab_fail "the name is not one word: $(cat said)"
age-keygen -o copy.txt 2>/dev/null
fails 2 'there is a key legacy already' tokenctl enroll --name legacy --import copy.txt
ln copy.txt second.txt
fails 2 'has 2 names' tokenctl enroll --name linked --import copy.txt --shred
[ -e copy.txt ] && rm second.txt
tokenctl enroll --name shredded --import copy.txt --shred --json >said
[ ! -e copy.txt ] || lab_fail "--shred left the file"
[ "$(member shredded <said)" = True ] && [ "$(member proven <said)" = True ]

# A file that holds other identities too: its one secret key is imported, and the file is not removed for it. Standard input cannot be.
age-keygen 2>/dev/null >one.txt
{ echo AGE-PLUGIN-YUBIKEY-1QQQSYQCYQ5RQWZQFF3XWHA; cat one.txt; tokenctl identity; } >mixed.txt
fails 2 'holds other identities too' tokenctl enroll --name mixed --import mixed.txt --shred
tokenctl enroll --name mixed --import mixed.txt >said
grep -q 'among other identities' said || lab_fail "says to remove other identities: $(cat said)"
[ "$(tokenctl recipient mixed)" = "$(age-keygen -y one.txt)" ] || lab_fail "another key than the one in the file"
cat key.txt one.txt >several.txt
fails 2 'holds 2 secret keys' tokenctl enroll --name several --import several.txt
grep AGE-PLUGIN mixed.txt >plugins.txt
fails 2 'holds no AGE-SECRET-KEY' tokenctl enroll --name none --import plugins.txt
age-keygen 2>/dev/null >piped.txt
ln -s piped.txt link.txt
fails 2 'link.txt is a symbolic link' tokenctl enroll --name link --import link.txt --shred
grep -q "^hint: name the file itself: .*/piped.txt" stderr || lab_fail "no hint: $(cat stderr)"
fails 2 'reads standard input' tokenctl enroll --name piped --import - --shred
tokenctl enroll --name piped --import - <piped.txt >/dev/null
fails 2 'the key in standard input is sealed already as piped' tokenctl enroll --name twice --import - <piped.txt

# Without a name the key has the host's, and the first line says so.
tokenctl enroll >said
head -n 1 said | lab_grep '^no --name was given, so the key is named after this host: ' || lab_fail "does not say whose name: $(cat said)"

# decrypt: exactly one call; the daemon's identity lines mean the daemon.
age -r "$recipient" -o a.age plain
rm calls
tokenctl decrypt a.age | cmp - plain
[ "$(calls)" = Unwrap ] || lab_fail "decrypt called: $(calls)"
tokenctl decrypt -i <(tokenctl identity) a.age | cmp - plain
tokenctl decrypt -i <(tokenctl identity legacy) a.age | cmp - plain
tokenctl encrypt -k legacy plain | age -d -i key.txt | cmp - plain
tokenctl encrypt -i <(tokenctl identity legacy) plain | age -d -i key.txt | cmp - plain
rm calls
tokenctl decrypt -i key.txt -i <(tokenctl identity) a.age | cmp - plain
[ ! -e calls ] || [ "$(calls)" = "" ] || lab_fail "a private key at hand still asked the daemon"
age-keygen -o other.txt 2>/dev/null
age -r "$(age-keygen -y other.txt)" -o other.age plain
fails 4 'none of the keys' tokenctl decrypt -o out other.age

# PINs: from a file, on the terminal, never without one; enrolled keys with one are proven and closed again.
printf 'pin-1234\n' >pin
tokenctl enroll --name session --class session --pin-file pin >said
grep -q '^proven: ' said
if grep -q pin-1234 calls; then lab_fail "a PIN went over the wire as it is"; fi
[ "$(tokenctl keys session --json | member 0 unlocked)" = 0 ] || lab_fail "the key is left open after the proof"
tokenctl encrypt -k session -o s.age plain
fails 5 'the fake says PinNeeded' setsid tokenctl decrypt -o out s.age
grep -q '^hint: tokenctl unlock session' stderr || lab_fail "no hint: $(cat stderr)"
typed --answer 'PIN of the key session' pin-1234 -- "$LAB_BIN/tokenctl" decrypt -o back s.age
cmp back plain && rm back
tokenctl lock 2>stderr && grep -q '1 key was locked' stderr
lab_expect 5 typed --answer 'PIN of the key session' 9999 -- "$LAB_BIN/tokenctl" decrypt -o out s.age
fails 5 'there is no terminal' setsid tokenctl unlock session
printf '9999\n' | fails 5 '' tokenctl unlock session --pin-file -
grep -q '2 tries are left' stderr || lab_fail "does not say how many tries are left: $(cat stderr)"
printf 'pin-1234\n' | tokenctl unlock --pin-file - --for 15m 2>stderr
grep -q 'session is open for 15m' stderr
tokenctl decrypt s.age | cmp - plain
fails 2 'has no PIN' tokenctl unlock legacy --pin-file pin
fails 2 'has no PIN' tokenctl lock legacy
fails 2 'longer than the limit, 24h' tokenctl unlock session --for 48h --pin-file pin
fails 2 "'a b' is not a name" tokenctl keys 'a b'
fails 2 "'a b' is not a name" tokenctl lock 'a b'
# What no key and no token can be called is that, and not a tokend of another version.
long=$(printf 'a%.0s' {1..256})
for verb in keys lock recipient identity 'unlock --pin-file pin' 'encrypt -o out plain -k'; do
	# shellcheck disable=SC2086 # the words of the verb
	fails 2 'is not a name' tokenctl $verb "$long"
done
fails 2 'is not a name' tokenctl enroll --name "$long"
fails 6 'tokend knows no token tpm:aaa' tokenctl enroll --name long --token "tpm:$long"
fails 2 'is not a duration' tokenctl unlock session --for soon --pin-file pin
printf '12\n' >short
fails 2 'a PIN is 4 to 128 bytes long' tokenctl enroll --name short --class admin --pin-file short
lab_expect 2 typed --log said --answer 'New PIN' 123 -- "$LAB_BIN/tokenctl" enroll --name short --class admin # which is not asked for again,
lab_grep 'a PIN is 4 to 128 bytes long' <said || lab_fail "a PIN that is too short: $(cat said)"
lab_expect 2 typed --log said --answer 'New PIN' 1234 --answer again 123 -- "$LAB_BIN/tokenctl" enroll --name short --class admin
lab_grep 'the two PINs differ' <said || lab_fail "control: $(cat said)"
fails 2 'class boot has no PIN' tokenctl enroll --name boot --pin-file pin
typed --answer 'New PIN' 123456 --answer again 123456 -- "$LAB_BIN/tokenctl" enroll --name typed --class admin
lab_expect 2 typed --answer 'New PIN' 123456 --answer again 123457 -- "$LAB_BIN/tokenctl" enroll --name differ --class admin
if tokenctl keys differ 2>/dev/null; then lab_fail "a key whose PINs differed was made"; fi

# What is there, for people and for programs; nothing from elsewhere moves the cursor.
tokenctl status >said
grep -q 'SIMULATION' said
if grep -q "$(printf '\033')" said; then lab_fail "an escape sequence got through"; fi
[ "$(tokenctl status --json | member daemon version)" = 0.1.0 ]
[ "$(tokenctl tokens --json | member 0 uri)" = tpm:fake:1 ]
[ "$(tokenctl recipient legacy --json | member 0 recipient)" = "$recipient" ]
# Of several keys each in its line, in the order in which they are named; all of them, or nothing.
mixed=$(tokenctl recipient mixed)
[ "$(tokenctl recipient mixed legacy)" = "$mixed"$'\n'"$recipient" ] || lab_fail "of two keys: $(tokenctl recipient mixed legacy)"
[ "$(tokenctl recipient --comma legacy mixed legacy)" = "$recipient,$mixed,$recipient" ] || lab_fail "of three, with commas, it is another"
[ "$(tokenctl recipient --json mixed legacy | member 1 recipient)" = "$recipient" ] || lab_fail "as JSON it is another"
if tokenctl recipient legacy nobody mixed >printed 2>said; then lab_fail "a key that is not there was passed over"; fi
[ ! -s printed ] || lab_fail "a part of the keys was printed: $(<printed)"
[ "$(tokenctl recipient | wc -l)" -eq 8 ]
tokenctl keys >said
grep -q '^legacy .* tpm:fake:1 ' said || lab_fail "keys: $(cat said)"
fails 4 'the fake says NoKey' tokenctl keys nothing
tokenctl doctor >said
grep -q '^warning .*SIMULATION' said
grep -q '^warning .*audit.log is missing' said || lab_fail "doctor does not miss the audit log: $(cat said)"
fails 7 'is missing, though tokend wrote 0 records' tokenctl audit verify
fails 7 'is missing' tokenctl audit show
tokenctl doctor --json | member 0 severity >/dev/null

# The audit log: whole, then with one byte changed; the record is named.
python3 - state/audit.log <<'WRITE'
import hashlib, sys
previous = "0" * 64
with open(sys.argv[1], "w", encoding="ascii") as file:
    for sequence in range(1, 8):
        line = f'{{"time":"2026-01-02T03:04:05.000Z","operation":"unwrap","result":"ok","key":null,"name":"host","uid":1000,"sequence":{sequence},"previous":"{previous}"}}'
        file.write(line + "\n")
        previous = hashlib.sha256(line.encode()).hexdigest()
WRITE
tokenctl audit verify | lab_grep '7 records, whole'
tokenctl doctor | lab_grep '^ok .*7 records in .*, the chain is whole' || lab_fail "doctor does not look at the audit log"
fails 7 'is not an audit log' tokenctl audit show --file plain
fails 7 'is not an audit log' tokenctl audit show --file key.txt
tokenctl audit show --last 2 >said
[ "$(wc -l <said)" -eq 3 ] || lab_fail "audit show: $(cat said)"
[ "$(tokenctl audit show -n 1 --json | member 0 sequence)" = 7 ]
sed '4s/host/best/' state/audit.log >changed
fails 7 'record 4 (line 4' tokenctl audit verify --file changed
grep -q '3 lines after it' stderr || lab_fail "$(cat stderr)"
sed 4d state/audit.log >changed
fails 7 'removed' tokenctl audit verify --file changed
sed '4s/^{/x/' state/audit.log >changed
fails 7 'record 4 (line 4' tokenctl audit verify --file changed
sed 1d state/audit.log >changed
fails 7 'was removed' tokenctl audit verify --file changed
head -c -5 state/audit.log >changed
fails 7 'record 7 (line 7' tokenctl audit verify --file changed

cp state/audit.log kept.log
sed -i '4s/host/best/' state/audit.log
lab_expect 1 tokenctl doctor >said 2>/dev/null
grep -q '^problem .*is damaged at record 4' said || lab_fail "doctor: $(cat said)"
mv kept.log state/audit.log
if [ "$(id -u)" -ne 0 ]; then
	chmod 0 state/audit.log
	for verb in show verify; do
		fails 3 'cannot open the audit log' tokenctl audit $verb
		grep -q "^hint: sudo tokenctl audit $verb\$" stderr || lab_fail "no hint: $(cat stderr)"
	done
	chmod 600 state/audit.log
fi

# No tries left for PINs: said where one looks, and no key with a PIN is made. An unlock that is shorter than asked for is said to be.
start_fake --tries 0 --records 8
tokenctl tokens >said
grep -q 'PIN tries used up, SIMULATION' said && grep -q 'dictionarylockout -T fake:1 --clear-lockout' said || lab_fail "tokens: $(cat said)"
lab_expect 1 tokenctl doctor >said 2>/dev/null
grep -q '^warning .*used up the tries' said || lab_fail "doctor: $(cat said)"
grep -q 'removed from the end' said || lab_fail "doctor does not miss the last record: $(cat said)"
fails 5 'used up the tries' tokenctl enroll --name late --class session --pin-file pin
case " $(calls) " in *' Enroll '*) lab_fail "a key with a PIN was made: $(calls)" ;; esac
tokenctl enroll --name plain >/dev/null
start_fake --longest 900
tokenctl enroll --name session --class session --pin-file pin >/dev/null
tokenctl unlock session --pin-file pin --for 30m 2>stderr
grep -q 'session is open for 15m' stderr && grep -q 'note: not for 30m' stderr || lab_fail "a shortened unlock: $(cat stderr)"
tokenctl unlock session --pin-file pin --for 15m 2>stderr
if grep -q note: stderr; then lab_fail "an unlock that was not shortened: $(cat stderr)"; fi
tokenctl enroll --name admin --class admin --pin-file pin >/dev/null
tokenctl unlock admin --pin-file pin 2>/dev/null
tokenctl keys admin | lab_grep 'open for one use' || lab_fail "$(tokenctl keys admin)"

# Denied: what says why.
start_fake --fail Enroll=Denied
fails 3 'the fake says Denied' tokenctl enroll --name denied
grep -q '^hint: tokenctl policy explain --op admin --key denied' stderr || lab_fail "no hint: $(cat stderr)"
start_fake --fail 'Enroll=Denied:tokenctl unlock boss'
fails 3 'the fake says Denied' tokenctl enroll --name denied
grep -q '^hint: tokenctl unlock boss' stderr || lab_fail "no hint of tokend's: $(cat stderr)"

# Errors of the daemon: its sentence, its hint, the exit code of its kind.
while read -r error code; do
	start_fake --fail "Unwrap=$error:do something about it"
	fails "$code" "the fake says $error" tokenctl decrypt -o out a.age
	grep -q '^hint: do something about it$' stderr || lab_fail "$error: $(cat stderr)"
done <<'ERRORS'
Denied 3
NoKey 4
NoToken 6
TokenState 6
TokenFull 8
Timeout 8
Busy 8
Audit 8
PinLocked 5
TokenFault 1
MemoryLocked 1
ERRORS
start_fake --fail Unwrap=Denied
fails 3 'could not be proven' tokenctl enroll --name unproven --import key.txt --shred
[ -e key.txt ] || lab_fail "--shred removed the file of a key that was not proven"

# What a daemon says in which hostile code runs is shown, and not obeyed.
start_fake --version $'1\e]0;title\a\n\xc2\x9b31m'
for verb in status doctor; do
	tokenctl $verb >said 2>&1 || true
	lab_grep -F '1?]0;title???' <said || lab_fail "control: $verb does not say the version: $(cat -v said)"
	if LC_ALL=C grep -q $'[\e\a]\|\xc2\x9b' said; then lab_fail "$verb has a terminal obey the daemon: $(cat -v said)"; fi
done

# An older one, as after an update without a restart: that is said, and not that the request is of a wrong form; doctor does not pass over it.
start_fake --older GetKeys=from
fails 2 'the tokend that runs does not take "from"' tokenctl keys
lab_grep 'restart tokend' <stderr || lab_fail "no hint: $(<stderr)"
tokenctl doctor >said 2>&1 || true
lab_grep '^problem *keys *the keys cannot be listed: the tokend that runs does not take' <said || lab_fail "doctor says nothing of it: $(<said)"
echo "the verbs that ask the daemon say what they should"
