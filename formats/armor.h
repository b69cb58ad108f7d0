/*
 * Armor
 *
 * The ASCII form of an age file: strict RFC 7468 with the label AGE ENCRYPTED FILE, 64 columns, LF or CRLF, white space allowed around the block and
 * nowhere inside. Streaming both ways.
 */
#pragma once

#include "common/bytes.h"
#include "common/err.h"
#include "formats/age_stream.h"

#define ARMOR_BEGIN "-----BEGIN AGE ENCRYPTED FILE-----"
#define ARMOR_END "-----END AGE ENCRYPTED FILE-----"
#define ARMOR_WHITE_SPACE_MAX 1024U /* before and after the block; age's own limit */

struct armor;

/* Output goes to sink in pieces of any size. */
MUST_CHECK enum err armor_decoder_new(age_stream_sink sink, void *context, struct armor **ret_armor);
MUST_CHECK enum err armor_encoder_new(age_stream_sink sink, void *context, struct armor **ret_armor);
struct armor *armor_free(struct armor *armor);
DEFINE_CLEANUP(struct armor *, armor_free);

MUST_CHECK enum err armor_push(struct armor *armor, struct bytes input);
MUST_CHECK enum err armor_finish(struct armor *armor); /* ERR_BAD_FILE, ERR_TRUNCATED */

/* Does text (the first bytes of a file) begin like armor, after white space? */
bool armor_looks_like(struct bytes text);
