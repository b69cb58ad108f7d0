/*
 * Input
 *
 * Where the bytes of encrypt and decrypt come from: a file, or standard input. Pushed on piece by piece, never held as a whole.
 */
#pragma once

#include "cli/problem.h"
#include "common/bytes.h"
#include "common/err.h"

#define INPUT_PIECE_LEN (256U << 10)

/* Opens path for reading ("-" or NULL: standard input). Directories are refused. */
MUST_CHECK enum err input_open(const char *path, struct problem *problem, int *ret_fd);

/* Closes what input_open opened, but never standard input; for CLEANUP. */
void input_closep(int *fd);

/* "standard input", or path. Borrowed. */
const char *input_name(const char *path);

/* Takes one piece. first: nothing came before it, and it is at least INPUT_FIRST_LEN long unless the input is shorter. */
#define INPUT_FIRST_LEN 4096U
typedef enum err (*input_take)(void *context, struct bytes piece, bool first);

/* Reads fd to its end and hands every piece to take; an empty input gives one empty piece. What was read is wiped, for it may be a plaintext. Errors of take, and of reading
 * (then problem has the sentence). */
MUST_CHECK enum err input_pump(int fd, const char *path, input_take take, void *context,
                               struct problem *problem);
