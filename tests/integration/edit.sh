#!/bin/bash
# What is typed into a SOPS file, and what others do to it meanwhile, with an identity file and no daemon. usage: edit.sh others|marks|ended|kept|left|locks
#   others    what somebody else changes in the file while it is edited, or while a text is kept, is still there afterwards
#   marks     a text with git's marks is not sealed, in no format
#   ended     a signal, or a terminal that goes away, loses nothing that the editor has saved
#   kept      one text is kept for a file, the next edit says so, and it can be forgotten
#   left      an editor that takes the text away, or remembers it; a file that cannot be written
#   locks     those that change a file wait for one another, and not for ever
set -euo pipefail
. "${TOKEND_SOURCE_DIR:?}/tests/lab/lab.sh"
directory=$(lab_directory)
[ -d /dev/shm ] && [ -w /dev/shm ] || lab_skip "there is no /dev/shm"
# A place of its own, so that what is kept can be counted.
XDG_RUNTIME_DIR=$(mktemp -d /dev/shm/tokend.XXXXXX)
export XDG_RUNTIME_DIR
trap 'rm -rf "$XDG_RUNTIME_DIR"; lab_remove "$directory"' EXIT
cd "$directory"
PATH=$LAB_BIN:$PATH
export TOKEND_RUNTIME_DIR=$directory/none
unset SOPS_EDITOR VISUAL
lab_need age-keygen git
age-keygen -o key.txt 2>/dev/null
recipient=$(age-keygen -y key.txt)

# An editor that does what $THEN says, in the directory of the text, $1 being the text; it knows where it began.
cat >editor <<-SH
	#!/bin/bash
	exec >>"$directory/editor.said" 2>&1
	cd "\$(dirname "\$1")"
	pwd >"$directory/where"
	set -- "\$(basename "\$1")"
	eval "\$THEN"
SH
chmod +x editor
export EDITOR=$directory/editor HERE=$directory

# ends STATUS COMMAND...: what it says is in the file said.
ends() {
	local expected=$1 status=0
	shift
	"$@" >said 2>&1 || status=$?
	[ "$status" -eq "$expected" ] || lab_fail "'$*' ended with $status where $expected was expected: $(<said)"
}
# edits STATUS THEN [OPTION...] FILE, where nobody can be asked.
edits() {
	local expected=$1 then=$2
	shift 2
	ends "$expected" env THEN="$then" setsid -w tokenctl edit -i key.txt "$@"
}
says() { grep -q -- "$1" said || lab_fail "it does not say '$1': $(<said)"; }
seal() { tokenctl encrypt --sops -r "$recipient" -o "$2" "$1"; }
sets() { printf %s "$3" | tokenctl set -i key.txt "$1" "$2"; }
value() { tokenctl get --verify -i key.txt "$1" "$2"; }
is() { [ "$(value "$1" "$2")" = "$3" ] || lab_fail "$2 of $1 is $(value "$1" "$2"), and not $3"; }
kept_text() { sed -n 's/.*--resume \(\S*\) .*/\1/p' said | head -n 1; }
kept_count() { find "$XDG_RUNTIME_DIR" -maxdepth 1 -name 'tokenctl-*' | wc -l; }
nothing_kept() { [ "$(kept_count)" -eq 0 ] || lab_fail "$1: $(find "$XDG_RUNTIME_DIR")"; }

new_file() {
	printf 'a: one\nb: one\nc: one\nd: one\ne: one\nf: one\n' >plain.yaml
	seal plain.yaml s.yaml
}

others() {
	new_file
	# Somebody sets another value while the editor is open: both are there, and a line says so.
	edits 0 'sed -i s/^a:.*/a:\ two/ "$1"; cd $HERE; printf three | tokenctl set -i key.txt s.yaml f' s.yaml
	says '^s.yaml was changed by somebody else meanwhile: both changes are in it now$'
	is s.yaml a two
	is s.yaml f three
	# New recipients and a new data key are no other text.
	edits 0 'sed -i s/^a:.*/a:\ four/ "$1"; cd $HERE; tokenctl rotate --data-key -i key.txt s.yaml' s.yaml
	if grep -q meanwhile said; then lab_fail "it says $(<said)"; fi
	is s.yaml a four
	# Who else can read what was typed is said.
	age-keygen -o other.txt 2>/dev/null
	other=$(age-keygen -y other.txt)
	echo "creation_rules: [{age: '$recipient,$other'}]" >.sops.yaml
	edits 0 'sed -i s/^a:.*/a:\ typed/ "$1"; cd $HERE; tokenctl updatekeys -i key.txt s.yaml' s.yaml
	[ "$(grep -c warning said)" -eq 1 ] && says "^warning: somebody else has meanwhile added the age recipient $other, who can now read what s.yaml has"
	edits 0 'sed -i s/^a:.*/a:\ five/ "$1"; cd $HERE; tokenctl updatekeys -i key.txt s.yaml' s.yaml
	if grep -q warning said; then lab_fail "it warns of somebody who was there: $(<said)"; fi
	rm .sops.yaml
	# Who changed nothing does not take it back.
	edits 0 'cd $HERE; printf five | tokenctl set -i key.txt s.yaml f' s.yaml
	says '^s.yaml is as it was'
	is s.yaml f five
	nothing_kept "after edits that arrived"
	# The same line: what the other has done stays in the file, and both are in the text.
	edits 1 'sed -i s/^a:.*/a:\ mine/ "$1"; cd $HERE; printf yours | tokenctl set -i key.txt s.yaml a' s.yaml
	says 'somebody else has changed the same lines of s.yaml'
	is s.yaml a yours
	kept=$(kept_text)
	grep -q '^a: mine' "$kept" && grep -q '^a: yours' "$kept" || lab_fail "the text has not both: $(<"$kept")"
	# Meanwhile the other goes on; what is resumed is merged once more.
	sets s.yaml f six
	edits 0 'sed -i "/^<<<<<<</d; /^=======/,/^>>>>>>>/d" "$1"' --resume "$kept" s.yaml
	says 'both changes are in it now'
	is s.yaml a mine
	is s.yaml f six
	nothing_kept "after it was resumed"
	# Another rule of what is encrypted: nothing is sealed under it before that was said.
	cp s.yaml before.yaml
	edits 1 'echo "api: secret" >>"$1"; cd $HERE; sed -i "s/unencrypted_suffix: .*/encrypted_regex: ^[a-f]\$/" s.yaml' s.yaml
	says 'somebody else has meanwhile changed which values of s.yaml are encrypted'
	if grep -q '^api' s.yaml; then lab_fail "it was sealed under another rule"; fi
	edits 0 true --resume "$(kept_text)" s.yaml
	grep -q '^api: secret' s.yaml || lab_fail "what was resumed after that is not there: $(<s.yaml)"
	nothing_kept "after it was resumed under the other rule"
	mv before.yaml s.yaml
	# Where somebody can be asked it is opened again.
	if command -v python3 >/dev/null; then
		THEN='[ -e $HERE/once ] && exec sed -i "/^<<<<<<</d; /^=======/,/^>>>>>>>/d" "$1"; touch $HERE/once
			sed -i s/^a:.*/a:\ asked/ "$1"; cd $HERE; printf yours | tokenctl set -i key.txt s.yaml a' python3 - <<-'PY'
			import os, pty
			pid, terminal = pty.fork()
			if pid == 0:
			    os.execvp("tokenctl", ["tokenctl", "edit", "-i", "key.txt", "s.yaml"])
			seen, answered = b"", False
			try:
			    while True:
			        seen += os.read(terminal, 1000)
			        if b"[Y/n]" in seen and not answered:
			            answered = os.write(terminal, b"y\n") == 2
			except OSError:
			    pass
			_, status = os.waitpid(pid, 0)
			if status or not answered or b"both stand in the text now" not in seen:
			    raise SystemExit(f"FAIL: {status} {seen.decode()}")
		PY
		is s.yaml a asked
		nothing_kept "after a conflict that was decided at once"
	fi
	# A text that was kept because it could not be read begins with what the file was then.
	edits 7 'sed -i "s/^a:.*/a: [/" "$1"' s.yaml
	kept=$(kept_text)
	sets s.yaml f seven
	sets s.yaml d seven
	edits 0 'sed -i "s/^a:.*/a: eight/" "$1"' --resume "$kept" s.yaml
	is s.yaml a eight
	is s.yaml d seven
	is s.yaml f seven
	# Where there is no git nothing is lost, and it is said.
	mkdir bin
	for program in bash dash sh sed cat dirname basename setsid env age-keygen; do ln -s "$(command -v "$program")" bin/ 2>/dev/null || true; done
	ln -s "$(command -v tokenctl)" bin/
	PATH=$directory/bin edits 2 'sed -i s/^a:.*/a:\ nine/ "$1"; cd $HERE; echo nine | tokenctl set -i key.txt s.yaml f' s.yaml
	says 's.yaml was changed by somebody else meanwhile and left as it is, .*: there is no git'
	is s.yaml f nine
	is s.yaml a eight
	kept=$(kept_text)
	grep -q '^a: nine' "$kept" || lab_fail "what was typed is lost: $(<said)"
	edits 0 : --resume "$kept" s.yaml
	is s.yaml a nine
	is s.yaml f nine
	# Bytes have no lines.
	head -c 300 /dev/urandom >plain.bin && printf '\0' >>plain.bin
	seal plain.bin s.bin
	cp s.bin other.bin
	edits 0 'printf x >>"$1"' other.bin
	edits 7 'printf y >>"$1"; cp $HERE/other.bin $HERE/s.bin' s.bin
	says 'cannot be put together: what has NUL bytes'
	cmp s.bin other.bin || lab_fail "what the other has done is lost"
	tokenctl edit --forget s.bin >/dev/null
	# A text of somebody's own is none that was kept.
	printf 'a: ten\n' >own.yaml
	edits 2 : --resume own.yaml s.yaml
	says 'own.yaml is no text that an edit has kept'
	typed=$(sed -n "s/^hint: \(EDITOR='.*s.yaml\) .*/\1/p" said)
	eval "${typed/edit/edit -i key.txt}"
	[ "$(tokenctl decrypt -i key.txt s.yaml)" = 'a: ten' ] || lab_fail "what it says to type does something else: $typed"
	nothing_kept "in the end"
}

marks() {
	printf 'text: one\n' >plain.yaml
	printf 'TEXT=one\n' >plain.env
	printf '[part]\ntext = one\n' >plain.ini
	printf 'some text\n' >plain.txt
	for kind in yaml env ini txt; do
		seal "plain.$kind" "s.$kind"
		cp "s.$kind" before
		then='printf "more: |\n" >>"$1"; printf "<<<<<<< ours\na=1\n=======\na=2\n>>>>>>> theirs\n" >>"$1"'
		# In a block scalar, that is.
		[ "$kind" = yaml ] || then=${then#*;}
		edits 7 "$then" "s.$kind"
		says "s.$kind was left as it is: line [0-9]* of the text is a mark of git"
		[ "$(sed -n "$(sed -n 's/.*: line \([0-9]*\) of the text.*/\1/p' said)p" "$(kept_text)")" = '<<<<<<< ours' ] || lab_fail "it names another line: $(<said)"
		cmp -s before "s.$kind" || lab_fail "a text with marks is in s.$kind"
		edits 0 'sed -i "/^<<<<<<</d; /^=======/,/^>>>>>>>/d" "$1"; [ "${1##*.}" != yaml ] || sed -i "s/^a=1/  a=1/" "$1"' --resume "$(kept_text)" "s.$kind"
	done
	# A text about git has such lines from the beginning; one more group is named.
	printf 'how to:\n<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n' >plain.txt
	seal plain.txt about.txt
	edits 0 'echo more >>"$1"' about.txt
	edits 7 'printf "<<<<<<< ours\nc\n=======\nd\n>>>>>>> theirs\n" >>"$1"' about.txt
	says 'line 8 of the text is a mark'
	tokenctl edit --forget about.txt >/dev/null
	# Lines that only look like it, and half of a group.
	edits 0 'printf "=======\n>>>>>>> quoted\nTitle\n=======\n<<<<<<<\n" >>"$1"' about.txt
	nothing_kept "in the end"
}

# started COMMAND...: in a session of its own, its process in pid, until the editor has touched ready.
started() {
	rm -f ready pid
	setsid bash -c 'echo $$ >pid; exec "$@"' - "$@" >said 2>&1 &
	job=$!
	lab_wait_for 30 test -e ready || lab_fail "the editor does not begin: $(<said) $(<editor.said)"
}
waits='echo $$ >$HERE/editor.pid; touch $HERE/ready; for _ in $(seq 600); do [ ! -e $HERE/go ] || break; sleep 0.05; done'

ended() {
	new_file
	rm -f go
	for signal in TERM HUP; do
		# What was saved is kept, said, and found again.
		started env THEN="sed -i s/^a:.*/a:\ $signal/ \"\$1\"; $waits" tokenctl edit -i key.txt s.yaml
		kill "-$signal" "$(<pid)"
		wait "$job" && lab_fail "it ended as if all were well"
		says 'tokenctl was told to end (.*) while s.yaml was edited'
		kept=$(kept_text)
		grep -q "^a: $signal" "$kept" || lab_fail "what was saved is lost after SIG$signal: $(<said)"
		edits 2 : s.yaml
		[ "$(kept_text)" = "$kept" ] || lab_fail "the next edit says $(<said)"
		edits 0 : --resume "$kept" s.yaml
		is s.yaml a "$signal"
		# What was not changed is removed.
		started env THEN="$waits" tokenctl edit -i key.txt s.yaml
		kill "-$signal" "$(<pid)"
		wait "$job" && lab_fail "it ended as if all were well"
		nothing_kept "after SIG$signal, with nothing typed"
		# What an editor saves elsewhere when it is told to end, as nano does.
		started env THEN="trap 'echo c: $signal >\"\$1.save\"; exit 1' TERM HUP; $waits" tokenctl edit -i key.txt s.yaml
		kill "-$signal" "$(<pid)"
		wait "$job" && lab_fail "it ended as if all were well"
		[ "$(<"$(kept_text)")" = "c: $signal" ] || lab_fail "what the editor rescued is lost after SIG$signal: $(<said)"
		tokenctl edit --forget s.yaml >/dev/null
		# More than one, as a shell sends them, to all of the group; and an editor that does not mind.
		started env THEN="trap '' TERM HUP; sed -i s/^b:.*/b:\ $signal/ \"\$1\"; $waits" tokenctl edit -i key.txt s.yaml
		for _ in $(seq 20); do kill "-$signal" -- "-$(<pid)" 2>/dev/null || true; done
		# The editor is one of the group, and is waited for here.
		lab_wait_for 30 grep -q resume said || lab_fail "SIG$signal to all: $(<said)"
		touch go
		wait "$job" || true
		lab_wait_for 30 lab_is_stopped editor.pid || lab_fail "the editor goes on"
		rm go
		kept=$(kept_text)
		grep -q "^b: $signal" "$kept" || lab_fail "what was saved is lost after many SIG$signal: $(<said)"
		tokenctl edit --forget s.yaml >/dev/null
		nothing_kept "after it was forgotten"
	done
	# The terminal itself goes away; nobody can be told.
	lab_need python3
	hangs_up() {
		THEN=$1 python3 - <<-'PY'
			import os, pty, time
			if os.path.exists("ready"):
			    os.remove("ready")
			pid, terminal = pty.fork()
			if pid == 0:
			    os.execvp("tokenctl", ["tokenctl", "edit", "-i", "key.txt", "s.yaml"])
			end = time.monotonic() + 30
			while not os.path.exists("ready") and time.monotonic() < end:
			    time.sleep(0.05)
			os.close(terminal)
			os.waitpid(pid, 0)
		PY
	}
	hangs_up "sed -i s/^a:.*/a:\ terminal/ \"\$1\"; $waits"
	edits 2 : s.yaml
	says 'a text for s.yaml that is not sealed yet is kept in memory'
	edits 0 : --resume "$(kept_text)" s.yaml
	is s.yaml a terminal
	# And an editor that takes its time to save what was typed.
	hangs_up "trap 'sleep 0.5; echo c: rescued >\"\$1.save\"; exit 1' HUP; $waits"
	edits 2 : s.yaml
	[ "$(<"$(kept_text)")" = 'c: rescued' ] || lab_fail "what the editor rescued is lost: $(<said)"
	tokenctl edit --forget s.yaml >/dev/null
	# At the question whether to go on, the keyboard's own signal, too.
	THEN='echo "a: [" >"$1"' python3 - <<-'PY'
		import os, pty, select
		pid, terminal = pty.fork()
		if pid == 0:
		    os.execvp("tokenctl", ["tokenctl", "edit", "-i", "key.txt", "s.yaml"])
		seen = b""
		while b"[Y/n]" not in seen:
		    seen += os.read(terminal, 1000)
		# Again and again, for the first one may come before it listens.
		try:
		    while True:
		        os.write(terminal, b"\x03")
		        if select.select([terminal], [], [], 0.2)[0] and not os.read(terminal, 1000):
		            break
		except OSError:
		    pass
		os.waitpid(pid, 0)
	PY
	edits 2 : s.yaml
	[ "$(<"$(kept_text)")" = 'a: [' ] || lab_fail "what was typed is lost at the question: $(<said)"
	tokenctl edit --forget s.yaml >/dev/null
	nothing_kept "in the end"
}

kept() {
	new_file
	edits 7 'echo "a: [" >"$1"' s.yaml
	first=$(kept_text)
	says "until the next start: tokenctl edit --resume $first s.yaml"
	# The next edit does not begin another one, by whatever name the file is called.
	mkdir -p below
	ln -s ../s.yaml below/link.yaml
	for name in s.yaml "$directory/s.yaml" below/../s.yaml below/link.yaml; do
		edits 2 'echo "b: two" >"$1"' "$name"
		says "^hint: tokenctl edit --resume $first $name   goes on with it; tokenctl edit --forget $name   throws it away"
	done
	[ "$(kept_count)" -eq 1 ] || lab_fail "there are $(kept_count)"
	# One that is resumed in vain stays the only one, whether it was changed or not.
	edits 7 : --resume "$first" s.yaml
	[ "$(kept_text)" = "$first" ] && [ -e "$first" ] && [ "$(kept_count)" -eq 1 ] || lab_fail "resumed without a change: $(<said)"
	edits 7 'echo "b: [" >"$1"' --resume "$first" s.yaml
	second=$(kept_text)
	[ "$second" != "$first" ] && [ ! -e "$first" ] && [ "$(<"$second")" = 'b: [' ] && [ "$(kept_count)" -eq 1 ] || lab_fail "resumed with a change: $(<said)"
	# Another file, and a file of that name elsewhere, is not concerned.
	seal plain.yaml other.yaml
	seal plain.yaml below/s.yaml
	edits 0 : other.yaml
	edits 0 : below/s.yaml
	ends 2 tokenctl edit --forget other.yaml
	says 'no text is kept for other.yaml'
	says '^hint: tokenctl edit other.yaml   opens it'
	[ -e "$second" ] || lab_fail "it forgot another file's"
	ends 2 tokenctl edit --forget --resume "$second" s.yaml
	ends 0 tokenctl edit --forget s.yaml
	nothing_kept "after it was forgotten"
	# A file that is called as what stands beside a text is neither taken for that nor written over by it.
	for name in .tokenctl-base .tokenctl-kept .tokenctl-new; do
		seal plain.yaml "$name"
		edits 7 'echo "b: [" >"$1"' "$name"
		[ "$(kept_count)" -eq 1 ] && [ "$(<"$(kept_text)")" = 'b: [' ] || lab_fail "$name is kept as $(cat -v "$(kept_text)")"
		edits 0 'sed -i "s/.*/a: named/" "$1"' --resume "$(kept_text)" "$name"
		is "$name" a named
		nothing_kept "after $name was sealed"
	done
	# Of two edits at the same time both may fail: no text is lost, and it is said that there are two.
	edits 7 'echo "a: [" >"$1"; cd $HERE; THEN="echo b: [ >\$1" setsid -w tokenctl edit -i key.txt s.yaml; sleep 0.1' s.yaml
	[ "$(kept_count)" -eq 2 ] || lab_fail "there are $(kept_count)"
	edits 2 : s.yaml
	says '^tokenctl: texts for s.yaml that are not sealed yet are kept in memory, 2 of them$'
	says 'goes on with the newest; tokenctl edit --forget s.yaml   throws all away$'
	[ "$(<"$(kept_text)")" = 'a: [' ] || lab_fail "it is not the newest"
	ends 0 tokenctl edit --forget s.yaml
	nothing_kept "after both were forgotten"
	edits 0 'sed -i s/^a:.*/a:\ three/ "$1"' s.yaml
	is s.yaml a three
}

left() {
	new_file
	edits 2 'rm "$1"' s.yaml
	says 'the editor has removed the text, and s.yaml is as it was'
	nothing_kept "after an editor that removed it"
	edits 2 'mv "$1" "$1.bak"' s.yaml
	says 'the editor has removed the text, and s.yaml is as it was'
	nothing_kept "after an editor that renamed it unchanged"
	edits 2 'sed -i s/^a:.*/a:\ two/ "$1"; cp "$1" ".$1.swp"; mv "$1" "$1.new"; echo >>".$1.swp"' s.yaml
	says 'the editor has given the text another name, and s.yaml is as it was'
	edits 0 : --resume "$(kept_text)" s.yaml
	is s.yaml a two
	# A failing one.
	edits 1 'sed -i s/^a:.*/a:\ three/ "$1"; mv "$1" "$1.new"; exit 3' s.yaml
	says 'ended with status 3'
	edits 0 : --resume "$(kept_text)" s.yaml
	is s.yaml a three
	# What is no file is not waited for.
	edits 2 'rm "$1"; mkfifo "$1"' s.yaml
	says 'the editor has removed the text'
	nothing_kept "in the end"
	# Whether it can be written shows before anything was typed.
	if [ "$(id -u)" -eq 0 ]; then
		lab_need setpriv
		chmod 755 "$directory"
		rm -f began
		mkdir shut
		cp s.yaml shut
		own=$(mktemp -d /dev/shm/tokend.XXXXXX)
		chown nobody "$own"
		chmod 700 "$own"
		cp key.txt "$own"
		chown nobody "$own/key.txt"
		status=0
		XDG_RUNTIME_DIR=$own THEN="touch $own/began" setsid -w setpriv --reuid nobody --clear-groups --inh-caps=-all tokenctl edit -i "$own/key.txt" shut/s.yaml >said 2>&1 || status=$?
		[ "$status" -eq 2 ] && [ ! -e "$own/began" ] || lab_fail "the editor was opened: $status $(<said)"
		says 'shut.*Permission denied'
		# Control: where it may write it does.
		chown nobody shut shut/s.yaml
		XDG_RUNTIME_DIR=$own THEN="touch $own/began" setsid -w setpriv --reuid nobody --clear-groups --inh-caps=-all tokenctl edit -i "$own/key.txt" shut/s.yaml >said 2>&1 || lab_fail "control: $(<said)"
		[ -e "$own/began" ] || lab_fail "control: the editor was not opened: $(<said) $(<editor.said)"
		rm -rf "$own"
		# A file system that nobody may write.
		if unshare -m true 2>/dev/null; then
			rm -f began
			unshare -m bash -c 'mount --bind shut shut && mount -o remount,bind,ro shut && THEN="touch $HERE/began" exec setsid -w tokenctl edit -i key.txt shut/s.yaml' >said 2>&1 &&
				lab_fail "it was edited where nobody may write: $(<said)"
			says 'shut.*Read-only file system'
			[ ! -e began ] || lab_fail "the editor was opened on a file system that nobody may write"
		fi
	fi

	# What vim remembers (what was copied or deleted, backups, undo) has nothing of the text, whatever its user wants.
	command -v vim >/dev/null || return 0
	new_file
	mkdir vim
	echo "set viminfo='100,<50 viminfofile=$directory/vim/info undofile undodir=$directory/vim backup backupdir=$directory/vim" >vimrc
	printf '1s/one/remembered/\nnormal! yy\n2s/one/changed/\nwq\n' >keys
	ends 0 env EDITOR="vim -N -u $directory/vimrc -es -S $directory/keys" setsid -w tokenctl edit -i key.txt s.yaml
	is s.yaml b changed
	! grep -ra remembered vim || lab_fail "vim has kept what stood in the text"
}

locks() {
	lab_need flock
	printf 'start: one\n' >plain.yaml
	seal plain.yaml s.yaml
	# All at once, by two names: each value is there.
	jobs=()
	ln -s s.yaml link.yaml
	for i in $(seq 20); do
		name=s.yaml
		((i % 2)) || name=link.yaml
		printf %s "$i" | tokenctl set -i key.txt "$name" "key$i" &
		jobs+=($!)
	done
	for job in "${jobs[@]}"; do wait "$job" || lab_fail "one of 20 could not set its value"; done
	for i in $(seq 20); do is s.yaml "key$i" "$i"; done
	# All that change it: none is lost.
	echo "creation_rules: [{age: '$recipient'}]" >.sops.yaml
	jobs=()
	for i in $(seq 5); do
		tokenctl unset -i key.txt s.yaml "key$i" >>said.unset 2>&1 &
		jobs+=($!)
		tokenctl rotate --data-key -i key.txt s.yaml >>said.rotate 2>&1 &
		jobs+=($!)
		tokenctl updatekeys -i key.txt s.yaml >>said.updatekeys 2>&1 &
		jobs+=($!)
	done
	for job in "${jobs[@]}"; do wait "$job" || lab_fail "one could not do its work: $(cat said.*)"; done
	[ "$(tokenctl decrypt -i key.txt s.yaml | wc -l)" -eq 16 ] || lab_fail "not all five are gone: $(tokenctl decrypt -i key.txt s.yaml)"
	# Standard input is no file that could be locked.
	ends 0 tokenctl encrypt --in-place --input-type yaml -r "$recipient" - <plain.yaml
	grep -q '^start: ENC' said || lab_fail "it says $(<said)"
	# Somebody who does not let go.
	(exec 9<s.yaml && flock 9 && exec sleep 60) &
	holder=$!
	lab_wait_for 10 sh -c '! flock -n s.yaml true'
	cp plain.yaml in-place.yaml
	(exec 9<in-place.yaml && flock 9 && exec sleep 60) &
	other=$!
	lab_wait_for 10 sh -c '! flock -n in-place.yaml true'
	in_time() {
		local name=$1 status=0
		shift
		"$@" >"said.$name" 2>&1 || status=$?
		echo "$status" >"status.$name"
	}
	printf x >x
	in_time set tokenctl set -i key.txt --value-file x s.yaml start &
	jobs=($!)
	in_time encrypt tokenctl encrypt --in-place -r "$recipient" in-place.yaml &
	jobs+=($!)
	# An edit loses nothing then.
	edits 8 'sed -i s/^start:.*/start:\ two/ "$1"' s.yaml
	kept=$(kept_text)
	grep -q '^start: two' "$kept" || lab_fail "what was typed is lost: $(<said)"
	wait "${jobs[@]}"
	for name in set encrypt; do
		[ "$(<"status.$name")" -eq 8 ] || lab_fail "$name did not wait: $(<"status.$name") $(<"said.$name")"
	done
	cmp plain.yaml in-place.yaml || lab_fail "it was encrypted all the same"
	cp said.set said
	says '^tokenctl: another program is changing s.yaml, and has kept it locked for 10 seconds$'
	says '^hint: lslocks '
	kill "$holder" "$other"
	wait "$holder" "$other" 2>/dev/null || true
	lab_wait_for 10 flock -n s.yaml true || lab_fail "the test's own lock is still there"
	edits 0 'cd $HERE; flock -n s.yaml true || touch held' --resume "$kept" s.yaml
	[ ! -e held ] || lab_fail "the file is locked while the editor is open"
	is s.yaml start two
}

case ${1:?} in
others | marks | ended | kept | left | locks) "$1" ;;
*) lab_fail "there is no part $1" ;;
esac
