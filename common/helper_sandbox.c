#include "common/helper_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* What reading a message, asking a device and answering take. Memory is asked for below, because it must never become code. */
static const int calls_always[] = {
	SCMP_SYS(read),
	SCMP_SYS(write),
	SCMP_SYS(readv),
	SCMP_SYS(writev),
	SCMP_SYS(recvmsg),
	SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(sendmmsg),
	SCMP_SYS(close),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	SCMP_SYS(lseek),
	SCMP_SYS(fstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(munmap),
	SCMP_SYS(mremap),
	SCMP_SYS(madvise),
	SCMP_SYS(mlock),
	SCMP_SYS(mlock2),
	SCMP_SYS(munlock),
	SCMP_SYS(brk),
	SCMP_SYS(futex),
	SCMP_SYS(getrandom),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(sigaltstack),
	SCMP_SYS(getpid),
	SCMP_SYS(gettid),
	SCMP_SYS(tgkill), /* abort(); of ourselves only, see below */
};

/* The reports of AddressSanitizer, and the leak check at the end, which stops the process from a thread of its own. */
static const int calls_sanitizer[] = {
	SCMP_SYS(clone),
	SCMP_SYS(clone3),
	SCMP_SYS(wait4),
	SCMP_SYS(ptrace),
	SCMP_SYS(prctl),
	SCMP_SYS(openat),
	SCMP_SYS(open),
	SCMP_SYS(readlink),
	SCMP_SYS(getdents64),
	SCMP_SYS(getdents),
	SCMP_SYS(stat),
	SCMP_SYS(capget),
	SCMP_SYS(access),
	SCMP_SYS(dup),
	SCMP_SYS(fcntl),
	SCMP_SYS(sched_yield),
	SCMP_SYS(mmap),
	SCMP_SYS(pipe2),
	SCMP_SYS(arch_prctl),
	SCMP_SYS(getppid),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(mprotect),
	SCMP_SYS(ioctl),
	SCMP_SYS(sysinfo),
	SCMP_SYS(prlimit64),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(rseq),
	SCMP_SYS(kill),
	SCMP_SYS(readlinkat),
	SCMP_SYS(uname),
	SCMP_SYS(getuid),
};

/* For a driver with threads, a D-Bus client at that (tabrmd). */
static const int calls_threads[] = {
	SCMP_SYS(clone),    SCMP_SYS(clone3),      SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
	SCMP_SYS(eventfd2), SCMP_SYS(sched_yield), SCMP_SYS(getuid),          SCMP_SYS(geteuid),
	SCMP_SYS(getgid),   SCMP_SYS(getegid),     SCMP_SYS(prctl),           SCMP_SYS(pipe2),
};

static const int calls_sockets[] = {
	SCMP_SYS(connect),     SCMP_SYS(getsockopt),  SCMP_SYS(setsockopt),
	SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(shutdown),
};

static bool allow(scmp_filter_ctx filter, const int *calls, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0) < 0)
			return false;
	return true;
}

#define ALLOW(filter, calls) allow(filter, calls, sizeof(calls) / sizeof((calls)[0]))

/* No page may be made executable, so what is injected cannot become code. */
static bool allow_memory(scmp_filter_ctx filter)
{
	if (SANITIZED)
		return true;
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
	                        SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) == 0 &&
	       seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
	                        SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) == 0;
}

static bool allow_socket(scmp_filter_ctx filter, int family)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
	                        SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)family, 0)) == 0;
}

static bool allow_sockets(scmp_filter_ctx filter, const struct token_sandbox *sandbox)
{
	if (!sandbox->unix_sockets && !sandbox->inet_sockets)
		return true;
	if (!ALLOW(filter, calls_sockets))
		return false;
	if (sandbox->unix_sockets && !allow_socket(filter, AF_UNIX))
		return false;
	return !sandbox->inet_sockets || (allow_socket(filter, AF_INET) && allow_socket(filter, AF_INET6));
}

/* A device is opened again after an error; nothing is ever made. Which files: Landlock says, and the file's own mode. */
static bool allow_files(scmp_filter_ctx filter, const struct token_sandbox *sandbox)
{
	if (sandbox->directory[0] == '\0' || SANITIZED)
		return true;
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1,
	                        SCMP_A2(SCMP_CMP_MASKED_EQ, O_CREAT | O_TRUNC | O_TMPFILE, 0)) == 0;
}

/* F_GETFL and F_SETFL, for drivers that read without waiting; no duplicating, no locks, no signals. */
static bool allow_fcntl(scmp_filter_ctx filter)
{
	static const int commands[] = { F_GETFL, F_SETFL, F_GETFD, F_SETFD };

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
		                     SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)commands[i], 0)) < 0)
			return false;
	return true;
}

static enum err filter_load(const struct token_sandbox *sandbox)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	bool good;

	if (!filter)
		return ERR_NOMEM;
	good = ALLOW(filter, calls_always) && allow_memory(filter) && allow_sockets(filter, sandbox) &&
	       allow_files(filter, sandbox) && allow_fcntl(filter);
	if (good && SANITIZED)
		good = ALLOW(filter, calls_sanitizer);
	if (good && sandbox->threads)
		good = ALLOW(filter, calls_threads);
	good = good && seccomp_load(filter) == 0;
	seccomp_release(filter);
	return good ? OK : ERR_SYSTEM;
}

/* Every right that the first version of Landlock knows; what a rule does not give back is gone. */
#define LANDLOCK_ALL ((1ULL << 13) - 1)

static enum err landlock_allow(int ruleset, const char *directory)
{
	struct landlock_path_beneath_attr rule = {
		.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE,
	};
	CLEANUP(close_fdp) int fd = open(directory, O_PATH | O_CLOEXEC | O_DIRECTORY);

	/* No such directory: then there is nothing to allow, and the device will not be found. */
	if (fd < 0)
		return OK;
	rule.parent_fd = fd;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0)
		return ERR_SYSTEM;
	return OK;
}

static enum err landlock_close(const struct token_sandbox *sandbox)
{
	const struct landlock_ruleset_attr all = { .handled_access_fs = LANDLOCK_ALL };
	CLEANUP(close_fdp) int ruleset = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
	enum err err = OK;

	/* Not in this kernel, not switched on, or kept from us by a container: seccomp and the process's own uid remain. */
	if (ruleset < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM ? OK : ERR_SYSTEM;
	if (sandbox->directory[0] != '\0')
		err = landlock_allow(ruleset, sandbox->directory);
	if (!err && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		err = ERR_SYSTEM;
	return err;
}

static enum err descriptors_close(int keep_fd)
{
	if (keep_fd > 3 && close_range(3, (unsigned)keep_fd - 1, 0) < 0)
		return ERR_SYSTEM;
	return close_range((unsigned)keep_fd + 1, ~0U, 0) < 0 ? ERR_SYSTEM : OK;
}

enum err helper_sandbox_close(const struct token_sandbox *sandbox, int keep_fd)
{
	const struct rlimit none = { 0, 0 };
	enum err err = descriptors_close(keep_fd);

	if (err)
		return err;
	if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return ERR_SYSTEM;
	/* The sanitizers read /proc when they have something to report. */
	if (!SANITIZED && !sandbox->threads)
		err = landlock_close(sandbox);
	return err ? err : filter_load(sandbox);
}
