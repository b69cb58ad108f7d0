/*
 * SOPS file
 *
 * Decrypts a whole SOPS file for the command line: which format it has, which of its age entries opens the data key (or enough shares of it), and the sentence for what goes wrong. How
 * a file key is opened, by tokend or an identity file, is the opener's business, as for an age file.
 */
#pragma once

#include "cli/file_opener.h"
#include "cli/problem.h"
#include "common/buf.h"
#include "formats/age_file.h"
#include "formats/sops_document.h"
#include "formats/sops_metadata.h"

/* The row of the option that says what the file is, for the verbs that read one. */
#define SOPS_INPUT_TYPE                                                                                 \
	{                                                                                               \
		0, "input-type", "yaml|json|dotenv|ini|binary", "of the file, whatever its name", false \
	}

struct sops_request {
	const char *name; /* of the file, for messages */
	const char *path; /* NULL: standard input */
	const char *input_type; /* as the options say; NULL: by name and content */
	const char *output_type; /* NULL: as the input */
	bool quotes; /* dotenv is written as a shell reads it */
	struct file_opener *opener; /* borrowed */
	struct problem *problem;
};

/* Does text hold what no SOPS file is without? Asked before it is parsed. */
bool sops_file_is_likely(struct bytes text);

/* Does a whole encrypted value stand in it (not one that is abridged, as in a manual)? One pass. */
bool sops_file_has_value(struct bytes text);

/* The sentence for what is left of a SOPS file without its metadata: nobody can open it, and what would be encrypted again would be lost twice. Returns ERR_BAD_FILE. */
enum err sops_file_refuse_remains(const char *name, struct problem *problem);

/* When a text that cannot be read is so because git has put its marks of a conflict into it: says so, and how its values are merged. Returns err. */
enum err sops_file_explain_marks(const struct sops_request *request, struct bytes text, enum err err);

/* ERR_BAD_FILE, with what it is instead and the next command, when text is not likely a SOPS file. */
MUST_CHECK enum err sops_file_check(const struct sops_request *request, struct bytes text);

/* The decrypted file, verified, is appended to out. ERR_NO_MATCH when no entry opens; ERR_BAD_CIPHERTEXT, ERR_BAD_FILE, ERR_UNSUPPORTED with a sentence in the problem. */
MUST_CHECK enum err sops_file_decrypt(const struct sops_request *request, struct bytes text, struct buf *out);

/* Parts of it, for what writes such files. Which format text has: ERR_USAGE when the type that was asked for is none. */
MUST_CHECK enum err sops_file_format(const struct sops_request *request, struct bytes text,
                                     enum sops_format *ret_format);

/* The data key, from as many groups as it takes. ERR_NO_MATCH with a sentence. */
MUST_CHECK enum err sops_file_open_key(const struct sops_request *request,
                                       const struct sops_metadata *metadata, struct secret **ret_key);

/* The sentence for err, from the document's reason, unless there is one. Returns err, or ERR_BAD_FILE for a file without metadata. */
enum err sops_file_explain(const struct sops_request *request, const struct sops_document *document,
                           enum err err);
