/* Small questions about text that was not parsed yet. */
#pragma once

#include "common/bytes.h"

/* Asked before base64 is decoded: libsodium 1.0.18 takes every byte from 0x80 on for a digit. */
static inline bool bytes_are_ascii(struct bytes bytes)
{
	uint8_t all = 0;

	for (size_t i = 0; i < bytes.len; i++)
		all |= bytes.data[i];
	return all < 0x80;
}

static inline bool bytes_begin_with(struct bytes bytes, const char *prefix)
{
	size_t len = strlen(prefix);

	return bytes.len >= len && memcmp(bytes.data, prefix, len) == 0;
}

/* The next line without its end, which is taken, too; CRLF counts as one. False when nothing is left. */
static inline bool bytes_next_line(struct bytes *rest, struct bytes *ret_line)
{
	const uint8_t *end = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;
	size_t len = end ? (size_t)(end - rest->data) : rest->len;

	*ret_line = bytes_of(rest->data, len);
	if (rest->len == 0)
		return false;
	len += end != NULL;
	*rest = bytes_of(rest->data + len, rest->len - len);
	if (ret_line->len && ret_line->data[ret_line->len - 1] == '\r')
		ret_line->len--;
	return true;
}

/* What C's isspace says in the "C" locale. */
static inline bool is_white_space(uint8_t character)
{
	return character == ' ' || (character >= '\t' && character <= '\r');
}
