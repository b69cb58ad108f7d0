/* Bases and drafts: whole age files made with our own writer's parts, from a seed. */
#include "tests/interop/agreement/draft.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/encoding.h"
#include "formats/armor.h"
#include "formats/recipient.h"

/* What cannot go wrong in a test does not: it ends it. */
static void must(enum err err)
{
	if (!err)
		return;
	(void)fprintf(stderr, "agreement: the files cannot be made: %s\n", err_info(err)->name);
	exit(1);
}

void text_put(struct text *text, struct bytes bytes)
{
	text_insert(text, text->len, bytes);
}

void text_insert(struct text *text, size_t at, struct bytes bytes)
{
	if (bytes.len == 0 || at > text->len || bytes.len > TEXT_MAX - text->len)
		return;
	memmove(text->data + at + bytes.len, text->data + at, text->len - at);
	memcpy(text->data + at, bytes.data, bytes.len);
	text->len += bytes.len;
}

void text_remove(struct text *text, size_t at, size_t len)
{
	if (at >= text->len)
		return;
	if (len > text->len - at)
		len = text->len - at;
	memmove(text->data + at, text->data + at + len, text->len - at - len);
	text->len -= len;
}

size_t text_line_count(const struct text *text)
{
	size_t count = 0;

	for (size_t i = 0; i < text->len; i++)
		count += text->data[i] == '\n';
	return count + (text->len > 0 && text->data[text->len - 1] != '\n');
}

void text_line(const struct text *text, size_t number, size_t *ret_at, size_t *ret_len)
{
	size_t at = 0, end;

	for (; number > 0 && at < text->len; number--) {
		const uint8_t *found = memchr(text->data + at, '\n', text->len - at);

		at = found ? (size_t)(found - text->data) + 1 : text->len;
	}
	for (end = at; end < text->len && text->data[end] != '\n';)
		end++;
	*ret_at = at;
	*ret_len = end - at + (end < text->len);
}

/* splitmix64 */
uint64_t dice_throw(struct dice *dice)
{
	uint64_t z = dice->state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

size_t dice_below(struct dice *dice, size_t sides)
{
	uint64_t thrown = dice_throw(dice);

	return sides ? (size_t)(thrown % sides) : 0;
}

/* ---- bases ---- */

enum parts { PART_X25519 = 1, PART_STRANGER = 2, PART_P256 = 4, PART_PASSPHRASE = 8, PART_GREASE = 16 };

static const struct recipe {
	const char *name;
	enum opener opener;
	unsigned parts;
	size_t plain_len;
} recipes[] = {
	{ "x25519", OPENER_X25519, PART_X25519, 0 },
	{ "x25519", OPENER_X25519, PART_X25519, 1 },
	{ "x25519", OPENER_X25519, PART_X25519, 100 },
	{ "x25519 of three", OPENER_X25519, PART_X25519 | PART_STRANGER | PART_GREASE, 40 },
	{ "x25519 beside p256tag", OPENER_X25519, PART_X25519 | PART_P256, 40 },
	{ "p256tag", OPENER_P256, PART_P256, 0 },
	{ "p256tag", OPENER_P256, PART_P256, 77 },
	{ "p256tag beside x25519", OPENER_P256, PART_X25519 | PART_P256 | PART_STRANGER | PART_GREASE, 50 },
	{ "passphrase", OPENER_PASSPHRASE, PART_PASSPHRASE, 30 },
	{ "passphrase", OPENER_PASSPHRASE, PART_PASSPHRASE, 0 },
	/* From here on long ones, which are chosen more seldom. */
	{ "one whole chunk", OPENER_X25519, PART_X25519, AGE_CHUNK_LEN },
	{ "a chunk and a byte", OPENER_X25519, PART_X25519, AGE_CHUNK_LEN + 1 },
	{ "three chunks", OPENER_P256, PART_P256, 2 * AGE_CHUNK_LEN + 500 },
};

#define RECIPE_COUNT (sizeof(recipes) / sizeof(recipes[0]))

static void stanza_for(struct base *base, struct recipient *recipient)
{
	must(recipient_wrap(recipient, base->file_key, base->header));
}

static void stanza_p256(const struct bases *bases, struct base *base)
{
	struct recipient recipient = { .kind = RECIPIENT_P256TAG };

	p256_compress(bases->p256_point, recipient.public_key);
	stanza_for(base, &recipient);
}

static void stanza_x25519(const uint8_t public_key[X25519_LEN], struct base *base)
{
	struct recipient recipient = { .kind = RECIPIENT_X25519 };

	memcpy(recipient.public_key, public_key, X25519_LEN);
	stanza_for(base, &recipient);
}

static void stanza_stranger(struct base *base)
{
	struct identity stranger;

	must(identity_new_x25519(&stranger));
	stanza_x25519(stranger.public_key, base);
	identity_done(&stranger);
}

static void stanza_passphrase(struct base *base)
{
	struct recipient recipient = { .kind = RECIPIENT_PASSPHRASE, .work_factor = 2 };

	must(secret_new_from(bytes_of_string(TEST_PASSPHRASE), &recipient.passphrase));
	stanza_for(base, &recipient);
	recipient_done(&recipient);
}

static void stanza_grease(struct base *base)
{
	must(age_stanza_put(base->header,
	                    (struct bytes[]){ bytes_of_string("Jqw-grease"), bytes_of_string("7?x") }, 2,
	                    bytes_of(recipes, 50)));
}

static enum err collect(void *context, struct bytes chunk)
{
	return buf_put(context, chunk);
}

static void payload_make(struct base *base)
{
	CLEANUP(age_stream_freep) struct age_stream *stream = NULL;

	base->plain = malloc(base->plain_len + 1);
	must(base->plain ? OK : ERR_NOMEM);
	for (size_t i = 0; i < base->plain_len; i++)
		base->plain[i] = (uint8_t)(i * 7 + i / 251);
	must(age_stream_new(true, base->file_key, collect, base->payload, &stream));
	must(age_stream_push(stream, bytes_of(base->plain, base->plain_len)));
	must(age_stream_finish(stream));
}

static void base_make(const struct bases *bases, const struct recipe *recipe, struct base *base)
{
	*base = (struct base){ .name = recipe->name,
		               .opener = recipe->opener,
		               .plain_len = recipe->plain_len };
	must(secret_new(FILE_KEY_LEN, &base->file_key));
	randombytes_buf(secret_fill(base->file_key), FILE_KEY_LEN);
	must(buf_new(AGE_HEADER_MAX, &base->header));
	must(buf_new(TEXT_MAX, &base->payload));
	must(age_header_begin(base->header));
	if (recipe->parts & PART_STRANGER)
		stanza_stranger(base);
	if (recipe->parts & PART_GREASE)
		stanza_grease(base);
	if (recipe->parts & PART_X25519)
		stanza_x25519(bases->x25519_public, base);
	if (recipe->parts & PART_P256)
		stanza_p256(bases, base);
	if (recipe->parts & PART_PASSPHRASE)
		stanza_passphrase(base);
	payload_make(base);
}

/* libsodium's randomness, while the bases are made: from the seed. */
static struct dice source;

static const char *source_name(void)
{
	return "seeded";
}

static uint32_t source_number(void)
{
	return (uint32_t)dice_throw(&source);
}

static void source_fill(void *const out, const size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)out)[i] = (uint8_t)dice_throw(&source);
}

static randombytes_implementation seeded = {
	.implementation_name = source_name,
	.random = source_number,
	.buf = source_fill,
};

static void p256_public(uint8_t ret_point[static P256_POINT_LEN])
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *point = EC_POINT_new(group);
	BIGNUM *scalar = NULL;

	if (BN_hex2bn(&scalar, TEST_P256_SCALAR) != 64 ||
	    EC_POINT_mul(group, point, scalar, NULL, NULL, NULL) != 1 ||
	    EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, ret_point, P256_POINT_LEN,
	                       NULL) != P256_POINT_LEN)
		must(ERR_BUG);
	BN_free(scalar);
	EC_POINT_free(point);
	EC_GROUP_free(group);
}

void bases_make(struct bases *bases, uint64_t seed)
{
	struct identity identity;
	struct bytes what;

	source.state = seed;
	if (randombytes_set_implementation(&seeded) != 0)
		must(ERR_BUG);
	must(secret_client_init());
	must(identity_parse(bytes_of_string(TEST_X25519_IDENTITY), &identity, &what));
	bases->x25519_private = TAKE(identity.private_key);
	memcpy(bases->x25519_public, identity.public_key, X25519_LEN);
	p256_public(bases->p256_point);
	bases->count = RECIPE_COUNT;
	bases->items = calloc(bases->count, sizeof(*bases->items));
	must(bases->items ? OK : ERR_NOMEM);
	for (size_t i = 0; i < bases->count; i++)
		base_make(bases, &recipes[i], &bases->items[i]);
}

void bases_done(struct bases *bases)
{
	for (size_t i = 0; i < bases->count; i++) {
		secret_free(bases->items[i].file_key);
		buf_free(bases->items[i].header);
		buf_free(bases->items[i].payload);
		free(bases->items[i].plain);
	}
	free(bases->items);
	secret_free(bases->x25519_private);
}

/* ---- drafts ---- */

static void text_init(struct text *text)
{
	text->data = malloc(TEXT_MAX);
	must(text->data ? OK : ERR_NOMEM);
}

void draft_init(struct draft *draft)
{
	text_init(&draft->header);
	text_init(&draft->payload);
	text_init(&draft->file);
}

void draft_done(struct draft *draft)
{
	free(draft->header.data);
	free(draft->payload.data);
	free(draft->file.data);
}

void draft_begin(struct draft *draft, const struct bases *bases, const struct base *base, uint64_t seed)
{
	draft->bases = bases;
	draft->base = base;
	draft->dice.state = seed;
	draft->armored = dice_once_in(&draft->dice, 3);
	draft->mac_renewed = !dice_once_in(&draft->dice, 4);
	draft->mac_line[0] = '\0';
	text_set(&draft->header, buf_bytes(base->header));
	text_set(&draft->payload, buf_bytes(base->payload));
}

static enum err armor_out(void *context, struct bytes piece)
{
	text_put(context, piece);
	return OK;
}

/* Appended to a header that our own writer would not write: so the MAC is computed here. */
static void mac_put(const struct draft *draft, struct bytes covered, struct text *file)
{
	uint8_t key[crypto_auth_hmacsha256_KEYBYTES], mac[AGE_MAC_LEN];
	char line[80];

	hkdf_sha256(secret_reveal(draft->base->file_key), bytes_of(NULL, 0), bytes_of_string("header"), key,
	            sizeof(key));
	(void)crypto_auth_hmacsha256(mac, covered.data, covered.len, key);
	(void)sodium_bin2base64(line, sizeof(line), mac, sizeof(mac),
	                        sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
	text_put(file, bytes_of_string(" "));
	text_put(file, bytes_of_string(line));
	text_put(file, bytes_of_string("\n"));
}

/* The MAC that the header had before it was changed. */
static void mac_put_old(const struct draft *draft, struct text *file)
{
	CLEANUP(buf_freep) struct buf *before = NULL;

	must(buf_new(AGE_HEADER_MAX, &before));
	must(buf_put(before, buf_bytes(draft->base->header)));
	must(buf_put_string(before, "---"));
	mac_put(draft, buf_bytes(before), file);
}

static void mac_line_put(const struct draft *draft, struct text *file)
{
	if (draft->mac_line[0]) {
		text_put(file, bytes_of_string(draft->mac_line));
		return;
	}
	text_put(file, bytes_of_string("---"));
	if (draft->mac_renewed)
		mac_put(draft, text_bytes(file), file);
	else
		mac_put_old(draft, file);
}

void draft_assemble(struct draft *draft)
{
	CLEANUP(armor_freep) struct armor *armor = NULL;

	text_set(&draft->file, text_bytes(&draft->header));
	mac_line_put(draft, &draft->file);
	text_put(&draft->file, text_bytes(&draft->payload));
	if (!draft->armored)
		return;
	/* The payload's text is free now: it takes the file, while the file takes the armor. */
	text_set(&draft->payload, text_bytes(&draft->file));
	draft->file.len = 0;
	must(armor_encoder_new(armor_out, &draft->file, &armor));
	must(armor_push(armor, text_bytes(&draft->payload)));
	must(armor_finish(armor));
}

void draft_seal_chunk(struct draft *draft, size_t at, struct bytes plain, uint64_t number, bool last)
{
	uint8_t key[32], nonce[12] = { 0 };
	uint8_t *sealed = malloc(plain.len + AGE_CHUNK_TAG_LEN);

	must(sealed ? OK : ERR_NOMEM);
	hkdf_sha256(secret_reveal(draft->base->file_key), bytes_of(draft->payload.data, AGE_NONCE_LEN),
	            bytes_of_string("payload"), key, sizeof(key));
	for (size_t i = 0; i < 8; i++)
		nonce[3 + i] = (uint8_t)(number >> (56 - 8 * i));
	nonce[11] = last;
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(sealed, NULL, plain.data, plain.len, NULL, 0, NULL,
	                                                nonce, key);
	text_insert(&draft->payload, at, bytes_of(sealed, plain.len + AGE_CHUNK_TAG_LEN));
	free(sealed);
}
