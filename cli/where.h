/*
 * Where
 *
 * Where a daemon keeps its files, for the verbs that read them themselves: as the daemon says, or, when it is not running, as the file "where" says that it leaves in its
 * runtime directory.
 */
#pragma once

#include <jansson.h>
#include <limits.h>

#include "cli/daemon.h"
#include "formats/audit_head.h"

struct where {
	char audit_file[PATH_MAX]; /* "": not known */
	char policy_directory[PATH_MAX];
	bool system_mode;
	json_t *status; /* GetStatus; NULL when the daemon does not answer */
	enum err err; /* why not */
	struct problem problem; /* the same as a sentence */
};

/* Never fails: what cannot be found out stays empty. */
void where_find(struct daemon *daemon, struct where *ret_where);
void where_done(struct where *where);

/* The head of the daemon's audit log as it left it in its runtime directory since the machine was started: what is in the log that is read afterwards. sequence 0: none is known, or we may not read it. */
void where_audit_memo(const struct where *where, struct audit_chain *ret_head);

/* Is this the digest of the policy that holds where no rules are written? */
bool where_is_built_in(const struct where *where, const char *digest);

/* What makes the daemon read its configuration and policy anew. */
void where_reload_command(const struct where *where, char *text, size_t len);

/* What to type when no key is seen: who is not root in a system's daemon may not make one, and more often may not see those that there are. */
const char *where_no_keys_hint(const struct where *where);
