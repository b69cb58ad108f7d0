# shellcheck shell=bash
# The lab: software TPMs and private tokend daemons for tests, benches and the trial.
#
# Source it, then call the functions named lab_...; it sets no traps and changes no shell options of its own.
# A lab directory D holds everything one daemon and one TPM need:
#
#	D/tpm/            state of the software TPM         D/tpm.socket   one line: where its socket is
#	D/state, D/run    of tokend                         D/tokend.conf, D/policy.d
#	D/tpm.pid, D/tokend.pid, D/proxy.pid                D/tpm.log, D/tokend.log, D/proxy.log
#
# What is started ends itself after LAB_LIFE seconds (0: never), so that a test that was killed leaves nothing behind for long.

LAB_SOURCE=${TOKEND_SOURCE_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)}
LAB_BIN=${TOKEND_BIN_DIR:-$LAB_SOURCE/build/release/bin}
LAB_PEERS=${TOKEND_PEERS_DIR:-$LAB_SOURCE/build/peers}
LAB_LIFE=${LAB_LIFE:-1800}
LAB_TOOLS=$LAB_SOURCE/tests/lab

# ---- saying how a test went ----

# Like grep -q at the end of a pipe, but reads its input to the end: who writes it would otherwise be ended by a signal now and then, and with it the script.
lab_grep() {
	grep "$@" >/dev/null
}

# A test that cannot run here says why in its last line and exits with 77, which tools/test counts and names.
lab_skip() {
	echo "SKIP: $*"
	exit 77
}

lab_fail() {
	echo "FAIL: $*" >&2
	exit 1
}

# lab_seed "$0" "$@": sets $seed, to TOKEND_TEST_SEED, to TOKEND_RUN_SEED (of the whole run, by .ci/run) or to one that no run before had, and says so. Only random tests whose seed changes find what nobody thought of; what a seed has found has to be found again.
lab_seed() {
	seed=${TOKEND_TEST_SEED:-${TOKEND_RUN_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}}
	lab_again="TOKEND_TEST_SEED=$seed TOKEND_SOURCE_DIR=$LAB_SOURCE TOKEND_BIN_DIR=$LAB_BIN $*"
	echo "==== seed $seed; the same again: $lab_again"
}

# lab_seeded FEW MANY COMMAND... with the words SEED and COUNT in it: FEW of seed 1, which are the same in each run, and MANY of $seed; of that alone when somebody has named it.
lab_seeded() {
	local few=$1 many=$2
	shift 2
	[ -n "${TOKEND_TEST_SEED:-}" ] || lab_with_seed 1 "$few" "$@"
	lab_with_seed "$seed" "$many" "$@"
}

lab_with_seed() {
	local with=$1 count=$2 word words=()
	shift 2
	for word in "$@"; do
		case $word in
		SEED) word=$with ;;
		COUNT) word=$count ;;
		esac
		words+=("$word")
	done
	"${words[@]}" || lab_fail "with seed $with; the same again: ${lab_again/TOKEND_TEST_SEED=$seed/TOKEND_TEST_SEED=$with}"
}

# lab_need PROGRAM...: the programs without which the test means nothing.
lab_need() {
	local program
	for program in "$@"; do
		command -v "$program" >/dev/null || lab_skip "the program $program is not installed"
	done
}

# lab_peer NAME: prints where the peer is (see tools/peers), or skips with the reason tools/peers gave.
# Call it as:  age=$(lab_peer age-1.3.1) || lab_skip "$age"
lab_peer() {
	local place=$LAB_PEERS/bin/$1
	[ "$1" = cctv-age ] && place=$LAB_PEERS/cctv-age
	if [ -e "$place" ]; then
		echo "$place"
		return
	fi
	if [ -s "$LAB_PEERS/problems/$1" ]; then
		cat "$LAB_PEERS/problems/$1"
	else
		echo "$1 is not installed; type tools/peers $1"
	fi
	return 1
}

# lab_expect STATUS COMMAND...: runs it and fails unless it ends with that status.
lab_expect() {
	local expected=$1 status=0
	shift
	"$@" || status=$?
	[ "$status" -eq "$expected" ] || lab_fail "'$*' ended with $status where $expected was expected"
}

# lab_wait_for SECONDS COMMAND...: until the command succeeds; 1 when it did not in that time.
lab_wait_for() {
	local end=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
	shift
	until "$@"; do
		[ "${EPOCHREALTIME/[.,]/}" -lt "$end" ] || return 1
		sleep 0.02
	done
}

# ---- directories ----

# Where directories are made. In memory where that is possible: a release that waits for its audit record is refused after 100 ms, and how busy the disk is should decide no test that is not
# about the disk.
if [ -z "${LAB_TMP:-}" ]; then
	LAB_TMP=/tmp
	if [ -d /dev/shm ] && [ -w /dev/shm ]; then LAB_TMP=/dev/shm; fi
fi

# A new private directory whose path is short enough for socket names (108 bytes at most). Prints it.
lab_directory() {
	local directory
	directory=$(mktemp -d "$LAB_TMP/tokend.XXXXXX")
	chmod 700 "$directory"
	echo "$directory"
}

lab_is_running() {
	local pid
	[ -s "$1" ] || return 1
	pid=$(<"$1")
	[ -d "/proc/$pid" ] && [ "$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$pid/status" 2>/dev/null)" != Z ]
}

lab_is_stopped() { ! lab_is_running "$1"; }

# lab_is_gone PID: it has ended, whether anybody has asked for that yet or not.
lab_is_gone() { [ ! -d "/proc/$1" ] || grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null; }

# lab_end PIDFILE [SECONDS]: asks the process to end, and ends it when it does not. 1 when it had to be forced.
lab_end() {
	local pid status=0
	[ -s "$1" ] || return 0
	pid=$(<"$1")
	if lab_is_running "$1"; then
		kill -TERM "$pid" 2>/dev/null || true
		if ! lab_wait_for "${2:-10}" lab_is_stopped "$1"; then
			kill -KILL "$pid" 2>/dev/null || true
			status=1
		fi
	fi
	rm -f "$1"
	return $status
}

# lab_spawn PIDFILE LOG COMMAND...: in the background, in a session of its own, with the lab's time limit.
# The pid is the command's own: timeout runs beside it, not above it, so that a signal reaches the command directly.
lab_spawn() {
	local pidfile=$1 log=$2
	shift 2
	# shellcheck disable=SC2016 # the words belong to the inner shell
	setsid bash -c '
		pidfile=$1 log=$2 life=$3
		shift 3
		"$@" </dev/null >>"$log" 2>&1 9>&- &
		pid=$!
		echo "$pid" >"$pidfile.new" && mv "$pidfile.new" "$pidfile"
		if [ "$life" -gt 0 ]; then
			sleep "$life" </dev/null >/dev/null 2>&1 &
			limit=$!
			wait -n "$pid" "$limit"
			if kill -0 "$limit" 2>/dev/null; then
				kill "$limit"
			else
				kill -TERM "$pid" 2>/dev/null && sleep 5 && kill -KILL "$pid" 2>/dev/null
			fi
		else
			wait "$pid"
		fi
	' lab_spawn "$pidfile" "$log" "$LAB_LIFE" "$@" </dev/null >/dev/null 2>&1 &
	lab_wait_for 10 test -s "$pidfile"
}

# ---- the software TPM ----

# lab_tpm_socket D: the path of its socket. In D when that is short enough, for swtpm refuses long ones (and adds ".ctrl").
lab_tpm_socket() {
	local place
	if [ ! -s "$1/tpm.socket" ]; then
		place=$(cd "$1" && pwd)
		if [ ${#place} -gt 80 ]; then
			place=$(lab_directory)
		fi
		echo "$place/tpm.sock" >"$1/tpm.socket"
	fi
	cat "$1/tpm.socket"
}

lab_tpm_uri() { echo "tpm:swtpm:path=$(lab_tpm_socket "$1")"; }
lab_tpm_tcti() { echo "swtpm:path=$(lab_tpm_socket "$1")"; }

# lab_tpm COMMAND...: a tpm2-tools command on D's TPM:  lab_tpm D tpm2_getrandom 4
lab_tpm() {
	local directory=$1
	shift
	TPM2TOOLS_TCTI=$(lab_tpm_tcti "$directory") TSS2_LOG=all+none timeout 30 "$@"
}

lab_tpm_answers() { lab_tpm "$1" tpm2_getrandom --hex 4 >/dev/null 2>&1; }

# lab_tpm_start D: a software TPM with its state in D/tpm; the state stays from one start to the next.
lab_tpm_start() {
	local directory=$1 socket
	mkdir -p "$directory/tpm"
	socket=$(lab_tpm_socket "$directory")
	rm -f "$socket" "$socket.ctrl"
	lab_spawn "$directory/tpm.pid" "$directory/tpm.log" swtpm socket --tpm2 --tpmstate dir="$(cd "$directory/tpm" && pwd)" \
		--server type=unixio,path="$socket" --ctrl type=unixio,path="$socket.ctrl" --flags not-need-init,startup-clear \
		--log level=1
	if ! lab_wait_for 20 lab_tpm_started "$directory" "$socket"; then
		echo "lab: the software TPM did not start: $(tail -n 1 "$directory/tpm.log")" >&2
		return 1
	fi
	lab_tpm_answers "$directory" || { echo "lab: the software TPM does not answer: $(tail -n 1 "$directory/tpm.log")" >&2; return 1; }
}

lab_tpm_started() { lab_is_stopped "$1/tpm.pid" || { [ -S "$2" ] && [ -S "$2.ctrl" ]; }; }

# lab_tpm_stop D: with TPM2_Shutdown first. Without it each stop after the use of a protected object counts as a failed try, and three lock the TPM.
lab_tpm_stop() {
	local directory=$1
	if lab_is_running "$directory/tpm.pid"; then
		lab_tpm "$directory" tpm2_shutdown --clear >/dev/null 2>&1 || true
	fi
	lab_tpm_kill "$directory"
}

# lab_tpm_kill D: as a power cut does it.
lab_tpm_kill() {
	local directory=$1 socket
	lab_end "$directory/tpm.pid" 5 || true
	[ -s "$directory/tpm.socket" ] || return 0
	socket=$(lab_tpm_socket "$directory")
	rm -f "$socket" "$socket.ctrl"
}

# ---- a proxy before the TPM: counts commands, and misbehaves when told ----

# lab_proxy_start D [OPTION]...: then lab_proxy_uri D is what tokend is given.
lab_proxy_start() {
	local directory=$1 socket
	shift
	socket=$(lab_tpm_socket "$directory")
	echo pass >"$directory/proxy.mode"
	: >"$directory/proxy.commands"
	rm -f "$(lab_proxy_socket "$directory")" "$(lab_proxy_socket "$directory").ctrl"
	lab_spawn "$directory/proxy.pid" "$directory/proxy.log" python3 "$LAB_TOOLS/tpm-proxy" --listen "$(lab_proxy_socket "$directory")" \
		--to "$socket" --mode "$directory/proxy.mode" --commands "$directory/proxy.commands" "$@"
	lab_wait_for 20 test -S "$(lab_proxy_socket "$directory").ctrl"
}

lab_proxy_socket() { lab_tpm_socket "$1" | sed 's/tpm\.sock$/proxy.sock/'; }
lab_proxy_uri() { echo "tpm:swtpm:path=$(lab_proxy_socket "$1")"; }
lab_proxy_stop() { lab_end "$1/proxy.pid" 5 || true; }

# lab_proxy_mode D MODE: pass, hang, drop, truncate, oversize, garbage, delay MILLISECONDS, as DEVICE (as slow as that one), answer RESPONSE-CODE; times N MODE; from the next command on.
lab_proxy_mode() {
	local directory=$1
	shift
	echo "$*" >"$directory/proxy.mode.new"
	mv "$directory/proxy.mode.new" "$directory/proxy.mode"
}

# lab_proxy_count D: TPM commands so far. Two counts around an operation tell its price exactly.
lab_proxy_count() { wc -l <"$1/proxy.commands"; }

# ---- tokend ----

# lab_config D URI...: the configuration of a private tokend; the policy lets this user do everything.
lab_config() {
	local directory=$1 uri
	shift
	mkdir -p "$directory/policy.d"
	chmod 700 "$directory" "$directory/policy.d"
	for uri in "$@"; do
		echo "token $uri"
	done >"$directory/tokend.conf"
	chmod 600 "$directory/tokend.conf"
}

# lab_policy D: standard input becomes the whole policy.
lab_policy() {
	cat >"$1/policy.d/50-lab.conf"
	chmod 600 "$1/policy.d/50-lab.conf"
}

# lab_tokend_start D [OPTION]...: returns when the control socket answers; 1 when it does not within LAB_READY seconds.
lab_tokend_start() {
	local directory=$1 socket=$1/run/control.sock
	shift
	mkdir -p "$directory/state" "$directory/run"
	chmod 700 "$directory/state" "$directory/run"
	rm -f "$directory/tokend.pid"
	lab_spawn "$directory/tokend.pid" "$directory/tokend.log" "$LAB_BIN/tokend" --state-dir "$directory/state" \
		--runtime-dir "$directory/run" --config "$directory/tokend.conf" "$@"
	if ! lab_wait_for "${LAB_READY:-20}" lab_tokend_ready "$directory" || lab_is_stopped "$directory/tokend.pid"; then
		echo "lab: tokend did not become ready; its last words:" >&2
		tail -n 5 "$directory/tokend.log" >&2
		return 1
	fi
}

lab_tokend_ready() {
	lab_is_stopped "$1/tokend.pid" && return 0
	[ -S "$1/run/control.sock" ] && "$LAB_TOOLS/call" --deadline 2 "$1/run/control.sock" org.varlink.service.GetInfo >/dev/null 2>&1
}

lab_tokend_stop() { lab_end "$1/tokend.pid" 15; }
lab_tokend_reload() { kill -HUP "$(<"$1/tokend.pid")"; }

# lab_use D: the shell's programs find D's daemon.
lab_use() {
	export TOKEND_RUNTIME_DIR=$1/run
	case ":$PATH:" in *":$LAB_BIN:"*) ;; *) export PATH=$LAB_BIN:$PATH ;; esac
}

# lab_start D [OPTION]...: a TPM and a tokend on it, in use.
lab_start() {
	local directory=$1
	shift
	lab_tpm_start "$directory" || return 1
	[ -e "$directory/tokend.conf" ] || lab_config "$directory" "$(lab_tpm_uri "$directory")"
	lab_tokend_start "$directory" "$@" || return 1
	lab_use "$directory"
}

# lab_stop D: whatever of it runs, in order.
lab_stop() {
	lab_tokend_stop "$1" || echo "lab: tokend had to be killed" >&2
	lab_proxy_stop "$1"
	lab_tpm_stop "$1"
}

# lab_remove D: stops it and removes the directory; for a test's exit trap.
lab_remove() {
	local socket
	[ -n "${1:-}" ] && [ -d "$1" ] || return 0
	lab_stop "$1"
	if [ -s "$1/tpm.socket" ]; then
		socket=$(<"$1/tpm.socket")
		[ "${socket%/*}" = "$(cd "$1" && pwd)" ] || rm -rf "${socket%/*}"
	fi
	rm -rf "$1"
}
