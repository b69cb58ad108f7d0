#include "common/encoding.h"

#include <sodium.h>

static int sodium_variant(enum base64_padding padding)
{
	return padding == BASE64_PADDED ? sodium_base64_VARIANT_ORIGINAL
	                                : sodium_base64_VARIANT_ORIGINAL_NO_PADDING;
}

size_t base64_encoded_len(size_t len, enum base64_padding padding)
{
	return sodium_base64_encoded_len(len, sodium_variant(padding)) - 1;
}

enum err base64_put(struct buf *buf, struct bytes bytes, enum base64_padding padding)
{
	size_t encoded = base64_encoded_len(bytes.len, padding);
	uint8_t *space;
	enum err err;

	if (bytes.len == 0)
		return OK;
	/* libsodium writes a NUL as well; a buffer has that byte to spare. */
	err = buf_reserve(buf, encoded, &space);
	if (err)
		return err;
	(void)sodium_bin2base64((char *)space, encoded + 1, bytes.data, bytes.len, sodium_variant(padding));
	buf_commit(buf, encoded);
	return OK;
}

enum err base64_decode(struct bytes text, enum base64_padding padding, uint8_t *out, size_t out_max,
                       size_t *ret_len)
{
	const char *end = NULL;
	size_t len = 0;

	if (text.len == 0) {
		*ret_len = 0;
		return OK;
	}
	/* libsodium 1.0.18 takes bytes above ASCII for digits. */
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] >= 0x80)
			return ERR_BAD_MESSAGE;
	if (sodium_base642bin(out, out_max, (const char *)text.data, text.len, NULL, &len, &end,
	                      sodium_variant(padding)) != 0)
		return ERR_BAD_MESSAGE;
	/* What libsodium accepts is canonical if and only if it has the length that encoding it again would have. */
	if (end != (const char *)text.data + text.len || text.len != base64_encoded_len(len, padding))
		return ERR_BAD_MESSAGE;
	*ret_len = len;
	return OK;
}

void hex_encode(struct bytes bytes, char *out)
{
	(void)sodium_bin2hex(out, bytes.len * 2 + 1, bytes.data, bytes.len);
}

enum err hex_decode(struct bytes text, uint8_t *out, size_t len)
{
	size_t decoded = 0;
	const char *end = NULL;

	if (text.len != 2 * len)
		return ERR_BAD_MESSAGE;
	if (sodium_hex2bin(out, len, (const char *)text.data, text.len, NULL, &decoded, &end) != 0 ||
	    decoded != len)
		return ERR_BAD_MESSAGE;
	return OK;
}
