/*
 * tokenctl git --install
 *
 * Tells a repository's git how SOPS files are shown and merged: three lines of its own configuration, which stay on this machine, and for each pattern a line of .gitattributes, which is committed and
 * so holds for all who have run this. Lines that are there already are left alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/git.h"
#include "cli/input.h"
#include "cli/shown.h"
#include "cli/verb.h"
#include "cli/verbs.h"

#define LINE_MAX_LEN 512U
#define ATTRIBUTES_MAX (1U << 20)
#define OPTION_MAX (SHOWN_QUOTED_MAX + 8U)

static enum err set(struct problem *problem, const char *name, const char *value)
{
	const char *const arguments[] = { "config", "--local", name, value, NULL };
	CLEANUP(buf_freep) struct buf *nothing = NULL;

	return git_run(arguments, false, problem, &nothing);
}

/* The option that names an identity file to both programs, quoted for the shell that git starts; git calls them from the top of the repository, so it is an absolute path. A '%' git would take for a word of its own. */
static enum err identity_option(struct invocation *invocation, char *out, size_t len)
{
	const char *path = options_value(&invocation->options, "identity");
	CLEANUP(freep) char *absolute = path ? realpath(path, NULL) : NULL;
	char quoted[SHOWN_QUOTED_MAX];

	*out = '\0';
	if (!path)
		return OK;
	if (!absolute)
		return problem_errno(&invocation->problem, errno, "cannot open", path);
	shown_quote(absolute, quoted);
	if (strchr(absolute, '%') || strcspn(absolute, "\n\t") != strlen(absolute) ||
	    (size_t)snprintf(out, len, " -i %s", quoted) >= len)
		return problem_set(&invocation->problem, ERR_USAGE,
		                   "git's configuration cannot carry the path %s", absolute);
	return OK;
}

/* "--", for a file's name may begin with a hyphen. */
static enum err configure(struct invocation *invocation)
{
	struct problem *problem = &invocation->problem;
	char option[OPTION_MAX], value[OPTION_MAX + 64];
	enum err err = identity_option(invocation, option, sizeof(option));

	if (err)
		return err;
	(void)snprintf(value, sizeof(value), "tokenctl git textconv%s --", option);
	err = set(problem, "diff.tokend.textconv", value);
	if (!err)
		err = set(problem, "merge.tokend.name", "SOPS files, merged in memory by tokenctl");
	(void)snprintf(value, sizeof(value), "tokenctl git merge%s -- %%O %%A %%B %%P", option);
	return err ? err : set(problem, "merge.tokend.driver", value);
}

/* The attributes of the whole working tree. */
static enum err attributes_path(struct problem *problem, char *out, size_t len)
{
	CLEANUP(buf_freep) struct buf *top = NULL;
	enum err err = git_top(problem, &top);

	if (!err && (size_t)snprintf(out, len, "%s/.gitattributes", buf_string(top)) >= len)
		err = ERR_UNSUPPORTED;
	return err;
}

static bool has_line(struct bytes text, const char *line)
{
	size_t len = strlen(line);

	while (text.len) {
		const uint8_t *end = memchr(text.data, '\n', text.len);
		size_t here = end ? (size_t)(end - text.data) : text.len;

		if (here == len && memcmp(text.data, line, len) == 0)
			return true;
		here += end != NULL;
		text = bytes_of(text.data + here, text.len - here);
	}
	return false;
}

static enum err append_line(const char *path, struct bytes before, const char *line, struct problem *problem)
{
	CLEANUP(close_fdp) int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0666);
	char text[LINE_MAX_LEN + 2];
	int len = snprintf(text, sizeof(text), "%s%s\n",
	                   before.len && before.data[before.len - 1] != '\n' ? "\n" : "", line);

	if (fd < 0 || write(fd, text, (size_t)len) != len)
		return problem_errno(problem, errno, "cannot write", path);
	shown_line(stdout, "%s: %s", path, line);
	return OK;
}

static enum err read_attributes(const char *path, struct problem *problem, struct buf **ret_text)
{
	CLEANUP(input_closep) int fd = -1;
	enum err err = input_open_found(path, problem, &fd);

	if (!err)
		err = buf_new(ATTRIBUTES_MAX, ret_text);
	if (!err)
		err = input_read(fd, path, *ret_text, problem);
	return err == ERR_BUSY ? problem_set(problem, ERR_BAD_FILE, "%s is too large", path) : err;
}

static enum err add_pattern(const char *path, const char *pattern, struct problem *problem)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	char line[LINE_MAX_LEN];
	enum err err = OK;

	if ((size_t)snprintf(line, sizeof(line), "%s diff=tokend merge=tokend", pattern) >= sizeof(line) ||
	    strpbrk(pattern, " \t\n\""))
		return problem_set(problem, ERR_USAGE, "'%s' is no pattern for .gitattributes", pattern);
	if (access(path, F_OK) == 0)
		err = read_attributes(path, problem, &text);
	if (!err && text && has_line(buf_bytes(text), line))
		return OK;
	return err ? err : append_line(path, text ? buf_bytes(text) : bytes_of(NULL, 0), line, problem);
}

static enum err run(struct invocation *invocation)
{
	struct problem *problem = &invocation->problem;
	char path[4096];
	enum err err = attributes_path(problem, path, sizeof(path));

	if (!err)
		err = configure(invocation);
	for (size_t i = 0; !err && i < invocation->options.argument_count; i++)
		err = add_pattern(path, invocation->options.arguments[i], problem);
	if (!err && invocation->options.argument_count == 0)
		(void)printf("next: say which files are SOPS': tokenctl git --install '*.enc.yaml'\n");
	return err;
}

static const struct option_row rows[] = {
	{ 'i', "identity", "FILE", "what opens them, where it is no key of tokend's", false },
	OPTIONS_END,
};

const struct verb git_install_verb = {
	.name = "git --install",
	.arguments = "[PATTERN]...",
	.arguments_max = SIZE_MAX,
	.summary = "Sets up git diff and git merge for the SOPS files of a repository",
	.details =
	        "Writes into the repository's own configuration how they are shown (decrypted, to who may) "
	        "and merged\n"
	        "(in memory); with patterns also into .gitattributes, which is to be committed. Everybody "
	        "who "
	        "clones\n"
	        "the repository runs it once, who has a key file and no tokend with -i.",
	.example = "  tokenctl git --install '*.enc.yaml' .env.encrypted && git add .gitattributes\n"
	           "  tokenctl git --install -i ~/.config/sops/age/keys.txt",
	.options = rows,
	.run = run,
};
