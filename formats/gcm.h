/*
 * GCM
 *
 * AES-256-GCM with an IV of any length, as SOPS has it: libsodium's takes 12 bytes, SOPS writes 32. Done by libnettle, of which little is needed and which is small: it is loaded in a fifth of the time of libcrypto,
 * and needs no providers and no context. It is loaded when the first cipher is made, never before. On a processor without instructions for AES its tables are looked up by what is secret, as they are in sops.
 *
 * Loading is not for several threads at once. A cipher may be used by one thread at a time, several ciphers by several threads.
 */
#pragma once

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/secret.h"

#define GCM_KEY_LEN 32U
#define GCM_TAG_LEN 16U

struct gcm;

/* A cipher with that key, which is copied into it: what comes of the key is in locked memory, and wiped when the cipher is freed. ERR_UNSUPPORTED when there is no libnettle, ERR_BUG when the key is not of
 * GCM_KEY_LEN, and errors of secret_new. */
MUST_CHECK enum err gcm_new(const struct secret *key, struct gcm **ret_cipher);
struct gcm *gcm_free(struct gcm *cipher);
DEFINE_CLEANUP(struct gcm *, gcm_free);

/* One message. iv has any length but 0 (else ERR_BUG); text has room for data, and is data's own place or does not overlap it. ERR_BAD_CIPHERTEXT: what
 * text then holds must not be released, and may be the plaintext all the same: whoever calls has it wiped. */
MUST_CHECK enum err gcm_open(struct gcm *cipher, struct bytes iv, struct bytes authenticated,
                             struct bytes data, const uint8_t tag[static GCM_TAG_LEN], uint8_t *text);

/* The other way round: data has room for text. Whoever calls sees to it that no IV serves twice. */
MUST_CHECK enum err gcm_seal(struct gcm *cipher, struct bytes iv, struct bytes authenticated,
                             struct bytes text, uint8_t *data, uint8_t tag[static GCM_TAG_LEN]);

/* Loads the library now, for whoever goes on in several processes. ERR_UNSUPPORTED when there is none. */
MUST_CHECK enum err gcm_prepare(void);
