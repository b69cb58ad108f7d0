/*
 * Bech32 (BIP 173, checksum constant 1) without the length limit of 90, as age uses it: all lower or all upper case, checksum over lower case.
 */
#pragma once

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"

#define BECH32_TEXT_MAX 8192U

/* Appends the encoding of data under prefix (given in lower case); upper: the whole text in upper case. Errors of buf_put. */
MUST_CHECK enum err bech32_put(struct buf *buf, const char *prefix, struct bytes data, bool upper);

/* Splits and checks text. ret_prefix is borrowed from text (in text's own case); the data is appended to data, which wipes itself.
 * ERR_USAGE: mixed case, bad character, bad checksum, non-zero padding, too long. */
MUST_CHECK enum err bech32_decode(struct bytes text, struct bytes *ret_prefix, struct buf *data);
