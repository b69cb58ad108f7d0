#!/bin/bash
# For the tests of guard: an empty directory that is left when they end, git in it as nobody has set it up, neither a key nor tokend.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
lab_need git openssl age-keygen
directory=$(lab_directory)
trap 'lab_remove "$directory"' EXIT
cd "$directory"
PATH=$LAB_BIN:$PATH
export TOKEND_RUNTIME_DIR=$directory/none HOME=$directory GIT_CONFIG_NOSYSTEM=1
unset SOPS_CONFIG GIT_DIR GIT_INDEX_FILE
git config --global user.email nobody@example.org
git config --global user.name nobody
git config --global init.defaultBranch main

# found STATUS WORDS COMMAND...: ends with that status, and WORDS stand in its output (or, when empty, nothing does).
found() {
	local expected=$1 words=$2 status=0
	shift 2
	"$@" >"$directory/stdout" 2>"$directory/stderr" || status=$?
	[ "$status" -eq "$expected" ] || lab_fail "'$*' ended with $status where $expected was expected: $(cat "$directory/stdout" "$directory/stderr")"
	if [ -n "$words" ]; then
		grep -qF -- "$words" "$directory/stdout" "$directory/stderr" || lab_fail "'$*' does not say '$words' but: $(cat "$directory/stdout" "$directory/stderr")"
	else
		[ ! -s "$directory/stdout" ] || lab_fail "'$*' says: $(cat "$directory/stdout")"
	fi
}
