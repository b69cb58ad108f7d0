/*
 * Abusers
 *
 * Fifteen processes that each mistreat tokend's control socket in a way of their own (the table in abusers.c names them), all of them as long as they are let. They run as anybody's processes do, at
 * the usual priority. What an honest client suffers beside them is so the scheduler's doing as well as tokend's; to tell one from the other they can also be let do nothing but take the
 * processors, each as much as he gets: that is the floor. (Not at SCHED_IDLE: kernels from 6.6 on make a process that was alone with such ones wait up to 150 ms for the next that is not.)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/buf.h"

#define ABUSERS 15U

struct abusers;

struct abusers_settings {
	const char *socket; /* borrowed */
	uid_t first_uid; /* each is a user of its own, counted from here; 0: all are whoever starts them */
	size_t only; /* the one that is let, by its number from 1; 0: all of them */

	/* Messages with their NUL, borrowed: calls that succeed, one that is refused, one with a wrong PIN, one that makes the helper try what there is. */
	const struct buf *sealed, *device, *denied, *wrong_pin, *many;
};

/* Starts them; they wait to be let. Ends the program when that fails. */
struct abusers *abusers_start(const struct abusers_settings *settings);

enum abusers_do { ABUSERS_WAIT, ABUSERS_SPIN, ABUSERS_ABUSE };

/* Says what they are to do from now on; what they had begun is over when they wait and this returns, as far as it depends on them. */
void abusers_let(struct abusers *abusers, enum abusers_do what);

/* How often an abuser has done what it does; ends the program if one of them has died. */
unsigned long abusers_count(const struct abusers *abusers, size_t index);
const char *abusers_name(size_t index);

/* Ends them. */
struct abusers *abusers_end(struct abusers *abusers);
