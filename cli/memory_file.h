/*
 * Memory file
 *
 * A file without a name and without a disk, for a program that wants a path: it is inherited, and /proc/self/fd/N opens it from its beginning as often as one likes. Gone with the last process
 * that has it.
 */
#pragma once

#include "common/bytes.h"
#include "common/err.h"

#define MEMORY_FILE_PATH_MAX 64U

/* A new one, mode 0600, that stays open over exec, with a number that shell scripts do not use. ERR_SYSTEM with errno. */
MUST_CHECK enum err memory_file_new(int *ret_fd);

/* The same with text in it. ERR_SYSTEM with errno, ERR_DISK_FULL; *ret_fd is to be closed then, too, unless it is as it was. */
MUST_CHECK enum err memory_file_of(struct bytes text, int *ret_fd);

/* Appends; of the type age_stream_sink, context being an int *. */
MUST_CHECK enum err memory_file_write(void *fd, struct bytes chunk);

/* Everything is there: nobody can change it any more. */
MUST_CHECK enum err memory_file_seal(int fd);

void memory_file_path(int fd, char path[static MEMORY_FILE_PATH_MAX]);
