/*
 * Problem
 *
 * What went wrong, in one sentence, and the next command to type. The function that knows most writes it and returns the error; main prints it once. A problem without a
 * sentence is printed with the text of its error, so no failure is silent. Names and numbers only: no secret has a type that could get in here.
 */
#pragma once

#include "common/err.h"

#define PROBLEM_TEXT_MAX 1024U

/* "3 record" PLURAL(3) */
#define PLURAL(count) ((count) == 1 ? "" : "s")

struct problem {
	char message[PROBLEM_TEXT_MAX]; /* one sentence without a full stop; "": the text of the error */
	char hint[PROBLEM_TEXT_MAX]; /* what to do next; "": nothing known */
};

/* Sets the sentence (dropping a hint from before) and returns err, so that one can write return problem_set(...). */
enum err problem_set(struct problem *problem, enum err err, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Sets the sentence from errno's text, e.g. "cannot open FILE: Permission denied", with what there is to look at next where errno tells, and returns the error that errno stands for. */
enum err problem_errno(struct problem *problem, int error_number, const char *what, const char *name);

/* Sets what to do next. */
void problem_hint(struct problem *problem, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The sentence: the problem's own or the error's. Borrowed from either. */
const char *problem_text(const struct problem *problem, enum err err);

/* Prints "program: sentence" and "hint: ..." to stderr; control characters come out as '?', for names of files and words of a daemon are in it. */
void problem_print(const struct problem *problem, enum err err, const char *program);
