/*
 * What `tokenctl audit verify` finds in a log that somebody worked on: each thing that can be done to a record is done to each record of a log, and the record that is named has to be that one. What
 * a chain without a key cannot show (a shorter log, one that was written anew) is found by a head that was kept elsewhere, and only by that.
 *
 * The record that is named is the first whose line is not what was written there; where a record is missing, the one that follows the gap.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "cli/audit_log.h"
#include "common/cleanup.h"

#define RECORDS 8U
#define LOG_MAX (2U * RECORDS * AUDIT_LINE_MAX)

/* As tokend writes them: other members, of other lengths, with what has to be escaped. */
static const char *const records[RECORDS] = {
	"{\"time\":\"2026-03-01T00:00:00.000000Z\",\"frontend\":\"control\",\"operation\":\"start\",",
	("{\"time\":\"2026-03-01T00:00:00.000001Z\",\"frontend\":\"age\",\"operation\":\"unwrap\",\"uid\":"
	 "1000,"
	 "\"gid\":100,\"pid\":7,\"unit\":\"deploy.service\",\"key\":\"00112233445566778899aabbccddeeff\","
	 "\"name\":"
	 "\"repo/prod\",\"token\":\"tpm:device:/dev/tpmrm0\",\"rule\":\"10.conf:3\",\"result\":\"ok\","),
	"{\"operation\":\"unwrap\",\"uid\":0,\"name\":null,\"invalid\":true,\"result\":\"denied\",",
	"{\"operation\":\"unlock\",\"name\":\"a\\\"b\\\\c\\u001b\",\"result\":\"pin-wrong\",",
	"{",
	"{\"frontend\":\"audit\",\"operation\":\"lost\",\"records\":18446744073709551615,\"result\":"
	"\"audit\",",
	"{\"operation\":\"unwrap\",\"name\":\"caf\xc3\xa9\",\"result\":\"ok\",",
	"{\"operation\":\"stop\",\"uid\":null,\"result\":\"ok\",",
};

struct log {
	char text[LOG_MAX];
	size_t len;
	size_t start[RECORDS + 2]; /* of each line, and the end; one may be added */
	struct audit_chain head;
};

static struct log whole;
static unsigned long long cases;

static void write_log(struct log *log, const char *const *texts, size_t count)
{
	CLEANUP(buf_freep) struct buf *line = NULL;

	*log = (struct log){ 0 };
	assert_int_equal(buf_new(AUDIT_LINE_MAX, &line), OK);
	for (size_t i = 0; i < count; i++) {
		buf_clear(line);
		assert_int_equal(buf_put_string(line, texts[i]), OK);
		assert_int_equal(audit_chain_close(&log->head, line), OK);
		log->start[i] = log->len;
		memcpy(log->text + log->len, buf_bytes(line).data, buf_len(line));
		log->len += buf_len(line);
	}
	log->start[count] = log->len;
}

static struct verification verify(const char *text, size_t len, const struct audit_known *known)
{
	struct verification result = { 0 };
	struct problem problem = { 0 };
	/* fmemopen has no empty files. */
	CLEANUP(fclosep)
	FILE *file = len ? fmemopen((void *)(uintptr_t)text, len, "r") : fopen("/dev/null", "re");

	assert_non_null(file);
	assert_int_equal(audit_log_verify(file, "log", known, &problem, &result), OK);
	cases++;
	return result;
}

static unsigned long long bad_line(const char *text, size_t len)
{
	return verify(text, len, &(struct audit_known){ 0 }).bad_line;
}

static unsigned long long bad_line_with_head(const char *text, size_t len)
{
	return verify(text, len, &(struct audit_known){ .head = whole.head }).bad_line;
}

/* Puts lines together: which of whole's, in what order. Returns the length. */
static size_t arrange(char *text, const size_t *order, size_t count)
{
	size_t len = 0;

	for (size_t i = 0; i < count; i++) {
		size_t line_len = whole.start[order[i] + 1] - whole.start[order[i]];

		memcpy(text + len, whole.text + whole.start[order[i]], line_len);
		len += line_len;
	}
	return len;
}

/* The first place, counted from 1, where order is not the one that was written; 0: it is a beginning of it. */
static unsigned long long first_wrong(const size_t *order, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (order[i] != i)
			return i + 1;
	return 0;
}

static void assert_arranged(const char *what, const size_t *order, size_t count)
{
	static char text[LOG_MAX];
	size_t len = arrange(text, order, count);
	unsigned long long expected = first_wrong(order, count), found = bad_line(text, len);

	if (found != expected)
		fail_msg("%s: record %llu is named, not %llu", what, found, expected);
	if (count < RECORDS && expected == 0)
		expected = count + 1;
	found = bad_line_with_head(text, len);
	if (found != expected)
		fail_msg("%s, and a head was kept: record %llu is named, not %llu", what, found, expected);
}

static int set_up(void **state)
{
	(void)state;
	write_log(&whole, records, RECORDS);
	return 0;
}

/* The control: an untouched log is whole, with its head and with each older one. */
static void test_whole(void **state)
{
	struct log part;

	(void)state;
	assert_int_equal(bad_line(whole.text, whole.len), 0);
	assert_int_equal(bad_line_with_head(whole.text, whole.len), 0);
	for (size_t count = 1; count <= RECORDS; count++) {
		struct verification result;

		write_log(&part, records, count);
		result = verify(whole.text, whole.len, &(struct audit_known){ .head = part.head });
		assert_int_equal(result.bad_line, 0);
		assert_true(result.head_seen);
	}
}

/* A log that took another's place says so itself; a key of that name, and a client's operation of that name, say nothing. */
static void test_replaced(void **state)
{
	static const char *const lines[] = {
		"{",
		"{\"frontend\":\"control\",\"operation\":\"unwrap\",\"name\":\"replaced\",\"result\":\"ok\",",
		"{\"frontend\":\"age\",\"operation\":\"replaced\",\"result\":\"ok\",",
		"{\"frontend\":\"audit\",\"operation\":\"replaced\",\"known\":7,\"result\":\"audit\",",
		"{\"operation\":\"stop\",\"uid\":null,\"result\":\"ok\",",
	};
	struct log log;

	(void)state;
	assert_int_equal(verify(whole.text, whole.len, &(struct audit_known){ 0 }).replaced, 0);
	for (size_t count = 1; count <= 5; count++) {
		write_log(&log, lines, count);
		assert_int_equal(verify(log.text, log.len, &(struct audit_known){ 0 }).replaced,
		                 count >= 4 ? 4 : 0);
	}
}

/* Each byte of each record, each bit of it, and to a newline, a quote and a zero: that record is named, with a head and without one. */
static void test_flipped(void **state)
{
	static const char others[] = { '\n', '"', '\0', '0', '}' };
	static char text[LOG_MAX];

	(void)state;
	memcpy(text, whole.text, whole.len);
	for (size_t record = 0; record < RECORDS; record++) {
		for (size_t at = whole.start[record]; at < whole.start[record + 1]; at++) {
			for (unsigned change = 0; change < 8 + sizeof(others); change++) {
				unsigned long long found, with_head;

				text[at] = whole.text[at];
				if (change < 8)
					text[at] = (char)((unsigned char)text[at] ^ (1U << change));
				else
					text[at] = others[change - 8];
				if (text[at] == whole.text[at])
					continue;
				found = bad_line(text, whole.len);
				with_head = bad_line_with_head(text, whole.len);
				if (found != record + 1 || with_head != record + 1)
					fail_msg("record %zu, byte %zu to 0x%02x: record %llu is named, and "
					         "if a head was kept %llu",
					         record + 1, at - whole.start[record],
					         (unsigned char)text[at], found, with_head);
			}
			text[at] = whole.text[at];
		}
	}
}

/* One record made anew, with its number, its link and a check that fits: found at the next, which is linked to what was there; and for the last one only by a head. */
static void test_made_anew(void **state)
{
	static struct log other;

	(void)state;
	for (size_t record = 0; record < RECORDS; record++) {
		const char *lines[RECORDS];
		static char text[LOG_MAX];
		size_t len = whole.start[record], other_len, rest = whole.len - whole.start[record + 1];

		memcpy(lines, records, sizeof(lines));
		lines[record] = "{\"operation\":\"another\",";
		write_log(&other, lines, RECORDS);
		other_len = other.start[record + 1] - other.start[record];
		memcpy(text, whole.text, len);
		memcpy(text + len, other.text + other.start[record], other_len);
		memcpy(text + len + other_len, whole.text + whole.start[record + 1], rest);
		len += other_len + rest;
		assert_int_equal(bad_line(text, len), record + 1 < RECORDS ? record + 1 : 0);
		assert_int_equal(bad_line_with_head(text, len), record + 1);
	}
}

static void test_removed(void **state)
{
	(void)state;
	for (size_t from = 0; from < RECORDS; from++) {
		for (size_t many = 1; from + many <= RECORDS; many++) {
			size_t order[RECORDS], count = 0;

			for (size_t i = 0; i < RECORDS; i++)
				if (i < from || i >= from + many)
					order[count++] = i;
			assert_arranged("removed", order, count);
		}
	}
}

static void test_moved(void **state)
{
	(void)state;
	for (size_t from = 0; from < RECORDS; from++) {
		for (size_t to = 0; to < RECORDS; to++) {
			size_t order[RECORDS], count = 0;

			for (size_t i = 0; i < RECORDS; i++)
				if (i != from)
					order[count++] = i;
			memmove(order + to + 1, order + to, (RECORDS - 1 - to) * sizeof(order[0]));
			order[to] = from;
			assert_arranged("moved", order, RECORDS);
		}
	}
}

static void test_exchanged(void **state)
{
	(void)state;
	for (size_t a = 0; a < RECORDS; a++) {
		for (size_t b = a + 1; b < RECORDS; b++) {
			size_t order[RECORDS];

			for (size_t i = 0; i < RECORDS; i++)
				order[i] = i == a ? b : i == b ? a : i;
			assert_arranged("exchanged", order, RECORDS);
		}
	}
}

static void test_repeated(void **state)
{
	(void)state;
	for (size_t record = 0; record < RECORDS; record++) {
		for (size_t to = 0; to <= RECORDS; to++) {
			size_t order[RECORDS + 1], count = 0;

			for (size_t i = 0; i <= RECORDS; i++)
				order[count++] = i == to ? record : i < to ? i : i - 1;
			assert_arranged("repeated", order, count);
		}
	}
}

/* One of somebody's own that follows from the record before it: nothing follows from it. As the last one it is a record like any other, unless somebody knows better. */
static void test_inserted(void **state)
{
	static const char *const forged = "{\"operation\":\"unwrap\",\"uid\":0,\"result\":\"ok\",";
	static char text[LOG_MAX];

	(void)state;
	for (size_t to = 0; to <= RECORDS; to++) {
		const char *texts[RECORDS + 1];
		struct log part;
		size_t len, rest = whole.len - whole.start[to];

		memcpy((void *)texts, (const void *)records, to * sizeof(texts[0]));
		texts[to] = forged;
		write_log(&part, texts, to + 1);
		memcpy(text, part.text, part.len);
		memcpy(text + part.len, whole.text + whole.start[to], rest);
		len = part.len + rest;
		assert_int_equal(bad_line(text, len), to < RECORDS ? to + 2 : 0);
		/* Where the forged one stands in the place of the head itself, it is named itself. */
		assert_int_equal(bad_line_with_head(text, len), to + 1 == RECORDS ? RECORDS
		                                                : to < RECORDS    ? to + 2
		                                                                  : 0);
	}
}

/* At each byte. At the end of a line it is a shorter log, else the record that was cut through is named. */
static void test_truncated(void **state)
{
	(void)state;
	for (size_t len = 0; len < whole.len; len++) {
		size_t complete = 0;
		bool at_end;

		while (whole.start[complete + 1] <= len)
			complete++;
		at_end = whole.start[complete] == len;
		assert_int_equal(bad_line(whole.text, len), at_end ? 0 : complete + 1);
		assert_int_equal(bad_line_with_head(whole.text, len), complete + 1);
	}
}

/* From one record on with all hashes anew: whole in itself. */
static void test_written_anew(void **state)
{
	(void)state;
	for (size_t from = 0; from < RECORDS; from++) {
		const char *texts[RECORDS];
		struct log anew;

		for (size_t i = 0; i < RECORDS; i++)
			texts[i] = i == from ? "{\"operation\":\"nothing\"," : records[i];
		write_log(&anew, texts, RECORDS);
		assert_int_equal(bad_line(anew.text, anew.len), 0);
		assert_int_equal(bad_line_with_head(anew.text, anew.len), RECORDS);
	}
}

static void test_daemon_counts(void **state)
{
	struct audit_known known = { .records = RECORDS };

	(void)state;
	assert_int_equal(verify(whole.text, whole.len, &known).bad_line, 0);
	assert_int_equal(verify(whole.text, whole.start[RECORDS - 1], &known).bad_line, RECORDS);
	assert_int_equal(verify(whole.text, 0, &known).bad_line, 1);
}

static void test_heads(void **state)
{
	static const struct {
		const char *text;
		enum err err;
	} rows[] = {
		{ "1:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", OK },
		{ "18446744073709551615:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
		  OK },
		{ "18446744073709551616:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff",
		  ERR_USAGE },
		{ "0:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", ERR_USAGE },
		{ "01:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", ERR_USAGE },
		{ "-1:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff", ERR_USAGE },
		{ "1:00112233445566778899aabbccddeeff00112233445566778899aabbccddeef", ERR_USAGE },
		{ "1:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff0", ERR_USAGE },
		{ "1:00112233445566778899aabbccddeeff00112233445566778899aabbccddeefg", ERR_USAGE },
		{ "1", ERR_USAGE },
		{ "1:", ERR_USAGE },
		{ ":", ERR_USAGE },
		{ "", ERR_USAGE },
	};
	struct audit_chain head;
	char text[AUDIT_HEAD_LEN + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (audit_head_parse(rows[i].text, &head) != rows[i].err)
			fail_msg("%s", rows[i].text);
		if (rows[i].err)
			continue;
		audit_head_print(&head, text);
		assert_string_equal(text, rows[i].text);
	}
}

static void test_count(void **state)
{
	(void)state;
	printf("%llu logs verified\n", cases);
	assert_true(cases > 20000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),        cmocka_unit_test(test_replaced),
		cmocka_unit_test(test_flipped),      cmocka_unit_test(test_made_anew),
		cmocka_unit_test(test_removed),      cmocka_unit_test(test_moved),
		cmocka_unit_test(test_exchanged),    cmocka_unit_test(test_repeated),
		cmocka_unit_test(test_inserted),     cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_written_anew), cmocka_unit_test(test_daemon_counts),
		cmocka_unit_test(test_heads),        cmocka_unit_test(test_count),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
