/* The audit log's lines: what is written is read back, and whatever is done to a log afterwards is found at the record it was done to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "formats/audit_record.h"

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"
#define CHECKED "\"sequence\":1,\"previous\":\"" ZEROS "\",\"check\":\""
#define TAIL "\"sequence\":1,\"previous\":\"" ZEROS "\"}"
#define LINES 6U

static const struct {
	const char *name;
	const char *line;
	enum audit_fault fault;
} rows[] = {
	{ "the shortest", "{" TAIL, AUDIT_WHOLE },
	{ "every kind of value",
	  "{\"a\":\"\",\"b\":null,\"c\":true,\"d\":false,\"e\":0,\"f\":18446744073709551615," TAIL,
	  AUDIT_WHOLE },
	{ "escapes", "{\"a\":\"\\\"\\\\\\u000a\"," TAIL, AUDIT_WHOLE },
	{ "UTF-8 of two, three and four bytes", "{\"a\":\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x94\x91\"," TAIL,
	  AUDIT_WHOLE },
	/* printf %s '{"sequence":1,"previous":"0..."}' | sha256sum */
	{ "its check", "{" CHECKED "cedfb79dedc9eac8\"}", AUDIT_WHOLE },
	{ "another check", "{" CHECKED "0123456789abcdef\"}", AUDIT_FAULT_CHECK },
	{ "the check of another line", "{\"a\":1," CHECKED "cedfb79dedc9eac8\"}", AUDIT_FAULT_CHECK },
	{ "a check in capitals", "{" CHECKED "CEDFB79DEDC9EAC8\"}", AUDIT_FAULT_CHECK },
	{ "a check that is too short", "{" CHECKED "0123456789abcde\"}", AUDIT_FAULT_SYNTAX },
	{ "a check that is too long", "{" CHECKED "0123456789abcdef0\"}", AUDIT_FAULT_SYNTAX },
	{ "a check that is no string",
	  "{\"sequence\":1,\"previous\":\"" ZEROS "\",\"check\":123456789012345678}", AUDIT_FAULT_SYNTAX },
	{ "a check without a number", "{\"previous\":\"" ZEROS "\",\"check\":\"0123456789abcdef\"}",
	  AUDIT_FAULT_SYNTAX },
	{ "nothing", "", AUDIT_FAULT_SYNTAX },
	{ "an empty object", "{}", AUDIT_FAULT_SYNTAX },
	{ "white space", "{ " TAIL, AUDIT_FAULT_SYNTAX },
	{ "white space after", "{" TAIL " ", AUDIT_FAULT_SYNTAX },
	{ "no opening brace", TAIL, AUDIT_FAULT_SYNTAX },
	{ "a comma for it", "," TAIL, AUDIT_FAULT_SYNTAX },
	{ "a brace for a comma", "{\"a\":1{" TAIL, AUDIT_FAULT_SYNTAX },
	{ "no closing brace", "{\"sequence\":1,\"previous\":\"" ZEROS "\"", AUDIT_FAULT_SYNTAX },
	{ "two closing braces", "{" TAIL "}", AUDIT_FAULT_SYNTAX },
	{ "an object in it", "{\"a\":{}," TAIL, AUDIT_FAULT_SYNTAX },
	{ "an array in it", "{\"a\":[]," TAIL, AUDIT_FAULT_SYNTAX },
	{ "a number below zero", "{\"a\":-1," TAIL, AUDIT_FAULT_SYNTAX },
	{ "a broken number", "{\"a\":1.5," TAIL, AUDIT_FAULT_SYNTAX },
	{ "a number with a zero before it", "{\"a\":01," TAIL, AUDIT_FAULT_SYNTAX },
	{ "no value", "{\"a\":," TAIL, AUDIT_FAULT_SYNTAX },
	{ "no colon", "{\"a\"1," TAIL, AUDIT_FAULT_SYNTAX },
	{ "an unknown escape", "{\"a\":\"\\n\"," TAIL, AUDIT_FAULT_SYNTAX },
	{ "half an escape", "{\"a\":\"\\u00\"," TAIL, AUDIT_FAULT_SYNTAX },
	{ "a bare tab", "{\"a\":\"\t\"," TAIL, AUDIT_FAULT_SYNTAX },
	{ "a bare DEL", "{\"a\":\"\x7f\"," TAIL, AUDIT_FAULT_SYNTAX },
	{ "a bare C1 control", "{\"a\":\"\xc2\x9b\"," TAIL, AUDIT_FAULT_SYNTAX },
	{ "a right-to-left override", "{\"a\":\"\xe2\x80\xae\"," TAIL, AUDIT_FAULT_SYNTAX },
	{ "a lone continuation byte", "{\"a\":\"\x80\"," TAIL, AUDIT_FAULT_SYNTAX },
	{ "UTF-8 longer than it need be", "{\"a\":\"\xc0\xaf\"," TAIL, AUDIT_FAULT_SYNTAX },
	{ "a surrogate", "{\"a\":\"\xed\xa0\x80\"," TAIL, AUDIT_FAULT_SYNTAX },
	{ "beyond Unicode", "{\"a\":\"\xf4\x90\x80\x80\"," TAIL, AUDIT_FAULT_SYNTAX },
	{ "UTF-8 cut short", "{\"a\":\"\xe2\x82", AUDIT_FAULT_SYNTAX },
	{ "a string without an end", "{\"a\":\"", AUDIT_FAULT_SYNTAX },
	{ "previous first", "{\"previous\":\"" ZEROS "\",\"sequence\":1}", AUDIT_FAULT_SYNTAX },
	{ "a member after them", "{\"sequence\":1,\"previous\":\"" ZEROS "\",\"a\":1}", AUDIT_FAULT_SYNTAX },
	{ "no number", "{\"sequence\":null,\"previous\":\"" ZEROS "\"}", AUDIT_FAULT_SYNTAX },
	{ "number over 64 bits", "{\"sequence\":18446744073709551616,\"previous\":\"" ZEROS "\"}",
	  AUDIT_FAULT_SYNTAX },
	{ "hash too short", "{\"sequence\":1,\"previous\":\"00\"}", AUDIT_FAULT_SYNTAX },
	{ "hash not hexadecimal", "{\"sequence\":1,\"previous\":\"x" ZEROS "\"}", AUDIT_FAULT_SYNTAX },
	{ "another number", "{\"sequence\":2,\"previous\":\"" ZEROS "\"}", AUDIT_FAULT_SEQUENCE },
	{ "number 0", "{\"sequence\":0,\"previous\":\"" ZEROS "\"}", AUDIT_FAULT_SEQUENCE },
	{ "another hash",
	  "{\"sequence\":1,\"previous\":"
	  "\"1000000000000000000000000000000000000000000000000000000000000000\"}",
	  AUDIT_FAULT_CHAIN },
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct audit_chain chain = { 0 };
		enum audit_fault fault = audit_chain_next(&chain, bytes_of_string(rows[i].line));

		if (fault != rows[i].fault)
			fail_msg("%s: %s", rows[i].name, audit_fault_text(fault));
	}
}

static const struct {
	const char *text;
	const char *json;
} strings[] = {
	{ "", "\"\"" },
	{ "repo/prod", "\"repo/prod\"" },
	{ "a\"b\\c", "\"a\\\"b\\\\c\"" },
	{ "line\nfeed\r\t\x1b[2J", "\"line\\u000afeed\\u000d\\u0009\\u001b[2J\"" },
	{ "\x7f", "\"\\u007f\"" },
	{ "caf\xc3\xa9 \xf0\x9f\x94\x91", "\"caf\xc3\xa9 \xf0\x9f\x94\x91\"" },
	{ "caf\xe9", "\"caf\\u00e9\"" },
	{ "\xc3", "\"\\u00c3\"" },
	{ "\xed\xa0\x80", "\"\\u00ed\\u00a0\\u0080\"" },
	{ "\xc2\x9b", "\"\\u009b\"" },
	{ "\xe2\x80\xae", "\"\\u202e\"" },
	{ "\xef\xbb\xbf", "\"\\ufeff\"" },
	{ "\xc0\x80", "\"\\u00c0\\u0080\"" },
	{ "\xf5\x80", "\"\\u00f5\\u0080\"" },
};

/* Every string is written as expected, and as what the parser takes. */
static void test_strings(void **state)
{
	CLEANUP(buf_freep) struct buf *line = NULL;

	(void)state;
	assert_int_equal(buf_new(AUDIT_LINE_MAX, &line), OK);
	for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
		struct audit_chain writer = { 0 }, reader = { 0 };

		buf_clear(line);
		assert_int_equal(audit_put_string(line, strings[i].text), OK);
		assert_string_equal(buf_string(line), strings[i].json);
		buf_clear(line);
		assert_int_equal(buf_put_string(line, "{\"a\":"), OK);
		assert_int_equal(audit_put_string(line, strings[i].text), OK);
		assert_int_equal(buf_put_string(line, ","), OK);
		assert_int_equal(audit_chain_close(&writer, line), OK);
		assert_int_equal(audit_chain_next(&reader, bytes_of(buf_bytes(line).data, buf_len(line) - 1)),
		                 AUDIT_WHOLE);
		assert_memory_equal(&reader, &writer, sizeof(reader));
	}
}

static void test_too_long(void **state)
{
	struct audit_chain chain = { .sequence = 4 };
	const struct audit_chain before = chain;
	CLEANUP(buf_freep) struct buf *line = NULL;
	char text[AUDIT_LINE_MAX];

	(void)state;
	memset(text, 'a', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(buf_new(2 * AUDIT_LINE_MAX, &line), OK);
	assert_int_equal(buf_printf(line, "{\"a\":\"%s\",", text), OK);
	assert_int_equal(audit_chain_close(&chain, line), ERR_BUSY);
	assert_memory_equal(&chain, &before, sizeof(chain));
}

/* A log of LINES records, each an own buffer so that they can be taken apart. */
static void write_log(struct buf *lines[LINES], const char *operation)
{
	struct audit_chain chain = { 0 };

	for (unsigned i = 0; i < LINES; i++) {
		assert_int_equal(buf_new(AUDIT_LINE_MAX, &lines[i]), OK);
		assert_int_equal(buf_printf(lines[i], "{\"operation\":\"%s\",\"pid\":%u,", operation, i), OK);
		assert_int_equal(audit_chain_close(&chain, lines[i]), OK);
	}
}

/* The first line with a fault, 0-based, of those that order names (-1 ends it); LINES when there is none. */
static unsigned first_fault(struct buf *const lines[LINES], const int *order)
{
	struct audit_chain chain = { 0 };

	for (unsigned i = 0; i < LINES && order[i] >= 0; i++) {
		struct bytes line = buf_bytes(lines[order[i]]);

		line.len--;
		if (audit_chain_next(&chain, line) != AUDIT_WHOLE)
			return i;
	}
	return LINES;
}

static void test_moved(void **state)
{
	static const struct {
		int order[LINES];
		unsigned fault;
	} orders[] = {
		{ { 0, 1, 2, 3, 4, 5 }, LINES }, /* the control: an untouched log has no fault */
		{ { 1, 2, 3, 4, 5, -1 }, 0 }, /* the first removed */
		{ { 0, 1, 3, 4, 5, -1 }, 2 }, /* one removed */
		{ { 0, 2, 1, 3, 4, 5 }, 1 }, /* two exchanged */
		{ { 0, 1, 1, 2, 3, 4 }, 2 }, /* one twice */
		{ { 0, 1, 2, 3, 4, -1 }, LINES }, /* the last removed: not to be seen from the chain alone */
	};
	struct buf *lines[LINES];

	(void)state;
	write_log(lines, "unwrap");
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++)
		assert_int_equal(first_fault(lines, orders[i].order), orders[i].fault);
	for (unsigned i = 0; i < LINES; i++)
		buf_free(lines[i]);
}

/* Every bit of every line flipped in turn: found at that line, also in the last one, whose hash is nobody's yet. */
static void test_flipped(void **state)
{
	static const int order[LINES] = { 0, 1, 2, 3, 4, 5 };
	struct buf *lines[LINES];

	(void)state;
	write_log(lines, "unwrap");
	for (unsigned i = 0; i < LINES; i++) {
		size_t len = buf_len(lines[i]) - 1;

		for (size_t bit = 0; bit < 8 * len; bit++) {
			uint8_t *data = (uint8_t *)(uintptr_t)buf_bytes(lines[i]).data;
			unsigned fault;

			data[bit / 8] ^= (uint8_t)(1U << bit % 8);
			fault = first_fault(lines, order);
			assert_int_equal(fault, i);
			data[bit / 8] ^= (uint8_t)(1U << bit % 8);
		}
	}
	assert_int_equal(first_fault(lines, order), LINES);
	for (unsigned i = 0; i < LINES; i++)
		buf_free(lines[i]);
}

/* What a power failure makes of two lines that lie one over the other: the beginning of one, the end of the other. */
static void test_halves(void **state)
{
	struct buf *lines[LINES], *others[LINES];

	(void)state;
	write_log(lines, "unwrap");
	write_log(others, "enroll");
	for (size_t len = 1; len < buf_len(lines[0]) - 1; len++) {
		struct audit_chain chain = { 0 };
		uint8_t line[AUDIT_LINE_MAX];
		size_t whole = buf_len(lines[0]) - 1;

		memcpy(line, buf_bytes(lines[0]).data, whole);
		memcpy(line, buf_bytes(others[0]).data, len);
		if (memcmp(line, buf_bytes(lines[0]).data, whole) == 0 ||
		    memcmp(line, buf_bytes(others[0]).data, whole) == 0)
			continue;
		assert_int_equal(audit_chain_next(&chain, bytes_of(line, whole)), AUDIT_FAULT_CHECK);
	}
	for (unsigned i = 0; i < LINES; i++) {
		buf_free(lines[i]);
		buf_free(others[i]);
	}
}

/* After a fault the chain goes on, so that one changed record is one fault and not all that follow. */
static void test_goes_on(void **state)
{
	struct audit_chain chain = { 0 };
	struct buf *lines[LINES];
	unsigned faults = 0;

	(void)state;
	write_log(lines, "unwrap");
	((uint8_t *)(uintptr_t)buf_bytes(lines[2]).data)[0] = '[';
	for (unsigned i = 0; i < LINES; i++)
		faults += audit_chain_next(&chain, bytes_of(buf_bytes(lines[i]).data,
		                                            buf_len(lines[i]) - 1)) != AUDIT_WHOLE;
	assert_int_equal(faults, 2); /* the line itself, and that the next does not follow from it */
	assert_int_equal(chain.sequence, LINES);
	for (unsigned i = 0; i < LINES; i++)
		buf_free(lines[i]);
}

static void test_members(void **state)
{
	static const char line[] = "{\"a\":\"x\\\"y\",\"b\":12,\"c\":null}";
	struct audit_cursor cursor = audit_cursor_of(bytes_of_string(line));
	struct audit_member member;

	(void)state;
	assert_true(audit_next_member(&cursor, &member));
	assert_true(bytes_equal(member.name, bytes_of_string("a")));
	assert_true(bytes_equal(member.value, bytes_of_string("\"x\\\"y\"")));
	assert_true(audit_next_member(&cursor, &member));
	assert_true(bytes_equal(member.value, bytes_of_string("12")));
	assert_true(audit_next_member(&cursor, &member));
	assert_true(bytes_equal(member.value, bytes_of_string("null")));
	assert_false(audit_next_member(&cursor, &member));
	assert_false(cursor.failed);
}

#define PREVIOUS "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static const struct {
	const char *line;
	unsigned long long last; /* of the log that it goes on from; 0: it does not */
} begins[] = {
	{ "{\"frontend\":\"audit\",\"operation\":\"continued\",\"sequence\":42,\"previous\":\"" PREVIOUS
	  "\"}",
	  41 },
	{ "{\"operation\":\"continued\",\"frontend\":\"audit\",\"sequence\":2,\"previous\":\"" PREVIOUS "\"}",
	  1 },
	{ "{\"frontend\":\"audit\",\"operation\":\"continued\",\"sequence\":1,\"previous\":\"" PREVIOUS "\"}",
	  0 },
	{ "{\"frontend\":\"audit\",\"operation\":\"continued2\",\"sequence\":42,\"previous\":\"" PREVIOUS
	  "\"}",
	  0 },
	/* A client, and a name that a client chose. */
	{ "{\"frontend\":\"age\",\"operation\":\"continued\",\"sequence\":42,\"previous\":\"" PREVIOUS "\"}",
	  0 },
	{ "{\"frontend\":\"audit\",\"operation\":\"cut\",\"name\":\"continued\",\"sequence\":42,\"previous\":"
	  "\"" PREVIOUS "\"}",
	  0 },
	{ "{\"frontend\":\"audit\",\"operation\":\"continued\",\"sequence\":42}", 0 },
	{ "{\"frontend\":\"audit\",\"operation\":\"continued\",\"sequence\":42,\"previous\":\"" PREVIOUS "\"",
	  0 },
};

static void test_begins(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(begins) / sizeof(begins[0]); i++) {
		struct audit_chain before = { 0 };
		struct bytes line = bytes_of_string(begins[i].line);

		assert_int_equal(audit_record_goes_on(line, &before), begins[i].last != 0);
		assert_int_equal(before.sequence, begins[i].last);
		if (begins[i].last)
			assert_int_equal(audit_chain_next(&before, line), AUDIT_WHOLE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),     cmocka_unit_test(test_strings),
		cmocka_unit_test(test_too_long), cmocka_unit_test(test_moved),
		cmocka_unit_test(test_flipped),  cmocka_unit_test(test_halves),
		cmocka_unit_test(test_goes_on),  cmocka_unit_test(test_members),
		cmocka_unit_test(test_begins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
