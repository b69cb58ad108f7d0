/*
 * SOPS value
 *
 * One encrypted value: ENC[AES256_GCM,data:...,iv:...,tag:...,type:...], base64 with padding, AES-256 in GCM with an IV of any length (sops writes 32 bytes), and the path of the value
 * as what is authenticated beside it. Parsed strictly; as in sops, what follows the last bracket is ignored.
 */
#pragma once

#include <sodium.h>

#include "common/buf.h"
#include "common/bytes.h"
#include "common/err.h"
#include "formats/gcm.h"

#define SOPS_VALUE_BEGIN "ENC[AES256_GCM,data:"
#define SOPS_IV_MAX 256U
#define SOPS_IV_LEN 32U /* of those that are made here */
#define SOPS_TAG_LEN 16U
#define SOPS_DATA_KEY_LEN 32U

enum sops_type {
	SOPS_TYPE_STRING,
	SOPS_TYPE_INTEGER,
	SOPS_TYPE_FLOAT,
	SOPS_TYPE_BOOLEAN,
	SOPS_TYPE_BYTES,
	SOPS_TYPE_TIME,
	SOPS_TYPE_COMMENT,
};

struct sops_value {
	struct bytes data, iv, tag; /* base64, borrowed from the text */
	enum sops_type type;
};

/* Does text begin as an encrypted value does? */
bool sops_value_looks_like(struct bytes text);

/* ERR_BAD_FILE when it is not of the form. */
MUST_CHECK enum err sops_value_parse(struct bytes text, struct sops_value *ret_value);

/* Appends the plaintext to out in the form that sops hashes: the bytes of a string, decimal numbers, True or False. ERR_BAD_CIPHERTEXT when it does not verify, or is not of its type;
 * ERR_BAD_FILE when its base64 is none; ERR_BUSY when out is full. */
MUST_CHECK enum err sops_value_open(const struct sops_value *value, struct gcm *cipher,
                                    struct bytes authenticated, struct buf *out);

/* Appends text, of that type and in the form that sops hashes, encrypted with a fresh IV. ERR_BUSY when out is full. */
MUST_CHECK enum err sops_value_seal(enum sops_type type, struct bytes text, struct gcm *cipher,
                                    struct bytes authenticated, struct buf *out);

#define SOPS_MAC_LEN (2U * crypto_hash_sha512_BYTES)

/* Ends state and writes the hash as a file's MAC has it: digits in upper case, and a NUL. The caller wipes it: it is encrypted in the file, since short values could be guessed by it. */
void sops_mac_end(crypto_hash_sha512_state *state, char ret_text[static SOPS_MAC_LEN + 1]);
