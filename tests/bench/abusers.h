/*
 * Abusers
 *
 * Fifteen processes that each mistreat tokend's control socket in a way of their own (the table in abusers.c names them), all of them as long as they are let. They run at the lowest priority
 * that the system has (SCHED_IDLE): they get the processors whenever nobody else wants them, so that what an honest client suffers beside them is tokend's doing and not the scheduler's.
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

/* Lets them, or holds them back; what they had begun is over when this returns, as far as it depends on them. */
void abusers_let(struct abusers *abusers, bool let);

/* How often an abuser has done what it does; ends the program if one of them has died. */
unsigned long abusers_count(const struct abusers *abusers, size_t index);
const char *abusers_name(size_t index);

/* Ends them. */
struct abusers *abusers_end(struct abusers *abusers);
