/*
 * tokenctl guard
 *
 * Looks at what is about to be committed, at commits, or at files; cli/guard_look.h says what it looks for. Without a key, and without tokend.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/findings.h"
#include "cli/guard_hook.h"
#include "cli/guard_look.h"
#include "cli/guard_push.h"
#include "cli/guard_rules.h"
#include "cli/guard_sides.h"
#include "cli/input.h"
#include "cli/shown.h"
#include "cli/verbs.h"
#include "tokend/text.h"

#define ALLOWED_MAX 64U
#define COMMIT_SHOWN 10U /* of a commit's name */

struct guard {
	struct invocation *invocation; /* borrowed */
	struct buf *top; /* owned: of the repository */
	struct buf *way_up; /* owned: from here to there, "../" or nothing; NULL: paths are those of files */
	struct git_objects *objects; /* owned */
	struct guard_rules *rules; /* owned */
	const char *allowed[ALLOWED_MAX]; /* borrowed */
	size_t allowed_count;
	struct buf *configured; /* owned: those that the repository allows */
	const char *commit; /* borrowed; NULL: the index, or the disk */
	char merged[GIT_NAME_MAX]; /* the commit that is being merged; "": none */
	bool only_on_disk; /* what is looked at is not in the index */
	struct findings findings;
	size_t looked_at; /* files */
};

static void guard_done(struct guard *guard)
{
	(void)guard_rules_free(guard->rules);
	(void)git_objects_free(guard->objects);
	(void)buf_free(guard->top);
	(void)buf_free(guard->way_up);
	(void)buf_free(guard->configured);
	findings_done(&guard->findings);
}

/* As one types it here, and as it is shown: of a commit with its name. */
static void show(const struct guard *guard, const char *path, char here[PATH_MAX], char place[PATH_MAX])
{
	(void)snprintf(here, PATH_MAX, "%s%s", guard->way_up ? buf_string(guard->way_up) : "", path);
	if (guard->commit)
		(void)snprintf(place, PATH_MAX, "%.*s:%s", (int)COMMIT_SHOWN, guard->commit, path);
	else
		(void)snprintf(place, PATH_MAX, "%s", here);
}

/* What the commit that is being merged has under that name, if one is. */
static enum err read_merged(struct guard *guard, const char *path, struct buf **ret_text)
{
	char name[PATH_MAX + GIT_NAME_MAX];
	enum err err;

	if (!guard->merged[0])
		return OK;
	(void)snprintf(name, sizeof(name), "%s:%s", guard->merged, path);
	err = git_objects_find(guard->objects, name, GUARD_FILE_MAX, ret_text);
	return err == ERR_SYSTEM ? git_lacks(path, &guard->invocation->problem) : err;
}

/* "../" for each slash of what is below the top. */
static enum err put_way_up(const char *below, struct buf **ret_way_up)
{
	CLEANUP(buf_freep) struct buf *way_up = NULL;
	enum err err = buf_new(2 * PATH_MAX, &way_up);

	for (; !err && (below = strchr(below, '/')); below++)
		err = buf_put_string(way_up, "../");
	if (!err)
		*ret_way_up = TAKE(way_up);
	return err;
}

/* From here to the top, as guard->way_up, which is for names that git gives. NULL: here is no place below it. */
static enum err find_way_up(const char *top, struct buf **ret_way_up)
{
	CLEANUP(freep) char *here = NULL;
	size_t len = strlen(top);
	enum err err = sops_config_absolute(".", &here);

	if (err || strncmp(here, top, len) != 0 || (here[len] && here[len] != '/'))
		return err;
	return put_way_up(here + len, ret_way_up);
}

/* Below the top, when git has them; rules: from there, or absolute where they were found on the disk. NULL: they are somebody's else. */
static enum err find_own_rules(const struct guard *guard, const char *rules, const char **ret_rules)
{
	CLEANUP(buf_freep) struct buf *staged = NULL;
	const char *top = buf_string(guard->top);
	size_t len = strlen(top);
	char name[PATH_MAX + 8];
	enum err err;

	*ret_rules = NULL;
	if (*rules == '/' && (strncmp(rules, top, len) != 0 || rules[len] != '/'))
		return OK;
	rules += *rules == '/' ? len + 1 : 0;
	(void)snprintf(name, sizeof(name), ":0:%s", rules);
	err = git_objects_find(guard->objects, name, SOPS_RULES_FILE_MAX, &staged);
	if (!err && staged)
		*ret_rules = rules;
	return err;
}

/* The rules of a file, as one types them here for git to take. */
static enum err find_rules_pathspec(const struct guard *guard, const char *rules,
                                    char pathspec[SHOWN_QUOTED_MAX], const char **ret_pathspec)
{
	CLEANUP(buf_freep) struct buf *found = NULL;
	const struct buf *way_up = guard->way_up;
	char path[2 * PATH_MAX];
	enum err err;

	if (!rules || guard->commit || !guard->top)
		return OK;
	err = find_own_rules(guard, rules, &rules);
	if (!err && rules && !way_up) {
		err = find_way_up(buf_string(guard->top), &found);
		way_up = found;
	}
	if (err || !rules || !way_up)
		return err;
	(void)snprintf(path, sizeof(path), "%s%s", buf_string(way_up), rules);
	shown_quote_pathspec(path, pathspec);
	*ret_pathspec = pathspec;
	return OK;
}

/* What a file was before: in the commit before it, and in the other one that a merge has; data NULL: it was not there. */
struct before {
	struct bytes text, merged;
};

static enum err look(struct guard *guard, const char *path, struct bytes text, struct before before)
{
	CLEANUP(buf_freep) struct buf *merged = NULL;
	struct problem *problem = &guard->invocation->problem;
	char here[PATH_MAX], place[PATH_MAX], pathspec[SHOWN_QUOTED_MAX];
	struct guard_file file = { .path = here,
		                   .place = place,
		                   .text = text,
		                   .old_text = before.text,
		                   .merged_text = before.merged,
		                   .only_on_disk = guard->only_on_disk,
		                   .allowed = guard->allowed,
		                   .allowed_count = guard->allowed_count };
	enum err err = guard_rules_find(guard->rules, path, problem, &file.rule, &file.rules);

	if (!err)
		err = find_rules_pathspec(guard, file.rules, pathspec, &file.rules_pathspec);
	if (!err)
		err = read_merged(guard, path, &merged);
	if (err)
		return err;
	if (merged)
		file.merged_text = buf_bytes(merged);
	if (!file.old_text.data) /* what only the other side had is no new file */
		file.old_text = file.merged_text;
	show(guard, path, here, place);
	guard->looked_at++;
	err = guard_look(&file, &guard->findings);
	if (err == ERR_UNSUPPORTED)
		return problem_set(problem, err, "%s: YAML needs libfyaml, and patterns need libpcre2", path);
	return err;
}

/* ---- what git has ---- */

static enum err note_size(struct guard *guard, const char *path)
{
	char here[PATH_MAX], place[PATH_MAX];

	show(guard, path, here, place);
	findings_begin_file(&guard->findings);
	return findings_add(&guard->findings, place, 0, "too-large", true,
	                    "this file is too large to be looked at", "");
}

/* What is committed in a submodule is committed in a repository of its own, and only a hook of that can look at it; here stands nothing but the name of a commit. One that is not checked out is nobody's to commit in. */
static enum err note_submodule(struct guard *guard, const char *path)
{
	char directory[PATH_MAX], here[PATH_MAX], place[PATH_MAX];
	char quoted[SHOWN_QUOTED_MAX], next[SHOWN_QUOTED_MAX + 64];
	bool hook;
	enum err err;

	if (guard->commit || !guard->top)
		return OK; /* a range and a push are looked at where that repository is looked at */
	if ((size_t)snprintf(directory, sizeof(directory), "%s/%s/.git", buf_string(guard->top), path) >=
	    sizeof(directory))
		return OK;
	err = guard_hook_find(directory, &guard->invocation->problem, &hook);
	if (err || hook)
		return err == ERR_NO_FILE ? OK : err;
	show(guard, path, here, place);
	shown_quote(here, quoted);
	(void)snprintf(next, sizeof(next), "(cd %s && tokenctl guard --install)", quoted);
	findings_begin_file(&guard->findings);
	return findings_add(&guard->findings, place, 0, "submodule", true,
	                    "is a repository of its own, and no hook there runs tokenctl guard", next);
}

/* What one was before; none when it is too large. One that git names and does not have is no new file: without it nobody knows who could read it before. */
static enum err read_object(struct guard *guard, const char *object, struct buf **ret_text)
{
	enum err err = *object ? git_objects_get(guard->objects, object, GUARD_FILE_MAX, ret_text) : OK;

	return err == ERR_BUSY ? OK : err;
}

/* What git cannot do where nobody knows more: it looks for new names in what the files hold, and ends by itself when it does not have that. Without a sentence it was the system, and not git. */
static enum err hint_lack(struct guard *guard, enum err err)
{
	struct problem *problem = &guard->invocation->problem;

	if (err == ERR_SYSTEM && problem->message[0] && !problem->hint[0])
		git_hint_lack(problem);
	return err;
}

/* The text of old, if it is what the file was before; no data when that is another file that is gone. */
static struct bytes if_same(struct bytes text, const struct buf *old, unsigned alike)
{
	struct bytes none = { NULL, 0 };

	if (!old)
		return none;
	return alike >= GIT_RENAMED_SURELY || guard_has_value_of(text, buf_bytes(old)) ? buf_bytes(old)
	                                                                               : none;
}

static enum err take_change(void *context, const struct git_change *change)
{
	struct guard *guard = context;
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(buf_freep) struct buf *old_text = NULL;
	CLEANUP(buf_freep) struct buf *other_text = NULL;
	struct before before = { .text = { NULL, 0 } };
	enum err err;

	if (change->repository)
		return note_submodule(guard, change->path);
	err = git_objects_get(guard->objects, change->object, GUARD_FILE_MAX, &text);
	if (err == ERR_BUSY)
		return note_size(guard, change->path);
	if (!err)
		err = read_object(guard, change->old_object, &old_text);
	if (!err)
		err = read_object(guard, change->other_object, &other_text);
	if (err == ERR_NO_FILE || err == ERR_SYSTEM)
		return git_lacks(change->path, &guard->invocation->problem);
	if (err)
		return err;
	before.text = if_same(buf_bytes(text), old_text, change->old_alike);
	before.merged = if_same(buf_bytes(text), other_text, change->other_alike);
	return look(guard, change->path, buf_bytes(text), before);
}

static enum err take_changes(struct guard *guard, const char *const *arguments)
{
	return git_changes_of(arguments, &guard->invocation->problem, take_change, guard);
}

/* git starts a hook at the top, and leaves in the environment where below it whoever reads this has typed. */
static enum err go_down(struct guard *guard)
{
	const char *below = getenv("GIT_PREFIX");

	if (!below || buf_len(guard->way_up))
		return OK;
	guard->way_up = buf_free(guard->way_up);
	return put_way_up(below, &guard->way_up);
}

static enum err find_repository(struct guard *guard)
{
	static const char *const way_up[] = { "rev-parse", "--show-cdup", NULL };
	struct problem *problem = &guard->invocation->problem;
	enum err err = git_top(problem, &guard->top);

	if (err == ERR_UNSUPPORTED)
		problem_hint(problem, "sudo apt install git   or name the files: tokenctl guard FILE...");
	if (err == ERR_NO_FILE)
		problem_hint(problem, "go to one, or name files: tokenctl guard FILE...");
	if (!err)
		err = git_line(way_up, false, problem, &guard->way_up);
	/* Of a working tree that is elsewhere it is that one's whole path. */
	if (!err && *buf_string(guard->way_up) == '/')
		err = buf_put_u8(guard->way_up, '/');
	if (!err)
		err = go_down(guard);
	if (!err)
		err = git_objects_new(problem, &guard->objects);
	return err ? err : guard_rules_new(guard->objects, buf_string(guard->top), &guard->rules);
}

/* Commits need no working tree; without one the rules of the disk are nobody's. */
static enum err find_commits(struct guard *guard)
{
	struct problem *problem = &guard->invocation->problem;
	bool bare;
	enum err err = git_is_bare(problem, &bare);

	if (err || !bare)
		return err ? err : find_repository(guard);
	err = git_objects_new(problem, &guard->objects);
	return err ? err : guard_rules_new(guard->objects, NULL, &guard->rules);
}

/* The tree that has nothing. */
static enum err find_empty(struct problem *problem, struct buf **ret_tree)
{
	return git_line((const char *const[]){ "hash-object", "-t", "tree", "/dev/null", NULL }, false,
	                problem, ret_tree);
}

/* Before the first commit there is no HEAD; everything is then new to the tree that has nothing. */
static enum err find_head(struct problem *problem, struct buf **ret_head)
{
	static const char *const head[] = { "rev-parse", "--verify", "-q", "HEAD", NULL };
	enum err err = git_line(head, true, problem, ret_head);

	return err == ERR_NO_MATCH ? find_empty(problem, ret_head) : err;
}

/* Is the file one of those that --allow-one-side names? As they are typed here. */
static enum err is_allowed_side(const struct guard *guard, const char *path, bool *ret_allowed)
{
	const char *top = guard->top ? buf_string(guard->top) : NULL, *given;
	size_t cursor = 0, len = top ? strlen(top) : 0;

	*ret_allowed = false;
	while ((given = options_next(&guard->invocation->options, "allow-one-side", &cursor))) {
		CLEANUP(freep) char *absolute = NULL;
		enum err err = top ? sops_config_absolute(given, &absolute) : OK;

		if (err)
			return err;
		if (!top) { /* without a working tree nothing has a place on the disk */
			*ret_allowed |= strcmp(given, path) == 0;
			continue;
		}
		*ret_allowed |= strncmp(absolute, top, len) == 0 && absolute[len] == '/' &&
		                strcmp(absolute + len + 1, path) == 0;
	}
	return OK;
}

static enum err say_staged_side(struct guard *guard, const struct guard_side *side)
{
	char here[PATH_MAX], place[PATH_MAX], quoted[SHOWN_QUOTED_MAX], pathspec[SHOWN_QUOTED_MAX];
	char next[3 * SHOWN_QUOTED_MAX];

	show(guard, side->path, here, place);
	shown_quote(here, quoted);
	shown_quote_pathspec(here, pathspec);
	(void)snprintf(
	        next, sizeof(next),
	        "git checkout -m %s   makes the conflict again, and says how to finish it; if one side "
	        "is meant: tokenctl guard --allow-one-side %s && git commit --no-verify",
	        pathspec, quoted);
	guard->looked_at += !side->theirs; /* as HEAD has it, it is no change */
	findings_begin_file(&guard->findings);
	return findings_add(&guard->findings, place, 0, "one-side", false,
	                    side->theirs ? "was in conflict and is staged as the other side has it, so what "
	                                   "HEAD changed in it would be lost"
	                                 : "was in conflict and is staged as HEAD has it, so what the other "
	                                   "side changed in it would be lost",
	                    next);
}

/* Whoever pushes has no way to say what was meant there: that is said, and let through. */
static enum err say_merged_side(struct guard *guard, const struct guard_side *side)
{
	const char *range = options_value(&guard->invocation->options, "range");
	char here[PATH_MAX], place[PATH_MAX], quoted[SHOWN_QUOTED_MAX], pathspec[SHOWN_QUOTED_MAX];
	char allow[2 * SHOWN_QUOTED_MAX + 128] = "", next[4 * SHOWN_QUOTED_MAX], text[256];
	char quoted_range[SHOWN_QUOTED_MAX];

	show(guard, side->path, here, place);
	shown_quote(here, quoted);
	shown_quote_pathspec(here, pathspec);
	if (range) {
		shown_quote(range, quoted_range);
		(void)snprintf(allow, sizeof(allow),
		               "; when that is done, or one side is meant: tokenctl guard --range %s "
		               "--allow-one-side %s",
		               quoted_range, quoted);
	}
	(void)snprintf(next, sizeof(next),
	               "git diff %.*s^1 %.*s^%u -- %s   shows what each has, to be put in with tokenctl "
	               "set%s",
	               (int)COMMIT_SHOWN, side->commit, (int)COMMIT_SHOWN, side->commit, side->parent,
	               pathspec, allow);
	(void)snprintf(text, sizeof(text),
	               "was changed on both sides of this merge, which has it as its %s has it, so what the "
	               "%s changed in it is lost",
	               side->theirs ? "other parent" : "first parent",
	               side->theirs ? "first parent" : "other side");
	findings_begin_file(&guard->findings);
	return findings_add(&guard->findings, place, 0, "one-side", !range, text, next);
}

static enum err take_side(void *context, const struct guard_side *side)
{
	struct guard *guard = context;
	bool allowed;
	enum err err = is_allowed_side(guard, side->path, &allowed);

	if (err || allowed)
		return err;
	guard->commit = side->commit;
	err = side->commit ? say_merged_side(guard, side) : say_staged_side(guard, side);
	guard->commit = NULL;
	return err;
}

static enum err guard_staged(struct guard *guard)
{
	CLEANUP(buf_freep) struct buf *head = NULL;
	enum err err = find_repository(guard);

	if (!err)
		err = guard_rules_in(guard->rules, ":0:");
	if (!err)
		err = find_head(&guard->invocation->problem, &head);
	if (!err)
		err = guard_sides_merged(&guard->invocation->problem, guard->merged);
	if (err)
		return err;
	err = take_changes(guard,
	                   (const char *const[]){ "diff-index", "--cached", "--raw", "-z", "--no-abbrev",
	                                          GIT_RENAMES_ALIKE, GIT_RENAMES_LIMIT,
	                                          "--ignore-submodules=none", buf_string(head), "--", NULL });
	if (!err)
		err = guard_sides_each(buf_string(guard->top), guard->objects, &guard->invocation->problem,
		                       take_side, guard);
	return hint_lack(guard, err);
}

static enum err begin_commit(void *context, const char *commit)
{
	struct guard *guard = context;
	char tree[GIT_NAME_MAX + 2];

	(void)snprintf(tree, sizeof(tree), "%s:", commit);
	guard->commit = commit;
	return guard_rules_in(guard->rules, tree);
}

static enum err read_file(const char *path, struct problem *problem, struct buf **ret_text)
{
	CLEANUP(input_closep) int fd = -1;
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err = input_refuse_pipe(path, problem);

	if (!err)
		err = input_open(path, problem, &fd);

	if (!err)
		err = buf_new(GUARD_FILE_MAX + 1, &text);
	if (!err)
		err = input_read(fd, path, text, problem);
	if (!err)
		*ret_text = TAKE(text);
	return err;
}

static bool has_line_of(struct bytes lines, struct bytes text)
{
	struct bytes line;

	while (text_next_line(&lines, &line))
		if (line.len && memmem(text.data, text.len, line.data, line.len))
			return true;
	return false;
}

/* Where a shallow clone ends git knows no parents, and counts nothing beyond: a range that has such a commit may have more of them. */
static enum err check_whole(struct bytes commits, const char *range, struct problem *problem)
{
	CLEANUP(buf_freep) struct buf *path = NULL;
	CLEANUP(buf_freep) struct buf *ends = NULL;
	bool shallow;
	enum err err = git_is_shallow(problem, &shallow);

	if (err || !shallow)
		return err;
	err = git_line((const char *const[]){ "rev-parse", "--git-path", "shallow", NULL }, false, problem,
	               &path);
	if (!err)
		err = read_file(buf_string(path), problem, &ends);
	if (err || !has_line_of(buf_bytes(ends), commits))
		return err;
	(void)problem_set(problem, ERR_SYSTEM,
	                  "this clone is shallow and ends inside of %s, so commits may be missing", range);
	problem_hint(problem, "git fetch --unshallow   and the same again");
	return ERR_SYSTEM;
}

/* Each commit by itself: what a later one takes away is in the history all the same. */
static enum err guard_commits(struct guard *guard, struct bytes commits)
{
	struct problem *problem = &guard->invocation->problem;
	enum err err = git_changes_in(commits, problem, begin_commit, take_change, guard);

	guard->commit = NULL;
	if (!err)
		err = guard_sides_in(commits, guard->objects, problem, take_side, guard);
	return hint_lack(guard, err);
}

static enum err guard_range(struct guard *guard, const char *range)
{
	struct problem *problem = &guard->invocation->problem;
	CLEANUP(buf_freep) struct buf *commits = NULL;
	enum err err;

	if (*range == '-' || !strstr(range, ".."))
		return problem_set(problem, ERR_USAGE, "%s is no range of commits: A..B", range);
	err = find_commits(guard);
	if (!err)
		err = git_run((const char *const[]){ "rev-list", "--reverse", range, "--", NULL }, false,
		              problem, &commits);
	if (err == ERR_SYSTEM && problem->message[0])
		problem_hint(problem, "the commits have to be there; in CI: git fetch --unshallow");
	if (!err)
		err = check_whole(buf_bytes(commits), range, problem);
	return err ? err : guard_commits(guard, buf_bytes(commits));
}

/* ---- a push ---- */

/* A tag may be of a tree or of a file, without a commit: the file is then known by the tag's name. */
static enum err guard_object(struct guard *guard, const struct guard_push_object *object)
{
	CLEANUP(buf_freep) struct buf *empty = NULL;
	CLEANUP(buf_freep) struct buf *text = NULL;
	char tree[GIT_NAME_MAX + 2];
	enum err err;

	(void)snprintf(tree, sizeof(tree), "%s:", object->name);
	err = guard_rules_in(guard->rules, object->tree ? tree : "");
	if (!err && object->tree) {
		guard->commit = object->name;
		err = find_empty(&guard->invocation->problem, &empty);
		return err ? err
		           : take_changes(guard, (const char *const[]){ "diff-tree", "-r", "--raw", "-z",
		                                                        "--no-abbrev", buf_string(empty),
		                                                        object->name, "--", NULL });
	}
	if (!err)
		err = git_objects_get(guard->objects, object->name, GUARD_FILE_MAX, &text);
	if (err == ERR_BUSY)
		return note_size(guard, object->ref);
	return err ? err : look(guard, object->ref, buf_bytes(text), (struct before){ .text = { NULL, 0 } });
}

/* Whom whoever runs the repository lets in: who pushes cannot say so. */
static enum err read_configured(struct guard *guard)
{
	static const char *const arguments[] = { "config", "--get-all", "-z", "tokend.allowRecipient", NULL };
	struct problem *problem = &guard->invocation->problem;
	enum err err = git_run(arguments, true, problem, &guard->configured);
	struct bytes rest = { NULL, 0 };

	if (!err)
		rest = buf_bytes(guard->configured);
	while (!err && rest.len) {
		const char *recipient = text_next_string(&rest);

		if (!recipient || guard->allowed_count == ALLOWED_MAX)
			return problem_set(problem, ERR_BAD_CONFIG,
			                   "tokend.allowRecipient names more than %u recipients",
			                   ALLOWED_MAX);
		guard->allowed[guard->allowed_count++] = recipient;
	}
	return err == ERR_NO_MATCH ? OK : err;
}

static enum err guard_pushed(struct guard *guard)
{
	struct guard_push push = { .object_count = 0 };
	enum err err = find_commits(guard);

	if (!err)
		err = read_configured(guard);
	if (!err)
		err = guard_push_read(&push, STDIN_FILENO, &guard->invocation->problem);
	if (!err)
		err = guard_commits(guard, buf_bytes(push.commits));
	for (size_t i = 0; !err && i < push.object_count; i++) {
		err = guard_object(guard, &push.objects[i]);
		guard->commit = NULL;
	}
	guard_push_done(&push);
	return err;
}

/* ---- files ---- */

static enum err look_up_staged(struct guard *guard, const char *relative, struct buf **ret_text)
{
	char name[PATH_MAX + 8];
	enum err err;

	(void)snprintf(name, sizeof(name), ":%s", relative);
	err = git_objects_get(guard->objects, name, GUARD_FILE_MAX, ret_text);
	return err == ERR_NO_FILE || err == ERR_USAGE ? OK : err;
}

/* What HEAD has and git has not got is no new file. */
static enum err look_up_head(struct guard *guard, const char *relative, struct buf **ret_old)
{
	struct problem *problem = &guard->invocation->problem;
	char name[PATH_MAX + 8];
	enum err err;

	(void)snprintf(name, sizeof(name), "HEAD:%s", relative);
	err = git_objects_get_named(guard->objects, name, GUARD_FILE_MAX, problem, ret_old);
	return err == ERR_NO_FILE ? git_lacks(relative, problem) : err;
}

/* What HEAD has under that name, if there is a repository at all; and whether the index has something. */
static enum err read_old(struct guard *guard, const char *path, struct buf **ret_old)
{
	CLEANUP(freep) char *absolute = NULL;
	CLEANUP(buf_freep) struct buf *staged = NULL;
	const char *top = guard->top ? buf_string(guard->top) : "";
	size_t len = strlen(top);
	enum err err;

	guard->only_on_disk = true;
	if (!guard->objects)
		return OK;
	err = sops_config_absolute(path, &absolute);
	if (err || strncmp(absolute, top, len) != 0 || absolute[len] != '/')
		return err;
	err = look_up_staged(guard, absolute + len + 1, &staged);
	guard->only_on_disk = !err && !staged;
	if (!err || err == ERR_BUSY)
		err = look_up_head(guard, absolute + len + 1, ret_old);
	return err == ERR_BUSY ? OK : err;
}

static enum err guard_file(struct guard *guard, const char *path)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(buf_freep) struct buf *old_text = NULL;
	struct before before = { .text = { NULL, 0 } };
	enum err err = read_file(path, &guard->invocation->problem, &text);

	if (err == ERR_BUSY)
		return note_size(guard, path);
	if (!err)
		err = read_old(guard, path, &old_text);
	if (old_text)
		before.text = buf_bytes(old_text);
	return err ? err : look(guard, path, buf_bytes(text), before);
}

/* Without a repository, or without git, there is nothing to compare with. */
static enum err find_history(struct guard *guard)
{
	struct problem *problem = &guard->invocation->problem;
	enum err err = git_top(problem, &guard->top);

	if (!err)
		err = git_objects_new(problem, &guard->objects);
	if (err != ERR_NO_FILE && err != ERR_UNSUPPORTED)
		return err;
	*problem = (struct problem){ 0 };
	return OK;
}

static enum err guard_files(struct guard *guard)
{
	const struct options *options = &guard->invocation->options;
	enum err err = find_history(guard);

	if (!err)
		err = guard_rules_new(NULL, "", &guard->rules);
	for (size_t i = 0; !err && i < options->argument_count; i++)
		err = guard_file(guard, options->arguments[i]);
	return err;
}

/* ---- the verb ---- */

static enum err read_allowed(struct guard *guard)
{
	const char *recipient;
	size_t cursor = 0;

	while ((recipient = options_next(&guard->invocation->options, "allow-recipient", &cursor))) {
		if (guard->allowed_count == ALLOWED_MAX)
			return problem_set(&guard->invocation->problem, ERR_USAGE,
			                   "more than %u recipients at once are not allowed", ALLOWED_MAX);
		guard->allowed[guard->allowed_count++] = recipient;
	}
	return OK;
}

static enum err check_usage(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	bool range = options_given(options, "range"), install = options_given(options, "install");
	bool pushed = options_given(options, "pushed");

	if (range && options->argument_count)
		return problem_set(&invocation->problem, ERR_USAGE,
		                   "--range looks at commits, and not at files");
	if (pushed && (range || install || options->argument_count))
		return problem_set(&invocation->problem, ERR_USAGE,
		                   "--pushed looks at what standard input names, and at nothing else");
	if (options_given(options, "allow-one-side") && (pushed || install || options->argument_count))
		return problem_set(
		        &invocation->problem, ERR_USAGE,
		        "--allow-one-side is for what is staged during a merge, and for the merges "
		        "of a range");
	if (install && (range || options->argument_count))
		return problem_set(&invocation->problem, ERR_USAGE, "--install stands alone");
	return OK;
}

static const char *way_on(const struct options *options)
{
	if (options_given(options, "pushed"))
		return "git rebase -i   takes it out of the commits, then push again; nothing of this "
		       "push was taken. A recipient that is meant is let in by whoever runs this repository: "
		       "git config --add tokend.allowRecipient RECIPIENT";
	if (options_given(options, "range"))
		return "git rebase -i   takes it out of the commits; what was pushed has to be changed";
	if (options->argument_count)
		return "what to type stands below each finding";
	return "git commit --no-verify   commits all the same";
}

static enum err conclude(struct guard *guard)
{
	struct problem *problem = &guard->invocation->problem;
	size_t refused = guard->findings.refused;

	if (refused == 0)
		return OK;
	(void)problem_set(problem, ERR_DENIED, "refused: %zu %s in %zu %s", refused,
	                  refused == 1 ? "finding" : "findings", guard->looked_at,
	                  guard->looked_at == 1 ? "file" : "files");
	problem_hint(problem, "%s", way_on(&guard->invocation->options));
	return ERR_DENIED;
}

static enum err run_guard(struct guard *guard)
{
	const struct options *options = &guard->invocation->options;
	enum err err = read_allowed(guard), printed;

	if (!err && options_given(options, "range"))
		err = guard_range(guard, options_value(options, "range"));
	else if (!err && options_given(options, "pushed"))
		err = guard_pushed(guard);
	else if (!err && options->argument_count)
		err = guard_files(guard);
	else if (!err)
		err = guard_staged(guard);
	printed = findings_print(&guard->findings, options_given(options, "json"));
	if (err)
		return err;
	return printed ? printed : conclude(guard);
}

static enum err run(struct invocation *invocation)
{
	struct guard guard = { .invocation = invocation };
	enum err err = check_usage(invocation);

	if (!err && options_given(&invocation->options, "install"))
		return guard_hook_install(&invocation->problem);
	if (!err)
		err = run_guard(&guard);
	guard_done(&guard);
	return err;
}

static const struct option_row rows[] = {
	{ 0, "range", "A..B", "looks at each of these commits, as in CI", false },
	{ 0, "allow-recipient", "RECIPIENT", "who may be added to a SOPS file", true },
	{ 0, "allow-one-side", "FILE",
	  "a SOPS file that was in conflict, or in a merge of the range, and is meant to be as one side "
	  "has it",
	  true },
	{ 0, "pushed", NULL, "looks at what a push brings; for a pre-receive hook", false },
	{ 0, "install", NULL,
	  "writes the hooks pre-commit and pre-merge-commit for this repository, in a bare one a "
	  "pre-receive hook, unless there is one",
	  false },
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb guard_verb = {
	.name = "guard",
	.arguments = "[FILE]...",
	.arguments_max = SIZE_MAX,
	.summary = "Refuses secrets in the clear before they are committed",
	.details =
	        "Looks at what is staged, with FILE at files, with --range at each commit of it. Needs no "
	        "key and\n"
	        "no tokend. Refused are: a file that a creation rule with a path_regex covers and that is "
	        "not\n"
	        "encrypted; a SOPS file with values in the clear that its own rule would encrypt; a "
	        "recipient that\n"
	        "a SOPS file did not have before; one that was in conflict and is staged as one side has it; "
	        "private\n"
	        "keys of age and in PEM; .env files with values. Samples (.env.sample, .env.example) are "
	        "none. Exit\n"
	        "code 3 when something is refused. --install in a bare repository refuses pushes: each new "
	        "commit\n"
	        "is looked at, with the rules that are in it.",
	.example = "  tokenctl guard --install\n"
	           "  tokenctl guard\n"
	           "  tokenctl guard --range origin/main..HEAD",
	.options = rows,
	.run = run,
};
