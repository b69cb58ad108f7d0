/*
 * SOPS file
 *
 * Decrypts a whole SOPS file for the command line: which format it has, which of its age entries opens the data key (or enough shares of it), and the sentence for what goes wrong. How
 * a file key is opened, by tokend or an identity file, is the caller's business, as for an age file.
 */
#pragma once

#include "cli/problem.h"
#include "common/buf.h"
#include "formats/age_file.h"
#include "formats/sops_document.h"

struct sops_request {
	const char *name; /* of the file, for messages */
	const char *path; /* NULL: standard input */
	const char *input_type; /* as the options say; NULL: by name and content */
	const char *output_type; /* NULL: as the input */
	age_open_file_key open; /* ERR_NO_MATCH and its like: the next entry is tried */
	void *open_context;
	struct problem *problem;
};

/* Does text hold what no SOPS file is without? Asked before it is parsed. */
bool sops_file_is_likely(struct bytes text);

/* The decrypted file, verified, is appended to out. ERR_NO_MATCH when no entry opens; ERR_BAD_CIPHERTEXT, ERR_BAD_FILE, ERR_UNSUPPORTED with a sentence in the problem. */
MUST_CHECK enum err sops_file_decrypt(const struct sops_request *request, struct bytes text, struct buf *out);
