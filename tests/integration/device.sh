#!/bin/bash
# Each fault of a device at each operation: absent, hung, answering nonsense, busy, reset, another one, full of others' objects and sessions, locked out, slow. The answer is the one in the table and comes
# by its deadline, nothing is half written, and when the device is well again so is tokend, within a second.
#
#	device.sh cold		each operation as the first of a tokend
#	device.sh warm		each operation when the device has served before, and then goes wrong
#	device.sh slow		as slow as real ones are, by published figures
#	device.sh power		power lost again and again: the device counts no failure for keys without a PIN
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"
begin
lab_need tpm2_createprimary tpm2_startauthsession tpm2_flushcontext tpm2_dictionarylockout jq
deadline_ms=2000 # of the device, in tokend.conf
slack_ms=6000 # of a busy machine; what it took is printed
cells=0 longest=0 longest_return=0

lab_tpm_start "$work"
lab_proxy_start "$work"
lab_config "$work" "$(lab_proxy_uri "$work")"
echo "token-deadline ${deadline_ms%000}s" >>tokend.conf
lab_tokend_start "$work"
lab_use "$work"
age-keygen -o key.txt 2>/dev/null
echo 246-810 >pin
head -c 100 /dev/urandom >plain
works tokenctl enroll --name host
works tokenctl enroll --name legacy --kind x25519 --import key.txt
works tokenctl enroll --name safe --class session --pin-file pin
for key in host legacy safe; do works tokenctl encrypt -k "$key" -o "$key.age" plain; done

now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }
restart() {
	lab_tokend_stop "$work"
	lab_tokend_start "$work"
}

# ---- operations ----

operations=(enroll import unlock p256 sealed)
number=0
perform() { # OPERATION: sets status and took; what was said is in stderr
	local began
	number=$((number + 1)) status=0
	began=$(now_ms)
	case $1 in
	enroll) plainly tokenctl enroll --name "new.$number" >stdout 2>stderr || status=$? ;;
	import)
		age-keygen 2>/dev/null >"key.$number"
		plainly tokenctl enroll --name "new.$number" --kind x25519 --import "key.$number" >stdout 2>stderr || status=$?
		;;
	unlock) plainly tokenctl unlock safe --pin-file pin >stdout 2>stderr || status=$? ;;
	p256) plainly tokenctl decrypt host.age >stdout 2>stderr || status=$? ;;
	sealed) plainly tokenctl decrypt legacy.age >stdout 2>stderr || status=$? ;;
	esac
	took=$(($(now_ms) - began))
}

# Names of keys, and files of the state directory but those of the log: neither more nor less than before unless the operation says that it worked.
inventory() { tokenctl keys --json | jq -r '.[].name' | sort; }
files() { (cd state && find . -type f ! -name 'audit*' | sort); }

# ---- the table ----

# expected FAULT OPERATION: "ok", or the exit status and what is said.
expected() {
	case $1.$2${part:+.$part} in
	objects.p256.warm | sessions.*.warm) echo ok ;;
	# With two objects of its own to take off there is room, with one there is not.
	objects.*.warm) echo '0|8 other programs occupy' ;;
	well.* | retry.* | yielded.* | testing.* | hiccup.* | reset.*) echo ok ;;
	absent.* | hangup.*) echo '6 token' ;;
	hung.*) echo '6|8 answer|token' ;;
	garbage.* | truncated.* | oversize.* | failure.*) echo '1|6|8 token' ;;
	busy.*) echo '6|8 token|answer|busy' ;;
	other.enroll* | other.import*) echo '6 not the device that the other keys there were made on' ;;
	other.*) echo '6 made on another TPM, or this one was cleared' ;;
	objects.* | sessions.*) echo '8 other programs occupy' ;;
	lockout.unlock*) echo '5 too many wrong PINs' ;;
	lockout.*) echo ok ;;
	*) lab_fail "there is no row for $1 at $2" ;;
	esac
}

# begin_fault, end_fault FAULT: what is done to the device, and that it is well again.
begin_fault() {
	case $1 in
	well) ;;
	absent) lab_proxy_stop "$work" && rm -f "$(lab_proxy_socket "$work")" "$(lab_proxy_socket "$work").ctrl" ;;
	hung) lab_proxy_mode "$work" hang ;;
	hangup) lab_proxy_mode "$work" drop ;;
	garbage) lab_proxy_mode "$work" garbage ;;
	truncated) lab_proxy_mode "$work" truncate ;;
	oversize) lab_proxy_mode "$work" oversize ;;
	failure) lab_proxy_mode "$work" answer 0x101 ;; # TPM_RC_FAILURE
	busy) lab_proxy_mode "$work" answer 0x922 ;; # TPM_RC_RETRY, for ever
	retry) lab_proxy_mode "$work" times 3 answer 0x922 ;;
	yielded) lab_proxy_mode "$work" times 3 answer 0x908 ;;
	testing) lab_proxy_mode "$work" times 3 answer 0x90a ;;
	hiccup) lab_proxy_mode "$work" times 1 drop ;;
	reset)
		lab_tpm_kill "$work"
		lab_tpm_start "$work"
		;;
	other)
		lab_tpm_stop "$work"
		mv tpm tpm.ours
		lab_tpm_start "$work"
		;;
	objects)
		others=0
		while lab_tpm "$work" tpm2_createprimary -Q -C o -c other >/dev/null 2>&1; do
			others=$((others + 1))
			[ "$others" -lt 20 ] || lab_fail "the TPM is never full"
		done
		;;
	sessions)
		others=0
		while lab_tpm "$work" tpm2_startauthsession -Q --hmac-session -S other.session >/dev/null 2>&1; do
			others=$((others + 1))
			[ "$others" -lt 80 ] || lab_fail "the TPM is never full"
		done
		;;
	lockout)
		lab_tpm "$work" tpm2_dictionarylockout -Q --setup-parameters --max-tries=1 --recovery-time=1000 --lockout-recovery-time=1000
		# An index takes no slot.
		lab_tpm "$work" tpm2_nvdefine -Q -C o -s 8 -a "authread|authwrite" -p right 0x1500016
		if lab_tpm "$work" tpm2_nvread -P wrong 0x1500016 >/dev/null 2>&1; then lab_fail "a wrong authorisation was taken"; fi
		lab_tpm "$work" tpm2_getcap properties-variable | lab_grep 'inLockout: *1' || lab_fail "the TPM is not in lockout"
		;;
	esac
}
end_fault() {
	case $1 in
	absent) lab_proxy_start "$work" ;;
	other)
		lab_tpm_stop "$work"
		rm -r tpm
		mv tpm.ours tpm
		lab_tpm_start "$work"
		;;
	# A power cut after a key with a PIN was used counts as a wrong PIN, and a software TPM allows few.
	reset) lab_tpm "$work" tpm2_dictionarylockout -Q --clear-lockout ;;
	objects) lab_tpm "$work" tpm2_flushcontext -t ;;
	sessions) lab_tpm "$work" tpm2_flushcontext -s ;;
	lockout)
		lab_tpm "$work" tpm2_dictionarylockout -Q --setup-parameters --max-tries=32 --recovery-time=1000 --lockout-recovery-time=1000
		lab_tpm "$work" tpm2_dictionarylockout -Q --clear-lockout
		lab_tpm "$work" tpm2_nvundefine -Q -C o 0x1500016
		;;
	esac
	lab_proxy_mode "$work" pass
}

judge() { # FAULT OPERATION
	local row words
	row=$(expected "$1" "$2")
	if [ "$row" = ok ] || [[ $status -eq 0 && $row == 0\|* ]]; then
		[ "$status" -eq 0 ] || lab_fail "$1, $2: it ended with $status: $(<stderr)"
	else
		words=${row#* }
		[[ "|${row%% *}|" == *"|$status|"* ]] || lab_fail "$1, $2: it ended with $status, not ${row%% *}: $(<stderr)"
		[[ $(<stderr) =~ $words ]] || lab_fail "$1, $2: it does not say '$words': $(<stderr)"
		words=$(sentence '') || lab_fail "$1, $2: $words: $(<stderr)"
	fi
	[ "$took" -le $((2 * deadline_ms + slack_ms)) ] || lab_fail "$1, $2: the answer took $took ms"
	longest=$((took > longest ? took : longest))
}

# The device is well again: so is tokend, at the first try or very soon.
returns() { # FAULT OPERATION
	local began since
	began=$(now_ms)
	until plainly tokenctl decrypt host.age >stdout 2>stderr; do
		since=$(($(now_ms) - began))
		[ "$since" -lt "$slack_ms" ] || lab_fail "after $1 at $2: not well again after $since ms: $(<stderr)"
		sleep 0.02
	done
	since=$(($(now_ms) - began))
	longest_return=$((since > longest_return ? since : longest_return))
	cmp -s stdout plain || lab_fail "after $1 at $2: host.age opens as something else"
}

cell() { # FAULT OPERATION
	local before_keys before_files after
	before_keys=$(inventory) before_files=$(files)
	begin_fault "$1"
	perform "$2"
	judge "$1" "$2"
	after=$status
	cp stderr said
	end_fault "$1"
	returns "$1" "$2"
	if [ "$after" -ne 0 ]; then
		[ "$(inventory)" = "$before_keys" ] || lab_fail "$1, $2: it failed, and the keys are others than before"
		[ "$(files)" = "$before_files" ] || lab_fail "$1, $2: it failed, and left files: $(diff <(echo "$before_files") <(files))"
	fi
	printf '%-10s %-7s %s, %d ms\n' "$1" "$2" "$([ "$after" -eq 0 ] && echo ok || head -n 1 said)" "$took"
	cells=$((cells + 1))
}

everything_opens() {
	local key
	works tokenctl unlock safe --pin-file pin
	for key in host legacy safe; do opens "$key.age" plain; done
	works tokenctl audit verify
}

part_cold() {
	local fault operation
	for fault in well absent hung hangup garbage truncated oversize failure busy retry yielded testing hiccup reset other objects sessions lockout; do
		for operation in "${operations[@]}"; do
			restart
			cell "$fault" "$operation"
		done
	done
	everything_opens
}

# What was unsealed before needs no device any more, so it is not asked for here. A key that is loaded, and the session, are there to be used, whatever slots others take later.
part_warm() {
	local fault operation
	for fault in well absent hung hangup garbage truncated oversize failure busy retry yielded testing hiccup reset other objects sessions lockout; do
		for operation in enroll import unlock p256; do
			returns "nothing" "$operation"
			cell "$fault" "$operation"
		done
	done
	everything_opens
}

part_slow() {
	local device operation
	for device in slb9670 slb9672 npct650 st33 ftpm; do
		lab_proxy_mode "$work" as "$device"
		for operation in "${operations[@]}" p256; do
			[ "$operation" = p256 ] || { lab_proxy_mode "$work" pass; restart; lab_proxy_mode "$work" as "$device"; }
			perform "$operation"
			judge well "$operation"
			printf '%-8s %-7s %d ms\n' "$device" "$operation" "$took"
			cells=$((cells + 1))
		done
	done
	lab_proxy_mode "$work" pass
	everything_opens
}

failures_counted() { lab_tpm "$work" tpm2_getcap properties-variable | sed -n 's/^TPM2_PT_LOCKOUT_COUNTER: *//p'; }
part_power() {
	local times=100 i
	# In order, once: a key with a PIN was in use.
	lab_tpm_stop "$work"
	lab_tpm_start "$work"
	returns "nothing" power
	[ "$(failures_counted)" = 0x0 ] || lab_fail "the TPM counts $(failures_counted) failures before the first cut"
	for ((i = 1; i <= times; i++)); do
		lab_tpm_kill "$work"
		lab_tpm_start "$work"
		returns "power cut $i" p256
		cells=$((cells + 1))
	done
	[ "$(failures_counted)" = 0x0 ] || lab_fail "after $times power cuts the TPM counts $(failures_counted) failures"
	# The control: one that loses power after a key with a PIN was used counts one (tokenctl(1), PINs).
	works tokenctl unlock safe --pin-file pin
	opens safe.age plain
	lab_tpm_kill "$work"
	lab_tpm_start "$work"
	[ "$(failures_counted)" = 0x1 ] || lab_fail "negative control: the TPM counts $(failures_counted) failures after a cut with a PIN in use"
	everything_opens
	echo "$times power cuts, 0 failures counted by the device"
}

part=${1:-}
case $part in
cold | warm | slow | power) "part_$part" ;;
*) lab_fail "there is no part '${1:-}'" ;;
esac
echo "$cells cells; the longest answer took $longest ms, the longest return $longest_return ms"
