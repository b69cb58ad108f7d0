/*
 * Draft
 *
 * An age file while it is being damaged: its header, MAC line and payload apart, with the file key known, so that a mutation can be followed by a
 * MAC that is right again and what lies behind the MAC is reached. Everything follows from a seed and a number; nothing is random.
 */
#pragma once

#include "common/buf.h"
#include "common/bytes.h"
#include "common/secret.h"
#include "formats/age_header.h"
#include "formats/age_stream.h"
#include "formats/filekey.h"

#define TEXT_MAX (400U << 10)
#define CHUNK_SEALED_LEN (AGE_CHUNK_LEN + AGE_CHUNK_TAG_LEN)

#define TEST_X25519_IDENTITY "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
#define TEST_PASSPHRASE "correct horse battery staple"
#define TEST_P256_SCALAR "3927becc32b5f2a17452b8f1615926c2fc7211dc591e9f45ebdac4963f1b292f"
#define TEST_WORK_FACTOR_MAX 10U

/* What it is opened with; the numbers are those of the peers' messages. */
enum opener { OPENER_X25519, OPENER_PASSPHRASE, OPENER_P256, OPENER_COUNT };

struct text {
	uint8_t *data; /* TEXT_MAX bytes */
	size_t len;
};

/* What does not fit, or is not there, leaves the text as it is. */
void text_put(struct text *text, struct bytes bytes);
void text_insert(struct text *text, size_t at, struct bytes bytes);
void text_remove(struct text *text, size_t at, size_t len);

static inline void text_set(struct text *text, struct bytes bytes)
{
	text->len = 0;
	text_put(text, bytes);
}

static inline struct bytes text_bytes(const struct text *text)
{
	return bytes_of(text->data, text->len);
}

/* A line of text with its LF, if it has one: where it begins and how long it is. */
size_t text_line_count(const struct text *text);
void text_line(const struct text *text, size_t number, size_t *ret_at, size_t *ret_len);

struct dice {
	uint64_t state;
};

uint64_t dice_throw(struct dice *dice);

/* 0 to sides less 1; 0 for no sides. */
size_t dice_below(struct dice *dice, size_t sides);
static inline bool dice_once_in(struct dice *dice, size_t times)
{
	return dice_below(dice, times) == 0;
}

/* A whole file that nobody damaged yet. */
struct base {
	const char *name;
	enum opener opener;
	struct secret *file_key; /* owned */
	struct buf *header; /* owned; up to the MAC line */
	struct buf *payload; /* owned; nonce and chunks */
	uint8_t *plain; /* owned */
	size_t plain_len;
};

struct bases {
	struct base *items;
	size_t count;
	struct secret *x25519_private; /* owned */
	uint8_t x25519_public[X25519_LEN];
	uint8_t p256_point[P256_POINT_LEN];
};

void bases_make(struct bases *bases, uint64_t seed);
void bases_done(struct bases *bases);

struct draft {
	const struct bases *bases; /* borrowed */
	const struct base *base; /* borrowed */
	struct dice dice;
	bool armored;
	bool mac_renewed; /* the MAC is computed after the mutations of the header */
	struct text header, payload, file;
	char mac_line[128]; /* what stands instead of the MAC line; "": an honest one */
};

void draft_init(struct draft *draft);
void draft_done(struct draft *draft);

/* Begins anew from base: everything as it was. */
void draft_begin(struct draft *draft, const struct bases *bases, const struct base *base, uint64_t seed);

/* header, MAC line and payload to file, and armor around it. */
void draft_assemble(struct draft *draft);

/* Writes one sealed chunk of the payload: with the number and the mark of the last chunk that are given, under the payload's own nonce. */
void draft_seal_chunk(struct draft *draft, size_t at, struct bytes plain, uint64_t number, bool last);
