/*
 * Refusals
 *
 * How many refusals go into the audit log one by one. Anybody may ask and be refused as often as he likes, so each uid has a measure of them, and all together have one; what is beyond it is
 * counted, for a record that says how many there were. It knows no log and no clock: the times are its caller's, in microseconds, and never go back.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define REFUSALS_BURST 64U /* of a uid, at once */
#define REFUSALS_PER_SECOND 4U /* of a uid, for ever */
#define REFUSALS_ALL_BURST 1024U /* whoever can be many uids has no more than this */
#define REFUSALS_ALL_PER_SECOND 16U
#define REFUSALS_UIDS 64U /* counted apart; more of them at a time share one count */
#define REFUSALS_SUM_USEC 1000000U /* at most one sum of a uid in this time */
#define REFUSALS_SUMS_BURST \
	(REFUSALS_ALL_BURST + REFUSALS_UIDS + 1U) /* sums have room when records have none */
#define REFUSALS_NO_UID ((uid_t)-1)

/* Of one uid. Its measure is full when "full_at" has come, and each record moves that on. */
struct refusals_user {
	uid_t uid;
	uint64_t full_at;
	unsigned long long counted; /* not written, not yet in a sum */
};

/* All zeros at first. */
struct refusals {
	struct refusals_user users[REFUSALS_UIDS + 1]; /* the last: those who found no place */
	uint64_t all_full_at;
	size_t turn; /* whose sum is the next, if he has one */
	bool any_counted;
};

/* A refusal of uid: true when it is to be written; else it was counted. */
bool refusals_admit(struct refusals *refusals, uid_t uid, uint64_t now);

/* A sum that is due, of each uid in its turn; NULL: none, or all have had their measure, and it is to wait. last: it waits for nothing. The caller writes it and says so with refusals_summed. A uid of
 * REFUSALS_NO_UID: several. */
const struct refusals_user *refusals_next(const struct refusals *refusals, uint64_t now, bool last);

/* The sum of user is on its way to the log: it costs its uid and all as much as any record. */
void refusals_summed(struct refusals *refusals, const struct refusals_user *user, uint64_t now);
