/*
 * SOPS decrypt
 *
 * Opens every encrypted value of a document with the data key, checks the MAC over all of them, and gives the file as it was before it was encrypted: the text of
 * the encrypted one with the values in their places and without the metadata. Nothing is given unless the MAC is right.
 */
#pragma once

#include "common/secret.h"
#include "formats/sops_document.h"
#include "formats/sops_metadata.h"

/* out gets the whole file, or for a binary file its bytes. ERR_BAD_CIPHERTEXT: a value or the MAC does not verify; ERR_BAD_FILE: a value that the rule covers is not encrypted,
 * or the rule is no pattern; both with the document's reason, which names paths but no values. ERR_UNSUPPORTED: a library is missing. What out held is kept in every case. */
MUST_CHECK enum err sops_decrypt(struct sops_document *document, const struct sops_metadata *metadata,
                                 const struct secret *data_key, struct buf *out);
