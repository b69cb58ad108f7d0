#include "formats/batch_workers.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "common/thread.h"

/* A worker's frames are small. */
#define STACK_LEN (512UL << 10)

struct worker {
	struct batch_workers *workers; /* borrowed */
	struct batch_cipher *cipher; /* owned */
	pthread_t thread;
};

struct batch_workers {
	pthread_mutex_t lock; /* for everything below, and for the state of every batch handed in */
	pthread_cond_t queued;
	pthread_cond_t done;
	bool stopping;
	struct batch *queue[WORKERS_QUEUE_MAX]; /* borrowed; those not taken yet, oldest first */
	size_t queue_len;
	struct batch_cipher *own_cipher; /* borrowed */
	struct worker threads[WORKERS_MAX];
	size_t thread_count;
};

static struct batch *queue_take(struct batch_workers *workers)
{
	struct batch *batch = workers->queue[0];

	workers->queue_len--;
	memmove(workers->queue, workers->queue + 1, workers->queue_len * sizeof(struct batch *));
	batch->state = BATCH_TAKEN;
	return batch;
}

/* Takes the oldest batch and runs it, with the lock released meanwhile. */
static void run_one(struct batch_workers *workers, struct batch_cipher *cipher)
{
	struct batch *batch = queue_take(workers);

	(void)pthread_mutex_unlock(&workers->lock);
	batch_run(batch, cipher);
	(void)pthread_mutex_lock(&workers->lock);
	batch->state = BATCH_DONE;
	(void)pthread_cond_signal(&workers->done);
}

static void *worker_main(void *argument)
{
	struct worker *worker = argument;
	struct batch_workers *workers = worker->workers;

	(void)pthread_mutex_lock(&workers->lock);
	while (!workers->stopping) {
		if (workers->queue_len > 0)
			run_one(workers, worker->cipher);
		else
			(void)pthread_cond_wait(&workers->queued, &workers->lock);
	}
	(void)pthread_mutex_unlock(&workers->lock);
	return NULL;
}

static size_t processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : (size_t)CPU_COUNT(&set);
}

static enum err worker_start(struct batch_workers *workers, bool encrypting, const struct secret *payload_key)
{
	struct worker *worker = &workers->threads[workers->thread_count];
	enum err err = batch_cipher_new(encrypting, payload_key, true, &worker->cipher);

	if (err)
		return err;
	worker->workers = workers;
	err = thread_start(STACK_LEN, worker_main, worker, &worker->thread);
	if (err)
		worker->cipher = batch_cipher_free(worker->cipher);
	else
		workers->thread_count++;
	return err;
}

enum err batch_workers_new(bool encrypting, const struct secret *payload_key, struct batch_cipher *own_cipher,
                           struct batch_workers **ret_workers)
{
	CLEANUP(batch_workers_freep) struct batch_workers *workers = NULL;
	size_t wanted = processors() - 1;

	if (wanted == 0)
		return ERR_UNSUPPORTED;
	workers = calloc(1, sizeof(*workers));
	if (!workers)
		return ERR_NOMEM;
	(void)pthread_mutex_init(&workers->lock, NULL);
	(void)pthread_cond_init(&workers->queued, NULL);
	(void)pthread_cond_init(&workers->done, NULL);
	workers->own_cipher = own_cipher;
	/* Fewer threads than wanted are a slower program, not a failed one. */
	while (workers->thread_count < wanted && workers->thread_count < WORKERS_MAX)
		if (worker_start(workers, encrypting, payload_key))
			break;
	if (workers->thread_count == 0)
		return ERR_UNSUPPORTED;
	*ret_workers = TAKE(workers);
	return OK;
}

struct batch_workers *batch_workers_free(struct batch_workers *workers)
{
	if (!workers)
		return NULL;
	(void)pthread_mutex_lock(&workers->lock);
	workers->stopping = true;
	(void)pthread_cond_broadcast(&workers->queued);
	(void)pthread_mutex_unlock(&workers->lock);
	for (size_t i = 0; i < workers->thread_count; i++) {
		(void)pthread_join(workers->threads[i].thread, NULL);
		batch_cipher_free(workers->threads[i].cipher);
	}
	(void)pthread_cond_destroy(&workers->queued);
	(void)pthread_cond_destroy(&workers->done);
	(void)pthread_mutex_destroy(&workers->lock);
	free(workers);
	return NULL;
}

size_t batch_workers_depth(const struct batch_workers *workers)
{
	return workers->thread_count + WORKERS_SPARE;
}

void batch_workers_submit(struct batch_workers *workers, struct batch *batch)
{
	(void)pthread_mutex_lock(&workers->lock);
	batch->state = BATCH_QUEUED;
	workers->queue[workers->queue_len++] = batch;
	(void)pthread_cond_signal(&workers->queued);
	(void)pthread_mutex_unlock(&workers->lock);
}

bool batch_workers_finished(struct batch_workers *workers, const struct batch *batch, bool wait)
{
	bool finished;

	(void)pthread_mutex_lock(&workers->lock);
	while (wait && batch->state != BATCH_DONE) {
		if (workers->queue_len > 0)
			run_one(workers, workers->own_cipher);
		else
			(void)pthread_cond_wait(&workers->done, &workers->lock);
	}
	finished = batch->state == BATCH_DONE;
	(void)pthread_mutex_unlock(&workers->lock);
	return finished;
}
