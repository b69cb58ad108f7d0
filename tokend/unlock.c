#include "tokend/unlock.h"

#include <stdlib.h>

#define BUCKETS 256U

struct entry {
	struct entry *next; /* in the bucket */
	uid_t uid;
	struct key_id key;
	int64_t open_until; /* 0: not open */
	bool reserved; /* the one use, by a request that is on its way */
	unsigned pending; /* tries on their way */
	unsigned wrong;
	int64_t last_wrong;
	int64_t paused_until;
	int64_t pause; /* the last one's length */
};

struct unlocks {
	unlock_closed closed;
	void *context;
	size_t count;
	struct entry *buckets[BUCKETS];
};

enum err unlocks_new(unlock_closed closed, void *context, struct unlocks **ret_unlocks)
{
	struct unlocks *unlocks = calloc(1, sizeof(*unlocks));

	if (!unlocks)
		return ERR_NOMEM;
	unlocks->closed = closed;
	unlocks->context = context;
	*ret_unlocks = unlocks;
	return OK;
}

struct unlocks *unlocks_free(struct unlocks *unlocks)
{
	if (!unlocks)
		return NULL;
	for (size_t i = 0; i < BUCKETS; i++)
		while (unlocks->buckets[i]) {
			struct entry *entry = unlocks->buckets[i];

			unlocks->buckets[i] = entry->next;
			free(entry);
		}
	free(unlocks);
	return NULL;
}

/* Key ids are random, so their first byte is a hash. */
static struct entry **bucket_of(struct unlocks *unlocks, const struct key_id *key)
{
	return &unlocks->buckets[key->bytes[0]];
}

static struct entry *find(const struct unlocks *unlocks, uid_t uid, const struct key_id *key)
{
	struct entry *entry = unlocks->buckets[key->bytes[0]];

	while (entry && (entry->uid != uid || !key_id_equal(&entry->key, key)))
		entry = entry->next;
	return entry;
}

/* Wrong PINs are forgotten a while after the last one, or after the pause that it cost: waiting out a pause is not good behaviour yet. */
static bool forgotten(const struct entry *entry, int64_t now)
{
	int64_t from = entry->paused_until > entry->last_wrong ? entry->paused_until : entry->last_wrong;

	return now - from > UNLOCK_WINDOW;
}

/* Nothing in it matters any more: not open, and its wrong tries are too long ago to count. */
static bool idle(const struct entry *entry, int64_t now)
{
	return entry->open_until == 0 && entry->pending == 0 && !entry->reserved &&
	       (entry->wrong == 0 || forgotten(entry, now));
}

static void sweep(struct unlocks *unlocks, int64_t now)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct entry **at = &unlocks->buckets[i]; *at;) {
			struct entry *entry = *at;

			if (!idle(entry, now)) {
				at = &entry->next;
				continue;
			}
			*at = entry->next;
			unlocks->count--;
			free(entry);
		}
}

static enum err find_or_add(struct unlocks *unlocks, uid_t uid, const struct key_id *key, int64_t now,
                            struct entry **ret_entry)
{
	struct entry *entry = find(unlocks, uid, key);

	if (entry) {
		*ret_entry = entry;
		return OK;
	}
	if (unlocks->count >= UNLOCKS_MAX)
		sweep(unlocks, now);
	if (unlocks->count >= UNLOCKS_MAX)
		return ERR_BUSY;
	entry = calloc(1, sizeof(*entry));
	if (!entry)
		return ERR_NOMEM;
	entry->uid = uid;
	entry->key = *key;
	entry->next = *bucket_of(unlocks, key);
	*bucket_of(unlocks, key) = entry;
	unlocks->count++;
	*ret_entry = entry;
	return OK;
}

/* Once there were too many, each pause is followed by one try. */
static unsigned tries_allowed(const struct entry *entry)
{
	return entry->wrong < UNLOCK_TRIES ? UNLOCK_TRIES - entry->wrong : 1;
}

enum err unlock_try(struct unlocks *unlocks, uid_t uid, const struct key_id *key, int64_t now,
                    int64_t *ret_wait)
{
	struct entry *entry = NULL;
	enum err err = find_or_add(unlocks, uid, key, now, &entry);

	if (err)
		return err;
	if (forgotten(entry, now))
		entry->wrong = 0;
	if (entry->wrong == 0)
		entry->pause = 0;
	if (now < entry->paused_until) {
		*ret_wait = entry->paused_until - now;
		return ERR_PIN_LOCKED;
	}
	if (entry->pending >= tries_allowed(entry)) {
		*ret_wait = 1;
		return entry->wrong ? ERR_PIN_LOCKED : ERR_BUSY;
	}
	entry->pending++;
	return OK;
}

static void count_wrong(struct entry *entry, int64_t now)
{
	entry->wrong++;
	entry->last_wrong = now;
	if (entry->wrong < UNLOCK_TRIES)
		return;
	entry->pause = entry->pause ? entry->pause * 2 : UNLOCK_PAUSE_FIRST;
	if (entry->pause > UNLOCK_PAUSE_MAX)
		entry->pause = UNLOCK_PAUSE_MAX;
	entry->paused_until = now + entry->pause;
}

void unlock_tried(struct unlocks *unlocks, uid_t uid, const struct key_id *key, int64_t now, enum err outcome)
{
	struct entry *entry = find(unlocks, uid, key);

	if (!entry || entry->pending == 0)
		return;
	entry->pending--;
	if (outcome == ERR_PIN_WRONG)
		count_wrong(entry, now);
	else if (outcome == OK)
		entry->wrong = 0;
}

unsigned unlock_tries_left(const struct unlocks *unlocks, uid_t uid, const struct key_id *key, int64_t now)
{
	const struct entry *entry = find(unlocks, uid, key);
	unsigned allowed;

	if (!entry)
		return UNLOCK_TRIES;
	if (now < entry->paused_until)
		return 0;
	allowed = forgotten(entry, now) ? UNLOCK_TRIES : tries_allowed(entry);
	return entry->pending < allowed ? allowed - entry->pending : 0;
}

enum err unlock_open(struct unlocks *unlocks, uid_t uid, const struct key_id *key, int64_t now,
                     unsigned seconds)
{
	struct entry *entry = NULL;
	enum err err = find_or_add(unlocks, uid, key, now, &entry);

	if (err)
		return err;
	entry->open_until = now + seconds;
	return OK;
}

unsigned unlock_left(const struct unlocks *unlocks, uid_t uid, const struct key_id *key, int64_t now)
{
	const struct entry *entry = find(unlocks, uid, key);

	return entry && entry->open_until > now ? (unsigned)(entry->open_until - now) : 0;
}

static bool open_for_anybody(const struct unlocks *unlocks, const struct key_id *key)
{
	for (const struct entry *entry = unlocks->buckets[key->bytes[0]]; entry; entry = entry->next)
		if (entry->open_until && key_id_equal(&entry->key, key))
			return true;
	return false;
}

static void close_entry(struct unlocks *unlocks, struct entry *entry)
{
	entry->open_until = 0;
	if (!open_for_anybody(unlocks, &entry->key))
		unlocks->closed(unlocks->context, &entry->key);
}

bool unlock_reserve(struct unlocks *unlocks, uid_t uid, const struct key_id *key, int64_t now)
{
	struct entry *entry = find(unlocks, uid, key);

	if (!entry || entry->open_until <= now || entry->reserved)
		return false;
	entry->reserved = true;
	return true;
}

bool unlock_reserved(const struct unlocks *unlocks, uid_t uid, const struct key_id *key)
{
	const struct entry *entry = find(unlocks, uid, key);

	return entry && entry->reserved;
}

void unlock_spend(struct unlocks *unlocks, uid_t uid, const struct key_id *key)
{
	struct entry *entry = find(unlocks, uid, key);

	if (!entry)
		return;
	entry->reserved = false;
	if (entry->open_until)
		close_entry(unlocks, entry);
}

void unlock_give_back(struct unlocks *unlocks, uid_t uid, const struct key_id *key)
{
	struct entry *entry = find(unlocks, uid, key);

	if (entry)
		entry->reserved = false;
}

size_t unlock_close(struct unlocks *unlocks, uid_t uid, const struct key_id *key)
{
	size_t closed = 0;

	for (size_t i = 0; i < BUCKETS; i++)
		for (struct entry *entry = unlocks->buckets[i]; entry; entry = entry->next)
			if (entry->open_until && entry->uid == uid &&
			    (!key || key_id_equal(&entry->key, key))) {
				close_entry(unlocks, entry);
				closed++;
			}
	return closed;
}

void unlock_lost(struct unlocks *unlocks, const struct key_id *key)
{
	for (struct entry *entry = *bucket_of(unlocks, key); entry; entry = entry->next)
		if (key_id_equal(&entry->key, key))
			entry->open_until = 0;
}

int64_t unlock_expire(struct unlocks *unlocks, int64_t now)
{
	int64_t next = 0;

	for (size_t i = 0; i < BUCKETS; i++)
		for (struct entry *entry = unlocks->buckets[i]; entry; entry = entry->next) {
			if (entry->open_until && entry->open_until <= now)
				close_entry(unlocks, entry);
			if (entry->open_until && (next == 0 || entry->open_until < next))
				next = entry->open_until;
		}
	return next;
}
