#!/bin/bash
# Stock sops with age recipients: what this version can do, it does with tokend's keys; what it cannot, is written down here as it is.
#
# 3.9.0 knows no plugins: not age1tag1 when encrypting, not AGE-PLUGIN-TOKEND-1 when decrypting (both came with 3.10.0).
. "$(dirname "$0")/interop.sh"
sops=$(interop_program "$1")
interop_start
cat >s.yaml <<YAML
# a comment
app:
    user: admin
    password: correct horse
    port: 8080
    list: [one, two]
YAML
printf '{"a": "b", "n": 1}\n' >s.json
printf 'KEY=value\n' >s.env
head -c 3000 /dev/urandom >s.bin

check_decrypts() { # FILE COMMAND...
	local file=$1
	shift
	"$@" >got || lab_fail "'$*' ended with $?"
	case $file in
	*.yaml) grep -q 'password: correct horse' got || lab_fail "$file: $(<got)" ;;
	*.json) grep -q '"a": "b"' got || lab_fail "$file: $(<got)" ;;
	*) cmp "$file" got || lab_fail "$file" ;;
	esac
}

case $1 in
sops-3.9.0)
	if "$sops" -e --age "$legacy,$host" s.yaml >e.yaml 2>said; then
		lab_fail "$1 encrypts to age1tag1 after all; this test is to be made like the others"
	fi
	echo "$1 does not encrypt to age1tag1: $(grep -i -m1 recipient said)"
	"$sops" -e --age "$legacy" s.yaml >e.yaml
	if SOPS_AGE_KEY_FILE=<(tokenctl identity legacy) "$sops" -d e.yaml >got 2>said; then
		lab_fail "$1 decrypts through plugins after all; this test is to be made like the others"
	fi
	[ ! -s got ] || lab_fail "$1 failed but gave output"
	echo "$1 does not take plugin identities: $(grep -m1 'unknown type' said)"
	# The file is a good one: the key file that was imported opens it, and so does a newer sops with tokend.
	SOPS_AGE_KEY_FILE=legacy.txt check_decrypts s.yaml "$sops" -d e.yaml
	newer=$(lab_peer sops-3.13.3) || { echo "not tried with a newer sops: $newer"; exit 0; }
	SOPS_AGE_KEY_FILE=<(tokenctl identity legacy) check_decrypts s.yaml "$newer" -d e.yaml
	exit 0
	;;
esac

# sops opens its identity file once for each entry it tries, so a pipe such as <(tokenctl identity) serves for one: with the identity that stands for all
# keys the first entry opens. One that may not fit the first entry belongs into a file or a command.
for key in host legacy; do
	tokenctl identity "$key" >"$key.identity"
done
for file in s.yaml s.json s.env s.bin; do
	"$sops" -e --age "$legacy,$host" "$file" >"e.${file#s.}"
	encrypted=e.${file#s.}
	SOPS_AGE_KEY_FILE=<(tokenctl identity) check_decrypts "$file" "$sops" -d "$encrypted"
	SOPS_AGE_KEY_FILE=host.identity check_decrypts "$file" "$sops" -d "$encrypted"
	SOPS_AGE_KEY_FILE=legacy.identity check_decrypts "$file" "$sops" -d "$encrypted"
	SOPS_AGE_KEY=$(tokenctl identity) check_decrypts "$file" "$sops" -d "$encrypted"
	SOPS_AGE_KEY_CMD='tokenctl identity' check_decrypts "$file" "$sops" -d "$encrypted"
done

# As people have it: keys.txt in the home directory, .sops.yaml with both recipients, edited in place.
mkdir -p "$HOME/.config/sops/age"
tokenctl identity >"$HOME/.config/sops/age/keys.txt"
printf 'creation_rules:\n  - age: %s,%s\n' "$host" "$legacy" >.sops.yaml
"$sops" -e s.yaml >rules.yaml
check_decrypts s.yaml "$sops" -d rules.yaml
"$sops" set rules.yaml '["app"]["port"]' 9090
"$sops" -d rules.yaml | lab_grep 'port: 9090' || lab_fail "sops set"
"$sops" rotate -i rules.yaml
"$sops" -d rules.yaml | lab_grep 'port: 9090' || lab_fail "sops rotate"
"$sops" updatekeys -y rules.yaml >/dev/null 2>&1 || lab_fail "sops updatekeys"

# Another machine's identity before ours.
interop_elsewhere
cat elsewhere.host.identity elsewhere.legacy.identity <(tokenctl identity) >"$HOME/.config/sops/age/keys.txt"
"$sops" -e --age "$(<elsewhere.host.recipient),$(<elsewhere.legacy.recipient),$host" s.yaml >shared.yaml
check_decrypts s.yaml "$sops" -d shared.yaml
rm "$HOME/.config/sops/age/keys.txt"
SOPS_AGE_KEY=$(tokenctl identity) check_decrypts s.yaml "$sops" -d shared.yaml
SOPS_AGE_KEY_CMD='tokenctl identity' check_decrypts s.yaml "$sops" -d shared.yaml
# The limit of the pipe, as it is: the first entry is not ours, and for the third the pipe is empty.
if SOPS_AGE_KEY_FILE=<(tokenctl identity) "$sops" -d shared.yaml >got 2>said; then
	lab_fail "$1 reads a pipe more than once after all; the advice in the documentation can be simpler"
fi
tokenctl identity >"$HOME/.config/sops/age/keys.txt"

# Negative: not for us; and nobody there.
"$sops" -e --age "$(interop_stranger)" s.yaml >stranger.yaml
interop_refused 'data key' "$sops" -d stranger.yaml
lab_tokend_stop "$work"
interop_refused 'data key' "$sops" -d rules.yaml
# sops breaks lines where it likes.
sed 's/^ *|//' said | tr -s ' \n' ' ' | lab_grep 'tokend is not running.*hint: ' || lab_fail "sops did not pass on why: $(<said)"
