/*
 * Text merge
 *
 * Two changes of one text made into one, line by line, as git does it. The texts stand in files without a name, and nowhere else. It knows nothing of what they say.
 */
#pragma once

#include "cli/problem.h"
#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"

struct text_merge {
	struct bytes base; /* what both began with */
	struct bytes ours, theirs;
	const char *our_name, *their_name; /* behind the marks */
};

/* Can it be merged line by line? What has a NUL byte anywhere has no lines. */
bool text_merge_has_lines(struct bytes text);

/* *ret_clean is false where both changed the same lines: the text then has git's marks there. ERR_UNSUPPORTED when there is no git, ERR_BAD_FILE for what has no lines (NUL bytes), ERR_SYSTEM; with
 * a sentence. */
MUST_CHECK enum err text_merge(const struct text_merge *merge, struct problem *problem, struct buf **ret_text,
                               bool *ret_clean);
