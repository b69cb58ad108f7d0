/*
 * tokenctl edit
 *
 * A SOPS file in the editor of whoever calls. The plain text is in a file system that is memory, in a directory of its own that others cannot enter, so that what an editor writes beside it (swap files, backups)
 * is there, too; it is gone when the edit is over, directories included, and also when a signal ends us. What was typed is not lost otherwise: a text that cannot be sealed is opened again, and where nobody
 * can be asked it is kept and named.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/input.h"
#include "cli/memory_directory.h"
#include "cli/shown.h"
#include "cli/sops_file.h"
#include "cli/sops_recipients.h"
#include "cli/sops_store.h"
#include "cli/terminal.h"
#include "cli/verb.h"
#include "cli/verbs.h"

static const int signals[] = { SIGINT, SIGQUIT, SIGHUP, SIGTERM };
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))

struct edit {
	struct sops_store *store;
	char directory[MEMORY_DIRECTORY_MAX]; /* "": there is none */
	char file[MEMORY_DIRECTORY_FILE_MAX];
	struct memory_watch watch;
	bool kept; /* the plain text is not to be removed */
};

static struct problem *problem_of(const struct edit *edit)
{
	return &edit->store->opener.invocation->problem;
}

/* Before the file is decrypted: who removes it when we are ended has no plain text. */
static enum err make_directory(struct edit *edit, struct problem *problem)
{
	enum err err = memory_directory_make(problem, edit->directory);

	if (!err && memory_directory_watch(edit->directory, &edit->watch))
		err = problem_errno(problem, errno, "cannot start a process that removes", edit->directory);
	return err;
}

/* Whatever the editor left there, too. */
static void remove_directory(struct edit *edit)
{
	if (!edit->kept)
		memory_directory_remove(edit->directory);
	memory_directory_unwatch(&edit->watch, edit->kept);
}

static enum err write_plain(struct edit *edit, struct bytes text)
{
	return memory_directory_write(edit->directory, edit->store->path, text, problem_of(edit), edit->file);
}

static enum err read_plain(struct edit *edit, const char *path, struct buf *text)
{
	CLEANUP(input_closep) int input = -1;
	enum err err = input_open(path, problem_of(edit), &input);

	buf_clear(text);
	if (!err)
		err = input_read(input, path, text, problem_of(edit));
	return err == ERR_BUSY ? ERR_NOMEM : err;
}

static const char *editor(void)
{
	static const char *const names[] = { "SOPS_EDITOR", "VISUAL", "EDITOR" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);

		if (value && value[0])
			return value;
	}
	return "vi";
}

/* Through the shell, for an editor may have arguments of its own. */
static _Noreturn void become_editor(const char *file)
{
	char command[MEMORY_DIRECTORY_MAX];

	for (size_t i = 0; i < SIGNALS; i++)
		(void)signal(signals[i], SIG_DFL);
	if ((size_t)snprintf(command, sizeof(command), "%s \"$1\"", editor()) < sizeof(command))
		(void)execl("/bin/sh", "sh", "-c", command, "tokenctl", file, (char *)NULL);
	_exit(127);
}

/* They are the editor's meanwhile: whatever ends it, the plain text is taken care of afterwards. */
static enum err run_editor(struct edit *edit)
{
	char quoted[SHOWN_QUOTED_MAX];
	void (*before[SIGNALS])(int);
	int status = -1;
	pid_t child;

	for (size_t i = 0; i < SIGNALS; i++)
		before[i] = signal(signals[i], SIG_IGN);
	child = fork();
	if (child == 0)
		become_editor(edit->file);
	while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	for (size_t i = 0; i < SIGNALS; i++)
		(void)signal(signals[i], before[i]);
	if (child < 0)
		return problem_errno(problem_of(edit), errno, "cannot start", editor());
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return OK;
	(void)problem_set(problem_of(edit), ERR_SYSTEM, "the editor (%s) ended with %s %d", editor(),
	                  WIFEXITED(status) ? "status" : "signal",
	                  WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	shown_quote(edit->store->path, quoted);
	problem_hint(problem_of(edit), "EDITOR=nano tokenctl edit %s   takes another editor", quoted);
	return ERR_SYSTEM;
}

/* Says what is wrong, and asks whether to go on editing. */
static bool wants_again(struct edit *edit, enum err err)
{
	CLEANUP(secret_freep) struct secret *answer = NULL;
	struct bytes typed = { NULL, 0 };

	if (!terminal_available())
		return false;
	problem_print(problem_of(edit), err, "tokenctl");
	if (terminal_read_secret("Open it again? [Y/n] ", &answer) == OK)
		typed = secret_reveal(answer);
	return typed.len == 0 || (typed.data[0] != 'n' && typed.data[0] != 'N');
}

static enum err edit_once(struct edit *edit, struct buf *text, bool *ret_changed)
{
	struct sops_change change = { .data_key = NULL };
	enum err err = run_editor(edit);

	if (!err)
		err = read_plain(edit, edit->file, text);
	change.plain = buf_bytes(text);
	return err ? err : sops_store_save(edit->store, &change, ret_changed);
}

/* What an editor that failed left as it was is not worth keeping. */
static bool is_untouched(struct edit *edit, struct buf *text)
{
	return read_plain(edit, edit->file, text) == OK &&
	       bytes_equal(buf_bytes(text), buf_bytes(edit->store->plain));
}

static enum err keep(struct edit *edit, enum err err)
{
	char file[SHOWN_QUOTED_MAX], path[SHOWN_QUOTED_MAX];

	edit->kept = true;
	shown_quote(edit->file, file);
	shown_quote(edit->store->path, path);
	problem_hint(problem_of(edit),
	             "what was typed is kept in memory until the next start: tokenctl edit --resume %s %s",
	             file, path);
	return err;
}

static enum err edit_until_done(struct edit *edit)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	bool changed = false;
	enum err err = buf_new(2 * SOPS_FILE_MAX, &text);

	if (err)
		return err;
	while ((err = edit_once(edit, text, &changed))) {
		struct problem said = *problem_of(edit);

		if (is_untouched(edit, text)) {
			*problem_of(edit) = said;
			return err;
		}
		*problem_of(edit) = said;
		if (!wants_again(edit, err))
			return keep(edit, err);
		*problem_of(edit) = (struct problem){ 0 };
	}
	if (!changed)
		shown_line(stdout, "%s is as it was", edit->store->path);
	return OK;
}

static enum err begin(struct edit *edit)
{
	const char *resume = options_value(&edit->store->opener.invocation->options, "resume");
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err;

	if (!resume)
		return write_plain(edit, buf_bytes(edit->store->plain));
	err = buf_new(2 * SOPS_FILE_MAX, &text);
	if (!err)
		err = read_plain(edit, resume, text);
	return err ? err : write_plain(edit, buf_bytes(text));
}

/* What an edit before kept. */
static void forget_resumed(const char *resume)
{
	char directory[MEMORY_DIRECTORY_MAX];
	const char *slash = strrchr(resume, '/');

	if (!slash || (size_t)(slash - resume) >= sizeof(directory))
		return;
	(void)snprintf(directory, sizeof(directory), "%.*s", (int)(slash - resume), resume);
	if (memory_directory_is_one(directory))
		memory_directory_remove(directory);
}

static enum err run(struct invocation *invocation)
{
	const char *resume = options_value(&invocation->options, "resume");
	struct sops_store store = { .path = NULL };
	struct edit edit = { .store = &store };
	enum err err = make_directory(&edit, &invocation->problem);

	if (!err)
		err = sops_store_open(&store, invocation, invocation->options.arguments[0]);
	if (!err)
		err = begin(&edit);
	if (!err)
		err = edit_until_done(&edit);
	if (!err)
		sops_recipients_warn(store.path, store.metadata);
	if (!err && resume)
		forget_resumed(resume);
	remove_directory(&edit);
	sops_store_done(&store);
	return err;
}

static const struct option_row rows[] = {
	{ 0, "resume", "FILE", "begin with the text that an edit that failed has kept", false },
	FILE_OPENER_IDENTITY,
	SOPS_INPUT_TYPE,
	OPTIONS_END,
};

const struct verb edit_verb = {
	.name = "edit",
	.arguments = "FILE",
	.arguments_min = 1,
	.arguments_max = 1,
	.summary = "Opens a SOPS file in an editor and seals it again",
	.details =
	        "The editor is $SOPS_EDITOR, $VISUAL, $EDITOR or vi. The plain text is in memory only (a "
	        "tmpfs, in a\n"
	        "directory that nobody else may enter) and is removed when the editor has ended. When the "
	        "text cannot\n"
	        "be read, or the editor fails, it can be opened again; where nobody can be asked, the text "
	        "is kept and\n"
	        "named. What was not changed keeps its ciphertext, and the file its formatting and comments.",
	.example = "  tokenctl edit secrets.yaml\n"
	           "  EDITOR='code --wait' tokenctl edit -i keys.txt secrets.yaml",
	.options = rows,
	.run = run,
};
