/* Token messages from a hostile peer: whatever parses is walked by every reader, and what was read is written and read again. */
#include <stdlib.h>

#include "common/token_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* What a message that parsed promises to who reads its fields, said once more: many of them take a value as it is. */
static bool length_promised(enum token_field field, size_t len)
{
	static const struct {
		size_t shortest, longest;
	} promised[TOKEN_FIELD_COUNT] = {
		[TOKEN_FIELD_KEY_ID] = { 16, 16 },
		[TOKEN_FIELD_KIND] = { 1, 1 },
		[TOKEN_FIELD_CLASS] = { 1, 1 },
		[TOKEN_FIELD_SEALED_PIN] = { 1, TOKEN_SEALED_MAX },
		[TOKEN_FIELD_SEALED_KEY] = { 1, TOKEN_SEALED_MAX },
		[TOKEN_FIELD_PUBLIC] = { 32, 65 },
		[TOKEN_FIELD_BLOB_PARENT] = { 4, 4 },
		[TOKEN_FIELD_BLOB_PARENT_NAME] = { 0, TOKEN_PARENT_NAME_MAX },
		[TOKEN_FIELD_BLOB_PUBLIC_AREA] = { 1, TOKEN_BLOB_PART_MAX },
		[TOKEN_FIELD_BLOB_PRIVATE_AREA] = { 0, TOKEN_BLOB_PART_MAX },
		[TOKEN_FIELD_STANZA] = { TOKEN_STANZA_LEN, TOKEN_STANZA_LEN },
		[TOKEN_FIELD_TRY] = { TOKEN_TRY_LEN, TOKEN_TRY_LEN },
		[TOKEN_FIELD_FILE_KEY] = { 16, 16 },
		[TOKEN_FIELD_INDEX] = { 2, 2 },
		[TOKEN_FIELD_BOX_KEY] = { 32, 32 },
		[TOKEN_FIELD_PRESENT] = { 1, 1 },
		[TOKEN_FIELD_SIMULATION] = { 1, 1 },
		[TOKEN_FIELD_IN_LOCKOUT] = { 1, 1 },
		[TOKEN_FIELD_PIN_TRIES_LEFT] = { 4, 4 },
		[TOKEN_FIELD_RESET_COUNT] = { 4, 4 },
		[TOKEN_FIELD_COMMANDS] = { 4, 4 },
		[TOKEN_FIELD_MANUFACTURER] = { 0, 63 },
		[TOKEN_FIELD_SERIAL] = { 0, 63 },
		[TOKEN_FIELD_TRUSTED_PARENT] = { 1, TOKEN_PARENT_NAME_MAX },
		[TOKEN_FIELD_PIN_RECOVERY] = { 4, 4 },
	};

	if (field == TOKEN_FIELD_PUBLIC && len != 32 && len != 65)
		return false;
	return promised[field].longest > 0 && len >= promised[field].shortest &&
	       len <= promised[field].longest;
}

static void walk(const struct token_message *message)
{
	for (unsigned field = 1; field < TOKEN_FIELD_COUNT; field++) {
		size_t cursor = 0;
		struct bytes value;
		unsigned sum = 0;

		while (token_message_next(message, (enum token_field)field, &cursor, &value)) {
			if (!length_promised((enum token_field)field, value.len))
				abort();
			for (size_t i = 0; i < value.len; i++)
				sum += value.data[i];
		}
		if (sum > 255 * TOKEN_MESSAGE_MAX)
			abort();
	}
}

static void check(enum err err)
{
	if (err)
		abort();
}

/* A blob that was read, written, and read again is the same. */
static void write_again(struct buf *packet, const struct token_blob *blob)
{
	struct token_message message;
	struct token_blob read;

	check(token_message_begin(packet, TOKEN_OP_LOAD, OK, 1));
	check(token_message_put_blob(packet, blob));
	check(token_message_end(packet));
	check(token_message_parse(buf_bytes(packet), &message));
	check(token_message_blob(&message, &read));
	if (memcmp(&read, blob, sizeof(read)) != 0)
		abort();
}

static void write_status_again(struct buf *packet, const struct token_status *status)
{
	struct token_message message;
	struct token_status read;

	check(token_message_begin(packet, TOKEN_OP_STATUS, OK, 1));
	check(token_message_put_status(packet, status));
	check(token_message_end(packet));
	check(token_message_parse(buf_bytes(packet), &message));
	check(token_message_status(&message, &read));
	if (read.pin_tries_left != status->pin_tries_left || read.pin_recovery != status->pin_recovery ||
	    read.parent != status->parent || read.parent_name_len != status->parent_name_len ||
	    strcmp(read.manufacturer, status->manufacturer) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(buf_freep) struct buf *packet = NULL;
	struct token_message message;
	struct token_blob blob;
	struct token_status status;
	struct key_id id;
	enum key_kind kind;
	enum key_class class;
	uint16_t index;

	if (token_message_parse(bytes_of(data, len), &message))
		return 0;
	walk(&message);
	if (token_message_key_id(&message, &id) == OK &&
	    !token_message_find(&message, TOKEN_FIELD_KEY_ID, &(struct bytes){ 0 }))
		abort();
	if (token_message_kind(&message, &kind) == OK && (kind < KEY_KIND_P256 || kind > KEY_KIND_SYMMETRIC))
		abort();
	if (token_message_class(&message, &class) == OK &&
	    (class < KEY_CLASS_BOOT || class > KEY_CLASS_ADMIN))
		abort();
	(void)!token_message_u16(&message, TOKEN_FIELD_INDEX, &index);
	check(buf_new(TOKEN_MESSAGE_MAX, &packet));
	if (token_message_blob(&message, &blob) == OK)
		write_again(packet, &blob);
	if (token_message_status(&message, &status) == OK)
		write_status_again(packet, &status);
	return 0;
}
