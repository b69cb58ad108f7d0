#!/bin/bash
# The ground under the machine tests: a systemd boots as PID 1, the payload runs as root in it, its exit status comes out, and one that
# hangs is ended in time with nothing left behind.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
. "$TOKEND_SOURCE_DIR/tests/vm/machine.sh"
machine_need
machine_tree
directory=$(lab_directory)
trap 'rm -rf "$directory"' EXIT

cat >"$directory/run" <<'RUN'
test "$(cat /proc/1/comm)" = systemd && test "$(id -u)" = 0
systemctl is-active --quiet basic.target
echo "systemd $(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p') runs"
exit 7
RUN
lab_expect 7 machine_boot "$MACHINE_TREE" "$directory" 60 ""
grep -q '^systemd [0-9]* runs$' "$directory/output" || lab_fail "the payload's words were lost"

echo 'exec sleep 1000' >"$directory/run"
lab_expect 124 machine_boot "$MACHINE_TREE" "$directory" 5 ""
left=$(pgrep -fx 'sleep 1000' || true)
for pid in $left; do
	! grep -qs 'tokend-test-' "/proc/$pid/cgroup" || lab_fail "process $pid of the machine outlived it"
done

echo 'kill -KILL $PPID $$' >"$directory/run"
lab_expect 124 machine_boot "$MACHINE_TREE" "$directory" 5 ""
echo "booted, reported, and ended in time"
