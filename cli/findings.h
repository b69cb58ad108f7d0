/*
 * Findings
 *
 * What verify and guard found in files: where, what, and the next command to type. Kept until all files were looked at, and printed as lines that editors and CI understand, or as JSON.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

#define FINDINGS_PER_FILE_MAX 20U /* more are counted, and not shown */

struct finding {
	char *place; /* owned: the file's name, with its commit before it where there is one */
	size_t line; /* from 1; 0: the file as a whole */
	const char *kind; /* stable, for programs; static */
	char *text; /* owned */
	char *next; /* owned: what to type */
	bool note; /* said, but no reason to refuse */
};

struct findings {
	struct finding *items; /* owned */
	size_t count, capacity;
	size_t refused; /* how many are no notes, those that were only counted included */
	size_t in_file; /* of the file that is looked at */
};

/* Begins a file: FINDINGS_PER_FILE_MAX counts anew. */
void findings_begin_file(struct findings *findings);

/* Copies what it is given, but for kind. text is a sentence without a full stop. ERR_NOMEM. */
MUST_CHECK enum err findings_add(struct findings *findings, const char *place, size_t line, const char *kind,
                                 bool note, const char *text, const char *next);
void findings_done(struct findings *findings);

/* On standard output; json: one array. */
MUST_CHECK enum err findings_print(const struct findings *findings, bool json);
