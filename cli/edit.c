/*
 * tokenctl edit
 *
 * A SOPS file in the editor of whoever calls. The plain text is in a file system that is memory, in a directory of its own that others cannot enter, so that what an editor writes beside it (swap files, backups)
 * is there, too; it is gone when the edit is over, directories included, and also when a signal ends us. What was typed is not lost otherwise: a text that cannot be sealed is opened again, and where nobody
 * can be asked, or we are told to end, it is kept and named. The file is not locked while the editor is open. What others change in it meanwhile is merged with what was typed, and where that cannot be, both are in the text that is
 * opened again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/conflict_marks.h"
#include "cli/editor.h"
#include "cli/file_lock.h"
#include "cli/input.h"
#include "cli/kept_text.h"
#include "cli/memory_directory.h"
#include "cli/shown.h"
#include "cli/sops_file.h"
#include "cli/sops_recipients.h"
#include "cli/sops_store.h"
#include "cli/terminal.h"
#include "cli/text_merge.h"
#include "cli/verb.h"
#include "cli/verbs.h"

#define TEXT_MAX (2 * (size_t)SOPS_FILE_MAX)

struct edit {
	struct invocation *invocation;
	const char *path;
	const char *resume; /* NULL: none is resumed */
	struct sops_store stores[2]; /* the second one is the file as somebody else left it */
	struct sops_store *store;
	char directory[MEMORY_DIRECTORY_MAX]; /* "": there is none */
	char file[MEMORY_DIRECTORY_FILE_MAX];
	struct memory_watch watch;
	struct buf *base; /* what the text is compared with, to see what was typed */
	struct buf *began; /* what the editor was given */
	bool merged; /* there is more in the text than can be typed again */
	bool kept; /* the plain text is not to be removed */
};

static struct problem *problem_of(const struct edit *edit)
{
	return &edit->invocation->problem;
}

static enum err copy(struct bytes text, struct buf **ret_copy)
{
	CLEANUP(buf_freep) struct buf *new = NULL;
	enum err err = buf_new(TEXT_MAX, &new);

	if (!err)
		err = buf_put(new, text);
	if (err)
		return err;
	(void)buf_free(*ret_copy);
	*ret_copy = TAKE(new);
	return OK;
}

/* ---- the text in memory ---- */

/* Before the file is decrypted: who removes it when we are ended has no plain text. */
static enum err make_directory(struct edit *edit)
{
	enum err err = memory_directory_make(problem_of(edit), edit->directory);

	if (!err && memory_directory_watch(edit->directory, &edit->watch))
		err = problem_errno(problem_of(edit), errno, "cannot start a process that removes",
		                    edit->directory);
	return err;
}

/* Whatever the editor left there, too. */
static void remove_directory(struct edit *edit)
{
	if (!edit->kept)
		memory_directory_remove(edit->directory);
	memory_directory_unwatch(&edit->watch, edit->kept);
	edit->directory[0] = '\0';
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

/* The text first: with an old base it has at worst the same change twice, with a new one it would take back others' changes. */
static enum err put_merged(struct edit *edit, struct bytes text)
{
	enum err err = copy(text, &edit->began);

	if (!err)
		err = memory_directory_rewrite(edit->directory, edit->file, text, problem_of(edit));
	edit->merged |= !err;
	if (!err)
		err = kept_text_put_base(edit->directory, buf_bytes(edit->store->plain), problem_of(edit));
	return err ? err : copy(buf_bytes(edit->store->plain), &edit->base);
}

/* ---- what the editor left ---- */

static bool is_regular(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && S_ISREG(status.st_mode);
}

/* A text that was moved away is looked for; where there is none it is there again as it was given to the editor. */
static enum err check_left(struct edit *edit)
{
	char quoted[SHOWN_QUOTED_MAX];
	bool found;
	enum err err = OK;

	if (is_regular(edit->file))
		return OK;
	found = kept_text_bring_back(edit->file, buf_bytes(edit->began));
	if (!found)
		err = memory_directory_rewrite(edit->directory, edit->file, buf_bytes(edit->began),
		                               problem_of(edit));
	if (err)
		return err;
	shown_quote(edit->path, quoted);
	(void)problem_set(problem_of(edit), ERR_NO_FILE,
	                  found ? "the editor has given the text another name, and %s is as it was"
	                        : "the editor has removed the text, and %s is as it was",
	                  edit->path);
	problem_hint(problem_of(edit), "tokenctl edit %s   begins again", quoted);
	return ERR_NO_FILE;
}

/* Its own sentence, when it has failed. */
static enum err check_left_after(struct edit *edit, enum err err)
{
	struct problem said = *problem_of(edit);

	if (check_left(edit))
		*problem_of(edit) = said;
	return err;
}

static enum err check_marks(struct edit *edit, struct bytes text)
{
	size_t line = conflict_marks_find(text, buf_bytes(edit->store->plain));

	if (!line)
		return OK;
	return problem_set(
	        problem_of(edit), ERR_BAD_FILE,
	        "%s was left as it is: line %zu of the text is a mark of git, of a conflict that is "
	        "not decided",
	        edit->path, line);
}

/* ---- what others did meanwhile ---- */

/* Who typed a value did so under the rule that the file had then. Said once; what is typed is sealed under the new one when it is opened, or resumed, after that. */
static enum err check_rule(struct edit *edit, bool same_rule)
{
	if (same_rule)
		return OK;
	return problem_set(
	        problem_of(edit), ERR_SYSTEM,
	        "somebody else has meanwhile changed which values of %s are encrypted, so it was left as "
	        "it is: look at what is in the clear there",
	        edit->path);
}

/* Decrypted anew only when there is something new. */
static enum err look_again(struct edit *edit)
{
	struct sops_store *other = &edit->stores[edit->store == &edit->stores[0]];
	bool same = false, same_rule;
	enum err err = sops_store_is_current(edit->store, &same);

	if (err || same)
		return err;
	sops_store_done(other);
	err = sops_store_open(other, edit->invocation, edit->path);
	if (err)
		return err;
	sops_recipients_tell_added(edit->store->metadata, other->metadata, "somebody else has meanwhile",
	                           edit->path);
	same_rule = sops_metadata_same_rule(edit->store->metadata, other->metadata);
	edit->store = other;
	return check_rule(edit, same_rule);
}

static enum err explain_unmerged(struct edit *edit, enum err err)
{
	const struct problem why = *problem_of(edit);

	return problem_set(problem_of(edit), err,
	                   "%s was changed by somebody else meanwhile and left as it is, for the two changes "
	                   "cannot be put together: %s",
	                   edit->path, problem_text(&why, err));
}

static enum err merge_into(struct edit *edit, struct buf *text)
{
	const struct text_merge texts = { .base = buf_bytes(edit->base),
		                          .ours = buf_bytes(text),
		                          .theirs = buf_bytes(edit->store->plain),
		                          .our_name = "typed",
		                          .their_name = "in the file by now" };
	CLEANUP(buf_freep) struct buf *merged = NULL;
	bool clean = false;
	enum err err = text_merge(&texts, problem_of(edit), &merged, &clean);

	if (err)
		return explain_unmerged(edit, err);
	err = put_merged(edit, buf_bytes(merged));
	buf_clear(text);
	if (!err)
		err = buf_put(text, buf_bytes(merged));
	if (err || clean)
		return err;
	return problem_set(problem_of(edit), ERR_SYSTEM,
	                   "somebody else has changed the same lines of %s meanwhile; both stand in the text "
	                   "now, with git's marks",
	                   edit->path);
}

/* The file is locked. */
static enum err save_locked(struct edit *edit, struct buf *text, bool *ret_changed)
{
	struct sops_change change = { .data_key = NULL };
	bool others = false;
	enum err err = look_again(edit);

	if (!err) {
		others = !bytes_equal(buf_bytes(edit->base), buf_bytes(edit->store->plain));
		err = others ? merge_into(edit, text) : OK;
	}
	change.plain = buf_bytes(text);
	if (!err)
		err = sops_store_save(edit->store, &change, ret_changed);
	if (!err && others)
		shown_line(stdout, "%s was changed by somebody else meanwhile: both changes are in it now",
		           edit->path);
	return err;
}

static enum err save(struct edit *edit, struct buf *text, bool *ret_changed)
{
	CLEANUP(close_fdp) int lock = -1;
	enum err err;

	*ret_changed = false;
	if (bytes_equal(buf_bytes(text), buf_bytes(edit->base)))
		return OK;
	err = file_lock(edit->path, problem_of(edit), &lock);
	return err ? err : save_locked(edit, text, ret_changed);
}

/* ---- editing ---- */

/* Says what is wrong, and asks whether to go on editing. */
static bool wants_again(struct edit *edit, enum err err)
{
	CLEANUP(secret_freep) struct secret *answer = NULL;
	struct bytes typed = { NULL, 0 };

	if (editor_signal() || !terminal_available())
		return false;
	problem_print(problem_of(edit), err, "tokenctl");
	if (terminal_read_secret("Open it again? [Y/n] ", &answer) == OK)
		typed = secret_reveal(answer);
	return !editor_signal() && (typed.len == 0 || (typed.data[0] != 'n' && typed.data[0] != 'N'));
}

static enum err edit_once(struct edit *edit, struct buf *text, bool *ret_changed)
{
	enum err err = editor_run(edit->file, edit->path, problem_of(edit));

	err = err ? check_left_after(edit, err) : check_left(edit);
	if (!err)
		err = read_plain(edit, edit->file, text);
	if (!err)
		err = check_marks(edit, buf_bytes(text));
	return err ? err : save(edit, text, ret_changed);
}

/* What an editor that failed left as it was is not worth keeping; unless it was told to end, and has put what was typed elsewhere. */
static bool is_untouched(struct edit *edit, struct buf *text)
{
	struct problem said = *problem_of(edit);
	bool untouched = !edit->merged && read_plain(edit, edit->file, text) == OK &&
	                 bytes_equal(buf_bytes(text), buf_bytes(edit->began));

	*problem_of(edit) = said;
	if (untouched && editor_signal())
		untouched = !kept_text_rescue(edit->file, buf_bytes(edit->began));
	return untouched;
}

static void hint_kept(struct edit *edit, const char *kept)
{
	char file[SHOWN_QUOTED_MAX], path[SHOWN_QUOTED_MAX];

	shown_quote(kept, file);
	shown_quote(edit->path, path);
	problem_hint(problem_of(edit),
	             "what was typed is kept in memory until the next start: tokenctl edit --resume %s %s",
	             file, path);
}

/* What an edit before kept is in what this one keeps, or sealed. */
static void forget_resumed(const struct edit *edit)
{
	if (edit->resume)
		kept_text_remove(edit->resume);
}

static enum err keep(struct edit *edit, enum err err)
{
	struct problem said = *problem_of(edit);

	edit->kept = true;
	/* Where it cannot be written whose it is, the text is there all the same, and said. */
	if (kept_text_keep(edit->file, edit->path, problem_of(edit)) == OK)
		forget_resumed(edit);
	*problem_of(edit) = said;
	hint_kept(edit, edit->file);
	return err;
}

static enum err give_up(struct edit *edit, enum err err, bool untouched)
{
	if (!untouched)
		return keep(edit, err);
	if (edit->resume)
		hint_kept(edit, edit->resume);
	return err;
}

static enum err edit_until_done(struct edit *edit)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	bool changed = false;
	enum err err = buf_new(TEXT_MAX, &text);

	if (err)
		return err;
	while ((err = edit_once(edit, text, &changed))) {
		bool untouched = is_untouched(edit, text);

		if (untouched || !wants_again(edit, err))
			return give_up(edit, err, untouched);
		*problem_of(edit) = (struct problem){ 0 };
	}
	if (!changed)
		shown_line(stdout, "%s is as it was", edit->path);
	return OK;
}

/* ---- beginning ---- */

static enum err begin_resumed(struct edit *edit)
{
	enum err err = kept_text_base(edit->resume, edit->path, TEXT_MAX, problem_of(edit), &edit->base);

	if (!err)
		err = buf_new(TEXT_MAX, &edit->began);
	return err ? err : read_plain(edit, edit->resume, edit->began);
}

static enum err begin_new(struct edit *edit)
{
	enum err err = copy(buf_bytes(edit->store->plain), &edit->base);

	return err ? err : copy(buf_bytes(edit->store->plain), &edit->began);
}

static enum err begin(struct edit *edit)
{
	enum err err = edit->resume ? begin_resumed(edit) : begin_new(edit);

	if (!err)
		err = memory_directory_write(edit->directory, edit->path, buf_bytes(edit->began),
		                             problem_of(edit), edit->file);
	return err ? err : kept_text_put_base(edit->directory, buf_bytes(edit->base), problem_of(edit));
}

static enum err edit_file(struct edit *edit)
{
	enum err err = make_directory(edit);

	if (!err)
		err = sops_store_open(edit->store, edit->invocation, edit->path);
	if (!err)
		err = sops_store_check_writable(edit->store);
	if (!err)
		err = begin(edit);
	if (!err) {
		editor_signals_take();
		err = edit_until_done(edit);
		if (!err)
			forget_resumed(edit);
		remove_directory(edit);
	}
	if (!err)
		sops_recipients_warn(edit->path, edit->store->metadata);
	return err;
}

static void done(struct edit *edit)
{
	remove_directory(edit);
	(void)buf_free(edit->base);
	(void)buf_free(edit->began);
	for (size_t i = 0; i < 2; i++)
		sops_store_done(&edit->stores[i]);
}

static enum err forget(struct edit *edit)
{
	unsigned count = kept_text_forget(edit->path);
	CLEANUP(input_closep) int input = -1;
	char quoted[SHOWN_QUOTED_MAX];
	enum err err;

	if (count == 0) {
		err = input_open(edit->path, problem_of(edit), &input);
		if (err) /* a text may be kept for one that is not there; where none is, it is the name */
			return err;
		shown_quote(edit->path, quoted);
		(void)problem_set(problem_of(edit), ERR_NO_FILE, "no text is kept for %s", edit->path);
		problem_hint(problem_of(edit), "tokenctl edit %s   opens it", quoted);
		return ERR_NO_FILE;
	}
	shown_line(stdout, "%u kept text%s for %s removed", count, PLURAL(count), edit->path);
	return OK;
}

/* A second text would be begun without what was typed into the first. */
static enum err refuse_second(struct edit *edit, const char *kept, unsigned count)
{
	char file[SHOWN_QUOTED_MAX], path[SHOWN_QUOTED_MAX];

	(void)problem_set(problem_of(edit), ERR_EXISTS,
	                  count == 1 ? "a text for %s that is not sealed yet is kept in memory"
	                             : "texts for %s that are not sealed yet are kept in memory, %u of them",
	                  edit->path, count);
	shown_quote(kept, file);
	shown_quote(edit->path, path);
	problem_hint(
	        problem_of(edit),
	        "tokenctl edit --resume %s %s   goes on with %s; tokenctl edit --forget %s   throws %s away",
	        file, path, count == 1 ? "it" : "the newest", path, count == 1 ? "it" : "all");
	return ERR_EXISTS;
}

static enum err run(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	struct edit edit = { .invocation = invocation,
		             .path = options->arguments[0],
		             .resume = options_value(options, "resume") };
	char kept[MEMORY_DIRECTORY_FILE_MAX];
	unsigned count;
	enum err err;

	edit.store = &edit.stores[0];
	if (edit.resume && options_given(options, "forget"))
		return problem_set(&invocation->problem, ERR_USAGE,
		                   "--resume and --forget exclude each other");
	if (options_given(options, "forget"))
		return forget(&edit);
	count = edit.resume ? 0 : kept_text_find(edit.path, kept);
	if (count)
		return refuse_second(&edit, kept, count);
	err = edit_file(&edit);
	done(&edit);
	return err;
}

static const struct option_row rows[] = {
	{ 0, "resume", "TEXT", "go on with the text that an edit before has kept", false },
	{ 0, "forget", NULL, "remove what is kept for the file, and do not edit it", false },
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
	        "be read, or the editor fails, it can be opened again; where nobody can be asked, or a "
	        "signal ends the\n"
	        "edit, the text is kept and named, and the next edit of the file says so. What others have "
	        "changed in\n"
	        "the file meanwhile is merged with what was typed. A text with git's marks of a conflict is "
	        "not sealed.\n"
	        "What was not changed keeps its ciphertext, and the file its formatting and comments.",
	.example = "  tokenctl edit secrets.yaml\n"
	           "  EDITOR='code --wait' tokenctl edit -i keys.txt secrets.yaml",
	.options = rows,
	.run = run,
};
