/*
 * SOPS memory
 *
 * What an encrypted file held before it was changed: for each value that was opened, the piece of the file's text that stood for it, to be found again by where the value
 * is, its type and its plaintext. So a value that nobody changed keeps its ciphertext, byte for byte. No plaintext is kept, only a hash under a key that lives as long as this.
 */
#pragma once

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "formats/sops_value.h"

struct sops_memory;

MUST_CHECK enum err sops_memory_new(struct sops_memory **ret_memory);
struct sops_memory *sops_memory_free(struct sops_memory *memory);
DEFINE_CLEANUP(struct sops_memory *, sops_memory_free);

/* token: borrowed from the encrypted file for the lifetime of the memory. ERR_NOMEM. */
MUST_CHECK enum err sops_memory_add(struct sops_memory *memory, struct bytes path, enum sops_type type,
                                    struct bytes text, struct bytes token);

/* The token of such a value that was not given yet: the first in the file behind the one that was given last, or else the first of all; when all were, one of them again (its path and plaintext are the same, so nothing is said twice).
 * {NULL, 0}: there was none. memory NULL: there is none. */
struct bytes sops_memory_take(struct sops_memory *memory, struct bytes path, enum sops_type type,
                              struct bytes text);

/* How far behind the one that was given last the token would be that is given next, of those that were not given yet: who may look under several paths takes the nearest. Those before it count as farther.
 * SOPS_MEMORY_NONE: there is none. */
#define SOPS_MEMORY_NONE SIZE_MAX
size_t sops_memory_distance(struct sops_memory *memory, struct bytes path, enum sops_type type,
                            struct bytes text);

/* A value stands here that there was none of: most probably in the place of the next one, which is then not given to an equal one behind it. memory NULL: there is none. */
void sops_memory_pass(struct sops_memory *memory);
