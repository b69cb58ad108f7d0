#!/bin/bash
# What tokenctl writes, read by a real sops: random files changed in every way (sops_write.py), every selection rule, key groups, .sops.yaml, and through tokend with a key on the TPM.
# usage: sops_write.sh PEER
#
# The random files are of a seed that is printed, TOKEND_TEST_SEED or a new one, and some of seed 1; SOPS_FILES says how many (80, in which are some 300 documents): for more, SOPS_FILES=5000 ctest --test-dir build/release -R interop.sops_write
. "$(dirname "$0")/interop.sh"
sops=$(interop_program "$1")
interop_start
"$keygen" -o one.txt 2>/dev/null
"$keygen" -o two.txt 2>/dev/null
recipient() { sed -n 's/^# public key: //p' "$1"; }
export SOPS_AGE_KEY_FILE=$work/one.txt

lab_seed "$0" "$@"
lab_seeded 20 "${SOPS_FILES:-80}" python3 -B "$INTEROP_TOOLS/sops_write.py" "$sops" "$LAB_BIN/tokenctl" "$work/one.txt" "$work/two.txt" SEED COUNT

cat >plain.yaml <<'YAML'
# head
user: u   # public
pass: p
# secret
token: three
nested:
    # secret
    inner: [1, "two", {three: 4.5}]
    other: |
        one
        two

list:
    - a
    # public
    - b
empty: ""
nothing: null
YAML
# Every rule: for sops our file says what its own does, and neither more nor less of it is encrypted.
while read -r flag pattern; do
	"$sops" -e --age "$(recipient one.txt)" "$flag" "$pattern" plain.yaml >theirs.yaml
	tokenctl encrypt -r "$(recipient one.txt)" "$flag" "$pattern" -o mine.yaml plain.yaml
	"$sops" -d theirs.yaml >want
	"$sops" -d mine.yaml >got
	cmp want got || lab_fail "$flag: sops sees another file"
	mine=$(sed '/^sops/,$d' mine.yaml | grep -o 'ENC\[' | wc -l)
	theirs=$(sed '/^sops/,$d' theirs.yaml | grep -o 'ENC\[' | wc -l)
	[ "$theirs" = "$mine" ] || lab_fail "$flag: sops encrypts $theirs values, tokenctl $mine"
done <<'RULES'
--encrypted-regex ^(pass|tok.n)
--unencrypted-regex ^n
--encrypted-suffix s
--unencrypted-suffix r
--encrypted-comment-regex secret
--unencrypted-comment-regex public
RULES
if tokenctl encrypt -r "$(recipient one.txt)" --encrypted-suffix s --unencrypted-suffix r plain.yaml >out 2>said; then
	lab_fail "two rules were taken"
fi
grep -q 'only one rule' said || lab_fail "two rules: $(<said)"

# A small change is a small difference: the line, the time, the MAC.
"$sops" -e --age "$(recipient one.txt)" plain.yaml >e.yaml
cp e.yaml before.yaml
echo new | tokenctl set -i one.txt e.yaml pass
changed=$(diff before.yaml e.yaml | grep -c '^>' || true)
[ "$changed" -le 3 ] || lab_fail "$changed lines changed"
[ "$("$sops" -d --extract '["pass"]' e.yaml)" = new ] || lab_fail "sops does not see the new value"
# The control: with another MAC sops refuses it.
sed 's/^    mac: ENC\[AES256_GCM,data:..../&A/;s/data:\(....\)A./data:\1/' e.yaml >broken.yaml
cmp -s e.yaml broken.yaml && lab_fail "the control changed nothing"
if "$sops" -d broken.yaml >/dev/null 2>&1; then
	lab_fail "sops takes a file with a broken MAC: the test shows nothing"
fi
# What the values are does not depend on who wrote last.
"$sops" set e.yaml '["token"]' '"by sops"' 2>/dev/null || "$sops" --set '["token"] "by sops"' e.yaml
echo again | tokenctl set -i one.txt e.yaml '["nested"]["inner"][1]'
[ "$("$sops" -d --extract '["token"]' e.yaml)" = "by sops" ] || lab_fail "what sops set is gone"
[ "$("$sops" -d --extract '["nested"]["inner"][1]' e.yaml)" = again ] || lab_fail "what was set after sops is not there"
# A new key behind a list that ends in a comment stands where sops puts it, and nothing else changes.
printf 'list:\n    - x\n    - z\n    # the end\n' >foot.yaml
tokenctl encrypt --sops -r "$(recipient one.txt)" --in-place foot.yaml
cp foot.yaml before.yaml
cp foot.yaml by-sops.yaml
echo new | tokenctl set -i one.txt foot.yaml key
[ "$(diff before.yaml foot.yaml | grep '^[<>]' | grep -vc lastmodified)" = 3 ] || lab_fail "more changed than the key, the MAC and the time: $(diff before.yaml foot.yaml)"
"$sops" set by-sops.yaml '["key"]' '"new"'
"$sops" -d by-sops.yaml >want
"$sops" -d foot.yaml | cmp want - || lab_fail "sops puts the key elsewhere: $(<want)"
# An argument works as with sops, and is warned of.
tokenctl set -i one.txt e.yaml '["pass"]' '"argument"' 2>said
grep -q 'can be seen' said || lab_fail "nobody warns of a value in an argument"
[ "$("$sops" -d --extract '["pass"]' e.yaml)" = argument ] || lab_fail "the argument was not set"

# .sops.yaml: implied, with groups of keys; another one, and the recipients follow.
mkdir tree
printf 'creation_rules:\n  - path_regex: groups\n    shamir_threshold: 2\n    key_groups: [{age: [%s]}, {age: [%s]}]\n  - path_regex: yaml$\n    age: %s\n    encrypted_regex: ^pass\n' \
	"$(recipient one.txt)" "$(recipient two.txt)" "$(recipient one.txt)" >tree/.sops.yaml
cp plain.yaml tree/x.yaml
cp plain.yaml tree/groups.yaml
chmod 666 tree/.sops.yaml
tokenctl encrypt --in-place tree/x.yaml 2>said && lab_fail "rules that everybody may write decided to whom"
grep -q 'can be written by all' said || lab_fail "rules that everybody may write: $(<said)"
chmod 644 tree/.sops.yaml
tokenctl encrypt --in-place tree/x.yaml
tokenctl encrypt -o tree/groups.enc.yaml tree/groups.yaml
[ "$(grep -c 'ENC\[' tree/x.yaml)" = 2 ] || lab_fail "the rule of .sops.yaml was not followed: $(<tree/x.yaml)"
"$sops" -e --age "$(recipient one.txt)" plain.yaml >t.yaml
"$sops" -d --output-type json t.yaml >want
"$sops" -d --output-type json tree/x.yaml | cmp want - || lab_fail "sops sees another file under .sops.yaml"
interop_refused 'key groups needed' tokenctl decrypt -i one.txt tree/groups.enc.yaml
cat one.txt two.txt >both.txt
SOPS_AGE_KEY_FILE=both.txt "$sops" -d --output-type json tree/groups.enc.yaml | cmp want - || lab_fail "with both groups it is another file"
tokenctl rotate --data-key -i both.txt tree/groups.enc.yaml
SOPS_AGE_KEY_FILE=both.txt "$sops" -d --output-type json tree/groups.enc.yaml | cmp want - || lab_fail "with a new data key it is another file"
interop_refused 'has metadata of sops already' tokenctl encrypt --sops -r "$(recipient one.txt)" tree/x.yaml

# Through tokend: set, edit, and a new data key for a key on the TPM.
"$sops" -e --age "$legacy" plain.yaml >ours.yaml
echo through | tokenctl set ours.yaml pass
EDITOR="sed -i s/through/tokend/" tokenctl edit ours.yaml
tokenctl rotate --data-key ours.yaml
[ "$(SOPS_AGE_KEY_FILE=legacy.txt "$sops" -d --extract '["pass"]' ours.yaml)" = tokend ] || lab_fail "through tokend it is another"
tokenctl encrypt --sops --key host -o host.yaml plain.yaml
tokenctl decrypt host.yaml >got
cmp plain.yaml got || lab_fail "encrypted to the TPM's key it does not come back as it was"

# Aliases are written out as sops does, and it is said; the plain file's own text stays.
cat >aliases.yaml <<'YAML'
default: &default   # kept
  user: &user u
  "pass": p
prod:
  <<: *default
  host: *user
hosts: [*default, *user]
list:
  - *default
*user : key
YAML
"$sops" -e --age "$(recipient one.txt)" aliases.yaml >theirs.yaml
tokenctl encrypt --sops -r "$(recipient one.txt)" -o mine.yaml aliases.yaml 2>said
[ "$(wc -l <said)" = 1 ] && grep -q 'aliases.yaml: 6 aliases were written out' said || lab_fail "nobody says that aliases were written out: $(<said)"
"$sops" -d --output-type json theirs.yaml >want
"$sops" -d --output-type json mine.yaml >got
cmp want got || lab_fail "aliases: sops sees another file: $(<got)"
tokenctl decrypt -i one.txt mine.yaml | head -3 | cmp - <(head -3 aliases.yaml) || lab_fail "the text around an alias is another"
# In edit too; in a file that is one already an alias is a copy, of a ciphertext one that does not open.
EDITOR='sh -c "printf \"more: &m {x: 1}\\nagain: *m\\n\" >>\"\$1\"" -' tokenctl edit -i one.txt mine.yaml 2>said
grep -q '1 alias was written out' said || lab_fail "an alias that was typed: $(<said)"
[ "$("$sops" -d --extract '["again"]["x"]' mine.yaml)" = 1 ] || lab_fail "the alias that was typed is not there"
sed 's/^again:/more2: *m\n&/' mine.yaml >aliased.yaml
interop_refused 'with its aliases written out: this value was changed, or is of another file or place' tokenctl decrypt -i one.txt aliased.yaml
if "$sops" -d aliased.yaml >/dev/null 2>&1; then lab_fail 'sops opens the copy of a ciphertext'; fi
# Of what is in the clear it is what sops makes of it, if the MAC is one over that; a change writes it out, as with sops, and says so.
printf 'a: &x\n    p: 1\n    q: [two, &y three]\nb: 0\nc: 0\npass: secret\n' >clear.yaml
"$sops" -e --age "$(recipient one.txt)" --encrypted-regex '^pass$' --mac-only-encrypted clear.yaml | sed 's/^b: 0$/b: *x/; s/^c: 0$/c: [*y, *x]/; s/^a:$/a: \&x/; s/- three$/- \&y three/' >clear.enc.yaml
grep -q '^c: \[\*y, \*x\]$' clear.enc.yaml && grep -q '&y' clear.enc.yaml || lab_fail "control: there are no aliases in it: $(<clear.enc.yaml)"
"$sops" -d --output-type json clear.enc.yaml >want
tokenctl decrypt -i one.txt --output-type json clear.enc.yaml | python3 -c 'import json, sys; sys.exit(json.load(sys.stdin) != json.load(open("want")))' || lab_fail "an alias in the clear is something else to sops: $(<want)"
[ "$(tokenctl get -i one.txt --verify clear.enc.yaml 'c[1].q[1]') $(tokenctl run -i one.txt -f clear.enc.yaml --clean-env --only b_q_0 -- "$(command -v env)")" = 'three b_q_0=two' ] || lab_fail "a value that an alias stands for"
tokenctl verify clear.enc.yaml || lab_fail "verify does not read aliases"
echo other | tokenctl set -i one.txt clear.enc.yaml pass 2>said
grep -q 'clear.enc.yaml: 3 aliases were written out' said || lab_fail "nobody says that aliases were written out by set: $(<said)"
[ "$("$sops" -d --extract '["c"][1]["q"][1]' clear.enc.yaml) $("$sops" -d --extract '["pass"]' clear.enc.yaml)" = 'three other' ] || lab_fail "after set sops reads something else"
# Where they are no copies of what the MAC was made over, or come to too much, they are refused.
"$sops" -e --age "$(recipient one.txt)" --encrypted-regex '^pass$' clear.yaml | sed 's/^b: 0$/b: *x/; s/^a:$/a: \&x/' >changed.enc.yaml
interop_refused 'its MAC is wrong' tokenctl decrypt -i one.txt changed.enc.yaml
{
	echo 'a0: &a0 {x: 1}'
	for i in $(seq 1 30); do echo "a$i: &a$i [*a$((i - 1)),*a$((i - 1)),*a$((i - 1)),*a$((i - 1))]"; done
	cat clear.enc.yaml
} >bomb.enc.yaml
for command in decrypt 'get --verify' verify; do
	# shellcheck disable=SC2086 # the words of the command
	lab_expect 7 timeout 5 tokenctl $command bomb.enc.yaml $([ "$command" = 'get --verify' ] && echo pass) >said 2>&1
	grep -q alias said || lab_fail "$command of a bomb: $(<said)"
done
rm bomb.enc.yaml
for bomb in 'a: &a {b: *a}' "a0: &a0 {x: 1}
$(for i in $(seq 1 30); do echo "a$i: &a$i [*a$((i - 1)),*a$((i - 1)),*a$((i - 1)),*a$((i - 1))]"; done)"; do
	printf '%s\n' "$bomb" >bomb.yaml
	interop_refused 'alias' timeout 5 tokenctl encrypt --sops -r "$(recipient one.txt)" -o bomb.enc.yaml bomb.yaml
	[ ! -e bomb.enc.yaml ] || lab_fail "a bomb left a file"
done
interop_refused 'under a rule about comments' tokenctl encrypt -r "$(recipient one.txt)" --encrypted-comment-regex secret -o bomb.enc.yaml aliases.yaml
printf 'a:\n    <<: one\n' >merge.yaml
interop_refused '<< takes a map' tokenctl encrypt --sops -r "$(recipient one.txt)" -o bomb.enc.yaml merge.yaml

# Equal comments in different places, as an alias makes them: each keeps its own ciphertext.
printf 'k0: &a\n  # one\n  k0: 0 # two\nk1: {a: *a , b: [ *a ]}\n' >equal.yaml
"$sops" -e --age "$(recipient one.txt)" equal.yaml >equal.enc.yaml
tokens() { grep -o 'ENC\[[^]]*type:[a-z]*\]' equal.enc.yaml | sort; }
tokens >before
printf x | tokenctl set -i one.txt equal.enc.yaml '["k1"]["a"]["k0"]'
[ "$(tokens | comm -23 before - | wc -l)" -eq 2 ] || lab_fail "more than a value and the MAC was encrypted anew, or given away: $(tokens | comm -23 before -)"
[ "$(wc -l <before)" -ge 10 ] && [ "$("$sops" -d --extract '["k1"]["a"]["k0"]' equal.enc.yaml)" = x ] || lab_fail "equal comments: sops reads something else"

# A comment behind an alias at the end sops writes on the line of its metadata.
printf 'a: &a\n  - x\nb: *a  # note' >stray.yaml
"$sops" -e --age "$(recipient one.txt)" stray.yaml >stray.enc.yaml
for _ in before after; do
	tokenctl decrypt -i one.txt stray.enc.yaml >said
	grep -qE '^( *age|sops|    lastmodified):' said && lab_fail "metadata is decrypted: $(<said)"
	[ "$(grep -c '# note' said)" -eq 1 ] && [ "$("$sops" -d stray.enc.yaml | grep -c '# note')" -eq 1 ] || lab_fail "a comment behind an alias: $(<said)"
	printf y | tokenctl set -i one.txt stray.enc.yaml c
done
[ "$("$sops" -d --extract '["c"]' stray.enc.yaml)" = y ] || lab_fail "a comment behind an alias: sops reads something else"

# Nothing of an edit stays: not where it was edited, nor anywhere the test can see. What failed stays, and can be resumed.
cat >editor <<'SH'
#!/bin/sh
dirname "$1" >where
printf 'pass: [\n' >"$1"
SH
chmod +x editor
EDITOR=./editor setsid -w tokenctl edit -i one.txt e.yaml 2>said && lab_fail "what is no YAML was sealed"
kept=$(sed -n 's/.*--resume \(\S*\) .*/\1/p' said)
[ "$(<"$kept")" = 'pass: [' ] || lab_fail "what was typed is lost: $(<said)"
EDITOR="sed -i s/\\\\[/resumed/" tokenctl edit -i one.txt --resume "$kept" e.yaml
[ ! -e "$kept" ] || lab_fail "what was resumed is still there"
[ ! -e "$(<where)" ] || lab_fail "the place of an edit is still there"
[ "$("$sops" -d e.yaml)" = "pass: resumed" ] || lab_fail "resuming gave another file"
