#!/bin/bash
# Bad input and a bad world: each gets one sentence, its exit code and the next command, and loses nothing. bad_input.sh [PART]... runs those parts only.
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"

# ---- what the parts have in common ----

start_with_keys() {
	lab_start "$work"
	age-keygen -o key.txt 2>/dev/null
	works tokenctl enroll --name host
	works tokenctl enroll --name legacy --kind x25519 --import key.txt
	host=$(tokenctl recipient host)
	legacy=$(tokenctl recipient legacy)
	head -c 70000 /dev/urandom >plain
	tokenctl encrypt -r "$host" -o host.age plain
	age -r "$legacy" -o legacy.age plain
	rm -f out
	echo 'what was there before' >out
}

# Nothing was lost: the keys are there and work, and the log is whole.
all_is_well() {
	until_opens host.age plain
	opens legacy.age plain
	[ "$(tokenctl recipient)" = "$host"$'\n'"$legacy" ] || lab_fail "the keys are not those from before"
	audit_whole
	[ "$(cat out)" = 'what was there before' ] || lab_fail "the old output file is gone"
}

# ---- files ----

# flips FILE OFFSET/BIT...: each in a file of its own, flipped.OFFSET.BIT.age
flips() {
	rm -f flipped.*
	python3 - "$@" <<'PYTHON'
import sys
whole = open(sys.argv[1], "rb").read()
for place in sys.argv[2:]:
    offset, bit = map(int, place.split("/"))
    with open(f"flipped.{offset}.{bit}.age", "wb") as file:
        file.write(whole[:offset] + bytes([whole[offset] ^ 1 << bit]) + whole[offset + 1:])
PYTHON
}

part_files() {
	local file header size length offset flipped places again='again from where it came'
	start_with_keys
	for file in host.age legacy.age; do
		size=$(stat -c %s "$file")
		# Intro, stanzas and MAC; then 16 bytes nonce, then two chunks.
		header=$(grep -abo -m 1 -e '^--- ' "$file" | cut -d: -f1)
		header=$((header + 4 + 43 + 1))
		[ "$size" -eq $((header + 16 + 65536 + 16 + 4464 + 16)) ] || lab_fail "$file is not built as this test believes"
		for length in 1 10 21 22 23 60 $((header - 60)) $((header - 45)) $((header - 2)) $((header - 1)) "$header" $((header + 7)) $((header + 16)) \
			$((header + 1000)) $((header + 16 + 65552)) $((header + 16 + 65553)) $((size - 4481)) $((size - 17)) $((size - 16)) $((size - 1)); do
			head -c "$length" "$file" >cut.age
			refused 7 'cut.age' "$again" tokenctl decrypt -o out cut.age
		done
		# A flipped stanza may become one for nobody, or one that is for us and damaged; everything else is damage.
		places=()
		for ((offset = 22; offset < header - 48; offset += 6)); do places+=("$offset/$((offset % 8))"); done
		flips "$file" "${places[@]}"
		for flipped in flipped.*; do
			refused '4|7' "$flipped" "$again|tokenctl keys" tokenctl decrypt -o out "$flipped"
		done
		places=()
		for offset in 3 21 $((header - 46)) $((header - 30)) $((header - 1)) "$header" $((header + 15)) $((header + 16)) $((header + 30000)) \
			$((header + 16 + 65535)) $((header + 16 + 65536)) $((header + 16 + 65551)) $((header + 16 + 65552)) $((size - 20)) $((size - 16)) $((size - 1)); do
			places+=("$offset/0" "$offset/6")
		done
		flips "$file" "${places[@]}"
		for flipped in flipped.*; do
			refused 7 "$flipped" "$again|file $flipped" tokenctl decrypt -o out "$flipped"
		done
		cat "$file" "$file" >twice.age
		refused 7 'twice.age' "$again" tokenctl decrypt -o out twice.age
	done
	: >empty.age
	refused 7 'empty.age is empty' "$again" tokenctl decrypt -o out empty.age
	refused 7 'true is not an age file' 'file /bin/true' tokenctl decrypt -o out /bin/true
	refused 2 'No such file' 'ls -l \.' tokenctl decrypt -o out missing.age

	# Headers that are too large: one line, one stanza, and many stanzas of good form.
	{ printf 'age-encryption.org/v1\n-> X25519 '; head -c 2000000 /dev/zero | tr '\0' a; } >line.age
	refused 7 'line.age' "$again" tokenctl decrypt -o out line.age
	{ printf 'age-encryption.org/v1\n-> x\n'; for _ in $(seq 40000); do echo AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA; done; } >body.age
	refused 7 'body.age' "$again" tokenctl decrypt -o out body.age
	python3 - <<'PYTHON'
import base64, os
def text(data): return base64.b64encode(data).decode().rstrip("=")
for name, count in (("few", 20), ("many", 5000)):
    with open(name + ".age", "w", encoding="ascii") as file:
        file.write("age-encryption.org/v1\n")
        for _ in range(count):
            file.write(f"-> X25519 {text(os.urandom(32))}\n{text(os.urandom(32))}\n")
        file.write(f"--- {text(os.urandom(32))}\n" + "x" * 100)
PYTHON
	refused 7 'many.age' "$again" tokenctl decrypt -o out many.age
	refused 4 'none of the keys that you may use opens few.age' 'tokenctl keys' tokenctl decrypt -o out few.age

	# Of the right form, for somebody else.
	age -r "$(age-keygen 2>/dev/null | sed -n 's/^# public key: //p')" -o stranger.age plain
	refused 4 'none of the keys that you may use opens stranger.age' 'tokenctl keys' tokenctl decrypt -o out stranger.age
	tokenctl identity legacy >legacy.identity
	refused 4 'opens host.age' '-i' tokenctl decrypt -i legacy.identity -o out host.age
	all_is_well
}

# ---- keys and peers ----

part_peers() {
	start_with_keys
	for verb in recipient identity unlock lock 'encrypt -o out plain -k'; do
		# shellcheck disable=SC2086 # the words of the verb
		refused 4 'there is no (such )?key' 'tokenctl keys' tokenctl $verb nokey
	done
	refused 2 'host already' 'tokenctl (keys|enroll)' tokenctl enroll --name host
	refused 2 'letters' 'tokenctl enroll' tokenctl enroll --name ../host
	denied_is_unknown
	lab_policy "$work" <<<"permit unwrap list admin key * user $(id -u)"
	lab_tokend_reload "$work"
	all_is_well
}

# ask NAME METHOD PARAMETERS: the daemon's answer to the byte, with the key's name taken out of it.
ask() {
	"$LAB_TOOLS/call" "$work/run/control.sock" "io.tokend.$2" "${3//NAME/$1}" | sed "s/$1/NAME/g" || true
}

denied_is_unknown() {
	local stanzas method parameters id
	works tokenctl enroll --name mine --kind x25519
	id=$(tokenctl keys legacy --json | python3 -c 'import json, sys; keys = json.load(sys.stdin); print((keys[0] if isinstance(keys, list) else keys)["id"])')
	stanzas=$(python3 - legacy.age <<'PYTHON'
import json, sys
lines = open(sys.argv[1], "rb").read().split(b"\n---")[0].decode().split("\n")[1:]
kind, *arguments = lines[0][3:].split(" ")
print(json.dumps([{"type": kind, "arguments": arguments, "body": "".join(lines[1:])}]))
PYTHON
	)
	lab_policy "$work" <<<"permit unwrap list key mine user $(id -u)"
	lab_tokend_reload "$work"
	lab_wait_for 5 refuses_legacy || lab_fail "the new policy is not in force"
	for method in Unwrap GetKeys Lock Unlock; do
		case $method in
		Unwrap) parameters='{"key":"NAME","stanzas":'$stanzas'}' ;;
		Unlock) parameters='{"key":"NAME","sealedPin":"AAAA"}' ;;
		*) parameters='{"key":"NAME"}' ;;
		esac
		ask legacy "$method" "$parameters" >denied
		grep -q '"io.tokend.Denied"' denied || lab_fail "$method of a key that is not permitted: $(cat denied)"
		ask nobody "$method" "$parameters" | cmp denied - || lab_fail "$method tells whether a key exists"
		ask "$id" "$method" "$parameters" | cmp denied - || lab_fail "$method tells whether an id exists"
		ask 00000000000000000000000000000000 "$method" "$parameters" | cmp denied - || lab_fail "$method tells whether an id exists"
	done
	# The control: a key that is permitted is answered otherwise, so what is compared above means something.
	if ask mine GetKeys '{"key":"NAME"}' | cmp -s denied -; then lab_fail "negative control: a permitted key is answered as a denied one"; fi
	for verb in recipient identity unlock lock 'encrypt -o out plain -k' 'enroll --name'; do
		# shellcheck disable=SC2086 # the words of the verb
		refused 3 'not permitted, or there is no such key: legacy' 'tokenctl (keys|policy)' tokenctl $verb legacy
		sed 's/legacy/NAME/g' stderr >denied
		# shellcheck disable=SC2086 # the words of the verb
		refused 3 'not permitted, or there is no such key' 'tokenctl (keys|policy)' tokenctl $verb nobody
		sed 's/nobody/NAME/g' stderr | cmp denied - || lab_fail "tokenctl $verb tells whether a key exists"
	done
	refused 4 'none of the keys that you may use opens legacy.age' 'tokenctl keys' tokenctl decrypt -o out legacy.age
	works tokenctl keys
	[ "$(grep -c usable stdout)" -eq 1 ] || lab_fail "a key that is not permitted is listed"
	lab_policy "$work" <<<"permit unwrap list key * user $(id -u)"
	lab_tokend_reload "$work"
	lab_wait_for 5 plainly tokenctl recipient legacy >/dev/null 2>&1 || lab_fail "the policy from before is not in force"
	lab_policy "$work" <<<"permit unwrap list admin key * user $(id -u)"
	tokenctl lock >/dev/null 2>&1
	legacy=$legacy$'\n'$(tokenctl recipient mine)
}

refuses_legacy() { ! plainly tokenctl recipient legacy >/dev/null 2>&1; }

# Another real user: he reaches the socket, the kernel says who he is, and the policy says no.
part_other_user() {
	local other=64999
	[ "$(id -u)" -eq 0 ] || lab_skip "only root can become another user to test a denied peer"
	lab_need setpriv
	mkdir policy.d
	chmod 700 policy.d
	lab_policy "$work" <<<"permit unwrap list admin key * user 0"$'\n'"permit unwrap list key theirs user $other"
	start_with_keys
	works tokenctl enroll --name theirs --kind x25519
	legacy=$legacy$'\n'$(tokenctl recipient theirs)
	age -r "$(tokenctl recipient theirs)" -o theirs.age plain
	# The daemon's directories are private in this mode; the socket is opened to everybody by hand.
	mkdir shared
	cp "$LAB_BIN/tokenctl" host.age legacy.age theirs.age plain shared/
	chmod 711 "$work"
	chmod 755 shared run
	chmod 644 shared/*
	chmod 755 shared/tokenctl
	chmod 666 run/control.sock
	as_other() { plainly setpriv --reuid "$other" --regid "$other" --clear-groups --inh-caps=-all "$@"; }
	as_other "$work/shared/tokenctl" decrypt shared/theirs.age | cmp - plain || lab_fail "the other user may use his own key"
	[ "$(as_other "$work/shared/tokenctl" keys --json | python3 -c 'import json, sys; print([key["name"] for key in json.load(sys.stdin)])')" = "['theirs']" ] ||
		lab_fail "the other user sees more than his own key"
	plainly() { setsid --wait timeout --kill-after=5 20 setpriv --reuid "$other" --regid "$other" --clear-groups --inh-caps=-all "$@" </dev/null; }
	for key in host nobody; do
		refused 3 'not permitted, or there is no such key' 'tokenctl keys' "$work/shared/tokenctl" recipient $key
		refused 3 'not permitted, or there is no such key' 'tokenctl keys' "$work/shared/tokenctl" lock $key
		refused 3 'not permitted, or there is no such key' 'tokenctl keys' "$work/shared/tokenctl" enroll --name $key
	done
	# In a user namespace of his own the daemon has the number of everybody outside, which there is his as well: it is not taken for his.
	if plainly unshare --user true; then
		refused 3 'is run by uid 65534, who is neither root nor you' 'asks the system' unshare --user "$work/shared/tokenctl" keys
	fi
	for file in host legacy; do
		refused 4 "none of the keys that you may use opens shared/$file.age" 'tokenctl keys' "$work/shared/tokenctl" decrypt shared/$file.age
	done
	# Whoever is kept out is told whose it is, by the socket or by a directory on the way to it; a group is named where being in it helps.
	owner=$(stat -c %U run)
	chmod 600 run/control.sock
	refused 3 "you may not use the socket of tokend, .*/run/control.sock, which is $owner's" 'unset TOKEND_RUNTIME_DIR' "$work/shared/tokenctl" keys
	chmod 666 run/control.sock
	chgrp "$(getent group | awk -F: '$3 > 0 && $1 != "nogroup" {print $1; exit}')" run
	chmod 710 run
	refused 3 "which is $owner's" 'unset TOKEND_RUNTIME_DIR' "$work/shared/tokenctl" keys
	chmod 755 run
	chgrp --reference=. run
	group=$(getent group | awk -F: '$3 > 0 && $1 != "nogroup" {print $1; exit}')
	chgrp "$group" run/control.sock
	chmod 660 run/control.sock
	refused 3 "you may not use the socket" "sudo usermod -aG $group " "$work/shared/tokenctl" keys
	plainly() { setsid --wait timeout --kill-after=5 20 "$@" </dev/null; }
	grep -q "\"uid\":$other,.*\"result\":\"denied\"" state/audit.log || lab_fail "his refusals are not in the log"
	chmod 700 run "$work"
	all_is_well
}

# ---- the TPM ----

part_tpm() {
	lab_need tpm2_createprimary tpm2_flushcontext
	lab_config "$work" "$(lab_tpm_uri "$work")"
	echo 'token-deadline 1s' >>tokend.conf
	start_with_keys

	# It goes away while tokend runs.
	lab_tpm_stop "$work"
	refused 6 'token' 'tokenctl (tokens|doctor)' tokenctl decrypt -o out host.age
	refused 6 'token' 'start the software TPM' tokenctl enroll --name new
	lab_tpm_start "$work"
	all_is_well

	# It is not there when tokend starts.
	lab_tokend_stop "$work"
	lab_tpm_stop "$work"
	lab_tokend_start "$work"
	refused 6 'token' 'tokenctl (tokens|doctor)' tokenctl decrypt -o out host.age
	refused 6 'token' 'tokenctl (tokens|doctor)' tokenctl decrypt -o out legacy.age
	refused 6 'token' 'start the software TPM' tokenctl enroll --name new
	works tokenctl tokens
	grep -q absent stdout || lab_fail "tokens does not say that it is absent: $(cat stdout)"
	lab_expect 6 plainly tokenctl doctor >stdout 2>stderr
	grep -q 'is not there' stdout || lab_fail "doctor does not say what is not there: $(cat stdout)"
	works tokenctl keys
	[ "$(grep -cE '^(host|legacy) ' stdout)" -eq 2 ] || lab_fail "the keys are not listed without their token"
	lab_tpm_start "$work"
	all_is_well

	# It hangs: an answer at the deadline, and all is well when it goes on.
	kill -STOP "$(<tpm.pid)"
	began=${EPOCHREALTIME/[.,]/}
	refused '6|8' 'answer|token' 'tokenctl (tokens|doctor)' tokenctl decrypt -o out host.age
	took=$((${EPOCHREALTIME/[.,]/} - began))
	[ "$took" -lt 5000000 ] || lab_fail "a hung TPM was waited for $took us"
	refused '6|8' 'answer|token' 'tokenctl (tokens|doctor)|start the software TPM' tokenctl enroll --name new
	works tokenctl keys
	kill -CONT "$(<tpm.pid)"
	all_is_well

	# It was reset, in order and as by a power cut.
	lab_tpm_stop "$work"
	lab_tpm_start "$work"
	all_is_well
	lab_tpm_kill "$work"
	lab_tpm_start "$work"
	all_is_well

	# Others occupy all of its slots.
	lab_tokend_stop "$work"
	fill_slots
	lab_tokend_start "$work"
	refused 8 'other programs occupy' 'tokenctl doctor' tokenctl decrypt -o out host.age
	refused 8 'other programs occupy' 'tokenctl doctor' tokenctl enroll --name new
	lab_tpm "$work" tpm2_flushcontext -t
	all_is_well

	# It is another TPM, with none of our keys.
	lab_tokend_stop "$work"
	lab_tpm_stop "$work"
	mv tpm tpm.ours
	lab_tpm_start "$work"
	lab_tokend_start "$work"
	refused 6 'made on another TPM, or this one was cleared' 'tokenctl tokens' tokenctl decrypt -o out host.age
	refused 6 'made on another TPM, or this one was cleared' 'tokenctl tokens' tokenctl decrypt -o out legacy.age
	refused 6 'not the device that the other keys there were made on' 'tokenctl tokens' tokenctl enroll --name new
	[ -z "$(lab_tpm "$work" tpm2_getcap handles-persistent)" ] || lab_fail "a key was put on a TPM that is not ours"
	# What is typed where the old one does not come back.
	lab_grep "grep -l $(lab_tpm_uri "$work") $work/state/keys/\*.key" <stderr || lab_fail "the way to a new key is not said: $(cat stderr)"
	[ "$(grep -l "$(lab_tpm_uri "$work")" "$work"/state/keys/*.key | wc -l)" -ge 2 ] || lab_fail "the hint finds no keys"
	lab_tokend_stop "$work"
	cp -a state state.ours
	mkdir lost
	mv state/keys/* lost/
	lab_tokend_start "$work"
	works tokenctl enroll --name new
	lab_tokend_stop "$work"
	rm -rf state lost
	mv state.ours state
	lab_tpm_stop "$work"
	rm -r tpm
	mv tpm.ours tpm
	lab_tpm_start "$work"
	lab_tokend_start "$work"
	all_is_well
}

fill_slots() {
	local loaded=0
	while lab_tpm "$work" tpm2_createprimary -Q -C o -c "other.$loaded" >/dev/null 2>&1; do
		loaded=$((loaded + 1))
		[ "$loaded" -lt 20 ] || lab_fail "the TPM is never full"
	done
	[ "$loaded" -ge 1 ] || lab_fail "nothing could be loaded"
}

# ---- PINs ----

part_pin() {
	start_with_keys
	echo 135-790 >pin
	echo 531-097 >wrong
	echo 1 >short
	: >empty
	head -c 500 /dev/zero | tr '\0' 1 >long
	works tokenctl enroll --name safe --kind x25519 --class session --pin-file pin
	legacy=$legacy$'\n'$(tokenctl recipient safe)
	age -r "$(tokenctl recipient safe)" -o safe.age plain
	works tokenctl lock

	# Nobody to ask.
	refused 5 'it may be for the key safe, which is locked and needs its PIN' 'tokenctl unlock safe' tokenctl decrypt -o out safe.age
	refused 5 'no terminal to ask on' '--pin-file' tokenctl unlock safe
	refused 5 'no terminal to ask on' '--pin-file' tokenctl enroll --name new --class session
	# Not a PIN at all.
	refused 2 'PIN is [0-9]+ to [0-9]+ bytes' 'tokenctl unlock --help' tokenctl unlock safe --pin-file short
	refused 2 'PIN is [0-9]+ to [0-9]+ bytes|too long|empty' '' tokenctl unlock safe --pin-file long
	refused '2|5' 'empty|PIN' '' tokenctl unlock safe --pin-file empty
	refused 2 'No such file' 'ls -l \.' tokenctl unlock safe --pin-file missing
	refused 2 'PIN' 'tokenctl enroll --help' tokenctl enroll --name new --class session --pin-file short
	refused 2 'has no PIN' 'tokenctl decrypt' tokenctl unlock host --pin-file pin
	# A wrong one; then the right one.
	refused 5 'that is not the PIN' 'tokenctl unlock safe|[0-9]+ tr' tokenctl unlock safe --pin-file wrong
	refused 5 'it may be for the key safe, which is locked and needs its PIN' 'tokenctl unlock safe' tokenctl decrypt -o out safe.age
	works tokenctl unlock safe --pin-file pin
	opens safe.age plain
	# One who guesses is stopped, the device itself is not locked, and keys without a PIN go on.
	works tokenctl lock
	for _ in 1 2 3; do
		refused 5 'not the PIN|too many wrong PINs' 'tokenctl (unlock safe|tokens)|[0-9]+ tr|forgives one wrong PIN' tokenctl unlock safe --pin-file wrong
	done
	refused 5 'too many wrong PINs' 'forgives one wrong PIN' tokenctl unlock safe --pin-file pin
	lab_expect 0 test "$(tokenctl tokens --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["inLockout"])')" = False
	all_is_well
}

# ---- the state directory, and who else uses it ----

tokend_here() { plainly "$LAB_BIN/tokend" --state-dir "$work/${1:-state}" --runtime-dir "$work/${2:-run}" --config "$work/tokend.conf"; }

# tokend_once SECONDS: one that is ended after that time.
tokend_once() { DEADLINE=$1 tokend_here || [ $? -eq 124 ] || lab_fail "tokend does not start: $(cat stderr)"; }

# start_refused STATUS WORDS NEXT [STATE RUNTIME]: a tokend that does not start says why.
start_refused() {
	local status=0 problem
	DEADLINE=10 tokend_here "${@:4}" >stdout 2>stderr || status=$?
	[[ "|$1|" == *"|$status|"* ]] || lab_fail "tokend ended with $status where $1 was expected: $(cat stderr)"
	grep -qE -- "$2" stderr || lab_fail "tokend does not say '$2' but: $(cat stderr)"
	echo "$status: tokend ${*:4}: $(paste -sd '|' stderr)"
	problem=$(sentence "$3") || lab_fail "tokend: $problem: $(cat stderr)"
}

part_state() {
	start_with_keys

	# Two daemons on one state directory, and on one runtime directory.
	start_refused 8 "another tokend \(pid $(<tokend.pid)\) is running on the state directory" "kill $(<tokend.pid)" state run2
	all_is_well
	start_refused 8 "another tokend \(pid $(<tokend.pid)\) is running on the runtime directory" "kill $(<tokend.pid)" state2 run
	all_is_well

	# Readable by others.
	lab_tokend_stop "$work"
	for mode in 755 750 701; do
		chmod $mode state
		start_refused 1 "state is open to others \(mode $mode\)" "chmod 700 $work/state"
	done
	chmod 700 state
	for mode in 755 705; do
		chmod $mode state/keys
		start_refused 1 'state/keys' 'chmod 700'
	done
	chmod 700 state/keys
	lab_tokend_start "$work"
	all_is_well

	# Not writable, while tokend runs: no key is made that would be lost, and nothing is released that is not in the log.
	chmod 500 state/keys
	refused 1 'tokend cannot write in .*/state/keys' 'ls -ld .*/state/keys' tokenctl enroll --name new
	chmod 700 state/keys
	works tokenctl enroll --name new
	legacy=$legacy$'\n'$(tokenctl recipient new)
	all_is_well

	# Not writable when it starts.
	lab_tokend_stop "$work"
	mkdir -m 500 state3
	start_refused '1|2' 'state3' 'ls -l' state3 run
	chmod 400 state/audit.log
	start_refused '1|2' "audit log in $work/state cannot be written" 'ls -l'
	chmod 640 state/audit.log
	chmod 644 state/keys/*.key
	tokend_once 3 2>stderr
	grep -q 'keys/.*nobody else can read or write' stderr || lab_fail "a key that others can read is not named: $(cat stderr)"
	chmod 600 state/keys/*.key
	# A name that is no directory.
	mv state state.kept
	echo >state
	start_refused 2 'state cannot be used: Not a directory' "ls -ld $work/state"
	rm state
	mv state.kept state
	lab_tokend_start "$work"
	all_is_well

	# A log that was changed is named, and is no reason to lose keys.
	lab_tokend_stop "$work"
	cp state/audit.log audit.kept
	sed -i '2s/"ok"/"no"/' state/audit.log
	refused 7 'record' 'keep a copy' tokenctl audit verify
	cp audit.kept state/audit.log
	lab_tokend_start "$work"
	all_is_well

	# No daemon.
	lab_tokend_stop "$work"
	for verb in status keys tokens 'recipient host' 'identity host' 'decrypt -o out host.age' 'encrypt -k host -o out plain' 'unlock host' lock 'enroll --name new'; do
		# shellcheck disable=SC2086 # the words of the verb
		refused 6 'tokend is not running' 'tools/try|systemctl start' tokenctl $verb
	done
	lab_tokend_start "$work"
	all_is_well
}

# ---- a full disk ----

part_full_disk() {
	[ "$(id -u)" -eq 0 ] || lab_skip "only root can mount a small disk to fill"
	mkdir -m 700 state
	mount -t tmpfs -o size=512k,mode=700 tokend-test state 2>/dev/null || lab_skip "a small disk cannot be mounted here"
	before_removal() { lab_stop "$work"; umount -l "$work/state" "$work/small" 2>/dev/null || true; }
	start_with_keys
	opens legacy.age plain

	# The log has no space: nothing is released, nothing is made.
	cat /dev/zero >state/filler 2>/dev/null || true
	tries=0
	while plainly tokenctl decrypt host.age >/dev/null 2>stderr; do
		tries=$((tries + 1))
		[ "$tries" -lt 100 ] || lab_fail "the disk is never full"
	done
	refused 8 'audit log cannot be written' 'tokenctl doctor' tokenctl decrypt -o out host.age
	refused 8 'audit log cannot be written' 'tokenctl doctor' tokenctl decrypt -o out legacy.age
	refused '1|8' 'audit log cannot be written|no space' 'tokenctl doctor' tokenctl enroll --name new
	lab_expect 1 plainly tokenctl doctor >stdout 2>stderr
	grep -q 'cannot be written' stdout || lab_fail "doctor does not say that the log is not written: $(cat stdout)"
	works tokenctl keys
	rm state/filler
	all_is_well

	# Space for the log, but none for a key.
	start_over_full
	all_is_well
	works tokenctl enroll --name new
	legacy=$legacy$'\n'$(tokenctl recipient new)
	lab_tokend_stop "$work"
	lab_tokend_start "$work"
	all_is_well

	# Space in the runtime directory for the lock, but not for what helpers leave to each other.
	page=$(getconf PAGESIZE)
	mkdir -m 700 small fresh
	mount -t tmpfs -o "size=$((2 * page)),mode=700" tokend-test small
	head -c "$page" /dev/zero >small/filler
	start_refused 1 'small/notes-[0-9a-f]* cannot be made: No space left on device' 'df -h' fresh small
	umount small
}

# Started on a full disk, tokend says so and releases nothing, or does not start; keys stay.
start_over_full() {
	local status=0
	lab_tokend_stop "$work"
	cat /dev/zero >state/filler 2>/dev/null || true
	DEADLINE=3 tokend_here >stdout 2>stderr || status=$?
	[ "$status" -ne 0 ] || lab_fail "tokend ended by itself with 0"
	echo "$status: tokend on a full disk: $(paste -sd '|' stderr)"
	if [ "$status" -ne 124 ]; then
		sentence 'df -h' || lab_fail "$(cat stderr)"
	fi
	rm state/filler
	lab_tokend_start "$work"
}

# ---- all of it ----

parts=(files peers other_user tpm pin state full_disk)
if [ "${1:-}" = control ]; then
	begin
	refusals_can_fail
	exit
fi
# A mount of ours goes with us, however we end.
if [ "$(id -u)" -eq 0 ] && [ "${1:-}" = full_disk ] && [ -z "${BAD_INPUT_UNSHARED:-}" ] && unshare --mount true 2>/dev/null; then
	BAD_INPUT_UNSHARED=yes exec unshare --mount --propagation private bash "$0" "$@"
fi
[ $# -le 1 ] || lab_fail "one part at a time: ${parts[*]}"
begin
"part_${1:?one of control ${parts[*]}}"
echo "bad input, $1: refused as it should be"
