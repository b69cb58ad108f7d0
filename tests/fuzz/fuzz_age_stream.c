/*
 * The first two bytes say how the rest is cut. Opened in pieces or whole: the same answer, the same bytes. Sealed and opened: itself again; and sealed,
 * damaged where the input says, and opened: never good, and a beginning of itself. Two bytes ff: the rest is repeated until it is more than bulk begins with.
 */
#include <stdlib.h>

#include "common/buf.h"
#include "formats/age_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define OUT_MAX (8U << 20)

static void check(bool good)
{
	if (!good)
		abort();
}

static struct secret *fixed_key(void)
{
	static struct secret *key;

	if (!key)
		check(!secret_client_init() && !secret_new(16, &key));
	return key;
}

static enum err collect(void *context, struct bytes bytes)
{
	return buf_put(context, bytes);
}

/* A piece, by the one way or by the other. */
static enum err push(struct age_stream *stream, struct bytes piece, bool copied)
{
	enum err err = OK;

	if (copied)
		return age_stream_push(stream, piece);
	while (!err && piece.len > 0) {
		size_t room;
		uint8_t *space = age_stream_space(stream, &room);

		room = room < piece.len ? room : piece.len;
		memcpy(space, piece.data, room);
		err = age_stream_commit(stream, room);
		piece = bytes_of(piece.data + room, piece.len - room);
	}
	return err;
}

static enum err run(bool encrypting, struct bytes input, size_t piece, struct buf *out)
{
	CLEANUP(age_stream_freep) struct age_stream *stream = NULL;
	enum err err = age_stream_new(encrypting, fixed_key(), collect, out, &stream);

	for (size_t at = 0; !err && at < input.len; at += piece)
		err = push(stream, bytes_of(input.data + at, piece < input.len - at ? piece : input.len - at),
		           piece % 2 == 0);
	return err ? err : age_stream_finish(stream);
}

static void check_opening(struct bytes input, size_t piece)
{
	CLEANUP(buf_freep) struct buf *whole = NULL;
	CLEANUP(buf_freep) struct buf *cut = NULL;
	enum err err;

	check(!buf_new(OUT_MAX, &whole) && !buf_new(OUT_MAX, &cut));
	err = run(false, input, input.len + 1, whole);
	check(run(false, input, piece, cut) == err);
	check(bytes_equal(buf_bytes(whole), buf_bytes(cut)));
}

/* from_end: where it is damaged. */
static void check_sealing(struct bytes input, size_t piece, size_t from_end)
{
	CLEANUP(buf_freep) struct buf *sealed = NULL;
	CLEANUP(buf_freep) struct buf *opened = NULL;
	CLEANUP(buf_freep) struct buf *damaged = NULL;
	uint8_t *space;

	check(!buf_new(OUT_MAX, &sealed) && !buf_new(OUT_MAX, &opened) && !buf_new(OUT_MAX, &damaged));
	check(!run(true, input, piece, sealed) && !run(false, buf_bytes(sealed), piece, opened));
	check(bytes_equal(buf_bytes(opened), input));
	check(!buf_reserve(damaged, buf_len(sealed), &space));
	memcpy(space, buf_bytes(sealed).data, buf_len(sealed));
	space[buf_len(sealed) - 1 - from_end % buf_len(sealed)] ^= 1;
	buf_clear(opened);
	check(run(false, bytes_of(space, buf_len(sealed)), piece, opened) == ERR_BAD_CIPHERTEXT);
	check(buf_len(opened) < input.len || input.len == 0);
	check(buf_len(opened) == 0 || memcmp(buf_bytes(opened).data, input.data, buf_len(opened)) == 0);
}

/* Long enough for bulk: several chunks of it, and what is left over. */
static void check_bulk(struct bytes input)
{
	CLEANUP(buf_freep) struct buf *text = NULL;

	check(!buf_new(OUT_MAX, &text));
	while (input.len && buf_len(text) < AGE_STREAM_BULK + 40 * AGE_CHUNK_LEN)
		check(!buf_put(text, input));
	check_sealing(buf_bytes(text), 40000, input.len ? (size_t)input.data[0] * 1500 : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t piece;

	if (len < 2)
		return 0;
	piece = (size_t)(data[0] << 8 | data[1]) + 1;
	if (piece == 0x10000 && len < AGE_CHUNK_LEN)
		check_bulk(bytes_of(data + 2, len - 2));
	check_opening(bytes_of(data + 2, len - 2), piece);
	check_sealing(bytes_of(data + 2, len - 2), piece, piece * 7);
	return 0;
}
