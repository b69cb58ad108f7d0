#include "common/token_message.h"

#define MAGIC 0x746b6e31U /* "tkn1" */
#define HEADER_ERR_OFFSET 6U
#define HEADER_LENGTH_OFFSET 12U

/* All that can be said of a field without knowing the rest of its message. */
struct rule {
	uint16_t shortest;
	uint16_t longest;
	uint16_t repeats; /* how often it may stand in one message */
	uint8_t lowest; /* every byte of the value lies between lowest and highest */
	uint8_t highest;
};

#define ANY_BYTE 0x00, 0xff
#define BOOLEAN 0, 1
#define PRINTABLE 0x20, 0x7e

static const struct rule rules[TOKEN_FIELD_COUNT] = {
	[TOKEN_FIELD_KEY_ID] = { KEY_ID_LEN, KEY_ID_LEN, 1, ANY_BYTE },
	[TOKEN_FIELD_KIND] = { 1, 1, 1, KEY_KIND_P256, KEY_KIND_SYMMETRIC },
	[TOKEN_FIELD_CLASS] = { 1, 1, 1, KEY_CLASS_BOOT, KEY_CLASS_ADMIN },
	[TOKEN_FIELD_SEALED_PIN] = { 1, TOKEN_SEALED_MAX, 1, ANY_BYTE },
	[TOKEN_FIELD_SEALED_KEY] = { 1, TOKEN_SEALED_MAX, 1, ANY_BYTE },
	[TOKEN_FIELD_PUBLIC] = { X25519_LEN, P256_POINT_LEN, 1, ANY_BYTE },
	[TOKEN_FIELD_BLOB_PARENT] = { 4, 4, 1, ANY_BYTE },
	[TOKEN_FIELD_BLOB_PARENT_NAME] = { 0, TOKEN_PARENT_NAME_MAX, 1, ANY_BYTE },
	[TOKEN_FIELD_BLOB_PUBLIC_AREA] = { 1, TOKEN_BLOB_PART_MAX, 1, ANY_BYTE },
	[TOKEN_FIELD_BLOB_PRIVATE_AREA] = { 0, TOKEN_BLOB_PART_MAX, 1, ANY_BYTE },
	[TOKEN_FIELD_STANZA] = { TOKEN_STANZA_LEN, TOKEN_STANZA_LEN, TOKEN_STANZAS_MAX, ANY_BYTE },
	[TOKEN_FIELD_TRY] = { TOKEN_TRY_LEN, TOKEN_TRY_LEN, TOKEN_TRIES_MAX, ANY_BYTE },
	[TOKEN_FIELD_FILE_KEY] = { FILE_KEY_LEN, FILE_KEY_LEN, 1, ANY_BYTE },
	[TOKEN_FIELD_INDEX] = { 2, 2, 1, ANY_BYTE },
	[TOKEN_FIELD_BOX_KEY] = { TOKEN_BOX_KEY_LEN, TOKEN_BOX_KEY_LEN, 1, ANY_BYTE },
	[TOKEN_FIELD_PRESENT] = { 1, 1, 1, BOOLEAN },
	[TOKEN_FIELD_SIMULATION] = { 1, 1, 1, BOOLEAN },
	[TOKEN_FIELD_IN_LOCKOUT] = { 1, 1, 1, BOOLEAN },
	[TOKEN_FIELD_PIN_TRIES_LEFT] = { 4, 4, 1, ANY_BYTE },
	[TOKEN_FIELD_RESET_COUNT] = { 4, 4, 1, ANY_BYTE },
	[TOKEN_FIELD_COMMANDS] = { 4, 4, 1, ANY_BYTE },
	[TOKEN_FIELD_MANUFACTURER] = { 0, 63, 1, PRINTABLE },
	[TOKEN_FIELD_SERIAL] = { 0, 63, 1, PRINTABLE },
	[TOKEN_FIELD_TRUSTED_PARENT] = { 1, TOKEN_PARENT_NAME_MAX, TOKEN_TRUSTED_MAX, ANY_BYTE },
	[TOKEN_FIELD_PIN_RECOVERY] = { 4, 4, 1, ANY_BYTE },
};

/* PUBLIC is the one field of two lengths. */
static bool length_valid(enum token_field field, size_t len)
{
	if (field == TOKEN_FIELD_PUBLIC)
		return len == X25519_LEN || len == P256_POINT_LEN;
	return len >= rules[field].shortest && len <= rules[field].longest;
}

static bool value_valid(enum token_field field, struct bytes value)
{
	if (!length_valid(field, value.len))
		return false;
	for (size_t i = 0; i < value.len; i++)
		if (value.data[i] < rules[field].lowest || value.data[i] > rules[field].highest)
			return false;
	return true;
}

/* The next field of a chain; false at its end, or when the reader failed. The number is not checked. */
static bool field_next(struct reader *reader, uint16_t *ret_number, struct bytes *ret_value)
{
	if (reader->failed || reader->rest.len == 0)
		return false;
	*ret_number = reader_u16(reader);
	*ret_value = reader_take(reader, reader_u16(reader));
	return !reader->failed;
}

static enum err fields_check(struct bytes fields)
{
	struct reader reader = reader_of(fields);
	uint16_t seen[TOKEN_FIELD_COUNT] = { 0 };
	struct bytes value;
	uint16_t number;

	while (field_next(&reader, &number, &value)) {
		if (number == 0 || number >= TOKEN_FIELD_COUNT)
			return ERR_BAD_MESSAGE;
		if (!value_valid((enum token_field)number, value))
			return ERR_BAD_MESSAGE;
		if (++seen[number] > rules[number].repeats)
			return ERR_BAD_MESSAGE;
	}
	return reader_done(&reader) ? OK : ERR_BAD_MESSAGE;
}

enum err token_message_parse(struct bytes packet, struct token_message *ret_message)
{
	struct reader reader = reader_of(packet);
	uint32_t magic = reader_u32(&reader);
	uint16_t op = reader_u16(&reader);
	uint16_t err = reader_u16(&reader);
	uint32_t id = reader_u32(&reader);
	struct bytes fields = reader_take(&reader, reader_u32(&reader));

	if (!reader_done(&reader) || packet.len > TOKEN_MESSAGE_MAX || magic != MAGIC)
		return ERR_BAD_MESSAGE;
	if (op < TOKEN_OP_HELLO || op > TOKEN_OP_UNWRAP || err >= ERR_COUNT)
		return ERR_BAD_MESSAGE;
	if (fields_check(fields))
		return ERR_BAD_MESSAGE;
	*ret_message = (struct token_message){ (enum token_op)op, (enum err)err, id, fields };
	return OK;
}

bool token_message_next(const struct token_message *message, enum token_field field, size_t *cursor,
                        struct bytes *ret_value)
{
	struct reader reader = reader_of(message->fields);
	struct bytes value;
	uint16_t number;

	(void)reader_take(&reader, *cursor);
	while (field_next(&reader, &number, &value)) {
		if (number != field)
			continue;
		*cursor = message->fields.len - reader.rest.len;
		*ret_value = value;
		return true;
	}
	return false;
}

bool token_message_find(const struct token_message *message, enum token_field field, struct bytes *ret_value)
{
	size_t cursor = 0;

	return token_message_next(message, field, &cursor, ret_value);
}

/* A field whose length has only one value, which parse has checked; len says which, so that a slip here cannot overrun. */
static enum err find_exactly(const struct token_message *message, enum token_field field, size_t len,
                             struct reader *ret_reader)
{
	struct bytes value;

	if (!token_message_find(message, field, &value) || value.len != len)
		return ERR_BAD_MESSAGE;
	*ret_reader = reader_of(value);
	return OK;
}

static enum err find_u8(const struct token_message *message, enum token_field field, uint8_t *ret_value)
{
	struct reader reader;
	enum err err = find_exactly(message, field, 1, &reader);

	if (!err)
		*ret_value = reader_u8(&reader);
	return err;
}

enum err token_message_key_id(const struct token_message *message, struct key_id *ret_id)
{
	struct reader reader;
	enum err err = find_exactly(message, TOKEN_FIELD_KEY_ID, KEY_ID_LEN, &reader);

	if (!err)
		reader_copy(&reader, ret_id->bytes, KEY_ID_LEN);
	return err;
}

enum err token_message_kind(const struct token_message *message, enum key_kind *ret_kind)
{
	uint8_t value;
	enum err err = find_u8(message, TOKEN_FIELD_KIND, &value);

	if (!err)
		*ret_kind = (enum key_kind)value;
	return err;
}

enum err token_message_class(const struct token_message *message, enum key_class *ret_class)
{
	uint8_t value;
	enum err err = find_u8(message, TOKEN_FIELD_CLASS, &value);

	if (!err)
		*ret_class = (enum key_class)value;
	return err;
}

enum err token_message_u16(const struct token_message *message, enum token_field field, uint16_t *ret_value)
{
	struct reader reader;
	enum err err = find_exactly(message, field, 2, &reader);

	if (!err)
		*ret_value = reader_u16(&reader);
	return err;
}

enum err token_message_u32(const struct token_message *message, enum token_field field, uint32_t *ret_value)
{
	struct reader reader;
	enum err err = find_exactly(message, field, 4, &reader);

	if (!err)
		*ret_value = reader_u32(&reader);
	return err;
}

static enum err find_copy(const struct token_message *message, enum token_field field, uint8_t *out,
                          size_t max, size_t *ret_len)
{
	struct bytes value;

	if (!token_message_find(message, field, &value) || value.len > max)
		return ERR_BAD_MESSAGE;
	if (value.len)
		memcpy(out, value.data, value.len);
	*ret_len = value.len;
	return OK;
}

enum err token_message_blob(const struct token_message *message, struct token_blob *ret_blob)
{
	struct token_blob blob = { 0 };
	enum err err = token_message_u32(message, TOKEN_FIELD_BLOB_PARENT, &blob.parent);

	if (!err)
		err = find_copy(message, TOKEN_FIELD_BLOB_PARENT_NAME, blob.parent_name,
		                sizeof(blob.parent_name), &blob.parent_name_len);
	if (!err)
		err = find_copy(message, TOKEN_FIELD_BLOB_PUBLIC_AREA, blob.public_area,
		                sizeof(blob.public_area), &blob.public_area_len);
	if (!err)
		err = find_copy(message, TOKEN_FIELD_BLOB_PRIVATE_AREA, blob.private_area,
		                sizeof(blob.private_area), &blob.private_area_len);
	if (!err)
		*ret_blob = blob;
	return err;
}

static enum err find_boolean(const struct token_message *message, enum token_field field, bool *ret_value)
{
	uint8_t value;
	enum err err = find_u8(message, field, &value);

	if (!err)
		*ret_value = value != 0;
	return err;
}

/* text is zeroed and longer than any value that the table lets through, so it ends with a NUL. */
static enum err find_text(const struct token_message *message, enum token_field field, char text[static 64])
{
	size_t len;

	return find_copy(message, field, (uint8_t *)text, 63, &len);
}

static enum err status_parent(const struct token_message *message, struct token_status *status)
{
	struct bytes ignored;
	enum err err;

	if (!token_message_find(message, TOKEN_FIELD_BLOB_PARENT, &ignored))
		return OK;
	err = token_message_u32(message, TOKEN_FIELD_BLOB_PARENT, &status->parent);
	return err ? err
	           : find_copy(message, TOKEN_FIELD_BLOB_PARENT_NAME, status->parent_name,
	                       sizeof(status->parent_name), &status->parent_name_len);
}

enum err token_message_status(const struct token_message *message, struct token_status *ret_status)
{
	struct token_status status = { 0 };
	uint32_t tries_left = 0;
	struct bytes recovery;
	enum err err = find_boolean(message, TOKEN_FIELD_PRESENT, &status.present);

	if (!err)
		err = find_boolean(message, TOKEN_FIELD_SIMULATION, &status.simulation);
	if (!err)
		err = find_boolean(message, TOKEN_FIELD_IN_LOCKOUT, &status.in_lockout);
	if (!err)
		err = token_message_u32(message, TOKEN_FIELD_PIN_TRIES_LEFT, &tries_left);
	if (!err)
		err = token_message_u32(message, TOKEN_FIELD_RESET_COUNT, &status.reset_count);
	if (!err)
		err = token_message_u32(message, TOKEN_FIELD_COMMANDS, &status.commands);
	if (!err)
		err = find_text(message, TOKEN_FIELD_MANUFACTURER, status.manufacturer);
	if (!err)
		err = find_text(message, TOKEN_FIELD_SERIAL, status.serial);
	if (!err && token_message_find(message, TOKEN_FIELD_PIN_RECOVERY, &recovery))
		err = token_message_u32(message, TOKEN_FIELD_PIN_RECOVERY, &status.pin_recovery);
	if (!err)
		err = status_parent(message, &status);
	if (err)
		return err;
	/* Whatever a helper claims, tries are counted from -1 (unknown) upwards. */
	if (tries_left > INT32_MAX && tries_left != UINT32_MAX)
		return ERR_BAD_MESSAGE;
	status.pin_tries_left = tries_left == UINT32_MAX ? -1 : (int)tries_left;
	*ret_status = status;
	return OK;
}

enum err token_message_begin(struct buf *packet, enum token_op op, enum err message_err, uint32_t id)
{
	enum err err;

	buf_clear(packet);
	err = buf_put_u32(packet, MAGIC);
	if (!err)
		err = buf_put_u16(packet, (uint16_t)op);
	if (!err)
		err = buf_put_u16(packet, (uint16_t)message_err);
	if (!err)
		err = buf_put_u32(packet, id);
	if (!err)
		err = buf_put_u32(packet, 0);
	return err;
}

enum err token_message_put(struct buf *packet, enum token_field field, struct bytes value)
{
	enum err err;

	/* What the other end would refuse is a fault of this end. */
	if (!value_valid(field, value))
		return ERR_BUG;
	err = buf_put_u16(packet, (uint16_t)field);
	if (!err)
		err = buf_put_u16(packet, (uint16_t)value.len);
	if (!err)
		err = buf_put(packet, value);
	return err;
}

enum err token_message_put_u8(struct buf *packet, enum token_field field, uint8_t value)
{
	return token_message_put(packet, field, bytes_of(&value, 1));
}

enum err token_message_put_u16(struct buf *packet, enum token_field field, uint16_t value)
{
	const uint8_t bytes[2] = { (uint8_t)(value >> 8), (uint8_t)value };

	return token_message_put(packet, field, bytes_of(bytes, sizeof(bytes)));
}

static void u32_write(uint8_t *out, uint32_t value)
{
	for (size_t i = 0; i < 4; i++)
		out[i] = (uint8_t)(value >> (24 - 8 * i));
}

enum err token_message_put_u32(struct buf *packet, enum token_field field, uint32_t value)
{
	uint8_t bytes[4];

	u32_write(bytes, value);
	return token_message_put(packet, field, bytes_of(bytes, sizeof(bytes)));
}

enum err token_message_put_blob(struct buf *packet, const struct token_blob *blob)
{
	enum err err = token_message_put_u32(packet, TOKEN_FIELD_BLOB_PARENT, blob->parent);

	if (!err)
		err = token_message_put(packet, TOKEN_FIELD_BLOB_PARENT_NAME,
		                        bytes_of(blob->parent_name, blob->parent_name_len));
	if (!err)
		err = token_message_put(packet, TOKEN_FIELD_BLOB_PUBLIC_AREA,
		                        bytes_of(blob->public_area, blob->public_area_len));
	if (!err)
		err = token_message_put(packet, TOKEN_FIELD_BLOB_PRIVATE_AREA,
		                        bytes_of(blob->private_area, blob->private_area_len));
	return err;
}

enum err token_message_put_status(struct buf *packet, const struct token_status *status)
{
	uint32_t tries_left = status->pin_tries_left < 0 ? UINT32_MAX : (uint32_t)status->pin_tries_left;
	enum err err = token_message_put_u8(packet, TOKEN_FIELD_PRESENT, status->present);

	if (!err)
		err = token_message_put_u8(packet, TOKEN_FIELD_SIMULATION, status->simulation);
	if (!err)
		err = token_message_put_u8(packet, TOKEN_FIELD_IN_LOCKOUT, status->in_lockout);
	if (!err)
		err = token_message_put_u32(packet, TOKEN_FIELD_PIN_TRIES_LEFT, tries_left);
	if (!err)
		err = token_message_put_u32(packet, TOKEN_FIELD_RESET_COUNT, status->reset_count);
	if (!err)
		err = token_message_put_u32(packet, TOKEN_FIELD_COMMANDS, status->commands);
	if (!err)
		err = token_message_put(packet, TOKEN_FIELD_MANUFACTURER,
		                        bytes_of_string(status->manufacturer));
	if (!err)
		err = token_message_put(packet, TOKEN_FIELD_SERIAL, bytes_of_string(status->serial));
	if (!err && status->pin_recovery)
		err = token_message_put_u32(packet, TOKEN_FIELD_PIN_RECOVERY, status->pin_recovery);
	if (!err && status->parent)
		err = token_message_put_u32(packet, TOKEN_FIELD_BLOB_PARENT, status->parent);
	if (!err && status->parent)
		err = token_message_put(packet, TOKEN_FIELD_BLOB_PARENT_NAME,
		                        bytes_of(status->parent_name, status->parent_name_len));
	return err;
}

/* The packet's own bytes, to write the header over. A reservation of nothing yields the place after the last byte; from there it is counted back. */
static enum err packet_start(struct buf *packet, uint8_t **ret_start)
{
	size_t len = buf_len(packet);
	uint8_t *end;
	enum err err;

	if (len < TOKEN_MESSAGE_HEADER_LEN)
		return ERR_BUG;
	if (len > TOKEN_MESSAGE_MAX)
		return ERR_BUSY;
	err = buf_reserve(packet, 0, &end);
	if (!err)
		*ret_start = end - len;
	return err;
}

enum err token_message_end(struct buf *packet)
{
	uint8_t *start;
	enum err err = packet_start(packet, &start);

	if (!err)
		u32_write(start + HEADER_LENGTH_OFFSET,
		          (uint32_t)(buf_len(packet) - TOKEN_MESSAGE_HEADER_LEN));
	return err;
}

enum err token_message_set_err(struct buf *packet, enum err message_err)
{
	uint8_t *start;
	enum err err = packet_start(packet, &start);

	if (err)
		return err;
	start[HEADER_ERR_OFFSET] = (uint8_t)(message_err >> 8);
	start[HEADER_ERR_OFFSET + 1] = (uint8_t)message_err;
	return OK;
}
