/*
 * OpenSSL's first times
 *
 * OpenSSL makes much of what it works with when it is first needed: lists of algorithms, methods, the random generators. Part of that is tried once in the life of a process; if memory is short in that moment, say for
 * the first HMAC key, no HMAC is ever computed again. ESYS then cannot check what the TPM answers, each try of a session leaves one on the TPM, and a TPM without a resource manager is full after a few. So every
 * kind of computation is done here once, before the sandbox shuts and before the device is touched, and a process in which one of them fails ends; the next one begins anew.
 *
 * It follows what libtss2-esys 3.2 and 4.0 call: hashes and random bytes in a context of their own, which openssl_context.c makes the same one each time, and all else in the default one. It knows nothing of the
 * device, and its values are no secrets.
 */
#include "tpm/crypto_ready.h"

#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cleanup.h"

static bool hash_is_ready(const uint8_t *block, size_t len)
{
	EVP_MD *algorithm = EVP_MD_fetch(OSSL_LIB_CTX_new(), "SHA256", NULL);
	EVP_MD_CTX *hash = EVP_MD_CTX_new();
	uint8_t out[EVP_MAX_MD_SIZE];
	bool ready = algorithm && hash && EVP_DigestInit(hash, algorithm) == 1 &&
	             EVP_DigestUpdate(hash, block, len) == 1 && EVP_DigestFinal(hash, out, NULL) == 1;

	EVP_MD_CTX_free(hash);
	EVP_MD_free(algorithm);
	return ready;
}

static bool hmac_is_ready(const uint8_t *block, size_t len)
{
	EVP_MD *algorithm = EVP_MD_fetch(OSSL_LIB_CTX_new(), "SHA256", NULL);
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_HMAC, NULL, block, len);
	EVP_MD_CTX *hmac = EVP_MD_CTX_new();
	uint8_t out[EVP_MAX_MD_SIZE];
	size_t out_len = sizeof(out);
	bool ready = algorithm && key && hmac && EVP_DigestSignInit(hmac, NULL, algorithm, NULL, key) == 1 &&
	             EVP_DigestSignUpdate(hmac, block, len) == 1 &&
	             EVP_DigestSignFinal(hmac, out, &out_len) == 1;

	EVP_MD_CTX_free(hmac);
	EVP_PKEY_free(key);
	EVP_MD_free(algorithm);
	return ready;
}

static bool cipher_is_ready(const uint8_t block[static 16])
{
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	uint8_t out[32];
	int len;
	bool ready = cipher && EVP_EncryptInit(cipher, EVP_aes_128_cfb128(), block, block) == 1 &&
	             EVP_EncryptUpdate(cipher, out, &len, block, 16) == 1 &&
	             EVP_DecryptInit(cipher, EVP_aes_128_cfb128(), block, block) == 1 &&
	             EVP_DecryptUpdate(cipher, out, &len, block, 16) == 1;

	EVP_CIPHER_CTX_free(cipher);
	return ready;
}

/* The key that a session's salt is agreed on with (TPM 2.0 part 1, C.6.1). */
static bool key_is_ready(void)
{
	EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_id(EVP_PKEY_EC, NULL);
	EVP_PKEY *key = NULL;
	BIGNUM *x = NULL;
	bool ready = maker && EVP_PKEY_keygen_init(maker) == 1 &&
	             EVP_PKEY_CTX_set_ec_paramgen_curve_nid(maker, NID_X9_62_prime256v1) == 1 &&
	             EVP_PKEY_keygen(maker, &key) == 1 && EVP_PKEY_get_bn_param(key, "qx", &x) == 1;

	BN_free(x);
	EVP_PKEY_free(key);
	EVP_PKEY_CTX_free(maker);
	return ready;
}

static bool product_is_ready(void)
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *point = group ? EC_POINT_new(group) : NULL;
	BIGNUM *number = BN_bin2bn((const uint8_t[]){ 2 }, 1, NULL);
	bool ready = point && number &&
	             EC_POINT_mul(group, point, NULL, EC_GROUP_get0_generator(group), number, NULL) == 1 &&
	             EC_POINT_is_on_curve(group, point, NULL) == 1;

	BN_free(number);
	EC_POINT_free(point);
	EC_GROUP_free(group);
	return ready;
}

enum err tpm_crypto_ready(void)
{
	uint8_t block[32];

	if (RAND_bytes_ex(OSSL_LIB_CTX_new(), block, sizeof(block), 0) != 1 ||
	    !hash_is_ready(block, sizeof(block)) || !hmac_is_ready(block, sizeof(block)) ||
	    !cipher_is_ready(block) || !key_is_ready() || !product_is_ready())
		return ERR_NOMEM;
	return OK;
}
