#include "formats/gcm.h"

#include <nettle/gcm.h>
#include <sodium.h>
#include <stdlib.h>

#include "formats/dynamic_library.h"

#define FUNCTIONS(X)                 \
	X(nettle_gcm_aes256_set_key) \
	X(nettle_gcm_aes256_set_iv)  \
	X(nettle_gcm_aes256_update)  \
	X(nettle_gcm_aes256_encrypt) \
	X(nettle_gcm_aes256_decrypt) \
	X(nettle_gcm_aes256_digest)

/* Nettle 3.4.1 to 3.10 have this name and this layout of a context. */
DYNAMIC_LIBRARY("libnettle.so.8", FUNCTIONS);

enum err gcm_prepare(void)
{
	return dynamic_library_load(&dynamic) ? OK : ERR_UNSUPPORTED;
}

struct gcm {
	struct secret *memory; /* owned; where the context is */
	struct gcm_aes256_ctx *context;
};

enum err gcm_new(const struct secret *key, struct gcm **ret_cipher)
{
	CLEANUP(gcm_freep) struct gcm *cipher = NULL;
	enum err err = gcm_prepare();

	if (err)
		return err;
	if (secret_len(key) != GCM_KEY_LEN)
		return ERR_BUG;
	cipher = calloc(1, sizeof(*cipher));
	if (!cipher)
		return ERR_NOMEM;
	/* A secret ends where its memory ends, so that one of a size of whole alignments is aligned. */
	_Static_assert(sizeof(*cipher->context) % _Alignof(struct gcm_aes256_ctx) == 0,
	               "a context is aligned");
	err = secret_new(sizeof(*cipher->context), &cipher->memory);
	if (err)
		return err;
	cipher->context = (struct gcm_aes256_ctx *)(void *)secret_fill(cipher->memory);
	call.nettle_gcm_aes256_set_key(cipher->context, secret_reveal(key).data);
	*ret_cipher = TAKE(cipher);
	return OK;
}

struct gcm *gcm_free(struct gcm *cipher)
{
	if (!cipher)
		return NULL;
	(void)secret_free(cipher->memory);
	free(cipher);
	return NULL;
}

static enum err begin(struct gcm *cipher, struct bytes iv, struct bytes authenticated)
{
	if (iv.len == 0)
		return ERR_BUG;
	call.nettle_gcm_aes256_set_iv(cipher->context, iv.len, iv.data);
	if (authenticated.len)
		call.nettle_gcm_aes256_update(cipher->context, authenticated.len, authenticated.data);
	return OK;
}

enum err gcm_open(struct gcm *cipher, struct bytes iv, struct bytes authenticated, struct bytes data,
                  const uint8_t tag[static GCM_TAG_LEN], uint8_t *text)
{
	uint8_t expected[GCM_TAG_LEN];
	enum err err = begin(cipher, iv, authenticated);

	if (err)
		return err;
	if (data.len)
		call.nettle_gcm_aes256_decrypt(cipher->context, data.len, text, data.data);
	call.nettle_gcm_aes256_digest(cipher->context, sizeof(expected), expected);
	return crypto_verify_16(expected, tag) == 0 ? OK : ERR_BAD_CIPHERTEXT;
}

enum err gcm_seal(struct gcm *cipher, struct bytes iv, struct bytes authenticated, struct bytes text,
                  uint8_t *data, uint8_t tag[static GCM_TAG_LEN])
{
	enum err err = begin(cipher, iv, authenticated);

	if (err)
		return err;
	if (text.len)
		call.nettle_gcm_aes256_encrypt(cipher->context, text.len, data, text.data);
	call.nettle_gcm_aes256_digest(cipher->context, GCM_TAG_LEN, tag);
	return OK;
}
