/* The grammar of the header, row by row; and that its MAC covers every byte of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "formats/age_header.h"

#define INTRO AGE_INTRO
#define MAC "--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
#define LINE64 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

struct row {
	const char *name;
	const char *text;
	enum err err;
	size_t stanzas;
	size_t first_body;
};

static const struct row rows[] = {
	{ "one stanza", INTRO "-> a\n\n" MAC, OK, 1, 0 },
	{ "arguments", INTRO "-> a b c!~\nAA\n" MAC, OK, 1, 1 },
	{ "two stanzas", INTRO "-> a\n\n-> b\nAAAA\n" MAC, OK, 2, 0 },
	{ "a full line and an empty one", INTRO "-> a\n" LINE64 "\n\n" MAC, OK, 1, 48 },
	{ "a full line and a short one", INTRO "-> a\n" LINE64 "\nAA\n" MAC, OK, 1, 49 },
	{ "a payload after it", INTRO "-> a\n\n" MAC "payload", OK, 1, 0 },
	{ "nothing", "", ERR_AGAIN, 0, 0 },
	{ "half an intro", "age-encryption.org", ERR_AGAIN, 0, 0 },
	{ "intro only", INTRO, ERR_AGAIN, 0, 0 },
	{ "no MAC line yet", INTRO "-> a\n\n", ERR_AGAIN, 0, 0 },
	{ "half a MAC line", INTRO "-> a\n\n--- AAAA", ERR_AGAIN, 0, 0 },
	{ "another file", "PK\x03\x04", ERR_BAD_FILE, 0, 0 },
	{ "another version", "age-encryption.org/v2\n-> a\n\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "intro with CR", "age-encryption.org/v1\r\n-> a\n\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "no stanza", INTRO MAC, ERR_BAD_FILE, 0, 0 },
	{ "no argument", INTRO "->\n\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "an empty argument", INTRO "-> \n\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "two spaces", INTRO "-> a  b\n\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "a space at the end", INTRO "-> a \n\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "no space", INTRO "->a\n\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "a tab", INTRO "-> a\tb\n\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "not ASCII", INTRO "-> \xc3\xa4\n\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "DEL", INTRO "-> \x7f\n\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "CR in a stanza", INTRO "-> a\r\n\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "no body", INTRO "-> a\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "a full line alone", INTRO "-> a\n" LINE64 "\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "a line too long", INTRO "-> a\n" LINE64 "A\n\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "two short lines", INTRO "-> a\nAA\nAA\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "padding", INTRO "-> a\nAA==\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "not canonical", INTRO "-> a\nAB\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "one character left over", INTRO "-> a\nAAAAA\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "URL alphabet", INTRO "-> a\nA_-A\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "not ASCII in a body", INTRO "-> a\nAAA\x80\n" MAC, ERR_BAD_FILE, 0, 0 },
	{ "not ASCII in the MAC", INTRO "-> a\n\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\xc3\xa4\n",
	  ERR_BAD_FILE, 0, 0 },
	{ "MAC without a space", INTRO "-> a\n\n---AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
	  ERR_BAD_FILE, 0, 0 },
	{ "MAC of 31 bytes", INTRO "-> a\n\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", ERR_BAD_FILE,
	  0, 0 },
	{ "MAC of 33 bytes", INTRO "-> a\n\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n", ERR_BAD_FILE,
	  0, 0 },
	{ "MAC with a space after it", INTRO "-> a\n\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA \n",
	  ERR_BAD_FILE, 0, 0 },
	{ "MAC not canonical", INTRO "-> a\n\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB\n",
	  ERR_BAD_FILE, 0, 0 },
	{ "no MAC", INTRO "-> a\n\n---\n", ERR_BAD_FILE, 0, 0 },
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(age_header_freep) struct age_header *header = NULL;
		size_t len = 0;
		enum err err = age_header_parse(bytes_of_string(rows[i].text), &header, &len);

		if (err != rows[i].err)
			fail_msg("%s: %s", rows[i].name, err_info(err)->name);
		if (err)
			continue;
		assert_int_equal(age_header_stanza_count(header), rows[i].stanzas);
		assert_int_equal(age_header_stanza(header, 0)->body.len, rows[i].first_body);
		assert_true(age_stanza_is(age_header_stanza(header, 0), "a"));
	}
}

/* A limit, one below it, and one above it. */
static enum err parse_many(size_t stanzas, size_t arguments, size_t argument_len)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(age_header_freep) struct age_header *header = NULL;
	size_t len;

	assert_int_equal(buf_new(4 * AGE_HEADER_MAX, &text), OK);
	assert_int_equal(age_header_begin(text), OK);
	for (size_t i = 0; i < stanzas; i++) {
		assert_int_equal(buf_put_string(text, "->"), OK);
		for (size_t j = 0; j < arguments; j++)
			assert_int_equal(buf_printf(text, " %*s", 0, "a"), OK);
		for (size_t j = 1; j < argument_len; j++)
			assert_int_equal(buf_put_u8(text, 'a'), OK);
		assert_int_equal(buf_put_string(text, "\n\n"), OK);
	}
	assert_int_equal(buf_put_string(text, MAC), OK);
	return age_header_parse(buf_bytes(text), &header, &len);
}

static void test_limits(void **state)
{
	(void)state;
	assert_int_equal(parse_many(AGE_STANZAS_MAX, 1, 1), OK);
	assert_int_equal(parse_many(AGE_STANZAS_MAX + 1, 1, 1), ERR_BAD_FILE);
	assert_int_equal(parse_many(1, AGE_ARGUMENTS_MAX, 1), OK);
	assert_int_equal(parse_many(1, AGE_ARGUMENTS_MAX + 1, 1), ERR_BAD_FILE);
	assert_int_equal(parse_many(1, 1, AGE_HEADER_MAX - 100), OK);
	assert_int_equal(parse_many(1, 1, AGE_HEADER_MAX), ERR_BAD_FILE);
	assert_int_equal(parse_many(20000, 1, 1), ERR_BAD_FILE);
	assert_int_equal(parse_many(1, 30000, 1), ERR_BAD_FILE);
}

/* A header that ends nowhere is asked for more until the limit, and then refused. */
static void test_endless(void **state)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(age_header_freep) struct age_header *header = NULL;
	size_t len;

	(void)state;
	assert_int_equal(buf_new(AGE_HEADER_MAX, &text), OK);
	assert_int_equal(age_header_begin(text), OK);
	while (buf_room(text) > 1)
		assert_int_equal(buf_put_u8(text, '\n'), OK);
	assert_int_equal(age_header_parse(buf_bytes(text), &header, &len), ERR_AGAIN);
	assert_int_equal(buf_put_u8(text, '\n'), OK);
	assert_int_equal(age_header_parse(buf_bytes(text), &header, &len), ERR_BAD_FILE);
}

static void make_header(struct buf *text, const struct secret *file_key)
{
	static const uint8_t body[96];

	assert_int_equal(age_header_begin(text), OK);
	for (size_t len = 0; len <= sizeof(body); len += 16) {
		const struct bytes arguments[] = { bytes_of_string("type"), bytes_of_string("argument") };

		assert_int_equal(age_stanza_put(text, arguments, 2, bytes_of(body, len)), OK);
	}
	assert_int_equal(age_header_finish(text, file_key), OK);
}

/* Changed anywhere, it does not parse or does not verify; cut anywhere, it asks for more. */
static void test_mac(void **state)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	CLEANUP(age_header_freep) struct age_header *good = NULL;
	uint8_t copy[4096];
	size_t len, good_len;

	(void)state;
	assert_int_equal(secret_new(16, &file_key), OK);
	assert_int_equal(buf_new(sizeof(copy), &text), OK);
	make_header(text, file_key);
	len = buf_len(text);
	assert_int_equal(age_header_parse(buf_bytes(text), &good, &good_len), OK);
	assert_int_equal(good_len, len);
	assert_int_equal(age_header_stanza_count(good), 7);
	assert_int_equal(age_header_stanza(good, 6)->body.len, 96);
	assert_int_equal(age_header_verify(good, file_key), OK);
	secret_fill(file_key)[15] ^= 1;
	assert_int_equal(age_header_verify(good, file_key), ERR_BAD_CIPHERTEXT);
	secret_fill(file_key)[15] ^= 1;
	for (size_t i = 0; i < len; i++) {
		CLEANUP(age_header_freep) struct age_header *header = NULL;
		size_t parsed;
		enum err err;

		assert_int_equal(age_header_parse(bytes_of(buf_bytes(text).data, i), &header, &parsed),
		                 ERR_AGAIN);
		memcpy(copy, buf_bytes(text).data, len);
		copy[i] ^= 1;
		err = age_header_parse(bytes_of(copy, len), &header, &parsed);
		if (!err)
			err = age_header_verify(header, file_key);
		assert_int_not_equal(err, OK);
	}
}

static void test_stanza_put_refuses(void **state)
{
	static const char *const bad[] = { "", "a b", "a\n", "\x7f", "\xc3\xa4" };
	CLEANUP(buf_freep) struct buf *text = NULL;

	(void)state;
	assert_int_equal(buf_new(1024, &text), OK);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const struct bytes argument = bytes_of_string(bad[i]);

		assert_int_equal(age_stanza_put(text, &argument, 1, bytes_of(NULL, 0)), ERR_BUG);
	}
	assert_int_equal(age_stanza_put(text, NULL, 0, bytes_of(NULL, 0)), ERR_BUG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_endless),
		cmocka_unit_test(test_mac),
		cmocka_unit_test(test_stanza_put_refuses),
	};

	return secret_client_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
