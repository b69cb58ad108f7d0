/*
 * libcrypto at arm's length: points good and bad, no configuration read whatever the environment says, and life without it.
 *
 * OPENSSL_CONF names a FIFO that nobody writes to: whoever reads it hangs, and dies of its alarm. A child that lets OpenSSL do as it likes shows that
 * the trap works.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "common/encoding.h"
#include "formats/age_stream.h"
#include "formats/crypto_library.h"

struct row {
	const char *name;
	const char *compressed;
	enum err err;
};

static const struct row rows[] = {
	{ "a point", "025ff2a2d0d1b54bf5fef381174787491ea58511c34aea49f2fa029402d8e2d5f7", OK },
	{ "its negative", "035ff2a2d0d1b54bf5fef381174787491ea58511c34aea49f2fa029402d8e2d5f7", OK },
	{ "the generator", "036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296", OK },
	{ "not on the curve", "025ff2a2d0d1b54bf5fef381174787491ea58511c34aea49f2fa029402d8e2d5f5",
	  ERR_USAGE },
	{ "x is the prime", "02ffffffff00000001000000000000000000000000ffffffffffffffffffffffff", ERR_USAGE },
	{ "x is beyond the prime", "02ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	  ERR_USAGE },
	{ "zero", "000000000000000000000000000000000000000000000000000000000000000000", ERR_USAGE },
	{ "form 04", "045ff2a2d0d1b54bf5fef381174787491ea58511c34aea49f2fa029402d8e2d5f7", ERR_USAGE },
	{ "form 05", "055ff2a2d0d1b54bf5fef381174787491ea58511c34aea49f2fa029402d8e2d5f7", ERR_USAGE },
};

static void test_points(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(secret_freep) struct secret *x = NULL;
		uint8_t compressed[P256_COMPRESSED_LEN], point[P256_POINT_LEN], enc[P256_POINT_LEN];

		assert_int_equal(
		        hex_decode(bytes_of_string(rows[i].compressed), compressed, sizeof(compressed)), OK);
		if (p256_decompress(compressed, point) != rows[i].err)
			fail_msg("%s", rows[i].name);
		if (rows[i].err)
			continue;
		assert_int_equal(point[0], 0x04);
		assert_memory_equal(point + 1, compressed + 1, 32);
		assert_int_equal(point[64] & 1, compressed[0] & 1);
		assert_int_equal(p256_encapsulate(point, enc, &x), OK);
		assert_int_equal(secret_len(x), 32);
		/* Off the curve, in every byte of it. */
		for (size_t j = 0; j < P256_POINT_LEN; j++) {
			CLEANUP(secret_freep) struct secret *none = NULL;

			point[j] ^= 0x10;
			assert_int_equal(p256_encapsulate(point, enc, &none), ERR_USAGE);
			point[j] ^= 0x10;
		}
	}
}

static void test_fresh(void **state)
{
	uint8_t compressed[P256_COMPRESSED_LEN], point[P256_POINT_LEN], first[P256_POINT_LEN],
	        second[P256_POINT_LEN];
	CLEANUP(secret_freep) struct secret *first_x = NULL;
	CLEANUP(secret_freep) struct secret *second_x = NULL;

	(void)state;
	assert_int_equal(hex_decode(bytes_of_string(rows[0].compressed), compressed, sizeof(compressed)), OK);
	assert_int_equal(p256_decompress(compressed, point), OK);
	assert_int_equal(p256_encapsulate(point, first, &first_x), OK);
	assert_int_equal(p256_encapsulate(point, second, &second_x), OK);
	assert_memory_not_equal(first, second, P256_POINT_LEN);
	assert_false(secret_equal(first_x, second_x));
}

/* Runs in a child and says whether it did what it should: what it does to its process must not reach the other tests. */
static int in_child(bool (*run)(void), unsigned seconds)
{
	int status = 0;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		(void)alarm(seconds);
		_exit(run() ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static bool uses_everything(void)
{
	static const uint8_t generator[P256_COMPRESSED_LEN] = { 0x03, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c,
		                                                0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63,
		                                                0xa4, 0x40, 0xf2, 0x77, 0x03, 0x7d, 0x81,
		                                                0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39,
		                                                0x45, 0xd8, 0x98, 0xc2, 0x96 };
	uint8_t point[P256_POINT_LEN], enc[P256_POINT_LEN], sealed[32], nonce[BULK_NONCE_LEN] = { 0 };
	CLEANUP(bulk_cipher_freep) struct bulk_cipher *cipher = NULL;
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(secret_freep) struct secret *x = NULL;

	return !secret_new(32, &key) && !p256_decompress(generator, point) &&
	       !p256_encapsulate(point, enc, &x) && !bulk_cipher_new(true, key, &cipher) &&
	       !bulk_cipher_seal(cipher, nonce, bytes_of(point, 16), sealed);
}

static bool lets_openssl_load_its_configuration(void)
{
	void *handle = dlopen("libcrypto.so.3", RTLD_NOW | RTLD_LOCAL);
	void *(*fetch)(void *, const char *, const char *) = NULL;
	void *symbol = handle ? dlsym(handle, "EVP_CIPHER_fetch") : NULL;

	if (!symbol)
		return false;
	memcpy(&fetch, &symbol, sizeof(symbol));
	return fetch(NULL, "ChaCha20-Poly1305", NULL) != NULL;
}

static void test_configuration_ignored(void **state)
{
	char directory[] = "/tmp/test_crypto_library.XXXXXX", trap[64];
	int status;

	(void)state;
	assert_non_null(mkdtemp(directory));
	(void)snprintf(trap, sizeof(trap), "%s/openssl.cnf", directory);
	assert_int_equal(mkfifo(trap, 0600), 0);
	assert_int_equal(setenv("OPENSSL_CONF", trap, 1), 0);
	status = in_child(lets_openssl_load_its_configuration, 1);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
	status = in_child(uses_everything, 20);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	assert_int_equal(unsetenv("OPENSSL_CONF"), 0);
	(void)unlink(trap);
	(void)rmdir(directory);
}

static enum err count(void *context, struct bytes bytes)
{
	*(size_t *)context += bytes.len;
	return OK;
}

/* No file can be opened, so no library can be loaded: P-256 says so, and bulk goes on with libsodium. */
static bool manages_without(void)
{
	static uint8_t piece[1U << 20];
	const struct rlimit none = { 0, 0 };
	uint8_t compressed[P256_COMPRESSED_LEN] = { 0x02 }, point[P256_POINT_LEN];
	CLEANUP(age_stream_freep) struct age_stream *stream = NULL;
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	size_t written = 0;

	if (setrlimit(RLIMIT_NOFILE, &none) < 0 || p256_decompress(compressed, point) != ERR_UNSUPPORTED)
		return false;
	if (secret_new(16, &file_key) || age_stream_new(true, file_key, count, &written, &stream))
		return false;
	for (size_t i = 0; i < 8; i++)
		if (age_stream_push(stream, bytes_of(piece, sizeof(piece))))
			return false;
	return !age_stream_finish(stream) && written == 16 + (8U << 20) + 128U * 16U;
}

static void test_without_library(void **state)
{
	int status = in_child(manages_without, 60);

	(void)state;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
	/* Those that need a process in which libcrypto was never loaded come first. */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_without_library),
		cmocka_unit_test(test_configuration_ignored),
		cmocka_unit_test(test_points),
		cmocka_unit_test(test_fresh),
	};

	return secret_client_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
