/*
 * The CCTV vectors of the age format, through the library: in stages, so that the class of a failure is seen (armor, header, no match, HMAC, payload), and
 * then whole through age_reader, cut into pieces in several ways. What was released before a failure must be the prefix that the vector names.
 *
 * The folder is the first argument, or TOKEND_AGE_VECTORS, or tests/data/age/vectors in the source tree.
 */
#include <dirent.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#ifdef HAVE_ZLIB
#include <zlib.h>
#endif

#include "common/encoding.h"
#include "formats/age_file.h"
#include "formats/armor.h"

#define FILE_LEN_MAX (1U << 20)
#define PLAIN_LEN_MAX (32U << 20)
#define IDENTITIES_MAX 8U
#define VECTORS_MAX 1024U
#define WORK_FACTOR_LIMIT 22U

enum outcome {
	SUCCESS,
	NO_MATCH,
	HMAC_FAILURE,
	HEADER_FAILURE,
	PAYLOAD_FAILURE,
	ARMOR_FAILURE,
	OUTCOME_COUNT,
};

static const char *const outcome_names[OUTCOME_COUNT] = {
	"success", "no match", "HMAC failure", "header failure", "payload failure", "armor failure"
};

struct vector {
	enum outcome expect;
	bool has_payload;
	uint8_t payload[crypto_hash_sha256_BYTES];
	struct secret *file_key; /* owned */
	struct identity identities[IDENTITIES_MAX];
	size_t identity_count;
	bool armored;
	bool compressed;
	const char *not_applicable; /* static; NULL: it is */
	uint8_t *file; /* owned */
	size_t file_len;
};

static const char *vectors_path;

static uint8_t *read_file(const char *path, size_t *ret_len)
{
	FILE *file = fopen(path, "rbe");
	uint8_t *data = malloc(FILE_LEN_MAX);

	assert_non_null(file);
	assert_non_null(data);
	*ret_len = fread(data, 1, FILE_LEN_MAX, file);
	assert_true(*ret_len < FILE_LEN_MAX);
	(void)fclose(file);
	return data;
}

static enum outcome outcome_of(struct bytes name)
{
	for (int i = 0; i < OUTCOME_COUNT; i++)
		if (bytes_equal(name, bytes_of_string(outcome_names[i])))
			return (enum outcome)i;
	fail_msg("unknown expectation %.*s", (int)name.len, (const char *)name.data);
	return OUTCOME_COUNT;
}

static void add_identity(struct vector *vector, struct bytes line)
{
	struct bytes what;
	enum err err = identity_parse(line, &vector->identities[vector->identity_count], &what);

	if (err == ERR_UNSUPPORTED) {
		vector->not_applicable =
		        "its identity is post-quantum (ML-KEM-768), which tokend does not do yet";
		return;
	}
	assert_int_equal(err, OK);
	vector->identity_count++;
}

static void add_passphrase(struct vector *vector, struct bytes passphrase)
{
	struct identity *identity = &vector->identities[vector->identity_count++];

	identity->kind = IDENTITY_PASSPHRASE;
	assert_int_equal(secret_new_from(passphrase, &identity->private_key), OK);
}

static void header_line(struct vector *vector, struct bytes key, struct bytes value)
{
	if (bytes_equal(key, bytes_of_string("expect"))) {
		vector->expect = outcome_of(value);
	} else if (bytes_equal(key, bytes_of_string("payload"))) {
		vector->has_payload = true;
		assert_int_equal(hex_decode(value, vector->payload, sizeof(vector->payload)), OK);
	} else if (bytes_equal(key, bytes_of_string("file key"))) {
		assert_int_equal(secret_new(value.len / 2, &vector->file_key), OK);
		assert_int_equal(hex_decode(value, secret_fill(vector->file_key), value.len / 2), OK);
	} else if (bytes_equal(key, bytes_of_string("identity"))) {
		add_identity(vector, value);
	} else if (bytes_equal(key, bytes_of_string("passphrase"))) {
		add_passphrase(vector, value);
	} else if (bytes_equal(key, bytes_of_string("armored"))) {
		vector->armored = true;
	} else if (bytes_equal(key, bytes_of_string("compressed"))) {
		vector->compressed = true;
	} else {
		assert_true(bytes_equal(key, bytes_of_string("comment")));
	}
}

/* The text header; returns where the file begins. */
static size_t read_header(struct vector *vector, struct bytes text)
{
	size_t at = 0;

	for (;;) {
		const uint8_t *line = text.data + at, *end = memchr(line, '\n', text.len - at), *colon;

		assert_non_null(end);
		at = (size_t)(end - text.data) + 1;
		if (line == end)
			return at;
		colon = memchr(line, ':', (size_t)(end - line));
		assert_non_null(colon);
		header_line(vector, bytes_of(line, (size_t)(colon - line)),
		            bytes_of(colon + 2, (size_t)(end - colon) - 2));
	}
}

#ifdef HAVE_ZLIB
static void decompress(struct vector *vector, struct bytes packed)
{
	uLongf len = PLAIN_LEN_MAX;

	vector->file = malloc(PLAIN_LEN_MAX);
	assert_non_null(vector->file);
	assert_int_equal(uncompress(vector->file, &len, packed.data, packed.len), Z_OK);
	vector->file_len = len;
}
#else
static void decompress(struct vector *vector, struct bytes packed)
{
	(void)packed;
	vector->not_applicable = "it is compressed, and this was built without zlib";
}
#endif

static void vector_load(struct vector *vector, const char *name)
{
	char path[4096];
	uint8_t *data;
	size_t len, at;

	memset(vector, 0, sizeof(*vector));
	(void)snprintf(path, sizeof(path), "%s/%s", vectors_path, name);
	data = read_file(path, &len);
	at = read_header(vector, bytes_of(data, len));
	if (vector->compressed) {
		decompress(vector, bytes_of(data + at, len - at));
	} else {
		vector->file_len = len - at;
		vector->file = malloc(vector->file_len + 1);
		assert_non_null(vector->file);
		memcpy(vector->file, data + at, vector->file_len);
	}
	free(data);
}

static void vector_done(struct vector *vector)
{
	for (size_t i = 0; i < vector->identity_count; i++)
		identity_done(&vector->identities[i]);
	vector->file_key = secret_free(vector->file_key);
	free(vector->file);
}

static enum err collect(void *context, struct bytes bytes)
{
	return buf_put(context, bytes);
}

/* As age does: each identity is shown all stanzas, and what is not a mere mismatch ends it. */
static enum err open_file_key(void *context, const struct age_header *header, struct secret **ret_file_key)
{
	const struct vector *vector = context;
	enum err err = ERR_NO_MATCH;

	for (size_t i = 0; err == ERR_NO_MATCH && i < vector->identity_count; i++)
		err = identity_unwrap(&vector->identities[i], header, WORK_FACTOR_LIMIT, ret_file_key);
	return err;
}

static enum err remove_armor(struct bytes file, struct buf *out)
{
	CLEANUP(armor_freep) struct armor *armor = NULL;
	enum err err = armor_decoder_new(collect, out, &armor);

	assert_int_equal(err, OK);
	err = armor_push(armor, file);
	return err ? err : armor_finish(armor);
}

static enum outcome run_payload(const struct secret *file_key, struct bytes payload, struct buf *plain)
{
	CLEANUP(age_stream_freep) struct age_stream *stream = NULL;
	enum err err;

	/* A payload without a nonce is what age calls a bad header. */
	if (payload.len < AGE_NONCE_LEN)
		return HEADER_FAILURE;
	assert_int_equal(age_stream_new(false, file_key, collect, plain, &stream), OK);
	err = age_stream_push(stream, payload);
	if (!err)
		err = age_stream_finish(stream);
	if (err)
		assert_true(err == ERR_BAD_CIPHERTEXT || err == ERR_TRUNCATED);
	return err ? PAYLOAD_FAILURE : SUCCESS;
}

static enum outcome run_stages(const struct vector *vector, struct bytes file, struct buf *plain)
{
	CLEANUP(age_header_freep) struct age_header *header = NULL;
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	size_t len = 0;
	enum err err = age_header_parse(file, &header, &len);

	if (err) {
		assert_true(err == ERR_BAD_FILE || err == ERR_AGAIN);
		return HEADER_FAILURE;
	}
	err = open_file_key((void *)(uintptr_t)vector, header, &file_key);
	if (err == ERR_NO_MATCH)
		return NO_MATCH;
	if (err) {
		assert_true(err == ERR_BAD_FILE || err == ERR_UNSUPPORTED);
		return HEADER_FAILURE;
	}
	if (vector->file_key)
		assert_true(secret_equal(file_key, vector->file_key));
	err = age_header_verify(header, file_key);
	if (err) {
		assert_int_equal(err, ERR_BAD_CIPHERTEXT);
		return HMAC_FAILURE;
	}
	return run_payload(file_key, bytes_of(file.data + len, file.len - len), plain);
}

static enum outcome run_vector(const struct vector *vector, struct buf *plain)
{
	CLEANUP(buf_freep) struct buf *binary = NULL;
	struct bytes file = bytes_of(vector->file, vector->file_len);
	enum err err;

	if (!vector->armored)
		return run_stages(vector, file, plain);
	assert_int_equal(buf_new(PLAIN_LEN_MAX, &binary), OK);
	err = remove_armor(file, binary);
	if (err) {
		assert_true(err == ERR_BAD_FILE || err == ERR_TRUNCATED);
		return ARMOR_FAILURE;
	}
	return run_stages(vector, buf_bytes(binary), plain);
}

static void check_payload(const struct vector *vector, const struct buf *plain)
{
	uint8_t hash[crypto_hash_sha256_BYTES];

	if (!vector->has_payload)
		return;
	(void)crypto_hash_sha256(hash, buf_bytes(plain).data, buf_len(plain));
	assert_memory_equal(hash, vector->payload, sizeof(hash));
}

static enum err push_pieces(struct age_reader *reader, struct bytes file, size_t piece)
{
	enum err err = OK;

	while (!err && file.len > 0) {
		size_t room, len = piece < file.len ? piece : file.len;

		if (len % 2) {
			err = age_reader_push(reader, bytes_of(file.data, len));
		} else {
			uint8_t *space = age_reader_space(reader, &room);

			assert_non_null(space);
			assert_true(room > 0);
			len = len < room ? len : room;
			memcpy(space, file.data, len);
			err = age_reader_commit(reader, len);
		}
		file = bytes_of(file.data + len, file.len - len);
	}
	return err ? err : age_reader_finish(reader);
}

static bool is_expected(enum outcome expect, enum err err)
{
	switch (expect) {
	case SUCCESS:
		return err == OK;
	case NO_MATCH:
		return err == ERR_NO_MATCH;
	case HMAC_FAILURE:
		return err == ERR_BAD_CIPHERTEXT;
	case HEADER_FAILURE:
		return err == ERR_BAD_FILE || err == ERR_TRUNCATED || err == ERR_UNSUPPORTED;
	case PAYLOAD_FAILURE:
		return err == ERR_BAD_CIPHERTEXT || err == ERR_TRUNCATED;
	case ARMOR_FAILURE:
		return err == ERR_BAD_FILE || err == ERR_TRUNCATED;
	case OUTCOME_COUNT:
		break;
	}
	return false;
}

static void check_whole(struct vector *vector, size_t piece)
{
	CLEANUP(age_reader_freep) struct age_reader *reader = NULL;
	CLEANUP(buf_freep) struct buf *plain = NULL;
	enum err err;

	assert_int_equal(buf_new(PLAIN_LEN_MAX, &plain), OK);
	assert_int_equal(age_reader_new(open_file_key, vector, collect, plain, &reader), OK);
	err = push_pieces(reader, bytes_of(vector->file, vector->file_len), piece);
	if (!is_expected(vector->expect, err))
		fail_msg("in pieces of %zu: expected %s, got %s", piece, outcome_names[vector->expect],
		         err_info(err)->name);
	check_payload(vector, plain);
}

static void check_header_again(const struct vector *vector)
{
	CLEANUP(age_header_freep) struct age_header *header = NULL;
	CLEANUP(buf_freep) struct buf *again = NULL;
	size_t len;

	if (vector->armored || vector->expect != SUCCESS || !vector->file_key)
		return;
	assert_int_equal(age_header_parse(bytes_of(vector->file, vector->file_len), &header, &len), OK);
	assert_int_equal(buf_new(AGE_HEADER_MAX, &again), OK);
	assert_int_equal(age_header_begin(again), OK);
	for (size_t i = 0; i < age_header_stanza_count(header); i++) {
		const struct age_stanza *stanza = age_header_stanza(header, i);

		assert_int_equal(
		        age_stanza_put(again, stanza->arguments, stanza->argument_count, stanza->body), OK);
	}
	assert_int_equal(age_header_finish(again, vector->file_key), OK);
	assert_true(bytes_equal(buf_bytes(again), bytes_of(vector->file, len)));
}

/* Writes what was read, and reads that: it must be the same bytes. */
static void check_armor_again(const struct vector *vector)
{
	CLEANUP(buf_freep) struct buf *binary = NULL;
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(buf_freep) struct buf *again = NULL;
	CLEANUP(armor_freep) struct armor *armor = NULL;

	if (!vector->armored || vector->expect != SUCCESS)
		return;
	assert_int_equal(buf_new(PLAIN_LEN_MAX, &binary), OK);
	assert_int_equal(buf_new(PLAIN_LEN_MAX, &text), OK);
	assert_int_equal(buf_new(PLAIN_LEN_MAX, &again), OK);
	assert_int_equal(remove_armor(bytes_of(vector->file, vector->file_len), binary), OK);
	assert_int_equal(armor_encoder_new(collect, text, &armor), OK);
	assert_int_equal(armor_push(armor, buf_bytes(binary)), OK);
	assert_int_equal(armor_finish(armor), OK);
	assert_int_equal(remove_armor(buf_bytes(text), again), OK);
	assert_true(bytes_equal(buf_bytes(binary), buf_bytes(again)));
}

static void check_vector(struct vector *vector)
{
	CLEANUP(buf_freep) struct buf *plain = NULL;
	enum outcome outcome;

	assert_int_equal(buf_new(PLAIN_LEN_MAX, &plain), OK);
	outcome = run_vector(vector, plain);
	if (outcome != vector->expect)
		fail_msg("expected %s, got %s", outcome_names[vector->expect], outcome_names[outcome]);
	check_payload(vector, plain);
	check_whole(vector, vector->file_len + 1);
	check_whole(vector, 4098);
	check_whole(vector, 65537);
	if (vector->file_len < 65536)
		check_whole(vector, 1);
	check_header_again(vector);
	check_armor_again(vector);
}

/* What is not applicable still must not open, nor crash. */
static void check_not_applicable(struct vector *vector)
{
	CLEANUP(buf_freep) struct buf *plain = NULL;

	assert_int_equal(buf_new(PLAIN_LEN_MAX, &plain), OK);
	if (vector->file)
		assert_int_not_equal(run_vector(vector, plain), SUCCESS);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static size_t list_vectors(char **names)
{
	DIR *directory = opendir(vectors_path);
	size_t count = 0;

	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory)) && count < VECTORS_MAX;)
		if (entry->d_name[0] != '.')
			names[count++] = strdup(entry->d_name);
	(void)closedir(directory);
	qsort(names, count, sizeof(*names), by_name);
	return count;
}

static void test_vectors(void **state)
{
	char *names[VECTORS_MAX];
	size_t count = list_vectors(names), passed[OUTCOME_COUNT] = { 0 }, skipped[OUTCOME_COUNT] = { 0 };

	(void)state;
	for (size_t i = 0; i < count; i++) {
		struct vector vector;

		vector_load(&vector, names[i]);
		if (vector.not_applicable && vector.identity_count == 0) {
			print_message("not applicable: %s (%s): %s\n", names[i], outcome_names[vector.expect],
			              vector.not_applicable);
			check_not_applicable(&vector);
			skipped[vector.expect]++;
		} else {
			print_message("%s\n", names[i]);
			check_vector(&vector);
			passed[vector.expect]++;
		}
		vector_done(&vector);
		free(names[i]);
	}
	for (int i = 0; i < OUTCOME_COUNT; i++)
		print_message("%-16s %3zu as expected, %2zu not applicable\n", outcome_names[i], passed[i],
		              skipped[i]);
	print_message("%zu vectors\n", count);
	assert_true(count >= 143);
	assert_int_equal(secret_stats().live, 0);
}

static const char *default_path(void)
{
	static char path[4096];
	const char *source = getenv("TOKEND_SOURCE_DIR");

	(void)snprintf(path, sizeof(path), "%s/tests/data/age/vectors", source ? source : ".");
	return path;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_vectors) };
	const char *named = getenv("TOKEND_AGE_VECTORS");

	if (secret_client_init())
		return 1;
	vectors_path = argc > 1 ? argv[1] : named ? named : default_path();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
