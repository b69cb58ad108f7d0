#!/bin/bash
# Stock sops with tokend as its key service: no key file, no plugin, no built-in service on its side. sops_keyservice.sh PEER
#
# 3.9.0 does not know age1tag1 by itself and refuses it on the command line; what others encrypted to it, it decrypts all the same. SOPS_KEYSERVICE came with 3.11.0.
. "$(dirname "$0")/interop.sh"
sops=$(interop_program "$1")
interop_start
newer=yes
[ "$1" != sops-3.9.0 ] || newer=
# tokend's programs are not where sops could find them.
service=unix://$work/run/sops.sock
encrypt() { env PATH=/usr/bin:/bin timeout 20 "$sops" --enable-local-keyservice=false --keyservice "$service" -e "$@"; }
decrypt() { env PATH=/usr/bin:/bin timeout 20 "$sops" --enable-local-keyservice=false --keyservice "$service" -d "$@"; }
same() { cmp "$1" "$2" >&2 || lab_fail "$2 is not $1: $(head -n 3 "$2")"; }

cat >s.yaml <<YAML
# a comment
app:
    user: admin
    password: correct horse
    list:
        - one
        - two
YAML
printf '{\n\t"a": "b",\n\t"n": 1\n}\n' >s.json
printf 'KEY=value\n' >s.env
head -c 3000 /dev/urandom >s.bin
interop_colleague() {
	local keygen
	keygen=$(interop_keygen)
	"$keygen" -o colleague.txt 2>/dev/null
	"$keygen" -y colleague.txt
}
colleague=$(interop_colleague)

# ---- what works ----

recipients=$legacy,$colleague
[ -z "$newer" ] || recipients=$legacy,$host,$colleague
for file in s.yaml s.json s.env s.bin; do
	encrypt --age "$recipients" "$file" >"e.${file#s.}" || lab_fail "$file was not encrypted"
	decrypt "e.${file#s.}" >got || lab_fail "$file was not decrypted"
	[ "$file" = s.json ] || same "$file" got
	[ "$file" != s.json ] || python3 -c 'import json; assert json.load(open("got")) == json.load(open("s.json"))'
done
lab_grep '"frontend":"sops","operation":"unwrap".*"name":"legacy".*"result":"ok"' state/audit.log || lab_fail "the audit log has no release"

# The colleague has his own key and no tokend; what he encrypts, we open.
SOPS_AGE_KEY_FILE=colleague.txt timeout 20 "$sops" -d e.yaml >got
same s.yaml got
SOPS_AGE_KEY_FILE=colleague.txt timeout 20 "$sops" -e --age "$colleague,$legacy" s.yaml >theirs.yaml
decrypt theirs.yaml >got
same s.yaml got

# A file for the token's own key alone, whoever made it.
if [ -n "$newer" ]; then
	encrypt --age "$host" s.yaml >host.yaml
else
	if encrypt --age "$host" s.yaml >refused 2>said; then lab_fail "$1 encrypts to age1tag1 after all; this test is to be made like the others"; fi
	if other=$(lab_peer sops-3.13.3); then
		[ ! -d "$other" ] || other=$other/sops
		timeout 20 "$other" --enable-local-keyservice=false --keyservice "$service" -e --age "$host" s.yaml >host.yaml
	else
		echo "not tried with a file for age1tag1: $other"
		encrypt --age "$legacy" s.yaml >host.yaml
	fi
fi
decrypt host.yaml >got || lab_fail "the file for the token's own key was not decrypted"
same s.yaml got

if [ -n "$newer" ]; then
	SOPS_KEYSERVICE=$service SOPS_ENABLE_LOCAL_KEYSERVICE=false timeout 20 "$sops" -d e.yaml >got
	same s.yaml got
	# Beside the built-in service, which has no key and is asked first.
	SOPS_KEYSERVICE=$service timeout 20 "$sops" -d e.yaml >got
	same s.yaml got
fi

# Shares of a data key, one for each group.
second=$legacy
[ -z "$newer" ] || second=$host
cat >.sops.yaml <<YAML
creation_rules:
  - shamir_threshold: 2
    key_groups:
      - age: ["$legacy"]
      - age: ["$second"]
YAML
encrypt s.yaml >groups.yaml
decrypt groups.yaml >got
same s.yaml got
rm .sops.yaml

# ---- what does not ----

refused() { # WORDS FILE
	if decrypt "$2" >got 2>said; then lab_fail "$2 was decrypted"; fi
	[ ! -s got ] || lab_fail "$2 failed but gave output"
	# sops breaks the lines, and draws a frame around them.
	tr -s '| \n' ' ' <said | lab_grep -e "$1" || lab_fail "$2 is refused without '$1': $(<said)"
}
SOPS_AGE_KEY_FILE=colleague.txt timeout 20 "$sops" -e --age "$colleague" s.yaml >colleague.yaml
refused 'tokend holds no key that you may use for this' colleague.yaml
sed 's/^\( *\)YWdlLWVuY3J5cHRpb24ub3JnL3Yx.*/\1YWdlLWVuY3J5cHRpb24ub3JnL3YyAAAA/' theirs.yaml >damaged.yaml
cmp -s theirs.yaml damaged.yaml && lab_fail "nothing was damaged"
refused 'not a well-formed age file' damaged.yaml
# A key that is locked says what to type.
echo 246-810 >pin
tokenctl enroll --name safe --class session --kind x25519 --pin-file pin >/dev/null 2>&1
encrypt --age "$(tokenctl recipient safe)" s.yaml >safe.yaml
tokenctl lock >/dev/null 2>&1
refused 'tokenctl unlock safe' safe.yaml
tokenctl unlock safe --pin-file pin >/dev/null
decrypt safe.yaml >got
same s.yaml got
# Whoever may not use the key hears what he hears about a key that is not there.
lab_policy "$work" <<<"permit list admin unwrap key * user $(id -u) via age control"
lab_tokend_reload "$work"
lab_wait_for 5 eval '! decrypt theirs.yaml >got 2>said' || lab_fail "the policy does not keep sops out"
refused 'tokend holds no key that you may use for this' theirs.yaml
# Encrypting is everybody's.
encrypt --age "$legacy" s.yaml >/dev/null
lab_tokend_stop "$work"
if decrypt theirs.yaml >got 2>said; then lab_fail "without a tokend it was decrypted: the test proves nothing"; fi
