/*
 * SOPS block
 *
 * A file's metadata as text, to be put behind its values: either as it stood in the file that was decrypted, with another time and MAC in it, or written anew from a tree (of JSON values, named as sops names
 * them) when its recipients changed or the file is new. The tree keeps what tokend cannot use.
 */
#pragma once

#include <jansson.h>

#include "formats/sops_document.h"
#include "formats/sops_metadata.h"

struct sops_block {
	enum sops_format format;
	bool flow; /* YAML: the file is one map between brackets */
	json_t *tree; /* borrowed; NULL: as it stood in old */
	const struct sops_document *old; /* borrowed */
	const struct sops_metadata *metadata; /* of old */
};

/* Is the document's map written between brackets? */
bool sops_block_is_flow(const struct sops_document *document);

/* For sops_seal; context: a struct sops_block, whose tree gets the new time and MAC. ERR_BAD_FILE when a name in the tree is none; ERR_BUSY, ERR_NOMEM. */
MUST_CHECK enum err sops_block_put(void *block, const char *now, struct bytes mac, struct buf *out);

/* The metadata of a document as a tree; a new reference. */
MUST_CHECK enum err sops_block_read(const struct sops_document *document, json_t **ret_tree);
