#!/bin/bash
# What README.md says to type works when it is typed: the block of "Five minutes with sops", as it stands there, and the commands of the table below it, in their order.
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"
sops=$(lab_peer sops-3.13.3) || lab_skip "$sops"
lab_need git openssl age-keygen

# five_minutes: the block, on standard output.
five_minutes() {
	awk '/^## / { here = /^## Five minutes with sops$/ } here && /^```/ { inside = !inside; done = done || !inside; next } here && inside && !done' "$LAB_SOURCE/README.md"
}

# table: one command a line. Left out is what stands for something else (FILE), asks for a PIN, or needs a user or a service of this machine.
table() {
	python3 - "$LAB_SOURCE/README.md" <<'PYTHON'
import re
import sys

for line in open(sys.argv[1], encoding="utf-8"):
    if line.startswith("| "):
        for command in re.findall(r"`([^`]+)`", line.replace("\\|", "|")):
            if re.match(r"(tokenctl|openssl|age) ", command) and not re.search(r"FILE|vault|--user ", command):
                print(command)
PYTHON
}

# fresh: a tokend without keys, and what tools/try leaves for who goes on.
fresh() {
	lab_stop "$work" 2>/dev/null || true
	rm -rf state key.txt secrets.yaml secrets.enc.yaml
	lab_start "$work"
	mkdir -p build/trial peers && ln -sf "$sops" peers/sops
	printf 'export TOKEND_RUNTIME_DIR=%q PATH=%q:%q:$PATH\n' "$TOKEND_RUNTIME_DIR" "$LAB_BIN" "$PWD/peers" >build/trial/env
}

# typed FILE: as at a prompt, but it ends where a command fails.
typed() { plainly bash -e -o pipefail "$1" >said 2>&1; }

begin
fresh
five_minutes >block
[ "$(grep -cE '^(tokenctl|sops|export) ' block)" -ge 6 ] || lab_fail "README.md has no block 'Five minutes with sops': $(cat block)"
typed block || lab_fail "what README.md says does not work: $(cat said)"
lab_grep -x '  pass: s3cret' <said || lab_grep -x '    pass: s3cret' <said || lab_fail "sops -d did not give the plain text: $(cat said)"
lab_grep ' sops ' <said || lab_fail "the audit log does not say that it was sops: $(cat said)"
lab_grep 's3cret' <secrets.enc.yaml && lab_fail "secrets.enc.yaml is not encrypted"

# The table goes on with these files.
. build/trial/env
export SOPS_KEYSERVICE=unix://$TOKEND_RUNTIME_DIR/sops.sock EDITOR=true SOPS_EDITOR='' VISUAL=''
age -r "$(tokenctl recipient host)" -o file.age secrets.yaml
mkdir deploy && cp file.age secrets.enc.yaml deploy/
printf 'creation_rules:\n  - path_regex: secrets\n    age: %s\n' "$(tokenctl recipient --comma)" >.sops.yaml
printf 'NAME=value\n' >.env
printf '#!/bin/sh\n[ -n "$db_pass" ]\n' >server && chmod +x server
git init -q -b main . && git config user.email alice@example.org && git config user.name Alice
git add .sops.yaml && git commit -q -m begun && git update-ref refs/remotes/origin/main HEAD
table >commands
[ "$(wc -l <commands)" -ge 15 ] || lab_fail "README.md has no table of commands: $(cat commands)"
while IFS= read -r command; do
	# What goes to /run there stays here.
	printf '%s\n' "${command//\/run\/deploy/$PWD/deployed}" >command
	typed command || lab_fail "README.md says to type '$command', which ends with an error: $(cat said)"
	echo "worked: $command"
done <commands
[ -s deployed/file ] || lab_fail "decrypt -r wrote nothing"
[ "$(cat .env.sample)" = NAME= ] || lab_fail "sample: $(cat .env.sample)"
[ -x .git/hooks/pre-commit ] || lab_fail "there is no hook"
tokenctl get secrets.enc.yaml db.pass 2>/dev/null | lab_grep -xE '[0-9a-f]{32}' || lab_fail "set did not set the value"

# The control: with one command that is other than the program has it the block does not pass, and says which.
controls=0
while IFS='|' read -r right wrong words; do
	fresh
	five_minutes | sed "s/$right/$wrong/" >block
	if typed block; then lab_fail "negative control: the block passes with '$wrong'"; fi
	lab_grep -F -- "$words" <said || lab_fail "negative control: '$wrong' fails for another reason: $(cat said)"
	controls=$((controls + 1))
done <<'CONTROLS'
audit verify|audit verfiy|audit verfiy
sops -e --age|sops -e --aeg|aeg
--import key.txt|--import missing.txt|missing.txt
CONTROLS
[ "$controls" -eq 3 ] || lab_fail "negative control: $controls"
