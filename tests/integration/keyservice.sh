#!/bin/bash
# sops' key service on sops.sock, asked by a client of our own and attacked by another. keyservice.sh PART, one of the parts at the end. What the real sops make of it: tests/interop/sops_keyservice.sh.
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"
call=${LAB_BIN%/bin}/tests/keyservice_call
[ -x "$call" ] || lab_skip "the program keyservice_call is not built"
NOT_HELD='5 tokend holds no key that you may use for this'

# call STATUS ACTION RECIPIENT FILE...: its answer is the file stdout, its refusal the file stderr.
call() {
	local expected=$1 status=0
	shift
	plainly "$call" run/sops.sock "$@" >stdout 2>stderr || status=$?
	[ "$status" -eq "$expected" ] || lab_fail "'$*' ended with $status where $expected was expected: $(cat stderr)"
}

not_to_this() {
	call 5 encrypt "$@"
	lab_grep '^5 tokend encrypts to age1... and age1tag1... only' stderr || lab_fail "'$*' says: $(<stderr)"
}

not_held() {
	call 5 "$@"
	[ "$(<stderr)" = "$NOT_HELD" ] || lab_fail "'$*' says: $(<stderr)"
}

no_longer() { ! plainly "$call" run/sops.sock "$@" >stdout 2>stderr; }

commands() {
	"$LAB_TOOLS/call" run/control.sock io.tokend.GetTokens | python3 -c 'import json, sys; print(sum(token["commands"] for token in json.load(sys.stdin)["tokens"]))'
}

world() {
	local uid
	uid=$(id -u)
	mkdir -p policy.d
	chmod 700 policy.d
	lab_policy "$work" <<-POLICY
		permit unwrap list admin key * user $uid via age control
		permit unwrap key legacy user $uid via sops
		permit unwrap key safe user $uid via sops
	POLICY
	lab_start "$work"
	age-keygen -o legacy.txt 2>/dev/null
	age-keygen -o colleague.txt 2>/dev/null
	works tokenctl enroll --name host
	works tokenctl enroll --name legacy --kind x25519 --import legacy.txt
	host=$(tokenctl recipient host)
	legacy=$(tokenctl recipient legacy)
	colleague=$(age-keygen -y colleague.txt)
	head -c 32 /dev/urandom >data
}

part_answers() {
	world
	# To whomever: a whole armored file, which the others open.
	call 0 encrypt "$legacy" data
	cp stdout legacy.age
	call 0 encrypt "$host" data
	cp stdout host.age
	call 0 encrypt "$colleague" data
	cp stdout colleague.age
	head -n 1 host.age | lab_grep -x -e '-----BEGIN AGE ENCRYPTED FILE-----'
	opens host.age data
	works age -d -i legacy.txt legacy.age
	cmp stdout data
	works age -d -i colleague.txt colleague.age
	cmp stdout data

	call 0 decrypt "$legacy" legacy.age
	cmp stdout data || lab_fail "another data key came back"
	tail -n 1 state/audit.log >record
	lab_grep '"frontend":"sops","operation":"unwrap","uid":'"$(id -u)"',.*"name":"legacy",.*"result":"ok"' record || lab_fail "the audit log says: $(<record)"

	# Denied, nobody's, another's file, of a kind that is not ours, no recipient at all: the same answer, byte for byte.
	not_held decrypt "$host" host.age
	not_held decrypt "$colleague" colleague.age
	not_held decrypt "$legacy" colleague.age
	not_held decrypt "$colleague" legacy.age
	not_held decrypt "$host" legacy.age
	not_held decrypt age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t legacy.age
	not_held decrypt nonsense legacy.age
	not_to_this nonsense data
	not_to_this "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN" data
	lab_grep '"frontend":"sops".*"result":"ok"' state/audit.log || lab_fail "the log has no release"
	if tail -n +2 state/audit.log | grep '"frontend":"sops"' | grep -v '"result":"ok"' | lab_grep '"name":"host"'; then lab_fail "the audit log names a key that was not decided on"; fi

	# What is no age file, is damaged, or is too long.
	head -c 100 /dev/urandom >noise
	: >empty
	head -c 20000 /dev/zero >long
	head -c 2000 /dev/zero >too-long
	sed '3s/^...../AAAAA/' legacy.age >damaged.age
	head -n -2 legacy.age >cut.age
	for file in noise empty damaged.age cut.age; do
		call 3 decrypt "$legacy" "$file"
		[ ! -s stdout ] || lab_fail "$file gave output"
	done
	call 8 decrypt "$legacy" long
	call 3 encrypt "$legacy" too-long
	lab_grep '1 KiB' stderr || lab_fail "too long data says: $(<stderr)"
	works tokenctl encrypt -r "$legacy" -a -o much.age too-long
	call 3 decrypt "$legacy" much.age

	# Whoever may use no key at all hears the same as well.
	lab_policy "$work" <<<"permit unwrap list admin key * user $(id -u) via age control"
	lab_tokend_reload "$work"
	lab_wait_for 5 no_longer decrypt "$legacy" legacy.age || lab_fail "the policy was not read again"
	not_held decrypt "$legacy" legacy.age
	lab_policy "$work" <<<"permit unwrap list admin key * user $(id -u)"
	lab_tokend_reload "$work"

	# No device is needed to encrypt, and one that is gone is said in time.
	lab_tpm_kill "$work"
	lab_tokend_stop "$work"
	lab_tokend_start "$work"
	call 0 encrypt "$host" data
	call 14 decrypt "$legacy" legacy.age
	lab_grep 'tokenctl tokens' stderr
}

# One PIN for a thousand files, and not one command to the device.
part_session() {
	world
	echo 135-790 >pin
	works tokenctl enroll --name safe --kind x25519 --class session --pin-file pin
	safe=$(tokenctl recipient safe)
	plainly "$call" run/sops.sock encrypt "$safe" $(yes data | head -n 1000) >all
	mkdir files
	awk '/^-----BEGIN/ { file = sprintf("files/%04d.age", ++count) } { print > file }' all
	tokenctl lock >/dev/null
	call 16 decrypt "$safe" files/0001.age
	lab_grep '^16 the key safe is locked and needs its PIN; type: tokenctl unlock safe$' stderr || lab_fail "a locked key says: $(<stderr)"
	works tokenctl unlock safe --pin-file pin
	call 0 decrypt "$safe" files/0001.age
	before=$(commands)
	own=$(($(commands) - before))
	before=$(commands)
	records=$(grep -c '"frontend":"sops","operation":"unwrap".*"name":"safe".*"result":"ok"' state/audit.log)
	start=${EPOCHREALTIME/[.,]/}
	DEADLINE=120 call 0 decrypt "$safe" files/*.age
	took=$((${EPOCHREALTIME/[.,]/} - start))
	after=$(commands)
	cmp stdout <(for ((i = 0; i < 1000; i++)); do cat data; done) || lab_fail "not a thousand data keys"
	made=$(($(grep -c '"frontend":"sops","operation":"unwrap".*"name":"safe".*"result":"ok"' state/audit.log) - records))
	echo "1000 files in $((took / 1000)) ms, one after the other: 1 PIN, $((after - before - own)) TPM commands, $made audit records"
	[ "$((after - before - own))" -eq 0 ] || lab_fail "the device was asked"
	[ "$made" -eq 1000 ] || lab_fail "$made records of 1000 releases"
	# Control: when the key is locked again, nothing is released.
	tokenctl lock >/dev/null
	call 16 decrypt "$safe" files/0002.age
}

part_memory() {
	local i
	[ "$(id -u)" -eq 0 ] || lab_skip "only root looks into the memory of tokend"
	world
	for ((i = 0; i < 10; i++)); do
		head -c 32 /dev/urandom >"key.$i"
		call 0 encrypt "$legacy" "key.$i"
		cp stdout encrypted
		call 0 decrypt "$legacy" encrypted
		cmp stdout "key.$i"
		call 5 decrypt "$host" encrypted
		call 0 encrypt "$host" "key.$i"
	done
	python3 "$LAB_SOURCE/tests/integration/keyservice_memory.py" run/sops.sock "$(<tokend.pid)" key.*
}

part_attacks() {
	world
	call 0 encrypt "$legacy" data
	cp stdout legacy.age
	python3 "$LAB_SOURCE/tests/integration/keyservice.py" run/sops.sock "$(<tokend.pid)" "$legacy" legacy.age
	lab_is_running tokend.pid || lab_fail "tokend is gone"
	call 0 decrypt "$legacy" legacy.age
	cmp stdout data
}

case ${1:-} in
answers | session | memory | attacks) ;;
*) echo "usage: keyservice.sh answers|session|memory|attacks" >&2; exit 2 ;;
esac
begin
"part_$1"
