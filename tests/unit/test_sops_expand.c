/* Aliases of a plain YAML document written out: what comes of each place that one may stand in, what is refused, and that a bomb is refused before anything is written. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>

#include "common/buf.h"
#include "common/cleanup.h"
#include "formats/sops_expand.h"

#define BOMB_MILLISECONDS 50

struct row {
	const char *yaml;
	const char *expanded; /* or a part of the reason */
};

static void expect(const struct row *row)
{
	struct sops_plain plain;

	if (sops_plain_read(&plain, SOPS_YAML, bytes_of_string(row->yaml)))
		fail_msg("%s: %s", row->yaml, plain.document.reason);
	assert_non_null(plain.expanded);
	assert_true(plain.aliases > 0);
	if (!bytes_equal(buf_bytes(plain.expanded), bytes_of_string(row->expanded)))
		fail_msg("%s became %.*s", row->yaml, (int)buf_len(plain.expanded),
		         (const char *)buf_bytes(plain.expanded).data);
	sops_plain_done(&plain);
}

static void test_scalars(void **state)
{
	static const struct row rows[] = {
		{ "a: &x one  # c\nb: *x  # d\n", "a: &x one  # c\nb: one  # d\n" },
		{ "a: &x 'it''s'\nb: *x\n", "a: &x 'it''s'\nb: 'it''s'\n" },
		{ "a: &x 0x1F\nb: [*x, *x ]\n", "a: &x 0x1F\nb: [0x1F, 0x1F ]\n" },
		{ "a: &x |\n    one\n    two\nb: *x\n", "a: &x |\n    one\n    two\nb: \"one\\ntwo\\n\"\n" },
		{ "a: &x two\n  lines\nb: *x\n", "a: &x two\n  lines\nb: \"two lines\"\n" },
		{ "a: &x\nb: *x\n", "a: &x\nb: null\n" },
		{ "a: &x \"\"\nb: *x\n", "a: &x \"\"\nb: \"\"\n" },
		{ "a: &x one, two\nb: *x\nc: [*x]\n", "a: &x one, two\nb: one, two\nc: [\"one, two\"]\n" },
		{ "a: !!str &x 5\nb: *x\n", "a: !!str &x 5\nb: !!str &x 5\n" },
		{ "a: &x 1\nb: *x\nc: &x 2\nd: *x", "a: &x 1\nb: 1\nc: &x 2\nd: 2" },
		{ "a: &x 1\n---\nb: *x\n", "a: &x 1\n---\nb: 1\n" },
		{ "a: &x 1\r\nb: *x\r\n", "a: &x 1\r\nb: 1\r\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect(&rows[i]);
}

static void test_containers(void **state)
{
	static const struct row rows[] = {
		{ "a: &m\n  k: v\n  q: {x: 1}\nb: *m\n",
		  "a: &m\n  k: v\n  q: {x: 1}\nb:\n  k: v\n  q:\n    x: 1\n" },
		{ "a: &m {k: v}\nb:\n    <<: *m\n    c: 1\n",
		  "a: &m {k: v}\nb:\n    <<:\n        k: v\n    c: 1\n" },
		{ "a: &l [1, [2, {b: 3}]]\nb: *l # c\n",
		  "a: &l [1, [2, {b: 3}]]\nb: # c\n    - 1\n    - - 2\n      - b: 3\n" },
		{ "a: &m {k: v, l: w}\nb:\n- *m\n- *m # c\n",
		  "a: &m {k: v, l: w}\nb:\n- k: v\n  l: w\n- # c\n  k: v\n  l: w\n" },
		{ "a: &m\n    # head\n    k: v # tail\nb: {<<: [*m, {z: 1}]}\n",
		  "a: &m\n    # head\n    k: v # tail\nb: {<<: [{k: v}, {z: 1}]}\n" },
		{ "a: &e {}\nb: *e\nc: &f []\nd: [*f]\n", "a: &e {}\nb: {}\nc: &f []\nd: [[]]\n" },
		{ "a: &a {k: v}\nb: &b\n    x: *a\nc: *b\n",
		  "a: &a {k: v}\nb: &b\n    x:\n        k: v\nc:\n    x:\n        k: v\n" },
		{ "a: &a {'1': v, \"a b\": w}\nb: *a\n",
		  "a: &a {'1': v, \"a b\": w}\nb:\n    \"1\": v\n    \"a b\": w\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect(&rows[i]);
}

static void test_keys(void **state)
{
	static const struct row rows[] = {
		{ "a: &k name\n*k : v\n", "a: &k name\nname : v\n" },
		{ "a: &k a b\nb: {*k : v}\n", "a: &k a b\nb: {\"a b\" : v}\n" },
		{ "&k name: v\nb: *k\nc: {x: &m [*k ]}\nd: *m\n",
		  "&k name: v\nb: name\nc: {x: &m [name ]}\nd:\n    - name\n" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		expect(&rows[i]);
}

static void test_refusals(void **state)
{
	static const struct row rows[] = {
		{ "a: *x\n", "line 1: this alias stands for nothing" },
		{ "a: &a\n    b: *a\n", "line 2: this alias is a part of what it stands for" },
		{ "a: &a [1, *a]\n", "line 1: this alias is a part of what it stands for" },
		{ "a: &a {b: 1}\n*a : v\n", "line 2: a key is no string" },
		{ "a: &a 1\n*a : v\n", "line 2: a key is no string" },
		{ "a: &k b\n*k : v\nb: w\n", "line 3: this key is there twice" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sops_plain plain;

		assert_int_equal(sops_plain_read(&plain, SOPS_YAML, bytes_of_string(rows[i].yaml)),
		                 ERR_BAD_FILE);
		assert_string_equal(plain.document.reason, rows[i].expanded);
		sops_plain_done(&plain);
	}
}

/* A text without any is read as it always was, and nothing is written. */
static void test_without(void **state)
{
	static const char yaml[] = "a: &x 1 # *x\nb: '*x'\nc: |\n    *x\n";
	struct sops_plain plain;

	(void)state;
	assert_int_equal(sops_plain_read(&plain, SOPS_YAML, bytes_of_string(yaml)), OK);
	assert_null(plain.expanded);
	assert_int_equal(plain.aliases, 0);
	assert_ptr_equal(plain.document.text.data, yaml);
	sops_plain_done(&plain);
	assert_int_equal(sops_plain_read(&plain, SOPS_JSON, bytes_of_string("{\"a\": \"*x\"}")), OK);
	assert_null(plain.expanded);
	sops_plain_done(&plain);
}

static void test_merges(void **state)
{
	static const struct {
		const char *yaml;
		enum err err;
	} rows[] = {
		{ "a: {<<: {b: 1}}\n", OK },
		{ "a:\n    <<: [{b: 1}, {c: 1}]\n", OK },
		{ "a: {\"<<\": 1}\n", OK },
		{ "a: {<<: 1}\n", ERR_BAD_FILE },
		{ "a: &x 1\nb:\n    <<: *x\n", ERR_BAD_FILE },
		{ "a:\n    <<: [{b: 1}, 2]\n", ERR_BAD_FILE },
		{ "<<:\n", ERR_BAD_FILE },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct sops_plain plain;

		assert_int_equal(sops_plain_read(&plain, SOPS_YAML, bytes_of_string(rows[i].yaml)), OK);
		if (sops_plain_check_merges(&plain.document) != rows[i].err)
			fail_msg("%s", rows[i].yaml);
		sops_plain_done(&plain);
	}
}

/* Each names the one before, count times. */
static void put_bomb(struct buf *text, const char *start, unsigned levels, const char *before,
                     const char *between, unsigned count)
{
	assert_int_equal(buf_printf(text, "a0: &a0 %s\n", start), OK);
	for (unsigned i = 1; i < levels; i++) {
		assert_int_equal(buf_printf(text, "a%u: &a%u\n", i, i), OK);
		for (unsigned j = 0; j < count; j++)
			assert_int_equal(buf_printf(text, "%s%u%s*a%u\n", before, j, between, i - 1), OK);
	}
}

static long milliseconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void test_bombs(void **state)
{
	static const struct {
		unsigned levels, count;
		const char *reason;
	} rows[] = {
		{ 30, 10, "line 48: the aliases up to here come to more than 100,000 values or 16 MiB" },
		{ 63, 1, NULL }, /* the control: as deep as a document may be */
		{ 64, 1, "line 127: with its aliases written out it is nested too deeply" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(buf_freep) struct buf *text = NULL;
		struct sops_plain plain;
		long before = milliseconds();

		assert_int_equal(buf_new(1U << 20, &text), OK);
		put_bomb(text, "{x: lol}", rows[i].levels, "  k", ": ", rows[i].count);
		assert_int_equal(sops_plain_read(&plain, SOPS_YAML, buf_bytes(text)),
		                 rows[i].reason ? ERR_BAD_FILE : OK);
		assert_string_equal(plain.document.reason, rows[i].reason ? rows[i].reason : "");
		if (milliseconds() - before > BOMB_MILLISECONDS)
			fail_msg("it took %ld ms", milliseconds() - before);
		sops_plain_done(&plain);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scalars), cmocka_unit_test(test_containers),
		cmocka_unit_test(test_keys),    cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_without), cmocka_unit_test(test_merges),
		cmocka_unit_test(test_bombs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
