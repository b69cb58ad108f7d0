#!/bin/bash
# kill -9 at every system call that changes something, of the broker and of tokenctl, while a key is enrolled or imported: the old state or the new, never neither. A strace counts the calls and
# sends the signal; each call of each kind is one point, until the operation comes to its end unharmed.
#
#	kill.sh broker-enroll | broker-import | client-import | control
#	kill.sh broker-unlock | helper-unlock | client-unlock | broker-reload | broker-rotate
#	kill.sh helper-enroll | helper-import
#	kill.sh supervisor-enroll | supervisor-import
#
# The second and the third line are stepped through call by call, whatever the call is. The supervisor calls nothing meanwhile: it is killed at moments. Each STRIDE-th is a point, from a random one on; TOKEND_TEST_POINTS=all tries every one,
# TOKEND_TEST_CALL=NAME each call of that name.
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"
begin
lab_need strace
lab_need tpm2_getcap
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
	rm -rf "$work/state" # but the runtime directory stays, and with it the notes of what killed helpers left on the TPM
	cp original.txt key.txt
	lab_tokend_start "$work"
	read -r broker _ <"/proc/$(<"$work/tokend.pid")/task/$(<"$work/tokend.pid")/children" || true
}

is_traced() { grep -q '^TracerPid:[[:space:]]*[1-9]' "/proc/$1/status" 2>/dev/null; } # PID
# Or killed already, at the call that it was waiting in.
is_held() { is_traced "$1" || lab_is_gone "$1"; } # PID

# strace lets go when it is told to. But told while its process of several threads is being killed, it waits for the first of them, which the kernel gives to nobody before it has taken the others: for ever.
end_tracer() { # PID
	kill "$1" 2>/dev/null || true
	lab_wait_for 2 lab_is_gone "$1" || kill -9 "$1"
	wait "$1" 2>/dev/null || true
}

# A daemon without keys whose helper has opened its device.
fresh_and_open() {
	fresh
	works tokenctl status
	prefix=()
}

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
	lab_wait_for 5 is_traced "$broker" || lab_fail "the broker cannot be traced"
	enrol "$1" || status=$?
	# It may have answered already and be killed by what comes after.
	lab_wait_for 1 lab_is_gone "$broker" || killed=
	end_tracer "$tracer"
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

# ---- each call, whatever it is ----

stride=6
[ "${TOKEND_TEST_POINTS:-}" != all ] && [ -z "${TOKEND_TEST_CALL:-}" ] || stride=1

# The process that is to be killed, now.
victim() {
	case $1 in
	broker-*) echo "$broker" ;;
	helper-*) pgrep -P "$(<"$work/tokend.pid")" -x tokend-tpm ;;
	esac
}

# A daemon without keys where one is to be made; or one with a key behind a PIN, and what it is to be asked; the same one for as long as it lives.
step_begin() { # OPERATION
	case $1 in
	*-enroll | *-import)
		fresh_and_open
		return
		;;
	esac
	if [ ! -e safe.age ]; then
		fresh
		printf '246-810\n' >pin
		works tokenctl enroll --name safe --class session --pin-file pin
		works tokenctl encrypt -k safe -o safe.age plain
	elif lab_is_stopped "$work/tokend.pid"; then
		lab_tokend_start "$work"
	fi
	read -r broker _ <"/proc/$(<"$work/tokend.pid")/task/$(<"$work/tokend.pid")/children" || true
	lab_wait_for 5 works_now tokenctl lock || lab_fail "the key cannot be locked before $1"
	works tokenctl status # so that the helper has opened its device
}

works_now() { plainly "$@" >stdout 2>stderr; }

# Both policies permit everything that is asked; the second has one rule more.
reload() {
	local rule='permit unwrap list admin key * user 0'
	printf '%s\n' "$rule" "permit list key $((RANDOM % 1000)) user 0" | lab_policy "$work"
	lab_tokend_reload "$work" 2>/dev/null || true
	sleep 0.1
}

operate() {
	case $1 in
	*-unlock) plainly "${prefix[@]}" tokenctl unlock safe --pin-file pin >stdout 2>stderr ;;
	*-reload) reload ;;
	*-rotate) plainly "${prefix[@]}" tokenctl audit rotate >stdout 2>stderr ;;
	*) enrol "$1" ;;
	esac
}

# Nobody of a tokend lives on without the one who starts and ends them all, and a daemon that is still there makes keys.
judge_what_is_left() { # OPERATION WHERE
	case $1 in
	supervisor-*) lab_wait_for 5 lab_is_gone "$broker" || lab_fail "$2: the broker lives on without its supervisor" ;;
	helper-*) lab_wait_for 5 works_now tokenctl keys || lab_fail "$2: the broker answers no more: $(cat stderr)" ;;
	esac
}

# How many of what tpm2_getcap lists: handles-transient, handles-loaded-session.
on_the_tpm() { lab_tpm "$work" tpm2_getcap "$1" | grep -c 0x || true; }

# A tokend with another key, which loads something and starts a session. And with another state; of the one before it has the runtime directory.
use_the_tpm() {
	fresh
	works tokenctl enroll --name probe
	works tokenctl encrypt -k probe -o probe.age plain
	opens_in_the_end probe.age plain
	lab_tokend_stop "$work"
}

# Nothing of a killed helper stays on the TPM once the next one has used it.
judge_tpm() { # WHERE
	[ "$(on_the_tpm handles-transient)" = 0 ] && [ "$(on_the_tpm handles-loaded-session)" = 0 ] || use_the_tpm
	[ "$(on_the_tpm handles-transient)" = 0 ] || lab_fail "$1: objects stay on the TPM"
	[ "$(on_the_tpm handles-loaded-session)" = 0 ] || lab_fail "$1: sessions stay on the TPM"
}

# All logs are one chain, none has a second name, and what was begun and came to no end is gone. status 0: there is one more.
logs=0
judge_logs() { # STATUS WHERE
	local closed
	works tokenctl audit verify state/audit.log.* state/audit.log
	[ ! -e state/audit.log.next ] && [ "$(stat -c %h state/audit.log)" = 1 ] || lab_fail "$2: a new log that was not begun stays: $(ls -l state)"
	closed=$(find state -name 'audit.log.*' | wc -l)
	[ "$1" -ne 0 ] || [ "$closed" -gt "$logs" ] || lab_fail "$2: tokenctl said that a new log was begun, and there is none"
	kept=$((kept + closed - logs)) logs=$closed
}

# Afterwards: the daemon is there, by itself or when it is started again, the key is locked or open and opens what it sealed in either case, and the log is whole.
step_judge() { # OPERATION STATUS WHERE
	case $1 in
	*-enroll | *-import)
		judge_what_is_left "$1" "$3"
		judge "$@"
		judge_tpm "$3"
		return
		;;
	esac
	if ! lab_wait_for 1 works_now tokenctl keys; then
		lab_tokend_stop "$work" >/dev/null 2>&1 || true
		lab_tokend_start "$work" || lab_fail "$3: tokend does not start any more: $(tail -n 3 "$work/tokend.log")"
	fi
	if works_now tokenctl decrypt safe.age; then
		cmp stdout plain || lab_fail "$3: safe.age opens as something else"
		case $1 in *-rotate) ;; *) kept=$((kept + 1)) ;; esac
	else
		lab_wait_for 5 works_now tokenctl unlock safe --pin-file pin || lab_fail "$3: the key is neither open nor to be opened: $(cat stderr)"
		lab_wait_for 5 works_now tokenctl decrypt safe.age || lab_fail "$3: the key is open, and opens nothing: $(cat stderr)"
		cmp stdout plain || lab_fail "$3: safe.age opens as something else"
	fi
	works tokenctl audit verify
	# What is left of the log's head in the runtime directory is never ahead of the log.
	if cat state/audit.log* | lab_grep '"operation":"replaced"'; then lab_fail "$3: it is taken for a log that was put back: $(cat state/audit.log* | grep '"operation":"replaced"')"; fi
	case $1 in *-rotate) judge_logs "$2" "$3" ;; esac
}

# The operation once, under a strace that writes to the file calls and does as it is told.
step() { # OPERATION [INJECTION]
	local status=0 tracer
	step_begin "$1" || lab_fail "the last daemon does not serve"
	prefix=()
	if [ "${1%%-*}" = client ]; then
		prefix=(strace -qq -o calls ${2:+-e "$2"})
		operate "$1" || status=$?
		[ "$status" -eq 0 ] || killed=yes
	else
		pid=$(victim "$1")
		strace -qq -f -o calls ${2:+-e "$2"} -p "$pid" 2>/dev/null &
		tracer=$!
		lab_wait_for 5 is_held "$pid" || lab_fail "process $pid cannot be traced"
		operate "$1" || status=$?
		end_tracer "$tracer"
		sleep 0.1 # a signal that came last is on its way still
		! lab_is_gone "$pid" || killed=yes
	fi
	step_judge "$1" "$status" "${1%%-*}${2:+, $2}"
}

# Which calls there were, in their order: "NAME N" for the Nth of its name in its thread, as strace counts; what two threads do as their Nth is one point.
step_calls() {
	sed -n 's/^\([0-9]*\) *\([a-z0-9_]*\)(.*/\2 \1/p' calls |
		awk '$1 !~ /^(exit|exit_group|execve|restart_syscall)$/ { point = $1 " " ++count[$0]; if (!seen[point]++) print point }'
}

step_all() { # OPERATION
	local killed="" name n
	step "$1"
	[ -z "$killed" ] || lab_fail "it ends when nothing is killed"
	[ "$(step_calls | wc -l)" -ge $((5 * stride)) ] || stride=1
	step_calls | awk -v stride=$stride -v first=$((RANDOM % stride)) -v only="${TOKEND_TEST_CALL:-}" 'NR % stride == first % stride && (only == "" || $1 == only)' >chosen
	echo "$1: $(wc -l <chosen) of $(step_calls | wc -l) calls are tried"
	while read -r name n <&7; do
		killed=
		echo "$name $n, $SECONDS s" # how far it came, should it be the machine that ends it
		step "$1" "inject=$name:signal=KILL:when=$n"
		[ -z "$killed" ] || points=$((points + 1))
	done 7<chosen
	# What it needs depends on what it finds, so that not each call is there the next time: half of those of an unlock are there only when what is known of the device is a second old.
	[ "$points" -gt 0 ] && [ $((3 * points)) -ge "$(wc -l <chosen)" ] || lab_fail "$1: only $points of $(wc -l <chosen) calls were there to be killed at"
	echo "$1: $points points (each ${stride}th call), each left the old state or the new; the new after $kept; nothing stayed on the TPM"
}

# ---- moments ----

moments=16
[ "${TOKEND_TEST_POINTS:-}" != all ] || moments=100

# Kills the supervisor after a part of the time that the operation takes.
moment() { # OPERATION MILLISECONDS
	local status=0 client
	fresh_and_open
	enrol "$1" &
	client=$!
	sleep "$(printf '0.%03d' "$2")"
	kill -9 "$(<"$work/tokend.pid")"
	wait "$client" || status=$?
	judge_what_is_left "$1" "after $2 ms"
	judge "$1" "$status" "supervisor, after $2 ms"
	points=$((points + 1))
}

every_moment() { # OPERATION
	local start took i
	fresh_and_open
	start=$(date +%s%N)
	enrol "$1" || lab_fail "nothing is killed, and it fails: $(cat stderr)"
	took=$((($(date +%s%N) - start) / 1000000))
	[ "$took" -lt 900 ] || took=900
	lab_tokend_stop "$work"
	for ((i = 0; i < moments; i++)); do moment "$1" $((took * i / moments)); done
	[ "$kept" -gt 0 ] && [ "$kept" -lt "$points" ] || lab_fail "the key was there after $kept of $points: no moment lies before it is made, or none behind it"
	echo "$1: $points moments of $took ms, each left the old state or the new; the key was there after $kept"
}

case ${1:-} in
supervisor-enroll | supervisor-import) every_moment "$1" ;;
broker-unlock | helper-unlock | client-unlock | broker-reload | broker-rotate | helper-enroll | helper-import) step_all "$1" ;;
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
*) lab_fail "usage: kill.sh OPERATION; they stand in its head" ;;
esac
