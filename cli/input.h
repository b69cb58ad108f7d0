/*
 * Input
 *
 * Where bytes come from: a file, or standard input. Those of encrypt and decrypt are pushed on piece by piece, never held as a whole; what is small is read at once.
 */
#pragma once

#include "cli/problem.h"
#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"

/* Opens path for reading ("-" or NULL: standard input). Directories are refused. */
MUST_CHECK enum err input_open(const char *path, struct problem *problem, int *ret_fd);

/* The same by a name in an open directory. shown: for messages. */
MUST_CHECK enum err input_open_at(int directory, const char *name, const char *shown, struct problem *problem,
                                  int *ret_fd);

/* The sentence for what is no regular file where one has to be. Returns ERR_FILE_ACCESS. */
enum err input_refuse_special(const char *path, struct problem *problem);

/* Of a name that was typed, perhaps as one of many: ERR_FILE_ACCESS with a sentence when it is a pipe, which waits for its other end. One that the shell has made (<(COMMAND)) is none here. */
MUST_CHECK enum err input_refuse_pipe(const char *path, struct problem *problem);

/* As input_open, of a name that nobody typed, but that was found (rules above a file, a list in a repository), or of a file that is to be changed: what is there has to be a regular file. A pipe waits for its other end, and /dev/stdin for
 * whoever sits at the terminal. */
MUST_CHECK enum err input_open_found(const char *path, struct problem *problem, int *ret_fd);

/* The same by a name in an open directory (AT_FDCWD: by path). shown: for messages. */
MUST_CHECK enum err input_open_found_at(int directory, const char *name, const char *shown,
                                        struct problem *problem, int *ret_fd);

/* Closes what input_open and input_open_found opened, but never standard input; for CLEANUP. */
void input_closep(int *fd);

/* "standard input", or path. Borrowed. */
const char *input_name(const char *path);

/* Where the bytes go. The first piece is pushed, so that its receiver can look at what it is: INPUT_FIRST_LEN bytes, unless the input is shorter. What follows is read straight to where
 * the receiver wants it, for a copy of a large file costs as much as a third of decrypting it. */
#define INPUT_FIRST_LEN 4096U
struct input_receiver {
	enum err (*first)(void *context, struct bytes piece);
	uint8_t *(*space)(void *context, size_t *ret_len); /* NULL: out of memory */
	enum err (*commit)(void *context, size_t len);
	void *context;
};

/* Reads fd to its end; an empty input gives one empty first piece. The first piece is wiped, for it may be plaintext. Errors of the receiver, and of reading (then problem has the sentence). */
MUST_CHECK enum err input_pump(int fd, const char *path, const struct input_receiver *receiver,
                               struct problem *problem);

/* Appends fd to its end to text, as far as text's limit goes. ERR_BUSY, without a sentence, when that is reached: only the caller knows what the input is too large for. ERR_NOMEM, and errors of
 * reading (then problem has the sentence). */
MUST_CHECK enum err input_read(int fd, const char *path, struct buf *text, struct problem *problem);
