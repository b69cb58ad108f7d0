# shellcheck shell=bash
# Machines for tests: a real systemd as PID 1 of a container, started from a tree of Debian packages that is made once and kept.
# Source tests/lab/lab.sh first.
#
#	machine_need                  skips the test where no machine can be booted
#	machine_tree                  sets MACHINE_TREE: the kept tree, never to be changed
#	machine_copy DIRECTORY        sets MACHINE_COPY: a copy of it in DIRECTORY's place, to be changed and thrown away
#	machine_boot TREE PAYLOAD SECONDS [OPTION]...   boots TREE, runs PAYLOAD/run in it as root, ends with its exit status

MACHINE_CACHE=${TOKEND_PEERS_CACHE:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/tokend-peers}
# What the programs link, what boots, and age to be compared with. The tree carries no compiler and nothing of tokend.
MACHINE_PACKAGES=systemd,systemd-sysv,udev,dbus,libpam-systemd,passwd,procps,util-linux,man-db,tpm2-tools,libtss2-esys-3.0.2-0,libtss2-mu0
# For the files of SOPS, and to install as README.md says it.
MACHINE_PACKAGES+=,libnettle8,libfyaml0,libpcre2-8-0,cmake
MACHINE_PACKAGES+=,libtss2-tctildr0,libtss2-tcti-swtpm0,libtss2-tcti-device0,libsodium23,libjansson4,libssl3,libsystemd0,libseccomp2,age

machine_need() {
	[ "$(id -u)" -eq 0 ] || lab_skip "a machine can be booted by root only"
	lab_need systemd-nspawn systemd-sysusers
	[ -f /etc/debian_version ] || lab_skip "this is not Debian, so a Debian tree would not run the programs built here"
	machine_hierarchies >/dev/null || lab_skip "no control group can be made here"
}

machine_suite() {
	# shellcheck source=/dev/null
	(. /etc/os-release && echo "${VERSION_CODENAME:-bookworm}")
}

machine_tree() {
	local suite name log
	suite=$(machine_suite)
	name=tree-$suite-$(echo "$MACHINE_PACKAGES" | sha256sum | cut -c 1-12)
	MACHINE_TREE=$MACHINE_CACHE/$name
	mkdir -p "$MACHINE_CACHE"
	exec 8>"$MACHINE_CACHE/.tree-lock"
	flock --wait 600 8 || lab_skip "another test has been making the tree for ten minutes"
	if [ ! -d "$MACHINE_TREE" ]; then
		command -v mmdebstrap >/dev/null || lab_skip "mmdebstrap is not installed"
		log=$(mktemp)
		rm -rf "$MACHINE_TREE.new"
		if ! timeout --kill-after=10 420 nice mmdebstrap --quiet --mode=root --variant=essential --include="$MACHINE_PACKAGES" \
			--aptopt='Apt::Install-Recommends "false"' --aptopt='Acquire::http::Timeout "30"' --aptopt='Acquire::Retries "1"' \
			--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt=force-unsafe-io \
			"$suite" "$MACHINE_TREE.new" ${TOKEND_DEBIAN_MIRROR:+"$TOKEND_DEBIAN_MIRROR"} >"$log" 2>&1 </dev/null; then
			rm -rf "$MACHINE_TREE.new"
			lab_skip "the Debian tree could not be made: $(grep -E '^E:' "$log" | tail -n 1)"
		fi
		rm -f "$log"
		rm -rf "$MACHINE_TREE.new"/var/cache/apt/archives/*.deb "$MACHINE_TREE.new"/var/lib/apt/lists/*
		mv -T "$MACHINE_TREE.new" "$MACHINE_TREE"
	fi
	exec 8>&-
}

# Hard links: a second's work. What is put into the copy must be a new file or one that is renamed into place.
machine_copy() {
	MACHINE_COPY=$(mktemp -d "$MACHINE_CACHE/.machine.XXXXXX")
	cp -al "$MACHINE_TREE/." "$MACHINE_COPY/"
}

# The mounted hierarchies in which a control group of our own has to be made.
machine_hierarchies() {
	local mount found=
	if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
		[ -w /sys/fs/cgroup ] && found=/sys/fs/cgroup
	else
		for mount in /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
			if [ -d "$mount" ] && [ -w "$mount" ] && [ -w "$mount/cgroup.procs" ]; then found+="$mount "; fi
		done
	fi
	[ -n "$found" ] && echo "$found"
}

# Written beside the payload: what PID 1 starts. Its target pulls in what a test asks for.
machine_units() {
	local payload=$1 units=$2
	mkdir -p "$payload/units"
	cat >"$payload/units/payload.target" <<-UNIT
		[Unit]
		Requires=basic.target payload.service
		Wants=$units
		After=basic.target
		AllowIsolate=yes
	UNIT
	cat >"$payload/units/payload.service" <<-UNIT
		[Unit]
		After=basic.target $units
		[Service]
		Type=oneshot
		ExecStart=/bin/bash -c 'bash /payload/run >/payload/output 2>&1; status=\$\$?; echo \$\$status >/payload/status; systemctl exit \$\$status'
	UNIT
}

# machine_boot TREE PAYLOAD SECONDS UNITS [NSPAWN-OPTION]...
# Prints what the payload printed. Ends with its status; 124: not done in time, 125: it never ran.
machine_boot() {
	local tree=$1 payload=$2 seconds=$3 units=$4 status=0
	shift 4
	machine_units "$payload" "$units"
	rm -f "$payload/status" "$payload/output"
	# nspawn refuses mlock to a container without CAP_IPC_LOCK, and Landlock; a real machine does not, and tokend refuses to run without the one and is less confined without the other.
	setsid --wait bash "$LAB_SOURCE/tests/vm/boot" "$seconds" "$(machine_hierarchies)" systemd-nspawn --quiet --register=no --keep-unit --system-call-filter="@memlock landlock_create_ruleset landlock_add_rule landlock_restrict_self" --boot \
		--directory="$tree" --volatile=overlay --machine="tokend-test-$$" --link-journal=no --resolv-conf=off --timezone=off \
		--console=pipe --bind="$payload:/payload" --bind-ro="$payload/units:/usr/local/lib/systemd/system" "$@" \
		-- systemd.unit=payload.target >"$payload/console" 2>&1 </dev/null || status=$?
	[ ! -f "$payload/output" ] || cat "$payload/output"
	[ $status -ne 124 ] || return 124
	if [ ! -s "$payload/status" ]; then
		echo "machine: the payload did not run to its end; the console's last lines:" >&2
		tail -n 15 "$payload/console" >&2
		return 125
	fi
	return "$(<"$payload/status")"
}
