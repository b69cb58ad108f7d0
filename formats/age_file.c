#include "formats/age_file.h"

#include <sodium.h>
#include <stdlib.h>

#include "formats/armor.h"
#include "formats/text.h"

#define SPACE_LEN 65536U
#define RECIPIENTS_MAX 256U

bool age_file_looks_like(struct bytes text)
{
	return bytes_begin_with(text, AGE_INTRO_ANY) || armor_looks_like(text);
}

/* What of the file is known yet. */
enum reader_state {
	READER_START, /* nothing but white space: armored or not? */
	READER_HEADER, /* collecting the header */
	READER_PAYLOAD, /* the stream has taken over */
};

struct age_reader {
	age_open_file_key open;
	void *open_context; /* borrowed */
	age_stream_sink sink;
	void *sink_context; /* borrowed */
	enum err failed; /* sticks */
	enum reader_state state;
	struct armor *armor; /* owned; NULL: not armored */
	struct buf *head; /* owned; white space, then the header */
	size_t parse_at; /* how long head must be for another try: doubling keeps all tries together linear */
	struct age_stream *stream; /* owned */
	uint8_t *space; /* owned; for age_reader_space before there is a stream */
};

enum err age_reader_new(age_open_file_key open, void *open_context, age_stream_sink sink, void *sink_context,
                        struct age_reader **ret_reader)
{
	CLEANUP(age_reader_freep) struct age_reader *reader = calloc(1, sizeof(*reader));
	enum err err;

	if (!reader)
		return ERR_NOMEM;
	reader->open = open;
	reader->open_context = open_context;
	reader->sink = sink;
	reader->sink_context = sink_context;
	err = buf_new(AGE_HEADER_MAX, &reader->head);
	if (err)
		return err;
	*ret_reader = TAKE(reader);
	return OK;
}

struct age_reader *age_reader_free(struct age_reader *reader)
{
	if (!reader)
		return NULL;
	age_stream_free(reader->stream);
	armor_free(reader->armor);
	buf_free(reader->head);
	free(reader->space);
	free(reader);
	return NULL;
}

/* The file key from whoever can open it, the MAC under it, and then the stream; in this order, as in age. */
static enum err payload_begin(struct age_reader *reader, const struct age_header *header)
{
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	enum err err = stanzas_check(header);

	if (!err)
		err = reader->open(reader->open_context, header, &file_key);
	if (!err && secret_len(file_key) != FILE_KEY_LEN)
		err = ERR_BAD_FILE;
	if (!err)
		err = age_header_verify(header, file_key);
	if (!err)
		err = age_stream_new(false, file_key, reader->sink, reader->sink_context, &reader->stream);
	if (!err)
		reader->state = READER_PAYLOAD;
	return err;
}

static enum err header_try(struct age_reader *reader)
{
	CLEANUP(age_header_freep) struct age_header *header = NULL;
	size_t len;
	enum err err = age_header_parse(buf_bytes(reader->head), &header, &len);

	if (err == ERR_AGAIN)
		reader->parse_at = 2 * buf_len(reader->head);
	if (err)
		return err;
	err = payload_begin(reader, header);
	if (err)
		return err;
	buf_consume(reader->head, len);
	err = age_stream_push(reader->stream, buf_bytes(reader->head));
	buf_clear(reader->head);
	return err;
}

/* Takes as much of input as belongs to the header, or may. */
static enum err header_push(struct age_reader *reader, struct bytes *input)
{
	size_t len = input->len < buf_room(reader->head) ? input->len : buf_room(reader->head);
	enum err err = buf_put(reader->head, bytes_of(input->data, len));

	if (err)
		return err;
	*input = bytes_of(len ? input->data + len : input->data, input->len - len);
	if (buf_len(reader->head) < reader->parse_at && buf_room(reader->head) > 0)
		return OK;
	err = header_try(reader);
	return err == ERR_AGAIN ? OK : err;
}

/* What comes out of the armor, or straight from the file. */
static enum err plain_take(void *context, struct bytes input)
{
	struct age_reader *reader = context;
	enum err err = OK;

	while (!err && reader->state == READER_HEADER && input.len > 0)
		err = header_push(reader, &input);
	if (err || input.len == 0)
		return err;
	return age_stream_push(reader->stream, input);
}

static enum err input_take(struct age_reader *reader, struct bytes input)
{
	return reader->armor ? armor_push(reader->armor, input) : plain_take(reader, input);
}

/* The first byte that is no white space decides: only armor may have white space before it, and it begins with '-'. */
static enum err start_push(struct age_reader *reader, struct bytes *input)
{
	size_t blanks = 0;
	enum err err;

	while (blanks < input->len && is_white_space(input->data[blanks]))
		blanks++;
	if (blanks > ARMOR_WHITE_SPACE_MAX || buf_len(reader->head) + blanks > ARMOR_WHITE_SPACE_MAX)
		return ERR_BAD_FILE;
	err = buf_put(reader->head, bytes_of(input->data, blanks));
	*input = bytes_of(input->data + blanks, input->len - blanks);
	if (err || input->len == 0)
		return err;
	reader->state = READER_HEADER;
	if (input->data[0] != '-')
		return buf_len(reader->head) ? ERR_BAD_FILE : OK;
	err = armor_decoder_new(plain_take, reader, &reader->armor);
	if (!err)
		err = armor_push(reader->armor, buf_bytes(reader->head));
	buf_clear(reader->head);
	return err;
}

static enum err push(struct age_reader *reader, struct bytes input)
{
	enum err err = OK;

	if (reader->state == READER_START && input.len > 0)
		err = start_push(reader, &input);
	return err || input.len == 0 ? err : input_take(reader, input);
}

enum err age_reader_push(struct age_reader *reader, struct bytes input)
{
	if (!reader->failed)
		reader->failed = push(reader, input);
	return reader->failed;
}

static bool reads_into_stream(const struct age_reader *reader)
{
	return reader->state == READER_PAYLOAD && !reader->armor;
}

uint8_t *age_reader_space(struct age_reader *reader, size_t *ret_len)
{
	if (reads_into_stream(reader))
		return age_stream_space(reader->stream, ret_len);
	if (!reader->space)
		reader->space = malloc(SPACE_LEN);
	*ret_len = reader->space ? SPACE_LEN : 0;
	return reader->space;
}

enum err age_reader_commit(struct age_reader *reader, size_t len)
{
	if (!reads_into_stream(reader))
		return age_reader_push(reader, bytes_of(reader->space, len));
	if (!reader->failed)
		reader->failed = age_stream_commit(reader->stream, len);
	return reader->failed;
}

static enum err finish(struct age_reader *reader)
{
	enum err err = reader->armor ? armor_finish(reader->armor) : OK;

	if (!err && reader->state == READER_HEADER && buf_len(reader->head) > 0)
		err = header_try(reader);
	if (err)
		return err == ERR_AGAIN ? ERR_TRUNCATED : err;
	return reader->state == READER_PAYLOAD ? age_stream_finish(reader->stream) : ERR_TRUNCATED;
}

enum err age_reader_finish(struct age_reader *reader)
{
	if (!reader->failed)
		reader->failed = finish(reader);
	return reader->failed;
}

struct age_writer {
	age_stream_sink sink;
	void *sink_context; /* borrowed */
	struct armor *armor; /* owned; NULL: not armored */
	struct age_stream *stream; /* owned */
};

struct age_writer *age_writer_free(struct age_writer *writer)
{
	if (!writer)
		return NULL;
	age_stream_free(writer->stream);
	armor_free(writer->armor);
	free(writer);
	return NULL;
}

static enum err writer_put(void *context, struct bytes output)
{
	struct age_writer *writer = context;

	return writer->armor ? armor_push(writer->armor, output) : writer->sink(writer->sink_context, output);
}

static enum err recipients_check(const struct recipient *recipients, size_t recipient_count)
{
	if (recipient_count == 0 || recipient_count > RECIPIENTS_MAX)
		return ERR_USAGE;
	for (size_t i = 0; recipient_count > 1 && i < recipient_count; i++)
		if (recipients[i].kind == RECIPIENT_PASSPHRASE)
			return ERR_USAGE;
	return OK;
}

static enum err header_write(struct age_writer *writer, const struct recipient *recipients,
                             size_t recipient_count, const struct secret *file_key)
{
	CLEANUP(buf_freep) struct buf *header = NULL;
	enum err err = buf_new(AGE_HEADER_MAX, &header);

	if (!err)
		err = age_header_begin(header);
	for (size_t i = 0; !err && i < recipient_count; i++)
		err = recipient_wrap(&recipients[i], file_key, header);
	if (!err)
		err = age_header_finish(header, file_key);
	return err ? err : writer_put(writer, buf_bytes(header));
}

static enum err file_key_make(struct secret **ret_file_key)
{
	enum err err = secret_new(FILE_KEY_LEN, ret_file_key);

	if (!err)
		randombytes_buf(secret_fill(*ret_file_key), FILE_KEY_LEN);
	return err;
}

enum err age_writer_new(const struct recipient *recipients, size_t recipient_count, bool armored,
                        age_stream_sink sink, void *sink_context, struct age_writer **ret_writer)
{
	CLEANUP(age_writer_freep) struct age_writer *writer = NULL;
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	enum err err = recipients_check(recipients, recipient_count);

	if (err)
		return err;
	writer = calloc(1, sizeof(*writer));
	if (!writer)
		return ERR_NOMEM;
	writer->sink = sink;
	writer->sink_context = sink_context;
	err = file_key_make(&file_key);
	if (!err && armored)
		err = armor_encoder_new(sink, sink_context, &writer->armor);
	if (!err)
		err = header_write(writer, recipients, recipient_count, file_key);
	if (!err)
		err = age_stream_new(true, file_key, writer_put, writer, &writer->stream);
	if (err)
		return err;
	*ret_writer = TAKE(writer);
	return OK;
}

enum err age_writer_push(struct age_writer *writer, struct bytes input)
{
	return age_stream_push(writer->stream, input);
}

uint8_t *age_writer_space(struct age_writer *writer, size_t *ret_len)
{
	return age_stream_space(writer->stream, ret_len);
}

enum err age_writer_commit(struct age_writer *writer, size_t len)
{
	return age_stream_commit(writer->stream, len);
}

enum err age_writer_finish(struct age_writer *writer)
{
	enum err err = age_stream_finish(writer->stream);

	return err || !writer->armor ? err : armor_finish(writer->armor);
}
