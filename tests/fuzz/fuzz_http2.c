/*
 * A stream of bytes from a hostile client to one HTTP/2 connection. The first byte says what becomes of calls (answered at once, refused, answered at the end, never), the second how the bytes are cut and how
 * much room there is for output. Whatever comes: what is held has a ceiling, no call has a longer message than may be, and after the end nothing more is said.
 */
#include <stdlib.h>

#include "tokend/wire/http2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define WAITING_MAX 64U

enum { ANSWER, REFUSE, LATER, NEVER, WAYS };

struct server {
	struct http2 *http2;
	uint8_t way;
	uint64_t now;
	uint32_t waiting[WAITING_MAX];
	size_t waiting_count;
};

static void check(bool right)
{
	if (!right)
		abort();
}

static void answer(const struct server *server, uint32_t stream)
{
	struct buf *message;

	check(buf_new(1024, &message) == OK);
	check(buf_put(message, bytes_of("\0\0\0\0\6answer", 11)) == OK);
	check(http2_answer(server->http2, stream, server->now, message) == OK);
}

static void on_call(void *context, uint32_t stream, const char *path, struct bytes message)
{
	struct server *server = context;

	check(strlen(path) < HTTP2_PATH_MAX && message.len <= HTTP2_MESSAGE_MAX);
	if (server->way == ANSWER)
		answer(server, stream);
	else if (server->way == REFUSE)
		check(http2_refuse(server->http2, stream, server->now, 5, path) == OK);
	else if (server->way == LATER && server->waiting_count < WAITING_MAX) {
		check(bytes_equal(http2_message(server->http2, stream), message));
		server->waiting[server->waiting_count++] = stream;
	}
}

static enum err drain(const struct server *server, size_t room)
{
	CLEANUP(buf_freep) struct buf *out = NULL;
	enum err err;
	size_t said;

	check(buf_new(room, &out) == OK);
	do {
		buf_clear(out);
		err = http2_output(server->http2, out);
		said = buf_len(out);
	} while (!err && said > 0);
	return err;
}

static enum err receive(struct server *server, struct bytes *rest, size_t step)
{
	struct bytes part = bytes_of(rest->data, rest->len < step ? rest->len : step);
	size_t taken = 0;
	enum err err = http2_receive(server->http2, part, server->now += 1000, &taken);

	check(taken <= part.len);
	check(http2_held(server->http2) <= HTTP2_STREAMS_MAX * (HTTP2_MESSAGE_MAX + 2048U));
	check(http2_waits_since(server->http2) <= server->now);
	/* A part that was not whole: the same again, and more of it. */
	if (err == ERR_AGAIN)
		return part.len == rest->len ? ERR_AGAIN : receive(server, rest, 2 * step);
	*rest = bytes_of(rest->data + taken, rest->len - taken);
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct server server = { 0 };
	struct bytes rest;
	size_t step, room;
	enum err err = OK;

	if (len < 2)
		return 0;
	server.way = data[0] % WAYS;
	step = 1U + data[1] % 16U * 16U;
	room = data[1] & 0x80 ? 128 : 8192;
	rest = bytes_of(data + 2, len - 2);
	check(http2_new(on_call, &server, &server.http2) == OK);
	while (!err && rest.len > 0) {
		err = receive(&server, &rest, step);
		if (!err)
			err = drain(&server, room);
	}
	for (size_t i = 0; i < server.waiting_count && err != ERR_BAD_MESSAGE; i++)
		answer(&server, server.waiting[i]);
	(void)drain(&server, room);
	http2_free(server.http2);
	return 0;
}
