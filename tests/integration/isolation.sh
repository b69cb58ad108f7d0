#!/bin/bash
# What hostile code can do in each process, and what a hostile helper can do to the others.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
lab_need python3 swtpm age
[ "$(id -u)" -eq 0 ] || lab_skip "only root can give the processes their users, and do what they must not as a control"
export TOKEND_BIN_DIR=$LAB_BIN TOKEND_TEST_DIR=${TOKEND_TEST_DIR:-$LAB_TMP}
exec python3 -B "$LAB_SOURCE/tests/integration/isolation.py" "$@"
