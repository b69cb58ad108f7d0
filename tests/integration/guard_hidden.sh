#!/bin/bash
# What hides from tokenctl guard in a real repository, without anybody's meaning it or with: a new name, grafts, objects that are missing, many parents, links, other encodings, a partial clone.
# shellcheck source=guard_common.sh
. "$(dirname "$0")/guard_common.sh"
git config --global advice.graftFileDeprecated false

# commit MESSAGE: all that is there. range WORDS: a range of the last commit has them.
commit() { git add -A && git commit -q --allow-empty -m "$1"; }
range() { found 3 "$1" tokenctl guard --range HEAD~1..HEAD; }
first=$(age-keygen -o one.txt 2>&1 | sed 's/.*: //')
second=$(age-keygen -o two.txt 2>&1 | sed 's/.*: //')
# rules RECIPIENTS: those of the rule for secrets/.
rules() { printf 'creation_rules:\n  - path_regex: ^secrets/\n    age: %s\n' "$1" >.sops.yaml; }

git init -q repository
cd repository
mkdir secrets
rules "$first"
for name in a b; do
	echo "$name: hunter2" >secrets/$name.yaml
	tokenctl encrypt --in-place secrets/$name.yaml
done
commit first

# A recipient more under a new name: more than half of the file is another then, and a setting that looks for new names in less is nobody's here.
git config diff.renames false
git config diff.renameLimit 1
for name in a b; do git mv secrets/$name.yaml secrets/new-$name.yaml; done
rules "$first,$second"
tokenctl updatekeys -i ../one.txt secrets/new-a.yaml secrets/new-b.yaml >/dev/null 2>&1
git add -A
# One of the two may be more alike by chance: git compares what stands for pieces of a file.
[ "$(git diff --cached --raw -M -l1000 HEAD | grep -c R0)" -lt 2 ] || lab_fail 'git takes them for the same files as well: the test shows nothing'
found 3 "secrets/new-a.yaml:13: the age recipient $second was added" tokenctl guard
commit renamed
range "secrets/new-b.yaml:13: the age recipient $second was added"
# The control: another file in the place of one that is gone has whom it likes.
git rm -q secrets/new-a.yaml
third=$(age-keygen -o ../three.txt 2>&1 | sed 's/.*: //')
echo 'c: another' >secrets/c.yaml
tokenctl encrypt --sops -r "$first" -r "$third" --in-place secrets/c.yaml
git add -A
found 0 '' tokenctl guard
# In a merge, too, of which git says no number: another file than either parent has, and the same one with a recipient more.
merge() { git commit-tree -m merge -p HEAD -p "$(git commit-tree -m other -p HEAD "HEAD^{tree}")" "$(git write-tree)"; }
git diff-tree -r -c -M10% "$(merge)" | lab_grep " RR" || lab_fail 'git takes it for a new file: the test shows nothing'
found 0 '' tokenctl guard --range "HEAD..$(merge)"
git reset -q --hard
git mv secrets/new-a.yaml secrets/moved.yaml
rules "$first,$second,$third"
tokenctl updatekeys -i ../one.txt secrets/moved.yaml >/dev/null 2>&1
git add -A
found 3 "secrets/moved.yaml:22: the age recipient $third was added" tokenctl guard --range "HEAD..$(merge)"
git reset -q --hard
git config --unset diff.renames
git config --unset diff.renameLimit

# What is said to type after a refusal commits the rules with it: the hook of `git commit -a` has both in an index that is gone after it.
found 0 'runs tokenctl guard' tokenctl guard --install
rules "$first,$second,$third"
tokenctl updatekeys -i ../one.txt secrets/new-a.yaml >/dev/null 2>&1
(cd secrets && found 1 "next: git add ../secrets/new-a.yaml ../.sops.yaml && tokenctl guard --allow-recipient $third && git commit" git commit -qam more)
git diff --cached --quiet || lab_fail 'git commit -a has staged something: the test shows nothing'
(cd secrets && found 3 "next: git add new-a.yaml ../.sops.yaml && " tokenctl guard new-a.yaml)
found 3 "next: git add secrets/new-a.yaml .sops.yaml && " tokenctl guard secrets/new-a.yaml
bash -c "$(sed -n 's/.*next: \(git add .*--no-verify\)   if.*/\1 -qm meant/p' "$directory/stdout")"
[ -z "$(git status --porcelain)" ] || lab_fail "the rules were left behind: $(git status --porcelain)"
rm .git/hooks/pre-*

# Where git says that a commit came from elsewhere, it did not. The control: git itself believes it.
cp ../one.txt key.txt
commit key
git rm -q key.txt
commit gone
elsewhere=$(git commit-tree -m elsewhere "HEAD^{tree}")
range_of_key="$(git rev-parse HEAD~2)..HEAD"
echo "$(git rev-parse HEAD) $elsewhere" >.git/info/grafts
[ "$(git rev-list --count "$range_of_key")" -eq 2 ] && ! git rev-list "$range_of_key" -- | lab_grep "$(git rev-parse "main@{1}")" || lab_fail 'git does not believe it: the test shows nothing'
found 3 'key.txt:3: here is an age private key' tokenctl guard --range "$range_of_key"
rm .git/info/grafts

# What a file was before is missing: nobody can say who could read it, so nothing passes.
rules "$first,$second,$third"
tokenctl updatekeys -i ../one.txt secrets/new-b.yaml >/dev/null 2>&1
commit third
range "the age recipient $third was added"
old=$(git rev-parse HEAD~1:secrets/new-b.yaml)
mv ".git/objects/${old:0:2}/${old:2}" ../object
found 1 'git does not give what it has of secrets/new-b.yaml' tokenctl guard --range HEAD~1..HEAD
mv ../object ".git/objects/${old:0:2}/${old:2}"
# A partial clone leaves out the same; what is said to type gets it.
git config uploadpack.allowFilter true
git clone -q --filter=blob:none "file://$PWD" ../partial 2>/dev/null
cd ../partial
found 1 'git fetch --refetch --no-filter   gets all' tokenctl guard --range HEAD~1..HEAD
git fetch -q --refetch --no-filter 2>/dev/null
range "the age recipient $third was added"
cd ../repository
# Rules that it has left out are not none: in the index, where the environment may say that patterns are none, and in a commit.
git clone -q --no-checkout --filter=blob:none "file://$PWD" ../ruled
cd ../ruled
git read-tree HEAD
git update-index --add --cacheinfo "100644,$(echo 'a: 1' | git hash-object -w --stdin),secrets/plain.yaml"
plain=$(git commit-tree -m plain -p HEAD "$(git write-tree --missing-ok)")
git cat-file --batch-all-objects --batch-check | lab_grep "^$(git rev-parse :.sops.yaml)" && lab_fail 'the rules are there: the test shows nothing'
found 1 'git does not give what it has of .sops.yaml' tokenctl guard
(mkdir -p below && cd below && GIT_LITERAL_PATHSPECS=1 found 1 'git fetch --refetch --no-filter   gets all' tokenctl guard)
found 1 'git does not give what it has of .sops.yaml' tokenctl guard --range "HEAD..$plain"
git fetch -q --refetch --no-filter 2>/dev/null
found 3 'secrets/plain.yaml: the rule in line 2 of .sops.yaml' tokenctl guard
found 3 'secrets/plain.yaml: the rule in line 2 of .sops.yaml' tokenctl guard --range "HEAD..$plain"
# Nor are they where they are damaged, and git says the same as of what is not there.
git clone -q --no-checkout "file://$PWD" ../lost
cd ../lost
git read-tree HEAD
git update-index --add --cacheinfo "100644,$(echo 'a: 1' | git hash-object -w --stdin),secrets/plain.yaml"
mv .git/objects/pack/*.pack .
for pack in ./*.pack; do git unpack-objects -q <"$pack"; done
lost=$(git rev-parse :.sops.yaml)
rm -f ".git/objects/${lost:0:2}/${lost:2}" .git/objects/pack/*
found 1 'git does not give what it has of .sops.yaml' tokenctl guard
cd ../repository
# What a merge has of one side, though both changed it, and what is staged of one; the control is the same without the file.
base=$(git rev-parse HEAD)
echo '# ours' >>secrets/new-b.yaml
commit ours
git checkout -q -b other "$base"
echo '# theirs' >>secrets/new-b.yaml
commit theirs
both=$(git commit-tree -m both -p main -p other "other^{tree}")
one_side=$(git commit-tree -m merge -p main -p other "main^{tree}")
git rm -q --cached secrets/new-b.yaml
without=$(git commit-tree -m merge -p main -p other "$(git write-tree)")
git reset -q --hard
git merge -q main >/dev/null 2>&1 && lab_fail 'there is no conflict: the test shows nothing'
git checkout -q --ours secrets/new-b.yaml
git add secrets/new-b.yaml
found 3 'secrets/new-b.yaml: was in conflict and is staged as HEAD has it' tokenctl guard
found 3 'secrets/new-b.yaml: was changed on both sides of this merge' tokenctl guard --range "$both..$one_side"
for side in main other; do
	object=$(git rev-parse "$side:secrets/new-b.yaml")
	mv ".git/objects/${object:0:2}/${object:2}" "../$side"
done
found 1 'git does not give what it has of secrets/new-b.yaml' tokenctl guard
found 1 'git does not give what it has of secrets/new-b.yaml' tokenctl guard --range "$both..$one_side"
found 1 'git does not give what it has of secrets/new-b.yaml' tokenctl guard secrets/new-b.yaml
git rm -q --cached secrets/new-b.yaml
found 0 '' tokenctl guard
found 0 '' tokenctl guard --range "$both..$without"
for side in main other; do
	object=$(git rev-parse "$side:secrets/new-b.yaml")
	mv "../$side" ".git/objects/${object:0:2}/${object:2}"
done
git reset -q --hard
git checkout -q main
git reset -q --hard "$base"
git branch -q -D other
# With a new name git itself looks into what it does not have, and ends; the same is said to type then, and of what is staged.
git mv secrets/new-b.yaml secrets/moved.yaml
echo '# more' >>secrets/moved.yaml
commit moved
git clone -q --no-checkout --filter=blob:none "file://$PWD" ../moved
cd ../moved
git read-tree HEAD
found 1 'git diff-tree failed' tokenctl guard --range HEAD~1..HEAD
found 1 'git fetch --refetch --no-filter   gets all' tokenctl guard --range HEAD~1..HEAD
git rm -q --cached secrets/moved.yaml
echo text >other
git add other
found 1 'git fetch --refetch --no-filter   gets all' tokenctl guard
cd ../repository
git reset -q --hard HEAD~1

# A commit in whose place another stands: git goes on from there, but does not show it, and ends well; nobody has looked at that commit then. First, in the middle, and as the last of those that are asked for.
cp ../two.txt key.txt
commit key
damaged=$(git rev-parse HEAD)
git rm -q key.txt
commit gone
commit empty
other=$(git commit-tree -m other -p "$damaged~1" "HEAD^{tree}")
mv ".git/objects/${damaged:0:2}/${damaged:2}" ../object
cp ".git/objects/${other:0:2}/${other:2}" ".git/objects/${damaged:0:2}/${damaged:2}"
for range_of_damaged in HEAD~3..HEAD HEAD~4..HEAD "HEAD~3..$damaged"; do
	git rev-list "$range_of_damaged" -- | git diff-tree --stdin >/dev/null 2>&1 || lab_fail 'git does not end well: the test shows nothing'
	found 1 "git does not give the commit $damaged" tokenctl guard --range "$range_of_damaged"
done
mv -f ../object ".git/objects/${damaged:0:2}/${damaged:2}"
found 3 "${damaged:0:10}:key.txt:3: here is an age private key" tokenctl guard --range HEAD~3..HEAD
found 0 '' tokenctl guard --range HEAD~2..HEAD
git reset -q --hard HEAD~3

# A file in the place of a submodule: what was there is a commit of another repository, which this one does not have, and hides nothing.
mkdir module
git update-index --add --cacheinfo "160000,$(git rev-parse HEAD | tr 0-9a-f 1-9a-f0),module"
git commit -qm submodule
rmdir module
echo text >module
git add module
git diff --cached --raw | lab_grep ^:160000 || lab_fail 'there was no submodule: the test shows nothing'
found 0 '' tokenctl guard
git commit -qm file
found 0 '' tokenctl guard --range HEAD~1..HEAD
git reset -q --soft HEAD~1
cp ../two.txt module
git add module
found 3 'module:3: here is an age private key' tokenctl guard
git reset -q --hard HEAD~1

# A merge of a hundred parents, and a key that none of them has.
parents=()
tree=$(git rev-parse "HEAD^{tree}")
for ((i = 0; i < 100; i++)); do parents+=(-p "$(git commit-tree -m "$i" -p HEAD "$tree")"); done
cp ../two.txt readme
git add readme
merge=$(git commit-tree -m merge "${parents[@]}" "$(git write-tree)")
found 3 'readme:3: here is an age private key' tokenctl guard --range "HEAD..$merge"
found 0 '' tokenctl guard --range "HEAD..$merge~1"
git reset -q --hard

# Rules behind a link hold, as they do for sops; a link that leads to nothing says so.
mkdir common links
git mv .sops.yaml common/rules.yaml
ln -s common/rules.yaml .sops.yaml
ln -s ./../.sops.yaml links/.sops.yaml
mkdir links/secrets
echo 'a: 1' | tee secrets/plain.yaml >links/secrets/plain.yaml
git add -A
found 3 'secrets/plain.yaml: the rule in line 2 of .sops.yaml' tokenctl guard
found 3 'links/secrets/plain.yaml: the rule in line 2 of links/.sops.yaml' tokenctl guard
for target in ../../outside "$PWD/common/rules.yaml" .sops.yaml nowhere; do
	ln -sf "$target" links/.sops.yaml
	git add links
	found 7 'links/.sops.yaml: line 1: a document is no map; if it is a link, git has nothing where it leads' tokenctl guard
done
ln -sf ../long links/.sops.yaml
head -c 1100000 /dev/zero >long
git add links long
found 7 'links/.sops.yaml leads to what is too large for creation rules' tokenctl guard
git reset -q --hard

# For a path that is too long to ask git with no rules would be found.
name=$(printf 'd%.0s' {1..200})
long=$(printf "$name/%.0s" {1..20})
git update-index --add --cacheinfo "100644,$(git rev-parse HEAD:.sops.yaml),${long}plain.yaml"
found 2 'a path of 4030 bytes is too long for rules to be found' tokenctl guard
git reset -q

# What is too large to be looked at is named with its commit, as all else, and as one types it.
truncate -s 65M large
commit large
found 0 "$(git rev-parse --short=10 HEAD):large: note: this file is too large" tokenctl guard --range HEAD~1..HEAD
git reset -q --soft HEAD~1
(cd secrets && found 0 '../large: note: this file is too large' tokenctl guard)
git reset -q --hard

# As PowerShell writes what is redirected, with each order of bytes; and behind what some editors put first.
for order in LE BE; do
	(printf '\xef\xbb\xbf'; cat ../one.txt) | iconv -f UTF-8 -t "UTF-16$order" >key.txt
	git add key.txt
	found 3 'key.txt:3: here is an age private key' tokenctl guard
	printf '\xef\xbb\xbfA=1\n' | iconv -f UTF-8 -t "UTF-16$order" >wide.env
	git add wide.env
	found 3 'wide.env:1: variables with their values' tokenctl guard
done
printf '\xef\xbb\xbfA=1\n' >marked.env
git rm -qf --cached key.txt wide.env
git add marked.env
found 3 'marked.env:1: variables with their values' tokenctl guard
