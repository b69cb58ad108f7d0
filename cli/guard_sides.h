/*
 * Guard's sides
 *
 * SOPS files that were in conflict and are about to be committed as one side has them, so that what the other side changed would be lost without a word. What was in conflict is what git has noted beside the index (its record for
 * `git checkout -m`), so a merge that went well is none, whatever came out of it. Of a merge that is committed already nobody has such a record: there it is a file that both sides changed, and that the merge has as one of them has it. Knows neither what is in the files nor whether that was meant.
 */
#pragma once

#include "cli/git.h"

/* One such file; borrowed for the call. */
struct guard_side {
	const char *path; /* from the top of the repository */
	bool theirs; /* as the other side has it; else as HEAD has it, or of a commit its first parent */
	const char *commit; /* the merge; NULL: one that is under way */
	unsigned parent; /* of the commit: which one is the other side, from 2 on */
};

typedef enum err (*guard_side_taken)(void *context, const struct guard_side *side);

/* Calls take for each of them while a merge, a cherry-pick, a revert or a rebase is under way in the working tree whose top is named. Errors of git_run and git_objects_get, and what take returned. */
MUST_CHECK enum err guard_sides_each(const char *top, struct git_objects *objects, struct problem *problem,
                                     guard_side_taken take, void *context);

/* The same for those of commits (each in a line, as `git rev-list` writes them) that are merges. Where a shallow clone does not have what their sides began with: ERR_SYSTEM, with a sentence. */
MUST_CHECK enum err guard_sides_in(struct bytes commits, struct git_objects *objects, struct problem *problem,
                                   guard_side_taken take, void *context);

/* The commit that is being merged into HEAD; "" when none is, and of several the first. Errors of git_run. */
MUST_CHECK enum err guard_sides_merged(struct problem *problem, char commit[static GIT_NAME_MAX]);
