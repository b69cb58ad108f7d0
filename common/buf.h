/*
 * Buf
 *
 * A growing buffer of bytes with a ceiling that is set when it is made and never moves. It wipes what it held whenever it grows, is drained or
 * is freed, so nobody has to remember: wire messages carry secrets in transit. A buffer is for bytes on their way; what is kept is a struct
 * secret.
 */
#pragma once

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/err.h"

struct buf;

/* A buffer that will hold at most limit bytes; allocates little until used. Freed by the caller. ERR_NOMEM. */
MUST_CHECK enum err buf_new(size_t limit, struct buf **ret_buf);

/* The same, in locked guarded memory (see secret.h), all limit bytes at once: for messages that carry file keys or PINs. */
MUST_CHECK enum err buf_new_locked(size_t limit, struct buf **ret_buf);

/* Wipes and frees; NULL is fine. Returns NULL. */
struct buf *buf_free(struct buf *buf);
DEFINE_CLEANUP(struct buf *, buf_free);

size_t buf_len(const struct buf *buf);
size_t buf_room(const struct buf *buf); /* how many bytes still fit under the limit */

/* What it holds, borrowed until the next call that changes the buffer. */
struct bytes buf_bytes(const struct buf *buf);

/* What it holds as a string: a NUL stands after the last byte (and is not counted). Borrowed as above. */
const char *buf_string(const struct buf *buf);

/* Appends. ERR_BUSY when it would pass the limit (nothing is appended then), ERR_NOMEM. */
MUST_CHECK enum err buf_put(struct buf *buf, struct bytes bytes);
MUST_CHECK enum err buf_put_string(struct buf *buf, const char *string);
MUST_CHECK enum err buf_put_u8(struct buf *buf, uint8_t value);
MUST_CHECK enum err buf_put_u16(struct buf *buf, uint16_t value); /* big-endian */
MUST_CHECK enum err buf_put_u32(struct buf *buf, uint32_t value); /* big-endian */

/* printf into the buffer; never for secrets (a struct secret does not convert to any of its arguments). */
MUST_CHECK enum err buf_printf(struct buf *buf, const char *format, ...)
        __attribute__((format(printf, 2, 3)));

/* Room for len more bytes to be written in place, then buf_commit(n <= len). Errors as buf_put. */
MUST_CHECK enum err buf_reserve(struct buf *buf, size_t len, uint8_t **ret_space);
void buf_commit(struct buf *buf, size_t len);

/* Drops the first len bytes (all if there are fewer) and wipes where they stood. */
void buf_consume(struct buf *buf, size_t len);
void buf_clear(struct buf *buf);

/* Reads from fd once, at most len bytes or what fits. OK with *ret_len 0 at end of file; ERR_AGAIN when a non-blocking fd has nothing;
 * ERR_BUSY when the buffer is full; ERR_SYSTEM. */
MUST_CHECK enum err buf_read_fd(struct buf *buf, int fd, size_t len, size_t *ret_len);

/* Writes what it holds to fd and consumes what was taken. OK when all is written, ERR_AGAIN when a non-blocking fd takes no more. */
MUST_CHECK enum err buf_write_fd(struct buf *buf, int fd);
