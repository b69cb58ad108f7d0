#include "cli/problem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/shown.h"
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

/* What there is to look at. */
static void hint_errno(struct problem *problem, int error_number, const char *name)
{
	const char *slash = strrchr(name, '/');
	char directory[PROBLEM_TEXT_MAX], quoted_directory[SHOWN_QUOTED_MAX], quoted[SHOWN_QUOTED_MAX];

	(void)snprintf(directory, sizeof(directory), "%.*s", slash && slash != name ? (int)(slash - name) : 1,
	               slash ? name : ".");
	shown_quote(directory, quoted_directory);
	shown_quote(name, quoted);
	switch (error_number) {
	case ENOENT:
	case ENOTDIR:
		problem_hint(problem, "ls -l %s", quoted_directory);
		break;
	case EACCES:
	case EPERM:
	case EISDIR:
		problem_hint(problem, "ls -ld %s; id", quoted);
		break;
	case ENOSPC:
	case EDQUOT:
	case EROFS:
		problem_hint(problem, "df -h %s", quoted_directory);
		break;
	case EBADF:
		problem_hint(
		        problem,
		        "it was closed by whoever started this; > FILE, or >/dev/null, behind the command");
		break;
	case EPIPE:
		problem_hint(problem, "the program that read this has ended, and it says why");
		break;
	default:
		break;
	}
}

enum err problem_errno(struct problem *problem, int error_number, const char *what, const char *name)
{
	enum err err = problem_set(problem, err_from_errno(error_number), "%s %s: %s", what, name,
	                           strerror(error_number));

	hint_errno(problem, error_number, name);
	return err;
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

void problem_print(const struct problem *problem, enum err err, const char *program)
{
	const char *hint = problem->hint[0] || err != ERR_MEMORY_LOCKED ? problem->hint : SECRET_LOCK_HINT;

	(void)fprintf(stderr, "%s: ", program);
	shown_line(stderr, "%s", problem_text(problem, err));
	if (!hint[0])
		return;
	(void)fputs("hint: ", stderr);
	shown_line(stderr, "%s", hint);
}
