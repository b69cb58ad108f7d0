/*
 * File key
 *
 * The mathematics of wrapping an age file key to one recipient (age v1, C2SP age.md; HPKE, RFC 9180): given a shared secret or a private key, the
 * tag, the wrapping key and the 32-byte body. Pure functions over fixed sizes, libsodium only, so that a helper can use them without an age
 * parser and without OpenSSL. Nothing here makes or parses a file.
 */
#pragma once

#include "common/err.h"
#include "common/key.h"
#include "common/secret.h"

#define WRAPPED_LEN 32U /* 16-byte file key and 16-byte tag */
#define TAG_LEN 4U

/* HKDF-SHA-256 (RFC 5869): out_len <= 255*32. */
void hkdf_sha256(struct bytes ikm, struct bytes salt, struct bytes info, uint8_t *out, size_t out_len);

/* The public key of an X25519 private key (32 bytes). */
void x25519_public(const struct secret *private_key, uint8_t ret_public[static X25519_LEN]);

/* Opens an X25519 stanza. ERR_NO_MATCH when it is not for this key, ERR_BAD_FILE for a share that gives an all-zero secret. */
MUST_CHECK enum err x25519_unwrap(const struct secret *private_key,
                                  const uint8_t recipient[static X25519_LEN],
                                  const uint8_t share[static X25519_LEN],
                                  const uint8_t body[static WRAPPED_LEN], struct secret **ret_file_key);

/* Makes an X25519 stanza: a fresh share and the body. ERR_BAD_FILE for a recipient of low order. */
MUST_CHECK enum err x25519_wrap(const uint8_t recipient[static X25519_LEN], const struct secret *file_key,
                                uint8_t ret_share[static X25519_LEN], uint8_t ret_body[static WRAPPED_LEN]);

/* The 4 bytes of a p256 recipient that its tags are made from: SHA-256(compressed point)[0:4]. May be kept in the clear. */
void p256tag_recipient_hash(const uint8_t compressed[static P256_COMPRESSED_LEN],
                            uint8_t ret_hash[static TAG_LEN]);

/* The tag of a p256tag stanza: HMAC-SHA-256("age-encryption.org/p256tag", enc || recipient hash)[0:4]. */
void p256tag_tag(const uint8_t enc[static P256_POINT_LEN], const uint8_t recipient_hash[static TAG_LEN],
                 uint8_t ret_tag[static TAG_LEN]);

/* 33 bytes from 65; the point's own prefix byte must be 04. */
void p256_compress(const uint8_t point[static P256_POINT_LEN],
                   uint8_t ret_compressed[static P256_COMPRESSED_LEN]);

/* Opens a p256tag body with the X coordinate that the device computed (32 bytes). ERR_BAD_CIPHERTEXT when it does not open. */
MUST_CHECK enum err p256tag_unwrap(const struct secret *x, const uint8_t enc[static P256_POINT_LEN],
                                   const uint8_t recipient[static P256_POINT_LEN],
                                   const uint8_t body[static WRAPPED_LEN], struct secret **ret_file_key);

/* Seals a file key with the X coordinate of a fresh ECDH (the caller made enc). */
MUST_CHECK enum err p256tag_wrap(const struct secret *x, const uint8_t enc[static P256_POINT_LEN],
                                 const uint8_t recipient[static P256_POINT_LEN],
                                 const struct secret *file_key, uint8_t ret_body[static WRAPPED_LEN]);

#define SCRYPT_SALT_LEN 16U
#define SCRYPT_WORK_FACTOR_MAX 30U /* of what can be computed at all: 1 TiB of memory */

/* Opens and makes a passphrase's stanza; work_factor is log2 of N, from 1 on. It takes 1 KiB << work_factor of memory, and as much time as that
 * means. ERR_NO_MATCH for the wrong passphrase, ERR_USAGE for a work factor that cannot be. */
MUST_CHECK enum err scrypt_unwrap(const struct secret *passphrase, unsigned work_factor,
                                  const uint8_t salt[static SCRYPT_SALT_LEN],
                                  const uint8_t body[static WRAPPED_LEN], struct secret **ret_file_key);
MUST_CHECK enum err scrypt_wrap(const struct secret *passphrase, unsigned work_factor,
                                const struct secret *file_key, uint8_t ret_salt[static SCRYPT_SALT_LEN],
                                uint8_t ret_body[static WRAPPED_LEN]);
