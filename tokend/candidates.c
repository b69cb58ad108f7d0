#include "tokend/candidates.h"

#include <sodium.h>
#include <stdlib.h>

struct kept {
	struct peer peer; /* pid is of no account */
	char frontend[16];
	uint64_t hash;
	uint64_t used; /* when it was last asked for, in calls */
	struct candidates candidates;
};

struct candidate_cache {
	unsigned keyring_generation;
	uint64_t calls;
	uint8_t hash_key[crypto_shorthash_KEYBYTES];
	struct kept *kept[CANDIDATES_KEPT];
	size_t count;
};

enum err candidate_cache_new(struct candidate_cache **ret_cache)
{
	struct candidate_cache *cache = calloc(1, sizeof(*cache));

	if (!cache)
		return ERR_NOMEM;
	crypto_shorthash_keygen(cache->hash_key);
	*ret_cache = cache;
	return OK;
}

static struct kept *kept_free(struct kept *kept)
{
	if (!kept)
		return NULL;
	free(kept->candidates.p256);
	free(kept->candidates.sealed);
	free(kept);
	return NULL;
}
DEFINE_CLEANUP(struct kept *, kept_free);

void candidate_cache_clear(struct candidate_cache *cache)
{
	for (size_t i = 0; i < cache->count; i++)
		cache->kept[i] = kept_free(cache->kept[i]);
	cache->count = 0;
}

struct candidate_cache *candidate_cache_free(struct candidate_cache *cache)
{
	if (!cache)
		return NULL;
	candidate_cache_clear(cache);
	free(cache);
	return NULL;
}

/* ---- which kept list is this peer's ---- */

static uint64_t hash_bytes(const struct candidate_cache *cache, const void *data, size_t len)
{
	uint8_t out[crypto_shorthash_BYTES];
	uint64_t hash;

	(void)crypto_shorthash(out, data, len, cache->hash_key);
	memcpy(&hash, out, sizeof(hash));
	return hash;
}

static uint64_t hash_peer(const struct candidate_cache *cache, const struct peer *peer, const char *frontend)
{
	const uint64_t parts[5] = { peer->uid, peer->gid,
		                    hash_bytes(cache, peer->groups,
		                               peer->group_count * sizeof(peer->groups[0])),
		                    hash_bytes(cache, peer->unit, strlen(peer->unit)),
		                    hash_bytes(cache, frontend, strlen(frontend)) };

	return hash_bytes(cache, parts, sizeof(parts));
}

static bool same_peer(const struct kept *kept, const struct peer *peer, const char *frontend)
{
	return kept->peer.uid == peer->uid && kept->peer.gid == peer->gid &&
	       kept->peer.group_count == peer->group_count &&
	       memcmp(kept->peer.groups, peer->groups, peer->group_count * sizeof(peer->groups[0])) == 0 &&
	       strcmp(kept->peer.unit, peer->unit) == 0 && strcmp(kept->frontend, frontend) == 0;
}

static struct kept *find_kept(const struct candidate_cache *cache, const struct peer *peer,
                              const char *frontend, uint64_t hash)
{
	for (size_t i = 0; i < cache->count; i++)
		if (cache->kept[i]->hash == hash && same_peer(cache->kept[i], peer, frontend))
			return cache->kept[i];
	return NULL;
}

/* Takes it in, in the place of the one that was not asked for longest when there is no room. */
static void keep(struct candidate_cache *cache, struct kept *kept)
{
	size_t oldest = 0;

	if (cache->count < CANDIDATES_KEPT) {
		cache->kept[cache->count++] = kept;
		return;
	}
	for (size_t i = 1; i < cache->count; i++)
		if (cache->kept[i]->used < cache->kept[oldest]->used)
			oldest = i;
	kept_free(cache->kept[oldest]);
	cache->kept[oldest] = kept;
}

/* ---- what belongs into it ---- */

bool candidate_judge(const struct policy *policy, const struct peer *peer, const char *frontend,
                     const struct key *key, struct candidate *ret_candidate)
{
	struct policy_decision decision;

	policy_check(policy, peer, frontend, OPERATION_UNWRAP, key->name, &decision);
	*ret_candidate = (struct candidate){ .key = key,
		                             .for_seconds = decision.for_seconds,
		                             .rule_file = decision.file,
		                             .rule_line = decision.line };
	switch (decision.verdict) {
	case VERDICT_PERMIT:
		ret_candidate->pin_each_time = key->class == KEY_CLASS_ADMIN;
		return true;
	case VERDICT_PERMIT_WITH_PIN:
		/* A key without a PIN cannot prove one: what the rule demands cannot be had, so it is a no. */
		ret_candidate->pin_each_time = true;
		return key->class != KEY_CLASS_BOOT;
	case VERDICT_DENY:
		break;
	}
	return false;
}

static enum err append(struct candidate **list, size_t *count, const struct candidate *candidate)
{
	/* Room doubles whenever the count reaches a power of two. */
	if ((*count & (*count - 1)) == 0) {
		size_t room = *count ? *count * 2 : 1;
		struct candidate *grown = reallocarray(*list, room, sizeof(*grown));

		if (!grown)
			return ERR_NOMEM;
		*list = grown;
	}
	(*list)[(*count)++] = *candidate;
	return OK;
}

static enum err add_candidate(struct candidates *candidates, const struct candidate *candidate)
{
	switch (candidate->key->kind) {
	case KEY_KIND_P256:
		return append(&candidates->p256, &candidates->p256_count, candidate);
	case KEY_KIND_X25519:
		return append(&candidates->sealed, &candidates->sealed_count, candidate);
	case KEY_KIND_SYMMETRIC:
		candidates->other_count++;
		return OK;
	}
	return ERR_BUG;
}

static enum err collect(const struct policy *policy, const struct keyring *keyring, struct kept *kept)
{
	enum err err = OK;

	for (size_t i = 0; !err && i < keyring_count(keyring); i++) {
		struct candidate candidate;

		if (candidate_judge(policy, &kept->peer, kept->frontend, keyring_at(keyring, i), &candidate))
			err = add_candidate(&kept->candidates, &candidate);
	}
	return err;
}

enum err candidates_find(struct candidate_cache *cache, const struct policy *policy,
                         const struct keyring *keyring, const struct peer *peer, const char *frontend,
                         const struct candidates **ret_candidates)
{
	CLEANUP(kept_freep) struct kept *made = NULL;
	uint64_t hash = hash_peer(cache, peer, frontend);
	struct kept *kept;
	enum err err;

	if (cache->keyring_generation != keyring_generation(keyring))
		candidate_cache_clear(cache);
	cache->keyring_generation = keyring_generation(keyring);
	kept = find_kept(cache, peer, frontend, hash);
	if (!kept) {
		made = calloc(1, sizeof(*made));
		if (!made)
			return ERR_NOMEM;
		made->peer = *peer;
		made->hash = hash;
		(void)snprintf(made->frontend, sizeof(made->frontend), "%s", frontend);
		err = collect(policy, keyring, made);
		if (err)
			return err;
		kept = TAKE(made);
		keep(cache, kept);
	}
	kept->used = ++cache->calls;
	*ret_candidates = &kept->candidates;
	return OK;
}

bool candidate_matches(const struct candidate *candidate, const struct token_stanza *stanza)
{
	uint8_t tag[TAG_LEN];

	p256tag_tag(stanza->share, candidate->key->recipient_hash, tag);
	return sodium_memcmp(tag, stanza->tag, TAG_LEN) == 0;
}
