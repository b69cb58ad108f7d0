#!/bin/bash
# The other side: who may not, gets nothing, is told why, and no device was asked in vain.
. "$(dirname "$0")/interop.sh"
client=$(interop_program "$1")
interop_start
for key in host legacy; do
	tokenctl identity "$key" >"$key.identity"
	"$client" -r "${!key}" -o "$key.age" plain
done
tokenctl identity >any.identity
nobody='[Nn]o (identity matched|matching keys)'

# A file for somebody else: the tag says so, or a key that is unsealed already does not fit. The device is not asked.
"$client" -r "$(interop_stranger)" -o stranger.age plain
interop_same plain "$client" -d -i host.identity host.age
interop_same plain "$client" -d -i legacy.identity legacy.age
refuse_strangers() {
	interop_refused "$nobody" "$client" -d -i host.identity legacy.age
	interop_refused "$nobody" "$client" -d -i legacy.identity host.age
	interop_refused "$nobody" "$client" -d -i any.identity stranger.age
}
refuse_strangers
cost=$(interop_cost refuse_strangers)
[ "$cost" -eq 0 ] || lab_fail "the TPM was asked $cost times for files that are not ours"

# Damaged: the MAC, the body of the stanza, the payload.
damage() { # FILE OFFSET
	cp "$1" damaged.age
	printf '%b' "\\x$(printf '%02x' $(($(od -An -tu1 -j "$2" -N 1 damaged.age) ^ 1)))" | dd of=damaged.age bs=1 seek="$2" conv=notrunc status=none
}
for key in host legacy; do
	mac=$(grep -abo -m1 '^--- ' "$key.age" | cut -d: -f1)
	payload=$((mac + 48))
	for offset in $((payload - 8)) $((payload - 70)) $((payload + 20)); do
		damage "$key.age" "$offset"
		rm -f out
		if "$client" -d -i "$key.identity" -o out damaged.age 2>/dev/null; then
			lab_fail "a file damaged at $offset was opened"
		fi
		[ ! -s out ] || lab_fail "a damaged file left output"
		rm -f out
		status=0
		tokenctl decrypt -o out damaged.age 2>said || status=$?
		# A stanza without a tag that does not open is one for somebody else, as far as anybody can tell.
		[ "$status" -eq 7 ] || { [ "$key" = legacy ] && [ "$status" -eq 4 ] && [ "$offset" -lt "$mac" ]; } ||
			lab_fail "tokenctl ended with $status for a file damaged at $offset: $(<said)"
		[ ! -e out ] || lab_fail "tokenctl left output of a damaged file"
	done
	head -c $((payload + 10)) "$key.age" >short.age
	status=0
	tokenctl decrypt -o out short.age 2>said || status=$?
	[ "$status" -eq 7 ] || lab_fail "tokenctl ended with $status for a truncated file: $(<said)"
	[ ! -e out ] || lab_fail "tokenctl left output of a truncated file"
done

# A user whom the policy does not let.
lab_policy "$work" <<POLICY
permit unwrap key legacy user $(id -un)
permit list key * user $(id -un)
POLICY
lab_tokend_reload "$work"
lab_wait_for 10 eval '! tokenctl decrypt host.age >/dev/null 2>&1' || lab_fail "the new policy did not come into force"
interop_refused "not permitted|$nobody" "$client" -d -i host.identity host.age
interop_refused "$nobody" "$client" -d -i any.identity host.age
interop_same plain "$client" -d -i legacy.identity legacy.age

# Denied in one identity, permitted in the next: opened.
"$client" -r "$host" -r "$legacy" -o both.age plain
cat host.identity legacy.identity >both.identity
interop_same plain "$client" -d -i both.identity both.age
interop_same plain tokenctl decrypt both.age

# Nobody there: one sentence, and what to type.
lab_tokend_stop "$work"
interop_refused 'tokend is not running.*hint: ' "$client" -d -i legacy.identity legacy.age
interop_refused 'tokend is not running.*hint: ' "$client" -d -j tokend legacy.age
status=0
tokenctl decrypt legacy.age 2>said || status=$?
[ "$status" -eq 6 ] || lab_fail "tokenctl ended with $status where nobody listens: $(<said)"
grep -q 'not running' said || lab_fail "tokenctl said: $(<said)"
# ... and an identity that needs no daemon still works behind it.
cat legacy.identity legacy.txt >fallback
interop_same plain "$client" -d -i fallback legacy.age

# The token is not there: said, and no error either.
lab_tpm_kill "$work"
lab_tokend_start "$work"
rm -f "$work/policy.d/50-lab.conf"
lab_tokend_reload "$work"
interop_refused "$nobody" "$client" -d -i host.identity host.age
interop_same plain "$client" -d -i fallback legacy.age
