#!/bin/bash
# tokenctl without a daemon: files to and from stock age, wrong input of every kind, exit codes, and no output file after a failure.
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
lab_need age age-keygen python3 truncate cmp
directory=$(lab_directory)
trap 'lab_remove "$directory"' EXIT
cd "$directory"
PATH=$LAB_BIN:$PATH
export TOKEND_RUNTIME_DIR=$directory/none
typed() { python3 -B "$LAB_SOURCE/tests/interop/typed.py" "$@"; }

# fails STATUS WORDS COMMAND...: ends with that status and one sentence that holds WORDS on stderr, writes nothing to stdout and no file "out".
fails() {
	local expected=$1 words=$2 status=0
	shift 2
	"$@" >stdout 2>stderr || status=$?
	[ "$status" -eq "$expected" ] || lab_fail "'$*' ended with $status where $expected was expected: $(cat stderr)"
	grep -qF -- "$words" stderr || lab_fail "'$*' does not say '$words' but: $(cat stderr)"
	[ "$(grep -c '^tokenctl: ' stderr)" -eq 1 ] || lab_fail "'$*' does not say one sentence: $(cat stderr)"
	[ ! -s stdout ] || lab_fail "'$*' wrote to stdout"
	[ ! -e out ] || lab_fail "'$*' left an output file"
	[ -z "$(find . -name '.tokenctl-*')" ] || lab_fail "'$*' left a temporary file"
}

age-keygen -o key.txt 2>/dev/null
age-keygen -o other.txt 2>/dev/null
recipient=$(age-keygen -y key.txt)
other=$(age-keygen -y other.txt)

# Every size around the borders of chunks and batches, both ways, binary and armored.
for size in 0 1 1023 65535 65536 65537 131072 1048576 3000001; do
	head -c "$size" /dev/urandom >plain
	age -r "$recipient" -o age.age plain
	tokenctl decrypt -i key.txt age.age | cmp - plain || lab_fail "age's file of $size bytes"
	tokenctl encrypt -r "$recipient" -o ours.age plain
	age -d -i key.txt ours.age | cmp - plain || lab_fail "our file of $size bytes"
	tokenctl encrypt -a -r "$recipient" <plain >ours.age
	age -d -i key.txt ours.age | cmp - plain || lab_fail "our armored file of $size bytes"
	age -a -r "$recipient" plain | tokenctl decrypt -i key.txt -o back
	cmp back plain || lab_fail "age's armored file of $size bytes"
	rm back
done

# Recipients from everywhere, several at once.
printf '# both\n\n%s\r\n%s\n' "$recipient" "$other" >recipients.txt
tokenctl encrypt -R recipients.txt -o both.age plain
for key in key.txt other.txt; do
	age -d -i "$key" both.age | cmp - plain
	tokenctl decrypt -i "$key" both.age | cmp - plain
done
tokenctl encrypt -i key.txt -r "$other" plain | tokenctl decrypt -i other.txt | cmp - plain
cat key.txt other.txt >keys.txt
tokenctl decrypt -i keys.txt -i key.txt both.age | cmp - plain
tokenctl decrypt -i - both.age <key.txt | cmp - plain
tokenctl decrypt -i <(cat key.txt) <both.age | cmp - plain

# To a token's key, without the token; and its identity says the same as its recipient.
tag=age1tag1qt8lw0ual6avlwmwatk888yqnmdamm7xfd0wak53ut6elz5c4swx2yqdj4e
if tokenctl encrypt -r "$tag" plain >tag.age 2>stderr; then
	head -c 4000 tag.age | lab_grep -a '^-> p256tag ' || lab_fail "no p256tag stanza"
else
	lab_fail "to age1tag1: $(cat stderr)"
fi

# Passphrases, on a terminal.
typed --answer assphrase secret-words --answer again secret-words -- "$LAB_BIN/tokenctl" encrypt -p -o words.age plain
typed --answer assphrase secret-words -- age -d -o back words.age
cmp back plain && rm back
typed --answer assphrase secret-words -- "$LAB_BIN/tokenctl" decrypt -o back words.age
cmp back plain && rm back
typed --answer assphrase secret-words --answer assphrase secret-words -- age -p -o age-words.age plain
typed --answer assphrase secret-words -- "$LAB_BIN/tokenctl" decrypt -p -o back age-words.age
cmp back plain && rm back
lab_expect 4 typed --answer assphrase wrong-words -- "$LAB_BIN/tokenctl" decrypt -o out words.age
[ ! -e out ] || lab_fail "a wrong passphrase left a file"
lab_expect 2 typed --answer assphrase one --answer again two -- "$LAB_BIN/tokenctl" encrypt -p -o out plain
[ ! -e out ] || lab_fail "two passphrases left a file"
fails 5 'there is no terminal' setsid tokenctl decrypt -o out words.age
fails 5 'there is none' setsid tokenctl encrypt -p -o out plain
fails 4 'encrypted to a passphrase' tokenctl decrypt -i key.txt -o out words.age
fails 4 'not encrypted with a passphrase' tokenctl decrypt -p -o out both.age
fails 2 'exclude each other' tokenctl decrypt -p -i key.txt -o out both.age

# An identity file that is itself encrypted with a passphrase.
typed --answer assphrase secret-words --answer assphrase secret-words -- age -p -o key.age key.txt
typed --answer assphrase secret-words -- "$LAB_BIN/tokenctl" decrypt -i key.age -o back both.age
cmp back plain && rm back
fails 5 'there is no terminal' setsid tokenctl decrypt -i key.age -o out both.age

# A passphrase is asked for where one can be, and what is said of it is not said of a key.
typed --answer assphrase secret-words --answer assphrase secret-words -- age -p -o pass.age plain
fails 5 'hint: the same command at a terminal asks for it' setsid tokenctl decrypt -o out pass.age
fails 4 'hint: the same command without -i asks for the passphrase' tokenctl decrypt -i key.txt -o out pass.age
fails 4 'hint: the same command without -p' tokenctl decrypt -p -o out both.age
fails 2 'standard input holds no identity' tokenctl decrypt -i - -o out both.age </dev/null

# Wrong input: one sentence, its exit code, no file.
size=$(stat -c %s both.age)
for length in 0 1 20 22 50 200 $((size / 2)) $((size - 65552)) $((size - 1)); do
	head -c "$length" both.age >cut.age
	fails 7 '' tokenctl decrypt -i key.txt -o out cut.age
done
for offset in 3 30 60 150 $((size / 2)) $((size - 1)); do
	python3 -c 'import sys; d = bytearray(open(sys.argv[1], "rb").read()); d[int(sys.argv[2])] ^= 1; open("flip.age", "wb").write(d)' both.age "$offset"
	status=0
	tokenctl decrypt -i key.txt -o out flip.age 2>stderr || status=$?
	[ "$status" -eq 7 ] || [ "$status" -eq 4 ] || lab_fail "a flipped bit at $offset ended with $status: $(cat stderr)"
	[ ! -e out ] || lab_fail "a flipped bit at $offset left a file"
done
cat both.age both.age >twice.age
fails 7 '' tokenctl decrypt -i key.txt -o out twice.age
fails 4 'none of the identities given opens' tokenctl decrypt -i other.txt -o out age.age
{ printf 'age-encryption.org/v1\n'; head -c 300000 /dev/zero | tr '\0' x; } >huge.age
fails 7 '' tokenctl decrypt -i key.txt -o out huge.age
{ printf 'age-encryption.org/v1\n'; for _ in $(seq 3000); do printf -- '-> X25519 a\n\n'; done; } >many.age
fails 7 '' tokenctl decrypt -i key.txt -o out many.age
fails 7 'is not an age file' tokenctl decrypt -i key.txt -o out /bin/true
fails 7 'is empty' tokenctl decrypt -i key.txt -o out /dev/null
printf 'a: ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]\nsops:\n' >sops.yaml
fails 7 'sops.yaml: its lastmodified is no time' tokenctl decrypt -o out sops.yaml
fails 2 'there is no type toml' tokenctl decrypt -i key.txt --input-type toml -o out sops.yaml
fails 2 'No such file' tokenctl decrypt -i key.txt -o out missing.age
fails 2 'No such file' tokenctl decrypt -i missing.txt -o out both.age
fails 2 'hint: tokenctl decrypt -r . --output-dir OUT' tokenctl decrypt -i key.txt -o out .
fails 2 'hint: tokenctl decrypt -r ./ --check' tokenctl decrypt -i key.txt --check ./
fails 2 'is a directory' tokenctl decrypt -i key.txt -o . both.age
fails 2 'No such file' tokenctl decrypt -i key.txt -o no/such/out both.age
fails 2 'the same file' tokenctl decrypt -i key.txt -o both.age both.age
fails 1 'No space left' tokenctl decrypt -i key.txt -o /dev/full both.age
fails 2 'is not an identity' tokenctl decrypt -i recipients.txt -o out both.age
fails 2 'holds no identity' tokenctl decrypt -i /dev/null -o out both.age
printf 'AGE-PLUGIN-YUBIKEY-1QQPSYQZYRQW9QAS9QQQQQQQQ\n' >plugin.txt
status=0; tokenctl decrypt -i plugin.txt both.age >stdout 2>stderr || status=$?
[ "$status" -eq 2 ] || lab_fail "another plugin's identity: $status"
sed 's/Q$/P/;t;s/.$/Q/' key.txt | grep -v '^#' >damaged.txt
fails 2 'is not an identity' tokenctl decrypt -i damaged.txt -o out both.age
if grep -q AGE-SECRET stderr; then lab_fail "a private key in a message"; fi
fails 2 'private key' tokenctl encrypt -r "$(grep AGE-SECRET key.txt)" -o out plain
if grep -q AGE-SECRET stderr; then lab_fail "a private key in a message"; fi

# The file that is there stays when decryption fails.
echo before >kept
fails 7 '' tokenctl decrypt -i key.txt -o kept cut.age
[ "$(cat kept)" = before ] || lab_fail "a failure destroyed the old file"
tokenctl decrypt -i key.txt -o kept both.age
cmp kept plain
[ "$(stat -c %a kept)" = 644 ] || lab_fail "a replaced file keeps its mode"
tokenctl decrypt -i key.txt -o fresh both.age
[ "$(stat -c %a fresh)" = 600 ] || lab_fail "a new plaintext is for its owner"

# Standard output gets what is verified, and nothing after it.
head -c $((size - 1)) both.age | tokenctl decrypt -i key.txt >prefix 2>/dev/null && lab_fail "a cut file ended well"
cmp -n "$(stat -c %s prefix)" prefix plain || lab_fail "what came out is no prefix of the plaintext"
[ $(($(stat -c %s prefix) % 65536)) -eq 0 ] || lab_fail "a part of a chunk came out"

# Encrypting: no recipient, wrong ones.
fails 2 'no recipient is given' tokenctl encrypt -o out plain
grep -q -- '--key NAME' stderr || lab_fail "the hint names --key"
fails 2 'is not a recipient' tokenctl encrypt -r age1xyz -o out plain
fails 2 'is not a recipient' tokenctl encrypt -r ../../x -o out plain
fails 2 'not supported yet' tokenctl encrypt -r 'ssh-ed25519 AAAA' -o out plain
grep -q '^hint: age encrypts to it and to your keys' stderr || lab_fail "no hint: $(cat stderr)"
fails 2 'holds no recipient' tokenctl encrypt -R /dev/null -o out plain
fails 2 'only recipient' tokenctl encrypt -p -r "$recipient" -o out plain

# A terminal gets no binary data, and text.
lab_expect 2 typed --log log -- "$LAB_BIN/tokenctl" encrypt -r "$recipient" kept
lab_expect 2 typed --log log -- "$LAB_BIN/tokenctl" decrypt -i key.txt both.age
printf 'a line of text\n' | tokenctl encrypt -r "$recipient" -o text.age
typed --log log -- "$LAB_BIN/tokenctl" decrypt -i key.txt text.age
grep -q 'a line of text' log || lab_fail "a terminal gets no text"

# The daemon is not there: one sentence and what to type, exit code 6.
for verb in status tokens keys 'recipient host' 'identity host' 'unlock host' lock enroll 'decrypt both.age' 'encrypt -k host plain'; do
	# shellcheck disable=SC2086 # the words of the verb
	fails 6 'tokend is not running' tokenctl $verb
	grep -q '^hint: ' stderr || lab_fail "$verb says no next command"
done
status=0; tokenctl doctor >stdout 2>stderr || status=$?
[ "$status" -eq 6 ] && grep -q 'tokend is not running' stdout || lab_fail "doctor: $status"
fails 6 'not known where its audit log is' tokenctl audit verify
fails 6 'not known where its policy is' tokenctl policy check
if [ "$(id -u)" -ne 0 ]; then
	mkdir -p closed && python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("closed/control.sock")' && chmod 0 closed/control.sock
	TOKEND_RUNTIME_DIR=$directory/closed fails 3 'you may not use the socket' tokenctl audit show
	TOKEND_RUNTIME_DIR=$directory/closed fails 3 'you may not use the socket' tokenctl audit verify
	TOKEND_RUNTIME_DIR=$directory/closed fails 3 'you may not use the socket' tokenctl policy check
	lab_expect 3 env TOKEND_RUNTIME_DIR="$directory/closed" tokenctl doctor >stdout 2>stderr
fi
[ "$(tokenctl identity)" = "$(tokenctl identity --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["identity"])')" ]

# Usage.
fails 2 'there is no verb decript' tokenctl decript
grep -q 'did you mean tokenctl decrypt?' stderr || lab_fail "no nearest verb"
fails 2 'hint: did you mean tokenctl keys?' tokenctl list
fails 2 'hint: did you mean tokenctl audit show?' tokenctl log
fails 2 'there is no verb remove: a key that is there cannot be changed, removed or taken out' tokenctl remove host
grep -q 'makes another one; one that is not used any more stays in the state directory' stderr || lab_fail "no next command: $(cat stderr)"
fails 2 'hint: sudo cp -a /var/lib/tokend/keys' tokenctl backup
fails 2 'there is no option --outptu' tokenctl decrypt --outptu out
grep -q '^usage: tokenctl decrypt' stderr || lab_fail "no usage line"
fails 2 'one argument too many' tokenctl decrypt a b
fails 2 'there is no verb audit shwo' tokenctl audit shwo
grep -q 'did you mean tokenctl audit show?' stderr || lab_fail "no nearest second word"
fails 2 'there is no verb policy frobnicate' tokenctl policy frobnicate
lab_expect 2 tokenctl audit 2>stderr
grep -q '^  audit verify ' stderr || lab_fail "audit alone does not list its words"
tokenctl help audit verify | lab_grep '^usage: tokenctl audit verify' || lab_fail "help VERB"
tokenctl help audit | lab_grep '^  audit show ' || lab_fail "help of a first word"
tokenctl help | lab_grep '^verbs:' || lab_fail "help"
fails 2 'there is no verb decript' tokenctl help decript
for verb in $(tokenctl --completion-words | tr ' ' _); do
	# shellcheck disable=SC2086 # the words of the verb
	tokenctl ${verb/_/ } --help >help
	grep -q '^example:' help || lab_fail "$verb has no example"
done

# The shell completes by tokenctl's own words; what was typed is no pattern and no program there.
. "$TOKEND_SOURCE_DIR/packaging/completion.bash"
# completes WORDS WORD...: the last one is being typed.
completes() {
	local wanted=$1
	shift
	COMP_WORDS=(tokenctl "$@")
	COMP_CWORD=$#
	COMPREPLY=()
	_tokenctl
	[ "${COMPREPLY[*]}" = "$wanted" ] || lab_fail "'tokenctl $*' is completed with '${COMPREPLY[*]}', not '$wanted'"
}
completes "$(tokenctl --completion-words | cut -d' ' -f1 | sort -u | tr '\n' ' ')help --help --version" ''
completes 'unlock unset' un
completes 'check explain' policy ''
completes 'check explain' help policy ''
completes '--install merge textconv' git ''
completes '--identity --input-type --help' git merge --
completes '-i --identity -p --passphrase --input-type --output-type --help' exec-file -
completes 'age sops credential control' policy explain --via ''
completes 'yaml json dotenv ini binary' decrypt --input-type ''
completes 'session' enroll --name x --class s
completes 'root' policy explain --user roo
: >complete.age
completes 'complete.age' decrypt compl
completes 'complete.age' run -f x -- cat compl
completes '' 'x/;w made' ''
completes '' unlock --for ''
[ ! -e made ] || lab_fail "what was typed was run"

# A policy is checked and explained from its files.
mkdir policy.d
printf 'permit unwrap key host user %s\ndeny unwrap key repo/prod user *\n' "$(id -u)" >policy.d/10.conf
chmod 0755 policy.d && chmod 0644 policy.d/10.conf
tokenctl policy check policy.d | lab_grep '2 rules, no errors'
tokenctl policy explain --policy policy.d --key host --op unwrap | lab_grep 'policy.d/10.conf:1: permit unwrap key host'
tokenctl policy explain --policy policy.d --user 12345 --key repo/prod | lab_grep '10.conf:2: deny'
tokenctl policy explain --policy policy.d --user 12345 --key other | lab_grep 'no match is a no'
# A unit is not judged as whoever asks, and that is often root.
tokenctl policy explain --policy policy.d --unit x.service --key host | lab_grep 'no match is a no'
printf 'permit unwrap key host user %s\n' "$(id -u)" >one.conf
tokenctl policy check one.conf | lab_grep ': 1 rule, no errors'
fails 2 'cannot open missing' tokenctl policy check missing
fails 2 'cannot open missing' tokenctl policy explain --policy missing --key host
mkdir -m 0755 empty.d
tokenctl policy check empty.d | lab_grep '^built-in policy (no rules in empty.d)$' || lab_fail "an empty policy directory"
[ "$(tokenctl policy check --json empty.d | python3 -c 'import json, sys; print(json.load(sys.stdin)["builtIn"])')" = True ]
tokenctl policy explain --policy empty.d --key host | lab_grep '^built-in policy (no rules in empty.d)$' || lab_fail "explained by an empty directory"
echo 'permit nonsense' >policy.d/20.conf
fails 2 '20.conf:1:' tokenctl policy check policy.d
echo "all of it works without a daemon"
