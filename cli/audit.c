/*
 * tokenctl audit show, audit verify
 *
 * Reads the log file itself, so that it works when tokend does not run and does not have to believe it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cli/facts.h"
#include "cli/verbs.h"
#include "cli/where.h"
#include "formats/audit_record.h"

#define SHOWN_UNLESS_SAID 20UL
#define SHOWN_MAX 100000UL

struct line {
	char text[AUDIT_LINE_MAX + 1]; /* with a NUL, without the newline */
	size_t len;
	bool whole; /* not too long, and ended by a newline */
};

/* False at the end of the file. What is longer than any record is read over. */
static bool read_line(FILE *file, struct line *line)
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

static enum err open_log(const char *path, struct problem *problem, FILE **ret_file)
{
	if (!path[0]) {
		(void)problem_set(problem, ERR_NO_DAEMON,
		                  "tokend is not running, so it is not known where its audit log is");
		problem_hint(problem, "--file FILE names it; it is called audit.log in the state directory");
		return ERR_NO_DAEMON;
	}
	*ret_file = fopen(path, "re");
	if (*ret_file)
		return OK;
	(void)problem_errno(problem, errno, "cannot open the audit log", path);
	if (errno == EACCES)
		problem_hint(problem, "sudo tokenctl audit verify");
	return err_from_errno(errno);
}

/* ---- verify ---- */

struct verification {
	struct audit_chain chain;
	unsigned long long lines; /* read */
	unsigned long long bad_line; /* the first bad one; 0: none */
	unsigned long long bad_sequence; /* its number, as far as it can be read */
	unsigned long long after; /* lines that follow it */
	char reason[256];
};

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

static void verify_line(struct verification *result, const struct line *line)
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

static enum err verify_file(const char *path, struct problem *problem, struct verification *ret_result)
{
	CLEANUP(fclosep) FILE *file = NULL;
	struct line line;
	enum err err = open_log(path, problem, &file);

	if (err)
		return err;
	while (read_line(file, &line))
		verify_line(ret_result, &line);
	if (ferror(file))
		return problem_errno(problem, errno, "cannot read", path);
	if (ret_result->bad_line)
		ret_result->after = ret_result->lines - ret_result->bad_line;
	return OK;
}

/* Lines cut off at the end leave a whole chain; only the daemon's own count tells. expected was asked for before the file was read. */
static void check_end(struct verification *result, long long expected)
{
	if (!result->bad_line && expected > 0 && result->lines < (unsigned long long)expected)
		found_bad(result, result->lines + 1, result->lines + 1,
		          "it and what follows were removed from the end: tokend wrote more records");
}

static enum err report_verification(const struct verification *result, const char *path, bool as_json,
                                    struct problem *problem)
{
	enum err err = OK;

	if (as_json)
		err = json_print(json_pack("{s:s, s:I, s:b, s:I, s:I, s:I, s:s}", "file", path, "records",
		                           (json_int_t)result->lines, "whole", result->bad_line == 0,
		                           "badLine", (json_int_t)result->bad_line, "badSequence",
		                           (json_int_t)result->bad_sequence, "after",
		                           (json_int_t)result->after, "reason", result->reason));
	else if (!result->bad_line)
		(void)printf("%s: %llu records, whole\n", path, result->lines);
	if (err || !result->bad_line)
		return err;
	(void)problem_set(
	        problem, ERR_BAD_CIPHERTEXT,
	        "the audit log is damaged at record %llu (line %llu of %s): %s; %llu lines follow it",
	        result->bad_sequence, result->bad_line, path, result->reason, result->after);
	problem_hint(problem, "keep a copy of the file; tokenctl audit show --file %s shows what is there",
	             path);
	return ERR_BAD_CIPHERTEXT;
}

static enum err run_verify(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	const char *named = options_value(options, "file");
	struct verification result = { 0 };
	struct where where = { 0 };
	const char *path = named;
	long long expected = 0;
	enum err err;

	if (!named) {
		where_find(&invocation->daemon, &where);
		path = where.audit_file;
		expected = (long long)json_integer_member(where.status, "auditRecords", 0);
	}
	err = verify_file(path, &invocation->problem, &result);
	if (!err) {
		check_end(&result, expected);
		err = report_verification(&result, path, options_given(options, "json"),
		                          &invocation->problem);
	}
	where_done(&where);
	return err;
}

/* ---- show ---- */

struct shown {
	char **lines; /* a ring of the last ones; owned strings */
	size_t room, next, count;
};

static enum err shown_keep(struct shown *shown, const struct line *line)
{
	char *copy = strdup(line->text);

	if (!copy)
		return ERR_NOMEM;
	free(shown->lines[shown->next]);
	shown->lines[shown->next] = copy;
	shown->next = (shown->next + 1) % shown->room;
	if (shown->count < shown->room)
		shown->count++;
	return OK;
}

static void shown_done(struct shown *shown)
{
	for (size_t i = 0; shown->lines && i < shown->room; i++)
		free(shown->lines[i]);
	free(shown->lines);
}

/* The i-th of those kept, the oldest first. */
static const char *shown_at(const struct shown *shown, size_t i)
{
	return shown->lines[(shown->next + shown->room - shown->count + i) % shown->room];
}

static enum err read_last(const char *path, size_t room, struct problem *problem, struct shown *shown)
{
	CLEANUP(fclosep) FILE *file = NULL;
	struct line line;
	enum err err = open_log(path, problem, &file);

	shown->room = room;
	shown->lines = calloc(room, sizeof(*shown->lines));
	if (!err && !shown->lines)
		err = ERR_NOMEM;
	while (!err && read_line(file, &line))
		err = shown_keep(shown, &line);
	if (!err && ferror(file))
		err = problem_errno(problem, errno, "cannot read", path);
	return err;
}

/* A member as text, whatever its type; "" when missing. */
static const char *member_text(const json_t *record, const char *name, char *space, size_t len)
{
	const json_t *value = json_object_get(record, name);

	space[0] = '\0';
	if (json_is_integer(value))
		(void)snprintf(space, len, "%lld", (long long)json_integer_value(value));
	else if (json_is_string(value))
		(void)snprintf(space, len, "%s", json_string_value(value));
	return space;
}

#define SHOWN_COLUMNS 9U
#define SHOWN_KEY 4U
static const char *const shown_members[SHOWN_COLUMNS] = { "sequence", "time", "operation", "result", "name",
	                                                  "uid",      "unit", "frontend",  "rule" };

static enum err put_record(struct table *table, const char *line)
{
	CLEANUP(json_decrefp) json_t *record = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	char space[512];
	enum err err = OK;

	for (size_t i = 0; !err && i < SHOWN_COLUMNS; i++) {
		const char *text = member_text(record, shown_members[i], space, sizeof(space));

		/* A key whose name was not known when the record was written is shown by its id. */
		if (!*text && i == SHOWN_KEY)
			text = member_text(record, "key", space, sizeof(space));
		err = table_put(table, !record && i == 1 ? "(not a record)" : text);
	}
	return err;
}

static enum err print_shown_table(const struct shown *shown)
{
	static const char *const heading[SHOWN_COLUMNS] = { "RECORD", "TIME", "OPERATION", "RESULT", "KEY",
		                                            "UID",    "UNIT", "VIA",       "RULE" };
	CLEANUP(table_freep) struct table *table = NULL;
	enum err err = table_new(SHOWN_COLUMNS, &table);

	for (size_t i = 0; !err && i < SHOWN_COLUMNS; i++)
		err = table_put(table, heading[i]);
	for (size_t i = 0; !err && i < shown->count; i++)
		err = put_record(table, shown_at(shown, i));
	if (!err)
		table_print(table, stdout);
	return err;
}

static enum err print_shown_json(const struct shown *shown)
{
	CLEANUP(json_decrefp) json_t *list = json_array();

	for (size_t i = 0; i < shown->count; i++) {
		json_t *record = json_loads(shown_at(shown, i), JSON_REJECT_DUPLICATES, NULL);

		if (record && json_array_append_new(list, record) < 0)
			return ERR_NOMEM;
	}
	return json_print(TAKE(list));
}

static enum err show_file(struct invocation *invocation, const char *path, size_t last)
{
	struct shown shown = { 0 };
	enum err err = read_last(path, last, &invocation->problem, &shown);

	if (!err)
		err = options_given(&invocation->options, "json") ? print_shown_json(&shown)
		                                                  : print_shown_table(&shown);
	shown_done(&shown);
	return err;
}

static enum err run_show(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	const char *named = options_value(options, "file");
	const char *last_text = options_value(options, "last");
	unsigned long last = SHOWN_UNLESS_SAID;
	struct where where = { 0 };
	enum err err;

	if (last_text && (options_number(last_text, SHOWN_MAX, &last) || last == 0))
		return problem_set(&invocation->problem, ERR_USAGE,
		                   "%s is not a number of records from 1 to %lu", last_text, SHOWN_MAX);
	if (!named)
		where_find(&invocation->daemon, &where);
	err = show_file(invocation, named ? named : where.audit_file, last);
	where_done(&where);
	return err;
}

static const struct option_row show_rows[] = {
	{ 'n', "last", "N", "show the last N records (20 unless said)", false },
	{ 0, "file", "FILE", "read this log", false },
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb audit_show_verb = {
	.name = "audit show",
	.arguments = "",
	.summary = "Shows the last records of the audit log: who was given what, and who was refused",
	.example = "  tokenctl audit show --last 5",
	.options = show_rows,
	.run = run_show,
};

static const struct option_row verify_rows[] = {
	{ 0, "file", "FILE", "read this log", false },
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb audit_verify_verb = {
	.name = "audit verify",
	.arguments = "",
	.summary = "Checks that no record of the audit log was changed, removed, inserted or moved",
	.details = "Each record carries the hash of the one before it. Names the first record that is not as "
	           "it\n"
	           "was written, and exits with 7. Records cut off at the end are noticed while tokend runs.",
	.example = "  tokenctl audit verify",
	.options = verify_rows,
	.run = run_verify,
};
