/*
 * Git
 *
 * What guard asks of a repository: which files a commit changes, and what is in an object. It is git itself that answers, as a process; nothing of a repository is run by it (no hooks, no
 * external diffs, no monitor).
 */
#pragma once

#include "cli/problem.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "common/err.h"

#define GIT_LIST_MAX (64U << 20) /* bytes of a list of changes */
#define GIT_NAME_MAX 72U /* of an object: SHA-256 in hex, and an end */

/* A change of name is told from a new file by how much is alike (git's own measure is a half). A SOPS file of few values is another by more than half when it has a recipient more, so less is asked for,
 * and who reads the list decides. What is less alike than that, or is one of more new names at once than git compares, is a new file to it. */
#define GIT_RENAMES_ALIKE "-M10%"
#define GIT_RENAMES_LIMIT "-l1000" /* git's own measure, whatever a configuration says */
#define GIT_RENAMED_SURELY 50U

/* Runs git with arguments (NULL ends them; without the word git) and gives what it wrote. quiet: a failure is ERR_NO_MATCH, without words of git; else it is ERR_SYSTEM, and git said why
 * on standard error. ERR_UNSUPPORTED, with a sentence: there is no git; ERR_BUSY: it wrote more than GIT_LIST_MAX. */
MUST_CHECK enum err git_run(const char *const *arguments, bool quiet, struct problem *problem,
                            struct buf **ret_output);

/* The same with what git is to read; no failure is quiet. */
MUST_CHECK enum err git_run_with(const char *const *arguments, struct bytes input, struct problem *problem,
                                 struct buf **ret_output);

/* What git_run gives, as one line, whose end is taken off. */
MUST_CHECK enum err git_line(const char *const *arguments, bool quiet, struct problem *problem,
                             struct buf **ret_line);

/* The top of the working tree. ERR_NO_FILE, with a sentence and the next command, outside of every one (a bare repository has none); else as git_run. */
MUST_CHECK enum err git_top(struct problem *problem, struct buf **ret_top);

/* The object that a name such as ":0:path" or "COMMIT:path" stands for, be it that git has not got that; "": none. Errors of git_run. */
MUST_CHECK enum err git_object_of(const char *name, struct problem *problem,
                                  char object[static GIT_NAME_MAX]);

/* Is this a repository without a working tree? */
MUST_CHECK enum err git_is_bare(struct problem *problem, bool *ret_bare);

/* Is this a clone that does not have all of the history? Errors of git_run. */
MUST_CHECK enum err git_is_shallow(struct problem *problem, bool *ret_shallow);

/* Is text what git calls an object, whole, in hex? */
bool git_is_object_name(const char *text);

/* The name of no object, which stands where there is none. */
bool git_is_nothing(const char *object);

/* One changed file, borrowed for the call. */
struct git_change {
	const char *path; /* from the top of the repository */
	char object[GIT_NAME_MAX]; /* what it holds now */
	/* Before, under its old name if it was renamed; "": it was not there, or a submodule was. */
	char old_object[GIT_NAME_MAX];
	char other_object[GIT_NAME_MAX]; /* of a merge: what the next parent that has it has; "": none */
	/* Of 100: all of them, but for what has a new name; 0: git does not say, as of a merge. */
	unsigned old_alike, other_alike;
	bool repository; /* a submodule: the object is a commit of another repository */
};

/* Calls take for every regular file and submodule that is there after the change, from what `git diff-index`, `diff-tree -c` and the like write with --raw -z; and begun with the name of each commit whose changes follow, where they stand there (NULL: they
 * do not). ERR_BAD_MESSAGE when that is something else; what begun and take returned. */
typedef enum err (*git_change_taken)(void *context, const struct git_change *change);
typedef enum err (*git_commit_begun)(void *context, const char *commit);
MUST_CHECK enum err git_changes_each(struct bytes raw, git_commit_begun begun, git_change_taken take,
                                     void *context);

/* The same of many commits, a name in each line; of a merge what neither side had. Each is begun, in their order, also one that changes nothing; ERR_SYSTEM with a sentence when git leaves one out. The name lasts until the next. Errors of git_changes_of. */
MUST_CHECK enum err git_changes_in(struct bytes commits, struct problem *problem, git_commit_begun begun,
                                   git_change_taken take, void *context);

/* The same of what git writes with these arguments. What take returned, errors of git_run; ERR_BAD_MESSAGE with a sentence when git writes something else, ERR_BUSY with one when it is more than GIT_LIST_MAX. */
MUST_CHECK enum err git_changes_of(const char *const *arguments, struct problem *problem,
                                   git_change_taken take, void *context);

/* Does a tree, as git keeps it, have that name? object_len: bytes of what it calls an object. ERR_BAD_MESSAGE: it is no tree. */
MUST_CHECK enum err git_tree_find(struct bytes tree, size_t object_len, const char *name, bool *ret_found);

/* One file that was in conflict, and that both sides have; borrowed for the call. */
struct git_resolved {
	const char *path; /* from the top of the repository */
	char ours[GIT_NAME_MAX]; /* the object that each side had */
	char theirs[GIT_NAME_MAX];
};

/* Calls take for each of those, from what `git ls-files --resolve-undo -z` writes. ERR_BAD_MESSAGE when that is something else; what take returned. */
typedef enum err (*git_resolved_taken)(void *context, const struct git_resolved *resolved);
MUST_CHECK enum err git_resolved_each(struct bytes record, git_resolved_taken take, void *context);

/* Three files by their paths, and the names behind the marks of a conflict. */
struct git_merge_input {
	const char *base, *ours, *theirs;
	const char *our_name, *their_name;
};

/* What `git merge-file` makes of them; *ret_clean is false where both sides changed the same lines, and the text then has git's marks. Files without a name (memory_file.h) are inherited by it. ERR_UNSUPPORTED when
 * there is no git, ERR_SYSTEM; with a sentence. */
MUST_CHECK enum err git_merge_file(const struct git_merge_input *input, struct problem *problem,
                                   struct buf **ret_text, bool *ret_clean);

struct git_objects; /* a running `git cat-file --batch` */

MUST_CHECK enum err git_objects_new(struct problem *problem, struct git_objects **ret_objects);
struct git_objects *git_objects_free(struct git_objects *objects);
DEFINE_CLEANUP(struct git_objects *, git_objects_free);

/* name: an object's, or as in ":path" and "HEAD:path". ERR_NO_FILE: there is none, or git has not got it, as in a partial clone; ERR_BUSY: it is larger than limit, and was passed over; ERR_USAGE: a line end in the name, which git's
 * protocol does not know; ERR_SYSTEM: git ended. */
MUST_CHECK enum err git_objects_get(struct git_objects *objects, const char *name, size_t limit,
                                    struct buf **ret_content);

/* The same of what is only compared with: what is not there, or git has not got, is larger than limit, or has a line end in its name is no content, NULL. ERR_SYSTEM. */
MUST_CHECK enum err git_objects_find(struct git_objects *objects, const char *name, size_t limit,
                                     struct buf **ret_content);

/* The same of a name that may stand for nothing, which is no content, NULL; ERR_NO_FILE is then what git has not got. A line end in it is none of its problems. Errors of git_run. */
MUST_CHECK enum err git_objects_get_named(struct git_objects *objects, const char *name, size_t limit,
                                          struct problem *problem, struct buf **ret_content);

/* Says that git has something of path and does not give it, with what to type; ERR_SYSTEM. */
enum err git_lacks(const char *path, struct problem *problem);

/* What to type then. */
void git_hint_lack(struct problem *problem);

/* Adds to what there is to do without a tokend: not everybody who reads a repository has one to start. */
void git_hint_key_file(struct problem *problem);
