/* Heads of the audit log, in both of their forms: what is written is read back, and nothing else is a head. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "formats/audit_head.h"

#define HASH "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define DIRECTORY "/var/lib/tokend"

static const struct {
	const char *name, *text;
	unsigned long long sequence; /* 0: it is none */
} rows[] = {
	{ "the first record", "1:" HASH, 1 },
	{ "the last number that there is", "18446744073709551615:" HASH, 18446744073709551615ULL },
	{ "one more than that", "18446744073709551616:" HASH, 0 },
	{ "no record", "0:" HASH, 0 },
	{ "a zero before it", "01:" HASH, 0 },
	{ "a sign", "+1:" HASH, 0 },
	{ "no number", ":" HASH, 0 },
	{ "no hash", "1:", 0 },
	{ "a digit too many", "1:" HASH "0", 0 },
	{ "a space", "1 :" HASH, 0 },
	{ "nothing", "", 0 },
};

static void test_people(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[AUDIT_HEAD_LEN + 1];
		struct audit_chain head = { 0 };
		enum err err = audit_head_parse(rows[i].text, &head);

		if ((err == OK) != (rows[i].sequence != 0) || head.sequence != rows[i].sequence)
			fail_msg("%s", rows[i].name);
		if (err)
			continue;
		audit_head_print(&head, text);
		assert_string_equal(text, rows[i].text);
	}
}

static const struct audit_chain example = { .sequence = 1234567, .last_hash = { 1, 2, 3, 0xff } };

static bool is_memo(const char *text, size_t len, const char *directory)
{
	struct audit_chain head = { 0 };
	bool is = audit_memo_parse(bytes_of((const uint8_t *)text, len), bytes_of_string(directory), &head);

	assert_int_equal(head.sequence, is ? example.sequence : 0);
	assert_true(!is || memcmp(head.last_hash, example.last_hash, AUDIT_HASH_LEN) == 0);
	return is;
}

static void test_memo(void **state)
{
	const struct audit_chain none = { .last_hash = { 1 } };
	char text[AUDIT_MEMO_LEN + 1];

	(void)state;
	audit_memo_print(&example, bytes_of_string(DIRECTORY), text);
	assert_int_equal(strlen(text), AUDIT_MEMO_LEN);
	/* printf '%s ' tokend head 1 00000000000001234567 010203ff00... >x; printf /var/lib/tokend | cat x - | sha256sum */
	assert_string_equal(
	        text, "tokend head 1 00000000000001234567 "
	              "010203ff00000000000000000000000000000000000000000000000000000000 ab0eeaf302b99ff8\n");
	assert_true(is_memo(text, AUDIT_MEMO_LEN, DIRECTORY));
	assert_false(is_memo(text, AUDIT_MEMO_LEN, "/var/lib/tokend2"));
	for (size_t len = 0; len < AUDIT_MEMO_LEN; len++)
		assert_false(is_memo(text, len, DIRECTORY));
	audit_memo_print(&none, bytes_of_string(DIRECTORY), text);
	assert_false(is_memo(text, AUDIT_MEMO_LEN, DIRECTORY));
}

/* Each bit of it, and each mixture of two that follow one another, as a reader may find it. */
static void test_torn_memo(void **state)
{
	const struct audit_chain next = { .sequence = example.sequence + 1, .last_hash = { 9, 8, 7 } };
	char first[AUDIT_MEMO_LEN + 1], second[AUDIT_MEMO_LEN + 1], mixed[AUDIT_MEMO_LEN + 1];

	(void)state;
	audit_memo_print(&example, bytes_of_string(DIRECTORY), first);
	audit_memo_print(&next, bytes_of_string(DIRECTORY), second);
	for (size_t i = 0; i < 8 * (size_t)AUDIT_MEMO_LEN; i++) {
		memcpy(mixed, first, sizeof(mixed));
		mixed[i / 8] = (char)(mixed[i / 8] ^ 1 << i % 8);
		assert_false(is_memo(mixed, AUDIT_MEMO_LEN, DIRECTORY));
	}
	for (size_t i = 40; i < AUDIT_MEMO_LEN - 1; i++) {
		memcpy(mixed, second, i);
		memcpy(mixed + i, first + i, sizeof(mixed) - i);
		assert_false(is_memo(mixed, AUDIT_MEMO_LEN, DIRECTORY));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_people),
		cmocka_unit_test(test_memo),
		cmocka_unit_test(test_torn_memo),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
