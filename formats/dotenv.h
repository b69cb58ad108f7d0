/*
 * dotenv
 *
 * Values of dotenv files as shells and the common libraries read them, which sops does not: quotes, escapes, comments behind a value, "export" before a name, values of several lines. sops
 * takes what stands behind the first = as it is. No variable is ever put in for $NAME.
 */
#pragma once

#include <stdbool.h>

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"

/* A name without "export " before it and space around it; a part of name. */
struct bytes dotenv_name(struct bytes name);

/* May c stand in a name, or at its beginning? Letters, digits and _ as in a shell, and what libraries take besides: . and -. */
bool dotenv_is_name_letter(uint8_t c, bool first);

/* Appends what the text behind = means: 'as it is', "with \n \r \t \" \\ \$ and \`", or bare up to a # behind white space, without white space around it. Quotes that do not end, or behind
 * whose end something else than a comment stands, are part of a bare value. ERR_BUSY when out is full, ERR_NOMEM. */
MUST_CHECK enum err dotenv_value(struct bytes text, struct buf *out);

/* Appends a value so that dotenv_value, and a shell, read it again: bare where nothing needs quotes. */
MUST_CHECK enum err dotenv_write(struct bytes value, struct buf *out);

struct dotenv_entry {
	struct bytes name; /* borrowed from the text; no data: a comment or an empty line */
	struct bytes value; /* borrowed, not read yet (dotenv_value); a comment: what stands behind the # */
};

/* Takes the first entry off text: a line, or as many as its quotes go over. ERR_BAD_FILE when there is no = in it. */
MUST_CHECK enum err dotenv_next(struct bytes *text, struct dotenv_entry *ret_entry);
