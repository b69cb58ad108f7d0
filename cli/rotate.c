/*
 * tokenctl rotate
 *
 * A new data key for a SOPS file: every value is encrypted anew, and the key to every recipient that was there. Who once opened the file and kept its data key cannot read what is written from now on.
 */
#include "cli/shown.h"
#include "cli/sops_config.h"
#include "cli/sops_recipients.h"
#include "cli/sops_file.h"
#include "cli/sops_store.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "formats/sops_block.h"

static enum err renew(struct sops_store *store)
{
	struct problem *problem = &store->opener.invocation->problem;
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(json_decrefp) json_t *tree = NULL;
	struct sops_change change = { .plain = buf_bytes(store->plain) };
	bool changed;
	enum err err = sops_block_read(&store->document, &tree);

	if (!err)
		err = sops_data_key_new(&key);
	if (err)
		return err;
	err = sops_recipients_renew(tree, store->metadata->threshold, key, store->path, problem);
	change.data_key = key;
	change.metadata = tree;
	return err ? err : sops_store_save(store, &change, &changed);
}

static bool is_named(const struct sops_creation_rule *rule, struct bytes recipient)
{
	for (size_t i = 0; i < rule->recipient_count; i++)
		if (bytes_equal(rule->recipients[i].name, recipient))
			return true;
	return false;
}

/* Nothing in a file proves who wrote a recipient into it: what it was given is said, and what no rule asks for. A file without a rule has nobody to be compared with. */
static void tell(const struct sops_store *store)
{
	CLEANUP(sops_config_freep) struct sops_config *config = NULL;
	const struct sops_metadata *metadata = store->metadata;
	struct sops_creation_rule rule;
	struct problem unsaid = { 0 };
	char quoted[SHOWN_QUOTED_MAX];
	bool ruled = sops_config_find(store->path, &unsaid, &config) == OK && config &&
	             sops_config_choose(config, store->path, &unsaid, &rule) == OK;

	shown_quote(store->path, quoted);
	for (size_t i = 0; i < metadata->entry_count; i++) {
		struct bytes recipient = metadata->entries[i].recipient;

		shown_line(stderr, "%s: the new data key went to %.*s", store->path, (int)recipient.len,
		           (const char *)recipient.data);
		if (ruled && !is_named(&rule, recipient))
			shown_line(stderr,
			           "warning: the rule in line %zu of %s does not name it; type: tokenctl "
			           "updatekeys %s && tokenctl rotate --data-key %s",
			           rule.line, config->path, quoted, quoted);
	}
}

static enum err rotate(struct invocation *invocation, const char *path)
{
	struct sops_store store = { .path = NULL };
	enum err err = sops_store_open_to_change(&store, invocation, path);

	if (!err)
		err = renew(&store);
	if (!err)
		tell(&store);
	sops_store_done(&store);
	return err;
}

static enum err run(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	struct problem *problem = &invocation->problem;
	enum err err = OK;

	if (!options_given(&invocation->options, "data-key")) {
		(void)problem_set(problem, ERR_USAGE, "what shall be rotated?");
		problem_hint(problem, "tokenctl rotate --data-key %s", invocation->options.arguments[0]);
		return ERR_USAGE;
	}
	for (size_t i = 0; !err && i < options->argument_count; i++)
		err = rotate(invocation, options->arguments[i]);
	return err;
}

static const struct option_row rows[] = {
	{ 0, "data-key", NULL, "a new data key: all values are encrypted anew", false },
	FILE_OPENER_IDENTITY,
	SOPS_INPUT_TYPE,
	OPTIONS_END,
};

const struct verb rotate_verb = {
	.name = "rotate",
	.arguments = "FILE...",
	.arguments_min = 1,
	.arguments_max = 65536,
	.summary = "Gives a SOPS file a new data key",
	.details = "The recipients stay. Needed after one of them was taken out (updatekeys), for who has "
	           "opened the file\n"
	           "may have kept its data key. Standard error names those who got the new one, and warns of "
	           "whom the\n"
	           "rule of .sops.yaml does not name. A file with recipients that are not age's is refused.",
	.example = "  tokenctl rotate --data-key secrets.yaml",
	.options = rows,
	.run = run,
};
