/*
 * The edges of the mathematics, through the functions that the product uses, each result compared with another implementation: what libsodium does for us with libcrypto here, what libcrypto does with
 * libsodium or with a law of the curve. Shares of low order, not canonical and on the twist (RFC 7748), every length about a block for HKDF (RFC 5869) and ChaCha20-Poly1305 (RFC 8439), points that are
 * none (SEC 1, 2.3.4), private keys at both ends of their range.
 */
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "common/encoding.h"
#include "formats/crypto_library.h"
#include "formats/filekey.h"
#include "tests/fake/p256.h"

#define ROWS(array) (sizeof(array) / sizeof((array)[0]))

static void from_hex(const char *text, uint8_t *out, size_t len)
{
	assert_int_equal(hex_decode(bytes_of_string(text), out, len), OK);
}

/* ---- by libcrypto ---- */

/* HKDF of RFC 5869 from one HMAC after the other. */
static void other_hkdf(struct bytes ikm, struct bytes salt, struct bytes info, uint8_t *out, size_t out_len)
{
	uint8_t prk[32], block[32], message[32 + 512 + 1];
	size_t have = 0;
	unsigned len;

	assert_true(info.len <= 512);
	assert_non_null(HMAC(EVP_sha256(), salt.data ? salt.data : (const uint8_t *)"", (int)salt.len,
	                     ikm.data, ikm.len, prk, &len));
	for (uint8_t number = 1; out_len > 0; number++) {
		size_t part = out_len < 32 ? out_len : 32;

		memcpy(message, block, have);
		if (info.len)
			memcpy(message + have, info.data, info.len);
		message[have + info.len] = number;
		assert_non_null(HMAC(EVP_sha256(), prk, 32, message, have + info.len + 1, block, &len));
		memcpy(out, block, part);
		have = 32;
		out += part;
		out_len -= part;
	}
}

static void other_seal(const uint8_t key[static 32], const uint8_t nonce[static 12], struct bytes in,
                       uint8_t *out)
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int len = 0;

	assert_int_equal(EVP_EncryptInit_ex(context, EVP_chacha20_poly1305(), NULL, key, nonce), 1);
	assert_int_equal(EVP_EncryptUpdate(context, out, &len, in.data, (int)in.len), 1);
	assert_int_equal(EVP_EncryptFinal_ex(context, out + in.len, &len), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, out + in.len), 1);
	EVP_CIPHER_CTX_free(context);
}

/* False when it refuses, as it does for a shared secret of zeros. */
static bool other_x25519(const uint8_t scalar[static 32], const uint8_t point[static 32],
                         uint8_t ret_shared[static 32])
{
	EVP_PKEY *own = EVP_PKEY_new_raw_private_key(EVP_PKEY_X25519, NULL, scalar, 32);
	EVP_PKEY *peer = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, point, 32);
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(own, NULL);
	size_t len = 32;
	bool derived = EVP_PKEY_derive_init(context) == 1 && EVP_PKEY_derive_set_peer(context, peer) == 1 &&
	               EVP_PKEY_derive(context, ret_shared, &len) == 1;

	EVP_PKEY_CTX_free(context);
	EVP_PKEY_free(own);
	EVP_PKEY_free(peer);
	return derived;
}

/* ---- X25519 ---- */

/* Little endian, as they are sent. p is 2^255 - 19. */
static const struct {
	const char *name, *point;
	bool low_order;
} points[] = {
	{ "0", "0000000000000000000000000000000000000000000000000000000000000000", true },
	{ "1", "0100000000000000000000000000000000000000000000000000000000000000", true },
	{ "order 8", "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", true },
	{ "order 8, the other", "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157", true },
	{ "p - 1", "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", true },
	{ "p", "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", true },
	{ "p + 1", "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", true },
	{ "2", "0200000000000000000000000000000000000000000000000000000000000000", false },
	{ "3", "0300000000000000000000000000000000000000000000000000000000000000", false },
	{ "4", "0400000000000000000000000000000000000000000000000000000000000000", false },
	{ "9, the base", "0900000000000000000000000000000000000000000000000000000000000000", false },
	{ "16", "1000000000000000000000000000000000000000000000000000000000000000", false },
	{ "p - 2", "ebffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", false },
	{ "p + 2, which is 2", "efffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", false },
	{ "p + 9, the base", "f6ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", false },
	{ "2^255 - 1", "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", false },
	{ "2^254", "0000000000000000000000000000000000000000000000000000000000000040", false },
	{ "RFC 7748, 5.2, first", "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c", false },
	{ "RFC 7748, 5.2, second", "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
	  false },
};

static const char *const scalars[] = {
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
	"77076d0a7318a57d3c16c17251b26645df4b8ffb0d6ea6a1f3d6d9b6b1b2a5c0",
};

/* Made from both halves by libcrypto alone; the product has to open it. */
static void check_x25519(const char *scalar_text, size_t row, bool high_bit)
{
	static const uint8_t file_key[FILE_KEY_LEN] = "sixteen secrets", zero_nonce[12];
	CLEANUP(secret_freep) struct secret *scalar = NULL;
	CLEANUP(secret_freep) struct secret *opened = NULL;
	uint8_t key[32], share[32], recipient[32], shared[32], salt[64], wrapping[32],
	        body[WRAPPED_LEN] = { 0 };
	bool derived;
	enum err err;

	from_hex(scalar_text, key, 32);
	from_hex(points[row].point, share, 32);
	share[31] = (uint8_t)(share[31] | (high_bit ? 0x80 : 0));
	assert_int_equal(secret_new_from(bytes_of(key, 32), &scalar), OK);
	x25519_public(scalar, recipient);
	derived = other_x25519(key, share, shared);
	if (derived == points[row].low_order)
		fail_msg("%s: the other implementation thinks otherwise", points[row].name);
	if (derived) {
		memcpy(salt, share, 32);
		memcpy(salt + 32, recipient, 32);
		other_hkdf(bytes_of(shared, 32), bytes_of(salt, 64),
		           bytes_of_string("age-encryption.org/v1/X25519"), wrapping, 32);
		other_seal(wrapping, zero_nonce, bytes_of(file_key, FILE_KEY_LEN), body);
	}
	err = x25519_unwrap(scalar, recipient, share, body, &opened);
	if (err != (derived ? OK : ERR_BAD_FILE) ||
	    (derived && memcmp(secret_reveal(opened).data, file_key, FILE_KEY_LEN) != 0))
		fail_msg("%s, high bit %d, scalar %s: %d", points[row].name, high_bit, scalar_text, (int)err);
}

static void test_x25519(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(scalars); i++)
		for (size_t row = 0; row < ROWS(points); row++) {
			check_x25519(scalars[i], row, false);
			check_x25519(scalars[i], row, true);
		}
}

/* As a recipient: nothing is sealed to a point of low order. */
static void test_x25519_recipient(void **state)
{
	CLEANUP(secret_freep) struct secret *file_key = NULL;

	(void)state;
	assert_int_equal(secret_new(FILE_KEY_LEN, &file_key), OK);
	for (size_t row = 0; row < ROWS(points); row++) {
		uint8_t recipient[32], share[32], body[WRAPPED_LEN];
		enum err err;

		from_hex(points[row].point, recipient, 32);
		err = x25519_wrap(recipient, file_key, share, body);
		if (err != (points[row].low_order ? ERR_BAD_FILE : OK))
			fail_msg("%s: %d", points[row].name, (int)err);
	}
}

/* A public key is the agreement with the base point. */
static void test_x25519_public(void **state)
{
	static const uint8_t base[32] = { 9 };

	(void)state;
	for (size_t i = 0; i < ROWS(scalars); i++) {
		CLEANUP(secret_freep) struct secret *scalar = NULL;
		uint8_t key[32], public_key[32], theirs[32];

		from_hex(scalars[i], key, 32);
		assert_int_equal(secret_new_from(bytes_of(key, 32), &scalar), OK);
		x25519_public(scalar, public_key);
		assert_true(other_x25519(key, base, theirs));
		assert_memory_equal(public_key, theirs, 32);
	}
}

/* ---- HKDF ---- */

static void test_hkdf(void **state)
{
	static const size_t lengths[] = { 0, 1, 31, 32, 33, 63, 64, 65, 66, 127, 128, 129, 255 };
	static const size_t out_lengths[] = { 1, 31, 32, 33, 63, 64, 65, 255 * 32 - 1, 255 * 32 };
	static uint8_t data[3][255], ours[255 * 32], theirs[255 * 32];

	(void)state;
	randombytes_buf_deterministic(data, sizeof(data),
	                              (const uint8_t *)"the same bytes in every run. yes");
	for (size_t i = 0; i < ROWS(lengths); i++)
		for (size_t k = 0; k < ROWS(lengths); k++)
			for (size_t m = 0; m < ROWS(out_lengths); m++) {
				struct bytes ikm = bytes_of(data[0], lengths[i]),
				             salt = bytes_of(data[1], lengths[k]),
				             info = bytes_of(data[2], lengths[(i + k + m) % ROWS(lengths)]);

				hkdf_sha256(ikm, salt, info, ours, out_lengths[m]);
				other_hkdf(ikm, salt, info, theirs, out_lengths[m]);
				assert_memory_equal(ours, theirs, out_lengths[m]);
			}
}

/* ---- ChaCha20-Poly1305 ---- */

#define BULK_MAX 65537U
static uint8_t bulk_plain[BULK_MAX], bulk_ours[BULK_MAX + 16], bulk_theirs[BULK_MAX + 16],
        bulk_opened[BULK_MAX];

/* What does not verify leaves nothing of what was decrypted on the way. */
static void check_bulk_refused(struct bulk_cipher *opening, const uint8_t nonce[static 12], size_t len)
{
	memset(bulk_opened, 0x77, len);
	assert_int_equal(bulk_cipher_open(opening, nonce, bytes_of(bulk_ours, len + 16), bulk_opened),
	                 ERR_BAD_CIPHERTEXT);
	assert_true(sodium_is_zero(bulk_opened, len));
}

static void check_bulk(const uint8_t key[static 32], const uint8_t nonce[static 12], size_t len)
{
	CLEANUP(bulk_cipher_freep) struct bulk_cipher *sealing = NULL;
	CLEANUP(bulk_cipher_freep) struct bulk_cipher *opening = NULL;
	CLEANUP(secret_freep) struct secret *secret = NULL;

	assert_int_equal(secret_new_from(bytes_of(key, 32), &secret), OK);
	assert_int_equal(bulk_cipher_new(true, secret, &sealing), OK);
	assert_int_equal(bulk_cipher_new(false, secret, &opening), OK);
	assert_int_equal(bulk_cipher_seal(sealing, nonce, bytes_of(bulk_plain, len), bulk_ours), OK);
	(void)crypto_aead_chacha20poly1305_ietf_encrypt(bulk_theirs, NULL, bulk_plain, len, NULL, 0, NULL,
	                                                nonce, key);
	assert_memory_equal(bulk_ours, bulk_theirs, len + 16);
	assert_int_equal(bulk_cipher_open(opening, nonce, bytes_of(bulk_ours, len + 16), bulk_opened), OK);
	assert_memory_equal(bulk_opened, bulk_plain, len);
	/* Each bit of the tag; of what is longer than a chunk's header only some. */
	for (size_t bit = 0; bit<128; bit += len> 1000 ? 41 : 1) {
		bulk_ours[len + bit / 8] ^= (uint8_t)(1U << bit % 8);
		check_bulk_refused(opening, nonce, len);
		bulk_ours[len + bit / 8] ^= (uint8_t)(1U << bit % 8);
	}
	for (size_t at = 0; at<len; at += len> 300 ? 997 : 1) {
		bulk_ours[at] ^= 0x80;
		check_bulk_refused(opening, nonce, len);
		bulk_ours[at] ^= 0x80;
	}
	/* It goes on as before. */
	assert_int_equal(bulk_cipher_open(opening, nonce, bytes_of(bulk_ours, len + 16), bulk_opened), OK);
}

static void test_bulk(void **state)
{
	static const size_t longer[] = { 191, 192,  193,  255,  256,   257,   511,  512,
		                         513, 1023, 1024, 1025, 65535, 65536, 65537 };
	static const uint8_t patterns[] = { 0x00, 0xff, 0x80, 0x5a };
	uint8_t key[32], nonce[12];

	(void)state;
	for (size_t i = 0; i < ROWS(patterns); i++) {
		memset(key, patterns[i], sizeof(key));
		memset(nonce, patterns[(i + 1) % ROWS(patterns)], sizeof(nonce));
		memset(bulk_plain, patterns[ROWS(patterns) - 1 - i], sizeof(bulk_plain));
		for (size_t len = 0; len <= 130; len += i == 0 ? 1 : 13)
			check_bulk(key, nonce, len);
		for (size_t k = 0; k < ROWS(longer); k++)
			check_bulk(key, nonce, longer[k]);
	}
}

/* ---- P-256 ---- */

/* The order is n: the public keys of 1 and n - 1 are the generator and its negative, so that what is agreed with them is the other's own X. */
static void test_p256_ends(void **state)
{
	static const char *const ends[] = {
		"0000000000000000000000000000000000000000000000000000000000000001",
		"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632550",
	};

	(void)state;
	for (size_t i = 0; i < ROWS(ends); i++) {
		CLEANUP(secret_freep) struct secret *x = NULL;
		uint8_t scalar[32], point[P256_POINT_LEN], enc[P256_POINT_LEN];

		from_hex(ends[i], scalar, 32);
		p256_public(scalar, point);
		assert_int_equal(p256_encapsulate(point, enc, &x), OK);
		assert_memory_equal(secret_reveal(x).data, enc + 1, 32);
	}
}

/* The other side of many pairs, by the private key. */
static void test_p256_agree(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		CLEANUP(secret_freep) struct secret *x = NULL;
		uint8_t scalar[P256_SCALAR_LEN], point[P256_POINT_LEN], enc[P256_POINT_LEN], theirs[32],
		        compressed[P256_COMPRESSED_LEN], again[P256_POINT_LEN];

		p256_make(scalar, point);
		p256_compress(point, compressed);
		assert_int_equal(p256_decompress(compressed, again), OK);
		assert_memory_equal(again, point, P256_POINT_LEN);
		assert_int_equal(p256_encapsulate(point, enc, &x), OK);
		assert_true(p256_ecdh(scalar, enc, theirs));
		assert_memory_equal(secret_reveal(x).data, theirs, 32);
	}
}

#define GENERATOR_X "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
#define GENERATOR_Y "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
#define PRIME "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff"
#define ZERO "0000000000000000000000000000000000000000000000000000000000000000"
/* The root of b, for x = 0 is on the curve. */
#define ROOT_OF_B "66485c780e2f83d72433bd5d84a06bb6541c2af31dae871728bf856a174f93f4"

static const struct {
	const char *name, *point;
	enum err err;
} p256_rows[] = {
	{ "the generator", "04" GENERATOR_X GENERATOR_Y, OK },
	{ "x is 0", "04" ZERO ROOT_OF_B, OK },
	{ "x is p, which is 0", "04" PRIME ROOT_OF_B, ERR_USAGE },
	{ "y is another", "04" GENERATOR_X "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f4",
	  ERR_USAGE },
	{ "exchanged", "04" GENERATOR_Y GENERATOR_X, ERR_USAGE },
	{ "zero", "04" ZERO ZERO, ERR_USAGE },
	{ "infinity, padded", "00" ZERO ZERO, ERR_USAGE },
	{ "p and p", "04" PRIME PRIME, ERR_USAGE },
	{ "form 02", "02" GENERATOR_X GENERATOR_Y, ERR_USAGE },
	{ "form 03", "03" GENERATOR_X GENERATOR_Y, ERR_USAGE },
	{ "form 05", "05" GENERATOR_X GENERATOR_Y, ERR_USAGE },
	{ "form 06, hybrid", "06" GENERATOR_X GENERATOR_Y, ERR_USAGE },
	{ "form 07, hybrid", "07" GENERATOR_X GENERATOR_Y, ERR_USAGE },
	{ "form ff", "ff" GENERATOR_X GENERATOR_Y, ERR_USAGE },
};

static void test_p256_points(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(p256_rows); i++) {
		CLEANUP(secret_freep) struct secret *x = NULL;
		uint8_t point[P256_POINT_LEN], enc[P256_POINT_LEN];

		from_hex(p256_rows[i].point, point, sizeof(point));
		if (p256_encapsulate(point, enc, &x) != p256_rows[i].err)
			fail_msg("%s", p256_rows[i].name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_x25519),        cmocka_unit_test(test_x25519_recipient),
		cmocka_unit_test(test_x25519_public), cmocka_unit_test(test_hkdf),
		cmocka_unit_test(test_bulk),          cmocka_unit_test(test_p256_ends),
		cmocka_unit_test(test_p256_agree),    cmocka_unit_test(test_p256_points),
	};

	return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
