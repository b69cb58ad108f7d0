/* The wire between broker and helper: what is written is read back, and every way to break a rule is refused whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/token_message.h"

struct row {
	const char *name;
	const char *packet; /* hexadecimal; blanks are for people */
	bool good;
};

#define HEAD "746b6e31 0001 0000 00000007 "
#define ID16 "000102030405060708090a0b0c0d0e0f"

static const struct row rows[] = {
	{ "nothing", "", false },
	{ "bare HELLO", HEAD "00000000", true },
	{ "one byte short of a header", "746b6e31 0001 0000 00000007 000000", false },
	{ "one byte more than it says", HEAD "00000000 00", false },
	{ "one byte less than it says", HEAD "00000001", false },
	{ "length of 2^32-1", HEAD "ffffffff", false },
	{ "wrong magic", "746b6e32 0001 0000 00000007 00000000", false },
	{ "op 0", "746b6e31 0000 0000 00000007 00000000", false },
	{ "last op", "746b6e31 0008 0000 00000007 00000000", true },
	{ "op beyond the last", "746b6e31 0009 0000 00000007 00000000", false },
	{ "op 65535", "746b6e31 ffff 0000 00000007 00000000", false },
	{ "an error", "746b6e31 0001 0001 00000007 00000000", true },
	{ "an error that there is not", "746b6e31 0001 00ff 00000007 00000000", false },
	{ "field number 0", HEAD "00000004 0000 0000", false },
	{ "field number beyond the last", HEAD "00000004 0018 0000", false },
	{ "field number 65535", HEAD "00000004 ffff 0000", false },
	{ "half a field number", HEAD "00000001 00", false },
	{ "half a field length", HEAD "00000003 0001 00", false },
	{ "field longer than the message", HEAD "00000005 0002 0002 01", false },
	{ "field of 65535 in a short message", HEAD "00000005 0003 ffff 01", false },
	{ "key id", HEAD "00000014 0001 0010 " ID16, true },
	{ "key id of 15", HEAD "00000013 0001 000f 000102030405060708090a0b0c0d0e", false },
	{ "key id of 17", HEAD "00000015 0001 0011 " ID16 "10", false },
	{ "key id twice", HEAD "00000028 0001 0010 " ID16 " 0001 0010 " ID16, false },
	{ "kind 1", HEAD "00000005 0002 0001 01", true },
	{ "kind 0", HEAD "00000005 0002 0001 00", false },
	{ "kind 4", HEAD "00000005 0002 0001 04", false },
	{ "kind without a value", HEAD "00000004 0002 0000", false },
	{ "kind of two bytes", HEAD "00000006 0002 0002 0101", false },
	{ "class 3", HEAD "00000005 0003 0001 03", true },
	{ "class 4", HEAD "00000005 0003 0001 04", false },
	{ "sealed PIN without a value", HEAD "00000004 0004 0000", false },
	{ "sealed key of one byte", HEAD "00000005 0005 0001 00", true },
	{ "public of one byte", HEAD "00000005 0006 0001 04", false },
	{ "parent of three bytes", HEAD "00000007 0007 0003 810000", false },
	{ "empty parent name", HEAD "00000004 0008 0000", true },
	{ "empty public area", HEAD "00000004 0009 0000", false },
	{ "empty private area", HEAD "00000004 000a 0000", true },
	{ "a stanza of one byte", HEAD "00000005 000b 0001 01", false },
	{ "a try of 17 bytes", HEAD "00000015 000c 0011 " ID16 "00", false },
	{ "a file key of 16", HEAD "00000014 000d 0010 " ID16, true },
	{ "a file key of 32", HEAD "00000024 000d 0020 " ID16 ID16, false },
	{ "index of one byte", HEAD "00000005 000e 0001 01", false },
	{ "box key of 16", HEAD "00000014 000f 0010 " ID16, false },
	{ "boolean 1", HEAD "00000005 0010 0001 01", true },
	{ "boolean 2", HEAD "00000005 0011 0001 02", false },
	{ "boolean 255", HEAD "00000005 0012 0001 ff", false },
	{ "text", HEAD "00000007 0016 0003 494258", true },
	{ "text with a NUL", HEAD "00000007 0016 0003 490058", false },
	{ "text with an escape", HEAD "00000007 0017 0003 491b58", false },
	{ "good field, then a bad one", HEAD "0000000a 0002 0001 01 0003 0001 04", false },
};

static size_t from_hex(const char *text, uint8_t *out)
{
	size_t n = 0;
	unsigned byte;

	for (; *text; text++) {
		if (*text == ' ')
			continue;
		assert_int_equal(sscanf(text, "%2x", &byte), 1);
		out[n++] = (uint8_t)byte;
		text++;
	}
	return n;
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint8_t packet[256];
		size_t len = from_hex(rows[i].packet, packet);
		struct token_message message = { 0 };
		enum err err = token_message_parse(bytes_of(packet, len), &message);

		if (err != (rows[i].good ? OK : ERR_BAD_MESSAGE))
			fail_msg("%s: %s", rows[i].name, err_info(err)->name);
		if (!rows[i].good)
			assert_int_equal(message.op, 0); /* nothing was given out */
	}
}

/* Every field of one length at its limits: the table in the header's comment, said a second time. */
static void test_lengths(void **state)
{
	static const struct {
		enum token_field field;
		size_t longest;
	} limits[] = {
		{ TOKEN_FIELD_SEALED_PIN, 256 },
		{ TOKEN_FIELD_SEALED_KEY, 256 },
		{ TOKEN_FIELD_BLOB_PARENT_NAME, 66 },
		{ TOKEN_FIELD_BLOB_PUBLIC_AREA, 1024 },
		{ TOKEN_FIELD_BLOB_PRIVATE_AREA, 1024 },
		{ TOKEN_FIELD_MANUFACTURER, 63 },
		{ TOKEN_FIELD_SERIAL, 63 },
		{ TOKEN_FIELD_TRUSTED_PARENT, 66 },
		{ TOKEN_FIELD_PIN_RECOVERY, 4 },
	};
	CLEANUP(buf_freep) struct buf *packet = NULL;
	uint8_t value[1025];

	(void)state;
	memset(value, 'a', sizeof(value));
	assert_int_equal(buf_new(TOKEN_MESSAGE_MAX, &packet), OK);
	assert_int_equal(token_message_begin(packet, TOKEN_OP_HELLO, OK, 1), OK);
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		assert_int_equal(
		        token_message_put(packet, limits[i].field, bytes_of(value, limits[i].longest)), OK);
		assert_int_equal(
		        token_message_put(packet, limits[i].field, bytes_of(value, limits[i].longest + 1)),
		        ERR_BUG);
	}
	assert_int_equal(token_message_end(packet), OK);
	assert_int_equal(token_message_parse(buf_bytes(packet), &(struct token_message){ 0 }), OK);
}

static void stanzas_put(struct buf *packet, enum token_field field, size_t len, size_t count)
{
	uint8_t value[TOKEN_STANZA_LEN] = { 0 };

	for (size_t i = 0; i < count; i++) {
		value[0] = (uint8_t)i;
		assert_int_equal(token_message_put(packet, field, bytes_of(value, len)), OK);
	}
}

/* The greatest UNWRAP fits a packet; one stanza or one try more does not pass. */
static void test_repeats(void **state)
{
	CLEANUP(buf_freep) struct buf *packet = NULL;
	struct token_message message;
	struct bytes value;
	size_t cursor = 0, n = 0;

	(void)state;
	assert_int_equal(buf_new(2 * TOKEN_MESSAGE_MAX, &packet), OK);
	assert_int_equal(token_message_begin(packet, TOKEN_OP_UNWRAP, OK, 1), OK);
	stanzas_put(packet, TOKEN_FIELD_STANZA, TOKEN_STANZA_LEN, TOKEN_STANZAS_MAX);
	stanzas_put(packet, TOKEN_FIELD_TRY, TOKEN_TRY_LEN, TOKEN_TRIES_MAX);
	assert_int_equal(token_message_end(packet), OK);
	assert_int_equal(token_message_parse(buf_bytes(packet), &message), OK);
	for (; token_message_next(&message, TOKEN_FIELD_TRY, &cursor, &value); n++)
		assert_int_equal(value.data[0], n & 0xff);
	assert_int_equal(n, TOKEN_TRIES_MAX);
	stanzas_put(packet, TOKEN_FIELD_TRY, TOKEN_TRY_LEN, 1);
	assert_int_equal(token_message_end(packet), OK);
	assert_int_equal(token_message_parse(buf_bytes(packet), &message), ERR_BAD_MESSAGE);

	assert_int_equal(token_message_begin(packet, TOKEN_OP_UNWRAP, OK, 1), OK);
	stanzas_put(packet, TOKEN_FIELD_STANZA, TOKEN_STANZA_LEN, TOKEN_STANZAS_MAX + 1);
	assert_int_equal(token_message_end(packet), OK);
	assert_int_equal(token_message_parse(buf_bytes(packet), &message), ERR_BAD_MESSAGE);
}

static void test_too_long(void **state)
{
	CLEANUP(buf_freep) struct buf *packet = NULL;

	(void)state;
	assert_int_equal(buf_new(2 * TOKEN_MESSAGE_MAX, &packet), OK);
	assert_int_equal(token_message_end(packet), ERR_BUG); /* no begin */
	assert_int_equal(token_message_begin(packet, TOKEN_OP_UNWRAP, OK, 1), OK);
	stanzas_put(packet, TOKEN_FIELD_STANZA, TOKEN_STANZA_LEN, 700);
	assert_int_equal(token_message_end(packet), ERR_BUSY);
}

static void test_blob(void **state)
{
	struct token_blob blob = {
		.parent = 0x81000001, .parent_name_len = 34, .public_area_len = 3, .private_area_len = 1024
	};
	struct token_blob read;
	CLEANUP(buf_freep) struct buf *packet = NULL;
	struct token_message message;
	struct key_id id;
	enum key_kind kind;

	(void)state;
	memset(blob.parent_name, 0x5a, 34);
	memset(blob.private_area, 0xa5, 1024);
	assert_int_equal(buf_new(TOKEN_MESSAGE_MAX, &packet), OK);
	assert_int_equal(token_message_begin(packet, TOKEN_OP_LOAD, OK, 0xfffffffe), OK);
	assert_int_equal(token_message_put_blob(packet, &blob), OK);
	assert_int_equal(token_message_end(packet), OK);
	assert_int_equal(token_message_parse(buf_bytes(packet), &message), OK);
	assert_int_equal(message.op, TOKEN_OP_LOAD);
	assert_int_equal(message.id, 0xfffffffe);
	assert_int_equal(token_message_blob(&message, &read), OK);
	assert_memory_equal(&read, &blob, sizeof(blob));
	assert_int_equal(token_message_key_id(&message, &id), ERR_BAD_MESSAGE);
	assert_int_equal(token_message_kind(&message, &kind), ERR_BAD_MESSAGE);
}

/* A blob is all four fields or none. */
static void test_blob_incomplete(void **state)
{
	CLEANUP(buf_freep) struct buf *packet = NULL;
	struct token_message message;
	struct token_blob read;

	(void)state;
	assert_int_equal(buf_new(TOKEN_MESSAGE_MAX, &packet), OK);
	assert_int_equal(token_message_begin(packet, TOKEN_OP_LOAD, OK, 1), OK);
	assert_int_equal(token_message_put_u32(packet, TOKEN_FIELD_BLOB_PARENT, 1), OK);
	assert_int_equal(token_message_put(packet, TOKEN_FIELD_BLOB_PUBLIC_AREA, bytes_of("x", 1)), OK);
	assert_int_equal(token_message_end(packet), OK);
	assert_int_equal(token_message_parse(buf_bytes(packet), &message), OK);
	assert_int_equal(token_message_blob(&message, &read), ERR_BAD_MESSAGE);
}

static void test_status(void **state)
{
	static const int tries[] = { -1, 0, 3, INT32_MAX };
	CLEANUP(buf_freep) struct buf *packet = NULL;

	(void)state;
	assert_int_equal(buf_new(TOKEN_MESSAGE_MAX, &packet), OK);
	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		struct token_status status = { .present = true,
			                       .simulation = true,
			                       .pin_tries_left = tries[i],
			                       .pin_recovery = (uint32_t)i * 1000,
			                       .reset_count = 4,
			                       .commands = 0x80000000,
			                       .manufacturer = "SW TPM 1.2",
			                       .serial = "",
			                       .parent = i > 0 ? 0x81000001 : 0,
			                       .parent_name_len = i > 1 ? 34 : 0,
			                       .parent_name = { [33] = i > 1 ? 7 : 0 } };
		struct token_message message;
		struct token_status read;

		assert_int_equal(token_message_begin(packet, TOKEN_OP_STATUS, OK, 1), OK);
		assert_int_equal(token_message_put_status(packet, &status), OK);
		assert_int_equal(token_message_end(packet), OK);
		assert_int_equal(token_message_parse(buf_bytes(packet), &message), OK);
		assert_int_equal(token_message_status(&message, &read), OK);
		assert_true(read.present && read.simulation && !read.in_lockout);
		assert_int_equal(read.pin_tries_left, tries[i]);
		assert_int_equal(read.pin_recovery, i * 1000);
		assert_int_equal(read.reset_count, 4);
		assert_int_equal(read.commands, 0x80000000);
		assert_string_equal(read.manufacturer, "SW TPM 1.2");
		assert_string_equal(read.serial, "");
		assert_int_equal(read.parent, status.parent);
		assert_int_equal(read.parent_name_len, status.parent_name_len);
		assert_memory_equal(read.parent_name, status.parent_name, sizeof(read.parent_name));
	}
}

static void test_status_of_a_liar(void **state)
{
	CLEANUP(buf_freep) struct buf *packet = NULL;
	struct token_status status = { .pin_tries_left = 3 };
	struct token_message message;
	struct bytes value;

	(void)state;
	assert_int_equal(buf_new(TOKEN_MESSAGE_MAX, &packet), OK);
	assert_int_equal(token_message_begin(packet, TOKEN_OP_STATUS, OK, 1), OK);
	assert_int_equal(token_message_end(packet), OK);
	assert_int_equal(token_message_parse(buf_bytes(packet), &message), OK);
	assert_int_equal(token_message_status(&message, &status), ERR_BAD_MESSAGE); /* no field at all */

	assert_int_equal(token_message_begin(packet, TOKEN_OP_STATUS, OK, 1), OK);
	assert_int_equal(token_message_put_status(packet, &status), OK);
	assert_int_equal(token_message_end(packet), OK);
	assert_int_equal(token_message_parse(buf_bytes(packet), &message), OK);
	assert_true(token_message_find(&message, TOKEN_FIELD_PIN_TRIES_LEFT, &value));
	{
		uint8_t copy[TOKEN_MESSAGE_HEADER_LEN + 256];
		size_t at = (size_t)(value.data - buf_bytes(packet).data);

		memcpy(copy, buf_bytes(packet).data, buf_len(packet));
		copy[at] = 0x80; /* tries left: -2147483645 */
		assert_int_equal(token_message_parse(bytes_of(copy, buf_len(packet)), &message), OK);
		assert_int_equal(token_message_status(&message, &status), ERR_BAD_MESSAGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),    cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_repeats), cmocka_unit_test(test_too_long),
		cmocka_unit_test(test_blob),    cmocka_unit_test(test_blob_incomplete),
		cmocka_unit_test(test_status),  cmocka_unit_test(test_status_of_a_liar),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
