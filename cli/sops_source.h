/*
 * SOPS source
 *
 * A SOPS file on disk that a verb wants values of: read as a whole, its data key opened. Age files have no values, and are refused with a sentence.
 */
#pragma once

#include "cli/file_opener.h"
#include "cli/sops_file.h"

struct sops_source {
	struct sops_request request;
	struct buf *text; /* owned */
	struct buf *written; /* owned: the text with its aliases written out; NULL: there are none */
	struct sops_document document;
	struct sops_metadata *metadata; /* owned */
	struct secret *data_key; /* owned */
};

/* path as the command line has it ("-": standard input), borrowed as opener is; input_type NULL: by name and content. To be closed in any case. */
MUST_CHECK enum err sops_source_open(struct file_opener *opener, const char *path, const char *input_type,
                                     struct sops_source *source);
void sops_source_close(struct sops_source *source);

/* The sentence for an error of what was done with the opened file. Returns err. */
enum err sops_source_explain(const struct sops_source *source, enum err err);
