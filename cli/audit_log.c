#include "cli/audit_log.h"

#include <errno.h>

enum err audit_log_open(const char *path, struct problem *problem, FILE **ret_file)
{
	FILE *file = fopen(path, "re");

	if (!file)
		return problem_errno(problem, errno, "cannot open the audit log", path);
	*ret_file = file;
	return OK;
}

bool audit_log_read_line(FILE *file, struct audit_line *line)
{
	int c = EOF;

	line->len = 0;
	line->whole = true;
	while ((c = getc_unlocked(file)) != EOF && c != '\n') {
		if (line->len < AUDIT_LINE_MAX)
			line->text[line->len++] = (char)c;
		else
			line->whole = false;
	}
	line->text[line->len] = '\0';
	line->whole = line->whole && c == '\n';
	return c != EOF || line->len > 0;
}

static void found_bad(struct verification *result, unsigned long long line, unsigned long long sequence,
                      const char *reason)
{
	result->bad_line = line;
	result->bad_sequence = sequence;
	(void)snprintf(result->reason, sizeof(result->reason), "%s", reason);
}

/* A chain that breaks at a record tells of the one before it: that is the one that was changed. */
static void found_break(struct verification *result, unsigned long long before)
{
	unsigned long long line = result->lines;

	if (line == 1)
		found_bad(result, line, result->chain.sequence, "what came before this record was removed");
	else if (result->chain.sequence == before + 1)
		found_bad(result, line - 1, before, "it was changed");
	else
		found_bad(result, line, result->chain.sequence,
		          "records were removed, inserted or moved before it");
}

static void verify_line(struct verification *result, const struct audit_line *line)
{
	unsigned long long before = result->chain.sequence;
	enum audit_fault fault = audit_chain_next(&result->chain, bytes_of(line->text, line->len));

	result->lines++;
	if (result->bad_line)
		return;
	if (!line->whole)
		found_bad(result, result->lines, before + 1, "it was only half written, or has no end");
	else if (fault == AUDIT_FAULT_CHAIN)
		found_break(result, before);
	else if (fault != AUDIT_WHOLE)
		found_bad(result, result->lines, before + 1, audit_fault_text(fault));
}

/* Lines cut off at the end leave a whole chain; only the daemon's own count tells. expected was asked for before the file was read. */
static void check_end(struct verification *result, long long expected)
{
	if (!result->bad_line && expected > 0 && result->lines < (unsigned long long)expected)
		found_bad(result, result->lines + 1, result->lines + 1,
		          "it and what follows were removed from the end: tokend wrote more records");
}

enum err audit_log_verify(FILE *file, const char *path, long long expected, struct problem *problem,
                          struct verification *ret_result)
{
	struct verification result = { 0 };
	struct audit_line line;

	while (audit_log_read_line(file, &line))
		verify_line(&result, &line);
	if (ferror(file))
		return problem_errno(problem, errno, "cannot read", path);
	if (result.bad_line)
		result.after = result.lines - result.bad_line;
	check_end(&result, expected);
	*ret_result = result;
	return OK;
}
