#include "formats/sops_memory.h"

#include <sodium.h>
#include <stdlib.h>

#define HASH_LEN 16U
#define LEAST_CAPACITY 64U

struct memory_entry {
	uint8_t hash[HASH_LEN];
	struct bytes token;
	size_t order; /* in the file */
	size_t given; /* of the first of its hash: this many from here on are taken for sure */
	bool taken;
};

struct sops_memory {
	uint8_t key[crypto_generichash_KEYBYTES];
	struct memory_entry *entries;
	size_t count, capacity;
	size_t behind; /* the order of what was given last, and one */
	bool sorted;
};

enum err sops_memory_new(struct sops_memory **ret_memory)
{
	struct sops_memory *memory = calloc(1, sizeof(*memory));

	if (!memory)
		return ERR_NOMEM;
	randombytes_buf(memory->key, sizeof(memory->key));
	*ret_memory = memory;
	return OK;
}

struct sops_memory *sops_memory_free(struct sops_memory *memory)
{
	if (!memory)
		return NULL;
	secret_wipe(memory->key, sizeof(memory->key));
	free(memory->entries);
	free(memory);
	return NULL;
}

/* The length of the path stands before it, so that no two triples are the same bytes. */
static void hash_of(const struct sops_memory *memory, struct bytes path, enum sops_type type,
                    struct bytes text, uint8_t hash[static HASH_LEN])
{
	crypto_generichash_state state;
	uint64_t head[2] = { path.len, (uint64_t)type };

	(void)crypto_generichash_init(&state, memory->key, sizeof(memory->key), HASH_LEN);
	(void)crypto_generichash_update(&state, (const uint8_t *)head, sizeof(head));
	if (path.len)
		(void)crypto_generichash_update(&state, path.data, path.len);
	if (text.len)
		(void)crypto_generichash_update(&state, text.data, text.len);
	(void)crypto_generichash_final(&state, hash, HASH_LEN);
	secret_wipe(&state, sizeof(state));
}

static enum err make_room(struct sops_memory *memory)
{
	size_t wanted = memory->capacity ? 2 * memory->capacity : LEAST_CAPACITY;
	struct memory_entry *entries;

	if (memory->count < memory->capacity)
		return OK;
	entries = calloc(wanted, sizeof(*entries));
	if (!entries)
		return ERR_NOMEM;
	if (memory->count)
		memcpy(entries, memory->entries, memory->count * sizeof(*entries));
	free(memory->entries);
	memory->entries = entries;
	memory->capacity = wanted;
	return OK;
}

enum err sops_memory_add(struct sops_memory *memory, struct bytes path, enum sops_type type,
                         struct bytes text, struct bytes token)
{
	struct memory_entry *entry;
	enum err err = make_room(memory);

	if (err)
		return err;
	entry = &memory->entries[memory->count];
	*entry = (struct memory_entry){ .token = token, .order = memory->count };
	hash_of(memory, path, type, text, entry->hash);
	memory->count++;
	memory->sorted = false;
	return OK;
}

static int by_hash(const void *a, const void *b)
{
	const struct memory_entry *left = a, *right = b;
	int difference = memcmp(left->hash, right->hash, HASH_LEN);

	if (difference)
		return difference;
	return left->order < right->order ? -1 : left->order > right->order;
}

/* The first entry of that hash that stood at order or behind it in the file; or whatever comes then. */
static size_t first_of(const struct sops_memory *memory, const struct memory_entry *wanted)
{
	size_t low = 0, high = memory->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (by_hash(&memory->entries[middle], wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_of(const struct sops_memory *memory, size_t at, const struct memory_entry *wanted)
{
	return at < memory->count && memcmp(memory->entries[at].hash, wanted->hash, HASH_LEN) == 0;
}

/* From at on, where the first of that hash stands that was not given yet; behind them, when all were. */
static size_t skip_given(const struct sops_memory *memory, size_t at, const struct memory_entry *wanted)
{
	while (is_of(memory, at, wanted) && memory->entries[at].taken)
		at++;
	return at;
}

/*
 * What stands in a list has no place in its path. So of those that are equal the next one behind what was given last is taken: whoever goes through the file changed meets them in their order. If there is none,
 * then the first of all; how many at their beginning were given stands with that one, so that many are not looked through again for each.
 */
static struct memory_entry *find(struct sops_memory *memory, struct memory_entry *wanted, bool again)
{
	struct memory_entry *first;
	size_t at;

	wanted->order = memory->behind;
	at = skip_given(memory, first_of(memory, wanted), wanted);
	if (is_of(memory, at, wanted))
		return &memory->entries[at];
	wanted->order = 0;
	at = first_of(memory, wanted);
	if (!is_of(memory, at, wanted))
		return NULL;
	first = &memory->entries[at];
	at = skip_given(memory, at + first->given, wanted);
	first->given = (size_t)(&memory->entries[at] - first);
	if (is_of(memory, at, wanted))
		return &memory->entries[at];
	return again ? first : NULL;
}

/* again: also one that was given already. NULL: there is none. */
static struct memory_entry *look_up(struct sops_memory *memory, struct bytes path, enum sops_type type,
                                    struct bytes text, bool again)
{
	struct memory_entry wanted = { 0 };

	if (!memory || memory->count == 0)
		return NULL;
	if (!memory->sorted)
		qsort(memory->entries, memory->count, sizeof(*memory->entries), by_hash);
	memory->sorted = true;
	hash_of(memory, path, type, text, wanted.hash);
	return find(memory, &wanted, again);
}

struct bytes sops_memory_take(struct sops_memory *memory, struct bytes path, enum sops_type type,
                              struct bytes text)
{
	struct memory_entry *found = look_up(memory, path, type, text, true);

	if (!found)
		return bytes_of(NULL, 0);
	if (!found->taken)
		memory->behind = found->order + 1;
	found->taken = true;
	return found->token;
}

size_t sops_memory_distance(struct sops_memory *memory, struct bytes path, enum sops_type type,
                            struct bytes text)
{
	const struct memory_entry *found = look_up(memory, path, type, text, false);

	if (!found)
		return SOPS_MEMORY_NONE;
	return found->order >= memory->behind ? found->order - memory->behind : memory->count + found->order;
}

void sops_memory_pass(struct sops_memory *memory)
{
	if (memory)
		memory->behind++;
}
