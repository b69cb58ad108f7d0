#!/bin/bash
# The example repository: what its README says to type works, block by block as it stands there, with the files beside it; so do the five commands of docs/SOPS.md that move from a key file.
# What takes root and systemd is done by hand: the policy file decides by the program that reads it, and the unit's ExecStart= is typed.
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"
sops=$(lab_peer sops-3.13.3) || lab_skip "$sops"
lab_need git openssl age-keygen
example=$LAB_SOURCE/docs/examples/repository

# blocks FILE [HEADING]: each block that is marked sh, below that heading or all, as NUMBER.block here; prints how many.
blocks() {
	rm -f -- *.block
	awk -v heading="${2:-}" '
		/^## / { below = index($0, "## " heading) == 1 }
		/^```sh$/ && (below || heading == "") { file = sprintf("%02d.block", ++count); next }
		/^```$/ { file = "" }
		file != "" { print > file }
		END { print count + 0 }' "$1"
}

# typed FILE: as at a prompt in the repository, but it ends where a command fails.
typed() { (cd repository && plainly bash -e -o pipefail "$1") >said 2>&1; }

# all_typed: every block in its order; what each says is NUMBER.said. SOPS_KEYSERVICE stays between blocks, as at a prompt.
all_typed() {
	local block
	for block in "$work"/*.block; do
		typed "$block" || { echo "$block: $(cat "$block" said)" >failed; return 1; }
		mv said "${block%.block}.said"
	done
}

# said_by WORDS-OF-THE-BLOCK WORDS: the block with these words said those.
said_by() {
	local block
	block=$(grep -lF -- "$1" "$work"/*.block | head -n 1)
	[ -n "$block" ] || lab_fail "no block has '$1'"
	lab_grep -E -- "$2" <"${block%.block}.said" || lab_fail "the block with '$1' does not say '$2' but: $(cat "${block%.block}.said")"
}

fresh() {
	lab_stop "$work" 2>/dev/null || true
	rm -rf state repository backup.txt -- *.said
	lab_start "$work"
	cp -r "$example" repository
	chmod -R go-w repository
}

begin
mkdir peers && ln -s "$sops" peers/sops
export PATH=$PWD/peers:$PATH GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@example.org GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@example.org GIT_PAGER=cat
unset SOPS_CONFIG GIT_DIR GIT_INDEX_FILE
fresh
count=$(blocks "$example/README.md")
[ "$count" -ge 10 ] || lab_fail "README.md has $count blocks"
all_typed || lab_fail "what the README says does not work: $(cat failed)"

# The values come out, by tokenctl, by sops, and in a program.
said_by 'sops -d api' 'invented-2'
said_by 'tokenctl run -- sh' '^port 5432, mail by mail.example.org, a secret of 10 characters$'
said_by 'git diff' '^\+ +pass: "?[0-9a-f]{32}"?$'
# Both sides of the merge are in it.
said_by 'git merge' '^5433'
said_by 'git merge' 'reader$'
# What was in the clear was refused, and is in no commit; nor is another invented value.
said_by 'git add -f .env' 'variables with their values'
[ "$(cat repository/.env.sample)" = PASSWORD= ] || lab_fail "sample: $(cat repository/.env.sample)"
said_by 'explain --policy' 'permitted'
said_by 'explain --policy' 'denied'
cd repository
git log --all --format=%s | lab_grep 'secrets, encrypted' || lab_fail "nothing was committed"
if git log --all --format=%s | lab_grep 'in the clear'; then lab_fail "guard let a clear file pass"; fi
git rev-list --objects --all | cut -d' ' -f1 | git cat-file --batch >"$work/objects"
cd ..
lab_grep -a 'creation_rules' <objects || lab_fail "the objects of git were not read"
# README.md itself has the invented values, in its printf lines alone.
if grep -a 'invented-' objects | grep -vaE "printf|secret of" | lab_grep -a .; then lab_fail "a value is in git in the clear"; fi

# The unit, by its own line.
execute=$(sed -n 's/^ExecStart=\/usr\/bin\///p' repository/systemd/app.service)
[ -n "$execute" ] || lab_fail "the unit starts nothing"
(cd repository && works bash -c "${execute//\/srv\/app\//$PWD/}")
lab_grep -E '^serving with the database at port 5433, a password of 32 characters, and a key of 1[0-9]{2} bytes$' <repository/stdout || lab_fail "the unit's program says: $(cat repository/stdout repository/stderr)"
rm repository/stdout repository/stderr

# CI refuses a value in the clear that --no-verify brought in, though a later commit takes it away.
(
	cd repository
	git add -f .env && git commit -qnm 'past the hook' && git rm -q .env && git commit -qm 'away again'
	says 'variables with their values' bash -c '! ci/secrets HEAD~2'
	lab_expect 3 plainly ci/secrets HEAD~2 >stdout 2>&1
	works ci/secrets HEAD
)

# Moving from a key file, as docs/SOPS.md has it.
fresh
[ "$(blocks "$LAB_SOURCE/docs/SOPS.md" 'Moving from an age key file')" -eq 1 ] || lab_fail "docs/SOPS.md has no block of five commands"
[ "$(grep -c . 01.block)" -eq 5 ] || lab_fail "docs/SOPS.md has other than five commands: $(cat 01.block)"
cd repository
git init -q -b main .
age-keygen -o keys.txt 2>/dev/null
recipient=$(age-keygen -y keys.txt)
printf 'creation_rules:\n  - path_regex: \\.enc\\.\n    age: %s\n' "$recipient" >.sops.yaml
printf 'pass: invented-6\n' >a.enc.yaml
printf '{"pass": "invented-7"}\n' >b.enc.json
for file in a.enc.yaml b.enc.json; do sops -e -i "$file"; done
git add .sops.yaml a.enc.yaml b.enc.json
cd ..
typed "$work/01.block" || lab_fail "the five commands do not work: $(cat said)"
[ ! -e repository/keys.txt ] || lab_fail "the key file is still there"
for file in a.enc.yaml b.enc.json; do
	grep -q "$(tokenctl recipient host)" "repository/$file" || lab_fail "$file is not encrypted to the new key"
	SOPS_KEYSERVICE=unix://$TOKEND_RUNTIME_DIR/sops.sock sops -d "repository/$file" | lab_grep 'invented-[67]' || lab_fail "$file does not open with sops"
done

# The control: with one command that is other than the program has it the README does not pass.
controls=0
while IFS='|' read -r right wrong; do
	fresh
	blocks "$example/README.md" >/dev/null
	grep -qF -- "$right" ./*.block || lab_fail "negative control: no block has '$right'"
	sed -i "s/$right/$wrong/" ./*.block
	if all_typed; then lab_fail "negative control: the README passes with '$wrong'"; fi
	lab_grep -F -- "$wrong" <failed || lab_fail "negative control: '$wrong' fails elsewhere: $(cat failed)"
	controls=$((controls + 1))
done <<'CONTROLS'
tokenctl encrypt --in-place|tokenctl encrypt --inplace
tokenctl get --verify secrets.enc.yaml db.port|tokenctl get --verify secrets.enc.yaml db.prot
CONTROLS
[ "$controls" -eq 2 ] || lab_fail "negative control: $controls"
# Without the hook the clear file is committed, and CI refuses it.
fresh
blocks "$example/README.md" >/dev/null
sed -i 's/^tokenctl guard --install$/:/' ./*.block
if all_typed; then lab_fail "negative control: CI lets a clear file pass"; fi
lab_grep -F ': ci/secrets' <failed || lab_fail "negative control: it is not CI that refuses the clear file: $(cat failed)"
git -C repository log --all --format=%s | lab_grep 'in the clear' || lab_fail "negative control: a clear file was refused without the hook"
echo "$count blocks of the README, five commands of docs/SOPS.md, $((controls + 1)) controls"
