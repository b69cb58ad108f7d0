/* The mathematics of wrapping: known answers, round trips, and every byte flipped. */
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/encoding.h"
#include "formats/filekey.h"

/* As many bytes as the hexadecimal text says; at most 256. */
static struct bytes from_hex(const char *text, uint8_t out[static 256])
{
	struct bytes hex = bytes_of_string(text);

	assert_true(hex.len / 2 <= 256);
	assert_int_equal(hex_decode(hex, out, hex.len / 2), OK);
	return bytes_of(out, hex.len / 2);
}

static struct secret *secret_from_hex(const char *text)
{
	uint8_t bytes[256];
	struct secret *secret = NULL;

	assert_int_equal(secret_new_from(from_hex(text, bytes), &secret), OK);
	return secret;
}

struct hkdf_row {
	const char *ikm, *salt, *info, *okm;
};

/* RFC 5869, A.1 to A.3. */
static const struct hkdf_row hkdf_rows[] = {
	{ "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "000102030405060708090a0b0c",
	  "f0f1f2f3f4f5f6f7f8f9",
	  "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865" },
	{ "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f30"
	  "3132333435363738393a3b3c3d"
	  "3e3f404142434445464748494a4b4c4d4e4f",
	  "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f90"
	  "9192939495969798999a9b9c9d"
	  "9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
	  "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0"
	  "e1e2e3e4e5e6e7e8e9eaebeced"
	  "eeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
	  "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09da"
	  "3275600c2f09b8367793a9aca3"
	  "db71cc30c58179ec3e87c14c01d5c1f3434f1d87" },
	{ "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b", "", "",
	  "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8" },
};

static void test_hkdf(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(hkdf_rows) / sizeof(hkdf_rows[0]); i++) {
		uint8_t ikm[256], salt[256], info[256], expected[256], out[256];
		struct bytes okm = from_hex(hkdf_rows[i].okm, expected);

		hkdf_sha256(from_hex(hkdf_rows[i].ikm, ikm), from_hex(hkdf_rows[i].salt, salt),
		            from_hex(hkdf_rows[i].info, info), out, okm.len);
		assert_memory_equal(out, okm.data, okm.len);
	}
}

/* Known answer of another implementation (age-plugin-se, PluginTests: testRecipient_P256Tag). x is the ECDH of its fixed ephemeral key. */
static const char se_enc[] = "043ec878ca41e285f4087b7f05cf71ce4eb1d4adbadb3371a14b5f0229196b94fb6944a442ebaf3"
                             "8035bd68f812ad7ffe3f17efb89c98114343e02"
                             "32149abc8bcf";
static const char se_recipient[] = "045ff2a2d0d1b54bf5fef381174787491ea58511c34aea49f2fa029402d8e2d5f77a32ff7"
                                   "f3a25c86e707a44e4fadd77bc7f87e55f30cd2d6"
                                   "359a8158849eba608";
static const char se_compressed[] = "025ff2a2d0d1b54bf5fef381174787491ea58511c34aea49f2fa029402d8e2d5f7";
static const char se_x[] = "8f0c501ad8d3cfa76d433934b35ead3775d035cd8d7a5a668d3661535604d7b1";
static const char se_body[] = "d786e641aac082b38cd0cdbb2911d8a7d47335895cbf7a498119bdb13081d3c7";
static const char se_tag[] = "3434dff6";
static const char se_file_key[] = "00000000000000000000000000000001";

static void test_p256tag_known_answer(void **state)
{
	uint8_t enc[256], recipient[256], body[256], tag[256], compressed[256];
	uint8_t hash[TAG_LEN], made_tag[TAG_LEN], made_compressed[P256_COMPRESSED_LEN],
	        made_body[WRAPPED_LEN];
	CLEANUP(secret_freep) struct secret *x = secret_from_hex(se_x);
	CLEANUP(secret_freep) struct secret *expected = secret_from_hex(se_file_key);
	CLEANUP(secret_freep) struct secret *file_key = NULL;

	(void)state;
	(void)from_hex(se_enc, enc);
	(void)from_hex(se_recipient, recipient);
	(void)from_hex(se_body, body);
	(void)from_hex(se_tag, tag);
	(void)from_hex(se_compressed, compressed);
	p256_compress(recipient, made_compressed);
	assert_memory_equal(made_compressed, compressed, P256_COMPRESSED_LEN);
	p256tag_recipient_hash(compressed, hash);
	p256tag_tag(enc, hash, made_tag);
	assert_memory_equal(made_tag, tag, TAG_LEN);
	assert_int_equal(p256tag_unwrap(x, enc, recipient, body, &file_key), OK);
	assert_true(secret_equal(file_key, expected));
	assert_int_equal(p256tag_wrap(x, enc, recipient, expected, made_body), OK);
	assert_memory_equal(made_body, body, WRAPPED_LEN);
}

/* Any other bit anywhere, and it does not open. */
static void test_p256tag_flipped(void **state)
{
	uint8_t enc[256], recipient[256], body[256], x_bytes[256];
	const struct {
		uint8_t *bytes;
		size_t len;
	} parts[] = {
		{ enc, P256_POINT_LEN }, { recipient, P256_POINT_LEN }, { body, WRAPPED_LEN }, { x_bytes, 32 }
	};

	(void)state;
	(void)from_hex(se_enc, enc);
	(void)from_hex(se_recipient, recipient);
	(void)from_hex(se_body, body);
	(void)from_hex(se_x, x_bytes);
	for (size_t part = 0; part < sizeof(parts) / sizeof(parts[0]); part++) {
		for (size_t i = 0; i < parts[part].len * 8; i++) {
			CLEANUP(secret_freep) struct secret *x = NULL;
			CLEANUP(secret_freep) struct secret *file_key = NULL;

			parts[part].bytes[i / 8] ^= (uint8_t)(1U << i % 8);
			assert_int_equal(secret_new_from(bytes_of(x_bytes, 32), &x), OK);
			assert_int_equal(p256tag_unwrap(x, enc, recipient, body, &file_key),
			                 ERR_BAD_CIPHERTEXT);
			assert_null(file_key);
			parts[part].bytes[i / 8] ^= (uint8_t)(1U << i % 8);
		}
	}
}

static void test_x25519_round_trip(void **state)
{
	CLEANUP(secret_freep) struct secret *private_key = NULL;
	CLEANUP(secret_freep) struct secret *file_key = secret_from_hex(se_file_key);
	uint8_t recipient[X25519_LEN], share[X25519_LEN], body[WRAPPED_LEN];
	uint8_t *const parts[] = { recipient, share, body };

	(void)state;
	assert_int_equal(secret_new(X25519_LEN, &private_key), OK);
	randombytes_buf(secret_fill(private_key), X25519_LEN);
	x25519_public(private_key, recipient);
	assert_int_equal(x25519_wrap(recipient, file_key, share, body), OK);
	for (size_t i = 0; i <= sizeof(parts) / sizeof(parts[0]) * 32; i++) {
		CLEANUP(secret_freep) struct secret *opened = NULL;
		bool flipped = i > 0;
		uint8_t *byte = flipped ? &parts[(i - 1) / 32][(i - 1) % 32] : NULL;
		enum err err;

		if (flipped)
			*byte ^= 1;
		err = x25519_unwrap(private_key, recipient, share, body, &opened);
		assert_int_equal(err, flipped ? ERR_NO_MATCH : OK);
		if (flipped)
			*byte ^= 1;
		else
			assert_true(secret_equal(opened, file_key));
	}
}

/* The points of low order on Curve25519 and its twist, and those that reduce to them: each gives zero whatever the key. */
static const char *const low_order[] = {
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0100000000000000000000000000000000000000000000000000000000000000",
	"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
	"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

static void test_x25519_low_order(void **state)
{
	CLEANUP(secret_freep) struct secret *private_key = NULL;
	CLEANUP(secret_freep) struct secret *file_key = secret_from_hex(se_file_key);
	CLEANUP(secret_freep) struct secret *opened = NULL;
	uint8_t recipient[X25519_LEN], share[X25519_LEN], point[256], body[WRAPPED_LEN] = { 0 };

	(void)state;
	assert_int_equal(secret_new(X25519_LEN, &private_key), OK);
	randombytes_buf(secret_fill(private_key), X25519_LEN);
	x25519_public(private_key, recipient);
	for (size_t i = 0; i < sizeof(low_order) / sizeof(low_order[0]); i++) {
		(void)from_hex(low_order[i], point);
		assert_int_equal(x25519_unwrap(private_key, recipient, point, body, &opened), ERR_BAD_FILE);
		assert_int_equal(x25519_wrap(point, file_key, share, body), ERR_BAD_FILE);
	}
}

static void test_scrypt(void **state)
{
	CLEANUP(secret_freep) struct secret *file_key = secret_from_hex(se_file_key);
	CLEANUP(secret_freep) struct secret *phrase = secret_from_hex("70617373");
	CLEANUP(secret_freep) struct secret *other = secret_from_hex("70617374");
	CLEANUP(secret_freep) struct secret *opened = NULL;
	CLEANUP(secret_freep) struct secret *none = NULL;
	uint8_t salt[SCRYPT_SALT_LEN], body[WRAPPED_LEN];

	(void)state;
	assert_int_equal(scrypt_wrap(phrase, 4, file_key, salt, body), OK);
	assert_int_equal(scrypt_unwrap(phrase, 4, salt, body, &opened), OK);
	assert_true(secret_equal(opened, file_key));
	assert_int_equal(scrypt_unwrap(other, 4, salt, body, &none), ERR_NO_MATCH);
	assert_int_equal(scrypt_unwrap(phrase, 5, salt, body, &none), ERR_NO_MATCH);
	salt[0] ^= 1;
	assert_int_equal(scrypt_unwrap(phrase, 4, salt, body, &none), ERR_NO_MATCH);
	assert_int_equal(scrypt_unwrap(phrase, 0, salt, body, &none), ERR_USAGE);
	assert_int_equal(scrypt_unwrap(phrase, 64, salt, body, &none), ERR_USAGE);
}

static void test_nothing_left(void **state)
{
	(void)state;
	assert_int_equal(secret_stats().live, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hkdf),
		cmocka_unit_test(test_p256tag_known_answer),
		cmocka_unit_test(test_p256tag_flipped),
		cmocka_unit_test(test_x25519_round_trip),
		cmocka_unit_test(test_x25519_low_order),
		cmocka_unit_test(test_scrypt),
		cmocka_unit_test(test_nothing_left),
	};

	return secret_client_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
