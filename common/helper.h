/*
 * Helper
 *
 * The process that alone talks to one token and alone holds its unsealed keys: tokend-tpm. This is all of it except the backend:
 * it shuts its sandbox, then answers token messages (token_message.h) on one socket until the broker closes it: one at a time, or two at a
 * time that change nothing. It parses nothing else, opens no file but its device, has no network, and knows no peer, no policy, no key's name.
 *
 * helper.c is the loop, helper_questions.c where its questions come from (also while the device is at work), helper_second.c the second thread, helper_keys.c the keys it has been given (blobs always; unsealed secrets when class
 * and PIN allow), helper_sandbox.c what is shut before the first message is read.
 */
#pragma once

#include "common/token.h"

struct helper_options {
	const char *uri; /* without the scheme */
	int socket; /* SOCK_SEQPACKET, connected to the broker */
	int notes; /* a file of one struct token_notes that the next process gets too; 0: there is none */
	bool allow_inet; /* false always outside a laboratory */
};

/* Runs until the broker closes the socket. Returns the process's exit status. */
int helper_run(const struct token_ops *ops, const struct helper_options *options);

/* The main() of every helper: `tokend-tpm --socket FD --notes FD --token URI` (or --version, --help). */
int helper_main(const struct token_ops *ops, const char *program, int argc, char **argv);
