#include "cli/shred.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/shown.h"
#include "common/cleanup.h"
#include "common/file.h"
#include "common/path.h"

static enum err explain_link(const char *path, struct problem *problem)
{
	char real[PATH_MAX];

	(void)problem_set(problem, ERR_USAGE, "%s is a symbolic link, so it was left alone", path);
	if (realpath(path, real))
		problem_hint(problem, "name the file itself: %s", real);
	return ERR_USAGE;
}

/* The directory is opened once: whoever can put another in its place on the way would otherwise say whose file is removed. */
static enum err open_directory(const char *path, struct problem *problem, int *ret_directory)
{
	char directory[PATH_MAX];

	if (!path_directory(path, directory, sizeof(directory)))
		return problem_errno(problem, ENAMETOOLONG, "cannot write over", path);
	*ret_directory = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return *ret_directory < 0 ? problem_errno(problem, errno, "cannot write over", path) : OK;
}

static enum err open_checked(int directory, const char *path, struct problem *problem, int *ret_fd,
                             struct stat *ret_status)
{
	CLEANUP(close_fdp)
	int fd =
	        openat(directory, path_name(path), O_WRONLY | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
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
	*ret_status = status;
	*ret_fd = TAKE_FD(fd);
	return OK;
}

enum err shred_check(const char *path, struct problem *problem)
{
	CLEANUP(close_fdp) int directory = -1;
	CLEANUP(close_fdp) int fd = -1;
	struct stat status;
	enum err err = open_directory(path, problem, &directory);

	return err ? err : open_checked(directory, path, problem, &fd, &status);
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

static bool is_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool is_as_it_was(const struct stat *now, const struct stat *read)
{
	return is_file(now, read) && now->st_size == read->st_size &&
	       now->st_mtim.tv_sec == read->st_mtim.tv_sec && now->st_mtim.tv_nsec == read->st_mtim.tv_nsec;
}

static enum err refuse_other(const char *path, struct problem *problem)
{
	char quoted[SHOWN_QUOTED_MAX];

	(void)problem_set(problem, ERR_BUSY,
	                  "%s was changed or replaced since it was read, so it was left alone", path);
	shown_quote(path, quoted);
	problem_hint(
	        problem,
	        "age-keygen -y %s   says which key it holds now; tokenctl recipient   which are enrolled",
	        quoted);
	return ERR_BUSY;
}

/* Under its name could be another one by now. */
static enum err remove_name(int directory, const char *path, const struct stat *status,
                            struct problem *problem)
{
	struct stat named;

	if (fstatat(directory, path_name(path), &named, AT_SYMLINK_NOFOLLOW) == 0 && !is_file(&named, status))
		return refuse_other(path, problem);
	return unlinkat(directory, path_name(path), 0) == 0
	               ? OK
	               : problem_errno(problem, errno, "cannot remove", path);
}

enum err shred_file(const char *path, const struct stat *read, struct problem *problem)
{
	CLEANUP(close_fdp) int directory = -1;
	CLEANUP(close_fdp) int fd = -1;
	struct stat status = { 0 };
	enum err err = open_directory(path, problem, &directory);

	if (!err)
		err = open_checked(directory, path, problem, &fd, &status);

	if (err)
		return err;
	if (!is_as_it_was(&status, read))
		return refuse_other(path, problem);
	if (overwrite(fd, status.st_size))
		return problem_errno(problem, errno, "cannot write over", path);
	return remove_name(directory, path, &status, problem);
}
