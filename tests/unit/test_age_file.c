/* Whole files: written and read again, to several recipients, armored or not; every byte flipped; ended everywhere. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "formats/age_file.h"
#include "formats/armor.h"

#define PLAIN_LEN 70000U
#define FILE_MAX (1U << 20)

static uint8_t plain[PLAIN_LEN];

static enum err collect(void *context, struct bytes bytes)
{
	return buf_put(context, bytes);
}

static enum err open_with_identity(void *context, const struct age_header *header,
                                   struct secret **ret_file_key)
{
	return identity_unwrap(context, header, 22, ret_file_key);
}

static struct buf *new_buf(void)
{
	struct buf *buf = NULL;

	assert_int_equal(buf_new(FILE_MAX, &buf), OK);
	return buf;
}

static struct recipient recipient_of(const struct identity *identity)
{
	struct recipient recipient = { .kind = RECIPIENT_X25519 };

	memcpy(recipient.public_key, identity->public_key, X25519_LEN);
	return recipient;
}

static enum err write_file(const struct recipient *recipients, size_t count, bool armored, size_t len,
                           size_t piece, struct buf *out)
{
	CLEANUP(age_writer_freep) struct age_writer *writer = NULL;
	enum err err = age_writer_new(recipients, count, armored, collect, out, &writer);

	for (size_t at = 0; !err && at < len; at += piece)
		err = age_writer_push(writer, bytes_of(plain + at, piece < len - at ? piece : len - at));
	return err ? err : age_writer_finish(writer);
}

static enum err read_file(struct identity *identity, struct bytes file, size_t piece, struct buf *out)
{
	CLEANUP(age_reader_freep) struct age_reader *reader = NULL;
	enum err err = age_reader_new(open_with_identity, identity, collect, out, &reader);

	for (size_t at = 0; !err && at < file.len; at += piece)
		err = age_reader_push(
		        reader, bytes_of(file.data + at, piece < file.len - at ? piece : file.len - at));
	return err ? err : age_reader_finish(reader);
}

static void test_round_trip(void **state)
{
	static const size_t lens[] = { 0, 1, 65535, 65536, 65537, PLAIN_LEN };
	static const size_t pieces[] = { 1, 7, 4096, PLAIN_LEN * 2 };
	struct identity identities[2];
	struct recipient recipients[2];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(identity_new_x25519(&identities[i]), OK);
		recipients[i] = recipient_of(&identities[i]);
	}
	for (size_t i = 0; i < 6 * 4 * 2 * 2; i++) {
		CLEANUP(buf_freep) struct buf *file = new_buf();
		CLEANUP(buf_freep) struct buf *out = new_buf();
		size_t len = lens[i % 6], piece = pieces[i / 6 % 4];
		bool armored = i / 24 % 2;

		assert_int_equal(write_file(recipients, 2, armored, len, piece, file), OK);
		assert_int_equal(armor_looks_like(buf_bytes(file)), armored);
		assert_int_equal(read_file(&identities[i / 48], buf_bytes(file), piece, out), OK);
		assert_true(bytes_equal(buf_bytes(out), bytes_of(plain, len)));
	}
	identity_done(&identities[0]);
	identity_done(&identities[1]);
}

static void test_recipients(void **state)
{
	static struct recipient many[257];
	CLEANUP(buf_freep) struct buf *file = new_buf();
	CLEANUP(buf_freep) struct buf *out = new_buf();
	struct identity identity;

	(void)state;
	assert_int_equal(identity_new_x25519(&identity), OK);
	for (size_t i = 0; i < 257; i++)
		many[i] = recipient_of(&identity);
	assert_int_equal(write_file(many, 0, false, 1, 1, file), ERR_USAGE);
	assert_int_equal(write_file(many, 257, false, 1, 1, file), ERR_USAGE);
	assert_int_equal(write_file(many, 256, false, 1, 1, file), OK);
	assert_int_equal(read_file(&identity, buf_bytes(file), FILE_MAX, out), OK);
	many[1].kind = RECIPIENT_PASSPHRASE;
	many[1].work_factor = 1;
	assert_int_equal(secret_new_from(bytes_of_string("word"), &many[1].passphrase), OK);
	assert_int_equal(write_file(many, 2, false, 1, 1, file), ERR_USAGE);
	buf_clear(file);
	assert_int_equal(write_file(many + 1, 1, false, 1, 1, file), OK);
	recipient_done(&many[1]);
	identity_done(&identity);
}

/* Every byte flipped, in every bit of one place: never good, and what comes out is a true beginning. */
static void test_flipped(void **state)
{
	CLEANUP(buf_freep) struct buf *file = new_buf();
	struct identity identity;
	struct recipient recipient;
	uint8_t copy[1024];

	(void)state;
	assert_int_equal(identity_new_x25519(&identity), OK);
	recipient = recipient_of(&identity);
	for (int armored = 0; armored <= 1; armored++) {
		buf_clear(file);
		assert_int_equal(write_file(&recipient, 1, armored, 100, 100, file), OK);
		assert_true(buf_len(file) < sizeof(copy));
		for (size_t bit = 0; bit < buf_len(file) * 8; bit++) {
			CLEANUP(buf_freep) struct buf *out = new_buf();
			enum err err;

			memcpy(copy, buf_bytes(file).data, buf_len(file));
			copy[bit / 8] ^= (uint8_t)(1U << bit % 8);
			err = read_file(&identity, bytes_of(copy, buf_len(file)), FILE_MAX, out);
			/* Only white space after the armor may be other white space. */
			if (!err && !(armored && bit / 8 == buf_len(file) - 1))
				fail_msg("bit %zu of byte %zu", bit % 8, bit / 8);
			if (err)
				assert_int_equal(buf_len(out), 0);
		}
	}
	identity_done(&identity);
}

static void test_ended(void **state)
{
	CLEANUP(buf_freep) struct buf *file = new_buf();
	struct identity identity;
	struct recipient recipient;

	(void)state;
	assert_int_equal(identity_new_x25519(&identity), OK);
	recipient = recipient_of(&identity);
	for (int armored = 0; armored <= 1; armored++) {
		buf_clear(file);
		assert_int_equal(write_file(&recipient, 1, armored, 100, 100, file), OK);
		/* Without its last line end, armor is whole. */
		for (size_t len = 0; len + (size_t)armored < buf_len(file); len++) {
			CLEANUP(buf_freep) struct buf *out = new_buf();
			enum err err =
			        read_file(&identity, bytes_of(buf_bytes(file).data, len), FILE_MAX, out);

			assert_true(err == ERR_TRUNCATED || err == ERR_BAD_CIPHERTEXT || err == ERR_BAD_FILE);
			assert_int_equal(buf_len(out), 0);
		}
	}
	identity_done(&identity);
}

struct row {
	const char *name;
	const char *text;
	enum err err;
};

#define MAC "--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"
#define SCRYPT "-> scrypt AAAAAAAAAAAAAAAAAAAAAA 1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n"

static const struct row rows[] = {
	{ "empty", "", ERR_TRUNCATED },
	{ "white space", "  \n\n", ERR_TRUNCATED },
	{ "white space before a binary file", "\nage-encryption.org/v1\n-> a\n\n" MAC, ERR_BAD_FILE },
	{ "another file", "#!/bin/sh\n", ERR_BAD_FILE },
	{ "a header to nobody here", AGE_INTRO "-> a\n\n" MAC, ERR_NO_MATCH },
	{ "half a header", AGE_INTRO "-> a\n\n", ERR_TRUNCATED },
	{ "a passphrase that is not alone", AGE_INTRO SCRYPT "-> a\n\n" MAC, ERR_BAD_FILE },
	{ "a passphrase after another", AGE_INTRO "-> a\n\n" SCRYPT MAC, ERR_BAD_FILE },
	{ "armor of nothing", ARMOR_BEGIN "\n" ARMOR_END "\n", ERR_TRUNCATED },
};

static void test_rows(void **state)
{
	struct identity identity;

	(void)state;
	assert_int_equal(identity_new_x25519(&identity), OK);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) * 2; i++) {
		CLEANUP(buf_freep) struct buf *out = new_buf();
		const struct row *row = &rows[i / 2];
		enum err err = read_file(&identity, bytes_of_string(row->text), i % 2 ? 1 : FILE_MAX, out);

		if (err != row->err)
			fail_msg("%s: %s", row->name, err_info(err)->name);
	}
	identity_done(&identity);
}

/* Megabytes of what is no header are not collected. */
static void test_endless(void **state)
{
	static const char *const beginnings[] = { AGE_INTRO, "", ARMOR_BEGIN "\n", "\n\n" };
	uint8_t filler[4096];

	(void)state;
	memset(filler, '\n', sizeof(filler));
	for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
		CLEANUP(age_reader_freep) struct age_reader *reader = NULL;
		enum err err;
		size_t pushed = 0;

		assert_int_equal(age_reader_new(open_with_identity, NULL, collect, NULL, &reader), OK);
		err = age_reader_push(reader, bytes_of_string(beginnings[i]));
		for (; !err && pushed < FILE_MAX; pushed += sizeof(filler))
			err = age_reader_push(reader, bytes_of(filler, sizeof(filler)));
		assert_int_equal(err, ERR_BAD_FILE);
		assert_true(pushed <= AGE_HEADER_MAX + sizeof(filler));
	}
}

static enum err open_wrong_length(void *context, const struct age_header *header,
                                  struct secret **ret_file_key)
{
	(void)context;
	(void)header;
	return secret_new(32, ret_file_key);
}

static enum err open_denied(void *context, const struct age_header *header, struct secret **ret_file_key)
{
	(void)header;
	(void)ret_file_key;
	++*(int *)context;
	return ERR_DENIED;
}

/* The opener's error is the reader's, it is asked once, and a key of the wrong length is not used. */
static void test_opener(void **state)
{
	static const char text[] = AGE_INTRO "-> a\n\n" MAC "0123456789abcdef";
	CLEANUP(age_reader_freep) struct age_reader *denied = NULL;
	CLEANUP(age_reader_freep) struct age_reader *wrong = NULL;
	int asked = 0;

	(void)state;
	assert_int_equal(age_reader_new(open_denied, &asked, collect, NULL, &denied), OK);
	assert_int_equal(age_reader_push(denied, bytes_of_string(text)), ERR_DENIED);
	assert_int_equal(age_reader_push(denied, bytes_of_string(text)), ERR_DENIED);
	assert_int_equal(age_reader_finish(denied), ERR_DENIED);
	assert_int_equal(asked, 1);
	assert_int_equal(age_reader_new(open_wrong_length, NULL, collect, NULL, &wrong), OK);
	assert_int_equal(age_reader_push(wrong, bytes_of_string(text)), ERR_BAD_FILE);
}

static int teardown(void **state)
{
	(void)state;
	return secret_stats().live ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_flipped),    cmocka_unit_test(test_ended),
		cmocka_unit_test(test_rows),       cmocka_unit_test(test_endless),
		cmocka_unit_test(test_opener),
	};

	for (size_t i = 0; i < PLAIN_LEN; i++)
		plain[i] = (uint8_t)(i * 31 + i / 256);
	return secret_client_init() ? 1 : cmocka_run_group_tests(tests, NULL, teardown);
}
