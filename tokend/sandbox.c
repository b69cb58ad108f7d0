#include "tokend/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/confine.h"

enum err sandbox_drop_privileges(const char *name, uid_t uid, gid_t gid, pid_t parent)
{
	enum err err;

	if (name &&
	    (initgroups(name, gid) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0))
		return ERR_SYSTEM;
	/* Changing the user made the process look harmless to others again. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return ERR_SYSTEM;
	err = confine_capabilities(0);
	/* The new user lost it; and the parent may have ended before. */
	if (!err && (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) < 0 || getppid() != parent))
		err = ERR_SYSTEM;
	return err;
}

/* ---- the broker ---- */

/* A service manager's socket may be one without a file. */
static bool manager_is_abstract(void)
{
	const char *manager = getenv("NOTIFY_SOCKET");

	return manager && manager[0] == '@';
}

/*
 * In /etc are the names of users and groups: the directory, because each change of /etc/passwd is a new file. Names from elsewhere (LDAP, systemd-userdb) are out of reach: their
 * modules cannot be loaded here.
 */
enum err sandbox_files(const char *state, const char *configuration, const char *policy)
{
	const struct confine_directory directories[] = {
		{ .path = state, .listed = true, .written = true, .changed = true },
		{ .path = configuration, .listed = true },
		{ .path = policy, .listed = true },
		{ .path = "/proc" },
		{ .path = "/etc" },
	};

	return confine_files(directories, sizeof(directories) / sizeof(directories[0]),
	                     CONFINE_SIGNALS | (manager_is_abstract() ? 0 : CONFINE_ABSTRACT));
}

/* The event loop, its clients, the state directory and the log. */
static const int calls_broker[] = {
	SCMP_SYS(epoll_create1), SCMP_SYS(epoll_ctl),      SCMP_SYS(epoll_wait),      SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),  SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(signalfd4),
	SCMP_SYS(eventfd2),      SCMP_SYS(accept4),        SCMP_SYS(getsockopt),      SCMP_SYS(setsockopt),
	SCMP_SYS(shutdown),      SCMP_SYS(pidfd_open),     SCMP_SYS(openat),          SCMP_SYS(getdents64),
	SCMP_SYS(pread64),       SCMP_SYS(pwrite64),       SCMP_SYS(fsync),           SCMP_SYS(fdatasync),
	SCMP_SYS(ftruncate),     SCMP_SYS(flock),          SCMP_SYS(mkdirat),         SCMP_SYS(fchmod),
	SCMP_SYS(linkat),        SCMP_SYS(unlinkat),       SCMP_SYS(renameat),        SCMP_SYS(renameat2),
	SCMP_SYS(access),        SCMP_SYS(faccessat),      SCMP_SYS(faccessat2),      SCMP_SYS(getuid),
	SCMP_SYS(geteuid),       SCMP_SYS(getgid),         SCMP_SYS(getegid),         SCMP_SYS(sched_yield),
	SCMP_SYS(setitimer),
};

/* Our own limits may be read; neither set nor those of another process read. */
static bool allow_limits(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, SCMP_A0(SCMP_CMP_EQ, 0, 0),
	                        SCMP_A2(SCMP_CMP_EQ, 0, 0)) == 0;
}

/* libsystemd makes a new socket for each message to the service manager. It cannot be connected, nor be of another kind. */
static bool allow_notify(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2, SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0),
	                        SCMP_A1(SCMP_CMP_MASKED_EQ,
	                                UINT32_MAX & ~(uint64_t)(SOCK_CLOEXEC | SOCK_NONBLOCK),
	                                SOCK_DGRAM)) == 0;
}

enum err sandbox_filter(bool notify)
{
	CLEANUP(confine_filter_freep) scmp_filter_ctx filter = confine_filter_new();

	if (!filter)
		return ERR_NOMEM;
	if (!CONFINE_ALLOW(filter, calls_broker) || !allow_limits(filter) || !confine_allow_threads(filter) ||
	    (notify && !allow_notify(filter)))
		return ERR_SYSTEM;
	return confine_filter_load(filter);
}

/* ---- the supervisor ---- */

/* What it does itself, what a helper's start takes (the dynamic linker, the loading of a driver, the closing of its own sandbox), and what helpers may do afterwards, since they inherit this. */
static const int calls_supervisor[] = {
	SCMP_SYS(wait4),
	SCMP_SYS(execve),
	SCMP_SYS(socketpair),
	SCMP_SYS(dup2),
	SCMP_SYS(dup3),
	SCMP_SYS(close_range),
	SCMP_SYS(setpgid),
	SCMP_SYS(getppid),
	SCMP_SYS(setgroups),
	SCMP_SYS(setresuid),
	SCMP_SYS(setresgid),
	SCMP_SYS(unlink),
	SCMP_SYS(tgkill),
	SCMP_SYS(pread64),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(readlink),
	SCMP_SYS(readlinkat),
	SCMP_SYS(getcwd),
	SCMP_SYS(uname),
	SCMP_SYS(statfs),
	SCMP_SYS(fstatfs),
	SCMP_SYS(sysinfo),
	SCMP_SYS(arch_prctl),
	SCMP_SYS(set_tid_address),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(rseq),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_yield),
	SCMP_SYS(mlockall),
	SCMP_SYS(capget),
	SCMP_SYS(capset),
	SCMP_SYS(seccomp),
	SCMP_SYS(landlock_create_ruleset),
	SCMP_SYS(landlock_add_rule),
	SCMP_SYS(landlock_restrict_self),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	SCMP_SYS(eventfd2),
	SCMP_SYS(pipe2),
	SCMP_SYS(connect),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(getsockname),
	SCMP_SYS(getpeername),
	SCMP_SYS(shutdown),
	SCMP_SYS(sendmmsg),
};

#define CLONE_NAMESPACES                                                                          \
	((uint64_t)(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
	            CLONE_NEWPID) |                                                               \
	 CLONE_NEWNET | CLONE_PTRACE)

/* Processes, but no name spaces; clone3 hides its flags from a filter, so libc is told that there is none. */
static bool allow_processes(scmp_filter_ctx filter)
{
	return confine_allow_masked(filter, SCMP_SYS(clone), 0, CLONE_NAMESPACES, 0) &&
	       seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
}

/* To one process, not to all that there are. */
static bool allow_signals(scmp_filter_ctx filter)
{
	return confine_allow_masked(filter, SCMP_SYS(kill), 0, 1U << 31, 0);
}

/* Files are read, and devices opened; nothing is made. */
static bool allow_opening(scmp_filter_ctx filter)
{
	return confine_allow_masked(filter, SCMP_SYS(openat), 2,
	                            O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY), 0);
}

/* The code of programs and libraries: mapped as it is in their files, never written to. */
static bool allow_code(scmp_filter_ctx filter)
{
	return confine_allow_masked(filter, SCMP_SYS(mmap), 2, PROT_WRITE, 0);
}

/* Nothing that makes it more than it is. */
static bool allow_attributes(scmp_filter_ctx filter)
{
	static const int options[] = { PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT,
		                       PR_GET_SECCOMP,   PR_SET_SECCOMP,      PR_SET_NAME };

	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (!confine_allow_masked(filter, SCMP_SYS(prctl), 0, UINT32_MAX, (uint64_t)options[i]))
			return false;
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prctl), 2,
	                        SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, PR_SET_DUMPABLE),
	                        SCMP_A1(SCMP_CMP_EQ, 0, 0)) == 0;
}

static enum err filter_supervisor(void)
{
	CLEANUP(confine_filter_freep) scmp_filter_ctx filter = NULL;

	/* What sanitizers do when a program starts is not known here. */
	if (CONFINE_SANITIZED)
		return OK;
	filter = confine_filter_new();
	if (!filter)
		return ERR_NOMEM;
	if (!CONFINE_ALLOW(filter, calls_supervisor) || !allow_processes(filter) || !allow_signals(filter) ||
	    !allow_opening(filter) || !allow_code(filter) || !allow_attributes(filter) ||
	    !confine_allow_masked(filter, SCMP_SYS(socket), 0, UINT32_MAX, AF_UNIX) ||
	    !confine_allow_masked(filter, SCMP_SYS(prlimit64), 0, UINT32_MAX, 0) ||
	    !confine_allow_masked(filter, SCMP_SYS(fcntl), 1, UINT32_MAX, F_DUPFD_CLOEXEC))
		return ERR_SYSTEM;
	return confine_filter_load(filter);
}

/* Of "tpm:device:/dev/tpmrm0" the directory; "" when it is no file. */
static void device_directory(const char *uri, char *out, size_t out_len)
{
	static const char device[] = "tpm:device:";
	const char *path = strncmp(uri, device, strlen(device)) == 0 ? uri + strlen(device) : "";
	const char *slash = strrchr(path, '/');

	(void)snprintf(out, out_len, "%.*s", slash ? (int)(slash - path) : 0, path);
}

/* Everything may be read and run, for where the libraries of a helper stand is not known. Written to are only devices, and removed only the sockets. */
static enum err close_supervisor_files(const struct config *config, const char *runtime)
{
	static char devices[CONFIG_TOKENS_MAX][TOKEN_URI_MAX];
	struct confine_directory directories[3 + CONFIG_TOKENS_MAX] = {
		{ .path = "/", .listed = true, .executed = true },
		{ .path = "/dev/null", .written = true },
		{ .path = runtime, .removed = true },
	};

	for (size_t i = 0; i < config->token_count; i++) {
		device_directory(config->tokens[i], devices[i], sizeof(devices[i]));
		directories[3 + i] = (struct confine_directory){ .path = devices[i], .written = true };
	}
	return confine_files(directories, 3 + config->token_count, CONFINE_ABSTRACT);
}

enum err sandbox_supervisor(const struct config *config, const char *runtime, bool changes_user)
{
	const uint64_t users = 1ULL << CAP_SETUID | 1ULL << CAP_SETGID | 1ULL << CAP_KILL;
	enum err err;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return ERR_SYSTEM;
	err = close_supervisor_files(config, runtime);
	/* Root as an ordinary user of his own trial: his directories and devices may be others'. */
	if (!err)
		err = confine_capabilities(changes_user ? users : 1ULL << CAP_DAC_OVERRIDE);
	return err ? err : filter_supervisor();
}
