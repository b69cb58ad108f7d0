/*
 * SOPS comment
 *
 * Which map or list a comment belongs to. For sops that is part of what is authenticated, and for two of its rules it decides what is encrypted; it takes it from go-yaml, for which a comment is the
 * head of what follows without an empty line, stands on the line of a value, or is the foot of what precedes, by its indentation. In INI files it belongs to the section of what follows.
 */
#pragma once

#include "formats/sops_document.h"

#define SOPS_COMMENT_PLACES 3U

/* Who is asked. It remembers what stands around the comment that was asked for last, so that a whole file costs one pass when its comments are asked for in order. */
struct sops_comments {
	const struct sops_document *document; /* borrowed; does not change meanwhile */
	uint32_t begin, end; /* the comments around the last one, with no other node between */
	uint32_t asked, next; /* of these, the last whose next node was looked for, and that */
	uint32_t head_next; /* the node before which empty lines were looked for, */
	size_t head_from, empty_line; /* from where, and the last one; SIZE_MAX: there is none */
};

void sops_comments_init(struct sops_comments *comments, const struct sops_document *document);

/* The container that the comment at index belongs to; SOPS_NONE: the map of the document. */
uint32_t sops_comment_owner(struct sops_comments *comments, uint32_t index);

/* The first node behind it that is no comment; the document's count: there is none. */
uint32_t sops_comment_behind(struct sops_comments *comments, uint32_t index);

/* Does it stand on the line of a value, behind it? ret_value: which. */
bool sops_comment_is_inline(struct sops_comments *comments, uint32_t index, uint32_t *ret_value);

/* Where sops may have seen it: these nodes, and what they are in, are tried in order. SOPS_NONE: the map of the document. */
void sops_comment_places(struct sops_comments *comments, uint32_t index,
                         uint32_t ret_places[static SOPS_COMMENT_PLACES]);
