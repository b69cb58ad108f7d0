/* dotenv as a shell reads it, there and back; and SOPS values as environment variables: names, numbers, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "formats/dotenv.h"
#include "formats/sops_environment.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void test_values(void **state)
{
	static const struct {
		const char *text, *value;
	} rows[] = {
		{ "", "" },
		{ "plain", "plain" },
		{ " v ", "v" },
		{ "a=b", "a=b" },
		{ "a#b", "a#b" },
		{ "a # comment", "a" },
		{ "# comment", "" },
		{ "'a # b'", "a # b" },
		{ "'a\\nb'", "a\\nb" },
		{ "\"a # b\"", "a # b" },
		{ "\"a\\nb\"", "a\nb" },
		{ "\"a\nb\"", "a\nb" },
		{ "\"a \\\" b\"", "a \" b" },
		{ "\"a\\\\nb\"", "a\\nb" },
		{ "\"\\$HOME\"", "$HOME" },
		{ "$HOME", "$HOME" },
		{ "\"q\" # comment", "q" },
		{ "''", "" },
		{ "'open", "'open" },
		{ "\"open\\\"", "\"open\\\"" },
		{ "'a'b", "'a'b" },
		{ "\"\\x\"", "\\x" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		CLEANUP(buf_freep) struct buf *out = NULL;

		assert_int_equal(buf_new(256, &out), OK);
		assert_int_equal(dotenv_value(bytes_of_string(rows[i].text), out), OK);
		assert_string_equal(buf_string(out), rows[i].value);
	}
}

/* Whatever is written is read again, and is one entry. TOKEND_TEST_SEED has the same values again. */
static void test_there_and_back(void **state)
{
	static const char letters[] = "ab \t\n\r'\"\\$`#=;né";
	const char *seed = getenv("TOKEND_TEST_SEED");
	uint32_t number = seed ? (uint32_t)strtoul(seed, NULL, 10) : randombytes_random();

	(void)state;
	print_message("TOKEND_TEST_SEED=%lu\n", (unsigned long)number);
	for (size_t i = 0; i < 20000; i++) {
		CLEANUP(buf_freep) struct buf *file = NULL;
		CLEANUP(buf_freep) struct buf *out = NULL;
		struct dotenv_entry entry;
		struct bytes text;
		char value[12];
		size_t len = i % sizeof(value);

		for (size_t j = 0; j < len; j++) {
			number = number * 1664525U + 1013904223U;
			value[j] = letters[(number >> 16) % (sizeof(letters) - 1)];
		}
		assert_int_equal(buf_new(256, &file), OK);
		assert_int_equal(buf_new(256, &out), OK);
		assert_int_equal(buf_put_string(file, "export NAME="), OK);
		assert_int_equal(dotenv_write(bytes_of(value, len), file), OK);
		assert_int_equal(buf_put_string(file, "\nNEXT=1\n"), OK);
		text = buf_bytes(file);
		assert_int_equal(dotenv_next(&text, &entry), OK);
		assert_int_equal(dotenv_value(entry.value, out), OK);
		assert_true(bytes_equal(entry.name, bytes_of_string("NAME")));
		assert_true(bytes_equal(buf_bytes(out), bytes_of(value, len)));
		assert_int_equal(dotenv_next(&text, &entry), OK);
		assert_true(bytes_equal(entry.name, bytes_of_string("NEXT")));
		assert_int_equal(text.len, 0);
	}
}

static void test_entries(void **state)
{
	struct bytes text =
	        bytes_of_string("# first\n\nexport A='1\n2' # two lines\nB = x\n C=\"open\nD=d\nwrong\n");
	static const struct {
		const char *name, *value;
	} rows[] = { { NULL, " first" }, { NULL, "" },      { "A", "'1\n2' # two lines" },
		     { "B", " x" },      { "C", "\"open" }, { "D", "d" } };
	struct dotenv_entry entry;

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		assert_int_equal(dotenv_next(&text, &entry), OK);
		assert_int_equal(entry.name.data != NULL, rows[i].name != NULL);
		if (rows[i].name)
			assert_true(bytes_equal(entry.name, bytes_of_string(rows[i].name)));
		assert_true(bytes_equal(entry.value, bytes_of_string(rows[i].value)));
	}
	assert_int_equal(dotenv_next(&text, &entry), ERR_BAD_FILE);
}

/* All values of a document that is not encrypted go to the environment. */
static enum err add_all(struct sops_environment *environment, enum sops_format format, const char *text)
{
	struct sops_document document;
	enum err err = sops_document_read(&document, format, bytes_of_string(text));

	for (uint32_t i = 0; !err && i < document.count; i++) {
		const struct sops_node *node = &document.nodes[i];

		if (node->kind != SOPS_MAP && node->kind != SOPS_LIST && node->kind != SOPS_NULL)
			err = sops_environment_add(environment, &document, i,
			                           node->kind == SOPS_FLOAT     ? SOPS_TYPE_FLOAT
			                           : node->kind == SOPS_BOOLEAN ? SOPS_TYPE_BOOLEAN
			                                                        : SOPS_TYPE_STRING,
			                           node->text);
	}
	sops_document_done(&document);
	return err;
}

static void expect_list(struct sops_environment *environment, char *const *inherited, const char *expected)
{
	CLEANUP(freep) char **list = NULL;
	char joined[1024] = "";

	assert_int_equal(sops_environment_list(environment, inherited, &list), OK);
	for (size_t i = 0; list[i]; i++) {
		size_t len = strlen(joined);

		(void)snprintf(joined + len, sizeof(joined) - len, "%s%s", i ? "|" : "", list[i]);
	}
	assert_string_equal(joined, expected);
}

static void test_names(void **state)
{
	static const struct {
		enum sops_format format;
		const char *text, *only, *prefix;
		bool quotes;
		enum err err;
		const char *expected; /* the list, or what the reason says */
	} rows[] = {
		{ SOPS_JSON, "{\"a\":{\"b\":1,\"c\":[true,\"x\"]}}", NULL, NULL, false, OK,
		  "a_b=1|a_c_0=true|a_c_1=x" },
		{ SOPS_JSON, "{\"f\":1.50,\"g\":1e21,\"h\":1234567.5,\"s\":\"1e21\"}", NULL, NULL, false, OK,
		  "f=1.5|g=1E+21|h=1.2345675E+06|s=1e21" },
		{ SOPS_JSON, "{\"a\":\"1\",\"n\":null}", NULL, "P_", false, OK, "P_a=1" },
		{ SOPS_JSON, "{\"1\":\"x\"}", NULL, "P", false, OK, "P1=x" },
		{ SOPS_JSON, "{\"a\":\"x\"}", NULL, "1", false, ERR_USAGE, "behind --prefix" },
		{ SOPS_JSON, "{\"a\":\"x\"}", NULL, "A-", false, ERR_USAGE, "behind --prefix" },
		{ SOPS_JSON, "{\"b c\":\"y\"}", NULL, "A_", false, ERR_USAGE, "b c is no name" },
		{ SOPS_JSON, "{\"a\":\"x\",\"b c\":\"y\"}", "a", NULL, false, OK, "a=x" },
		{ SOPS_JSON, "{\"b c\":\"y\"}", NULL, NULL, false, ERR_USAGE, "b c is no name" },
		{ SOPS_JSON, "{\"LD_PRELOAD\":\"x\"}", NULL, NULL, false, ERR_USAGE,
		  "LD_PRELOAD would choose" },
		{ SOPS_JSON, "{\"LD\":{\"AUDIT\":\"x\"}}", NULL, NULL, false, ERR_USAGE,
		  "LD_AUDIT would choose" },
		{ SOPS_JSON, "{\"A\":\"x\"}", NULL, "LD_", false, ERR_USAGE, "A would choose" },
		{ SOPS_JSON, "{\"PATH\":\"x\"}", NULL, NULL, false, ERR_USAGE, "PATH would choose" },
		{ SOPS_DOTENV, "export BASH_ENV=x\n", NULL, NULL, true, ERR_USAGE, "BASH_ENV would choose" },
		{ SOPS_JSON, "{\"LD_PRELOAD\":\"x\",\"a\":\"y\"}", "LD_PRELOAD", NULL, false, OK,
		  "LD_PRELOAD=x" },
		{ SOPS_JSON, "{\"LD_PRELOAD\":\"x\",\"a\":\"y\"}", "a", NULL, false, OK, "a=y" },
		{ SOPS_JSON, "{\"PATH\":\"x\",\"a_PATH\":\"y\",\"LD_\":\"z\"}", NULL, "X_", false, OK,
		  "X_LD_=z|X_PATH=x|X_a_PATH=y" },
		{ SOPS_JSON, "{\"\":\"y\"}", NULL, NULL, false, ERR_USAGE, "is no name" },
		{ SOPS_JSON, "{\"x=y\":\"y\"}", NULL, NULL, false, ERR_USAGE, "x=y is no name" },
		{ SOPS_JSON, "{\"a\":\"\\u0000\"}", NULL, NULL, false, ERR_UNSUPPORTED, "NUL" },
		{ SOPS_DOTENV, "A=\"x # y\"\n", NULL, NULL, false, OK, "A=\"x # y\"" },
		{ SOPS_DOTENV, "export A=\"x # y\"\nB=z # c\n", NULL, NULL, true, OK, "A=x # y|B=z" },
		{ SOPS_DOTENV, "export A=x\n", NULL, NULL, false, ERR_USAGE, "export A is no name" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct environment_choice only = { rows[i].only, false };
		struct sops_environment environment = { .only = &only,
			                                .only_count = rows[i].only != NULL,
			                                .prefix = rows[i].prefix,
			                                .quotes = rows[i].quotes };

		assert_int_equal(sops_environment_init(&environment), OK);
		assert_int_equal(add_all(&environment, rows[i].format, rows[i].text), rows[i].err);
		if (rows[i].err)
			assert_non_null(strstr(environment.reason, rows[i].expected));
		else
			expect_list(&environment, NULL, rows[i].expected);
		assert_int_equal(only.found, rows[i].only != NULL);
		sops_environment_done(&environment);
	}
}

static void test_collisions(void **state)
{
	struct sops_environment environment = { .only_count = 0 };
	char old[] = "a_b=old", kept[] = "kept=1";
	char *inherited[] = { old, kept, NULL };
	char **list = NULL;

	(void)state;
	assert_int_equal(sops_environment_init(&environment), OK);
	assert_int_equal(add_all(&environment, SOPS_JSON, "{\"a\":{\"b\":\"1\"},\"ab\":\"2\"}"), OK);
	expect_list(&environment, inherited, "a_b=1|ab=2|kept=1");
	assert_int_equal(add_all(&environment, SOPS_JSON, "{\"a_b\":\"3\"}"), OK);
	assert_int_equal(sops_environment_list(&environment, NULL, &list), ERR_EXISTS);
	assert_non_null(strstr(environment.reason, "a_b"));
	sops_environment_done(&environment);
}

static void test_sizes(void **state)
{
	struct sops_environment environment = { .only_count = 0 };
	char *text = malloc(200000);

	(void)state;
	assert_non_null(text);
	assert_int_equal(sops_environment_init(&environment), OK);
	for (size_t len = ENVIRONMENT_STRING_MAX - 4; len < ENVIRONMENT_STRING_MAX + 1; len++) {
		(void)snprintf(text, 200000, "{\"a\":\"%0*d\"}", (int)len, 0);
		assert_int_equal(add_all(&environment, SOPS_JSON, text),
		                 len + 2 < ENVIRONMENT_STRING_MAX ? OK : ERR_BUSY);
	}
	free(text);
	sops_environment_done(&environment);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),     cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_entries),    cmocka_unit_test(test_names),
		cmocka_unit_test(test_collisions), cmocka_unit_test(test_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
