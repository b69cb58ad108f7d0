/*
 * SOPS recipients
 *
 * To whom a SOPS file's data key is encrypted, as the tree of its metadata (formats/sops_block.h) has it: entries are made for age recipients, for one group or for shares of several; entries of other kinds are
 * kept as they stand, or refused where they would have to be made.
 */
#pragma once

#include <jansson.h>

#include "cli/problem.h"
#include "common/secret.h"
#include "formats/sops_metadata.h"
#include "formats/sops_rules.h"

/* A random data key for a file; owned by the caller. ERR_NOMEM. */
MUST_CHECK enum err sops_data_key_new(struct secret **ret_key);

/* Encrypts share to recipient: a new entry {recipient, enc}. ERR_USAGE, ERR_UNSUPPORTED with a sentence. */
MUST_CHECK enum err sops_entry_new(const char *recipient, const struct secret *share, struct problem *problem,
                                   json_t **ret_entry);

/* Encrypts data_key anew to every entry of the tree; name: of the file, for messages. ERR_UNSUPPORTED when one is not age's. */
MUST_CHECK enum err sops_recipients_renew(json_t *tree, unsigned threshold, const struct secret *data_key,
                                          const char *name, struct problem *problem);

/* One recipient of a tree; borrowed for the call. */
struct sops_tree_recipient {
	const char *kind, *name;
	size_t group; /* from 0 */
};

/* Calls take for each. */
typedef void (*sops_recipient_taken)(void *context, const struct sops_tree_recipient *recipient);
void sops_recipients_each(json_t *tree, sops_recipient_taken take, void *context);

/* How many groups there are, one at least; and how many of them it takes. */
size_t sops_recipients_groups(json_t *tree, size_t *ret_threshold);

/* Does a tree have that one, in the same group, or in any? */
bool sops_recipients_has(json_t *tree, const struct sops_tree_recipient *recipient, bool any_group);

/* Makes the tree's entries those that the rule names: entries that are there stay, others are made. Where there are groups of keys, before or after, all are made anew. *ret_changed: is anybody else among them, or in another group?
 * ERR_UNSUPPORTED when an entry would have to be made that is not age's. */
MUST_CHECK enum err sops_recipients_follow(json_t *tree, const struct sops_creation_rule *rule,
                                           const struct secret *data_key, const char *name,
                                           struct problem *problem, bool *ret_changed);

/* Has a file other recipients than the rule names? Those of kinds that tokend makes none of are the same when the kind is there. */
bool sops_recipients_differ(const struct sops_metadata *metadata, const struct sops_creation_rule *rule);

/* Is it the same one? In whichever group: who can read a file is asked so, and where groups count for themselves, as for what opens it, they are compared beside. */
bool sops_recipient_is(const char *kind, struct bytes name, const char *wanted_kind, struct bytes wanted);

/* The same one in the same group. */
bool sops_entries_are_same(const struct sops_entry *a, const struct sops_entry *b);

/* Warns of each recipient that is there now and was not before; who: "somebody else has", to begin with. */
void sops_recipients_tell_added(const struct sops_metadata *before, const struct sops_metadata *now,
                                const char *who, const char *name);

/* Says in one line that the rule for path, if there is one, has changed since the file got its recipients. */
void sops_recipients_warn(const char *path, const struct sops_metadata *metadata);

/* Puts a value, which is stolen, under a name where it belongs: the metadata has its names sorted. */
MUST_CHECK enum err sops_tree_put(json_t *tree, const char *name, json_t *value);
