#include "common/helper_keys.h"

/* Ids are random, so their first bytes are hash enough. A power of two. */
#define BUCKETS 4096U

struct helper_keys {
	struct helper_key *buckets[BUCKETS];
	size_t count;
};

static size_t bucket_of(const struct key_id *id)
{
	return (size_t)(id->bytes[0] << 8 | id->bytes[1]) % BUCKETS;
}

static struct helper_key *key_free(struct helper_key *key)
{
	if (!key)
		return NULL;
	helper_key_lock(key);
	free(key->packet);
	free(key);
	return NULL;
}
DEFINE_CLEANUP(struct helper_key *, key_free);

enum err helper_keys_new(struct helper_keys **ret_keys)
{
	struct helper_keys *keys = calloc(1, sizeof(*keys));

	if (!keys)
		return ERR_NOMEM;
	*ret_keys = keys;
	return OK;
}

struct helper_keys *helper_keys_free(struct helper_keys *keys)
{
	if (!keys)
		return NULL;
	for (size_t i = 0; i < BUCKETS; i++)
		while (keys->buckets[i])
			helper_keys_remove(keys, keys->buckets[i]);
	free(keys);
	return NULL;
}

struct helper_key *helper_keys_find(const struct helper_keys *keys, const struct key_id *id)
{
	for (struct helper_key *key = keys->buckets[bucket_of(id)]; key; key = key->next)
		if (key_id_equal(&key->id, id))
			return key;
	return NULL;
}

/* A p256 key cannot open anything without its own public key, which is part of what its stanzas are bound to. */
static enum err key_read_public(struct helper_key *key)
{
	struct bytes public_key;

	if (key->kind != KEY_KIND_P256)
		return OK;
	if (!token_message_find(&key->load, TOKEN_FIELD_PUBLIC, &public_key) ||
	    public_key.len != P256_POINT_LEN || public_key.data[0] != 0x04)
		return ERR_BAD_MESSAGE;
	memcpy(key->public_key, public_key.data, P256_POINT_LEN);
	return OK;
}

static enum err key_keep_fields(struct helper_key *key, const struct token_message *load)
{
	key->packet = malloc(load->fields.len);
	if (!key->packet)
		return ERR_NOMEM;
	memcpy(key->packet, load->fields.data, load->fields.len);
	key->load = *load;
	key->load.fields.data = key->packet;
	return OK;
}

static enum err key_new(const struct token_message *load, struct helper_key **ret_key)
{
	CLEANUP(key_freep) struct helper_key *key = calloc(1, sizeof(*key));
	struct token_blob blob;
	enum err err;

	if (!key)
		return ERR_NOMEM;
	err = token_message_key_id(load, &key->id);
	if (!err)
		err = token_message_kind(load, &key->kind);
	if (!err)
		err = token_message_class(load, &key->class);
	if (!err)
		err = token_message_blob(load, &blob); /* only that it is complete */
	if (!err)
		err = key_keep_fields(key, load);
	if (!err)
		err = key_read_public(key);
	if (!err)
		*ret_key = TAKE(key);
	return err;
}

enum err helper_keys_add(struct helper_keys *keys, const struct token_message *load,
                         struct helper_key **ret_key)
{
	CLEANUP(key_freep) struct helper_key *key = NULL;
	struct helper_key **bucket;
	enum err err = key_new(load, &key);

	if (err)
		return err;
	*ret_key = helper_keys_find(keys, &key->id);
	if (*ret_key)
		return ERR_EXISTS;
	if (keys->count >= HELPER_KEYS_MAX)
		return ERR_BUSY;
	bucket = &keys->buckets[bucket_of(&key->id)];
	key->next = *bucket;
	keys->count++;
	*ret_key = *bucket = TAKE(key);
	return OK;
}

void helper_keys_remove(struct helper_keys *keys, struct helper_key *key)
{
	struct helper_key **at = &keys->buckets[bucket_of(&key->id)];

	while (*at != key)
		at = &(*at)->next;
	*at = key->next;
	keys->count--;
	key_free(key);
}

void helper_key_lock(struct helper_key *key)
{
	key->unsealed = secret_free(key->unsealed);
	key->pin = secret_free(key->pin);
}

bool helper_key_usable(const struct helper_key *key)
{
	return key->class == KEY_CLASS_BOOT || key->unsealed || key->pin;
}

void helper_keys_each(const struct helper_keys *keys, void (*visit)(struct helper_key *key, void *context),
                      void *context)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct helper_key *key = keys->buckets[i]; key; key = key->next)
			visit(key, context);
}

bool helper_keys_open(const struct helper_keys *keys)
{
	for (size_t i = 0; i < BUCKETS; i++)
		for (const struct helper_key *key = keys->buckets[i]; key; key = key->next)
			if (key->unsealed || key->pin)
				return true;
	return false;
}
