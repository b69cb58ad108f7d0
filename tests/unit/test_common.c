#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/encoding.h"
#include "common/file.h"
#include "common/key.h"
#include "common/path.h"
#include "common/secret.h"

static void test_error_rows(void **state)
{
	(void)state;
	for (int i = 0; i < ERR_COUNT; i++) {
		const struct err_info *info = err_info((enum err)i);

		assert_int_equal(info->err, i);
		assert_true(strlen(info->text) > 3);
		assert_null(strstr(info->text, "0x"));
		assert_true(info->exit_code >= 0 && info->exit_code <= 8);
		assert_int_equal(info->exit_code == 0, i == OK);
		if (i)
			assert_int_equal(err_from_varlink(info->varlink), i);
	}
	assert_int_equal(err_from_varlink("org.example.Other"), ERR_BAD_MESSAGE);
}

static void test_buf_limit(void **state)
{
	CLEANUP(buf_freep) struct buf *buf = NULL;

	(void)state;
	assert_int_equal(buf_new(10, &buf), OK);
	assert_int_equal(buf_put_string(buf, "01234"), OK);
	assert_int_equal(buf_put_string(buf, "567890"), ERR_BUSY);
	assert_int_equal(buf_len(buf), 5);
	assert_int_equal(buf_printf(buf, "%d", 56789), OK);
	assert_string_equal(buf_string(buf), "0123456789");
	assert_int_equal(buf_put_u8(buf, 1), ERR_BUSY);
	buf_consume(buf, 4);
	assert_int_equal(buf_put_u32(buf, 0x41424344), OK);
	assert_string_equal(buf_string(buf), "456789ABCD");
	buf_consume(buf, 100);
	assert_int_equal(buf_len(buf), 0);
	assert_string_equal(buf_string(buf), "");
}

/* A long stream through a small window: what comes out is what went in, whatever the steps. */
static void test_buf_stream(void **state)
{
	CLEANUP(buf_freep) struct buf *buf = NULL;
	uint8_t in = 0, out = 0;

	(void)state;
	assert_int_equal(buf_new(1000, &buf), OK);
	for (unsigned step = 1; step < 5000; step++) {
		size_t take = step % 37;

		for (size_t i = 0; i < step % 41 && buf_room(buf); i++)
			assert_int_equal(buf_put_u8(buf, in++), OK);
		if (take > buf_len(buf))
			take = buf_len(buf);
		for (size_t i = 0; i < take; i++)
			assert_int_equal(buf_bytes(buf).data[i], out++);
		buf_consume(buf, take);
	}
}

static void test_buf_locked(void **state)
{
	CLEANUP(buf_freep) struct buf *buf = NULL;

	(void)state;
	assert_int_equal(buf_new_locked(64, &buf), OK);
	for (int i = 0; i < 64; i++)
		assert_int_equal(buf_put_u8(buf, (uint8_t)i), OK);
	assert_int_equal(buf_put_u8(buf, 0), ERR_BUSY);
	assert_int_equal(buf_string(buf)[64], 0);
	buf_consume(buf, 60);
	assert_int_equal(buf_put_string(buf, "sixty bytes go here now and then some more, but not too many"),
	                 OK);
	assert_int_equal(buf_len(buf), 64);
}

static void test_reader(void **state)
{
	struct reader reader = reader_of(bytes_of("\x01\x02\x03\x04\x05\x06\x07", 7));
	uint8_t two[2];

	(void)state;
	assert_int_equal(reader_u8(&reader), 1);
	assert_int_equal(reader_u32(&reader), 0x02030405);
	assert_false(reader_done(&reader));
	reader_copy(&reader, two, 2);
	assert_true(reader_done(&reader));
	assert_int_equal(reader_u16(&reader), 0);
	assert_true(reader.failed);
	assert_false(reader_done(&reader));
}

static const struct {
	const char *text;
	enum base64_padding padding;
	const char *bytes; /* NULL: refused */
} base64_rows[] = {
	{ "", BASE64_UNPADDED, "" },
	{ "TQ", BASE64_UNPADDED, "M" },
	{ "TR", BASE64_UNPADDED, NULL }, /* trailing bits */
	{ "TQ==", BASE64_UNPADDED, NULL },
	{ "TQ==", BASE64_PADDED, "M" },
	{ "TQ=", BASE64_PADDED, NULL },
	{ "TQ", BASE64_PADDED, NULL },
	{ "TWE", BASE64_UNPADDED, "Ma" },
	{ "TWFu", BASE64_PADDED, "Man" },
	{ "TWF\n", BASE64_PADDED, NULL },
	{ "TW u", BASE64_UNPADDED, NULL },
	{ "T", BASE64_UNPADDED, NULL },
	{ "TW-_", BASE64_UNPADDED, NULL },
	{ "TW\xc1u", BASE64_UNPADDED, NULL }, /* which libsodium 1.0.18 itself would take */
	{ "\xff\xff\xff\xff", BASE64_PADDED, NULL },
};

/* The quick decoder takes what the other one takes, and nothing else, whatever stands in a group. */
static void test_base64_public(void **state)
{
	static const char letters[] = "AB/+z9=-_ \n\x80";
	char text[12];

	(void)state;
	for (uint32_t number = 0; number < 200000; number++) {
		uint32_t mixed = number * 2654435761U;
		enum base64_padding padding = mixed & 1 ? BASE64_PADDED : BASE64_UNPADDED;
		size_t text_len = number % 13, len = 99, public_len = 99, room = mixed >> 28;
		uint8_t out[16], public_out[16];
		enum err err, public_err;

		for (size_t i = 0; i < text_len; i++, mixed = mixed * 1664525U + 1013904223U)
			text[i] = letters[(mixed >> 16) % (i + 3 < text_len ? 6 : sizeof(letters) - 1)];
		err = base64_decode(bytes_of(text, text_len), padding, out, room, &len);
		public_err = base64_decode_public(bytes_of(text, text_len), padding, public_out, room,
		                                  &public_len);
		assert_int_equal(public_err, err);
		if (err)
			continue;
		assert_int_equal(public_len, len);
		assert_memory_equal(public_out, out, len);
	}
}

static void test_base64(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(base64_rows) / sizeof(base64_rows[0]); i++) {
		uint8_t out[16];
		size_t len = 99;
		enum err err = base64_decode(bytes_of_string(base64_rows[i].text), base64_rows[i].padding,
		                             out, sizeof(out), &len);
		CLEANUP(buf_freep) struct buf *again = NULL;

		if (!base64_rows[i].bytes) {
			assert_int_equal(err, ERR_BAD_MESSAGE);
			continue;
		}
		assert_int_equal(err, OK);
		assert_int_equal(len, strlen(base64_rows[i].bytes));
		assert_memory_equal(out, base64_rows[i].bytes, len);
		assert_int_equal(buf_new(64, &again), OK);
		assert_int_equal(base64_put(again, bytes_of(out, len), base64_rows[i].padding), OK);
		assert_string_equal(buf_string(again), base64_rows[i].text);
	}
}

static void test_hex(void **state)
{
	uint8_t out[2];
	char text[5];

	(void)state;
	assert_int_equal(hex_decode(bytes_of_string("0aFf"), out, 2), OK);
	hex_encode(bytes_of(out, 2), text);
	assert_string_equal(text, "0aff");
	memset(text, '.', sizeof(text));
	hex_encode_public(bytes_of(out, 2), text);
	assert_memory_equal(text, "0aff.", 5);
	assert_int_equal(hex_decode(bytes_of_string("0af"), out, 2), ERR_BAD_MESSAGE);
	assert_int_equal(hex_decode(bytes_of_string("0afg"), out, 2), ERR_BAD_MESSAGE);
	assert_int_equal(hex_decode(bytes_of_string("0aff0"), out, 2), ERR_BAD_MESSAGE);
}

static const struct {
	const char *name;
	bool valid;
} name_rows[] = {
	{ "host", true },   { "repo/prod", true }, { "a.b_c-1", true },   { "...", true },
	{ "", false },      { "/", false },        { "a/", false },       { "/a", false },
	{ "a//b", false },  { ".", false },        { "..", false },       { "a/../b", false },
	{ "a/./b", false }, { "-a", false },       { "a/-b", false },     { "a b", false },
	{ "a\nb", false },  { "a*", false },       { "\xc3\xa9", false },
};

static void test_key_names(void **state)
{
	char longest[KEY_NAME_MAX + 2];

	(void)state;
	for (size_t i = 0; i < sizeof(name_rows) / sizeof(name_rows[0]); i++)
		if (key_name_valid(bytes_of_string(name_rows[i].name)) != name_rows[i].valid)
			fail_msg("\"%s\" should be %s", name_rows[i].name,
			         name_rows[i].valid ? "valid" : "refused");
	memset(longest, 'a', sizeof(longest));
	assert_true(key_name_valid(bytes_of(longest, KEY_NAME_MAX)));
	assert_false(key_name_valid(bytes_of(longest, KEY_NAME_MAX + 1)));
}

static void test_files(void **state)
{
	char path[] = "/tmp/tokend-test-XXXXXX";
	CLEANUP(close_fdp) int directory = -1;
	CLEANUP(buf_freep) struct buf *buf = NULL;

	(void)state;
	assert_non_null(mkdtemp(path));
	assert_int_equal(file_open_directory(path, false, 0077, &directory), OK);
	assert_int_equal(file_write(directory, "a", bytes_of("one", 3), 0600, true), OK);
	assert_int_equal(file_write(directory, "a", bytes_of("two", 3), 0600, true), ERR_EXISTS);
	assert_int_equal(file_write(directory, "a", bytes_of("three", 5), 0600, false), OK);
	assert_int_equal(file_read(directory, "a", 5, 0077, &buf), OK);
	assert_string_equal(buf_string(buf), "three");
	buf = buf_free(buf);
	assert_int_equal(file_read(directory, "a", 4, 0077, &buf), ERR_BUSY);
	assert_int_equal(fchmodat(directory, "a", 0644, 0), 0);
	assert_int_equal(file_read(directory, "a", 5, 0077, &buf), ERR_STATE_DIR);
	assert_int_equal(symlinkat("a", directory, "link"), 0);
	assert_int_equal(file_read(directory, "link", 5, 0022, &buf), ERR_STATE_DIR);
	assert_int_equal(mkfifoat(directory, "fifo", 0600), 0);
	assert_int_equal(file_read(directory, "fifo", 5, 0022, &buf), ERR_STATE_DIR);
	assert_int_equal(file_read(directory, "none", 5, 0022, &buf), ERR_NO_FILE);
	assert_int_equal(file_remove(directory, "none"), ERR_NO_FILE);
	assert_int_equal(file_remove(directory, "a"), OK);
	assert_int_equal(file_remove(directory, "link"), OK);
	assert_int_equal(file_remove(directory, "fifo"), OK);
	assert_int_equal(rmdir(path), 0); /* no temporary file was left */
	assert_int_equal(file_open_directory("/tmp", false, 0022, &directory), ERR_STATE_DIR);
}

static void test_paths(void **state)
{
	static const struct {
		const char *path, *directory, *name;
	} rows[] = {
		{ "a", ".", "a" },  { "a/b", "a/", "b" }, { "/a", "/", "a" }, { "a/b/c.d", "a/b/", "c.d" },
		{ "a/", "a/", "" }, { "//a", "//", "a" }, { "", ".", "" },    { "..", ".", ".." },
	};
	char directory[8];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_string_equal(path_name(rows[i].path), rows[i].name);
		assert_true(path_directory(rows[i].path, directory, sizeof(directory)));
		assert_string_equal(directory, rows[i].directory);
	}
	assert_true(path_directory("123456/a", directory, sizeof(directory)));
	assert_false(path_directory("1234567/a", directory, sizeof(directory)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error_rows),    cmocka_unit_test(test_buf_limit),
		cmocka_unit_test(test_buf_stream),    cmocka_unit_test(test_buf_locked),
		cmocka_unit_test(test_reader),        cmocka_unit_test(test_base64),
		cmocka_unit_test(test_base64_public), cmocka_unit_test(test_hex),
		cmocka_unit_test(test_key_names),     cmocka_unit_test(test_files),
		cmocka_unit_test(test_paths),
	};

	if (secret_client_init())
		return 1;
	return cmocka_run_group_tests_name("common", tests, NULL, NULL);
}
