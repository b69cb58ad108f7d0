/*
 * File decrypt
 *
 * One file on its way from a descriptor to wherever its plaintext goes: an age file chunk by chunk, as it is verified; what does not begin like one is read as a whole and may be a SOPS
 * file. By content, whatever its name. How keys are opened is the opener's business.
 */
#pragma once

#include <sys/types.h>

#include "cli/file_opener.h"
#include "formats/age_stream.h"

struct file_decryption {
	struct file_opener *opener; /* borrowed; its name is the file's */
	const char *path; /* its name may say the type; NULL: standard input */
	const char *input_type, *output_type; /* of a SOPS file; NULL: as it is */
	bool quotes; /* dotenv is written as a shell reads it */
	age_stream_sink sink;
	void *sink_context;
	bool foreign; /* set when it is neither an age file nor a SOPS file */
	struct age_reader *reader; /* set and used inside */
	struct buf *whole; /* the same: what is no age file */
	bool too_large; /* the same: and can be no SOPS file either */
	off_t size; /* the same: of a regular file, else 0 */
};

/* Reads input to its end. What the sink got before an error must not be used, but for the chunks of a stream. The opener's problem has the sentence. */
MUST_CHECK enum err file_decrypt(struct file_decryption *decryption, int input);

/* Would the file at input be decrypted, by what is in it and by its name? Reads it. One that cannot be read to its end is taken for encrypted. */
bool file_decrypt_is_encrypted(const char *path, int input);
