/*
 * Front-end
 *
 * A wire protocol on a socket of its own. It turns bytes into requests and answers into bytes; it does not know that policies, keys or tokens exist. To add one: write
 * frontend/NAME.c with one constant struct frontend in it, and add a line to frontend/table.c.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"

struct client;
struct request;

struct frontend {
	const char *name; /* its socket is NAME.sock, or the one that systemd passes as NAME */
	size_t max_message; /* a longer one ends the connection */
	size_t max_reply;
	size_t max_requests; /* on their way for one connection */
	int backlog; /* connections that wait to be taken; whoever comes last waits for all of them, whoever they are */
	unsigned patience_ms; /* a message begun must be whole by then, and an answer taken */

	/*
	 * Takes the first whole message of data: *ret_taken is its length. Makes a request of it and submits it, or answers it by itself (request_answer_locally), or
	 * takes it without an answer. ERR_AGAIN: no whole message yet. Any other error ends the connection.
	 */
	MUST_CHECK enum err (*input)(struct client *client, struct bytes data, size_t *ret_taken);

	/* Appends the answer to out; reads request->err first. Answers go out in the order in which the requests came in; with a state, as they come, and it is the state that is told. */
	MUST_CHECK enum err (*reply)(const struct request *request, struct buf *out);

	const struct frontend_state
	        *state; /* of a protocol that keeps one for each connection; NULL: it does not */
};

struct frontend_state {
	MUST_CHECK enum err (*open)(struct client *client, void **ret_state);
	void (*close)(void *state);

	/* Appends what is to be said, as much as there is room for; any error ends the connection. What it says may be secret. */
	MUST_CHECK enum err (*output)(void *state, struct buf *out);

	size_t (*held)(const void *state); /* bytes of memory that the client has filled */

	/* Since when (CLOCK_MONOTONIC, microseconds) it waits for the rest of something, or for room for an answer; 0: it does not. */
	uint64_t (*waits_since)(const void *state);
};

#define FRONTENDS_MAX 4U
extern const struct frontend *const frontends[]; /* frontend/table.c; NULL-terminated */
