#include "cli/input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/shown.h"
#include "common/cleanup.h"
#include "common/secret.h"

#define PIECE_LEN 65536U

static enum err explain_directory(const char *path, struct problem *problem)
{
	char quoted[SHOWN_QUOTED_MAX];

	shown_quote(path, quoted);
	(void)problem_set(problem, ERR_USAGE, "%s is a directory", path);
	problem_hint(problem, "ls -l %s   shows the files in it", quoted);
	return ERR_USAGE;
}

enum err input_open(const char *path, struct problem *problem, int *ret_fd)
{
	if (!path || strcmp(path, "-") == 0) {
		*ret_fd = STDIN_FILENO;
		return OK;
	}
	return input_open_at(AT_FDCWD, path, path, problem, ret_fd);
}

static enum err refuse(const char *path, const char *what, struct problem *problem)
{
	char quoted[SHOWN_QUOTED_MAX];

	shown_quote(path, quoted);
	(void)problem_set(problem, ERR_FILE_ACCESS, "%s is %s, so it is not read", path, what);
	problem_hint(problem, "ls -lL %s", quoted);
	return ERR_FILE_ACCESS;
}

enum err input_refuse_special(const char *path, struct problem *problem)
{
	return refuse(path, "no regular file", problem);
}

enum err input_refuse_pipe(const char *path, struct problem *problem)
{
	struct stat status;

	return lstat(path, &status) == 0 && S_ISFIFO(status.st_mode) ? refuse(path, "a pipe", problem) : OK;
}

enum err input_open_at(int directory, const char *name, const char *path, struct problem *problem,
                       int *ret_fd)
{
	struct stat status;
	int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return problem_errno(problem, errno, "cannot open", path);
	if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
		(void)close(fd);
		return explain_directory(path, problem);
	}
	*ret_fd = fd;
	return OK;
}

enum err input_open_found(const char *path, struct problem *problem, int *ret_fd)
{
	return input_open_found_at(AT_FDCWD, path, path, problem, ret_fd);
}

enum err input_open_found_at(int directory, const char *name, const char *path, struct problem *problem,
                             int *ret_fd)
{
	CLEANUP(close_fdp) int fd = openat(directory, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0)
		return problem_errno(problem, errno, "cannot open", path);
	if (S_ISDIR(status.st_mode))
		return problem_set(problem, ERR_USAGE, "%s is a directory", path);
	if (!S_ISREG(status.st_mode))
		return input_refuse_special(path, problem);
	*ret_fd = TAKE_FD(fd);
	return OK;
}

void input_closep(int *fd)
{
	if (*fd > STDERR_FILENO)
		(void)close(*fd);
}

const char *input_name(const char *path)
{
	return !path || strcmp(path, "-") == 0 ? "standard input" : path;
}

static ssize_t read_some(int fd, uint8_t *buffer, size_t len)
{
	ssize_t n;

	do
		n = read(fd, buffer, len);
	while (n < 0 && errno == EINTR);
	return n;
}

/* A pipe gives what it has; the first piece is worth waiting for. */
static ssize_t read_first(int fd, uint8_t buffer[static INPUT_FIRST_LEN])
{
	size_t len = 0;

	while (len < INPUT_FIRST_LEN) {
		ssize_t n = read_some(fd, buffer + len, INPUT_FIRST_LEN - len);

		if (n < 0)
			return n;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

static enum err pump_first(int fd, const char *path, const struct input_receiver *receiver,
                           struct problem *problem, size_t *ret_len)
{
	uint8_t buffer[INPUT_FIRST_LEN];
	ssize_t len = read_first(fd, buffer);
	enum err err;

	if (len < 0)
		return problem_errno(problem, errno, "cannot read", input_name(path));
	err = receiver->first(receiver->context, bytes_of(buffer, (size_t)len));
	secret_wipe(buffer, (size_t)len);
	*ret_len = (size_t)len;
	return err;
}

enum err input_pump(int fd, const char *path, const struct input_receiver *receiver, struct problem *problem)
{
	size_t first_len;
	enum err err = pump_first(fd, path, receiver, problem, &first_len);
	ssize_t n = first_len == INPUT_FIRST_LEN;

	while (!err && n > 0) {
		size_t len;
		uint8_t *space = receiver->space(receiver->context, &len);

		if (!space)
			return ERR_NOMEM;
		n = read_some(fd, space, len);
		if (n < 0)
			return problem_errno(problem, errno, "cannot read", input_name(path));
		if (n > 0)
			err = receiver->commit(receiver->context, (size_t)n);
	}
	return err;
}

enum err input_read(int fd, const char *path, struct buf *text, struct problem *problem)
{
	size_t len = 1;
	enum err err = OK;

	while (!err && len > 0)
		err = buf_read_fd(text, fd, PIECE_LEN, &len);
	return !err || err == ERR_BUSY || err == ERR_NOMEM
	               ? err
	               : problem_errno(problem, errno, "cannot read", input_name(path));
}
