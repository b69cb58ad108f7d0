/*
 * SOPS path
 *
 * Where a value stands in a document, as people write it: as sops does (["db"]["hosts"][0]; nothing is escaped, a key goes on to the quotes that a bracket and the next step or the end
 * follow), or short (db.hosts.0, db.hosts[0]), where a number is a place in a list and, in a map, a key. It knows nothing of values.
 */
#pragma once

#include "formats/sops_document.h"

#define SOPS_PATH_STEPS_MAX SOPS_DEPTH_MAX
#define SOPS_PATH_LEN_MAX 4096U

struct sops_step {
	struct bytes key; /* borrowed from the text; of a number in brackets: no data */
	bool is_number; /* it may be a place in a list */
	uint32_t number;
};

struct sops_path {
	struct sops_step steps[SOPS_PATH_STEPS_MAX];
	size_t count; /* at least 1 */
};

/* Reads a path from text, which is borrowed for its lifetime. ERR_USAGE when it is none. */
MUST_CHECK enum err sops_path_parse(struct bytes text, struct sops_path *ret_path);

/* The node of document (of its first part, in YAML) at the first count steps of path; count 0: the map at the top. Comments in a list are not counted; the metadata is not found.
 * ERR_NO_MATCH. */
MUST_CHECK enum err sops_path_find(const struct sops_document *document, const struct sops_path *path,
                                   size_t count, uint32_t *ret_index);
