/*
 * Guard's scan
 *
 * Private keys in the clear, wherever they stand in a text: identities of age, and PEM. What only looks like one is none: an age identity has a right checksum, and behind a PEM heading
 * stands a key. Keys under a passphrase, and those that only a TPM opens, are not in the clear.
 */
#pragma once

#include <stdbool.h>

#include "common/bytes.h"
#include "common/err.h"

struct guard_key {
	size_t start; /* where it begins */
	const char *what; /* "an age private key"; static */
};

/* How far a text was looked at; zeroed before the first time. What was found of the two beginnings is kept until it is passed, so that neither is looked for twice in the same place. */
struct guard_cursor {
	size_t at;
	size_t age,
	        pem; /* where the next one begins, at or behind at; SIZE_MAX: there is none; less than at: not looked for */
	bool searched; /* both */
};

/* The next one from the cursor on, which then stands behind its beginning; false: there is none. ret_err: ERR_NOMEM, with false. */
bool guard_scan_next(struct bytes text, struct guard_cursor *cursor, struct guard_key *ret_key,
                     enum err *ret_err);
