#!/bin/bash
# What --help and tokenctl(1) say of a verb: the same options, the same examples, and each example works when it is typed, in a directory that has the files it speaks of.
# So do the commands of docs/SOPS.md, each by itself. What stands for something else is filled in: age1..., a user of this machine, places outside of the directory, and a PIN's terminal (a file has the PIN).
# Programs that an example starts (nginx, kubectl, an editor) are small ones that look at what they are given.
# shellcheck source=refusals.sh
. "$(dirname "$0")/refusals.sh"
sops=$(lab_peer sops-3.13.3) || lab_skip "$sops"
lab_need git age age-keygen openssl

# documented MAN: the lines "VERB|EXAMPLE" of every verb's --help; complains, and ends with 1, where the man page has other options or examples for it.
documented() {
	python3 - "$1" <<'PYTHON'
import re
import subprocess
import sys


def help_of(*words):
    return subprocess.run(["tokenctl", *words, "--help"], capture_output=True, text=True, check=True).stdout


def plain(line):
    return line.replace("\\e", "\\").replace("\\(aq", "'").replace("\\(ti", "~").replace("\\-", "-").replace("\\&", "")


sections, name = {}, ""
for line in open(sys.argv[1], encoding="utf-8").read().splitlines():
    if line.startswith((".Ss ", ".Sh ")):
        name = line[4:].strip('"')
    sections.setdefault(name, []).append(line)
problems = []
verbs = re.findall(r"^  (\S+(?: \S+)?)  ", help_of().split("verbs:")[1].split("\n\n")[0], re.MULTILINE)
for verb in verbs:
    text, section = help_of(*verb.split()), sections.get(verb, [])
    options = set(re.findall(r"^ +(?:-\w, )?--([a-z-]+)", text.split("example:")[0], re.MULTILINE)) - {"help"}
    named = {option for line in section if line.startswith(".It ") for option in re.findall(r"Fl -([a-z-]+)", line)}
    examples = [line.strip() for line in text.partition("example:\n")[2].splitlines() if line.strip()]
    shown = [plain(line[2:]) for line in section if line.startswith("$ ")]
    if not examples:
        problems.append(f"{verb}: --help has no example")
    problems += [f"{verb}: --{option} is in --help or in the man page alone" for option in sorted(options ^ (named - {"help"}))]
    problems += [f"{verb}: the example is in --help or in the man page alone: {line}" for line in sorted(set(examples) ^ set(shown))]
    for line in examples:
        print(f"{verb}|{line}")
print("\n".join(problems), file=sys.stderr, end="")
sys.exit(bool(problems))
PYTHON
}

program() { # NAME: standard input is what it does
	{ echo '#!/bin/sh -e'; cat; } >"programs/$1"
	chmod +x "programs/$1"
}

programs() {
	mkdir programs && ln -s "$sops" programs/sops
	program sudo <<<'[ "$*" = "systemctl reload tokend" ]'
	program pwgen <<<'echo "a-password-of-$1"'
	program nginx <<<'grep -q "PRIVATE KEY" "$TLS_KEY"'
	program kubectl <<<'[ "$1 $3 $4" = "--kubeconfig get pods" ] && grep -q secret "$2"'
	program jq <<<'[ "$1" = .db ] && grep -q pass "$2"'
	program code <<<'[ "$1" = --wait ] && grep -q pass: "$2"'
	export PATH=$PWD/programs:$PATH EDITOR=true VISUAL='' SOPS_EDITOR=''
}

# prepared: the directory that the examples speak of, for keys that are there.
prepared() {
	local own file
	mkdir -p prepared/deploy/secrets prepared/secrets
	cd prepared
	age-keygen -o keys.txt 2>/dev/null
	cp keys.txt key.txt
	own=$(age-keygen -y keys.txt)
	printf 'creation_rules:\n  - path_regex: (secrets|enc|env)\n    age: %s,%s\n' "$own" "$(tokenctl recipient host)" >.sops.yaml
	printf 'db:\n    pass: secret\n    old_pass: old\n    port: 1\n    hosts: [a, b]\ntls:\n    key: "-----BEGIN PRIVATE KEY-----"\n' >plain.yaml
	for file in secrets.enc.yaml secrets.yaml secrets/one.yaml db.enc.yaml tls.enc.yaml; do
		cp plain.yaml "$file"
		tokenctl encrypt --in-place "$file"
	done
	printf '{"db": {"pass": "secret"}}\n' >secrets.enc.json && tokenctl encrypt --in-place secrets.enc.json
	printf 'NAME=secret\n' | tee .env >.env.encrypted && tokenctl encrypt --in-place --input-type dotenv .env.encrypted
	echo secret >secret.txt
	openssl genpkey -algorithm ed25519 >key.pem
	for file in secret.age kubeconfig.age deploy/secrets/file.age; do age -r "$own" -r "$(tokenctl recipient host)" -o "$file" secret.txt; done
	printf '#!/bin/sh\n[ "$db_pass" = secret ]\n' >server && chmod +x server
	git init -q -b main . && git config user.email alice@example.org && git config user.name Alice
	git add .sops.yaml && git commit -q -m begun && git update-ref refs/remotes/origin/main HEAD
	cd ..
}

# filled VERB LINE: the line with what it leaves open.
filled() {
	local line=$2
	line=${line//\/run\/secrets/out}
	line=${line//\/mnt\/elsewhere\/head/$work/head}
	line=${line//--user deploy/--user root}
	line=${line//age1.../$(age-keygen -y "$work/keys.txt")}
	line=${line//age1tag1.../$( [ ! -d prepared ] || tokenctl recipient host)}
	case $line in *'--class session'* | 'tokenctl unlock'*) line="$line --pin-file $work/pin" ;; esac
	# These two are about files in the clear.
	case $line in *'encrypt '*'secrets.yaml'* | 'sops -e '*) line="cp plain.yaml secrets.yaml; $line" ;; esac
	printf '%s\n' "$line"
}

# typed VERB LINE: in a directory of its own.
typed() {
	rm -rf here
	[ ! -d prepared ] && mkdir here || cp -a prepared here
	filled "$1" "$2" >line
	[ "$1" != 'audit verify' ] || tokenctl audit verify --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["head"])' >head
	(cd here && plainly bash -e -o pipefail "$work/line") >said 2>&1
}

begin
programs
export GIT_CONFIG_NOSYSTEM=1
unset SOPS_CONFIG GIT_DIR GIT_INDEX_FILE
lab_start "$work"
printf '1234-pin\n' >pin
mkdir -p "$HOME/.config/sops/age"
age-keygen -o keys.txt 2>/dev/null
cp keys.txt "$HOME/.config/sops/age/keys.txt"

man=$LAB_SOURCE/docs/man/tokenctl.1
documented "$man" >examples 2>problems || lab_fail "--help and tokenctl(1) differ: $(cat problems)"
[ "$(wc -l <examples)" -ge 50 ] || lab_fail "only $(wc -l <examples) examples"
failed=0
while IFS='|' read -r verb line; do
	if [ "$verb" != enroll ] && [ ! -d prepared ]; then prepared; fi
	typed "$verb" "$line" && continue
	echo "the example of '$verb' does not work: $(cat line): $(cat said)"
	failed=$((failed + 1))
done <examples
# Commands stand there four columns in, or in a block of sops' own.
sed -nE 's/^    ((tokenctl|pwgen) .*)/\1/p; /^```$/,/^```$/{ /^sops -/p }' "$LAB_SOURCE/docs/SOPS.md" >commands
[ "$(wc -l <commands)" -ge 20 ] || lab_fail "docs/SOPS.md has only these commands: $(cat commands)"
export SOPS_KEYSERVICE=unix://$TOKEND_RUNTIME_DIR/sops.sock
while IFS= read -r line; do
	typed docs "$line" && continue
	echo "docs/SOPS.md says to type '$line', which does not work: $(cat line): $(cat said)"
	failed=$((failed + 1))
done <commands
[ "$failed" -eq 0 ] || lab_fail "$failed of $(cat examples commands | wc -l) do not work"

# The controls: an example that is wrong fails, and an option or an example that one of the two does not have is named.
[ "$(wc -c <head)" -ge 60 ] || lab_fail "audit verify --json names no head: $(cat head)"
if typed get 'tokenctl get secrets.enc.yaml db.passs'; then lab_fail "negative control: a wrong example works"; fi
sed '/^\.It Fl -clean-env/d; s/^\$ tokenctl lock$/$ tokenctl lokc/' "$man" >wrong.1
if documented wrong.1 >/dev/null 2>problems; then lab_fail "negative control: a man page without an option passes"; fi
lab_grep 'run: --clean-env' <problems || lab_fail "negative control: $(cat problems)"
lab_grep 'lock: .*tokenctl lokc' <problems || lab_fail "negative control: $(cat problems)"
echo "$(wc -l <examples) examples and $(wc -l <commands) commands of docs/SOPS.md work"
