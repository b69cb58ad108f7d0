#include "tokend/refusals.h"

#define USEC_PER_SECOND 1000000U

/* When the measure is full again once another record is taken out of it. */
static uint64_t full_after(uint64_t full_at, unsigned per_second, uint64_t now)
{
	return (full_at > now ? full_at : now) + USEC_PER_SECOND / per_second;
}

static bool has_room(uint64_t full_at, unsigned burst, unsigned per_second, uint64_t now)
{
	return full_after(full_at, per_second, now) - now <= (uint64_t)burst * USEC_PER_SECOND / per_second;
}

/* Its own place, or a new one, or one whose uid there is no more to know of, or that of all others. */
static struct refusals_user *find_user(struct refusals *refusals, uid_t uid, uint64_t now)
{
	struct refusals_user *place = &refusals->users[REFUSALS_UIDS];

	for (size_t i = 0; i < REFUSALS_UIDS; i++) {
		struct refusals_user *user = &refusals->users[i];
		bool in_use = user->counted > 0 || user->full_at > now;

		if (in_use && user->uid == uid)
			return user;
		if (!in_use)
			place = user;
	}
	place->uid = place == &refusals->users[REFUSALS_UIDS] ? REFUSALS_NO_UID : uid;
	return place;
}

static void take(struct refusals *refusals, struct refusals_user *user, uint64_t now)
{
	user->full_at = full_after(user->full_at, REFUSALS_PER_SECOND, now);
	refusals->all_full_at = full_after(refusals->all_full_at, REFUSALS_ALL_PER_SECOND, now);
}

bool refusals_admit(struct refusals *refusals, uid_t uid, uint64_t now)
{
	struct refusals_user *user = find_user(refusals, uid, now);

	if (has_room(user->full_at, REFUSALS_BURST, REFUSALS_PER_SECOND, now) &&
	    has_room(refusals->all_full_at, REFUSALS_ALL_BURST, REFUSALS_ALL_PER_SECOND, now)) {
		take(refusals, user, now);
		return true;
	}
	user->counted++;
	refusals->any_counted = true;
	return false;
}

const struct refusals_user *refusals_next(const struct refusals *refusals, uint64_t now, bool last)
{
	if (!refusals->any_counted ||
	    (!last && !has_room(refusals->all_full_at, REFUSALS_SUMS_BURST, REFUSALS_ALL_PER_SECOND, now)))
		return NULL;
	for (size_t i = 0; i <= REFUSALS_UIDS; i++) {
		const struct refusals_user *user =
		        &refusals->users[(refusals->turn + i) % (REFUSALS_UIDS + 1)];

		if (user->counted > 0)
			return user;
	}
	return NULL;
}

void refusals_summed(struct refusals *refusals, const struct refusals_user *user, uint64_t now)
{
	size_t at = (size_t)(user - refusals->users);

	refusals->users[at].counted = 0;
	refusals->turn = at + 1;
	take(refusals, &refusals->users[at], now);
	refusals->any_counted = false;
	for (size_t i = 0; i <= REFUSALS_UIDS; i++)
		if (refusals->users[i].counted > 0)
			refusals->any_counted = true;
}
