/* The first byte says how the rest is cut. In pieces or whole: the same answer and the same bytes; and what decodes encodes to what decodes to it. */
#include <stdlib.h>

#include "common/buf.h"
#include "formats/armor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define OUT_MAX (4U << 20)

static void check(bool good)
{
	if (!good)
		abort();
}

static enum err collect(void *context, struct bytes bytes)
{
	return buf_put(context, bytes);
}

static enum err run(bool decoding, struct bytes text, size_t piece, struct buf *out)
{
	CLEANUP(armor_freep) struct armor *armor = NULL;
	enum err err =
	        decoding ? armor_decoder_new(collect, out, &armor) : armor_encoder_new(collect, out, &armor);

	for (size_t at = 0; !err && at < text.len; at += piece)
		err = armor_push(armor,
		                 bytes_of(text.data + at, piece < text.len - at ? piece : text.len - at));
	return err ? err : armor_finish(armor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(buf_freep) struct buf *whole = NULL;
	CLEANUP(buf_freep) struct buf *cut = NULL;
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(buf_freep) struct buf *again = NULL;
	enum err err;

	if (len < 1)
		return 0;
	check(!buf_new(OUT_MAX, &whole) && !buf_new(OUT_MAX, &cut) && !buf_new(OUT_MAX, &text) &&
	      !buf_new(OUT_MAX, &again));
	err = run(true, bytes_of(data + 1, len - 1), len, whole);
	check(run(true, bytes_of(data + 1, len - 1), data[0] + 1U, cut) == err);
	check(err || bytes_equal(buf_bytes(whole), buf_bytes(cut)));
	if (err)
		return 0;
	check(!run(false, buf_bytes(whole), data[0] + 1U, text) && armor_looks_like(buf_bytes(text)));
	check(!run(true, buf_bytes(text), len, again) && bytes_equal(buf_bytes(whole), buf_bytes(again)));
	return 0;
}
