/*
 * File lock
 *
 * Programs that read a file, change it and put another in its place wait here for one another, so that no change is lost between the reading and the putting. The lock is flock's, on the file itself, so nothing
 * stays of it when its holder ends, however. It holds up nobody who does not ask for it, and is not there on file systems that have none.
 */
#pragma once

#include "cli/problem.h"
#include "cli/tree.h"
#include "common/err.h"

#define FILE_LOCK_SECONDS 10U

/* Waits until nobody else has the file locked that path leads to (then) and locks it. *ret_lock: to be closed; -1 where there is nothing to lock. ERR_TIMEOUT with a sentence after FILE_LOCK_SECONDS. */
MUST_CHECK enum err file_lock(const char *path, struct problem *problem, int *ret_lock);

/* The same of a file of a tree; path: for messages. */
MUST_CHECK enum err file_lock_at(const struct tree_place *place, const char *path, struct problem *problem,
                                 int *ret_lock);
