/*
 * Decrypt tree
 *
 * Every age and SOPS file below a directory, by content, in one go. Processes share the list of files and take the next one each (the pool of secrets, and the libraries that are loaded
 * late, belong to one thread), so that one waits for tokend while others decrypt, and tokend writes the records of several with one sync. Nobody asks a person but the first process, which
 * takes up at the end what needs a PIN.
 */
#pragma once

#include "cli/verb.h"

/* The options check, output-dir, identity, input-type and output-type of the invocation are meant. What failed was said on standard error; the error is that of the first. */
MUST_CHECK enum err decrypt_tree(struct invocation *invocation, const char *path);
