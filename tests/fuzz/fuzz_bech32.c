/* What decodes encodes to the same text. */
#include <stdlib.h>

#include "formats/bech32.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static bool has_upper(struct bytes text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] >= 'A' && text.data[i] <= 'Z')
			return true;
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(buf_freep) struct buf *decoded = NULL;
	CLEANUP(buf_freep) struct buf *prefix_text = NULL;
	CLEANUP(buf_freep) struct buf *again = NULL;
	struct bytes text = bytes_of(data, len), prefix;

	check(!buf_new(BECH32_TEXT_MAX, &decoded) && !buf_new(BECH32_TEXT_MAX, &prefix_text) &&
	      !buf_new(BECH32_TEXT_MAX, &again));
	if (bech32_decode(text, &prefix, decoded))
		return 0;
	check(!buf_put(prefix_text, prefix));
	check(!bech32_put(again, buf_string(prefix_text), buf_bytes(decoded), has_upper(text)));
	check(bytes_equal(buf_bytes(again), text));
	return 0;
}
