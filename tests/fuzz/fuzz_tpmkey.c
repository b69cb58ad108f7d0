/* What is read is written to something that reads as the same. */
#include <stdlib.h>

#include "formats/tpmkey.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static bool same_part(const uint8_t *a, size_t a_len, const uint8_t *b, size_t b_len)
{
	return bytes_equal(bytes_of(a, a_len), bytes_of(b, b_len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	struct token_blob blob, again;
	bool sealed, empty, again_sealed, again_empty;

	if (tpmkey_read(bytes_of(data, len), &blob, &sealed, &empty))
		return 0;
	check(!buf_new(TPMKEY_TEXT_MAX, &text));
	check(!tpmkey_put(text, &blob, sealed ? KEY_KIND_X25519 : KEY_KIND_P256, empty));
	check(!tpmkey_read(buf_bytes(text), &again, &again_sealed, &again_empty));
	check(sealed == again_sealed && empty == again_empty && blob.parent == again.parent);
	check(same_part(blob.public_area, blob.public_area_len, again.public_area, again.public_area_len));
	check(same_part(blob.private_area, blob.private_area_len, again.private_area,
	                again.private_area_len));
	return 0;
}
