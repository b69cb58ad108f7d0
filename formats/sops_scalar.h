/*
 * Block scalars of YAML
 *
 * Whether the library has read a block (what begins with | or >) as it stands there. libfyaml 0.7.12 takes the lines behind an empty one that is not at the top for its text, and what is in memory for that of one that ends the
 * file: keys would be lost, and values made up. Knows lines and indentation, and nothing of how a block is folded.
 */
#pragma once

#include "common/bytes.h"

/* start: of the block's | or > in text; indent: of the keys or dashes that it stands behind; read: what the library has made of it. Compares all but white space, which is enough to tell whose lines they are. */
bool sops_scalar_is_as_written(struct bytes text, size_t start, size_t indent, struct bytes read);
