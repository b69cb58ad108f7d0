/*
 * Options
 *
 * The options of a verb as a table, from which come the parsing, the help text and the words for completion. Options and arguments may be mixed; "--" ends the options;
 * "-" is an argument; --name value, --name=value, -o value, -ovalue and -ap are understood.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cli/problem.h"
#include "common/err.h"

struct option_row {
	char letter; /* 0: none */
	const char *name; /* long form, without dashes; NULL ends a table */
	const char
	        *argument; /* for people and completion: "FILE", "KEY", "boot|session|admin"; NULL: a flag */
	const char *help;
	bool repeats;
};

#define OPTIONS_END                        \
	{                                  \
		0, NULL, NULL, NULL, false \
	}

struct option_use {
	const struct option_row *row; /* borrowed */
	const char *value; /* borrowed from argv; NULL: a flag */
};

struct options {
	struct option_use *uses; /* owned */
	size_t use_count;
	const char **arguments; /* owned array of borrowed strings */
	size_t argument_count;
};

/* Parses what follows the verb. ERR_USAGE, with the nearest option in the hint when one was misspelt; ERR_NOMEM. */
MUST_CHECK enum err options_parse(const struct option_row *rows, size_t count, char *const *words,
                                  struct problem *problem, struct options *ret_options);
void options_done(struct options *options);

bool options_given(const struct options *options, const char *name);
const char *options_value(const struct options *options, const char *name); /* NULL when not given */

/* Walks the values of an option that repeats, beginning with *cursor 0; NULL at the end. */
const char *options_next(const struct options *options, const char *name, size_t *cursor);

/* One line per option, aligned, and one for --help. */
void options_print_help(const struct option_row *rows, FILE *file);

/* One line per option for a completion script: "--output FILE". */
void options_print_words(const struct option_row *rows, FILE *file);

/* A decimal number from 0 to maximum. ERR_USAGE. */
MUST_CHECK enum err options_number(const char *text, unsigned long maximum, unsigned long *ret_number);

/* "90", "30s", "15m", "2h" in seconds, at most a year. ERR_USAGE. */
MUST_CHECK enum err options_duration(const char *text, unsigned *ret_seconds);

/* How many letters must be added, dropped, changed or swapped to make one word of the other. */
size_t words_distance(const char *a, const char *b);
