/*
 * Identity file and recipients file
 *
 * Reads what -i and -R name: lines, '#' comments, and for identities also a file that is itself encrypted with a passphrase. What a line means is formats/recipient's
 * business; here are files, limits, line numbers and the sentence for what is not supported. Private keys pass through locked memory only.
 */
#pragma once

#include "cli/problem.h"
#include "common/err.h"
#include "formats/recipient.h"

#define IDENTITIES_MAX 1024U
#define IDENTITY_FILE_MAX (1U << 20)
#define RECIPIENTS_FILE_MAX (16U << 20)

struct identities {
	struct identity *items; /* owned */
	size_t count;
	bool leave_plugins; /* set before reading: a line of another program's plugin is counted, not refused */
	size_t plugins_left; /* how many those were */
};

/* Appends the identities of path ("-": standard input). Asks for a passphrase on the terminal when the file is encrypted with one. */
MUST_CHECK enum err identities_read(const char *path, struct problem *problem, struct identities *identities);
void identities_done(struct identities *identities);

struct recipients {
	struct recipient *items; /* owned */
	size_t count;
};

/* Appends one recipient: a line, what the lines of a file say, or the public half of an identity. */
MUST_CHECK enum err recipients_add(const char *line, struct problem *problem, struct recipients *recipients);
MUST_CHECK enum err recipients_read(const char *path, struct problem *problem, struct recipients *recipients);
MUST_CHECK enum err recipients_add_identity(const struct identity *identity, struct problem *problem,
                                            struct recipients *recipients);
MUST_CHECK enum err recipients_add_passphrase(struct secret *passphrase,
                                              struct recipients *recipients); /* takes it */
void recipients_done(struct recipients *recipients);

/* Reads the first line of path ("-": standard input) as a PIN or passphrase, without its line end. */
MUST_CHECK enum err secret_read_file(const char *path, struct problem *problem, struct secret **ret_secret);
