#include "common/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/secret.h"

#define TEMPORARY_NAME_MAX 300U

#define OUTSIDE_UID 65534U /* /proc/sys/kernel/overflowuid */

/* Outside of every user namespace of somebody's own each number is one user's. */
static bool has_all_users(void)
{
	CLEANUP(fclosep) FILE *file = fopen("/proc/self/uid_map", "re");
	unsigned long inside, outside, count;
	char line[64];

	return file && fgets(line, sizeof(line), file) &&
	       sscanf(line, "%lu %lu %lu", &inside, &outside, &count) == 3 && inside == 0 && outside == 0 &&
	       count == UINT32_MAX;
}

bool file_uid_is_ours(uid_t uid)
{
	return uid == 0 || (uid == geteuid() && (uid != OUTSIDE_UID || has_all_users()));
}

bool file_is_ours(const struct stat *st, mode_t forbidden_mode)
{
	return file_uid_is_ours(st->st_uid) && (st->st_mode & forbidden_mode) == 0;
}

/* mkdir -p; what exists is fine, whatever it is: opening it will tell. */
static void make_directories(const char *path)
{
	char partial[4096];
	size_t len = strlen(path);

	if (len >= sizeof(partial))
		return;
	memcpy(partial, path, len + 1);
	for (size_t i = 1; i <= len; i++) {
		if (partial[i] != '/' && partial[i] != '\0')
			continue;
		partial[i] = '\0';
		(void)mkdir(partial, 0700);
		partial[i] = path[i];
	}
}

enum err file_open_directory(const char *path, bool create, mode_t forbidden_mode, int *ret_fd)
{
	CLEANUP(close_fdp) int fd = -1;
	struct stat st;

	if (create)
		make_directories(path);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_from_errno(errno);
	if (fstat(fd, &st) < 0)
		return ERR_SYSTEM;
	if (!file_is_ours(&st, forbidden_mode))
		return ERR_STATE_DIR;
	*ret_fd = TAKE_FD(fd);
	return OK;
}

enum err file_read(int directory, const char *name, size_t limit, mode_t forbidden_mode, struct buf **ret_buf)
{
	CLEANUP(close_fdp) int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	CLEANUP(buf_freep) struct buf *buf = NULL;
	struct stat st;
	size_t got = 1;
	enum err err;

	if (fd < 0)
		return errno == ELOOP ? ERR_STATE_DIR : err_from_errno(errno);
	if (fstat(fd, &st) < 0)
		return ERR_SYSTEM;
	if (!S_ISREG(st.st_mode) || !file_is_ours(&st, forbidden_mode))
		return ERR_STATE_DIR;
	err = buf_new(limit + 1, &buf);
	while (!err && got > 0)
		err = buf_read_fd(buf, fd, 65536, &got);
	if (err)
		return err;
	if (buf_len(buf) > limit)
		return ERR_BUSY;
	*ret_buf = TAKE(buf);
	return OK;
}

enum err file_write_all(int fd, struct bytes bytes)
{
	while (bytes.len > 0) {
		ssize_t written = write(fd, bytes.data, bytes.len);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return err_from_errno(errno);
		bytes = bytes_of(bytes.data + written, bytes.len - (size_t)written);
	}
	return OK;
}

static enum err write_and_sync(int directory, const char *temporary, struct bytes bytes, mode_t mode)
{
	CLEANUP(close_fdp)
	int fd = openat(directory, temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	enum err err;

	if (fd < 0)
		return err_from_errno(errno);
	err = file_write_all(fd, bytes);
	if (err)
		return err;
	/* umask must not decide who may read a key file. */
	if (fchmod(fd, mode) < 0 || fsync(fd) < 0)
		return err_from_errno(errno);
	return OK;
}

/* link() is the rename that refuses to replace. */
static enum err put_in_place(int directory, const char *temporary, const char *name, bool exclusive)
{
	enum err err;

	if (exclusive && linkat(directory, temporary, directory, name, 0) < 0)
		return errno == EEXIST ? ERR_EXISTS : err_from_errno(errno);
	if (exclusive)
		(void)unlinkat(directory, temporary, 0);
	else if (renameat(directory, temporary, directory, name) < 0)
		return err_from_errno(errno);
	if (fsync(directory) == 0)
		return OK;
	err = err_from_errno(errno);
	/* What there was none of before there is none of now; what was replaced cannot be brought back. */
	if (exclusive)
		(void)unlinkat(directory, name, 0);
	return err;
}

enum err file_write(int directory, const char *name, struct bytes bytes, mode_t mode, bool exclusive)
{
	char temporary[TEMPORARY_NAME_MAX];
	enum err err;

	if (snprintf(temporary, sizeof(temporary), ".%s.%ld.new", name, (long)getpid()) >=
	    (int)sizeof(temporary))
		return ERR_USAGE;
	(void)unlinkat(directory, temporary, 0);
	err = write_and_sync(directory, temporary, bytes, mode);
	if (!err)
		err = put_in_place(directory, temporary, name, exclusive);
	if (err)
		(void)unlinkat(directory, temporary, 0);
	return err;
}

enum err file_remove(int directory, const char *name)
{
	if (unlinkat(directory, name, 0) < 0 || fsync(directory) < 0)
		return err_from_errno(errno);
	return OK;
}

enum err file_hold_standard(int flags)
{
	for (int i = STDIN_FILENO; i <= STDERR_FILENO; i++) {
		int fd;

		if (fcntl(i, F_GETFD) >= 0 || errno != EBADF)
			continue;
		/* The lowest number that is free is given: this one. */
		fd = open("/dev/null", (i == STDIN_FILENO ? O_WRONLY : O_RDONLY) | flags);
		if (fd != i)
			return ERR_SYSTEM;
	}
	return OK;
}
