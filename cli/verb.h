/*
 * Verb
 *
 * What tokenctl can do: one struct verb per verb, in a file of its own, and one row in verbs.c. A verb gets its options parsed and returns an error; it prints its results
 * to stdout and leaves what went wrong in the invocation's problem. It never exits and never reports an error itself.
 */
#pragma once

#include "cli/daemon.h"
#include "cli/options.h"
#include "cli/problem.h"
#include "common/err.h"

struct verb;

struct invocation {
	const struct verb *verb; /* borrowed */
	struct options options;
	struct daemon daemon;
	struct problem problem;
	int exit_code; /* of a program that could not be run; 0: that of the error */
};

struct verb {
	const char *name; /* one word, or two: "audit show" */
	const char *arguments; /* as in the usage line: "[FILE]" */
	size_t arguments_min, arguments_max;
	const char *summary; /* one line */
	const char *details; /* a paragraph or more */
	const char *example;
	const struct option_row *options;
	enum err (*run)(struct invocation *invocation);
};

extern const struct verb *const verbs[]; /* verbs.c; NULL ends it */

/* The sentence for a program that exec did not begin, with error_number, and the exit codes of shells: 127 when it is not there, 126 otherwise. */
enum err verb_explain_exec(struct invocation *invocation, const char *program, int error_number);

/* The verb that words begin with; ret_used: how many words its name took. NULL when there is none. */
const struct verb *verb_find(size_t count, char *const *words, size_t *ret_used);

/* The name of the verb that was probably meant by one word or two; NULL when nothing is near. Static. */
const char *verb_nearest(const char *word);

/* True when word alone is only the first word of verbs such as "audit show". */
bool verb_is_prefix(const char *word);

void verb_print_usage(const struct verb *verb, FILE *file); /* one line */
void verb_print_help(const struct verb *verb, FILE *file);
void verbs_print_help(const char *prefix, FILE *file); /* all, or those that begin with prefix */
