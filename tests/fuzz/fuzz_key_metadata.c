/* Key files from anybody: what is accepted, written and read again, is the same. */
#include <stdlib.h>

#include "tokend/keyring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void compare(const struct key *a, const struct key *b)
{
	if (!key_id_equal(&a->id, &b->id) || strcmp(a->name, b->name) != 0 || a->kind != b->kind ||
	    a->class != b->class || a->created != b->created || strcmp(a->recipient, b->recipient) != 0 ||
	    memcmp(a->public_key, b->public_key, sizeof(a->public_key)) != 0 ||
	    a->slot_count != b->slot_count)
		abort();
	for (size_t i = 0; i < a->slot_count; i++)
		if (a->slots[i]->number != b->slots[i]->number ||
		    memcmp(&a->slots[i]->blob, &b->slots[i]->blob, sizeof(a->slots[i]->blob)) != 0 ||
		    strcmp(a->slots[i]->token_uri, b->slots[i]->token_uri) != 0)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(buf_freep) struct buf *problem = NULL;
	struct key key, again;
	enum err err;

	if (buf_new(KEY_METADATA_MAX, &text) || buf_new(1024, &problem))
		abort();
	err = key_metadata_read(bytes_of(data, len), "fuzz", problem, &key);
	if (err != OK && err != ERR_BAD_CONFIG)
		abort();
	if ((err == OK) != (buf_len(problem) == 0))
		abort();
	if (err)
		return 0;
	if (key_metadata_put(text, &key) || key_metadata_parse(buf_bytes(text), &again))
		abort();
	compare(&key, &again);
	key_done(&key);
	key_done(&again);
	return 0;
}
