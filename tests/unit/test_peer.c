/* Peers: what the kernel says of real sockets, what a cgroup's path means, and that a process that ended, or whose number went to another, has no unit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "tokend/peer_internal.h"

static const struct {
	const char *name;
	const char *text;
	const char *unit;
} cgroups[] = {
	{ "service", "0::/system.slice/jellyfin.service\n", "jellyfin.service" },
	{ "service at the root", "0::/jellyfin.service\n", "jellyfin.service" },
	{ "service below slices", "0::/a.slice/a-b.slice/a-b-c.slice/x.service\n", "x.service" },
	{ "template", "0::/system.slice/system-getty.slice/getty@tty1.service\n", "getty@tty1.service" },
	{ "escaped template", "0::/system.slice/system-x.slice/x@a-b\\x2fc.service\n",
	  "x@a-b\\x2fc.service" },
	{ "sub-cgroup", "0::/system.slice/x.service/workers/1\n", "x.service" },
	{ "sub-cgroup of a unit's name", "0::/system.slice/x.service/system.slice/sshd.service\n",
	  "x.service" },
	{ "escaped by systemd", "0::/system.slice/_memory.service\n", "memory.service" },
	{ "scope", "0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope" },
	{ "init", "0::/init.scope\n", "init.scope" },
	{ "user manager's service",
	  "0::/user.slice/user-1000.slice/user@1000.service/app.slice/jellyfin.service\n",
	  "user@1000.service" },
	{ "container's service", "0::/machine.slice/machine-x.scope/system.slice/jellyfin.service\n",
	  "machine-x.scope" },
	{ "container's payload",
	  "0::/machine.slice/systemd-nspawn@x.service/payload/system.slice/a.service\n",
	  "systemd-nspawn@x.service" },
	{ "version 1", "12:pids:/other.service\n1:name=systemd:/system.slice/x.service\n", "x.service" },
	{ "hybrid: systemd's own before the unified one",
	  "1:name=systemd:/system.slice/x.service\n0::/y.service\n", "x.service" },
	{ "hybrid, the other way round", "0::/y.service\n1:name=systemd:/system.slice/x.service\n",
	  "x.service" },
	{ "other hierarchies alone", "12:pids:/x.service\n3:cpu,cpuacct:/x.service\n", "" },
	{ "a path that looks like systemd's", "0::/a:name=systemd:/x.service\n", "" },
	{ "no newline", "0::/system.slice/x.service", "x.service" },
	{ "nothing", "", "" },
	{ "the root", "0::/\n", "" },
	{ "slices alone", "0::/system.slice\n", "" },
	{ "a slice after another thing", "0::/docker/abc/system.slice/x.service\n", "" },
	{ "outside of our namespace", "0::/../../system.slice/x.service\n", UNIT_UNKNOWN },
	{ "above our namespace", "0::/..\n", UNIT_UNKNOWN },
	{ "empty part", "0:://x.service\n", "" },
	{ "no slash", "0::x.service\n", "" },
	{ "unit that is gone", "0::/system.slice/x.service (deleted)\n", "" },
	{ "no name", "0::/system.slice/.service\n", "" },
	{ "no type", "0::/system.slice/x\n", "" },
	{ "another type", "0::/system.slice/x.target\n", "" },
	{ "other letters", "0::/system.slice/x.Service\n", "" },
	{ "a blank", "0::/system.slice/a b.service\n", "" },
	{ "a bare underscore", "0::/_\n", "" },
};

static void test_cgroups(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cgroups) / sizeof(cgroups[0]); i++) {
		char unit[UNIT_NAME_MAX] = "untouched";

		peer_unit_from_cgroup(bytes_of_string(cgroups[i].text), unit);
		if (strcmp(unit, cgroups[i].unit) != 0)
			fail_msg("%s: '%s'", cgroups[i].name, unit);
	}
}

static void test_long_unit(void **state)
{
	static const size_t lens[] = { UNIT_NAME_MAX - 1, UNIT_NAME_MAX, 4000 };

	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		char unit[UNIT_NAME_MAX], text[4096] = "0::/";
		size_t name_len = lens[i];

		memset(text + 4, 'a', name_len);
		memcpy(text + 4 + name_len - strlen(".service"), ".service", strlen(".service"));
		peer_unit_from_cgroup(bytes_of(text, 4 + name_len), unit);
		assert_int_equal(strlen(unit), name_len < UNIT_NAME_MAX ? name_len : 0);
	}
}

/* ---- real sockets ---- */

static enum err read_peer(int fd, struct peer *ret_peer)
{
	struct peer_hold hold;
	enum err err = peer_read(fd, ret_peer, &hold);

	if (!err)
		peer_read_unit(ret_peer, &hold);
	assert_true(err || hold.pidfd == -1);
	return err;
}

static void test_own_socket(void **state)
{
	struct peer peer;
	int sockets[2];

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	assert_int_equal(read_peer(sockets[0], &peer), OK);
	assert_int_equal(peer.uid, geteuid());
	assert_int_equal(peer.gid, getegid());
	assert_int_equal(peer.pid, getpid());
	assert_int_equal(peer.group_count, getgroups(0, NULL));
	(void)close(sockets[0]);
	(void)close(sockets[1]);
}

static void test_not_a_peer(void **state)
{
	struct peer peer = { .uid = 12345 };
	int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int internet = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)state;
	assert_int_equal(read_peer(listening, &peer), ERR_DENIED); /* nobody has connected */
	assert_int_equal(read_peer(-1, &peer), ERR_DENIED);
	assert_int_equal(read_peer(STDIN_FILENO, &peer), ERR_DENIED);
	if (internet >= 0)
		assert_int_equal(read_peer(internet, &peer), ERR_DENIED);
	assert_int_equal(peer.uid, 12345);
	(void)close(listening);
	(void)close(internet);
}

/* A child that takes another identity and connects; what it has at that moment is what its peer is told, whatever it becomes. */
static int connect_as(struct sockaddr_un *address, socklen_t len, gid_t gid, size_t group_count)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	gid_t groups[PEER_GROUPS_MAX + 1];

	for (size_t i = 0; i < group_count; i++)
		groups[i] = (gid_t)(5000 + i);
	if (setgroups(group_count, groups) < 0 || setresgid(gid, gid, gid) < 0 ||
	    setresuid(gid, gid, gid) < 0)
		return 1;
	return connect(fd, (struct sockaddr *)address, len) < 0;
}

static enum err read_child(gid_t gid, size_t group_count, struct peer *ret_peer)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	CLEANUP(close_fdp) int listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CLEANUP(close_fdp) int fd = -1;
	socklen_t len = sizeof(address);
	int status;
	pid_t child;

	assert_int_equal(bind(listening, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
	assert_int_equal(getsockname(listening, (struct sockaddr *)&address, &len), 0);
	assert_int_equal(listen(listening, 1), 0);
	child = fork();
	if (child == 0)
		_exit(connect_as(&address, len, gid, group_count));
	assert_int_equal(waitpid(child, &status, 0), child); /* it has ended before we look */
	assert_int_equal(status, 0);
	fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fd >= 0);
	return read_peer(fd, ret_peer);
}

static void test_other_identity(void **state)
{
	struct peer peer;

	(void)state;
	if (geteuid() != 0) {
		print_message("not root: other identities were not taken\n");
		return;
	}
	assert_int_equal(read_child(4242, 3, &peer), OK);
	assert_int_equal(peer.uid, 4242);
	assert_int_equal(peer.gid, 4242);
	assert_int_equal(peer.group_count, 3);
	assert_int_equal(peer.groups[2], 5002);
	assert_string_equal(peer.unit, UNIT_UNKNOWN); /* whatever this test runs in: the child is gone */
	assert_int_equal(read_child(4242, PEER_GROUPS_MAX, &peer), OK);
	assert_int_equal(peer.group_count, PEER_GROUPS_MAX);
	assert_int_equal(read_child(4242, PEER_GROUPS_MAX + 1, &peer), ERR_DENIED);
}

/* ---- units, over a /proc of our own ---- */

static char proc_path[64];

static int make_proc(void **state)
{
	(void)state;
	(void)strcpy(proc_path, "/tmp/test_peer.XXXXXX");
	return mkdtemp(proc_path) ? 0 : -1;
}

static int remove_proc(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", proc_path);
	return system(command);
}

static void write_proc(const char *name, const char *text)
{
	char path[256];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/77", proc_path);
	(void)mkdir(path, 0700);
	(void)snprintf(path, sizeof(path), "%s/77/%s", proc_path, name);
	file = fopen(path, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void test_units(void **state)
{
	static const struct {
		const char *name;
		pid_t pid;
		uid_t uid;
		bool alive, exact;
		const char *unit;
	} rows[] = {
		{ "known to the kernel", 77, 1, true, true, "x.service" },
		{ "known to the kernel, ended", 77, 1, false, true, UNIT_UNKNOWN },
		{ "by number, same uid", 77, 1000, true, false, "x.service" },
		{ "by number, the saved uid", 77, 1002, true, false, "x.service" },
		{ "by number, ended", 77, 1000, false, false, UNIT_UNKNOWN },
		{ "by number, another uid: the number was given away", 77, 1, true, false, UNIT_UNKNOWN },
		{ "no such number", 78, 1000, true, true, UNIT_UNKNOWN },
		{ "of another namespace", 0, 1000, true, true, UNIT_UNKNOWN },
	};
	pid_t child = fork();
	int alive, dead;

	(void)state;
	if (child == 0)
		_exit(0);
	alive = (int)syscall(SYS_pidfd_open, getpid(), 0);
	dead = (int)syscall(SYS_pidfd_open, child, 0);
	assert_true(alive >= 0 && dead >= 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	write_proc("cgroup", "0::/system.slice/x.service\n");
	write_proc("status", "Name:\tuid: 1\nUid:\t1000\t1001\t1002\t1003\nGid:\t1\t1\t1\t1\n");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct peer_process process = { .proc = open(proc_path, O_PATH | O_DIRECTORY | O_CLOEXEC),
			                        .pidfd = rows[i].alive ? alive : dead,
			                        .exact = rows[i].exact,
			                        .pid = rows[i].pid,
			                        .uid = rows[i].uid };
		char unit[UNIT_NAME_MAX];

		peer_unit_read(&process, unit);
		if (strcmp(unit, rows[i].unit) != 0)
			fail_msg("%s: '%s'", rows[i].name, unit);
		process.pidfd = -1;
		peer_unit_read(&process, unit);
		assert_string_equal(unit, UNIT_UNKNOWN);
		(void)close(process.proc);
	}
	(void)close(alive);
	(void)close(dead);
}

/* In none is not the same as not known. */
static void test_no_unit(void **state)
{
	static const struct {
		const char *text;
		const char *unit;
	} stats[] = {
		{ "77 (x) S 1 77 77 0 -1 4194560 1 2\n", "" },
		{ "77 (x) R 1 77 77 34816 77 4194304 1 2\n", "" },
		{ "77 (x) Z 1 77 77 0 -1 4228876 1 2\n", UNIT_UNKNOWN }, /* 0x40870c */
		{ "77 (x) R 1 77 77 0 -1 4 1 2\n", UNIT_UNKNOWN },
		{ "77 (a) S 1 1 1 0 -1 0 (b) S 1 77 77 0 -1 4 1 2\n", UNIT_UNKNOWN },
		{ "77 (x) S 1 77 77 0 -1\n", UNIT_UNKNOWN },
		{ "77 (x) S 1 77 77 0 -1 x 1 2\n", UNIT_UNKNOWN },
		{ "77 x S 1 77 77 0 -1 0 1 2\n", UNIT_UNKNOWN },
		{ "", UNIT_UNKNOWN },
	};
	struct peer_process process = { .pid = 77, .uid = 1, .exact = true };
	char unit[UNIT_NAME_MAX];

	(void)state;
	write_proc("cgroup", "0::/\n");
	process.proc = open(proc_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	process.pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	peer_unit_read(&process, unit);
	assert_string_equal(unit, UNIT_UNKNOWN); /* nor does anything tell that it is not ending */
	for (size_t i = 0; i < sizeof(stats) / sizeof(stats[0]); i++) {
		write_proc("stat", stats[i].text);
		peer_unit_read(&process, unit);
		if (strcmp(unit, stats[i].unit) != 0)
			fail_msg("%s: '%s'", stats[i].text, unit);
	}
	(void)close(process.proc);
	(void)close(process.pidfd);
}

/* The process lives on when its first thread has ended, in whichever hierarchy this machine has: that it is in no unit is believed no more. */
static void *outlive(void *argument)
{
	const int *ready = argument;
	struct pollfd poll_fd = { .fd = *ready, .events = POLLHUP };

	(void)poll(&poll_fd, 1, 10000);
	_exit(0);
}

static void test_first_thread_ended(void **state)
{
	struct peer_process process = { .exact = true };
	char unit[UNIT_NAME_MAX], path[64], text[512];
	int ends[2], tries = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	process.pid = fork();
	if (process.pid == 0) {
		(void)close(ends[1]);
		if (pthread_create(&thread, NULL, outlive, &ends[0]) != 0)
			_exit(1);
		(void)syscall(SYS_exit, 0); /* of this thread alone */
	}
	(void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)process.pid);
	do {
		FILE *file = fopen(path, "re");

		assert_non_null(file);
		assert_non_null(fgets(text, sizeof(text), file));
		assert_int_equal(fclose(file), 0);
		(void)usleep(1000);
	} while (!strstr(text, ") Z ") && ++tries < 5000);
	process.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	process.pidfd = (int)syscall(SYS_pidfd_open, process.pid, 0);
	peer_unit_read(&process, unit);
	assert_string_not_equal(unit, "");
	(void)close(ends[0]);
	(void)close(ends[1]);
	(void)close(process.proc);
	(void)close(process.pidfd);
	assert_int_equal(waitpid(process.pid, NULL, 0), process.pid);
}

/* A cgroup file that is longer than any can be is not read in part. */
static void test_long_cgroup(void **state)
{
	char text[9000];
	struct peer_process process = { .pid = 77, .uid = 1, .exact = true };
	char unit[UNIT_NAME_MAX];

	(void)state;
	memset(text, '\n', sizeof(text));
	memcpy(text, "0::/x.service", strlen("0::/x.service"));
	text[sizeof(text) - 1] = '\0';
	write_proc("cgroup", text);
	process.proc = open(proc_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	process.pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	peer_unit_read(&process, unit);
	assert_string_equal(unit, UNIT_UNKNOWN);
	(void)close(process.proc);
	(void)close(process.pidfd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cgroups),
		cmocka_unit_test(test_long_unit),
		cmocka_unit_test(test_own_socket),
		cmocka_unit_test(test_not_a_peer),
		cmocka_unit_test(test_other_identity),
		cmocka_unit_test_setup_teardown(test_units, make_proc, remove_proc),
		cmocka_unit_test_setup_teardown(test_no_unit, make_proc, remove_proc),
		cmocka_unit_test(test_first_thread_ended),
		cmocka_unit_test_setup_teardown(test_long_cgroup, make_proc, remove_proc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
