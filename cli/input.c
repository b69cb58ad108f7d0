#include "cli/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/cleanup.h"
#include "common/secret.h"

enum err input_open(const char *path, struct problem *problem, int *ret_fd)
{
	struct stat status;
	int fd;

	if (!path || strcmp(path, "-") == 0) {
		*ret_fd = STDIN_FILENO;
		return OK;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return problem_errno(problem, errno, "cannot open", path);
	if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
		(void)close(fd);
		return problem_set(problem, ERR_USAGE, "%s is a directory", path);
	}
	*ret_fd = fd;
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

/* Reads until at_least bytes are there or the input ends. */
static enum err fill(int fd, uint8_t *buffer, size_t at_least, size_t *ret_len)
{
	size_t len = 0;

	while (len < at_least) {
		ssize_t n = read(fd, buffer + len, INPUT_PIECE_LEN - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_SYSTEM;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	*ret_len = len;
	return OK;
}

static enum err pump(int fd, const char *path, input_take take, void *context, uint8_t *buffer,
                     size_t *ret_used, struct problem *problem)
{
	for (bool first = true;; first = false) {
		size_t len = 0;
		enum err err;

		if (fill(fd, buffer, first ? INPUT_FIRST_LEN : 1, &len))
			return problem_errno(problem, errno, "cannot read", input_name(path));
		*ret_used = len > *ret_used ? len : *ret_used;
		if (len == 0 && !first)
			return OK;
		err = take(context, bytes_of(buffer, len), first);
		if (err)
			return err;
	}
}

enum err input_pump(int fd, const char *path, input_take take, void *context, struct problem *problem)
{
	uint8_t *buffer = malloc(INPUT_PIECE_LEN);
	size_t used = 0;
	enum err err;

	if (!buffer)
		return ERR_NOMEM;
	err = pump(fd, path, take, context, buffer, &used, problem);
	secret_wipe(buffer, used);
	free(buffer);
	return err;
}
