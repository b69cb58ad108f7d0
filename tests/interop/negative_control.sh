#!/bin/bash
# The tests of this folder must be able to fail: with a plugin that opens nothing, and with one that gives a wrong key, those that decrypt do.
set -euo pipefail
# shellcheck source=../lab/lab.sh
. "${TOKEND_SOURCE_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}/tests/lab/lab.sh"
broken=$(lab_directory)
trap 'rm -rf "$broken"' EXIT
peer=
for name in age-1.3.1 age-1.1.1 rage-0.12.1; do
	if lab_peer "$name" >/dev/null; then
		peer=$name
		break
	fi
done
[ -n "$peer" ] || lab_skip "there is no age; type tools/peers age"
mkdir "$broken/bin"
ln -s "$LAB_BIN"/* "$broken/bin/"

must_fail() { # SCRIPT PLUGIN-TEXT
	rm -f "$broken/bin/age-plugin-tokend"
	printf '%s' "$2" >"$broken/bin/age-plugin-tokend"
	chmod +x "$broken/bin/age-plugin-tokend"
	if TOKEND_BIN_DIR=$broken/bin "$LAB_SOURCE/tests/interop/$1" "$peer" >/dev/null 2>&1; then
		lab_fail "$1 passes with a broken plugin"
	fi
}

opens_nothing='#!/bin/bash
while read -r line && [ "$line" != "-> done" ]; do :; done
printf -- "-> done\n\n"
'
wrong_key='#!/bin/bash
while read -r line && [ "$line" != "-> done" ]; do :; done
printf -- "-> file-key 0\nAAAAAAAAAAAAAAAAAAAAAA\n"
while read -r line && [ "$line" != "-> ok" ]; do :; done
printf -- "-> done\n\n"
'
for script in age_files.sh age_identities.sh; do
	must_fail "$script" "$opens_nothing"
	must_fail "$script" "$wrong_key"
done
# ... and they pass with the plugin as it is, so it was the plugin that failed them.
"$LAB_SOURCE/tests/interop/age_files.sh" "$peer" >/dev/null 2>&1 || lab_fail "age_files.sh fails with the plugin as it is"
