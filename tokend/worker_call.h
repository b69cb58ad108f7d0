/* What is asked of a helper, as the worker (worker.h) sees it. */
#pragma once

#include "common/err.h"
#include "common/token_message.h"

struct key;

/* What an operation of the device counts for, where a key that the helper tries by itself counts for one: two under way keep a device busy, whose newcomers wait 50 ms for each; the helper's own
 * work takes 40 us, and it needs more of it at hand not to wait for us. */
#define WORKER_COST_DEVICE 8U

/* One question, embedded in what asks it. Its owner keeps it alive until done was called: exactly once, possibly from inside worker_submit. */
struct worker_call {
	/* Appends the message's fields, after token_message_begin and before token_message_end. NULL: it has none. */
	MUST_CHECK enum err (*build)(struct worker_call *call, struct buf *packet);

	/* err: what the helper answered, or why it did not; message is NULL when it did not. */
	void (*done)(struct worker_call *call, enum err err, const struct token_message *message);

	/* The keys that the helper must have been given, one after the other, from *cursor 0 on; NULL at the end. May be NULL. */
	const struct key *(*key)(const struct worker_call *call, size_t *cursor);

	enum token_op op;
	bool once; /* must not be asked again of a new helper when the old one died over it: it spends a try, or makes a key */
	uint64_t order;
	uint64_t owner; /* whose it is: owners take turns; 0: the broker's own */
	unsigned
	        cost; /* the work that it may be: tries, and WORKER_COST_DEVICE for each operation of the device; 0: one of those */
	bool without_device; /* all its keys are sealed ones: once they are open the helper answers it while the device is at work on others */
	unsigned deadline_ms; /* if it is to be a shorter one than the configuration's; 0: that */

	/* the worker's own */
	struct worker_call *next;
	uint32_t id;
	bool asked_again;
};
