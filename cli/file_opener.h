/*
 * File opener
 *
 * Opens the file key of one age file, or of one entry of a SOPS file, for whatever verb reads files: with the identity files of -i, a passphrase, or tokend. Knows the options -i and -p,
 * and says why nothing opens a file; what is done with the key is the caller's business.
 */
#pragma once

#include "cli/identity_file.h"
#include "cli/verb.h"
#include "formats/age_header.h"

/* The row of the option that names identity files, for the verbs that read files with this. */
#define FILE_OPENER_IDENTITY                                                                              \
	{                                                                                                 \
		'i', "identity", "FILE", "an identity file; needs no daemon for private keys in it", true \
	}

struct file_opener {
	struct invocation *invocation; /* borrowed */
	const char *name; /* of the file that is being opened, for messages; borrowed */
	struct bytes
	        recipient; /* of the entry that is being opened, as a SOPS file names it; empty: not known */
	struct identities identities;
	bool only_files; /* -i was given: nothing else is tried */
	bool passphrase; /* -p was given */
	bool asks; /* may a person be asked for a PIN or a passphrase? */
};

/* Reads the identity files that the options name. Verbs without an option -i or -p are fine, too. ERR_USAGE, and errors of identities_read. To be done with in any case. */
MUST_CHECK enum err file_opener_init(struct file_opener *opener, struct invocation *invocation);
void file_opener_done(struct file_opener *opener);

/* Is it a reason to try the next key? That one is not ours, not there or locked is. That a file is damaged is none; where each key has a file of its own, as in SOPS files, that is for their reader to say. */
bool file_opener_tries_next(enum err err);

/* Of several such failures the one that says most has the largest; OK: 0. That somebody else's entry is damaged says nothing; whether a key that is locked or away would have opened the file nobody knows. */
unsigned file_opener_weight(enum err err);

/* Is there somebody to ask for a PIN? */
bool file_opener_can_ask(const struct file_opener *opener);

/* Of the type age_open_file_key, opener being the context. ERR_NO_MATCH with a sentence that says to whom the file is. */
MUST_CHECK enum err file_opener_open(void *opener, const struct age_header *header,
                                     struct secret **ret_file_key);
