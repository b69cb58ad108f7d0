/*
 * Unlock
 *
 * Which keys are open for whom, and for how long; and how often somebody has guessed. An unlock belongs to one uid and one key: what one user opened is closed for all
 * others, though the helper holds the key open for whoever we let through. It knows no device and no clock: times come in as arguments, seconds of a clock that never jumps.
 *
 * Where a PIN is worth one use, that use is reserved before the device is asked: many questions at once are not more uses than one after another.
 */
#pragma once

#include <sys/types.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/key.h"

#define UNLOCKS_MAX 8192U /* open keys and guessers together */
#define UNLOCK_SECONDS_MAX 86400U
#define UNLOCK_TRIES 3U /* wrong PINs within UNLOCK_WINDOW before it closes */
#define UNLOCK_WINDOW 600
#define UNLOCK_PAUSE_FIRST 30
#define UNLOCK_PAUSE_MAX 3600

struct unlocks;

/* closed is called when nobody has a key open any more. */
typedef void (*unlock_closed)(void *context, const struct key_id *key);

MUST_CHECK enum err unlocks_new(unlock_closed closed, void *context, struct unlocks **ret_unlocks);
struct unlocks *unlocks_free(struct unlocks *unlocks);
DEFINE_CLEANUP(struct unlocks *, unlocks_free);

/* May uid try a PIN now? The try counts as made until unlock_tried says how it went, so many at once are not more than one after another.
 * ERR_PIN_LOCKED: ret_wait seconds are left. ERR_BUSY: none was wrong, but as many as may be are on their way (ret_wait is set), or there are too many
 * entries. ERR_NOMEM. */
MUST_CHECK enum err unlock_try(struct unlocks *unlocks, uid_t uid, const struct key_id *key, int64_t now,
                               int64_t *ret_wait);

/* OK forgets the wrong ones; ERR_PIN_WRONG counts; any other outcome was no judgement of the PIN. */
void unlock_tried(struct unlocks *unlocks, uid_t uid, const struct key_id *key, int64_t now,
                  enum err outcome);

/* How many wrong PINs uid may still try before it has to wait; 0: it has to now. */
unsigned unlock_tries_left(const struct unlocks *unlocks, uid_t uid, const struct key_id *key, int64_t now);

/* Opens key for uid. ERR_BUSY, ERR_NOMEM. */
MUST_CHECK enum err unlock_open(struct unlocks *unlocks, uid_t uid, const struct key_id *key, int64_t now,
                                unsigned seconds);

/* Seconds left; 0: locked. */
unsigned unlock_left(const struct unlocks *unlocks, uid_t uid, const struct key_id *key, int64_t now);

/* Takes the one use that an unlock is worth; false: it is locked, or somebody has it. Ends in unlock_spend or unlock_give_back. */
MUST_CHECK bool unlock_reserve(struct unlocks *unlocks, uid_t uid, const struct key_id *key, int64_t now);
bool unlock_reserved(const struct unlocks *unlocks, uid_t uid, const struct key_id *key);

/* It was used: the key is locked again. */
void unlock_spend(struct unlocks *unlocks, uid_t uid, const struct key_id *key);

/* It was not: who asks next may have it, as long as the unlock lasts. */
void unlock_give_back(struct unlocks *unlocks, uid_t uid, const struct key_id *key);

/* Closes one key of uid, or all (key NULL). Returns how many. */
size_t unlock_close(struct unlocks *unlocks, uid_t uid, const struct key_id *key);

/* The helper holds it open no longer: closes it for everybody, without calling closed. */
void unlock_lost(struct unlocks *unlocks, const struct key_id *key);

/* Closes what has run out; returns when the next does, 0: nothing is open. */
int64_t unlock_expire(struct unlocks *unlocks, int64_t now);
