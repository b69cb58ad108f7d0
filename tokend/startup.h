/*
 * Start-up
 *
 * What is made and checked before anything is served: the two directories, the locks that keep a second daemon out, the file that tells tokenctl where things are.
 * Every failure is one sentence on stderr and the next command to type; this is the one place that says it.
 */
#pragma once

#include <sys/types.h>

#include "common/err.h"
#include "tokend/config.h"
#include "tokend/options.h"

#define STARTUP_LOCKS_MAX 2

/* Opens the state directory (made when missing, given to owner when we are root) and the runtime directory, and locks both: as long as one of ret_locks is open in any process. One
 * directory for both is one lock, and the second -1. */
MUST_CHECK enum err startup_directories(const struct options *options, uid_t owner, gid_t group,
                                        int *ret_state, int *ret_runtime,
                                        int ret_locks[static STARTUP_LOCKS_MAX]);

/* Writes "where" into the runtime directory: the paths that tokenctl needs when the daemon is down. */
MUST_CHECK enum err startup_where(const struct options *options, const struct config *config, int runtime);

/* Opens the notes that the helpers of one token leave to each other (struct token_notes), in the runtime directory, so that they outlive this process too and are gone when the machine was restarted. What is
 * there and is not a file of ours of that length is replaced by an empty one. */
MUST_CHECK enum err startup_notes(const struct options *options, int runtime, const char *token, int *ret_fd);

/* Opens the memo of the audit log's head (tokend/audit_memo.h) in the runtime directory, and makes it owner's, mode 0600. What is there and is no such file is replaced by an empty one. -1: there is none,
 * because the runtime directory is not in memory, where each record would wait for a disk and the memo outlive the machine's run, or because it cannot be made, which is said and keeps nothing from starting. */
int startup_memo(const struct options *options, int runtime, uid_t owner, gid_t group);

#define STARTUP_QUOTED_MAX (OPTIONS_PATH_MAX + 64)
#define STARTUP_HINT_MAX (2 * STARTUP_QUOTED_MAX + 96)

/* The next command where files of the state directory have the wrong owner, or are open to others. */
void startup_hint_owner(const char *path, uid_t owner, gid_t group, char ret_hint[static STARTUP_HINT_MAX]);

/* The one where nothing can be written into a directory. */
void startup_hint_look(const char *path, char ret_hint[static STARTUP_HINT_MAX]);

/* Prints "tokend: sentence" and, on a line of its own, the next command to type (NULL: none). Returns err. */
enum err startup_failed(enum err err, const char *hint, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
