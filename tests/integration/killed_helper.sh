#!/bin/bash
# A helper that is killed with -9, again and again, on a TPM that no resource manager stands before: what it leaves there must not fill it. Kills in every state: between unwraps, and at a random moment
# of one. The client that asks next gets its answer, if it has to wait for the next helper.
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"
begin
lab_need tpm2_getcap
kills=${TOKEND_TEST_KILLS:-8} # of each sort; a bare TPM has three slots for sessions
lab_tpm_start "$work"
lab_config "$work" "$(lab_tpm_uri "$work")"
lab_tokend_start "$work"
lab_use "$work"
age-keygen -o key.txt 2>/dev/null
works tokenctl enroll --name host
works tokenctl enroll --name legacy --kind x25519 --import key.txt
head -c 100 /dev/urandom >plain
for key in host legacy; do tokenctl encrypt -k "$key" -o "$key.age" plain; done

sessions() { lab_tpm "$work" tpm2_getcap handles-loaded-session | grep -c 0x || true; }
helper() { pgrep -P "$(<"$work/tokend.pid")" -x tokend-tpm; }

kill_helper() {
	local pid
	pid=$(helper) || return 0
	kill -9 "$pid"
	lab_wait_for 5 lab_is_gone "$pid" || lab_fail "the helper does not die"
}

# Control: sessions can be counted, and ours is there once a key was used.
opens_in_the_end host.age plain "at first"
[ "$(sessions)" = 1 ] || lab_fail "negative control: there are $(sessions) sessions after one unwrap, and not one"

for ((i = 1; i <= kills; i++)); do
	kill_helper
	opens_in_the_end host.age plain "after $i kills between unwraps"
	[ "$(sessions)" -le 1 ] || lab_fail "after $i kills between unwraps there are $(sessions) sessions"
done
echo "$kills helpers killed between unwraps: $(sessions) session on the TPM"

# Somebody else flushed it meanwhile: nothing is wrong with that, and what he has started since stays.
for ((i = 1; i <= 3; i++)); do
	kill_helper
	lab_tpm "$work" tpm2_flushcontext -l
	opens_in_the_end host.age plain "after a session was flushed by somebody else"
	opens_in_the_end legacy.age plain "after a session was flushed by somebody else"
done
[ "$(sessions)" -le 1 ] || lab_fail "there are $(sessions) sessions after one was flushed by somebody else"

# Also one that dies while it waits for the TPM's answer to the very command that starts a session: that it was asked for is noted, and the one that is there then is ours.
most=0
for ((i = 1; i <= kills; i++)); do
	kill_helper
	tokenctl decrypt legacy.age >/dev/null 2>&1 &
	client=$!
	sleep "0.00$((RANDOM % 10))"
	kill_helper
	wait "$client" || true
	opens_in_the_end legacy.age plain "after $i kills at a random moment"
	now=$(sessions)
	most=$((now > most ? now : most))
done
[ "$most" -le 1 ] || lab_fail "after $i kills at a random moment there are up to $most sessions"
echo "$kills helpers killed at a random moment: at most $most sessions on the TPM"

# What a killed helper had loaded goes with the next one, even when that is another tokend's: after a stop in order, and after all of them were killed at once. Two keys are loaded each time, and there are three slots.
objects() { lab_tpm "$work" tpm2_getcap handles-transient | grep -c 0x || true; }
load_two() {
	opens_in_the_end host.age plain "$1"
	works tokenctl enroll --name "host$2"
	tokenctl encrypt -k "host$2" -o second.age plain
	opens_in_the_end second.age plain "$1"
	[ "$(objects)" = 2 ] || lab_fail "negative control: two keys were used, and $(objects) objects are loaded"
}
kill_all() {
	local supervisor
	supervisor=$(<"$work/tokend.pid")
	kill -9 "$supervisor"
	lab_wait_for 5 lab_is_gone "$supervisor" || lab_fail "the supervisor does not die"
}
for ((i = 1; i <= 4; i++)); do
	load_two "before the helper and then tokend ended, $i" "$i"
	kill_helper
	lab_tokend_stop "$work" >/dev/null 2>&1 || true
	lab_tokend_start "$work"
	opens_in_the_end host.age plain "after $i helpers were killed before tokend ended"
	[ "$(objects)" -le 1 ] || lab_fail "$(objects) objects stay of helpers that were killed before tokend ended"
	load_two "before all were killed, $i" "$i.all"
	kill_all
	lab_tokend_start "$work"
	opens_in_the_end host.age plain "after all were killed for the $i. time"
	[ "$(objects)" -le 1 ] || lab_fail "$(objects) objects stay when all are killed"
	[ "$(sessions)" -le "$most" ] || lab_fail "$(sessions) sessions stay when all are killed"
done
echo "4 times the helper killed before tokend ended, 4 times all of them at once: $(objects) object and $(sessions) sessions on the TPM"

# In order at the end: nothing stays.
lab_tokend_stop "$work"
[ "$(sessions)" -le $((most - 1)) ] || lab_fail "$(sessions) sessions stay behind when tokend ends"
echo "tokend ended: $(sessions) sessions on the TPM"
