/*
 * What jansson frees is wiped: values of a reply may be file keys. The length of each allocation stands before it, since free() is not told.
 *
 * And it is never told that there is no memory while it reads: its lexer does not look whether its text could be kept, and then finds another text than the one it has scanned, which ends the process
 * by an assertion (jansson 2.14, load.c). So what malloc refuses it meanwhile comes from a reserve, and what it has read is thrown away.
 */
#include "common/control.h"

#include "common/secret.h"

/* As much as malloc's own alignment, so that what follows is aligned as malloc would align it. */
#define SIZE_HEADER_LEN 16U

#define RESERVE_LEN (1U << 20) /* untouched, it costs nothing */

/* One reader at a time: no program of ours reads JSON in two threads. */
static struct {
	bool reading;
	size_t used;
	_Alignas(16) uint8_t memory[RESERVE_LEN];
} reserve;

static void *reserve_take(size_t len)
{
	size_t at = reserve.used;

	if (!reserve.reading || len > RESERVE_LEN - 2 * SIZE_HEADER_LEN ||
	    at > RESERVE_LEN - 2 * SIZE_HEADER_LEN - len)
		return NULL;
	reserve.used += (len + SIZE_HEADER_LEN - 1) / SIZE_HEADER_LEN * SIZE_HEADER_LEN;
	return reserve.memory + at;
}

static bool is_reserve(const uint8_t *memory)
{
	return memory >= reserve.memory && memory < reserve.memory + RESERVE_LEN;
}

static void *wiping_malloc(size_t len)
{
	uint8_t *memory;

	if (len > SIZE_MAX - SIZE_HEADER_LEN)
		return NULL;
	memory = malloc(SIZE_HEADER_LEN + len);
	if (!memory)
		memory = reserve_take(SIZE_HEADER_LEN + len);
	if (!memory)
		return NULL;
	memcpy(memory, &len, sizeof(len));
	return memory + SIZE_HEADER_LEN;
}

static void wiping_free(void *data)
{
	uint8_t *memory = data;
	size_t len;

	if (!data)
		return;
	memory -= SIZE_HEADER_LEN;
	memcpy(&len, memory, sizeof(len));
	secret_wipe(memory, SIZE_HEADER_LEN + len);
	if (!is_reserve(memory))
		free(memory);
}

void json_wiping_init(void)
{
	json_set_alloc_funcs(wiping_malloc, wiping_free);
	/* Otherwise the first object of a process seeds itself from the clock where /dev/urandom is out of reach. */
	json_object_seed(0);
}

enum err json_read(struct bytes text, json_t **ret_value)
{
	json_t *value;
	bool starved;

	reserve.reading = true;
	value = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	reserve.reading = false;
	starved = reserve.used > 0;
	if (starved) {
		json_decref(value);
		reserve.used = 0;
		return ERR_NOMEM;
	}
	if (!value)
		return ERR_BAD_MESSAGE;
	*ret_value = value;
	return OK;
}

const char *json_string_member(const json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

json_int_t json_integer_member(const json_t *object, const char *name, json_int_t fallback)
{
	const json_t *member = json_object_get(object, name);

	return json_is_integer(member) ? json_integer_value(member) : fallback;
}

bool json_boolean_member(const json_t *object, const char *name)
{
	return json_is_true(json_object_get(object, name));
}
