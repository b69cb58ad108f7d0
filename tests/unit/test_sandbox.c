/* The broker's sandbox: a process confines itself as the broker does and tries what it may and what it must not. Each row is a process of its own, so that no row spoils the next. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>

#include "common/confine.h"
#include "tokend/sandbox.h"

static char directory[64];
static char state_path[96], configuration_path[96], other_path[96];
static pid_t other; /* a process of the same user */
static int open_socket = -1; /* kept open through all */
static bool landlock;

static int failure(long result)
{
	return result < 0 ? errno : 0;
}

static int open_in(const char *where, const char *name, int flags)
{
	char path[160];
	CLEANUP(close_fdp) int fd = -1;

	(void)snprintf(path, sizeof(path), "%s/%s", where, name);
	fd = open(path, flags | O_CLOEXEC, 0600);
	return failure(fd);
}

/* ---- what it may ---- */

static int do_state(void)
{
	CLEANUP(close_fdp) int at = open(state_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CLEANUP(close_fdp) int fd = openat(at, "new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, "x", 1) != 1 || fchmod(fd, 0600) < 0 || fsync(fd) < 0 ||
	    ftruncate(fd, 0) < 0 || linkat(at, "new", at, "second", 0) < 0 ||
	    renameat(at, "second", at, "third") < 0 ||
	    faccessat(at, "third", F_OK, AT_SYMLINK_NOFOLLOW) < 0 || unlinkat(at, "third", 0) < 0 ||
	    unlinkat(at, "new", 0) < 0 || fsync(at) < 0)
		return errno ? errno : -1;
	return 0;
}

static int do_configuration(void)
{
	return open_in(configuration_path, "file", O_RDONLY);
}

static int do_names(void)
{
	const struct passwd *user = getpwnam("root");

	return user && user->pw_uid == 0 ? 0 : -1;
}

static int do_cgroup(void)
{
	return open_in("/proc/1", "cgroup", O_RDONLY);
}

/* A configuration that names no token is read anew. */
static int do_device(void)
{
	return failure(access("/dev/null", F_OK));
}

static int do_loop(void)
{
	const struct itimerspec never = { 0 };
	CLEANUP(close_fdp) int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);

	return failure(timer < 0 ? -1 : timerfd_settime(timer, 0, &never, NULL));
}

static int do_alarm(void)
{
	const struct itimerval never = { .it_interval.tv_usec = 0 };

	return failure(setitimer(ITIMER_REAL, &never, NULL));
}

static int do_memory(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? errno : failure(mprotect(page, 4096, PROT_NONE));
}

static int do_own_limits(void)
{
	struct rlimit limit;

	return failure(getrlimit(RLIMIT_NOFILE, &limit));
}

static int do_notify(void)
{
	int sent = sd_notify(0, "READY=1");

	return sent > 0 ? 0 : sent < 0 ? -sent : -1;
}

/* ---- what it must not ---- */

static int do_kill_thread(void)
{
	return failure(syscall(SYS_tgkill, other, other, 0));
}

static int do_kill(void)
{
	return failure(kill(other, 0));
}

static int do_tkill(void)
{
	return failure(syscall(SYS_tkill, other, 0));
}

static int do_queue_signal(void)
{
	siginfo_t info = { .si_code = SI_QUEUE };

	return failure(syscall(SYS_rt_sigqueueinfo, other, 0, &info));
}

static int do_others_limits(void)
{
	struct rlimit limit;

	return failure(prlimit(other, RLIMIT_NOFILE, NULL, &limit));
}

static int do_set_limit(void)
{
	struct rlimit limit = { 64, 64 };

	return failure(setrlimit(RLIMIT_NOFILE, &limit));
}

static int do_code(void)
{
	const void *page =
	        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? errno : 0;
}

static int do_code_later(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return page == MAP_FAILED ? -1 : failure(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}

static int do_dumpable(void)
{
	return failure(prctl(PR_SET_DUMPABLE, 1, 0, 0, 0));
}

static int do_execute(void)
{
	char *const argv[] = { NULL };

	return failure(execve("/bin/true", argv, argv));
}

static int do_fork(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return failure(pid);
}

static void *do_nothing(void *context)
{
	return context;
}

static int do_thread(void)
{
	pthread_t thread;

	return pthread_create(&thread, NULL, do_nothing, NULL);
}

static int make_socket(int family, int type)
{
	CLEANUP(close_fdp) int fd = socket(family, type, 0);

	return failure(fd);
}

static int do_stream(void)
{
	return make_socket(AF_UNIX, SOCK_STREAM);
}

static int do_datagram(void)
{
	return make_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC);
}

static int do_internet(void)
{
	return make_socket(AF_INET, SOCK_DGRAM);
}

static int do_netlink(void)
{
	return make_socket(AF_NETLINK, SOCK_RAW);
}

static int do_connect(void)
{
	const struct sockaddr_un nowhere = { .sun_family = AF_UNIX, .sun_path = "/nowhere" };

	return failure(connect(open_socket, (const struct sockaddr *)&nowhere, sizeof(nowhere)));
}

static int do_ioctl(void)
{
	int count;

	return failure(ioctl(open_socket, FIONREAD, &count));
}

static int do_owner(void)
{
	return failure(fcntl(open_socket, F_SETOWN, other));
}

static int do_duplicate(void)
{
	return failure(fcntl(open_socket, F_DUPFD_CLOEXEC, 0));
}

static int do_trace(void)
{
	return failure(syscall(SYS_ptrace, 16 /* PTRACE_ATTACH */, other, 0, 0));
}

static int do_read_memory(void)
{
	char byte = 0;
	struct iovec part = { &byte, 1 };

	return failure(process_vm_readv(other, &part, 1, &part, 1, 0));
}

static int do_take_descriptor(void)
{
	return failure(syscall(SYS_pidfd_getfd, open_socket, 0, 0));
}

static int do_ring(void)
{
	return failure(syscall(SYS_io_uring_setup, 1, NULL));
}

static int do_unshare(void)
{
	return failure(unshare(CLONE_NEWUSER));
}

static int do_set_user(void)
{
	return failure(setresuid(1, 1, 1));
}

static int do_other_file(void)
{
	return open_in(other_path, "file", O_RDONLY);
}

static int do_other_write(void)
{
	return open_in(other_path, "made", O_WRONLY | O_CREAT);
}

static int do_change_configuration(void)
{
	return open_in(configuration_path, "file", O_WRONLY);
}

static int do_change_etc(void)
{
	return open_in("/etc", "made-by-a-test-of-tokend", O_WRONLY | O_CREAT);
}

static int do_library(void)
{
	return open_in("/usr/bin", "env", O_RDONLY);
}

static int do_list_root(void)
{
	return open_in("/", ".", O_RDONLY | O_DIRECTORY);
}

/* ---- the table ---- */

enum when {
	ALWAYS,
	NOTIFIED, /* with a service manager */
	EXACT, /* not under a sanitizer, which gets more */
	LANDLOCK, /* where the kernel has it, and not under a sanitizer */
};

static const struct row {
	const char *name;
	int (*act)(void);
	int error; /* 0: it works */
	enum when when;
} rows[] = {
	{ "files in the state directory", do_state, 0, ALWAYS },
	{ "reading the configuration", do_configuration, 0, ALWAYS },
	{ "the name of a user", do_names, 0, ALWAYS },
	{ "a peer's control group", do_cgroup, 0, ALWAYS },
	{ "whether a device is there", do_device, 0, ALWAYS },
	{ "a timer", do_loop, 0, ALWAYS },
	{ "a timer that signals", do_alarm, 0, ALWAYS },
	{ "a thread", do_thread, 0, ALWAYS },
	{ "memory", do_memory, 0, ALWAYS },
	{ "reading our limits", do_own_limits, 0, ALWAYS },
	{ "a word to the service manager", do_notify, 0, NOTIFIED },
	{ "a signal to another's thread", do_kill_thread, EPERM, ALWAYS },
	{ "a signal to another", do_kill, EPERM, ALWAYS },
	{ "a signal to a thread", do_tkill, EPERM, ALWAYS },
	{ "a signal with a value", do_queue_signal, EPERM, ALWAYS },
	{ "another's limits", do_others_limits, EPERM, EXACT },
	{ "changing our limits", do_set_limit, EPERM, EXACT },
	{ "memory that is code", do_code, EPERM, EXACT },
	{ "memory that becomes code", do_code_later, EPERM, EXACT },
	{ "becoming dumpable", do_dumpable, EPERM, EXACT },
	{ "a program", do_execute, EPERM, ALWAYS },
	{ "a process", do_fork, EPERM, EXACT },
	{ "a stream socket", do_stream, EPERM, ALWAYS },
	{ "a stream socket with a service manager", do_stream, EPERM, NOTIFIED },
	{ "a datagram socket", do_datagram, EPERM, ALWAYS },
	{ "an internet socket", do_internet, EPERM, NOTIFIED },
	{ "a netlink socket", do_netlink, EPERM, NOTIFIED },
	{ "connecting", do_connect, EPERM, NOTIFIED },
	{ "ioctl", do_ioctl, EPERM, EXACT },
	{ "signals from a descriptor", do_owner, EPERM, EXACT },
	{ "duplicating a descriptor", do_duplicate, EPERM, EXACT },
	{ "tracing", do_trace, EPERM, EXACT },
	{ "another's memory", do_read_memory, EPERM, ALWAYS },
	{ "another's descriptor", do_take_descriptor, EPERM, ALWAYS },
	{ "io_uring", do_ring, EPERM, ALWAYS },
	{ "a namespace", do_unshare, EPERM, ALWAYS },
	{ "becoming another user", do_set_user, EPERM, ALWAYS },
	{ "reading elsewhere", do_other_file, EACCES, LANDLOCK },
	{ "writing elsewhere", do_other_write, EACCES, LANDLOCK },
	{ "writing the configuration", do_change_configuration, EACCES, LANDLOCK },
	{ "writing in /etc", do_change_etc, EACCES, LANDLOCK },
	{ "reading a program", do_library, EACCES, LANDLOCK },
	{ "listing /", do_list_root, EACCES, LANDLOCK },
};

static bool applies(const struct row *row)
{
	return row->when == ALWAYS || row->when == NOTIFIED ||
	       (!CONFINE_SANITIZED && (row->when == EXACT || landlock));
}

static bool confine(bool notify)
{
	int keep[] = { -1, open_socket };

	return confine_descriptors(keep, 2) == OK && sandbox_drop_privileges(NULL, 0, 0, getppid()) == OK &&
	       sandbox_files(state_path, configuration_path, "") == OK && sandbox_filter(notify) == OK;
}

/* Runs act in a process, confined or not; its result, or -2 when it ended otherwise. */
static int run(int (*act)(void), bool confined, bool notify)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		if (confined && !confine(notify))
			_exit(254);
		errno = 0;
		_exit(act());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -2;
}

static void test_matrix(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int result = applies(&rows[i]) ? run(rows[i].act, true, rows[i].when == NOTIFIED) : 0;
		bool good = !applies(&rows[i]) || result == rows[i].error;

		(void)printf("%-4s %-40s %s\n", good ? "ok" : "BAD", rows[i].name,
		             !applies(&rows[i])           ? "not asked here"
		             : result == 0                ? "works"
		             : result < 0 || result > 133 ? "ended"
		                                          : strerror(result));
		wrong += !good;
	}
	assert_int_equal(wrong, 0);
}

/* The same acts without the sandbox: those that would fail anyway prove nothing. */
static void test_control(void **state)
{
	static int (*const acts[])(void) = { do_kill_thread, do_others_limits, do_code,  do_dumpable,
		                             do_thread,      do_stream,        do_ioctl, do_other_file,
		                             do_library,     do_fork };

	(void)state;
	for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++)
		assert_int_equal(run(acts[i], false, false), 0);
}

/* ---- the rest ---- */

static void *try_in_thread(void *context)
{
	int *result = context;

	*result = do_internet();
	return NULL;
}

static int do_in_thread(void)
{
	pthread_t thread;
	int result = -1;

	if (pthread_create(&thread, NULL, try_in_thread, &result))
		return -1;
	(void)pthread_join(thread, NULL);
	return result;
}

/* The thread of the audit log is no less confined. */
static void test_threads(void **state)
{
	(void)state;
	assert_int_equal(run(do_in_thread, false, false), 0);
	assert_int_equal(run(do_in_thread, true, false), EPERM);
}

static int do_count_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* 0 to 2 and the socket. */
static void test_descriptors(void **state)
{
	int low = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int high = fcntl(low, F_DUPFD, 200);

	(void)state;
	assert_true(low >= 0 && high >= 200);
	assert_true(run(do_count_descriptors, false, false) > 4);
	assert_int_equal(run(do_count_descriptors, true, false), 4);
	(void)close(low);
	(void)close(high);
}

static int do_end_with_parent(void)
{
	int number = 0;

	if (sandbox_drop_privileges("nobody", 65534, 65534, getppid()) || geteuid() != 65534)
		return -1;
	return prctl(PR_GET_PDEATHSIG, &number) < 0 ? -1 : number;
}

static int do_orphan(void)
{
	return sandbox_drop_privileges(NULL, 0, 0, getppid() + 1) == OK ? 0 : 1;
}

/* The kernel forgets the signal when the user changes. */
static void test_parent(void **state)
{
	(void)state;
	assert_int_equal(run(do_orphan, false, false), 1);
	if (geteuid() == 0 && getpwnam("nobody"))
		assert_int_equal(run(do_end_with_parent, false, false), SIGTERM);
}

/* ---- the place ---- */

static void make_directory(char path[static 96], const char *name)
{
	char file[128];
	int fd;

	(void)snprintf(path, 96, "%s/%s", directory, name);
	assert_int_equal(mkdir(path, 0700), 0);
	(void)snprintf(file, sizeof(file), "%s/file", path);
	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	(void)close(fd);
}

static int enter(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	(void)state;
	(void)snprintf(directory, sizeof(directory), "/tmp/test_sandbox.XXXXXX");
	assert_non_null(mkdtemp(directory));
	make_directory(state_path, "state");
	make_directory(configuration_path, "configuration");
	make_directory(other_path, "other");
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", directory);
	open_socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(open_socket, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(setenv("NOTIFY_SOCKET", address.sun_path, 1), 0);
	landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) > 0;
	other = fork();
	if (other == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)pause();
	}
	return other > 0 ? 0 : -1;
}

static int leave(void **state)
{
	const char *const paths[] = { state_path, configuration_path, other_path };
	char file[128];

	(void)state;
	(void)kill(other, SIGKILL);
	(void)waitpid(other, NULL, 0);
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		(void)snprintf(file, sizeof(file), "%s/file", paths[i]);
		(void)unlink(file);
		(void)rmdir(paths[i]);
	}
	(void)snprintf(file, sizeof(file), "%s/notify", directory);
	(void)unlink(file);
	return rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matrix),  cmocka_unit_test(test_control),
		cmocka_unit_test(test_threads), cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_parent),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
