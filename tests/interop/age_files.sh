#!/bin/bash
# Files that a stock age or rage makes, it and tokenctl open; and the other way round: age1 and age1tag1, armored or not, empty to 1 MiB.
. "$(dirname "$0")/interop.sh"
client=$(interop_program "$1")
interop_start

: >empty
head -c 1048576 /dev/urandom >megabyte
tokenctl identity host >host.identity
tokenctl identity legacy >legacy.identity
tokenctl identity >any.identity

# Made by the client. A client that does not know age1tag1 itself does it through age-plugin-tag.
for file in plain empty megabyte; do
	for key in host legacy; do
		for armor in '' -a; do
			# shellcheck disable=SC2086
			"$client" -e $armor -r "${!key}" -o "$file.$key.age" "$file"
			interop_same "$file" tokenctl decrypt "$file.$key.age"
			interop_same "$file" "$client" -d -i "$key.identity" "$file.$key.age"
		done
		interop_same "$file" "$client" -d -i any.identity "$file.$key.age"
		interop_same "$file" "$client" -d -i <(tokenctl identity "$key") "$file.$key.age"
		interop_same "$file" "$client" -d -j tokend "$file.$key.age"
		tokenctl decrypt -o "$file.out" "$file.$key.age"
		cmp "$file" "$file.out" || lab_fail "tokenctl decrypt -o"
		rm -f "$file.out"
	done
done

# Made by tokenctl.
for file in plain empty megabyte; do
	for armor in '' -a; do
		# shellcheck disable=SC2086
		tokenctl encrypt $armor -r "$host" -r "$legacy" -o ours.age "$file"
		interop_same "$file" "$client" -d -i host.identity ours.age
		interop_same "$file" "$client" -d -i legacy.identity ours.age
		interop_same "$file" "$client" -d -i legacy.txt ours.age # the key file that was imported
		rm -f ours.age
	done
done

# Encrypted to an identity, which needs neither daemon nor device.
lab_tokend_stop "$work"
for key in host legacy; do
	"$client" -e -i "$key.identity" -o "identity.$key.age" plain
done
"$client" -e -r "$host" -o away.age plain
lab_tokend_start "$work"
interop_same plain tokenctl decrypt identity.host.age
interop_same plain tokenctl decrypt identity.legacy.age
interop_same plain "$client" -d -i host.identity away.age

# A real p256tag stanza is in there, not something else.
sed -n 2p away.age | lab_grep '^-> p256tag ' || lab_fail "$(sed -n 2p away.age)"
tokenctl audit verify >/dev/null
