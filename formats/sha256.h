/*
 * SHA-256
 *
 * SHA-256 and HMAC with it (FIPS 180-4, RFC 2104): from libsodium, which every program has, or, once sha256_prepare was called, from libnettle, which is five times as fast where the processor has
 * instructions for it. A broker hashes some 2.5 KiB for each file that it opens, a quarter of its own work; a program that opens one file would wait longer for the library than it gains.
 *
 * A state is plain memory: it may be copied, to go on from it twice. What it was fed can be told from it, so that of a secret it is wiped as that is.
 */
#pragma once

#include "common/bytes.h"
#include "common/err.h"

#define SHA256_LEN 32U

struct sha256 {
	_Alignas(16) uint8_t space[112];
};

struct hmac_sha256 {
	_Alignas(16) uint8_t space[336];
};

/* From now on by libnettle: before threads begin and before a sandbox is closed. A state that was begun before is not to be gone on with. False where it is not there, and nothing changes. */
bool sha256_prepare(void);

void sha256_begin(struct sha256 *state);
void sha256_add(struct sha256 *state, struct bytes bytes);
void sha256_end(struct sha256 *state, uint8_t ret_hash[static SHA256_LEN]);

/* All three at once. */
void sha256_of(struct bytes bytes, uint8_t ret_hash[static SHA256_LEN]);

/* key: of any length, also none. */
void hmac_sha256_begin(struct hmac_sha256 *state, struct bytes key);
void hmac_sha256_add(struct hmac_sha256 *state, struct bytes bytes);

/* Wipes the state. */
void hmac_sha256_end(struct hmac_sha256 *state, uint8_t ret_mac[static SHA256_LEN]);
