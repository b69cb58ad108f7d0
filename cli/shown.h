/*
 * Shown
 *
 * Text for people with names in it that somebody else may have chosen: of files, of recipients, of what a daemon says. A terminal is to show it, and not to obey it.
 */
#pragma once

#include <stdbool.h>
#include <stdio.h>

#include "common/bytes.h"

#define SHOWN_QUOTED_MAX 1200U

/* Is there nothing in it that a terminal would obey? */
bool shown_is_clean(const char *text);

/* Puts '?' in the place of each byte of a character that a terminal would obey, and of each that is no UTF-8. */
void shown_clean(char *text);

/* Prints text so. */
void shown_print(FILE *file, const char *text);

/* Prints a line so; the format has no line end. */
void shown_line(FILE *file, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Names in a row, for a message: "user, pass and 3 others". One that is very long is cut, and so is what does not fit. */
struct shown_list {
	char *text; /* borrowed: where they go */
	size_t size;
	size_t limit; /* how many are named */
	size_t count; /* so far */
};
void shown_list_add(struct shown_list *list, struct bytes name);

/* After the last one. "" when there was none. */
void shown_list_end(struct shown_list *list);

/* The word as a shell takes it, for commands that are to be typed: in quotes where it needs some, and behind "./" where it would be taken for an option. What is too long is cut. */
void shown_quote(const char *word, char out[static SHOWN_QUOTED_MAX]);

/* The same of a file's name where git takes a pattern ("pathspec"): what git would read in another way stands behind ":(literal)". */
void shown_quote_pathspec(const char *path, char out[static SHOWN_QUOTED_MAX]);

/* The same where a line of .gitattributes is made of it: the pattern that is this name, and no other (but for white space and quotes, in whose place it takes any character). */
void shown_quote_attribute(const char *name, char out[static SHOWN_QUOTED_MAX]);
