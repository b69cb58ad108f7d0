/* Armor, row by row, whole and byte by byte. What the vectors of age test already (test_age_vectors) is not repeated here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/buf.h"
#include "common/secret.h"
#include "formats/armor.h"

#define LINE64 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define SPACES64 "                                                                "
#define SPACES512 SPACES64 SPACES64 SPACES64 SPACES64 SPACES64 SPACES64 SPACES64 SPACES64

struct row {
	const char *name;
	const char *text;
	enum err err;
	size_t len;
};

static const struct row rows[] = {
	{ "empty", ARMOR_BEGIN "\n" ARMOR_END "\n", OK, 0 },
	{ "one short line", ARMOR_BEGIN "\nAAAA\n" ARMOR_END "\n", OK, 3 },
	{ "a full line", ARMOR_BEGIN "\n" LINE64 "\n" ARMOR_END "\n", OK, 48 },
	{ "CRLF", ARMOR_BEGIN "\r\n" LINE64 "\r\nAA==\r\n" ARMOR_END "\r\n", OK, 49 },
	{ "no end of line at the end", ARMOR_BEGIN "\nAAAA\n" ARMOR_END, OK, 3 },
	{ "a CR at the end", ARMOR_BEGIN "\nAAAA\n" ARMOR_END "\r", OK, 3 },
	{ "white space around", "\n \t\r\n" ARMOR_BEGIN "\nAAAA\n" ARMOR_END "\n\n  \n", OK, 3 },
	{ "a long blank line before", SPACES512 "\n" ARMOR_BEGIN "\n" ARMOR_END, OK, 0 },
	{ "a long blank line after", ARMOR_BEGIN "\n" ARMOR_END "\n" SPACES512, OK, 0 },
	{ "too much white space before", SPACES512 SPACES512 "\n" ARMOR_BEGIN "\n" ARMOR_END, ERR_BAD_FILE,
	  0 },
	{ "too much white space after", ARMOR_BEGIN "\n" ARMOR_END "\n" SPACES512 SPACES512, ERR_BAD_FILE,
	  0 },
	{ "a space before BEGIN", " " ARMOR_BEGIN "\nAAAA\n" ARMOR_END, ERR_BAD_FILE, 0 },
	{ "65 spaces before BEGIN", SPACES64 " " ARMOR_BEGIN "\nAAAA\n" ARMOR_END, ERR_BAD_FILE, 0 },
	{ "a space after BEGIN", ARMOR_BEGIN " \nAAAA\n" ARMOR_END, ERR_BAD_FILE, 0 },
	{ "a space after END", ARMOR_BEGIN "\nAAAA\n" ARMOR_END " ", ERR_BAD_FILE, 0 },
	{ "two CR", ARMOR_BEGIN "\nAAAA\r\r\n" ARMOR_END, ERR_BAD_FILE, 0 },
	{ "an empty line inside", ARMOR_BEGIN "\nAAAA\n\n" ARMOR_END, ERR_BAD_FILE, 0 },
	{ "nothing", "", ERR_BAD_FILE, 0 },
	{ "white space only", " \n \n", ERR_BAD_FILE, 0 },
	{ "half a BEGIN", "-----BEGIN AGE", ERR_BAD_FILE, 0 },
	{ "another label", "-----BEGIN PGP MESSAGE-----\nAAAA\n", ERR_BAD_FILE, 0 },
	{ "no END", ARMOR_BEGIN "\nAAAA\n", ERR_TRUNCATED, 0 },
	{ "half an END", ARMOR_BEGIN "\nAAAA\n-----END AGE", ERR_BAD_FILE, 0 },
	{ "two blocks", ARMOR_BEGIN "\n" ARMOR_END "\n" ARMOR_BEGIN "\n" ARMOR_END "\n", ERR_BAD_FILE, 0 },
	{ "text after it", ARMOR_BEGIN "\n" ARMOR_END "\nx", ERR_BAD_FILE, 0 },
	{ "a short line inside", ARMOR_BEGIN "\nAAAA\nAAAA\n" ARMOR_END, ERR_BAD_FILE, 0 },
	{ "65 columns", ARMOR_BEGIN "\n" LINE64 "A\n" ARMOR_END, ERR_BAD_FILE, 0 },
	{ "68 columns", ARMOR_BEGIN "\n" LINE64 "AAAA\n" ARMOR_END, ERR_BAD_FILE, 0 },
	{ "no padding", ARMOR_BEGIN "\nAA\n" ARMOR_END, ERR_BAD_FILE, 0 },
	{ "not canonical", ARMOR_BEGIN "\nAB==\n" ARMOR_END, ERR_BAD_FILE, 0 },
	{ "too much padding", ARMOR_BEGIN "\nAAA==\n" ARMOR_END, ERR_BAD_FILE, 0 },
	{ "padding inside", ARMOR_BEGIN "\nAA==AAAA\n" ARMOR_END, ERR_BAD_FILE, 0 },
	{ "not ASCII", ARMOR_BEGIN "\nAAA\xc1\n" ARMOR_END, ERR_BAD_FILE, 0 },
	{ "URL alphabet", ARMOR_BEGIN "\nA_-A\n" ARMOR_END, ERR_BAD_FILE, 0 },
};

static enum err collect(void *context, struct bytes bytes)
{
	return buf_put(context, bytes);
}

static enum err run(struct armor *armor, struct bytes text, size_t piece)
{
	enum err err = OK;

	while (!err && text.len > 0) {
		size_t len = piece < text.len ? piece : text.len;

		err = armor_push(armor, bytes_of(text.data, len));
		text = bytes_of(text.data + len, text.len - len);
	}
	return err ? err : armor_finish(armor);
}

static void test_rows(void **state)
{
	static const size_t pieces[] = { 1, 2, 63, 64, 65, 66, 100000 };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) * (sizeof(pieces) / sizeof(pieces[0])); i++) {
		CLEANUP(armor_freep) struct armor *armor = NULL;
		CLEANUP(buf_freep) struct buf *out = NULL;
		const struct row *row = &rows[i / (sizeof(pieces) / sizeof(pieces[0]))];
		size_t piece = pieces[i % (sizeof(pieces) / sizeof(pieces[0]))];
		enum err err;

		assert_int_equal(buf_new(4096, &out), OK);
		assert_int_equal(armor_decoder_new(collect, out, &armor), OK);
		err = run(armor, bytes_of_string(row->text), piece);
		if (err != row->err)
			fail_msg("%s, in pieces of %zu: %s", row->name, piece, err_info(err)->name);
		if (!err)
			assert_int_equal(buf_len(out), row->len);
		/* An error sticks, and so does the end. */
		if (err)
			assert_int_equal(armor_push(armor, bytes_of_string("\n")), err);
	}
}

static void test_round_trip(void **state)
{
	static uint8_t bytes[200000];
	static const size_t lens[] = { 0, 1, 2, 3, 47, 48, 49, 95, 96, 97, 66559, 66560, 66561, 200000 };

	(void)state;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		CLEANUP(armor_freep) struct armor *encoder = NULL;
		CLEANUP(armor_freep) struct armor *decoder = NULL;
		CLEANUP(buf_freep) struct buf *text = NULL;
		CLEANUP(buf_freep) struct buf *out = NULL;

		assert_int_equal(buf_new(400000, &text), OK);
		assert_int_equal(buf_new(400000, &out), OK);
		assert_int_equal(armor_encoder_new(collect, text, &encoder), OK);
		assert_int_equal(run(encoder, bytes_of(bytes, lens[i]), 1009), OK);
		assert_true(armor_looks_like(buf_bytes(text)));
		assert_int_equal(armor_decoder_new(collect, out, &decoder), OK);
		assert_int_equal(run(decoder, buf_bytes(text), 997), OK);
		assert_true(bytes_equal(buf_bytes(out), bytes_of(bytes, lens[i])));
	}
}

static enum err refuse(void *context, struct bytes bytes)
{
	(void)context;
	(void)bytes;
	return ERR_DISK_FULL;
}

static void test_sink_error(void **state)
{
	CLEANUP(armor_freep) struct armor *armor = NULL;

	(void)state;
	assert_int_equal(armor_decoder_new(refuse, NULL, &armor), OK);
	assert_int_equal(run(armor, bytes_of_string(ARMOR_BEGIN "\nAAAA\n" ARMOR_END), 1000), ERR_DISK_FULL);
}

static void test_looks_like(void **state)
{
	(void)state;
	assert_true(armor_looks_like(bytes_of_string(ARMOR_BEGIN)));
	assert_true(armor_looks_like(bytes_of_string("\n \t" ARMOR_BEGIN "\nx")));
	assert_true(armor_looks_like(bytes_of_string("---")));
	assert_false(armor_looks_like(bytes_of_string("")));
	assert_false(armor_looks_like(bytes_of_string("  ")));
	assert_false(armor_looks_like(bytes_of_string("age-encryption.org/v1\n")));
	assert_false(armor_looks_like(bytes_of_string("-----BEGIN PGP")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_sink_error),
		cmocka_unit_test(test_looks_like),
	};

	return secret_client_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
