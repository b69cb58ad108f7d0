#!/bin/bash
# What happens to a tokend that runs for years: it is told to read its rules anew in the moment that it starts, stopped while others wait for it, finds another TPM than the one of before, or has its TPM from a resource manager.
#
#	upkeep.sh reload | killed | stopped | exchanged | moved | tabrmd
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"
# A system bus of its own, for which it takes the place of the machine's, seen by nobody else.
if [ "${1:-}" = tabrmd ] && [ -z "${UPKEEP_MOUNTS:-}" ]; then
	lab_need tpm2-abrmd dbus-daemon unshare
	[ "$(id -u)" -eq 0 ] || lab_skip "root alone can have a bus in the place of the system's"
	[ -e "/usr/lib/$(uname -m)-linux-gnu/libtss2-tcti-tabrmd.so.0" ] || lab_skip "the package libtss2-tcti-tabrmd0 is not installed"
	mkdir -p /run/dbus
	UPKEEP_MOUNTS=own exec unshare --mount bash "$0" "$@"
fi
begin

# SIGHUP in the middle of the start, which strace sends at the first look at the configuration, does not end it and is a reload then.
part_reload() {
	lab_need strace
	lab_config "$work" "tpm:swtpm:path=$work/none"
	mkdir -m 700 state run
	lab_spawn "$work/strace.pid" "$work/tokend.log" strace -o calls -e trace=openat -P "$work" -e inject=openat:signal=HUP:when=1 \
		"$LAB_BIN/tokend" --state-dir "$work/state" --runtime-dir "$work/run" --config "$work/tokend.conf"
	lab_wait_for 20 reloaded || lab_fail "it was not loaded anew: $(<tokend.log)"
	read -r daemon _ <"/proc/$(<strace.pid)/task/$(<strace.pid)/children" || true # no end of line stands there
	kill "$daemon"
	lab_wait_for 20 lab_is_gone "$daemon" || lab_fail "it does not end"
	# The control: the signal would have ended a process that does not hold it.
	if strace -o calls -e trace=openat -e inject=openat:signal=HUP cat "$work/tokend.conf" >stdout 2>&1; then lab_fail "negative control: no signal comes"; fi
}
reloaded() {
	lab_is_stopped "$work/strace.pid" && lab_fail "it was ended: $(<tokend.log)"
	lab_grep 'loaded anew' <tokend.log
}

# Its supervisor killed, and what is left of it slow to end: the next one waits for that, and does not say that one is running whom nobody can end.
part_killed() {
	local broker
	lab_start "$work"
	read -r broker _ <"/proc/$(<tokend.pid)/task/$(<tokend.pid)/children" || true
	kill -STOP "$broker"
	kill -KILL "$(<tokend.pid)"
	(sleep 0.5 && kill -CONT "$broker") &
	lab_tokend_start "$work" || lab_fail "it does not start: $(<tokend.log)"
	lab_is_gone "$broker" || lab_fail "both run"
	# The control: it does not wait for one that lives.
	mkdir -m 700 more
	refused 8 'another tokend .pid [0-9]+. is running on the state directory' "kill $(<tokend.pid)" "$LAB_BIN/tokend" --state-dir "$work/state" --runtime-dir "$work/more" --config "$work/tokend.conf"
}

# Both of its devices hang, and requests wait at each: it ends in order, says "stop" in the log, and each of them learns what kept the answer.
part_stopped() {
	local one two pids=() i daemon status
	mkdir -m 700 other
	lab_tpm_start "$work"
	lab_proxy_start "$work"
	lab_tpm_start "$work/other"
	lab_proxy_start "$work/other"
	one=$(lab_proxy_uri "$work") two=$(lab_proxy_uri "$work/other")
	lab_config "$work" "$one" "$two"
	echo 'token-deadline 60s' >>tokend.conf
	lab_tokend_start "$work"
	lab_use "$work"
	echo plain >plain
	works tokenctl enroll --name one --token "$one"
	works tokenctl enroll --name two --token "$two"
	works tokenctl encrypt -k one -o one.age plain
	works tokenctl encrypt -k two -o two.age plain
	works tokenctl encrypt -k one -k two -o both.age plain
	lab_proxy_mode "$work" hang
	lab_proxy_mode "$work/other" hang
	looks=0
	came
	before=$number i=0
	for command in 'decrypt one.age' 'decrypt two.age' 'decrypt both.age' 'enroll --name three' "enroll --name four --token $two" tokens; do
		i=$((i + 1))
		# shellcheck disable=SC2086 # words
		plainly tokenctl $command >"said.$i" 2>&1 &
		pids+=($!)
	done
	daemon=$(<tokend.pid)
	lab_wait_for 10 all_wait || lab_fail "not all are waiting"
	kill "$daemon"
	lab_wait_for 15 lab_is_gone "$daemon" || lab_fail "it does not end"
	for i in "${!pids[@]}"; do
		status=0
		wait "${pids[i]}" || status=$?
		[ "$status" -eq 6 ] || lab_fail "request $((i + 1)) ended with $status: $(<"said.$((i + 1))")"
		lab_grep 'tokend ended before it answered' <"said.$((i + 1))" || lab_fail "request $((i + 1)) is told something else: $(<"said.$((i + 1))")"
	done
	if lab_grep 'ended by signal' <tokend.log; then lab_fail "the broker did not end in order: $(<tokend.log)"; fi
	works tokenctl audit show --file state/audit.log --last 1
	lab_grep -w stop <stdout || lab_fail "the log does not end with a stop: $(<stdout)"
	lab_proxy_mode "$work" pass
	lab_proxy_mode "$work/other" pass
	lab_tokend_start "$work"
	for i in one two both; do opens "$i.age" plain; done
	[ "$(tokenctl keys --json | grep -c '"name"')" -eq 2 ] || lab_fail "a key came of what was not answered"
	lab_proxy_stop "$work/other"
	lab_tpm_stop "$work/other"
}
# Requests that came, but those that ask for this number.
came() {
	looks=$((looks + 1))
	"$LAB_TOOLS/call" "$work/run/control.sock" io.tokend.GetStatus >status
	grep -oE '"requests": *[0-9]+' status | tr -dc 0-9 >number
	number=$(($(<number) - looks))
}
all_wait() { came && [ "$number" -ge $((before + 6)) ]; }

# A TPM that was cleared by another program, or exchanged while tokend was away: keys and doctor say so before one of them is opened.
part_exchanged() {
	lab_need tpm2_clear
	lab_start "$work"
	echo plain >plain
	works tokenctl enroll --name host
	works tokenctl enroll --name sealed --kind x25519
	works tokenctl encrypt -k host -o host.age plain
	says '^host .* usable' tokenctl keys
	plainly tokenctl doctor >stdout 2>&1 || true
	if lab_grep 'made on another' <stdout; then lab_fail "negative control: doctor says so of this TPM"; fi

	lab_tokend_stop "$work"
	lab_tpm_stop "$work"
	mv tpm tpm.ours
	lab_tpm_start "$work"
	lab_tokend_start "$work"
	are_foreign 'after it was exchanged'
	lab_tokend_stop "$work"
	lab_tpm_stop "$work"
	rm -r tpm
	mv tpm.ours tpm
	lab_tpm_start "$work"
	lab_tokend_start "$work"
	says '^host .* usable' tokenctl keys
	opens host.age plain

	lab_tpm "$work" tpm2_clear -c p
	are_foreign 'after it was cleared'
}
are_foreign() { # WHEN
	local name status=0
	for name in host sealed; do
		says "^$name .* of another TPM" tokenctl keys
		works tokenctl keys --json "$name"
		lab_grep '"usable": false' <stdout || lab_fail "$1 keys --json calls $name usable: $(<stdout)"
	done
	plainly tokenctl doctor >stdout 2>&1 || status=$?
	[ "$status" -eq 1 ] || lab_fail "$1 doctor ends with $status"
	lab_grep '^problem *keys *2 keys, host the first, are not of the TPM that is there' <stdout || lab_fail "$1 doctor does not say so: $(<stdout)"
}

# The same TPM by another name: doctor says why its keys are of no use, and what to write where.
part_moved() {
	local id
	lab_tpm_start "$work"
	lab_proxy_start "$work"
	lab_config "$work" "$(lab_proxy_uri "$work")"
	lab_tokend_start "$work"
	lab_use "$work"
	echo plain >plain
	works tokenctl enroll --name host
	works tokenctl encrypt -k host -o host.age plain
	lab_tokend_stop "$work"
	lab_config "$work" "$(lab_tpm_uri "$work")"
	lab_tokend_start "$work"
	says "the key host cannot be used: it is on $(lab_proxy_uri "$work"), which is not in the configuration" tokenctl doctor
	id=$(tokenctl keys --json | jq -r '.[0].id')
	lab_grep -F "state/keys/$id.key" <stdout || lab_fail "doctor does not say what to change: $(<stdout)"
	lab_tokend_stop "$work"
	sed -i "s|^\\(slot: 0 \\)[^ ]*|\\1$(lab_tpm_uri "$work")|" "state/keys/$id.key"
	lab_tokend_start "$work"
	opens host.age plain
	works tokenctl doctor
	if lab_grep 'cannot be used' <stdout; then lab_fail "negative control: it says so of a key that can be used"; fi
}

# The resource manager of tpm2-tss, a service of D-Bus: all that a key is for, and again when the manager was started anew.
part_tabrmd() {
	mount -t tmpfs none /run/dbus
	cat >bus.conf <<-BUS
		<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
		<busconfig>
			<type>system</type>
			<listen>unix:path=/run/dbus/system_bus_socket</listen>
			<auth>EXTERNAL</auth>
			<policy context="default"><allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/></policy>
		</busconfig>
	BUS
	lab_tpm_start "$work"
	lab_spawn "$work/bus.pid" "$work/bus.log" dbus-daemon --config-file="$work/bus.conf" --nofork --nopidfile
	lab_wait_for 10 test -S /run/dbus/system_bus_socket || lab_fail "no bus: $(<bus.log)"
	start_manager
	lab_config "$work" tpm:tabrmd
	lab_tokend_start "$work"
	lab_use "$work"
	echo plain >plain
	echo 246-810 >pin
	works tokenctl enroll --name host
	works tokenctl enroll --name sealed --kind x25519
	works tokenctl enroll --name safe --class session --pin-file pin
	for key in host sealed safe; do works tokenctl encrypt -k "$key" -o "$key.age" plain; done
	works tokenctl unlock safe --pin-file pin
	for key in host sealed safe; do opens "$key.age" plain; done
	lab_end "$work/manager.pid"
	start_manager
	opens host.age plain
	opens sealed.age plain
	lab_end "$work/manager.pid"
	refused 6 'token' 'tokenctl tokens' tokenctl decrypt host.age
	refused 6 'tpm:tabrmd' 'tpm2-abrmd' tokenctl enroll --name other
	lab_tokend_stop "$work"
	lab_end "$work/bus.pid"
}
start_manager() {
	lab_spawn "$work/manager.pid" "$work/manager.log" tpm2-abrmd --allow-root --tcti="$(lab_tpm_tcti "$work")"
	lab_wait_for 10 manager_answers || lab_fail "the manager does not answer: $(<manager.log)"
}
manager_answers() { TPM2TOOLS_TCTI=tabrmd:bus_type=system plainly tpm2_getrandom --hex 4 >stdout 2>&1; }

part=${1:-}
case $part in
reload | killed | stopped | exchanged | moved | tabrmd) "part_$part" ;;
*) lab_fail "there is no part '$part'" ;;
esac
echo "$part: as it should be"
