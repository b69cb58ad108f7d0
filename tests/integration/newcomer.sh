#!/bin/bash
# What somebody who knows nothing but the README runs into: each hint leads on, none in a circle, and nothing is said that is not so. newcomer.sh PART.
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"

# silent WORDS COMMAND...: it works and does not say WORDS.
silent() {
	local words=$1
	shift
	works "$@"
	if cat stdout stderr | grep -E -- "$words" >/dev/null; then lab_fail "'$*' says '$words': $(cat stdout stderr)"; fi
}

loaded() { plainly tokenctl policy check --json | python3 -c 'import json, sys; sys.exit(not json.load(sys.stdin)["loaded"])'; }

# in_force: standard input is the whole policy, and loaded.
in_force() {
	lab_policy "$work"
	lab_tokend_reload "$work"
	lab_wait_for 5 loaded || lab_fail "the policy is not loaded"
}

# ---- the policy ----

part_policy() {
	local me reload line
	me=$(id -u)
	lab_start "$work"

	# Whoever may make keys of some names sees the tokens to make them on, though none of these keys is there and he may use none.
	in_force <<<"permit admin key mine/* user $me"
	says 'present' tokenctl tokens
	says 'not proven: the policy lets you make this key, but not unwrap with it' tokenctl enroll --name mine/one
	refused 3 'not permitted' 'tokenctl policy explain' tokenctl enroll --name other
	age-keygen -o key.txt 2>/dev/null
	refused 3 'could not be proven' 'keep the imported file' tokenctl enroll --name mine/two --import key.txt --shred
	[ -s key.txt ] || lab_fail "a file was removed for a proof that was none"
	in_force <<<"permit list key mine/* user $me"
	says 'present' tokenctl tokens
	# The control: a permission of somebody else's is none, nor is one that is taken back.
	in_force <<<"permit admin list unwrap key * user 64999"
	refused 3 'not permitted' 'tokenctl' tokenctl tokens
	works tokenctl status
	in_force <<<"permit admin key mine/* user $me"$'\n'"deny admin key * user $me"
	refused 3 'not permitted' 'tokenctl' tokenctl tokens

	# Each thing that is wrong is said, in all files.
	printf 'permit unwrap\npermit list key a user 0\nnonsense\n' >policy.d/60.conf
	printf '# good\npermit fly key a user 0\n' >policy.d/70.conf
	lab_expect 2 plainly tokenctl policy check >stdout 2>stderr
	for line in '60.conf:1: the keys are missing' '60.conf:3: a rule begins with' "70.conf:2: 'fly' is neither an operation" 'tokenctl: 3 errors in .*policy.d'; do
		grep -q -- "$line" stderr || lab_fail "policy check does not say '$line' but: $(cat stderr)"
	done
	lab_tokend_reload "$work"
	lab_wait_for 5 grep -q 'not reloaded.*60.conf:1: .* (and 2 more)' tokend.log || lab_fail "the log does not say what is wrong: $(tail -n 3 tokend.log)"
	rm policy.d/[67]0.conf

	# One that others may write to is an error, too.
	chmod g+w policy.d
	refused 2 'policy.d: ' 'chmod go-w ' tokenctl policy check
	chmod g-w policy.d

	# Nobody is left who could go on; a file that is not read is named.
	in_force <<<"permit unwrap key * user $me"
	says 'no rule permits admin or list, so nobody can enroll a key' tokenctl policy check
	in_force <<<"permit unwrap list key * user $me"
	says 'no rule permits admin, so nobody can enroll a key' tokenctl policy check
	in_force <<<"permit unwrap list admin key * user $me"
	silent 'no rule permits' tokenctl policy check
	silent 'not read' tokenctl policy check
	echo "permit unwrap key * user 1" >policy.d/60
	says 'policy.d/60: not read, since its name does not end in .conf' tokenctl policy check
	says 'policy.d/60: not read' tokenctl doctor
	rm policy.d/60

	# The rules on the disk are not those that are loaded.
	silent 'not those' tokenctl doctor
	silent 'not those' tokenctl status
	echo "permit unwrap key a user 1" >>policy.d/50-lab.conf
	says 'the rules in .*policy.d are not those that tokend has loaded' tokenctl doctor
	reload=$(sed -n 's/^ *-> \(kill -HUP [0-9]*\)$/\1/p' stdout)
	says "the rules there are not those that are loaded: ${reload:?doctor does not say how they are loaded}" tokenctl status
	$reload
	lab_wait_for 5 loaded || lab_fail "the policy is not loaded"
	silent 'not those' tokenctl doctor
	echo 'nonsense' >>policy.d/50-lab.conf
	says 'the policy would not load again: .*50-lab.conf:3:' tokenctl doctor
	sed -i '$d' policy.d/50-lab.conf

	# What is wrong with the configuration is no fault of the policy.
	cp tokend.conf good.conf
	echo 'nonsense yes' >>tokend.conf
	lab_tokend_reload "$work"
	lab_wait_for 5 grep -q "not reloaded.*tokend.conf:" tokend.log || lab_fail "the configuration was taken"
	lab_expect 1 plainly tokenctl doctor >stdout 2>stderr
	grep -q "mend $work/tokend.conf, then $reload\$" stdout || lab_fail "doctor does not say where: $(cat stdout)"
	if grep -q -- '-> tokenctl policy check' stdout; then lab_fail "doctor sends to the policy: $(cat stdout)"; fi
	cp good.conf tokend.conf
	lab_tokend_reload "$work"
	lab_wait_for 5 bash -c '! tokenctl doctor | grep -q problem' || lab_fail "all is not well again: $(tokenctl doctor)"
}

# ---- keys that one may not use ----

part_denied() {
	local me
	me=$(id -u)
	lab_start "$work"
	head -c 1000 /dev/urandom >plain
	works tokenctl enroll --name theirs --kind x25519
	works tokenctl enroll --name mine --kind x25519
	age -r "$(tokenctl recipient theirs)" -o denied.age plain
	age -r "$(tokenctl recipient mine)" -o mine.age plain
	age -r "$(age-keygen 2>/dev/null | sed -n 's/^# public key: //p')" -o unknown.age plain
	in_force <<<"permit unwrap list key mine user $me"
	# Nobody learns which it is, and everybody learns how to ask about a key that he knows of.
	for file in denied unknown; do
		refused 4 "none of the keys that you may use opens $file.age" 'tokenctl policy explain --key NAME' tokenctl decrypt -o out $file.age
		sed "s/$file/FILE/g" stderr >"$file.said"
		grep '"operation":"unwrap"' state/audit.log | tail -n 1 >"$file.record"
		lab_grep "\"uid\":$me,.*\"result\":\"no-match\"" <"$file.record" || lab_fail "the refusal is not in the log: $(cat "$file.record")"
	done
	cmp denied.said unknown.said || lab_fail "decrypt tells whether a key exists"
	if cmp -s denied.record unknown.record; then lab_fail "two refusals are one record"; fi
	says 'denied' tokenctl policy explain --key theirs
	opens mine.age plain
	lab_grep '"result":"ok"' < <(grep '"operation":"unwrap"' state/audit.log | tail -n 1) || lab_fail "negative control: a release looks like a refusal"
}

# ---- the token ----

# leads_on COMMAND...: what it says to type about the token names the software TPM, and no verb that was typed already.
leads_on() {
	plainly "$@" >stdout 2>stderr || true
	cat stdout stderr | lab_grep -F "start the software TPM that listens on $(lab_tpm_socket "$work"), and on that path with .ctrl behind it, again; the trial's: tools/try" ||
		lab_fail "'$*' does not say what is to be started: $(cat stdout stderr)"
	if cat stdout stderr | grep -E -- '(hint:|->) tokenctl (doctor|status)'; then lab_fail "'$*' leads back"; fi
}

part_token() {
	lab_need tpm2_dictionarylockout
	local socket clear
	lab_start "$work"
	socket=$(lab_tpm_socket "$work")
	head -c 1000 /dev/urandom >plain
	printf '246-810\n' >pin
	printf '018-642\n' >wrong
	works tokenctl enroll --name host
	says '^  tokenctl unlock safe ' tokenctl enroll --name safe --class session --pin-file pin
	says '^  tokenctl unlock once .*one use' tokenctl enroll --name once --class admin --pin-file pin
	silent 'tokenctl unlock' tokenctl enroll --name free
	tokenctl encrypt -k host -o host.age plain
	tokenctl encrypt -k safe -o safe.age plain
	tokenctl identity >identity
	says '^host .* usable' tokenctl keys

	# The software TPM is gone: each hint leads to the next, and the last one to what has to be done. Nobody is asked for a PIN (that would be 5: there is no terminal).
	lab_tpm_stop "$work"
	refused 6 'token' 'tokenctl tokens' tokenctl decrypt -o out host.age
	leads_on tokenctl tokens
	leads_on tokenctl doctor
	leads_on tokenctl status
	says '^host .* token absent' tokenctl keys
	works tokenctl keys host --json
	lab_grep '"usable": false' <stdout || lab_fail "keys --json says usable: $(cat stdout)"
	refused 6 "token tpm:swtpm:path=$socket is not there" 'start the software TPM' tokenctl unlock safe
	refused 6 "token tpm:swtpm:path=$socket is not there" 'start the software TPM' tokenctl decrypt -o out safe.age
	refused 6 "token tpm:swtpm:path=$socket is not there" 'start the software TPM' tokenctl enroll --name new --class session
	if plainly age -d -i identity safe.age >stdout 2>stderr; then lab_fail "age opens it without its token"; fi
	grep -q 'is not there' stderr || lab_fail "age does not say what is wrong: $(cat stderr)"
	lab_tpm_start "$work"
	until_opens host.age plain
	says '^host .* usable' tokenctl keys
	refused 5 'no terminal to ask on' '--pin-file' tokenctl unlock safe

	# The tries are used up: the same, and the command for this TPM is the right one.
	refused 5 'not the PIN' 'tokenctl' tokenctl unlock safe --pin-file wrong
	refused 5 'not the PIN' 'tokenctl' tokenctl unlock safe --pin-file wrong
	refused 5 'too many wrong PINs' "forgives one wrong PIN every [0-9]+[smh] .* -T swtpm:path=$socket --clear-lockout" tokenctl unlock safe
	refused 5 'too many wrong PINs' '-T swtpm' tokenctl decrypt -o out safe.age
	refused 5 'used up the tries' '-T swtpm' tokenctl enroll --name new --class session
	opens host.age plain
	for verb in tokens doctor; do
		says "tpm2_dictionarylockout -T swtpm:path=$socket --clear-lockout" tokenctl $verb
	done
	clear=$(sed -n 's/.*\(tpm2_dictionarylockout.*\)$/\1/p' stdout)
	plainly $clear || lab_fail "what is said does not work: $clear"
	works tokenctl unlock safe --pin-file pin
	opens safe.age plain

	# A tokend that was told of none, where the machine has none: what it says helps, which a reload would not.
	[ ! -e /dev/tpmrm0 ] || return 0
	lab_tokend_stop "$work"
	lab_config "$work"
	lab_tokend_start "$work"
	says 'hint: there is no /dev/tpmrm0: switch the TPM on .* sudo systemctl restart tokend' tokenctl tokens
	refused 6 'tokend knows no token' 'there is no /dev/tpmrm0' tokenctl enroll --name new
	lab_expect 6 plainly tokenctl doctor >stdout 2>stderr
	lab_grep 'there is no /dev/tpmrm0' <stdout || lab_fail "doctor does not say what is missing: $(cat stdout)"
}

# ---- words ----

part_words() {
	local host legacy
	lab_start "$work"
	head -c 100000 /dev/urandom >plain
	says '^There is no key that you may see' tokenctl keys
	works tokenctl enroll --name host
	works tokenctl enroll --name legacy --kind x25519
	works tokenctl enroll --name vault --kind symmetric
	host=$(tokenctl recipient host)
	legacy=$(tokenctl recipient legacy)
	[ "$(tokenctl recipient)" = "$host"$'\n'"$legacy" ] || lab_fail "recipients are not one a line: $(tokenctl recipient)"
	[ "$(tokenctl recipient --comma)" = "$host,$legacy" ] || lab_fail "recipients are not joined: $(tokenctl recipient --comma)"
	[ "$(tokenctl recipient --comma host)" = "$host" ] || lab_fail "one recipient is joined to something"
	tokenctl recipient >recipients
	works age -R recipients -o both.age plain
	opens both.age plain

	# One of a thing is one.
	head -n 1 state/audit.log >one.log
	says '^one.log: 1 record, whole' tokenctl audit verify --file one.log
	says ' [0-9]+ records, whole' tokenctl audit verify
	# A sentence that says which, and what to do next, also where it is about the file or the command line alone.
	head -c 300 both.age >cut.age
	refused 7 'cut.age: the file is cut off before its end' 'get it again' tokenctl decrypt -o out cut.age
	refused 4 'there is no key nothing' 'tokenctl keys' tokenctl recipient nothing
	refused 2 'cannot open missing.age: No such file' 'ls -l \.' tokenctl decrypt -o out missing.age
	refused 2 'cannot open there/missing.age: No such file' 'ls -l there' tokenctl decrypt -o out there/missing.age
	refused 2 'is not a kind of key' 'tokenctl enroll --help' tokenctl enroll --kind rsa
	refused 2 'symmetric' 'tokenctl encrypt --help' tokenctl encrypt -k vault -o out plain
	refused 2 'is not a duration' 'tokenctl unlock --help' tokenctl unlock host --for soon
	in_force <<<"permit unwrap list key host user $(id -u)"
	refused 3 'not permitted, or there is no such key: legacy' 'tokenctl keys' tokenctl recipient legacy
	refused 3 'not permitted, or there is no such key: nothing' 'tokenctl keys' tokenctl recipient nothing
}

# ---- where to ask ----

part_where() {
	refused 2 'there is no option --nosuch' 'tokend --help' "$LAB_BIN/tokend" --nosuch
	refused 2 '--config stands without its value' 'tokend --help' "$LAB_BIN/tokend" --config
	refused 2 "there is no file $work/missing.conf, which --config names" "token tpm:device:/dev/tpmrm0' >$work/missing.conf" "$LAB_BIN/tokend" --state-dir "$work/state" --runtime-dir "$work/run" --config missing.conf --check
	refused 2 "there is no file $work/not there, which --config names" ">'$work/not there'" "$LAB_BIN/tokend" --state-dir "$work/state" --runtime-dir "$work/run" --config 'not there' --check
	works "$LAB_BIN/tokend" --state-dir "$work/unused" --runtime-dir "$work/run" --check # whose own is not there, which is as if it were empty
	local top=$work/top name pin
	mkdir -p "$top/build/release/bin" "$top/build/trial" nowhere
	for name in tokenctl age-plugin-tokend; do cp "$LAB_BIN/$name" "$top/build/release/bin/"; done
	unset TOKEND_RUNTIME_DIR
	export XDG_RUNTIME_DIR=$work/nowhere
	refused 6 'tokend is not running' 'sudo systemctl start tokend   \(if that fails, journalctl -u tokend -e says why' "$top/build/release/bin/tokenctl" keys
	echo "export TOKEND_RUNTIME_DIR=$work/nowhere" >"$top/build/trial/env"
	refused 6 'tokend is not running' "\. $top/build/trial/env   for the trial" "$top/build/release/bin/tokenctl" keys
	mkdir here
	refused 6 'it is not known where its policy is' 'tokenctl policy check DIRECTORY$' env TOKEND_RUNTIME_DIR="$work/nowhere" "$LAB_BIN/tokenctl" policy check
	refused 6 'it is not known where its policy is' 'the same with --policy DIRECTORY ' env TOKEND_RUNTIME_DIR="$work/nowhere" "$LAB_BIN/tokenctl" policy explain --user root --key host
	works env TOKEND_RUNTIME_DIR="$work/nowhere" "$LAB_BIN/tokenctl" policy explain --user root --key host --policy here
	for pin in '--pin 1234' --pin=1234; do
		# shellcheck disable=SC2086 # the words of the option
		lab_expect 2 plainly "$LAB_BIN/tokenctl" enroll --class session $pin >stdout 2>stderr
		grep -qx 'tokenctl: there is no option --pin' stderr && grep -qx 'hint: did you mean --pin-file?' stderr || lab_fail "$pin: $(cat stderr)"
	done
	if grep 1234 stderr; then lab_fail "a PIN is repeated"; fi
}

# ---- SOPS files ----

# typed COMMAND: what a hint says to type, by the shell.
typed() { plainly bash -c "$1" >stdout 2>stderr || lab_fail "what is said to type does not work: $1: $(cat stderr)"; }

# hinted: the command of the hint in stderr, without the words behind it.
hinted() { sed -n 's/^hint: //p' stderr | sed 's/   .*//'; }

part_sops() {
	local verb before command
	lab_start "$work"
	works tokenctl enroll --name host
	printf 'db:\n    user: app\n    pass: x\n' >plain.yaml
	works tokenctl encrypt --key host -o file.age plain.yaml

	# What is no SOPS file is said as what it is, by every verb; the hint makes one of it.
	for verb in 'get plain.yaml db.user' 'unset plain.yaml db.user' 'edit plain.yaml' 'rotate --data-key plain.yaml' 'run -f plain.yaml -- env'; do
		# shellcheck disable=SC2086 # the words of the command
		refused 7 'plain.yaml is not a SOPS file' 'tokenctl encrypt --sops --key NAME --in-place plain.yaml' tokenctl $verb
		# shellcheck disable=SC2086
		refused 7 'file.age is an age file, and not a SOPS file' 'tokenctl decrypt file.age$' tokenctl ${verb/plain.yaml/file.age}
	done
	# Of groups of keys the one that opened is not what is missing, and tokend's keys and those of a file together open it.
	age-keygen -o person.txt 2>/dev/null
	printf 'creation_rules: [{path_regex: group, shamir_threshold: 2, key_groups: [{age: [%s]}, {age: [%s]}]}]\n' "$(age-keygen -y person.txt)" "$(plainly tokenctl recipient host)" >.sops.yaml
	cp plain.yaml group.yaml
	works tokenctl encrypt --in-place group.yaml
	refused 4 "1 of the 2 key groups needed for group.yaml .* others are encrypted to $(age-keygen -y person.txt)" 'tokenctl identity' tokenctl decrypt group.yaml
	refused 4 "1 of the 2 key groups needed for group.yaml .* others are encrypted to $(plainly tokenctl recipient host)" 'tokenctl identity' tokenctl decrypt -i person.txt group.yaml
	plainly tokenctl identity >>person.txt
	works tokenctl decrypt -i person.txt group.yaml
	rm .sops.yaml

	# Of an empty one nothing can be made.
	: >empty.yaml
	for verb in 'get empty.yaml a' 'edit empty.yaml' 'rotate --data-key empty.yaml' 'run -f empty.yaml -- env'; do
		# shellcheck disable=SC2086
		refused 7 'empty.yaml is empty' 'from a backup|git checkout HEAD' tokenctl $verb
	done

	# One that is not there does not hide the next.
	lab_expect 7 plainly tokenctl verify not-there.yaml plain.yaml >stdout 2>stderr
	lab_grep '^not-there.yaml' <stdout && lab_grep '^plain.yaml' <stdout && lab_grep '2 of 2 files' <stderr || lab_fail "verify: $(cat stdout stderr)"
	# A key that is encrypted to itself is lost; it is for a token. And of nothing nothing is made.
	age-keygen -o mine.keys 2>/dev/null
	lab_expect 7 plainly tokenctl verify mine.keys >stdout 2>stderr
	lab_grep 'a file of age keys' <stdout && lab_grep 'hint: tokenctl enroll .*--import mine.keys' <stderr || lab_fail "verify: $(cat stdout stderr)"
	lab_expect 7 plainly tokenctl verify /dev/null >stdout 2>stderr
	lab_grep 'this file is empty' <stdout && ! grep 'in-place' stderr || lab_fail "verify: $(cat stdout stderr)"
	lab_expect 7 plainly tokenctl verify plain.yaml >stdout 2>stderr
	lab_grep 'hint: tokenctl encrypt --sops --key NAME --in-place plain.yaml' <stderr || lab_fail "verify: $(cat stderr)"
	cp plain.yaml s.yaml
	command=$(hinted)
	command=${command/NAME/host}
	typed "${command/plain.yaml/s.yaml}"
	silent 'not a SOPS file' tokenctl get s.yaml db.user
	refused 7 'has metadata of sops already' 'tokenctl edit s.yaml' tokenctl encrypt --sops --key host s.yaml
	printf 'a: [\n' >broken.yaml
	refused 7 'broken.yaml: line' 'mend that line of broken.yaml' tokenctl encrypt --sops --key host broken.yaml

	# A program before the pipe that is not there sets no empty value; the hint sets one.
	before=$(sha256sum s.yaml)
	refused 2 'nothing came on standard input' 'echo \| tokenctl set s.yaml db.pass' tokenctl set s.yaml db.pass
	[ "$(sha256sum s.yaml)" = "$before" ] || lab_fail "the value was set to nothing"
	typed "$(hinted)"
	works tokenctl get s.yaml db.pass
	[ ! -s stdout ] || lab_fail "an empty text is not empty: $(cat stdout)"

	# A place that is not there is no damaged file.
	refused 2 'there is no db.nothing in s.yaml' 'in db: user, pass$' tokenctl unset s.yaml db.nothing
	echo x >value
	refused 2 's.yaml has no place for db.user.x' '^hint: db.user is a value' tokenctl set --value-file value s.yaml db.user.x
	works tokenctl unset s.yaml db.pass

	# .sops.yaml: the hint writes one, for all keys; a rule for nobody writes nothing.
	works tokenctl enroll --name second --kind x25519
	refused 2 'there is no .sops.yaml for s.yaml' '^hint: echo .* > .sops.yaml' tokenctl updatekeys s.yaml
	typed "$(hinted)"
	says "^s.yaml: \+ $(tokenctl recipient second)$" tokenctl updatekeys s.yaml
	says 'has these recipients already' tokenctl updatekeys s.yaml
	sed "s/age: .*/age: '$(tokenctl recipient host)'}]/" .sops.yaml >without.yaml
	cp s.yaml closed.yaml
	SOPS_CONFIG=without.yaml silent 'none of your keys' tokenctl updatekeys closed.yaml
	sed "s/age: .*/age: '$(age-keygen 2>/dev/null | sed -n 's/^# public key: //p')'}]/" .sops.yaml >without.yaml
	SOPS_CONFIG=without.yaml says 'closed.yaml is for none of your keys any more' tokenctl updatekeys closed.yaml
	before=$(sha256sum s.yaml plain.yaml)
	printf 'creation_rules:\n  - age:\n' >.sops.yaml
	refused 2 'for s.yaml names no recipient' 'tokenctl recipient --comma' tokenctl updatekeys s.yaml
	refused 2 'for plain.yaml names no recipient' 'tokenctl recipient --comma' tokenctl encrypt --in-place plain.yaml
	printf 'creation_rules:\n  - age: age1bad\n' >.sops.yaml
	refused 2 'age1bad is not a recipient' 'tokenctl recipient --comma' tokenctl updatekeys s.yaml
	printf 'creation_rules:\n  - path_regex: other\n    age: age1bad\n' >.sops.yaml
	refused 4 'none of its creation rules matches for s.yaml' 'add a rule with a path_regex for it; tokenctl recipient --comma' tokenctl updatekeys s.yaml
	[ "$(sha256sum s.yaml plain.yaml)" = "$before" ] || lab_fail "a file was written for nobody"
	rm .sops.yaml

	# The rest of what one meets on the way.
	SOPS_EDITOR=false refused 1 'the editor .false. ended with status 1' 'EDITOR=nano tokenctl edit s.yaml' tokenctl edit s.yaml
	refused 7 'plain.yaml, line 1: this is no NAME=VALUE' 'NAME=VALUE in each line' tokenctl sample plain.yaml
	refused 2 'this is no working tree of git' 'git init' tokenctl guard --install
	refused 2 'this is no working tree of git' 'git init' tokenctl git --install
	mkdir empty
	refused 2 'no age file and no SOPS file in empty' 'ls -lR empty' tokenctl decrypt -r empty --check
	mkdir one && cp s.yaml one
	says '^1 file is right, 0 that are not encrypted and 0 links passed over$' tokenctl decrypt -r one --check
	says '^usage: tokenctl git WORD' tokenctl git --help
	ln -s "$(command -v tokenctl)" empty/tokenctl
	PATH=$work/empty:/nowhere lab_expect 2 "$work/empty/tokenctl" git --install >stdout 2>stderr
	grep -qx 'hint: sudo apt install git' stderr || lab_fail "without git: $(cat stderr)"
}

# ---- SOPS files, with a key file and without tokend ----

# keyed FILE [OPTION]...: FILE, as it stands there, becomes a SOPS file that key.txt opens.
keyed() { works tokenctl encrypt -r "$(age-keygen -y key.txt)" --in-place "$@"; }

# unchanged FILE COPY: what was refused has changed nothing.
unchanged() { cmp "$1" "$2" || lab_fail "$1 was changed all the same"; }

# ruled [LINE]...: the one rule of .sops.yaml, for key.txt and YAML files, with more lines.
ruled() {
	printf 'creation_rules:\n  - path_regex: \.yaml$\n    age: %s\n' "$(age-keygen -y key.txt)" >.sops.yaml
	printf '    %s\n' "$@" | sed '/^ *$/d' >>.sops.yaml
}

part_files() {
	lab_use "$work" # where no tokend is
	age-keygen -o key.txt 2>/dev/null
	printf 'db:\n    user: app\n    pass: x\n' >plain.yaml
	cp plain.yaml whole.yaml
	keyed whole.yaml
	printf 'db:\n    user: app\n    pass: x\nhosts: [a, b]\n"odd key": {n: 1}\n' >v.yaml
	keyed v.yaml
	files_remains
	files_places
	files_typed
	files_lines
	files_tails
	files_marks
	files_metadata
	files_order
	files_typos
	files_programs
	files_rules
	files_tree
	files_recipients
	files_changed
	files_refused
	files_others
}

# A value that was edited in the clear: what is said to type brings it in encrypted.
files_changed() {
	git init -q changed
	(
		cd changed
		git config user.email nobody@example.org
		git config user.name nobody
		cp ../whole.yaml s.yaml
		git add s.yaml
		git commit -qm first
		sed -i 's/^    pass: .*/    pass: hunter2/' s.yaml
		cp s.yaml before
		lab_expect 3 plainly tokenctl guard s.yaml >stdout 2>/dev/null
		lab_grep 'next: git checkout HEAD -- s.yaml   takes it back; put it in with: tokenctl set s.yaml PATH' <stdout || lab_fail "guard: $(cat stdout)"
		lab_expect 7 plainly tokenctl verify s.yaml >/dev/null 2>stderr
		lab_grep 'hint: git diff HEAD -- s.yaml .*git checkout HEAD -- s.yaml takes it back, and tokenctl set s.yaml PATH' <stderr || lab_fail "verify: $(cat stderr)"
		SOPS_EDITOR=true refused 7 's.yaml: line 3: this value ought to be encrypted' 'git checkout HEAD -- s.yaml takes it back' tokenctl edit -i ../key.txt s.yaml
		unchanged s.yaml before
		git checkout -q HEAD -- s.yaml
		printf hunter2 >value
		works tokenctl set --value-file value -i ../key.txt s.yaml db.pass
		works tokenctl guard s.yaml
	)
}

# What is refused says of what kind it is, and what can be done with it.
files_refused() {
	local name
	: >empty.yaml
	refused 7 'empty.yaml: there is no value in it' 'write what is to be encrypted into empty.yaml' tokenctl encrypt --sops -r "$(age-keygen -y key.txt)" -o out empty.yaml
	printf 'a: 1\nb: "x\nc: 2\n' >quote.yaml
	refused 7 'quote.yaml: line 2: here, or in a line that follows, this is no YAML' 'mend that line of quote.yaml' tokenctl encrypt --sops -r "$(age-keygen -y key.txt)" -o out quote.yaml
	refused 2 'what --encrypted-regex was given is no pattern' "--encrypted-regex '\^\(pass" tokenctl encrypt --sops -r "$(age-keygen -y key.txt)" --encrypted-regex '(' -o out plain.yaml
	printf 'A=1\nB=2\n' >flat.env
	cp flat.env flat.plain
	keyed flat.env
	printf 'a\\nb' >value
	refused 2 'flat.env was left as it is: its format, of one line for each value, cannot hold this value, or a key like A' 'base64 -w0 FILE . tokenctl set flat.env A ' tokenctl set --value-file value -i key.txt flat.env A
	base64 -w0 value >value64
	works tokenctl set --value-file value64 -i key.txt flat.env A
	printf '\377' >value
	refused 2 'the value is not UTF-8' 'base64 -w0 FILE . tokenctl set' tokenctl set --value-file value -i key.txt flat.env A
	: >value
	refused 2 'the file is empty, and no value was changed' 'echo . tokenctl set flat.env A' tokenctl set --value-file value -i key.txt flat.env A
	refused 2 '"" is no path' 'db.hosts.0' tokenctl set --value-file value -i key.txt flat.env ''
	head -c 1048577 /dev/zero | tr '\0' x >value
	refused 2 'the value has more than 1048576 bytes' 'tokenctl encrypt --key NAME -o FILE.age FILE' tokenctl set --value-file value -i key.txt flat.env A
	# YAML that set and unset do not know how to change: they say so, instead of writing something else.
	printf 'l:\n  - c: 1\n    ? a\nm: {n, o: 1}\np: [q: 1, r]\n' >odd.yaml
	keyed odd.yaml
	cp odd.yaml before
	printf x >value
	refused 2 'odd.yaml: line 4: this key has no colon, which means null; write it as KEY: null' '^hint: tokenctl edit odd.yaml$' tokenctl set --value-file value -i key.txt odd.yaml m.n
	for name in l.0.c p.0.q; do
		refused 2 "odd.yaml was left as it is: $name or what is beside it is written in a way" '^hint: tokenctl edit odd.yaml$' tokenctl unset -i key.txt odd.yaml $name
	done
	refused 2 'odd.yaml was left as it is: p.0.new or what is beside it' '^hint: tokenctl edit odd.yaml$' tokenctl set --value-file value -i key.txt odd.yaml p.0.new
	unchanged odd.yaml before
	works tokenctl unset -i key.txt odd.yaml m.n
	works tokenctl unset -i key.txt odd.yaml l.0.a
	refused 2 'cannot be written as the type' '--output-type json' tokenctl decrypt -i key.txt --output-type dotenv v.yaml
	works tokenctl decrypt -i key.txt --output-type json v.yaml
	# Line ends of Windows in a file that was sealed without them, and the way back.
	sed 's/$/\r/' flat.env >crlf.env
	sed '/^sops/!s/$/\r/' flat.env >values.env
	refused 7 'values.env: line 1: this line ends in CR LF' 'sed -i .* values.env' tokenctl decrypt -i key.txt -o out values.env
	# Before it is sealed each value has one, which sops keeps.
	printf 'A=1\r\nB=2\r\n' >windows.env
	works tokenctl encrypt --sops -r "$(age-keygen -y key.txt)" -o sealed.env windows.env
	grep -q "warning: lines of windows.env end in CR LF, and the CR is a part of their values, as for sops; without: sed -i 's/.r.//' windows.env" stderr || lab_fail "it does not warn: $(<stderr)"
	works tokenctl encrypt --sops -r "$(age-keygen -y key.txt)" -o sealed.env flat.plain
	[ ! -s stderr ] || lab_fail "it warns of nothing: $(<stderr)"
	for name in values crlf; do
		sed -i 's/\r$//' $name.env
		works tokenctl decrypt -i key.txt $name.env
	done
}

# The rest: what stands for no file, who else may write, one sample for each file.
files_others() {
	local name
	printf x >value
	refused 2 'set changes a file in its place, and standard input has none' 'tokenctl set FILE PATH' tokenctl set --value-file value -i key.txt - a
	SOPS_EDITOR=true refused 2 'edit changes a file in its place' 'tokenctl edit FILE ' tokenctl edit -i key.txt -
	SOPS_EDITOR=true refused 2 'cannot open new.yaml: No such file' 'tokenctl encrypt --sops --key NAME -o new.yaml' tokenctl edit -i key.txt new.yaml
	refused 2 'cannot open new.yaml: No such file' 'ls -l' tokenctl rotate --data-key -i key.txt new.yaml
	age -r "$(age-keygen -y key.txt)" -o other.age other.txt
	refused 2 'other.age is encrypted to keys, and not with a passphrase' 'tokenctl decrypt other.age' tokenctl decrypt -i other.age -o out whole.yaml

	head -c 300 /dev/urandom >binary.bin
	keyed --sops binary.bin
	lab_expect 2 timeout 30 python3 -B "$LAB_SOURCE/tests/interop/typed.py" --log stdout -- tokenctl get -i key.txt binary.bin data
	lab_grep 'tokenctl get binary.bin data > FILE' <stdout || lab_fail "binary data at a terminal: $(cat -v stdout)"
	lab_expect 2 timeout 30 python3 -B "$LAB_SOURCE/tests/interop/typed.py" --log stdout --answer assphrase one --answer again two -- tokenctl encrypt -p -o out plain.yaml
	lab_grep 'hint: the same command asks again' <stdout || lab_fail "two that differ: $(cat stdout)"

	mkdir -m 0755 shared
	printf 'run: {files: [whole.yaml]}\n' >shared/.tokend.yaml
	cp whole.yaml shared/
	chmod 0644 shared/.tokend.yaml shared/whole.yaml
	for name in shared/.tokend.yaml shared shared/whole.yaml; do
		chmod g+w $name
		(cd shared && refused 2 'can be written by others of its group' "^hint: chmod go-w .*$name" tokenctl run -i ../key.txt -- env)
		sh -c "$(sed -n 's/^hint: //p' shared/stderr)"
		(cd shared && works tokenctl run -i ../key.txt -- env)
	done
	rm shared/whole.yaml
	mkfifo -m 0600 shared/whole.yaml
	(cd shared && refused 2 'names .*/whole.yaml, which is no regular file' "^hint: ls -lL .*shared/whole.yaml" tokenctl run -i ../key.txt -- env)
	mkdir -m 0755 rules.d
	printf 'permit unwrap key * user 1\n' >rules.d/1.conf
	chmod 0664 rules.d/1.conf
	refused 1 'rules.d/1.conf: it must be a regular file' 'chmod go-w rules.d/1.conf ' tokenctl policy explain --policy rules.d --key host
	chmod go-w rules.d/1.conf
	works tokenctl policy explain --policy rules.d --key host

	printf 'ONE=1\n' >a.env
	printf 'TWO=2\n' >b.env
	printf 'THREE=3\n' >.env
	for name in a b ''; do works tokenctl sample $name.env; done
	: >none.env
	refused 7 'none.env is empty, and no sample was written' 'wants NAME=VALUE' tokenctl sample none.env
	printf '# words\n\n' >none.env
	refused 7 'none.env has no names in it, and no sample was written' 'wants NAME=VALUE' tokenctl sample none.env
	if [ -e none.env.sample ]; then lab_fail 'a sample was written all the same'; fi
	printf '#OLD=1\n' >none.env
	works tokenctl sample none.env
	refused 2 'cannot open nofile.yaml: No such file' 'ls -l' tokenctl edit --forget nofile.yaml
	refused 2 'cannot open nofile.yaml: No such file' 'ls -l' tokenctl git textconv nofile.yaml
	[ "$(grep -c 'No such file' stderr)" -eq 1 ] || lab_fail "it is said twice: $(<stderr)"
	[ "$(cat a.env.sample b.env.sample .env.sample)" = $'ONE=\nTWO=\nTHREE=' ] || lab_fail "one sample took the names of another: $(cat ./*.sample .env.sample)"
}

# What is wrong with .sops.yaml, or with a rule, is said, and where.
files_rules() {
	ruled
	sed -i 's/path_regex/path_regx/' .sops.yaml
	cp plain.yaml one.yaml
	says 'warning: .*/.sops.yaml, line 2: path_regx is no setting of a creation rule and is passed over, so the rule is for every file' tokenctl encrypt --in-place one.yaml
	says 'line 2: path_regx is no setting' tokenctl updatekeys -i key.txt one.yaml
	says 'line 2: path_regx is no setting' tokenctl guard plain.yaml one.yaml
	[ "$(grep -c path_regx stderr)" -eq 1 ] || lab_fail "guard says it for each file: $(<stderr)"
	ruled 'encrypted_regex: ^nothing$'
	cp plain.yaml one.yaml
	says 'warning: nothing in one.yaml is encrypted, for no value is covered by its encrypted_regex' tokenctl encrypt --in-place one.yaml
	ruled 'encrypted_regex: ^pass$' 'mac_only_encrypted: true'
	cp plain.yaml one.yaml
	silent 'warning' tokenctl encrypt --in-place one.yaml # the control
	silent 'warning' tokenctl updatekeys -i key.txt one.yaml
	silent 'warning' tokenctl guard one.yaml
	ruled 'pgp: ABCDEF'
	refused 2 'the rule for plain.yaml names a recipient of the kind pgp, and tokenctl encrypts to age' 'sops can do this' tokenctl encrypt -o out plain.yaml
	ruled 'encrypted_regex: ['
	refused 7 '.sops.yaml: line [0-9]+: ' 'mend that line of .*/.sops.yaml' tokenctl encrypt -o out plain.yaml
	printf 'creation_rules: x\n' >.sops.yaml
	refused 7 '.sops.yaml: line 1: ' 'mend that line of .*/.sops.yaml' tokenctl updatekeys -i key.txt one.yaml
	rm .sops.yaml
}

# A whole tree: who looks needs no key and changes nothing, each file of SOPS is found whatever its name, one that no rule is for is named, and one that fails holds up no other.
files_tree() {
	local mine other third name old
	age-keygen -o other.txt 2>/dev/null
	age-keygen -o third.txt 2>/dev/null
	mine=$(age-keygen -y key.txt)
	other=$(age-keygen -y other.txt)
	third=$(age-keygen -y third.txt)
	mkdir -p grove/deep grove/.git grove/link-target
	printf 'creation_rules:\n  - path_regex: secret\n    age: %s,%s\n' "$mine" "$other" >grove/.sops.yaml
	cp plain.yaml grove/secret.yaml
	printf 'A=1\n' >grove/deep/secret.env
	printf 'bytes' >grove/deep/secret.key
	cp plain.yaml grove/forgotten.yaml
	works tokenctl encrypt --in-place grove/secret.yaml
	works tokenctl encrypt --in-place grove/deep/secret.env
	works tokenctl encrypt --sops --input-type binary --in-place grove/deep/secret.key
	works tokenctl encrypt --sops -r "$mine" --in-place grove/forgotten.yaml
	cp grove/secret.yaml grove/.git/secret.yaml
	echo 'sops, lastmodified, ENC[' >grove/README-secret.md
	says 'forgotten.yaml was passed over: no rule' tokenctl updatekeys -r --dry-run grove
	lab_grep '^4 SOPS files: 0 to change, 3 with these recipients already, 1 under no rule$' <stderr || lab_fail "it says $(<stderr)"
	[ ! -s stdout ] || lab_fail "somebody would come or go: $(<stdout)"

	sed -i "s/$other/$third/" grove/.sops.yaml
	rm -rf copy
	cp -r grove copy
	lab_expect 3 plainly tokenctl updatekeys -r --dry-run grove >stdout 2>stderr
	lab_grep '3 of 3 SOPS files have other recipients than .sops.yaml names' <stderr && lab_grep 'hint: tokenctl updatekeys -r grove ' <stderr || lab_fail "it says $(<stderr)"
	[ "$(grep -c "secret.*: + $third" stdout)" -eq 3 ] && [ "$(grep -c "secret.*: - $other" stdout)" -eq 3 ] || lab_fail "it says $(<stdout)"
	diff -r grove copy || lab_fail 'who only looks has changed something'

	# One that cannot be opened, and the others all the same; with a new data key where somebody is taken out.
	sed -i 's/^    pass: .*/    pass: ENC[AES256_GCM,data:AAAA,iv:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,tag:AAAAAAAAAAAAAAAAAAAAAA==,type:str]/' grove/secret.yaml
	old=$(grep '^A=' grove/deep/secret.env)
	lab_expect 7 plainly tokenctl updatekeys -r --rotate -i key.txt grove >stdout 2>stderr
	lab_grep '1 of 4 SOPS files failed' <stderr && lab_grep 'secret.env: its data key is a new one' <stderr || lab_fail "it says $(<stderr)"
	cmp grove/secret.yaml copy/secret.yaml >/dev/null && lab_fail 'the control: the file was not damaged'
	[ "$(grep '^A=' grove/deep/secret.env)" != "$old" ] || lab_fail 'the data key stayed'
	for name in deep/secret.env deep/secret.key; do
		works tokenctl decrypt -i third.txt grove/$name
		lab_expect 4 plainly tokenctl decrypt -i other.txt grove/$name >stdout 2>stderr
	done
	cmp grove/forgotten.yaml copy/forgotten.yaml && cmp grove/.git/secret.yaml copy/.git/secret.yaml || lab_fail 'more was changed than was meant'
	cp copy/secret.yaml grove/secret.yaml
	works tokenctl updatekeys -r -i key.txt grove
	lab_grep 'type: tokenctl rotate --data-key grove/secret.yaml' <stderr || lab_fail "it says $(<stderr)"
	[ "$(grep 'pass:' grove/secret.yaml)" = "$(grep 'pass:' copy/secret.yaml)" ] || lab_fail 'without --rotate the data key is another'
	works tokenctl updatekeys -r grove # nothing to change, and no key
	refused 2 'grove is a directory' 'tokenctl updatekeys -r grove' tokenctl updatekeys grove
	refused 2 'there is no SOPS file in' 'ls -lR' tokenctl updatekeys -r grove/link-target
	rm -r grove copy other.txt third.txt
}

# Who is taken out is said, with what to do then; of several files each line names its own.
files_recipients() {
	local mine other name
	age-keygen -o other.txt 2>/dev/null
	mine=$(age-keygen -y key.txt)
	other=$(age-keygen -y other.txt)
	ruled
	for name in one two; do
		cp plain.yaml $name.yaml
		works tokenctl encrypt --in-place $name.yaml
	done
	sed -i "s/age: .*/&,$other/" .sops.yaml
	silent 'rotate|warning' tokenctl updatekeys -i key.txt one.yaml two.yaml
	[ "$(<stdout)" = "one.yaml: + $other"$'\n'"two.yaml: + $other" ] || lab_fail "updatekeys says $(<stdout)"
	works tokenctl rotate --data-key -i key.txt one.yaml two.yaml
	[ "$(grep -c '^\(one\|two\).yaml: the new data key went to age1' stderr)" -eq 4 ] || lab_fail "rotate says $(<stderr)"
	ruled
	says "^one.yaml: - $other" tokenctl updatekeys -i key.txt one.yaml
	lab_grep 'may have kept the data key; type: tokenctl rotate --data-key one.yaml' <stderr || lab_fail "what to do then is not said: $(<stderr)"
	if grep warning stderr; then lab_fail "a file of one's own is said to be closed"; fi
	sed -i "s/age: .*/age: $other/" .sops.yaml
	says 'warning: two.yaml is for none of your keys any more; .*git checkout HEAD -- two.yaml' tokenctl updatekeys -i key.txt two.yaml
	lab_expect 4 plainly tokenctl decrypt -i key.txt two.yaml >stdout 2>stderr
	refused 2 'cannot open nothing.yaml' '' tokenctl rotate --data-key -i key.txt nothing.yaml one.yaml
	rm .sops.yaml
	files_groups "$mine" "$other"
}

# With groups of keys each line has the group; who only changes it is not told off, and what stays is left alone.
files_groups() { # MINE OTHER
	local mine=$1 other=$2 third before number
	age-keygen -o third.txt 2>/dev/null
	third=$(age-keygen -y third.txt)
	grouped() { # RECIPIENTS...: one group for each, of which it takes two
		local group list=
		for group; do list="$list${list:+, }{age: [$group]}"; done
		printf 'creation_rules: [{path_regex: yaml, shamir_threshold: 2, key_groups: [%s]}]\n' "$list" >.sops.yaml
	}
	cat key.txt other.txt >both.txt
	cp plain.yaml grouped.yaml
	grouped "$mine" "$other"
	works tokenctl encrypt --in-place grouped.yaml
	before=$(<grouped.yaml)
	silent 'rotate|warning' tokenctl updatekeys -i both.txt grouped.yaml
	[ "$(<stdout)" = 'grouped.yaml has these recipients already' ] || lab_fail "updatekeys says $(<stdout)"
	[ "$(<grouped.yaml)" = "$before" ] || lab_fail 'a file whose recipients stay was written anew'
	grouped "$mine" "$other, $third"
	silent 'rotate|warning' tokenctl updatekeys -i both.txt grouped.yaml
	[ "$(<stdout)" = "grouped.yaml: + $third (group 2)" ] || lab_fail "updatekeys says $(<stdout)"
	grouped "$mine" "$other" "$third"
	silent 'rotate|warning' tokenctl updatekeys -i both.txt grouped.yaml
	[ "$(<stdout)" = "grouped.yaml: - $third (group 2)"$'\n'"grouped.yaml: + $third (group 3)"$'\n''grouped.yaml: it takes 2 of 3 groups now, 2 of 2 before' ] ||
		lab_fail "updatekeys says $(<stdout)"
	grouped "$mine" "$other"
	says 'may have kept the data key; type: tokenctl rotate --data-key grouped.yaml' tokenctl updatekeys -i both.txt grouped.yaml
	lab_grep -F "grouped.yaml: - $third (group 3)" <stdout || lab_fail "updatekeys says $(<stdout)"
	works tokenctl decrypt -i both.txt grouped.yaml

	# Shares for one group alone, or for more than there are, cannot be made.
	before=$(<grouped.yaml)
	for number in 1 3; do
		sed -i "s/threshold: ./threshold: $number/" .sops.yaml
		refused 2 "grouped.yaml wants $number of 2 groups" 'shamir_threshold: 2' tokenctl updatekeys -i both.txt grouped.yaml
		cp plain.yaml new.yaml
		refused 2 "new.yaml wants $number of 2 groups" 'shamir_threshold: 2' tokenctl encrypt --in-place new.yaml
		cmp new.yaml plain.yaml || lab_fail 'a refused file was changed'
	done
	[ "$(<grouped.yaml)" = "$before" ] || lab_fail 'a refused file was changed'
	sed -i 's/threshold: ./threshold: 2/' .sops.yaml
	works tokenctl updatekeys -i both.txt grouped.yaml

	# A group of nobody would have a share that is lost.
	sed -i 's/{age: [^,]*}/{}/' .sops.yaml
	refused 2 'group 1 of the rule of .sops.yaml for new.yaml names no recipient' 'recipient --comma' tokenctl encrypt --in-place new.yaml
	cmp new.yaml plain.yaml || lab_fail 'a refused file was changed'
	rm new.yaml .sops.yaml
}

# A program that is not there has the exit code that shells give it, and its options are its own.
files_programs() {
	local status
	refused 127 'there is no program nosuchprogram in the PATH' 'PATH' tokenctl run -i key.txt -f whole.yaml -- nosuchprogram
	refused 127 'there is no program nosuchprogram in the PATH' 'PATH' tokenctl exec-file -i key.txt whole.yaml -- nosuchprogram {}
	printf '#!/bin/sh\nexit 9\n' >nosuchprogram
	refused 126 'cannot run ./nosuchprogram: Permission denied' 'ls -ld ./nosuchprogram' tokenctl run -i key.txt -f whole.yaml -- ./nosuchprogram
	chmod +x nosuchprogram
	refused 127 'there is no program nosuchprogram in the PATH' './nosuchprogram is the one in this directory' tokenctl run -i key.txt -f whole.yaml -- nosuchprogram
	lab_expect 9 plainly tokenctl run -i key.txt -f whole.yaml -- ./nosuchprogram
	refused 127 'cannot run ./nothing: No such file' 'ls -l \.' tokenctl run -i key.txt -f whole.yaml -- ./nothing
	for status in 'exec-file whole.yaml cat -c {}' 'run env -c'; do
		# shellcheck disable=SC2086 # the words of the command
		lab_expect 2 plainly tokenctl $status 2>stderr
		lab_grep 'hint: tokenctl .* -- COMMAND .* where COMMAND has options of its own' <stderr || lab_fail "$status: $(cat stderr)"
	done
	says '{} is not in the command' tokenctl exec-file -i key.txt whole.yaml true
	silent 'is not in the command' tokenctl exec-file -i key.txt whole.yaml 'cat {}'
	refused 2 'there is no value db.pass in the files' '--only db_pass ' tokenctl run -i key.txt -f whole.yaml --only db.pass -- env
	refused 2 'there is no value db.paß in the files' '^hint: the values there are, by their variables: db_user, db_pass$' tokenctl run -i key.txt -f whole.yaml --only db.paß -- env
	refused 2 'there is no value nope in the files' '^hint: the values there are, by their variables: db_user$' tokenctl run -i key.txt -f whole.yaml --only db_pass,nope -- env
	refused 2 'there is no value db_uesr in the files' '^hint: did you mean db_user\?$' tokenctl run -i key.txt -f whole.yaml --only db_uesr -- env
	refused 2 'there is no value nope in the files' '^hint: .*: none but what --only names$' tokenctl run -i key.txt -f whole.yaml --only db_user,db_pass,nope -- env
	printf 'list:\n  - one\n%s' "$(for status in a b c d e f g h; do printf '%s: %s\n' value_$status 1; done)" >many.yaml
	keyed many.yaml
	refused 2 'there is no value nope' 'list_0, value_a, .*, value_g and 1 other$' tokenctl run -i key.txt -f many.yaml --only nope -- env
	says '^db_pass=x$' tokenctl run -i key.txt -f whole.yaml --only 'db_user, db_pass,db_user' -- env
	refused 2 'behind --prefix stands what no name' '--prefix APP_ ' tokenctl run -i key.txt -f whole.yaml --prefix 1 -- env
	refused 2 'holds no identity' 'AGE-SECRET-KEY-1... is expected, which age-keygen writes' tokenctl run -i /dev/null -f whole.yaml -- env
	refused 2 'there is no value db.pas in the files' 'tokenctl get whole.yaml db.pas ' tokenctl run -i key.txt -f whole.yaml --file X=db.pas -- env
}

# A text does not take the place of a map or a list; a place that is not there is named, or the nearest one.
files_places() {
	printf 'text\n' >value
	cp v.yaml before
	refused 2 'db is a map in v.yaml, and a text in its place would replace all that is in it: user, pass' 'tokenctl set v.yaml db.NAME ' tokenctl set --value-file value -i key.txt v.yaml db
	refused 2 'hosts is a list in v.yaml, .* 2 elements' 'tokenctl set v.yaml .hosts\[0\]' tokenctl set --value-file value -i key.txt v.yaml hosts
	# As for a shell: the value would be the name of a key, and is not said again.
	refused 2 'a value does not stand behind its path' 'tokenctl set v.yaml db.pass   asks for the value' tokenctl set -i key.txt v.yaml db.pass=hunter2 <value
	if cat stdout stderr | lab_grep hunter2; then lab_fail "what may be a secret is repeated: $(<stderr)"; fi
	unchanged v.yaml before
	works tokenctl set --value-file value -i key.txt v.yaml '["a=b"]'
	works tokenctl unset -i key.txt v.yaml '["a=b"]'
	cp v.yaml before
	# What it has become, where it is not of the type that stood there.
	printf 'n: 1\nt: one\nb: true\nz: null\n' >types.yaml
	keyed types.yaml
	printf '7\n' >number
	says 'n is a text now, where a number stood; tokenctl set --json types.yaml n   sets a number' tokenctl set --value-file number -i key.txt types.yaml n
	says 'n is a number now, where a text stood .*quotes' tokenctl set --json --value-file number -i key.txt types.yaml n
	says 'b is a text now, where true or false stood; .* sets true or false' tokenctl set --value-file value -i key.txt types.yaml b
	printf '8.5\n' >number
	silent stood tokenctl set --json --value-file number -i key.txt types.yaml n
	silent stood tokenctl set --value-file value -i key.txt types.yaml t
	silent stood tokenctl set --value-file value -i key.txt types.yaml z
	silent stood tokenctl set --value-file value -i key.txt types.yaml new
	refused 2 'there is no db.usr in v.yaml' '^hint: did you mean db.user\?$' tokenctl get -i key.txt v.yaml db.usr
	refused 2 'there is no bd in v.yaml' '^hint: did you mean db\?$' tokenctl unset -i key.txt v.yaml bd
	refused 2 'there is no nothing in v.yaml' '^hint: at the top of v.yaml: db, hosts, odd key$' tokenctl get -i key.txt v.yaml nothing
	refused 2 'there is no db.nothing in v.yaml' '^hint: in db: user, pass$' tokenctl get -i key.txt v.yaml db.nothing
	refused 2 'there is no hosts.2 in v.yaml' '^hint: in hosts: 2 elements, from 0 on$' tokenctl get -i key.txt v.yaml hosts.2
	refused 2 'hosts is no single value in v.yaml, but a list' 'in it stand: 2 elements' tokenctl get -i key.txt v.yaml hosts
	refused 2 'there is no db.user.x in v.yaml' '^hint: db.user is a value' tokenctl get -i key.txt v.yaml db.user.x
	refused 2 'no v.yaml|there is no .*odd' 'odd key' tokenctl get -i key.txt v.yaml '["odd kye"]'
	# In JSON it takes the place, and elsewhere a text is set as before; a line end of Windows is none of its own.
	printf '"text"\n' >value.json
	works tokenctl set --json --value-file value.json -i key.txt v.yaml db
	printf 'crlf\r\n' >value
	works tokenctl set --value-file value -i key.txt v.yaml hosts.0
	works tokenctl get -i key.txt v.yaml hosts.0
	[ "$(<stdout)" = crlf ] || lab_fail "the carriage return is part of the value: $(od -c stdout)"
	printf 'a\r\nb\r' >value # the control: what is no line end at the end stays
	works tokenctl set --value-file value -i key.txt v.yaml hosts.0
	works tokenctl get -i key.txt v.yaml hosts.0
	cmp stdout value || lab_fail "another value: $(od -c stdout)"
}

# What git's own merge left is no file that has to come from elsewhere: the hint merges it.
files_marks() {
	local verb repository=$PWD/marks
	git init -q -b main "$repository"
	cp key.txt "$repository.key"
	cp plain.yaml marked.yaml
	keyed marked.yaml
	(
		cd "$repository"
		git config user.name lab && git config user.email lab@localhost
		cp ../marked.yaml v.yaml
		git add v.yaml && git commit -qm base
		git checkout -qb other
		works tokenctl set --value-file <(echo other) -i "$repository.key" v.yaml db.user
		git commit -qam other
		git checkout -q main
		works tokenctl set --value-file <(echo ours) -i "$repository.key" v.yaml db.user
		git commit -qam ours
		if git merge -q other; then lab_fail 'there is no conflict'; fi
		for verb in "get v.yaml db.pass" "decrypt v.yaml" "edit v.yaml" "unset v.yaml db.pass" "run -f v.yaml -- true"; do
			# shellcheck disable=SC2086 # the words of a command
			refused 7 'v.yaml: line [0-9]+ is a mark of git' 'tokenctl git --install v.yaml && git checkout -m v.yaml' tokenctl ${verb%% *} -i "$repository.key" ${verb#* }
		done
		lab_expect 7 plainly tokenctl verify v.yaml >stdout 2>stderr
		lab_grep 'is a mark of git' <stdout && lab_grep 'hint: git checkout -m v.yaml' <stderr || lab_fail "verify says $(cat stdout stderr)"
		git add v.yaml
		lab_expect 3 plainly tokenctl guard >stdout 2>stderr
		lab_grep 'v.yaml: line 2 is a mark of git' <stdout && lab_grep 'next: tokenctl git --install v.yaml && git checkout -m v.yaml' <stdout || lab_fail "guard says $(cat stdout)"
		tokenctl git --install v.yaml >stdout && git checkout -m v.yaml 2>stderr || lab_fail "what the hint says fails: $(cat stderr)"
		lab_grep 'v.yaml is as our side has it' <stderr || lab_fail "checkout -m says $(cat stderr)"
	) || exit 1
	# The control: another text that is no YAML is not blamed on git.
	sed '1s/.*/: [/' marked.yaml >torn.yaml
	refused 7 'torn.yaml: line' 'get it again' tokenctl decrypt -i key.txt torn.yaml
}

# The metadata is no place for a value, by whatever name, and the hint is no circle.
files_metadata() {
	local place before
	before=$(<marked.yaml)
	for place in sops sops.mac; do
		refused 2 "$place stands where SOPS keeps its metadata" 'tokenctl updatekeys marked.yaml' tokenctl set --value-file plain.yaml -i key.txt marked.yaml $place
	done
	[ "$(<marked.yaml)" = "$before" ] || lab_fail 'a refused file was changed'
	for place in /dev/shm/tokenctl-none/marked.yaml .; do
		refused 2 "$place is no file" 'tokenctl edit marked.yaml' tokenctl edit --resume "$place" -i key.txt marked.yaml
	done
	EDITOR=true works tokenctl edit -i key.txt marked.yaml
}

# The words in another order, and a file that is not there: the hint is the command that was meant.
files_order() {
	refused 2 'cannot open db.pass' 'tokenctl get marked.yaml db.pass' tokenctl get -i key.txt db.pass marked.yaml
	refused 2 'cannot open db.pass' 'tokenctl set marked.yaml db.pass' tokenctl set --value-file plain.yaml -i key.txt db.pass marked.yaml
	refused 2 'cannot open db.pass' 'ls -l .' tokenctl get -i key.txt db.pass db.user
	refused 2 'cannot open nowhere.yaml' 'ls -l .' tokenctl updatekeys nowhere.yaml
	refused 2 'there is no .sops.yaml for marked.yaml' 'echo' tokenctl updatekeys marked.yaml
}

# What is typed wrongly leads to the command that was meant, not to all that there is.
files_typos() {
	mkdir -p 'a b'
	refused 2 'needs either --output-dir or --check' "tokenctl decrypt -r 'a b' --output-dir OUT" tokenctl decrypt -r 'a b'
	refused 2 'its own files would be written over' '--output-dir OUT' tokenctl decrypt -i key.txt -r . --output-dir .
	refused 2 'input and output are the same file' 'tokenctl edit' tokenctl decrypt -i key.txt -o v.yaml v.yaml
	refused 2 'a b is a directory' "ls -l 'a b'" tokenctl verify 'a b'
	refused 2 'there is no verb policy list' 'tokenctl policy ' tokenctl policy list
	refused 2 'plain.yaml:1: this line is not an identity' 'age-keygen writes' tokenctl decrypt -i plain.yaml v.yaml
	rmdir 'a b'
	refused 2 'cannot open the directory no/where' 'mkdir -p no/where' tokenctl decrypt -i key.txt -o no/where/out v.yaml
	refused 2 '--output-dir goes with -r' '-o FILE' tokenctl decrypt -i key.txt --output-dir out v.yaml
	printf 'a: 1\n' >last.yaml
	keyed last.yaml
	refused 2 'it is the last value of the file' 'git rm last.yaml' tokenctl unset -i key.txt last.yaml a
	# A key with dots in its name, written as if it were two.
	printf 'db:\n  a.b: 1\n' >dots.yaml
	keyed dots.yaml
	refused 2 'there is no db.a.b in dots.yaml' "did you mean 'db\[\"a.b\"\]'" tokenctl get -i key.txt dots.yaml db.a.b
	refused 2 'a key with dots in its name' "tokenctl set dots.yaml 'db\[\"a.b\"\]'" tokenctl set -i key.txt --value-file plain.yaml dots.yaml db.a.b
	printf 2 | tokenctl set -i key.txt --json dots.yaml 'db["a.b"]' || lab_fail "a key with dots cannot be set"
	printf 3 | tokenctl set -i key.txt --json dots.yaml '["db"]["a"]["b"]' || lab_fail "a map beside a key with dots cannot be made"
	# A key that was left without a value, as in a file that somebody else is to fill in.
	printf 'db:\n  user:\n  pass: x # c\n' >unset.yaml
	keyed unset.yaml
	printf app | tokenctl set -i key.txt unset.yaml db.user || lab_fail "a value that is not there yet cannot be set"
	works tokenctl decrypt -i key.txt unset.yaml
	[ "$(<stdout)" = $'db:\n  user: app\n  pass: x # c' ] || lab_fail "it is set as $(<stdout)"
}

# An INI file is after encrypting and decrypting what it was, and does not grow however often it is sealed.
files_lines() {
	local text lines
	ruled
	sed -i 's/yaml/ini/' .sops.yaml
	for text in '[a]\nx=1\n\n[b]\ny=2\n' '\n[a]\nx=1\n\n\n' '[a]\nx=1\n; c\n' '[a]\r\nx=1\r\n'; do
		printf "$text" >lines.plain
		cp lines.plain lines.ini
		works tokenctl encrypt --in-place lines.ini
		lines=$(wc -l <lines.ini)
		for _ in 1 2 3; do works tokenctl rotate --data-key -i key.txt lines.ini; done
		sed -i "s/age: .*/&,$(age-keygen 2>/dev/null | sed -n 's/^# public key: //p')/" .sops.yaml
		works tokenctl updatekeys -i key.txt lines.ini
		[ "$(wc -l <lines.ini)" -ge "$lines" ] && [ "$(grep -c '^$' lines.ini)" -le $(($(grep -c '^$' lines.plain) + 1)) ] || lab_fail "the file grew: $(cat -A lines.ini)"
		works tokenctl decrypt -i key.txt lines.ini
		cmp stdout lines.plain || lab_fail "it comes back as another: $(cat -A stdout)"
		ruled
		sed -i 's/yaml/ini/' .sops.yaml
	done
	rm .sops.yaml
}

# What stands behind a value or a section in an INI file is a comment to sops: never left in the clear beside what is encrypted, be it the end of a password.
files_tails() {
	local text
	ruled
	sed -i 's/yaml/ini/' .sops.yaml
	for text in '[a]\npass = one;two\n' '[a]\npass = ;two\n' '[a]\npass = `one` # two\n' '[a] ; two\npass = one\n' 'pass = """one\n1""" ;two\n'; do
		printf "$text" >tail.ini
		refused 7 'would stay in the clear' 'mend that line of tail.ini' tokenctl encrypt --in-place tail.ini
		grep -q two tail.ini || lab_fail "tail.ini was changed"
	done
	# As the hint says, and in the same form as it was read.
	printf '; c\n[a]\npass = `one;two` \n; two\nuser = x\n' >tail.ini
	works tokenctl encrypt --in-place tail.ini
	if grep -q two tail.ini; then lab_fail "a value is in the clear"; fi
	silent 'in the clear' tokenctl verify tail.ini
	# Typed into it by somebody: said by who has no key, and the next change leads to the editor, which is no circle.
	sed -i '/^user/s/$/ #tail/' tail.ini
	says 'a.user has something in the clear behind it' tokenctl verify tail.ini
	echo y >value
	refused 7 'would stay in the clear' 'tokenctl edit tail.ini' tokenctl set -i key.txt --value-file value tail.ini a.user
	works env EDITOR="sed -i s/.#tail//" tokenctl edit -i key.txt tail.ini
	works tokenctl set -i key.txt --value-file value tail.ini a.user
	# What no rule covers may be followed by anything.
	printf '[a]\nport = 25 ; two\npass = one\n' >tail.ini
	works tokenctl encrypt --in-place --encrypted-regex pass tail.ini
	grep -q '; two' tail.ini || lab_fail "a comment is gone"
	rm .sops.yaml
}

# at_terminal STATUS TEXT COMMAND...: TEXT is typed when a value is asked for; what is shown is the file stdout.
at_terminal() {
	local status=$1 text=$2
	shift 2
	lab_expect "$status" timeout 30 python3 -B "$LAB_SOURCE/tests/interop/typed.py" --log stdout --answer 'ew value' "$text" -- "$@"
}

# What is typed is taken as what is piped is.
files_typed() {
	at_terminal 0 7 tokenctl set --json -i key.txt v.yaml port
	works tokenctl decrypt -i key.txt v.yaml
	lab_grep '^port: 7$' <stdout || lab_fail "a number that was typed is none: $(cat stdout)"
	cp v.yaml before
	at_terminal 2 7x tokenctl set --json -i key.txt v.yaml port
	lab_grep 'the value is no JSON' <stdout || lab_fail "what is no JSON: $(cat stdout)"
	at_terminal 2 '' tokenctl set -i key.txt v.yaml port
	lab_grep 'nothing was typed, and no value was changed' <stdout || lab_fail "nothing typed: $(cat stdout)"
	if grep 'at a terminal' stdout; then lab_fail "the hint sends to where one is"; fi
	unchanged v.yaml before
	at_terminal 0 7 tokenctl set -i key.txt v.yaml port
	works tokenctl decrypt -i key.txt v.yaml
	lab_grep '^port: "7"$' <stdout || lab_fail "a text that was typed is none: $(cat stdout)"
}

# What is left of a SOPS file without its metadata is nowhere told to be encrypted, and is not.
files_remains() {
	local verb
	ruled
	sed '/^sops:/,$d' whole.yaml >cut.yaml
	printf '# see sops\n' | cat - cut.yaml >note.yaml
	for name in cut note; do
		cp $name.yaml before
		refused 7 "$name.yaml holds values that SOPS encrypted, but no sops metadata" 'git log -p -S lastmodified' tokenctl encrypt --in-place $name.yaml
		unchanged $name.yaml before
		lab_expect 3 plainly tokenctl guard $name.yaml >stdout 2>stderr
		lab_grep "$name.yaml: values that SOPS encrypted are in this file, and no sops metadata" <stdout || lab_fail "guard: $(cat stdout)"
		if grep -F 'encrypt --in-place' stdout; then lab_fail "guard says to encrypt it again"; fi
		lab_expect 7 plainly tokenctl verify $name.yaml >stdout 2>stderr
		lab_grep 'values that SOPS encrypted, and no sops metadata' <stdout || lab_fail "verify: $(cat stdout)"
		if grep -F 'tokenctl encrypt' stderr; then lab_fail "verify says to encrypt it again"; fi
	done
	refused 7 'cut.yaml holds values that SOPS encrypted' 'git log -p -S lastmodified' tokenctl get -i key.txt cut.yaml db.user
	# The control: a plain file is to be encrypted, and is; so is one that quotes an abridged value.
	printf 'a: ENC[AES256_GCM,data:x,iv:x,tag:x,type:str]\n' >quoted.yaml
	for name in plain quoted; do
		cp $name.yaml again.yaml
		lab_expect 3 plainly tokenctl guard again.yaml >stdout
		lab_grep 'next: tokenctl encrypt --in-place again.yaml' <stdout || lab_fail "guard of a plain file: $(cat stdout)"
		works tokenctl encrypt --in-place again.yaml
	done
	rm .sops.yaml
}

# ---- another audit log ----

# All of the state, put back whole from a copy: nothing in it tells. What is left of this run of the machine does, without tokend and then with it, once.
part_put_back() {
	lab_tokend_stop "$work"
	cp -a state yesterday
	lab_tokend_start "$work"
	works tokenctl decrypt host.age
	lab_tokend_stop "$work"
	tokenctl audit verify --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["head"])' >head
	rm -r state
	cp -a yesterday state
	refused 7 'put back from a copy: tokend wrote more records' 'tokenctl audit show' tokenctl audit verify
	lab_tokend_start "$work"
	lab_grep "put back from a copy, since this machine was started: record $(cut -d: -f1 head) .* next: tokenctl audit verify --head $(<head) " <tokend.log ||
		lab_fail "tokend says of a log that was put back: $(tail -n 3 tokend.log)"
	lab_grep "\"operation\":\"replaced\",\"known\":$(sed 's/:/,"hash":"/' head)\"" <state/audit.log || lab_fail "the log does not say which record it lacks"
	works tokenctl audit verify
	says 'warning .* another audit log was in the place of this one' tokenctl doctor
	lab_tokend_stop "$work"
	lab_tokend_start "$work"
	lab_grep "\"operation\":\"replaced\",\"known\":$(cut -d: -f1 head),.*\"previous\"" < <(grep '"operation":"replaced"' state/audit.log | tail -n 1) || lab_fail "it is said again"
	# Killed and started again, nothing was put back.
	works tokenctl decrypt host.age
	kill -9 "$(<tokend.pid)"
	lab_tokend_stop "$work" || true
	lab_tokend_start "$work"
	lab_grep "\"operation\":\"replaced\",\"known\":$(cut -d: -f1 head),.*\"previous\"" < <(grep '"operation":"replaced"' state/audit.log | tail -n 1) || lab_fail "a crash is taken for a log that was put back"
	[ "$(stat -c '%a %u' run/audit.head)" = "600 $(id -u)" ] || lab_fail "run/audit.head is $(stat -c '%a %u' run/audit.head)"
}

part_replaced() {
	lab_start "$work"
	works tokenctl enroll --name host
	silent 'another audit log' tokenctl doctor
	# While it runs: its own log does not blame the disk, and leads to who knows.
	works tokenctl encrypt --key host -o host.age tokend.conf
	mv state/audit.log moved.log
	refused 8 'cannot be written, so nothing was released' 'tokenctl doctor' tokenctl decrypt host.age
	lab_grep 'the audit log was moved, removed or replaced' <tokend.log && lab_grep 'tokenctl doctor says why' <tokend.log || lab_fail "tokend says of a log that was moved: $(tail -n 3 tokend.log)"
	if lab_grep 'disk full' <tokend.log; then lab_fail "tokend blames the disk for a log that was moved"; fi
	# With another in its place, as logrotate has it, the disk is not all that there is to look at.
	install -m 640 /dev/null state/audit.log
	refused 8 'cannot be written, so nothing was released' 'tokenctl doctor' tokenctl decrypt host.age
	lab_expect 1 plainly tokenctl doctor >stdout 2>stderr
	lab_grep 'as logrotate does: sudo systemctl restart tokend' <stdout || lab_fail "doctor leads to the disk alone: $(cat stdout)"
	mv moved.log state/audit.log
	works tokenctl decrypt host.age
	lab_tokend_stop "$work"
	lab_tokend_start "$work"
	silent 'another audit log' tokenctl doctor # the control: an orderly start
	lab_tokend_stop "$work"
	sed -i '$d' state/audit.log
	lab_tokend_start "$work"
	says 'warning .* another audit log was in the place of this one: record [0-9]+ says' tokenctl doctor
	lab_grep "\"operation\":\"replaced\".*\"sequence\":$(sed -n 's/.*: record \([0-9]*\) says.*/\1/p' stdout)," <state/audit.log ||
		lab_fail "that is not the record: $(cat stdout)"
	# The head is kept in memory, or not at all.
	if [ "$(stat -f -c %T run)" = tmpfs ]; then part_put_back; else [ ! -e run/audit.head ] || lab_fail "a head on a disk: $(stat -f -c %T run)"; fi
	# One that is long, here for its hole.
	silent 'takes its time' tokenctl doctor
	truncate -s 300M state/audit.log
	lab_expect 1 plainly tokenctl doctor >stdout 2>stderr
	lab_grep 'the audit log is 300 MiB long' <stdout || lab_fail "doctor says nothing of a long log: $(cat stdout)"
}

# ---- SOPS files, and whom they are for ----

on_a_terminal() { timeout 60 python3 -B "$LAB_SOURCE/tests/interop/typed.py" "$@"; }

# A SOPS file says whom each entry is for. So a locked key that it is not for does not stand in the way, nobody is asked for a PIN while another key opens it, and what kept a key of ours from opening it is said.
part_recipients() {
	local backup file
	age-keygen -o backup.txt 2>/dev/null
	backup=$(age-keygen -y backup.txt)
	printf '246-810\n' >pin
	printf 'a: 1\n' >p.yaml
	lab_start "$work"
	works tokenctl enroll --name host
	works tokenctl enroll --name vault --class session --pin-file pin
	works tokenctl enroll --name sealed --kind x25519 --class session --pin-file pin
	works tokenctl encrypt --sops --recipient "$backup" --key host -o backup_host.yaml p.yaml
	works tokenctl encrypt --sops --key vault --key host -o vault_host.yaml p.yaml
	works tokenctl encrypt --sops --key sealed --recipient "$backup" --key host -o sealed_host.yaml p.yaml
	works tokenctl encrypt --sops --key sealed --key vault -o locked.yaml p.yaml
	works tokenctl encrypt --sops --recipient "$backup" -o stranger.yaml p.yaml
	works tokenctl encrypt --recipient "$backup" -o stranger.age p.yaml

	for file in backup_host vault_host sealed_host; do
		says '^a: 1$' tokenctl decrypt $file.yaml
		on_a_terminal --log said -- tokenctl decrypt $file.yaml || lab_fail "$file.yaml does not open on a terminal: $(cat said)"
		if lab_grep -i pin <said; then lab_fail "$file.yaml: a PIN is asked for that nothing needs"; fi
	done
	refused 5 'the key (sealed|vault) is locked and needs its PIN' 'tokenctl unlock (sealed|vault)' tokenctl decrypt locked.yaml
	on_a_terminal --answer 'PIN of the key sealed' 246-810 --log said -- tokenctl decrypt locked.yaml || lab_fail "locked.yaml on a terminal: $(cat said)"
	works tokenctl lock
	refused 4 'none of the keys that you may use opens stranger.yaml, which is encrypted to age1' 'tokenctl keys' tokenctl decrypt stranger.yaml
	age-keygen -o unused.txt 2>/dev/null
	refused 4 'none of the identities given opens stranger.yaml, which is encrypted to age1' 'leave -i away' tokenctl decrypt -i unused.txt stranger.yaml
	# An age file does not say it.
	refused 5 'no open key opens this; it may be for the key sealed, which is locked' 'tokenctl unlock sealed' tokenctl decrypt stranger.age

	# Of the keys that an identity file names, one that is locked is not in the way of the next; where none opens the file it is what is said.
	works tokenctl enroll --name open --kind x25519
	works tokenctl encrypt --key open -o open.age p.yaml
	for file in sealed open host; do plainly tokenctl identity $file; done >three.txt
	works tokenctl decrypt -i three.txt open.age
	refused 5 'the key sealed is locked|for the key sealed, which is locked' 'tokenctl unlock sealed' tokenctl decrypt -i three.txt stranger.age

	# What is in the way of a key of ours: the policy, and its token.
	in_force <<-RULES
		permit list admin key * user $(id -u)
		permit unwrap key sealed user $(id -u)
	RULES
	refused 4 'backup_host.yaml is encrypted to the key host, but does not open with it: the policy' 'tokenctl policy explain --key host' tokenctl decrypt backup_host.yaml
	says 'denied' tokenctl policy explain --key host
	in_force <<-RULES
		permit unwrap list admin key * user $(id -u)
	RULES
	lab_tpm_stop "$work"
	refused 6 'the token is not there' 'tokenctl tokens' tokenctl decrypt backup_host.yaml
	lab_tpm_start "$work"
	lab_wait_for 5 plainly tokenctl decrypt -o /dev/null backup_host.yaml || lab_fail "the token is back, and the key is not"
	if [ "$(id -u)" -eq 0 ]; then
		chmod 700 "$work/run"
		chmod 711 "$work"
		chmod 644 backup_host.yaml
		refused 3 'you may not use the socket of tokend' '.' setpriv --reuid=65534 --regid=65534 --clear-groups tokenctl decrypt "$work/backup_host.yaml"
	fi
	lab_stop "$work"
	refused 6 'tokend is not running' '.' tokenctl decrypt backup_host.yaml
	# Of many files the reason is said once, and the others are named.
	mkdir many
	for file in a b c; do cp backup_host.yaml many/$file.yaml; done
	lab_expect 6 plainly tokenctl decrypt -r many --check >stdout 2>stderr
	[ "$(grep -c 'tokend is not running' stderr)" = 1 ] && [ "$(grep -c '^tokenctl: many/[abc].yaml: the same$' stderr)" = 2 ] || lab_fail "three files, one reason: $(cat stderr)"
}

# The control: these can fail.
# What a unit or a program may leave closed: nothing is written into what is opened next, nor read from it, and what is lost is said.
part_closed() {
	local verb
	lab_tpm_start "$work"
	lab_config "$work" "$(lab_tpm_uri "$work")"
	# shellcheck disable=SC2016 # the words belong to the inner shell
	lab_tokend_start() { # as the lab does, but with nothing open
		mkdir -p -m 700 "$work/state" "$work/run"
		lab_spawn "$work/tokend.pid" "$work/tokend.log" bash -c 'exec "$@" <&- >&- 2>&-' bash "$LAB_BIN/tokend" --state-dir "$work/state" --runtime-dir "$work/run" --config "$work/tokend.conf"
		lab_wait_for 20 lab_tokend_ready "$work" && ! lab_is_stopped "$work/tokend.pid"
	}
	lab_tokend_start || lab_fail "tokend does not start with its descriptors closed"
	lab_use "$work"
	works tokenctl enroll --name host
	printf 'a: "1"\nb: 2\n' >c.yaml
	works tokenctl encrypt --sops --key host --in-place c.yaml
	for verb in keys status recipient 'audit show' --version 'help get' 'decrypt c.yaml' 'get c.yaml a'; do
		# shellcheck disable=SC2086
		lab_expect 1 timeout 20 tokenctl $verb 2>stderr >&-
		lab_grep 'cannot write to standard output' <stderr && lab_grep 'hint: it was closed' <stderr || lab_fail "'$verb' with its output closed: $(cat stderr)"
	done
	lab_expect 1 timeout 20 tokenctl set c.yaml a 2>stderr <&-
	lab_grep 'cannot read standard input' <stderr || lab_fail "set with its input closed: $(cat stderr)"
	printf text | timeout 20 tokenctl set c.yaml b 2>&- || lab_fail "set with its messages closed"
	timeout 20 tokenctl decrypt -o c.plain c.yaml <&- >&- 2>&- || lab_fail "decrypt -o with all closed"
	[ "$(<c.plain)" = 'a: "1"'$'\n''b: text' ] || lab_fail "a file is not what was written: $(<c.plain)"
	# A program finds what was closed as it was.
	# shellcheck disable=SC2016
	timeout 20 tokenctl run -f c.yaml -- bash -c 'echo "$a $b" >ran; [ -e /proc/$$/fd/0 ] || [ -e /proc/$$/fd/1 ] || echo closed >>ran' <&- >&- || lab_fail "run with its descriptors closed"
	[ "$(<ran)" = '1 text'$'\n''closed' ] || lab_fail "the program found $(<ran)"
	works tokenctl audit verify
	# A log that somebody moved away is no full disk; put back it goes on.
	mv state/audit.log state/moved.log
	refused 8 'cannot be written, so nothing was released' 'tokenctl doctor' tokenctl get c.yaml a
	lab_expect 1 timeout 20 tokenctl doctor >stdout 2>stderr
	lab_grep 'audit.log was moved or removed' <stdout && lab_grep 'put it back, or sudo systemctl restart tokend' <stdout || lab_fail "doctor says of a log that was moved: $(cat stdout)"
	mv state/moved.log state/audit.log
	works tokenctl get c.yaml a
	# What is encrypted already is said to be that in binary files, too.
	head -c 100 /dev/urandom >e.bin
	works tokenctl encrypt --sops --key host --in-place e.bin
	refused 7 'e.bin: it has metadata of sops already' 'tokenctl edit e.bin' tokenctl encrypt --sops --key host --in-place e.bin
}

part_control() {
	must_fail says y echo x
	must_fail silent x echo x
	must_fail says x bash -c 'echo x; exit 1'
	says x echo x
	silent y echo x
}

parts=(control policy denied token words where sops recipients files replaced closed)
begin
[[ " ${parts[*]} " == *" ${1:-} "* ]] || lab_fail "one part: ${parts[*]}"
"part_$1"
echo "newcomer, $1: each hint leads on"
