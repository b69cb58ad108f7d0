#!/bin/bash
# What the plugin protocol allows and no stock client does: many files and many identities in one conversation, with the real daemon behind it.
. "$(dirname "$0")/interop.sh"
interop_start
interop_elsewhere
plugin=$(command -v age-plugin-tokend)
client=$INTEROP_TOOLS/plugin_client.py
tokenctl enroll --name second >/dev/null 2>&1
stranger=$(interop_stranger)

tokenctl encrypt -r "$stranger" -r "$host" -o 0.age plain
tokenctl encrypt -r "$stranger" -o 1.age plain
tokenctl encrypt -r "$legacy" -o 2.age plain
tokenctl encrypt -r "$(<elsewhere.host.recipient)" -r "$(tokenctl recipient second)" -r "$stranger" -o 3.age plain
tokenctl encrypt -r "$(<elsewhere.legacy.recipient)" -o 4.age plain

expect() { # EXPECTED IDENTITY-OPTION...
	local expected=$1
	shift
	python3 "$client" open "$plugin" "$@" 0.age 1.age 2.age 3.age 4.age >got
	[ "$(grep -c . got)" -eq 5 ] || lab_fail "not five lines: $(<got)"
	[ "$(sed -n 's/^\([0-9]*\) opened$/\1/p' got | tr '\n' ' ')" = "$expected" ] || lab_fail "expected '$expected', got: $(<got)"
}

expect "0 2 3 " --identity "$(tokenctl identity)"
expect "0 " --identity "$(tokenctl identity host)"
expect "2 " --identity "$(tokenctl identity legacy)"
expect "3 " --identity "$(tokenctl identity second)"
expect "0 2 3 " --identity "$(<elsewhere.legacy.identity)" --identity "$(tokenctl identity second)" --identity "$(<elsewhere.host.identity)" \
	--identity "$(tokenctl identity legacy)" --identity "$(tokenctl identity host)"
expect "" --identity "$(<elsewhere.legacy.identity)"
expect "" --identity "$(tokenctl identity host)" --identity AGE-PLUGIN-TOKEND-1XYZ 2>said
grep -q '^error identity 1: ' said || lab_fail "a bad identity was not named: $(<said)"

# The price of many files: one ZGen each for those with our tag, nothing for the others.
cost=$(interop_cost python3 "$client" open "$plugin" --identity "$(tokenctl identity host)" 0.age 1.age 2.age 3.age 4.age)
[ "$cost" -eq 1 ] || lab_fail "one p256 file among five cost $cost TPM commands"

python3 "$client" wrap "$plugin" --recipient "$host" --identity "$(tokenctl identity second)" --recipient "$legacy" --count 3 \
	--any "$(tokenctl identity)" >got
[ "$(grep -c ' opened$' got)" -eq 9 ] && [ "$(grep -c . got)" -eq 9 ] || lab_fail "wrapped and opened again: $(<got)"

# After an error there is no stanza at all.
python3 "$client" wrap "$plugin" --recipient "$host" --recipient age1notone --count 2 --any "$(tokenctl identity)" >got 2>said
[ ! -s got ] || lab_fail "stanzas in spite of an error: $(<got)"
grep -q '^error recipient 1: ' said || lab_fail "$(<said)"

# Not called as a plugin, or with a conversation that there is not.
lab_expect 4 "$plugin" --age-plugin=recipient-v9 </dev/null 2>said
lab_expect 4 "${plugin%/*}/age-plugin-tag" --age-plugin=identity-v1 </dev/null 2>said
lab_expect 2 "$plugin" </dev/null 2>said
lab_expect 1 "$plugin" --age-plugin=identity-v1 </dev/null 2>said
lab_expect 1 "$plugin" --age-plugin=identity-v1 <<<'-> add-identity' 2>said
lab_expect 1 "$plugin" --age-plugin=identity-v1 <<<'hello' 2>said
lab_grep "not the protocol of age's plugins" said || lab_fail "what is not the protocol: $(<said)"
for ((file = 0; file < 257; file++)); do printf -- '-> recipient-stanza %d X a\n\n' "$file"; done >many
lab_expect 1 "$plugin" --age-plugin=identity-v1 <many 2>said
lab_grep 'at most 1024 identities and recipients, 256 files' said || lab_fail "too many files: $(<said)"
