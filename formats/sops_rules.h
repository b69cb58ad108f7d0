/*
 * SOPS rules
 *
 * `.sops.yaml`: which files of a tree sops encrypts, to whom, and which of their values. The first creation rule whose pattern matches a file's path decides; a rule without a
 * pattern matches every path. Recipients of kinds that tokend has no keys of are kept as they stand. Aliases are followed, never copied, so that what they multiply costs nothing
 * before a limit ends it. Where the file is found and what its path is relative to is the caller's business. Read as sops 3.13 reads it (config/config.go of getsops/sops).
 */
#pragma once

#include "formats/regex_library.h"
#include "formats/sops_document.h"
#include "formats/sops_metadata.h"

#define SOPS_RULES_NAME ".sops.yaml"
#define SOPS_RULES_FILE_MAX (1U << 20) /* bytes */
#define SOPS_RULES_MAX 4096U
#define SOPS_RULE_RECIPIENTS_MAX SOPS_ENTRIES_MAX /* of one rule, for a file's metadata has no more */
#define SOPS_RULE_FIELDS_MAX 1024U

/* What a recipient has beside its name: a role, a profile, a version; the names are sops' own. A KMS context's are "context." and the word. */
struct sops_rule_field {
	struct bytes name, value;
};

struct sops_rule_recipient {
	const char *
	        kind; /* as in metadata: "age", "pgp", "kms", "gcp_kms", "hckms", "azure_kv", "hc_vault"; static */
	unsigned group; /* from 0 */
	struct bytes name; /* age1..., a fingerprint, an ARN, a URL, ... never empty */
	size_t first_field, field_count; /* in the rule's fields */
};

/* One rule, ready to encrypt by. Borrowed from the rules, until the next one is chosen. */
struct sops_creation_rule {
	size_t line; /* where it begins, from 1 */
	struct bytes path_regex; /* "": every path */
	const struct sops_rule_recipient *recipients; /* in the order in which sops writes them */
	size_t recipient_count;
	const struct sops_rule_field *fields;
	unsigned group_count; /* groups of keys; one may be empty, which sops refuses when it encrypts */
	unsigned threshold; /* shamir_threshold; 0: not given */
	enum sops_rule rule; /* SOPS_UNENCRYPTED_SUFFIX with "_unencrypted" when none is given */
	struct bytes pattern;
	bool mac_only_encrypted;
	struct bytes
	        unknown; /* the first of its keys that sops knows nothing of, and passes over; no data: none */
	size_t unknown_line;
};

/* A rule that was not chosen yet. */
struct sops_rule_slot {
	uint32_t node;
	struct bytes path_regex;
	struct regex *regex; /* owned; made when it is first needed */
};

struct sops_rules {
	struct sops_document document; /* its reason says what is wrong, after an error */
	struct sops_rule_slot *slots; /* owned */
	size_t slot_count;
	bool present; /* creation_rules stands in the file; for sops a file without it is none */
	struct sops_rule_recipient *recipients; /* owned, of the rule chosen last, as what follows */
	struct sops_rule_field *fields; /* owned */
	size_t recipient_count, field_count;
	uint64_t work; /* of all matches of a path_regex together (regex_count_in) */
	size_t steps; /* nodes looked at, aliases followed: the bound on what they multiply */
};

/* Reads text, which is borrowed until sops_rules_done; that is called after errors, too. ERR_BAD_FILE, ERR_UNSUPPORTED, ERR_BUSY (larger than SOPS_RULES_FILE_MAX), with a reason
 * in the document, "" for a missing library; ERR_NOMEM. */
MUST_CHECK enum err sops_rules_read(struct sops_rules *rules, struct bytes text);
void sops_rules_done(struct sops_rules *rules);

/* The first rule that matches path, which is relative to the directory of the rules, or whole when it is not below it. ERR_NO_MATCH: none does, or there are none; ERR_BAD_FILE: a
 * pattern on the way is none of RE2, or the rule is malformed; ERR_BUSY: a pattern takes too long; ERR_UNSUPPORTED: without libpcre2; ERR_NOMEM. With a reason, as above. */
MUST_CHECK enum err sops_rules_choose(struct sops_rules *rules, struct bytes path,
                                      struct sops_creation_rule *ret_rule);
