#!/bin/bash
# What is denied and what is not there: the same answer, in the same time. TOKEND_TIMING_PAIRS=100000 for more than a glance.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
lab_need python3 swtpm
export TOKEND_BIN_DIR=$LAB_BIN TOKEND_TEST_DIR=${TOKEND_TEST_DIR:-$LAB_TMP}
exec python3 -B "$LAB_SOURCE/tests/integration/timing.py" "$@"
