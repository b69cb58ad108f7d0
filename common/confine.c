#include "common/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

/* ---- system calls ---- */

static const int calls_always[] = {
	SCMP_SYS(read),         SCMP_SYS(write),
	SCMP_SYS(readv),        SCMP_SYS(writev),
	SCMP_SYS(recvmsg),      SCMP_SYS(recvfrom),
	SCMP_SYS(sendmsg),      SCMP_SYS(sendto),
	SCMP_SYS(close),        SCMP_SYS(poll),
	SCMP_SYS(ppoll),        SCMP_SYS(lseek),
	SCMP_SYS(fstat),        SCMP_SYS(newfstatat),
	SCMP_SYS(munmap),       SCMP_SYS(mremap),
	SCMP_SYS(madvise),      SCMP_SYS(mlock),
	SCMP_SYS(mlock2),       SCMP_SYS(munlock),
	SCMP_SYS(brk),          SCMP_SYS(futex),
	SCMP_SYS(getrandom),    SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday), SCMP_SYS(clock_nanosleep),
	SCMP_SYS(nanosleep),    SCMP_SYS(restart_syscall),
	SCMP_SYS(exit),         SCMP_SYS(exit_group),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigaction), SCMP_SYS(sigaltstack),
	SCMP_SYS(getpid),       SCMP_SYS(gettid),
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
	SCMP_SYS(readlinkat),
	SCMP_SYS(uname),
	SCMP_SYS(getuid),
};

bool confine_allow(scmp_filter_ctx filter, const int *calls, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0) < 0)
			return false;
	return true;
}

bool confine_allow_masked(scmp_filter_ctx filter, int call, unsigned argument, uint64_t mask, uint64_t value)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
	                        SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, mask, value)) == 0;
}

/* A new thread registers itself, and malloc asks how large the machine is. */
static const int calls_thread[] = {
	SCMP_SYS(rseq),
	SCMP_SYS(set_robust_list),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sysinfo),
};

bool confine_allow_threads(scmp_filter_ctx filter)
{
	if (!CONFINE_ALLOW(filter, calls_thread))
		return false;
	if (CONFINE_SANITIZED)
		return true;
	return confine_allow_masked(filter, SCMP_SYS(clone), 0, CLONE_THREAD, CLONE_THREAD) &&
	       seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
}

/* No page may be made executable, so what is injected cannot become code. */
static bool allow_memory(scmp_filter_ctx filter)
{
	return confine_allow_masked(filter, SCMP_SYS(mmap), 2, PROT_EXEC, 0) &&
	       confine_allow_masked(filter, SCMP_SYS(mprotect), 2, PROT_EXEC, 0);
}

/* The flags of what is open; no duplicating, no locks, and nobody made the owner of a signal. */
static bool allow_fcntl(scmp_filter_ctx filter)
{
	static const int commands[] = { F_GETFL, F_SETFL, F_GETFD, F_SETFD };

	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!confine_allow_masked(filter, SCMP_SYS(fcntl), 1, UINT32_MAX, (uint64_t)commands[i]))
			return false;
	return true;
}

/* For abort(). */
static bool allow_own_end(scmp_filter_ctx filter)
{
	return confine_allow_masked(filter, SCMP_SYS(tgkill), 0, UINT32_MAX, (uint64_t)getpid());
}

scmp_filter_ctx confine_filter_new(void)
{
	CLEANUP(confine_filter_freep) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));

	if (!filter)
		return NULL;
	/* A call by another table of numbers: the end, and of all threads, or what is left of the process would still look alive. Where seccomp(2) is kept from us it is the end of the one thread. */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (!CONFINE_ALLOW(filter, calls_always) || !allow_memory(filter) || !allow_fcntl(filter) ||
	    !allow_own_end(filter))
		return NULL;
	return TAKE(filter);
}

enum err confine_filter_load(scmp_filter_ctx filter)
{
	if (CONFINE_SANITIZED && !CONFINE_ALLOW(filter, calls_sanitizer))
		return ERR_SYSTEM;
	return seccomp_load(filter) == 0 ? OK : ERR_SYSTEM;
}

/* ---- files ---- */

/* In the order in which the versions of Landlock came to know them; the headers of Debian 12 do not have the last two. */
#define FILES_VERSION_1 ((1ULL << 13) - 1)
#define FILES_REFER (1ULL << 13)
#define FILES_TRUNCATE (1ULL << 14)
#define FILES_IOCTL_DEVICE (1ULL << 15)

/* The kernel's struct landlock_ruleset_attr as version 6 has it. */
struct ruleset {
	uint64_t files, network, scoped;
};

#define SCOPED_VERSION 6
#define SCOPE_ABSTRACT (1ULL << 0)
#define SCOPE_SIGNALS (1ULL << 1)

static uint64_t known_rights(int version)
{
	return FILES_VERSION_1 | (version >= 2 ? FILES_REFER : 0) | (version >= 3 ? FILES_TRUNCATE : 0) |
	       (version >= 5 ? FILES_IOCTL_DEVICE : 0);
}

static uint64_t wanted_rights(const struct confine_directory *directory)
{
	uint64_t rights = LANDLOCK_ACCESS_FS_READ_FILE;

	if (directory->listed)
		rights |= LANDLOCK_ACCESS_FS_READ_DIR;
	if (directory->written)
		rights |= LANDLOCK_ACCESS_FS_WRITE_FILE;
	if (directory->executed)
		rights |= LANDLOCK_ACCESS_FS_EXECUTE;
	if (directory->removed)
		rights |= LANDLOCK_ACCESS_FS_REMOVE_FILE;
	if (directory->changed)
		rights |= LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_DIR |
		          LANDLOCK_ACCESS_FS_REMOVE_FILE | FILES_TRUNCATE;
	return rights;
}

static enum err allow_directory(int ruleset, const struct confine_directory *directory, uint64_t known)
{
	struct landlock_path_beneath_attr rule = { .allowed_access = wanted_rights(directory) & known };
	CLEANUP(close_fdp) int fd = -1;

	if (directory->path[0] == '\0')
		return OK;
	/* No such file, or not for us: then there is nothing to allow. Where the kernel only cannot now, what is left out would be missed for the whole life of the process. */
	fd = open(directory->path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? ERR_SYSTEM : OK;
	rule.parent_fd = fd;
	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ? ERR_SYSTEM
	                                                                                         : OK;
}

/* An older kernel takes a struct that is longer than its own, as long as it knows nothing of what is set there. */
static struct ruleset everything(int version, unsigned apart)
{
	struct ruleset all = { .files = known_rights(version) };

	if (version >= SCOPED_VERSION && (apart & CONFINE_SIGNALS))
		all.scoped |= SCOPE_SIGNALS;
	if (version >= SCOPED_VERSION && (apart & CONFINE_ABSTRACT))
		all.scoped |= SCOPE_ABSTRACT;
	return all;
}

static int landlock_version(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

bool confine_files_possible(void)
{
	return landlock_version() > 0;
}

enum err confine_files(const struct confine_directory *directories, size_t count, unsigned apart)
{
	int version = landlock_version();
	const struct ruleset all = everything(version, apart);
	CLEANUP(close_fdp) int ruleset = -1;
	enum err err = OK;

	if (CONFINE_SANITIZED)
		return OK;
	if (version > 0)
		ruleset = (int)syscall(SYS_landlock_create_ruleset, &all, sizeof(all), 0);
	/* Not in this kernel, not switched on, or kept from us by a container: seccomp and the process's own uid remain. */
	if (ruleset < 0)
		return errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM ? OK : ERR_SYSTEM;
	for (size_t i = 0; !err && i < count; i++)
		err = allow_directory(ruleset, &directories[i], all.files);
	if (!err && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		err = ERR_SYSTEM;
	return err;
}

/* ---- capabilities ---- */

enum err confine_capabilities(uint64_t kept)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return ERR_SYSTEM;
	if (syscall(SYS_capget, &header, data) < 0)
		return ERR_SYSTEM;
	for (unsigned i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(kept >> 32 * i);
		data[i].effective &= data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &header, data) < 0 ? ERR_SYSTEM : OK;
}

/* ---- descriptors ---- */

static int compare_numbers(const void *a, const void *b)
{
	const int *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

enum err confine_descriptors(int *keep, size_t count)
{
	unsigned next = STDERR_FILENO + 1;

	qsort(keep, count, sizeof(*keep), compare_numbers);
	for (size_t i = 0; i < count; i++) {
		if (keep[i] < (int)next)
			continue;
		if (keep[i] > (int)next && close_range(next, (unsigned)keep[i] - 1, 0) < 0)
			return ERR_SYSTEM;
		next = (unsigned)keep[i] + 1;
	}
	return close_range(next, ~0U, 0) < 0 ? ERR_SYSTEM : OK;
}
