#include "cli/policy_files.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/input.h"
#include "cli/shown.h"
#include "tokend/text.h"

#define PROBLEM_LINES_MAX (64U << 10)

void policy_files_done(struct policy_files *files)
{
	files->policy = policy_free(files->policy);
	files->problems = buf_free(files->problems);
	where_done(&files->where);
}

static enum err load_file(struct policy_files *files, struct problem *problem)
{
	CLEANUP(input_closep) int fd = -1;
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err = input_open(files->path, problem, &fd);

	if (!err)
		err = buf_new(POLICY_TEXT_MAX, &text);
	if (!err)
		err = input_read(fd, files->path, text, problem);
	if (!err)
		err = policy_new(&files->policy);
	return err ? err : policy_add(files->policy, files->path, buf_bytes(text), files->problems);
}

static enum err look_at(struct policy_files *files, struct problem *problem)
{
	struct stat status;

	if (stat(files->path, &status) == 0) {
		files->is_directory = S_ISDIR(status.st_mode);
		return OK;
	}
	files->is_directory = true;
	if (files->path == files->where.policy_directory && errno == ENOENT)
		return OK;
	return problem_errno(problem, errno, "cannot open", files->path);
}

/* The sentence begins with the path of what can be written by others, or is theirs. */
static void hint_mode(struct problem *problem)
{
	char path[PROBLEM_TEXT_MAX], quoted[SHOWN_QUOTED_MAX];

	(void)snprintf(path, sizeof(path), "%.*s", (int)strcspn(problem->message, ":"), problem->message);
	shown_quote(path, quoted);
	problem_hint(problem, "chmod go-w %s   and, where it is somebody else's: sudo chown root: %s", quoted,
	             quoted);
}

/* A policy with an error in it is of no use. */
static void explain(struct policy_files *files, enum err err, struct problem *problem)
{
	struct bytes rest = buf_bytes(files->problems), line;
	char quoted[SHOWN_QUOTED_MAX];

	files->policy = policy_free(files->policy);
	if (buf_len(files->problems) == 0)
		return;
	while (text_next_line(&rest, &line))
		files->problem_count++;
	text_first_problem(files->problems, problem->message, sizeof(problem->message));
	if (err == ERR_STATE_DIR) {
		hint_mode(problem);
		return;
	}
	shown_quote(files->path, quoted);
	if (err == ERR_BAD_CONFIG && files->problem_count > 1)
		problem_hint(problem, "tokenctl policy check %s   names all of them", quoted);
	else
		problem_hint(problem, POLICY_FILES_HINT);
}

enum err policy_files_load(struct policy_files *files, struct problem *problem)
{
	enum err err = look_at(files, problem);

	if (!err)
		err = buf_new(PROBLEM_LINES_MAX, &files->problems);
	if (err)
		return err;
	if (!files->is_directory)
		err = load_file(files, problem);
	else
		err = policy_load(files->path, files->where.system_mode, files->problems, &files->policy);
	if (err)
		explain(files, err, problem);
	files->is_built_in =
	        !err && files->is_directory && where_is_built_in(&files->where, policy_digest(files->policy));
	return err;
}

bool policy_files_outdated(const struct policy_files *files)
{
	const char *digest = json_string_member(files->where.status, "policyDigest");

	return digest && files->policy && files->path == files->where.policy_directory &&
	       strcmp(digest, policy_digest(files->policy)) != 0;
}

void policy_files_print(const char *text, FILE *out)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		(void)fputc((c < 0x20 && c != '\n') || c == 0x7f ? '?' : c, out);
	}
}
