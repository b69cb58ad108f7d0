/* The mutations, by stage: header, payload, armor, bytes. */
#include "tests/interop/agreement/mutations.h"

#include <sodium.h>
#include <stdio.h>

#include "formats/armor.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- tools ---- */

static const char *one_of(struct draft *draft, const char *const *strings, size_t count)
{
	return strings[dice_below(&draft->dice, count)];
}

static void line_of(const struct text *text, size_t number, struct bytes *ret_line, size_t *ret_at)
{
	size_t len;

	text_line(text, number, ret_at, &len);
	*ret_line = bytes_of(text->data + *ret_at, len);
}

static size_t some_line(struct draft *draft, const struct text *text)
{
	return dice_below(&draft->dice, text_line_count(text));
}

/* A copy of part of a text, for moving it: the texts move their bytes. */
static uint8_t scratch[TEXT_MAX];

static struct bytes copy_of(struct bytes bytes)
{
	memcpy(scratch, bytes.data, bytes.len);
	return bytes_of(scratch, bytes.len);
}

static void line_duplicate(struct draft *draft, struct text *text)
{
	struct bytes line;
	size_t at;

	line_of(text, some_line(draft, text), &line, &at);
	text_insert(text, at, copy_of(line));
}

static void line_delete(struct draft *draft, struct text *text)
{
	struct bytes line;
	size_t at;

	line_of(text, some_line(draft, text), &line, &at);
	text_remove(text, at, line.len);
}

static void line_swap(struct draft *draft, struct text *text)
{
	struct bytes line;
	size_t at;

	line_of(text, some_line(draft, text), &line, &at);
	line = copy_of(line);
	text_remove(text, at, line.len);
	line_of(text, some_line(draft, text), &(struct bytes){ 0 }, &at);
	text_insert(text, at, line);
}

/* Where the n-th line that begins with mark begins; text->len when there is none. */
static size_t find_line(const struct text *text, const char *mark, size_t n)
{
	size_t at = 0, len = strlen(mark);

	while (at < text->len) {
		const uint8_t *end = memchr(text->data + at, '\n', text->len - at);

		if (text->len - at >= len && memcmp(text->data + at, mark, len) == 0 && n-- == 0)
			return at;
		at = end ? (size_t)(end - text->data) + 1 : text->len;
	}
	return text->len;
}

static size_t count_lines(const struct text *text, const char *mark)
{
	size_t count = 0;

	while (find_line(text, mark, count) < text->len)
		count++;
	return count;
}

static void some_stanza(struct draft *draft, size_t *ret_at, size_t *ret_len)
{
	size_t n = dice_below(&draft->dice, count_lines(&draft->header, "-> "));

	*ret_at = find_line(&draft->header, "-> ", n);
	*ret_len = find_line(&draft->header, "-> ", n + 1) - *ret_at;
}

static void insert_string(struct text *text, size_t at, const char *string)
{
	text_insert(text, at, bytes_of_string(string));
}

static void flip_bit(struct draft *draft, struct text *text)
{
	size_t at = dice_below(&draft->dice, text->len);

	if (text->len)
		text->data[at] ^= (uint8_t)(1U << dice_below(&draft->dice, 8));
}

/* ---- header ---- */

static void header_line_duplicate(struct draft *draft)
{
	line_duplicate(draft, &draft->header);
}

static void header_line_delete(struct draft *draft)
{
	line_delete(draft, &draft->header);
}

static void header_line_swap(struct draft *draft)
{
	line_swap(draft, &draft->header);
}

static void stanza_duplicate(struct draft *draft)
{
	size_t at, len, to, ignored;

	some_stanza(draft, &at, &len);
	some_stanza(draft, &to, &ignored);
	text_insert(&draft->header, to, copy_of(bytes_of(draft->header.data + at, len)));
}

static void stanza_delete(struct draft *draft)
{
	size_t at, len;

	some_stanza(draft, &at, &len);
	text_remove(&draft->header, at, len);
}

static void stanza_move(struct draft *draft)
{
	struct bytes copy;
	size_t at, len;

	some_stanza(draft, &at, &len);
	copy = copy_of(bytes_of(draft->header.data + at, len));
	text_remove(&draft->header, at, len);
	text_insert(&draft->header, dice_once_in(&draft->dice, 2) ? draft->header.len : strlen(AGE_INTRO),
	            copy);
}

static const char *const other_stanzas[] = {
	"-> x\n\n",
	"-> x y z\nAAAA\n",
	/* a full line and an empty one */
	("-> grease 1 2 3 4 5 6 7 8 9\n"
	 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n\n"),
	"-> no-last-line\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
	"-> no-body\n",
	"->\n\n",
	"-> \n\n",
	"->  two-spaces\n\n",
	"-> ends-with-space \n\n",
	"-> X25519\nAAAA\n",
	"-> X25519 AAAA\nAAAA\n",
	"-> X25519 a b\n\n",
	"-> x25519 AAAA\n\n",
	"-> p256tag\n\n",
	"-> p256tag AAAAAA AAAA\nAAAA\n",
	"-> p256tag AAAA\n\n",
	"-> scrypt bBjlhJVYZeE4aqUdmtRHfw 2\ngUjEymFKMVXQEKdMMHL24oYexjE3TIC0O0zGSqJ2aUY\n",
	"-> scrypt\n\n",
	"-> ssh-ed25519 AAAA BBBB\nAAAA\n",
	"-> a\n=\n",
	"-> a\nAA==\n",
	"-> a\nAB\n", /* bits of the last character that say nothing are not zero */
	"-> a\nA\n",
	"-> a\nAAAA \n",
	"-> a\n-_-_\n",
	"-> \xc3\xa4\n\n",
	"-> \x7f\n\n",
	"-> a\tb\n\n",
	"->a\n\n",
	"--> a\n\n",
	"-- a\n",
	"---\n",
	"\n",
};

static void stanza_other(struct draft *draft)
{
	size_t at, len;

	some_stanza(draft, &at, &len);
	insert_string(&draft->header, dice_once_in(&draft->dice, 2) ? at : at + len,
	              one_of(draft, other_stanzas, COUNT(other_stanzas)));
}

static void header_character(struct draft *draft)
{
	static const char characters[] = "AZaz09+/=-_> \t\r\n\x7f\xff#.";
	size_t at = dice_below(&draft->dice, draft->header.len);

	draft->header.data[at] = (uint8_t)characters[dice_below(&draft->dice, sizeof(characters))];
}

static void header_character_insert(struct draft *draft)
{
	static const char *const pieces[] = { " ",  "  ", "=", "==",           "\r", "\n",
		                              "\t", "A",  "-", "\xe2\x80\x8b", ">" };

	insert_string(&draft->header, dice_below(&draft->dice, draft->header.len + 1),
	              one_of(draft, pieces, COUNT(pieces)));
}

static void header_character_delete(struct draft *draft)
{
	text_remove(&draft->header, dice_below(&draft->dice, draft->header.len),
	            1 + dice_below(&draft->dice, 3));
}

static void header_line_end(struct draft *draft)
{
	static const char *const ends[] = { "\r", " ", "=", "==", "\t", " A", "A", "AAAA", "\n", "\r\n" };
	struct bytes line;
	size_t at;

	line_of(&draft->header, some_line(draft, &draft->header), &line, &at);
	insert_string(&draft->header, at + line.len - 1, one_of(draft, ends, COUNT(ends)));
}

/* The last character of a line of base64 where not all of its bits count: another one that decodes to the same bytes by careless decoders. */
static void header_trailing_bits(struct draft *draft)
{
	struct bytes line;
	size_t at;

	line_of(&draft->header, some_line(draft, &draft->header), &line, &at);
	if (line.len >= 2)
		draft->header.data[at + line.len - 2]++;
}

static void header_crlf(struct draft *draft)
{
	for (size_t i = draft->header.len; i > 0; i--)
		if (draft->header.data[i - 1] == '\n')
			insert_string(&draft->header, i - 1, "\r");
}

static void header_version(struct draft *draft)
{
	static const char *const intros[] = { "age-encryption.org/v2\n",   "age-encryption.org/v1 \n",
		                              "age-encryption.org/v1\r\n", "Age-encryption.org/v1\n",
		                              "age-encryption.org/v1\n\n", " age-encryption.org/v1\n",
		                              "age-encryption.org/v11\n",  "\n",
		                              "age-encryption.org/v1" };

	text_remove(&draft->header, 0, strlen(AGE_INTRO));
	insert_string(&draft->header, 0, one_of(draft, intros, COUNT(intros)));
}

static void header_wrap(struct draft *draft)
{
	struct bytes line;
	size_t at;

	line_of(&draft->header, some_line(draft, &draft->header), &line, &at);
	insert_string(&draft->header, at + dice_below(&draft->dice, line.len), "\n");
}

static void header_join(struct draft *draft)
{
	struct bytes line;
	size_t at;

	line_of(&draft->header, some_line(draft, &draft->header), &line, &at);
	text_remove(&draft->header, at + line.len - 1, 1);
}

/* The argument number of the first stanza of the type, or its body (0): what stands there becomes the base64 of bytes. */
static void stanza_value(struct draft *draft, const char *type, unsigned number, struct bytes bytes)
{
	struct text *header = &draft->header;
	size_t at = find_line(header, type, 0), end;
	char text[200];

	if (at == header->len || bytes.len > 100)
		return;
	for (unsigned spaces = number ? number + 1 : 99; at < header->len && spaces > 0; at++) {
		spaces -= number && header->data[at] == ' ';
		if (!number && header->data[at] == '\n')
			spaces = 0;
	}
	for (end = at; end < header->len && header->data[end] != ' ' && header->data[end] != '\n';)
		end++;
	text_remove(header, at, end - at);
	(void)sodium_bin2base64(text, sizeof(text), bytes.data, bytes.len,
	                        sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	insert_string(header, at, text);
}

/* Points of low order and their other encodings, and a point that is only encoded otherwise. */
static const uint8_t low_order[][X25519_LEN] = {
	{ 0 },
	{ 1 },
	{ 0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a,
	  0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00 },
	{ 0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b,
	  0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57 },
	{ 0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
	{ 0xed, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
	{ 0xee, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	  0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
};

static void share_low_order(struct draft *draft)
{
	uint8_t share[X25519_LEN];

	memcpy(share, low_order[dice_below(&draft->dice, COUNT(low_order))], sizeof(share));
	share[31] |= dice_once_in(&draft->dice, 2) ? 0x80 : 0;
	stanza_value(draft, "-> X25519", 1, bytes_of(share, sizeof(share)));
}

/* A stanza that is right, but for a share in a form that nobody who follows RFC 7748 writes and everybody has to read: with its highest bit set, or
 * beyond the prime. The salt has the bytes as they stand there. */
static void share_other_form(struct draft *draft)
{
	uint8_t share[X25519_LEN] = { 9 }, point[X25519_LEN], shared[X25519_LEN], salt[2 * X25519_LEN],
	        key[32];
	uint8_t body[WRAPPED_LEN];
	static const uint8_t zeros[12];
	struct bytes file_key = secret_reveal(draft->base->file_key);

	if (dice_once_in(&draft->dice, 2)) { /* the number 9 is also the prime and 9 */
		memset(share, 0xff, sizeof(share));
		share[0] = 0xed + 9;
		share[31] = 0x7f;
	}
	share[31] |= dice_once_in(&draft->dice, 2) ? 0x80 : 0;
	memcpy(point, share, sizeof(point));
	if (crypto_scalarmult(shared, secret_reveal(draft->bases->x25519_private).data, point) != 0)
		return;
	memcpy(salt, share, X25519_LEN);
	memcpy(salt + X25519_LEN, draft->bases->x25519_public, X25519_LEN);
	hkdf_sha256(bytes_of(shared, sizeof(shared)), bytes_of(salt, sizeof(salt)),
	            bytes_of_string("age-encryption.org/v1/X25519"), key, sizeof(key));
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(body, NULL, file_key.data, file_key.len, NULL, 0,
	                                                NULL, zeros, key);
	stanza_value(draft, "-> X25519", 1, bytes_of(share, sizeof(share)));
	stanza_value(draft, "-> X25519", 0, bytes_of(body, sizeof(body)));
}

static void share_length(struct draft *draft)
{
	uint8_t bytes[70] = { 4 };
	const char *type = dice_once_in(&draft->dice, 2) ? "-> X25519" : "-> p256tag";

	stanza_value(draft, type, 1 + (type[3] == 'p'),
	             bytes_of(bytes, dice_below(&draft->dice, sizeof(bytes))));
}

static void body_length(struct draft *draft)
{
	static const char *const types[] = { "-> X25519", "-> p256tag", "-> scrypt" };
	uint8_t bytes[70] = { 0 };

	stanza_value(draft, one_of(draft, types, COUNT(types)), 0,
	             bytes_of(bytes, dice_below(&draft->dice, sizeof(bytes))));
}

/* Encodings of a P-256 point that are none, or are other than uncompressed. */
static void point_other(struct draft *draft)
{
	uint8_t point[P256_POINT_LEN];
	size_t len = sizeof(point);

	memcpy(point, draft->bases->p256_point, sizeof(point));
	switch (dice_below(&draft->dice, 6)) {
	case 0: /* not on the curve */
		point[64] ^= 1;
		break;
	case 1: /* compressed */
		point[0] = 2 | (point[64] & 1);
		len = P256_COMPRESSED_LEN;
		break;
	case 2: /* hybrid */
		point[0] = 6 | (point[64] & 1);
		break;
	case 3: /* infinity */
		len = 1;
		point[0] = 0;
		break;
	case 4: /* not below the prime */
		memset(point + 1, 0xff, 32);
		break;
	default:
		memset(point + 1, 0, 64);
		break;
	}
	stanza_value(draft, "-> p256tag", 2, bytes_of(point, len));
	if (len == sizeof(point)) { /* with the tag that belongs to it, or nobody would look at the point */
		uint8_t compressed[P256_COMPRESSED_LEN], hash[TAG_LEN], tag[TAG_LEN];

		p256_compress(draft->bases->p256_point, compressed);
		p256tag_recipient_hash(compressed, hash);
		p256tag_tag(point, hash, tag);
		stanza_value(draft, "-> p256tag", 1, bytes_of(tag, sizeof(tag)));
	}
}

static void work_factor(struct draft *draft)
{
	static const char *const factors[] = { "0",   "00", "01",       "1",
		                               "2",   "10", "11",       "12",
		                               "+2",  "-2", "0x2",      "2.0",
		                               "2e0", "64", "99",       "999999999999999999999",
		                               "",    " 2", "\xd9\xa2", "2A" };
	size_t at = find_line(&draft->header, "-> scrypt", 0);
	const uint8_t *end = memchr(draft->header.data + at, '\n', draft->header.len - at);

	if (!end)
		return;
	at = (size_t)(end - draft->header.data) - 1;
	text_remove(&draft->header, at, 1);
	insert_string(&draft->header, at, one_of(draft, factors, COUNT(factors)));
}

static void mac_line(struct draft *draft)
{
	static const char *const lines[] = {
		"---\n",
		"--- \n",
		"---  AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
		"--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
		"--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB\n",
		"--- AAAA\n",
		"---AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
		"--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA A\n",
		"-- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
		"---- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n",
		"\n",
	};

	(void)snprintf(draft->mac_line, sizeof(draft->mac_line), "%s", one_of(draft, lines, COUNT(lines)));
}

/* Close to the limits on numbers and lengths and beyond them; the readers differ in where these are, so this has a name of its own. */
static void many_stanzas(struct draft *draft)
{
	size_t count = 200 + dice_below(&draft->dice, 120);

	while (count-- > 0)
		insert_string(&draft->header, strlen(AGE_INTRO), "-> x\n\n");
}

static void many_arguments(struct draft *draft)
{
	size_t at = 0, count = 40 + dice_below(&draft->dice, 60);

	insert_string(&draft->header, strlen(AGE_INTRO), "-> x\n\n");
	at = strlen(AGE_INTRO) + 4;
	while (count-- > 0)
		insert_string(&draft->header, at, " y");
}

/* ---- payload ---- */

static size_t chunk_count(const struct draft *draft)
{
	return draft->base->plain_len <= AGE_CHUNK_LEN ? 1 : (draft->base->plain_len - 1) / AGE_CHUNK_LEN + 1;
}

static size_t chunk_at(size_t number)
{
	return AGE_NONCE_LEN + number * CHUNK_SEALED_LEN;
}

/* What is sealed of the chunk that begins at at, as far as the payload still goes. */
static struct bytes chunk_sealed(const struct draft *draft, size_t at)
{
	size_t rest = at < draft->payload.len ? draft->payload.len - at : 0;

	return bytes_of(draft->payload.data + at, rest < CHUNK_SEALED_LEN ? rest : CHUNK_SEALED_LEN);
}

static struct bytes chunk_plain(const struct draft *draft, size_t number)
{
	size_t at = number * AGE_CHUNK_LEN, rest = draft->base->plain_len - at;

	return bytes_of(draft->base->plain + at, rest < AGE_CHUNK_LEN ? rest : AGE_CHUNK_LEN);
}

static void chunk_reseal(struct draft *draft, size_t number, uint64_t counter, bool last)
{
	struct bytes plain = chunk_plain(draft, number);

	text_remove(&draft->payload, chunk_at(number), plain.len + AGE_CHUNK_TAG_LEN);
	draft_seal_chunk(draft, chunk_at(number), plain, counter, last);
}

static void payload_flip(struct draft *draft)
{
	flip_bit(draft, &draft->payload);
}

static void payload_cut(struct draft *draft)
{
	draft->payload.len = dice_below(&draft->dice, draft->payload.len);
}

static void payload_cut_at_chunk(struct draft *draft)
{
	size_t at = chunk_at(dice_below(&draft->dice, chunk_count(draft)));

	draft->payload.len = at < draft->payload.len ? at : draft->payload.len;
}

static void payload_cut_short(struct draft *draft)
{
	size_t len = dice_below(&draft->dice, AGE_NONCE_LEN + AGE_CHUNK_TAG_LEN + 2);

	draft->payload.len = len < draft->payload.len ? len : draft->payload.len;
}

static void payload_lengthen(struct draft *draft)
{
	static const uint8_t bytes[40];

	text_put(&draft->payload, bytes_of(bytes, 1 + dice_below(&draft->dice, sizeof(bytes))));
}

static void chunk_delete(struct draft *draft)
{
	text_remove(&draft->payload, chunk_at(dice_below(&draft->dice, chunk_count(draft))),
	            CHUNK_SEALED_LEN);
}

static void chunk_duplicate(struct draft *draft)
{
	size_t at = chunk_at(dice_below(&draft->dice, chunk_count(draft)));

	text_insert(&draft->payload, at, copy_of(chunk_sealed(draft, at)));
}

static void chunk_move(struct draft *draft)
{
	size_t at = chunk_at(dice_below(&draft->dice, chunk_count(draft)));
	struct bytes chunk = copy_of(chunk_sealed(draft, at));

	text_remove(&draft->payload, at, chunk.len);
	text_insert(&draft->payload, chunk_at(dice_below(&draft->dice, chunk_count(draft))), chunk);
}

/* The end's mark on a chunk with more behind it. */
static void chunk_last_early(struct draft *draft)
{
	size_t number = dice_below(&draft->dice, chunk_count(draft));

	chunk_reseal(draft, number, number, true);
	if (dice_once_in(&draft->dice, 2)) /* an honest shorter file */
		text_remove(&draft->payload,
		            chunk_at(number) + chunk_plain(draft, number).len + AGE_CHUNK_TAG_LEN, TEXT_MAX);
}

static void chunk_never_last(struct draft *draft)
{
	size_t number = chunk_count(draft) - 1;

	chunk_reseal(draft, number, number, false);
}

static void chunk_counter(struct draft *draft)
{
	size_t number = dice_below(&draft->dice, chunk_count(draft));
	uint64_t counter = dice_once_in(&draft->dice, 2) ? number + 1 : UINT64_C(1) << 32 | number;

	chunk_reseal(draft, number, counter, number + 1 == chunk_count(draft));
}

/* A last chunk that is empty, which only an empty file may have. */
static void chunk_empty_last(struct draft *draft)
{
	size_t number = chunk_count(draft) - 1;

	chunk_reseal(draft, number, number, false);
	draft_seal_chunk(draft, draft->payload.len, bytes_of(NULL, 0), number + 1, true);
}

/* A chunk in the middle that is not full. */
static void chunk_short(struct draft *draft)
{
	struct bytes plain = chunk_plain(draft, 0);

	text_remove(&draft->payload, AGE_NONCE_LEN, plain.len + AGE_CHUNK_TAG_LEN);
	draft_seal_chunk(draft, AGE_NONCE_LEN, bytes_of(plain.data, plain.len / 2), 0, false);
}

static void payload_nonce(struct draft *draft)
{
	draft->payload.data[dice_below(&draft->dice, AGE_NONCE_LEN)] ^= 1;
}

/* ---- armor ---- */

static void armor_rewrap(struct draft *draft)
{
	static const size_t widths[] = { 1, 4, 32, 60, 63, 65, 68, 76, 128, 100000 };
	struct text *file = &draft->file;
	size_t width = widths[dice_below(&draft->dice, COUNT(widths))];
	size_t from = strlen(ARMOR_BEGIN) + 1, end = find_line(file, ARMOR_END, 0), column = 0;

	if (file->len > 20000)
		return;
	for (size_t i = from; i < end; i++)
		if (file->data[i] == '\n') {
			text_remove(file, i--, 1);
			end--;
		}
	for (size_t i = from; i < end; i++)
		if (++column > width) {
			insert_string(file, i, "\n");
			end++;
			column = 0;
		}
	insert_string(file, end, "\n");
}

static void armor_crlf(struct draft *draft)
{
	struct text *file = &draft->file;

	for (size_t i = file->len; file->len < 20000 && i > 0; i--)
		if (file->data[i - 1] == '\n')
			insert_string(file, i - 1, "\r");
}

static void armor_line_end(struct draft *draft)
{
	static const char *const ends[] = {
		"\r", " ", "=", "\t", "A", "\n", "\r\r", " \r", "\v", "\f", "\\"
	};
	struct bytes line;
	size_t at;

	line_of(&draft->file, some_line(draft, &draft->file), &line, &at);
	insert_string(&draft->file, at + line.len - 1, one_of(draft, ends, COUNT(ends)));
}

static void armor_before(struct draft *draft)
{
	static const char *const before[] = {
		"\n",           " ",    "\r\n", "\t\n",           "  \n\n",     "x",         "x\n",
		"\xef\xbb\xbf", "\v\n", "\f",   "Subject: x\n\n", "\xc2\xa0\n", "\xc2\x85\n"
	};
	size_t times = dice_once_in(&draft->dice, 4) ? 1020 + dice_below(&draft->dice, 9) : 1;
	const char *piece = one_of(draft, before, COUNT(before));

	while (times-- > 0)
		insert_string(&draft->file, 0, piece);
}

static void armor_after(struct draft *draft)
{
	static const char *const after[] = {
		"\n", " ",    "\r\n",         "\t",       "  \n\n",       "x",       "x\n", "\f", "\v",
		"--", "\xff", "\xe2\x80\x83", "\xc2\xa0", ARMOR_END "\n", "\xc2\x85"
	};
	size_t times = dice_once_in(&draft->dice, 4) ? 1020 + dice_below(&draft->dice, 9) : 1;
	const char *piece = one_of(draft, after, COUNT(after));

	if (piece[0] == '-')
		times = 1;
	while (times-- > 0)
		insert_string(&draft->file, draft->file.len, piece);
}

static void armor_mark(struct draft *draft)
{
	static const char *const marks[] = {
		"-----BEGIN AGE ENCRYPTED FILE-----\n",
		"-----END AGE ENCRYPTED FILE-----\n",
		"-----END AGE ENCRYPTED FILE-----",
		"-----END AGE ENCRYPTED FILE----\n",
		"-----end age encrypted file-----\n",
		"----- END AGE ENCRYPTED FILE -----\n",
		"-----END AGE FILE-----\n",
		"Version: 1\n\n",
		"\n",
		"",
	};
	bool first = dice_once_in(&draft->dice, 2);
	struct bytes line;
	size_t at;

	line_of(&draft->file, first ? 0 : text_line_count(&draft->file) - 1, &line, &at);
	if (!dice_once_in(&draft->dice, 3))
		text_remove(&draft->file, at, line.len);
	insert_string(&draft->file, at, one_of(draft, marks, COUNT(marks)));
}

/* The base64's own end: padding taken away or added, bits that say nothing, a last line of its own. */
static void armor_padding(struct draft *draft)
{
	static const char *const ends[] = { "=", "==", "===", "=\n", "A===", "\nAA==", "\n", "\n=" };
	size_t end = find_line(&draft->file, ARMOR_END, 0);

	if (end == 0)
		return;
	end--;

	if (dice_once_in(&draft->dice, 2))
		while (end > 0 && draft->file.data[end - 1] == '=')
			text_remove(&draft->file, --end, 1);
	if (dice_once_in(&draft->dice, 3) && end > 0)
		draft->file.data[end - 1]++;
	else if (!dice_once_in(&draft->dice, 3))
		insert_string(&draft->file, end, one_of(draft, ends, COUNT(ends)));
}

static void armor_other_alphabet(struct draft *draft)
{
	size_t end = find_line(&draft->file, ARMOR_END, 0);

	for (size_t i = strlen(ARMOR_BEGIN) + 1; i < end; i++)
		draft->file.data[i] = draft->file.data[i] == '+'   ? '-'
		                      : draft->file.data[i] == '/' ? '_'
		                                                   : draft->file.data[i];
}

/* ---- bytes of the whole file ---- */

static void byte_flip(struct draft *draft)
{
	flip_bit(draft, &draft->file);
}

static void byte_delete(struct draft *draft)
{
	text_remove(&draft->file, dice_below(&draft->dice, draft->file.len), 1 + dice_below(&draft->dice, 4));
}

static void byte_insert(struct draft *draft)
{
	uint8_t bytes[4];
	size_t len = 1 + dice_below(&draft->dice, sizeof(bytes));

	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)dice_throw(&draft->dice);
	text_insert(&draft->file, dice_below(&draft->dice, draft->file.len + 1), bytes_of(bytes, len));
}

static void file_cut(struct draft *draft)
{
	draft->file.len = dice_below(&draft->dice, draft->file.len);
}

static void file_line_swap(struct draft *draft)
{
	line_swap(draft, &draft->file);
}

static void file_line_duplicate(struct draft *draft)
{
	line_duplicate(draft, &draft->file);
}

static void file_line_delete(struct draft *draft)
{
	line_delete(draft, &draft->file);
}

static void file_piece_duplicate(struct draft *draft)
{
	size_t at = dice_below(&draft->dice, draft->file.len), len = dice_below(&draft->dice, 200);

	len = len < draft->file.len - at ? len : draft->file.len - at;
	text_insert(&draft->file, dice_below(&draft->dice, draft->file.len),
	            copy_of(bytes_of(draft->file.data + at, len)));
}

static void file_twice(struct draft *draft)
{
	if (draft->file.len < 20000)
		text_put(&draft->file, copy_of(text_bytes(&draft->file)));
}

static void nothing(struct draft *draft)
{
	draft->mac_renewed = true;
}

const struct mutation mutations[] = {
	{ "nothing", STAGE_HEADER, nothing },
	{ "header-line-duplicate", STAGE_HEADER, header_line_duplicate },
	{ "header-line-delete", STAGE_HEADER, header_line_delete },
	{ "header-line-swap", STAGE_HEADER, header_line_swap },
	{ "stanza-duplicate", STAGE_HEADER, stanza_duplicate },
	{ "stanza-delete", STAGE_HEADER, stanza_delete },
	{ "stanza-move", STAGE_HEADER, stanza_move },
	{ "stanza-other", STAGE_HEADER, stanza_other },
	{ "header-character", STAGE_HEADER, header_character },
	{ "header-character-insert", STAGE_HEADER, header_character_insert },
	{ "header-character-delete", STAGE_HEADER, header_character_delete },
	{ "header-line-end", STAGE_HEADER, header_line_end },
	{ "header-trailing-bits", STAGE_HEADER, header_trailing_bits },
	{ "header-crlf", STAGE_HEADER, header_crlf },
	{ "header-version", STAGE_HEADER, header_version },
	{ "header-wrap", STAGE_HEADER, header_wrap },
	{ "header-join", STAGE_HEADER, header_join },
	{ "share-low-order", STAGE_HEADER, share_low_order },
	{ "share-other-form", STAGE_HEADER, share_other_form },
	{ "share-length", STAGE_HEADER, share_length },
	{ "body-length", STAGE_HEADER, body_length },
	{ "point-other", STAGE_HEADER, point_other },
	{ "work-factor", STAGE_HEADER, work_factor },
	{ "mac-line", STAGE_HEADER, mac_line },
	{ "many-stanzas", STAGE_HEADER, many_stanzas },
	{ "many-arguments", STAGE_HEADER, many_arguments },
	{ "payload-flip", STAGE_PAYLOAD, payload_flip },
	{ "payload-cut", STAGE_PAYLOAD, payload_cut },
	{ "payload-cut-at-chunk", STAGE_PAYLOAD, payload_cut_at_chunk },
	{ "payload-cut-short", STAGE_PAYLOAD, payload_cut_short },
	{ "payload-lengthen", STAGE_PAYLOAD, payload_lengthen },
	{ "chunk-delete", STAGE_PAYLOAD, chunk_delete },
	{ "chunk-duplicate", STAGE_PAYLOAD, chunk_duplicate },
	{ "chunk-move", STAGE_PAYLOAD, chunk_move },
	{ "chunk-last-early", STAGE_PAYLOAD, chunk_last_early },
	{ "chunk-never-last", STAGE_PAYLOAD, chunk_never_last },
	{ "chunk-counter", STAGE_PAYLOAD, chunk_counter },
	{ "chunk-empty-last", STAGE_PAYLOAD, chunk_empty_last },
	{ "chunk-short", STAGE_PAYLOAD, chunk_short },
	{ "payload-nonce", STAGE_PAYLOAD, payload_nonce },
	{ "armor-rewrap", STAGE_ARMOR, armor_rewrap },
	{ "armor-crlf", STAGE_ARMOR, armor_crlf },
	{ "armor-line-end", STAGE_ARMOR, armor_line_end },
	{ "armor-before", STAGE_ARMOR, armor_before },
	{ "armor-after", STAGE_ARMOR, armor_after },
	{ "armor-mark", STAGE_ARMOR, armor_mark },
	{ "armor-padding", STAGE_ARMOR, armor_padding },
	{ "armor-other-alphabet", STAGE_ARMOR, armor_other_alphabet },
	{ "byte-flip", STAGE_FILE, byte_flip },
	{ "byte-delete", STAGE_FILE, byte_delete },
	{ "byte-insert", STAGE_FILE, byte_insert },
	{ "file-cut", STAGE_FILE, file_cut },
	{ "file-line-swap", STAGE_FILE, file_line_swap },
	{ "file-line-duplicate", STAGE_FILE, file_line_duplicate },
	{ "file-line-delete", STAGE_FILE, file_line_delete },
	{ "file-piece-duplicate", STAGE_FILE, file_piece_duplicate },
	{ "file-twice", STAGE_FILE, file_twice },
};
const size_t mutation_count = COUNT(mutations);
