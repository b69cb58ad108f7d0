/*
 * SOPS metadata
 *
 * What sops added to a file: who can open the data key, which values are encrypted, the MAC. One parser for all formats: the names of nested values are flattened as dotenv files have
 * them (age__list_0__map_recipient). Versions 3.7 to 3.13; empty lists and null count as absent; a name that is not known is passed over, as sops does.
 */
#pragma once

#include "formats/sops_document.h"

#define SOPS_ENTRIES_MAX 256U
#define SOPS_GROUPS_MAX 32U
#define SOPS_METADATA_NAME_MAX 256U

enum sops_rule {
	SOPS_UNENCRYPTED_SUFFIX, /* "_unencrypted" unless a file says otherwise */
	SOPS_ENCRYPTED_SUFFIX,
	SOPS_UNENCRYPTED_REGEX,
	SOPS_ENCRYPTED_REGEX,
	SOPS_UNENCRYPTED_COMMENT_REGEX,
	SOPS_ENCRYPTED_COMMENT_REGEX,
};
#define SOPS_RULE_COUNT 6U

/* One way to open the data key, or a group's share of it. */
struct sops_entry {
	const char *kind; /* "age", "pgp", ...; static */
	unsigned group;
	unsigned number; /* in its list */
	struct bytes recipient; /* who, as far as the kind says it */
	struct bytes enc;
};

struct sops_metadata {
	struct sops_entry entries[SOPS_ENTRIES_MAX];
	size_t entry_count;
	unsigned group_count;
	unsigned threshold; /* 0: not given */
	enum sops_rule rule;
	struct bytes pattern; /* of the rule */
	bool mac_only_encrypted;
	struct bytes mac;
	struct bytes last_modified; /* RFC 3339 */
	struct bytes version;
};

/* Everything in it is borrowed from the document. ERR_BAD_FILE with the document's reason; ERR_NO_MATCH when the file has no metadata at all. */
MUST_CHECK enum err sops_metadata_read(struct sops_document *document, struct sops_metadata *ret_metadata);

/* The flattened name of a value of the metadata, as a string. ERR_BUSY: longer than any that means something. */
MUST_CHECK enum err sops_metadata_name(const struct sops_document *document, const struct sops_node *node,
                                       char out[static SOPS_METADATA_NAME_MAX], size_t *ret_len);

/* Do both say that the same values are encrypted? */
bool sops_metadata_same_rule(const struct sops_metadata *a, const struct sops_metadata *b);

/* The name of a rule: "encrypted_regex". */
const char *sops_rule_name(enum sops_rule rule);
