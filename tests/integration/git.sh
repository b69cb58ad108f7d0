#!/bin/bash
# SOPS files in a repository of git: what a diff shows, and merges: of both sides' values, of both sides' recipients, of the same line, of files that both sides made. Nothing is in the clear in the repository.
# shellcheck source=git_common.sh
. "$(dirname "$0")/git_common.sh"

tokenctl git --install 2>"$said" && lab_fail "it was installed where there is no repository"
grep -q 'no working tree' "$said" || lab_fail "no repository: $(<"$said")"

commit() { git add -A && git commit -qm "$1"; }
value() { printf '%s' "$2" | tokenctl set s.enc.yaml "$1" >/dev/null; }
of() { tokenctl get --verify s.enc.yaml "$1" 2>/dev/null; }
# branches: "left" and "right" from main.
branch() { git checkout -q main && git checkout -qB "$1"; }

git init -q -b main repository
cd repository
rules host
printf 'db:\n    user: canary-user # who\n    pass: canary-1\na: 1\nb: 2\nc: 3\nd: 4\nport: 5432\n' >s.enc.yaml
tokenctl encrypt --in-place s.enc.yaml
tokenctl git --install '*.enc.yaml' >/dev/null
tokenctl git --install '*.enc.yaml' >/dev/null
[ "$(<.gitattributes)" = '*.enc.yaml diff=tokend merge=tokend' ] || lab_fail "attributes: $(<.gitattributes)"
mv .gitattributes kept
mkfifo .gitattributes
timeout 10 tokenctl git --install '*.enc.yaml' 2>"$said" && lab_fail "a pipe was taken for attributes"
grep -q 'is no regular file' "$said" || lab_fail "of a pipe it says $(<"$said")"
mv kept .gitattributes
tokenctl git --install 'a b' 2>"$said" && lab_fail "a pattern with a blank was taken"
commit first

# ---- a diff ----

value db.pass canary-2
git diff | grep -q '^+    pass: canary-2$' || lab_fail "the diff does not show the value: $(git diff)"
TOKEND_RUNTIME_DIR=/nonexistent git diff 2>"$said" | grep -q '^+.*pass: ENC\[' || lab_fail "without tokend the diff does not show the file as it is"
grep -q hint "$said" || lab_fail "why it is not plain is not said: $(<"$said")"
# The message that git commit -v leaves in the repository has the diff, and not in the clear.
branch verbose
git -c core.editor='sed -i 1iverbose' commit -qav 2>"$said" || lab_fail "git commit -v: $(<"$said")"
grep -q '^+ *pass: ENC\[' .git/COMMIT_EDITMSG || lab_fail "control: the message has no diff: $(<.git/COMMIT_EDITMSG)"
if grep -q canary .git/COMMIT_EDITMSG; then lab_fail "the message has a value in the clear: $(<.git/COMMIT_EDITMSG)"; fi
grep -q 'git diff --cached' "$said" || lab_fail "why it is not plain is not said: $(<"$said")"
# So has a patch that is made to be sent: git has the commits of two versions of it shown.
branch version-1
value db.pass canary-version-1
commit version-1
branch version-2
value db.pass canary-version-2
commit version-2
git range-diff --creation-factor=100 main..version-1 main..version-2 | grep -q canary-version || lab_fail "control: the commits are not shown in the clear"
git config alias.patches 'format-patch --range-diff=version-1 --creation-factor=100'
for command in 'format-patch --range-diff=version-1 --creation-factor=100' patches; do
	# shellcheck disable=SC2086
	git $command --suffix=.txt -o "$work/patches" main..version-2 >/dev/null 2>"$said" || lab_fail "git $command: $(<"$said")"
	grep -q 'pass: ENC\[' "$work"/patches/* || lab_fail "control: the patch has no difference of the versions"
	if grep -q canary "$work"/patches/*; then lab_fail "git $command wrote a value in the clear: $(grep canary "$work"/patches/*)"; fi
	grep -q 'git format-patch keeps what it shows' "$said" || lab_fail "why it is not plain is not said: $(<"$said")"
	rm -r "$work/patches"
done
git checkout -q main
# A name that looks like an option.
cp s.enc.yaml ./--name.enc.yaml
commit named
printf canary-3 | tokenctl set ./--name.enc.yaml db.pass >/dev/null
git diff 2>"$said" | grep -q '^+    pass: canary-3$' || lab_fail "a name with hyphens: $(<"$said")"
git checkout -q -f main

# ---- both sides changed something ----

branch left
value db.pass canary-left
commit left
branch right
echo 5433 | tokenctl set --json s.enc.yaml port >/dev/null
commit right
ours=$(grep '^b:' s.enc.yaml)
# Control: without the driver git has a conflict, in the MAC at least.
git -c merge.tokend.driver=false merge -q left >/dev/null 2>&1 && lab_fail "control: it was merged without the driver"
git merge --abort
git merge -m both left >"$said" 2>&1 || lab_fail "no merge: $(<"$said")"
[ "$(of db.pass) $(of port)" = 'canary-left 5433' ] || lab_fail "the merge has $(of db.pass) and $(of port)"
[ "$(grep '^b:' s.enc.yaml)" = "$ours" ] || lab_fail "a value that nobody changed has another ciphertext"
tokenctl verify --decrypt s.enc.yaml >/dev/null || lab_fail "the merged file is not whole"

# ---- the same line ----

branch again
value db.pass canary-again
commit again
before=$(<s.enc.yaml)
git merge left >"$said" 2>&1 && lab_fail "two values for one name were merged"
kept=$(sed -n 's/^hint: tokenctl edit --resume \([^ ]*\) .*/\1/p' "$said")
if [ ! -f "$kept" ]; then lab_fail "the text with the marks is not there: $(<"$said")"; fi
[ "$(<s.enc.yaml)" = "$before" ] || lab_fail "the file is not our side's"
grep -q '^<<<<<<< ours' "$kept" || lab_fail "no marks: $(<"$kept")"
# Given up and tried again it is the same text; the next edit says that it is there.
git merge --abort
tokenctl edit s.enc.yaml >"$said" 2>&1 && lab_fail "an edit began beside a merge that is not finished"
grep -q "tokenctl edit --resume $kept s.enc.yaml" "$said" || lab_fail "the kept text is not named: $(<"$said")"
git merge left >"$said" 2>&1 && lab_fail "two values for one name were merged"
grep -q "^hint: tokenctl edit --resume $kept " "$said" || lab_fail "the same conflict is there twice: $(<"$said")"
EDITOR=true tokenctl edit --resume "$kept" s.enc.yaml 2>"$said" </dev/null && lab_fail "a text with marks was sealed"
resumed=$(sed -n 's/^hint: .*--resume \([^ ]*\) .*/\1/p' "$said")
EDITOR="sed -i -e '/^<<<<<<</d; /^=======/,/^>>>>>>>/d'" tokenctl edit --resume "${resumed:-$kept}" s.enc.yaml >"$said" 2>&1 || lab_fail "the conflict cannot be finished: $(<"$said")"
[ "$(of db.pass)" = canary-again ] || lab_fail "it was finished with $(of db.pass)"
git add s.enc.yaml
git commit -qm finished
rm -rf "$(dirname "$kept")"

# ---- recipients ----

branch people
rules host other
tokenctl updatekeys s.enc.yaml >/dev/null
commit people
branch values
value db.user canary-values
commit values
git merge -m people people >"$said" 2>&1 || lab_fail "no merge with another recipient: $(<"$said")"
[ "$(of db.user)" = canary-values ] || lab_fail "our value is gone: $(of db.user)"
[ "$(grep -c 'recipient: age1' s.enc.yaml)" = 2 ] || lab_fail "the new recipient is gone"
# Who can read our side's values from now on is said, and stands in the diff of values.
grep -q "^warning: the other side has added the age recipient $(tokenctl recipient other), " "$said" || lab_fail "the merge does not say who was added: $(<"$said")"
[ "$(grep -c warning "$said")" = 1 ] || lab_fail "it warns of others, too: $(<"$said")"
git diff main | grep -q "^+# sops: .*$(tokenctl recipient other)$" || lab_fail "the diff does not show the new recipient: $(git diff main)"
if git diff main | grep -q "^[+-]# sops: .*$(tokenctl recipient host)$"; then lab_fail "the diff shows one that was there"; fi
branch alone
rules other
tokenctl updatekeys s.enc.yaml >/dev/null
commit alone
git merge people >"$said" 2>&1 && lab_fail "two changes of the recipients were merged"
grep -q 'both sides changed who can open s.enc.yaml' "$said" || lab_fail "two changes of the recipients: $(<"$said")"
git merge --abort

# ---- the rule ----

# Whoever can write a file can change its rule and add a recipient without any key, so that the other side's file is the one that the result is sealed from. Under his rule our new value would stand in the clear, and be committed.
branch rule
sed -i -e 's/^    unencrypted_suffix: .*/    encrypted_regex: ^(db|user|pass|a|b|c|d|port)$/' -e "s/recipient: age1.*/recipient: $(tokenctl recipient other)/" s.enc.yaml
sed -n '/- recipient:/,/END AGE/p' <(git show HEAD:s.enc.yaml) >"$work/entry"
sed -i "/^    age:/r $work/entry" s.enc.yaml
commit rule
tokenctl decrypt s.enc.yaml >/dev/null || lab_fail "control: the file with another rule does not open"
branch token
value token canary-token
commit token
ours=$(<s.enc.yaml)
git merge -m rule rule >"$said" 2>&1 && lab_fail "a file was merged whose two sides go by two rules: $(grep token s.enc.yaml)"
grep -q 'the two sides do not encrypt the same values of s.enc.yaml' "$said" || lab_fail "two rules: $(<"$said")"
[ "$(<s.enc.yaml)" = "$ours" ] || lab_fail "two rules: the file is not as our side has it"
git merge --abort
# The other way round: theirs encrypts what our rule leaves in the clear.
branch less
sed -i 's/^    unencrypted_suffix: .*/    encrypted_regex: ^(db|user|pass|a|b|c|d|port)$/' s.enc.yaml
commit less
git merge -m token token >"$said" 2>&1 && lab_fail "a value of theirs was merged into a file whose rule leaves it in the clear: $(grep token s.enc.yaml)"
git merge --abort

# Comments are in no MAC, and under a rule about them one that is gone leaves in the clear what it stood before: nothing that was encrypted becomes so by what another one did to the file.
branch comments
printf 'a: 1\n# hidden\npass: canary-hidden\nz: 2\n' | tokenctl encrypt --sops --key host --encrypted-comment-regex hidden --input-type yaml -o s.enc.yaml -
commit comments
cp s.enc.yaml "$work/whole"
echo 3 | tokenctl set --json s.enc.yaml z || lab_fail "control: a value in the clear cannot be set"
commit z
sed '/^# hidden/d' "$work/whole" >s.enc.yaml
[ "$(tokenctl decrypt s.enc.yaml)" = "$(printf 'a: 1\npass: canary-hidden\nz: 2')" ] || lab_fail "control: the file without the comment does not open"
cp s.enc.yaml "$work/without"
stays() { # COMMAND...: of tokenctl's, that is refused
	tokenctl "$@" >"$said" 2>&1 <<<4 && lab_fail "$*: a comment was taken away, and the value is in the clear: $(<s.enc.yaml)"
	grep -q 'line 2: this value is encrypted, and by the comments here it would be in the clear' "$said" || lab_fail "$*: $(<"$said")"
	cmp -s s.enc.yaml "$work/without" || lab_fail "$*: the file was changed"
}
stays set --json s.enc.yaml z
stays rotate --data-key s.enc.yaml
git checkout -q -f HEAD~1
cp "$work/without" s.enc.yaml
git commit -qam without
without=$(git rev-parse HEAD)
git checkout -q comments
git merge -m without "$without" >"$said" 2>&1 && lab_fail "a comment was merged away, and the value is in the clear: $(<s.enc.yaml)"
grep -q 'by the comments here it would be in the clear' "$said" || lab_fail "a merge without the comment: $(<"$said")"
git merge --abort

# ---- both made it ----

branch made-here
printf 'x: canary-x\n' >new.enc.yaml
tokenctl encrypt --in-place new.enc.yaml
commit made-here
branch made-there
printf 'x: canary-y\n' >new.enc.yaml
tokenctl encrypt --in-place new.enc.yaml
commit made-there
git merge made-here >"$said" 2>&1 && lab_fail "two files of one name were merged"
grep -q 'both sides changed' "$said" || lab_fail "two files of one name: $(<"$said")"
kept=$(sed -n 's/^hint: tokenctl edit --resume \([^ ]*\) .*/\1/p' "$said")
[ -z "$kept" ] || rm -rf "$(dirname "$kept")"
git merge --abort

# ---- with a key file, where no tokend is ----

git checkout -q main
mkdir "$work/a key" "$work/keyed"
age-keygen -o "$work/a key/file.txt" 2>/dev/null
(
	export TOKEND_RUNTIME_DIR=/nonexistent
	cd "$work/keyed"
	git init -q -b main .
	printf 'creation_rules:\n  - path_regex: \\.enc\\.yaml$\n    age: %s\n' "$(age-keygen -y "../a key/file.txt")" >.sops.yaml
	printf 'x: canary-x\nb: 1\nc: 1\nd: 1\ny: canary-y\n' >k.enc.yaml
	tokenctl encrypt --in-place k.enc.yaml
	tokenctl git --install '*.enc.yaml' >/dev/null
	commit first
	git log -p -1 k.enc.yaml >/dev/null 2>"$said"
	grep -q 'tokenctl git --install -i FILE' "$said" || lab_fail "who has no tokend is not told the way: $(<"$said")"
	tokenctl git --install -i nowhere 2>/dev/null && lab_fail "an identity file that is not there is taken"
	tokenctl git --install -i '../a key/file.txt' >/dev/null
	mkdir below
	(cd below && git log -p -1 ../k.enc.yaml | grep -q '^+x: canary-x') || lab_fail "the key file is not used for a diff"
	branch there
	printf 1 | tokenctl set -i '../a key/file.txt' k.enc.yaml x
	commit there
	branch here
	printf 2 | tokenctl set -i '../a key/file.txt' k.enc.yaml y
	commit here
	git merge -q --no-edit there 2>"$said" || lab_fail "the key file is not used for a merge: $(<"$said")"
	[ "$(tokenctl get --verify -i '../a key/file.txt' k.enc.yaml x)$(tokenctl get --verify -i '../a key/file.txt' k.enc.yaml y)" = 12 ] || lab_fail "the merge is not both"
)

# ---- nothing in the clear ----

in_repository() { git cat-file --batch-all-objects --batch | grep -ac "$1" || true; }
[ "$(in_repository canary)" = 0 ] || lab_fail "a value is in the repository in the clear"
if grep -rqa canary . --exclude-dir=objects; then lab_fail "a value is in the working tree in the clear: $(grep -rla canary . --exclude-dir=objects)"; fi
printf 'a bird' >control.txt
commit control
[ "$(in_repository 'a bird')" != 0 ] || lab_fail "control: what is in the clear is not found"
lab_tokend_stop "$work"
