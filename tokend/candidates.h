/*
 * Candidates
 *
 * Which keys a peer may unwrap with, when it names none: asked of the policy once for each kind of peer and kept, so that a request costs nothing for keys that its peer may
 * not use, however many there are. A change of the policy or of the keyring empties what is kept.
 */
#pragma once

#include "common/cleanup.h"
#include "common/err.h"
#include "formats/recipient.h"
#include "tokend/keyring.h"
#include "tokend/policy.h"

#define CANDIDATES_KEPT 256U /* kinds of peers */
#define CANDIDATE_TAGS_MAX \
	65536U /* tags computed for one request; a peer with more keys than that has to name one */

struct candidate {
	const struct key *key; /* borrowed from the keyring */
	unsigned for_seconds; /* how long an unlock lasts; 0: the default */
	bool pin_each_time;
	const char *rule_file; /* of the permitting rule; borrowed from the policy */
	unsigned rule_line;
};

struct candidates {
	size_t p256_count;
	struct candidate *p256;
	size_t sealed_count;
	struct candidate *sealed; /* x25519 */
	size_t other_count; /* symmetric: permitted, but not for files */
};

struct candidate_cache;

MUST_CHECK enum err candidate_cache_new(struct candidate_cache **ret_cache);
struct candidate_cache *candidate_cache_free(struct candidate_cache *cache);
DEFINE_CLEANUP(struct candidate_cache *, candidate_cache_free);

/* The policy was loaded anew. */
void candidate_cache_clear(struct candidate_cache *cache);

/* ret_candidates is borrowed until the next call. ERR_NOMEM. */
MUST_CHECK enum err candidates_find(struct candidate_cache *cache, const struct policy *policy,
                                    const struct keyring *keyring, const struct peer *peer,
                                    const char *frontend, const struct candidates **ret_candidates);

/* Does the tag of a p256 stanza say that it is for key? In constant time. */
bool candidate_matches(const struct candidate *candidate, const struct token_stanza *stanza);

/* The verdict about one key as a candidate; false when it may not be used: denied, or a PIN each time for a key that has none. */
bool candidate_judge(const struct policy *policy, const struct peer *peer, const char *frontend,
                     const struct key *key, struct candidate *ret_candidate);
