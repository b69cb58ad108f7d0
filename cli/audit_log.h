/*
 * Audit log
 *
 * The file of audit records, read line by line and checked as a chain: for the verbs audit and doctor. What a record is, formats/audit_record knows; where the file is, cli/where.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "cli/problem.h"
#include "common/err.h"
#include "formats/audit_head.h"
#include "formats/audit_record.h"

struct audit_line {
	char text[AUDIT_LINE_MAX + 1]; /* with a NUL, without the newline */
	size_t len;
	bool whole; /* not too long, and ended by a newline */
};

/* ERR_NO_FILE, ERR_FILE_ACCESS, ERR_SYSTEM. */
MUST_CHECK enum err audit_log_open(const char *path, struct problem *problem, FILE **ret_file);

/* False at the end of the file. What is longer than any record is read over. */
bool audit_log_read_line(FILE *file, struct audit_line *line);

/* What is known of the log from elsewhere. */
struct audit_known {
	long long
	        records; /* how many the daemon said that it wrote, asked for before the file is read; 0: not known */
	struct audit_chain
	        head; /* a record that was the last once, and its hash; sequence 0: none was kept */
	struct audit_chain
	        memo; /* the same, as tokend left it in its runtime directory while the machine runs */
};

struct verification {
	struct audit_chain chain;
	struct audit_chain
	        before; /* the end of the log that the first one read goes on from; sequence 0: it is the first */
	unsigned long long lines; /* read */
	unsigned long long bad_line; /* the first bad one; 0: none */
	unsigned long long bad_sequence; /* its number, as far as it can be read */
	unsigned long long after; /* lines that follow it */
	unsigned long long replaced; /* the last record that says that another log was here before; 0: none */
	bool head_seen, memo_seen; /* the record that was kept is there */
	bool head_earlier; /* it belongs into a log that was closed before the first one read: nothing was compared */
	unsigned long long
	        set_back; /* the last record that is a minute or more older than the one before it, by the clock; 0: none */
	long long set_back_seconds; /* how much */
	long long time; /* of the last record that has one, in seconds since 1970 */
	char reason[256];
};

/* Checks the whole file, which goes on where the last one ended, if one was read into result before (zeros: none was). A damaged log is a result, no error. Then audit_log_end says what is missing behind the last. */
MUST_CHECK enum err audit_log_read(FILE *file, const char *path, const struct audit_known *known,
                                   struct problem *problem, struct verification *result);
void audit_log_end(struct verification *result, const struct audit_known *known);

/* Both, of one file. */
MUST_CHECK enum err audit_log_verify(FILE *file, const char *path, const struct audit_known *known,
                                     struct problem *problem, struct verification *ret_result);
