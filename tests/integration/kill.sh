#!/bin/bash
# kill -9 at every system call that changes something, of the broker and of tokenctl, while a key is enrolled or imported: the old state or the new, never neither. A strace counts the calls and
# sends the signal; each call of each kind is one point, until the operation comes to its end unharmed.
#
#	kill.sh broker-enroll | broker-import | client-import | control
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"
begin
lab_need strace
[ "$(id -u)" -eq 0 ] || lab_skip "the broker can be traced by root alone"
calls=(openat write pwrite64 fsync fdatasync rename renameat renameat2 linkat unlink unlinkat ftruncate fchmod sendto sendmsg)
most=40 # calls of one kind; there are fewer, or this test does not end
points=0 kept=0

lab_tpm_start "$work"
lab_config "$work" "$(lab_tpm_uri "$work")"
lab_use "$work"
age-keygen -o original.txt 2>/dev/null
recipient=$(age-keygen -y original.txt)
head -c 100 /dev/urandom >plain
age -r "$recipient" -o original.age plain

fresh() {
	rm -rf "$work/state" "$work/run"
	cp original.txt key.txt
	lab_tokend_start "$work"
	read -r broker _ <"/proc/$(<"$work/tokend.pid")/task/$(<"$work/tokend.pid")/children" || true
}

is_traced() { grep -q '^TracerPid:[[:space:]]*[1-9]' "/proc/$broker/status" 2>/dev/null; }
is_gone() { [ ! -d "/proc/$broker" ]; }

# The operation; its exit status is what a user would believe.
enrol() {
	local status=0
	case $1 in
	*-import) plainly "${prefix[@]}" tokenctl enroll --name k --kind x25519 --import key.txt --shred >stdout 2>stderr || status=$? ;;
	*) plainly "${prefix[@]}" tokenctl enroll --name k >stdout 2>stderr || status=$? ;;
	esac
	return $status
}

# What must be true afterwards, whatever was killed: status is what tokenctl ended with.
judge() { # OPERATION STATUS WHERE
	local count
	lab_tokend_stop "$work" >/dev/null 2>&1 || true
	lab_tokend_start "$work" || lab_fail "$3: tokend does not start any more: $(tail -n 3 "$work/tokend.log")"
	count=$(tokenctl keys --json | python3 -c 'import json, sys; print(len(json.load(sys.stdin)))')
	[ "$count" -le 1 ] || lab_fail "$3: there are $count keys"
	[ "$2" -ne 0 ] || [ "$count" -eq 1 ] || lab_fail "$3: tokenctl said that the key was made, and it is not there"
	if [ "$count" -eq 1 ]; then
		kept=$((kept + 1))
		case $1 in
		*-import) opens_in_the_end original.age plain ;;
		*)
			works tokenctl encrypt -k k -o k.age plain
			opens_in_the_end k.age plain
			;;
		esac
	fi
	# The only copy: in the file, or in the token.
	if [ "$count" -eq 0 ] && ! cmp -s original.txt key.txt; then lab_fail "$3: the key is neither in its file nor in the token"; fi
	works tokenctl audit verify
	! find "$work/state" -name '*.tmp*' -o -name '.#*' -o -name '*.new' | lab_grep . || lab_fail "$3: a half-written file stays: $(find "$work/state")"
	lab_tokend_stop "$work"
}

# Kills the broker at the Nth call of one kind; false when the operation ended before that.
broker_point() { # OPERATION CALL N
	local status=0 tracer killed=yes
	fresh
	prefix=()
	strace -qq -f -o /dev/null -e "trace=$2" -e "inject=$2:signal=KILL:when=$3" -p "$broker" 2>/dev/null &
	tracer=$!
	lab_wait_for 5 is_traced || lab_fail "the broker cannot be traced"
	enrol "$1" || status=$?
	# It may have answered already and be killed by what comes after.
	lab_wait_for 1 is_gone || killed=
	kill "$tracer" 2>/dev/null || true
	wait "$tracer" 2>/dev/null || true
	judge "$1" "$status" "$2 number $3 of the broker"
	[ -n "$killed" ]
}

client_point() { # OPERATION CALL N
	local status=0
	fresh
	prefix=(strace -qq -f -o /dev/null -e "trace=$2" -e "inject=$2:signal=KILL:when=$3")
	enrol "$1" || status=$?
	judge "$1" "$status" "$2 number $3 of tokenctl"
	[ "$status" -ne 0 ]
}

every_point() { # OPERATION
	local call n
	for call in "${calls[@]}"; do
		for ((n = 1; n <= most; n++)); do
			"${1%%-*}_point" "$1" "$call" "$n" || break
			points=$((points + 1))
		done
		[ "$n" -le "$most" ] || lab_fail "$call is called more than $most times"
	done
	[ "$points" -ge 10 ] || lab_fail "only $points points: the tracer kills nothing"
	[ "$kept" -gt 0 ] && [ "$kept" -lt $((points + ${#calls[@]})) ] || lab_fail "the key was there after $kept of $points: no point lies before it is made, or none behind it"
	echo "$1: $points points, each left the old state or the new; the key was there after $kept of the starts"
}

case ${1:-} in
broker-enroll | broker-import | client-import) every_point "$1" ;;
control)
	# A state that is neither would be seen: a key that was promised and is not there, and one that is nowhere.
	fresh
	if (judge broker-enroll 0 "negative control") >/dev/null 2>&1; then lab_fail "negative control: a promised key that is not there is not noticed"; fi
	lab_tokend_stop "$work" || true
	fresh
	: >key.txt
	if (judge broker-import 1 "negative control") >/dev/null 2>&1; then lab_fail "negative control: a key that is nowhere is not noticed"; fi
	echo "both lost keys were noticed"
	;;
*) lab_fail "usage: kill.sh broker-enroll | broker-import | client-import | control" ;;
esac
