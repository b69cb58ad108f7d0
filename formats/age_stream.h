/*
 * Age stream
 *
 * The payload of an age file: a nonce and ChaCha20-Poly1305 chunks of 64 KiB (STREAM). Pushed in pieces of any size, it hands out plaintext chunks in
 * order, each verified before it leaves, in constant memory. It works in batches of chunks. The first ones are done by libsodium; a payload
 * that goes on is done by libcrypto, which is more than twice as fast and costs a millisecond to load, on several threads where there are processors.
 */
#pragma once

#include "common/bytes.h"
#include "common/err.h"
#include "common/secret.h"

#define AGE_CHUNK_LEN 65536U
#define AGE_CHUNK_TAG_LEN 16U
#define AGE_NONCE_LEN 16U
#define AGE_STREAM_BULK (2U << 20) /* from here on the rest of the payload is bulk */

struct age_stream;

/* Where output goes: called with one or more whole verified chunks, in order. An error it returns ends the stream with that error. */
typedef enum err (*age_stream_sink)(void *context, struct bytes chunk);

/* decrypting: the first 16 bytes pushed are the nonce. encrypting: the nonce is made and is the first output. file_key is borrowed for this call only. */
MUST_CHECK enum err age_stream_new(bool encrypting, const struct secret *file_key, age_stream_sink sink,
                                   void *context, struct age_stream **ret_stream);
struct age_stream *age_stream_free(struct age_stream *stream);
DEFINE_CLEANUP(struct age_stream *, age_stream_free);

/* ERR_BAD_CIPHERTEXT as soon as a chunk does not verify; nothing of it or after it is released. */
MUST_CHECK enum err age_stream_push(struct age_stream *stream, struct bytes input);

/* The same without a copy: where the next bytes of input may be read to (at least one), and then how many were. */
uint8_t *age_stream_space(struct age_stream *stream, size_t *ret_len);
MUST_CHECK enum err age_stream_commit(struct age_stream *stream, size_t len);

/* The end of the input. Decrypting: ERR_TRUNCATED when the last chunk is missing, ERR_BAD_CIPHERTEXT when it does not verify. */
MUST_CHECK enum err age_stream_finish(struct age_stream *stream);
