/* The messages of sops' key service: what is read of a request, what is refused, and what an answer looks like. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tokend/wire/keyservice.h"

#define TEXT(literal)                                           \
	{                                                       \
		(const uint8_t *)(literal), sizeof(literal) - 1 \
	}

static const struct {
	const char *what;
	struct bytes message;
	enum err err;
	enum keyservice_key key;
	const char *recipient, *data; /* NULL: empty */
} rows[] = {
	{ "empty", TEXT(""), OK, KEYSERVICE_KEY_NONE, NULL, NULL },
	{ "age", TEXT("\x0a\x06\x32\x04\x0a\x02r1\x12\x03key"), OK, KEYSERVICE_KEY_AGE, "r1", "key" },
	{ "the fields in the other order", TEXT("\x12\x03key\x0a\x06\x32\x04\x0a\x02r1"), OK,
	  KEYSERVICE_KEY_AGE, "r1", "key" },
	{ "the last one of each counts",
	  TEXT("\x12\x01x\x0a\x06\x32\x04\x0a\x02r0\x0a\x06\x32\x04\x0a\x02r1\x12\x03key"), OK,
	  KEYSERVICE_KEY_AGE, "r1", "key" },
	{ "pgp", TEXT("\x0a\x04\x12\x02\x0a\x00\x12\x01x"), OK, KEYSERVICE_KEY_OTHER, NULL, "x" },
	{ "kms", TEXT("\x0a\x02\x0a\x00"), OK, KEYSERVICE_KEY_OTHER, NULL, NULL },
	{ "a kind of key that is not known yet", TEXT("\x0a\x02\x42\x00"), OK, KEYSERVICE_KEY_OTHER, NULL,
	  NULL },
	{ "a key of no kind", TEXT("\x0a\x00"), OK, KEYSERVICE_KEY_NONE, NULL, NULL },
	{ "unknown fields of all types",
	  TEXT("\x18\x96\x01\x21"
	       "12345678"
	       "\x2a\x02xx\x35"
	       "1234\x12\x03key"),
	  OK, KEYSERVICE_KEY_NONE, NULL, "key" },
	{ "a number as long as may be", TEXT("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), OK,
	  KEYSERVICE_KEY_NONE, NULL, NULL },
	{ "a number that is too long", TEXT("\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), ERR_BAD_MESSAGE,
	  0, NULL, NULL },
	{ "a number without an end", TEXT("\x18\xff"), ERR_BAD_MESSAGE, 0, NULL, NULL },
	{ "longer than it is", TEXT("\x12\x04key"), ERR_BAD_MESSAGE, 0, NULL, NULL },
	{ "much longer than it is", TEXT("\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01key"), ERR_BAD_MESSAGE,
	  0, NULL, NULL },
	{ "no field has the number 0", TEXT("\x02\x00"), ERR_BAD_MESSAGE, 0, NULL, NULL },
	{ "a group", TEXT("\x0b\x0c"), ERR_BAD_MESSAGE, 0, NULL, NULL },
	{ "a short 64-bit field",
	  TEXT("\x21"
	       "1234567"),
	  ERR_BAD_MESSAGE, 0, NULL, NULL },
	{ "a short 32-bit field",
	  TEXT("\x25"
	       "123"),
	  ERR_BAD_MESSAGE, 0, NULL, NULL },
	{ "damage inside the key", TEXT("\x0a\x03\x32\x04\x0a"), ERR_BAD_MESSAGE, 0, NULL, NULL },
	{ "damage inside the age key", TEXT("\x0a\x04\x32\x02\x0a\x05"), ERR_BAD_MESSAGE, 0, NULL, NULL },
	{ "a tag alone", TEXT("\x12"), ERR_BAD_MESSAGE, 0, NULL, NULL },
};

static bool same(struct bytes bytes, const char *text)
{
	return bytes_equal(bytes, bytes_of_string(text ? text : ""));
}

static void test_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct keyservice_request request;
		enum err err = keyservice_read_request(rows[i].message, &request);

		if (err != rows[i].err)
			fail_msg("%s: %s", rows[i].what, err_info(err)->name);
		if (!err && (request.key != rows[i].key || !same(request.recipient, rows[i].recipient) ||
		             !same(request.data, rows[i].data)))
			fail_msg("%s: something else was read", rows[i].what);
	}
}

static const struct {
	struct bytes text;
	enum err err;
	const char *message;
} frames[] = {
	{ TEXT("\0\0\0\0\3abc"), OK, "abc" },
	{ TEXT("\0\0\0\0\0"), OK, "" },
	{ TEXT("\1\0\0\0\3abc"), ERR_UNSUPPORTED, NULL },
	{ TEXT("\2\0\0\0\3abc"), ERR_BAD_MESSAGE, NULL },
	{ TEXT("\0\0\0\0\4abc"), ERR_BAD_MESSAGE, NULL },
	{ TEXT("\0\0\0\0\2abc"), ERR_BAD_MESSAGE, NULL },
	{ TEXT("\0\xff\xff\xff\xff"
	       "abc"),
	  ERR_BAD_MESSAGE, NULL },
	{ TEXT("\0\0\0\0"), ERR_BAD_MESSAGE, NULL },
	{ TEXT(""), ERR_BAD_MESSAGE, NULL },
};

static void test_frames(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
		struct bytes message;

		assert_int_equal(grpc_read_frame(frames[i].text, &message), frames[i].err);
		if (frames[i].err == OK)
			assert_true(same(message, frames[i].message));
	}
}

/* What is answered is read as a message with one field of bytes, at every length whose own length is written differently. */
static void test_answers(void **state)
{
	static const size_t lengths[] = { 0, 1, 32, 33, 127, 128, 400, 16383, 16384, 20000 };
	static uint8_t data[20000];

	(void)state;
	memset(data, 'x', sizeof(data));
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		CLEANUP(buf_freep) struct buf *out = NULL;
		struct bytes message;
		size_t prefix = lengths[i] > 16383 ? 4 : lengths[i] > 127 ? 3 : 2;

		assert_int_equal(buf_new(32768, &out), OK);
		assert_int_equal(keyservice_put_answer(out, bytes_of(data, lengths[i])), OK);
		assert_int_equal(grpc_read_frame(buf_bytes(out), &message), OK);
		assert_int_equal(message.len, prefix + lengths[i]);
		assert_int_equal(message.data[0], 0x0a);
		assert_memory_equal(message.data + prefix, data, lengths[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests),
		cmocka_unit_test(test_frames),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
