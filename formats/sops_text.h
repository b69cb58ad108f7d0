/*
 * SOPS text
 *
 * What the readers and the writer of SOPS files share about text: UTF-8, integers, times, and which type sops (go-yaml) sees in a plain YAML scalar.
 */
#pragma once

#include "formats/sops_document.h"

/* The character that text (not empty) begins with, and its length in bytes; for a byte that is no UTF-8 U+FFFD and 1. */
size_t sops_text_character(struct bytes text, uint32_t *ret_character);
bool sops_text_is_utf8(struct bytes text);

/* How many bytes of white space, as Go takes it (all of Unicode's), text begins with, and ends with. */
size_t sops_text_space_before(struct bytes text);
size_t sops_text_space_behind(struct bytes text);

/* Writes a character as UTF-8 (at most 4 bytes), returns its length. */
size_t sops_text_encode(uint32_t character, uint8_t *out);

/* An integer of 64 bits with a sign: its decimal text. base 0: Go's prefixes 0x, 0o, 0b and a leading 0. ERR_BAD_FILE when it is none, ERR_BUSY when it needs an unsigned one, ERR_NOMEM. */
MUST_CHECK enum err sops_text_integer(struct sops_document *document, struct bytes text, int base,
                                      struct bytes *ret_text);

/* Sets kind and text of a node from a plain YAML scalar. ERR_BUSY: an integer that sops refuses; ERR_NOMEM. */
MUST_CHECK enum err sops_text_resolve(struct sops_document *document, struct bytes plain,
                                      struct sops_node *node);

/* Would a YAML reader (of version 1.1 or 1.2) take the plain scalar for anything else than a string? */
bool sops_text_is_ambiguous(struct bytes plain);
