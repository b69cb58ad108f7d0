/*
 * SOPS seal
 *
 * Makes a SOPS file of a plain document, for every verb that writes one. An edit is not done to the encrypted file: it is decrypted, which keeps its text but for the values, the plain text is changed
 * (sops_edit.h, or an editor), and the result is sealed again. Sealing, too, keeps the text: it replaces the places of the values that the rule covers and puts the metadata where it belongs; order, comments, quotes and
 * indentation stay as they are. A value that was there before, at the same path and of the same type, gets the very piece of text that stood for it (sops_memory.h). So one changed value is one changed
 * line, beside lastmodified and mac, and sealing what was decrypted gives the file again.
 *
 * The MAC is over the whole document as sops hashes it. What sealed is not verified here: who writes a file decrypts it once more first (cli/sops_store.h).
 */
#pragma once

#include "formats/sops_document.h"
#include "formats/sops_memory.h"
#include "formats/sops_metadata.h"

#define SOPS_TIME_LEN 20U /* 2026-11-26T12:00:00Z */

struct sops_seal {
	struct sops_document *plain; /* its reason says what is wrong */
	const struct sops_metadata *metadata; /* rule, pattern and mac_only_encrypted are used */
	const struct secret *data_key;
	struct sops_memory *memory; /* NULL: every value is new */
	const char *now; /* RFC 3339, UTC: the new lastmodified */
	struct sops_memory *sealed; /* what no comment may leave in the clear from now on; NULL: nothing */
};

/* What metadata a file gets: appends it in the syntax of the format to out. mac is the encrypted MAC. */
typedef enum err (*sops_put_block)(void *context, const char *now, struct bytes mac, struct buf *out);

/* Appends the SOPS file to out. ERR_BAD_FILE with the document's reason: it has metadata already, holds no value or what sops cannot encrypt, the rule is no pattern, or a comment that the rule is about would leave a value in the clear that was encrypted. ERR_UNSUPPORTED: a library is
 * missing. ERR_BUSY, ERR_NOMEM. What out held is kept. */
MUST_CHECK enum err sops_seal(const struct sops_seal *seal, sops_put_block put_block, void *context,
                              struct buf *out);

/* The plain document of a binary file: bytes, which are borrowed, are the value of data in a JSON document. Errors of sops_document_read. */
MUST_CHECK enum err sops_seal_read_binary(struct sops_document *document, struct bytes bytes);

/* The time now, as lastmodified has it. */
void sops_seal_time(char out[static SOPS_TIME_LEN + 1]);
