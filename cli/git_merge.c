/*
 * tokenctl git merge
 *
 * Git's merge driver for SOPS files. Ciphertexts cannot be merged, and the MAC of a merged file would fit neither side; so the three versions are decrypted in memory, git merges the plain texts line by line
 * (`git merge-file`, over files without a name), and the result is sealed again from the side whose recipients hold. Where both sides changed the same lines the text with git's marks is kept in memory,
 * for `tokenctl edit --resume` to finish; the file itself then stays as our side has it, encrypted. A binary file, which has no lines, is taken from the side that has changed it, if only one has. Nothing is ever in the clear on a disk.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/git.h"
#include "cli/kept_text.h"
#include "cli/memory_directory.h"
#include "cli/output.h"
#include "cli/shown.h"
#include "cli/sops_recipients.h"
#include "cli/sops_store.h"
#include "cli/text_merge.h"
#include "cli/verb.h"
#include "cli/verbs.h"

enum { BASE, OURS, THEIRS, SIDES };

struct merge {
	struct invocation *invocation;
	struct sops_store sides[SIDES];
	bool base_is_empty; /* both sides have made the file */
	bool explained; /* the problem has the whole way on */
	char name[PATH_MAX]; /* in the working tree, as one types it where git was started */
};

#define GIT_TEMPORARY ".merge_file_" /* how git calls the files that it hands over */

/* ---- who can open the file ---- */

/* The same people, and the same data key. */
static bool same_keys(const struct sops_store *a, const struct sops_store *b)
{
	const struct sops_metadata *of_a = a->metadata, *of_b = b->metadata;

	if (of_a->entry_count != of_b->entry_count || of_a->threshold != of_b->threshold ||
	    !bytes_equal(secret_reveal(a->data_key), secret_reveal(b->data_key)))
		return false;
	for (size_t i = 0; i < of_a->entry_count; i++)
		if (!sops_entries_are_same(&of_a->entries[i], &of_b->entries[i]))
			return false;
	return true;
}

/* The side that the result is sealed from: the one that has changed who can open it. NULL with a sentence when both have, and not in the same way. */
static struct sops_store *find_carrier(struct merge *merge)
{
	struct sops_store *base = &merge->sides[BASE], *ours = &merge->sides[OURS],
	                  *theirs = &merge->sides[THEIRS];
	char quoted[SHOWN_QUOTED_MAX], pathspec[SHOWN_QUOTED_MAX];

	if (same_keys(ours, theirs))
		return ours;
	if (!merge->base_is_empty && same_keys(base, theirs))
		return ours;
	if (!merge->base_is_empty && same_keys(base, ours))
		return theirs;
	(void)problem_set(&merge->invocation->problem, ERR_UNSUPPORTED,
	                  "both sides changed who can open %s, and it is as our side has it", merge->name);
	shown_quote(merge->name, quoted);
	shown_quote_pathspec(merge->name, pathspec);
	problem_hint(
	        &merge->invocation->problem,
	        "git diff --theirs %s   shows what the other side has (-), to be put in with tokenctl set "
	        "%s PATH; then tokenctl updatekeys %s && git add %s",
	        pathspec, quoted, quoted, pathspec);
	merge->explained = true;
	return NULL;
}

/* What is sealed goes by one rule: under the other side's, values of ours could be in the clear, and nobody has to open a file to change its rule. So it is neither when they are not the same. */
static enum err check_rule(struct merge *merge)
{
	struct problem *problem = &merge->invocation->problem;
	char quoted[SHOWN_QUOTED_MAX], pathspec[SHOWN_QUOTED_MAX];

	if (sops_metadata_same_rule(merge->sides[OURS].metadata, merge->sides[THEIRS].metadata))
		return OK;
	(void)problem_set(problem, ERR_UNSUPPORTED,
	                  "the two sides do not encrypt the same values of %s, and it is as our side has it",
	                  merge->name);
	shown_quote(merge->name, quoted);
	shown_quote_pathspec(merge->name, pathspec);
	problem_hint(problem,
	             "git diff --theirs %s   shows what the other side has (-), and its rule; put its values "
	             "in with tokenctl set %s PATH; then git add %s",
	             pathspec, quoted, pathspec);
	merge->explained = true;
	return ERR_UNSUPPORTED;
}

/* ---- the texts ---- */

/* What git gives for a version that there is none of. */
static bool is_empty(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && status.st_size == 0;
}

static enum err open_sides(struct merge *merge)
{
	enum err err = OK;

	for (size_t i = 0; !err && i < SIDES; i++) {
		const char *path = merge->invocation->options.arguments[i];

		merge->base_is_empty |= i == BASE && is_empty(path);
		if (i != BASE || !merge->base_is_empty)
			err = sops_store_open(&merge->sides[i], merge->invocation, path);
	}
	return err;
}

static struct bytes plain_of(const struct merge *merge, size_t side)
{
	return merge->sides[side].plain ? buf_bytes(merge->sides[side].plain) : bytes_of(NULL, 0);
}

static enum err merge_texts(struct merge *merge, struct buf **ret_text, bool *ret_clean)
{
	const struct text_merge texts = { .base = plain_of(merge, BASE),
		                          .ours = plain_of(merge, OURS),
		                          .theirs = plain_of(merge, THEIRS),
		                          .our_name = "ours",
		                          .their_name = "theirs" };

	return text_merge(&texts, &merge->invocation->problem, ret_text, ret_clean);
}

/* ---- the result ---- */

/* Git takes what stands in our side's file. */
static enum err copy_to_ours(struct merge *merge, const struct sops_store *carrier)
{
	struct problem *problem = &merge->invocation->problem;
	CLEANUP(output_freep) struct output *output = NULL;
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err;

	if (carrier == &merge->sides[OURS])
		return OK;
	err = sops_text_read(carrier->path, problem, &text);
	if (!err)
		err = output_open(merge->sides[OURS].path, 0600, -1, problem, &output);
	if (!err)
		err = output_write(output, buf_bytes(text));
	return err ? err : output_commit(output);
}

/* What our side has put into the file is theirs from now on: nothing in a diff of values says so. */
static void tell_added(struct merge *merge, const struct sops_store *carrier)
{
	sops_recipients_tell_added(merge->sides[OURS].metadata, carrier->metadata, "the other side has",
	                           merge->name);
}

static enum err save(struct merge *merge, const struct buf *text)
{
	const struct sops_change change = { .plain = buf_bytes(text) };
	struct sops_store *carrier = find_carrier(merge);
	bool changed = false;
	enum err err;

	if (!carrier)
		return ERR_UNSUPPORTED;
	err = sops_store_save(carrier, &change, &changed);
	if (!err)
		err = copy_to_ours(merge, carrier);
	if (!err)
		tell_added(merge, carrier);
	return err;
}

/* From here, which is the top of the working tree; the name is for whoever has started git elsewhere. */
static const char *path_of(const struct merge *merge)
{
	return merge->invocation->options.arguments[SIDES];
}

static enum err put_conflict(struct merge *merge, struct bytes text,
                             char ret_file[static MEMORY_DIRECTORY_FILE_MAX])
{
	struct problem *problem = &merge->invocation->problem;
	char directory[MEMORY_DIRECTORY_MAX];
	enum err err = memory_directory_make(problem, directory);

	if (!err)
		err = memory_directory_write(directory, merge->name, text, problem, ret_file);
	if (!err)
		err = kept_text_put_base(directory, plain_of(merge, OURS), problem);
	if (err) {
		memory_directory_remove(directory);
		return err;
	}
	/* Where its place in the working tree is not there yet it is found by its name alone. */
	if (kept_text_keep(ret_file, path_of(merge), problem))
		*problem = (struct problem){ 0 };
	return OK;
}

/* A merge that is tried again after it was given up has the same conflict. */
static enum err keep_conflict(struct merge *merge, const struct buf *text)
{
	struct problem *problem = &merge->invocation->problem;
	char file[MEMORY_DIRECTORY_FILE_MAX];
	char quoted_file[SHOWN_QUOTED_MAX], quoted[SHOWN_QUOTED_MAX], pathspec[SHOWN_QUOTED_MAX];
	enum err err = OK;

	if (!kept_text_find(path_of(merge), file) || !kept_text_says(file, buf_bytes(text)))
		err = put_conflict(merge, buf_bytes(text), file);
	if (err)
		return err;
	(void)problem_set(problem, ERR_SYSTEM,
	                  "%s: both sides changed the same lines, and the file is as our side has it",
	                  merge->name);
	shown_quote(file, quoted_file);
	shown_quote(merge->name, quoted);
	shown_quote_pathspec(merge->name, pathspec);
	problem_hint(
	        problem,
	        "tokenctl edit --resume %s %s && git add %s   opens it with git's marks; it is in memory "
	        "until the next start (git checkout -m %s   makes it again)",
	        quoted_file, quoted, pathspec, pathspec);
	merge->explained = true;
	return ERR_SYSTEM;
}

/* ---- what has no lines ---- */

static bool have_lines(const struct merge *merge)
{
	bool lines = true;

	for (size_t i = 0; i < SIDES; i++)
		lines &= text_merge_has_lines(plain_of(merge, i));
	return lines;
}

/* The side that has changed it, if only one has. */
static enum err merge_whole(struct merge *merge)
{
	struct problem *problem = &merge->invocation->problem;
	struct bytes ours = plain_of(merge, OURS), theirs = plain_of(merge, THEIRS),
	             base = plain_of(merge, BASE);
	char quoted[SHOWN_QUOTED_MAX], pathspec[SHOWN_QUOTED_MAX];

	if (bytes_equal(ours, theirs) || (!merge->base_is_empty && bytes_equal(theirs, base)))
		return save(merge, merge->sides[OURS].plain);
	if (!merge->base_is_empty && bytes_equal(ours, base))
		return save(merge, merge->sides[THEIRS].plain);
	(void)problem_set(
	        problem, ERR_UNSUPPORTED,
	        "%s: both sides changed it, it is binary and has no lines to be merged, and it is as our "
	        "side has it",
	        merge->name);
	shown_quote(merge->name, quoted);
	shown_quote_pathspec(merge->name, pathspec);
	problem_hint(
	        problem,
	        "git checkout --theirs %s   takes the other side's whole; then git add %s && tokenctl guard "
	        "--allow-one-side %s && git commit --no-verify",
	        pathspec, pathspec, quoted);
	merge->explained = true;
	return ERR_UNSUPPORTED;
}

static enum err merge_sides(struct merge *merge)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	bool clean = false;
	enum err err;

	if (!have_lines(merge))
		return merge_whole(merge);
	err = merge_texts(merge, &text, &clean);
	if (err)
		return err;
	return clean ? save(merge, text) : keep_conflict(merge, text);
}

/* ---- how it is called, and what is said of it ---- */

/* git gives the path from the top of the repository, and in the environment where below the top it was started. */
static void name_from_here(const char *path, char name[PATH_MAX])
{
	const char *here = getenv("GIT_PREFIX");
	size_t same = 0, len = 0;

	for (size_t i = 0; here && here[i] && here[i] == path[i]; i++)
		same = here[i] == '/' ? i + 1 : same;
	for (const char *rest = here ? here + same : ""; (rest = strchr(rest, '/')) && len + 3 < PATH_MAX;
	     rest++) {
		memcpy(name + len, "../", 3);
		len += 3;
	}
	(void)snprintf(name + len, PATH_MAX - len, "%s", path + same);
}

static void replace_all(char text[static PROBLEM_TEXT_MAX], const char *from, const char *to)
{
	char before[PROBLEM_TEXT_MAX];
	const char *rest = before, *at;
	size_t len = 0;

	memcpy(before, text, sizeof(before));
	while ((at = strstr(rest, from)) && len < PROBLEM_TEXT_MAX) {
		len += (size_t)snprintf(text + len, PROBLEM_TEXT_MAX - len, "%.*s%s", (int)(at - rest), rest,
		                        to);
		rest = at + strlen(from);
	}
	if (len < PROBLEM_TEXT_MAX)
		(void)snprintf(text + len, PROBLEM_TEXT_MAX - len, "%s", rest);
}

/* The names that git gave to the versions are gone when somebody reads of them. Returns the version that the sentence is about, as git counts them from 1; 0: none of them. */
static unsigned name_sides(struct merge *merge)
{
	static const char *const words[SIDES] = { "what both sides began with", "our side",
		                                  "the other side" };
	struct problem *problem = &merge->invocation->problem;
	unsigned found = 0;

	for (unsigned i = 0; i < SIDES; i++) {
		const char *path = merge->invocation->options.arguments[i];
		char name[PATH_MAX + 64];

		if (strncmp(path, GIT_TEMPORARY, strlen(GIT_TEMPORARY)) != 0 ||
		    !strstr(problem->message, path))
			continue;
		(void)snprintf(name, sizeof(name), "%s (%s)", merge->name, words[i]);
		replace_all(problem->message, path, name);
		found = i + 1;
	}
	return found;
}

/* A version is mended where it was committed. What else was in the way has its own hint; that nothing is merged yet, and how it is then, is not said in it. */
static void explain(struct merge *merge, enum err err)
{
	struct problem *problem = &merge->invocation->problem;
	char quoted[SHOWN_QUOTED_MAX], quoted_path[SHOWN_QUOTED_MAX], pathspec[SHOWN_QUOTED_MAX];
	char hint[PROBLEM_TEXT_MAX];
	unsigned side = name_sides(merge);

	shown_quote(merge->name, quoted);
	shown_quote(path_of(merge), quoted_path);
	shown_quote_pathspec(merge->name, pathspec);
	if (err == ERR_NO_DAEMON)
		git_hint_key_file(problem);
	memcpy(hint, problem->hint, sizeof(hint));
	if (!problem->message[0])
		(void)problem_set(problem, err, "%s is not merged: %s", merge->name,
		                  problem_text(problem, err));
	if (side)
		problem_hint(
		        problem,
		        "git show :%u:%s   shows it, to be mended where it was committed; %s is as our side "
		        "has it, and git checkout -m %s   merges it again",
		        side, quoted_path, quoted, pathspec);
	else
		problem_hint(problem,
		             "%s%s%s is as our side has it, and git checkout -m %s   merges it again", hint,
		             hint[0] ? "; until then " : "", quoted, pathspec);
}

static enum err run(struct invocation *invocation)
{
	struct merge *merge = calloc(1, sizeof(*merge));
	enum err err;

	if (!merge)
		return ERR_NOMEM;
	merge->invocation = invocation;
	name_from_here(path_of(merge), merge->name);
	err = open_sides(merge);
	if (!err)
		err = check_rule(merge);
	if (!err)
		err = merge_sides(merge);
	if (err && !merge->explained)
		explain(merge, err);
	for (size_t i = 0; i < SIDES; i++)
		sops_store_done(&merge->sides[i]);
	free(merge);
	return err;
}

static const struct option_row rows[] = {
	FILE_OPENER_IDENTITY,
	{ 0, "input-type", "yaml|json|dotenv|ini|binary", "of the files, whatever their names", false },
	OPTIONS_END,
};

const struct verb git_merge_verb = {
	.name = "git merge",
	.arguments = "BASE OURS THEIRS NAME",
	.arguments_min = 4,
	.arguments_max = 4,
	.summary = "Merges SOPS files for git, as a merge driver",
	.details = "Called by git, after tokenctl git --install. The three versions are decrypted in memory, "
	           "merged line\n"
	           "by line and sealed again; what our side did not change keeps its ciphertext. Where both "
	           "sides changed\n"
	           "the same lines, the text with git's marks is kept in memory, and the error names the "
	           "command that\n"
	           "finishes it; the file stays as our side has it until then.",
	.example = "  git config merge.tokend.driver 'tokenctl git merge -- %O %A %B %P'",
	.options = rows,
	.run = run,
};
