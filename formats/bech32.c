/*
 * Private keys pass through here, so a character is looked up by comparing it with all 32 and the checksum is computed without branches: what a
 * line takes to read depends on its length alone.
 */
#include "formats/bech32.h"

#include "common/declassify.h"
#include "common/secret.h"

#define CHECKSUM_LEN 6U
#define SEPARATOR '1'

static const char alphabet[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

static uint32_t checksum_step(uint32_t checksum, uint8_t value)
{
	static const uint32_t generators[] = { 0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3 };
	uint32_t top = checksum >> 25;

	checksum = (checksum & 0x1ffffff) << 5 ^ value;
	for (unsigned i = 0; i < 5; i++)
		checksum ^= generators[i] & (0U - (top >> i & 1U));
	return checksum;
}

/* For prefixes, which are public; independent of any locale. */
static uint8_t lower(uint8_t character)
{
	return character >= 'A' && character <= 'Z' ? character | 0x20 : character;
}

static uint8_t upper(uint8_t character)
{
	return character >= 'a' && character <= 'z' ? character & 0xdf : character;
}

/* The prefix enters the checksum as the high bits of its characters, a zero, and the low bits. */
static uint32_t checksum_begin(struct bytes prefix)
{
	uint32_t checksum = 1;

	for (size_t i = 0; i < prefix.len; i++)
		checksum = checksum_step(checksum, lower(prefix.data[i]) >> 5);
	checksum = checksum_step(checksum, 0);
	for (size_t i = 0; i < prefix.len; i++)
		checksum = checksum_step(checksum, lower(prefix.data[i]) & 31);
	return checksum;
}

/* 1 when a and b are the same, else 0. */
static uint32_t same(uint8_t a, uint8_t b)
{
	return ((uint32_t)(a ^ b) - 1U) >> 31;
}

/* The value of a character in either case, or 0xff. Setting the bit of lower case turns nothing else into a letter or a digit. */
static uint8_t value_of(uint8_t character)
{
	uint32_t value = 0xff;

	for (uint8_t i = 0; i < 32; i++)
		value ^= (0U - same(character | 0x20, (uint8_t)alphabet[i])) & (0xffU ^ i);
	return (uint8_t)value;
}

static uint8_t character_of(uint8_t value, bool upper_case)
{
	uint32_t character = 0, is_letter;

	for (uint8_t i = 0; i < 32; i++)
		character |= (uint8_t)alphabet[i] & (0U - same(value, i));
	is_letter = ('9' - character) >> 31;
	return (uint8_t)(character - (is_letter & (uint32_t)upper_case) * 0x20);
}

/* What is written: 5 bits at a time, each going into the checksum as well. */
struct writer {
	struct buf *buf;
	bool upper_case;
	uint32_t checksum;
	uint32_t bits; /* not yet written: the low bit_count of them */
	unsigned bit_count;
};

static enum err writer_put(struct writer *writer, uint8_t value)
{
	writer->checksum = checksum_step(writer->checksum, value);
	return buf_put_u8(writer->buf, character_of(value, writer->upper_case));
}

static enum err writer_put_byte(struct writer *writer, uint8_t byte)
{
	writer->bits = (writer->bits << 8 | byte) & 0xfff;
	writer->bit_count += 8;
	while (writer->bit_count >= 5) {
		enum err err;

		writer->bit_count -= 5;
		err = writer_put(writer, writer->bits >> writer->bit_count & 31);
		if (err)
			return err;
	}
	return OK;
}

static enum err writer_put_checksum(struct writer *writer)
{
	uint32_t checksum = writer->checksum;

	for (unsigned i = 0; i < CHECKSUM_LEN; i++)
		checksum = checksum_step(checksum, 0);
	checksum ^= 1;
	for (unsigned i = 0; i < CHECKSUM_LEN; i++) {
		uint8_t value = checksum >> (25 - 5 * i) & 31;
		enum err err = buf_put_u8(writer->buf, character_of(value, writer->upper_case));

		if (err)
			return err;
	}
	return OK;
}

static enum err prefix_put(struct buf *buf, const char *prefix, bool upper_case)
{
	for (; *prefix; prefix++) {
		uint8_t character = (uint8_t)*prefix;
		enum err err = buf_put_u8(buf, upper_case ? upper(character) : lower(character));

		if (err)
			return err;
	}
	return buf_put_u8(buf, SEPARATOR);
}

enum err bech32_put(struct buf *buf, const char *prefix, struct bytes data, bool upper_case)
{
	struct writer writer = { .buf = buf,
		                 .upper_case = upper_case,
		                 .checksum = checksum_begin(bytes_of_string(prefix)) };
	enum err err = prefix_put(buf, prefix, upper_case);

	for (size_t i = 0; !err && i < data.len; i++)
		err = writer_put_byte(&writer, data.data[i]);
	if (!err && writer.bit_count > 0)
		err = writer_put(&writer, (uint8_t)(writer.bits << (5 - writer.bit_count) & 31));
	if (!err)
		err = writer_put_checksum(&writer);
	secret_wipe(&writer, sizeof(writer));
	return err;
}

/* 1 when low <= character <= high, else 0. */
static uint32_t within(uint8_t character, uint8_t low, uint8_t high)
{
	return 1U - (((uint32_t)character - low) >> 31 | ((uint32_t)high - character) >> 31);
}

/* One case only, printable, and of a length that can hold a prefix, the separator and a checksum. */
static enum err text_check(struct bytes text)
{
	uint32_t has_lower = 0, has_upper = 0, good = 1;

	if (text.len > BECH32_TEXT_MAX)
		return ERR_USAGE;
	for (size_t i = 0; i < text.len; i++) {
		good &= within(text.data[i], 0x21, 0x7e);
		has_lower |= within(text.data[i], 'a', 'z');
		has_upper |= within(text.data[i], 'A', 'Z');
	}
	good &= 1U - (has_lower & has_upper);
	declassify(&good, sizeof(good)); /* whoever gave the text is told */
	return good ? OK : ERR_USAGE;
}

/* At the last separator, which no character of the data can be. */
static enum err text_split(struct bytes text, struct bytes *ret_prefix, struct bytes *ret_rest)
{
	size_t separator = 0;

	for (size_t i = 0; i < text.len; i++) {
		size_t here = 0 - (size_t)same(text.data[i], SEPARATOR);

		separator = (separator & ~here) | ((i + 1) & here);
	}
	declassify(&separator,
	           sizeof(separator)); /* it follows the prefix, which is the same for all keys of a kind */
	if (separator < 2 || text.len - separator < CHECKSUM_LEN)
		return ERR_USAGE;
	*ret_prefix = bytes_of(text.data, separator - 1);
	*ret_rest = bytes_of(text.data + separator, text.len - separator);
	return OK;
}

/* Checksum over everything, looked at before any of it is handed out. */
static enum err checksum_check(struct bytes prefix, struct bytes values)
{
	uint32_t checksum = checksum_begin(prefix);
	uint8_t bad = 0;

	for (size_t i = 0; i < values.len; i++) {
		uint8_t value = value_of(values.data[i]);

		bad |= value & 0xe0;
		checksum = checksum_step(checksum, value & 31);
	}
	bad |= (uint8_t)(1U - same(0, (uint8_t)(checksum >> 24 | checksum >> 16 | checksum >> 8 |
	                                        (checksum ^ 1))));
	declassify(&bad, sizeof(bad)); /* whoever gave the text is told */
	return bad ? ERR_USAGE : OK;
}

/* Groups of five bits to bytes; what is left over must be fewer than five bits, all zero. */
static enum err values_put(struct bytes values, struct buf *data)
{
	uint32_t bits = 0;
	unsigned bit_count = 0;

	for (size_t i = 0; i < values.len; i++) {
		enum err err;

		bits = (bits << 5 | value_of(values.data[i])) & 0xfff;
		bit_count += 5;
		if (bit_count < 8)
			continue;
		bit_count -= 8;
		err = buf_put_u8(data, (uint8_t)(bits >> bit_count));
		if (err)
			return err;
	}
	bits &= (1U << bit_count) - 1U;
	declassify(&bits, sizeof(bits)); /* zero, or there is no key */
	return bit_count >= 5 || bits != 0 ? ERR_USAGE : OK;
}

enum err bech32_decode(struct bytes text, struct bytes *ret_prefix, struct buf *data)
{
	struct bytes prefix, rest;
	enum err err = text_check(text);

	if (err)
		return err;
	err = text_split(text, &prefix, &rest);
	if (err)
		return err;
	err = checksum_check(prefix, rest);
	if (err)
		return err;
	err = values_put(bytes_of(rest.data, rest.len - CHECKSUM_LEN), data);
	if (err)
		return err;
	*ret_prefix = prefix;
	return OK;
}
