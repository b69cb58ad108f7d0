#include "formats/filekey.h"

#include <sodium.h>

#include "common/declassify.h"
#include "formats/sha256.h"

#define NONCE_LEN 12U

_Static_assert(WRAPPED_LEN == FILE_KEY_LEN + crypto_aead_chacha20poly1305_ietf_ABYTES,
               "a wrapped key is key and tag");

static const char x25519_info[] = "age-encryption.org/v1/X25519";
static const char scrypt_info[] = "age-encryption.org/v1/scrypt";
static const char p256tag_info[] = "age-encryption.org/p256tag";

/* What HPKE puts before every label (RFC 9180, 4.1 and 5.1): KEM 0x0010 alone, and KEM 0x0010, KDF 0x0001, AEAD 0x0003. */
static const uint8_t suite_kem[] = { 'K', 'E', 'M', 0x00, 0x10 };
static const uint8_t suite_hpke[] = { 'H', 'P', 'K', 'E', 0x00, 0x10, 0x00, 0x01, 0x00, 0x03 };

struct key_and_nonce {
	uint8_t key[crypto_aead_chacha20poly1305_ietf_KEYBYTES];
	uint8_t nonce[NONCE_LEN];
};

void hkdf_sha256(struct bytes ikm, struct bytes salt, struct bytes info, uint8_t *out, size_t out_len)
{
	struct hmac_sha256 state;
	uint8_t prk[SHA256_LEN], block[SHA256_LEN];
	struct bytes previous = { NULL, 0 };

	hmac_sha256_begin(&state, salt);
	hmac_sha256_add(&state, ikm);
	hmac_sha256_end(&state, prk);
	for (uint8_t number = 1; out_len > 0; number++) {
		size_t len = out_len < SHA256_LEN ? out_len : SHA256_LEN;

		hmac_sha256_begin(&state, bytes_of(prk, SHA256_LEN));
		hmac_sha256_add(&state, previous);
		hmac_sha256_add(&state, info);
		hmac_sha256_add(&state, bytes_of(&number, 1));
		hmac_sha256_end(&state, block);
		memcpy(out, block, len);
		previous = bytes_of(block, SHA256_LEN);
		out += len;
		out_len -= len;
	}
	secret_wipe(prk, sizeof(prk));
	secret_wipe(block, sizeof(block));
}

static enum err file_key_open(const struct key_and_nonce *with, const uint8_t body[static WRAPPED_LEN],
                              struct secret **ret_file_key)
{
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	enum err err = secret_new(FILE_KEY_LEN, &file_key);
	int result;

	if (err)
		return err;
	result = crypto_aead_chacha20poly1305_ietf_decrypt(secret_fill(file_key), NULL, NULL, body,
	                                                   WRAPPED_LEN, NULL, 0, with->nonce, with->key);
	declassify(&result, sizeof(result)); /* whether it opens is the answer */
	if (result != 0)
		return ERR_BAD_CIPHERTEXT;
	*ret_file_key = TAKE(file_key);
	return OK;
}

static enum err file_key_seal(const struct key_and_nonce *with, const struct secret *file_key,
                              uint8_t ret_body[static WRAPPED_LEN])
{
	struct bytes plain = secret_reveal(file_key);

	if (plain.len != FILE_KEY_LEN)
		return ERR_BUG;
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(ret_body, NULL, plain.data, plain.len, NULL, 0, NULL,
	                                                with->nonce, with->key);
	return OK;
}

void x25519_public(const struct secret *private_key, uint8_t ret_public[static X25519_LEN])
{
	(void)crypto_scalarmult_base(ret_public, secret_reveal(private_key).data);
}

/* The wrapping key of an X25519 stanza. libsodium refuses a shared secret of zeros, which a share of low order would give. */
static enum err x25519_wrapping_key(const struct secret *scalar, const uint8_t *point,
                                    const uint8_t share[static X25519_LEN],
                                    const uint8_t recipient[static X25519_LEN],
                                    struct key_and_nonce *ret_with)
{
	uint8_t shared[X25519_LEN], salt[2 * X25519_LEN];
	int result;

	if (secret_len(scalar) != X25519_LEN)
		return ERR_BUG;
	result = crypto_scalarmult(shared, secret_reveal(scalar).data, point);
	declassify(&result, sizeof(result)); /* the point is of low order, whatever the scalar is */
	if (result != 0) {
		secret_wipe(shared, sizeof(shared));
		return ERR_BAD_FILE;
	}
	memcpy(salt, share, X25519_LEN);
	memcpy(salt + X25519_LEN, recipient, X25519_LEN);
	hkdf_sha256(bytes_of(shared, sizeof(shared)), bytes_of(salt, sizeof(salt)),
	            bytes_of_string(x25519_info), ret_with->key, sizeof(ret_with->key));
	memset(ret_with->nonce, 0, NONCE_LEN);
	secret_wipe(shared, sizeof(shared));
	return OK;
}

enum err x25519_unwrap(const struct secret *private_key, const uint8_t recipient[static X25519_LEN],
                       const uint8_t share[static X25519_LEN], const uint8_t body[static WRAPPED_LEN],
                       struct secret **ret_file_key)
{
	struct key_and_nonce with;
	enum err err = x25519_wrapping_key(private_key, share, share, recipient, &with);

	if (err)
		return err;
	err = file_key_open(&with, body, ret_file_key);
	secret_wipe(&with, sizeof(with));
	return err == ERR_BAD_CIPHERTEXT ? ERR_NO_MATCH : err;
}

enum err x25519_wrap(const uint8_t recipient[static X25519_LEN], const struct secret *file_key,
                     uint8_t ret_share[static X25519_LEN], uint8_t ret_body[static WRAPPED_LEN])
{
	CLEANUP(secret_freep) struct secret *ephemeral = NULL;
	struct key_and_nonce with;
	uint8_t share[X25519_LEN];
	enum err err = secret_new(X25519_LEN, &ephemeral);

	if (err)
		return err;
	randombytes_buf(secret_fill(ephemeral), X25519_LEN);
	x25519_public(ephemeral, share);
	err = x25519_wrapping_key(ephemeral, recipient, share, recipient, &with);
	if (err)
		return err;
	err = file_key_seal(&with, file_key, ret_body);
	secret_wipe(&with, sizeof(with));
	if (err)
		return err;
	memcpy(ret_share, share, X25519_LEN);
	return OK;
}

void p256_compress(const uint8_t point[static P256_POINT_LEN],
                   uint8_t ret_compressed[static P256_COMPRESSED_LEN])
{
	ret_compressed[0] = 0x02 | (point[P256_POINT_LEN - 1] & 0x01);
	memcpy(ret_compressed + 1, point + 1, P256_COMPRESSED_LEN - 1);
}

void p256tag_recipient_hash(const uint8_t compressed[static P256_COMPRESSED_LEN],
                            uint8_t ret_hash[static TAG_LEN])
{
	uint8_t hash[SHA256_LEN];

	sha256_of(bytes_of(compressed, P256_COMPRESSED_LEN), hash);
	memcpy(ret_hash, hash, TAG_LEN);
}

void p256tag_tag(const uint8_t enc[static P256_POINT_LEN], const uint8_t recipient_hash[static TAG_LEN],
                 uint8_t ret_tag[static TAG_LEN])
{
	struct hmac_sha256 state;
	uint8_t mac[SHA256_LEN];

	hmac_sha256_begin(&state, bytes_of_string(p256tag_info));
	hmac_sha256_add(&state, bytes_of(enc, P256_POINT_LEN));
	hmac_sha256_add(&state, bytes_of(recipient_hash, TAG_LEN));
	hmac_sha256_end(&state, mac);
	memcpy(ret_tag, mac, TAG_LEN);
}

/* HPKE's LabeledExtract. */
static void hpke_extract(struct bytes suite, struct bytes salt, const char *label, struct bytes ikm,
                         uint8_t out[static SHA256_LEN])
{
	struct hmac_sha256 state;

	hmac_sha256_begin(&state, salt);
	hmac_sha256_add(&state, bytes_of_string("HPKE-v1"));
	hmac_sha256_add(&state, suite);
	hmac_sha256_add(&state, bytes_of_string(label));
	hmac_sha256_add(&state, ikm);
	hmac_sha256_end(&state, out);
}

/* HPKE's LabeledExpand, for what fits in one block of HKDF: out_len <= SHA256_LEN. */
static void hpke_expand(struct bytes suite, const uint8_t prk[static SHA256_LEN], const char *label,
                        struct bytes info, uint8_t *out, size_t out_len)
{
	const uint8_t len[2] = { 0, (uint8_t)out_len };
	const uint8_t number = 1;
	struct hmac_sha256 state;
	uint8_t block[SHA256_LEN];

	hmac_sha256_begin(&state, bytes_of(prk, SHA256_LEN));
	hmac_sha256_add(&state, bytes_of(len, sizeof(len)));
	hmac_sha256_add(&state, bytes_of_string("HPKE-v1"));
	hmac_sha256_add(&state, suite);
	hmac_sha256_add(&state, bytes_of_string(label));
	hmac_sha256_add(&state, info);
	hmac_sha256_add(&state, bytes_of(&number, 1));
	hmac_sha256_end(&state, block);
	memcpy(out, block, out_len);
	secret_wipe(block, sizeof(block));
}

/* DHKEM(P-256, HKDF-SHA256): RFC 9180, 4.1, from the X coordinate on. */
static void hpke_shared_secret(const struct secret *x, const uint8_t enc[static P256_POINT_LEN],
                               const uint8_t recipient[static P256_POINT_LEN], uint8_t out[static SHA256_LEN])
{
	const struct bytes suite = bytes_of(suite_kem, sizeof(suite_kem));
	uint8_t context[2 * P256_POINT_LEN], prk[SHA256_LEN];

	memcpy(context, enc, P256_POINT_LEN);
	memcpy(context + P256_POINT_LEN, recipient, P256_POINT_LEN);
	hpke_extract(suite, bytes_of(NULL, 0), "eae_prk", secret_reveal(x), prk);
	hpke_expand(suite, prk, "shared_secret", bytes_of(context, sizeof(context)), out, SHA256_LEN);
	secret_wipe(prk, sizeof(prk));
}

/* The key schedule in base mode: RFC 9180, 5.1. One message is sealed, so the base nonce is the nonce. */
static void hpke_key_schedule(const uint8_t shared[static SHA256_LEN], struct bytes info,
                              struct key_and_nonce *ret_with)
{
	const struct bytes suite = bytes_of(suite_hpke, sizeof(suite_hpke));
	uint8_t context[1 + 2 * SHA256_LEN], prk[SHA256_LEN];

	context[0] = 0x00;
	hpke_extract(suite, bytes_of(NULL, 0), "psk_id_hash", bytes_of(NULL, 0), context + 1);
	hpke_extract(suite, bytes_of(NULL, 0), "info_hash", info, context + 1 + SHA256_LEN);
	hpke_extract(suite, bytes_of(shared, SHA256_LEN), "secret", bytes_of(NULL, 0), prk);
	hpke_expand(suite, prk, "key", bytes_of(context, sizeof(context)), ret_with->key,
	            sizeof(ret_with->key));
	hpke_expand(suite, prk, "base_nonce", bytes_of(context, sizeof(context)), ret_with->nonce,
	            sizeof(ret_with->nonce));
	secret_wipe(prk, sizeof(prk));
}

static enum err p256tag_wrapping_key(const struct secret *x, const uint8_t enc[static P256_POINT_LEN],
                                     const uint8_t recipient[static P256_POINT_LEN],
                                     struct key_and_nonce *ret_with)
{
	uint8_t shared[SHA256_LEN];

	if (secret_len(x) != SHA256_LEN)
		return ERR_BUG;
	hpke_shared_secret(x, enc, recipient, shared);
	hpke_key_schedule(shared, bytes_of_string(p256tag_info), ret_with);
	secret_wipe(shared, sizeof(shared));
	return OK;
}

enum err p256tag_unwrap(const struct secret *x, const uint8_t enc[static P256_POINT_LEN],
                        const uint8_t recipient[static P256_POINT_LEN],
                        const uint8_t body[static WRAPPED_LEN], struct secret **ret_file_key)
{
	struct key_and_nonce with;
	enum err err = p256tag_wrapping_key(x, enc, recipient, &with);

	if (err)
		return err;
	err = file_key_open(&with, body, ret_file_key);
	secret_wipe(&with, sizeof(with));
	return err;
}

enum err p256tag_wrap(const struct secret *x, const uint8_t enc[static P256_POINT_LEN],
                      const uint8_t recipient[static P256_POINT_LEN], const struct secret *file_key,
                      uint8_t ret_body[static WRAPPED_LEN])
{
	struct key_and_nonce with;
	enum err err = p256tag_wrapping_key(x, enc, recipient, &with);

	if (err)
		return err;
	err = file_key_seal(&with, file_key, ret_body);
	secret_wipe(&with, sizeof(with));
	return err;
}

static enum err scrypt_wrapping_key(const struct secret *passphrase, unsigned work_factor,
                                    const uint8_t salt[static SCRYPT_SALT_LEN],
                                    struct key_and_nonce *ret_with)
{
	uint8_t label_and_salt[sizeof(scrypt_info) - 1 + SCRYPT_SALT_LEN];
	struct bytes phrase = secret_reveal(passphrase);

	if (work_factor < 1 || work_factor > SCRYPT_WORK_FACTOR_MAX)
		return ERR_USAGE;
	memcpy(label_and_salt, scrypt_info, sizeof(scrypt_info) - 1);
	memcpy(label_and_salt + sizeof(scrypt_info) - 1, salt, SCRYPT_SALT_LEN);
	memset(ret_with->nonce, 0, NONCE_LEN);
	if (crypto_pwhash_scryptsalsa208sha256_ll(phrase.data, phrase.len, label_and_salt,
	                                          sizeof(label_and_salt), UINT64_C(1) << work_factor, 8, 1,
	                                          ret_with->key, sizeof(ret_with->key)) != 0)
		return ERR_NOMEM;
	return OK;
}

enum err scrypt_unwrap(const struct secret *passphrase, unsigned work_factor,
                       const uint8_t salt[static SCRYPT_SALT_LEN], const uint8_t body[static WRAPPED_LEN],
                       struct secret **ret_file_key)
{
	struct key_and_nonce with;
	enum err err = scrypt_wrapping_key(passphrase, work_factor, salt, &with);

	if (err)
		return err;
	err = file_key_open(&with, body, ret_file_key);
	secret_wipe(&with, sizeof(with));
	return err == ERR_BAD_CIPHERTEXT ? ERR_NO_MATCH : err;
}

enum err scrypt_wrap(const struct secret *passphrase, unsigned work_factor, const struct secret *file_key,
                     uint8_t ret_salt[static SCRYPT_SALT_LEN], uint8_t ret_body[static WRAPPED_LEN])
{
	struct key_and_nonce with;
	enum err err;

	randombytes_buf(ret_salt, SCRYPT_SALT_LEN);
	err = scrypt_wrapping_key(passphrase, work_factor, ret_salt, &with);
	if (err)
		return err;
	err = file_key_seal(&with, file_key, ret_body);
	secret_wipe(&with, sizeof(with));
	return err;
}
