#!/bin/bash
# What tokenctl does with SOPS files beside decrypting one, next to what a real sops does: get and --extract, run and exec-env, exec-file; whole trees with decrypt -r; .tokend.yaml and
# git worktrees. usage: sops_reading.sh PEER
# The state is in memory where it can be: this is not about a disk, and one that others keep busy lets nothing be released.
if [ -w /dev/shm ]; then export LAB_TMP=${LAB_TMP:-/dev/shm}; fi
. "$(dirname "$0")/interop.sh"
sops=$(interop_program "$1")
lab_need git
interop_start
export SOPS_AGE_KEY_FILE=$work/legacy.txt
encrypt() { "$sops" -e --age "$legacy" "$1" >"$2"; }
# variables NAME...: those of an environment that env -0 printed, in order, with line ends made visible.
variables() { tr '\0\n' '\n|' | grep -E "^($1)=" | sort; }

# ---- get ----

cat >plain.yaml <<'YAML'
text: "two\nlines"
quoted: "1.5"
truth: true
float: 1.5
tiny: 1.5e-9
large: 123456789012
empty: ""
db:
    # a comment
    pass: s3cret
    hosts:
        - one
        - two
name_unencrypted: clear
YAML
encrypt plain.yaml e.yaml
for path in '["text"]' '["quoted"]' '["truth"]' '["float"]' '["tiny"]' '["large"]' '["empty"]' '["db"]["pass"]' '["db"]["hosts"][1]' '["name_unencrypted"]'; do
	theirs=$("$sops" -d --extract "$path" e.yaml)
	[ "$(tokenctl get e.yaml "$path" 2>said)" = "$theirs" ] || lab_fail "get $path is not what sops has: $theirs"
	grep -q 'MAC of the file was not checked' said || lab_fail "get does not say that the MAC was not checked"
	[ "$(tokenctl get --verify e.yaml "$path" 2>said)" = "$theirs" ] || lab_fail "get --verify $path is another"
	[ ! -s said ] || lab_fail "get --verify says something: $(<said)"
done
[ "$(tokenctl get e.yaml db.hosts.0 2>/dev/null)" = one ] || lab_fail "a short path gives another value"
interop_refused 'hint: in it are: pass, hosts' tokenctl get e.yaml db
interop_refused 'there is no db.user' tokenctl get e.yaml db.user
# It is opened alone: a neighbour that was changed is not seen but with --verify; the value itself is.
sed 's/^name_unencrypted: clear/name_unencrypted: other/' e.yaml >changed.yaml
[ "$(tokenctl get changed.yaml db.pass 2>/dev/null)" = s3cret ] || lab_fail "more than the value was looked at"
interop_refused 'MAC' tokenctl get --verify changed.yaml db.pass
sed -E '/^    pass:/s/data:../data:zz/' e.yaml >changed.yaml
interop_refused 'changed' tokenctl get changed.yaml db.pass
# Another place's ciphertext does not open here.
python3 - e.yaml changed.yaml <<'PYTHON'
import re, sys
text = open(sys.argv[1]).read()
value = re.search(r"^text: (.*)$", text, re.M).group(1)
open(sys.argv[2], "w").write(re.sub(r"(?m)^quoted: .*$", lambda _: "quoted: " + value, text))
PYTHON
interop_refused 'changed' tokenctl get changed.yaml quoted

# ---- run ----

cat >flat.yaml <<'YAML'
t_text: "two\nlines"
t_quoted: "1.5"
t_truth: true
t_float: 1.50
t_million: 1234567.5
t_tiny: 1.5e-9
t_large: 123456789012
t_empty: ""
t_equals: a=b
YAML
count=9
case $1 in
sops-3.9.0) count=4 && sed -i '/^t_\(truth\|float\|million\|tiny\|large\)/d' flat.yaml ;; # it refuses what is no text
esac
encrypt flat.yaml flat.enc.yaml
"$sops" exec-env flat.enc.yaml 'env -0' | variables 't_[a-z]*' >theirs
tokenctl run -f flat.enc.yaml -- env -0 | variables 't_[a-z]*' >ours
[ "$(wc -l <theirs)" -eq "$count" ] || lab_fail "sops gave other variables: $(<theirs)"
if ! cmp -s theirs ours; then
	diff theirs ours >&2 || true
	lab_fail "run gives another environment than sops"
fi
# A comment in a list, which sops writes as one of its elements, has no place in it.
printf 'list:\n  # one\n  - a\n  # two\n  - b\n  # end\n' >commented.yaml
encrypt commented.yaml commented.enc.yaml
[ "$(tokenctl run -f commented.enc.yaml --clean-env -- "$(command -v env)" | sort | tr '\n' ' ')" = 'list_0=a list_1=b ' ] || lab_fail "comments are counted in a list"
[ "$(tokenctl get commented.enc.yaml 'list[1]' 2>/dev/null)" = b ] || lab_fail "get counts comments in a list"
interop_refused 'in list: 2 elements, from 0 on' tokenctl get commented.enc.yaml 'list[2]'
[ "$(tokenctl run -f e.yaml --clean-env --only db_pass,db_hosts_1 --prefix X_ -- "$(command -v env)" | sort | tr '\n' ' ')" = 'X_db_hosts_1=two X_db_pass=s3cret ' ] || lab_fail "--only, --prefix"
interop_refused 'there is no value nothing' tokenctl run -f e.yaml --only nothing -- echo x
status=0
tokenctl run -f e.yaml -- sh -c 'exit 7' || status=$?
[ "$status" -eq 7 ] || lab_fail "the exit code was not passed through: $status"
status=0
{ tokenctl run -f e.yaml -- sh -c 'kill -TERM $$' || status=$?; } 2>/dev/null
[ "$status" -eq 143 ] || lab_fail "it is not the program that a signal ended: $status"
interop_refused 'cannot run' tokenctl run -f e.yaml -- ./is-not-there
# The value itself only behind the descriptor, which is there as often as it is opened, and nobody can change it.
# shellcheck disable=SC2016
tokenctl run -f e.yaml --file PLACE=db.pass -- sh -c 'cat "$PLACE" "$PLACE"; env | grep -c ^db_pass=; echo changed 2>/dev/null >>"$PLACE" && echo written' >got || true
[ "$(<got)" = 's3crets3cret0' ] || lab_fail "--file gave $(<got)"
interop_refused 'there is no value db.user' tokenctl run -f e.yaml --file PLACE=db.user -- echo x
# Before anything runs: a collision, a name that is none, a changed file.
printf 'a:\n    b: 1\na_b: 2\n' >p.yaml && encrypt p.yaml collision.yaml
interop_refused 'a_b would be the name of two values' tokenctl run -f collision.yaml -- echo x
[ "$(tokenctl run -f e.yaml -f flat.enc.yaml -- sh -c 'echo $db_pass $t_equals')" = 's3cret a=b' ] || lab_fail "two files"
interop_refused 'would be the name of two values' tokenctl run -f e.yaml -f e.yaml -- echo x
printf 'a b: 1\n' >p.yaml && encrypt p.yaml name.yaml
interop_refused 'a b is no name' tokenctl run -f name.yaml -- echo x
sed 's/^name_unencrypted: clear/name_unencrypted: other/' e.yaml >changed.yaml
interop_refused 'MAC' tokenctl run -f changed.yaml -- echo x

# dotenv: as sops, and as a shell.
printf 'A="x # y"\nB=a=b # c\nC=one\\ntwo\nD=\n' >p.env && encrypt p.env dot.env
"$sops" exec-env dot.env 'env -0' | variables '[A-D]' >theirs
tokenctl run -f dot.env -- env -0 | variables '[A-D]' >ours
cmp theirs ours || lab_fail "dotenv: run gives another environment than sops"
printf 'export A="x # y" # z\nB=a=b # c\n' >p.env && encrypt p.env dot.env
interop_refused 'export A is no name.*' tokenctl run -f dot.env -- echo x
grep -q 'hint: --quotes' said || lab_fail "no word of --quotes: $(<said)"
# shellcheck disable=SC1091
(set -a && . ./p.env && env -0) | variables '[AB]' >theirs
tokenctl run -f dot.env --quotes -- env -0 | variables '[AB]' >ours
cmp theirs ours || lab_fail "--quotes gives another environment than a shell"

# Written with quotes, a shell reads what sops took as it is; without, it does not.
cat >p.env <<'DOTENV'
# a comment
A=x # y's "z" $HOME `b` \t
B=plain
C=one\ntwo # three
DOTENV
encrypt p.env dot2.env
tokenctl run -f dot2.env -- env -0 | variables '[ABC]' >theirs
tokenctl decrypt --quotes dot2.env >quoted.env
# shellcheck disable=SC1091
(set -a && . ./quoted.env && env -0) | variables '[ABC]' >ours
cmp theirs ours || lab_fail "--quotes wrote what a shell reads otherwise: $(<quoted.env)"
[ "$(grep -c '^# a comment$\|^B=plain$' quoted.env)" -eq 2 ] || lab_fail "--quotes changed other lines: $(<quoted.env)"
interop_same p.env tokenctl decrypt dot2.env

# ---- exec-file ----

for file in e.yaml dot.env; do
	"$sops" -d "$file" >theirs
	[ "$(tokenctl exec-file "$file" 'cat {}; cat {}')" = "$(cat theirs; cat theirs)" ] || lab_fail "exec-file of $file gave another"
done
"$sops" exec-file --output-type json e.yaml 'cat {}' >theirs
[ "$(tokenctl exec-file --output-type json e.yaml -- cat {})" = "$(<theirs)" ] || lab_fail "exec-file with JSON gave another"
status=0
tokenctl exec-file e.yaml 'exit 9' || status=$?
[ "$status" -eq 9 ] || lab_fail "exec-file passed on $status"
interop_refused 'MAC' tokenctl exec-file changed.yaml 'cat {}'
tokenctl encrypt -r "$legacy" -o secret.age plain
[ "$(tokenctl exec-file secret.age -- cat {})" = "$(<plain)" ] || lab_fail "exec-file of an age file"
# Nothing on a disk: what the program has open is no file of a directory.
# shellcheck disable=SC2016
tokenctl exec-file e.yaml 'readlink {}' | grep -q '^/memfd:' || lab_fail "the file is not in memory"

# ---- decrypt -r ----

mkdir -p tree/a/b tree/.git outside
for i in 1 2 3 4 5 6 7 8 9; do cp e.yaml "tree/a/f$i.yaml"; done
cp dot.env tree/a/b/.env.encrypted
cp secret.age tree/secret.txt.age
cp plain.yaml tree/readme.yaml
cp e.yaml tree/.git/inside.yaml
cp e.yaml outside/e.yaml
ln -s ../outside tree/link
ln -s ../../outside/e.yaml tree/a/link.yaml
releases() { tokenctl audit show --last 1000 --json | grep -c '"operation": "unwrap"'; }
before=$(releases)
tokenctl decrypt -r tree --output-dir out 2>said
grep -q '^11 files decrypted, 1 that are not encrypted and 2 links passed over$' said || lab_fail "it says $(<said)"
[ "$(($(releases) - before))" -eq 11 ] || lab_fail "11 releases, $(($(releases) - before)) records"
[ "$(interop_cost tokenctl decrypt -r tree --check)" -eq 0 ] || lab_fail "the key is sealed, and yet the device was asked"
(cd out && find . ! -type d | sort | tr '\n' ' ') >names
[ "$(<names)" = './a/b/.env.encrypted ./a/f1.yaml ./a/f2.yaml ./a/f3.yaml ./a/f4.yaml ./a/f5.yaml ./a/f6.yaml ./a/f7.yaml ./a/f8.yaml ./a/f9.yaml ./secret.txt ' ] || lab_fail "it wrote $(<names)"
"$sops" -d e.yaml >theirs
cmp theirs out/a/f5.yaml || lab_fail "another result in the tree"
cmp plain out/secret.txt
[ -z "$(find out -type f ! -perm 600)" ] || lab_fail "a file is not 0600"
# Once more over it: a link that is in the way is replaced, and what it points to stays; another mode becomes 0600.
echo precious >precious
ln -sf "$work/precious" out/a/f1.yaml
chmod 644 out/a/f2.yaml
tokenctl decrypt -r tree --output-dir out 2>/dev/null
[ "$(<precious)" = precious ] || lab_fail "it wrote through a link"
cmp theirs out/a/f1.yaml
[ -z "$(find out ! -type d \( ! -type f -o ! -perm 600 \))" ] || lab_fail "what was there keeps its kind or mode"
rm -r out && mkdir out && ln -s "$work/outside" out/a
if tokenctl decrypt -r tree --output-dir out 2>said; then lab_fail "it wrote below a link"; fi
[ "$(ls outside)" = e.yaml ] || lab_fail "it wrote below a link: $(ls outside)"
rm -r out
# Failures: the others are there, each is named, and the exit code says so.
cp changed.yaml tree/a/f3.yaml
"$sops" -e --age "$(interop_stranger)" plain.yaml >tree/a/f7.yaml
status=0
tokenctl decrypt -r tree --output-dir out 2>said || status=$?
[ "$status" -eq 7 ] || lab_fail "it ended with $status"
grep -q '^tokenctl: .*tree/a/f3.yaml.*MAC' said || lab_fail "f3 is not named: $(<said)"
grep -q '^tokenctl: .*tree/a/f7.yaml.*age1' said || lab_fail "f7 is not named: $(<said)"
grep -q '^tokenctl: 2 of 11 encrypted files failed$' said || lab_fail "no count: $(<said)"
[ "$(find out -type f | wc -l)" -eq 9 ] && [ ! -e out/a/f3.yaml ] || lab_fail "it wrote $(find out)"
[ -z "$(find out -name '.tokenctl*')" ] || lab_fail "a temporary file is left"
if tokenctl decrypt -r tree --check 2>/dev/null; then lab_fail "--check does not see it"; fi
rm tree/a/f3.yaml tree/a/f7.yaml
tokenctl decrypt -r tree --check 2>said
grep -q '^9 files are right' said || lab_fail "--check says $(<said)"
tokenctl decrypt --check e.yaml >got
[ ! -s got ] || lab_fail "--check gave output"
interop_refused 'MAC' tokenctl decrypt --check changed.yaml
# Two that would be one file, and none at all.
cp e.yaml tree/secret.txt
interop_refused 'would be written to the same file' tokenctl decrypt -r tree --output-dir out
interop_refused 'no age file and no SOPS file' tokenctl decrypt -r "$HOME" --check
interop_refused 'either --output-dir or --check' tokenctl decrypt -r tree
# With an identity file, without tokend.
rm tree/secret.txt
TOKEND_RUNTIME_DIR=$work/none tokenctl decrypt -r tree -i legacy.txt --check 2>said
grep -q '^9 files are right' said || lab_fail "with an identity file it says $(<said)"

# A key with a PIN: what needs none is done, a person is asked once at the end, and without one each file is named.
printf '2468-ABCD' >pin
tokenctl enroll --name safe --class session --kind x25519 --pin-file pin >/dev/null 2>&1
for i in 1 2 3; do "$sops" -e --age "$(tokenctl recipient safe)" plain.yaml >"tree/a/safe$i.yaml"; done
status=0
setsid --wait tokenctl decrypt -r tree --check </dev/null 2>said || status=$?
[ "$status" -eq 5 ] || lab_fail "locked, and it ended with $status"
[ "$(grep -c '^tokenctl: .*tree/a/safe1.yaml: .*PIN' said)" -eq 1 ] && [ "$(grep -c '^tokenctl: .*tree/a/safe[23].yaml: the same' said)" -eq 2 ] || lab_fail "the locked ones are not named: $(<said)"
python3 -B "$INTEROP_TOOLS/typed.py" --answer 'PIN of the key safe' "$(<pin)" --log said -- tokenctl decrypt -r tree --check || lab_fail "with its PIN it fails: $(<said)"
grep -q '12 files are right' said || lab_fail "with its PIN: $(<said)"
[ "$(grep -o 'PIN of the key safe' said | wc -l)" -eq 1 ] || lab_fail "the PIN was asked for more than once"
rm tree/a/safe*

# ---- .tokend.yaml ----

mkdir -p project/deep && cp e.yaml project/secrets.enc.yaml
printf 'run: {files: [secrets.enc.yaml]}\n' >project/.tokend.yaml
# shellcheck disable=SC2016
pass() { (cd "$1" && tokenctl run -- sh -c 'echo $db_pass'); }
[ "$(pass project/deep)" = s3cret ] || lab_fail ".tokend.yaml is not found from below"
chmod 666 project/.tokend.yaml
interop_refused 'can be written by others' pass project/deep
chmod 664 project/.tokend.yaml
interop_refused 'can be written by others' pass project/deep
chmod 644 project/.tokend.yaml
chmod 777 project
interop_refused 'can be written by others' pass project/deep
chmod 755 project
mv project/secrets.enc.yaml project/kept
cp project/kept project/secrets.enc.yaml
chmod 666 project/secrets.enc.yaml
interop_refused 'can be written by others' pass project/deep
mv project/kept project/secrets.enc.yaml
[ "$(pass project/deep)" = s3cret ] || lab_fail "control: what only we can write is not used"
rm project/.tokend.yaml
interop_refused 'there is no .tokend.yaml' pass project/deep
# In a worktree that has none of its own: git's common directory, with the files of the main tree, or its own where it has them.
(cd project && git init -q && git -c user.name=n -c user.email=e commit -q --allow-empty -m one && git worktree add -q ../elsewhere) 2>/dev/null
interop_refused 'there is no .tokend.yaml' pass elsewhere
printf 'run: {files: [secrets.enc.yaml]}\n' >project/.git/.tokend.yaml
[ "$(pass elsewhere)" = s3cret ] || lab_fail "a worktree does not inherit from the common directory"
sed 's/s3cret/0ther/' plain.yaml >p.yaml && encrypt p.yaml elsewhere/secrets.enc.yaml
[ "$(pass elsewhere)" = 0ther ] || lab_fail "a worktree's own file does not come first"
mv project/.git/.tokend.yaml project/.tokend.yaml
[ "$(pass elsewhere)" = 0ther ] || lab_fail "a worktree does not inherit from the main working tree"
