/*
 * Memory directory
 *
 * A directory in a file system that is memory, which nobody else can enter: for a plain text that another program works on, and whatever that writes beside it. (Such a file system can be swapped
 * out.) It stands where nobody else could put another in its place. It knows nothing of what is in the text.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "cli/problem.h"
#include "common/bytes.h"
#include "common/err.h"

#define MEMORY_DIRECTORY_MAX 4096U
#define MEMORY_DIRECTORY_FILE_MAX (MEMORY_DIRECTORY_MAX + 256U)

/* Makes a new one; "" and ERR_FILE_ACCESS with a sentence when there is no such file system. */
MUST_CHECK enum err memory_directory_make(struct problem *problem, char path[static MEMORY_DIRECTORY_MAX]);

/* How names begin that are not a text's, but of what is kept beside it. */
#define MEMORY_DIRECTORY_OWN ".tokenctl-"

/* A new file in it with the last part of name, by which programs know its kind (without its dot where it begins as our own do), and text in it. ret_file: its path. ERR_DISK_FULL, ERR_SYSTEM; with a sentence. */
MUST_CHECK enum err memory_directory_write(const char *directory, const char *name, struct bytes text,
                                           struct problem *problem,
                                           char ret_file[static MEMORY_DIRECTORY_FILE_MAX]);

/* The same with a text in the place of the file of that name, if there is one: the old, or the new one. */
MUST_CHECK enum err memory_directory_rewrite(const char *directory, const char *name, struct bytes text,
                                             struct problem *problem);

/* Calls take for each that there is, of whatever edit. */
typedef void (*memory_directory_taken)(void *context, const char *path);
void memory_directory_each(memory_directory_taken take, void *context);

/* Is it one that was made here, by its place, its name and who may enter? */
bool memory_directory_is_one(const char *path);

/* Removes it with all that is in it, directories of whatever depth too, and what a program that still runs goes on writing there. Links are not followed. */
void memory_directory_remove(const char *path);

/* A process that removes the directory when this one ends, by whatever signal, to this one alone or to its process group. */
struct memory_watch {
	int lives; /* a pipe: what is at its other end sees us end */
	pid_t pid; /* 0: there is none */
};

/* Begins to watch. Called before there is plain text in memory, for the other process has what this one has now. ERR_SYSTEM, without a sentence. */
MUST_CHECK enum err memory_directory_watch(const char *path, struct memory_watch *ret_watch);

/* The other process ends; unless keeps, it removes the directory. Waits for it. Does nothing when there is none. */
void memory_directory_unwatch(struct memory_watch *watch, bool keeps);
