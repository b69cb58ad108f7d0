#include "cli/guard_sides.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/guard_look.h"
#include "cli/sops_file.h"
#include "tokend/text.h"

#define HEAD_VARIABLE "GITHEAD_" /* and the commit */

extern char **environ;

struct sides {
	struct git_objects *objects; /* borrowed */
	guard_side_taken take;
	void *context;
};

/* The record outlives the commit that ends the merge; from then on it says nothing. */
static enum err is_under_way(struct problem *problem, bool *ret_under_way)
{
	/* clang-format off */
	static const char *const arguments[] = { "rev-parse", "--git-path", "MERGE_HEAD", "--git-path", "CHERRY_PICK_HEAD", "--git-path", "REVERT_HEAD",
	                                         "--git-path", "rebase-merge", "--git-path", "rebase-apply", NULL };
	/* clang-format on */
	CLEANUP(buf_freep) struct buf *paths = NULL;
	enum err err = git_run(arguments, false, problem, &paths);
	struct bytes rest = { NULL, 0 }, line;

	if (!err)
		rest = buf_bytes(paths);
	*ret_under_way = false;
	while (!err && text_next_line(&rest, &line)) {
		char path[PATH_MAX];

		*ret_under_way |= text_copy(line, path, sizeof(path)) && access(path, F_OK) == 0;
	}
	return err;
}

static bool is_same(const struct buf *a, const struct buf *b)
{
	return a && b && bytes_equal(buf_bytes(a), buf_bytes(b));
}

static enum err compare(void *context, const struct git_resolved *resolved)
{
	struct sides *sides = context;
	CLEANUP(buf_freep) struct buf *staged = NULL;
	CLEANUP(buf_freep) struct buf *ours = NULL;
	CLEANUP(buf_freep) struct buf *theirs = NULL;
	struct guard_side side = { .path = resolved->path };
	char name[PATH_MAX + 8];
	enum err err;

	(void)snprintf(name, sizeof(name), ":0:%s", resolved->path);
	err = git_objects_find(sides->objects, name, GUARD_FILE_MAX, &staged);
	if (err || !staged || !sops_file_is_likely(buf_bytes(staged)))
		return err;
	err = git_objects_find(sides->objects, resolved->ours, GUARD_FILE_MAX, &ours);
	if (!err)
		err = git_objects_find(sides->objects, resolved->theirs, GUARD_FILE_MAX, &theirs);
	if (err || is_same(ours, theirs))
		return err;
	side.theirs = is_same(staged, theirs);
	return side.theirs || is_same(staged, ours) ? sides->take(sides->context, &side) : OK;
}

enum err guard_sides_each(const char *top, struct git_objects *objects, struct problem *problem,
                          guard_side_taken take, void *context)
{
	/* By -C, for in a directory below git lists what is there. */
	const char *const arguments[] = { "-C", top, "ls-files", "--resolve-undo", "-z", NULL };
	struct sides sides = { .objects = objects, .take = take, .context = context };
	CLEANUP(buf_freep) struct buf *record = NULL;
	bool under_way = false;
	enum err err = git_run(arguments, false, problem, &record);

	if (!err && buf_bytes(record).len)
		err = is_under_way(problem, &under_way);
	if (err || !under_way)
		return err;
	err = git_resolved_each(buf_bytes(record), compare, &sides);
	return err == ERR_BAD_MESSAGE && !problem->message[0]
	               ? problem_set(problem, ERR_SYSTEM,
	                             "git's list of what was in conflict is not understood")
	               : err;
}

/* Before git merge makes its commit by itself there is no MERGE_HEAD yet, but a variable for the hook. */
static bool find_in_environment(char commit[static GIT_NAME_MAX])
{
	for (char **variable = environ; *variable; variable++) {
		const char *name = *variable + strlen(HEAD_VARIABLE);
		size_t len;

		if (strncmp(*variable, HEAD_VARIABLE, strlen(HEAD_VARIABLE)) != 0)
			continue;
		len = strspn(name, "0123456789abcdef");
		if (len > 0 && len < GIT_NAME_MAX && name[len] == '=') {
			(void)snprintf(commit, GIT_NAME_MAX, "%.*s", (int)len, name);
			return true;
		}
	}
	return false;
}

enum err guard_sides_merged(struct problem *problem, char commit[static GIT_NAME_MAX])
{
	static const char *const arguments[] = { "rev-parse", "--verify", "-q", "MERGE_HEAD", NULL };
	CLEANUP(buf_freep) struct buf *line = NULL;
	enum err err;

	commit[0] = '\0';
	if (find_in_environment(commit))
		return OK;
	err = git_line(arguments, true, problem, &line);
	if (!err && !text_copy(buf_bytes(line), commit, GIT_NAME_MAX))
		commit[0] = '\0';
	return err == ERR_NO_MATCH ? OK : err;
}
