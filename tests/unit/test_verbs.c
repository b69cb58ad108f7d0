/* The verbs: which one words mean, what a misspelt one was meant to be, and that each says what it does, with an example. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <string.h>

#include "cli/verb.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_find(void **state)
{
	static const struct {
		const char *first, *second; /* NULL: none */
		const char *verb; /* NULL: none */
		size_t used;
	} rows[] = {
		{ "keys", NULL, "keys", 1 },
		{ "keys", "host", "keys", 1 },
		{ "audit", "show", "audit show", 2 },
		{ "audit", "verify", "audit verify", 2 },
		{ "audit", NULL, NULL, 0 },
		{ "audit", "sho", NULL, 0 },
		{ "audit", "shows", NULL, 0 },
		{ "show", NULL, NULL, 0 },
		{ "audit show", NULL, NULL, 0 },
		{ "policy", "explain", "policy explain", 2 },
		{ "", NULL, NULL, 0 },
		{ "key", NULL, NULL, 0 },
		{ "keyss", NULL, NULL, 0 },
		{ "KEYS", NULL, NULL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char first[32], second[32], *words[2] = { first, second };
		size_t used = 0;
		const struct verb *verb;

		(void)snprintf(first, sizeof(first), "%s", rows[i].first);
		(void)snprintf(second, sizeof(second), "%s", rows[i].second ? rows[i].second : "");
		verb = verb_find(rows[i].second ? 2 : 1, words, &used);
		assert_int_equal(verb != NULL, rows[i].verb != NULL);
		assert_int_equal(used, rows[i].used);
		if (verb)
			assert_string_equal(verb->name, rows[i].verb);
	}
}

static void test_nearest(void **state)
{
	static const struct {
		const char *word;
		const char *verb; /* NULL: nothing is near */
	} rows[] = {
		{ "decript", "decrypt" },
		{ "dcrypt", "decrypt" },
		{ "decyrpt", "decrypt" },
		{ "encypt", "encrypt" },
		{ "enrol", "enroll" },
		{ "recipients", "recipient" },
		{ "stauts", "status" },
		{ "kesy", "keys" },
		{ "lokc", "lock" },
		{ "unlok", "unlock" },
		{ "doc", "doctor" },
		{ "audit shwo", "audit show" },
		{ "audit verfy", "audit verify" },
		{ "policy expalin", "policy explain" },
		{ "audit frobnicate", NULL },
		{ "identities", NULL },
		{ "frobnicate", NULL },
		{ "", NULL },
		{ "k", NULL },
		{ "a-word-that-is-longer-than-any-verb-and-longer-than-what-is-compared-at-all", NULL },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const char *nearest = verb_nearest(rows[i].word);

		assert_int_equal(nearest != NULL, rows[i].verb != NULL);
		if (nearest)
			assert_string_equal(nearest, rows[i].verb);
	}
}

static void test_prefixes(void **state)
{
	(void)state;
	assert_true(verb_is_prefix("audit"));
	assert_true(verb_is_prefix("policy"));
	assert_false(verb_is_prefix("audi"));
	assert_false(verb_is_prefix("keys"));
	assert_false(verb_is_prefix(""));
}

/* Letters and names are not used twice, and every option says what it does. */
static void check_options(const struct option_row *rows)
{
	for (const struct option_row *row = rows; row->name; row++) {
		assert_true(strlen(row->help) > 5);
		assert_string_not_equal(row->name, "help");
		assert_int_not_equal(row->letter, 'h');
		for (const struct option_row *other = rows; other != row; other++) {
			assert_string_not_equal(row->name, other->name);
			assert_false(row->letter && row->letter == other->letter);
		}
	}
}

static void test_every_verb(void **state)
{
	(void)state;
	for (size_t i = 0; verbs[i]; i++) {
		const struct verb *verb = verbs[i];

		assert_true(isupper((unsigned char)verb->summary[0]));
		assert_non_null(strstr(verb->example, "tokenctl"));
		assert_non_null(verb->arguments);
		assert_true(verb->arguments_min <= verb->arguments_max);
		assert_int_equal(verb->arguments_max > 0, verb->arguments[0] != '\0');
		assert_non_null(verb->run);
		check_options(verb->options);
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(verb->name, verbs[j]->name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_every_verb),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
