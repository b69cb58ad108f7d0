#include "tokend/wire/keyservice.h"

#define VARINT_MAX 10U /* bytes */

/* Numbers of fields. */
enum { REQUEST_KEY = 1, REQUEST_DATA = 2, KEY_AGE = 6, AGE_RECIPIENT = 1, ANSWER_DATA = 1 };

/* How a field is written. Groups are refused: nothing has them since protobuf 2. */
enum wire_type { WIRE_VARINT = 0, WIRE_64_BITS = 1, WIRE_BYTES = 2, WIRE_32_BITS = 5 };

enum err grpc_read_frame(struct bytes text, struct bytes *ret_message)
{
	struct reader reader = reader_of(text);
	uint8_t compressed = reader_u8(&reader);
	uint32_t len = reader_u32(&reader);
	struct bytes message = reader_take(&reader, len);

	if (!reader_done(&reader) || compressed > 1)
		return ERR_BAD_MESSAGE;
	if (compressed)
		return ERR_UNSUPPORTED;
	*ret_message = message;
	return OK;
}

static uint64_t read_varint(struct reader *reader)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < VARINT_MAX; i++) {
		uint8_t byte = reader_u8(reader);

		/* Of the tenth byte one bit is left for 64 bits. */
		if (i == VARINT_MAX - 1 && byte > 1)
			break;
		value |= (uint64_t)(byte & 0x7f) << 7 * i;
		if (!(byte & 0x80))
			return value;
	}
	reader->failed = true;
	return 0;
}

static struct bytes read_delimited(struct reader *reader)
{
	uint64_t len = read_varint(reader);

	if (len > reader->rest.len)
		reader->failed = true;
	return reader_take(reader, (size_t)len);
}

static void skip(struct reader *reader, unsigned type)
{
	switch (type) {
	case WIRE_VARINT:
		(void)read_varint(reader);
		return;
	case WIRE_64_BITS:
		(void)reader_take(reader, 8);
		return;
	case WIRE_BYTES:
		(void)read_delimited(reader);
		return;
	case WIRE_32_BITS:
		(void)reader_take(reader, 4);
		return;
	default:
		reader->failed = true;
	}
}

/* The next field that is bytes: its number, and what is in it; what else there is was skipped. 0: there is none. */
static uint64_t next_bytes(struct reader *reader, struct bytes *ret_value)
{
	while (!reader->failed && reader->rest.len > 0) {
		uint64_t tag = read_varint(reader), number = tag >> 3;
		unsigned type = tag & 7;

		if (number == 0 || number > UINT32_MAX >> 3)
			reader->failed = true;
		if (!reader->failed && type == WIRE_BYTES) {
			*ret_value = read_delimited(reader);
			return reader->failed ? 0 : number;
		}
		skip(reader, type);
	}
	return 0;
}

static enum err read_age_key(struct bytes message, struct bytes *ret_recipient)
{
	struct reader reader = reader_of(message);
	struct bytes value;
	uint64_t number;

	*ret_recipient = bytes_of(NULL, 0);
	while ((number = next_bytes(&reader, &value)) != 0)
		if (number == AGE_RECIPIENT)
			*ret_recipient = value;
	return reader_done(&reader) ? OK : ERR_BAD_MESSAGE;
}

/* One of several: the last that stands there. */
static enum err read_key(struct bytes message, struct keyservice_request *request)
{
	struct reader reader = reader_of(message);
	struct bytes value;
	uint64_t number;
	enum err err = OK;

	while (!err && (number = next_bytes(&reader, &value)) != 0) {
		request->key = number == KEY_AGE ? KEYSERVICE_KEY_AGE : KEYSERVICE_KEY_OTHER;
		if (number == KEY_AGE)
			err = read_age_key(value, &request->recipient);
	}
	return err || reader_done(&reader) ? err : ERR_BAD_MESSAGE;
}

enum err keyservice_read_request(struct bytes message, struct keyservice_request *ret_request)
{
	struct keyservice_request request = { .key = KEYSERVICE_KEY_NONE };
	struct reader reader = reader_of(message);
	struct bytes value;
	uint64_t number;
	enum err err = OK;

	while (!err && (number = next_bytes(&reader, &value)) != 0) {
		if (number == REQUEST_KEY)
			err = read_key(value, &request);
		else if (number == REQUEST_DATA)
			request.data = value;
	}
	if (err || !reader_done(&reader))
		return ERR_BAD_MESSAGE;
	*ret_request = request;
	return OK;
}

/* A varint of at most four bytes: what we answer is no longer. */
static size_t encode_length(size_t len, uint8_t encoded[static 4])
{
	size_t count = 0;

	while (len > 0x7f && count < 3) {
		encoded[count++] = (uint8_t)(len & 0x7f) | 0x80;
		len >>= 7;
	}
	encoded[count++] = (uint8_t)(len & 0x7f);
	return count;
}

enum err keyservice_put_answer(struct buf *out, struct bytes data)
{
	uint8_t length[4];
	size_t count = encode_length(data.len, length);
	enum err err = buf_put_u8(out, 0);

	if (data.len >= 1U << 28)
		return ERR_BUG;
	if (!err)
		err = buf_put_u32(out, (uint32_t)(1 + count + data.len));
	if (!err)
		err = buf_put_u8(out, ANSWER_DATA << 3 | WIRE_BYTES);
	if (!err)
		err = buf_put(out, bytes_of(length, count));
	return err ? err : buf_put(out, data);
}
