#!/bin/bash
# No branch and no address depends on a secret: under valgrind with the secrets poisoned nothing is reported, and the two controls are (poison.c).
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
lab_need valgrind
program=$LAB_BIN/../tests/poison
[ -x "$program" ] || lab_skip "it is built without sanitizers and with <valgrind/memcheck.h> only"

# poison CASE: its exit status, and in said what was reported.
poison() {
	timeout 120 valgrind --leak-check=no --suppressions="$LAB_SOURCE/tests/integration/poison.supp" "$program" "$1" >said 2>&1
}

work=$(lab_directory)
trap 'rm -rf "$work"' EXIT
cd "$work"
silent=(bech32 identity x25519 p256tag header pin compare encoding)
for name in "${silent[@]}"; do
	lab_expect 0 poison "$name" || lab_fail "$name: $(cat said)"
	lab_grep 'ERROR SUMMARY: 0 errors' <said || lab_fail "$name: $(cat said)"
done
lab_expect 1 poison control_branch
lab_grep 'jump or move depends on uninitialised' <said || lab_fail "a branch is not reported: $(cat said)"
lab_expect 1 poison control_address
lab_grep 'Use of uninitialised value' <said || lab_fail "an address is not reported: $(cat said)"
echo "${#silent[@]} cases: 0 branches and addresses that depend on a secret; both controls are reported"
