/*
 * Helper keys
 *
 * The keys that a helper was given by LOAD. Of each it keeps the message's fields as they came (small, public), what the backend made of them
 * when it was last used, and, in locked memory, what class and PIN allow: the unsealed bytes, or the PIN.
 */
#pragma once

#include "common/token_message.h"

#define HELPER_KEYS_MAX 20000U

struct helper_key {
	struct helper_key *next; /* in the bucket */
	struct key_id id;
	enum key_kind kind;
	enum key_class class;
	struct token_message load; /* the LOAD that brought it; its fields point into packet */
	uint8_t *packet; /* owned */
	uint8_t public_key[P256_POINT_LEN]; /* p256: from LOAD; x25519: made when it was unsealed */
	struct token_key *device; /* the backend's; NULL: not on the device now */
	struct secret *unsealed; /* owned; x25519 and symmetric: NULL when locked or not used yet */
	struct secret *pin; /* owned; p256 with a PIN: NULL when locked */
};

struct helper_keys;

MUST_CHECK enum err helper_keys_new(struct helper_keys **ret_keys);

/* The backend's part of every key must have been unloaded. NULL is fine. Returns NULL. */
struct helper_keys *helper_keys_free(struct helper_keys *keys);
DEFINE_CLEANUP(struct helper_keys *, helper_keys_free);

/* Borrowed; NULL when it is not loaded. */
struct helper_key *helper_keys_find(const struct helper_keys *keys, const struct key_id *id);

/* Takes in a LOAD. ERR_BAD_MESSAGE when fields are missing, ERR_EXISTS when the id is taken (*ret_key is that key), ERR_BUSY, ERR_NOMEM. */
MUST_CHECK enum err helper_keys_add(struct helper_keys *keys, const struct token_message *load,
                                    struct helper_key **ret_key);

/* Its backend part must have been unloaded. */
void helper_keys_remove(struct helper_keys *keys, struct helper_key *key);

/* Wipes what was unsealed and the PIN. */
void helper_key_lock(struct helper_key *key);

/* Is it open, or does it need no PIN? */
bool helper_key_usable(const struct helper_key *key);

/* Calls visit with every key; visit removes none. */
void helper_keys_each(const struct helper_keys *keys, void (*visit)(struct helper_key *key, void *context),
                      void *context);

/* Does any hold an unsealed key or a PIN? */
bool helper_keys_open(const struct helper_keys *keys);
