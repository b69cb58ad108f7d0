/*
 * The nth call fails: for a program that is started with this as LD_PRELOAD, CALL_FAULTS=FILE and CALL_FAULTS_ROLE=NAME. FILE is struct call_faults, which the test changes between operations; it is mapped
 * before any sandbox is shut. Memory, processes and events fail for whoever asks in the process, the libraries included; a device for the library that speaks with it; of the other calls only those of the
 * program's own code count, for what a library makes of a file that fails is the library's. Nothing fails for libseccomp, which (2.5.4) does not bear it: it crashes, does not come back, or loads a filter
 * that misses rules.
 *
 * The supervisor's children have roles of their own: the first is the broker, and each one after that is a helper, "child" until it is executed. A helper gets this library as well, and the mapping by a
 * descriptor that stays open for it, for it has another environment and may not open the file.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define FD_KEPT 900 /* for a helper; above all that the daemon opens here, and below every limit */
#define ENVIRONMENT_MAX 32

enum kind {
	KIND_MEMORY = 1,
	KIND_FILE = 2,
	KIND_SOCKET = 4,
	KIND_PAGES = 8,
	KIND_PROCESS = 16,
	KIND_EVENT = 32,
	KIND_CHANNEL = 64, /* between the broker and its supervisor */
	KIND_DEVICE = 128, /* what the library does that transmits to the TPM and receives from it */
};

/* As tests/integration/faults.py writes and reads it. */
struct call_faults {
	uint32_t kinds; /* which count; 0: none */
	int32_t pid; /* of which process; 0: of every one in that role */
	uint32_t target; /* which of them fails, counted from 1; 0: none does */
	uint32_t count; /* how many there were */
	char role[16];
	char failed[32]; /* the call that did */
};

static volatile struct call_faults *faults;
static char role[16];
static pid_t pid;
static unsigned forks;

void *__libc_malloc(size_t len);
void *__libc_calloc(size_t count, size_t len);
void *__libc_realloc(void *old, size_t len);

struct code {
	uintptr_t begin, end;
};

static struct code program, libseccomp;

static struct code code_of(const struct dl_phdr_info *info)
{
	struct code code = { 0, 0 };

	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];

		if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
			continue;
		code.begin = info->dlpi_addr + header->p_vaddr;
		code.end = code.begin + header->p_memsz;
	}
	return code;
}

static bool is_in(const void *caller, const struct code *code)
{
	return (uintptr_t)caller >= code->begin && (uintptr_t)caller < code->end;
}

/* The first is the program. */
static int find_code(struct dl_phdr_info *info, size_t size, void *context)
{
	(void)size;
	(void)context;
	if (program.end == 0)
		program = code_of(info);
	if (strstr(info->dlpi_name, "/libseccomp.so"))
		libseccomp = code_of(info);
	return 0;
}

static void after_fork_in_parent(void)
{
	forks++;
}

static void after_fork(void)
{
	pid = getpid();
	if (strcmp(role, "supervisor") == 0)
		(void)strcpy(role, forks == 0 ? "broker" : "child");
}

/* The file, where this process may open it; else what its parent kept open for it. */
static int open_plan(void)
{
	const char *path = getenv("CALL_FAULTS");

	return path ? open(path, O_RDWR | O_CLOEXEC) : fcntl(FD_KEPT, F_DUPFD_CLOEXEC, FD_KEPT + 1);
}

static __attribute__((constructor)) void begin(void)
{
	const char *name = getenv("CALL_FAULTS_ROLE");
	int fd = open_plan();
	void *map =
	        fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED || !name || strlen(name) >= sizeof(role))
		abort();
	(void)strcpy(role, name);
	if (strcmp(role, "supervisor") == 0 && dup2(fd, FD_KEPT) < 0)
		abort();
	(void)close(fd);
	if (strcmp(role, "helper") == 0)
		(void)close(FD_KEPT);
	(void)dl_iterate_phdr(find_code, NULL);
	(void)pthread_atfork(NULL, after_fork_in_parent, after_fork);
	pid = getpid();
	faults = map;
}

static bool is_driver(const void *caller)
{
	Dl_info library;

	return !is_in(caller, &program) && dladdr(caller, &library) != 0 && library.dli_fname &&
	       strstr(library.dli_fname, "libtss2-tcti-");
}

/* As what does it count? 0: not at all. */
static unsigned kind_for(enum kind kind, const void *caller)
{
	if (is_in(caller, &libseccomp))
		return 0;
	if (kind == KIND_MEMORY || kind == KIND_PROCESS || kind == KIND_EVENT || kind == KIND_CHANNEL)
		return kind;
	if (is_in(caller, &program))
		return kind;
	return faults->kinds & KIND_DEVICE && is_driver(caller) ? KIND_DEVICE : 0;
}

static bool is_our_role(void)
{
	size_t i = 0;

	while (i < sizeof(role) && role[i] && faults->role[i] == role[i])
		i++;
	return i < sizeof(role) && faults->role[i] == role[i];
}

static void note(volatile char *out, const char *name)
{
	size_t i = 0;

	for (; i + 1 < sizeof(faults->failed) && name[i]; i++)
		out[i] = name[i];
	out[i] = '\0';
}

/* Is this the one that fails? */
static bool strikes(enum kind kind, const char *call, const void *caller)
{
	if (!faults || !faults->kinds || (faults->pid && faults->pid != pid) || !is_our_role() ||
	    !(faults->kinds & kind_for(kind, caller)))
		return false;
	if (__atomic_add_fetch(&faults->count, 1, __ATOMIC_RELAXED) != faults->target)
		return false;
	note(faults->failed, call);
	return true;
}

#define CALLER __builtin_return_address(0)

/* ---- memory ---- */

static void *no_memory(void)
{
	errno = ENOMEM;
	return NULL;
}

void *malloc(size_t len)
{
	return strikes(KIND_MEMORY, "malloc", CALLER) ? no_memory() : __libc_malloc(len);
}

void *calloc(size_t count, size_t len)
{
	return strikes(KIND_MEMORY, "calloc", CALLER) ? no_memory() : __libc_calloc(count, len);
}

void *realloc(void *old, size_t len)
{
	return strikes(KIND_MEMORY, "realloc", CALLER) ? no_memory() : __libc_realloc(old, len);
}

void *reallocarray(void *old, size_t count, size_t len)
{
	size_t bytes;

	if (strikes(KIND_MEMORY, "reallocarray", CALLER) || __builtin_mul_overflow(count, len, &bytes))
		return no_memory();
	return __libc_realloc(old, bytes);
}

/* ---- the kernel ---- */

/* A call of the same name that the libraries have, unless it is to fail with error. */
#define FAILING(kind, error, result, name, parameters, arguments)    \
	result name parameters                                       \
	{                                                            \
		static result(*real) parameters;                     \
                                                                     \
		if (!real)                                           \
			*(void **)(&real) = dlsym(RTLD_NEXT, #name); \
		if (strikes(kind, #name, CALLER)) {                  \
			errno = error;                               \
			return (result)-1;                           \
		}                                                    \
		return real arguments;                               \
	}

static bool is_event[FD_KEPT];

int eventfd(unsigned value, int flags)
{
	static int (*real)(unsigned value, int flags);
	int fd;

	if (!real)
		*(void **)(&real) = dlsym(RTLD_NEXT, "eventfd");
	if (strikes(KIND_EVENT, "eventfd", CALLER)) {
		errno = EMFILE;
		return -1;
	}
	fd = real(value, flags);
	if (fd >= 0 && fd < FD_KEPT)
		is_event[fd] = true;
	return fd;
}

/* Of those to an eventfd none does: they could only when it was full. */
ssize_t write(int fd, const void *data, size_t len)
{
	static ssize_t (*real)(int fd, const void *data, size_t len);
	bool never = fd >= 0 && fd < FD_KEPT && is_event[fd] && len == sizeof(uint64_t);

	if (!real)
		*(void **)(&real) = dlsym(RTLD_NEXT, "write");
	if (!never && strikes(KIND_FILE, "write", CALLER)) {
		errno = EIO;
		return -1;
	}
	return real(fd, data, len);
}

FAILING(KIND_FILE, ENOSPC, ssize_t, pwrite, (int fd, const void *data, size_t len, off_t at),
        (fd, data, len, at))
FAILING(KIND_FILE, EIO, ssize_t, pread, (int fd, void *data, size_t len, off_t at), (fd, data, len, at))
FAILING(KIND_FILE, EIO, ssize_t, read, (int fd, void *data, size_t len), (fd, data, len))
FAILING(KIND_FILE, EIO, int, fsync, (int fd), (fd))
FAILING(KIND_FILE, EIO, int, fdatasync, (int fd), (fd))
FAILING(KIND_FILE, ENOSPC, int, ftruncate, (int fd, off_t len), (fd, len))
FAILING(KIND_FILE, EIO, int, renameat, (int from, const char *old, int to, const char *name),
        (from, old, to, name))
FAILING(KIND_FILE, EIO, int, linkat, (int from, const char *old, int to, const char *name, int flags),
        (from, old, to, name, flags))
FAILING(KIND_FILE, EIO, int, unlinkat, (int directory, const char *name, int flags), (directory, name, flags))
FAILING(KIND_FILE, EPERM, int, fchmod, (int fd, mode_t mode), (fd, mode))
FAILING(KIND_FILE, ENOSPC, int, mkdirat, (int directory, const char *name, mode_t mode),
        (directory, name, mode))
FAILING(KIND_FILE, EIO, int, fstat, (int fd, struct stat *status), (fd, status))
FAILING(KIND_FILE, EIO, off_t, lseek, (int fd, off_t at, int whence), (fd, at, whence))
FAILING(KIND_FILE, EPERM, int, fchown, (int fd, uid_t owner, gid_t group), (fd, owner, group))
FAILING(KIND_FILE, EPERM, int, fchmodat, (int directory, const char *name, mode_t mode, int flags),
        (directory, name, mode, flags))
FAILING(KIND_FILE, ENOSPC, int, mkdir, (const char *path, mode_t mode), (path, mode))
FAILING(KIND_FILE, EIO, int, fstatat,
        (int directory, const char *restrict name, struct stat *restrict status, int flags),
        (directory, name, status, flags))
FAILING(KIND_FILE, EACCES, int, access, (const char *path, int mode), (path, mode))
FAILING(KIND_FILE, EACCES, int, faccessat, (int directory, const char *name, int mode, int flags),
        (directory, name, mode, flags))
FAILING(KIND_FILE, EIO, ssize_t, readlink, (const char *restrict path, char *restrict out, size_t len),
        (path, out, len))
FAILING(KIND_FILE, ENOLCK, int, flock, (int fd, int operation), (fd, operation))
FAILING(KIND_SOCKET, EADDRINUSE, int, bind, (int fd, __CONST_SOCKADDR_ARG address, socklen_t len),
        (fd, address, len))
FAILING(KIND_SOCKET, EADDRINUSE, int, listen, (int fd, int backlog), (fd, backlog))
FAILING(KIND_SOCKET, EMFILE, int, socket, (int domain, int type, int protocol), (domain, type, protocol))
FAILING(KIND_SOCKET, ECONNREFUSED, int, connect, (int fd, __CONST_SOCKADDR_ARG address, socklen_t len),
        (fd, address, len))
FAILING(KIND_SOCKET, EMFILE, int, accept4, (int fd, __SOCKADDR_ARG address, socklen_t *len, int flags),
        (fd, address, len, flags))
FAILING(KIND_SOCKET, ECONNRESET, ssize_t, send, (int fd, const void *data, size_t len, int flags),
        (fd, data, len, flags))
FAILING(KIND_SOCKET, ECONNRESET, ssize_t, recv, (int fd, void *data, size_t len, int flags),
        (fd, data, len, flags))
FAILING(KIND_SOCKET, ENOTCONN, int, getsockopt, (int fd, int level, int option, void *value, socklen_t *len),
        (fd, level, option, value, len))
FAILING(KIND_SOCKET, EINVAL, int, setsockopt,
        (int fd, int level, int option, const void *value, socklen_t len), (fd, level, option, value, len))
FAILING(KIND_SOCKET, ENOMEM, int, poll, (struct pollfd * fds, nfds_t count, int timeout),
        (fds, count, timeout))

FAILING(KIND_PAGES, ENOMEM, void *, mmap,
        (void *at, size_t len, int protection, int flags, int fd, off_t offset),
        (at, len, protection, flags, fd, offset))
FAILING(KIND_PAGES, ENOMEM, int, mprotect, (void *at, size_t len, int protection), (at, len, protection))
FAILING(KIND_PAGES, ENOMEM, int, mlock, (const void *at, size_t len), (at, len))
FAILING(KIND_PAGES, ENOMEM, int, mlock2, (const void *at, size_t len, unsigned flags), (at, len, flags))
FAILING(KIND_PAGES, ENOMEM, int, mlockall, (int flags), (flags))
FAILING(KIND_PAGES, EAGAIN, int, madvise, (void *at, size_t len, int advice), (at, len, advice))
FAILING(KIND_PAGES, EMFILE, int, memfd_create, (const char *name, unsigned flags), (name, flags))
FAILING(KIND_PROCESS, EAGAIN, pid_t, fork, (void), ())
FAILING(KIND_PROCESS, ECHILD, pid_t, waitpid, (pid_t child, int *status, int options),
        (child, status, options))
FAILING(KIND_PROCESS, EMFILE, int, socketpair, (int domain, int type, int protocol, int pair[2]),
        (domain, type, protocol, pair))
FAILING(KIND_PROCESS, EBUSY, int, dup2, (int old, int fd), (old, fd))
FAILING(KIND_PROCESS, EPERM, int, sigprocmask,
        (int how, const sigset_t *restrict set, sigset_t *restrict old), (how, set, old))
FAILING(KIND_PROCESS, EPERM, int, setrlimit, (__rlimit_resource_t resource, const struct rlimit *limit),
        (resource, limit))
FAILING(KIND_PROCESS, EPERM, int, getrlimit, (__rlimit_resource_t resource, struct rlimit *limit),
        (resource, limit))
FAILING(KIND_EVENT, EMFILE, int, epoll_create1, (int flags), (flags))
FAILING(KIND_EVENT, ENOSPC, int, epoll_ctl, (int epoll, int what, int fd, struct epoll_event *event),
        (epoll, what, fd, event))
FAILING(KIND_EVENT, EINTR, int, epoll_wait, (int epoll, struct epoll_event *events, int most, int timeout),
        (epoll, events, most, timeout))
FAILING(KIND_EVENT, EMFILE, int, timerfd_create, (int clock, int flags), (clock, flags))
FAILING(KIND_EVENT, EMFILE, int, signalfd, (int fd, const sigset_t *set, int flags), (fd, set, flags))
FAILING(KIND_CHANNEL, ENOBUFS, ssize_t, sendmsg, (int fd, const struct msghdr *packet, int flags),
        (fd, packet, flags))
FAILING(KIND_CHANNEL, ENOMEM, ssize_t, recvmsg, (int fd, struct msghdr *packet, int flags),
        (fd, packet, flags))

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *context)
{
	static int (*real)(pthread_t * thread, const pthread_attr_t *attributes, void *(*start)(void *),
	                   void *context);

	if (!real)
		*(void **)(&real) = dlsym(RTLD_NEXT, "pthread_create");
	return strikes(KIND_PROCESS, "pthread_create", CALLER) ? EAGAIN
	                                                       : real(thread, attributes, start, context);
}

/* Whatever the arguments are: the kernel takes as many words. */
#define FAILING_VARIADIC(kind, error, result, name, first, count, ...) \
	result name(first number, ...)                                 \
	{                                                              \
		static result (*real)(first number, ...);              \
		long words[count];                                     \
		va_list arguments;                                     \
                                                                       \
		va_start(arguments, number);                           \
		for (size_t i = 0; i < (count); i++)                   \
			words[i] = va_arg(arguments, long);            \
		va_end(arguments);                                     \
		if (!real)                                             \
			*(void **)(&real) = dlsym(RTLD_NEXT, #name);   \
		if (strikes(kind, #name, CALLER)) {                    \
			errno = error;                                 \
			return -1;                                     \
		}                                                      \
		return real(number, __VA_ARGS__);                      \
	}

FAILING_VARIADIC(KIND_PROCESS, EINVAL, int, prctl, int, 4, words[0], words[1], words[2], words[3])
FAILING_VARIADIC(KIND_PROCESS, ENOMEM, long, syscall, long, 6, words[0], words[1], words[2], words[3],
                 words[4], words[5])

int fcntl(int fd, int command, ...)
{
	static int (*real)(int fd, int command, ...);
	va_list arguments;
	long word;

	va_start(arguments, command);
	word = va_arg(arguments, long);
	va_end(arguments);
	if (!real)
		*(void **)(&real) = dlsym(RTLD_NEXT, "fcntl");
	if (strikes(KIND_FILE, "fcntl", CALLER)) {
		errno = EMFILE;
		return -1;
	}
	return real(fd, command, word);
}

/* All but the descriptor that a helper is to find. */
int close_range(unsigned first, unsigned last, int flags)
{
	static int (*real)(unsigned first, unsigned last, int flags);

	if (!real)
		*(void **)(&real) = dlsym(RTLD_NEXT, "close_range");
	if (strikes(KIND_PROCESS, "close_range", CALLER)) {
		errno = EPERM;
		return -1;
	}
	if (strcmp(role, "child") != 0 || first > FD_KEPT || last < FD_KEPT)
		return real(first, last, flags);
	return real(first, FD_KEPT - 1, flags) < 0 ? -1 : real(FD_KEPT + 1, last, flags);
}

/* A helper begins with what the daemon gives it, and with this library. */
int execve(const char *path, char *const *arguments, char *const *environment)
{
	static int (*real)(const char *path, char *const *arguments, char *const *environment);
	static char preload[512], name[] = "CALL_FAULTS_ROLE=helper";
	char *longer[ENVIRONMENT_MAX + 3];
	size_t count = 0;

	if (!real)
		*(void **)(&real) = dlsym(RTLD_NEXT, "execve");
	if (strikes(KIND_PROCESS, "execve", CALLER)) {
		errno = ENOMEM;
		return -1;
	}
	while (environment[count] && count < ENVIRONMENT_MAX) {
		longer[count] = environment[count];
		count++;
	}
	(void)snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", getenv("LD_PRELOAD"));
	longer[count++] = preload;
	longer[count++] = name;
	longer[count] = NULL;
	return real(path, arguments, longer);
}

static mode_t mode_argument(int flags, va_list arguments)
{
	return flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(arguments, mode_t) : 0;
}

int openat(int directory, const char *path, int flags, ...)
{
	static int (*real)(int directory, const char *path, int flags, ...);
	va_list arguments;
	mode_t mode;

	va_start(arguments, flags);
	mode = mode_argument(flags, arguments);
	va_end(arguments);
	if (!real)
		*(void **)(&real) = dlsym(RTLD_NEXT, "openat");
	if (strikes(KIND_FILE, "openat", CALLER)) {
		errno = EMFILE;
		return -1;
	}
	return real(directory, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
	static int (*real)(const char *path, int flags, ...);
	va_list arguments;
	mode_t mode;

	va_start(arguments, flags);
	mode = mode_argument(flags, arguments);
	va_end(arguments);
	if (!real)
		*(void **)(&real) = dlsym(RTLD_NEXT, "open");
	if (strikes(KIND_FILE, "open", CALLER)) {
		errno = EMFILE;
		return -1;
	}
	return real(path, flags, mode);
}

/* What the same calls are in a fortified program, where the compiler does not see the flags. */
int __openat_2(int directory, const char *path, int flags);
int __open_2(const char *path, int flags);
FAILING(KIND_FILE, EMFILE, int, __openat_2, (int directory, const char *path, int flags),
        (directory, path, flags))
FAILING(KIND_FILE, EMFILE, int, __open_2, (const char *path, int flags), (path, flags))
