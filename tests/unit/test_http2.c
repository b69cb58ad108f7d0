/*
 * One HTTP/2 connection in memory: honest calls from nghttp2's own client, and what others do. A row of an attack is one or more frames that are repeated; it must be at its end soon, and hold little
 * meanwhile.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <nghttp2/nghttp2.h>
#include <stdlib.h>

#include "tests/fake/grpc_client.h"
#include "tokend/wire/http2.h"
#include "tokend/wire/keyservice.h"

#define TEXT(literal)                                           \
	{                                                       \
		(const uint8_t *)(literal), sizeof(literal) - 1 \
	}
#define OUT_MAX 65536U
#define GREETING "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define SETTINGS "\0\0\0\4\0\0\0\0\0"

/* ---- a server that echoes, and keeps what it is asked to keep ---- */

struct server {
	struct http2 *http2;
	unsigned calls;
	bool hold; /* calls are answered by nobody */
	uint32_t last;
	uint64_t now;
};

static void on_call(void *context, uint32_t stream, const char *path, struct bytes message)
{
	struct server *server = context;
	struct buf *answer;

	server->calls++;
	server->last = stream;
	if (server->hold)
		return;
	if (strcmp(path, "/echo") != 0) {
		assert_int_equal(
		        http2_refuse(server->http2, stream, server->now, 12, "no such method: 100 %\n"), OK);
		return;
	}
	assert_int_equal(buf_new(OUT_MAX, &answer), OK);
	assert_int_equal(buf_put(answer, message), OK);
	assert_int_equal(http2_answer(server->http2, stream, server->now, answer), OK);
}

static void server_begin(struct server *server)
{
	*server = (struct server){ .now = 1000000 };
	assert_int_equal(http2_new(on_call, server, &server->http2), OK);
}

/* Gives it all of data; the first error that is not "not whole yet". */
static enum err feed(struct server *server, struct bytes data)
{
	while (data.len > 0) {
		size_t taken = 0;
		enum err err = http2_receive(server->http2, data, server->now, &taken);

		if (err == ERR_AGAIN)
			return OK;
		if (err)
			return err;
		data = bytes_of(data.data + taken, data.len - taken);
	}
	return OK;
}

static enum err drain(const struct server *server, struct buf *out)
{
	enum err err;
	size_t before;

	do {
		before = buf_len(out);
		err = http2_output(server->http2, out);
	} while (!err && buf_len(out) > before);
	return err;
}

/* ---- honest calls ---- */

static struct {
	unsigned count;
	int status;
	char text[256];
	size_t answer_len;
	bool plain;
} heard;

static void on_done(void *context, const struct grpc_result *result)
{
	(void)context;
	heard.count++;
	heard.status = result->status;
	(void)snprintf(heard.text, sizeof(heard.text), "%s", result->text);
	heard.answer_len = result->answer.len;
	heard.plain = result->plain;
}

/* Both sides, until neither has anything to say. room: how much the server may say at a time. */
static void converse(struct server *server, struct grpc_client *client, size_t room)
{
	struct bytes said;
	size_t more;

	do {
		CLEANUP(buf_freep) struct buf *out = NULL;

		more = 0;
		while ((said = grpc_client_say(client)).len > 0) {
			assert_int_equal(feed(server, said), OK);
			more += said.len;
		}
		assert_int_equal(buf_new(room, &out), OK);
		assert_int_equal(http2_output(server->http2, out), OK);
		more += buf_len(out);
		assert_true(grpc_client_hear(client, buf_bytes(out)));
	} while (more > 0);
}

static void test_calls(void **state)
{
	CLEANUP(grpc_client_freep) struct grpc_client *client = grpc_client_new(on_done, NULL);
	CLEANUP(buf_freep) struct buf *message = NULL;
	struct server server;

	(void)state;
	server_begin(&server);
	heard.count = 0;
	assert_int_equal(buf_new(OUT_MAX, &message), OK);
	grpc_put_request(message, "age1", bytes_of_string("data"));
	for (unsigned i = 0; i < 1000; i++) {
		assert_true(grpc_client_call(client, "/echo", buf_bytes(message)) > 0);
		converse(&server, client, 512);
		assert_int_equal(heard.count, i + 1);
		assert_int_equal(heard.status, 0);
		assert_int_equal(heard.answer_len, buf_len(message));
	}
	assert_int_equal(http2_held(server.http2), 0);
	assert_int_equal(http2_waits_since(server.http2), 0);
	http2_free(server.http2);
}

/* As many at once as there are streams, answered when all are there; what is beyond waits at the client. */
static void test_many_at_once(void **state)
{
	CLEANUP(grpc_client_freep) struct grpc_client *client = grpc_client_new(on_done, NULL);
	CLEANUP(buf_freep) struct buf *message = NULL;
	struct server server;

	(void)state;
	server_begin(&server);
	heard.count = 0;
	server.hold = true;
	assert_int_equal(buf_new(OUT_MAX, &message), OK);
	grpc_put_request(message, "age1", bytes_of_string("data"));
	/* The limit is known after the first words. */
	converse(&server, client, 512);
	for (unsigned i = 0; i < 40; i++)
		assert_true(grpc_client_call(client, "/echo", buf_bytes(message)) > 0);
	converse(&server, client, 512);
	assert_int_equal(server.calls, HTTP2_STREAMS_MAX);
	assert_int_equal(http2_waits_since(server.http2), 0);
	assert_true(http2_held(server.http2) > HTTP2_STREAMS_MAX * buf_len(message));
	server.hold = false;
	for (uint32_t stream = 1, last = server.last; stream <= last; stream += 2) {
		struct bytes asked = http2_message(server.http2, stream);

		if (asked.len > 0)
			on_call(&server, stream, "/echo", asked);
	}
	converse(&server, client, 512);
	assert_int_equal(heard.count, 40);
	http2_free(server.http2);
}

static void test_refusal(void **state)
{
	CLEANUP(grpc_client_freep) struct grpc_client *client = grpc_client_new(on_done, NULL);
	CLEANUP(buf_freep) struct buf *message = NULL;
	struct server server;

	(void)state;
	server_begin(&server);
	heard.count = 0;
	assert_int_equal(buf_new(OUT_MAX, &message), OK);
	grpc_put_request(message, "age1", bytes_of_string("data"));
	assert_true(grpc_client_call(client, "/other", buf_bytes(message)) > 0);
	converse(&server, client, 512);
	assert_int_equal(heard.status, 12);
	assert_string_equal(heard.text, "no such method: 100 %25%0A");
	assert_true(heard.plain);
	assert_int_equal(heard.answer_len, 0);
	/* An answer that comes twice, or to nobody, is nothing. */
	assert_int_equal(http2_refuse(server.http2, 1, server.now, 5, "late"), OK);
	assert_int_equal(http2_refuse(server.http2, 77, server.now, 5, "nobody"), OK);
	converse(&server, client, 512);
	assert_int_equal(heard.count, 1);
	http2_free(server.http2);
}

static void test_long_message(void **state)
{
	CLEANUP(grpc_client_freep) struct grpc_client *client = grpc_client_new(on_done, NULL);
	CLEANUP(buf_freep) struct buf *message = NULL;
	static uint8_t data[HTTP2_MESSAGE_MAX];
	struct server server;

	(void)state;
	server_begin(&server);
	assert_int_equal(buf_new(OUT_MAX, &message), OK);
	grpc_put_request(message, "age1", bytes_of(data, sizeof(data)));
	assert_true(grpc_client_call(client, "/echo", buf_bytes(message)) > 0);
	converse(&server, client, 512);
	assert_int_equal(heard.status, 8);
	assert_int_equal(server.calls, 0);
	http2_free(server.http2);
}

/* ---- others ---- */

/* :method POST, :scheme http, :authority x, :path /echo, content-type application/grpc; as HPACK has them without its tables. */
#define HEADERS_BLOCK                                \
	"\x83\x86\x01\x01x\x04\x05/echo\x0f\x10\x10" \
	"application/grpc"
#define HEADERS_LEN "\0\0\x1f"
#define OPEN HEADERS_LEN "\1\4"
#define WHOLE HEADERS_LEN "\1\5"

struct attack {
	const char *what;
	struct bytes
	        frame; /* "%" in the first place of the stream's number is replaced: each time another one */
	bool stream; /* the last bytes of the frame header are the number of a new stream */
	struct bytes second; /* to the same stream, if there is one */
	unsigned most; /* how often it is let through at most */
};

static const struct attack attacks[] = {
	{ "PING",
	  TEXT("\0\0\x08\6\0\0\0\0\0"
	       "12345678"),
	  false,
	  { 0 },
	  HTTP2_CREDIT_MAX },
	{ "SETTINGS", TEXT(SETTINGS), false, { 0 }, HTTP2_CREDIT_MAX },
	{ "WINDOW_UPDATE", TEXT("\0\0\4\x08\0\0\0\0\0\0\0\0\1"), false, { 0 }, HTTP2_CREDIT_MAX },
	{ "PRIORITY", TEXT("\0\0\5\2\0\0\0\0\1\0\0\0\3\1"), false, { 0 }, HTTP2_CREDIT_MAX },
	{ "a type that nobody knows", TEXT("\0\0\0\x7f\0\0\0\0\0"), false, { 0 }, HTTP2_CREDIT_MAX },
	{ "rapid reset", TEXT(WHOLE "\0\0\0\1" HEADERS_BLOCK), true, TEXT("\0\0\4\3\0\0\0\0\1\0\0\0\x08"),
	  HTTP2_CREDIT_MAX / 2 },
	{ "streams that are left open", TEXT(OPEN "\0\0\0\1" HEADERS_BLOCK), true, { 0 }, HTTP2_CREDIT_MAX },
	{ "a giant frame", TEXT("\0\x40\1\0\0\0\0\0\1"), false, { 0 }, 0 },
	{ "the largest frame that can be", TEXT("\xff\xff\xff\0\0\0\0\0\1"), false, { 0 }, 0 },
	{ "headers that go on", TEXT("\0\0\x1f\1\0\0\0\0\1" HEADERS_BLOCK), false, { 0 }, 0 },
	{ "CONTINUATION", TEXT("\0\0\1\x09\0\0\0\0\1\x83"), false, { 0 }, 0 },
	{ "data on a stream that is none", TEXT("\0\0\1\0\0\0\0\0\1x"), false, { 0 }, HTTP2_CREDIT_MAX },
	{ "PUSH_PROMISE", TEXT("\0\0\5\5\4\0\0\0\1\0\0\0\2\x82"), false, { 0 }, 1 },
	{ "broken HPACK", TEXT("\0\0\2\1\5\0\0\0\1\xff\xff"), true, { 0 }, 1 },
	{ "another protocol", TEXT("GET / HTTP/1.1\r\n\r\n"), false, { 0 }, 1 },
};

static void number_stream(uint8_t *frame, uint32_t number)
{
	for (unsigned i = 0; i < 4; i++)
		frame[5 + i] = (uint8_t)(number >> (24 - 8 * i));
}

static enum err attack_once(struct server *server, const struct attack *attack, uint32_t number)
{
	uint8_t frames[128];

	memcpy(frames, attack->frame.data, attack->frame.len);
	if (attack->stream)
		number_stream(frames, number);
	if (attack->second.len) {
		memcpy(frames + attack->frame.len, attack->second.data, attack->second.len);
		number_stream(frames + attack->frame.len, number);
	}
	return feed(server, bytes_of(frames, attack->frame.len + attack->second.len));
}

static void attack(const struct attack *attack)
{
	CLEANUP(buf_freep) struct buf *out = NULL;
	struct server server;
	unsigned count = 0;
	enum err err = OK;

	server_begin(&server);
	server.hold = true;
	assert_int_equal(buf_new(OUT_MAX, &out), OK);
	assert_int_equal(feed(&server, (struct bytes)TEXT(GREETING SETTINGS)), OK);
	/* As fast as can be: the clock stands. */
	for (uint32_t number = 1; !err && count < 10000; number += 2) {
		err = attack_once(&server, attack, number);
		count += !err;
		if (http2_held(server.http2) > HTTP2_STREAMS_MAX * 512)
			fail_msg("%s: it holds %zu bytes", attack->what, http2_held(server.http2));
		if (!err)
			err = drain(&server, out);
		buf_clear(out);
	}
	if (!err || count > attack->most)
		fail_msg("%s: %u times, then %s", attack->what, count, err_info(err)->name);
	http2_free(server.http2);
}

static void test_attacks(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++)
		attack(&attacks[i]);
}

/* Few bytes that unpack to many: a header of 4000 bytes goes into the table, and is then named by one byte each time. */
static void test_header_bomb(void **state)
{
	static uint8_t frame[9 + 16000];
	struct bytes greeting = TEXT(GREETING SETTINGS);
	uint8_t *at = frame + 9;
	struct server server;
	size_t len;

	(void)state;
	server_begin(&server);
	assert_int_equal(feed(&server, greeting), OK);
	memcpy(at, HEADERS_BLOCK, sizeof(HEADERS_BLOCK) - 1);
	at += sizeof(HEADERS_BLOCK) - 1;
	/* A literal that is kept: name "x", a value of 3900 bytes. */
	memcpy(at, "\x40\x01x\x7f\xbd\x1d", 6);
	at += 6;
	memset(at, 'v', 3900);
	at += 3900;
	memset(at, 0xbe, 4000);
	at += 4000;
	len = (size_t)(at - frame) - 9;
	memcpy(frame, (uint8_t[]){ 0, (uint8_t)(len >> 8), (uint8_t)len, 1, 5, 0, 0, 0, 1 }, 9);
	assert_int_equal(feed(&server, bytes_of(frame, 9 + len)), ERR_BAD_MESSAGE);
	assert_int_equal(server.calls, 0);
	http2_free(server.http2);

	/* Control: without the repetitions it is a call like any other. */
	server_begin(&server);
	server.hold = true;
	assert_int_equal(feed(&server, greeting), OK);
	len -= 4000;
	memcpy(frame, (uint8_t[]){ 0, (uint8_t)(len >> 8), (uint8_t)len, 1, 5, 0, 0, 0, 1 }, 9);
	assert_int_equal(feed(&server, bytes_of(frame, 9 + len)), OK);
	assert_int_equal(server.calls, 1);
	http2_free(server.http2);
}

/* What the client owes is known, and since when; what we owe is none of its. */
static void test_waiting(void **state)
{
	struct server server;

	(void)state;
	server_begin(&server);
	server.hold = true;
	assert_int_equal(feed(&server, (struct bytes)TEXT(GREETING SETTINGS)), OK);
	assert_int_equal(http2_waits_since(server.http2), 0);
	server.now = 5000000;
	assert_int_equal(feed(&server, (struct bytes)TEXT(OPEN "\0\0\0\1" HEADERS_BLOCK)), OK);
	server.now = 6000000;
	assert_int_equal(feed(&server, (struct bytes)TEXT(OPEN "\0\0\0\3" HEADERS_BLOCK)), OK);
	assert_int_equal(http2_waits_since(server.http2), 5000000);
	assert_int_equal(feed(&server, (struct bytes)TEXT("\0\0\5\0\1\0\0\0\1\0\0\0\0\0")), OK);
	assert_int_equal(server.calls, 1);
	assert_int_equal(http2_waits_since(server.http2), 6000000);
	assert_int_equal(feed(&server, (struct bytes)TEXT("\0\0\5\0\1\0\0\0\3\0\0\0\0\0")), OK);
	assert_int_equal(http2_waits_since(server.http2), 0);
	/* An answer for which the client has no room: it is its turn again. */
	assert_int_equal(feed(&server, (struct bytes)TEXT("\0\0\6\4\0\0\0\0\0\0\4\0\0\0\0")), OK);
	server.now = 7000000;
	server.hold = false;
	on_call(&server, 1, "/echo", http2_message(server.http2, 1));
	{
		CLEANUP(buf_freep) struct buf *out = NULL;

		assert_int_equal(buf_new(OUT_MAX, &out), OK);
		assert_int_equal(drain(&server, out), OK);
	}
	assert_int_equal(http2_waits_since(server.http2), 7000000);
	assert_true(http2_held(server.http2) > 0);
	http2_free(server.http2);
}

/* An hour of a client that asks now and then costs it nothing; time gives credit back. */
static void test_credit_comes_back(void **state)
{
	struct server server;

	(void)state;
	server_begin(&server);
	assert_int_equal(feed(&server, (struct bytes)TEXT(GREETING SETTINGS)), OK);
	for (unsigned i = 0; i < 3600; i++) {
		CLEANUP(buf_freep) struct buf *out = NULL;

		server.now += 1000000;
		for (unsigned j = 0; j < 10; j++)
			assert_int_equal(feed(&server, (struct bytes)TEXT("\0\0\x08\6\0\0\0\0\0"
			                                                  "12345678")),
			                 OK);
		assert_int_equal(buf_new(OUT_MAX, &out), OK);
		assert_int_equal(drain(&server, out), OK);
	}
	http2_free(server.http2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls),   cmocka_unit_test(test_many_at_once),
		cmocka_unit_test(test_refusal), cmocka_unit_test(test_long_message),
		cmocka_unit_test(test_attacks), cmocka_unit_test(test_header_bomb),
		cmocka_unit_test(test_waiting), cmocka_unit_test(test_credit_comes_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
