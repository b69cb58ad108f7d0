/*
 * SOPS decrypt
 *
 * Opens every encrypted value of a document with the data key, checks the MAC over all of them, and gives the file as it was before it was encrypted: the text of
 * the encrypted one with the values in their places and without the metadata. Nothing is given unless the MAC is right.
 */
#pragma once

#include "common/secret.h"
#include "formats/sops_document.h"
#include "formats/sops_memory.h"
#include "formats/sops_metadata.h"
#include "formats/sops_value.h"

/* out gets the whole file, or for a binary file its bytes. ERR_BAD_CIPHERTEXT: a value or the MAC does not verify; ERR_BAD_FILE: a value that the rule covers is not encrypted,
 * or the rule is no pattern; both with the document's reason, which names paths but no values. ERR_UNSUPPORTED: a library is missing. What out held is kept in every case. */
MUST_CHECK enum err sops_decrypt(struct sops_document *document, const struct sops_metadata *metadata,
                                 const struct secret *data_key, struct buf *out);

/* The same, and memory learns what was opened. */
MUST_CHECK enum err sops_decrypt_remember(struct sops_document *document,
                                          const struct sops_metadata *metadata, const struct secret *data_key,
                                          struct sops_memory *memory, struct buf *out);

/* A value: its node, and its text as sops hashes it, borrowed for the call. type: of a clear value the one that it would be encrypted as. */
typedef enum err (*sops_visit)(void *context, uint32_t index, enum sops_type type, struct bytes text);

/* As sops_decrypt, but every value that is not null goes to visit, in order. What was visited may be used only when this returns OK: the MAC is checked last. Errors of visit as well. */
MUST_CHECK enum err sops_decrypt_values(struct sops_document *document, const struct sops_metadata *metadata,
                                        const struct secret *data_key, sops_visit visit, void *context);

/* One value alone, which is appended to out in the form that sops hashes; the MAC is not looked at. ERR_NO_MATCH when the node is null, a map, a list or a comment. */
MUST_CHECK enum err sops_decrypt_value(struct sops_document *document, const struct sops_metadata *metadata,
                                       const struct secret *data_key, uint32_t index,
                                       enum sops_type *ret_type, struct buf *out);

/* Loads the libraries that most files need, for whoever goes on in several processes. One that is missing is missed by the file that needs it. */
void sops_decrypt_prepare(void);
