/* The options of a verb: what is understood, what is refused and with which sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "cli/options.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define WORDS_MAX 8U

static const struct option_row table[] = {
	{ 'o', "output", "FILE", "", false }, { 'i', "identity", "FILE", "", true },
	{ 'a', "armor", NULL, "", false },    { 'p', "passphrase", NULL, "", false },
	{ 0, "json", NULL, "", false },       OPTIONS_END,
};

static const struct {
	const char *words[WORDS_MAX];
	const char *output; /* NULL: not given */
	const char *identities; /* joined by ',' */
	bool armor;
	const char *arguments; /* joined by ',' */
	const char *problem; /* NULL: it is understood */
	const char *hint;
} rows[] = {
	{ { NULL }, NULL, "", false, "", NULL, NULL },
	{ { "file" }, NULL, "", false, "file", NULL, NULL },
	{ { "-o", "out", "file" }, "out", "", false, "file", NULL, NULL },
	{ { "file", "-oout" }, "out", "", false, "file", NULL, NULL },
	{ { "--output", "out" }, "out", "", false, "", NULL, NULL },
	{ { "--output=out" }, "out", "", false, "", NULL, NULL },
	{ { "--output=" }, "", "", false, "", NULL, NULL },
	{ { "--output", "-" }, "-", "", false, "", NULL, NULL },
	{ { "-o", "--" }, "--", "", false, "", NULL, NULL },
	{ { "-ap" }, NULL, "", true, "", NULL, NULL },
	{ { "-aoout" }, "out", "", true, "", NULL, NULL },
	{ { "-i", "a", "--identity=b", "-ic" }, NULL, "a,b,c", false, "", NULL, NULL },
	{ { "-", "x" }, NULL, "", false, "-,x", NULL, NULL },
	{ { "--", "-a", "--json" }, NULL, "", false, "-a,--json", NULL, NULL },
	{ { "" }, NULL, "", false, "", NULL, NULL },
	{ { "--out=secret", "x" },
	  NULL,
	  "",
	  false,
	  "",
	  "there is no option --out",
	  "did you mean --output?" },
	{ { "--zzzzzz=secret" }, NULL, "", false, "", "there is no option --zzzzzz", "" },
	{ { "--pass" }, NULL, "", false, "", "there is no option --pass", "did you mean --passphrase?" },
	{ { "--outptu", "x" }, NULL, "", false, "", "there is no option --outptu", "did you mean --output?" },
	{ { "--zzz" }, NULL, "", false, "", "there is no option --zzz", "" },
	{ { "--"
	    "arm" },
	  NULL,
	  "",
	  false,
	  "",
	  "there is no option --arm",
	  "did you mean --armor?" },
	{ { "-x" }, NULL, "", false, "", "there is no option -x", "" },
	{ { "-ax" }, NULL, "", false, "", "there is no option -ax", "" },
	{ { "-o" }, NULL, "", false, "", "the option -o, --output needs a value: FILE", "" },
	{ { "--output" }, NULL, "", false, "", "the option -o, --output needs a value: FILE", "" },
	{ { "--armor=yes" }, NULL, "", false, "", "the option --armor takes no value", "" },
	{ { "-a", "--armor" }, NULL, "", false, "", "the option --armor is given twice", "" },
	{ { "-o", "x", "-oy" }, NULL, "", false, "", "the option --output is given twice", "" },
};

static void assert_joined(const char *expected, const char *joined)
{
	assert_string_equal(joined, expected);
}

static void join(char *joined, size_t len, const char *word)
{
	size_t used = strlen(joined);

	(void)snprintf(joined + used, len - used, "%s%s", used ? "," : "", word);
}

static void check_row(size_t row, const struct options *options)
{
	char identities[64] = "", arguments[64] = "";
	const char *output = options_value(options, "output"), *identity;
	size_t cursor = 0;

	assert_int_equal(output != NULL, rows[row].output != NULL);
	if (output)
		assert_string_equal(output, rows[row].output);
	while ((identity = options_next(options, "identity", &cursor)))
		join(identities, sizeof(identities), identity);
	assert_joined(rows[row].identities, identities);
	for (size_t i = 0; i < options->argument_count; i++)
		join(arguments, sizeof(arguments), options->arguments[i]);
	assert_joined(rows[row].arguments, arguments);
	assert_int_equal(options_given(options, "armor"), rows[row].armor);
}

static size_t copy_words(size_t row, char (*space)[32], char **words)
{
	size_t count = 0;

	for (; count < WORDS_MAX && rows[row].words[count]; count++) {
		(void)snprintf(space[count], sizeof(space[count]), "%s", rows[row].words[count]);
		words[count] = space[count];
	}
	return count;
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t row = 0; row < COUNT(rows); row++) {
		char space[WORDS_MAX][32], *words[WORDS_MAX];
		size_t count = copy_words(row, space, words);
		struct problem problem = { 0 };
		struct options options = { 0 };
		enum err err = options_parse(table, count, words, &problem, &options);

		assert_int_equal(err, rows[row].problem ? ERR_USAGE : OK);
		if (rows[row].problem) {
			assert_string_equal(problem.message, rows[row].problem);
			assert_string_equal(problem.hint, rows[row].hint);
		} else {
			check_row(row, &options);
		}
		options_done(&options);
	}
}

static void test_numbers(void **state)
{
	static const struct {
		const char *text;
		unsigned long maximum, number;
		bool fine;
	} numbers[] = {
		{ "0", 9, 0, true },
		{ "9", 9, 9, true },
		{ "10", 9, 0, false },
		{ "", 9, 0, false },
		{ "-1", 9, 0, false },
		{ "+1", 9, 0, false },
		{ " 1", 9, 0, false },
		{ "1 ", 9, 0, false },
		{ "0x1", 9, 0, false },
		{ "007", 9, 7, true },
		{ "18446744073709551615", ~0UL, ~0UL, true },
		{ "18446744073709551616", ~0UL, 0, false },
		{ "99999999999999999999999999", ~0UL, 0, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(numbers); i++) {
		unsigned long number = 0;
		enum err err = options_number(numbers[i].text, numbers[i].maximum, &number);

		assert_int_equal(err, numbers[i].fine ? OK : ERR_USAGE);
		assert_true(number == numbers[i].number);
	}
}

static void test_durations(void **state)
{
	static const struct {
		const char *text;
		unsigned seconds;
		bool fine;
	} durations[] = {
		{ "90", 90, true },
		{ "30s", 30, true },
		{ "15m", 900, true },
		{ "2h", 7200, true },
		{ "24h", 86400, true },
		{ "48h", 172800, true },
		{ "8784h", 31622400, true },
		{ "8785h", 0, false },
		{ "", 0, false },
		{ "m", 0, false },
		{ "1d", 0, false },
		{ "1.5h", 0, false },
		{ "-1m", 0, false },
		{ "1mm", 0, false },
		{ "31622401", 0, false },
		{ "999999999999999999999h", 0, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(durations); i++) {
		unsigned seconds = 0;

		assert_int_equal(options_duration(durations[i].text, &seconds),
		                 durations[i].fine ? OK : ERR_USAGE);
		assert_int_equal(seconds, durations[i].seconds);
	}
}

static void test_distances(void **state)
{
	static const struct {
		const char *a, *b;
		size_t distance;
	} pairs[] = {
		{ "", "", 0 },
		{ "", "abc", 3 },
		{ "keys", "keys", 0 },
		{ "keys", "kesy", 1 },
		{ "decrypt", "decript", 1 },
		{ "decrypt", "decypt", 1 },
		{ "encrypt", "decrypt", 2 },
		{ "status", "tokens", 5 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(pairs); i++) {
		assert_int_equal(words_distance(pairs[i].a, pairs[i].b), pairs[i].distance);
		assert_int_equal(words_distance(pairs[i].b, pairs[i].a), pairs[i].distance);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_distances),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
