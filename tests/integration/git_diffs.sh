#!/bin/bash
# What a diff shows of SOPS files that are not for a terminal: of a binary file its length and a fingerprint that only the data key makes, of a text with what a terminal would obey the text without that, and the fingerprint.
# shellcheck source=git_common.sh
. "$(dirname "$0")/git_common.sh"
git init -q -b main repository
cd repository
tokenctl git --install '*.enc' '*.env' >/dev/null

make() { # NAME TYPE: of standard input
	tokenctl encrypt --sops --key host --input-type "$2" -o "$1" -
}
# The diff without colours and context; what a terminal would obey is in none.
difference() {
	git diff -U0 "$@" >"$said"
	if LC_ALL=C grep -q '[^[:print:][:space:]]' "$said"; then lab_fail "control characters are in the diff: $(cat -v "$said")"; fi
}
fingerprint() { sed -n "s/^$1# not shown as it is: $2 bytes, fingerprint under the data key \([0-9a-f]\{32\}\)$/\1/p" "$said"; }
edited() { # FILE COMMAND: its plain text is what COMMAND writes
	printf '#!/bin/sh\n%s >"$1"\n' "$2" >"$work/editor"
	chmod +x "$work/editor"
	EDITOR=$work/editor tokenctl edit "$1" >/dev/null 2>&1 || lab_fail "$1 was not changed"
}

# ---- binary files ----

printf 'a\033]0;title\007\000\377b' | make key.enc binary
printf 'line 1\nline 2\n' | make text.enc binary
git add -A
git commit -qm first
edited key.enc "printf 'a\\033]0;title\\007\\000\\377c'"
difference
before=$(fingerprint - 14) after=$(fingerprint + 14)
if [ -z "$before" ] || [ -z "$after" ] || [ "$before" = "$after" ]; then lab_fail "the diff of a binary file: $(cat -v "$said")"; fi
[ "$(grep -c '^[-+]' "$said")" = 4 ] || lab_fail "the diff has more than the fingerprints: $(cat -v "$said")"
# Who knows what it might be finds it by no hash of that: not by SHA-256, and not under another data key.
sum=$(printf 'a\033]0;title\007\000\377c' | sha256sum)
if grep -q "${sum:0:16}" "$said"; then lab_fail 'the fingerprint is a hash that anybody can try'; fi
git commit -qam second
rm key.enc
printf 'a\033]0;title\007\000\377c' | make key.enc binary
difference
[ "$(fingerprint - 14)" = "$after" ] || lab_fail "the same content has another fingerprint under one data key: $(cat -v "$said")"
if [ "$(fingerprint + 14)" = "$after" ]; then lab_fail 'the fingerprint is the same under another data key'; fi
git checkout -q key.enc
# Control: as it was written, it has what a terminal obeys.
tokenctl decrypt -o - key.enc | LC_ALL=C grep -q '[^[:print:][:space:]]' || lab_fail 'control: there is nothing that a terminal obeys'
# What is text is shown as text.
edited text.enc "printf 'line 1\\nline 3\\n'"
difference text.enc
grep -qx -- '-line 2' "$said" && grep -qx -- '+line 3' "$said" || lab_fail "the diff of a text: $(cat -v "$said")"
if grep -q fingerprint "$said"; then lab_fail "a text has a fingerprint: $(cat -v "$said")"; fi

# ---- a text with something in it that a terminal obeys ----

printf 'A=1\nB=x\033[2Jy\n' | make v.env dotenv
git add -A
git commit -qm third
edited v.env "printf 'A=2\\nB=x\\033[3Jy\\n'"
difference v.env
grep -qx -- '+A=2' "$said" || lab_fail "the value is not shown: $(cat -v "$said")"
grep -q -- '+B=x?\[3Jy' "$said" || lab_fail "the other value is not shown: $(cat -v "$said")"
[ "$(fingerprint - 13)" != "$(fingerprint + 13)" ] || lab_fail "no fingerprint: $(cat -v "$said")"
git commit -qam fourth
# A change that cannot be seen is seen by the fingerprint.
edited v.env "printf 'A=2\\nB=x\\001[3Jy\\n'"
difference v.env
[ "$(grep -c '^[-+]#' "$said")" = 2 ] || lab_fail "a change is hidden: $(cat -v "$said")"

# ---- what git keeps ----

# With cachetextconv git puts what it is shown among its objects, from where a push may take it. Then it is shown the file as it is; another program's driver may have that, and one that is put off again counts no more.
kept() { git cat-file --batch-all-objects --batch-check='%(objectname)' | git cat-file --batch | lab_grep -ax 'A=[12]'; }
git commit -qam 'for the next'
edited v.env "printf 'A=2\\nB=z\\n'"
git config --global diff.tokend.cachetextconv true
git config diff.other.cachetextconv true
git config diff.other.textconv 'sed s/^B=/A=/'
difference v.env 2>"$work/stderr"
grep -q '^+B=ENC' "$said" || lab_fail "it is shown in the clear, and kept: $(cat -v "$said")"
grep -qF 'hint: git config diff.tokend.cachetextconv false && git update-ref -d refs/notes/textconv/tokend && git gc' "$work/stderr" || lab_fail "how it ends is not said: $(cat "$work/stderr")"
if kept; then lab_fail 'the plain text is among the objects'; fi
# Control: another driver's words are kept, and these would be.
printf '*.other diff=other\n' >>.gitattributes
printf 'B=1\n' >x.other
git add x.other
git commit -qm other
printf 'B=2\n' >x.other
git add x.other
git commit -qm again
git log -p -1 >/dev/null
kept || lab_fail 'control: git keeps nothing'
git config diff.tokend.cachetextconv false
git update-ref -d refs/notes/textconv/tokend
difference v.env
grep -qx -- '+B=z' "$said" || lab_fail "it is not shown again: $(cat -v "$said")"
git config --global --unset diff.tokend.cachetextconv

# ---- what is too large for a SOPS file ----

# Somebody's .gitattributes names it so: it is shown as it is, for a diff that fails hides all that comes behind it.
git commit -qam fifth
truncate -s 65M a.enc
git add a.enc
git commit -qm sixth
printf 'x' >>a.enc
edited v.env "printf 'A=3\\n'"
git diff -U0 >large 2>"$said" || lab_fail "the diff ended with $?: $(<"$said")"
lab_grep 'too large for a SOPS file' <"$said" || lab_fail "the reason is not said: $(<"$said")"
grep -aqx -- '+A=3' large || lab_fail "what comes behind a large file is not in the diff"
lab_tokend_stop "$work"
