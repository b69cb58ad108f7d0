/*
 * Text
 *
 * What the policy, the configuration and the keys' metadata have in common: lines of words that people write. Words are separated by blanks and tabs; a word
 * that begins with '#' begins a comment, which reaches to the end of its line and may hold anything. Outside of comments only printable ASCII is text: what
 * cannot be seen cannot be meant. Nothing here knows what a word means.
 */
#pragma once

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"

/* Where a parser stands, for its complaints. */
struct text_place {
	const char *file; /* borrowed */
	unsigned line; /* 1-based; 0: the file as a whole */
	struct buf *problem; /* borrowed; NULL: nobody wants to know */
};

/* Takes the next line off rest, without its newline. False at the end; a last line without a newline is a line. */
bool text_next_line(struct bytes *rest, struct bytes *ret_line);

/* Takes the next word off the rest of a line. False at the end of the line or at a comment. */
bool text_next_word(struct bytes *rest, struct bytes *ret_word);

/* Takes the next string off rest, with the NUL that ends it. NULL: nothing is left, or nothing that a NUL ends. */
const char *text_next_string(struct bytes *rest);

bool text_equals(struct bytes word, const char *literal);
bool text_ends_with(struct bytes word, const char *ending);

/* Copies word and a NUL to out; false when it does not fit or is empty. */
bool text_copy(struct bytes word, char *out, size_t out_len);

/* A decimal number of digits alone, at most max. */
bool text_number(struct bytes word, unsigned long max, unsigned long *ret_number);

/* "file:line: sentence" into the problem, as a line after those that are there: what does not fit is lost. Always ERR_BAD_CONFIG (or ERR_NOMEM), to be returned. */
MUST_CHECK enum err text_problem(const struct text_place *place, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* Is every byte before the comment printable ASCII, a blank or a tab? ERR_BAD_CONFIG with the complaint; the line end of other systems has one of its own. */
MUST_CHECK enum err text_check_plain(const struct text_place *place, struct bytes line);

/* The first line of a problem, and how many more there are. */
void text_first_problem(const struct buf *problem, char *out, size_t out_len);

/* A word in a complaint, cut where it gets long: text_problem(place, "'%.*s' is ...", TEXT_SHOW(word)). */
#define TEXT_SHOWN_MAX 80U
#define TEXT_SHOW(word) \
	(int)((word).len < TEXT_SHOWN_MAX ? (word).len : TEXT_SHOWN_MAX), (const char *)(word).data
