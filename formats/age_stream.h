/*
 * Age stream
 *
 * The payload of an age file: a nonce and ChaCha20-Poly1305 chunks of 64 KiB (STREAM). Pushed in pieces of any size, it hands out plaintext chunk by
 * chunk, each verified before it leaves, in constant memory. Small inputs are done by libsodium; from AGE_STREAM_BULK bytes on libcrypto is loaded
 * and does the work (it is more than twice as fast and costs milliseconds to load), on several threads where there are processors.
 */
#pragma once

#include "common/bytes.h"
#include "common/err.h"
#include "common/secret.h"

#define AGE_CHUNK_LEN 65536U
#define AGE_CHUNK_TAG_LEN 16U
#define AGE_NONCE_LEN 16U
#define AGE_STREAM_BULK (1U << 20)

struct age_stream;

/* Where output goes: called with whole verified chunks, in order. An error it returns ends the stream with that error. */
typedef enum err (*age_stream_sink)(void *context, struct bytes chunk);

/* decrypting: the first 16 bytes pushed are the nonce. encrypting: the nonce is made and is the first output. file_key is borrowed for this call only. */
MUST_CHECK enum err age_stream_new(bool encrypting, const struct secret *file_key, age_stream_sink sink,
                                   void *context, struct age_stream **ret_stream);
struct age_stream *age_stream_free(struct age_stream *stream);
DEFINE_CLEANUP(struct age_stream *, age_stream_free);

/* ERR_BAD_CIPHERTEXT as soon as a chunk does not verify; nothing of it or after it is released. */
MUST_CHECK enum err age_stream_push(struct age_stream *stream, struct bytes input);

/* The end of the input. Decrypting: ERR_TRUNCATED when the last chunk is missing, ERR_BAD_CIPHERTEXT when it does not verify. */
MUST_CHECK enum err age_stream_finish(struct age_stream *stream);
