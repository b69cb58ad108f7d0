#include "common/encoding.h"

#include <sodium.h>
#include <string.h>

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

/* The digit's value, and a bit above them for what is none. */
#define NO_DIGIT 0x40U

static const uint8_t *digit_values(void)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	static uint8_t values[256];

	if (values['B'] == 1)
		return values;
	memset(values, NO_DIGIT, sizeof(values));
	for (uint8_t i = 0; i < 64; i++)
		values[(uint8_t)digits[i]] = i;
	return values;
}

/* Of the last group, which may be short: 1 to 4. A padded text is cut to what is no padding first. */
static size_t digits_of_last(struct bytes *text, enum base64_padding padding)
{
	size_t whole = text->len % 4 ? text->len - text->len % 4 : text->len - 4;

	if (padding == BASE64_PADDED && text->len % 4)
		return 0;
	while (padding == BASE64_PADDED && text->len > whole + 2 && text->data[text->len - 1] == '=')
		text->len--;
	return text->len - whole;
}

/* The last group: how many bytes it is, 0 when it is not canonical. */
static size_t decode_last(const uint8_t *values, const uint8_t *text, size_t digits, uint8_t out[static 3])
{
	uint32_t group = 0, wrong = digits < 2 ? NO_DIGIT : 0;

	for (size_t i = 0; i < 4; i++) {
		uint8_t value = i < digits ? values[text[i]] : 0;

		wrong |= value;
		group = group << 6 | value;
	}
	if (wrong & NO_DIGIT || (digits == 3 && group & 0xff) || (digits == 2 && group & 0xffff))
		return 0;
	out[0] = (uint8_t)(group >> 16);
	out[1] = (uint8_t)(group >> 8);
	out[2] = (uint8_t)group;
	return digits - 1;
}

enum err base64_decode_public(struct bytes text, enum base64_padding padding, uint8_t *out, size_t out_max,
                              size_t *ret_len)
{
	const uint8_t *values = digit_values(), *in = text.data;
	size_t digits, whole, last_len;
	uint32_t wrong = 0;
	uint8_t last[3];

	*ret_len = 0;
	if (text.len == 0)
		return OK;
	digits = digits_of_last(&text, padding);
	whole = (text.len - digits) / 4;
	if (whole * 3 > out_max)
		return ERR_BAD_MESSAGE;
	for (size_t i = 0; i < whole; i++, in += 4) {
		uint32_t a = values[in[0]], b = values[in[1]], c = values[in[2]], d = values[in[3]];

		wrong |= a | b | c | d;
		*out++ = (uint8_t)(a << 2 | b >> 4);
		*out++ = (uint8_t)(b << 4 | c >> 2);
		*out++ = (uint8_t)(c << 6 | d);
	}
	last_len = decode_last(values, in, digits, last);
	if (wrong & NO_DIGIT || last_len == 0 || whole * 3 + last_len > out_max)
		return ERR_BAD_MESSAGE;
	memcpy(out, last, last_len);
	*ret_len = whole * 3 + last_len;
	return OK;
}

void hex_encode(struct bytes bytes, char *out)
{
	(void)sodium_bin2hex(out, bytes.len * 2 + 1, bytes.data, bytes.len);
}

void hex_encode_public(struct bytes bytes, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < bytes.len; i++) {
		out[2 * i] = digits[bytes.data[i] >> 4];
		out[2 * i + 1] = digits[bytes.data[i] & 15];
	}
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
