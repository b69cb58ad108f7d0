/*
 * The sops front-end: sops' key service, gRPC over HTTP/2 (wire/http2.c, wire/keyservice.c). To encrypt is to wrap to a recipient, which anybody can do, so it is done here and at once. To decrypt
 * is to unwrap a file key through the spine, with the key of the recipient that sops names, and to open the few bytes of data with it.
 *
 * sops asks every service about every key of a file, and goes on after a refusal. So whoever may not use a key, a key that nobody has, and keys of other kinds are one and the same answer.
 */
#include <stdlib.h>

#include "common/clock.h"
#include "formats/age_file.h"
#include "tokend/client.h"
#include "tokend/frontend/table.h"
#include "tokend/request.h"
#include "tokend/wire/http2.h"
#include "tokend/wire/keyservice.h"

#define PATH_ENCRYPT "/KeyService/Encrypt"
#define PATH_DECRYPT "/KeyService/Decrypt"
#define VIA "sops"
#define DATA_MAX 1024U /* a data key has 32 bytes, a share of one 33 */
#define ENCRYPTED_MAX 4096U /* what DATA_MAX becomes */
#define FRAMES_AT_ONCE 8U /* of one turn, unless a request comes before */

#define STATUS_INVALID 3
#define STATUS_NOT_FOUND 5
#define STATUS_UNIMPLEMENTED 12

#define NOT_HELD "tokend holds no key that you may use for this"
#define NOT_TO_THIS "tokend encrypts to age1... and age1tag1... only"
#define TOO_LONG "the data is longer than 1 KiB: it should be a data key"
_Static_assert(DATA_MAX == 1U << 10, "the sentence says so");

struct connection {
	struct client *client; /* borrowed */
	struct http2 *http2; /* owned */
	enum err err; /* of what was answered */
	bool asked; /* a call came in since this was looked at */
};

static enum err refuse(struct connection *connection, uint32_t stream, int status, const char *text)
{
	return http2_refuse(connection->http2, stream, clock_microseconds(), status, text);
}

/* What is denied, what is not there and what we do not do for anybody look the same. */
static bool is_not_held(enum err err)
{
	return err == ERR_DENIED || err == ERR_NO_KEY || err == ERR_NO_MATCH || err == ERR_UNSUPPORTED;
}

static enum err refuse_error(struct connection *connection, uint32_t stream, enum err err)
{
	if (is_not_held(err))
		return refuse(connection, stream, STATUS_NOT_FOUND, NOT_HELD);
	return refuse(connection, stream, err_info(err)->grpc, err_info(err)->text);
}

static enum err answer(struct connection *connection, uint32_t stream, struct buf *message)
{
	return http2_answer(connection->http2, stream, clock_microseconds(), message);
}

/* ---- encrypting ---- */

static enum err collect(void *context, struct bytes chunk)
{
	return buf_put(context, chunk);
}

static enum err encrypt_data(struct bytes line, struct bytes data, struct buf *encrypted)
{
	CLEANUP(age_writer_freep) struct age_writer *writer = NULL;
	CLEANUP(recipient_done) struct recipient recipient = { 0 };
	struct bytes what;
	enum err err;

	err = recipient_parse(line, &recipient, &what);
	/* One that is none of ours, and one that is none at all: somebody else may know it. */
	if (err == ERR_USAGE)
		err = ERR_NO_MATCH;
	if (!err)
		err = age_writer_new(&recipient, 1, true, collect, encrypted, &writer);
	if (!err)
		err = age_writer_push(writer, data);
	return err ? err : age_writer_finish(writer);
}

static enum err encrypt(struct connection *connection, uint32_t stream,
                        const struct keyservice_request *request)
{
	CLEANUP(buf_freep) struct buf *encrypted = NULL;
	CLEANUP(buf_freep) struct buf *message = NULL;
	enum err err;

	if (request->data.len > DATA_MAX)
		return refuse(connection, stream, STATUS_INVALID, TOO_LONG);
	err = buf_new(ENCRYPTED_MAX, &encrypted);
	if (!err)
		err = buf_new(ENCRYPTED_MAX, &message);
	if (err)
		return err;
	err = encrypt_data(request->recipient, request->data, encrypted);
	if (is_not_held(err))
		return refuse(connection, stream, STATUS_NOT_FOUND, NOT_TO_THIS);
	if (err)
		return refuse_error(connection, stream, err);
	err = keyservice_put_answer(message, buf_bytes(encrypted));
	return err ? err : answer(connection, stream, TAKE(message));
}

/* ---- decrypting: the question ---- */

struct stanza_search {
	struct request *request; /* borrowed */
	bool done;
};

static enum err add_stanza(struct request *request, const struct age_stanza *stanza, size_t index)
{
	struct request_stanza *at = &request->stanzas[request->stanza_count];
	enum err err = token_stanza_read(stanza, &at->stanza);

	if (err == ERR_NO_MATCH)
		return OK;
	at->index = (uint16_t)index;
	if (!err)
		request->stanza_count++;
	return err;
}

/* Only the header is of interest now, so the reader is stopped in any case. */
static enum err take_stanzas(void *context, const struct age_header *header, struct secret **ret_file_key)
{
	struct stanza_search *search = context;
	size_t count = age_header_stanza_count(header);
	enum err err = OK;

	(void)ret_file_key;
	if (count > TOKEN_STANZAS_MAX)
		return ERR_BAD_FILE;
	search->request->stanzas = calloc(count ? count : 1, sizeof(*search->request->stanzas));
	if (!search->request->stanzas)
		return ERR_NOMEM;
	for (size_t i = 0; !err && i < count; i++)
		err = add_stanza(search->request, age_header_stanza(header, i), i);
	search->done = err == OK;
	return err ? err : ERR_NO_MATCH;
}

static enum err read_file(age_open_file_key open, void *open_context, struct bytes text,
                          struct buf *plaintext)
{
	CLEANUP(age_reader_freep) struct age_reader *reader = NULL;
	enum err err = age_reader_new(open, open_context, collect, plaintext, &reader);

	if (!err)
		err = age_reader_push(reader, text);
	return err ? err : age_reader_finish(reader);
}

static enum err find_stanzas(struct request *request, struct bytes text)
{
	struct stanza_search search = { .request = request };
	enum err err = read_file(take_stanzas, &search, text, NULL);

	if (search.done)
		return OK;
	return err ? err : ERR_BAD_FILE;
}

static enum err decrypt(struct connection *connection, uint32_t stream,
                        const struct keyservice_request *asked)
{
	CLEANUP(request_freep) struct request *request = NULL;
	enum err err = request_new(connection->client, REQUEST_UNWRAP, VIA, &request);

	if (err)
		return err;
	err = request_want_recipient(request, asked->recipient);
	if (!err)
		err = find_stanzas(request, asked->data);
	if (err)
		return refuse_error(connection, stream, err);
	request->tag = stream;
	connection->asked = true;
	request_submit(TAKE(request));
	return OK;
}

/* ---- decrypting: the answer ---- */

static enum err lend_file_key(void *context, const struct age_header *header, struct secret **ret_file_key)
{
	(void)header;
	return secret_new_from(secret_reveal(context), ret_file_key);
}

static enum err open_data(struct secret *file_key, struct bytes text, struct buf *message)
{
	CLEANUP(buf_freep) struct buf *plaintext = NULL;
	enum err err = buf_new_locked(DATA_MAX, &plaintext);

	if (!err)
		err = read_file(lend_file_key, file_key, text, plaintext);
	/* More than a data key. */
	if (err == ERR_BUSY)
		err = ERR_BAD_FILE;
	return err ? err : keyservice_put_answer(message, buf_bytes(plaintext));
}

static enum err answer_data(struct connection *connection, const struct request *request,
                            struct bytes question)
{
	CLEANUP(buf_freep) struct buf *message = NULL;
	struct keyservice_request asked;
	uint32_t stream = (uint32_t)request->tag;
	struct bytes frame;
	enum err err = buf_new_locked(DATA_MAX + 16, &message);

	/* It was read before, when it was asked. */
	if (err || grpc_read_frame(question, &frame) || keyservice_read_request(frame, &asked))
		return err ? err : ERR_BUG;
	err = open_data(request->file_key, asked.data, message);
	return err ? refuse_error(connection, stream, err) : answer(connection, stream, TAKE(message));
}

/* The sentence, and the next command to type. */
static enum err refuse_request(struct connection *connection, const struct request *request)
{
	const struct err_info *info = err_info(request->err);
	const char *sentence = request->message[0] ? request->message : info->text;
	char text[2 * REQUEST_TEXT_MAX + 16];

	if (is_not_held(request->err))
		return refuse_error(connection, (uint32_t)request->tag, request->err);
	(void)snprintf(text, sizeof(text), "%s%s%s", sentence, request->hint[0] ? "; type: " : "",
	               request->hint);
	return refuse(connection, (uint32_t)request->tag, info->grpc, text);
}

static enum err sops_reply(const struct request *request, struct buf *out)
{
	struct connection *connection = client_state(request->client);
	struct bytes question = http2_message(connection->http2, (uint32_t)request->tag);

	(void)out;
	/* The client took the call back. */
	if (question.len == 0)
		return OK;
	return request->err ? refuse_request(connection, request)
	                    : answer_data(connection, request, question);
}

/* ---- calls ---- */

static enum err answer_call(struct connection *connection, uint32_t stream, const char *path,
                            struct bytes text)
{
	bool encrypts = strcmp(path, PATH_ENCRYPT) == 0;
	struct keyservice_request request;
	struct bytes message;
	enum err err;

	if (!encrypts && strcmp(path, PATH_DECRYPT) != 0)
		return refuse(connection, stream, STATUS_UNIMPLEMENTED,
		              "there is no such method: " PATH_ENCRYPT ", " PATH_DECRYPT);
	err = grpc_read_frame(text, &message);
	if (err == ERR_UNSUPPORTED)
		return refuse(connection, stream, STATUS_UNIMPLEMENTED, "compressed messages are not taken");
	if (!err)
		err = keyservice_read_request(message, &request);
	if (err)
		return refuse(connection, stream, STATUS_INVALID, "the message does not parse");
	if (request.key != KEYSERVICE_KEY_AGE)
		return refuse(connection, stream, STATUS_NOT_FOUND, encrypts ? NOT_TO_THIS : NOT_HELD);
	return encrypts ? encrypt(connection, stream, &request) : decrypt(connection, stream, &request);
}

static void on_call(void *context, uint32_t stream, const char *path, struct bytes message)
{
	struct connection *connection = context;
	enum err err = answer_call(connection, stream, path, message);

	if (err)
		connection->err = err;
}

/* ---- the connection ---- */

static enum err sops_input(struct client *client, struct bytes data, size_t *ret_taken)
{
	struct connection *connection = client_state(client);
	size_t taken = 0;
	enum err err = OK;

	connection->asked = false;
	for (unsigned i = 0; i < FRAMES_AT_ONCE && !connection->asked && taken < data.len; i++) {
		size_t len = 0;

		err = http2_receive(connection->http2, bytes_of(data.data + taken, data.len - taken),
		                    clock_microseconds(), &len);
		if (!err)
			err = connection->err;
		if (err)
			break;
		taken += len;
	}
	*ret_taken = taken;
	return err == ERR_AGAIN && taken > 0 ? OK : err;
}

static void sops_close(void *state)
{
	struct connection *connection = state;

	http2_free(connection->http2);
	free(connection);
}

static enum err sops_open(struct client *client, void **ret_state)
{
	struct connection *connection = calloc(1, sizeof(*connection));
	enum err err = connection ? http2_new(on_call, connection, &connection->http2) : ERR_NOMEM;

	if (err) {
		free(connection);
		return err;
	}
	connection->client = client;
	*ret_state = connection;
	return OK;
}

static enum err sops_output(void *state, struct buf *out)
{
	const struct connection *connection = state;

	return http2_output(connection->http2, out);
}

static size_t sops_held(const void *state)
{
	const struct connection *connection = state;

	return http2_held(connection->http2);
}

static uint64_t sops_waits_since(const void *state)
{
	const struct connection *connection = state;

	return http2_waits_since(connection->http2);
}

static const struct frontend_state sops_state = {
	.open = sops_open,
	.close = sops_close,
	.output = sops_output,
	.held = sops_held,
	.waits_since = sops_waits_since,
};

const struct frontend sops_frontend = {
	.name = "sops",
	.max_message = HTTP2_FRAME_HEADER_LEN + HTTP2_FRAME_MAX,
	.max_reply = ENCRYPTED_MAX,
	.max_requests = HTTP2_STREAMS_MAX,
	.backlog = 512, /* gRPC clients do not wait in connect(2): without room they fail */
	.patience_ms = 700,
	.input = sops_input,
	.reply = sops_reply,
	.state = &sops_state,
};
