/*
 * Bytes
 *
 * A borrowed run of bytes and a reader that walks it. The reader checks every length, so that its callers need not: once it has run past the
 * end it stays failed, and a parse chain is checked once, at its end. Nothing here owns memory; nothing here is for secrets, which live in
 * struct secret and do not convert.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bytes {
	const uint8_t *data; /* borrowed; may be NULL when len is 0 */
	size_t len;
};

static inline struct bytes bytes_of(const void *data, size_t len)
{
	return (struct bytes){ data, len };
}

static inline struct bytes bytes_of_string(const char *string)
{
	return (struct bytes){ (const uint8_t *)string, strlen(string) };
}

/* Not in constant time: for what is public. */
static inline bool bytes_equal(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

struct reader {
	struct bytes rest;
	bool failed;
};

static inline struct reader reader_of(struct bytes bytes)
{
	return (struct reader){ bytes, false };
}

/* The next len bytes, borrowed; on a short input {NULL, 0}, and the reader has failed for good. */
static inline struct bytes reader_take(struct reader *reader, size_t len)
{
	struct bytes taken = { NULL, 0 };

	if (reader->failed || len > reader->rest.len) {
		reader->failed = true;
		return taken;
	}
	taken = bytes_of(reader->rest.data, len);
	reader->rest.data = len ? reader->rest.data + len : reader->rest.data;
	reader->rest.len -= len;
	return taken;
}

static inline uint8_t reader_u8(struct reader *reader)
{
	struct bytes b = reader_take(reader, 1);

	return b.data ? b.data[0] : 0;
}

/* Big-endian, as everywhere in tokend and in the TPM. */
static inline uint16_t reader_u16(struct reader *reader)
{
	struct bytes b = reader_take(reader, 2);
	unsigned value = b.data ? (unsigned)b.data[0] * 256U + b.data[1] : 0U;

	return (uint16_t)(value & 0xffffU);
}

static inline uint32_t reader_u32(struct reader *reader)
{
	struct bytes b = reader_take(reader, 4);

	return b.data ? (uint32_t)b.data[0] << 24 | (uint32_t)b.data[1] << 16 | (uint32_t)b.data[2] << 8 |
	                        b.data[3]
	              : 0;
}

/* Copies exactly len bytes to out, or fails the reader and leaves out zeroed. */
static inline void reader_copy(struct reader *reader, uint8_t *out, size_t len)
{
	struct bytes b = reader_take(reader, len);

	if (b.data)
		memcpy(out, b.data, len);
	else
		memset(out, 0, len);
}

/* True when everything was read and nothing is left. */
static inline bool reader_done(const struct reader *reader)
{
	return !reader->failed && reader->rest.len == 0;
}
