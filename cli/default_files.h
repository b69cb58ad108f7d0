/*
 * Default files
 *
 * Which SOPS files "tokenctl run" takes when none is named: those of run.files in the nearest .tokend.yaml, from the working directory upwards. Where a git working tree begins, the one in its
 * common directory is next, and then that of the main working tree, so that every worktree inherits them. Such a file decides what a program gets into its environment, so it must be ours.
 */
#pragma once

#include <stddef.h>

#include "cli/problem.h"
#include "common/err.h"

#define DEFAULT_FILES_NAME ".tokend.yaml"
#define DEFAULT_FILES_MAX 64U

struct default_files {
	char *paths[DEFAULT_FILES_MAX]; /* owned */
	size_t count;
};

/* ERR_NO_FILE when there is no such file; ERR_BAD_CONFIG: it names no files, or is somebody else's. Both with a sentence. To be done with in any case. */
MUST_CHECK enum err default_files_find(struct problem *problem, struct default_files *files);
void default_files_done(struct default_files *files);
