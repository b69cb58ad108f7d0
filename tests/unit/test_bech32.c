/* BIP 173's own examples, what age makes of them, and every character changed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/secret.h"
#include "formats/bech32.h"

struct row {
	const char *text;
	enum err err;
	const char *prefix;
	size_t len;
};

static const struct row rows[] = {
	/* valid; those of BIP 173 whose padding age accepts */
	{ "A12UEL5L", OK, "A", 0 },
	{ "a12uel5l", OK, "a", 0 },
	{ "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio1tt5tgs", OK,
	  "an83characterlonghumanreadablepartthatcontainsthenumber1andtheexcludedcharactersbio", 0 },
	{ "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw", OK, "abcdef", 20 },
	{ "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w", OK, "split", 30 },
	{ "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj", OK, "age", 32 },
	/* invalid */
	{ "", ERR_USAGE, NULL, 0 },
	{ "1", ERR_USAGE, NULL, 0 },
	{ "pzry9x0s0muk", ERR_USAGE, NULL, 0 }, /* no separator */
	{ "1pzry9x0s0muk", ERR_USAGE, NULL, 0 }, /* no prefix */
	{ "x1b4n0q5v", ERR_USAGE, NULL, 0 }, /* a character that is none */
	{ "li1dgmt3", ERR_USAGE, NULL, 0 }, /* too short a checksum */
	{ "A1G7SGD8", ERR_USAGE, NULL, 0 }, /* checksum over upper case */
	{ "10a06t8", ERR_USAGE, NULL, 0 }, /* no prefix */
	{ "1qzzfhee", ERR_USAGE, NULL, 0 }, /* no prefix */
	{ "a12UEL5L", ERR_USAGE, NULL, 0 }, /* both cases */
	{ "A12uEL5L", ERR_USAGE, NULL, 0 }, /* both cases */
	{ "a12uel5l\n", ERR_USAGE, NULL, 0 }, /* a line end */
	{ " a12uel5l", ERR_USAGE, NULL, 0 }, /* a space */
	{ "\x7f"
	  "1axkwrx",
	  ERR_USAGE, NULL, 0 }, /* not printable */
	{ "\x80"
	  "1eym55h",
	  ERR_USAGE, NULL, 0 }, /* not ASCII */
	{ "de1lg7wt\xff", ERR_USAGE, NULL, 0 }, /* not ASCII */
	{ "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqx", ERR_USAGE, NULL,
	  0 }, /* the last character missing */
	{ "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxww", ERR_USAGE, NULL, 0 }, /* one too many */
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(buf_freep) struct buf *data = NULL;
		struct bytes prefix = { NULL, 0 };

		assert_int_equal(buf_new(256, &data), OK);
		if (bech32_decode(bytes_of_string(rows[i].text), &prefix, data) != rows[i].err)
			fail_msg("row %zu: %s", i, rows[i].text);
		if (rows[i].err)
			continue;
		assert_int_equal(buf_len(data), rows[i].len);
		assert_true(bytes_equal(prefix, bytes_of_string(rows[i].prefix)));
	}
}

static void test_round_trip(void **state)
{
	uint8_t bytes[100];

	(void)state;
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		for (int upper = 0; upper <= 1; upper++) {
			CLEANUP(buf_freep) struct buf *text = NULL;
			CLEANUP(buf_freep) struct buf *data = NULL;
			struct bytes prefix;

			memset(bytes, (int)(len * 37 + 11), sizeof(bytes));
			assert_int_equal(buf_new(BECH32_TEXT_MAX, &text), OK);
			assert_int_equal(buf_new(sizeof(bytes), &data), OK);
			assert_int_equal(bech32_put(text, "age-test+1_.", bytes_of(bytes, len), upper), OK);
			assert_int_equal(bech32_decode(buf_bytes(text), &prefix, data), OK);
			assert_true(bytes_equal(prefix,
			                        bytes_of_string(upper ? "AGE-TEST+1_." : "age-test+1_.")));
			assert_true(bytes_equal(buf_bytes(data), bytes_of(bytes, len)));
		}
	}
}

/* No single changed character passes: the code promises to find up to four. */
static void test_every_change(void **state)
{
	static const char good[] = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
	char text[sizeof(good)];

	(void)state;
	for (size_t i = 0; i < strlen(good); i++) {
		for (int c = 0; c < 256; c++) {
			CLEANUP(buf_freep) struct buf *data = NULL;
			struct bytes prefix;
			enum err err;

			memcpy(text, good, sizeof(good));
			text[i] = (char)c;
			assert_int_equal(buf_new(64, &data), OK);
			err = bech32_decode(bytes_of(text, strlen(good)), &prefix, data);
			assert_int_equal(err, text[i] == good[i] ? OK : ERR_USAGE);
		}
	}
}

static void test_limits(void **state)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(buf_freep) struct buf *data = NULL;
	static const uint8_t bytes[6000];
	struct bytes prefix;

	(void)state;
	assert_int_equal(buf_new(16384, &text), OK);
	assert_int_equal(buf_new(16384, &data), OK);
	assert_int_equal(bech32_put(text, "age", bytes_of(bytes, 5000), false), OK);
	assert_int_equal(bech32_decode(buf_bytes(text), &prefix, data), OK);
	assert_int_equal(buf_len(data), 5000);
	buf_clear(text);
	assert_int_equal(bech32_put(text, "age", bytes_of(bytes, 6000), false), OK);
	assert_int_equal(bech32_decode(buf_bytes(text), &prefix, data), ERR_USAGE);
}

/* Five bits too many, or bits in the padding, under a good checksum. */
static void test_padding(void **state)
{
	static const char *const bad[] = {
		"age1qdd35qf", /* one group: five bits left over */
		"age1ppnjasjq", /* two groups: a byte, and padding that is not zero */
		"age1qqqyst3gn", /* three groups: a byte, and seven bits left over */
	};

	CLEANUP(buf_freep) struct buf *good = NULL;
	struct bytes good_prefix;

	(void)state;
	assert_int_equal(buf_new(64, &good), OK);
	assert_int_equal(bech32_decode(bytes_of_string("age1qywnyetw"), &good_prefix, good), OK);
	assert_int_equal(buf_len(good), 1);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CLEANUP(buf_freep) struct buf *data = NULL;
		struct bytes prefix;

		assert_int_equal(buf_new(64, &data), OK);
		assert_int_equal(bech32_decode(bytes_of_string(bad[i]), &prefix, data), ERR_USAGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),         cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_every_change), cmocka_unit_test(test_limits),
		cmocka_unit_test(test_padding),
	};

	return secret_client_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
