#!/bin/bash
# The bus between tokend and its TPM, recorded while everything is done that there is; nothing that is secret may be in it. bus.py says what is looked for, and how it is known.
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"
begin
lab_need tpm2_unseal tpm2_ecdhzgen tpm2_create
lab_tpm_start "$work"
lab_proxy_start "$work" --record "$work/record"
lab_config "$work" "$(lab_proxy_uri "$work")"
lab_tokend_start "$work"
lab_use "$work"
export BUS_RECORD=$work/record BUS_PROXY="swtpm:path=$(lab_proxy_socket "$work")" BUS_TPM
BUS_TPM=$(lab_tpm_tcti "$work")
export TOKEND_SOURCE_DIR=$LAB_SOURCE TSS2_LOG=all+none
DEADLINE=200 plainly python3 -B "$LAB_SOURCE/tests/integration/bus.py" "$work"
