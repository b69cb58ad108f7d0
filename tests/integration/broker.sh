#!/bin/bash
# The broker over its socket, by a client that is written from the protocol alone.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
lab_need python3 swtpm age
export TOKEND_BIN_DIR=$LAB_BIN TOKEND_TEST_DIR=${TOKEND_TEST_DIR:-$LAB_TMP}
exec python3 -B "$LAB_SOURCE/tests/integration/broker.py" "$@"
