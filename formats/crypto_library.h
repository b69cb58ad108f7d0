/*
 * Crypto library
 *
 * The few functions of libcrypto that are worth having beside libsodium: ChaCha20-Poly1305 in bulk, and P-256. The library is loaded when the first of
 * them is called, never before: a program that does not need it does not pay for it. It works in a context of its own, in which no configuration
 * is loaded and no provider but the built-in one, so that neither OPENSSL_CONF nor a file of the system can change what happens here.
 *
 * Loading is not for several threads at once. A bulk cipher may be used by one thread at a time, several ciphers by several threads.
 */
#pragma once

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/key.h"
#include "common/secret.h"

#define BULK_KEY_LEN 32U
#define BULK_NONCE_LEN 12U
#define BULK_TAG_LEN 16U

struct bulk_cipher;

/* ChaCha20-Poly1305 with key (32 bytes; copied into the cipher, wiped when it is freed). ERR_UNSUPPORTED when there is no libcrypto. */
MUST_CHECK enum err bulk_cipher_new(bool encrypting, const struct secret *key,
                                    struct bulk_cipher **ret_cipher);
struct bulk_cipher *bulk_cipher_free(struct bulk_cipher *cipher);
DEFINE_CLEANUP(struct bulk_cipher *, bulk_cipher_free);

/* One message. in and out do not overlap; out has room for in and the tag, or for in without it. */
MUST_CHECK enum err bulk_cipher_seal(struct bulk_cipher *cipher, const uint8_t nonce[static BULK_NONCE_LEN],
                                     struct bytes in, uint8_t *out);

/* ERR_BAD_CIPHERTEXT: out then holds zeros. in is at least a tag long. */
MUST_CHECK enum err bulk_cipher_open(struct bulk_cipher *cipher, const uint8_t nonce[static BULK_NONCE_LEN],
                                     struct bytes in, uint8_t *out);

/* Loads the library and readies P-256 now: for whoever shuts himself in and could load nothing later. ERR_UNSUPPORTED when there is none. */
MUST_CHECK enum err p256_prepare(void);

/* The point whose compressed form is given. ERR_USAGE when it is not on the curve, ERR_UNSUPPORTED when there is no libcrypto. */
MUST_CHECK enum err p256_decompress(const uint8_t compressed[static P256_COMPRESSED_LEN],
                                    uint8_t ret_point[static P256_POINT_LEN]);

/* A fresh key pair, its public key (enc), and the X coordinate of its ECDH with point, which is checked. Errors as p256_decompress. */
MUST_CHECK enum err p256_encapsulate(const uint8_t point[static P256_POINT_LEN],
                                     uint8_t ret_enc[static P256_POINT_LEN], struct secret **ret_x);
