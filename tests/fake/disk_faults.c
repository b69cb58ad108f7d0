/*
 * A disk that fails when it is told to, for a program that is started with this as LD_PRELOAD and DISK_FAULTS=FILE. FILE is struct disk_faults, which the test changes while the program runs; mapped before
 * any sandbox is shut, so that a system call that is not among the program's own is never needed. Only what is written below tokend's state directory fails, and which file is which is told by its name.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define DESCRIPTORS 1024

enum call {
	CALL_WRITE = 1,
	CALL_PWRITE = 2,
	CALL_DATASYNC = 4,
	CALL_SYNC = 8,
	CALL_TRUNCATE = 16,
	CALL_OPEN = 32
};
enum file { FILE_LOG = 1, FILE_AHEAD = 2, FILE_OTHER = 4 };

/* As tests/integration/disk.py writes and reads it. */
struct disk_faults {
	uint32_t calls, files; /* which fail: bits of the above */
	int32_t error; /* what they say; 0: they work, once they do not hang any more */
	uint32_t hang; /* not before this is 0 */
	uint32_t half; /* of each write that fails the half is written before */
	uint32_t count; /* how many failed */
	uint64_t first; /* when the first did: CLOCK_MONOTONIC, nanoseconds */
};

static volatile struct disk_faults *faults;
static uint8_t file_of[DESCRIPTORS];

static struct {
	ssize_t (*write)(int fd, const void *data, size_t len);
	ssize_t (*pwrite)(int fd, const void *data, size_t len, off_t at);
	int (*datasync)(int fd);
	int (*sync)(int fd);
	int (*truncate)(int fd, off_t len);
	int (*open)(int directory, const char *path, int flags, ...);
} real;

static __attribute__((constructor)) void begin(void)
{
	const char *path = getenv("DISK_FAULTS");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *map =
	        fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(*faults), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		abort();
	(void)close(fd);
	faults = map;
	*(void **)(&real.write) = dlsym(RTLD_NEXT, "write");
	*(void **)(&real.pwrite) = dlsym(RTLD_NEXT, "pwrite");
	*(void **)(&real.datasync) = dlsym(RTLD_NEXT, "fdatasync");
	*(void **)(&real.sync) = dlsym(RTLD_NEXT, "fsync");
	*(void **)(&real.truncate) = dlsym(RTLD_NEXT, "ftruncate");
	*(void **)(&real.open) = dlsym(RTLD_NEXT, "openat");
}

static void note(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	if (faults->count++ == 0)
		faults->first = (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static int fails_on(enum call call, unsigned file)
{
	const struct timespec nap = { .tv_nsec = 1000000 };

	if (!(faults->calls & call) || !(faults->files & file))
		return 0;
	note();
	while (faults->hang)
		(void)nanosleep(&nap, NULL);
	errno = faults->error;
	return faults->error != 0;
}

static int fails(enum call call, int fd)
{
	return fd >= 0 && fd < DESCRIPTORS && fails_on(call, file_of[fd]);
}

ssize_t write(int fd, const void *data, size_t len)
{
	if (!fails(CALL_WRITE, fd))
		return real.write(fd, data, len);
	return faults->half && len > 1 ? real.write(fd, data, len / 2) : -1;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
	return fails(CALL_PWRITE, fd) ? -1 : real.pwrite(fd, data, len, at);
}

int fdatasync(int fd)
{
	return fails(CALL_DATASYNC, fd) ? -1 : real.datasync(fd);
}

int fsync(int fd)
{
	return fails(CALL_SYNC, fd) ? -1 : real.sync(fd);
}

int ftruncate(int fd, off_t len)
{
	return fails(CALL_TRUNCATE, fd) ? -1 : real.truncate(fd, len);
}

/* The files of the state directory are opened by their names in it. */
static unsigned file_named(const char *path)
{
	if (path[0] == '/')
		return 0;
	return strcmp(path, "audit.log") == 0     ? FILE_LOG
	       : strcmp(path, "audit.ahead") == 0 ? FILE_AHEAD
	                                          : FILE_OTHER;
}

int openat(int directory, const char *path, int flags, ...)
{
	unsigned file = file_named(path);
	mode_t mode = 0;
	va_list arguments;
	int fd;

	if (flags & O_CREAT) {
		va_start(arguments, flags);
		mode = va_arg(arguments, mode_t);
		va_end(arguments);
	}
	if ((flags & (O_CREAT | O_WRONLY)) && fails_on(CALL_OPEN, file))
		return -1;
	fd = real.open(directory, path, flags, mode);
	if (fd >= 0 && fd < DESCRIPTORS)
		file_of[fd] = (uint8_t)file;
	return fd;
}

/* What a fortified openat is, where the compiler does not see the flags. */
int __openat_2(int directory, const char *path, int flags);

int __openat_2(int directory, const char *path, int flags)
{
	return openat(directory, path, flags);
}
