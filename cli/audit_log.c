#include "cli/audit_log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "formats/sha256.h"

#define TIME_TEXT_LEN 19U
#define SET_BACK_MIN 60 /* seconds; less is what a clock that is kept right does */

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

#define CHANGED "it was changed"

/* A chain that breaks at a record tells of the one before it: that is the one that was changed. */
static void found_break(struct verification *result, unsigned long long before)
{
	unsigned long long line = result->lines;

	if (result->chain.sequence == before + 1)
		found_bad(result, line > 1 ? line - 1 : line, line > 1 ? before : before + 1, CHANGED);
	else if (line == 1)
		found_bad(result, line, result->chain.sequence, "what came before this record was removed");
	else
		found_bad(result, line, result->chain.sequence,
		          "records were removed, inserted or moved before it");
}

/* But when the chain breaks again at the very next one, it was the record between them: its own link was changed, and so its hash. */
static void found_break_again(struct verification *result, unsigned long long before)
{
	if (result->bad_line + 2 == result->lines && result->bad_sequence + 1 == before &&
	    strcmp(result->reason, CHANGED) == 0)
		found_bad(result, result->lines - 1, before, CHANGED);
}

/* Is this the record that was kept? Sets ret_seen. */
static void compare_kept(struct verification *result, const struct audit_chain *kept, const char *otherwise,
                         bool *ret_seen)
{
	if (kept->sequence == 0 || kept->sequence != result->chain.sequence)
		return;
	if (memcmp(kept->last_hash, result->chain.last_hash, AUDIT_HASH_LEN) == 0)
		*ret_seen = true;
	else if (!result->bad_line)
		found_bad(result, result->lines ? result->lines : 1, kept->sequence, otherwise);
}

static void compare_known(struct verification *result, const struct audit_known *known)
{
	compare_kept(result, &known->head,
	             "it is not the record whose hash was kept: the log was written anew, up to it",
	             &result->head_seen);
	compare_kept(result, &known->memo,
	             "it is not the record that tokend wrote since the machine was started: the log was put "
	             "back from a copy, or written anew, up to it",
	             &result->memo_seen);
}

/* "2026-11-28T12:38:26.931Z", to the second; 0: it is none. */
static long long record_time(struct bytes line)
{
	struct audit_cursor cursor = audit_cursor_of(line);
	struct audit_member member;
	struct tm moment = { 0 };
	char text[TIME_TEXT_LEN + 1];

	if (!audit_next_member(&cursor, &member) || !bytes_equal(member.name, bytes_of_string("time")) ||
	    member.value.len < 1 + TIME_TEXT_LEN)
		return 0;
	memcpy(text, member.value.data + 1, TIME_TEXT_LEN);
	text[TIME_TEXT_LEN] = '\0';
	return strptime(text, "%Y-%m-%dT%H:%M:%S", &moment) ? (long long)timegm(&moment) : 0;
}

/* The chain tells the order whatever the clock says; but who looks for what happened on a day has to know that a day was there twice. */
static void compare_time(struct verification *result, struct bytes line)
{
	long long now = record_time(line);

	if (now == 0)
		return;
	if (result->time - now >= SET_BACK_MIN) {
		result->set_back = result->chain.sequence;
		result->set_back_seconds = result->time - now;
	}
	result->time = now;
}

/* A log that goes on from another begins its chain where that one ended; of that, no more is known than this end. */
static void begin(struct verification *result, const struct audit_line *line, const struct audit_known *known)
{
	if (!audit_record_goes_on(bytes_of(line->text, line->len), &result->before))
		return;
	result->chain = result->before;
	compare_known(result, known);
}

static void verify_line(struct verification *result, const struct audit_line *line)
{
	unsigned long long before = result->chain.sequence;
	enum audit_fault fault = audit_chain_next(&result->chain, bytes_of(line->text, line->len));

	result->lines++;
	if (audit_record_notes(bytes_of(line->text, line->len), "replaced"))
		result->replaced = result->chain.sequence;
	compare_time(result, bytes_of(line->text, line->len));
	if (result->bad_line) {
		if (fault == AUDIT_FAULT_CHAIN)
			found_break_again(result, before);
		return;
	}
	if (!line->whole)
		found_bad(result, result->lines, before + 1, "it was only half written, or has no end");
	else if (fault == AUDIT_FAULT_CHAIN)
		found_break(result, before);
	else if (fault != AUDIT_WHOLE)
		found_bad(result, result->lines, before + 1, audit_fault_text(fault));
}

/* Lines cut off at the end leave a whole chain; only what is known from elsewhere tells. */
void audit_log_end(struct verification *result, const struct audit_known *known)
{
	const unsigned long long next = result->chain.sequence + 1;

	if (result->bad_line) {
		result->after = result->lines - result->bad_line;
		return;
	}
	result->head_earlier = known->head.sequence > 0 && known->head.sequence < result->before.sequence;
	if (known->records > 0 && next <= (unsigned long long)known->records)
		found_bad(result, result->lines + 1, next,
		          "it and what follows were removed from the end: tokend wrote more records");
	else if (known->head.sequence > 0 && !result->head_seen && !result->head_earlier)
		found_bad(result, result->lines + 1, next,
		          "it and what follows were removed from the end: the record whose hash was kept is "
		          "missing");
	else if (known->memo.sequence > result->before.sequence && !result->memo_seen)
		found_bad(result, result->lines + 1, next,
		          "it and what follows were removed from the end, or the log was put back from a "
		          "copy: tokend wrote more records since the machine was started");
}

enum err audit_log_read(FILE *file, const char *path, const struct audit_known *known,
                        struct problem *problem, struct verification *result)
{
	struct audit_line line;

	(void)sha256_prepare(); /* a log may be long */
	while (audit_log_read_line(file, &line)) {
		if (result->lines == 0)
			begin(result, &line, known);
		verify_line(result, &line);
		compare_known(result, known);
	}
	return ferror(file) ? problem_errno(problem, errno, "cannot read", path) : OK;
}

enum err audit_log_verify(FILE *file, const char *path, const struct audit_known *known,
                          struct problem *problem, struct verification *ret_result)
{
	struct verification result = { 0 };
	enum err err = audit_log_read(file, path, known, problem, &result);

	if (err)
		return err;
	audit_log_end(&result, known);
	*ret_result = result;
	return OK;
}
