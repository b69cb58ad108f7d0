#include "formats/age_batch.h"

#include <sodium.h>
#include <stdlib.h>

#include "formats/age_stream.h"
#include "formats/crypto_library.h"

#define SEALED_CHUNK_LEN (AGE_CHUNK_LEN + AGE_CHUNK_TAG_LEN)
#define NONCE_LEN 12U
#define SMALL_LEN 4096U
#define PAGE_LEN 4096U

struct batch_cipher {
	bool encrypting;
	const struct secret *key; /* borrowed */
	struct bulk_cipher *bulk; /* owned; NULL: libsodium */
};

enum err batch_cipher_new(bool encrypting, const struct secret *payload_key, bool bulk,
                          struct batch_cipher **ret_cipher)
{
	CLEANUP(batch_cipher_freep) struct batch_cipher *cipher = calloc(1, sizeof(*cipher));
	enum err err = OK;

	if (!cipher)
		return ERR_NOMEM;
	cipher->encrypting = encrypting;
	cipher->key = payload_key;
	if (bulk)
		err = bulk_cipher_new(encrypting, payload_key, &cipher->bulk);
	/* Without libcrypto it is slower, and that is all. */
	if (err && err != ERR_UNSUPPORTED)
		return err;
	*ret_cipher = TAKE(cipher);
	return OK;
}

struct batch_cipher *batch_cipher_free(struct batch_cipher *cipher)
{
	if (!cipher)
		return NULL;
	bulk_cipher_free(cipher->bulk);
	free(cipher);
	return NULL;
}

static size_t chunk_in_len(bool encrypting)
{
	return encrypting ? AGE_CHUNK_LEN : SEALED_CHUNK_LEN;
}

static size_t chunk_out_len(bool encrypting)
{
	return encrypting ? SEALED_CHUNK_LEN : AGE_CHUNK_LEN;
}

size_t batch_in_len(bool encrypting)
{
	return BATCH_CHUNKS * chunk_in_len(encrypting);
}

/*
 * From the beginning of a page, as a file is kept: what is copied to a place up to 31 bytes further into its page than it was, as into what malloc gives,
 * AMD's Zen 3 copies at a quarter of its speed.
 */
static uint8_t *allocate_pages(size_t len)
{
	void *pages;

	return posix_memalign(&pages, PAGE_LEN, len) ? NULL : pages;
}

static enum err allocate(struct batch *batch, size_t in_room, size_t out_room)
{
	memset(batch, 0, sizeof(*batch));
	batch->in = allocate_pages(in_room);
	batch->out = allocate_pages(out_room);
	batch->in_room = in_room;
	return batch->in && batch->out ? OK : ERR_NOMEM;
}

enum err batch_init(struct batch *batch, bool encrypting)
{
	return allocate(batch, batch_in_len(encrypting) + 1, BATCH_CHUNKS * chunk_out_len(encrypting));
}

enum err batch_init_small(struct batch *batch)
{
	return allocate(batch, SMALL_LEN, SMALL_LEN + AGE_CHUNK_TAG_LEN);
}

enum err batch_grow(struct batch *batch, bool encrypting)
{
	struct batch large;
	enum err err = batch_init(&large, encrypting);

	if (!err) {
		memcpy(large.in, batch->in, batch->in_len);
		large.in_len = large.in_used = batch->in_len;
	}
	batch_done(err ? &large : batch);
	if (!err)
		*batch = large;
	return err;
}

void batch_done(struct batch *batch)
{
	if (batch->in)
		secret_wipe(batch->in, batch->in_used);
	if (batch->out)
		secret_wipe(batch->out, batch->out_used);
	free(batch->in);
	free(batch->out);
	batch->in = batch->out = NULL;
}

/* An 11-byte counter, and a byte that marks the last chunk. */
static void chunk_nonce(uint64_t number, bool last, uint8_t ret_nonce[static NONCE_LEN])
{
	memset(ret_nonce, 0, NONCE_LEN);
	for (size_t i = 0; i < sizeof(number); i++)
		ret_nonce[NONCE_LEN - 2 - i] = (uint8_t)(number >> 8 * i);
	ret_nonce[NONCE_LEN - 1] = last;
}

static enum err chunk_seal(struct batch_cipher *cipher, uint64_t number, bool last, struct bytes in,
                           uint8_t *out)
{
	uint8_t nonce[NONCE_LEN];

	chunk_nonce(number, last, nonce);
	if (cipher->bulk)
		return bulk_cipher_seal(cipher->bulk, nonce, in, out);
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, in.data, in.len, NULL, 0, NULL, nonce,
	                                                secret_reveal(cipher->key).data);
	return OK;
}

static enum err chunk_open(struct batch_cipher *cipher, uint64_t number, bool last, struct bytes in,
                           uint8_t *out)
{
	uint8_t nonce[NONCE_LEN];

	chunk_nonce(number, last, nonce);
	if (cipher->bulk)
		return bulk_cipher_open(cipher->bulk, nonce, in, out);
	return crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, in.data, in.len, NULL, 0, nonce,
	                                                 secret_reveal(cipher->key).data)
	               ? ERR_BAD_CIPHERTEXT
	               : OK;
}

/*
 * A chunk that does not open as what it should be may still open as what it should not be: a last chunk with bytes after it, or one that is not the
 * last and yet nothing follows. Either was written by somebody with the key, so it is released as age releases it, and the file is bad after it.
 */
static enum err chunk_open_wrong_end(struct batch_cipher *cipher, uint64_t number, bool last, struct bytes in,
                                     uint8_t *out, size_t *ret_len)
{
	if (in.len != SEALED_CHUNK_LEN || chunk_open(cipher, number, !last, in, out))
		return ERR_BAD_CIPHERTEXT;
	*ret_len = AGE_CHUNK_LEN;
	return last ? ERR_TRUNCATED : ERR_BAD_CIPHERTEXT;
}

/* *ret_len: how much of out may be released; set also when there is an error. */
static enum err chunk_run(struct batch_cipher *cipher, uint64_t number, bool last, struct bytes in,
                          uint8_t *out, size_t *ret_len)
{
	enum err err;

	*ret_len = 0;
	if (cipher->encrypting) {
		*ret_len = in.len + AGE_CHUNK_TAG_LEN;
		return chunk_seal(cipher, number, last, in, out);
	}
	if (in.len < AGE_CHUNK_TAG_LEN)
		return ERR_TRUNCATED;
	/* Only an empty file has an empty chunk. */
	if (in.len == AGE_CHUNK_TAG_LEN && number > 0)
		return ERR_BAD_CIPHERTEXT;
	err = chunk_open(cipher, number, last, in, out);
	if (err == ERR_BAD_CIPHERTEXT)
		return chunk_open_wrong_end(cipher, number, last, in, out, ret_len);
	if (!err)
		*ret_len = in.len - AGE_CHUNK_TAG_LEN;
	return err;
}

void batch_run(struct batch *batch, struct batch_cipher *cipher)
{
	size_t whole = batch->last ? batch->in_len : batch_in_len(cipher->encrypting);
	size_t at = 0;
	uint64_t number = batch->first_chunk;

	batch->out_len = 0;
	do {
		size_t rest = whole - at, len = 0;
		size_t in_len =
		        rest < chunk_in_len(cipher->encrypting) ? rest : chunk_in_len(cipher->encrypting);
		bool last = batch->last && rest == in_len;

		batch->err = chunk_run(cipher, number++, last, bytes_of(batch->in + at, in_len),
		                       batch->out + batch->out_len, &len);
		batch->out_len += len;
		at += in_len;
	} while (!batch->err && at < whole);
	/* Either library leaves nothing of what it could not verify behind what is good. */
	batch->out_used = batch->out_len > batch->out_used ? batch->out_len : batch->out_used;
}
