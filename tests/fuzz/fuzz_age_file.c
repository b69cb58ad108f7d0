/*
 * A whole file, for the identity and the passphrase of the vectors that seed the corpus. The first byte says how it is cut: in pieces or whole, the same
 * answer and the same bytes.
 */
#include <stdlib.h>

#include "formats/age_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define IDENTITY "AGE-SECRET-KEY-1EGTZVFFV20835NWYV6270LXYVK2VKNX2MMDKWYKLMGR48UAWX40Q2P2LM0"
#define PASSPHRASE "password"
#define WORK_FACTOR_MAX 4U /* more would be time spent, not paths found */
#define OUT_MAX (4U << 20)

static void check(bool good)
{
	if (!good)
		abort();
}

static struct identity identities[2];

static void init_once(void)
{
	struct bytes what;

	if (identities[0].private_key)
		return;
	check(!secret_client_init() && !identity_parse(bytes_of_string(IDENTITY), &identities[0], &what));
	identities[1].kind = IDENTITY_PASSPHRASE;
	check(!secret_new_from(bytes_of_string(PASSPHRASE), &identities[1].private_key));
}

static enum err open_file_key(void *context, const struct age_header *header, struct secret **ret_file_key)
{
	enum err err = ERR_NO_MATCH;

	(void)context;
	for (size_t i = 0; err == ERR_NO_MATCH && i < 2; i++)
		err = identity_unwrap(&identities[i], header, WORK_FACTOR_MAX, ret_file_key);
	for (size_t i = 0; i < age_header_stanza_count(header); i++) {
		struct token_stanza read;

		(void)!token_stanza_read(age_header_stanza(header, i), &read);
		(void)stanza_type_text(age_header_stanza(header, i));
	}
	return err;
}

static enum err collect(void *context, struct bytes bytes)
{
	return buf_put(context, bytes);
}

static enum err run(struct bytes input, size_t piece, struct buf *out)
{
	CLEANUP(age_reader_freep) struct age_reader *reader = NULL;
	enum err err = age_reader_new(open_file_key, NULL, collect, out, &reader);

	while (!err && input.len > 0) {
		size_t room, len;
		uint8_t *space = age_reader_space(reader, &room);

		len = piece < input.len ? piece : input.len;
		len = len < room ? len : room;
		check(space && len > 0);
		memcpy(space, input.data, len);
		err = age_reader_commit(reader, len);
		input = bytes_of(input.data + len, input.len - len);
	}
	return err ? err : age_reader_finish(reader);
}

/* The input as what is in a file: written, in pieces, with armor or without, it reads as itself. */
static void check_written(struct bytes plain, uint8_t how)
{
	struct recipient recipient = { .kind = RECIPIENT_X25519 };
	CLEANUP(age_writer_freep) struct age_writer *writer = NULL;
	CLEANUP(buf_freep) struct buf *file = NULL;
	CLEANUP(buf_freep) struct buf *again = NULL;
	size_t half = plain.len / 2, room;
	uint8_t *space;

	memcpy(recipient.public_key, identities[0].public_key, X25519_LEN);
	check(!buf_new(OUT_MAX, &file) && !buf_new(OUT_MAX, &again));
	check(age_writer_new(&recipient, 0, false, collect, file, &writer) == ERR_USAGE);
	check(!age_writer_new(&recipient, 1, how & 1, collect, file, &writer));
	check(!age_writer_push(writer, bytes_of(plain.data, half)));
	while (half < plain.len) {
		size_t len = plain.len - half;

		space = age_writer_space(writer, &room);
		len = len < room ? len : room;
		check(space && len > 0);
		memcpy(space, plain.data + half, len);
		check(!age_writer_commit(writer, len));
		half += len;
	}
	check(!age_writer_finish(writer));
	check(!run(buf_bytes(file), how + 1U, again) && bytes_equal(buf_bytes(again), plain));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(buf_freep) struct buf *whole = NULL;
	CLEANUP(buf_freep) struct buf *cut = NULL;
	enum err err;

	init_once();
	if (len < 1)
		return 0;
	check(!buf_new(OUT_MAX, &whole) && !buf_new(OUT_MAX, &cut));
	err = run(bytes_of(data + 1, len - 1), len, whole);
	check(run(bytes_of(data + 1, len - 1), data[0] + 1U, cut) == err);
	check(bytes_equal(buf_bytes(whole), buf_bytes(cut)));
	check_written(bytes_of(data + 1, len - 1), data[0]);
	return 0;
}
