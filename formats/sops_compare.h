/*
 * SOPS compare
 *
 * Do two documents of one format say the same? Keys, order, kinds and values count; comments, quotes and white space do not. What was written is compared with what was meant this way.
 */
#pragma once

#include "formats/sops_document.h"

/* A float without a fraction and an integer of the same digits are the same, for their text does not tell them apart. */
bool sops_documents_are_same(const struct sops_document *a, const struct sops_document *b);

/* Does less say what document says without its node at index and what is in that? */
bool sops_document_is_without(const struct sops_document *less, const struct sops_document *document,
                              uint32_t index);
