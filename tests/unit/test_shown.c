/* Names that somebody else chose: a terminal shows them, and does not obey them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "cli/shown.h"
#include "cli/table.h"

static const struct {
	const char *text, *shown;
} rows[] = {
	{ "", "" },
	{ "plain name.txt", "plain name.txt" },
	{ "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x94\x91",
	  "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x94\x91" },
	{ "a\033[31mb", "a?[31mb" },
	{ "a\nb\tc\rd\a\x7f", "a?b?c?d??" },
	/* C1: a whole escape sequence in one character, in UTF-8 and alone */
	{ "a\xc2\x9b"
	  "31mb",
	  "a??31mb" },
	{ "a\x9b"
	  "31mb",
	  "a?31mb" },
	{ "\xc2\x80\xc2\x9f\xc2\xa0", "????\xc2\xa0" },
	/* what turns the direction of others */
	{ "a\xe2\x80\xaetxt.exe", "a???txt.exe" },
	/* no UTF-8 */
	{ "caf\xe9", "caf?" },
	{ "\xc1\x9b\xe0\x82\x9b", "?????" },
	{ "\xe2\x82", "??" },
};

static void test_clean(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char text[64];

		(void)snprintf(text, sizeof(text), "%s", rows[i].text);
		shown_clean(text);
		assert_string_equal(text, rows[i].shown);
	}
}

static const struct {
	const char *name, *quoted, *pathspec, *attribute;
} names[] = {
	{ "plain.yaml", "plain.yaml", "plain.yaml", "plain.yaml" },
	{ "a b", "'a b'", "'a b'", "'a?b'" },
	{ "*", "'*'", "':(literal)*'", "'\\*'" },
	{ "../a?[b]", "'../a?[b]'", "':(literal)../a?[b]'", "'../a\\?\\[b]'" },
	{ "a\\b", "'a\\b'", "':(literal)a\\b'", "'a\\\\b'" },
	{ ":a", "':a'", "':(literal):a'", "':a'" },
	{ "a:b", "'a:b'", "'a:b'", "'a:b'" },
	{ "-a", "'./-a'", "'./-a'", "'\\-a'" },
	{ "-*", "'./-*'", "':(literal)-*'", "'\\-\\*'" },
	{ "!a", "'!a'", "'!a'", "'\\!a'" },
	{ "#a", "'#a'", "'#a'", "'\\#a'" },
};

/* For a shell, for git where it takes a pattern, and in .gitattributes. */
static void test_names(void **state)
{
	char out[SHOWN_QUOTED_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		shown_quote(names[i].name, out);
		assert_string_equal(out, names[i].quoted);
		shown_quote_pathspec(names[i].name, out);
		assert_string_equal(out, names[i].pathspec);
		shown_quote_attribute(names[i].name, out);
		assert_string_equal(out, names[i].attribute);
	}
}

static char *collected;
static size_t collected_len;

static FILE *collect(void)
{
	FILE *file = open_memstream(&collected, &collected_len);

	assert_non_null(file);
	return file;
}

static void assert_collected(FILE *file, const char *expected)
{
	(void)fclose(file);
	assert_string_equal(collected, expected);
	free(collected);
}

static void test_print(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		FILE *file = collect();

		shown_print(file, rows[i].text);
		assert_collected(file, rows[i].shown);
	}
}

static void test_line(void **state)
{
	FILE *file = collect();

	(void)state;
	shown_line(file, "%s: %d", "a\033b\n", 7);
	assert_collected(file, "a?b?: 7\n");
}

static void test_table(void **state)
{
	FILE *file = collect();
	struct table *table = NULL;

	(void)state;
	assert_int_equal(table_new(2, &table), 0);
	assert_int_equal(table_put(table, "a\xc2\x9b"), 0);
	assert_int_equal(table_put(table, "b\033"), 0);
	table_print(table, file);
	(void)table_free(table);
	assert_collected(file, "a??  b?\n");
}

/* What is typed names the file, and does nothing else. */
static void test_quote(void **state)
{
	static const struct {
		const char *word, *quoted;
	} words[] = {
		{ "dir/plain-1.enc.yaml", "dir/plain-1.enc.yaml" },
		{ "", "''" },
		{ "two words", "'two words'" },
		{ "x$(touch y)", "'x$(touch y)'" },
		{ "a;b&c|d`e`", "'a;b&c|d`e`'" },
		{ "it's", "'it'\\''s'" },
		{ "-rf", "'./-rf'" },
		{ "~root", "'~root'" },
		{ "#", "'#'" },
	};
	char quoted[SHOWN_QUOTED_MAX], longest[2 * SHOWN_QUOTED_MAX];

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		shown_quote(words[i].word, quoted);
		assert_string_equal(quoted, words[i].quoted);
	}
	memset(longest, '\'', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	shown_quote(longest, quoted);
	assert_true(strlen(quoted) < sizeof(quoted));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean), cmocka_unit_test(test_print), cmocka_unit_test(test_names),
		cmocka_unit_test(test_line),  cmocka_unit_test(test_table), cmocka_unit_test(test_quote),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
