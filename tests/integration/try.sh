#!/bin/bash
# tools/try refuses what it cannot do before it builds, starts or writes anything, and says what to type.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
directory=$(lab_directory)
running=
left=()
trap 'kill $running "${left[@]}" 2>/dev/null || true; lab_remove "$directory"' EXIT
cd "$directory"

# refuses WORDS ARGUMENT...
refuses() {
	local words=$1 status=0
	shift
	timeout 20 "$LAB_SOURCE/tools/try" "$@" >stdout 2>stderr </dev/null || status=$?
	[ "$status" -eq 2 ] || lab_fail "'tools/try $*' ended with $status: $(cat stdout stderr)"
	grep -qF -- "$words" stderr || lab_fail "'tools/try $*' does not say '$words' but: $(cat stderr)"
	grep -q '^  next: ' stderr || lab_fail "'tools/try $*' says no next command: $(cat stderr)"
	[ ! -s stdout ] || lab_fail "'tools/try $*' began to work: $(cat stdout)"
}

refuses 'there is no option' --stopp
refuses 'needs a value' --dir
refuses "there is no trial in $directory/typo" --stop --dir typo
[ ! -e typo ] || lab_fail "--stop made a directory"
refuses 'cannot carry the path' --dir 'two words'
[ ! -e 'two words' ] || lab_fail "a directory was made for a trial that cannot be"
refuses 'cannot carry the path' --dir "$directory/umläut"
mkdir -m 0755 home && echo mine >home/file
refuses 'holds other files' --dir home
[ "$(stat -c %a home)" = 755 ] || lab_fail "a directory that is no trial was changed"
refuses 'there is no trial in' --stop --dir home

# A trial that runs on one token is not started with another one, and its configuration stays.
mkdir trial && cp "$(command -v sleep)" tokend
echo 'token tpm:device:/dev/one' >trial/tokend.conf
./tokend 60 &
running=$!
echo "$running" >trial/tokend.pid
lab_wait_for 5 grep -qx tokend "/proc/$running/comm"
refuses 'runs with the token tpm:device:/dev/one' --dir trial --token tpm:device:/dev/two
grep -q -- '--stop --dir' stderr || lab_fail "does not say how to stop: $(cat stderr)"
[ "$(cat trial/tokend.conf)" = 'token tpm:device:/dev/one' ] || lab_fail "the configuration was written under a running tokend"
"$LAB_SOURCE/tools/try" --stop --dir trial >stdout
grep -q 'has ended' stdout || lab_fail "--stop: $(cat stdout)"
wait "$running" 2>/dev/null || true
running=
[ -e trial/tokend.conf ] || lab_fail "--stop removed files"

# A directory that was removed under a running trial: its programs are found by what they were started with, and those of another trial are left alone.
mkfifo waits
cp "$BASH" tokend && cp "$BASH" swtpm
stays() { "./$1" -c 'exec 9<>"$1"; read -r -t 60 -u 9' stays "$directory/waits" "$2" & left+=($!); }
stays tokend "$directory/removed/state"
stays swtpm "dir=$directory/removed/tpm"
stays tokend "$directory/other/state"
stays tokend "$directory/removed/state.kept"
for pid in "${left[@]}"; do lab_wait_for 5 grep -qE '^(tokend|swtpm)$' "/proc/$pid/comm"; done
"$LAB_SOURCE/tools/try" --stop --dir removed >stdout
grep -q 'left running' stdout && grep -q 'its files were removed before' stdout || lab_fail "--stop of a removed trial: $(cat stdout)"
[ ! -e removed ] || lab_fail "--stop made a directory"
for pid in "${left[@]:0:2}"; do
	wait "$pid" 2>/dev/null || true
	if kill -0 "$pid" 2>/dev/null; then lab_fail "a program of the removed trial still runs"; fi
done
for pid in "${left[@]:2}"; do kill -0 "$pid" || lab_fail "a program of another trial was ended"; done
refuses 'there is no trial in' --stop --dir removed
echo "tools/try refuses what it cannot do"
