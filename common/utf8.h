/*
 * UTF-8
 *
 * One character of a text that anybody may have written, and whether a terminal would show it. It knows nothing of what is done with one that it would not.
 */
#pragma once

#include <stdbool.h>

#include "common/bytes.h"

/* The length in bytes of the character that text (not empty) begins with (RFC 3629: shortest form, no surrogates, at most U+10FFFF), and the character; 0 when it is none. */
size_t utf8_take(struct bytes text, uint32_t *ret_point);

/* Does a terminal obey it instead of showing it? C0, DEL, C1, and Unicode's invisible and direction-changing characters. All are below U+10000. */
bool utf8_is_unprintable(uint32_t point);
