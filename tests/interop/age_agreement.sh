#!/bin/bash
# age's library, rage's and ours read the same damaged files (agreement/): they agree on which to take and what is in them, but for differences that are known
# and named. The files are of a seed that is printed, TOKEND_TEST_SEED or a new one, and some of
# seed 1. The number of files is AGREEMENT_FILES.
set -euo pipefail
# shellcheck source=../lab/lab.sh
. "${TOKEND_SOURCE_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}/tests/lab/lab.sh"

age=$(lab_peer agreement-age-1.3.1) || lab_skip "$age"
rage=$(lab_peer agreement-rage-0.12.1) || lab_skip "$rage"
age=$age/agreement-age
rage=$rage/agreement-rage
agreement=$LAB_BIN/../tests/agreement
lab_seed "$(realpath "$0")"
work=$(lab_directory)
trap 'rm -rf "$work"' EXIT
cd "$work"

# The control: a reader with another key refuses what the others take, and that has to be noticed.
cat >control <<CONTROL
#!/bin/bash
exec "$age" "\$1" "not the passphrase" "\$3"
CONTROL
chmod +x control
if timeout 60 "$agreement" ./control "$rage" 500 1 >said; then
	lab_fail "a reader that does not know the passphrase was not noticed"
fi
grep -q 'they do not agree, and nobody knows why' said || lab_fail "the control failed for another reason: $(tail -n 1 said)"

lab_seeded 20000 "${AGREEMENT_FILES:-80000}" timeout 1500 "$agreement" "$age" "$rage" COUNT SEED
