/*
 * Policy
 *
 * Who may do what with which key, through which front-end (docs/man/tokend-policy.5). The verdict depends on its arguments alone: no clock, no device, no state, so it
 * can be asked from the command line and tested from a table. Used by the broker and, for `tokenctl policy`, by the command line.
 *
 *	permit OPERATION... key PATTERN [user NAME|UID...] [group NAME|GID...] [unit NAME...] [via FRONTEND...] [for DURATION] [pin]
 *	deny   OPERATION... key PATTERN [user NAME|UID...] [group NAME|GID...] [unit NAME...] [via FRONTEND...]
 *
 * One rule a line; '#' begins a comment. Operations: unwrap, list, admin. Front-ends: age, sops, credential, control. A PATTERN is a key's name, exactly; or a name, a slash and a
 * star: every key below that name, at any depth, but not the name itself; or "*": every key. More patterns take the word key again ("key a key b"). The values after one word are
 * alternatives; the words together must all hold. A rule names at least one of user, group, unit; "user *" is anybody. A number is a uid or gid; a group is the peer's first or any other.
 *
 * Of the rules that match, in whatever order they stand, the strictest decides: deny, then permit with pin, then permit; among equals the one with the shortest "for", then
 * the one that stands first. No match is a no. There are no templates and no other globs.
 *
 * Names of users and groups are resolved when the policy is loaded; one that does not exist matches nobody, and policy_warnings says so. A unit is a system unit, e.g.
 * "jellyfin.service"; what a user's own service manager runs is all of it in "user@UID.service".
 */
#pragma once

#include <sys/types.h>

#include "common/buf.h"
#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "tokend/peer.h"

#define POLICY_TEXT_MAX (4U << 20) /* all files together */
#define POLICY_RULES_MAX 20000U
#define POLICY_RULE_MAX 4096U /* bytes of one line */
#define POLICY_FILES_MAX 1024U
#define POLICY_FOR_MAX (24U * 60 * 60) /* seconds */

enum operation {
	OPERATION_UNWRAP = 1,
	OPERATION_LIST,
	OPERATION_ADMIN,
};

enum verdict {
	VERDICT_DENY,
	VERDICT_PERMIT,
	VERDICT_PERMIT_WITH_PIN, /* each time */
};

struct policy;

struct policy_decision {
	enum verdict verdict;
	const char *file; /* of the rule that decided; borrowed from the policy; NULL when none matched */
	unsigned line; /* 1-based; 0 when none matched */
	const char *text; /* the rule's own text, borrowed */
	unsigned for_seconds; /* how long an unlock lasts; 0: the default */
};

const char *operation_name(enum operation operation);
MUST_CHECK enum err operation_from_name(const char *name, enum operation *ret_operation);

/* May the word stand behind via, and behind unit? */
bool policy_knows_frontend(const char *name);
bool policy_knows_unit(const char *name);

MUST_CHECK enum err policy_new(struct policy **ret_policy);
struct policy *policy_free(struct policy *policy);
DEFINE_CLEANUP(struct policy *, policy_free);

/* Adds the rules of one text. file is copied. ERR_BAD_CONFIG: problem (a buffer of the caller's, or NULL) gets "file:line: what is wrong", a line for each thing that is wrong and
 * still fits; the policy is then of no use. ERR_NOMEM. */
MUST_CHECK enum err policy_add(struct policy *policy, const char *file, struct bytes text,
                               struct buf *problem);

/* Reads every *.conf of directory in the order of their names, and warns of what else is there; a rule's file is then the name without the directory. The directory and its files must belong to root or to us
 * and not be writable by others (ERR_STATE_DIR, problem names it). All files are looked at, and problem has a line for each thing that is wrong with any. A directory that is missing or without rules gives the built-in policy of the mode (system_mode: root may
 * everything, the group tokend may list and unwrap; else: our own uid may everything), its file called "built-in". */
MUST_CHECK enum err policy_load(const char *directory, bool system_mode, struct buf *problem,
                                struct policy **ret_policy);

/* One line per thing that is probably not meant (unknown user, "for" where nothing is unlocked, a file that is not read, nobody left who may enroll); "" if none. Borrowed. */
const char *policy_warnings(const struct policy *policy);

/* Adds a line to the warnings, as far as there is room. ERR_NOMEM. */
MUST_CHECK enum err policy_warn(struct policy *policy, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* Is there a rule that permits the operation to anybody who exists, with any key? */
bool policy_permits_anybody(const struct policy *policy, enum operation operation);
size_t policy_rule_count(const struct policy *policy);
const char *policy_digest(
        const struct policy *policy); /* SHA-256 over names and contents: 64 hexadecimal digits */

/* key_name NULL: would every key, whatever its name, be permitted? frontend NULL: none, so no rule with "via" matches. */
void policy_check(const struct policy *policy, const struct peer *peer, const char *frontend,
                  enum operation operation, const char *key_name, struct policy_decision *ret_decision);

/* Would the operation be permitted with some key, though perhaps with none that exists? Costs as much as the peer has rules of its own. */
bool policy_permits_some(const struct policy *policy, const struct peer *peer, const char *frontend,
                         enum operation operation);
