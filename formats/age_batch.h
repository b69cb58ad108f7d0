/*
 * Age batch
 *
 * A run of chunks that are sealed or opened together, from one buffer into another, and the cipher that does it. It knows how chunks are numbered and
 * how the last one is marked; it does not know where the bytes come from or go to, nor on which thread it runs.
 */
#pragma once

#include "common/bytes.h"
#include "common/cleanup.h"
#include "common/err.h"
#include "common/secret.h"

#define BATCH_CHUNKS 4U

/* One thread's cipher: libcrypto's when there is one and bulk is wanted, else libsodium's. */
struct batch_cipher;

/* payload_key is borrowed for the cipher's lifetime. */
MUST_CHECK enum err batch_cipher_new(bool encrypting, const struct secret *payload_key, bool bulk,
                                     struct batch_cipher **ret_cipher);
struct batch_cipher *batch_cipher_free(struct batch_cipher *cipher);
DEFINE_CLEANUP(struct batch_cipher *, batch_cipher_free);

enum batch_state {
	BATCH_FILLING,
	BATCH_QUEUED,
	BATCH_TAKEN, /* by a thread */
	BATCH_DONE,
};

struct batch {
	uint8_t *
	        in; /* owned; BATCH_CHUNKS chunks and one byte more, which tells that the last of them is not the file's last */
	size_t in_room; /* how much in takes: all of that, or so far only little */
	size_t in_len;
	size_t in_used; /* the most that ever stood in it: what must be wiped */
	uint8_t *out; /* owned */
	size_t out_len;
	size_t out_used;
	uint64_t first_chunk; /* its number in the file */
	bool last; /* in ends where the file ends */
	enum err err; /* what is wrong after what stands in out */
	enum batch_state state;
};

MUST_CHECK enum err batch_init(struct batch *batch, bool encrypting);

/* With room for little: most payloads are a few bytes, and memory for a whole batch costs more than they do. */
MUST_CHECK enum err batch_init_small(struct batch *batch);

/* From little to all. */
MUST_CHECK enum err batch_grow(struct batch *batch, bool encrypting);
void batch_done(struct batch *batch);

/* How many bytes of in make a batch. */
size_t batch_in_len(bool encrypting);

/* Seals or opens in into out. What stands in out afterwards is good whatever err says. */
void batch_run(struct batch *batch, struct batch_cipher *cipher);
