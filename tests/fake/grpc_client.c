#include "tests/fake/grpc_client.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#define CALLS_MAX 64U
#define ANSWER_MAX 16384U
#define TEXT_MAX 2048U

struct call {
	int32_t stream; /* 0: free */
	struct bytes rest; /* of the message */
	int status;
	char text[TEXT_MAX];
	bool plain; /* it was told that messages are not to be compressed */
	size_t len;
	uint8_t answer[ANSWER_MAX];
};

struct grpc_client {
	nghttp2_session *session;
	grpc_done done;
	void *context;
	struct call calls[CALLS_MAX];
};

static struct call *find_call(struct grpc_client *client, int32_t stream)
{
	for (size_t i = 0; i < CALLS_MAX; i++)
		if (client->calls[i].stream == stream)
			return &client->calls[i];
	return NULL;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *context)
{
	struct call *call = find_call(context, frame->hd.stream_id);
	char number[16] = "";

	(void)session;
	(void)flags;
	if (!call || frame->hd.stream_id == 0)
		return 0;
	if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0 && value_len < sizeof(number)) {
		memcpy(number, value, value_len);
		call->status = (int)strtol(number, NULL, 10);
	}
	if (name_len == 12 && memcmp(name, "grpc-message", 12) == 0 && value_len < TEXT_MAX) {
		memcpy(call->text, value, value_len);
		call->text[value_len] = '\0';
	}
	if (name_len == 20 && memcmp(name, "grpc-accept-encoding", 20) == 0)
		call->plain = value_len == 8 && memcmp(value, "identity", 8) == 0;
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data, size_t len,
                   void *context)
{
	struct call *call = find_call(context, stream);

	(void)session;
	(void)flags;
	if (!call || len > ANSWER_MAX - call->len)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	memcpy(call->answer + call->len, data, len);
	call->len += len;
	return 0;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t error, void *context)
{
	struct grpc_client *client = context;
	struct call *call = find_call(client, stream);
	struct grpc_result result;

	(void)session;
	if (!call)
		return 0;
	result = (struct grpc_result){ stream, error ? -1 : call->status, call->text,
		                       bytes_of(call->answer, call->len), call->plain };
	call->stream = 0;
	client->done(client->context, &result);
	return 0;
}

static ssize_t on_read(nghttp2_session *session, int32_t stream, uint8_t *space, size_t room, uint32_t *flags,
                       nghttp2_data_source *source, void *context)
{
	struct call *call = find_call(context, stream);
	size_t len;

	(void)session;
	(void)source;
	if (!call)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	len = call->rest.len < room ? call->rest.len : room;
	if (len > 0)
		memcpy(space, call->rest.data, len);
	call->rest = bytes_of(call->rest.data + len, call->rest.len - len);
	if (call->rest.len == 0)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)len;
}

struct grpc_client *grpc_client_new(grpc_done done, void *context)
{
	struct grpc_client *client = calloc(1, sizeof(*client));
	nghttp2_session_callbacks *callbacks = NULL;

	if (!client || nghttp2_session_callbacks_new(&callbacks))
		abort();
	client->done = done;
	client->context = context;
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	if (nghttp2_session_client_new(&client->session, callbacks, client) ||
	    nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, NULL, 0))
		abort();
	nghttp2_session_callbacks_del(callbacks);
	return client;
}

struct grpc_client *grpc_client_free(struct grpc_client *client)
{
	if (!client)
		return NULL;
	nghttp2_session_del(client->session);
	free(client);
	return NULL;
}

static nghttp2_nv pair(const char *name, const char *value)
{
	return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
		             strlen(value), NGHTTP2_NV_FLAG_NONE };
}

int32_t grpc_client_call(struct grpc_client *client, const char *path, struct bytes message)
{
	const nghttp2_nv headers[] = { pair(":method", "POST"),
		                       pair(":scheme", "http"),
		                       pair(":path", path),
		                       pair(":authority", "localhost"),
		                       pair("content-type", "application/grpc"),
		                       pair("te", "trailers") };
	const nghttp2_data_provider provider = { .read_callback = on_read };
	struct call *call = find_call(client, 0);

	if (!call)
		return -1;
	*call = (struct call){ .rest = message, .status = -1 };
	call->stream = nghttp2_submit_request(client->session, NULL, headers,
	                                      sizeof(headers) / sizeof(headers[0]), &provider, NULL);
	return call->stream;
}

static size_t put_length(uint8_t *out, size_t len)
{
	size_t count = 0;

	for (; len > 0x7f; len >>= 7)
		out[count++] = (uint8_t)(len & 0x7f) | 0x80;
	out[count++] = (uint8_t)len;
	return count;
}

static size_t put_field(uint8_t *out, unsigned number, struct bytes value)
{
	size_t at = 1;

	out[0] = (uint8_t)(number << 3 | 2);
	at += put_length(out + at, value.len);
	if (value.len > 0)
		memcpy(out + at, value.data, value.len);
	return at + value.len;
}

void grpc_put_request(struct buf *out, const char *recipient, struct bytes data)
{
	static uint8_t age[1024], key[1100], message[65536];
	size_t age_len = put_field(age, 1, bytes_of_string(recipient));
	size_t key_len = put_field(key, 6, bytes_of(age, age_len));
	size_t len = put_field(message, 1, bytes_of(key, key_len));

	len += put_field(message + len, 2, data);
	if (buf_put_u8(out, 0) || buf_put_u32(out, (uint32_t)len) || buf_put(out, bytes_of(message, len)))
		abort();
}

struct bytes grpc_client_say(struct grpc_client *client)
{
	const uint8_t *data;
	ssize_t len = nghttp2_session_mem_send(client->session, &data);

	return len > 0 ? bytes_of(data, (size_t)len) : bytes_of(NULL, 0);
}

bool grpc_client_hear(struct grpc_client *client, struct bytes heard)
{
	return nghttp2_session_mem_recv(client->session, heard.data, heard.len) == (ssize_t)heard.len;
}
