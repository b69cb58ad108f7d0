#!/bin/bash
# What stands in the memory of the processes after each operation, who may look, and what happens where memory cannot be locked.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
lab_need python3 swtpm age age-keygen
[ "$(id -u)" -eq 0 ] || lab_skip "only root can look into processes that do not let themselves be looked into"
export TOKEND_BIN_DIR=$LAB_BIN TOKEND_TEST_DIR=${TOKEND_TEST_DIR:-$LAB_TMP}
exec python3 -B "$LAB_SOURCE/tests/integration/memory.py" "$@"
