#!/bin/bash
# tokenctl guard, verify and sample in a real repository of git, without a key and without tokend: what is refused, what is not, by the hook, by hand and over a range of commits.
# What guard sees in a text has its tables in tests/unit/test_guard.c.
# shellcheck source=guard_common.sh
. "$(dirname "$0")/guard_common.sh"

data=$LAB_SOURCE/tests/data/sops
# The kept files are whole but for their data keys, which nobody encrypted; here is one that anybody's sops would take.
first=age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa
head -c 32 /dev/urandom | tokenctl encrypt -a -r "$first" | sed 's/^/            /' >armored
sed -e "s/recipient: age1q/recipient: $first/" -e '/BEGIN AGE/,/END AGE/d' -e '/enc: |/r armored' -e 's/^#.*//' "$data/all.yaml" >encrypted.yaml

git init -q repository
cd repository
found 0 '' tokenctl guard # nothing staged, and no commit yet

# The hook: written, written twice, and never over another one.
found 0 'runs tokenctl guard before each commit' tokenctl guard --install
found 0 'already' tokenctl guard --install
[ -x .git/hooks/pre-commit ] || lab_fail "the hook cannot be run"
printf 'A=1\n' >.env
git add .env
found 1 '.env:1: variables with their values' git commit -qm first
git rev-parse -q --verify HEAD >/dev/null && lab_fail "the commit was made all the same"
found 3 'next: git rm --cached .env' tokenctl guard
git commit -qm first --no-verify
git rm -q .env
git commit -qm 'without it'
printf '#!/bin/sh\nexit 0\n' >.git/hooks/pre-commit
cp .git/hooks/pre-commit "$directory/own"
found 2 'is left as it is' tokenctl guard --install
cmp .git/hooks/pre-commit "$directory/own" || lab_fail "somebody's hook was changed"
ls .git/hooks/.pre-commit* 2>/dev/null && lab_fail "a temporary file stays"

# What is staged counts, not what is in the working tree; names of all sorts.
cat >.sops.yaml <<YAML
creation_rules:
  - path_regex: ^secrets/.*\.yaml$
    age: age1t7rxyev2z3rw82stdlrrepyc39nvn86l5078zqkf5uasdy86jp6svpy7pa
  - pgp: AAAA
YAML
mkdir -p 'secrets/a b'
printf 'a: 1\n' | tee secrets/plain.yaml 'secrets/a b/ü "q".yaml' readme.md >/dev/null
git add .
cp "$directory/encrypted.yaml" secrets/plain.yaml # not staged
found 3 'secrets/plain.yaml: the rule in line 2 of .sops.yaml covers this file, and it is not encrypted' tokenctl guard
grep -qF "git add 'secrets/a b/ü \"q\".yaml'" "$directory/stdout" || lab_fail "the name is not quoted: $(cat "$directory/stdout")"
# Of a private key that a rule covers one thing is said, and one way on.
(printf -- '-----BEGIN PRIVATE KEY-----\n'; printf 'MC4CAQAwBQYDK2VwBCIEIHHOPIKF7MY5pXT3WkNkBDHRnQVkJ3bJ0iVJXBbb6Rkd\n'; printf -- '-----END PRIVATE KEY-----\n') >secrets/key.yaml
found 3 'next: tokenctl encrypt --in-place secrets/key.yaml' tokenctl guard secrets/key.yaml
grep -q 'refused: 1 finding in 1 file' "$directory/stderr" && grep -q 'hint: what to type stands below' "$directory/stderr" || lab_fail "a key under a rule: $(cat "$directory/stdout" "$directory/stderr")"
rm secrets/key.yaml
(cd secrets && found 3 'next: tokenctl encrypt --in-place ../secrets/plain.yaml && git add ../secrets/plain.yaml' tokenctl guard)
[ "$(grep -c 'covers this file' "$directory/stdout")" -eq 2 ] || lab_fail "another number: $(cat "$directory/stdout")"
git rm -qrf --cached secrets
rm -r 'secrets/a b'
git add secrets/plain.yaml
found 0 '' tokenctl guard
git commit -qm encrypted
# The rules that are staged hold, not those on the disk.
printf 'creation_rules: []\n' >.sops.yaml
printf 'a: 1\n' >secrets/plain.yaml
git add secrets/plain.yaml
found 3 'covers this file' tokenctl guard
git add .sops.yaml
found 0 '' tokenctl guard
# One without a word in it has no rules either, and is no reason to commit nothing at all.
: >.sops.yaml
git add .sops.yaml
found 0 '' tokenctl guard
git reset -q --hard
# A hook runs at the top: what it says to type is for where its reader stands. A key of age is not encrypted to itself.
rm .git/hooks/pre-commit
found 0 'runs tokenctl guard' tokenctl guard --install
printf 'a: 1\n' >secrets/plain.yaml
(
	cd secrets
	git add plain.yaml
	found 1 'next: tokenctl encrypt --in-place ../secrets/plain.yaml && git add ../secrets/plain.yaml' git commit -qm plain
)
cp "$directory/own" .git/hooks/pre-commit
git reset -q --hard
age-keygen -o secrets/key.yaml 2>"$directory/stderr"
git add secrets
found 3 'here is an age private key in the clear' tokenctl guard
if grep -F 'encrypt --in-place' "$directory/stdout"; then lab_fail "a key is to be encrypted to itself: $(cat "$directory/stdout")"; fi
# The control: a value that is such a key is encrypted with those beside it.
sed -n 's/^AGE/key: AGE/p' secrets/key.yaml >secrets/value.yaml
git add secrets
found 3 'encrypt --in-place secrets/value.yaml' tokenctl guard
git rm -qf --cached secrets/key.yaml secrets/value.yaml
rm secrets/key.yaml secrets/value.yaml
# Of a directory's own rules the nearest.
mkdir -p own/secrets
printf 'creation_rules: [{path_regex: ^other}]\n' >own/.sops.yaml
printf 'a: 1\n' >own/secrets/x.yaml
git add own
found 0 '' tokenctl guard
printf 'creation_rules: [{path_regex: ^secrets/x}]\n' >own/.sops.yaml
git add own
found 3 'own/secrets/x.yaml: the rule in line 1 of own/.sops.yaml' tokenctl guard
printf 'creation_rules: [{path_regex: "("}]\n' >own/.sops.yaml
git add own
found 7 'own/.sops.yaml: line 1: its path_regex is no pattern' tokenctl guard
git rm -rqf own
# Where git cannot be asked for the rules nothing passes.
mkdir $'line\nend'
echo 'a: 1' >$'line\nend/a.yaml'
git add $'line\nend'
found 2 'a line end in a name, so git cannot be asked for it' tokenctl guard
git rm -rqf $'line\nend'

# A value in the clear, and a recipient more, under a new name too.
sed '0,/: ENC\[.*/s//: hunter2/' "$directory/encrypted.yaml" >secrets/plain.yaml
cmp -s secrets/plain.yaml "$directory/encrypted.yaml" && lab_fail "nothing was changed"
git add secrets
found 3 'is in the clear' tokenctl guard
found 7 'is in the clear' tokenctl verify secrets/plain.yaml
found 0 '' tokenctl verify "$directory/encrypted.yaml"
another=age1lvyvwawkr0mcnnnncaghunadrqkmuf9e6507x9y920xxpp866cnql7dp2z
sed "s/$first/$another/" "$directory/encrypted.yaml" >secrets/plain.yaml
git add secrets
found 3 "the age recipient $another was added" tokenctl guard
found 3 "next: git add secrets/plain.yaml .sops.yaml && tokenctl guard --allow-recipient $another && git commit --no-verify " tokenctl guard secrets/plain.yaml
found 0 '' tokenctl guard --allow-recipient "$another"
git mv secrets/plain.yaml secrets/other.yaml
found 3 "secrets/other.yaml:" tokenctl guard

# What is said to type is about this file, and not about all that git's patterns find by its name.
for name in '*' ':name' '[k]ey.pem'; do
	openssl genpkey -algorithm ed25519 -out "$name" 2>/dev/null
	touch key.pem
	git add --all
	found 3 'here is a private key' tokenctl guard
	# shellcheck disable=SC2016 # it is for the shell that reads it
	bash -c "$(sed -n 's/.*next: \(git rm .*\)   and put.*/\1/p' "$directory/stdout")" >/dev/null
	[ -n "$(git ls-files key.pem)" ] || lab_fail "the hint for '$name' has taken another file: $(cat "$directory/stdout")"
	found 0 '' tokenctl guard --allow-recipient "$another"
	rm -f -- "$name" key.pem
	git rm -q --cached key.pem
done

# A range looks at each commit: what was taken away again is in the history.
git commit -qm recipient
openssl genpkey -algorithm ed25519 -out key.pem 2>/dev/null
git add key.pem
git commit -qm key
git rm -q key.pem
git commit -qm 'without it'
found 3 "$(git rev-parse --short=10 HEAD~1):key.pem:1: here is a private key in the clear" tokenctl guard --range HEAD~3..HEAD
[ "$(grep -c next: "$directory/stdout")" -eq 2 ] || lab_fail "not the recipient and the key: $(cat "$directory/stdout")"
found 0 '' tokenctl guard --range HEAD~1..HEAD
found 0 '' tokenctl guard # as HEAD
found 1 'git fetch --unshallow' tokenctl guard --range nothing..HEAD
found 2 'is no range of commits' tokenctl guard --range --all
# A merge is answerable for what neither side had.
git checkout -qb side HEAD~1
git commit -q --allow-empty -m side
git merge -q --no-commit --no-ff main 2>/dev/null
openssl genpkey -algorithm ed25519 -out merged.pem 2>/dev/null
git add -A
git commit -qm merge
found 3 'merged.pem:1: here is a private key' tokenctl guard --range main..HEAD
# A range is taken out of the commits, and not out of what is staged.
lab_grep 'git rebase -i' <"$directory/stderr" || lab_fail "what to do with a range is not said: $(<"$directory/stderr")"
# A clone that is cut off inside of the range knows some of its commits alone: that is no range without a finding. One that is cut off before it is whole.
git checkout -qb cut main~3
openssl genpkey -algorithm ed25519 -out past.pem 2>/dev/null
for message in 'git add past.pem' 'git rm -q past.pem' 'touch last' 'git add last'; do
	$message
	git commit -q --allow-empty -m "$message"
done
git clone -q --depth 2 --no-single-branch -b cut "file://$PWD" ../shallow 2>/dev/null
cd ../shallow
found 1 'this clone is shallow and ends inside of origin/main..HEAD' tokenctl guard --range origin/main..HEAD
found 0 '' tokenctl guard --range HEAD~1..HEAD
git fetch -q --unshallow
found 3 'past.pem:1: here is a private key' tokenctl guard --range origin/main..HEAD
# In a submodule and in a further worktree it is that one's index that counts, and the hook is where git looks for it; a bare repository has none.
git worktree add -q ../further
git -c protocol.file.allow=always submodule --quiet add "file://$directory/repository" part
# It is another repository: the outer one says that nobody looks into it, until it has a hook of its own, and commits what it has of it all the same.
found 0 'part: note: is a repository of its own, and no hook there runs tokenctl guard' tokenctl guard
grep -qF 'next: (cd part && tokenctl guard --install)' "$directory/stdout" || lab_fail "what to type is not said: $(<"$directory/stdout")"
found 0 '' tokenctl guard --range HEAD~1..HEAD
git -C part config core.hooksPath "$directory/hooks"
mkdir "$directory/hooks"
printf '#!/bin/sh\nexit 0\n' >"$directory/hooks/pre-commit"
found 0 'part: note:' tokenctl guard
git -C part config --unset core.hooksPath
for place in ../further part; do
	(
		cd "$place"
		found 0 'runs tokenctl guard before each commit' tokenctl guard --install
		printf 'A=1\n' >.env
		git add .env
		found 3 '.env:1: variables' tokenctl guard
		found 1 '.env:1: variables' git commit -qm first
	)
done
found 0 '' tokenctl guard
# A secret that was committed there without the hook is not the outer commit's: that has the name of a commit, and nothing of what is in it.
git -C part commit -q --no-verify -m first
git add part
found 0 '' tokenctl guard
git commit -qm 'part moved'
found 0 '' tokenctl guard --range HEAD~1..HEAD
(cd part && found 3 '.env:1: variables with their values' tokenctl guard --range HEAD~1..HEAD)
# A bare repository has no index, and its commits are looked at without the rules of the disk around it.
git clone -q --bare . ../bare.git
cd ../bare.git
found 2 'no working tree' tokenctl guard
found 3 'past.pem:1: here is a private key' tokenctl guard --range cut~5..cut
found 0 'hooks/pre-receive runs tokenctl guard before a push is taken' tokenctl guard --install
found 0 'already' tokenctl guard --install
[ ! -e hooks/pre-commit ] || lab_fail 'a hook was written that would never run'
printf '#!/bin/sh\nexit 0\n' >hooks/pre-receive
found 2 'guard --pushed || exit 1' tokenctl guard --install
[ "$(wc -l <hooks/pre-receive)" = 2 ] || lab_fail "somebody's hook was changed"
found 2 'is no list of what is pushed' tokenctl guard --pushed <<<'--all --all x'
found 2 'at nothing else' tokenctl guard --pushed --range a..b
cd ../repository
git checkout -q side

# Files, outside of any repository too; JSON; the exit code of each.
cd "$directory"
cp repository/merged.pem .
found 3 'merged.pem:1: here is a private key' tokenctl guard merged.pem
# What git does not have is not to be taken out of there; what it has, is.
found 3 'next: tokenctl encrypt --key NAME -o merged.pem.age merged.pem' tokenctl guard merged.pem
(
	cd repository
	printf 'A=1\n' >new.env
	cp merged.pem new.pem
	found 3 'next: tokenctl encrypt --key NAME -o new.pem.age' tokenctl guard new.pem
	found 3 'next: name it in .gitignore' tokenctl guard new.env
	git add new.env new.pem
	found 3 'next: git rm --cached new.pem' tokenctl guard new.pem
	found 3 'next: git rm --cached new.env' tokenctl guard new.env
	git rm -q --cached new.env new.pem
	rm new.env new.pem
)
found 3 '"kind": "private-key"' tokenctl guard --json merged.pem
found 2 'no working tree of git' tokenctl guard
found 2 'no working tree of git' tokenctl guard --install
found 2 'cannot open nothing' tokenctl guard nothing
found 2 'looks at commits' tokenctl guard --range a..b merged.pem
found 2 'there is no git' env PATH="$directory" "$LAB_BIN/tokenctl" guard
found 3 'merged.pem:1' env PATH="$directory" "$LAB_BIN/tokenctl" guard merged.pem

# verify: the kept files of another implementation have nothing but their data keys amiss; what is no SOPS file, is said.
for file in "$data"/*; do
	case $file in *.plain) continue ;; esac
	found 7 'its age entry 1 holds no data key' tokenctl verify "$file"
	[ "$(grep -cv ': note: \|holds no data key' stdout)" -eq 0 ] || lab_fail "verify finds: $(cat stdout)"
done
found 7 'this is no SOPS file' tokenctl verify merged.pem
age-keygen -o identity.txt 2>/dev/null
age-keygen -o other.txt 2>/dev/null
printf 'a: 1\nb_unencrypted: 2\n' >plain.yaml
tokenctl encrypt --sops -r "$(age-keygen -y identity.txt)" -o made.yaml plain.yaml
sed 's/^b_unencrypted: 2/b_unencrypted: 3/' made.yaml >changed.yaml
found 7 'its MAC is wrong' tokenctl verify --decrypt -i identity.txt changed.yaml
found 0 '' tokenctl verify changed.yaml
found 0 '' tokenctl verify --decrypt -i identity.txt made.yaml
found 4 'none of the' tokenctl verify --decrypt -i other.txt made.yaml
found 2 '-i goes with' tokenctl verify -i identity.txt made.yaml
found 7 '2 of 3 files' tokenctl verify merged.pem encrypted.yaml merged.pem

# sample: names, and nothing of a value.
cat >.env <<'ENV'
# the database
DB_PASSWORD="hunter2
hunter3=4"
export TOKEN='hunter5' # of hunter6
#OLD=hunter7

PORT=hunter8
ENV
tokenctl sample .env 2>/dev/null
cat >expected <<'ENV'
# the database
DB_PASSWORD=
export TOKEN=
#OLD=

PORT=
ENV
cmp expected .env.sample || lab_fail "the sample is another: $(cat .env.sample)"
grep -q hunter .env && ! grep -q hunter .env.sample || lab_fail "a value is in the sample"
sed -i 's/^PORT=$/PORT=8080/' .env.sample
printf 'NEW=hunter9\n' >>.env
tokenctl sample .env 2>/dev/null
{ sed 's/^PORT=$/PORT=8080/' expected; echo NEW=; } | cmp - .env.sample || lab_fail "what the sample had did not stay"
printf 'A=1\nhunter\n' >bad.env
cp .env.sample before
found 7 'bad.env, line 2' tokenctl sample bad.env
printf 'A="1\nhunter\n' >bad.env
found 7 'bad.env, line 1' tokenctl sample bad.env
cmp before .env.sample || lab_fail "a sample was written all the same"
tokenctl sample -o - "$data/all.env" >stdout
grep -q 'ENC\[\|sops_' stdout && lab_fail "ciphertext is in the sample: $(cat stdout)"
[ -s stdout ] || lab_fail "nothing is in the sample"
# Each file has a sample of its own; an encrypted one that of the plain one. What goes out of a sample is said.
mkdir samples
cd samples
printf 'A=hunter1\n' >.env
printf 'A=hunter1\nB=hunter2\n' >.env.local
printf 'C=hunter3\n' | tee .env.production vars >/dev/null
for file in .env .env.local .env.production vars; do found 0 '' tokenctl sample $file; done
[ "$(cat .env.sample) $(cat .env.local.sample) $(cat .env.production.sample) $(cat vars.sample)" = $'A= A=\nB= C= C=' ] || lab_fail "one sample took another's names: $(cat .*.sample ./*.sample)"
mv .env.local .env.encrypted
found 0 '' tokenctl sample .env.encrypted
[ "$(cat .env.sample)" = $'A=\nB=' ] || lab_fail "the sample of an encrypted file: $(cat .env.sample)"
if grep -q warning "$directory/stderr"; then lab_fail "it warns of nothing: $(cat "$directory/stderr")"; fi
found 0 'warning: B is not in .env, and so not in .env.sample any more' tokenctl sample .env
found 2 'input and output are the same file' tokenctl sample .env.sample
mkfifo pipe.sample
echo A=1 >pipe
found 2 'pipe.sample is no regular file' timeout 10 tokenctl sample pipe
rm pipe pipe.sample
# What was commented out has values too: over lines, behind other words, and where nobody can say where it ends the file is refused.
cat >commented <<'ENV'
# ===== a == b =====
#KEY="-----BEGIN
# hunter1=
# -----END"
# # A=hunter2
# old: B=hunter3
# https://x/?token=hunter4
 # C = 'hunter5
 #hunter6' and so on
D=hunter7
ENV
found 0 '' tokenctl sample commented
{ printf '%s\n' '# ===== a == b =====' '#KEY=' '# # A=' '# old: B=' '# https://x/?token=' ' # C =' D= | cmp - commented.sample; } || lab_fail "what was commented out is in the sample: $(cat commented.sample)"
for text in 'A=1\\\nhunter=2\n' "A='it\\\\'\n#hunter'\n" "#A='hunter\nhunter=2\n"; do
	printf "$text" >endless
	found 7 'endless, line 1: it is not certain where this value ends' tokenctl sample endless
done
printf 'A="1\n2"\nhunter\n' >endless
found 7 'endless, line 3: this is no NAME=VALUE' tokenctl sample endless
[ ! -e endless.sample ] || lab_fail "a sample was written all the same"
# A link that a repository brings is not followed to where it leads, unless it was typed.
echo B=1 >other
ln -s other vars.env.sample
echo A=hunter1 >vars.env
found 2 'vars.env.sample is a link to another file' tokenctl sample vars.env
[ "$(cat other)" = B=1 ] || lab_fail "the file behind a link was replaced"
found 0 '' tokenctl sample -o vars.env.sample vars.env
[ "$(cat other)" = A= ] || lab_fail "a link that was typed is not followed"
