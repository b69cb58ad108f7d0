#include "common/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "common/secret.h"

#define BUF_FIRST_LEN 256U
#define LARGE_PAGE_LEN (2U << 20)

struct buf {
	uint8_t *data; /* one byte more than capacity, for buf_string's NUL */
	size_t start; /* what was consumed stands before it, wiped */
	size_t end;
	size_t capacity;
	size_t limit;
	struct secret *locked; /* owned; the memory of data, when it is locked */
};

enum err buf_new(size_t limit, struct buf **ret_buf)
{
	struct buf *buf = calloc(1, sizeof(*buf));

	if (!buf)
		return ERR_NOMEM;
	buf->limit = limit;
	*ret_buf = buf;
	return OK;
}

enum err buf_new_locked(size_t limit, struct buf **ret_buf)
{
	CLEANUP(buf_freep) struct buf *buf = NULL;
	enum err err = buf_new(limit, &buf);

	if (err)
		return err;
	err = secret_new(limit + 1, &buf->locked);
	if (err)
		return err;
	buf->data = secret_fill(buf->locked);
	buf->capacity = limit;
	*ret_buf = TAKE(buf);
	return OK;
}

struct buf *buf_free(struct buf *buf)
{
	if (!buf)
		return NULL;
	if (buf->locked) {
		secret_free(buf->locked);
	} else if (buf->data) {
		secret_wipe(buf->data, buf->capacity + 1);
		free(buf->data);
	}
	free(buf);
	return NULL;
}

size_t buf_len(const struct buf *buf)
{
	return buf->end - buf->start;
}

size_t buf_room(const struct buf *buf)
{
	return buf->limit - buf_len(buf);
}

struct bytes buf_bytes(const struct buf *buf)
{
	return bytes_of(buf->data ? buf->data + buf->start : NULL, buf_len(buf));
}

const char *buf_string(const struct buf *buf)
{
	if (!buf->data)
		return "";
	buf->data[buf->end] = '\0';
	return (const char *)buf->data + buf->start;
}

/* Moves what is held to the front of data (a new one or the same), and wipes every place where it stood. */
static void buf_move(struct buf *buf, uint8_t *data)
{
	size_t len = buf_len(buf);

	if (len)
		memmove(data, buf->data + buf->start, len);
	if (data == buf->data && buf->end > len)
		secret_wipe(data + len, buf->end - len);
	buf->start = 0;
	buf->end = len;
}

/* A large one comes in large pages where the system has them: each small page costs a microsecond or two when it is touched first, which is as much as what stands in it costs to read. */
static uint8_t *allocate(size_t len)
{
	size_t whole = (len + LARGE_PAGE_LEN - 1) / LARGE_PAGE_LEN * LARGE_PAGE_LEN;
	uint8_t *data = len < LARGE_PAGE_LEN ? malloc(len) : aligned_alloc(LARGE_PAGE_LEN, whole);

	if (data && len >= LARGE_PAGE_LEN)
		(void)madvise(data, whole, MADV_HUGEPAGE);
	return data;
}

static enum err buf_grow(struct buf *buf, size_t needed)
{
	size_t capacity = buf->capacity ? 2 * buf->capacity : BUF_FIRST_LEN;
	uint8_t *data;

	if (capacity < needed)
		capacity = needed;
	if (capacity > buf->limit)
		capacity = buf->limit;
	data = allocate(capacity + 1);
	if (!data)
		return ERR_NOMEM;
	if (buf->data) {
		uint8_t *old = buf->data;

		buf_move(buf, data);
		secret_wipe(old, buf->capacity + 1);
		free(old);
	}
	buf->data = data;
	buf->capacity = capacity;
	return OK;
}

enum err buf_reserve(struct buf *buf, size_t len, uint8_t **ret_space)
{
	if (len > buf_room(buf))
		return ERR_BUSY;
	if (buf->end + len > buf->capacity || !buf->data) {
		size_t needed = buf_len(buf) + len;
		enum err err = OK;

		/* Moving to the front is enough when at least half is consumed: that keeps the moves linear over all. */
		if (buf->data && needed <= buf->capacity &&
		    (buf->start >= buf->capacity / 2 || buf->capacity == buf->limit))
			buf_move(buf, buf->data);
		else
			err = buf_grow(buf, needed);
		if (err)
			return err;
	}
	*ret_space = buf->data + buf->end;
	return OK;
}

void buf_commit(struct buf *buf, size_t len)
{
	buf->end += len;
}

enum err buf_put(struct buf *buf, struct bytes bytes)
{
	uint8_t *space;
	enum err err = buf_reserve(buf, bytes.len, &space);

	if (err)
		return err;
	if (bytes.len)
		memcpy(space, bytes.data, bytes.len);
	buf_commit(buf, bytes.len);
	return OK;
}

enum err buf_put_string(struct buf *buf, const char *string)
{
	return buf_put(buf, bytes_of_string(string));
}

enum err buf_put_u8(struct buf *buf, uint8_t value)
{
	return buf_put(buf, bytes_of(&value, 1));
}

enum err buf_put_u16(struct buf *buf, uint16_t value)
{
	const uint8_t bytes[2] = { (uint8_t)(value >> 8), (uint8_t)value };

	return buf_put(buf, bytes_of(bytes, sizeof(bytes)));
}

enum err buf_put_u32(struct buf *buf, uint32_t value)
{
	const uint8_t bytes[4] = { (uint8_t)(value >> 24), (uint8_t)(value >> 16), (uint8_t)(value >> 8),
		                   (uint8_t)value };

	return buf_put(buf, bytes_of(bytes, sizeof(bytes)));
}

enum err buf_printf(struct buf *buf, const char *format, ...)
{
	va_list arguments;
	uint8_t *space;
	enum err err;
	int len;

	va_start(arguments, format);
	len = vsnprintf(NULL, 0, format, arguments);
	va_end(arguments);
	if (len < 0)
		return ERR_BUG;
	if ((size_t)len > buf_room(buf))
		return ERR_BUSY;
	/* The byte for the NUL is there in any case: capacity never counts it. */
	err = buf_reserve(buf, (size_t)len, &space);
	if (err)
		return err;
	va_start(arguments, format);
	(void)vsnprintf((char *)space, (size_t)len + 1, format, arguments);
	va_end(arguments);
	buf_commit(buf, (size_t)len);
	return OK;
}

void buf_consume(struct buf *buf, size_t len)
{
	if (len > buf_len(buf))
		len = buf_len(buf);
	if (len)
		secret_wipe(buf->data + buf->start, len);
	buf->start += len;
	if (buf->start == buf->end)
		buf->start = buf->end = 0;
}

void buf_clear(struct buf *buf)
{
	buf_consume(buf, buf_len(buf));
}

enum err buf_read_fd(struct buf *buf, int fd, size_t len, size_t *ret_len)
{
	uint8_t *space;
	ssize_t got;
	enum err err;

	if (len > buf_room(buf))
		len = buf_room(buf);
	if (len == 0)
		return ERR_BUSY;
	err = buf_reserve(buf, len, &space);
	if (err)
		return err;
	do
		got = read(fd, space, len);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? ERR_AGAIN : ERR_SYSTEM;
	buf_commit(buf, (size_t)got);
	*ret_len = (size_t)got;
	return OK;
}

enum err buf_write_fd(struct buf *buf, int fd)
{
	while (buf_len(buf) > 0) {
		ssize_t written = write(fd, buf->data + buf->start, buf_len(buf));

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? ERR_AGAIN : ERR_SYSTEM;
		buf_consume(buf, (size_t)written);
	}
	return OK;
}
