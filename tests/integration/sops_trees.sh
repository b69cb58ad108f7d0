#!/bin/bash
# tokenctl decrypt -r over whole trees, and what an edit leaves, with an identity file and no daemon. usage: sops_trees.sh places|remains|edits|rotates|swapped|links|growth
#   places    two files of which one output has the name: neither is written, both are named
#   remains   what is meant to be encrypted and cannot be opened any more: --check names it
#   edits     nothing of an edit stays in the file system that is memory, whatever the editor makes there, and whatever ends tokenctl
#   rotates   who gets a new data key is said, and whom no rule names; a change says when the rule has changed meanwhile
#   swapped   what somebody else puts in the place of a directory or a file that updatekeys -r has listed is neither read nor written
#   links     rules are not for what a link beside them leads to elsewhere; in place of a link, or of a file with other names, nothing is encrypted
#   growth    files that are made to take long: four times as much takes about four times as long
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
directory=$(lab_directory)
trap 'lab_remove "$directory"' EXIT
cd "$directory"
PATH=$LAB_BIN:$PATH
export TOKEND_RUNTIME_DIR=$directory/none
lab_need age-keygen
age-keygen -o key.txt 2>/dev/null
recipient=$(age-keygen -y key.txt)
mkdir tree

# ends STATUS COMMAND...: what it says is in the file said.
ends() {
	local expected=$1 status=0
	shift
	"$@" >said 2>&1 || status=$?
	[ "$status" -eq "$expected" ] || lab_fail "'$*' ended with $status where $expected was expected: $(<said)"
}
seal() { tokenctl encrypt --sops -r "$recipient" -o "$2" "$1"; }
close() { tokenctl encrypt -r "$recipient" -o "$2" "$1"; }
named() { grep -q "^tokenctl: tree/$1 .*$2" said || lab_fail "tree/$1 is not named with '$2': $(<said)"; }

places() {
	printf 'which: sops\n' >plain.yaml
	printf 'which: age\n' >plain.txt
	# Of the second the first 64 kB are not encrypted.
	{ for i in $(seq 3000); do echo "clear_${i}_unencrypted: something legible"; done; echo 'which: long'; } >long.yaml
	seal plain.yaml tree/a.yaml
	seal long.yaml tree/long.yaml
	# Alone each goes to its place (and whoever finds nothing to refuse below has something to write).
	close plain.txt tree/b.yaml.age
	ends 0 tokenctl decrypt -r -i key.txt tree --output-dir out
	cmp plain.yaml out/a.yaml && cmp plain.txt out/b.yaml && cmp long.yaml out/long.yaml
	rm -r out
	# One beside each: none of these is there, the others are, also where several processes work.
	for name in a.yaml long.yaml; do close plain.txt "tree/$name.age"; done
	for few in yes no; do
		ends 2 tokenctl decrypt -r -i key.txt tree --output-dir out
		for name in a.yaml long.yaml; do
			named "$name" "$name.age beside it would be written to the same file"
			named "$name.age" "$name beside it would be written to the same file"
			[ ! -e "out/$name" ] || lab_fail "$name was written: $(head -c 100 "out/$name")"
		done
		cmp plain.txt out/b.yaml || lab_fail "one that has its place to itself is not there"
		[ -z "$(find out -name '.tokenctl*')" ] || lab_fail "a temporary file is left"
		rm -r out
		[ "$few" = yes ] && for i in $(seq 20); do cp tree/b.yaml.age "tree/more$i.age"; done
	done
	rm tree/*
	# A name that a shell would run: the command that is to be typed has it as a name.
	close plain.txt 'tree/x$(touch ran)'
	close plain.txt 'tree/x$(touch ran).age'
	ends 2 tokenctl decrypt -r -i key.txt tree --output-dir out
	typed=$(sed -n 's/^hint: give one .* take it alone: //p' said | head -n 1)
	eval "${typed/ -o FILE/ -i key.txt -o alone}" && cmp plain.txt alone || lab_fail "what it says to type does not open it: $typed"
	[ ! -e ran ] || lab_fail "what it says to type runs the name of a file: $typed"
	rm tree/*
	# What only looks as if: one that is not encrypted has no output; a.age.age becomes a.age, and a.age becomes a.
	close plain.txt tree/c.yaml.age
	echo 'which: clear' >tree/c.yaml
	close plain.txt tree/d.age
	close plain.yaml tree/d.age.age
	ends 0 tokenctl decrypt -r -i key.txt tree --output-dir out
	cmp plain.txt out/c.yaml && cmp plain.txt out/d && cmp plain.yaml out/d.age
	# A file and a directory of one name: one is there, the other is named.
	rm -r out tree/*
	mkdir tree/e
	close plain.txt tree/e.age
	close plain.txt tree/e/f.age
	ends 2 tokenctl decrypt -r -i key.txt tree --output-dir out
	grep -q '^tokenctl: 1 of 2 encrypted files failed' said || lab_fail "it says $(<said)"
	# The tree itself: what is not encrypted in it would be lost.
	echo 'which: clear' >tree/e.clear
	close plain.txt tree/e.clear.age
	ends 2 tokenctl decrypt -r -i key.txt tree --output-dir tree
	grep -q 'its own files would be written over' said || lab_fail "it says $(<said)"
	[ "$(<tree/e.clear)" = 'which: clear' ] || lab_fail "it wrote over a file of the tree"
}

remains() {
	printf 'user: one\npassword: two\n' >plain.yaml
	printf '{"user": "one"}\n' >plain.json
	printf 'USER=one\n' >plain.env
	for kind in yaml json env; do seal "plain.$kind" "whole.$kind"; done
	# What is not meant to be encrypted is passed over: values as a manual shows them, binary files, also with the name of a text.
	printf 'such as ENC[AES256_GCM,data:...,iv:...,tag:...,type:str]\n' >tree/read.me
	head -c 20000 /dev/zero >tree/zeros.yaml
	head -c 20000 /dev/urandom >tree/random
	: >tree/empty
	ends 2 tokenctl decrypt -r -i key.txt tree --check
	grep -q 'there is no age file and no SOPS file' said || lab_fail "it says $(<said)"
	cp whole.* tree
	ends 0 tokenctl decrypt -r -i key.txt tree --check
	grep -q '^3 files are right, 4 that are not encrypted and 0 links passed over' said || lab_fail "it says $(<said)"
	# The metadata is gone.
	sed '/^sops:/,$d' whole.yaml >tree/cut.yaml
	{ for i in $(seq 500); do echo "clear_$i: something legible"; done; cat tree/cut.yaml; } >tree/cut-late
	grep -v '^sops_' whole.env >tree/cut.env
	# Text no more, from the beginning on or later.
	{ printf '\0'; cat whole.yaml; } >tree/nul.yaml
	{ printf '\0'; cat whole.json; } >tree/nul
	{ head -c 8192 /dev/zero; cat whole.env; } >tree/nul.env
	{ cat whole.yaml; printf '\0'; } >tree/nul-last.yaml
	# An age file by its name.
	head -c 300 /dev/urandom >tree/damaged.age
	: >tree/lost.age
	ends 7 tokenctl decrypt -r -i key.txt tree --check
	for name in cut.yaml cut-late cut.env; do named "$name" 'holds values that SOPS encrypted, but no sops metadata'; done
	for name in nul.yaml nul nul-last.yaml; do grep -q "^tokenctl: tree/$name: .*NUL byte" said || lab_fail "$name is not named: $(<said)"; done
	grep -q '^tokenctl: tree/nul.env: line 1: ' said || lab_fail "nul.env is not named: $(<said)"
	named damaged.age 'is not an age file'
	named lost.age 'is empty'
	grep -q '^tokenctl: 9 of 12 encrypted files failed' said || lab_fail "it says $(<said)"
	# And when they are not only looked at: what opens is there, and the exit code says that not all is.
	ends 7 tokenctl decrypt -r -i key.txt tree --output-dir out
	[ "$(find out -type f | wc -l)" -eq 3 ] || lab_fail "it wrote $(find out)"
	ends 7 tokenctl decrypt -i key.txt tree/cut.yaml
	grep -q 'no sops metadata' said || lab_fail "it says $(<said)"
}

# wait_for WHAT COMMAND...: until it is so.
wait_for() {
	local what=$1
	shift
	for _ in $(seq 120); do
		"$@" && return
		sleep 0.1
	done
	lab_fail "in vain waited for $what"
}
# By the name that it has while it is removed, too.
is_gone() { [ ! -e "$1" ] && [ ! -e "$1.removed" ]; }

edits() {
	[ -d /dev/shm ] && [ -w /dev/shm ] || lab_skip "there is no /dev/shm"
	unset XDG_RUNTIME_DIR SOPS_EDITOR VISUAL
	printf 'pass: one\n' >plain.yaml
	seal plain.yaml sealed.yaml
	mkdir precious
	echo 'not of an edit' >precious/file
	# What editors make beside a file: directories for backups and undo, deep ones, one that is shut, links to elsewhere; many of one name.
	cat >editor <<-SH
		#!/bin/bash
		place=\$(dirname "\$1")
		echo "\$place" >"$directory/where"
		cd "\$place"
		mkdir -p .undo .backup/a/a/a .backup/b/a .removed-0 "\$(printf 'd/%.0s' {1..300})"
		cp "\$1" .undo/%copy
		cp "\$1" .backup/a/a/a/copy
		cp "\$1" .backup/b/a/copy
		cp "\$1" .removed-0/copy
		cp "\$1" .swap
		ln -s "$directory/precious" link
		ln -s "$directory/precious" .backup/link
		ln -s "$directory/precious/file" .undo/link
		mkdir shut && cp "\$1" shut && chmod 000 shut
		find . -type f | wc -l >"$directory/left"
		eval "\$THEN"
	SH
	chmod +x editor
	export EDITOR=$directory/editor
	THEN="sed -i s/one/two/ sealed.yaml" tokenctl edit -i key.txt sealed.yaml
	[ "$(tokenctl decrypt -i key.txt sealed.yaml)" = 'pass: two' ] || lab_fail "the edit did not arrive"
	[ "$(<left)" -ge 6 ] || lab_fail "the editor left nothing: $(<left)"
	is_gone "$(<where)" || lab_fail "it left $(find "$(<where)" | head)"
	[ "$(<precious/file)" = 'not of an edit' ] || lab_fail "it followed a link"
	# An editor that fails, and did not change anything.
	ends 1 env THEN="exit 3" tokenctl edit -i key.txt sealed.yaml
	is_gone "$(<where)" || lab_fail "after a failed editor $(<where) is there"
	# What was typed and cannot be sealed stays until it is resumed, and then all of it goes.
	ends 7 env THEN="sed -i s/two/[/ sealed.yaml" setsid -w tokenctl edit -i key.txt sealed.yaml
	kept=$(sed -n 's/.*--resume \(\S*\) .*/\1/p' said)
	[ "$(<"$kept")" = 'pass: [' ] || lab_fail "what was typed is lost: $(<said)"
	first=$(<where)
	THEN="sed -i 's/\[/three/' sealed.yaml" tokenctl edit -i key.txt --resume "$kept" sealed.yaml
	is_gone "$first" && is_gone "$(<where)" || lab_fail "what was resumed is still there"
	# Ended by a signal while the editor is open. (With something typed, SIGTERM and SIGHUP keep it: see edit.sh.)
	end_it() {
		if [ "$1" = group ]; then # all at once, as timeout -s KILL and a shell that is closed do it
			kill -KILL -- "-$(<pid)" 2>/dev/null || true
		else
			kill "-$1" "$(<pid)" 2>/dev/null || true
		fi
		is_gone "$(<where)"
	}
	for signal in TERM HUP KILL group; do
		rm -f where ready go
		THEN="echo \$\$ >$directory/editor.pid; touch $directory/ready; for n in {1..600}; do [ ! -e $directory/go ] || break; sleep 0.05; done" \
			setsid bash -c 'echo $$ >pid; exec "$@"' - tokenctl edit -i key.txt sealed.yaml >said 2>&1 &
		job=$!
		wait_for "the editor" [ -e ready ]
		find "$(<where)" -type f | grep -q . || lab_fail "control: nothing was there to be removed"
		wait_for "$(<where) to go after SIG$signal" end_it "$signal"
		wait "$job" 2>/dev/null || true
		touch go
		wait_for "the editor to end" lab_is_stopped editor.pid
	done
	# An editor that outlives tokenctl and goes on writing, by the name of the file and from inside of the directory: nothing is there when it is over.
	for place in '"$1"' ./sealed.yaml; do
		rm -f where ready
		THEN="touch $directory/ready; for n in {1..20000}; do echo text >$place.\$n; done 2>/dev/null; touch $directory/over" \
			setsid bash -c 'echo $$ >pid; exec "$@"' - tokenctl edit -i key.txt sealed.yaml >said 2>&1 &
		job=$!
		wait_for "the editor" [ -e ready ]
		sleep 0.05
		[ -e "$(<where)/sealed.yaml.1" ] || lab_fail "control: the editor writes nothing"
		kill -KILL "$(<pid)"
		wait_for "the editor to end" [ -e over ]
		wait_for "$(<where) to go" is_gone "$(<where)"
		wait "$job" 2>/dev/null || true
		rm over
	done
	# Whoever owns the place could put another directory there, and is given nothing.
	if [ "$(id -u)" -eq 0 ]; then
		place=$(mktemp -d /dev/shm/tokend.XXXXXX)
		XDG_RUNTIME_DIR=$place THEN=: tokenctl edit -i key.txt sealed.yaml
		[ "$(dirname "$(<where)")" = "$place" ] || lab_fail "control: $(<where) is not in XDG_RUNTIME_DIR"
		chown nobody "$place"
		XDG_RUNTIME_DIR=$place THEN=: tokenctl edit -i key.txt sealed.yaml
		[ "$(dirname "$(<where)")" = /dev/shm ] || lab_fail "the text was in somebody else's directory: $(<where)"
		rmdir "$place"
	fi
}

rotates() {
	age-keygen -o other.txt 2>/dev/null
	other=$(age-keygen -y other.txt)
	printf 'pass: one\n' >plain.yaml
	tokenctl encrypt --sops -r "$recipient" -r "$other" -o tree/sealed.yaml plain.yaml
	# Without a rule nobody is too many; with one that names both neither.
	for rule in '' "$recipient,$other"; do
		[ -z "$rule" ] || echo "creation_rules: [{age: '$rule'}]" >tree/.sops.yaml
		ends 0 tokenctl rotate --data-key -i key.txt tree/sealed.yaml
		[ "$(grep -c '^tree/sealed.yaml: the new data key went to age1' said)" -eq 2 ] || lab_fail "it says $(<said)"
		if grep -q warning said; then lab_fail "it warns: $(<said)"; fi
	done
	echo "creation_rules: [{age: '$recipient'}]" >tree/.sops.yaml
	ends 0 tokenctl rotate --data-key -i key.txt tree/sealed.yaml
	grep -A1 "^tree/sealed.yaml: the new data key went to $other\$" said | grep -q '^warning: the rule in line 1 of .*tokenctl updatekeys tree/sealed.yaml' || lab_fail "it says $(<said)"
	[ "$(grep -c warning said)" -eq 1 ] || lab_fail "it says $(<said)"
	# A group that nobody of age's is in, which whoever writes the file can put there, would make a share that nobody has, and the file be lost.
	echo "creation_rules: [{key_groups: [{age: [$recipient]}, {age: [$other]}]}]" >.sops.yaml
	ends 0 tokenctl encrypt --sops -o grouped.yaml plain.yaml
	cat key.txt other.txt >both.txt
	sed 's/^    lastmodified/        - unknown: x\n&/' grouped.yaml >emptied.yaml
	sed 's/^    lastmodified/          unknown:\n            - name: x\n&/' grouped.yaml >kinds.yaml
	for file in emptied kinds; do
		cp $file.yaml before.yaml
		[ "$(tokenctl get -i both.txt $file.yaml pass)" = one ] || lab_fail "control: $file.yaml does not open"
		ends 2 tokenctl rotate --data-key -i both.txt $file.yaml
		cmp before.yaml $file.yaml || lab_fail "$file.yaml was changed"
	done
	lab_grep 'is encrypted to unknown as well' <said || lab_fail "it says $(<said)"
	ends 0 tokenctl rotate --data-key -i both.txt grouped.yaml
	[ "$(tokenctl get -i both.txt grouped.yaml pass)" = one ] || lab_fail "control: groups are not rotated"
	rm .sops.yaml
	# Rules above the file that are somebody else's, or that somebody else's link leads to, are not used.
	if [ "$(id -u)" -eq 0 ]; then
		mkdir -p above/below rules
		cp tree/sealed.yaml above/below
		echo "creation_rules: [{age: '$other'}]" >rules/.sops.yaml
		ln -s ../rules/.sops.yaml above/.sops.yaml
		ends 0 tokenctl updatekeys -i key.txt above/below/sealed.yaml
		[ "$(grep -c 'recipient: ' above/below/sealed.yaml)" -eq 1 ] || lab_fail "control: a link of one's own is not followed: $(<said)"
		cp tree/sealed.yaml above/below
		chown -h nobody above/.sops.yaml
		ends 2 tokenctl updatekeys -i key.txt above/below/sealed.yaml
		grep -q "^tokenctl: .*above/.sops.yaml is somebody else's" said || lab_fail "it says $(<said)"
		cmp tree/sealed.yaml above/below/sealed.yaml || lab_fail "it took the rules of somebody else's link"
		ln -sf ../rules/.sops.yaml above/.sops.yaml
		chown nobody rules/.sops.yaml
		ends 2 tokenctl updatekeys -i key.txt above/below/sealed.yaml
		cmp tree/sealed.yaml above/below/sealed.yaml || lab_fail "it took somebody else's rules"
	fi
	# Rules that are a pipe, or whatever is typed, are not waited for; those that are named may come through a pipe.
	mkdir -p waits
	echo 'a: 1' >waits/plain.yaml
	# Nor is a pipe in the place of a file that is to be changed, or of one of many that are looked at.
	mkfifo waits/pipe.yaml
	for command in edit 'set --value-file waits/plain.yaml' unset 'rotate --data-key' updatekeys 'updatekeys --dry-run' 'encrypt --in-place' verify guard; do
		words=()
		[[ $command != *set* ]] || words=(a)
		[[ $command != encrypt* ]] || words=(-r "$recipient")
		# shellcheck disable=SC2086 # a verb and its options
		ends 2 timeout 5 tokenctl $command waits/pipe.yaml "${words[@]}"
		grep -Eq '^tokenctl: waits/pipe.yaml is (a pipe|no regular file), so it is not read$' said || lab_fail "$command says $(<said)"
	done
	rm waits/pipe.yaml
	mkfifo waits/.sops.yaml
	ends 2 timeout 10 tokenctl encrypt --sops -o waits/out.yaml waits/plain.yaml
	grep -q '^tokenctl: .*waits/.sops.yaml is no regular file' said || lab_fail "it says $(<said)"
	ends 0 env SOPS_CONFIG=<(echo "creation_rules: [{age: '$recipient'}]") timeout 10 tokenctl encrypt --sops -o waits/out.yaml waits/plain.yaml
	cp waits/out.yaml waits/before.yaml
	ends 2 timeout 10 tokenctl updatekeys -i key.txt waits/out.yaml
	ends 0 timeout 10 tokenctl set -i key.txt --value-file waits/plain.yaml waits/out.yaml a
	cmp -s waits/before.yaml waits/out.yaml && lab_fail "control: nothing was set"
	ln -sf /proc/self/fd/0 waits/.sops.yaml
	ends 2 timeout 10 tokenctl encrypt --sops waits/plain.yaml < <(sleep 11)
	# What it says to type mends it.
	tokenctl updatekeys -i key.txt tree/sealed.yaml >/dev/null
	ends 0 tokenctl rotate --data-key -i key.txt tree/sealed.yaml
	[ "$(<said)" = "tree/sealed.yaml: the new data key went to $recipient" ] || lab_fail "it says $(<said)"
	# Who changes a value is told, in one line, that the rule names others than the file has; the value is there all the same.
	warned() {
		[ "$(grep -c '' said)" -eq 1 ] && grep -q '^warning: the rule in line 1 of .*/tree/.sops.yaml names other recipients than tree/sealed.yaml has; type: tokenctl updatekeys tree/sealed.yaml$' said ||
			lab_fail "it says $(<said)"
	}
	silent() { [ ! -s said ] || lab_fail "it says $(<said)"; }
	set_to() { ends 0 tokenctl set -i key.txt --value-file value "tree/sealed.yaml" "$1"; }
	echo two >value
	set_to pass
	silent
	echo "creation_rules: [{age: '$recipient,$other'}]" >tree/.sops.yaml
	set_to more
	warned
	ends 0 env EDITOR='sed -i s/two/three/' tokenctl edit -i key.txt tree/sealed.yaml
	warned
	ends 0 tokenctl unset -i key.txt tree/sealed.yaml more
	warned
	[ "$(tokenctl get -i key.txt tree/sealed.yaml pass 2>/dev/null)" = three ] || lab_fail "the value is another"
	tokenctl updatekeys -i key.txt tree/sealed.yaml >/dev/null
	set_to more
	silent
	echo "creation_rules: [{age: '$other'}]" >tree/.sops.yaml
	set_to again
	warned
	# As many groups of keys are the same; a rule for other files, that nobody can read, or that is not there says nothing.
	echo "creation_rules: [{key_groups: [{age: [$recipient]}, {age: [$other]}]}]" >tree/.sops.yaml
	set_to groups
	warned
	for rule in "creation_rules: [{path_regex: nothing, age: '$other'}]" 'creation_rules: [' 'creation_rules: [{}]'; do
		echo "$rule" >tree/.sops.yaml
		set_to "other${#rule}"
		silent
	done
	rm tree/.sops.yaml
	set_to none
	silent
}

swapped() {
	lab_need flock python3
	age-keygen -o other.txt 2>/dev/null
	other=$(age-keygen -y other.txt)
	printf 'pass: one\n' >plain.yaml
	mkdir -p outside tree/dir tree/moved
	seal plain.yaml outside/x.yaml
	cp outside/x.yaml outside.before
	for name in A a dir/x link m moved/x zz; do cp outside/x.yaml "tree/$name.yaml"; done
	chmod 0640 tree/zz.yaml
	# No rule is for A and m, which is said of each in its turn.
	echo "creation_rules: [{path_regex: '^(.+/|[^Am])', age: '$recipient,$other'}]" >tree/.sops.yaml
	exec 8<tree/a.yaml 9<tree/moved/x.yaml
	flock 8
	flock 9
	tokenctl updatekeys -r -i key.txt tree >said 2>&1 8<&- 9<&- &
	pid=$!
	# All are listed, and a.yaml waits.
	wait_for "the first file" grep -q 'tree/A.yaml was passed over' said
	mv tree/dir dir.old
	ln -s ../outside tree/dir
	ln -sf ../outside/x.yaml tree/link.yaml
	exec 8<&-
	# Open already, and waits for its lock.
	has_open() { find "/proc/$pid/fd" -lname "*/$1" | lab_grep .; }
	wait_for "the turn of moved/x.yaml" has_open moved/x.yaml
	sleep 0.5 # until its rules are found, too
	ln -s ../outside moved.old
	# In one step, for what waits would see that nothing is there.
	python3 -c 'import ctypes; raise SystemExit(ctypes.CDLL(None).renameat2(-100, b"tree/moved", -100, b"moved.old", 2) != 0)'
	exec 9<&-
	if wait "$pid"; then lab_fail "it did all: $(<said)"; fi
	cmp outside.before outside/x.yaml || lab_fail "a file outside of the tree was changed: $(<said)"
	for name in dir/x link; do grep -q "^tokenctl: .*tree/$name.yaml" said || lab_fail "tree/$name.yaml is not named: $(<said)"; done
	for name in a zz; do grep -q "$other" "tree/$name.yaml" || lab_fail "control: $name.yaml was not changed: $(<said)"; done
	[ "$(stat -c %a tree/zz.yaml)" = 640 ] || lab_fail "zz.yaml has the mode $(stat -c %a tree/zz.yaml) now"
}

links() {
	mkdir -p home tree/sub
	printf 'pass: one\n' >home/clear.yaml
	seal home/clear.yaml home/sealed.yaml
	cp -r home home.before
	age-keygen -o other.txt 2>/dev/null
	echo "creation_rules: [{age: '$recipient,$(age-keygen -y other.txt)'}]" >tree/.sops.yaml
	ln -s ../home tree/dir
	for name in clear sealed; do ln -s "../home/$name.yaml" "tree/$name.yaml"; done
	for name in clear dir/clear; do
		ends 2 tokenctl encrypt --sops -o out.yaml "tree/$name.yaml"
		lab_grep "^tokenctl: tree/$name.yaml leads out of the directory of " <said || lab_fail "it says $(<said)"
		ends 2 tokenctl encrypt --in-place "tree/$name.yaml"
	done
	for name in sealed dir/sealed; do ends 2 tokenctl updatekeys -i key.txt "tree/$name.yaml"; done
	[ ! -e out.yaml ] && diff -r home.before home || lab_fail "what a link led to was encrypted to whom the rules name"
	# Rules that are named are for what they are named for; and within the tree links lead where they may.
	cp home/sealed.yaml tree/sub/x.yaml
	ln -s sub/x.yaml tree/x.yaml
	ends 0 tokenctl updatekeys -i key.txt tree/x.yaml
	grep -q "$(age-keygen -y other.txt)" tree/sub/x.yaml || lab_fail "control: a link within the tree is not followed: $(<said)"
	ends 3 env SOPS_CONFIG=tree/.sops.yaml tokenctl updatekeys --dry-run tree/sealed.yaml
	if [ "$(id -u)" -eq 0 ]; then
		cp home/sealed.yaml tree/sub/x.yaml
		chown -h nobody tree/x.yaml
		ends 2 tokenctl updatekeys -i key.txt tree/x.yaml
		lab_grep "^tokenctl: tree/x.yaml is somebody else's link, " <said || lab_fail "it says $(<said)"
		cmp home/sealed.yaml tree/sub/x.yaml || lab_fail "what somebody else's link leads to was changed"
	fi
	# Nor when the link is put there in the very moment: two names that are exchanged without end.
	lab_need python3
	echo 'pass: theirs' >tree/swap.yaml
	ln -s ../home/clear.yaml tree/other.yaml
	timeout 100 python3 -c '
import ctypes
libc = ctypes.CDLL(None)
while libc.renameat2(-100, b"tree/swap.yaml", -100, b"tree/other.yaml", 2) == 0:
    pass' &
	pid=$! tries=0 refused=0
	while [ $((++tries)) -le 60 ]; do
		rm -f out.yaml
		if tokenctl encrypt --sops -o out.yaml tree/swap.yaml >said 2>&1; then
			[ "$(tokenctl get -i key.txt out.yaml pass 2>/dev/null)" = theirs ] || lab_fail "a file outside was encrypted to whom the rules name, in try $tries"
		else
			refused=$((refused + 1))
		fi
	done
	kill "$pid" || lab_fail "control: nothing was exchanged"
	wait "$pid" || true
	[ "$refused" -gt 0 ] && [ "$refused" -lt 60 ] || lab_fail "control: of 60 tries $refused met the link"
	rm -f tree/swap.yaml tree/other.yaml
	# In place: the file itself, under all of its names.
	cp home/clear.yaml tree/sub/y.yaml
	ln -s sub/y.yaml tree/y.yaml
	ends 2 tokenctl encrypt --in-place tree/y.yaml
	lab_grep '^tokenctl: tree/y.yaml is a link, ' <said || lab_fail "it says $(<said)"
	ln tree/sub/y.yaml second.yaml
	ends 2 tokenctl encrypt --in-place tree/sub/y.yaml
	lab_grep '^tokenctl: tree/sub/y.yaml has 2 names, ' <said || lab_fail "it says $(<said)"
	cmp home/clear.yaml second.yaml && rm second.yaml
	ends 0 tokenctl encrypt --in-place tree/sub/y.yaml
	[ "$(tokenctl get -i key.txt tree/sub/y.yaml pass)" = one ] || lab_fail "control: it is not encrypted in its place"
}

growth() {
	[ -d /dev/shm ] && [ -w /dev/shm ] || lab_skip "there is no /dev/shm"
	lab_need python3
	python3 -B "$LAB_SOURCE/tests/integration/growth.py" "$directory" "$recipient"
}

case ${1:?} in
places | remains | edits | rotates | swapped | links | growth) "$1" ;;
*) lab_fail "there is no part $1" ;;
esac
