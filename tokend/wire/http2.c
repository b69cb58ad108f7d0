#include "tokend/wire/http2.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#define GREETING "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define HEADER_OVERHEAD 32U
#define STATUS_TEXT_MAX 1024U
#define USEC_PER_CREDIT 20000U
#define RESET_COST 4U
#define ANSWER_CREDIT 8U /* a call is two or three frames, and its answer gives rise to two or three */

enum stage {
	STAGE_OPEN, /* the client owes the rest */
	STAGE_ASKED, /* we owe the answer */
	STAGE_ANSWERED, /* the client owes room for it */
};

struct stream {
	struct stream *next;
	uint32_t id;
	enum stage stage;
	uint64_t since; /* when the stage began */
	char path[HTTP2_PATH_MAX]; /* "": too long, or none */
	bool post, grpc;
	size_t headers; /* bytes, as the protocol counts them */
	bool too_long;
	struct buf *message; /* owned */
	struct buf *answer; /* owned; NULL: none yet, or a refusal */
};

struct http2 {
	nghttp2_session *session; /* owned */
	http2_call call;
	void *context; /* borrowed */
	struct stream *streams; /* owned */
	size_t stream_count;
	struct buf *out; /* borrowed while there is output */
	bool greeted;
	uint64_t now; /* of the last frame */
	unsigned credit;
	uint64_t credited; /* when time gave some last */
};

/* ---- streams ---- */

static struct stream *find_stream(const struct http2 *http2, uint32_t id)
{
	struct stream *stream = http2->streams;

	while (stream && stream->id != id)
		stream = stream->next;
	return stream;
}

static struct stream *stream_free(struct stream *stream)
{
	if (!stream)
		return NULL;
	buf_free(stream->message);
	buf_free(stream->answer);
	free(stream);
	return NULL;
}
DEFINE_CLEANUP(struct stream *, stream_free);

static enum err add_stream(struct http2 *http2, uint32_t id)
{
	CLEANUP(stream_freep) struct stream *stream = calloc(1, sizeof(*stream));
	enum err err;

	if (!stream)
		return ERR_NOMEM;
	stream->id = id;
	stream->since = http2->now;
	err = buf_new(HTTP2_MESSAGE_MAX, &stream->message);
	if (err)
		return err;
	stream->next = http2->streams;
	http2->streams = TAKE(stream);
	http2->stream_count++;
	return OK;
}

static void remove_stream(struct http2 *http2, uint32_t id)
{
	struct stream **at = &http2->streams, *stream;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	stream = *at;
	if (!stream)
		return;
	*at = stream->next;
	http2->stream_count--;
	stream_free(stream);
}

/* ---- what nghttp2 tells ---- */

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	struct http2 *http2 = context;

	(void)session;
	/* Trailers of a client are counted and not read. */
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	if (http2->stream_count >= HTTP2_STREAMS_MAX || add_stream(http2, (uint32_t)frame->hd.stream_id))
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	return 0;
}

static bool is(struct bytes bytes, const char *text)
{
	return bytes_equal(bytes, bytes_of_string(text));
}

static bool begins_with(struct bytes bytes, const char *text)
{
	return bytes.len >= strlen(text) && memcmp(bytes.data, text, strlen(text)) == 0;
}

static void read_header(struct stream *stream, struct bytes name, struct bytes value)
{
	if (is(name, ":method"))
		stream->post = is(value, "POST");
	else if (is(name, "content-type"))
		stream->grpc = begins_with(value, "application/grpc");
	else if (is(name, ":path") && value.len < sizeof(stream->path) && !memchr(value.data, 0, value.len))
		memcpy(stream->path, value.data, value.len);
}

/* Small on the wire and large when unpacked is an attack, and ends the connection. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *context)
{
	struct stream *stream = find_stream(context, (uint32_t)frame->hd.stream_id);

	(void)session;
	(void)flags;
	if (!stream)
		return 0;
	stream->headers += name_len + value_len + HEADER_OVERHEAD;
	if (stream->headers > HTTP2_HEADERS_MAX)
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	read_header(stream, bytes_of(name, name_len), bytes_of(value, value_len));
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
                   void *context)
{
	struct stream *stream = find_stream(context, (uint32_t)id);

	(void)session;
	(void)flags;
	if (stream && !stream->too_long && buf_put(stream->message, bytes_of(data, len))) {
		stream->too_long = true;
		buf_clear(stream->message);
	}
	return 0;
}

/* The end of the client's side: either there is a whole call now, or there never will be one. */
static enum err end_of_call(struct http2 *http2, struct stream *stream)
{
	stream->stage = STAGE_ASKED;
	if (stream->too_long)
		return http2_refuse(http2, stream->id, http2->now, 8, "the message is too long");
	if (!stream->post || !stream->grpc)
		return http2_refuse(http2, stream->id, http2->now, 13, "this is not a gRPC call");
	http2->call(http2->context, stream->id, stream->path, buf_bytes(stream->message));
	return OK;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
	struct http2 *http2 = context;
	struct stream *stream = find_stream(http2, (uint32_t)frame->hd.stream_id);

	(void)session;
	if (!stream || stream->stage != STAGE_OPEN || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
	    (frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS))
		return 0;
	return end_of_call(http2, stream) ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *context)
{
	(void)session;
	(void)error;
	remove_stream(context, (uint32_t)id);
	return 0;
}

/* ---- what nghttp2 wants to be sent ---- */

static ssize_t on_send(nghttp2_session *session, const uint8_t *data, size_t len, int flags, void *context)
{
	const struct http2 *http2 = context;

	(void)session;
	(void)flags;
	return buf_put(http2->out, bytes_of(data, len)) ? NGHTTP2_ERR_WOULDBLOCK : (ssize_t)len;
}

static enum err put_data(struct http2 *http2, struct stream *stream, const uint8_t *header, size_t len)
{
	struct bytes answer = buf_bytes(stream->answer);
	enum err err = buf_put(http2->out, bytes_of(header, HTTP2_FRAME_HEADER_LEN));

	return err ? err : buf_put(http2->out, bytes_of(answer.data, len));
}

/* The answer goes from our own memory straight to what is sent, past the memory of nghttp2, which wipes nothing. */
static int on_send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *header, size_t len,
                        nghttp2_data_source *source, void *context)
{
	struct http2 *http2 = context;
	struct stream *stream = find_stream(http2, (uint32_t)frame->hd.stream_id);

	(void)session;
	(void)source;
	if (!stream || len > buf_len(stream->answer))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (buf_room(http2->out) < HTTP2_FRAME_HEADER_LEN + len)
		return NGHTTP2_ERR_WOULDBLOCK;
	if (put_data(http2, stream, header, len))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	buf_consume(stream->answer, len);
	return 0;
}

static nghttp2_nv pair(const char *name, const char *value)
{
	/* Neither is written to; the type has no const. */
	return (nghttp2_nv){ (uint8_t *)(uintptr_t)name, (uint8_t *)(uintptr_t)value, strlen(name),
		             strlen(value), NGHTTP2_NV_FLAG_NO_INDEX };
}

static ssize_t on_read(nghttp2_session *session, int32_t id, uint8_t *space, size_t room, uint32_t *flags,
                       nghttp2_data_source *source, void *context)
{
	const struct stream *stream = find_stream(context, (uint32_t)id);
	const nghttp2_nv trailer = pair("grpc-status", "0");
	size_t len;

	(void)space;
	(void)source;
	if (!stream)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	len = buf_len(stream->answer) < room ? buf_len(stream->answer) : room;
	*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (len == buf_len(stream->answer)) {
		*flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
		if (nghttp2_submit_trailer(session, id, &trailer, 1))
			return NGHTTP2_ERR_CALLBACK_FAILURE;
	}
	return (ssize_t)len;
}

/* ---- answers ---- */

static void earn(struct http2 *http2, unsigned credit)
{
	http2->credit = http2->credit + credit < HTTP2_CREDIT_MAX ? http2->credit + credit : HTTP2_CREDIT_MAX;
}

/* The stream, if it waits for an answer. */
static struct stream *begin_answer(struct http2 *http2, uint32_t id, uint64_t now)
{
	struct stream *stream = find_stream(http2, id);

	if (!stream || stream->stage != STAGE_ASKED)
		return NULL;
	stream->stage = STAGE_ANSWERED;
	stream->since = now;
	buf_clear(stream->message);
	earn(http2, ANSWER_CREDIT);
	return stream;
}

static enum err submitted(int result)
{
	if (result == NGHTTP2_ERR_NOMEM)
		return ERR_NOMEM;
	return result ? ERR_BUG : OK;
}

enum err http2_answer(struct http2 *http2, uint32_t id, uint64_t now, struct buf *message)
{
	const nghttp2_nv headers[] = { pair(":status", "200"), pair("content-type", "application/grpc") };
	const nghttp2_data_provider provider = { .read_callback = on_read };
	CLEANUP(buf_freep) struct buf *owned = message;
	struct stream *stream = begin_answer(http2, id, now);

	if (!stream)
		return OK;
	stream->answer = TAKE(owned);
	return submitted(nghttp2_submit_response(http2->session, (int32_t)id, headers,
	                                         sizeof(headers) / sizeof(headers[0]), &provider));
}

/* As gRPC writes a status's text: what is not printable ASCII, and '%', by its number. What does not fit is left out. */
static void escape(const char *text, char *out, size_t room)
{
	size_t at = 0;

	for (; *text && at + 4 < room; text++) {
		unsigned char c = (unsigned char)*text;

		if (c >= 0x20 && c < 0x7f && c != '%')
			out[at++] = (char)c;
		else
			at += (size_t)snprintf(out + at, room - at, "%%%02X", c);
	}
	out[at] = '\0';
}

enum err http2_refuse(struct http2 *http2, uint32_t id, uint64_t now, int status, const char *text)
{
	char number[16], escaped[STATUS_TEXT_MAX];
	nghttp2_nv headers[5];

	if (!begin_answer(http2, id, now))
		return OK;
	(void)snprintf(number, sizeof(number), "%d", status);
	escape(text, escaped, sizeof(escaped));
	headers[0] = pair(":status", "200");
	headers[1] = pair("content-type", "application/grpc");
	headers[2] = pair("grpc-status", number);
	headers[3] = pair("grpc-message", escaped);
	/* To a client that compresses the protocol owes what is taken instead; it is as true of every other refusal. */
	headers[4] = pair("grpc-accept-encoding", "identity");
	return submitted(nghttp2_submit_response(http2->session, (int32_t)id, headers,
	                                         sizeof(headers) / sizeof(headers[0]), NULL));
}

struct bytes http2_message(const struct http2 *http2, uint32_t id)
{
	const struct stream *stream = find_stream(http2, id);

	return stream && stream->stage == STAGE_ASKED ? buf_bytes(stream->message) : bytes_of(NULL, 0);
}

/* ---- the connection ---- */

static enum err set_options(nghttp2_option *option)
{
	/* Closed streams are forgotten at once; headers of answers are few, and never worth a table. */
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_max_deflate_dynamic_table_size(option, 0);
	nghttp2_option_set_max_outbound_ack(option, HTTP2_CREDIT_MAX);
	nghttp2_option_set_peer_max_concurrent_streams(option, HTTP2_STREAMS_MAX);
	return OK;
}

static void set_callbacks(nghttp2_session_callbacks *callbacks)
{
	nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
	nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
	nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
	nghttp2_session_callbacks_set_send_data_callback(callbacks, on_send_data);
}

static void free_option(nghttp2_option **option)
{
	nghttp2_option_del(*option);
}

static void free_callbacks(nghttp2_session_callbacks **callbacks)
{
	nghttp2_session_callbacks_del(*callbacks);
}

static enum err start_session(struct http2 *http2)
{
	const nghttp2_settings_entry settings[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, HTTP2_STREAMS_MAX },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HTTP2_HEADERS_MAX },
	};
	CLEANUP(free_option) nghttp2_option *option = NULL;
	CLEANUP(free_callbacks) nghttp2_session_callbacks *callbacks = NULL;

	if (nghttp2_option_new(&option) || nghttp2_session_callbacks_new(&callbacks) || set_options(option))
		return ERR_NOMEM;
	set_callbacks(callbacks);
	if (nghttp2_session_server_new2(&http2->session, callbacks, http2, option))
		return ERR_NOMEM;
	return submitted(nghttp2_submit_settings(http2->session, NGHTTP2_FLAG_NONE, settings,
	                                         sizeof(settings) / sizeof(settings[0])));
}

enum err http2_new(http2_call call, void *context, struct http2 **ret_http2)
{
	CLEANUP(http2_freep) struct http2 *http2 = calloc(1, sizeof(*http2));
	enum err err;

	if (!http2)
		return ERR_NOMEM;
	http2->call = call;
	http2->context = context;
	http2->credit = HTTP2_CREDIT_MAX;
	err = start_session(http2);
	if (err)
		return err;
	*ret_http2 = TAKE(http2);
	return OK;
}

struct http2 *http2_free(struct http2 *http2)
{
	if (!http2)
		return NULL;
	nghttp2_session_del(http2->session);
	while (http2->streams)
		remove_stream(http2, http2->streams->id);
	free(http2);
	return NULL;
}

/* ---- frames ---- */

struct frame_header {
	size_t len; /* of what follows it */
	uint8_t type;
};

static struct frame_header read_frame_header(struct bytes data)
{
	return (struct frame_header){ (size_t)data.data[0] << 16 | (size_t)data.data[1] << 8 | data.data[2],
		                      data.data[3] };
}

/* The last word, which names the reason. */
static enum err end_session(struct http2 *http2, uint32_t reason)
{
	(void)nghttp2_session_terminate_session(http2->session, reason);
	return ERR_BAD_MESSAGE;
}

static enum err feed(struct http2 *http2, struct bytes data)
{
	ssize_t taken = nghttp2_session_mem_recv(http2->session, data.data, data.len);

	if (taken == NGHTTP2_ERR_NOMEM)
		return ERR_NOMEM;
	return taken == (ssize_t)data.len ? OK : end_session(http2, NGHTTP2_ENHANCE_YOUR_CALM);
}

static enum err receive_greeting(struct http2 *http2, struct bytes data, size_t *ret_taken)
{
	const size_t whole = strlen(GREETING);
	size_t len = data.len < whole ? data.len : whole;

	if (memcmp(data.data, GREETING, len) != 0)
		return end_session(http2, NGHTTP2_PROTOCOL_ERROR);
	if (len < whole)
		return ERR_AGAIN;
	http2->greeted = true;
	*ret_taken = whole;
	return feed(http2, bytes_of(data.data, whole));
}

/* What time gave, and what the frame costs; false: there is not enough. */
static bool pay(struct http2 *http2, uint8_t type)
{
	unsigned cost = type == NGHTTP2_RST_STREAM ? RESET_COST : 1;
	uint64_t earned = (http2->now - http2->credited) / USEC_PER_CREDIT;

	if (earned > 0) {
		earn(http2, earned < HTTP2_CREDIT_MAX ? (unsigned)earned : HTTP2_CREDIT_MAX);
		http2->credited = http2->now;
	}
	if (http2->credit < cost)
		return false;
	http2->credit -= cost;
	return true;
}

enum err http2_receive(struct http2 *http2, struct bytes data, uint64_t now, size_t *ret_taken)
{
	struct frame_header header;
	size_t whole;

	http2->now = now;
	if (!http2->greeted)
		return receive_greeting(http2, data, ret_taken);
	if (data.len < HTTP2_FRAME_HEADER_LEN)
		return ERR_AGAIN;
	header = read_frame_header(data);
	if (header.len > HTTP2_FRAME_MAX)
		return end_session(http2, NGHTTP2_FRAME_SIZE_ERROR);
	whole = HTTP2_FRAME_HEADER_LEN + header.len;
	if (header.type == NGHTTP2_CONTINUATION)
		return end_session(http2, NGHTTP2_ENHANCE_YOUR_CALM);
	if (header.type == NGHTTP2_HEADERS && !(data.data[4] & NGHTTP2_FLAG_END_HEADERS))
		return end_session(http2, NGHTTP2_ENHANCE_YOUR_CALM);
	if (data.len < whole)
		return ERR_AGAIN;
	if (!pay(http2, header.type))
		return end_session(http2, NGHTTP2_ENHANCE_YOUR_CALM);
	*ret_taken = whole;
	return feed(http2, bytes_of(data.data, whole));
}

enum err http2_output(struct http2 *http2, struct buf *out)
{
	int result;

	if (!nghttp2_session_want_read(http2->session) && !nghttp2_session_want_write(http2->session))
		return ERR_BAD_MESSAGE;
	http2->out = out;
	result = nghttp2_session_send(http2->session);
	http2->out = NULL;
	if (result == NGHTTP2_ERR_NOMEM)
		return ERR_NOMEM;
	return result ? ERR_BAD_MESSAGE : OK;
}

size_t http2_held(const struct http2 *http2)
{
	size_t held = 0;

	for (const struct stream *stream = http2->streams; stream; stream = stream->next)
		held += sizeof(*stream) + buf_len(stream->message) +
		        (stream->answer ? buf_len(stream->answer) : 0);
	return held;
}

uint64_t http2_waits_since(const struct http2 *http2)
{
	uint64_t since = 0;

	for (const struct stream *stream = http2->streams; stream; stream = stream->next)
		if (stream->stage != STAGE_ASKED && (since == 0 || stream->since < since))
			since = stream->since;
	return since;
}
