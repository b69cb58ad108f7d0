/*
 * gRPC client
 *
 * The other side of tokend/wire/http2.c, for tests and benches: unary calls over nghttp2's client. It opens no socket: what it says is taken from it, and what it hears is given to it.
 */
#pragma once

#include "common/buf.h"
#include "common/bytes.h"
#include "common/cleanup.h"

struct grpc_client;

struct grpc_result {
	int32_t stream;
	int status; /* -1: the stream was reset */
	const char *text; /* of the status, as it was on the wire; "" if none */
	struct bytes answer; /* gRPC frame; empty if none */
	bool plain; /* messages are to be sent uncompressed, it says */
};

typedef void (*grpc_done)(void *context, const struct grpc_result *result);

struct grpc_client *grpc_client_new(grpc_done done, void *context);
struct grpc_client *grpc_client_free(struct grpc_client *client);
DEFINE_CLEANUP(struct grpc_client *, grpc_client_free);

/* message: a gRPC frame, borrowed until the call is done. Its stream; -1: it cannot be made. */
int32_t grpc_client_call(struct grpc_client *client, const char *path, struct bytes message);

/* A request of sops' key service: an age recipient and data. Its gRPC frame is appended. */
void grpc_put_request(struct buf *out, const char *recipient, struct bytes data);

/* The next bytes to be sent; empty: none for now. */
struct bytes grpc_client_say(struct grpc_client *client);

/* What was received; false: it does not parse. */
bool grpc_client_hear(struct grpc_client *client, struct bytes heard);
