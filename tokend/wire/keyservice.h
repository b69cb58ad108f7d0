/*
 * Keyservice
 *
 * The two messages of sops' key service (keyservice.proto) as protobuf has them, in a gRPC frame. Both requests have the same form, and so have both answers:
 *
 *	request   key = 1 (one of seven kinds of key)   data = 2 (bytes)
 *	answer    data = 1 (bytes)
 *
 * The reader is our own: of protobuf these messages use length-delimited fields alone, nothing is allocated, and what is not known is skipped, as protobuf demands. What is read is borrowed.
 */
#pragma once

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"

#define GRPC_PREFIX_LEN 5U /* not compressed, and the length */

enum keyservice_key {
	KEYSERVICE_KEY_NONE, /* none was given */
	KEYSERVICE_KEY_AGE,
	KEYSERVICE_KEY_OTHER, /* pgp, a cloud's, one that is not known yet */
};

struct keyservice_request {
	enum keyservice_key key;
	struct bytes recipient; /* of an age key */
	struct bytes data; /* what is to be encrypted or decrypted */
};

/* Takes the message out of its gRPC frame, which must be the only one. ERR_UNSUPPORTED: it is compressed; ERR_BAD_MESSAGE. */
MUST_CHECK enum err grpc_read_frame(struct bytes text, struct bytes *ret_message);

/* ERR_BAD_MESSAGE. */
MUST_CHECK enum err keyservice_read_request(struct bytes message, struct keyservice_request *ret_request);

/* The answer, in its frame. Errors of buf_put. */
MUST_CHECK enum err keyservice_put_answer(struct buf *out, struct bytes data);
