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

/* What C's isspace says in the "C" locale. */
static inline bool is_white_space(uint8_t character)
{
	return character == ' ' || (character >= '\t' && character <= '\r');
}
