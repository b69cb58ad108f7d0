#include "cli/plugin_wire.h"

#include <stdlib.h>

#include "common/encoding.h"

#define STANZA_BEGIN "-> "
#define STANZA_BEGIN_LEN 3U
#define BODY_LINE_CHARACTERS 64U
#define BODY_LINE_BYTES 48U
#define READ_AHEAD 4096U /* how much may follow a stanza of the greatest length in one read */

struct plugin_wire {
	struct plugin_pipe pipe;
	struct buf *input; /* begins with the stanza that was handed out last */
	struct buf *output;
	struct buf *body;
	size_t handed_out; /* length of that stanza */
	struct plugin_stanza stanza;
};

/* One line up to its LF, which is taken too. ERR_AGAIN when there is none yet. */
static enum err take_line(struct reader *text, struct bytes *ret_line)
{
	const uint8_t *end = text->rest.len ? memchr(text->rest.data, '\n', text->rest.len) : NULL;

	if (!end)
		return ERR_AGAIN;
	*ret_line = reader_take(text, (size_t)(end - text->rest.data));
	(void)reader_u8(text);
	return OK;
}

static bool is_argument(struct bytes argument)
{
	for (size_t i = 0; i < argument.len; i++)
		if (argument.data[i] < 0x21 || argument.data[i] > 0x7e)
			return false;
	return argument.len > 0;
}

/* "-> a b c": single spaces, nothing empty, nothing after the last. */
static enum err parse_arguments(struct bytes line, struct plugin_stanza *stanza)
{
	struct reader reader = reader_of(line);
	struct bytes head = reader_take(&reader, STANZA_BEGIN_LEN - 1);

	stanza->argument_count = 0;
	if (!bytes_equal(head, bytes_of(STANZA_BEGIN, STANZA_BEGIN_LEN - 1)))
		return ERR_BAD_MESSAGE;
	while (!reader_done(&reader)) {
		const uint8_t *end;
		struct bytes argument;

		if (reader_u8(&reader) != ' ' || reader.rest.len == 0 ||
		    stanza->argument_count == PLUGIN_ARGUMENTS_MAX)
			return ERR_BAD_MESSAGE;
		end = memchr(reader.rest.data, ' ', reader.rest.len);
		argument = reader_take(&reader, end ? (size_t)(end - reader.rest.data) : reader.rest.len);
		if (!is_argument(argument))
			return ERR_BAD_MESSAGE;
		stanza->arguments[stanza->argument_count++] = argument;
	}
	return stanza->argument_count > 0 ? OK : ERR_BAD_MESSAGE;
}

/* Lines of 64 characters hold whole groups, so each is decoded on its own. */
static enum err decode_line(struct bytes line, struct buf *body)
{
	uint8_t *space;
	size_t len;
	enum err err;

	if (line.len > BODY_LINE_CHARACTERS)
		return ERR_BAD_MESSAGE;
	err = buf_reserve(body, BODY_LINE_BYTES, &space);
	if (err)
		return err;
	err = base64_decode(line, BASE64_UNPADDED, space, BODY_LINE_BYTES, &len);
	if (err)
		return err;
	buf_commit(body, len);
	return OK;
}

/* The body ends with its first short line, which may be empty but is always there. */
static enum err parse_body(struct reader *text, struct buf *body)
{
	struct bytes line;
	enum err err;

	buf_clear(body);
	do {
		err = take_line(text, &line);
		if (!err)
			err = decode_line(line, body);
	} while (!err && line.len == BODY_LINE_CHARACTERS);
	return err;
}

/* Text that is incomplete but can no longer become a stanza within the limits is refused at once, not waited for. */
static enum err incomplete(struct bytes text)
{
	size_t n = text.len < STANZA_BEGIN_LEN ? text.len : STANZA_BEGIN_LEN;

	if (text.len > PLUGIN_STANZA_MAX || !bytes_equal(bytes_of(text.data, n), bytes_of(STANZA_BEGIN, n)))
		return ERR_BAD_MESSAGE;
	return ERR_AGAIN;
}

enum err plugin_stanza_parse(struct bytes text, struct buf *body, struct plugin_stanza *ret_stanza,
                             size_t *ret_len)
{
	struct reader reader = reader_of(text);
	struct plugin_stanza stanza = { 0 };
	struct bytes line;
	enum err err;

	err = take_line(&reader, &line);
	if (!err)
		err = parse_arguments(line, &stanza);
	if (!err)
		err = parse_body(&reader, body);
	if (err == ERR_AGAIN)
		return incomplete(text);
	if (err)
		return err;
	if (text.len - reader.rest.len > PLUGIN_STANZA_MAX)
		return ERR_BAD_MESSAGE;
	stanza.body = buf_bytes(body);
	*ret_stanza = stanza;
	*ret_len = text.len - reader.rest.len;
	return OK;
}

bool plugin_stanza_is(const struct plugin_stanza *stanza, const char *command)
{
	return bytes_equal(stanza->arguments[0], bytes_of_string(command));
}

enum err plugin_index_parse(struct bytes text, size_t *ret_index)
{
	size_t index = 0;

	if (text.len == 0 || text.len > 9 || (text.len > 1 && text.data[0] == '0'))
		return ERR_BAD_MESSAGE;
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return ERR_BAD_MESSAGE;
		index = index * 10 + (size_t)(text.data[i] - '0');
	}
	*ret_index = index;
	return OK;
}

enum err plugin_wire_new(const struct plugin_pipe *pipe, struct plugin_wire **ret_wire)
{
	CLEANUP(plugin_wire_freep) struct plugin_wire *wire = calloc(1, sizeof(*wire));
	enum err err;

	if (!wire)
		return ERR_NOMEM;
	wire->pipe = *pipe;
	err = buf_new_locked(PLUGIN_STANZA_MAX + READ_AHEAD, &wire->input);
	if (!err)
		err = buf_new_locked(PLUGIN_STANZA_MAX, &wire->output);
	if (!err)
		err = buf_new_locked(PLUGIN_STANZA_MAX, &wire->body);
	if (err)
		return err;
	*ret_wire = TAKE(wire);
	return OK;
}

struct plugin_wire *plugin_wire_free(struct plugin_wire *wire)
{
	if (!wire)
		return NULL;
	(void)buf_free(wire->input);
	(void)buf_free(wire->output);
	(void)buf_free(wire->body);
	free(wire);
	return NULL;
}

bool plugin_wire_hides_messages(const struct plugin_wire *wire)
{
	return wire->pipe.hides_messages;
}

enum err plugin_wire_next(struct plugin_wire *wire, const struct plugin_stanza **ret_stanza)
{
	enum err err;

	buf_consume(wire->input, wire->handed_out);
	wire->handed_out = 0;
	for (;;) {
		err = plugin_stanza_parse(buf_bytes(wire->input), wire->body, &wire->stanza,
		                          &wire->handed_out);
		if (err != ERR_AGAIN)
			break;
		err = wire->pipe.receive(wire->pipe.context, wire->input);
		if (err)
			break;
	}
	if (err)
		return err;
	*ret_stanza = &wire->stanza;
	return OK;
}

static enum err flush(struct plugin_wire *wire)
{
	enum err err = wire->pipe.send(wire->pipe.context, wire->output);

	buf_clear(wire->output);
	return err;
}

enum err plugin_wire_done(struct plugin_wire *wire)
{
	struct bytes done = bytes_of_string("done");
	enum err err;

	err = age_stanza_put(wire->output, &done, 1, bytes_of(NULL, 0));
	if (err)
		return err;
	return flush(wire);
}

static enum err read_reply(struct plugin_wire *wire, const struct plugin_stanza **ret_reply)
{
	const struct plugin_stanza *reply;
	enum err err;

	err = flush(wire);
	if (!err)
		err = plugin_wire_next(wire, &reply);
	if (err)
		return err;
	if (reply->argument_count != 1 ||
	    (!plugin_stanza_is(reply, "ok") && !plugin_stanza_is(reply, "fail") &&
	     !plugin_stanza_is(reply, "unsupported")))
		return ERR_BAD_MESSAGE;
	*ret_reply = reply;
	return OK;
}

enum err plugin_wire_ask(struct plugin_wire *wire, const char *const *words, struct bytes body,
                         const struct plugin_stanza **ret_reply)
{
	struct bytes arguments[PLUGIN_ARGUMENTS_MAX];
	size_t n = 0;
	enum err err;

	for (; words[n]; n++) {
		if (n == PLUGIN_ARGUMENTS_MAX)
			return ERR_BUG;
		arguments[n] = bytes_of_string(words[n]);
	}
	err = age_stanza_put(wire->output, arguments, n, body);
	if (err)
		return err;
	return read_reply(wire, ret_reply);
}

enum err plugin_wire_ask_stanza(struct plugin_wire *wire, const char *words, struct bytes text,
                                const struct plugin_stanza **ret_reply)
{
	struct reader reader = reader_of(text);
	enum err err;

	if (!bytes_equal(reader_take(&reader, STANZA_BEGIN_LEN), bytes_of_string(STANZA_BEGIN)))
		return ERR_BUG;
	err = buf_printf(wire->output, STANZA_BEGIN "%s ", words);
	if (!err)
		err = buf_put(wire->output, reader.rest);
	if (err)
		return err;
	return read_reply(wire, ret_reply);
}
