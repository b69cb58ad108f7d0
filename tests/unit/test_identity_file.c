#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "cli/identity_file.h"
#include "common/secret.h"

/* A private key in the place of a recipient, as a hasty hand or another program's file has it there. */
static const char *const private_lines[] = {
	"AGE-SECRET-KEY-1QQQQSECRET",      " AGE-SECRET-KEY-1QQQQSECRET",
	"age-secret-key-1qqqqSECRET",      "\"AGE-SECRET-KEY-1QQQQSECRET\"",
	"key: AGE-SECRET-KEY-1QQQQSECRET", "age1x,AGE-SECRET-KEY-PQ-1QSECRET",
};

static void test_private_keys_are_not_repeated(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(private_lines) / sizeof(private_lines[0]); i++) {
		struct recipients recipients = { 0 };
		struct problem problem = { 0 };

		assert_int_equal(recipients_add(private_lines[i], &problem, &recipients), ERR_USAGE);
		assert_non_null(strstr(problem.message, "private key"));
		assert_null(strstr(problem.message, "SECRET"));
		assert_null(strstr(problem.hint, "SECRET"));
		recipients_done(&recipients);
	}
}

static void test_others_are(void **state)
{
	struct recipients recipients = { 0 };
	struct problem problem = { 0 };

	(void)state;
	assert_int_equal(recipients_add("AGE-SECRET-KEY", &problem, &recipients), ERR_USAGE);
	assert_non_null(strstr(problem.message, "AGE-SECRET-KEY is not a recipient"));
	recipients_done(&recipients);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_private_keys_are_not_repeated),
		cmocka_unit_test(test_others_are),
	};

	if (secret_client_init())
		return 1;
	return cmocka_run_group_tests_name("identity_file", tests, NULL, NULL);
}
