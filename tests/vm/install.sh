#!/bin/bash
# The commands of README.md's "Installing", as they stand there, on a machine that boots; then what an administrator does next, a boot that needs nobody, and the way back.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
. "$TOKEND_SOURCE_DIR/tests/vm/machine.sh"
machine_need
lab_need swtpm tpm2_getrandom python3
machine_tree
directory=$(lab_directory)
MACHINE_COPY=
cleanup() {
	lab_stop "$directory/swtpm"
	lab_remove "$directory"
	[ -z "$MACHINE_COPY" ] || rm -rf "$MACHINE_COPY"
}
trap cleanup EXIT
machine_copy

# The clean clone after the build, to be seen where it was built, for cmake knows it by that place. What only the build needs stays outside.
build=${LAB_BIN%/bin}
built=$directory/built
mkdir "$built"
tar c -C "$LAB_SOURCE" --exclude=./build --exclude=./.git --exclude=./tests . | tar x -C "$built"
(cd "$LAB_SOURCE" && find "${build#"$LAB_SOURCE/"}" \( -name cmake_install.cmake -o -path '*/bin/*' \) -print0) | tar c -C "$LAB_SOURCE" --null -T - | tar x -C "$built"
mkdir "$directory/payload" "$directory/swtpm"
{
	printf 'cd %q\nbuild=%q\n' "$LAB_SOURCE" "$build"
	cat "$LAB_SOURCE/tests/vm/payload-install"
} >"$directory/payload/run"

cp "$LAB_SOURCE/tests/vm/terminal-tpm" "$directory/payload/"

# Where this kernel has Landlock, tokend has it in its unit (call 444 is landlock_create_ruleset, on every architecture).
if python3 -c 'import ctypes; raise SystemExit(ctypes.CDLL(None).syscall(444, None, 0, 1) <= 0)'; then touch "$directory/payload/landlock"; fi

# The software TPM stays outside; only its sockets go in.
lab_tpm_start "$directory/swtpm"
chmod 711 "$directory/swtpm"
chmod 666 "$directory/swtpm/tpm.sock" "$directory/swtpm/tpm.sock.ctrl"

boot() {
	local status=0
	machine_boot "$MACHINE_COPY" "$directory/payload" 120 "$1" --bind="$directory/swtpm:/swtpm" --bind="$built:$LAB_SOURCE" || status=$?
	[ $status -eq 0 ] || lab_fail "in the machine: $(grep '^FAIL:' "$directory/payload/output" 2>/dev/null || echo "ended with $status")"
}

boot ""
# What a disk would have kept. tar removes what it replaces, so that the kept tree, which has the same files, stays as it is.
tar x -C "$MACHINE_COPY" -f "$directory/payload/disk.tar"
boot multi-user.target
