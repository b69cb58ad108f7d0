/*
 * The first two bytes say how the rest is cut. Opened in pieces or whole: the same answer, the same bytes. Sealed and opened: itself again; and sealed,
 * damaged where the input says, and opened: never good, and a beginning of itself.
 */
#include <stdlib.h>

#include "common/buf.h"
#include "formats/age_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define OUT_MAX (4U << 20)

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

static enum err run(bool encrypting, struct bytes input, size_t piece, struct buf *out)
{
	CLEANUP(age_stream_freep) struct age_stream *stream = NULL;
	enum err err = age_stream_new(encrypting, fixed_key(), collect, out, &stream);

	for (size_t at = 0; !err && at < input.len; at += piece)
		err = age_stream_push(
		        stream, bytes_of(input.data + at, piece < input.len - at ? piece : input.len - at));
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

static void check_sealing(struct bytes input, size_t piece)
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
	space[piece * 7 % buf_len(sealed)] ^= 1;
	buf_clear(opened);
	check(run(false, bytes_of(space, buf_len(sealed)), piece, opened) == ERR_BAD_CIPHERTEXT);
	check(buf_len(opened) < input.len || input.len == 0);
	check(buf_len(opened) == 0 || memcmp(buf_bytes(opened).data, input.data, buf_len(opened)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	size_t piece;

	if (len < 2)
		return 0;
	piece = (size_t)(data[0] << 8 | data[1]) + 1;
	check_opening(bytes_of(data + 2, len - 2), piece);
	check_sealing(bytes_of(data + 2, len - 2), piece);
	return 0;
}
