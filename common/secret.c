/*
 * The pool is made of arenas. An arena holds slots of one size between two guard pages:
 *
 *	guard | slot slot slot ... | guard          slot = canary 16 | bytes, up to the class size
 *
 * The bytes of a secret end where its slot ends, so that running over the end of the last slot faults and running over any other hits the next
 * slot's canary. Size classes are 32, 64, 256 and 2048 bytes; what is larger gets an arena with one slot. struct secret itself is ordinary
 * memory: it holds no secret, only where the secret is.
 */
#include "common/secret.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define CANARY_LEN 16U
#define SECRET_MAX (1U << 20)
#define ARENA_LEN (64U << 10)
#define ARENA_SLOTS_MAX (ARENA_LEN / (CANARY_LEN + 32U))

struct arena {
	struct arena *next;
	uint8_t *map; /* with the guard pages */
	size_t map_len;
	uint8_t *slots;
	size_t slot_len; /* with the canary */
	size_t slot_count;
	size_t used;
	size_t hint; /* where to begin looking for a free slot */
	uint64_t taken[(ARENA_SLOTS_MAX + 63) / 64];
};

struct secret {
	struct arena *arena;
	size_t slot;
	uint8_t *bytes;
	size_t len;
	size_t allocated; /* len when it was made: where the canary stands */
};

static const size_t class_sizes[] = { 32, 64, 256, 2048 };
#define CLASS_COUNT (sizeof(class_sizes) / sizeof(class_sizes[0]))

static struct {
	pthread_mutex_t lock;
	struct arena *arenas[CLASS_COUNT + 1]; /* the last: one secret each */
	uint8_t canary[CANARY_LEN];
	bool canary_made;
	struct secret_stats stats;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER };

static size_t page_len(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t round_to_pages(size_t len)
{
	return (len + page_len() - 1) & ~(page_len() - 1);
}

static size_t class_of(size_t len)
{
	for (size_t i = 0; i < CLASS_COUNT; i++)
		if (len <= class_sizes[i])
			return i;
	return CLASS_COUNT;
}

static struct arena *arena_free(struct arena *arena)
{
	if (arena->map)
		(void)munmap(arena->map, arena->map_len);
	free(arena);
	return NULL;
}

/* Locked, without a copy in a core dump or in a child. Only the lock is worth refusing for: the other two are asked of every kernel since 4.14. */
static enum err arena_protect(uint8_t *data, size_t len)
{
	/* Counted against the limit at once, but each page is fetched only when it is used: a short-lived client touches one or two. */
	if (mlock2(data, len, MLOCK_ONFAULT) < 0 && (errno != ENOSYS || mlock(data, len) < 0))
		return ERR_MEMORY_LOCKED;
	(void)madvise(data, len, MADV_DONTDUMP);
	(void)madvise(data, len, MADV_WIPEONFORK);
	return OK;
}

static enum err arena_new(size_t slot_len, size_t slot_count, struct arena **ret_arena)
{
	size_t data_len = round_to_pages(slot_len * slot_count);
	struct arena *arena = calloc(1, sizeof(*arena));
	void *map;
	enum err err;

	if (!arena)
		return ERR_NOMEM;
	map = mmap(NULL, data_len + 2 * page_len(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED) {
		free(arena);
		return ERR_NOMEM;
	}
	arena->map = map;
	arena->map_len = data_len + 2 * page_len();
	if (mprotect(arena->map + page_len(), data_len, PROT_READ | PROT_WRITE) < 0) {
		arena_free(arena);
		return ERR_NOMEM;
	}
	err = arena_protect(arena->map + page_len(), data_len);
	if (err) {
		arena_free(arena);
		return err;
	}
	arena->slot_len = slot_len;
	arena->slot_count = slot_count;
	arena->slots = arena->map + page_len() + data_len - slot_len * slot_count;
	*ret_arena = arena;
	return OK;
}

static bool slot_taken(const struct arena *arena, size_t slot)
{
	return arena->taken[slot / 64] >> (slot % 64) & 1;
}

static void slot_mark(struct arena *arena, size_t slot, bool taken)
{
	uint64_t bit = UINT64_C(1) << (slot % 64);

	arena->taken[slot / 64] = taken ? arena->taken[slot / 64] | bit : arena->taken[slot / 64] & ~bit;
	arena->used = taken ? arena->used + 1 : arena->used - 1;
	arena->hint = taken ? slot + 1 : slot;
}

static size_t arena_free_slot(const struct arena *arena)
{
	for (size_t i = 0; i < arena->slot_count; i++) {
		size_t slot = (arena->hint + i) % arena->slot_count;

		if (!slot_taken(arena, slot))
			return slot;
	}
	abort(); /* the caller saw used < slot_count */
}

static enum err arena_find(size_t len, struct arena **ret_arena)
{
	size_t class = class_of(len);
	struct arena *arena = NULL;
	size_t slot_len, slot_count;
	enum err err;

	for (arena = class < CLASS_COUNT ? pool.arenas[class] : NULL; arena; arena = arena->next)
		if (arena->used < arena->slot_count)
			break;
	if (arena) {
		*ret_arena = arena;
		return OK;
	}
	slot_len = CANARY_LEN + (class < CLASS_COUNT ? class_sizes[class] : (len + 15) / 16 * 16);
	slot_count = class < CLASS_COUNT ? ARENA_LEN / slot_len : 1;
	err = arena_new(slot_len, slot_count, &arena);
	if (err)
		return err;
	arena->next = pool.arenas[class];
	pool.arenas[class] = arena;
	pool.stats.locked_bytes += arena->map_len - 2 * page_len();
	*ret_arena = arena;
	return OK;
}

static void canary_make(void)
{
	if (!pool.canary_made)
		randombytes_buf(pool.canary, CANARY_LEN);
	pool.canary_made = true;
}

static enum err slot_take(size_t len, struct secret *secret)
{
	enum err err = arena_find(len, &secret->arena);

	if (err)
		return err;
	secret->slot = arena_free_slot(secret->arena);
	slot_mark(secret->arena, secret->slot, true);
	pool.stats.live++;
	return OK;
}

enum err secret_new(size_t len, struct secret **ret_secret)
{
	CLEANUP(freep) struct secret *secret = NULL;
	uint8_t *end;
	enum err err;

	if (len == 0 || len > SECRET_MAX)
		return ERR_USAGE;
	secret = calloc(1, sizeof(*secret));
	if (!secret)
		return ERR_NOMEM;
	(void)pthread_mutex_lock(&pool.lock);
	canary_make();
	err = slot_take(len, secret);
	(void)pthread_mutex_unlock(&pool.lock);
	if (err)
		return err;
	end = secret->arena->slots + (secret->slot + 1) * secret->arena->slot_len;
	secret->bytes = end - len;
	secret->len = secret->allocated = len;
	memset(secret->bytes, 0, len);
	memcpy(secret->bytes - CANARY_LEN, pool.canary, CANARY_LEN);
	*ret_secret = TAKE(secret);
	return OK;
}

enum err secret_new_from(struct bytes bytes, struct secret **ret_secret)
{
	enum err err = secret_new(bytes.len, ret_secret);

	if (!err)
		memcpy((*ret_secret)->bytes, bytes.data, bytes.len);
	return err;
}

static void pool_drop_large(struct arena *arena)
{
	struct arena **at = &pool.arenas[CLASS_COUNT];

	while (*at != arena)
		at = &(*at)->next;
	*at = arena->next;
	pool.stats.locked_bytes -= arena->map_len - 2 * page_len();
	arena_free(arena);
}

static void slot_give(struct arena *arena, size_t slot)
{
	slot_mark(arena, slot, false);
	if (arena->slot_count == 1)
		pool_drop_large(arena);
	pool.stats.live--;
}

struct secret *secret_free(struct secret *secret)
{
	if (!secret)
		return NULL;
	if (sodium_memcmp(secret->bytes - CANARY_LEN, pool.canary, CANARY_LEN) != 0)
		abort();
	sodium_memzero(secret->bytes - CANARY_LEN, secret->allocated + CANARY_LEN);
	(void)pthread_mutex_lock(&pool.lock);
	slot_give(secret->arena, secret->slot);
	(void)pthread_mutex_unlock(&pool.lock);
	free(secret);
	return NULL;
}

size_t secret_len(const struct secret *secret)
{
	return secret->len;
}

uint8_t *secret_fill(struct secret *secret)
{
	return secret->bytes;
}

struct bytes secret_reveal(const struct secret *secret)
{
	return bytes_of(secret->bytes, secret->len);
}

void secret_truncate(struct secret *secret, size_t len)
{
	if (len > secret->len)
		abort();
	sodium_memzero(secret->bytes + len, secret->len - len);
	secret->len = len;
}

bool secret_equal(const struct secret *a, const struct secret *b)
{
	return a->len == b->len && sodium_memcmp(a->bytes, b->bytes, a->len) == 0;
}

void secret_wipe(void *data, size_t len)
{
	sodium_memzero(data, len);
}

enum err secret_client_init(void)
{
	const struct rlimit none = { 0, 0 };

	(void)setrlimit(RLIMIT_CORE, &none);
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return ERR_SYSTEM;
	return sodium_init() < 0 ? ERR_SYSTEM : OK;
}

enum err secret_process_init(void)
{
	CLEANUP(secret_freep) struct secret *proof = NULL;
	struct rlimit limit;
	enum err err = secret_client_init();

	if (err)
		return err;
	/* A wish, and only where nothing limits it: under a limit the kernel counts every later mapping against it, thread stacks and all, and refuses what passes it. The pool is
	 * locked in any case. */
	if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY)
		(void)mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT);
	return secret_new(32, &proof);
}

struct secret_stats secret_stats(void)
{
	struct secret_stats stats;

	(void)pthread_mutex_lock(&pool.lock);
	stats = pool.stats;
	(void)pthread_mutex_unlock(&pool.lock);
	return stats;
}
