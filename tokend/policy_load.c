/* The policy's files: whose they may be, in which order they are read, and what holds where there are none. */
#include "tokend/policy.h"

#include <dirent.h>
#include <stdio.h>

#include "common/file.h"
#include "tokend/text.h"

static int name_is_policy(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && text_ends_with(bytes_of_string(entry->d_name), ".conf");
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
static enum err file_problem(struct buf *problem, const char *directory, const char *name, enum err err)
{
	const char *sentence =
	        err == ERR_STATE_DIR
	                ? "it must be a regular file of root's or ours that others cannot write to"
	        : err == ERR_BUSY ? "it is too long"
	                          : err_info(err)->text;

	if (problem && buf_printf(problem, "%s%s%s: %s", directory, name ? "/" : "", name ? name : "",
	                          sentence) == ERR_NOMEM)
		return ERR_NOMEM;
	return err == ERR_BUSY ? ERR_BAD_CONFIG : err;
}

static enum err add_file(struct policy *policy, int directory_fd, const char *directory, const char *name,
                         size_t *left, struct buf *problem)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(buf_freep) struct buf *inner = NULL;
	enum err err = file_read(directory_fd, name, *left, 0022, &text);

	if (err)
		return err == ERR_NOMEM ? err : file_problem(problem, directory, name, err);
	err = buf_new(1024, &inner);
	if (err)
		return err;
	*left -= buf_len(text);
	err = policy_add(policy, name, buf_bytes(text), inner);
	/* The rule knows its file's name; a person wants the path. */
	if (err == ERR_BAD_CONFIG && problem &&
	    buf_printf(problem, "%s/%s", directory, buf_string(inner)) == ERR_NOMEM)
		return ERR_NOMEM;
	return err;
}

static enum err add_directory(struct policy *policy, const char *directory, struct buf *problem)
{
	CLEANUP(file_list_done) struct file_list list = { NULL, 0 };
	CLEANUP(close_fdp) int fd = -1;
	size_t left = POLICY_TEXT_MAX;
	enum err err = file_open_directory(directory, false, 0022, &fd);
	int count;

	if (err == ERR_NO_FILE)
		return OK;
	if (err == ERR_STATE_DIR && problem &&
	    buf_printf(problem, "%s: it must be a directory of root's or ours that others cannot write to",
	               directory) != ERR_NOMEM)
		return err;
	if (err)
		return file_problem(problem, directory, NULL, err);
	count = scandirat(fd, ".", &list.entries, name_is_policy, compare_names);
	if (count < 0)
		return ERR_SYSTEM;
	list.count = count;
	if (list.count > (int)POLICY_FILES_MAX)
		return file_problem(problem, directory, NULL, ERR_BUSY);
	for (int i = 0; !err && i < list.count; i++)
		err = add_file(policy, fd, directory, list.entries[i]->d_name, &left, problem);
	return err;
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
	if (err)
		return err;
	*ret_policy = TAKE(policy);
	return OK;
}
