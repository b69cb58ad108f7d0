#include "cli/guard_sides.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/guard_look.h"
#include "cli/sops_file.h"
#include "tokend/text.h"

#define HEAD_VARIABLE "GITHEAD_" /* and the commit */

extern char **environ;

struct sides {
	struct git_objects *objects; /* borrowed */
	struct problem *problem; /* borrowed */
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

/* What is too large is nobody's side: a note says that it is not looked at. */
static enum err explain(enum err err, const char *path, const struct sides *sides)
{
	if (err == ERR_NO_FILE || err == ERR_SYSTEM)
		return git_lacks(path, sides->problem);
	return err == ERR_BUSY ? OK : err;
}

/* None when it was taken out of the index. */
static enum err read_staged(const struct sides *sides, const char *path, struct buf **ret_text)
{
	char name[PATH_MAX + 8];
	enum err err;

	(void)snprintf(name, sizeof(name), ":0:%s", path);
	err = git_objects_get_named(sides->objects, name, GUARD_FILE_MAX, sides->problem, ret_text);
	return explain(err, path, sides);
}

static enum err compare(void *context, const struct git_resolved *resolved)
{
	struct sides *sides = context;
	CLEANUP(buf_freep) struct buf *staged = NULL;
	CLEANUP(buf_freep) struct buf *ours = NULL;
	CLEANUP(buf_freep) struct buf *theirs = NULL;
	struct guard_side side = { .path = resolved->path };
	enum err err = read_staged(sides, resolved->path, &staged);

	if (err || !staged || !sops_file_is_likely(buf_bytes(staged)))
		return err;
	/* A side that git has not got is not what is staged, and that it has. */
	err = git_objects_find(sides->objects, resolved->ours, GUARD_FILE_MAX, &ours);
	if (!err)
		err = git_objects_find(sides->objects, resolved->theirs, GUARD_FILE_MAX, &theirs);
	if (err || is_same(ours, theirs))
		return explain(err, resolved->path, sides);
	side.theirs = is_same(staged, theirs);
	return side.theirs || is_same(staged, ours) ? sides->take(sides->context, &side) : OK;
}

enum err guard_sides_each(const char *top, struct git_objects *objects, struct problem *problem,
                          guard_side_taken take, void *context)
{
	/* By -C, for in a directory below git lists what is there. */
	const char *const arguments[] = { "-C", top, "ls-files", "--resolve-undo", "-z", NULL };
	struct sides sides = { .objects = objects, .problem = problem, .take = take, .context = context };
	CLEANUP(buf_freep) struct buf *record = NULL;
	bool under_way = false;
	enum err err = git_run(arguments, false, problem, &record);

	if (!err && buf_bytes(record).len)
		err = is_under_way(problem, &under_way);
	if (err || !under_way)
		return err;
	err = git_resolved_each(buf_bytes(record), compare, &sides);
	return err == ERR_BAD_MESSAGE && !problem->message[0]
	               ? problem_set(problem, err, "git's list of what was in conflict is not understood")
	               : err;
}

/* ---- merges that are committed ---- */

/* A file that the two sides have, and not the same. */
struct pair {
	char *path; /* owned */
	char ours[GIT_NAME_MAX], theirs[GIT_NAME_MAX];
	char found[GIT_NAME_MAX]; /* what the last comparison has of it; "": it is not in it */
};

struct merged {
	struct problem *problem; /* borrowed */
	char commit[GIT_NAME_MAX], first[GIT_NAME_MAX], other[GIT_NAME_MAX];
	struct pair *pairs; /* owned; by their paths */
	size_t count;
};

static void drop_pairs(struct merged *merged)
{
	for (size_t i = 0; i < merged->count; i++)
		free(merged->pairs[i].path);
	free(merged->pairs);
	merged->pairs = NULL;
	merged->count = 0;
}

static enum err add_pair(void *context, const struct git_change *change)
{
	struct merged *merged = context;
	struct pair *pairs, *pair;

	if (change->repository || !change->old_object[0] || strcmp(change->old_object, change->object) == 0)
		return OK;
	pairs = reallocarray(merged->pairs, merged->count + 1, sizeof(*pairs));
	if (!pairs)
		return ERR_NOMEM;
	merged->pairs = pairs;
	pair = &pairs[merged->count];
	*pair = (struct pair){ .path = strdup(change->path) };
	if (!pair->path)
		return ERR_NOMEM;
	memcpy(pair->ours, change->old_object, sizeof(pair->ours));
	memcpy(pair->theirs, change->object, sizeof(pair->theirs));
	merged->count++;
	return OK;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct pair *)a)->path, ((const struct pair *)b)->path);
}

static enum err note_pair(void *context, const struct git_change *change)
{
	struct merged *merged = context;
	CLEANUP(freep) char *path = strdup(change->path);
	const struct pair wanted = { .path = path };
	struct pair *pair;

	if (!path)
		return ERR_NOMEM;
	pair = merged->count ? bsearch(&wanted, merged->pairs, merged->count, sizeof(*pair), by_path) : NULL;
	if (pair)
		memcpy(pair->found, change->object, sizeof(pair->found));
	return OK;
}

static enum err compare_trees(struct merged *merged, const char *from, const char *to, git_change_taken take)
{
	const char *const arguments[] = { "diff-tree", "-r", "--raw", "-z", "--no-abbrev",
		                          from,        to,   "--",    NULL };

	for (size_t i = 0; i < merged->count; i++)
		merged->pairs[i].found[0] = '\0';
	return git_changes_of(arguments, merged->problem, take, merged);
}

/* Leaves those that a side has changed since base. */
static enum err keep_changed(struct merged *merged, const char *base, const char *side)
{
	enum err err = merged->count ? compare_trees(merged, base, side, note_pair) : OK;
	size_t kept = 0;

	for (size_t i = 0; !err && i < merged->count; i++) {
		if (merged->pairs[i].found[0])
			merged->pairs[kept++] = merged->pairs[i];
		else
			free(merged->pairs[i].path);
	}
	if (!err)
		merged->count = kept;
	return err;
}

/* Where nothing is found two histories have begun each by itself, or this clone does not have the beginning. */
static enum err check_begin(const struct merged *merged)
{
	bool shallow;
	enum err err = git_is_shallow(merged->problem, &shallow);

	if (err || !shallow)
		return err;
	(void)problem_set(
	        merged->problem, ERR_SYSTEM,
	        "this clone is shallow, and does not have what the sides of the merge %.10s began with",
	        merged->commit);
	problem_hint(merged->problem, "git fetch --unshallow   and the same again");
	return ERR_SYSTEM;
}

/* Of several beginnings, as of sides that were merged crosswise, each. */
static enum err keep_changed_by_both(struct merged *merged)
{
	const char *const arguments[] = { "merge-base", "--all", merged->first, merged->other, NULL };
	CLEANUP(buf_freep) struct buf *bases = NULL;
	enum err err = git_run(arguments, true, merged->problem, &bases);
	struct bytes rest = { NULL, 0 }, line;

	if (err)
		return err == ERR_NO_MATCH ? check_begin(merged) : err;
	rest = buf_bytes(bases);
	while (!err && text_next_line(&rest, &line)) {
		char base[GIT_NAME_MAX];

		if (!text_copy(line, base, sizeof(base)))
			return ERR_SYSTEM;
		err = keep_changed(merged, base, merged->first);
		if (!err)
			err = keep_changed(merged, base, merged->other);
	}
	return err;
}

/* Does the merge have the file as the side has it? What is not in the comparison may be gone, too, or a link. */
static enum err is_kept(const struct merged *merged, const char *path, const char *object, bool *ret_kept)
{
	char name[PATH_MAX + GIT_NAME_MAX], found[GIT_NAME_MAX];
	enum err err;

	(void)snprintf(name, sizeof(name), "%s:%s", merged->commit, path);
	err = git_object_of(name, merged->problem, found);
	*ret_kept = strcmp(found, object) == 0;
	return err;
}

/* What the merge has as a side has it, if that is a SOPS file. */
static enum err take_pair(const struct merged *merged, const struct pair *pair, unsigned parent,
                          const struct sides *sides)
{
	/* What has but another mode is in the comparison, too. */
	const bool ours = !pair->found[0] || strcmp(pair->found, pair->ours) == 0;
	const struct guard_side side = {
		.path = pair->path, .theirs = !ours, .commit = merged->commit, .parent = parent
	};
	const char *object = side.theirs ? pair->theirs : pair->ours;
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err, asked = OK;
	bool kept = true;

	if (side.theirs && strcmp(pair->found, pair->theirs) != 0)
		return OK;
	err = git_objects_get(sides->objects, object, GUARD_FILE_MAX, &text);
	if (!err && !sops_file_is_likely(buf_bytes(text)))
		return OK;
	if (!side.theirs) /* to ask takes a process, so it comes last */
		asked = is_kept(merged, pair->path, object, &kept);
	if (asked || !kept)
		return asked;
	err = explain(err, pair->path, sides);
	return err || !text ? err : sides->take(sides->context, &side);
}

static enum err look_at_parent(struct merged *merged, unsigned parent, const struct sides *sides)
{
	enum err err = compare_trees(merged, merged->first, merged->other, add_pair);

	if (!err && merged->count) {
		qsort(merged->pairs, merged->count, sizeof(*merged->pairs), by_path);
		err = keep_changed_by_both(merged);
	}
	if (!err && merged->count)
		err = compare_trees(merged, merged->first, merged->commit, note_pair);
	for (size_t i = 0; !err && i < merged->count; i++)
		err = take_pair(merged, &merged->pairs[i], parent, sides);
	drop_pairs(merged);
	return err;
}

/* The next of the names in a line. */
static bool take_name(struct bytes *line, char name[static GIT_NAME_MAX])
{
	struct bytes word;

	return text_next_word(line, &word) && text_copy(word, name, GIT_NAME_MAX);
}

/* "COMMIT PARENT PARENT...": each with the first. */
static enum err look_at_merge(struct bytes line, struct problem *problem, const struct sides *sides)
{
	struct merged merged = { .problem = problem };
	enum err err = OK;

	if (!take_name(&line, merged.commit) || !take_name(&line, merged.first))
		return ERR_SYSTEM;
	for (unsigned parent = 2; !err && take_name(&line, merged.other); parent++)
		err = look_at_parent(&merged, parent, sides);
	return err;
}

enum err guard_sides_in(struct bytes commits, struct git_objects *objects, struct problem *problem,
                        guard_side_taken take, void *context)
{
	static const char *const arguments[] = { "rev-list", "--no-walk=unsorted",
		                                 "--merges", "--parents",
		                                 "--stdin",  NULL };
	const struct sides sides = {
		.objects = objects, .problem = problem, .take = take, .context = context
	};
	CLEANUP(buf_freep) struct buf *merges = NULL;
	struct bytes rest = { NULL, 0 }, line;
	enum err err = OK;

	if (commits.len)
		err = git_run_with(arguments, commits, problem, &merges);
	if (!err && merges)
		rest = buf_bytes(merges);
	while (!err && text_next_line(&rest, &line))
		err = look_at_merge(line, problem, &sides);
	return err;
}

/* ---- the merge that is under way ---- */

/* Before git merge makes its commit by itself there is no MERGE_HEAD yet, but a variable for the hook. */
static bool find_in_environment(char commit[static GIT_NAME_MAX])
{
	for (char **variable = environ; *variable; variable++) {
		bool named = strncmp(*variable, HEAD_VARIABLE, strlen(HEAD_VARIABLE)) == 0;
		const char *name = *variable + (named ? strlen(HEAD_VARIABLE) : 0);
		char found[GIT_NAME_MAX];

		if (!named || !text_copy(bytes_of(name, strcspn(name, "=")), found, sizeof(found)) ||
		    !git_is_object_name(found))
			continue;
		(void)snprintf(commit, GIT_NAME_MAX, "%s", found);
		return true;
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
