/*
 * Front-end
 *
 * A wire protocol on a socket of its own. It turns bytes into requests and answers into bytes; it does not know that policies, keys or tokens exist. To add one: write
 * frontend/NAME.c with one constant struct frontend in it, and add a line to frontend/table.c.
 */
#pragma once

#include <stddef.h>

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"

struct client;
struct request;

struct frontend {
	const char *name; /* its socket is NAME.sock, or the one that systemd passes as NAME */
	size_t max_message; /* a longer one ends the connection */
	size_t max_reply;

	/*
	 * Takes the first whole message of data: *ret_taken is its length. Makes a request of it and submits it, or answers it by itself (request_answer_locally), or
	 * takes it without an answer. ERR_AGAIN: no whole message yet. Any other error ends the connection.
	 */
	MUST_CHECK enum err (*input)(struct client *client, struct bytes data, size_t *ret_taken);

	/* Appends the answer to out; reads request->err first. Answers go out in the order in which the requests came in. */
	MUST_CHECK enum err (*reply)(const struct request *request, struct buf *out);
};

#define FRONTENDS_MAX 4U
extern const struct frontend *const frontends[]; /* frontend/table.c; NULL-terminated */
