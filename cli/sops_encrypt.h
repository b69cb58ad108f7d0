/*
 * SOPS encrypt
 *
 * A plain file made a SOPS file, for tokenctl encrypt: what the options and .sops.yaml say about recipients and rules, the file's type, and where the result goes. The options win over .sops.yaml, as in sops.
 */
#pragma once

#include "cli/identity_file.h"
#include "cli/verb.h"

/* Do the options, or without recipients .sops.yaml, ask for a SOPS file? ERR_USAGE when they contradict each other. Errors of reading .sops.yaml. */
MUST_CHECK enum err sops_encrypt_is_meant(struct invocation *invocation, const char *path,
                                          bool has_recipients, bool *ret_meant);

/* path NULL: standard input. recipients: none, where .sops.yaml names them. */
MUST_CHECK enum err sops_encrypt_file(struct invocation *invocation, const char *path,
                                      const struct recipients *recipients);
