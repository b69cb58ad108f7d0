#include "cli/guard_hook.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/git.h"
#include "cli/shown.h"
#include "common/file.h"

#define HOOK_MARK "tokenctl guard"

struct hook {
	const char *name;
	const char *when;
	const char *text;
	const char *line; /* for a hook of somebody's own */
};

#define HOOK_BEGIN "#!/bin/sh\n# Written by tokenctl guard --install: refuses secrets in the clear.\n"
#define HOOK_CHECK                                                                      \
	"if ! command -v tokenctl >/dev/null 2>&1; then\n"                              \
	"\techo \"$0: tokenctl is not in the PATH here, so nothing was checked\" >&2\n" \
	"\techo \"hint: install tokend here, or rm $0\" >&2\n"                          \
	"\texit 1\n"                                                                    \
	"fi\n"

/* What is staged is looked at; verb: git's, which makes the commit. */
#define STAGED_TEXT(verb)                                                                               \
	HOOK_BEGIN "# To " verb " all the same: git " verb " --no-verify\n" HOOK_CHECK "exec tokenctl " \
	           "guard\n"
#define STAGED_LINE "tokenctl guard || exit 1"

static const struct hook commit_hook = {
	.name = "pre-commit",
	.when = "before each commit",
	.text = STAGED_TEXT("commit"),
	.line = STAGED_LINE,
};

/* A merge without a conflict makes its commit by itself, and asks this one alone (git 2.24 and newer). */
static const struct hook merge_hook = {
	.name = "pre-merge-commit",
	.when = "before each commit that git merge makes by itself",
	.text = STAGED_TEXT("merge"),
	.line = STAGED_LINE,
};

/* Where there is no working tree nobody commits; what comes there is pushed. */
static const struct hook push_hook = {
	.name = "pre-receive",
	.when = "before a push is taken",
	.text = HOOK_BEGIN
	"# A recipient that may be added: git config --add tokend.allowRecipient age1...\n" HOOK_CHECK
	"exec tokenctl guard --pushed\n",
	.line = "pushed=$(cat); printf '%s\\n' \"$pushed\" | tokenctl guard --pushed || exit 1   before "
	        "anything "
	        "else reads standard input",
};

/* Those of the repository; NULL ends them. */
static enum err choose_hooks(struct problem *problem, const struct hook *const **ret_hooks)
{
	static const struct hook *const of_commits[] = { &commit_hook, &merge_hook, NULL };
	static const struct hook *const of_pushes[] = { &push_hook, NULL };
	CLEANUP(buf_freep) struct buf *top = NULL;
	bool bare;
	enum err err = git_is_bare(problem, &bare);

	*ret_hooks = bare ? of_pushes : of_commits;
	return err || bare ? err : git_top(problem, &top);
}

/* The directory may be elsewhere (core.hooksPath), and need not be there yet. */
static enum err open_directory(struct problem *problem, struct buf **ret_path, int *ret_fd)
{
	static const char *const arguments[] = { "rev-parse", "--git-path", "hooks", NULL };
	CLEANUP(buf_freep) struct buf *path = NULL;
	enum err err = git_line(arguments, false, problem, &path);
	int fd;

	if (err)
		return err;
	if (mkdir(buf_string(path), 0777) < 0 && errno != EEXIST)
		return problem_errno(problem, errno, "cannot make", buf_string(path));
	fd = open(buf_string(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return problem_errno(problem, errno, "cannot open", buf_string(path));
	*ret_path = TAKE(path);
	*ret_fd = fd;
	return OK;
}

/* Does the hook that is there call us already? */
static bool is_ours(int directory, const struct hook *hook)
{
	CLEANUP(close_fdp)
	int fd = openat(directory, hook->name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char text[65536];
	ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text));

	return len > 0 && memmem(text, (size_t)len, HOOK_MARK, strlen(HOOK_MARK));
}

static enum err write_hook(int directory, const char *path, const struct hook *hook, struct problem *problem)
{
	mode_t mask = umask(077);
	enum err err;

	(void)umask(mask); /* only asked for */
	err = file_write(directory, hook->name, bytes_of_string(hook->text), 0777 & ~mask, true);
	if (err == ERR_EXISTS && is_ours(directory, hook)) {
		shown_line(stdout, "%s/%s runs tokenctl guard already", path, hook->name);
		return OK;
	}
	if (err == ERR_EXISTS) {
		(void)problem_set(problem, err, "%s/%s is there already, and is left as it is", path,
		                  hook->name);
		problem_hint(problem, "add this line to it: %s", hook->line);
	} else if (err) {
		(void)problem_set(problem, err, "cannot write %s/%s", path, hook->name);
	} else {
		shown_line(stdout, "%s/%s runs tokenctl guard %s", path, hook->name, hook->when);
	}
	return err;
}

/* One that is in the way is said, and the others are written. */
static enum err write_hooks(int directory, const char *path, const struct hook *const *hooks,
                            struct problem *problem)
{
	enum err first = OK;

	for (; *hooks; hooks++) {
		struct problem here = { 0 };
		enum err err = write_hook(directory, path, *hooks, &here);

		if (err && first) {
			problem_print(&here, err, "tokenctl");
		} else if (err) {
			*problem = here;
			first = err;
		}
	}
	return first;
}

enum err guard_hook_install(struct problem *problem)
{
	CLEANUP(buf_freep) struct buf *path = NULL;
	CLEANUP(close_fdp) int directory = -1;
	const struct hook *const *hooks;
	enum err err = choose_hooks(problem, &hooks);

	if (!err)
		err = open_directory(problem, &path, &directory);
	return err ? err : write_hooks(directory, buf_string(path), hooks, problem);
}

enum err guard_hook_find(const char *git_directory, struct problem *problem, bool *ret_there)
{
	char option[PATH_MAX + 16];
	const char *const arguments[] = { option, "rev-parse", "--git-path", "hooks", NULL };
	CLEANUP(buf_freep) struct buf *path = NULL;
	CLEANUP(close_fdp) int directory = -1;
	enum err err;

	(void)snprintf(option, sizeof(option), "--git-dir=%s", git_directory);
	*ret_there = false;
	if (access(git_directory, F_OK) < 0)
		return ERR_NO_FILE;
	err = git_line(arguments, true, problem, &path);
	if (err)
		return err == ERR_NO_MATCH ? ERR_NO_FILE : err;
	directory = open(buf_string(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*ret_there = directory >= 0 && is_ours(directory, &commit_hook);
	return OK;
}
