/*
 * Guard's look
 *
 * What guard says of one file's content: secrets in the clear, a SOPS file that is not as its rules say, a recipient that was not there before. A function of bytes: where they come from,
 * an index, a commit or a disk, is the caller's business, and no key is needed.
 */
#pragma once

#include <stdbool.h>

#include "cli/findings.h"
#include "common/bytes.h"
#include "common/err.h"
#include "formats/sops_rules.h"

#define GUARD_FILE_MAX SOPS_FILE_MAX /* what is larger is named, and not looked at */

struct guard_file {
	const char *path; /* as one would type it */
	const char *place; /* as it is shown: with its commit before it, where there is one */
	struct bytes text;
	struct bytes old_text; /* before the change; data NULL: the file is new, or nobody asked */
	struct bytes merged_text; /* in the commit that is being merged; data NULL: none is, or has it */
	bool only_on_disk; /* git does not have it: nothing has to be taken out of there */
	const char *rules; /* the .sops.yaml, as it is shown; with rule only */
	const char *rules_pathspec; /* the same as a shell and git take it; NULL: git does not have it */
	const struct sops_creation_rule *rule; /* that covers the file; NULL: none */
	const char *const *allowed; /* recipients that may be added */
	size_t allowed_count;
};

/* Adds what is found. ERR_NOMEM; ERR_UNSUPPORTED: a library is missing that SOPS files need. */
MUST_CHECK enum err guard_look(const struct guard_file *file, struct findings *findings);

/* Does a line of it begin with a private age key? Encrypted to its own recipient such a file is lost, and with it all that it opens. A key that is one value among others does not begin its line. */
bool guard_is_identity_file(struct bytes text);

/* Does the name say that variables with their values are in it? Samples are none. */
bool guard_is_dotenv_name(const char *path);

/* Does text hold a value that SOPS encrypted in old? Each has a random part, so then it is a version of the same file. Looks for the first ones of old. */
bool guard_has_value_of(struct bytes text, struct bytes old);
