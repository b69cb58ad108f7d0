/* The stream: every length around every boundary, small and bulk, cut in pieces; every byte flipped; chunks reordered, dropped, repeated. */
#include <sched.h>
#include <setjmp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/buf.h"
#include "formats/age_batch.h"
#include "formats/age_stream.h"
#include "formats/crypto_library.h"

#define CHUNK AGE_CHUNK_LEN
#define SEALED (AGE_CHUNK_LEN + AGE_CHUNK_TAG_LEN)
#define BATCH (BATCH_CHUNKS * AGE_CHUNK_LEN)
#define PAGE 4096U
#define BULK AGE_STREAM_BULK /* whole batches */
#define RING (16UL * BATCH) /* more than are ever in flight */
#define PLAIN_MAX (12UL << 20)
#define OUT_MAX (16UL << 20)

static struct secret *file_key;
static uint8_t *plain;

static enum err collect(void *context, struct bytes bytes)
{
	return buf_put(context, bytes);
}

static enum err push_pieces(struct age_stream *stream, struct bytes input, size_t piece)
{
	enum err err = OK;

	while (!err && input.len > 0) {
		size_t len = piece < input.len ? piece : input.len, room;

		if (piece % 2) {
			err = age_stream_push(stream, bytes_of(input.data, len));
		} else {
			uint8_t *space = age_stream_space(stream, &room);

			len = len < room ? len : room;
			assert_true(len > 0);
			memcpy(space, input.data, len);
			err = age_stream_commit(stream, len);
		}
		input = bytes_of(input.data + len, input.len - len);
	}
	return err ? err : age_stream_finish(stream);
}

static enum err run(bool encrypting, struct bytes input, size_t piece, struct buf *out)
{
	CLEANUP(age_stream_freep) struct age_stream *stream = NULL;
	enum err err = age_stream_new(encrypting, file_key, collect, out, &stream);

	return err ? err : push_pieces(stream, input, piece);
}

static struct buf *new_buf(void)
{
	struct buf *buf = NULL;

	assert_int_equal(buf_new(OUT_MAX, &buf), OK);
	return buf;
}

static size_t sealed_len(size_t len)
{
	size_t chunks = len ? (len + CHUNK - 1) / CHUNK : 1;

	return AGE_NONCE_LEN + len + chunks * AGE_CHUNK_TAG_LEN;
}

static const size_t lens[] = { 0,
	                       1,
	                       CHUNK - 1,
	                       CHUNK,
	                       CHUNK + 1,
	                       2 * CHUNK,
	                       BATCH - 1,
	                       BATCH,
	                       BATCH + 1,
	                       2 * BATCH,
	                       2 * BATCH + 1,
	                       BULK - 1,
	                       BULK,
	                       BULK + 1,
	                       BULK + BATCH,
	                       BULK + BATCH + 1,
	                       BULK + 4 * BATCH + 1,
	                       BULK + 7 * BATCH,
	                       BULK + 7 * BATCH + 1,
	                       BULK + RING + 5 };
static const size_t pieces[] = { 1000003, 65536, 65552, PLAIN_MAX, PLAIN_MAX + 1 };

static void test_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		for (size_t j = 0; j < sizeof(pieces) / sizeof(pieces[0]); j++) {
			CLEANUP(buf_freep) struct buf *sealed = new_buf();
			CLEANUP(buf_freep) struct buf *opened = new_buf();

			assert_int_equal(run(true, bytes_of(plain, lens[i]), pieces[j], sealed), OK);
			assert_int_equal(buf_len(sealed), sealed_len(lens[i]));
			assert_int_equal(run(false, buf_bytes(sealed), pieces[j], opened), OK);
			assert_true(bytes_equal(buf_bytes(opened), bytes_of(plain, lens[i])));
		}
	}
}

/* libsodium seals what libcrypto opens, and the other way round: both do the whole of it when asked. */
static void test_both_libraries(void **state)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	static const bool ways[][2] = { { false, true }, { true, false }, { true, true }, { false, false } };

	(void)state;
	assert_int_equal(secret_new(32, &key), OK);
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
		CLEANUP(batch_cipher_freep) struct batch_cipher *sealer = NULL;
		CLEANUP(batch_cipher_freep) struct batch_cipher *opener = NULL;
		struct batch sealed, opened;

		assert_int_equal(batch_cipher_new(true, key, ways[i][0], &sealer), OK);
		assert_int_equal(batch_cipher_new(false, key, ways[i][1], &opener), OK);
		assert_int_equal(batch_init(&sealed, true), OK);
		assert_int_equal(batch_init(&opened, false), OK);
		memcpy(sealed.in, plain, 2 * CHUNK + 7);
		sealed.in_len = 2 * CHUNK + 7;
		sealed.last = opened.last = true;
		sealed.first_chunk = opened.first_chunk = UINT64_C(0x0102030405060708);
		batch_run(&sealed, sealer);
		assert_int_equal(sealed.err, OK);
		memcpy(opened.in, sealed.out, sealed.out_len);
		opened.in_len = sealed.out_len;
		batch_run(&opened, opener);
		assert_int_equal(opened.err, OK);
		assert_int_equal(opened.out_len, 2 * CHUNK + 7);
		assert_memory_equal(opened.out, plain, opened.out_len);
		batch_done(&sealed);
		batch_done(&opened);
	}
}

/* What comes out before an error is a true beginning of the plaintext, in whole chunks. */
static void assert_prefix(const struct buf *out, size_t at_most)
{
	assert_true(buf_len(out) <= at_most);
	assert_memory_equal(buf_bytes(out).data ? buf_bytes(out).data : plain, plain, buf_len(out));
}

static void test_flipped(void **state)
{
	CLEANUP(buf_freep) struct buf *sealed = new_buf();
	uint8_t *copy;
	size_t len = 3 * CHUNK + 100;

	(void)state;
	assert_int_equal(run(true, bytes_of(plain, len), PLAIN_MAX, sealed), OK);
	copy = malloc(buf_len(sealed));
	assert_non_null(copy);
	memcpy(copy, buf_bytes(sealed).data, buf_len(sealed));
	/* Every byte of the nonce and of the ends of chunks; elsewhere one in 509. */
	for (size_t i = 0; i < buf_len(sealed); i++) {
		CLEANUP(buf_freep) struct buf *out = NULL;
		size_t in_chunk = i < AGE_NONCE_LEN ? 0 : (i - AGE_NONCE_LEN) % SEALED;

		if (i >= AGE_NONCE_LEN && in_chunk > 1 && in_chunk < SEALED - AGE_CHUNK_TAG_LEN - 1 &&
		    i % 509)
			continue;
		out = new_buf();
		copy[i] ^= 0x80;
		assert_int_equal(run(false, bytes_of(copy, buf_len(sealed)), PLAIN_MAX, out),
		                 ERR_BAD_CIPHERTEXT);
		assert_int_equal(buf_len(out), i < AGE_NONCE_LEN ? 0 : (i - AGE_NONCE_LEN) / SEALED * CHUNK);
		assert_prefix(out, len);
		copy[i] ^= 0x80;
	}
	free(copy);
}

/* One flipped byte far into a bulk payload: all before it comes out, in order, and nothing after. */
static void test_flipped_in_bulk(void **state)
{
	CLEANUP(buf_freep) struct buf *sealed = new_buf();
	size_t len = BULK + RING + 5;

	(void)state;
	assert_int_equal(run(true, bytes_of(plain, len), PLAIN_MAX, sealed), OK);
	for (size_t chunk = 0; chunk * CHUNK < len; chunk += 7) {
		CLEANUP(buf_freep) struct buf *out = new_buf();
		CLEANUP(buf_freep) struct buf *copy = new_buf();
		uint8_t *space;

		assert_int_equal(buf_reserve(copy, buf_len(sealed), &space), OK);
		memcpy(space, buf_bytes(sealed).data, buf_len(sealed));
		space[AGE_NONCE_LEN + chunk * SEALED + 1] ^= 1;
		assert_int_equal(run(false, bytes_of(space, buf_len(sealed)), PLAIN_MAX, out),
		                 ERR_BAD_CIPHERTEXT);
		assert_int_equal(buf_len(out), chunk * CHUNK);
		assert_prefix(out, len);
	}
}

struct cut {
	size_t plain_len;
	size_t cut_to; /* how much of the sealed form is left */
	enum err err;
	size_t released;
};

static const struct cut cuts[] = {
	{ 10, 0, ERR_TRUNCATED, 0 }, /* nothing at all */
	{ 10, AGE_NONCE_LEN - 1, ERR_TRUNCATED, 0 }, /* in the nonce */
	{ 10, AGE_NONCE_LEN, ERR_TRUNCATED, 0 }, /* no chunk */
	{ 10, AGE_NONCE_LEN + 15, ERR_TRUNCATED, 0 }, /* less than a tag */
	{ 10, AGE_NONCE_LEN + 25, ERR_BAD_CIPHERTEXT, 0 }, /* one byte of the tag missing */
	{ 2 * CHUNK, AGE_NONCE_LEN + SEALED, ERR_TRUNCATED, CHUNK }, /* the last chunk missing */
	{ 2 * CHUNK, AGE_NONCE_LEN + SEALED + 5, ERR_TRUNCATED, CHUNK }, /* the beginning of one */
	{ 2 * CHUNK, AGE_NONCE_LEN + SEALED + 500, ERR_BAD_CIPHERTEXT, CHUNK },
	{ 2 * CHUNK, AGE_NONCE_LEN + SEALED + 16, ERR_BAD_CIPHERTEXT, CHUNK }, /* looks like an empty one */
	{ BULK + 7 * BATCH + 1, AGE_NONCE_LEN + (BULK + 7 * BATCH) / CHUNK *SEALED, ERR_TRUNCATED,
	  BULK + 7 * BATCH },
};

static void test_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		CLEANUP(buf_freep) struct buf *sealed = new_buf();
		CLEANUP(buf_freep) struct buf *out = new_buf();
		enum err err;

		assert_int_equal(run(true, bytes_of(plain, cuts[i].plain_len), PLAIN_MAX, sealed), OK);
		err = run(false, bytes_of(buf_bytes(sealed).data, cuts[i].cut_to), PLAIN_MAX, out);
		if (err != cuts[i].err || buf_len(out) != cuts[i].released)
			fail_msg("cut %zu: %s, %zu released", i, err_info(err)->name, buf_len(out));
		assert_prefix(out, cuts[i].released);
	}
}

/* Chunks in another order, twice, or left out; and bytes after the end. */
static void test_rearranged(void **state)
{
	static const struct {
		size_t order[5];
		size_t count;
		size_t released;
	} orders[] = {
		{ { 1, 0, 2 }, 3, 0 },
		{ { 0, 2 }, 2, CHUNK },
		{ { 0, 0, 1, 2 }, 4, CHUNK },
		{ { 0, 1, 2, 2 }, 4, 3 * CHUNK },
		{ { 2 }, 1, 0 },
	};
	CLEANUP(buf_freep) struct buf *sealed = new_buf();

	(void)state;
	assert_int_equal(run(true, bytes_of(plain, 3 * CHUNK), PLAIN_MAX, sealed), OK);
	for (size_t i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
		CLEANUP(buf_freep) struct buf *other = new_buf();
		CLEANUP(buf_freep) struct buf *out = new_buf();

		assert_int_equal(buf_put(other, bytes_of(buf_bytes(sealed).data, AGE_NONCE_LEN)), OK);
		for (size_t j = 0; j < orders[i].count; j++)
			assert_int_equal(buf_put(other, bytes_of(buf_bytes(sealed).data + AGE_NONCE_LEN +
			                                                 orders[i].order[j] * SEALED,
			                                         SEALED)),
			                 OK);
		assert_int_equal(run(false, buf_bytes(other), PLAIN_MAX, out), ERR_BAD_CIPHERTEXT);
		assert_int_equal(buf_len(out), orders[i].released);
		assert_prefix(out, orders[i].released);
	}
}

struct limited {
	size_t calls_left;
};

static enum err refuse(void *context, struct bytes bytes)
{
	struct limited *limited = context;

	(void)bytes;
	return limited->calls_left-- ? OK : ERR_DISK_FULL;
}

/* A sink that fails ends it at once and for good, threads and all. */
static void test_sink_error(void **state)
{
	(void)state;
	for (size_t calls = 1; calls < 2 * BULK / BATCH; calls++) {
		CLEANUP(age_stream_freep) struct age_stream *stream = NULL;
		struct limited limited = { calls };

		assert_int_equal(age_stream_new(true, file_key, refuse, &limited, &stream), OK);
		assert_int_equal(push_pieces(stream, bytes_of(plain, BULK + RING), PLAIN_MAX + 1),
		                 ERR_DISK_FULL);
		assert_int_equal(age_stream_finish(stream), ERR_DISK_FULL);
		assert_int_equal(age_stream_push(stream, bytes_of(plain, 1)), ERR_DISK_FULL);
	}
}

/* Where it is read to lies in its page as it lies in the file's; elsewhere some processors copy at a quarter of their speed. */
static void test_space_lies_as_the_file(void **state)
{
	CLEANUP(buf_freep) struct buf *out = new_buf();
	CLEANUP(age_stream_freep) struct age_stream *stream = NULL;

	(void)state;
	assert_int_equal(age_stream_new(true, file_key, collect, out, &stream), OK);
	for (size_t at = 0, room; at < BULK + RING; at += room) {
		uint8_t *space = age_stream_space(stream, &room);

		assert_int_equal((uintptr_t)space % PAGE, at % PAGE);
		memset(space, 0, room);
		assert_int_equal(age_stream_commit(stream, room), OK);
	}
	assert_int_equal(age_stream_finish(stream), OK);
}

/* Given up in the middle of bulk work. */
static void test_abandoned(void **state)
{
	CLEANUP(buf_freep) struct buf *out = new_buf();
	CLEANUP(age_stream_freep) struct age_stream *stream = NULL;

	(void)state;
	assert_int_equal(age_stream_new(true, file_key, collect, out, &stream), OK);
	assert_int_equal(age_stream_push(stream, bytes_of(plain, BULK + RING)), OK);
}

/* On one processor no thread is started, and the bytes are the same. */
static void test_one_processor(void **state)
{
	cpu_set_t before, one;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	CPU_ZERO(&one);
	for (size_t i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
		if (CPU_ISSET(i, &before))
			CPU_SET(i, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	test_round_trip(NULL);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

static int setup(void **state)
{
	(void)state;
	plain = malloc(PLAIN_MAX);
	if (!plain || secret_new(16, &file_key))
		return -1;
	for (size_t i = 0; i < PLAIN_MAX; i++)
		plain[i] = (uint8_t)(i ^ i >> 8 ^ i >> 16);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	free(plain);
	file_key = secret_free(file_key);
	return secret_stats().live ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_both_libraries),
		cmocka_unit_test(test_flipped),       cmocka_unit_test(test_flipped_in_bulk),
		cmocka_unit_test(test_cut),           cmocka_unit_test(test_rearranged),
		cmocka_unit_test(test_sink_error),    cmocka_unit_test(test_abandoned),
		cmocka_unit_test(test_one_processor), cmocka_unit_test(test_space_lies_as_the_file),
	};

	return secret_client_init() ? 1 : cmocka_run_group_tests(tests, setup, teardown);
}
