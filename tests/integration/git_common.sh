#!/bin/bash
# For the tests of git: a directory with a tokend and two keys in it, git as nobody has set it up, and nothing that a caller has set.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
lab_need git openssl
work=$(lab_directory)
trap 'lab_remove "$work"' EXIT
lab_start "$work"
cd "$work"
# shellcheck disable=SC2034 # what the last command said
said=$work/said
PATH=$LAB_BIN:$PATH
export HOME=$work GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org
unset SOPS_CONFIG GIT_DIR GIT_INDEX_FILE
tokenctl enroll --name host --kind x25519 >/dev/null 2>&1
tokenctl enroll --name other --kind x25519 >/dev/null 2>&1

rules() { # KEY...: who can open the files
	local key list=
	for key; do list=$list${list:+,}$(tokenctl recipient "$key"); done
	printf 'creation_rules:\n  - path_regex: \\.enc\\.yaml$\n    age: %s\n' "$list" >.sops.yaml
}
