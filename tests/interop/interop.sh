# shellcheck shell=bash
# What the tests of this folder share; sourced. After it: $work (a lab with a TPM and a tokend that has the keys host, p256, and legacy, an imported
# x25519 key), the functions below, and tokenctl and the plugins in PATH.
set -euo pipefail
# shellcheck source=../lab/lab.sh
. "${TOKEND_SOURCE_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}/tests/lab/lab.sh"
INTEROP_TOOLS=$LAB_SOURCE/tests/interop

# interop_program PEER: the path of its main program, or the test is skipped.
interop_program() {
	local place
	place=$(lab_peer "$1") || { echo "SKIP: $place" >&2; return 77; }
	if [ -d "$place" ]; then
		place=$place/${1%-*}
	fi
	case $1 in
	sops-*) "$place" --version --disable-version-check 2>/dev/null ;;
	*) "$place" --version ;;
	esac | sed "s|^|$1: |" >&2
	echo "$place"
}

# interop_start: the lab, and its end.
interop_start() {
	lab_need swtpm python3
	work=$(lab_directory)
	trap 'interop_end' EXIT
	# No client may find keys or settings of whoever runs the test, nor write there.
	export HOME=$work/home XDG_CONFIG_HOME=$work/home/.config TMPDIR=$work/tmp
	export PINENTRY_PROGRAM= # rage then asks on its terminal, as age does
	unset SOPS_AGE_KEY SOPS_AGE_KEY_FILE SOPS_AGE_KEY_CMD SOPS_KEYSERVICE AGEDEBUG
	mkdir -p "$HOME" "$TMPDIR"
	lab_start "$work"
	cd "$work"
	keygen=$(interop_keygen)
	"$keygen" -o legacy.txt 2>/dev/null
	tokenctl enroll --name host >/dev/null 2>&1
	tokenctl enroll --name legacy --kind x25519 --import legacy.txt >/dev/null 2>&1
	host=$(tokenctl recipient host)
	legacy=$(tokenctl recipient legacy)
	printf 'attack at dawn\n' >plain
}

interop_end() {
	local status=$?
	if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
		echo "--- last words of tokend:" >&2
		tail -n 15 "$work/tokend.log" >&2 || true
	fi
	lab_remove "$work"
}

interop_keygen() {
	local place
	for place in "$LAB_PEERS"/bin/age-*/age-keygen /usr/bin/age-keygen "$LAB_PEERS"/bin/rage-*/rage-keygen; do
		if [ -x "$place" ]; then
			echo "$place"
			return
		fi
	done
	lab_skip "there is no age-keygen; type tools/peers age"
}

# A key pair of nobody here: prints its recipient.
interop_stranger() {
	"$keygen" 2>/dev/null | sed -n 's/^# public key: //p'
}

# interop_elsewhere: keys of another machine's tokend, which is gone again; leaves elsewhere.{host,legacy}.{recipient,identity}.
interop_elsewhere() {
	local other
	other=$(lab_directory)
	(
		lab_start "$other"
		"$keygen" -o "$other/legacy.txt" 2>/dev/null
		tokenctl enroll --name host >/dev/null 2>&1
		tokenctl enroll --name legacy --kind x25519 --import "$other/legacy.txt" >/dev/null 2>&1
		for key in host legacy; do
			tokenctl recipient "$key" >"$work/elsewhere.$key.recipient"
			tokenctl identity "$key" >"$work/elsewhere.$key.identity"
		done
	)
	lab_remove "$other"
}

# interop_same FILE COMMAND...: its standard output is FILE, to the byte, and it ends with 0.
interop_same() {
	local file=$1
	shift
	"$@" >"$work/got" || lab_fail "'$*' ended with $?"
	cmp "$file" "$work/got" || lab_fail "'$*' gave something else than $file"
}

# interop_refused TEXT COMMAND...: it fails in the sense of its own exit code, gives nothing, and says TEXT (a regular expression).
interop_refused() {
	local text=$1
	shift
	if "$@" >"$work/got" 2>"$work/said"; then
		lab_fail "'$*' succeeded"
	fi
	[ ! -s "$work/got" ] || lab_fail "'$*' failed but gave output"
	grep -Eq -- "$text" "$work/said" || { cat "$work/said" >&2; lab_fail "'$*' did not say '$text'"; }
}

# interop_cost COMMAND...: how many commands the TPM had from tokend while it ran; its output is dropped. Asking costs some itself, always as many.
interop_cost() {
	local before after own
	before=$(interop_commands)
	"$@" >/dev/null 2>&1 || true
	after=$(interop_commands)
	own=$(($(interop_commands) - after))
	echo $((after - before - own))
}

interop_commands() {
	"$LAB_TOOLS/call" "$work/run/control.sock" io.tokend.GetTokens |
		python3 -c 'import json,sys; print(sum(token["commands"] for token in json.load(sys.stdin)["tokens"]))'
}
