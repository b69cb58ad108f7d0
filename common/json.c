/* What jansson frees is wiped: values of a reply may be file keys. The length of each allocation stands before it, since free() is not told. */
#include "common/control.h"

#include "common/secret.h"

/* As much as malloc's own alignment, so that what follows is aligned as malloc would align it. */
#define SIZE_HEADER_LEN 16U

static void *wiping_malloc(size_t len)
{
	uint8_t *memory;

	if (len > SIZE_MAX - SIZE_HEADER_LEN)
		return NULL;
	memory = malloc(SIZE_HEADER_LEN + len);
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
	free(memory);
}

void json_wiping_init(void)
{
	json_set_alloc_funcs(wiping_malloc, wiping_free);
	/* Otherwise the first object of a process seeds itself from the clock where /dev/urandom is out of reach. */
	json_object_seed(0);
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
