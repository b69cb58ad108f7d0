/*
 * The nth call fails: for a program that is started with this as LD_PRELOAD, CALL_FAULTS=FILE and CALL_FAULTS_ROLE=NAME. FILE is struct call_faults, which the test changes between operations; it is mapped
 * before any sandbox is shut. Memory fails for whoever asks in the process, the libraries included; of the other calls only those of the program's own code count, for what a library makes of a kernel
 * that fails is the library's.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum kind { KIND_MEMORY = 1, KIND_FILE = 2, KIND_SOCKET = 4 };

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
static uintptr_t program_begin, program_end;

void *__libc_malloc(size_t len);
void *__libc_calloc(size_t count, size_t len);
void *__libc_realloc(void *old, size_t len);

static int find_program(struct dl_phdr_info *info, size_t size, void *context)
{
	(void)size;
	(void)context;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *header = &info->dlpi_phdr[i];

		if (header->p_type != PT_LOAD || !(header->p_flags & PF_X))
			continue;
		program_begin = info->dlpi_addr + header->p_vaddr;
		program_end = program_begin + header->p_memsz;
	}
	return 1; /* the first is the program */
}

static void after_fork(void)
{
	pid = getpid();
}

static __attribute__((constructor)) void begin(void)
{
	const char *path = getenv("CALL_FAULTS"), *name = getenv("CALL_FAULTS_ROLE");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map =
	        fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED || !name || strlen(name) >= sizeof(role))
		abort();
	(void)close(fd);
	(void)dl_iterate_phdr(find_program, NULL);
	(void)pthread_atfork(NULL, NULL, after_fork);
	(void)strcpy(role, name);
	after_fork();
	faults = map;
}

static bool is_ours(enum kind kind, const void *caller)
{
	return kind == KIND_MEMORY || ((uintptr_t)caller >= program_begin && (uintptr_t)caller < program_end);
}

static bool is_our_role(void)
{
	size_t i = 0;

	while (i < sizeof(role) && role[i] && faults->role[i] == role[i])
		i++;
	return i < sizeof(role) && faults->role[i] == role[i];
}

/* Is this the one that fails? */
static bool strikes(enum kind kind, const char *call, const void *caller)
{
	if (!faults || !(faults->kinds & kind) || (faults->pid && faults->pid != pid) || !is_our_role() ||
	    !is_ours(kind, caller))
		return false;
	if (__atomic_add_fetch(&faults->count, 1, __ATOMIC_RELAXED) != faults->target)
		return false;
	for (size_t i = 0; i < sizeof(faults->failed) && (i == 0 || call[i - 1]); i++)
		faults->failed[i] = call[i];
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

/*
 * ---- the kernel ----
 *
 * Not sendmsg and recvmsg: those are the broker's channel to its supervisor, and where that breaks both end.
 */

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

FAILING(KIND_FILE, EIO, ssize_t, write, (int fd, const void *data, size_t len), (fd, data, len))
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
