#!/bin/bash
# Several recipients in a file, several identities in an identity file: whichever fits opens it, wherever it stands, and one whose key is not here
# is passed over.
. "$(dirname "$0")/interop.sh"
client=$(interop_program "$1")
interop_start
interop_elsewhere
tokenctl enroll --name second >/dev/null 2>&1
second=$(tokenctl recipient second)
elsewhere_host=$(<elsewhere.host.recipient)
elsewhere_legacy=$(<elsewhere.legacy.recipient)
for key in host legacy second; do
	tokenctl identity "$key" >"$key.identity"
done

# ours: the recipient stands first, in the middle and last among strangers
strangers=()
for _ in 1 2 3 4 5 6 7 8; do
	strangers+=(-r "$(interop_stranger)")
done
for key in host legacy; do
	"$client" -r "${!key}" "${strangers[@]}" -o first.age plain
	"$client" "${strangers[@]}" -r "${!key}" "${strangers[@]}" -o middle.age plain
	"$client" "${strangers[@]}" -r "${!key}" -o last.age plain
	for place in first middle last; do
		interop_same plain "$client" -d -i "$key.identity" "$place.age"
		interop_same plain "$client" -d -j tokend "$place.age"
		interop_same plain tokenctl decrypt "$place.age"
		rm "$place.age"
	done
done

# Two, then three tag recipients: each of them opens the file, not only the first.
"$client" -r "$elsewhere_host" -r "$host" -r "$second" -o tags.age plain
interop_same plain "$client" -d -i host.identity tags.age
interop_same plain "$client" -d -i second.identity tags.age
interop_same plain "$client" -d -j tokend tags.age
interop_same plain tokenctl decrypt tags.age

# Identity files in which other machines' keys stand first or last. The file is for those as well, so their stanzas are there to be tried.
"$client" -r "$elsewhere_legacy" -r "$elsewhere_host" -r "$host" -o shared.host.age plain
"$client" -r "$elsewhere_legacy" -r "$elsewhere_host" -r "$legacy" -o shared.legacy.age plain
stranger=$work/stranger.txt
"$keygen" -o "$stranger" 2>/dev/null
for key in host legacy; do
	cat elsewhere.host.identity elsewhere.legacy.identity "$key.identity" >foreign-first
	cat "$key.identity" elsewhere.host.identity elsewhere.legacy.identity >foreign-last
	cat "$stranger" elsewhere.legacy.identity "$key.identity" "$stranger" >mixed
	cat elsewhere.host.identity <(tokenctl identity) >any-last
	for file in foreign-first foreign-last mixed any-last; do
		interop_same plain "$client" -d -i "$file" "shared.$key.age"
	done
	interop_same plain "$client" -d -i elsewhere.host.identity -i elsewhere.legacy.identity -i "$key.identity" "shared.$key.age"
	# A native identity in the same file opens what only it can.
	"$client" -r "$("$keygen" -y "$stranger")" -o native.age plain
	cat elsewhere.host.identity "$key.identity" "$stranger" >native-last
	interop_same plain "$client" -d -i native-last native.age
	rm native.age
done

# Only other machines' keys: not opened, and the client says so in its own words.
cat elsewhere.host.identity elsewhere.legacy.identity >only-foreign
interop_refused '[Nn]o (identity matched|matching keys)' "$client" -d -i only-foreign shared.host.age
