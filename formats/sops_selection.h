/*
 * SOPS selection
 *
 * Which values of a document are encrypted: the rule of its metadata, tested against every key on the way to a value. A rule about comments is decided by the caller from what
 * is there, for which comment belongs to which value is a matter of YAML's white space.
 */
#pragma once

#include "formats/sops_document.h"
#include "formats/sops_metadata.h"

struct sops_selection;

/* ERR_BAD_FILE when the rule's pattern is none of RE2; ERR_UNSUPPORTED without libpcre2. Both borrowed for its lifetime. */
MUST_CHECK enum err sops_selection_new(const struct sops_document *document,
                                       const struct sops_metadata *metadata,
                                       struct sops_selection **ret_selection);
struct sops_selection *sops_selection_free(struct sops_selection *selection);
DEFINE_CLEANUP(struct sops_selection *, sops_selection_free);

/* Does the rule ask for encryption? Nodes are to be asked for in order. ERR_BUSY when a pattern takes too long. */
MUST_CHECK enum err sops_selection_ask(struct sops_selection *selection, uint32_t index, bool *ret_encrypted);

/* Is it a rule about comments? Then sops_selection_ask says nothing. */
bool sops_selection_is_open(const struct sops_selection *selection);
