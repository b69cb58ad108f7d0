# shellcheck shell=bash
# What the tests of acceptance and of bad input share; sourced. It gives them: a lab in $work, programs without a terminal and with a deadline, and the
# one form of every refusal.
set -euo pipefail
# shellcheck source=../lab/lab.sh
. "${TOKEND_SOURCE_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}/tests/lab/lab.sh"
LAB_LIFE=300

# begin: $work is a lab directory and the working directory; no file of whoever runs the test is used. Everything goes at the end.
begin() {
	lab_need swtpm python3 age age-keygen timeout setsid
	work=$(lab_directory)
	trap 'ending' EXIT
	export HOME=$work/home XDG_CONFIG_HOME=$work/home/.config TMPDIR=$work/tmp LC_ALL=C
	mkdir -p "$HOME" "$TMPDIR"
	cd "$work"
}

ending() {
	local status=$?
	trap - EXIT
	cd /
	if [ "$status" -ne 0 ] && [ "$status" -ne 77 ]; then
		echo "--- last words of tokend:" >&2
		tail -n 15 "$work/tokend.log" >&2 || true
	fi
	if declare -F before_removal >/dev/null; then
		before_removal || true
	fi
	lab_remove "$work"
	exit "$status"
}

# plainly COMMAND...: with a deadline, nothing to read, and no terminal to ask on.
plainly() { setsid --wait timeout --kill-after=5 "${DEADLINE:-20}" "$@" </dev/null; }

# works COMMAND...: ends with 0; its standard output is the file stdout.
works() {
	plainly "$@" >stdout 2>stderr || lab_fail "'$*' ended with $?: $(cat stderr)"
}

# says WORDS COMMAND...: it works and says WORDS, on either output.
says() {
	local words=$1
	shift
	works "$@"
	cat stdout stderr | lab_grep -E -- "$words" || lab_fail "'$*' does not say '$words' but: $(cat stdout stderr)"
}

# opens FILE PLAIN: tokenctl decrypt gives exactly PLAIN.
opens() {
	works tokenctl decrypt "$1"
	cmp stdout "$2" || lab_fail "$1 opens as something else than $2"
}

# opens_in_the_end FILE PLAIN [WHERE]: as opens, but a release that a busy machine kept from the log in time is asked for again, for tests of something else.
opens_in_the_end() {
	local try where=${3:+$3: }
	for try in 1 2 3 4; do
		if plainly tokenctl decrypt "$1" >stdout 2>stderr; then break; fi
		[ "$try" -lt 4 ] && grep -q 'audit log' stderr || lab_fail "$where$1 does not open: $(cat stderr)"
		sleep 0.2
	done
	cmp stdout "$2" || lab_fail "$where$1 opens as something else than $2"
}

# sentence NEXT: the file stderr is one sentence for people, and the next command where NEXT is a regular expression ("": none is asked for). Prints what is
# wrong with it.
sentence() {
	local line sentences=0 said='' next='' hints=0 hint='^(hint|tokend: next): ' program='^(tokenctl|tokend|age-plugin-tokend): .'
	local programmers='0x[0-9a-fA-F]|errno|\(null\)|TPM2?_RC|ESYS|Esys_|tss2|%[a-z]' several='[.:! ]$|[.!] [A-Z]'
	while IFS= read -r line; do
		if [[ $line =~ $hint ]]; then
			hints=$((hints + 1))
			next=$line
		else
			sentences=$((sentences + 1))
			said=$line
		fi
	done <stderr
	[ "$sentences" -eq 1 ] || { echo "$sentences lines besides the hint"; return 1; }
	[ "$hints" -eq 1 ] || { echo "$hints hints where one is due"; return 1; }
	[[ $said =~ $program ]] || { echo "it does not begin with the program's name"; return 1; }
	if [[ $said$next =~ $programmers ]]; then
		echo "words for programmers"
		return 1
	fi
	if [[ $said =~ $several ]]; then
		echo "not one sentence without a full stop"
		return 1
	fi
	[[ -z $1 || $next =~ $1 ]] || { echo "the next command is not '$1'"; return 1; }
}

# refused STATUS WORDS NEXT COMMAND...: it ends with STATUS (or one of "4|7"), says one sentence with WORDS and the next command NEXT (regular
# expressions), prints nothing, and leaves the file "out" as it was. Ends the test when it does not.
refused() {
	local expected=$1 words=$2 next=$3 status=0 problem
	shift 3
	rm -f out.before
	[ ! -e out ] || cp out out.before
	plainly "$@" >stdout 2>stderr || status=$?
	[[ "|$expected|" == *"|$status|"* ]] || lab_fail "'$*' ended with $status where $expected was expected: $(<stderr)"
	[[ $(<stderr) =~ $words ]] || lab_fail "'$*' does not say '$words' but: $(<stderr)"
	problem=$(sentence "$next") || lab_fail "'$*': $problem: $(<stderr)"
	echo "$status: $*: $(paste -sd '|' stderr)"
	[ ! -s stdout ] || lab_fail "'$*' was refused and wrote to stdout: $(head -c 300 stdout)"
	if [ -e out.before ]; then
		cmp -s out out.before || lab_fail "'$*' was refused and changed the old output file"
	else
		[ ! -e out ] || lab_fail "'$*' was refused and left an output file"
	fi
	[ -z "$(compgen -G '.tokenctl-*')" ] || lab_fail "'$*' left a temporary file"
}

# The negative control: what the helpers must not let pass, each in a shell of its own.
refusals_can_fail() {
	local words
	complains() { printf '%b' "$1" >&2; return "$2"; }
	export -f complains
	must_fail refused 0 'x' '' true
	for words in 'no such thing' 'tokenctl: a\ntokenctl: b\n' 'tokenctl: it is 0x922\n' 'tokenctl: errno 5\n' 'tokenctl: a sentence.\n' \
		'tokenctl: One thing. And another\n' 'tokenctl: a: \n' 'tokenctl: a\nhint: x\nhint: y\n'; do
		must_fail refused 3 '' '' bash -c 'complains "$1" 3' bash "$words"
	done
	must_fail refused 3 'words' '' bash -c 'complains "tokenctl: other\n" 3'
	must_fail refused 3 'words' '' bash -c 'complains "tokenctl: words\n" 4'
	must_fail refused 3 'words' 'tokenctl keys' bash -c 'complains "tokenctl: words\n" 3'
	must_fail refused 3 'words' 'tokenctl keys' bash -c 'complains "tokenctl: words\nhint: tokenctl kez\n" 3'
	must_fail refused 3 'words' '' bash -c 'echo leak; complains "tokenctl: words\n" 3'
	must_fail refused 3 'words' '' bash -c 'echo leak >out; complains "tokenctl: words\n" 3'
	rm -f out
	echo kept >out
	must_fail refused 3 'words' '' bash -c 'rm out; complains "tokenctl: words\n" 3'
	echo kept >out
	must_fail refused 3 'words' '' bash -c 'echo new >out; complains "tokenctl: words\n" 3'
	must_fail refused 3 '' '' sleep 30
	echo kept >out
	refused '2|3' 'words' 'tokenctl keys' bash -c 'complains "tokenctl: words\nhint: tokenctl keys\n" 3'
	must_fail works false
	must_fail opens /dev/null out
	rm -f out stdout stderr
}

must_fail() {
	if (trap - EXIT; DEADLINE=1; "$@") >/dev/null 2>&1; then
		lab_fail "negative control: '$*' passes"
	fi
}

# audit_whole: nothing in the log was lost or changed.
audit_whole() { works tokenctl audit verify; }

# until_opens FILE PLAIN: within 15 seconds.
opens_quietly() { plainly tokenctl decrypt "$1" 2>stderr >stdout && cmp -s stdout "$2"; }
until_opens() { lab_wait_for 15 opens_quietly "$1" "$2" || lab_fail "$1 does not open again: $(cat stderr)"; }
