/*
 * SOPS write
 *
 * A decrypted value as its format writes it, in the place of the encrypted one: quoted only where it has to be, several lines as a YAML block where the place allows it.
 */
#pragma once

#include "formats/sops_document.h"
#include "formats/sops_value.h"

/* Appends text, of the type that the ciphertext named, for node of document. ERR_BUSY, ERR_NOMEM; ERR_UNSUPPORTED when the format cannot say it. */
MUST_CHECK enum err sops_value_write(const struct sops_document *document, const struct sops_node *node,
                                     enum sops_type type, struct bytes text, struct buf *out);

/* A string as JSON writes it; bytes that are no UTF-8 become U+FFFD, as in sops. */
MUST_CHECK enum err sops_json_string_write(struct bytes text, struct buf *out);
