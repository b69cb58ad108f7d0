/*
 * tokenctl updatekeys
 *
 * Makes the recipients of a SOPS file those that .sops.yaml names for it. The data key and so the values stay; entries that are there and still wanted stay, also those of kinds that tokend has no keys of.
 */
#include <string.h>

#include "cli/facts.h"
#include "cli/identity_file.h"
#include "cli/input.h"
#include "cli/shown.h"
#include "cli/sops_config.h"
#include "cli/sops_recipients.h"
#include "cli/sops_file.h"
#include "cli/sops_store.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "formats/sops_block.h"

struct difference {
	const char *path, *mark; /* borrowed, as the tree */
	json_t *other;
	bool groups; /* there are some, before or now */
	size_t gone; /* of those that are said, who is in no group of the other tree */
};

static void print_recipient(void *context, const struct sops_tree_recipient *recipient)
{
	struct difference *difference = context;
	bool age = strcmp(recipient->kind, "age") == 0;
	char group[32] = "";

	if (sops_recipients_has(difference->other, recipient, false))
		return;
	if (difference->groups)
		(void)snprintf(group, sizeof(group), " (group %zu)", recipient->group + 1);
	shown_line(stdout, "%s: %s %s%s%s%s", difference->path, difference->mark, age ? "" : recipient->kind,
	           age ? "" : " ", recipient->name, group);
	difference->gone += !sops_recipients_has(difference->other, recipient, true);
}

/* Who goes and who comes. Returns how many have gone for good. */
static size_t print_difference(const char *path, json_t *before, json_t *now)
{
	size_t old_threshold, threshold;
	size_t old_count = sops_recipients_groups(before, &old_threshold);
	size_t count = sops_recipients_groups(now, &threshold);
	bool groups = old_count > 1 || count > 1;
	struct difference gone = { .path = path, .mark = "-", .other = now, .groups = groups };
	struct difference come = { .path = path, .mark = "+", .other = before, .groups = groups };

	sops_recipients_each(before, print_recipient, &gone);
	sops_recipients_each(now, print_recipient, &come);
	if (groups && (old_count != count || old_threshold != threshold))
		shown_line(stdout, "%s: it takes %zu of %zu groups now, %zu of %zu before", path, threshold,
		           count, old_threshold, old_count);
	return gone.gone;
}

/* The recipients that the invocation's identities, or else the keys that one may see, are known by. */
static enum err find_own(struct invocation *invocation, struct recipients *own)
{
	struct identities identities = { .leave_plugins = true };
	struct problem unsaid = { 0 };
	CLEANUP(json_decrefp) json_t *keys = NULL;
	size_t cursor = 0, i;
	const char *path;
	json_t *key;
	enum err err = OK;

	while (!err && (path = options_next(&invocation->options, "identity", &cursor)))
		err = identities_read(path, &unsaid, &identities);
	for (i = 0; !err && i < identities.count; i++)
		err = recipients_add_identity(&identities.items[i], &unsaid, own);
	if (identities.plugins_left)
		err = ERR_UNSUPPORTED;
	identities_done(&identities);
	if (err || options_given(&invocation->options, "identity"))
		return err;
	err = keys_get(&invocation->daemon, NULL, &unsaid, &keys);
	json_array_foreach(keys, i, key)
	{
		const char *recipient = json_string_member(key, "recipient");

		if (!err && recipient)
			err = recipients_add(recipient, &unsaid, own);
	}
	return err;
}

/* Where anything is not certain, yes. */
static bool is_for_any_of(json_t *tree, const struct recipients *own)
{
	size_t i;
	json_t *entry;

	if (json_object_get(tree, "key_groups"))
		return true;
	json_array_foreach(json_object_get(tree, "age"), i, entry)
	{
		const char *name = json_string_value(json_object_get(entry, "recipient"));
		struct recipient recipient = { .passphrase = NULL };
		struct bytes ignored;

		if (!name || recipient_parse(bytes_of_string(name), &recipient, &ignored))
			continue;
		for (size_t k = 0; k < own->count; k++)
			if (own->items[k].kind == recipient.kind &&
			    memcmp(own->items[k].public_key, recipient.public_key,
			           sizeof(recipient.public_key)) == 0)
				return true;
	}
	return false;
}

/* Who was taken out knows the data key still; and it may be whoever did it. */
static void tell_removed(struct invocation *invocation, json_t *tree, const char *path)
{
	struct recipients own = { .count = 0 };
	char quoted[SHOWN_QUOTED_MAX], pathspec[SHOWN_QUOTED_MAX];

	shown_quote(path, quoted);
	shown_quote_pathspec(path, pathspec);
	shown_line(stderr,
	           "who was taken out may have kept the data key; type: tokenctl rotate --data-key %s",
	           quoted);
	if (find_own(invocation, &own) == OK && own.count && !is_for_any_of(tree, &own))
		shown_line(stderr,
		           "warning: %s is for none of your keys any more; to take that back type: git "
		           "checkout HEAD -- %s",
		           path, pathspec);
	recipients_done(&own);
}

static enum err follow(struct sops_store *store, const struct sops_creation_rule *rule)
{
	struct problem *problem = &store->opener.invocation->problem;
	CLEANUP(json_decrefp) json_t *tree = NULL;
	CLEANUP(json_decrefp) json_t *before = NULL;
	struct sops_change change = { .plain = buf_bytes(store->plain) };
	bool changed = false, saved;
	enum err err = sops_block_read(&store->document, &tree);

	before = err ? NULL : json_deep_copy(tree);
	if (!err)
		err = sops_recipients_follow(tree, rule, store->data_key, store->path, problem, &changed);
	if (err)
		return err;
	if (!changed) {
		shown_line(stdout, "%s has these recipients already", store->path);
		return OK;
	}
	change.metadata = tree;
	err = sops_store_save(store, &change, &saved);
	if (!err && print_difference(store->path, before, tree))
		tell_removed(store->opener.invocation, tree, store->path);
	return err;
}

/* A file that is not there is that, and nothing of its rules. */
static enum err refuse_without_rules(const char *path, struct problem *problem)
{
	CLEANUP(input_closep) int file = -1;
	enum err err = input_open(path, problem, &file);

	if (err)
		return err;
	(void)problem_set(problem, ERR_NO_FILE, "there is no .sops.yaml for %s", path);
	problem_hint(problem, "echo \"creation_rules: [{age: '$(tokenctl recipient --comma)'}]\" > "
	                      ".sops.yaml   names your keys");
	return ERR_NO_FILE;
}

static enum err update(struct invocation *invocation, const char *path)
{
	struct problem *problem = &invocation->problem;
	CLEANUP(sops_config_freep) struct sops_config *config = NULL;
	struct sops_creation_rule rule;
	struct sops_store store = { .path = NULL };
	enum err err = sops_config_find(path, problem, &config);

	if (!err && !config)
		return refuse_without_rules(path, problem);
	if (!err)
		err = sops_config_choose(config, path, problem, &rule);
	if (!err)
		sops_config_warn(config->path, &rule);
	if (!err)
		err = sops_store_open_to_change(&store, invocation, path);
	if (!err)
		err = follow(&store, &rule);
	sops_store_done(&store);
	return err;
}

static enum err run(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	enum err err = OK;

	for (size_t i = 0; !err && i < options->argument_count; i++)
		err = update(invocation, options->arguments[i]);
	return err;
}

const struct verb updatekeys_verb = {
	.name = "updatekeys",
	.arguments = "FILE...",
	.arguments_min = 1,
	.arguments_max = 65536,
	.summary = "Makes a SOPS file's recipients those that .sops.yaml names",
	.details = "The data key stays, and with it all values: rotate --data-key afterwards when somebody "
	           "was taken out.\n"
	           "Whoever comes (+) and goes (-) is said; of several files the first that cannot be done "
	           "ends it.\n"
	           "New recipients are age's; others stay where .sops.yaml still names them.",
	.example = "  tokenctl updatekeys secrets.yaml",
	.options = sops_store_options,
	.run = run,
};
