#include "cli/sops_recipients.h"

#include <sodium.h>
#include <string.h>

#include "cli/identity_file.h"
#include "cli/shown.h"
#include "cli/sops_config.h"
#include "formats/age_file.h"
#include "formats/sops_shamir.h"
#include "formats/sops_value.h"

#define ENTRY_MAX 4096U
#define RULE_HINT "tokenctl recipient --comma   prints what goes behind age: in .sops.yaml"

bool sops_recipient_is(const char *kind, struct bytes name, const char *wanted_kind, struct bytes wanted)
{
	return strcmp(kind, wanted_kind) == 0 && bytes_equal(name, wanted);
}

static const char *const kinds[] = { "kms", "gcp_kms", "hckms", "azure_kv", "hc_vault", "age", "pgp" };
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static enum err take_chunk(void *context, struct bytes chunk)
{
	return buf_put(context, chunk);
}

static enum err wrap(const struct recipients *recipients, const struct secret *share, struct buf *out)
{
	CLEANUP(age_writer_freep) struct age_writer *writer = NULL;
	enum err err = age_writer_new(recipients->items, recipients->count, true, take_chunk, out, &writer);

	if (!err)
		err = age_writer_push(writer, secret_reveal(share));
	return err ? err : age_writer_finish(writer);
}

enum err sops_data_key_new(struct secret **ret_key)
{
	enum err err = secret_new(SOPS_DATA_KEY_LEN, ret_key);

	if (!err)
		randombytes_buf(secret_fill(*ret_key), SOPS_DATA_KEY_LEN);
	return err;
}

enum err sops_entry_new(const char *recipient, const struct secret *share, struct problem *problem,
                        json_t **ret_entry)
{
	struct recipients recipients = { .count = 0 };
	CLEANUP(buf_freep) struct buf *enc = NULL;
	enum err err = recipients_add(recipient, problem, &recipients);

	if (!err)
		err = buf_new(ENTRY_MAX, &enc);
	if (!err)
		err = wrap(&recipients, share, enc);
	recipients_done(&recipients);
	if (err)
		return err;
	*ret_entry = json_pack("{s:s, s:s}", "recipient", recipient, "enc", buf_string(enc));
	return *ret_entry ? OK : ERR_NOMEM;
}

/* The data key itself for one group, shares of it for several. */
static enum err divide(const struct secret *data_key, size_t groups, unsigned threshold,
                       struct secret **shares)
{
	if (groups > SOPS_GROUPS_MAX)
		return ERR_USAGE;
	if (groups > 1)
		return sops_shamir_split(data_key, groups, threshold ? threshold : groups, shares);
	return secret_new_from(secret_reveal(data_key), &shares[0]);
}

static void free_shares(struct secret **shares)
{
	for (size_t i = 0; i < SOPS_GROUPS_MAX; i++)
		shares[i] = secret_free(shares[i]);
}

static enum err refuse_kind(struct problem *problem, const char *kind, const char *name)
{
	(void)problem_set(problem, ERR_UNSUPPORTED,
	                  "%s is encrypted to %s as well, and tokenctl encrypts to age recipients only", name,
	                  kind);
	problem_hint(problem, "sops can do this");
	return ERR_UNSUPPORTED;
}

/* Whoever is in a list that is none of age's would be left with what opens nothing, also when the kind is one that nobody here knows; and a share that goes to nobody is lost. */
static enum err check_renewable(json_t *group, const char *name, struct problem *problem)
{
	const char *kind;
	json_t *list;

	json_object_foreach(group, kind, list)
	{
		if (strcmp(kind, "age") != 0 && strcmp(kind, "key_groups") != 0 && json_array_size(list))
			return refuse_kind(problem, kind, name);
	}
	if (json_array_size(json_object_get(group, "age")))
		return OK;
	(void)problem_set(problem, ERR_UNSUPPORTED,
	                  "%s has a key group without an age recipient, and nobody would get its share",
	                  name);
	problem_hint(problem, "tokenctl updatekeys   makes the groups those of .sops.yaml");
	return ERR_UNSUPPORTED;
}

static enum err renew_group(json_t *group, const struct secret *share, const char *name,
                            struct problem *problem)
{
	json_t *list = json_object_get(group, "age");
	enum err err = check_renewable(group, name, problem);

	for (size_t i = 0; !err && i < json_array_size(list); i++) {
		const char *recipient =
		        json_string_value(json_object_get(json_array_get(list, i), "recipient"));
		json_t *entry = NULL;

		if (!recipient)
			return problem_set(problem, ERR_BAD_FILE, "%s: an entry has no recipient", name);
		err = sops_entry_new(recipient, share, problem, &entry);
		if (!err && json_array_set_new(list, i, entry))
			err = ERR_NOMEM;
	}
	return err;
}

/* Lists that stand alone win over groups, as for who reads them. */
static json_t *groups_of(json_t *tree)
{
	for (size_t i = 0; i < KINDS; i++)
		if (json_array_size(json_object_get(tree, kinds[i])))
			return NULL;
	return json_object_get(tree, "key_groups");
}

enum err sops_recipients_renew(json_t *tree, unsigned threshold, const struct secret *data_key,
                               const char *name, struct problem *problem)
{
	struct secret *shares[SOPS_GROUPS_MAX] = { NULL };
	json_t *groups = groups_of(tree);
	size_t count = groups ? json_array_size(groups) : 1;
	enum err err = divide(data_key, count, threshold, shares);

	for (size_t i = 0; !err && i < count; i++)
		err = renew_group(groups ? json_array_get(groups, i) : tree, shares[i], name, problem);
	free_shares(shares);
	return err;
}

/* What names the recipient of an entry. */
static const char *member_of(const char *kind)
{
	static const char *const members[] = { "arn",           "resource_id", "key_id", "vault_url",
		                               "vault_address", "recipient",   "fp" };
	size_t i = 0;

	while (i < KINDS && strcmp(kinds[i], kind) != 0)
		i++;
	return i < KINDS ? members[i] : "recipient";
}

void sops_recipients_each(json_t *tree, sops_recipient_taken take, void *context)
{
	json_t *groups = groups_of(tree), *entry;
	size_t count = groups ? json_array_size(groups) : 1, k;

	for (size_t i = 0; i < count * KINDS; i++) {
		struct sops_tree_recipient recipient = { .kind = kinds[i % KINDS], .group = i / KINDS };
		json_t *group = groups ? json_array_get(groups, recipient.group) : tree;

		json_array_foreach(json_object_get(group, recipient.kind), k, entry)
		{
			recipient.name = json_string_value(json_object_get(entry, member_of(recipient.kind)));
			if (recipient.name)
				take(context, &recipient);
		}
	}
}

size_t sops_recipients_groups(json_t *tree, size_t *ret_threshold)
{
	json_t *groups = groups_of(tree);
	size_t count = groups && json_array_size(groups) ? json_array_size(groups) : 1;
	json_int_t threshold = json_integer_value(json_object_get(tree, "shamir_threshold"));

	*ret_threshold = count > 1 && threshold > 0 ? (size_t)threshold : count;
	return count;
}

struct search {
	const struct sops_tree_recipient *wanted;
	bool any_group, found;
};

static void compare(void *context, const struct sops_tree_recipient *recipient)
{
	struct search *search = context;

	search->found |= sops_recipient_is(recipient->kind, bytes_of_string(recipient->name),
	                                   search->wanted->kind, bytes_of_string(search->wanted->name)) &&
	                 (search->any_group || recipient->group == search->wanted->group);
}

bool sops_recipients_has(json_t *tree, const struct sops_tree_recipient *recipient, bool any_group)
{
	struct search search = { .wanted = recipient, .any_group = any_group };

	sops_recipients_each(tree, compare, &search);
	return search.found;
}

static json_t *entry_for(json_t *list, const struct sops_rule_recipient *recipient)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *name = json_string_value(
		        json_object_get(json_array_get(list, i), member_of(recipient->kind)));

		if (name && bytes_equal(bytes_of_string(name), recipient->name))
			return json_array_get(list, i);
	}
	return NULL;
}

static enum err refuse_new(struct problem *problem, const char *kind, const char *name)
{
	(void)problem_set(problem, ERR_UNSUPPORTED,
	                  "the rule for %s names a recipient of the kind %s, and tokenctl encrypts to age "
	                  "recipients only",
	                  name, kind);
	problem_hint(problem, "sops can do this; or give the rule age: alone (tokenctl recipient --comma)");
	return ERR_UNSUPPORTED;
}

/* One of the rule's recipients: its old entry, or a new one. */
static enum err add_entry(json_t *group, json_t *old, const struct sops_rule_recipient *recipient,
                          const struct secret *share, const char *name, struct problem *problem)
{
	char text[256];
	json_t *list = json_object_get(group, recipient->kind);
	json_t *entry = json_incref(entry_for(json_object_get(old, recipient->kind), recipient));
	enum err err = OK;

	if (!list) {
		list = json_array();
		if (json_object_set_new(group, recipient->kind, list))
			err = ERR_NOMEM;
	}
	(void)snprintf(text, sizeof(text), "%.*s",
	               (int)(recipient->name.len < 255 ? recipient->name.len : 255),
	               (const char *)recipient->name.data);
	if (!err && !entry && strcmp(recipient->kind, "age") != 0)
		err = refuse_new(problem, recipient->kind, name);
	if (!err && !entry)
		err = sops_entry_new(text, share, problem, &entry);
	if (!err && entry_for(list, recipient)) {
		json_decref(entry); /* named twice */
		return OK;
	}
	if (!err && json_array_append(list, entry))
		err = ERR_NOMEM;
	json_decref(entry);
	return err;
}

static enum err add_entries(json_t *groups, json_t *old, const struct sops_creation_rule *rule,
                            struct secret *const *shares, const char *name, struct problem *problem)
{
	enum err err = OK;

	for (size_t i = 0; !err && i < rule->recipient_count; i++) {
		const struct sops_rule_recipient *recipient = &rule->recipients[i];

		err = add_entry(json_array_get(groups, recipient->group), old, recipient,
		                shares[recipient->group], name, problem);
	}
	return err;
}

enum err sops_tree_put(json_t *tree, const char *name, json_t *value)
{
	json_t *sorted = json_object(), *member;
	const char *key;
	bool put = false;
	int failed = !sorted;

	json_object_foreach(tree, key, member)
	{
		if (!put && strcmp(name, key) < 0) {
			failed |= json_object_set(sorted, name, value);
			put = true;
		}
		if (strcmp(key, name) != 0)
			failed |= json_object_set(sorted, key, member);
	}
	if (!put)
		failed |= json_object_set(sorted, name, value);
	failed |= json_object_clear(tree) || json_object_update(tree, sorted);
	json_decref(sorted);
	json_decref(value);
	return failed ? ERR_NOMEM : OK;
}

static enum err replace_entries(json_t *tree, json_t *groups, unsigned threshold)
{
	json_t *group = json_array_get(groups, 0), *list;
	const char *kind;
	enum err err = OK;

	for (size_t i = 0; i < KINDS; i++)
		(void)json_object_del(tree, kinds[i]);
	(void)json_object_del(tree, "key_groups");
	(void)json_object_del(tree, "shamir_threshold");
	if (json_array_size(groups) > 1) {
		err = sops_tree_put(tree, "key_groups", json_incref(groups));
		return !err && threshold ? sops_tree_put(tree, "shamir_threshold", json_integer(threshold))
		                         : err;
	}
	json_object_foreach(group, kind, list)
	{
		if (!err)
			err = sops_tree_put(tree, kind, json_incref(list));
	}
	return err;
}

static enum err new_groups(unsigned count, json_t **ret_groups)
{
	json_t *groups = json_array();

	for (unsigned i = 0; i < count; i++)
		if (!groups || json_array_append_new(groups, json_object()))
			return ERR_NOMEM;
	*ret_groups = groups;
	return OK;
}

/* From 1; 0: each group has a recipient. */
static unsigned empty_group(const struct sops_creation_rule *rule)
{
	for (unsigned group = 0; group < rule->group_count; group++) {
		size_t i = 0;

		while (i < rule->recipient_count && rule->recipients[i].group != group)
			i++;
		if (i == rule->recipient_count)
			return group + 1;
	}
	return 0;
}

/* A file that nobody can open would be lost. */
static enum err check_rule(const struct sops_creation_rule *rule, const char *name, struct problem *problem)
{
	bool divided = rule->group_count > 1 && rule->threshold;

	if (!rule->recipient_count)
		return problem_set(problem, ERR_USAGE, "the rule of .sops.yaml for %s names no recipient",
		                   name);
	if (empty_group(rule)) {
		(void)problem_set(
		        problem, ERR_USAGE,
		        "group %u of the rule of .sops.yaml for %s names no recipient, and its part of "
		        "the key would be lost",
		        empty_group(rule), name);
		problem_hint(problem, "tokenctl recipient --comma   prints what goes behind age: in it");
		return ERR_USAGE;
	}
	if (!divided || (rule->threshold > 1 && rule->threshold <= rule->group_count))
		return OK;
	(void)problem_set(problem, ERR_USAGE,
	                  "the rule of .sops.yaml for %s wants %u of %u groups, of which 2 is the least",
	                  name, rule->threshold, rule->group_count);
	problem_hint(problem, "shamir_threshold: %u   in .sops.yaml takes all of them, as without it",
	             rule->group_count);
	return ERR_USAGE;
}

struct missing {
	json_t *from;
	bool found;
};

static void look_for(void *context, const struct sops_tree_recipient *recipient)
{
	struct missing *missing = context;

	missing->found |= !sops_recipients_has(missing->from, recipient, false);
}

/* Shares that are made anew for the same people change nothing. */
static bool has_same_groups(json_t *a, json_t *b)
{
	struct missing from_a = { .from = a }, from_b = { .from = b };
	size_t threshold_of_a, threshold_of_b;

	sops_recipients_each(a, look_for, &from_b);
	sops_recipients_each(b, look_for, &from_a);
	return sops_recipients_groups(a, &threshold_of_a) == sops_recipients_groups(b, &threshold_of_b) &&
	       threshold_of_a == threshold_of_b && !from_a.found && !from_b.found;
}

enum err sops_recipients_follow(json_t *tree, const struct sops_creation_rule *rule,
                                const struct secret *data_key, const char *name, struct problem *problem,
                                bool *ret_changed)
{
	struct secret *shares[SOPS_GROUPS_MAX] = { NULL };
	CLEANUP(json_decrefp) json_t *before = json_copy(tree);
	CLEANUP(json_decrefp) json_t *groups = NULL;
	bool divided = rule->group_count > 1 || groups_of(tree);
	enum err err = before ? check_rule(rule, name, problem) : ERR_NOMEM;

	if (!err)
		err = new_groups(rule->group_count, &groups);
	if (!err)
		err = divide(data_key, rule->group_count, rule->threshold, shares);
	if (!err)
		err = add_entries(groups, divided ? NULL : tree, rule, shares, name, problem);
	if (!err)
		err = replace_entries(tree, groups, rule->threshold);
	free_shares(shares);
	if (err == ERR_USAGE && !problem->hint[0])
		problem_hint(problem, RULE_HINT);
	if (!err)
		*ret_changed = divided ? !has_same_groups(before, tree) : !json_equal(before, tree);
	return err;
}

/* How a rule writes what is not age's is not how a file has it: of those the kind alone is compared. */
static bool is_of_rule(const char *kind, struct bytes name, const char *wanted_kind, struct bytes wanted)
{
	bool age = strcmp(kind, "age") == 0;

	return age ? sops_recipient_is(kind, name, wanted_kind, wanted) : strcmp(kind, wanted_kind) == 0;
}

static bool file_has(const struct sops_metadata *metadata, const struct sops_rule_recipient *recipient)
{
	for (size_t i = 0; i < metadata->entry_count; i++)
		if (is_of_rule(metadata->entries[i].kind, metadata->entries[i].recipient, recipient->kind,
		               recipient->name))
			return true;
	return false;
}

static bool rule_has(const struct sops_creation_rule *rule, const struct sops_entry *entry)
{
	for (size_t i = 0; i < rule->recipient_count; i++)
		if (is_of_rule(rule->recipients[i].kind, rule->recipients[i].name, entry->kind,
		               entry->recipient))
			return true;
	return false;
}

bool sops_recipients_differ(const struct sops_metadata *metadata, const struct sops_creation_rule *rule)
{
	unsigned here = metadata->group_count > 1 ? metadata->group_count : 1;
	unsigned there = rule->group_count > 1 ? rule->group_count : 1;
	bool differ = here != there;

	for (size_t i = 0; i < metadata->entry_count; i++)
		differ |= !rule_has(rule, &metadata->entries[i]);
	for (size_t i = 0; i < rule->recipient_count; i++)
		differ |= !file_has(metadata, &rule->recipients[i]);
	return differ;
}

/* A rule that cannot be read, or names nobody, says nothing about this file. */
void sops_recipients_warn(const char *path, const struct sops_metadata *metadata)
{
	CLEANUP(sops_config_freep) struct sops_config *config = NULL;
	struct sops_creation_rule rule;
	struct problem unsaid = { 0 };
	char quoted[SHOWN_QUOTED_MAX];

	if (sops_config_find(path, &unsaid, &config) || !config ||
	    sops_config_choose(config, path, &unsaid, &rule) || rule.recipient_count == 0 ||
	    !sops_recipients_differ(metadata, &rule))
		return;
	shown_quote(path, quoted);
	shown_line(stderr,
	           "warning: the rule in line %zu of %s names other recipients than %s has; type: tokenctl "
	           "updatekeys %s",
	           rule.line, config->path, path, quoted);
}

/* ---- two versions of a file ---- */

bool sops_entries_are_same(const struct sops_entry *a, const struct sops_entry *b)
{
	return a->group == b->group && sops_recipient_is(a->kind, a->recipient, b->kind, b->recipient);
}

static bool has_entry(const struct sops_metadata *metadata, const struct sops_entry *entry)
{
	for (size_t i = 0; i < metadata->entry_count; i++)
		if (sops_entries_are_same(&metadata->entries[i], entry))
			return true;
	return false;
}

void sops_recipients_tell_added(const struct sops_metadata *before, const struct sops_metadata *now,
                                const char *who, const char *name)
{
	for (size_t i = 0; i < now->entry_count; i++) {
		struct bytes recipient = now->entries[i].recipient;

		if (!has_entry(before, &now->entries[i]))
			shown_line(stderr,
			           "warning: %s added the %s recipient %.*s, who can now read what %s has",
			           who, now->entries[i].kind, (int)recipient.len,
			           (const char *)recipient.data, name);
	}
}
