#!/bin/bash
# Guard's hooks while git merges SOPS files: what a merge brings that makes its commit by itself is looked at, a conflict that was "solved" by one side alone is refused, in a merge, a cherry-pick, a revert and a rebase, and what it says to type ends it; what is meant is let through, and so is a
# merge that went well, whatever came out of it. What is said of a conflict names the file as it is typed where one stands.
# shellcheck source=git_common.sh
. "$(dirname "$0")/git_common.sh"
export GIT_EDITOR=true

commit() { git add -A && git commit -qm "$1"; }
value() { printf '%s' "$2" | tokenctl set "$file" "$1" >/dev/null; }
of() { tokenctl get --verify "$file" "$1" 2>/dev/null; }
# branches: "left" and "right" from main.
branch() { git checkout -q main && git checkout -qB "$1"; }
# refused WORDS COMMAND...: ends with an error that says so.
refused() {
	local words=$1
	shift
	if "$@" >"$said" 2>&1; then lab_fail "'$*' was not refused: $(<"$said")"; fi
	grep -qF -- "$words" "$said" || lab_fail "'$*' does not say '$words': $(<"$said")"
}
taken() {
	"$@" >"$said" 2>&1 || lab_fail "'$*' was refused: $(<"$said")"
	if grep -q 'was in conflict' "$said"; then lab_fail "'$*' has a finding: $(<"$said")"; fi
}
# What the last command said to type: the text with the marks.
kept() { sed -n 's/^hint: tokenctl edit --resume \([^ ]*\) .*/\1/p' "$said"; }
forget() { rm -rf "$(dirname "$(kept)")"; }

file=deploy/s.enc.yaml
git init -q -b main repository
cd repository
rules host
mkdir deploy
printf 'user: someone\npass: first\nport: 1\n' >$file
tokenctl encrypt --in-place $file
tokenctl git --install '*.enc.yaml' >/dev/null
commit first
branch left
value pass left
value port 2
commit left
branch right
value pass right
commit right
# ---- the hooks ----

# One of somebody's own stays, and the other is written; with both in the way both are said.
printf '#!/bin/sh\nexit 0\n' | tee .git/hooks/pre-merge-commit >own
chmod +x .git/hooks/pre-merge-commit
refused 'pre-merge-commit is there already, and is left as it is' tokenctl guard --install
cmp own .git/hooks/pre-merge-commit || lab_fail "somebody's hook was changed"
grep -q 'tokenctl guard' .git/hooks/pre-commit || lab_fail 'the other hook was not written'
cp own .git/hooks/pre-commit
refused 'pre-merge-commit is there already, and is left as it is' tokenctl guard --install
grep -q 'pre-commit is there already, and is left as it is' "$said" || lab_fail "the second is not said: $(<"$said")"
rm own .git/hooks/pre-commit .git/hooks/pre-merge-commit
tokenctl guard --install >"$said"
[ "$(grep -c 'runs tokenctl guard before each commit' "$said")" = 2 ] || lab_fail "what was written is not said: $(<"$said")"
if [ ! -x .git/hooks/pre-merge-commit ]; then lab_fail 'the hook cannot be run'; fi
[ "$(tokenctl guard --install | grep -c already)" = 2 ] || lab_fail 'it is written again'

# A merge makes its commit by itself, and the hook looks at what it brings.
git checkout -qB secret main
openssl genpkey -algorithm ed25519 -out key.pem 2>/dev/null
git add key.pem
git commit -qm secret --no-verify
git checkout -qB again right
refused 'key.pem:1: here is a private key in the clear' git merge -m secret secret
git rev-parse -q --verify MERGE_HEAD >/dev/null || lab_fail 'the merge is not there to be finished'
refused 'key.pem:1: here is a private key in the clear' git commit -qm secret
git merge --abort
# Control: without the hook it is committed. So it is by a cherry-pick, which runs none: the range has it.
taken git -c core.hooksPath=/nonexistent merge -m secret secret
git checkout -qB again right
taken git cherry-pick secret
refused 'key.pem:1: here is a private key in the clear' tokenctl guard --range HEAD~1..HEAD

# ---- a merge ----

lost='was in conflict and is staged as HEAD has it, so what the other side changed in it would be lost'
conflict() { # COMMAND...: of git's, that leaves the file in conflict; what was kept of it is not needed
	if git "$@" >"$said" 2>&1; then lab_fail "git $*: no conflict"; fi
	forget
}
git checkout -qB again right
conflict merge left
git add $file
refused "$file: $lost" git commit -m lost
grep -qF "next: git checkout -m $file " "$said" || lab_fail "what to type is not said: $(<"$said")"
refused "$file: $lost" git commit -am lost
# In a directory below the name is one that can be typed there, and what is said to type makes the conflict again and finishes it.
cd deploy
refused 's.enc.yaml: was in conflict' tokenctl guard
grep -qF "next: git checkout -m ../deploy/s.enc.yaml " "$said" || lab_fail "below, what to type is not said: $(<"$said")"
refused '"kind": "one-side"' tokenctl guard --json
taken tokenctl guard --allow-one-side s.enc.yaml
refused 's.enc.yaml: was in conflict' tokenctl guard --allow-one-side deploy/s.enc.yaml
git checkout -m ../deploy/s.enc.yaml >"$said" 2>&1 || true
if [ ! -f "$(kept)" ]; then lab_fail "the conflict is not made again: $(<"$said")"; fi
cd ..
EDITOR="sed -i -e '/^<<<<<<</,/^=======/d; /^>>>>>>>/d'" tokenctl edit --resume "$(kept)" $file >"$said" 2>&1 || lab_fail "the conflict cannot be finished: $(<"$said")"
git add $file
taken git commit -qm finished
[ "$(of pass) $(of port)" = 'left 2' ] || lab_fail "it was finished with $(of pass) and $(of port)"
# What is over says nothing more.
git checkout -qB again right
conflict merge left
git add $file
refused "$lost" git commit -qm lost
refused 'is for what is staged during a merge, and for the merges of a range' tokenctl guard --allow-one-side $file --pushed
taken tokenctl guard --allow-one-side $file
git commit -qm meant --no-verify
taken tokenctl guard
# The other side, whole.
git checkout -qB again right
conflict merge left
git checkout -q --theirs $file
git add $file
refused 'is staged as the other side has it, so what HEAD changed in it would be lost' git commit -qm lost
# Control: without the hook it is committed, and the other side's value is gone.
git checkout -q HEAD -- $file
git add $file
git -c core.hooksPath=/nonexistent commit -qm lost
[ "$(of pass) $(of port)" = 'right 1' ] || lab_fail 'control: nothing was lost'

# The range sees it there, whichever side it is, and says what shows what was lost; a merge of what one side alone changed is none.
lost_in_range='was changed on both sides of this merge, which has it as its'
refused "$(git rev-parse --short=10 HEAD):$file: $lost_in_range first parent has it, so what the other side changed in it is lost" tokenctl guard --range main..HEAD
bash -c "$(sed -n 's/.*next: \(git diff .*\)   shows .*/\1/p' "$said")" >"$work/shown" || lab_fail "what it says to type does not work: $(<"$said")"
grep -q '^+pass: left' "$work/shown" || lab_fail "what was lost is not shown: $(<"$work/shown")"
taken tokenctl guard --range main..HEAD --allow-one-side $file
cd deploy
taken tokenctl guard --range main..HEAD --allow-one-side s.enc.yaml
refused "$lost_in_range first parent" tokenctl guard --range main..HEAD --allow-one-side deploy/s.enc.yaml
cd ..
git clone -q --bare . ../bare.git
(cd ../bare.git && refused "$lost_in_range first parent" tokenctl guard --range main..again && taken tokenctl guard --range main..again --allow-one-side $file)
# Who pushes it is told, and cannot say that it is meant: it is let through.
taken git -C ../bare.git update-ref -d refs/heads/again
(cd ../bare.git && printf '%s %s refs/heads/again\n' "$(git hash-object --stdin </dev/null | tr '0-9a-f' 0)" "$(git -C ../repository rev-parse HEAD)" | taken tokenctl guard --pushed)
grep -qF "$lost_in_range first parent" "$said" || lab_fail "a push does not say it: $(<"$said")"
rm -rf ../bare.git
git checkout -qB again right
conflict merge left
git checkout -q --theirs $file
git add $file
git commit -qm theirs --no-verify
refused "$lost_in_range other parent has it, so what the first parent changed in it is lost" tokenctl guard --range main..HEAD
git checkout -qB again right
git commit -q --allow-empty -m again
taken git merge -m main --no-ff main
git checkout -qB plain main
echo text >plain
git add plain
git commit -qm plain
taken git merge -m right right
taken tokenctl guard --range main..HEAD
# Crosswise, what both began with is more than one commit: whose side has it as one of those has not changed it.
git checkout -qB cross main
git commit -q --allow-empty -m cross
git checkout -qB other-cross left
taken git merge -m cross cross
git checkout -q cross
taken git merge -m other left
git checkout -q other-cross
value port 4
git commit -qam port
taken git merge -m all cross
[ "$(git merge-base --all HEAD^1 HEAD^2 | wc -l)" = 2 ] || lab_fail 'control: they are not merged crosswise'
taken tokenctl guard --range main..HEAD

# ---- others ----

git checkout -qB again right
conflict cherry-pick left
git add $file
refused "$lost" git cherry-pick --continue
refused "$lost" git commit -qm lost
git cherry-pick --abort
value pass later
commit later
conflict revert --no-edit HEAD~1
git add $file
refused "$lost" git revert --continue
git revert --abort
conflict rebase left
git add $file
refused "$lost" git commit -qm lost
git rebase --abort

# In a further worktree it is that one's merge.
git worktree add -q -b further ../further right
cd ../further
conflict merge left
git add $file
refused "$lost" git commit -qm lost
cd ../repository
taken tokenctl guard
git worktree remove --force ../further

# ---- what is said of a file that is not merged ----

# Where the command was typed, with names that can be typed there: never those that git gave to the versions.
says() { # WORDS... are all said
	local words
	for words; do grep -qF -- "$words" "$said" || lab_fail "it does not say '$words': $(<"$said")"; done
	if grep -q 'merge_file' "$said"; then lab_fail "a file is named that is not there any more: $(<"$said")"; fi
}
git checkout -qB again right
cd deploy
TOKEND_RUNTIME_DIR=/nonexistent refused 'tokend is not running' git merge left
says 'tokenctl git --install -i FILE; until then s.enc.yaml is as our side has it, and git checkout -m s.enc.yaml   merges it again'
git checkout -m s.enc.yaml >"$said" 2>&1 || true
says 's.enc.yaml: both sides changed the same lines, and the file is as our side has it' ' s.enc.yaml && git add s.enc.yaml '
[ "$(grep -c 'git checkout -m' "$said")" = 1 ] && ! grep -q 'until then' "$said" || lab_fail "it says it twice: $(<"$said")"
forget
git merge --abort
sed -i 's/^    lastmodified: .*/    lastmodified: "2020-01-01T00:00:00Z"/' s.enc.yaml
git commit -qam changed
refused 's.enc.yaml (our side): its MAC is wrong' git merge left
says "git show :2:$file   shows it" 'git checkout -m s.enc.yaml '
git show ":2:$file" >/dev/null || lab_fail 'what it says to type does not work'
git merge --abort
git checkout -q left
refused 's.enc.yaml (the other side): its MAC is wrong' git merge again
says "git show :3:$file   shows it" 'git checkout -m s.enc.yaml '
git merge --abort
cd ..

# ---- binary files ----

# They have no lines: what one side alone changed is taken, in the content and in who can read it, and else it is for a person to say which side holds.
content() { # BYTE: the file with it
	printf '#!/bin/sh\nprintf "a\\000%s" >"$1"\n' "$1" >"$work/editor"
	chmod +x "$work/editor"
	EDITOR=$work/editor tokenctl edit key.enc >/dev/null 2>&1 || lab_fail 'the binary file was not changed'
}
branch binary
printf '*.enc merge=tokend\n' >>.gitattributes
printf 'creation_rules:\n  - path_regex: \\.enc$\n    age: %s,%s\n' "$(tokenctl recipient host)" "$(tokenctl recipient other)" >.sops.yaml
printf 'a\0001' | tokenctl encrypt --sops --key host --input-type binary -o key.enc -
git add -A
git commit -qm binary
git checkout -qb binary-readers
tokenctl updatekeys key.enc >/dev/null
git commit -qam readers --no-verify
git checkout -q binary
content 2
git commit -qam 2
taken git merge -m readers binary-readers
[ "$(tokenctl decrypt -o - key.enc | tail -c 1) $(grep -o '"recipient"' key.enc | wc -l)" = '2 2' ] || lab_fail 'the merge of a binary file has not both changes'
git checkout -qb binary-other
content 3
git commit -qam 3
git checkout -q binary
content 4
git commit -qam 4
refused 'key.enc: both sides changed it, it is binary' git merge binary-other
git checkout -q --theirs key.enc
git add key.enc
refused 'is staged as the other side has it' git commit -qm other
taken tokenctl guard --allow-one-side key.enc
git merge --abort
# It is binary wherever the NUL byte stands, also where git itself would not look for one.
{ head -c 9000 /dev/zero | tr '\0' a; printf '\000a'; } | tokenctl encrypt --sops --key host --key other --input-type binary -o late.enc -
git add late.enc
git commit -qm late
git checkout -qb binary-late
printf '#!/bin/sh\nprintf b >>"$1"\n' >"$work/editor"
EDITOR=$work/editor tokenctl edit late.enc >/dev/null 2>&1
git commit -qam late-b
git checkout -q binary
sed -i 's/^\(\t*"lastmodified": \)/\1 /' late.enc
git commit -qam late-a
taken git merge -m late binary-late
[ "$(tokenctl decrypt -o - late.enc | tail -c 2)" = ab ] || lab_fail 'the merge of a binary file with a late NUL byte has not what one side changed'

# ---- merges that went well ----

# Both sides let the same one in: there is nothing to merge, and the file is ours byte for byte.
branch here
rules host other
tokenctl updatekeys $file >/dev/null
git add -A
git commit -qm here --no-verify
branch there
rules host other
tokenctl updatekeys $file >/dev/null
value port 3
git add -A
git commit -qm there --no-verify
branch same
rules host other
tokenctl updatekeys $file >/dev/null
git add -A
git commit -qm same --no-verify
ours=$(<$file)
taken git merge --no-commit here
[ "$(<$file)" = "$ours" ] || lab_fail 'control: the merge made another file'
taken tokenctl guard
taken git commit -qm here
taken git merge -m there there
[ "$(of port)" = 3 ] || lab_fail "the merge has $(of port)"
# A recipient that the other side let in was looked at there; one that neither side has is found, in the commit that git makes and in that which a person makes.
branch ours
value pass ours
commit ours
taken git merge -m here here
grep -q 'the other side has added the age recipient' "$said" || lab_fail "control: nobody was added: $(<"$said")"
[ -z "$(git diff --quiet HEAD^1 HEAD -- $file && echo same; git diff --quiet HEAD^2 HEAD -- $file && echo same)" ] || lab_fail 'control: the merge made no file of its own'
taken tokenctl guard --range here..HEAD
git checkout -qB ours ours~1
taken git merge --no-commit here
taken tokenctl guard
tokenctl enroll --name third --kind x25519 >/dev/null 2>&1
# Whom neither side has: refused when it is committed, and in the range when it was committed all the same.
third_is_refused() {
	rules host other third
	tokenctl updatekeys $file >/dev/null
	git add -A
	refused "the age recipient $(tokenctl recipient third) was added" git commit -qm third
	git commit -qm third --no-verify
	refused "the age recipient $(tokenctl recipient third) was added" tokenctl guard --range here..HEAD
}
third_is_refused
# What only the other side had is no new file.
git checkout -q --orphan fresh
git rm -rqf .
git commit -q --allow-empty -m fresh
git merge -q --no-commit --allow-unrelated-histories here >"$said" 2>&1
taken tokenctl guard
third_is_refused
lab_tokend_stop "$work"
