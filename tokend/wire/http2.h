/*
 * HTTP/2
 *
 * One connection of a gRPC server over nghttp2: frames in, whole calls out; answers in, frames out. It opens no socket and reads no clock. Each stream is one unary call: headers, one message, the
 * end of the client's side; nothing is answered before that, so each answer ends its stream.
 *
 * Before nghttp2 sees a frame, it is whole and was let in: no longer than HTTP2_FRAME_MAX, no CONTINUATION (headers that do not fit into one frame are none of ours), and paid for. Each
 * frame costs, a reset more; time gives back a little, and each answered call more than it cost. Whoever only makes work is at the end of his credit soon (rapid reset, floods of PING, SETTINGS, empty
 * DATA...), and an honest client never is. Headers count as they unpack.
 */
#pragma once

#include "common/buf.h"
#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/err.h"

#define HTTP2_FRAME_MAX 16384U
#define HTTP2_FRAME_HEADER_LEN 9U
#define HTTP2_MESSAGE_MAX 16384U /* of a call, with its gRPC frame */
#define HTTP2_HEADERS_MAX 16384U /* of a call, unpacked, and 32 bytes for each as the protocol counts */
#define HTTP2_STREAMS_MAX 32U
#define HTTP2_PATH_MAX 64U
#define HTTP2_CREDIT_MAX 128U

struct http2;

/* A whole call. message is borrowed; it is answered by http2_answer or http2_refuse, now or later, and http2_message finds it until then. */
typedef void (*http2_call)(void *context, uint32_t stream, const char *path, struct bytes message);

MUST_CHECK enum err http2_new(http2_call call, void *context, struct http2 **ret_http2);
struct http2 *http2_free(struct http2 *http2);
DEFINE_CLEANUP(struct http2 *, http2_free);

/* Takes the first whole frame of data (or the greeting before all of them); now: microseconds of a clock that goes forward. ERR_AGAIN: no whole one yet. ERR_BAD_MESSAGE: this is the end; what
 * http2_output gives is the last word. */
MUST_CHECK enum err http2_receive(struct http2 *http2, struct bytes data, uint64_t now, size_t *ret_taken);

/* The message of a call that is not answered yet; empty when its stream is gone. Borrowed. */
struct bytes http2_message(const struct http2 *http2, uint32_t stream);

/* Answers with message, a gRPC frame, which is taken over; a stream that is gone is no error. */
MUST_CHECK enum err http2_answer(struct http2 *http2, uint32_t stream, uint64_t now, struct buf *message);

/* Answers with a gRPC status and its text. */
MUST_CHECK enum err http2_refuse(struct http2 *http2, uint32_t stream, uint64_t now, int status,
                                 const char *text);

/* Appends what is to be sent, as much as there is room for. ERR_BAD_MESSAGE: there is nothing to be said any more on this connection. */
MUST_CHECK enum err http2_output(struct http2 *http2, struct buf *out);

/* Bytes that its streams hold. */
size_t http2_held(const struct http2 *http2);

/* Since when the client owes the rest of a call, or room for an answer; of several the longest. 0: it owes nothing. */
uint64_t http2_waits_since(const struct http2 *http2);
