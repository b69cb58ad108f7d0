/*
 * Encoding
 *
 * Base64 (RFC 4648, canonical: no line breaks, trailing bits zero) and lower-case hex, in constant time as libsodium does them, because key
 * material passes through. What does not decode exactly is refused.
 */
#pragma once

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"

enum base64_padding {
	BASE64_UNPADDED, /* age stanzas */
	BASE64_PADDED, /* armor, SOPS, JSON */
};

/* How many characters len bytes take, without a NUL. */
size_t base64_encoded_len(size_t len, enum base64_padding padding);

/* Appends the encoding of bytes. Errors of buf_put. */
MUST_CHECK enum err base64_put(struct buf *buf, struct bytes bytes, enum base64_padding padding);

/* Decodes text into out, which has room for out_max bytes. ERR_BAD_MESSAGE when it is not canonical or does not fit. */
MUST_CHECK enum err base64_decode(struct bytes text, enum base64_padding padding, uint8_t *out,
                                  size_t out_max, size_t *ret_len);

/* The same of text that is no secret, such as a ciphertext, several times as fast: what it does depends on what it reads. */
MUST_CHECK enum err base64_decode_public(struct bytes text, enum base64_padding padding, uint8_t *out,
                                         size_t out_max, size_t *ret_len);

/* Writes 2*len characters and a NUL to out. */
void hex_encode(struct bytes bytes, char *out);

/* The same of what is no secret, such as a hash of what everybody may read, three times as fast; and without the NUL. */
void hex_encode_public(struct bytes bytes, char *out);

/* Decodes exactly len bytes. ERR_BAD_MESSAGE when text is not exactly 2*len hexadecimal digits. */
MUST_CHECK enum err hex_decode(struct bytes text, uint8_t *out, size_t len);
