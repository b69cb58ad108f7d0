#!/bin/bash
# A key with a PIN: stock clients ask for it on their terminal, tokend counts, and where there is no terminal nobody is asked.
. "$(dirname "$0")/interop.sh"
client=$(interop_program "$1")
interop_start
printf '2468-ABCD' >pin
printf '2468-abcd' >wrong
tokenctl enroll --name safe --class session --pin-file pin >/dev/null 2>&1
tokenctl identity safe >safe.identity
"$client" -r "$(tokenctl recipient safe)" -o safe.age plain
tokenctl lock >/dev/null

typed() { python3 "$INTEROP_TOOLS/typed.py" "$@"; }
nobody='[Nn]o (identity matched|matching keys)'

# Without a terminal: no prompt, no waiting, no error but the client's own.
interop_refused "$nobody" setsid --wait timeout 20 "$client" -d -i safe.identity safe.age </dev/null

# Cancelled with an empty line: the same, and the next identity is tried.
typed --answer 'PIN of the key safe' '' --log said -- "$client" -d -i safe.identity -o out safe.age && lab_fail "opened without a PIN"
[ ! -s out ] || lab_fail "output without a PIN"
"$client" -r "$(tokenctl recipient safe)" -r "$legacy" -o both.age plain
tokenctl identity legacy >legacy.identity
cat safe.identity legacy.identity >both.identity
rm -f out
typed --answer 'PIN of the key safe' '' --log said -- "$client" -d -i both.identity -o out both.age || lab_fail "the second identity was not tried: $(<said)"
cmp plain out

# Wrong, then right.
rm -f out
typed --answer 'PIN of the key safe' "$(<wrong)" --answer 'that was not it' "$(<pin)" --log said -- "$client" -d -i safe.identity -o out safe.age ||
	lab_fail "did not open with the right PIN at the second try: $(<said)"
cmp plain out
grep -q "$(<pin)" said && lab_fail "the PIN stands on the terminal"

# Now it is open for a time, and nobody is asked.
interop_same plain setsid --wait timeout 20 "$client" -d -i safe.identity safe.age </dev/null
interop_same plain setsid --wait timeout 20 "$client" -d -j tokend safe.age </dev/null
tokenctl lock safe >/dev/null
interop_refused "$nobody" setsid --wait timeout 20 "$client" -d -i safe.identity safe.age </dev/null
