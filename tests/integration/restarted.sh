#!/bin/bash
# A tokend that is started anew while tokenctl decrypt -r opens a tree costs it no file; one that stays away is waited for, and then named once.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
directory=$(lab_directory)
trap 'lab_remove "$directory"' EXIT
lab_start "$directory"
cd "$directory"
files=2000
tokenctl enroll --name tree --kind x25519 >/dev/null
echo 'what is in it' >plain.txt
tokenctl encrypt --key tree -o one.age plain.txt
mkdir tree
seq -f tree/%g.age 1 "$files" | xargs -n 500 sh -c 'tee "$@" <one.age >/dev/null' sh

outputs() { find out -name '[0-9]*' 2>/dev/null | wc -l; }
some_are_there() { [ "$(outputs)" -gt 20 ]; }
# With tokend away when some, not all, are there.
interrupt() {
	rm -rf out
	tokenctl decrypt -r tree --output-dir out >said 2>&1 &
	tree=$!
	lab_wait_for 10 some_are_there || lab_fail "nothing was decrypted: $(<said)"
	lab_tokend_stop "$directory"
	there=$(outputs)
	[ "$there" -lt "$files" ] || lab_fail "all were there before tokend was away: this shows nothing"
}

interrupt
sleep 0.5
lab_tokend_start "$directory"
wait "$tree" || lab_fail "a restart cost files: $(tail -n 3 said)"
[ "$(outputs)" -eq "$files" ] || lab_fail "$(outputs) of $files files are there"
[ "$(find out -name '[0-9]*' -exec sha256sum {} + | cut -d ' ' -f 1 | sort -u)" = "$(sha256sum plain.txt | cut -d ' ' -f 1)" ] || lab_fail "a file is not whole"
echo "restarted after $there of $files files: all are right"

# The control: with nobody there again it fails, in a time, and says so in one sentence.
interrupt
status=0
wait "$tree" || status=$?
[ "$status" -eq 6 ] || lab_fail "without tokend it ended with $status: $(tail -n 3 said)"
[ "$(grep -c 'tokend is not running' said)" -eq 1 ] || lab_fail "the reason is not told once: $(head -c 2000 said)"
grep -q "of $files encrypted files failed" said || lab_fail "how many failed is not said: $(tail -n 2 said)"
echo "stayed away after $there: $(tail -n 2 said | head -n 1)"
