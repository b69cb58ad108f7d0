/* tokenctl unset: takes one entry out of a SOPS file. */
#include <string.h>

#include "cli/shown.h"
#include "cli/sops_file.h"
#include "cli/sops_recipients.h"
#include "cli/sops_names.h"
#include "cli/sops_store.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "formats/sops_compare.h"
#include "formats/sops_edit.h"

struct removal {
	struct sops_store *store;
	const struct sops_path *path;
};

/* A SOPS file without a value is none. */
static enum err refuse_last(struct sops_store *store)
{
	struct problem *problem = &store->opener.invocation->problem;
	char quoted[SHOWN_QUOTED_MAX];

	shown_quote(store->path, quoted);
	(void)problem_set(problem, ERR_UNSUPPORTED, "%s: " SOPS_EDIT_LAST, store->path);
	problem_hint(problem, "git rm %s, or rm, if the file is not needed any more", quoted);
	return ERR_UNSUPPORTED;
}

/* Of a key behind a "?", of a pair in a list without brackets of its own, what is left may be no document, or another one. */
static enum err check(const struct removal *removal, const struct sops_document *document, struct bytes plain)
{
	struct sops_document less = { .count = 0 };
	uint32_t index = 0;
	enum err err = sops_path_find(document, removal->path, removal->path->count, &index);

	if (!err)
		err = sops_store_read(removal->store, plain, &less);
	if (!err && !sops_document_is_without(&less, document, index))
		err = ERR_BAD_FILE;
	sops_document_done(&less);
	return err == ERR_BAD_FILE || err == ERR_UNSUPPORTED
	               ? sops_store_refuse_place(removal->store,
	                                         removal->store->opener.invocation->options.arguments[1])
	               : err;
}

static enum err remove_entry(void *context, struct sops_document *document, struct buf *out)
{
	const struct removal *removal = context;
	struct invocation *invocation = removal->store->opener.invocation;
	enum err err = sops_edit_remove(document, removal->path, out);

	if (err == ERR_UNSUPPORTED && strcmp(document->reason, SOPS_EDIT_LAST) == 0)
		return refuse_last(removal->store);
	/* A line of a flat format is all of a value; and in INI the section DEFAULT is there whether or not the file names it. */
	if (!err && !sops_format_is_flat(document->format))
		err = check(removal, document, buf_bytes(out));
	if (err != ERR_NO_MATCH)
		return err;
	(void)problem_set(&invocation->problem, ERR_USAGE, "there is no %s in %s",
	                  invocation->options.arguments[1], removal->store->path);
	sops_names_hint(document, removal->path, removal->store->path, &invocation->problem);
	return ERR_USAGE;
}

static enum err take_out(struct sops_store *store, const struct sops_path *path)
{
	struct removal removal = { store, path };
	CLEANUP(buf_freep) struct buf *plain = NULL;
	struct sops_change change = { .data_key = NULL };
	bool changed;
	enum err err = sops_store_edit(store, remove_entry, &removal, &plain);

	if (err)
		return err;
	change.plain = buf_bytes(plain);
	return sops_store_save(store, &change, &changed);
}

static enum err run(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	struct sops_store store = { .path = NULL };
	struct sops_path path;
	enum err err = sops_path_argument(invocation, options->arguments[1], &path);

	if (!err)
		err = sops_store_open_to_change(&store, invocation, options->arguments[0]);
	if (!err)
		err = sops_store_has_paths(&store);
	if (!err)
		err = take_out(&store, &path);
	if (!err)
		sops_recipients_warn(store.path, store.metadata);
	sops_store_done(&store);
	return err;
}

const struct verb unset_verb = {
	.name = "unset",
	.arguments = "FILE PATH",
	.arguments_min = 2,
	.arguments_max = 2,
	.summary = "Takes one value, or a whole map or list, out of a SOPS file",
	.details = "PATH is written as for set. The last value of a file stays. Comments stay where they "
	           "are, but "
	           "for those\n"
	           "in a map or list that goes, or that is left with nothing.",
	.example = "  tokenctl unset secrets.yaml db.old_pass\n"
	           "  tokenctl unset secrets.yaml '[\"db\"][\"hosts\"][0]'",
	.options = sops_store_options,
	.run = run,
};
