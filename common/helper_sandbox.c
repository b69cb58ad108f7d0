#include "common/helper_sandbox.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "common/confine.h"

/* For a driver with threads, a D-Bus client at that (tabrmd). */
static const int calls_threads[] = {
	SCMP_SYS(clone),   SCMP_SYS(clone3), SCMP_SYS(sched_yield),     SCMP_SYS(getuid),
	SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid),         SCMP_SYS(prctl),
	SCMP_SYS(pipe2),   SCMP_SYS(rseq),   SCMP_SYS(set_robust_list),
};

/* The manager hands over the descriptor that commands go through, and the library of D-Bus makes a second one of it. */
static bool allow_driver_threads(scmp_filter_ctx filter)
{
	return CONFINE_ALLOW(filter, calls_threads) &&
	       confine_allow_masked(filter, SCMP_SYS(fcntl), 1, UINT32_MAX, F_DUPFD_CLOEXEC);
}

/* Several answers at once; how the thread that waits for the device says that it need not any more; and how the second thread ends a conversation. */
static const int calls_own[] = { SCMP_SYS(sendmmsg), SCMP_SYS(eventfd2), SCMP_SYS(shutdown) };

static const int calls_sockets[] = {
	SCMP_SYS(connect),     SCMP_SYS(getsockopt),  SCMP_SYS(setsockopt),
	SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(shutdown),
};

static bool allow_socket(scmp_filter_ctx filter, int family)
{
	return confine_allow_masked(filter, SCMP_SYS(socket), 0, UINT32_MAX, (uint64_t)family);
}

static bool allow_sockets(scmp_filter_ctx filter, const struct token_sandbox *sandbox)
{
	if (!sandbox->unix_sockets && !sandbox->inet_sockets)
		return true;
	if (!CONFINE_ALLOW(filter, calls_sockets))
		return false;
	if (sandbox->unix_sockets && !allow_socket(filter, AF_UNIX))
		return false;
	return !sandbox->inet_sockets || (allow_socket(filter, AF_INET) && allow_socket(filter, AF_INET6));
}

/* A device is opened again after an error; nothing is ever made. Which files: Landlock says, and the file's own mode. */
static bool allow_files(scmp_filter_ctx filter, const struct token_sandbox *sandbox)
{
	return sandbox->directory[0] == '\0' ||
	       confine_allow_masked(filter, SCMP_SYS(openat), 2, O_CREAT | O_TRUNC | O_TMPFILE, 0);
}

static enum err filter_load(const struct token_sandbox *sandbox)
{
	CLEANUP(confine_filter_freep) scmp_filter_ctx filter = confine_filter_new();

	if (!filter)
		return ERR_NOMEM;
	if (!allow_sockets(filter, sandbox) || !allow_files(filter, sandbox) ||
	    !CONFINE_ALLOW(filter, calls_own) ||
	    !(sandbox->threads ? allow_driver_threads(filter) : confine_allow_threads(filter)))
		return ERR_SYSTEM;
	return confine_filter_load(filter);
}

enum err helper_sandbox_close(const struct token_sandbox *sandbox, int keep_fd)
{
	const struct confine_directory device = { .path = sandbox->directory, .written = true };
	const struct rlimit none = { 0, 0 };
	enum err err = confine_descriptors(&keep_fd, 1);

	if (err)
		return err;
	if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return ERR_SYSTEM;
	if (!sandbox->threads)
		err = confine_files(&device, 1, CONFINE_SIGNALS | CONFINE_ABSTRACT);
	return err ? err : filter_load(sandbox);
}
