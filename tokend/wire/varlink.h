/*
 * Varlink
 *
 * The wire of the control socket: JSON objects, each ended by a NUL byte. This reads calls and writes the frame of replies; what the methods mean, and which there are, is
 * the front-end's business (frontend/control.c).
 */
#pragma once

#include <jansson.h>

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"
#include "tokend/wire/json_writer.h"

/* Of a call, with its NUL: that of 256 stanzas has 50 KiB. While one is parsed everybody waits. */
#define VARLINK_MESSAGE_MAX (64U << 10)
#define VARLINK_DEPTH_MAX 32U /* arrays and objects inside each other */
#define VARLINK_METHOD_MAX 128U

struct varlink_call {
	json_t *message; /* owned; the rest borrows from it */
	const char *method; /* whole name, at most VARLINK_METHOD_MAX bytes, printable */
	const json_t *parameters; /* NULL: none */
	bool oneway; /* no answer is wanted */
	bool more; /* several answers would be taken; we send one */
	bool upgrade; /* another protocol is wanted: never granted */
};

/* The length of the first message of data, with its NUL. ERR_AGAIN when it is not whole, ERR_BAD_MESSAGE when it is too long already. */
MUST_CHECK enum err varlink_find_message(struct bytes data, size_t *ret_len);

/* Reads one message (without its NUL). ERR_BAD_MESSAGE when it is not a call; ret_call then needs no varlink_call_done. */
MUST_CHECK enum err varlink_parse(struct bytes text, struct varlink_call *ret_call);
void varlink_call_done(struct varlink_call *call);

/* A reply: begin, members of its parameters, end. error: its whole name, NULL for success. */
void varlink_reply_begin(struct json_writer *writer, struct buf *out, const char *error);
MUST_CHECK enum err varlink_reply_end(struct json_writer *writer);
