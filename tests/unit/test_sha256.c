/* SHA-256 and HMAC by both libraries: known answers, and the same whatever the length and however it is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "common/encoding.h"
#include "formats/sha256.h"

/* FIPS 180-4's examples (csrc.nist.gov), and what nothing hashes to. */
static const struct {
	const char *text, *hash;
} hash_rows[] = {
	{ "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
	{ "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
	{ "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
	  "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
};

/* RFC 4231, cases 1, 2 and 6, whose key is longer than a block; and no key at all. */
static const struct {
	const char *key; /* in hex; a single byte is repeated */
	size_t repeated;
	const char *text, *mac;
} hmac_rows[] = {
	{ "0b", 20, "Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
	{ "4a656665", 0, "what do ya want for nothing?",
	  "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
	{ "aa", 131, "Test Using Larger Than Block-Size Key - Hash Key First",
	  "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
	{ "", 0, "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad" },
};

static void check_hashes(void)
{
	uint8_t hash[SHA256_LEN];
	char text[2 * SHA256_LEN + 1];

	for (size_t i = 0; i < sizeof(hash_rows) / sizeof(hash_rows[0]); i++) {
		sha256_of(bytes_of_string(hash_rows[i].text), hash);
		hex_encode(bytes_of(hash, sizeof(hash)), text);
		assert_string_equal(text, hash_rows[i].hash);
	}
}

static void check_hmacs(void)
{
	for (size_t i = 0; i < sizeof(hmac_rows) / sizeof(hmac_rows[0]); i++) {
		uint8_t key[256], mac[SHA256_LEN];
		size_t len = strlen(hmac_rows[i].key) / 2;
		char text[2 * SHA256_LEN + 1];
		struct hmac_sha256 state;

		assert_int_equal(hex_decode(bytes_of_string(hmac_rows[i].key), key, len), OK);
		if (hmac_rows[i].repeated) {
			len = hmac_rows[i].repeated;
			memset(key, key[0], len);
		}
		hmac_sha256_begin(&state, bytes_of(key, len));
		hmac_sha256_add(&state, bytes_of_string(hmac_rows[i].text));
		hmac_sha256_end(&state, mac);
		hex_encode(bytes_of(mac, sizeof(mac)), text);
		assert_string_equal(text, hmac_rows[i].mac);
		assert_true(sodium_is_zero((const uint8_t *)&state, sizeof(state)));
	}
}

/* Every length up to some blocks, in two pieces, from a state that is gone on from twice. */
static void check_pieces(void)
{
	uint8_t text[300], hash[SHA256_LEN], expected[SHA256_LEN];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 7);
	for (size_t len = 0; len <= sizeof(text); len++)
		for (size_t first = 0; first <= len; first += 13) {
			struct sha256 state, copy;

			sha256_begin(&state);
			sha256_add(&state, bytes_of(text, first));
			copy = state;
			sha256_add(&copy, bytes_of("}", 1));
			sha256_end(&copy, hash);
			sha256_add(&state, bytes_of(text + first, len - first));
			sha256_end(&state, hash);
			(void)crypto_hash_sha256(expected, text, len);
			assert_memory_equal(hash, expected, sizeof(hash));
		}
}

static void check_all(void)
{
	check_hashes();
	check_hmacs();
	check_pieces();
}

static void test_by_libsodium(void **state)
{
	(void)state;
	check_all();
}

/* The last test, since it holds from then on. */
static void test_by_libnettle(void **state)
{
	(void)state;
	assert_true(sha256_prepare());
	check_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_libsodium),
		cmocka_unit_test(test_by_libnettle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
