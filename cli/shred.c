#include "cli/shred.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/file.h"

static enum err explain_link(const char *path, struct problem *problem)
{
	char real[PATH_MAX];

	(void)problem_set(problem, ERR_USAGE, "%s is a symbolic link, so it was left alone", path);
	if (realpath(path, real))
		problem_hint(problem, "name the file itself: %s", real);
	return ERR_USAGE;
}

static enum err open_checked(const char *path, struct problem *problem, int *ret_fd, off_t *ret_size)
{
	CLEANUP(close_fdp) int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat status;

	if (fd < 0)
		return errno == ELOOP ? explain_link(path, problem)
		                      : problem_errno(problem, errno, "cannot write over", path);
	if (fstat(fd, &status) < 0)
		return problem_errno(problem, errno, "cannot look at", path);
	if (!S_ISREG(status.st_mode))
		return problem_set(problem, ERR_USAGE, "%s is not a regular file, so it was left alone",
		                   path);
	if (status.st_nlink > 1)
		return problem_set(problem, ERR_USAGE,
		                   "%s has %lu names, so it was left alone: removing one would keep the key",
		                   path, (unsigned long)status.st_nlink);
	*ret_size = status.st_size;
	*ret_fd = TAKE_FD(fd);
	return OK;
}

enum err shred_check(const char *path, struct problem *problem)
{
	CLEANUP(close_fdp) int fd = -1;
	off_t size;

	return open_checked(path, problem, &fd, &size);
}

static enum err overwrite(int fd, off_t size)
{
	uint8_t noise[4096];

	for (off_t done = 0; done < size; done += (off_t)sizeof(noise)) {
		off_t left = size - done;
		size_t len = left < (off_t)sizeof(noise) ? (size_t)left : sizeof(noise);
		enum err err;

		randombytes_buf(noise, len);
		err = file_write_all(fd, bytes_of(noise, len));
		if (err)
			return err;
	}
	return fsync(fd) == 0 ? OK : ERR_SYSTEM;
}

enum err shred_file(const char *path, struct problem *problem)
{
	CLEANUP(close_fdp) int fd = -1;
	off_t size = 0;
	enum err err = open_checked(path, problem, &fd, &size);

	if (err)
		return err;
	if (overwrite(fd, size))
		return problem_errno(problem, errno, "cannot write over", path);
	return unlink(path) == 0 ? OK : problem_errno(problem, errno, "cannot remove", path);
}
