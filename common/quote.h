/*
 * Quote
 *
 * A word as a shell takes it, for commands that a message says to type.
 */
#pragma once

#include <stddef.h>

/* In quotes where it needs some, and behind "./" where it would be taken for an option. What is longer than len (16 at least) allows is cut, with the quotes closed. */
void quote_word(const char *word, char *out, size_t len);
