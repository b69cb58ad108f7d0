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

struct verification {
	struct audit_chain chain;
	unsigned long long lines; /* read */
	unsigned long long bad_line; /* the first bad one; 0: none */
	unsigned long long bad_sequence; /* its number, as far as it can be read */
	unsigned long long after; /* lines that follow it */
	char reason[256];
};

/* Checks the whole file. expected: how many records the daemon said that it wrote, asked for before the file is read; 0: not known. A damaged log is a result, no error. */
MUST_CHECK enum err audit_log_verify(FILE *file, const char *path, long long expected,
                                     struct problem *problem, struct verification *ret_result);
