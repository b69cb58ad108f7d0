#!/bin/bash
# 24 secrets through everything at log level debug, and searched for where they must not appear.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
lab_need python3 swtpm age age-keygen
[ "$(id -u)" -eq 0 ] || lab_skip "only root may read the environment of a process that is not dumpable"
export TOKEND_BIN_DIR=$LAB_BIN TOKEND_TEST_DIR=${TOKEND_TEST_DIR:-$LAB_TMP}
exec python3 -B "$LAB_SOURCE/tests/integration/canaries.py" "$@"
