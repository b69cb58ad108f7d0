/* Lines of recipients and identities, and what each makes of a stanza. The device's part of p256tag is played by libcrypto. */
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/encoding.h"
#include "formats/bech32.h"
#include "formats/recipient.h"

#define X25519_RECIPIENT "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj"
#define X25519_IDENTITY "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"
#define P256_RECIPIENT "age1tag1qf0l9gks6x65ha077wq3w3u8fy02tpg3cd9w5j0jlgpfgqkcut2lwksa782"
#define P256_SCALAR "3927becc32b5f2a17452b8f1615926c2fc7211dc591e9f45ebdac4963f1b292f"

struct row {
	const char *line;
	enum err err;
	const char *what; /* when unsupported */
};

static const struct row recipient_rows[] = {
	{ X25519_RECIPIENT, OK, NULL },
	{ P256_RECIPIENT, OK, NULL },
	{ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEiWq me@here", ERR_UNSUPPORTED, "ssh-ed25519" },
	{ "ssh-rsa AAAA", ERR_UNSUPPORTED, "ssh-rsa" },
	{ "", ERR_USAGE, NULL },
	{ "age1", ERR_USAGE, NULL },
	{ "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwk", ERR_USAGE, NULL }, /* checksum */
	{ "AGE1ZVKYG2LQZRAA2LNJVQEJ32NKUU0UES2S82HZRYE869XEEXVN73EQUNUJWJ", ERR_USAGE,
	  NULL }, /* upper case, as in age */
	{ " " X25519_RECIPIENT, ERR_USAGE, NULL },
	{ X25519_RECIPIENT " ", ERR_USAGE, NULL },
	{ X25519_IDENTITY, ERR_USAGE, NULL }, /* the secret where the public key should be */
	{ "me@example.com", ERR_USAGE, NULL },
};

static void test_recipient_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(recipient_rows) / sizeof(recipient_rows[0]); i++) {
		struct recipient recipient;
		struct bytes what = { NULL, 0 };
		enum err err = recipient_parse(bytes_of_string(recipient_rows[i].line), &recipient, &what);

		if (err != recipient_rows[i].err)
			fail_msg("%s: %s", recipient_rows[i].line, err_info(err)->name);
		if (recipient_rows[i].what)
			assert_true(bytes_equal(what, bytes_of_string(recipient_rows[i].what)));
		if (!err)
			recipient_done(&recipient);
	}
}

/* A line that bech32_put makes of len bytes. */
static struct buf *line_of(const char *prefix, size_t len, uint8_t first, bool upper)
{
	struct buf *line = NULL;
	uint8_t bytes[2000] = { first };

	assert_int_equal(buf_new(BECH32_TEXT_MAX, &line), OK);
	assert_int_equal(bech32_put(line, prefix, bytes_of(bytes, len), upper), OK);
	return line;
}

struct made_row {
	const char *prefix;
	size_t len;
	uint8_t first;
	enum err err;
};

static const struct made_row made_recipients[] = {
	{ "age", 32, 0, OK },
	{ "age", 31, 0, ERR_USAGE },
	{ "age", 33, 0, ERR_USAGE },
	{ "age1tag", 33, 2, OK },
	{ "age1tag", 33, 3, OK },
	{ "age1tag", 33, 4, ERR_USAGE },
	{ "age1tag", 33, 0, ERR_USAGE },
	{ "age1tag", 32, 2, ERR_USAGE },
	{ "age1tag", 65, 4, ERR_USAGE },
	{ "age1pq", 1216, 0, ERR_UNSUPPORTED },
	{ "age1tagpq", 1249, 0, ERR_UNSUPPORTED },
	{ "age1yubikey", 33, 2, ERR_UNSUPPORTED },
	{ "age1my-plugin_2.0+x", 33, 2, ERR_UNSUPPORTED },
	/* names that lead somewhere else: GHSA-32gq-x56h-299c */
	{ "age1../../../evil", 1, 0, ERR_USAGE },
	{ "age1a/b", 1, 0, ERR_USAGE },
	{ "age1/", 1, 0, ERR_USAGE },
	{ "age1.", 1, 0, ERR_USAGE },
	{ "age1..", 1, 0, ERR_USAGE },
	{ "age1.hidden", 1, 0, ERR_USAGE },
	{ "age1-x", 1, 0, ERR_USAGE },
	{ "age1a\\b", 1, 0, ERR_USAGE },
	{ "age1a:b", 1, 0, ERR_USAGE },
	{ "age1a%2fb", 1, 0, ERR_USAGE },
	{ "age1$(x)", 1, 0, ERR_USAGE },
	{ "age1a;b", 1, 0, ERR_USAGE },
	{ "age1~x", 1, 0, ERR_USAGE },
	{ "age1", 32, 0, ERR_USAGE },
	{ "ag", 32, 0, ERR_USAGE },
	{ "bc", 32, 0, ERR_USAGE },
};

static const struct made_row made_identities[] = {
	{ "age-secret-key-", 32, 0, OK },
	{ "age-secret-key-", 31, 0, ERR_USAGE },
	{ "age-secret-key-", 33, 0, ERR_USAGE },
	{ "age-secret-key-", 1000, 0, ERR_USAGE },
	{ "age-secret-key", 32, 0, ERR_USAGE },
	{ "age-secret-key-pq-", 32, 0, ERR_UNSUPPORTED },
	{ "age-plugin-yubikey-", 12, 0, ERR_UNSUPPORTED },
	{ "age-plugin-fido2-hmac-", 12, 0, ERR_UNSUPPORTED },
	{ "age-plugin-tokend-", 0, 0, OK },
	{ "age-plugin-tokend-", 1, 1, ERR_USAGE },
	{ "age-plugin-tokend-", 1, 2, ERR_UNSUPPORTED }, /* a version to come */
	{ "age-plugin-tokend-", 1 + 16 + 1 + 33, 1, ERR_USAGE }, /* kind 0 */
	{ "age-plugin-", 12, 0, ERR_USAGE },
	{ "age-plugin--", 12, 0, ERR_USAGE },
	{ "age-plugin-x", 12, 0, ERR_USAGE },
	{ "age-plugin-../../evil-", 12, 0, ERR_USAGE },
	{ "age-plugin-a/b-", 12, 0, ERR_USAGE },
	{ "age-plugin-.x-", 12, 0, ERR_USAGE },
	{ "age", 32, 0, ERR_USAGE },
};

static void test_made_recipients(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(made_recipients) / sizeof(made_recipients[0]); i++) {
		const struct made_row *row = &made_recipients[i];
		CLEANUP(buf_freep) struct buf *line = line_of(row->prefix, row->len, row->first, false);
		struct recipient recipient;
		struct bytes what = { NULL, 0 };
		enum err err = recipient_parse(buf_bytes(line), &recipient, &what);

		if (err != row->err)
			fail_msg("%s of %zu bytes: %s", row->prefix, row->len, err_info(err)->name);
		if (err == ERR_UNSUPPORTED)
			assert_true(bytes_equal(what, bytes_of_string(row->prefix)));
	}
}

static void test_made_identities(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(made_identities) / sizeof(made_identities[0]); i++) {
		const struct made_row *row = &made_identities[i];

		for (int upper = 0; upper <= 1; upper++) {
			CLEANUP(buf_freep)
			struct buf *line = line_of(row->prefix, row->len, row->first, upper);
			struct identity identity;
			struct bytes what = { NULL, 0 };
			enum err err = identity_parse(buf_bytes(line), &identity, &what);

			/* In lower case it is none, as in age. */
			if (err != (upper ? row->err : ERR_USAGE))
				fail_msg("%s of %zu bytes: %s", row->prefix, row->len, err_info(err)->name);
			if (!err)
				identity_done(&identity);
		}
	}
	assert_int_equal(secret_stats().live, 0);
}

static void test_ssh_identity(void **state)
{
	struct identity identity;
	struct bytes what;

	(void)state;
	assert_int_equal(
	        identity_parse(bytes_of_string("-----BEGIN OPENSSH PRIVATE KEY-----"), &identity, &what),
	        ERR_UNSUPPORTED);
	assert_true(bytes_equal(what, bytes_of_string("ssh private key")));
}

static void test_x25519_lines(void **state)
{
	CLEANUP(buf_freep) struct buf *line = NULL;
	struct identity made, read;
	struct recipient recipient;
	struct bytes what;

	(void)state;
	assert_int_equal(buf_new(BECH32_TEXT_MAX, &line), OK);
	assert_int_equal(identity_new_x25519(&made), OK);
	assert_int_equal(identity_put_x25519(line, made.private_key), OK);
	assert_int_equal(identity_parse(buf_bytes(line), &read, &what), OK);
	assert_true(secret_equal(made.private_key, read.private_key));
	assert_memory_equal(made.public_key, read.public_key, X25519_LEN);
	buf_clear(line);
	assert_int_equal(recipient_put_x25519(line, made.public_key), OK);
	assert_int_equal(recipient_parse(buf_bytes(line), &recipient, &what), OK);
	assert_int_equal(recipient.kind, RECIPIENT_X25519);
	assert_memory_equal(recipient.public_key, made.public_key, X25519_LEN);
	identity_done(&made);
	identity_done(&read);
}

static void test_tokend_lines(void **state)
{
	static const struct key_id id = { { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 } };
	static const enum key_kind kinds[] = { KEY_KIND_P256, KEY_KIND_X25519 };
	uint8_t public_key[P256_COMPRESSED_LEN] = { 2, 7 };
	CLEANUP(buf_freep) struct buf *line = NULL;
	struct identity identity;
	struct bytes what;

	(void)state;
	assert_int_equal(buf_new(BECH32_TEXT_MAX, &line), OK);
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		buf_clear(line);
		assert_int_equal(identity_put_tokend(line, &id, kinds[i], public_key), OK);
		assert_int_equal(identity_parse(buf_bytes(line), &identity, &what), OK);
		assert_int_equal(identity.kind, IDENTITY_TOKEND);
		assert_false(identity.any_key);
		assert_true(key_id_equal(&identity.key_id, &id));
		assert_int_equal(identity.key_kind, kinds[i]);
		assert_memory_equal(identity.public_key, public_key, kinds[i] == KEY_KIND_P256 ? 33 : 32);
	}
	buf_clear(line);
	assert_int_equal(identity_put_tokend(line, NULL, KEY_KIND_P256, NULL), OK);
	assert_int_equal(identity_parse(buf_bytes(line), &identity, &what), OK);
	assert_true(identity.any_key);
	assert_int_equal(identity_put_tokend(line, &id, KEY_KIND_SYMMETRIC, public_key), ERR_USAGE);
}

static struct secret *make_file_key(void)
{
	struct secret *file_key = NULL;

	assert_int_equal(secret_new(FILE_KEY_LEN, &file_key), OK);
	memcpy(secret_fill(file_key), "YELLOW SUBMARINE", FILE_KEY_LEN);
	return file_key;
}

static struct age_header *parse_text(struct buf *text, const struct secret *file_key)
{
	struct age_header *header = NULL;
	size_t len;

	assert_int_equal(age_header_finish(text, file_key), OK);
	assert_int_equal(age_header_parse(buf_bytes(text), &header, &len), OK);
	assert_int_equal(age_header_verify(header, file_key), OK);
	return header;
}

static void test_wrap_x25519(void **state)
{
	CLEANUP(secret_freep) struct secret *file_key = make_file_key();
	CLEANUP(secret_freep) struct secret *opened = NULL;
	CLEANUP(secret_freep) struct secret *none = NULL;
	CLEANUP(age_header_freep) struct age_header *header = NULL;
	CLEANUP(buf_freep) struct buf *text = NULL;
	struct recipient recipient = { .kind = RECIPIENT_X25519 };
	struct identity identity, other;

	(void)state;
	assert_int_equal(identity_new_x25519(&identity), OK);
	assert_int_equal(identity_new_x25519(&other), OK);
	assert_int_equal(buf_new(AGE_HEADER_MAX, &text), OK);
	assert_int_equal(age_header_begin(text), OK);
	memcpy(recipient.public_key, identity.public_key, X25519_LEN);
	assert_int_equal(recipient_wrap(&recipient, file_key, text), OK);
	header = parse_text(text, file_key);
	assert_null(stanza_type_text(age_header_stanza(header, 0)));
	assert_int_equal(identity_unwrap(&identity, header, 22, &opened), OK);
	assert_true(secret_equal(opened, file_key));
	assert_int_equal(identity_unwrap(&other, header, 22, &none), ERR_NO_MATCH);
	memset(recipient.public_key, 0, X25519_LEN);
	assert_int_equal(recipient_wrap(&recipient, file_key, text), ERR_USAGE);
	identity_done(&identity);
	identity_done(&other);
}

static void test_wrap_passphrase(void **state)
{
	CLEANUP(secret_freep) struct secret *file_key = make_file_key();
	CLEANUP(secret_freep) struct secret *opened = NULL;
	CLEANUP(secret_freep) struct secret *none = NULL;
	CLEANUP(age_header_freep) struct age_header *header = NULL;
	CLEANUP(buf_freep) struct buf *text = NULL;
	struct recipient recipient = { .kind = RECIPIENT_PASSPHRASE, .work_factor = 10 };
	struct identity identity = { .kind = IDENTITY_PASSPHRASE };

	(void)state;
	assert_int_equal(secret_new_from(bytes_of_string("correct horse"), &recipient.passphrase), OK);
	assert_int_equal(secret_new_from(bytes_of_string("correct horse"), &identity.private_key), OK);
	assert_int_equal(buf_new(AGE_HEADER_MAX, &text), OK);
	assert_int_equal(age_header_begin(text), OK);
	assert_int_equal(recipient_wrap(&recipient, file_key, text), OK);
	header = parse_text(text, file_key);
	assert_string_equal(stanza_type_text(age_header_stanza(header, 0)), "a passphrase");
	assert_int_equal(identity_unwrap(&identity, header, 10, &opened), OK);
	assert_true(secret_equal(opened, file_key));
	assert_int_equal(identity_unwrap(&identity, header, 9, &none), ERR_UNSUPPORTED);
	secret_fill(identity.private_key)[0] ^= 1;
	assert_int_equal(identity_unwrap(&identity, header, 10, &none), ERR_NO_MATCH);
	identity_done(&identity);
	recipient_done(&recipient);
}

/* What the device does: the X coordinate of scalar times point. */
static struct secret *device_ecdh(const char *scalar_hex, const uint8_t point[P256_POINT_LEN])
{
	EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
	EC_POINT *share = EC_POINT_new(group), *result = EC_POINT_new(group);
	BIGNUM *scalar = NULL, *x = BN_new();
	struct secret *secret = NULL;

	assert_int_equal(secret_new(32, &secret), OK);
	assert_int_equal(BN_hex2bn(&scalar, scalar_hex), 64);
	assert_int_equal(EC_POINT_oct2point(group, share, point, P256_POINT_LEN, NULL), 1);
	assert_int_equal(EC_POINT_mul(group, result, NULL, share, scalar, NULL), 1);
	assert_int_equal(EC_POINT_get_affine_coordinates(group, result, x, NULL, NULL), 1);
	assert_int_equal(BN_bn2binpad(x, secret_fill(secret), 32), 32);
	BN_free(scalar);
	BN_free(x);
	EC_POINT_free(share);
	EC_POINT_free(result);
	EC_GROUP_free(group);
	return secret;
}

static void recipient_point(uint8_t ret_point[P256_POINT_LEN])
{
	static const char hex[] = "045ff2a2d0d1b54bf5fef381174787491ea58511c34aea49f2fa029402d8e2d5f77a32ff7f"
	                          "3a25c86e707a44e4fadd77bc7f87e55f30c"
	                          "d2d6359a8158849eba608";

	assert_int_equal(hex_decode(bytes_of_string(hex), ret_point, P256_POINT_LEN), OK);
}

/* Opens a p256tag stanza as the broker and a helper would. */
static void assert_device_opens(const struct age_stanza *stanza, const struct secret *file_key)
{
	CLEANUP(secret_freep) struct secret *opened = NULL;
	CLEANUP(secret_freep) struct secret *x = NULL;
	uint8_t point[P256_POINT_LEN], compressed[P256_COMPRESSED_LEN], hash[TAG_LEN], tag[TAG_LEN];
	struct token_stanza read;

	recipient_point(point);
	p256_compress(point, compressed);
	assert_int_equal(token_stanza_read(stanza, &read), OK);
	assert_int_equal(read.kind, KEY_KIND_P256);
	p256tag_recipient_hash(compressed, hash);
	p256tag_tag(read.share, hash, tag);
	assert_memory_equal(tag, read.tag, TAG_LEN);
	x = device_ecdh(P256_SCALAR, read.share);
	assert_int_equal(p256tag_unwrap(x, read.share, point, read.body, &opened), OK);
	assert_true(secret_equal(opened, file_key));
}

static void test_wrap_p256tag(void **state)
{
	CLEANUP(secret_freep) struct secret *file_key = make_file_key();
	CLEANUP(age_header_freep) struct age_header *header = NULL;
	CLEANUP(buf_freep) struct buf *text = NULL;
	struct recipient recipient;
	struct bytes what;

	(void)state;
	assert_int_equal(recipient_parse(bytes_of_string(P256_RECIPIENT), &recipient, &what), OK);
	assert_int_equal(buf_new(AGE_HEADER_MAX, &text), OK);
	assert_int_equal(recipient_put_p256(text, recipient.public_key), OK);
	assert_string_equal(buf_string(text), P256_RECIPIENT);
	buf_clear(text);
	assert_int_equal(age_header_begin(text), OK);
	for (size_t i = 0; i < 50; i++)
		assert_int_equal(recipient_wrap(&recipient, file_key, text), OK);
	header = parse_text(text, file_key);
	for (size_t i = 0; i < 50; i++)
		assert_device_opens(age_header_stanza(header, i), file_key);
	recipient.public_key[32] ^= 2; /* not on the curve */
	assert_int_equal(recipient_wrap(&recipient, file_key, text), ERR_USAGE);
}

/* A stanza that another program made (age-plugin-se's tests). */
static void test_foreign_p256tag(void **state)
{
	static const char text[] = AGE_INTRO
	        "-> p256tag NDTf9g "
	        "BD7IeMpB4oX0CHt/Bc9xzk6x1K262zNxoUtfAikZa5T7aUSkQuuvOANb1o+BKtf/4/F++4nJgRQ0PgIyFJq8i88\n"
	        "14bmQarAgrOM0M27KRHYp9RzNYlcv3pJgRm9sTCB08c\n"
	        "--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n";
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	CLEANUP(age_header_freep) struct age_header *header = NULL;
	size_t len;

	(void)state;
	assert_int_equal(secret_new(FILE_KEY_LEN, &file_key), OK);
	secret_fill(file_key)[FILE_KEY_LEN - 1] = 1;
	assert_int_equal(age_header_parse(bytes_of_string(text), &header, &len), OK);
	assert_device_opens(age_header_stanza(header, 0), file_key);
}

#define SHARE "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define POINT "BD7IeMpB4oX0CHt/Bc9xzk6x1K262zNxoUtfAikZa5T7aUSkQuuvOANb1o+BKtf/4/F++4nJgRQ0PgIyFJq8i88"
#define BODY "\n14bmQarAgrOM0M27KRHYp9RzNYlcv3pJgRm9sTCB08c\n"
#define SHORT_BODY "\n14bmQarAgrOM0M27KRHYp9RzNYlcv3pJgRm9sTCB0w\n"

struct stanza_row {
	const char *text;
	enum err err;
};

static const struct stanza_row stanza_rows[] = {
	{ "-> X25519 " SHARE BODY, OK },
	{ "-> X25519" BODY, ERR_BAD_FILE },
	{ "-> X25519 " SHARE " x" BODY, ERR_BAD_FILE },
	{ "-> X25519 " SHARE "A" BODY, ERR_BAD_FILE },
	{ "-> X25519 " SHARE "=" BODY, ERR_BAD_FILE },
	{ "-> X25519 AAAA" BODY, ERR_BAD_FILE },
	{ "-> X25519 " SHARE SHORT_BODY, ERR_BAD_FILE },
	{ "-> X25519 " SHARE "\n\n", ERR_BAD_FILE },
	{ "-> p256tag NDTf9g " POINT BODY, OK },
	{ "-> p256tag NDTf9g" BODY, ERR_BAD_FILE },
	{ "-> p256tag " POINT " NDTf9g" BODY, ERR_BAD_FILE },
	{ "-> p256tag NDTf9g " POINT " x" BODY, ERR_BAD_FILE },
	{ "-> p256tag NDTf " POINT BODY, ERR_BAD_FILE },
	{ "-> p256tag NDTf9h " POINT BODY, ERR_BAD_FILE }, /* not canonical */
	{ "-> p256tag NDTf9g A"
	  "D7IeMpB4oX0CHt/Bc9xzk6x1K262zNxoUtfAikZa5T7aUSkQuuvOANb1o+BKtf/4/F++4nJgRQ0PgIyFJq8i88" BODY,
	  ERR_BAD_FILE }, /* no 04 before it */
	{ "-> p256tag NDTf9g " POINT SHORT_BODY, ERR_BAD_FILE },
	{ "-> x25519 " SHARE BODY, ERR_NO_MATCH },
	{ "-> P256TAG NDTf9g " POINT BODY, ERR_NO_MATCH },
	{ "-> ssh-ed25519 NDTf9g " SHARE BODY, ERR_NO_MATCH },
	{ "-> any-grease x\n\n", ERR_NO_MATCH },
};

static void test_stanza_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(stanza_rows) / sizeof(stanza_rows[0]); i++) {
		CLEANUP(age_header_freep) struct age_header *header = NULL;
		CLEANUP(buf_freep) struct buf *text = NULL;
		struct token_stanza read;
		size_t len;

		assert_int_equal(buf_new(4096, &text), OK);
		assert_int_equal(buf_printf(text, "%s%s--- %s\n", AGE_INTRO, stanza_rows[i].text, SHARE), OK);
		assert_int_equal(age_header_parse(buf_bytes(text), &header, &len), OK);
		if (token_stanza_read(age_header_stanza(header, 0), &read) != stanza_rows[i].err)
			fail_msg("%s", stanza_rows[i].text);
	}
}

static const struct {
	const char *type;
	const char *text;
} type_rows[] = {
	{ "X25519", NULL },
	{ "p256tag", NULL },
	{ "abc-grease", NULL },
	{ "scrypt", "a passphrase" },
	{ "ssh-rsa", "an ssh key" },
	{ "mlkem768x25519", "a post-quantum key" },
	{ "x25519", "a key of a kind that tokend does not know" },
};

static void test_type_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(type_rows) / sizeof(type_rows[0]); i++) {
		const struct bytes type = bytes_of_string(type_rows[i].type);
		const struct age_stanza stanza = { 1, &type, { NULL, 0 } };
		const char *text = stanza_type_text(&stanza);

		if (type_rows[i].text)
			assert_string_equal(text, type_rows[i].text);
		else
			assert_null(text);
	}
}

static void test_nothing_left(void **state)
{
	(void)state;
	assert_int_equal(secret_stats().live, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recipient_rows),  cmocka_unit_test(test_made_recipients),
		cmocka_unit_test(test_made_identities), cmocka_unit_test(test_ssh_identity),
		cmocka_unit_test(test_x25519_lines),    cmocka_unit_test(test_tokend_lines),
		cmocka_unit_test(test_wrap_x25519),     cmocka_unit_test(test_wrap_passphrase),
		cmocka_unit_test(test_wrap_p256tag),    cmocka_unit_test(test_foreign_p256tag),
		cmocka_unit_test(test_stanza_rows),     cmocka_unit_test(test_type_text),
		cmocka_unit_test(test_nothing_left),
	};

	return secret_client_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
