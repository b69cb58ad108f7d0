#!/bin/bash
# What an unwrap costs on the TPM: commands counted by a proxy before it, which tokend knows nothing of, and by tokend itself; and what tokend leaves loaded there.
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"
begin
lab_need tpm2_getcap
lab_tpm_start "$work"
lab_proxy_start "$work"
lab_config "$work" "$(lab_proxy_uri "$work")"
lab_tokend_start "$work"
lab_use "$work"
age-keygen -o key.txt 2>/dev/null
works tokenctl enroll --name host
works tokenctl enroll --name legacy --kind x25519 --import key.txt
echo 246-810 >pin
works tokenctl enroll --name safe --class session --pin-file pin
head -c 100 /dev/urandom >plain
for key in host legacy safe; do tokenctl encrypt -k "$key" -o "$key.age" plain; done

# cost COMMAND...: how many TPM commands reached the device while it ran, by the proxy.
cost() {
	local before
	before=$(lab_proxy_count "$work")
	works "$@"
	echo $(($(lab_proxy_count "$work") - before))
}

# told: tokend's own count. Asking for it costs some itself, always as many.
told() { tokenctl tokens --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[0]["commands"])'; }
told_cost() {
	local before after own
	before=$(told)
	works "$@"
	after=$(told)
	own=$(($(told) - after))
	echo $((after - before - own))
}

# Transient objects and loaded sessions, asked of the device itself.
loaded() {
	local objects sessions
	objects=$(lab_tpm "$work" tpm2_getcap handles-transient | grep -c 0x || true)
	sessions=$(lab_tpm "$work" tpm2_getcap handles-loaded-session | grep -c 0x || true)
	most_objects=$((objects > most_objects ? objects : most_objects))
	most_sessions=$((sessions > most_sessions ? sessions : most_sessions))
	[ "$objects" -le 2 ] || lab_fail "$objects objects are loaded after: $*"
	[ "$sessions" -le 2 ] || lab_fail "$sessions sessions are loaded after: $*"
}
most_objects=0 most_sessions=0 crowd=()

# between WHAT LEAST MOST VALUE
between() {
	[ "$4" -ge "$2" ] && [ "$4" -le "$3" ] && echo "$1: $4 TPM commands" && return
	lab_fail "$1: $4 TPM commands, not $2 to $3"
}

# The control: the counters count.
first=$(cost tokenctl tokens)
[ "$first" -ge 1 ] || lab_fail "negative control: the proxy counts nothing"
if (between "negative control" 0 $((first - 1)) "$first") >/dev/null 2>&1; then lab_fail "negative control: the comparison passes what is more"; fi

works tokenctl decrypt host.age
works tokenctl decrypt legacy.age
for round in 1 2 3; do
	between "warm p256, round $round" 1 1 "$(cost tokenctl decrypt host.age)"
	loaded warm p256
	between "warm x25519, round $round" 0 0 "$(cost tokenctl decrypt legacy.age)"
	loaded warm x25519
done
between "warm p256, by tokend's count" 1 1 "$(told_cost tokenctl decrypt host.age)"
between "warm x25519, by tokend's count" 0 0 "$(told_cost tokenctl decrypt legacy.age)"
between "a file for nobody here" 0 0 "$(age -r "$(age-keygen 2>/dev/null | sed -n 's/^# public key: //p')" -o other.age plain
	before=$(lab_proxy_count "$work")
	plainly tokenctl decrypt other.age >/dev/null 2>&1 || true
	echo $(($(lab_proxy_count "$work") - before)))"

# The first after a start, of either kind: what the start itself did is not counted, what the key needs is.
for key in host legacy; do
	lab_tokend_stop "$work"
	lab_tokend_start "$work"
	works tokenctl tokens
	between "first after start, $key" 1 6 "$(cost tokenctl decrypt "$key.age")"
	cmp stdout plain
	loaded "first $key"
done

# Several p256 keys take turns: more commands, but never more places.
works tokenctl unlock safe --pin-file pin
for number in 1 2 3; do
	works tokenctl enroll --name "more.$number"
	tokenctl encrypt -k "more.$number" -o "more.$number.age" plain
done
for _ in 1 2; do
	for file in host safe more.1 more.2 more.3 legacy; do
		works tokenctl decrypt "$file.age"
		cmp stdout plain
		loaded "$file"
	done
done

# While requests come in crowds, too.
for file in host safe more.1 more.2 more.3 legacy host more.1; do
	(for _ in 1 2 3 4 5; do plainly tokenctl decrypt "$file.age" | cmp -s - plain || touch failed; done) &
	crowd[${#crowd[@]}]=$!
done
for _ in 1 2 3 4 5 6; do loaded "a crowd"; done
wait "${crowd[@]}"
[ ! -e failed ] || lab_fail "a decryption in a crowd failed"
loaded "the crowd"
works tokenctl lock
loaded "the lock"

# Nothing is left when it ends.
lab_tokend_stop "$work"
[ -z "$(lab_tpm "$work" tpm2_getcap handles-transient)" ] || lab_fail "objects are left on the TPM"
[ -z "$(lab_tpm "$work" tpm2_getcap handles-loaded-session)" ] || lab_fail "sessions are left on the TPM"

# The control: what is looked for would be seen.
for number in 1 2 3; do lab_tpm "$work" tpm2_createprimary -Q -C o -c "other.$number" >/dev/null; done
if (loaded three others) >/dev/null 2>&1; then lab_fail "negative control: three loaded objects are not seen"; fi
echo "never more than $most_objects objects and $most_sessions sessions were loaded"
