/*
 * Policy files
 *
 * The policy as it stands in the files, read with the broker's own code: for the verbs that judge by it, and for those that compare it with what a running tokend has loaded.
 * It asks no daemon; where says what one answered.
 */
#pragma once

#include <stdio.h>

#include "cli/where.h"
#include "common/buf.h"
#include "tokend/policy.h"

#define POLICY_FILES_HINT "man 5 tokend-policy; a running tokend keeps the policy it has"

struct policy_files {
	struct where where; /* the caller's to fill, before the load */
	const char *path; /* borrowed: a file or directory that somebody named, or where.policy_directory */
	bool is_directory; /* rules then name their files without it */
	bool is_built_in; /* there are no rules at path */
	struct policy *policy; /* NULL before it is loaded, or when it cannot be */
	struct buf *problems; /* "file:line: sentence", a line for each; NULL before it is loaded */
	size_t problem_count;
};

/* Frees where, too. */
void policy_files_done(struct policy_files *files);

/* Reads what stands at path. The daemon's own directory may be missing, which means the built-in policy; one that somebody named may not. On an error problem has the first sentence, and
 * problems has all of them. */
MUST_CHECK enum err policy_files_load(struct policy_files *files, struct problem *problem);

/* Does the daemon of where still go by another version of these files? False when there is none, or when these are not its files. */
bool policy_files_outdated(const struct policy_files *files);

/* Prints lines in which names of files are: other control characters come out as '?'. */
void policy_files_print(const char *text, FILE *out);
