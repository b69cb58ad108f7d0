#include "cli/file_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/cleanup.h"
#include "common/clock.h"

#define PAUSE_MS 5

enum outcome { LOCKED, TAKEN, NOTHING_TO_LOCK };

/* A path from here, or a name in a directory that is open, where no link is followed. */
struct named {
	int directory;
	const char *name;
	bool follows;
};

static bool look_at(const struct named *named, struct stat *ret_status)
{
	return fstatat(named->directory, named->name, ret_status, named->follows ? 0 : AT_SYMLINK_NOFOLLOW) ==
	       0;
}

/* What is no file (a pipe would wait for its other end) is not opened. */
static int open_file(const struct named *named)
{
	struct stat status;

	if (!look_at(named, &status) || !S_ISREG(status.st_mode))
		return -1;
	return openat(named->directory, named->name,
	              O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | (named->follows ? 0 : O_NOFOLLOW));
}

/* Who had the lock before has put another file in its place. */
static bool is_still_named(int fd, const struct named *named)
{
	struct stat locked, there;

	return fstat(fd, &locked) == 0 && look_at(named, &there) && locked.st_dev == there.st_dev &&
	       locked.st_ino == there.st_ino;
}

static enum outcome lock_once(const struct named *named, int *ret_lock)
{
	CLEANUP(close_fdp) int fd = open_file(named);

	if (fd < 0)
		return NOTHING_TO_LOCK;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK || errno == EINTR ? TAKEN : NOTHING_TO_LOCK;
	if (!is_still_named(fd, named))
		return TAKEN;
	*ret_lock = TAKE_FD(fd);
	return LOCKED;
}

static enum err lock_named(const struct named *named, const char *path, struct problem *problem,
                           int *ret_lock)
{
	const uint64_t end = clock_microseconds() + FILE_LOCK_SECONDS * UINT64_C(1000000);
	enum outcome outcome;

	*ret_lock = -1;
	while ((outcome = lock_once(named, ret_lock)) == TAKEN && clock_microseconds() < end)
		clock_pause(PAUSE_MS);
	if (outcome != TAKEN)
		return OK;
	(void)problem_set(problem, ERR_TIMEOUT,
	                  "another program is changing %s, and has kept it locked for %u seconds", path,
	                  FILE_LOCK_SECONDS);
	problem_hint(problem, "lslocks   shows which; then the same command again");
	return ERR_TIMEOUT;
}

enum err file_lock(const char *path, struct problem *problem, int *ret_lock)
{
	const struct named named = { .directory = AT_FDCWD, .name = path, .follows = true };

	return lock_named(&named, path, problem, ret_lock);
}

enum err file_lock_at(const struct tree_place *place, const char *path, struct problem *problem,
                      int *ret_lock)
{
	const struct named named = { .directory = place->directory, .name = place->name };

	return lock_named(&named, path, problem, ret_lock);
}
