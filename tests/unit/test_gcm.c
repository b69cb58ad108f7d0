/*
 * AES-256-GCM by libnettle beside libcrypto, which is another implementation: what one seals the other makes the same of, for IVs, additional data and texts of many lengths; and a bit changed
 * anywhere is noticed.
 */
#include <openssl/evp.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "formats/gcm.h"

#define TEXT_MAX 300U
#define IV_MAX 70U
#define ROUNDS 600U

struct message {
	uint8_t iv[IV_MAX], authenticated[TEXT_MAX], text[TEXT_MAX];
	size_t iv_len, authenticated_len, text_len;
};

/* Lengths around those of blocks come often, the IVs of 12 and 32 bytes too. */
static void draw(struct message *message)
{
	static const size_t lengths[] = { 0, 1, 15, 16, 17, 31, 32, 33, 48, 127, 128, 129 };

	randombytes_buf(message, sizeof(*message));
	message->iv_len = randombytes_uniform(2) ? 32 : 1 + randombytes_uniform(IV_MAX);
	message->iv_len = randombytes_uniform(5) ? message->iv_len : 12;
	message->authenticated_len = lengths[randombytes_uniform(12)];
	message->text_len =
	        randombytes_uniform(2) ? lengths[randombytes_uniform(12)] : randombytes_uniform(TEXT_MAX + 1);
}

static void seal_with_libcrypto(const uint8_t *key, const struct message *message, uint8_t *data,
                                uint8_t tag[static GCM_TAG_LEN])
{
	EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
	int len;

	assert_non_null(context);
	assert_int_equal(EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, NULL, NULL), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_IVLEN, (int)message->iv_len, NULL),
	                 1);
	assert_int_equal(EVP_EncryptInit_ex(context, NULL, NULL, key, message->iv), 1);
	if (message->authenticated_len)
		assert_int_equal(EVP_EncryptUpdate(context, NULL, &len, message->authenticated,
		                                   (int)message->authenticated_len),
		                 1);
	if (message->text_len)
		assert_int_equal(
		        EVP_EncryptUpdate(context, data, &len, message->text, (int)message->text_len), 1);
	assert_int_equal(EVP_EncryptFinal_ex(context, data + message->text_len, &len), 1);
	assert_int_equal(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, GCM_TAG_LEN, tag), 1);
	EVP_CIPHER_CTX_free(context);
}

static enum err open_message(struct gcm *cipher, const struct message *message, const uint8_t *data,
                             const uint8_t tag[static GCM_TAG_LEN], uint8_t *text)
{
	return gcm_open(cipher, bytes_of(message->iv, message->iv_len),
	                bytes_of(message->authenticated, message->authenticated_len),
	                bytes_of(data, message->text_len), tag, text);
}

static void flip(uint8_t *bytes, size_t len)
{
	bytes[randombytes_uniform((uint32_t)len)] ^= (uint8_t)(1U << randombytes_uniform(8));
}

/* One bit of one of the four, of those that are not empty. */
static void expect_noticed(struct gcm *cipher, const struct message *message, const uint8_t *data,
                           const uint8_t tag[static GCM_TAG_LEN])
{
	struct message changed = *message;
	uint8_t text[TEXT_MAX], changed_data[TEXT_MAX], changed_tag[GCM_TAG_LEN];

	memcpy(changed_tag, tag, GCM_TAG_LEN);
	flip(changed_tag, GCM_TAG_LEN);
	assert_int_equal(open_message(cipher, message, data, changed_tag, text), ERR_BAD_CIPHERTEXT);
	flip(changed.iv, changed.iv_len);
	assert_int_equal(open_message(cipher, &changed, data, tag, text), ERR_BAD_CIPHERTEXT);
	changed = *message;
	if (changed.authenticated_len) {
		flip(changed.authenticated, changed.authenticated_len);
		assert_int_equal(open_message(cipher, &changed, data, tag, text), ERR_BAD_CIPHERTEXT);
	}
	if (message->text_len) {
		memcpy(changed_data, data, message->text_len);
		flip(changed_data, message->text_len);
		assert_int_equal(open_message(cipher, message, changed_data, tag, text), ERR_BAD_CIPHERTEXT);
	}
}

/* One cipher for all messages of a key, as a file's values are opened. */
static void test_agreement(void **state)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(gcm_freep) struct gcm *cipher = NULL;

	(void)state;
	assert_int_equal(secret_new(GCM_KEY_LEN, &key), OK);
	randombytes_buf(secret_fill(key), GCM_KEY_LEN);
	assert_int_equal(gcm_new(key, &cipher), OK);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct message message;
		uint8_t expected[TEXT_MAX + 16], data[TEXT_MAX], tag[GCM_TAG_LEN], expected_tag[GCM_TAG_LEN];

		draw(&message);
		seal_with_libcrypto(secret_reveal(key).data, &message, expected, expected_tag);
		assert_int_equal(gcm_seal(cipher, bytes_of(message.iv, message.iv_len),
		                          bytes_of(message.authenticated, message.authenticated_len),
		                          bytes_of(message.text, message.text_len), data, tag),
		                 OK);
		assert_memory_equal(data, expected, message.text_len);
		assert_memory_equal(tag, expected_tag, GCM_TAG_LEN);
		expect_noticed(cipher, &message, data, tag);
		/* In its own place. */
		assert_int_equal(open_message(cipher, &message, data, tag, data), OK);
		assert_memory_equal(data, message.text, message.text_len);
	}
}

static void test_refusals(void **state)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(gcm_freep) struct gcm *cipher = NULL;
	uint8_t data[1] = { 0 }, tag[GCM_TAG_LEN] = { 0 };

	(void)state;
	assert_int_equal(secret_new(GCM_KEY_LEN - 1, &key), OK);
	assert_int_equal(gcm_new(key, &cipher), ERR_BUG);
	key = secret_free(key);
	assert_int_equal(secret_new(GCM_KEY_LEN, &key), OK);
	assert_int_equal(gcm_new(key, &cipher), OK);
	assert_int_equal(gcm_open(cipher, bytes_of(NULL, 0), bytes_of(NULL, 0), bytes_of(data, 1), tag, data),
	                 ERR_BUG);
	assert_int_equal(gcm_seal(cipher, bytes_of(NULL, 0), bytes_of(NULL, 0), bytes_of(data, 1), data, tag),
	                 ERR_BUG);
}

/* Everything that comes of the key is in locked memory, and goes with the cipher. */
static void test_memory(void **state)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	struct gcm *cipher = NULL;
	size_t before;

	(void)state;
	assert_int_equal(secret_new(GCM_KEY_LEN, &key), OK);
	before = secret_stats().locked_bytes;
	assert_int_equal(gcm_new(key, &cipher), OK);
	assert_true(secret_stats().locked_bytes > before);
	cipher = gcm_free(cipher);
	assert_int_equal(secret_stats().locked_bytes, before);
}

static int prepare(void **state)
{
	(void)state;
	return (int)secret_client_init();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_agreement),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, prepare, NULL);
}
