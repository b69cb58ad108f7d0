/* The policy's files: whose they may be, in which order they are read, and what holds where there are none. */
#include "tokend/policy.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>

#include "common/file.h"
#include "tokend/text.h"

#define PROBLEMS_MAX (16U << 10) /* bytes, of one file */

static bool is_policy(const char *name)
{
	return text_ends_with(bytes_of_string(name), ".conf");
}

static int name_is_shown(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* Names by their bytes: the order must not change with the locale. */
static int compare_names(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

struct file_list {
	struct dirent **entries; /* owned, each */
	int count;
};

static void file_list_done(struct file_list *list)
{
	for (int i = 0; i < list->count; i++)
		free(list->entries[i]);
	free(list->entries);
}

/* What went wrong with a file as a whole, in the form of the other problems. */
static enum err file_problem(struct buf *problem, const char *path, enum err err)
{
	const struct text_place place = { path, 0, problem };
	const char *sentence =
	        err == ERR_STATE_DIR
	                ? "it must be a regular file of root's or ours that others cannot write to"
	        : err == ERR_BUSY ? "it is too long"
	                          : err_info(err)->text;

	if (text_problem(&place, "%s", sentence) == ERR_NOMEM)
		return ERR_NOMEM;
	return err == ERR_BUSY ? ERR_BAD_CONFIG : err;
}

/* A rule knows its file's name; a person wants the path. */
static enum err add_problems(struct buf *problem, const char *directory, const struct buf *inner)
{
	struct bytes rest = buf_bytes(inner), line;
	enum err err = OK;

	while (problem && err != ERR_NOMEM && text_next_line(&rest, &line))
		err = buf_printf(problem, "%s%s/%.*s", buf_len(problem) ? "\n" : "", directory, (int)line.len,
		                 (const char *)line.data);
	return err == ERR_NOMEM ? err : ERR_BAD_CONFIG;
}

static enum err add_file(struct policy *policy, int directory_fd, const char *directory, const char *name,
                         size_t *left, struct buf *problem)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(buf_freep) struct buf *inner = NULL;
	char path[PATH_MAX + NAME_MAX + 2];
	enum err err = file_read(directory_fd, name, *left, 0022, &text);

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (err)
		return err == ERR_NOMEM ? err : file_problem(problem, path, err);
	err = buf_new(PROBLEMS_MAX, &inner);
	if (err)
		return err;
	*left -= buf_len(text);
	err = policy_add(policy, name, buf_bytes(text), inner);
	return err == ERR_BAD_CONFIG ? add_problems(problem, directory, inner) : err;
}

/* All of them, though one is of no use: each gets its lines in problem. Without memory there is no point in going on. */
static enum err add_files(struct policy *policy, int directory_fd, const char *directory,
                          const struct file_list *list, struct buf *problem)
{
	size_t left = POLICY_TEXT_MAX;
	enum err first = OK;

	for (int i = 0; i < list->count; i++) {
		const char *name = list->entries[i]->d_name;
		enum err err =
		        is_policy(name)
		                ? add_file(policy, directory_fd, directory, name, &left, problem)
		                : policy_warn(policy, "%s/%s: not read, since its name does not end in .conf",
		                              directory, name);

		if (err == ERR_NOMEM)
			return err;
		first = first ? first : err;
	}
	return first;
}

static int count_policies(const struct file_list *list)
{
	int count = 0;

	for (int i = 0; i < list->count; i++)
		count += is_policy(list->entries[i]->d_name);
	return count;
}

static enum err add_directory(struct policy *policy, const char *directory, struct buf *problem)
{
	const struct text_place place = { directory, 0, problem };
	CLEANUP(file_list_done) struct file_list list = { NULL, 0 };
	CLEANUP(close_fdp) int fd = -1;
	enum err err = file_open_directory(directory, false, 0022, &fd);
	int count;

	if (err == ERR_NO_FILE)
		return OK;
	if (err == ERR_STATE_DIR &&
	    text_problem(&place, "it must be a directory of root's or ours that others cannot write to") !=
	            ERR_NOMEM)
		return err;
	if (err)
		return file_problem(problem, directory, err);
	count = scandirat(fd, ".", &list.entries, name_is_shown, compare_names);
	if (count < 0)
		return ERR_SYSTEM;
	list.count = count;
	if (count_policies(&list) > (int)POLICY_FILES_MAX)
		return file_problem(problem, directory, ERR_BUSY);
	return add_files(policy, fd, directory, &list, problem);
}

/* The built-in policy is gone with the first rule of somebody's own, and with it perhaps all who could go on from here. */
static enum err warn_unmanageable(struct policy *policy, const char *directory, bool system_mode)
{
	char user[32] = "root";
	bool admin = policy_permits_anybody(policy, OPERATION_ADMIN);
	bool list = policy_permits_anybody(policy, OPERATION_LIST);

	if (admin && list)
		return OK;
	if (!system_mode)
		(void)snprintf(user, sizeof(user), "%u", (unsigned)geteuid());
	return policy_warn(policy,
	                   "%s: no rule permits %s, so nobody can %s; a rule of your own takes the place of "
	                   "the built-in policy: add permit unwrap list admin key * user %s",
	                   directory,
	                   admin  ? "list"
	                   : list ? "admin"
	                          : "admin or list",
	                   admin  ? "see which keys there are"
	                   : list ? "enroll a key"
	                          : "enroll a key or see which there are",
	                   user);
}

static enum err add_built_in(struct policy *policy, bool system_mode, struct buf *problem)
{
	static const char system_text[] = "permit unwrap list admin key * user root\n"
	                                  "permit unwrap list key * group tokend\n";
	char text[128];

	(void)snprintf(text, sizeof(text), "permit unwrap list admin key * user %u\n", (unsigned)geteuid());
	return policy_add(policy, "built-in", bytes_of_string(system_mode ? system_text : text), problem);
}

enum err policy_load(const char *directory, bool system_mode, struct buf *problem, struct policy **ret_policy)
{
	CLEANUP(policy_freep) struct policy *policy = NULL;
	enum err err = policy_new(&policy);

	if (!err)
		err = add_directory(policy, directory, problem);
	if (!err && policy_rule_count(policy) == 0)
		err = add_built_in(policy, system_mode, problem);
	else if (!err)
		err = warn_unmanageable(policy, directory, system_mode);
	if (err)
		return err;
	*ret_policy = TAKE(policy);
	return OK;
}
