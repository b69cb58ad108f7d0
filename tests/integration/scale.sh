#!/bin/bash
# What a request costs among many keys and many rules, beside the same among few.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
lab_need python3 swtpm age
[ -r /proc/self/schedstat ] || lab_skip "this kernel does not count processor time (schedstat)"
export TOKEND_BIN_DIR=$LAB_BIN TOKEND_TEST_DIR=${TOKEND_TEST_DIR:-$LAB_TMP}
scale=${TOKEND_TEST_SCALE:-}
# shellcheck disable=SC2086
exec python3 -B "$LAB_SOURCE/tests/integration/scale.py" ${scale/x/ }
