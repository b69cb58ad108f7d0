/*
 * Branches and addresses that depend on a secret: none. Under valgrind, with the secrets poisoned (marked as never written), memcheck reports each "jump that depends on uninitialised values" and each
 * address made of them. The library is compiled into this program once more, with the points at which something public comes out of a secret marked (common/declassify.h).
 *
 * poison CASE, under valgrind: ends with 1 when something was reported, with 0 when not. poison.sh says what has to be. What libsodium itself may branch on stands in poison.supp.
 */
#include <sodium.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <valgrind/memcheck.h>

#include "common/encoding.h"
#include "common/secret.h"
#include "formats/age_header.h"
#include "formats/bech32.h"
#include "formats/filekey.h"
#include "formats/recipient.h"
#include "tpm/token.h"

#define NEED(condition)                                                               \
	do {                                                                          \
		if (!(condition)) {                                                   \
			(void)fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
			_exit(3);                                                     \
		}                                                                     \
	} while (0)

/* valgrind does not know mlock2. */
int __wrap_mlock2(const void *data, size_t len, unsigned flags);
int __wrap_mlock2(const void *data, size_t len, unsigned flags)
{
	(void)flags;
	return mlock(data, len);
}

static void poison(const struct secret *secret)
{
	(void)VALGRIND_MAKE_MEM_UNDEFINED(secret_reveal(secret).data, secret_len(secret));
}

static struct secret *poisoned(const char *text, size_t len)
{
	struct secret *secret = NULL;

	NEED(secret_new_from(bytes_of(text, len), &secret) == OK);
	poison(secret);
	return secret;
}

static const char key_text[] = "0123456789abcdef0123456789abcdef";

/* ---- cases ---- */

static void case_bech32(void)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(buf_freep) struct buf *data = NULL;
	CLEANUP(secret_freep) struct secret *key = poisoned(key_text, 32);
	struct bytes prefix;

	NEED(buf_new_locked(256, &text) == OK && buf_new_locked(64, &data) == OK);
	NEED(bech32_put(text, "age-secret-key-", secret_reveal(key), true) == OK);
	NEED(bech32_decode(buf_bytes(text), &prefix, data) == OK);
	NEED(buf_len(data) == 32);
}

static void case_identity(void)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(secret_freep) struct secret *key = poisoned(key_text, 32);
	struct identity identity = { 0 };
	struct bytes what;

	NEED(buf_new_locked(256, &text) == OK);
	NEED(identity_put_x25519(text, key) == OK);
	/* That it is an identity stands in front, in clear. */
	(void)VALGRIND_MAKE_MEM_DEFINED(buf_bytes(text).data, strlen("AGE-SECRET-KEY-1"));
	NEED(identity_parse(buf_bytes(text), &identity, &what) == OK);
	identity_done(&identity);
}

static void case_x25519(void)
{
	CLEANUP(secret_freep) struct secret *key = poisoned(key_text, 32);
	CLEANUP(secret_freep) struct secret *file_key = poisoned("sixteen secrets!", 16);
	CLEANUP(secret_freep) struct secret *opened = NULL;
	uint8_t public_key[X25519_LEN], share[X25519_LEN], body[WRAPPED_LEN];

	x25519_public(key, public_key);
	(void)VALGRIND_MAKE_MEM_DEFINED(public_key, sizeof(public_key)); /* what its name says */
	NEED(x25519_wrap(public_key, file_key, share, body) == OK);
	/* What is written into a file is public. */
	(void)VALGRIND_MAKE_MEM_DEFINED(share, sizeof(share));
	(void)VALGRIND_MAKE_MEM_DEFINED(body, sizeof(body));
	NEED(x25519_unwrap(key, public_key, share, body, &opened) == OK);
	body[3] ^= 1;
	NEED(x25519_unwrap(key, public_key, share, body, &opened) == ERR_NO_MATCH);
}

static void case_p256tag(void)
{
	CLEANUP(secret_freep) struct secret *x = poisoned(key_text, 32);
	CLEANUP(secret_freep) struct secret *file_key = poisoned("sixteen secrets!", 16);
	CLEANUP(secret_freep) struct secret *opened = NULL;
	static const uint8_t enc[P256_POINT_LEN] = { 4, 1 }, recipient[P256_POINT_LEN] = { 4, 2 };
	uint8_t body[WRAPPED_LEN];

	NEED(p256tag_wrap(x, enc, recipient, file_key, body) == OK);
	(void)VALGRIND_MAKE_MEM_DEFINED(body, sizeof(body));
	NEED(p256tag_unwrap(x, enc, recipient, body, &opened) == OK);
	body[0] ^= 1;
	opened = secret_free(opened);
	NEED(p256tag_unwrap(x, enc, recipient, body, &opened) == ERR_BAD_CIPHERTEXT);
}

/* The header's MAC, made and compared; right and wrong. */
static void case_header(void)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(age_header_freep) struct age_header *header = NULL;
	CLEANUP(secret_freep) struct secret *file_key = poisoned("sixteen secrets!", 16);
	CLEANUP(secret_freep) struct secret *other = poisoned("sixteen others!!", 16);
	size_t len;

	NEED(buf_new(1024, &text) == OK && age_header_begin(text) == OK);
	NEED(buf_put_string(text, "-> X25519 AAAA\nAAAA\n") == OK);
	NEED(age_header_finish(text, file_key) == OK);
	(void)VALGRIND_MAKE_MEM_DEFINED(buf_bytes(text).data, buf_len(text)); /* stands in the file */
	NEED(age_header_parse(buf_bytes(text), &header, &len) == OK);
	NEED(age_header_verify(header, file_key) == OK);
	NEED(age_header_verify(header, other) == ERR_BAD_CIPHERTEXT);
}

static void case_pin(void)
{
	CLEANUP(secret_freep) struct secret *pin = poisoned("1234-5678", 9);
	CLEANUP(secret_freep) struct secret *auth = NULL;
	static const struct key_id id = { { 1 } };

	NEED(tpm_pin_auth(&id, pin, &auth) == OK && secret_len(auth) == 32);
}

static void case_compare(void)
{
	CLEANUP(secret_freep) struct secret *one = poisoned(key_text, 32), *other = poisoned(key_text, 32);
	bool equal = secret_equal(one, other);

	NEED(secret_len(one) == 32);
	(void)VALGRIND_MAKE_MEM_DEFINED(&equal, sizeof(equal)); /* the answer is what was asked for */
	NEED(equal);
}

static void case_encoding(void)
{
	CLEANUP(secret_freep) struct secret *file_key = poisoned("sixteen secrets!", 16);
	CLEANUP(buf_freep) struct buf *text = NULL;
	char hex[33];

	NEED(buf_new_locked(64, &text) == OK);
	NEED(base64_put(text, secret_reveal(file_key), BASE64_PADDED) == OK && buf_len(text) == 24);
	hex_encode(secret_reveal(file_key), hex);
}

/* The controls: what an ordinary comparison and a table do. */
static void control_branch(void)
{
	CLEANUP(secret_freep) struct secret *one = poisoned(key_text, 32), *other = poisoned(key_text, 32);
	volatile int result = 0;

	for (size_t i = 0; i < 32; i++)
		if (secret_reveal(one).data[i] != secret_reveal(other).data[i]) {
			result = 1;
			break;
		}
	(void)result;
}

static void control_address(void)
{
	CLEANUP(secret_freep) struct secret *one = poisoned(key_text, 32);
	static const uint8_t table[256] = { 1 };
	volatile uint8_t result = table[secret_reveal(one).data[5]];

	(void)result;
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "bech32", case_bech32 },
	{ "identity", case_identity },
	{ "x25519", case_x25519 },
	{ "p256tag", case_p256tag },
	{ "header", case_header },
	{ "pin", case_pin },
	{ "compare", case_compare },
	{ "encoding", case_encoding },
	{ "control_branch", control_branch },
	{ "control_address", control_address },
};

int main(int argc, char **argv)
{
	NEED(argc == 2 && sodium_init() >= 0);
	NEED(RUNNING_ON_VALGRIND);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (strcmp(cases[i].name, argv[1]) == 0) {
			cases[i].run();
			return VALGRIND_COUNT_ERRORS ? 1 : 0;
		}
	return 3;
}
