/*
 * Guard's push
 *
 * What a push brings, as git gives it to a pre-receive hook: a line "OLD NEW REF" for each branch and tag. Commits that no branch or tag of the repository has yet are new; what a push takes away is not looked at. Git keeps
 * what was pushed apart until the hook has ended, and says where in the environment.
 */
#pragma once

#include "cli/git.h"

struct guard_push_object { /* a tag of a tree or of a file, without any commit */
	char name[GIT_NAME_MAX];
	char *ref; /* owned */
	bool tree;
};

struct guard_push {
	struct buf *commits; /* owned: the new ones, the oldest first, each in a line */
	struct guard_push_object *objects; /* owned */
	size_t object_count;
};

/* Reads the lines from fd, to its end. ERR_USAGE, with a sentence, when they are none; ERR_SYSTEM when git does not have what they name. To be done with in any case. */
MUST_CHECK enum err guard_push_read(struct guard_push *push, int fd, struct problem *problem);
void guard_push_done(struct guard_push *push);
