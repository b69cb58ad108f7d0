/*
 * Batch workers
 *
 * Threads that run batches, any number at a time and each once. Batches are handed in and waited for by one thread, the owner, which works itself
 * while it waits. No worker ever touches the pool of secrets: ciphers are made by the owner before the threads start, and freed after they ended.
 */
#pragma once

#include "formats/age_batch.h"

#define WORKERS_MAX 3U
/* Batches beside those being run: what the threads go on with while the owner, once all is full, runs one itself and then reads the next. With too few they run dry meanwhile. */
#define WORKERS_SPARE 4U
#define WORKERS_QUEUE_MAX (WORKERS_MAX + WORKERS_SPARE)

struct batch_workers;

/* Starts at most one thread fewer than there are processors for this process, and WORKERS_MAX. ERR_UNSUPPORTED when that is none: then the caller does
 * the work alone. payload_key and own_cipher (the owner's, to work with while waiting) are borrowed. */
MUST_CHECK enum err batch_workers_new(bool encrypting, const struct secret *payload_key,
                                      struct batch_cipher *own_cipher, struct batch_workers **ret_workers);

/* Waits for the batches being run and ends the threads; those still queued are dropped. */
struct batch_workers *batch_workers_free(struct batch_workers *workers);
DEFINE_CLEANUP(struct batch_workers *, batch_workers_free);

/* How many batches keep all threads busy. */
size_t batch_workers_depth(const struct batch_workers *workers);

/* Hands in a batch, borrowed until it is done; at most batch_workers_depth() at a time. */
void batch_workers_submit(struct batch_workers *workers, struct batch *batch);

/* Is it done? wait: works or sleeps until it is. */
bool batch_workers_finished(struct batch_workers *workers, const struct batch *batch, bool wait);
