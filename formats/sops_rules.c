#include "formats/sops_rules.h"

#include <stdlib.h>
#include <string.h>

#include "formats/text.h"

#define MERGE_DEPTH_MAX 16U
#define STEPS_MAX (4U << 20) /* nodes looked at, for one answer */

static const struct sops_node *node_at(const struct sops_rules *rules, uint32_t index)
{
	return &rules->document.nodes[index];
}

static enum err refuse(struct sops_rules *rules, uint32_t index, const char *what)
{
	return sops_document_refuse(&rules->document, node_at(rules, index)->start, what);
}

/* What an alias stands for; no alias stands for another. */
static uint32_t behind(const struct sops_rules *rules, uint32_t index)
{
	const struct sops_node *node = node_at(rules, index);

	return node->kind == SOPS_ALIAS ? node->target : index;
}

/* The child of a map or list that comes after the one before; SOPS_NONE: none. What is in a container follows it, up to the first node whose parent stands before. */
static uint32_t next_child(struct sops_rules *rules, uint32_t container, uint32_t before)
{
	for (uint32_t i = before + 1; i < rules->document.count && rules->steps < STEPS_MAX; i++) {
		const struct sops_node *node = node_at(rules, i);

		rules->steps++;
		if (node->parent == SOPS_NONE || node->parent < container)
			break;
		if (node->parent == container && node->kind != SOPS_COMMENT)
			return i;
	}
	return SOPS_NONE;
}

static uint32_t first_child(struct sops_rules *rules, uint32_t container)
{
	return next_child(rules, container, container);
}

static uint32_t find_own(struct sops_rules *rules, uint32_t map, const char *key)
{
	uint32_t child = first_child(rules, map);

	while (child != SOPS_NONE && !bytes_equal(node_at(rules, child)->key, bytes_of_string(key)))
		child = next_child(rules, map, child);
	return child;
}

static uint32_t find(struct sops_rules *rules, uint32_t map, const char *key, unsigned depth);

/* `<<` names a map or a list of maps; the first that has the key gives it. */
static uint32_t find_merged(struct sops_rules *rules, uint32_t map, const char *key, unsigned depth)
{
	uint32_t merged = find_own(rules, map, "<<"), found = SOPS_NONE;

	if (merged == SOPS_NONE || depth == 0)
		return SOPS_NONE;
	merged = behind(rules, merged);
	if (node_at(rules, merged)->kind == SOPS_MAP)
		return find(rules, merged, key, depth - 1);
	if (node_at(rules, merged)->kind != SOPS_LIST)
		return SOPS_NONE;
	for (uint32_t child = first_child(rules, merged); child != SOPS_NONE && found == SOPS_NONE;
	     child = next_child(rules, merged, child))
		if (node_at(rules, behind(rules, child))->kind == SOPS_MAP)
			found = find(rules, behind(rules, child), key, 0);
	return found;
}

/* The value of a key, aliases followed; SOPS_NONE: it is not there, or null. */
static uint32_t find(struct sops_rules *rules, uint32_t map, const char *key, unsigned depth)
{
	uint32_t found = find_own(rules, map, key);

	if (found == SOPS_NONE)
		found = find_merged(rules, map, key, depth);
	if (found == SOPS_NONE)
		return SOPS_NONE;
	found = behind(rules, found);
	return node_at(rules, found)->kind == SOPS_NULL ? SOPS_NONE : found;
}

static uint32_t value_of(struct sops_rules *rules, uint32_t map, const char *key)
{
	return find(rules, map, key, MERGE_DEPTH_MAX);
}

static bool is_scalar(const struct sops_rules *rules, uint32_t index)
{
	enum sops_kind kind = node_at(rules, index)->kind;

	return kind != SOPS_MAP && kind != SOPS_LIST;
}

/* A text; numbers and the like are taken as they are written. Empty when the key is not there. */
static enum err take_text(struct sops_rules *rules, uint32_t map, const char *key, struct bytes *ret_text)
{
	uint32_t found = value_of(rules, map, key);

	*ret_text = bytes_of(NULL, 0);
	if (found == SOPS_NONE)
		return OK;
	if (!is_scalar(rules, found))
		return refuse(rules, found, "here ought to be a text");
	*ret_text = node_at(rules, found)->kind == SOPS_STRING
	                    ? node_at(rules, found)->text
	                    : bytes_of(rules->document.text.data + node_at(rules, found)->start,
	                               node_at(rules, found)->end - node_at(rules, found)->start);
	return OK;
}

static enum err add_field(struct sops_rules *rules, struct bytes name, struct bytes value)
{
	if (value.len == 0)
		return OK;
	if (rules->field_count == SOPS_RULE_FIELDS_MAX)
		return sops_document_refuse(&rules->document, 0, "its recipients have too many fields");
	rules->fields[rules->field_count++] = (struct sops_rule_field){ name, value };
	rules->recipients[rules->recipient_count - 1].field_count++;
	return OK;
}

static enum err add_recipient(struct sops_rules *rules, uint32_t place, const char *kind, unsigned group,
                              struct bytes name)
{
	if (name.len == 0)
		return refuse(rules, place, "a recipient has no name");
	if (rules->recipient_count == SOPS_RULE_RECIPIENTS_MAX)
		return refuse(rules, place, "there are too many recipients");
	rules->recipients[rules->recipient_count++] =
	        (struct sops_rule_recipient){ kind, group, name, rules->field_count, 0 };
	return OK;
}

/* Fingerprints are often written with spaces, which sops drops. */
static enum err without_spaces(struct sops_rules *rules, struct bytes *text)
{
	uint8_t *space;
	size_t len = 0;

	if (text->len == 0 || !memchr(text->data, ' ', text->len))
		return OK;
	space = sops_document_space(&rules->document, text->len);
	if (!space)
		return ERR_NOMEM;
	for (size_t i = 0; i < text->len; i++)
		if (text->data[i] != ' ')
			space[len++] = text->data[i];
	*text = bytes_of(space, len);
	return OK;
}

static struct bytes trimmed(struct bytes text)
{
	while (text.len && is_white_space(text.data[text.len - 1]))
		text.len--;
	while (text.len && is_white_space(*text.data))
		text = bytes_of(text.data + 1, text.len - 1);
	return text;
}

/* One text with commas between recipients. */
static enum err add_listed(struct sops_rules *rules, uint32_t place, const char *kind, unsigned group,
                           struct bytes text)
{
	enum err err = OK;

	while (!err && text.len) {
		const uint8_t *comma = memchr(text.data, ',', text.len);
		size_t len = comma ? (size_t)(comma - text.data) : text.len;
		struct bytes name = trimmed(bytes_of(text.data, len));

		if (strcmp(kind, "pgp") == 0)
			err = without_spaces(rules, &name);
		if (!err && name.len)
			err = add_recipient(rules, place, kind, group, name);
		len += comma != NULL;
		text = bytes_of(text.data + len, text.len - len);
	}
	return err;
}

/* A text or a list of texts. typed: sops takes numbers, too, but only in a list. */
static enum err add_texts(struct sops_rules *rules, uint32_t map, const char *key, const char *kind,
                          unsigned group, bool typed)
{
	uint32_t found = value_of(rules, map, key);
	enum err err = OK;

	if (found == SOPS_NONE)
		return OK;
	if (node_at(rules, found)->kind == SOPS_STRING && !typed)
		return add_listed(rules, found, kind, group, node_at(rules, found)->text);
	if (node_at(rules, found)->kind != SOPS_LIST)
		return refuse(rules, found, "here ought to be recipients: texts in a list");
	for (uint32_t child = first_child(rules, found); !err && child != SOPS_NONE;
	     child = next_child(rules, found, child)) {
		uint32_t item = behind(rules, child);

		if (typed && node_at(rules, item)->kind == SOPS_NULL)
			continue;
		if (node_at(rules, item)->kind != SOPS_STRING && !(typed && is_scalar(rules, item)))
			return refuse(rules, item, "a recipient is no text");
		err = add_listed(rules, item, kind, group, node_at(rules, item)->text);
	}
	return err;
}

static enum err add_context(struct sops_rules *rules, uint32_t item)
{
	uint32_t context = value_of(rules, item, "context");
	enum err err = OK;

	if (context == SOPS_NONE)
		return OK;
	if (node_at(rules, context)->kind != SOPS_MAP)
		return refuse(rules, context, "context is no map");
	for (uint32_t child = first_child(rules, context); !err && child != SOPS_NONE;
	     child = next_child(rules, context, child)) {
		struct bytes key = node_at(rules, child)->key;
		const char prefix[] = "context.";
		uint8_t *space = sops_document_space(&rules->document, sizeof(prefix) + key.len);

		if (!space)
			return ERR_NOMEM;
		memcpy(space, prefix, sizeof(prefix) - 1);
		if (key.len)
			memcpy(space + sizeof(prefix) - 1, key.data, key.len);
		err = add_field(rules, bytes_of(space, sizeof(prefix) - 1 + key.len),
		                node_at(rules, behind(rules, child))->text);
	}
	return err;
}

struct map_kind {
	const char *key; /* in a key group */
	const char *kind;
	const char *name; /* which of its fields says who */
	const char *fields[2];
};

static enum err add_mapped_item(struct sops_rules *rules, uint32_t item, const struct map_kind *kind,
                                unsigned group)
{
	struct bytes text;
	enum err err;

	if (node_at(rules, item)->kind != SOPS_MAP)
		return refuse(rules, item, "a recipient of this kind is a map");
	err = take_text(rules, item, kind->name, &text);
	if (!err)
		err = add_recipient(rules, item, kind->kind, group, text);
	for (size_t i = 0; !err && i < 2 && kind->fields[i]; i++) {
		err = take_text(rules, item, kind->fields[i], &text);
		if (!err)
			err = add_field(rules, bytes_of_string(kind->fields[i]), text);
	}
	return err ? err : add_context(rules, item);
}

/* A list of maps. */
static enum err add_mapped(struct sops_rules *rules, uint32_t map, const struct map_kind *kind,
                           unsigned group)
{
	uint32_t found = value_of(rules, map, kind->key);
	enum err err = OK;

	if (found == SOPS_NONE)
		return OK;
	if (node_at(rules, found)->kind != SOPS_LIST)
		return refuse(rules, found, "here ought to be a list of recipients");
	for (uint32_t child = first_child(rules, found); !err && child != SOPS_NONE;
	     child = next_child(rules, found, child))
		err = add_mapped_item(rules, behind(rules, child), kind, group);
	return err;
}

static enum err add_group(struct sops_rules *rules, uint32_t map, unsigned group, unsigned depth);

/* merge: the recipients of other groups, before its own. */
static enum err add_merged_groups(struct sops_rules *rules, uint32_t map, unsigned group, unsigned depth)
{
	uint32_t found = value_of(rules, map, "merge");
	enum err err = OK;

	if (found == SOPS_NONE)
		return OK;
	if (node_at(rules, found)->kind != SOPS_LIST)
		return refuse(rules, found, "merge is no list");
	if (depth == MERGE_DEPTH_MAX)
		return refuse(rules, found, "merge goes too deep");
	for (uint32_t child = first_child(rules, found); !err && child != SOPS_NONE;
	     child = next_child(rules, found, child))
		err = add_group(rules, behind(rules, child), group, depth + 1);
	return err;
}

static enum err add_group(struct sops_rules *rules, uint32_t map, unsigned group, unsigned depth)
{
	static const struct map_kind kms = { "kms", "kms", "arn", { "role", "aws_profile" } };
	static const struct map_kind gcp_kms = { "gcp_kms", "gcp_kms", "resource_id", { NULL } };
	static const struct map_kind hckms = { "hckms", "hckms", "key_id", { NULL } };
	static const struct map_kind azure = {
		"azure_keyvault", "azure_kv", "vaultUrl", { "key", "version" }
	};
	enum err err;

	if (node_at(rules, map)->kind == SOPS_NULL)
		return OK;
	if (node_at(rules, map)->kind != SOPS_MAP)
		return refuse(rules, map, "a key group is no map");
	err = add_merged_groups(rules, map, group, depth);
	if (!err)
		err = add_texts(rules, map, "age", "age", group, true);
	if (!err)
		err = add_texts(rules, map, "pgp", "pgp", group, true);
	if (!err)
		err = add_mapped(rules, map, &kms, group);
	if (!err)
		err = add_mapped(rules, map, &gcp_kms, group);
	if (!err)
		err = add_mapped(rules, map, &hckms, group);
	if (!err)
		err = add_mapped(rules, map, &azure, group);
	return err ? err : add_texts(rules, map, "hc_vault", "hc_vault", group, true);
}

/* Drops what stands twice among the recipients from first on, as sops does in key groups. */
static void drop_twins(struct sops_rules *rules, size_t first)
{
	size_t kept = first;

	for (size_t i = first; i < rules->recipient_count; i++) {
		struct sops_rule_recipient recipient = rules->recipients[i];
		size_t twin = first;

		while (twin < kept && (rules->recipients[twin].kind != recipient.kind ||
		                       !bytes_equal(rules->recipients[twin].name, recipient.name)))
			twin++;
		if (twin == kept)
			rules->recipients[kept++] = recipient;
	}
	rules->recipient_count = kept;
}

static enum err add_groups(struct sops_rules *rules, uint32_t list, unsigned *ret_count)
{
	unsigned count = 0;
	enum err err = OK;

	for (uint32_t child = first_child(rules, list); !err && child != SOPS_NONE;
	     child = next_child(rules, list, child)) {
		size_t first = rules->recipient_count;

		if (count == SOPS_GROUPS_MAX)
			return refuse(rules, child, "there are too many key groups");
		err = add_group(rules, behind(rules, child), count++, 0);
		drop_twins(rules, first);
	}
	*ret_count = count;
	return err;
}

/* It is of all KMS keys that stand in the rule itself. */
static void share_profile(struct sops_rules *rules, struct bytes profile)
{
	rules->fields[0] = (struct sops_rule_field){ bytes_of_string("aws_profile"), profile };
	rules->field_count = 1;
	for (size_t i = 0; i < rules->recipient_count; i++)
		rules->recipients[i].field_count = strcmp(rules->recipients[i].kind, "kms") == 0;
}

/* What stands in the rule itself is one group. */
static enum err add_own(struct sops_rules *rules, uint32_t map)
{
	static const struct {
		const char *key;
		const char *kind;
		bool typed;
	} kinds[] = { { "age", "age", false },
		      { "pgp", "pgp", false },
		      { "kms", "kms", false },
		      { "gcp_kms", "gcp_kms", false },
		      { "hckms", "hckms", true },
		      { "azure_keyvault", "azure_kv", false },
		      { "hc_vault_transit_uri", "hc_vault", false } };
	struct bytes profile;
	enum err err = OK;

	for (size_t i = 0; !err && i < sizeof(kinds) / sizeof(kinds[0]); i++)
		err = add_texts(rules, map, kinds[i].key, kinds[i].kind, 0, kinds[i].typed);
	if (!err)
		err = take_text(rules, map, "aws_profile", &profile);
	if (!err && profile.len)
		share_profile(rules, profile);
	return err;
}

static enum err take_recipients(struct sops_rules *rules, uint32_t map, struct sops_creation_rule *rule)
{
	uint32_t groups = value_of(rules, map, "key_groups");
	enum err err;

	rules->recipient_count = rules->field_count = 0;
	rule->group_count = 1;
	if (groups != SOPS_NONE && first_child(rules, groups) != SOPS_NONE)
		err = add_groups(rules, groups, &rule->group_count);
	else
		err = add_own(rules, map);
	rule->recipients = rules->recipients;
	rule->recipient_count = rules->recipient_count;
	rule->fields = rules->fields;
	return err;
}

static enum err take_selection(struct sops_rules *rules, uint32_t map, struct sops_creation_rule *rule)
{
	unsigned given = 0;

	rule->rule = SOPS_UNENCRYPTED_SUFFIX;
	rule->pattern = bytes_of_string("_unencrypted");
	for (unsigned i = 0; i < SOPS_RULE_COUNT; i++) {
		struct bytes text;
		enum err err = take_text(rules, map, sops_rule_name((enum sops_rule)i), &text);

		if (err)
			return err;
		if (text.len == 0)
			continue;
		rule->rule = (enum sops_rule)i;
		rule->pattern = text;
		if (++given > 1)
			return refuse(rules, map, "this rule has more than one setting of what is encrypted");
	}
	return OK;
}

static bool is_one_of(struct bytes text, const char *const *words)
{
	while (*words && !bytes_equal(text, bytes_of_string(*words)))
		words++;
	return *words != NULL;
}

/* go-yaml takes these words of YAML 1.1, too, where a truth value is asked for. */
static enum err take_switch(struct sops_rules *rules, uint32_t map, const char *key, bool *ret_on)
{
	static const char *const yes[] = { "y", "Y", "yes", "on", NULL };
	static const char *const no[] = { "n", "N", "no", "off", NULL };
	uint32_t found = value_of(rules, map, key);
	const struct sops_node *node;

	*ret_on = false;
	if (found == SOPS_NONE)
		return OK;
	node = node_at(rules, found);
	if (node->kind == SOPS_BOOLEAN)
		*ret_on = bytes_equal(node->text, bytes_of_string("True"));
	else if (node->kind == SOPS_STRING && is_one_of(node->text, yes))
		*ret_on = true;
	else if (node->kind != SOPS_STRING || !is_one_of(node->text, no))
		return refuse(rules, found, "here ought to be true or false");
	return OK;
}

static enum err take_threshold(struct sops_rules *rules, uint32_t map, unsigned *ret_threshold)
{
	uint32_t found = value_of(rules, map, "shamir_threshold");
	struct bytes text;

	*ret_threshold = 0;
	if (found == SOPS_NONE)
		return OK;
	text = node_at(rules, found)->text;
	if (node_at(rules, found)->kind != SOPS_INTEGER || text.len > 2 || *text.data == '-')
		return refuse(rules, found, "shamir_threshold is no sensible number");
	for (size_t i = 0; i < text.len; i++)
		*ret_threshold = 10 * *ret_threshold + (text.data[i] - '0');
	return *ret_threshold <= SOPS_GROUPS_MAX ? OK : refuse(rules, found, "shamir_threshold is too large");
}

static size_t line_of(const struct sops_document *document, size_t position)
{
	size_t line = 1;

	for (size_t i = 0; i < position && i < document->text.len; i++)
		line += document->text.data[i] == '\n';
	return line;
}

/* Whoever ran out of steps saw less than there is. */
static enum err check_steps(struct sops_rules *rules, uint32_t node)
{
	return rules->steps < STEPS_MAX ? OK : refuse(rules, node, "its aliases stand for too much");
}

static bool is_setting(struct bytes key)
{
	static const char *const settings[] = {
		"path_regex",
		"aws_profile",
		"age",
		"kms",
		"pgp",
		"gcp_kms",
		"hckms",
		"azure_keyvault",
		"key_groups",
		"hc_vault_transit_uri",
		"shamir_threshold",
		"mac_only_encrypted",
		"<<",
		NULL,
	};

	for (unsigned i = 0; i < SOPS_RULE_COUNT; i++)
		if (bytes_equal(key, bytes_of_string(sops_rule_name((enum sops_rule)i))))
			return true;
	return is_one_of(key, settings);
}

/* A setting that is misspelt is none: a rule without its path_regex is for every path. */
static void note_unknown(struct sops_rules *rules, uint32_t map, struct sops_creation_rule *rule)
{
	for (uint32_t child = first_child(rules, map); child != SOPS_NONE;
	     child = next_child(rules, map, child)) {
		const struct sops_node *node = node_at(rules, child);

		if (!node->key.data || is_setting(node->key))
			continue;
		rule->unknown = node->key;
		rule->unknown_line = line_of(&rules->document, node->begin);
		return;
	}
}

static enum err take_rule(struct sops_rules *rules, const struct sops_rule_slot *slot,
                          struct sops_creation_rule *ret_rule)
{
	struct sops_creation_rule rule = { .line = line_of(&rules->document,
		                                           node_at(rules, slot->node)->start),
		                           .path_regex = slot->path_regex };
	enum err err = take_selection(rules, slot->node, &rule);

	if (!err)
		err = take_switch(rules, slot->node, "mac_only_encrypted", &rule.mac_only_encrypted);
	if (!err)
		err = take_threshold(rules, slot->node, &rule.threshold);
	if (!err)
		err = take_recipients(rules, slot->node, &rule);
	if (!err)
		err = check_steps(rules, slot->node);
	if (!err)
		note_unknown(rules, slot->node, &rule);
	if (!err)
		*ret_rule = rule;
	return err;
}

static enum err match_slot(struct sops_rules *rules, struct sops_rule_slot *slot, struct bytes path,
                           bool *ret_match)
{
	enum err err = OK;

	*ret_match = slot->path_regex.len == 0;
	if (*ret_match)
		return OK;
	if (!slot->regex)
		err = regex_new(slot->path_regex, &slot->regex);
	if (!err)
		regex_count_in(slot->regex, &rules->work);
	if (err == ERR_BAD_FILE)
		return refuse(rules, slot->node, "its path_regex is no pattern that sops would take");
	if (!err)
		err = regex_match(slot->regex, path, ret_match);
	if (err == ERR_BUSY)
		(void)refuse(rules, slot->node, "its path_regex takes too long on this path");
	return err;
}

enum err sops_rules_choose(struct sops_rules *rules, struct bytes path, struct sops_creation_rule *ret_rule)
{
	rules->document.reason[0] = '\0';
	rules->steps = 0;
	for (size_t i = 0; i < rules->slot_count; i++) {
		bool matches;
		enum err err = match_slot(rules, &rules->slots[i], path, &matches);

		if (err)
			return err;
		if (matches)
			return take_rule(rules, &rules->slots[i], ret_rule);
	}
	(void)snprintf(rules->document.reason, sizeof(rules->document.reason),
	               rules->present ? "none of its creation rules matches" : "it has no creation rules");
	return ERR_NO_MATCH;
}

/* What sops gives a type is looked at in all rules, as it is when sops reads the file; the rest, in the rule that is chosen. */
static enum err check_types(struct sops_rules *rules, uint32_t map)
{
	uint32_t groups = value_of(rules, map, "key_groups");
	struct bytes text;
	unsigned number;
	bool on;
	enum err err = take_switch(rules, map, "mac_only_encrypted", &on);

	for (size_t i = 0; !err && i < SOPS_RULE_COUNT; i++)
		err = take_text(rules, map, sops_rule_name((enum sops_rule)i), &text);
	if (!err)
		err = take_threshold(rules, map, &number);
	if (!err)
		err = take_text(rules, map, "aws_profile", &text);
	if (err || groups == SOPS_NONE)
		return err;
	if (node_at(rules, groups)->kind != SOPS_LIST)
		return refuse(rules, groups, "key_groups is no list");
	rules->recipient_count = rules->field_count = 0;
	return add_groups(rules, groups, &number);
}

static enum err read_slots(struct sops_rules *rules, uint32_t list)
{
	enum err err = OK;

	rules->slots = calloc(SOPS_RULES_MAX, sizeof(*rules->slots));
	if (!rules->slots)
		return ERR_NOMEM;
	for (uint32_t child = first_child(rules, list); !err && child != SOPS_NONE;
	     child = next_child(rules, list, child)) {
		struct sops_rule_slot *slot = &rules->slots[rules->slot_count];

		if (rules->slot_count == SOPS_RULES_MAX)
			return refuse(rules, child, "there are too many creation rules");
		slot->node = behind(rules, child);
		if (node_at(rules, slot->node)->kind != SOPS_MAP)
			return refuse(rules, child, "a creation rule is no map");
		rules->slot_count++;
		err = take_text(rules, slot->node, "path_regex", &slot->path_regex);
		if (!err)
			err = check_types(rules, slot->node);
	}
	return err;
}

/* The map of the first document; the others are not read, by sops neither. */
static uint32_t find_root(const struct sops_document *document)
{
	for (uint32_t i = 0; i < document->count; i++)
		if (document->nodes[i].kind == SOPS_MAP)
			return i;
	return SOPS_NONE;
}

static enum err read_rules(struct sops_rules *rules)
{
	uint32_t root = find_root(&rules->document), list;
	enum err err;

	if (root == SOPS_NONE)
		return OK;
	list = value_of(rules, root, "creation_rules");
	if (list == SOPS_NONE)
		return OK;
	if (node_at(rules, list)->kind != SOPS_LIST)
		return refuse(rules, list, "creation_rules is no list");
	rules->present = true;
	rules->recipients = calloc(SOPS_RULE_RECIPIENTS_MAX, sizeof(*rules->recipients));
	rules->fields = calloc(SOPS_RULE_FIELDS_MAX, sizeof(*rules->fields));
	if (!rules->recipients || !rules->fields)
		return ERR_NOMEM;
	err = read_slots(rules, list);
	return err ? err : check_steps(rules, list);
}

enum err sops_rules_read(struct sops_rules *rules, struct bytes text)
{
	enum err err;

	*rules = (struct sops_rules){ .document = {
		                              .format = SOPS_YAML, .text = text, .keeps_aliases = true } };
	if (text.len > SOPS_RULES_FILE_MAX) {
		(void)snprintf(rules->document.reason, sizeof(rules->document.reason),
		               "it has more than %u MiB", SOPS_RULES_FILE_MAX >> 20);
		return ERR_BUSY;
	}
	err = sops_yaml_read(&rules->document);
	if (!err)
		err = sops_document_check_keys(&rules->document);
	return err ? err : read_rules(rules);
}

void sops_rules_done(struct sops_rules *rules)
{
	for (size_t i = 0; i < rules->slot_count; i++)
		(void)regex_free(rules->slots[i].regex);
	free(rules->slots);
	free(rules->recipients);
	free(rules->fields);
	sops_document_done(&rules->document);
	*rules = (struct sops_rules){ .slot_count = 0 };
}
