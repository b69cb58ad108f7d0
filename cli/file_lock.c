#include "cli/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#include "common/cleanup.h"

#define PAUSE_NS 5000000L

enum outcome { LOCKED, TAKEN, NOTHING_TO_LOCK };

/* What is no file (a pipe would wait for its other end) is not opened. */
static int open_file(const char *path)
{
	struct stat status;

	if (stat(path, &status) < 0 || !S_ISREG(status.st_mode))
		return -1;
	return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
}

/* Who had the lock before has put another file in its place. */
static bool is_still_named(int fd, const char *path)
{
	struct stat locked, named;

	return fstat(fd, &locked) == 0 && stat(path, &named) == 0 && locked.st_dev == named.st_dev &&
	       locked.st_ino == named.st_ino;
}

static enum outcome lock_once(const char *path, int *ret_lock)
{
	CLEANUP(close_fdp) int fd = open_file(path);

	if (fd < 0)
		return NOTHING_TO_LOCK;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK || errno == EINTR ? TAKEN : NOTHING_TO_LOCK;
	if (!is_still_named(fd, path))
		return TAKEN;
	*ret_lock = TAKE_FD(fd);
	return LOCKED;
}

static bool is_over(const struct timespec *start)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - start->tv_sec > FILE_LOCK_SECONDS ||
	       (now.tv_sec - start->tv_sec == FILE_LOCK_SECONDS && now.tv_nsec >= start->tv_nsec);
}

enum err file_lock(const char *path, struct problem *problem, int *ret_lock)
{
	static const struct timespec pause = { .tv_nsec = PAUSE_NS };
	struct timespec start;
	enum outcome outcome;

	*ret_lock = -1;
	(void)clock_gettime(CLOCK_MONOTONIC, &start);
	while ((outcome = lock_once(path, ret_lock)) == TAKEN && !is_over(&start))
		(void)nanosleep(&pause, NULL);
	if (outcome != TAKEN)
		return OK;
	(void)problem_set(problem, ERR_TIMEOUT,
	                  "another program is changing %s, and has kept it locked for %u seconds", path,
	                  FILE_LOCK_SECONDS);
	problem_hint(problem, "lslocks   shows which; then the same command again");
	return ERR_TIMEOUT;
}
