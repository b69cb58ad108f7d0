/*
 * Both directions work by lines. The decoder collects a line, whose length is limited from its first byte on, and then decides by what came before
 * it; the encoder collects the 48 bytes of a line.
 */
#include "formats/armor.h"

#include <stdlib.h>

#include "common/encoding.h"
#include "common/secret.h"
#include "formats/text.h"

#define COLUMNS 64U
#define BYTES_PER_LINE 48U
#define LINE_MAX_LEN (COLUMNS + 1U) /* with a CR */
#define OUTPUT_LINES 1024U

/* What the next line may be. */
enum armor_state {
	ARMOR_BEFORE, /* white space, or the BEGIN line */
	ARMOR_BODY, /* base64, or the END line */
	ARMOR_LAST, /* a short line was seen: the END line */
	ARMOR_AFTER, /* white space */
};

struct armor {
	age_stream_sink sink;
	void *context; /* borrowed */
	bool decoding;
	enum err failed; /* sticks */
	enum armor_state state;
	size_t white_space;
	uint8_t line[LINE_MAX_LEN];
	size_t line_len;
	struct buf *out; /* owned; collected, so that the sink is not called for every line */
};

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static enum err armor_new(bool decoding, age_stream_sink sink, void *context, struct armor **ret_armor)
{
	CLEANUP(armor_freep) struct armor *armor = calloc(1, sizeof(*armor));
	enum err err;

	if (!armor)
		return ERR_NOMEM;
	armor->sink = sink;
	armor->context = context;
	armor->decoding = decoding;
	err = buf_new((size_t)OUTPUT_LINES * (COLUMNS + 1U), &armor->out);
	if (err)
		return err;
	*ret_armor = TAKE(armor);
	return OK;
}

enum err armor_decoder_new(age_stream_sink sink, void *context, struct armor **ret_armor)
{
	return armor_new(true, sink, context, ret_armor);
}

enum err armor_encoder_new(age_stream_sink sink, void *context, struct armor **ret_armor)
{
	CLEANUP(armor_freep) struct armor *armor = NULL;
	enum err err = armor_new(false, sink, context, &armor);

	if (!err)
		err = buf_put_string(armor->out, ARMOR_BEGIN "\n");
	if (err)
		return err;
	*ret_armor = TAKE(armor);
	return OK;
}

struct armor *armor_free(struct armor *armor)
{
	if (!armor)
		return NULL;
	buf_free(armor->out);
	secret_wipe(armor->line, sizeof(armor->line));
	free(armor);
	return NULL;
}

static enum err armor_flush(struct armor *armor)
{
	struct bytes out = buf_bytes(armor->out);
	enum err err = out.len ? armor->sink(armor->context, out) : OK;

	buf_clear(armor->out);
	return err;
}

/* Room for one more line, of either direction. */
static enum err armor_make_room(struct armor *armor)
{
	return buf_room(armor->out) < COLUMNS + 1U ? armor_flush(armor) : OK;
}

/* Outside the block there may be white space, up to a limit. A line of it counts as age counts it: with its end. */
static enum err white_space_line(struct armor *armor, struct bytes line)
{
	for (size_t i = 0; i < line.len; i++)
		if (!is_white_space(line.data[i]))
			return ERR_BAD_FILE;
	armor->white_space += line.len + 1;
	return armor->white_space > ARMOR_WHITE_SPACE_MAX ? ERR_BAD_FILE : OK;
}

static enum err begin_line(struct armor *armor, struct bytes line)
{
	if (!bytes_equal(line, bytes_of_string(ARMOR_BEGIN)))
		return white_space_line(armor, line);
	armor->state = ARMOR_BODY;
	armor->white_space = 0;
	return OK;
}

static enum err end_line(struct armor *armor, struct bytes line)
{
	if (!bytes_equal(line, bytes_of_string(ARMOR_END)))
		return ERR_BAD_FILE;
	armor->state = ARMOR_AFTER;
	return armor_flush(armor);
}

static enum err body_line(struct armor *armor, struct bytes line)
{
	uint8_t *space;
	size_t len;
	enum err err;

	if (line.len > 0 && line.data[0] == '-')
		return end_line(armor, line);
	if (line.len == 0 || line.len > COLUMNS || !bytes_are_ascii(line))
		return ERR_BAD_FILE;
	err = armor_make_room(armor);
	if (!err)
		err = buf_reserve(armor->out, BYTES_PER_LINE, &space);
	if (err)
		return err;
	if (base64_decode_public(line, BASE64_PADDED, space, BYTES_PER_LINE, &len))
		return ERR_BAD_FILE;
	buf_commit(armor->out, len);
	if (len < BYTES_PER_LINE)
		armor->state = ARMOR_LAST;
	return OK;
}

static enum err line_take(struct armor *armor)
{
	struct bytes line = bytes_of(armor->line, armor->line_len);

	armor->line_len = 0;
	if (line.len > 0 && line.data[line.len - 1] == '\r')
		line.len--;
	switch (armor->state) {
	case ARMOR_BEFORE:
		return begin_line(armor, line);
	case ARMOR_BODY:
		return body_line(armor, line);
	case ARMOR_LAST:
		return end_line(armor, line);
	case ARMOR_AFTER:
		return white_space_line(armor, line);
	}
	return ERR_BUG;
}

/* White space outside may come in lines of any length: what does not fit in a line is judged there and then. */
static enum err line_overflow(struct armor *armor)
{
	struct bytes line = bytes_of(armor->line, armor->line_len);

	if (armor->state != ARMOR_BEFORE && armor->state != ARMOR_AFTER)
		return ERR_BAD_FILE;
	armor->line_len = 0;
	if (white_space_line(armor, line))
		return ERR_BAD_FILE;
	armor->white_space--; /* the line has not ended */
	/* One blank stays, so that a BEGIN line that follows on the same line is not taken for one. */
	armor->line[0] = ' ';
	armor->line_len = 1;
	armor->white_space--;
	return OK;
}

static enum err decode(struct armor *armor, struct bytes input)
{
	enum err err = OK;

	while (!err && input.len > 0) {
		size_t room = LINE_MAX_LEN - armor->line_len;
		const uint8_t *end = memchr(input.data, '\n', smaller(input.len, room + 1));
		size_t len = end ? (size_t)(end - input.data) : smaller(input.len, room);

		memcpy(armor->line + armor->line_len, input.data, len);
		armor->line_len += len;
		if (end)
			err = line_take(armor);
		else if (len == 0)
			err = line_overflow(armor);
		len += end ? 1 : 0;
		input = bytes_of(input.data + len, input.len - len);
	}
	return err;
}

static enum err encode_line(struct armor *armor)
{
	enum err err = armor_make_room(armor);

	if (!err)
		err = base64_put(armor->out, bytes_of(armor->line, armor->line_len), BASE64_PADDED);
	if (!err)
		err = buf_put_u8(armor->out, '\n');
	armor->line_len = 0;
	return err;
}

static enum err encode(struct armor *armor, struct bytes input)
{
	enum err err = OK;

	while (!err && input.len > 0) {
		size_t len = smaller(input.len, BYTES_PER_LINE - armor->line_len);

		memcpy(armor->line + armor->line_len, input.data, len);
		armor->line_len += len;
		input = bytes_of(input.data + len, input.len - len);
		if (armor->line_len == BYTES_PER_LINE)
			err = encode_line(armor);
	}
	return err;
}

enum err armor_push(struct armor *armor, struct bytes input)
{
	if (!armor->failed)
		armor->failed = armor->decoding ? decode(armor, input) : encode(armor, input);
	return armor->failed;
}

static enum err encoder_finish(struct armor *armor)
{
	enum err err = armor->line_len ? encode_line(armor) : OK;

	if (!err)
		err = armor_make_room(armor);
	if (!err)
		err = buf_put_string(armor->out, ARMOR_END "\n");
	return err ? err : armor_flush(armor);
}

/* The last line needs no end. */
static enum err decoder_finish(struct armor *armor)
{
	enum err err = armor->line_len ? line_take(armor) : OK;

	if (err)
		return err;
	if (armor->state == ARMOR_AFTER)
		return OK;
	return armor->state == ARMOR_BEFORE ? ERR_BAD_FILE : ERR_TRUNCATED;
}

enum err armor_finish(struct armor *armor)
{
	if (!armor->failed)
		armor->failed = armor->decoding ? decoder_finish(armor) : encoder_finish(armor);
	return armor->failed;
}

bool armor_looks_like(struct bytes text)
{
	size_t blanks = 0, len;

	while (blanks < text.len && is_white_space(text.data[blanks]))
		blanks++;
	text = bytes_of(blanks ? text.data + blanks : text.data, text.len - blanks);
	len = smaller(text.len, strlen(ARMOR_BEGIN));
	return len > 0 && memcmp(text.data, ARMOR_BEGIN, len) == 0;
}
