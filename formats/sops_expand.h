/*
 * SOPS expand
 *
 * A plain YAML document that is to become a SOPS file, with its aliases written out: sops has none, and encrypts and hashes what one stands for as often as it stands. As in sops "<<" stays a key, with the map
 * that it takes under it. Everything else of the text, anchors included, stays as it was written; a copy gets no comments, which stand where the anchor is.
 *
 * A SOPS file has an alias only where somebody has typed one. sops reads it as a copy of what it stands for, which is what it was in a value that is in the clear, if the MAC says so; a copy of a ciphertext opens at its own place alone.
 *
 * What is written is read again and compared with what was meant. What aliases may come to is limited before anything is written.
 */
#pragma once

#include "formats/sops_document.h"

#define SOPS_EXPAND_VALUES_MAX 100000U /* that come of aliases */
#define SOPS_EXPAND_BYTES_MAX (16U << 20)

struct sops_plain {
	struct sops_document document; /* without aliases; of the text, or of expanded */
	struct buf *expanded; /* owned; NULL: there was no alias in it */
	size_t aliases; /* that were written out */
};

/* Reads a plain text of any format but binary. Errors of sops_document_read, with the document's reason; ERR_BAD_FILE also for an alias that is a part of what it stands for, and for those that come to too
 * much. To be done with in any case. */
MUST_CHECK enum err sops_plain_read(struct sops_plain *plain, enum sops_format format, struct bytes text);
void sops_plain_done(struct sops_plain *plain);

/* Reads a SOPS file of any format. ret_written: the text that the document is of, when it is not the one that was given; to be freed after the document, in any case. Errors as above. */
MUST_CHECK enum err sops_sealed_read(struct sops_document *document, enum sops_format format,
                                     struct bytes text, struct buf **ret_written);

/* "<<" without quotes that takes neither a map nor a list of maps: ERR_BAD_FILE with a reason, for a file that is made of it no newer sops would read. */
MUST_CHECK enum err sops_plain_check_merges(struct sops_document *document);
