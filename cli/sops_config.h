/*
 * SOPS config
 *
 * The `.sops.yaml` that holds for a file: the one that SOPS_CONFIG names, else the nearest in the file's directory or above it. (sops begins at the working directory instead; the two
 * differ only where directories have rules of their own.) Knows where the rules are; formats/sops_rules.h knows what they say.
 */
#pragma once

#include "cli/problem.h"
#include "cli/tree.h"
#include "common/buf.h"
#include "common/cleanup.h"
#include "formats/sops_rules.h"

struct sops_config {
	char *path; /* owned; absolute */
	bool named; /* by SOPS_CONFIG, and not found above a file */
	struct buf *text; /* owned */
	struct sops_rules rules;
};

/* An absolute path without "." and "..", which are taken away as text, as sops does: no link is followed. Owned. ERR_NOMEM, and what the working directory gives. */
MUST_CHECK enum err sops_config_absolute(const char *path, char **ret_path);

/* What is left of an absolute path below the directory of config_path, or the whole path when it is not below. Borrowed from path. */
const char *sops_config_relative(const char *config_path, const char *path);

/* file need not exist. NULL with OK: there is none. Errors, with a sentence: ERR_BAD_FILE, ERR_UNSUPPORTED, ERR_FILE_ACCESS, ERR_NO_FILE (SOPS_CONFIG only), ERR_NOMEM. */
MUST_CHECK enum err sops_config_find(const char *file, struct problem *problem,
                                     struct sops_config **ret_config);
/* The same for a file of a tree (place; NULL: path leads to it), whose name is file: inside of the tree rules are looked for in the directories themselves, whatever has their names meanwhile. */
MUST_CHECK enum err sops_config_find_at(const struct tree_place *place, const char *file,
                                        struct problem *problem, struct sops_config **ret_config);
struct sops_config *sops_config_free(struct sops_config *config);
DEFINE_CLEANUP(struct sops_config *, sops_config_free);

/* Warns, on standard error, of a setting of the rule that sops does not know and passes over. place: its .sops.yaml. */
void sops_config_warn(const char *place, const struct sops_creation_rule *rule);

/* The rule for a file; rules that were found are not for one to which a link leads out of their directory (ERR_BAD_CONFIG). ERR_NO_MATCH, with a sentence, when there is none: sops then refuses to encrypt without recipients on the command line. Other errors with a sentence, too. */
MUST_CHECK enum err sops_config_choose(struct sops_config *config, const char *file, struct problem *problem,
                                       struct sops_creation_rule *ret_rule);
/* The same of a file that is open: where that one is counts, whatever has its name meanwhile. */
MUST_CHECK enum err sops_config_choose_opened(struct sops_config *config, const char *file, int fd,
                                              struct problem *problem, struct sops_creation_rule *ret_rule);
