#!/bin/bash
# The lab itself: what other tests believe of it.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
lab_need swtpm tpm2_getrandom python3
directory=$(lab_directory)
trap 'lab_remove "$directory"' EXIT

through_proxy() { TPM2TOOLS_TCTI=swtpm:path=$(lab_proxy_socket "$directory") TSS2_LOG=all+none timeout 3 "$@" >/dev/null 2>&1; }

# A TPM keeps its state from one start to the next, and a stop in order costs no try.
lab_tpm_start "$directory"
lab_tpm "$directory" tpm2_createprimary -Q -C o -c "$directory/parent"
lab_tpm "$directory" tpm2_evictcontrol -Q -C o -c "$directory/parent" 0x81000001
lab_tpm_stop "$directory"
! lab_tpm_answers "$directory" || lab_fail "a stopped TPM answers"
lab_tpm_start "$directory"
lab_tpm "$directory" tpm2_readpublic -Q -c 0x81000001 || lab_fail "the TPM forgot its persistent key"
[ "$(lab_tpm "$directory" tpm2_getcap properties-variable | sed -n 's/^TPM2_PT_LOCKOUT_COUNTER: //p')" = 0x0 ] || lab_fail "a stop in order cost a try"

# The proxy counts every command exactly once.
lab_proxy_start "$directory"
before=$(lab_proxy_count "$directory")
through_proxy tpm2_getrandom --hex 4 || lab_fail "nothing comes through the proxy"
one=$(($(lab_proxy_count "$directory") - before))
through_proxy tpm2_getrandom --hex 4
[ "$one" -gt 0 ] || lab_fail "the proxy counts nothing"
[ $(($(lab_proxy_count "$directory") - before)) -eq $((2 * one)) ] || lab_fail "the proxy counts wrongly"
grep -q '^0x17b ' "$directory/proxy.commands" || lab_fail "the proxy does not know TPM2_GetRandom"

# Each fault reaches who uses the TPM, and ends when it is told to.
for mode in drop truncate oversize garbage "answer 0x922" hang; do
	# shellcheck disable=SC2086 # mode and its argument are two words
	lab_proxy_mode "$directory" $mode
	! through_proxy tpm2_getrandom --hex 4 || lab_fail "the fault '$mode' does nothing"
	lab_proxy_mode "$directory" pass
	through_proxy tpm2_getrandom --hex 4 || lab_fail "the fault '$mode' does not end"
done
lab_proxy_mode "$directory" delay 300
start=${EPOCHREALTIME/[.,]/}
through_proxy tpm2_getrandom --hex 4 || lab_fail "a slow TPM does not answer"
[ $((${EPOCHREALTIME/[.,]/} - start)) -ge 300000 ] || lab_fail "the delay does nothing"

# What a killed test leaves behind ends itself.
lab_stop "$directory"
LAB_LIFE=1 lab_tpm_start "$directory"
lab_wait_for 10 lab_is_stopped "$directory/tpm.pid" || lab_fail "the TPM outlived its time"
echo "the lab is as the tests believe"
