/* Which lines are the marks of a conflict, and which are a text's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/conflict_marks.h"

#define GROUP "<<<<<<< ours\na\n=======\nb\n>>>>>>> theirs\n"
#define OTHER "<<<<<<< HEAD\na\n||||||| base\n=======\n>>>>>>> branch\n"

static const struct {
	const char *text, *before;
	size_t line;
} rows[] = {
	{ "", "", 0 },
	{ "a\nb", "", 0 },
	{ GROUP, "", 1 },
	{ "a\n" GROUP, "a\n", 2 },
	{ "a\n" OTHER, "", 2 },
	/* as an editor of another system ends lines, and without the last end */
	{ "<<<<<<< ours\r\n=======\r\n>>>>>>> theirs", "", 1 },
	/* the innermost one, which is whole */
	{ "<<<<<<< a\n<<<<<<< b\n=======\n>>>>>>> b\n", "", 2 },
	/* those that were there, and one more, before, between or behind them */
	{ GROUP "a\n", GROUP, 0 },
	{ "a\n" GROUP, GROUP, 0 },
	{ GROUP GROUP, GROUP, 6 },
	{ OTHER GROUP, GROUP, 1 },
	{ GROUP OTHER GROUP, GROUP GROUP, 6 },
	{ GROUP, GROUP OTHER, 0 },
	{ OTHER, OTHER GROUP, 0 },
	/* no group */
	{ "<<<<<<< ours\na\n>>>>>>> theirs\n", "", 0 },
	{ "=======\n>>>>>>> theirs\n<<<<<<< ours\n", "", 0 },
	{ "<<<<<<< ours\n=======\n", "", 0 },
	{ "<<<<<<<\n=======\n>>>>>>>\n", "", 0 },
	{ " <<<<<<< ours\n=======\n>>>>>>> theirs\n", "", 0 },
	{ "<<<<<<<< ours\n=======\n>>>>>>> theirs\n", "", 0 },
	{ "<<<<<<< ours\n========\n>>>>>>> theirs\n", "", 0 },
	{ "<<<<<<< ours\n=======\n>>>>>> theirs\n", "", 0 },
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(
		        conflict_marks_find(bytes_of_string(rows[i].text), bytes_of_string(rows[i].before)),
		        rows[i].line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
