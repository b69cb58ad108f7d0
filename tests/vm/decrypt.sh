#!/bin/bash
# tokend as a package would install it, on a machine that boots: root enrolls, a member of the group tokend decrypts, somebody else may not.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
. "$TOKEND_SOURCE_DIR/tests/vm/machine.sh"
machine_need
lab_need swtpm tpm2_getrandom cmake
machine_tree
directory=$(lab_directory)
MACHINE_COPY=
trap 'lab_remove "$directory"; [ -z "$MACHINE_COPY" ] || rm -rf "$MACHINE_COPY"' EXIT
machine_copy

# What a package's files and its postinst script would do.
DESTDIR=$MACHINE_COPY cmake --install "${LAB_BIN%/bin}" --prefix /usr >"$directory/install.log" 2>&1 ||
	lab_fail "cmake --install: $(tail -n 1 "$directory/install.log")"
echo "token tpm:swtpm:path=/swtpm/tpm.sock" >>"$MACHINE_COPY/etc/tokend/tokend.conf"
systemd-sysusers --root="$MACHINE_COPY" >/dev/null
systemctl --root="$MACHINE_COPY" enable tokend.service >/dev/null 2>&1

# The software TPM stays outside; only its sockets go in.
mkdir "$directory/payload" "$directory/swtpm"
lab_tpm_start "$directory/swtpm"
trap 'lab_stop "$directory/swtpm"; lab_remove "$directory"; [ -z "$MACHINE_COPY" ] || rm -rf "$MACHINE_COPY"' EXIT
chmod 711 "$directory/swtpm"
chmod 666 "$directory/swtpm/tpm.sock" "$directory/swtpm/tpm.sock.ctrl"
cp "$TOKEND_SOURCE_DIR/tests/vm/payload-decrypt" "$directory/payload/run"

status=0
machine_boot "$MACHINE_COPY" "$directory/payload" 120 tokend.service --bind="$directory/swtpm:/swtpm" || status=$?
[ $status -eq 0 ] || lab_fail "in the machine: $(grep '^FAIL:' "$directory/payload/output" 2>/dev/null || echo "ended with $status")"
