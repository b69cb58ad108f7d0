#!/bin/bash
# The pre-receive hook that tokenctl guard --install writes into a bare repository, in real pushes over a local path: what is refused, that nothing of it stays, and what is let through.
# shellcheck source=guard_common.sh
. "$(dirname "$0")/guard_common.sh"
git config --global advice.detachedHead false

# refused WORDS PUSH...: the push fails, WORDS are on the pusher's screen, and the server has the branches and tags that it had.
refused() {
	local words=$1 before
	shift
	before=$(git ls-remote server)
	if git push -q server "$@" >"$directory/said" 2>&1; then
		lab_fail "'git push $*' was taken"
	fi
	grep -F "remote: " "$directory/said" | grep -qF -- "$words" || lab_fail "'git push $*' does not say '$words' but: $(<"$directory/said")"
	[ "$(git ls-remote server)" = "$before" ] || lab_fail "'git push $*' changed the server"
}
taken() {
	git push -q server "$@" >"$directory/said" 2>&1 || lab_fail "'git push $*' was refused: $(<"$directory/said")"
}
commit() { git add -A && git commit -qm "$1"; }

git init -q --bare server.git
(cd server.git && tokenctl guard --install) >/dev/null
git init -q work
cd work
git remote add server "$directory/server.git"
first=$(age-keygen -o ../one.txt 2>&1 | sed 's/.*: //')
second=$(age-keygen -o ../two.txt 2>&1 | sed 's/.*: //')
cat >.sops.yaml <<YAML
creation_rules:
  - path_regex: ^secrets/
    age: $first
YAML
echo text >readme
commit first
taken main

# The control: without its hook the same push is taken.
openssl genpkey -algorithm ed25519 -out key.pem 2>/dev/null
commit key
refused 'key.pem:1: here is a private key in the clear' main
grep -F 'remote: hint: git rebase -i' ../said >/dev/null || lab_fail "what to do is not said: $(<../said)"
git clone -q --mirror ../server.git ../open.git
git push -q ../open.git main || lab_fail "without a hook it is refused too: the test shows nothing"
# What was refused is gone from the server, with its objects.
blob=$(git rev-parse HEAD:key.pem)
git -C ../server.git cat-file -e "$blob" 2>/dev/null && lab_fail "the key is in the server"
git -C ../open.git cat-file -e "$blob" || lab_fail "the key is not where it was taken: the test shows nothing"
# A later commit that takes it away does not help; it is in the history. In any branch, also a new one, and by a tag.
git rm -q key.pem
commit gone
refused 'key.pem:1' main
refused 'key.pem:1' main:refs/heads/new
git tag -a -m tag tagged HEAD~1
refused 'key.pem:1' tagged
refused 'key.pem:1' main~2:refs/heads/good main:refs/heads/bad
git tag light HEAD~1
refused 'key.pem:1' light
# Tags of files and of trees have no commit.
git tag file "$blob"
refused 'refs/tags/file:1: here is a private key' file
git tag -a -m tree tree "HEAD~1^{tree}"
refused 'key.pem:1' tree
git tag good "HEAD^{tree}"
taken good

# A ref below refs/replace, which may be there before the key is, puts nothing else in its place.
harmless=$(echo harmless | git hash-object -w --stdin)
taken "$harmless:refs/replace/$blob"
git -C ../server.git fetch -q "$PWD" "$(git rev-parse HEAD~1)"
[ "$(git -C ../server.git cat-file blob "$blob")" = harmless ] || lab_fail "control: git does not replace it"
refused 'key.pem:1' main
taken ":refs/replace/$blob"

# Taken out of the commits it is taken; so are what is there already, deletions, and force pushes of what is clean.
git reset -q --hard HEAD~2
taken main:refs/heads/new
taken main:refs/tags/v1
taken :refs/heads/new :refs/tags/v1
echo other >readme
git commit -qa --amend -m first
taken -f main
clean=$(git rev-parse HEAD)
openssl genpkey -algorithm ed25519 -out key.pem 2>/dev/null
git add key.pem
git commit -q --amend -m first
refused 'key.pem:1' -f main
git reset -q --hard "$clean"

# The rules are those of the pushed commit: neither those of the branch that the server has, nor any around it on its disk.
printf 'creation_rules: [{path_regex: readme}]\n' >"$directory/.sops.yaml"
mkdir secrets
echo 'a: 1' >secrets/a.yaml
commit clear
refused 'secrets/a.yaml: the rule in line 2 of .sops.yaml covers this file, and it is not encrypted' main
git reset -q --soft HEAD~1
tokenctl encrypt --in-place secrets/a.yaml
commit encrypted
taken main
printf 'creation_rules: []\n' >.sops.yaml
echo 'a: 1' >secrets/b.yaml
commit 'other rules'
taken main
printf 'creation_rules: [{path_regex: "("}]\n' >.sops.yaml
commit broken
refused '.sops.yaml: line 1: its path_regex is no pattern' main
git reset -q --hard HEAD~1
rm "$directory/.sops.yaml"

# A recipient more is for whoever has the server to let in.
printf 'creation_rules:\n  - path_regex: ^secrets/a\n    age: %s,%s\n' "$first" "$second" >.sops.yaml
tokenctl updatekeys -i ../one.txt secrets/a.yaml >/dev/null
commit recipient
refused "the age recipient $second was added" main
grep -F 'git config --add tokend.allowRecipient' ../said >/dev/null || lab_fail "who lets it in is not said: $(<../said)"
git -C ../server.git config --add tokend.allowRecipient "$second"
taken main

# Names of all sorts; many branches with the same commits at once; a merge of what is there.
mkdir 'a b'
printf 'A=1\n' >"a b/ü.env"
commit names
refused 'a b/ü.env:1: variables with their values' main
git reset -q --hard HEAD~1
for i in $(seq 1 50); do git branch "many$i"; done
git checkout -q -b side HEAD~1
echo side >side
commit side
git merge -q -m merge main
taken --all
[ "$(git ls-remote server 'refs/heads/many*' | wc -l)" = 50 ] || lab_fail "not all branches are there"
# Where tokenctl is not, nothing is taken unseen.
echo more >readme
commit more
mkdir ../bin
for program in git git-receive-pack sh cat; do ln -s "$(command -v "$program")" ../bin/; done
git config --global receive.unpackLimit 1
if PATH=$directory/bin git push -q server side >../said 2>&1; then
	lab_fail "without tokenctl the push was taken"
fi
grep -F 'tokenctl is not in the PATH here, so nothing was checked' ../said >/dev/null || lab_fail "that it is not there is not said: $(<../said)"
taken side
