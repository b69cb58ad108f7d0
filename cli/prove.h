/* Proves that a key works: what was encrypted to its recipient comes back through tokend. */
#pragma once

#include "cli/daemon.h"

/* Encrypts 16 random bytes to recipient and has tokend open them with the key id. pin: for keys that have one; else NULL. Errors of the unwrap; ERR_BUG when something else came
 * back. */
MUST_CHECK enum err prove_key(struct daemon *daemon, const char *id, const char *recipient,
                              const struct secret *pin, struct problem *problem);
