#!/bin/bash
# All vectors of the age format through tokenctl decrypt; those that do not apply are named with their reason.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
lab_need python3
python3 -B "$LAB_SOURCE/tests/integration/cli_vectors.py" "$LAB_BIN/tokenctl" "$LAB_SOURCE/tests/data/age/vectors"
