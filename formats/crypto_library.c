/*
 * P-256 is done with libcrypto's points and not with its keys: no key object, no encoder and no provider is needed for two multiplications. Its curve
 * code multiplies in constant time for scalars so marked.
 */
#include "formats/crypto_library.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <sodium.h>
#include <stdlib.h>

#include "formats/dynamic_library.h"

#define SCALAR_LEN 32U

/* Every function used, with the type that OpenSSL's own header gives it. */
#define FUNCTIONS(X)                       \
	X(OPENSSL_init_crypto)             \
	X(OSSL_LIB_CTX_new)                \
	X(EVP_CIPHER_fetch)                \
	X(EVP_CIPHER_CTX_new)              \
	X(EVP_CIPHER_CTX_free)             \
	X(EVP_CIPHER_CTX_ctrl)             \
	X(EVP_CipherInit_ex2)              \
	X(EVP_CipherUpdate)                \
	X(EVP_CipherFinal_ex)              \
	X(EC_GROUP_new_by_curve_name_ex)   \
	X(EC_GROUP_get0_order)             \
	X(EC_GROUP_get0_generator)         \
	X(EC_POINT_new)                    \
	X(EC_POINT_clear_free)             \
	X(EC_POINT_oct2point)              \
	X(EC_POINT_point2oct)              \
	X(EC_POINT_mul)                    \
	X(EC_POINT_get_affine_coordinates) \
	X(BN_CTX_secure_new_ex)            \
	X(BN_CTX_free)                     \
	X(BN_bin2bn)                       \
	X(BN_bn2binpad)                    \
	X(BN_new)                          \
	X(BN_clear_free)                   \
	X(BN_cmp)                          \
	X(BN_set_flags)                    \
	X(BN_is_zero)

/* OpenSSL 3. */
DYNAMIC_LIBRARY("libcrypto.so.3", FUNCTIONS);

static struct {
	bool tried;
	OSSL_LIB_CTX *context; /* NULL: the library cannot be used */
	EVP_CIPHER *cipher; /* fetched at first use */
	EC_GROUP *group; /* made at first use */
} library;

static bool library_load(void)
{
	if (library.tried)
		return library.context != NULL;
	library.tried = true;
	if (!dynamic_library_load(&dynamic))
		return false;
	/* Said first, it holds for good: whatever would load the configuration later finds that done. */
	if (call.OPENSSL_init_crypto(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT, NULL) != 1)
		return false;
	library.context = call.OSSL_LIB_CTX_new();
	return library.context != NULL;
}

struct bulk_cipher {
	EVP_CIPHER_CTX *state;
	bool encrypting;
};

static enum err cipher_load(void)
{
	if (!library_load())
		return ERR_UNSUPPORTED;
	if (!library.cipher)
		library.cipher = call.EVP_CIPHER_fetch(library.context, "ChaCha20-Poly1305", NULL);
	return library.cipher ? OK : ERR_UNSUPPORTED;
}

enum err bulk_cipher_new(bool encrypting, const struct secret *key, struct bulk_cipher **ret_cipher)
{
	CLEANUP(bulk_cipher_freep) struct bulk_cipher *cipher = NULL;
	enum err err = cipher_load();

	if (err)
		return err;
	if (secret_len(key) != BULK_KEY_LEN)
		return ERR_BUG;
	cipher = calloc(1, sizeof(*cipher));
	if (!cipher)
		return ERR_NOMEM;
	cipher->encrypting = encrypting;
	cipher->state = call.EVP_CIPHER_CTX_new();
	if (!cipher->state)
		return ERR_NOMEM;
	if (call.EVP_CipherInit_ex2(cipher->state, library.cipher, secret_reveal(key).data, NULL, encrypting,
	                            NULL) != 1)
		return ERR_BUG;
	*ret_cipher = TAKE(cipher);
	return OK;
}

struct bulk_cipher *bulk_cipher_free(struct bulk_cipher *cipher)
{
	if (!cipher)
		return NULL;
	call.EVP_CIPHER_CTX_free(cipher->state);
	free(cipher);
	return NULL;
}

/* OpenSSL counts in int; a message here is a chunk. */
static bool cipher_run(struct bulk_cipher *cipher, const uint8_t *nonce, struct bytes in, uint8_t *out)
{
	int written = 0;

	if (in.len > INT32_MAX ||
	    call.EVP_CipherInit_ex2(cipher->state, NULL, NULL, nonce, cipher->encrypting, NULL) != 1)
		return false;
	return in.len == 0 || call.EVP_CipherUpdate(cipher->state, out, &written, in.data, (int)in.len) == 1;
}

enum err bulk_cipher_seal(struct bulk_cipher *cipher, const uint8_t nonce[static BULK_NONCE_LEN],
                          struct bytes in, uint8_t *out)
{
	int written = 0;

	if (!cipher_run(cipher, nonce, in, out) ||
	    call.EVP_CipherFinal_ex(cipher->state, out + in.len, &written) != 1)
		return ERR_BUG;
	if (call.EVP_CIPHER_CTX_ctrl(cipher->state, EVP_CTRL_AEAD_GET_TAG, BULK_TAG_LEN, out + in.len) != 1)
		return ERR_BUG;
	return OK;
}

enum err bulk_cipher_open(struct bulk_cipher *cipher, const uint8_t nonce[static BULK_NONCE_LEN],
                          struct bytes in, uint8_t *out)
{
	struct bytes text = bytes_of(in.data, in.len - BULK_TAG_LEN);
	uint8_t tag[BULK_TAG_LEN], none[BULK_TAG_LEN];
	int written = 0;

	memcpy(tag, in.data + text.len, sizeof(tag));
	if (!cipher_run(cipher, nonce, text, out))
		return ERR_BUG;
	if (call.EVP_CIPHER_CTX_ctrl(cipher->state, EVP_CTRL_AEAD_SET_TAG, BULK_TAG_LEN, tag) != 1)
		return ERR_BUG;
	if (call.EVP_CipherFinal_ex(cipher->state, none, &written) == 1)
		return OK;
	/* libcrypto decrypts before it knows: where only the tag is wrong, all of the plaintext stands there. */
	secret_wipe(out, text.len);
	return ERR_BAD_CIPHERTEXT;
}

static enum err group_load(void)
{
	if (!library_load())
		return ERR_UNSUPPORTED;
	if (!library.group)
		library.group =
		        call.EC_GROUP_new_by_curve_name_ex(library.context, NULL, NID_X9_62_prime256v1);
	return library.group ? OK : ERR_UNSUPPORTED;
}

/* One whole calculation, with the curve's own generator: what is made at first use is made then. */
enum err p256_prepare(void)
{
	CLEANUP(secret_freep) struct secret *x = NULL;
	uint8_t point[P256_POINT_LEN], enc[P256_POINT_LEN];
	enum err err = group_load();

	if (err)
		return err;
	if (call.EC_POINT_point2oct(library.group, call.EC_GROUP_get0_generator(library.group),
	                            POINT_CONVERSION_UNCOMPRESSED, point, sizeof(point),
	                            NULL) != sizeof(point))
		return ERR_BUG;
	return p256_encapsulate(point, enc, &x);
}

/* What a calculation on the curve needs; made and freed together. */
struct curve_work {
	BN_CTX *numbers;
	EC_POINT *point; /* the one given */
	EC_POINT *result; /* the one calculated */
	BIGNUM *scalar;
	BIGNUM *x;
};

static void curve_work_done(struct curve_work *work)
{
	if (!library.context)
		return;
	call.EC_POINT_clear_free(work->point);
	call.EC_POINT_clear_free(work->result);
	call.BN_clear_free(work->scalar);
	call.BN_clear_free(work->x);
	call.BN_CTX_free(work->numbers);
}

static enum err curve_work_init(struct curve_work *work)
{
	enum err err = group_load();

	if (err)
		return err;
	work->numbers = call.BN_CTX_secure_new_ex(library.context);
	work->point = call.EC_POINT_new(library.group);
	work->result = call.EC_POINT_new(library.group);
	work->scalar = call.BN_new();
	work->x = call.BN_new();
	return work->numbers && work->point && work->result && work->scalar && work->x ? OK : ERR_NOMEM;
}

/* Checks that it is on the curve and not its zero. libcrypto also takes hybrid forms, 06 and 07, which nobody writes. */
static enum err point_read(struct curve_work *work, struct bytes encoded)
{
	if (encoded.len == P256_POINT_LEN ? encoded.data[0] != 0x04
	                                  : encoded.data[0] != 0x02 && encoded.data[0] != 0x03)
		return ERR_USAGE;
	return call.EC_POINT_oct2point(library.group, work->point, encoded.data, encoded.len,
	                               work->numbers) == 1
	               ? OK
	               : ERR_USAGE;
}

static enum err point_write(struct curve_work *work, const EC_POINT *point,
                            uint8_t ret_point[static P256_POINT_LEN])
{
	size_t len = call.EC_POINT_point2oct(library.group, point, POINT_CONVERSION_UNCOMPRESSED, ret_point,
	                                     P256_POINT_LEN, work->numbers);

	return len == P256_POINT_LEN ? OK : ERR_BUG;
}

enum err p256_decompress(const uint8_t compressed[static P256_COMPRESSED_LEN],
                         uint8_t ret_point[static P256_POINT_LEN])
{
	CLEANUP(curve_work_done) struct curve_work work = { NULL, NULL, NULL, NULL, NULL };
	enum err err = curve_work_init(&work);

	if (!err)
		err = point_read(&work, bytes_of(compressed, P256_COMPRESSED_LEN));
	return err ? err : point_write(&work, work.point, ret_point);
}

/* A number from 1 to the order less 1, each as likely: what is outside is drawn again, which happens once in 2^32. */
static enum err scalar_make(struct curve_work *work)
{
	uint8_t bytes[SCALAR_LEN];
	bool good = false;

	while (!good) {
		randombytes_buf(bytes, sizeof(bytes));
		if (!call.BN_bin2bn(bytes, sizeof(bytes), work->scalar))
			break;
		good = !call.BN_is_zero(work->scalar) &&
		       call.BN_cmp(work->scalar, call.EC_GROUP_get0_order(library.group)) < 0;
	}
	secret_wipe(bytes, sizeof(bytes));
	call.BN_set_flags(work->scalar, BN_FLG_CONSTTIME);
	return good ? OK : ERR_NOMEM;
}

static enum err agree(struct curve_work *work, struct secret *x)
{
	if (call.EC_POINT_mul(library.group, work->result, NULL, work->point, work->scalar, work->numbers) !=
	    1)
		return ERR_BUG;
	if (call.EC_POINT_get_affine_coordinates(library.group, work->result, work->x, NULL, work->numbers) !=
	    1)
		return ERR_USAGE;
	return call.BN_bn2binpad(work->x, secret_fill(x), SCALAR_LEN) == SCALAR_LEN ? OK : ERR_BUG;
}

enum err p256_encapsulate(const uint8_t point[static P256_POINT_LEN], uint8_t ret_enc[static P256_POINT_LEN],
                          struct secret **ret_x)
{
	CLEANUP(curve_work_done) struct curve_work work = { NULL, NULL, NULL, NULL, NULL };
	CLEANUP(secret_freep) struct secret *x = NULL;
	enum err err = curve_work_init(&work);

	if (!err)
		err = point_read(&work, bytes_of(point, P256_POINT_LEN));
	if (!err)
		err = secret_new(SCALAR_LEN, &x);
	if (!err)
		err = scalar_make(&work);
	if (!err)
		err = agree(&work, x);
	if (err)
		return err;
	if (call.EC_POINT_mul(library.group, work.result, work.scalar, NULL, NULL, work.numbers) != 1)
		return ERR_BUG;
	err = point_write(&work, work.result, ret_enc);
	if (err)
		return err;
	*ret_x = TAKE(x);
	return OK;
}
