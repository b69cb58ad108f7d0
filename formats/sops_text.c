#include "formats/sops_text.h"

#include <errno.h>
#include <stdlib.h>

#include "formats/sops_number.h"
#include "formats/text.h"

#define PIECE_LEN 32U
#define WORD_MAX 5U /* characters of a word that is no string */
#define INTEGER_MAX 72U /* characters: 64 binary digits, a sign, a prefix */

size_t sops_text_character(struct bytes text, uint32_t *ret_character)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t c = text.data[0];
	size_t len = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
	uint32_t character = len == 1 ? c : c & (0xffU >> (len + 1));

	*ret_character = 0xfffd;
	if ((c >= 0x80 && c < 0xc2) || c > 0xf4 || len > text.len)
		return 1;
	for (size_t i = 1; i < len; i++) {
		if ((text.data[i] & 0xc0) != 0x80)
			return 1;
		character = character << 6 | (text.data[i] & 0x3fU);
	}
	if (character < least[len] || character > 0x10ffff || (character >= 0xd800 && character <= 0xdfff))
		return 1;
	*ret_character = character;
	return len;
}

/* What most texts are made of is passed over in pieces. */
static size_t ascii_len(struct bytes text)
{
	size_t len = 0;

	while (len + PIECE_LEN <= text.len && bytes_are_ascii(bytes_of(text.data + len, PIECE_LEN)))
		len += PIECE_LEN;
	while (len < text.len && text.data[len] < 0x80)
		len++;
	return len;
}

bool sops_text_is_utf8(struct bytes text)
{
	for (size_t ascii = ascii_len(text); ascii < text.len; ascii = ascii_len(text)) {
		uint32_t character;
		size_t len;

		text = bytes_of(text.data + ascii, text.len - ascii);
		len = sops_text_character(text, &character);

		if (len == 1 && text.data[0] >= 0x80)
			return false;
		text = bytes_of(text.data + len, text.len - len);
	}
	return true;
}

static bool is_space(uint32_t character)
{
	static const uint32_t others[] = { 0x85, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000 };

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (character == others[i])
			return true;
	return (character < 0x80 && is_white_space((uint8_t)character)) ||
	       (character >= 0x2000 && character <= 0x200a);
}

size_t sops_text_space_before(struct bytes text)
{
	size_t len = 0;

	while (len < text.len) {
		uint32_t character;
		size_t more = sops_text_character(bytes_of(text.data + len, text.len - len), &character);

		if (!is_space(character))
			break;
		len += more;
	}
	return len;
}

size_t sops_text_space_behind(struct bytes text)
{
	size_t end = text.len;

	while (end > 0) {
		uint32_t character;
		size_t start = end - 1;

		while (start > 0 && end - start < 3 && (text.data[start] & 0xc0) == 0x80)
			start--;
		if (sops_text_character(bytes_of(text.data + start, end - start), &character) !=
		            end - start ||
		    !is_space(character))
			break;
		end = start;
	}
	return text.len - end;
}

size_t sops_text_encode(uint32_t character, uint8_t *out)
{
	static const uint8_t first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
	size_t len = character < 0x80 ? 1 : character < 0x800 ? 2 : character < 0x10000 ? 3 : 4;

	for (size_t i = len; i-- > 1; character >>= 6)
		out[i] = (uint8_t)(0x80U | (character & 0x3fU));
	out[0] = (uint8_t)(first[len] | character);
	return len;
}

/* Sign and prefix are taken off; 10 remains 10. */
static int base_of(const char **text)
{
	static const struct {
		const char *prefix;
		int base;
	} bases[] = { { "0x", 16 }, { "0X", 16 }, { "0o", 8 }, { "0O", 8 },
		      { "0b", 2 },  { "0B", 2 },  { "0", 8 } };

	for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		size_t len = strlen(bases[i].prefix);

		if (strncmp(*text, bases[i].prefix, len) == 0 && (*text)[len]) {
			*text += len;
			return bases[i].base;
		}
	}
	return 10;
}

static enum err parse_integer(const char *text, int base, long long *ret_number)
{
	bool negative = *text == '-';
	unsigned long long number;
	char *end;

	if (*text == '-' || *text == '+')
		text++;
	base = base ? base : base_of(&text);
	if (!((*text >= '0' && *text <= '9') || (base == 16 && *text)) || memchr("xX+-", *text, 4))
		return ERR_BAD_FILE;
	errno = 0;
	number = strtoull(text, &end, base);
	if (*end || strpbrk(text, "xX \t"))
		return ERR_BAD_FILE;
	if (errno)
		return ERR_BAD_FILE; /* a double, if it is a number at all */
	if (number > (unsigned long long)INT64_MAX + negative)
		return negative ? ERR_BAD_FILE : ERR_BUSY;
	*ret_number = negative ? (long long)(0 - number) : (long long)number;
	return OK;
}

enum err sops_text_integer(struct sops_document *document, struct bytes text, int base,
                           struct bytes *ret_text)
{
	char copy[INTEGER_MAX];
	long long number;
	uint8_t *space;
	enum err err;

	if (text.len == 0 || text.len >= sizeof(copy))
		return ERR_BAD_FILE;
	memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	err = parse_integer(copy, base, &number);
	if (err)
		return err;
	space = sops_document_space(document, INTEGER_MAX);
	if (!space)
		return ERR_NOMEM;
	*ret_text = bytes_of(space, (size_t)snprintf((char *)space, INTEGER_MAX, "%lld", number));
	return OK;
}

static bool is_one_of(struct bytes text, const char *const *words)
{
	for (; *words; words++)
		if (bytes_equal(text, bytes_of_string(*words)))
			return true;
	return false;
}

static bool take_number(struct bytes text, size_t *at, size_t least, size_t most, unsigned *ret_number)
{
	size_t begin = *at;

	for (*ret_number = 0; *at < text.len && *at - begin < most; (*at)++) {
		if (text.data[*at] < '0' || text.data[*at] > '9')
			break;
		*ret_number = *ret_number * 10 + (text.data[*at] - '0');
	}
	return *at - begin >= least;
}

static bool take_mark(struct bytes text, size_t *at, const char *marks)
{
	if (*at >= text.len || !strchr(marks, text.data[*at]))
		return false;
	(*at)++;
	return true;
}

struct moment {
	unsigned year, month, day, hour, minute, second;
	struct bytes fraction; /* digits */
	struct bytes zone;
};

static bool take_zone(struct bytes text, size_t *at, struct moment *moment)
{
	unsigned number;
	size_t begin = *at;

	if (take_mark(text, at, "Z")) {
		moment->zone = bytes_of_string("Z");
		return true;
	}
	if (!take_mark(text, at, "+-") || !take_number(text, at, 2, 2, &number) || number > 24 ||
	    !take_mark(text, at, ":") || !take_number(text, at, 2, 2, &number) || number > 59)
		return false;
	moment->zone = bytes_of(text.data + begin, *at - begin);
	return true;
}

static bool take_clock(struct bytes text, size_t *at, struct moment *moment)
{
	bool spaced = text.data[*at] == ' ';
	unsigned ignored;
	size_t begin;

	if (!take_mark(text, at, "Tt ") || !take_number(text, at, 1, 2, &moment->hour) ||
	    !take_mark(text, at, ":") || !take_number(text, at, 1, 2, &moment->minute) ||
	    !take_mark(text, at, ":") || !take_number(text, at, 1, 2, &moment->second))
		return false;
	begin = *at + 1;
	if (take_mark(text, at, ".") && !take_number(text, at, 1, 9, &ignored))
		return false;
	if (*at >= begin)
		moment->fraction = bytes_of(text.data + begin, *at - begin);
	return spaced ? true : take_zone(text, at, moment);
}

static unsigned days_of(unsigned year, unsigned month)
{
	static const uint8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

/* go-yaml's four layouts of a time. */
static bool read_time(struct bytes text, struct moment *moment)
{
	size_t at = 0;

	*moment = (struct moment){ .zone = bytes_of_string("Z") };
	if (!take_number(text, &at, 4, 4, &moment->year) || !take_mark(text, &at, "-") ||
	    !take_number(text, &at, 1, 2, &moment->month) || !take_mark(text, &at, "-") ||
	    !take_number(text, &at, 1, 2, &moment->day))
		return false;
	if (moment->month < 1 || moment->month > 12 || moment->day < 1 ||
	    moment->day > days_of(moment->year, moment->month))
		return false;
	if (at < text.len && !take_clock(text, &at, moment))
		return false;
	while (moment->fraction.len && moment->fraction.data[moment->fraction.len - 1] == '0')
		moment->fraction.len--;
	return at == text.len && moment->hour < 24 && moment->minute < 60 && moment->second < 60;
}

static enum err put_time(struct sops_document *document, const struct moment *moment, struct sops_node *node)
{
	char *space = (char *)sops_document_space(document, 64);
	bool zero = moment->zone.len > 1 && memcmp(moment->zone.data + 1, "00:00", 5) == 0;
	struct bytes zone = zero ? bytes_of_string("Z") : moment->zone;

	if (!space)
		return ERR_NOMEM;
	node->kind = SOPS_TIME;
	node->text = bytes_of(
	        space, (size_t)snprintf(space, 64, "%04u-%02u-%02uT%02u:%02u:%02u%s%.*s%.*s", moment->year,
	                                moment->month, moment->day, moment->hour, moment->minute,
	                                moment->second, moment->fraction.len ? "." : "",
	                                (int)moment->fraction.len, (const char *)moment->fraction.data,
	                                (int)zone.len, (const char *)zone.data));
	return OK;
}

/* go-yaml's pattern of a float: digits with at most one point and an exponent. */
static bool looks_like_float(struct bytes text)
{
	size_t at = 0, begin;
	unsigned ignored;
	bool whole, part = false;

	(void)take_mark(text, &at, "+-");
	begin = at;
	whole = take_number(text, &at, 1, SIZE_MAX, &ignored);
	if (take_mark(text, &at, "."))
		part = take_number(text, &at, 1, SIZE_MAX, &ignored);
	if (!whole && !part)
		return false;
	if (at > begin && take_mark(text, &at, "eE")) {
		(void)take_mark(text, &at, "+-");
		if (!take_number(text, &at, 1, SIZE_MAX, &ignored))
			return false;
	}
	return at == text.len;
}

static bool resolve_float(struct sops_document *document, struct bytes text, struct sops_node *node)
{
	double number;
	char *space;

	if (!looks_like_float(text) || sops_number_read(text, &number))
		return false;
	space = (char *)sops_document_space(document, SOPS_NUMBER_MAX);
	if (!space)
		return false;
	node->kind = SOPS_FLOAT;
	node->text = bytes_of(space, sops_number_write(number, SOPS_NUMBER_PLAIN, space));
	return true;
}

static enum err resolve_number(struct sops_document *document, struct bytes plain, struct sops_node *node)
{
	uint8_t *bare;
	size_t len = 0;
	struct moment moment;
	enum err err;

	if (read_time(plain, &moment))
		return put_time(document, &moment, node);
	if (plain.len >= SOPS_NUMBER_MAX)
		return OK;
	bare = sops_document_space(document, plain.len);
	if (!bare)
		return ERR_NOMEM;
	for (size_t i = 0; i < plain.len; i++)
		if (plain.data[i] != '_')
			bare[len++] = plain.data[i];
	err = sops_text_integer(document, bytes_of(bare, len), 0, &node->text);
	if (!err)
		node->kind = SOPS_INTEGER;
	if (err == ERR_BAD_FILE)
		(void)resolve_float(document, bytes_of(bare, len), node);
	return err == ERR_BAD_FILE ? OK : err;
}

static bool resolve_word(struct bytes plain, struct sops_node *node)
{
	static const struct {
		const char *const words[9];
		enum sops_kind kind;
		const char *text;
	} rows[] = {
		{ { "", "~", "null", "Null", "NULL", NULL }, SOPS_NULL, "" },
		{ { "true", "True", "TRUE", NULL }, SOPS_BOOLEAN, "True" },
		{ { "false", "False", "FALSE", NULL }, SOPS_BOOLEAN, "False" },
		{ { ".nan", ".NaN", ".NAN", NULL }, SOPS_FLOAT, "NaN" },
		{ { ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", NULL }, SOPS_FLOAT, "+Inf" },
		{ { "-.inf", "-.Inf", "-.INF", NULL }, SOPS_FLOAT, "-Inf" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (is_one_of(plain, rows[i].words)) {
			node->kind = rows[i].kind;
			node->text = bytes_of_string(rows[i].text);
			return true;
		}
	}
	return false;
}

enum err sops_text_resolve(struct sops_document *document, struct bytes plain, struct sops_node *node)
{
	node->kind = SOPS_STRING;
	node->text = plain;
	if (plain.len <= WORD_MAX && resolve_word(plain, node))
		return OK;
	if (strchr("+-0123456789", plain.data[0]) && plain.data[0])
		return resolve_number(document, plain, node);
	if (plain.data[0] == '.')
		(void)resolve_float(document, plain, node);
	return OK;
}

bool sops_text_is_ambiguous(struct bytes plain)
{
	static const char *const words[] = { "y",  "Y",  "yes", "Yes", "YES", "n",   "N",  "no", "No", "NO",
		                             "on", "On", "ON",  "off", "Off", "OFF", "<<", "=",  NULL };
	struct sops_node ignored = { .kind = SOPS_STRING };

	if (plain.len == 0 || strchr("+-.0123456789", plain.data[0]))
		return true; /* numbers, times, and what 1.1 takes for a number of base 60 */
	return plain.len <= WORD_MAX && (is_one_of(plain, words) || resolve_word(plain, &ignored));
}
