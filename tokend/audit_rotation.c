#include "tokend/audit_rotation.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/file.h"
#include "tokend/audit.h"
#include "tokend/text.h"

#define NEXT_NAME AUDIT_FILE_NAME ".next"
#define FILE_MODE 0640

void audit_rotation_name(unsigned long long last, char ret_name[static AUDIT_ROTATED_MAX])
{
	(void)snprintf(ret_name, AUDIT_ROTATED_MAX, AUDIT_FILE_NAME ".%012llu", last);
}

/* ---- the three names ---- */

static enum err make_next(int directory, struct bytes first, struct audit_new_log *ret_log)
{
	CLEANUP(close_fdp) int fd = -1;
	enum err err;

	if (unlinkat(directory, NEXT_NAME, 0) < 0 && errno != ENOENT)
		return err_from_errno(errno);
	fd = openat(directory, NEXT_NAME, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
	            FILE_MODE);
	/* umask must not decide who may read the log. */
	if (fd < 0 || fchmod(fd, FILE_MODE) < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return err_from_errno(errno);
	err = file_write_all(fd, first);
	if (!err && (fsync(fd) < 0 || fsync(directory) < 0 || fstat(fd, &ret_log->status) < 0))
		err = err_from_errno(errno);
	if (!err)
		ret_log->fd = TAKE_FD(fd);
	return err;
}

static enum err name_old(int directory, const char *name)
{
	if (linkat(directory, AUDIT_FILE_NAME, directory, name, 0) == 0)
		return OK;
	return errno == EEXIST ? ERR_EXISTS : err_from_errno(errno);
}

static enum err take_place(int directory)
{
	/* That the old log has another name is on the disk before it loses this one. */
	if (fsync(directory) < 0 || renameat(directory, NEXT_NAME, directory, AUDIT_FILE_NAME) < 0 ||
	    fsync(directory) < 0)
		return err_from_errno(errno);
	return OK;
}

/* The old log is the log again, and has that name alone. A rename from one name of a file to another of its names does nothing, so that the name is removed as well. */
static void take_back(int directory, const char *name)
{
	(void)renameat(directory, name, directory, AUDIT_FILE_NAME);
	(void)unlinkat(directory, name, 0);
	(void)fsync(directory);
}

enum err audit_rotate_files(int directory, struct bytes first, unsigned long long last,
                            struct audit_new_log *ret_log)
{
	struct audit_new_log log = { .fd = -1 };
	char name[AUDIT_ROTATED_MAX];
	enum err err = make_next(directory, first, &log);

	audit_rotation_name(last, name);
	if (!err)
		err = name_old(directory, name);
	if (!err) {
		err = take_place(directory);
		if (err)
			take_back(directory, name);
	}
	if (!err) {
		*ret_log = log;
		return OK;
	}
	close_fdp(&log.fd);
	(void)unlinkat(directory, NEXT_NAME, 0);
	return err;
}

/* ---- after a start ---- */

static bool is_second_name(int directory, const char *name, const struct stat *log)
{
	static const char begin[] = AUDIT_FILE_NAME ".";
	const char *number = name + sizeof(begin) - 1;
	struct stat st;

	/* Another's second name for it is for who opens the log to refuse. */
	return strncmp(name, begin, sizeof(begin) - 1) == 0 && *number != '\0' &&
	       number[strspn(number, "0123456789")] == '\0' &&
	       fstatat(directory, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_dev == log->st_dev &&
	       st.st_ino == log->st_ino;
}

static enum err remove_second_name(int directory, const struct stat *log)
{
	int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *names = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	enum err err = names ? OK : err_from_errno(errno);

	while (!err && (entry = readdir(names)))
		if (is_second_name(directory, entry->d_name, log)) {
			if (unlinkat(directory, entry->d_name, 0) < 0 || fsync(directory) < 0)
				err = err_from_errno(errno);
			break;
		}
	if (names)
		(void)closedir(names);
	else
		close_fdp(&fd);
	return err;
}

enum err audit_rotation_mend(int directory)
{
	struct stat st;

	if (unlinkat(directory, NEXT_NAME, 0) < 0 && errno != ENOENT)
		return err_from_errno(errno);
	if (fstatat(directory, AUDIT_FILE_NAME, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) ||
	    st.st_nlink != 2)
		return OK; /* whatever else is wrong with it is for who opens it to see */
	return remove_second_name(directory, &st);
}

void audit_rotation_before(int log, struct audit_chain *ret_before)
{
	uint8_t data[AUDIT_LINE_MAX];
	ssize_t len = pread(log, data, sizeof(data), 0);
	struct bytes rest = bytes_of(data, len > 0 ? (size_t)len : 0), line;

	*ret_before = (struct audit_chain){ 0 };
	if (text_next_line(&rest, &line))
		(void)audit_record_goes_on(line, ret_before);
}
