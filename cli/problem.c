#include "cli/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/secret.h"

enum err problem_set(struct problem *problem, enum err err, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(problem->message, sizeof(problem->message), format, arguments);
	va_end(arguments);
	problem->hint[0] = '\0';
	return err;
}

enum err problem_errno(struct problem *problem, int error_number, const char *what, const char *name)
{
	return problem_set(problem, err_from_errno(error_number), "%s %s: %s", what, name,
	                   strerror(error_number));
}

void problem_hint(struct problem *problem, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(problem->hint, sizeof(problem->hint), format, arguments);
	va_end(arguments);
}

const char *problem_text(const struct problem *problem, enum err err)
{
	return problem->message[0] ? problem->message : err_info(err)->text;
}

static void print_clean(const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		(void)fputc(c < 0x20 || c == 0x7f ? '?' : c, stderr);
	}
}

void problem_print(const struct problem *problem, enum err err, const char *program)
{
	const char *hint = problem->hint[0] || err != ERR_MEMORY_LOCKED ? problem->hint : SECRET_LOCK_HINT;

	(void)fprintf(stderr, "%s: ", program);
	print_clean(problem_text(problem, err));
	(void)fputc('\n', stderr);
	if (!hint[0])
		return;
	(void)fputs("hint: ", stderr);
	print_clean(hint);
	(void)fputc('\n', stderr);
}
