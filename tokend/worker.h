/*
 * Worker
 *
 * The broker's end of one helper: what is asked goes out as token messages, several on their way at once; answers come back as they are ready. It gives a helper the keys that a
 * call needs before the call, ends one that does not answer by its deadline, has it started again, and answers whoever waited. It knows no peer and no policy.
 *
 * Calls of different owners take turns: whoever was served longest ago is next. Those of one owner carry an order (see client_add_request), and the lowest goes first.
 * A newcomer so waits for what the helper was given already, and that is WORKER_SENT_MAX of work, or one call. What needs the device and what does not are counted apart, and take turns apart:
 * the helper answers the one while the device is at work on the other.
 */
#pragma once

#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/token_message.h"
#include "tokend/worker_call.h"

#define WORKER_SENT_MAX \
	16U /* work on its way to a helper (worker_call.h): enough that it never waits for us, few enough that a newcomer soon has its turn */
#define WORKER_WAITING_MAX 4096U

struct worker;

struct worker_settings {
	size_t index; /* of the token in the configuration */
	const char *uri; /* borrowed */
	unsigned deadline_ms;

	/* Asks for a new helper (ending the old one); worker_started brings its socket. False: it cannot be asked for now. */
	bool (*start)(void *context, size_t index);

	/* Ends the helper, if it still runs; no other is wanted yet. */
	void (*end)(void *context, size_t index);

	/* The helper is gone, and with it what it held open. */
	void (*lost)(void *context, struct worker *worker);
	void *context;
};

MUST_CHECK enum err worker_new(sd_event *event, const struct worker_settings *settings,
                               struct worker **ret_worker);

/* The end of tokend: what waits, and what is submitted from now on, is done with ERR_NO_DAEMON. */
void worker_end(struct worker *worker);

/* Ends it first. */
struct worker *worker_free(struct worker *worker);
DEFINE_CLEANUP(struct worker *, worker_free);

/* Asks for its first helper. */
void worker_start(struct worker *worker);

/* The new helper's socket, which the worker owns from now on; -1: it could not be started. */
void worker_started(struct worker *worker, int fd);

void worker_submit(struct worker *worker, struct worker_call *call);

/* How many calls are on their way or wait for it. */
size_t worker_in_flight(const struct worker *worker);

/* Nobody waits for call any more: if it has not gone out yet it never does, and is done with ERR_BUSY from inside this. */
void worker_withdraw(struct worker *worker, struct worker_call *call);

/* Gives up on the helper: for one that answered nonsense that only the caller could see. */
void worker_restart(struct worker *worker);

const char *worker_uri(const struct worker *worker);
bool worker_running(const struct worker *worker); /* or being started */

/* The helper's box key, for sealing PINs to; NULL until it has said it. */
const uint8_t *worker_box_key(const struct worker *worker);
void worker_set_deadline(struct worker *worker, unsigned deadline_ms);
