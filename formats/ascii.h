/* Text that is ASCII and nothing else. Asked before base64 is decoded: libsodium 1.0.18 takes every byte from 0x80 on for a digit. */
#pragma once

#include "common/bytes.h"

static inline bool bytes_are_ascii(struct bytes bytes)
{
	uint8_t all = 0;

	for (size_t i = 0; i < bytes.len; i++)
		all |= bytes.data[i];
	return all < 0x80;
}
