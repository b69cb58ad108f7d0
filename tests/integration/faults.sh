#!/bin/bash
# Each allocation and each call of the kernel that can fail, of each operation, made to fail once.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
lab_need python3 swtpm age age-keygen tpm2_getcap
export TOKEND_BIN_DIR=$LAB_BIN TOKEND_TEST_DIR=${TOKEND_TEST_DIR:-$LAB_TMP}
exec python3 -B "$LAB_SOURCE/tests/integration/faults.py" "$@"
