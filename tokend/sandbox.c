#include "tokend/sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/confine.h"

static enum err drop_capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	const struct __user_cap_data_struct none[2] = { { 0 }, { 0 } };

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return ERR_SYSTEM;
	return syscall(SYS_capset, &header, none) < 0 ? ERR_SYSTEM : OK;
}

enum err sandbox_drop_privileges(const char *name, uid_t uid, gid_t gid, pid_t parent)
{
	enum err err;

	if (name &&
	    (initgroups(name, gid) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0))
		return ERR_SYSTEM;
	/* Changing the user made the process look harmless to others again. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return ERR_SYSTEM;
	err = drop_capabilities();
	/* The new user lost it; and the parent may have ended before. */
	if (!err && (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) < 0 || getppid() != parent))
		err = ERR_SYSTEM;
	return err;
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

	return confine_files(directories, sizeof(directories) / sizeof(directories[0]));
}

/* The event loop, its clients, the state directory and the log. */
static const int calls_broker[] = {
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(timerfd_create),
	SCMP_SYS(timerfd_settime),
	SCMP_SYS(signalfd4),
	SCMP_SYS(eventfd2),
	SCMP_SYS(accept4),
	SCMP_SYS(getsockopt),
	SCMP_SYS(setsockopt),
	SCMP_SYS(shutdown),
	SCMP_SYS(pidfd_open),
	SCMP_SYS(openat),
	SCMP_SYS(getdents64),
	SCMP_SYS(pread64),
	SCMP_SYS(pwrite64),
	SCMP_SYS(fsync),
	SCMP_SYS(fdatasync),
	SCMP_SYS(ftruncate),
	SCMP_SYS(flock),
	SCMP_SYS(mkdirat),
	SCMP_SYS(fchmod),
	SCMP_SYS(linkat),
	SCMP_SYS(unlinkat),
	SCMP_SYS(renameat),
	SCMP_SYS(renameat2),
	SCMP_SYS(access),
	SCMP_SYS(faccessat),
	SCMP_SYS(faccessat2),
	SCMP_SYS(getuid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getegid),
	/* malloc and qsort ask how large the machine is; a new thread registers itself. */
	SCMP_SYS(sysinfo),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_yield),
	SCMP_SYS(rseq),
	SCMP_SYS(set_robust_list),
};

/* Our own limits may be read; neither set nor those of another process read. */
static bool allow_limits(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(prlimit64), 2, SCMP_A0(SCMP_CMP_EQ, 0, 0),
	                        SCMP_A2(SCMP_CMP_EQ, 0, 0)) == 0;
}

/* One, for the log. Its flags stand in clone(2), where a filter can see them, and not in clone3(2), so libc is told that there is none. */
static bool allow_thread(scmp_filter_ctx filter)
{
	if (CONFINE_SANITIZED)
		return true;
	return confine_allow_masked(filter, SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD) &&
	       seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
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
	if (!CONFINE_ALLOW(filter, calls_broker) || !allow_limits(filter) || !allow_thread(filter) ||
	    (notify && !allow_notify(filter)))
		return ERR_SYSTEM;
	return confine_filter_load(filter);
}
