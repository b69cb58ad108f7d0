/*
 * Guard's rules
 *
 * Which `.sops.yaml` holds for a file that git keeps: the nearest one at or above it in the same index or commit, else the one on the disk. Each is read once.
 */
#pragma once

#include "cli/git.h"
#include "cli/sops_config.h"

struct guard_rules;

/* top: of the working tree, absolute; NULL: there is none, and no rules of the disk count. Both borrowed. objects NULL: the disk alone, and paths are then those of files. */
MUST_CHECK enum err guard_rules_new(struct git_objects *objects, const char *top,
                                    struct guard_rules **ret_rules);
struct guard_rules *guard_rules_free(struct guard_rules *rules);
DEFINE_CLEANUP(struct guard_rules *, guard_rules_free);

/* From now on in this tree: ":0:" is the index, "OBJECT:" a commit or a tree with its whole name, "" none. Drops what was read. ERR_NOMEM. */
MUST_CHECK enum err guard_rules_in(struct guard_rules *rules, const char *tree);

/* The rule with a pattern that covers path, or NULL: one without a pattern says how a file is to be encrypted, and not that every file has to be. ret_place: the .sops.yaml, as it is shown.
 * All borrowed until the next call. Errors have a sentence. */
MUST_CHECK enum err guard_rules_find(struct guard_rules *rules, const char *path, struct problem *problem,
                                     const struct sops_creation_rule **ret_rule, const char **ret_place);
