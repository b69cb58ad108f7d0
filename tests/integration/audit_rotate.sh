#!/bin/bash
# The audit log is closed and another begun while clients ask: nothing is lost, the chain goes over the seam, and nothing is taken for a log that was replaced. Who may do it, and what stands in its way.
# integration.kill.broker-rotate kills at each call of it.
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"
begin
lab_start "$work"
works tokenctl enroll --name host
works tokenctl encrypt --key host -o host.age tokend.conf
works tokenctl decrypt host.age
head=$(tokenctl audit verify --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["head"])')

# closed N: the name of the log whose last record that is.
closed() { printf 'state/audit.log.%012d\n' "$1"; }
last_record() { tail -n 1 "$1" | sed -n 's/.*"sequence":\([0-9]*\),.*/\1/p'; }

before=$(last_record state/audit.log)
works tokenctl audit rotate
lab_grep "up to record $((before + 1)), is $work/$(closed $((before + 1)))\$" stderr || lab_fail "rotate says: $(cat stderr)"
old=$(closed $((before + 1)))
[ "$(stat -c '%a %h' state/audit.log)" = '640 1' ] && [ "$(stat -c '%a %h' "$old")" = '640 1' ] || lab_fail "modes and names: $(ls -l state)"
# Its record is the old one's last, by whom it was asked; the new one begins with where it goes on from.
tail -n 1 "$old" | lab_grep "\"operation\":\"rotate\",\"uid\":$(id -u),.*\"result\":\"ok\"" || lab_fail "the last record is $(tail -n 1 "$old")"
head -n 1 state/audit.log | lab_grep "\"operation\":\"continued\",\"from\":\"${old#state/}\",.*\"sequence\":$((before + 2)),\"previous\":\"$(tail -n 1 "$old" | tr -d '\n' | sha256sum | cut -c 1-64)\"" ||
	lab_fail "the new log begins with $(head -n 1 state/audit.log)"
works tokenctl decrypt host.age

# One by itself, and over the seam; a head from before the seam; each in the wrong order, or with a record less.
says 'audit.log: 2 records, whole' tokenctl audit verify
lab_grep "goes on from record $((before + 1))" stderr || lab_fail "verify does not say that there is another: $(cat stderr)"
says '^2 logs: .* whole' tokenctl audit verify "$old" state/audit.log
says 'whole' tokenctl audit verify --head "$head" "$old" state/audit.log
says 'whole' tokenctl audit verify "$old"
refused 2 'closed before record' 'OLD' tokenctl audit verify --head "$head"
says 'whole' tokenctl audit verify --head "$((before + 1)):$(tail -n 1 "$old" | tr -d '\n' | sha256sum | cut -c 1-64)"
refused 7 'changed|removed' 'keep a copy' tokenctl audit verify state/audit.log "$old"
sed '$d' "$old" >shorter
refused 7 "record $((before + 2)) \(line 1 of $work/state/audit.log\).*removed" 'keep a copy' tokenctl audit verify shorter "$work/state/audit.log"
sed "\$s/rotate/rotten/" "$old" >changed
refused 7 "line $((before + 1)) of changed" 'keep a copy' tokenctl audit verify changed state/audit.log
cp state/audit.log cut
sed -i '$d' cut
says 'whole' tokenctl audit verify "$old" cut # whose end nobody knows,
cp state/audit.log kept
cat cut >state/audit.log
refused 7 'tokend wrote more records' 'keep a copy' tokenctl audit verify "$old" "$work/state/audit.log" # but of its own log tokend does
# However that one is named: as tokend(8) says it to root, with --file, through a link. The control is a copy of it, above.
ln -s "$work/state" link
(cd state && refused 7 'tokend wrote more records' 'keep a copy' tokenctl audit verify audit.log.* audit.log)
refused 7 'tokend wrote more records' 'keep a copy' tokenctl audit verify --file state/audit.log
refused 7 'tokend wrote more records' 'keep a copy' tokenctl audit verify --file link/audit.log
says 'whole' tokenctl audit verify --file cut
cat kept >state/audit.log
says '^2 logs: .* whole' bash -c 'cd link && tokenctl audit verify audit.log.* audit.log'
refused 2 'not both' 'OLD' tokenctl audit verify --file "$old" "$old"

# It is no log that was replaced: not now, after an orderly start, nor after a crash right behind it.
silent() { works "$@" && if cat stdout stderr | grep 'another audit log' >/dev/null; then lab_fail "'$*' says that the log was replaced"; fi; }
silent tokenctl doctor
lab_tokend_stop "$work"
lab_tokend_start "$work"
silent tokenctl doctor
works tokenctl audit rotate
kill -9 "$(<tokend.pid)"
lab_tokend_stop "$work" || true
lab_tokend_start "$work"
silent tokenctl doctor
works tokenctl decrypt host.age
says '^3 logs: .* whole' tokenctl audit verify state/audit.log.0* state/audit.log
# The control: the new log is put back as it was before that release.
lab_tokend_stop "$work"
sed -i '$d' state/audit.log
lab_tokend_start "$work"
works tokenctl doctor
lab_grep 'another audit log was in the place of this one' <stdout || lab_fail "negative control: a log that was cut is not noticed: $(cat stdout)"

# No file is written over. The old log goes on, and says that it does.
works tokenctl decrypt host.age
next=$(closed $(($(last_record state/audit.log) + 1)))
echo precious >"$next"
refused '1' 'a file of the name that the old one would get is there already' 'tokenctl doctor' tokenctl audit rotate
[ "$(<"$next")" = precious ] && [ ! -e state/audit.log.next ] || lab_fail "the file that was in the way, or what was begun: $(ls state; cat "$next")"
tail -n 1 state/audit.log | lab_grep '"operation":"rotate".*"result":"state-dir"' || lab_fail "the log does not say that it goes on: $(tail -n 1 state/audit.log)"
works tokenctl decrypt host.age
rm "$next"
works tokenctl audit rotate

# Only who may administer every key; the refusal is a record.
me=$(id -u)
printf 'permit unwrap list key * user %s\npermit admin key mine/* user %s\n' "$me" "$me" | lab_policy "$work"
lab_tokend_reload "$work"
lab_wait_for 5 bash -c '! tokenctl audit rotate 2>/dev/null' || lab_fail "the policy is not loaded"
refused 3 'takes the permission admin for every key' 'tokend-policy' tokenctl audit rotate
tail -n 1 state/audit.log | lab_grep '"operation":"rotate".*"result":"denied"' || lab_fail "the refusal is not in the log: $(tail -n 1 state/audit.log)"
printf 'permit unwrap list admin key * user %s\n' "$me" | lab_policy "$work"
lab_tokend_reload "$work"
lab_wait_for 5 bash -c 'tokenctl audit rotate 2>/dev/null' || lab_fail "the policy is not loaded"

# While six clients open files as quickly as they can: each release is in one of the logs, once.
count() { cat state/audit.log.0* state/audit.log | grep -c '"operation":"unwrap".*"result":"ok"'; }
released=$(count)
clients=()
for client in 1 2 3 4 5 6; do
	(for ((i = 0; i < 20; i++)); do plainly tokenctl decrypt host.age >/dev/null 2>&1 && echo; done >"opened.$client") &
	clients+=($!)
done
ended() { local pid; for pid in "${clients[@]}"; do lab_is_gone "$pid" || return 1; done; }
rotated=0
until ended; do
	plainly tokenctl audit rotate >/dev/null 2>&1 && rotated=$((rotated + 1))
	plainly tokenctl audit verify >said 2>&1 || lab_fail "while it is rotated: $(cat said)"
done
opened=$(cat opened.* | wc -l)
[ "$opened" -gt 100 ] && [ "$rotated" -gt 3 ] || lab_fail "only $opened files and $rotated logs"
[ "$(($(count) - released))" -eq "$opened" ] || lab_fail "$opened files were opened, and $(($(count) - released)) are in the logs"
says '[0-9]+ logs: .* whole' tokenctl audit verify state/audit.log.0* state/audit.log
echo "$opened files opened while the log was rotated $rotated times: each in the logs, once"
