/*
 * tokenctl audit show, audit verify
 *
 * Reads the log file itself, so that it works when tokend does not run and does not have to believe it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "cli/audit_log.h"
#include "cli/facts.h"
#include "cli/verbs.h"
#include "cli/where.h"

#define SHOWN_UNLESS_SAID 20UL
#define SHOWN_MAX 100000UL

static enum err explain_unknown(const struct where *where, struct problem *problem)
{
	if (where->err == ERR_DENIED) {
		*problem = where->problem;
		return ERR_DENIED;
	}
	(void)problem_set(problem, ERR_NO_DAEMON,
	                  "tokend is not running, so it is not known where its audit log is");
	problem_hint(problem, "--file FILE names it; it is called audit.log in the state directory");
	return ERR_NO_DAEMON;
}

static enum err explain_missing(const struct where *where, struct problem *problem)
{
	json_int_t count = json_integer_member(where->status, "auditRecords", 0);

	(void)problem_set(problem, ERR_BAD_FILE,
	                  "the audit log %s is missing, though tokend wrote %lld record%s", where->audit_file,
	                  (long long)count, PLURAL(count));
	problem_hint(problem, "sudo systemctl restart tokend   begins a new log; who removed the old one?");
	return ERR_BAD_FILE;
}

/* named NULL: the daemon's. */
static enum err open_log(const struct where *where, const char *named, const struct verb *verb,
                         struct problem *problem, FILE **ret_file)
{
	const char *path = named ? named : where->audit_file;
	enum err err;

	if (!path[0] && !named)
		return explain_unknown(where, problem);
	err = audit_log_open(path, problem, ret_file);
	if (err == ERR_NO_FILE && where->status)
		return explain_missing(where, problem);
	if (err != ERR_FILE_ACCESS)
		return err;
	problem_hint(problem, "sudo tokenctl %s%s%s", verb->name, named ? " --file " : "",
	             named ? named : "");
	return ERR_DENIED;
}

/* ---- verify ---- */

/* The logs that are read, one going on from the other. */
struct logs {
	const char *const *paths; /* borrowed */
	size_t count;
	unsigned long long *ends; /* owned; how many lines there are up to the end of each */
};

/* In which of them a line of all is. What is missing behind the last is in that one. */
static size_t log_of(const struct logs *logs, unsigned long long line)
{
	size_t i = 0;

	while (i + 1 < logs->count && line > logs->ends[i])
		i++;
	return i;
}

static unsigned long long line_in(const struct logs *logs, unsigned long long line)
{
	size_t i = log_of(logs, line);

	return i ? line - logs->ends[i - 1] : line;
}

static enum err print_verification(const struct verification *result, const struct logs *logs, bool as_json)
{
	const char *path = logs->paths[log_of(logs, result->bad_line ? result->bad_line : result->lines + 1)];
	char head[AUDIT_HEAD_LEN + 1];

	audit_head_print(&result->chain, head);
	if (as_json)
		return json_print(json_pack(
		        "{s:s, s:I, s:b, s:s, s:I, s:I, s:I, s:s, s:I, s:I}", "file", path, "records",
		        (json_int_t)result->lines, "whole", result->bad_line == 0, "head", head, "badLine",
		        (json_int_t)line_in(logs, result->bad_line), "badSequence",
		        (json_int_t)result->bad_sequence, "after", (json_int_t)result->after, "reason",
		        result->reason, "clockSetBackAt", (json_int_t)result->set_back, "goesOnFrom",
		        (json_int_t)result->before.sequence));
	if (result->bad_line || result->head_earlier)
		return OK;
	if (logs->count > 1)
		(void)printf("%zu logs: ", logs->count);
	else
		(void)printf("%s: ", path);
	(void)printf("%llu record%s, whole; the head is %s\n", result->lines, PLURAL(result->lines), head);
	return OK;
}

static void print_notes(const struct verification *result)
{
	if (result->before.sequence && !result->bad_line && !result->head_earlier)
		(void)fprintf(
		        stderr,
		        "note: the first of these records goes on from record %llu, the last of a log that "
		        "was closed; named before this one it is checked as well\n",
		        result->before.sequence);
	if (result->set_back)
		(void)fprintf(
		        stderr,
		        "note: the clock was set back by %lld seconds before record %llu: the order of the "
		        "records is right, their times are not one row\n",
		        result->set_back_seconds, result->set_back);
}

/* The head is for keeping elsewhere: nothing in the file itself proves its end. */
static enum err report_verification(const struct verification *result, const struct logs *logs, bool as_json,
                                    struct problem *problem)
{
	const char *path = logs->paths[log_of(logs, result->bad_line)];
	enum err err = print_verification(result, logs, as_json);

	if (err)
		return err;
	print_notes(result);
	if (result->head_earlier) {
		(void)problem_set(problem, ERR_USAGE,
		                  "the head is of a log that was closed before record %llu",
		                  result->before.sequence + 1);
		problem_hint(problem,
		             "name the closed logs, too: tokenctl audit verify --head HEAD OLD... %s", path);
		return ERR_USAGE;
	}
	if (!result->bad_line)
		return OK;
	(void)problem_set(
	        problem, ERR_BAD_CIPHERTEXT,
	        "the audit log is damaged at record %llu (line %llu of %s): %s; %llu line%s after it",
	        result->bad_sequence, line_in(logs, result->bad_line), path, result->reason, result->after,
	        PLURAL(result->after));
	problem_hint(problem, "keep a copy of the file; tokenctl audit show --file %s shows what is there",
	             path);
	return ERR_BAD_CIPHERTEXT;
}

static enum err refuse_head(struct problem *problem)
{
	(void)problem_set(problem, ERR_USAGE, "a head is the number of a record, a colon, and its hash");
	problem_hint(problem, "tokenctl audit verify   prints the head of today, to be kept elsewhere");
	return ERR_USAGE;
}

static enum err read_log(struct invocation *invocation, const struct where *where, const char *path,
                         const struct audit_known *known, struct verification *result)
{
	CLEANUP(fclosep) FILE *file = NULL;
	const bool is_daemons = path == where->audit_file;
	enum err err =
	        open_log(where, is_daemons ? NULL : path, invocation->verb, &invocation->problem, &file);

	return err ? err : audit_log_read(file, path, known, &invocation->problem, result);
}

static enum err read_logs(struct invocation *invocation, const struct where *where, struct logs *logs,
                          const struct audit_known *known, struct verification *result)
{
	enum err err = OK;

	logs->ends = calloc(logs->count, sizeof(*logs->ends));
	if (!logs->ends)
		return ERR_NOMEM;
	for (size_t i = 0; !err && i < logs->count; i++) {
		err = read_log(invocation, where, logs->paths[i], known, result);
		logs->ends[i] = result->lines;
	}
	if (!err)
		audit_log_end(result, known);
	return err;
}

/* By what the two are, not by what they are called: one is named from where one stands, or through a link. Of what is not there only the names can tell. */
static bool is_same_file(const char *one, const char *other)
{
	struct stat first, second;

	if (stat(one, &first) < 0 || stat(other, &second) < 0)
		return strcmp(one, other) == 0;
	return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

/* What the daemon knows of its own log is worth something only where that is read, and last. Asked before it is. */
static void ask_known(struct invocation *invocation, const struct logs *logs, struct where *where,
                      struct audit_known *known)
{
	where_find(&invocation->daemon, where);
	if (logs->count && !is_same_file(logs->paths[logs->count - 1], where->audit_file))
		return;
	known->records = (long long)json_integer_member(where->status, "auditRecords", 0);
	where_audit_memo(where, &known->memo);
}

static enum err verify_logs(struct invocation *invocation, struct audit_known *known, const char *named)
{
	const struct options *options = &invocation->options;
	const char *one[1] = { named };
	struct logs logs = { options->arguments, options->argument_count, NULL };
	struct verification result = { 0 };
	struct where where = { 0 };
	enum err err;

	if (named)
		logs = (struct logs){ one, 1, NULL };
	ask_known(invocation, &logs, &where, known);
	if (logs.count == 0) {
		one[0] = where.audit_file;
		logs = (struct logs){ one, 1, NULL };
	}
	err = read_logs(invocation, &where, &logs, known, &result);
	if (!err)
		err = report_verification(&result, &logs, options_given(options, "json"),
		                          &invocation->problem);
	where_done(&where);
	free(logs.ends);
	return err;
}

static enum err run_verify(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	struct problem *problem = &invocation->problem;
	const char *named = options_value(options, "file");
	const char *head = options_value(options, "head");
	struct audit_known known = { 0 };

	if (head && audit_head_parse(head, &known.head))
		return refuse_head(problem);
	if (named && options->argument_count) {
		(void)problem_set(problem, ERR_USAGE,
		                  "logs are named with --file or by themselves, not both");
		problem_hint(problem, "tokenctl audit verify OLD... NEW");
		return ERR_USAGE;
	}
	return verify_logs(invocation, &known, named);
}

/* ---- show ---- */

struct shown {
	char **lines; /* a ring of the last ones; owned strings */
	size_t room, next, count;
	bool begins_well; /* the file's first line is a record */
};

/* NULL when it is none. */
static json_t *record_read(const char *text)
{
	json_t *record = NULL;

	return json_read(bytes_of_string(text), &record) == OK ? record : NULL;
}

static bool is_record(const char *text)
{
	CLEANUP(json_decrefp) json_t *record = record_read(text);

	return json_integer_member(record, "sequence", 0) > 0;
}

static enum err shown_keep(struct shown *shown, const struct audit_line *line)
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

/* A damaged log is shown as it is; what has no record at its beginning nor at its end is something else. */
static bool is_log(const struct shown *shown)
{
	bool found = shown->begins_well || shown->count == 0;

	for (size_t i = 0; !found && i < shown->count; i++)
		found = is_record(shown_at(shown, i));
	return found;
}

static enum err read_last(FILE *file, const char *path, size_t room, struct problem *problem,
                          struct shown *shown)
{
	struct audit_line line;
	bool first = true;
	enum err err = OK;

	shown->room = room;
	shown->lines = calloc(room, sizeof(*shown->lines));
	if (!shown->lines)
		return ERR_NOMEM;
	for (; !err && audit_log_read_line(file, &line); first = false) {
		if (first)
			shown->begins_well = is_record(line.text);
		err = shown_keep(shown, &line);
	}
	if (!err && ferror(file))
		err = problem_errno(problem, errno, "cannot read", path);
	if (!err && !is_log(shown))
		err = problem_set(problem, ERR_BAD_FILE, "%s is not an audit log of tokend", path);
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

/* What a record is about: its key by name, by id when the name was not known, or what there is to say instead. */
static const char *subject_text(const json_t *record, char *space, size_t len)
{
	const json_t *count = json_object_get(record, "count");
	const char *text = member_text(record, "name", space, len);

	if (!*text)
		text = member_text(record, "key", space, len);
	if (*text)
		return text;
	if (json_is_true(json_object_get(record, "invalid")))
		(void)snprintf(space, len, "(not a name)");
	else if (json_is_integer(count))
		(void)snprintf(space, len, "(%lld more, not recorded singly)",
		               (long long)json_integer_value(count));
	return space;
}

static enum err put_record(struct table *table, const char *line)
{
	CLEANUP(json_decrefp) json_t *record = record_read(line);
	char space[512];
	enum err err = OK;

	for (size_t i = 0; !err && i < SHOWN_COLUMNS; i++) {
		const char *text = i == SHOWN_KEY
		                           ? subject_text(record, space, sizeof(space))
		                           : member_text(record, shown_members[i], space, sizeof(space));

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
		json_t *record = record_read(shown_at(shown, i));

		if (record && json_array_append_new(list, record) < 0)
			return ERR_NOMEM;
	}
	return json_print(TAKE(list));
}

static enum err show_file(struct invocation *invocation, FILE *file, const char *path, size_t last)
{
	struct shown shown = { 0 };
	enum err err = read_last(file, path, last, &invocation->problem, &shown);

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
	CLEANUP(fclosep) FILE *file = NULL;
	struct where where = { 0 };
	enum err err;

	if (last_text && (options_number(last_text, SHOWN_MAX, &last) || last == 0))
		return problem_set(&invocation->problem, ERR_USAGE,
		                   "%s is not a number of records from 1 to %lu", last_text, SHOWN_MAX);
	if (!named)
		where_find(&invocation->daemon, &where);
	err = open_log(&where, named, invocation->verb, &invocation->problem, &file);
	if (!err)
		err = show_file(invocation, file, named ? named : where.audit_file, last);
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
	{ 0, "head", "HEAD", "the log goes on from this head, which an earlier verify printed", false },
	{ 0, "file", "FILE", "read this log", false },
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb audit_verify_verb = {
	.name = "audit verify",
	.arguments = "[FILE]...",
	.arguments_max = SIZE_MAX,
	.summary = "Checks that no record of the audit log was changed, removed, inserted or moved",
	.details =
	        "Each record carries the hash of the one before it. Names the first record that is not as "
	        "it\n"
	        "was written, and exits with 7. Records cut off at the end, and a log that was put back from "
	        "a\n"
	        "copy, are noticed until the machine is started again.\n"
	        "\n"
	        "The chain has no key: who may write the file can cut off its end, change the newest "
	        "record,\n"
	        "whose hash stands in none yet, or write all of it anew. The head that is printed (the "
	        "number\n"
	        "and the hash of the last record), kept elsewhere and given with --head, shows all three.\n"
	        "\n"
	        "Logs that were closed by audit rotate are named in their order, and the one that is "
	        "written\n"
	        "last: then the chain is checked from one to the next.\n"
	        "\n"
	        "A clock that was set back by a minute or more is remarked on.",
	.example = "  tokenctl audit verify\n"
	           "  tokenctl audit verify --head \"$(cat /mnt/elsewhere/head)\"",
	.options = verify_rows,
	.run = run_verify,
};
