#!/bin/bash
# tokenctl decrypt beside a real sops: random files of every format that this sops encrypted (sops_decrypt.py), files under every selection rule and under key groups, and through
# tokend with a key on the TPM. usage: sops_decrypt.sh PEER
#
# The random files are of a seed that is printed, TOKEND_TEST_SEED or a new one, and some of seed 1; SOPS_FILES says how many (75, in which are some 500 documents): for more, SOPS_FILES=5000 ctest --test-dir build/release -R interop.sops_decrypt
. "$(dirname "$0")/interop.sh"
sops=$(interop_program "$1")
interop_start
"$keygen" -o one.txt 2>/dev/null
"$keygen" -o two.txt 2>/dev/null
"$keygen" -o three.txt 2>/dev/null
recipient() { sed -n 's/^# public key: //p' "$1"; }

lab_seed "$0" "$@"
lab_seeded 15 "${SOPS_FILES:-75}" python3 -B "$INTEROP_TOOLS/sops_decrypt.py" "$sops" "$LAB_BIN/tokenctl" "$work/one.txt" SEED COUNT

# Every rule, and two of three groups.
cat >.sops.yaml <<YAML
creation_rules:
  - {path_regex: encrypted_regex, age: $(recipient one.txt), encrypted_regex: '^(pass|tok.n)'}
  - {path_regex: unencrypted_regex, age: $(recipient one.txt), unencrypted_regex: '^u'}
  - {path_regex: encrypted_suffix, age: $(recipient one.txt), encrypted_suffix: _enc}
  - {path_regex: unencrypted_suffix, age: $(recipient one.txt), unencrypted_suffix: _clear}
  - {path_regex: encrypted_comment, age: $(recipient one.txt), encrypted_comment_regex: 'secret'}
  - {path_regex: unencrypted_comment, age: $(recipient one.txt), unencrypted_comment_regex: 'public'}
  - {path_regex: mac_only, age: $(recipient one.txt), encrypted_suffix: _enc, mac_only_encrypted: true}
  - path_regex: groups
    shamir_threshold: 2
    key_groups:
      - age: [$(recipient one.txt)]
      - age: [$(recipient two.txt)]
      - age: [$(recipient three.txt)]
YAML
cat one.txt three.txt >both.txt
for rule in encrypted_regex unencrypted_regex encrypted_suffix unencrypted_suffix encrypted_comment unencrypted_comment mac_only groups; do
	cat >$rule.yaml <<YAML
# secret
a: 1
b_enc: two
password:
    x: 1.5
    y: "yes"
user: x
# public
name_clear: z
list_enc:
    - 1
    - t
plain: 31
YAML
	cp "$rule.yaml" plain.yaml
	"$sops" -e -i "$rule.yaml"
	grep -q 'ENC\[' "$rule.yaml" || lab_fail "$rule: nothing is encrypted"
	SOPS_AGE_KEY_FILE=both.txt "$sops" -d "$rule.yaml" >theirs
	interop_same theirs tokenctl decrypt -i both.txt "$rule.yaml"
done
rm .sops.yaml
interop_refused '1 of the 2 key groups needed' tokenctl decrypt -i two.txt groups.yaml

# Changed where only the MAC sees it: a clear value, a value that is gone, two that changed places.
sed 's/^a: 1/a: 2/' encrypted_suffix.yaml >changed.yaml
interop_refused 'MAC' tokenctl decrypt -i one.txt changed.yaml
sed '/^b_enc:/d' mac_only.yaml >changed.yaml
interop_refused 'MAC' tokenctl decrypt -i one.txt changed.yaml
sed -n '/^list_enc/,/^plain/p' encrypted_suffix.yaml | sed -n 2,3p >two_lines
{ sed '/^list_enc/q' encrypted_suffix.yaml; tac two_lines; sed '1,/^list_enc/d' encrypted_suffix.yaml | sed 1,2d; } >changed.yaml
[ "$(sort changed.yaml)" = "$(sort encrypted_suffix.yaml)" ] || lab_fail "the lines were not exchanged"
interop_refused 'MAC' tokenctl decrypt -i one.txt changed.yaml
# What is not covered is decrypted, by sops as well: a clear key that has another name.
sed 's/^user:/users:/' encrypted_suffix.yaml >renamed.yaml
SOPS_AGE_KEY_FILE=one.txt "$sops" -d renamed.yaml >theirs
interop_same theirs tokenctl decrypt -i one.txt renamed.yaml

# Arrangements that were wrong once: two comments of one value (3.9 and 3.11 put both before it), and nothing but what sops adds.
printf 'a:\n  # one\n  port: x # two\n' >comments.yaml
"$sops" -e --age "$(recipient one.txt)" comments.yaml >e.yaml
tokenctl decrypt -i one.txt e.yaml >got
[ "$(grep -o '# one\|# two\|port: x' got | sort)" = "$(printf '# one\n# two\nport: x')" ] && ! grep -q 'ENC\[' got || lab_fail "a comment stays encrypted: $(cat got)"
printf '{}\n' >nothing.yaml
printf 'a: 1\n---\n{}\n' >nothing_more.yaml
for file in nothing nothing_more; do
	"$sops" -e --age "$(recipient one.txt)" $file.yaml >e.yaml
	SOPS_AGE_KEY_FILE=one.txt "$sops" -d e.yaml >theirs
	interop_same theirs tokenctl decrypt -i one.txt e.yaml
done

# Types: by content when the name says nothing, as told when it lies; to JSON.
printf 'KEY=value with = and # \nOTHER=2\n' >plain.env
"$sops" -e --age "$(recipient one.txt)" plain.env >.env.encrypted
interop_same plain.env tokenctl decrypt -i one.txt .env.encrypted
interop_same plain.env tokenctl decrypt -i one.txt --input-type dotenv <.env.encrypted
"$sops" -e --age "$(recipient one.txt)" plain.yaml >e.yaml
SOPS_AGE_KEY_FILE=one.txt "$sops" -d --output-type json e.yaml >theirs
tokenctl decrypt -i one.txt --output-type json e.yaml >got
[ "$(<theirs)" = "$(<got)" ] || lab_fail "as JSON it is another: $(<got)" # 3.9.0 writes no last line end

# Through tokend: the key that was imported, one operation each; and a file that is not for us.
"$sops" -e --age "$legacy" plain.yaml >ours.yaml
tokenctl decrypt ours.yaml >got
SOPS_AGE_KEY_FILE=legacy.txt "$sops" -d ours.yaml >theirs
cmp theirs got || lab_fail "through tokend it is another"
tokenctl decrypt -o out.yaml ours.yaml
cmp theirs out.yaml || lab_fail "-o gave another"
"$sops" -e --age "$(interop_stranger)" plain.yaml >stranger.yaml
interop_refused 'none of the keys that you may use opens stranger.yaml, which is encrypted to age1' tokenctl decrypt stranger.yaml
# A device of its own opens age1tag1, which newer versions encrypt to.
if "$sops" -e --age "$host" plain.yaml >tag.yaml 2>/dev/null; then
	interop_same theirs tokenctl decrypt tag.yaml
fi
