#include "formats/age_stream.h"

#include <sodium.h>
#include <stdlib.h>

#include "formats/age_batch.h"
#include "formats/batch_workers.h"
#include "formats/filekey.h"

#define PAYLOAD_KEY_LEN 32U

struct age_stream {
	bool encrypting;
	age_stream_sink sink;
	void *context; /* borrowed */
	enum err failed; /* sticks */
	struct secret *file_key; /* owned; until the nonce is complete */
	uint8_t nonce[AGE_NONCE_LEN];
	size_t nonce_len;
	struct secret *payload_key; /* owned */
	struct batch_cipher *cipher; /* owned; this thread's */
	uint64_t next_chunk;
	/* A ring: in_flight batches from first on are with the workers, the one after them is being filled. */
	struct batch batches[WORKERS_QUEUE_MAX];
	size_t batch_count;
	size_t first;
	size_t in_flight;
	bool bulk; /* the change was made */
	struct batch_workers *workers; /* owned; NULL: this thread does all */
};

static struct batch *filling(struct age_stream *stream)
{
	return &stream->batches[(stream->first + stream->in_flight) % stream->batch_count];
}

static enum err payload_key_make(struct age_stream *stream)
{
	enum err err = secret_new(PAYLOAD_KEY_LEN, &stream->payload_key);

	if (err)
		return err;
	hkdf_sha256(secret_reveal(stream->file_key), bytes_of(stream->nonce, AGE_NONCE_LEN),
	            bytes_of_string("payload"), secret_fill(stream->payload_key), PAYLOAD_KEY_LEN);
	stream->file_key = secret_free(stream->file_key);
	return batch_cipher_new(stream->encrypting, stream->payload_key, false, &stream->cipher);
}

static enum err batches_add(struct age_stream *stream, size_t count)
{
	while (stream->batch_count < count) {
		struct batch *batch = &stream->batches[stream->batch_count];
		enum err err = stream->bulk ? batch_init(batch, stream->encrypting) : batch_init_small(batch);

		if (err) {
			batch_done(batch);
			return err;
		}
		stream->batch_count++;
	}
	return OK;
}

static enum err nonce_make(struct age_stream *stream)
{
	enum err err;

	randombytes_buf(stream->nonce, AGE_NONCE_LEN);
	stream->nonce_len = AGE_NONCE_LEN;
	err = payload_key_make(stream);
	return err ? err : stream->sink(stream->context, bytes_of(stream->nonce, AGE_NONCE_LEN));
}

enum err age_stream_new(bool encrypting, const struct secret *file_key, age_stream_sink sink, void *context,
                        struct age_stream **ret_stream)
{
	CLEANUP(age_stream_freep) struct age_stream *stream = calloc(1, sizeof(*stream));
	enum err err;

	if (!stream)
		return ERR_NOMEM;
	stream->encrypting = encrypting;
	stream->sink = sink;
	stream->context = context;
	err = batches_add(stream, 1);
	if (!err)
		err = secret_new_from(secret_reveal(file_key), &stream->file_key);
	if (!err && encrypting)
		err = nonce_make(stream);
	if (err)
		return err;
	*ret_stream = TAKE(stream);
	return OK;
}

struct age_stream *age_stream_free(struct age_stream *stream)
{
	if (!stream)
		return NULL;
	/* First, for they read everything else. */
	batch_workers_free(stream->workers);
	for (size_t i = 0; i < stream->batch_count; i++)
		batch_done(&stream->batches[i]);
	batch_cipher_free(stream->cipher);
	secret_free(stream->file_key);
	secret_free(stream->payload_key);
	free(stream);
	return NULL;
}

static enum err batch_release(struct age_stream *stream, struct batch *batch)
{
	enum err err =
	        batch->out_len ? stream->sink(stream->context, bytes_of(batch->out, batch->out_len)) : OK;

	batch->state = BATCH_FILLING;
	batch->in_len = 0;
	return err ? err : batch->err;
}

/* Releases batches, oldest first: those that are done; waiting until at most left are in flight. */
static enum err batches_release(struct age_stream *stream, size_t left)
{
	while (stream->in_flight > 0) {
		struct batch *batch = &stream->batches[stream->first];
		enum err err;

		if (!batch_workers_finished(stream->workers, batch, stream->in_flight > left))
			return OK;
		err = batch_release(stream, batch);
		if (err)
			return err;
		stream->first = (stream->first + 1) % stream->batch_count;
		stream->in_flight--;
	}
	return OK;
}

/* From here on it is worth a millisecond to load libcrypto and start threads. Nothing is in flight yet, so the ring may grow. */
static enum err bulk_begin(struct age_stream *stream)
{
	struct batch_cipher *cipher;
	enum err err = batch_cipher_new(stream->encrypting, stream->payload_key, true, &cipher);

	if (err)
		return err;
	stream->bulk = true;
	batch_cipher_free(stream->cipher);
	stream->cipher = cipher;
	err = batch_workers_new(stream->encrypting, stream->payload_key, stream->cipher, &stream->workers);
	if (err)
		return err == ERR_UNSUPPORTED ? OK : err;
	return batches_add(stream, batch_workers_depth(stream->workers));
}

/* Runs a batch here, or hands it to the workers, and releases what is done. */
static enum err batch_dispatch(struct age_stream *stream, struct batch *batch)
{
	batch->first_chunk = stream->next_chunk;
	stream->next_chunk += BATCH_CHUNKS;
	if (!stream->workers) {
		batch_run(batch, stream->cipher);
		return batch_release(stream, batch);
	}
	batch_workers_submit(stream->workers, batch);
	stream->in_flight++;
	return batches_release(stream, batch_workers_depth(stream->workers) - 1);
}

/* A batch is dispatched when one byte stands behind it, so that its last chunk is known not to be the file's last. That byte begins the next. */
static enum err batch_full(struct age_stream *stream)
{
	struct batch *batch = filling(stream);
	size_t whole = batch_in_len(stream->encrypting);
	uint8_t surplus = batch->in[whole];
	enum err err = OK;

	if (!stream->bulk && stream->next_chunk * AGE_CHUNK_LEN >= AGE_STREAM_BULK)
		err = bulk_begin(stream);
	if (!err)
		err = batch_dispatch(stream, batch);
	if (err)
		return err;
	batch = filling(stream);
	batch->in[0] = surplus;
	batch->in_len = 1;
	return OK;
}

uint8_t *age_stream_space(struct age_stream *stream, size_t *ret_len)
{
	struct batch *batch = filling(stream);

	if (stream->nonce_len < AGE_NONCE_LEN) {
		*ret_len = AGE_NONCE_LEN - stream->nonce_len;
		return stream->nonce + stream->nonce_len;
	}
	*ret_len = batch->in_room - batch->in_len;
	return batch->in + batch->in_len;
}

static enum err commit(struct age_stream *stream, size_t len)
{
	struct batch *batch = filling(stream);

	if (stream->nonce_len < AGE_NONCE_LEN) {
		stream->nonce_len += len;
		return stream->nonce_len == AGE_NONCE_LEN ? payload_key_make(stream) : OK;
	}
	batch->in_len += len;
	batch->in_used = batch->in_len > batch->in_used ? batch->in_len : batch->in_used;
	if (batch->in_len > batch_in_len(stream->encrypting))
		return batch_full(stream);
	return batch->in_len == batch->in_room ? batch_grow(batch, stream->encrypting) : OK;
}

enum err age_stream_commit(struct age_stream *stream, size_t len)
{
	if (!stream->failed)
		stream->failed = commit(stream, len);
	return stream->failed;
}

enum err age_stream_push(struct age_stream *stream, struct bytes input)
{
	while (!stream->failed && input.len > 0) {
		size_t room, len;
		uint8_t *space = age_stream_space(stream, &room);

		len = input.len < room ? input.len : room;
		memcpy(space, input.data, len);
		input = bytes_of(input.data + len, input.len - len);
		stream->failed = commit(stream, len);
	}
	return stream->failed;
}

static enum err finish(struct age_stream *stream)
{
	struct batch *batch;
	enum err err;

	if (stream->nonce_len < AGE_NONCE_LEN)
		return ERR_TRUNCATED;
	err = batches_release(stream, 0);
	if (err)
		return err;
	batch = filling(stream);
	batch->last = true;
	batch->first_chunk = stream->next_chunk;
	batch_run(batch, stream->cipher);
	return batch_release(stream, batch);
}

enum err age_stream_finish(struct age_stream *stream)
{
	if (!stream->failed)
		stream->failed = finish(stream);
	return stream->failed;
}
