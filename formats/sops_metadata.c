#include "formats/sops_metadata.h"

#include <string.h>

#include "formats/text.h"

#define NAME_MAX_LEN SOPS_METADATA_NAME_MAX

struct metadata_reader {
	struct sops_document *document;
	struct sops_metadata *metadata;
	unsigned rules; /* how many are given */
	bool lists; /* there are entries beside key groups: then those do not count */
	bool seen;
};

static enum err refuse(struct metadata_reader *reader, const struct sops_node *node, const char *what)
{
	return sops_document_refuse(reader->document, node->start, what);
}

/* Passes over a literal. */
static bool take(struct bytes *name, const char *literal)
{
	size_t len = strlen(literal);

	if (!bytes_begin_with(*name, literal))
		return false;
	*name = bytes_of(name->data + len, name->len - len);
	return true;
}

static bool take_number(struct bytes *name, unsigned limit, unsigned *ret_number)
{
	size_t i = 0;

	for (*ret_number = 0; i < name->len && name->data[i] >= '0' && name->data[i] <= '9'; i++)
		if ((*ret_number = *ret_number * 10 + (name->data[i] - '0')) >= limit)
			return false;
	*name = bytes_of(name->data + i, name->len - i);
	return i > 0;
}

static struct sops_entry *entry_of(struct sops_metadata *metadata, const char *kind, unsigned group,
                                   unsigned number)
{
	for (size_t i = 0; i < metadata->entry_count; i++) {
		struct sops_entry *entry = &metadata->entries[i];

		if (entry->kind == kind && entry->group == group && entry->number == number)
			return entry;
	}
	if (metadata->entry_count == SOPS_ENTRIES_MAX)
		return NULL;
	metadata->entries[metadata->entry_count] =
	        (struct sops_entry){ .kind = kind, .group = group, .number = number };
	return &metadata->entries[metadata->entry_count++];
}

/* name: what follows the group, if any. */
static enum err take_entry(struct metadata_reader *reader, const struct sops_node *node, struct bytes name,
                           unsigned group)
{
	static const struct {
		const char *kind;
		const char *recipient;
	} kinds[] = { { "age", "recipient" },
		      { "pgp", "fp" },
		      { "kms", "arn" },
		      { "gcp_kms", "resource_id" },
		      { "azure_kv", "vault_url" },
		      { "hc_vault", "vault_address" },
		      { "hckms", "key_id" } };
	struct sops_entry *entry;
	unsigned number;
	size_t i = 0;

	while (i < sizeof(kinds) / sizeof(kinds[0]) &&
	       (!bytes_begin_with(name, kinds[i].kind) ||
	        !bytes_begin_with(
	                bytes_of(name.data + strlen(kinds[i].kind), name.len - strlen(kinds[i].kind)),
	                "__list_")))
		i++;
	if (i == sizeof(kinds) / sizeof(kinds[0]))
		return OK;
	(void)take(&name, kinds[i].kind);
	(void)take(&name, "__list_");
	if (!take_number(&name, SOPS_ENTRIES_MAX, &number) || !take(&name, "__map_"))
		return refuse(reader, node, "the list of recipients is malformed");
	entry = entry_of(reader->metadata, kinds[i].kind, group, number);
	if (!entry)
		return refuse(reader, node, "there are too many recipients");
	if (bytes_equal(name, bytes_of_string(kinds[i].recipient)))
		entry->recipient = node->text;
	else if (bytes_equal(name, bytes_of_string("enc")))
		entry->enc = node->text;
	return OK;
}

static const char *const rules[] = {
	[SOPS_UNENCRYPTED_SUFFIX] = "unencrypted_suffix",
	[SOPS_ENCRYPTED_SUFFIX] = "encrypted_suffix",
	[SOPS_UNENCRYPTED_REGEX] = "unencrypted_regex",
	[SOPS_ENCRYPTED_REGEX] = "encrypted_regex",
	[SOPS_UNENCRYPTED_COMMENT_REGEX] = "unencrypted_comment_regex",
	[SOPS_ENCRYPTED_COMMENT_REGEX] = "encrypted_comment_regex",
};

const char *sops_rule_name(enum sops_rule rule)
{
	return rules[rule];
}

static enum err take_rule(struct metadata_reader *reader, const struct sops_node *node, struct bytes name)
{
	for (unsigned i = 0; node->text.len && i < sizeof(rules) / sizeof(rules[0]); i++) {
		if (!bytes_equal(name, bytes_of_string(rules[i])))
			continue;
		reader->metadata->rule = (enum sops_rule)i;
		reader->metadata->pattern = node->text;
		if (++reader->rules > 1)
			return refuse(reader, node, "there is more than one rule of what is encrypted");
	}
	return OK;
}

static enum err take_simple(struct metadata_reader *reader, const struct sops_node *node, struct bytes name)
{
	struct sops_metadata *metadata = reader->metadata;
	struct bytes text = node->text;

	if (bytes_equal(name, bytes_of_string("mac")))
		metadata->mac = text;
	else if (bytes_equal(name, bytes_of_string("lastmodified")))
		metadata->last_modified = text;
	else if (bytes_equal(name, bytes_of_string("version")))
		metadata->version = text;
	else if (bytes_equal(name, bytes_of_string("mac_only_encrypted")))
		metadata->mac_only_encrypted = bytes_equal(text, bytes_of_string("True")) ||
		                               bytes_equal(text, bytes_of_string("true"));
	else if (bytes_equal(name, bytes_of_string("shamir_threshold")) &&
	         (!take_number(&text, SOPS_GROUPS_MAX + 1, &metadata->threshold) || text.len))
		return refuse(reader, node, "shamir_threshold is no sensible number");
	else
		return take_rule(reader, node, name);
	return OK;
}

static enum err take_leaf(struct metadata_reader *reader, const struct sops_node *node, struct bytes name)
{
	struct bytes rest = name;
	unsigned group;
	size_t before = reader->metadata->entry_count;
	enum err err;

	if (node->kind == SOPS_NULL)
		return OK;
	if (take(&rest, "key_groups__list_")) {
		if (!take_number(&rest, SOPS_GROUPS_MAX, &group) || !take(&rest, "__map_"))
			return refuse(reader, node, "key_groups is malformed");
		return take_entry(reader, node, rest, group + 1);
	}
	err = take_entry(reader, node, name, 0);
	reader->lists |= reader->metadata->entry_count > before;
	return err ? err : take_simple(reader, node, name);
}

/* The flattened name of a nested value, without what all begin with. */
static enum err flatten(const struct sops_document *document, const struct sops_node *node, char *out,
                        size_t *ret_len)
{
	const struct sops_node *chain[SOPS_DEPTH_MAX + 1];
	size_t depth = 0, len = 0;

	while (node->parent != 0 && node->parent != SOPS_NONE && depth < SOPS_DEPTH_MAX) {
		if (document->nodes[node->parent].parent == SOPS_NONE)
			break;
		chain[depth++] = node;
		node = &document->nodes[node->parent];
	}
	for (size_t i = depth; i-- > 0;) {
		const struct sops_node *link = chain[i];
		int written =
		        link->key.data
		                ? snprintf(out + len, NAME_MAX_LEN - len, "%s%.*s",
		                           i == depth - 1 ? "" : "__map_",
		                           (int)(link->key.len < NAME_MAX_LEN ? link->key.len : NAME_MAX_LEN),
		                           (const char *)link->key.data)
		                : snprintf(out + len, NAME_MAX_LEN - len, "__list_%u", link->position);

		if (written < 0 || (size_t)written >= NAME_MAX_LEN - len)
			return ERR_BUSY; /* longer than any that means something */
		len += (size_t)written;
	}
	*ret_len = len;
	return OK;
}

enum err sops_metadata_name(const struct sops_document *document, const struct sops_node *node,
                            char out[static SOPS_METADATA_NAME_MAX], size_t *ret_len)
{
	if (document->format != SOPS_DOTENV)
		return flatten(document, node, out, ret_len);
	if (node->key.len >= SOPS_METADATA_NAME_MAX)
		return ERR_BUSY;
	memcpy(out, node->key.data, node->key.len);
	out[node->key.len] = '\0';
	*ret_len = node->key.len;
	return OK;
}

static enum err read_node(struct metadata_reader *reader, const struct sops_node *node)
{
	char name[NAME_MAX_LEN];
	size_t len = 0;

	if (!node->metadata || node->kind == SOPS_COMMENT)
		return OK;
	reader->seen = true;
	if (node->kind == SOPS_MAP || node->kind == SOPS_LIST)
		return OK;
	if (sops_metadata_name(reader->document, node, name, &len))
		return OK;
	return take_leaf(reader, node, bytes_of(name, len));
}

/* Groups are numbered from 0; lists that stand alone are one group, and win. */
static enum err settle_groups(struct metadata_reader *reader)
{
	struct sops_metadata *metadata = reader->metadata;
	size_t kept = 0;

	for (size_t i = 0; i < metadata->entry_count; i++) {
		struct sops_entry entry = metadata->entries[i];

		if ((entry.group == 0) != reader->lists)
			continue;
		entry.group -= !reader->lists;
		if (entry.group >= metadata->group_count)
			metadata->group_count = entry.group + 1;
		metadata->entries[kept++] = entry;
	}
	metadata->entry_count = kept;
	return OK;
}

static enum err settle(struct metadata_reader *reader)
{
	struct sops_metadata *metadata = reader->metadata;
	struct sops_document *document = reader->document;

	if (!reader->seen)
		return ERR_NO_MATCH;
	if (reader->rules == 0) {
		metadata->rule = SOPS_UNENCRYPTED_SUFFIX;
		metadata->pattern = bytes_of_string("_unencrypted");
	}
	if (metadata->last_modified.len < 20 || metadata->last_modified.len > 40 ||
	    metadata->last_modified.data[10] != 'T') {
		(void)snprintf(document->reason, sizeof(document->reason), "its lastmodified is no time");
		return ERR_BAD_FILE;
	}
	if (metadata->entry_count == 0) {
		(void)snprintf(document->reason, sizeof(document->reason), "no recipient stands in it");
		return ERR_BAD_FILE;
	}
	return settle_groups(reader);
}

enum err sops_metadata_read(struct sops_document *document, struct sops_metadata *ret_metadata)
{
	struct metadata_reader reader = { .document = document, .metadata = ret_metadata };
	uint32_t roots = 0;
	enum err err = OK;

	*ret_metadata = (struct sops_metadata){ .entry_count = 0 };
	/* sops writes the same into each YAML document, and reads the first. */
	for (size_t i = 0; !err && i < document->count; i++) {
		roots += document->nodes[i].parent == SOPS_NONE && document->nodes[i].kind == SOPS_MAP;
		if (roots > 1)
			break;
		err = read_node(&reader, &document->nodes[i]);
	}
	return err ? err : settle(&reader);
}

bool sops_metadata_same_rule(const struct sops_metadata *a, const struct sops_metadata *b)
{
	return a->rule == b->rule && bytes_equal(a->pattern, b->pattern) &&
	       a->mac_only_encrypted == b->mac_only_encrypted;
}
