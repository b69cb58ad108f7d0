/* TPM key files: what is written is read again; every byte flipped and every length cut is refused or says something else; options by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/encoding.h"
#include "formats/tpmkey.h"

static void fill_blob(struct token_blob *blob, uint32_t parent, size_t public_len, size_t private_len)
{
	memset(blob, 0, sizeof(*blob));
	blob->parent = parent;
	blob->public_area_len = public_len;
	blob->private_area_len = private_len;
	for (size_t i = 0; i < public_len; i++)
		blob->public_area[i] = (uint8_t)(i * 3);
	for (size_t i = 0; i < private_len; i++)
		blob->private_area[i] = (uint8_t)(i * 5);
	blob->public_area[0] = (uint8_t)((public_len - 2) >> 8);
	blob->public_area[1] = (uint8_t)(public_len - 2);
	blob->private_area[0] = (uint8_t)((private_len - 2) >> 8);
	blob->private_area[1] = (uint8_t)(private_len - 2);
}

static bool same_blob(const struct token_blob *a, const struct token_blob *b)
{
	return a->parent == b->parent &&
	       bytes_equal(bytes_of(a->public_area, a->public_area_len),
	                   bytes_of(b->public_area, b->public_area_len)) &&
	       bytes_equal(bytes_of(a->private_area, a->private_area_len),
	                   bytes_of(b->private_area, b->private_area_len));
}

static const struct {
	uint32_t parent;
	size_t public_len;
	size_t private_len;
} sizes[] = {
	{ 0x81000001, 88, 126 },  { 0x40000001, 2, 2 },
	{ 0x40000001, 127, 128 }, { 0x80, 129, 130 },
	{ 0x7f, 255, 256 },       { 0, 257, 258 },
	{ 0xffffffff, 3, 2 },     { 0x8000, TOKEN_BLOB_PART_MAX, TOKEN_BLOB_PART_MAX },
};

static void test_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) * 4; i++) {
		CLEANUP(buf_freep) struct buf *text = NULL;
		struct token_blob blob, read;
		bool is_sealed = i % 2, is_empty = i / 2 % 2, sealed, empty;

		fill_blob(&blob, sizes[i / 4].parent, sizes[i / 4].public_len, sizes[i / 4].private_len);
		assert_int_equal(buf_new(TPMKEY_TEXT_MAX, &text), OK);
		assert_int_equal(
		        tpmkey_put(text, &blob, is_sealed ? KEY_KIND_X25519 : KEY_KIND_P256, is_empty), OK);
		assert_int_equal(tpmkey_read(buf_bytes(text), &read, &sealed, &empty), OK);
		assert_true(same_blob(&blob, &read));
		assert_int_equal(read.parent_name_len, 0);
		assert_int_equal(sealed, is_sealed);
		assert_int_equal(empty, is_empty);
	}
}

/* One changed bit is refused, or it is a bit of the content and then shows there: nothing is taken for the same file. */
static void test_flipped(void **state)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	struct token_blob blob, read;
	uint8_t copy[1024];
	bool sealed, empty;
	size_t harmless = 0;

	(void)state;
	fill_blob(&blob, 0x81000001, 88, 126);
	assert_int_equal(buf_new(sizeof(copy), &text), OK);
	assert_int_equal(tpmkey_put(text, &blob, KEY_KIND_P256, true), OK);
	for (size_t bit = 0; bit < buf_len(text) * 8; bit++) {
		memcpy(copy, buf_bytes(text).data, buf_len(text));
		copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
		if (tpmkey_read(bytes_of(copy, buf_len(text)), &read, &sealed, &empty))
			continue;
		if (same_blob(&blob, &read) && !sealed && empty)
			harmless++;
	}
	/* True has 255 spellings, so the bits of that one byte do not show. */
	assert_in_range(harmless, 1, 8);
	for (size_t len = 0; len + 1 < buf_len(text); len++)
		assert_int_equal(tpmkey_read(bytes_of(buf_bytes(text).data, len), &read, &sealed, &empty),
		                 ERR_BAD_FILE);
}

#define OID "06066781050a01"
#define AUTH "a0030101ff"
#define PARENT "020500"
#define HANDLE "81000001"
#define PUBLIC "04040002aabb"
#define PRIVATE "04040002ccdd"

struct row {
	const char *name;
	const char *content; /* of the SEQUENCE */
	enum err err;
	bool sealed;
	bool empty;
};

static const struct row rows[] = {
	{ "loadable", OID "03" AUTH PARENT HANDLE PUBLIC PRIVATE, OK, false, true },
	{ "sealed", OID "05" AUTH PARENT HANDLE PUBLIC PRIVATE, OK, true, true },
	{ "with a PIN", OID "03" PARENT HANDLE PUBLIC PRIVATE, OK, false, false },
	{ "emptyAuth false", OID "03a003010100" PARENT HANDLE PUBLIC PRIVATE, OK, false, false },
	{ "an old tool's true", OID "03a003010101" PARENT HANDLE PUBLIC PRIVATE, OK, false, true },
	{ "a short parent", OID "03" AUTH "020440000001" PUBLIC PRIVATE, OK, false, true },
	{ "a description", OID "03" AUTH "a4040c026162" PARENT HANDLE PUBLIC PRIVATE, OK, false, true },
	{ "importable", OID "04" AUTH PARENT HANDLE PUBLIC PRIVATE, ERR_UNSUPPORTED, false, false },
	{ "a policy", OID "03" AUTH "a1023000" PARENT HANDLE PUBLIC PRIVATE, ERR_UNSUPPORTED, false, false },
	{ "a secret", OID "03" AUTH "a2020400" PARENT HANDLE PUBLIC PRIVATE, ERR_UNSUPPORTED, false, false },
	{ "an authPolicy", OID "03" AUTH "a3023000" PARENT HANDLE PUBLIC PRIVATE, ERR_UNSUPPORTED, false,
	  false },
	{ "another type", OID "06" AUTH PARENT HANDLE PUBLIC PRIVATE, ERR_BAD_FILE, false, false },
	{ "another OID", "06066781050a0203" AUTH PARENT HANDLE PUBLIC PRIVATE, ERR_BAD_FILE, false, false },
	{ "no type", AUTH PARENT HANDLE PUBLIC PRIVATE, ERR_BAD_FILE, false, false },
	{ "no parent", OID "03" AUTH PUBLIC PRIVATE, ERR_BAD_FILE, false, false },
	{ "no private part", OID "03" AUTH PARENT HANDLE PUBLIC, ERR_BAD_FILE, false, false },
	{ "something after it", OID "03" AUTH PARENT HANDLE PUBLIC PRIVATE "0500", ERR_BAD_FILE, false,
	  false },
	{ "a negative parent", OID "03" AUTH "020481000001" PUBLIC PRIVATE, ERR_BAD_FILE, false, false },
	{ "a parent too long",
	  OID "03" AUTH "02060081000001"
	      "00" PUBLIC PRIVATE,
	  ERR_BAD_FILE, false, false },
	{ "a parent not minimal", OID "03" AUTH "02050040000001" PUBLIC PRIVATE, ERR_BAD_FILE, false, false },
	{ "an empty parent", OID "03" AUTH "0200" PUBLIC PRIVATE, ERR_BAD_FILE, false, false },
	{ "a wrong size within", OID "03" AUTH PARENT HANDLE "04040003aabb" PRIVATE, ERR_BAD_FILE, false,
	  false },
	{ "no size within", OID "03" AUTH PARENT HANDLE "040100" PRIVATE, ERR_BAD_FILE, false, false },
	{ "an empty part", OID "03" AUTH PARENT HANDLE "0400" PRIVATE, ERR_BAD_FILE, false, false },
	{ "a long length", OID "03" AUTH PARENT HANDLE "0481040002aabb" PRIVATE, ERR_BAD_FILE, false, false },
	{ "an indefinite length", OID "03" AUTH PARENT HANDLE "04800002aabb0000" PRIVATE, ERR_BAD_FILE, false,
	  false },
	{ "a length beyond the end", OID "03" AUTH PARENT HANDLE PUBLIC "04050002ccdd", ERR_BAD_FILE, false,
	  false },
	{ "a boolean of two bytes", OID "03a0040102ffff" PARENT HANDLE PUBLIC PRIVATE, ERR_BAD_FILE, false,
	  false },
	{ "an empty boolean", OID "03a0020100" PARENT HANDLE PUBLIC PRIVATE, ERR_BAD_FILE, false, false },
};

static void put_row(struct buf *text, const char *content, const char *line_end)
{
	uint8_t der[256] = { 0x30, (uint8_t)(strlen(content) / 2) };

	assert_true(strlen(content) / 2 < 0x80);
	assert_int_equal(hex_decode(bytes_of_string(content), der + 2, strlen(content) / 2), OK);
	assert_int_equal(buf_printf(text, "-----BEGIN TSS2 PRIVATE KEY-----%s", line_end), OK);
	assert_int_equal(base64_put(text, bytes_of(der, strlen(content) / 2 + 2), BASE64_PADDED), OK);
	assert_int_equal(buf_printf(text, "%s-----END TSS2 PRIVATE KEY-----%s", line_end, line_end), OK);
}

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) * 2; i++) {
		CLEANUP(buf_freep) struct buf *text = NULL;
		const struct row *row = &rows[i / 2];
		struct token_blob read;
		bool sealed, empty;
		enum err err;

		assert_int_equal(buf_new(TPMKEY_TEXT_MAX, &text), OK);
		put_row(text, row->content, i % 2 ? "\r\n" : "\n");
		err = tpmkey_read(buf_bytes(text), &read, &sealed, &empty);
		if (err != row->err)
			fail_msg("%s: %s", row->name, err_info(err)->name);
		if (err)
			continue;
		assert_int_equal(sealed, row->sealed);
		assert_int_equal(empty, row->empty);
		assert_int_equal(read.public_area_len, 4);
	}
}

static const struct {
	const char *name;
	const char *text;
} text_rows[] = {
	{ "nothing", "" },
	{ "another label", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n" },
	{ "no content", "-----BEGIN TSS2 PRIVATE KEY-----\n-----END TSS2 PRIVATE KEY-----\n" },
	{ "no end", "-----BEGIN TSS2 PRIVATE KEY-----\nMAA=\n" },
	{ "an empty sequence", "-----BEGIN TSS2 PRIVATE KEY-----\nMAA=\n-----END TSS2 PRIVATE KEY-----\n" },
	{ "text before it", "x\n-----BEGIN TSS2 PRIVATE KEY-----\nMAA=\n-----END TSS2 PRIVATE KEY-----\n" },
	{ "text after it", "-----BEGIN TSS2 PRIVATE KEY-----\nMAA=\n-----END TSS2 PRIVATE KEY-----\nx" },
};

static void test_texts(void **state)
{
	struct token_blob read;
	bool sealed, empty;

	(void)state;
	for (size_t i = 0; i < sizeof(text_rows) / sizeof(text_rows[0]); i++)
		if (tpmkey_read(bytes_of_string(text_rows[i].text), &read, &sealed, &empty) != ERR_BAD_FILE)
			fail_msg("%s", text_rows[i].name);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_flipped),
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_texts),
	};

	return secret_client_init() ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
