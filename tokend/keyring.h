/*
 * Keyring
 *
 * The keys there are: names, kinds, classes, public keys and blobs. Nothing in it is secret, and nothing in it talks to a device. Each key is one human-readable
 * metadata file keys/ID.key and one blob file per slot, keys/ID.N.pem (TSS2 PEM), in the state directory; there is no database, and a file that cannot be read costs that
 * key only until it is mended, never its ciphertexts.
 */
#pragma once

#include <time.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "common/key.h"
#include "common/token.h"
#include "formats/filekey.h"
#include "tokend/config.h"

#define KEY_SLOTS_MAX 8U
#define KEYS_MAX 200000U

struct key_slot {
	char token_uri[TOKEN_URI_MAX];
	struct token_blob blob;
};

struct key {
	struct key_id id;
	char name[KEY_NAME_MAX + 1];
	enum key_kind kind;
	enum key_class class;
	time_t created;
	uint8_t public_key[P256_POINT_LEN]; /* p256: 65 bytes; x25519: 32 */
	uint8_t compressed[P256_COMPRESSED_LEN]; /* p256 */
	uint8_t recipient_hash[TAG_LEN]; /* p256: what tags are made from */
	char recipient[128]; /* age1...; "" for symmetric */
	size_t slot_count;
	struct key_slot *slots[KEY_SLOTS_MAX]; /* owned */
};

struct keyring;

/* Reads all keys of directory (an open fd, "keys" inside it is made when missing). A file that cannot be understood is skipped; problems gets a line for it. */
MUST_CHECK enum err keyring_load(int state_directory, struct buf *problems, struct keyring **ret_keyring);
struct keyring *keyring_free(struct keyring *keyring);
DEFINE_CLEANUP(struct keyring *, keyring_free);

size_t keyring_count(const struct keyring *keyring);
const struct key *keyring_at(const struct keyring *keyring, size_t index); /* in the order of their names */
const struct key *keyring_find(const struct keyring *keyring, const char *name);
const struct key *keyring_find_id(const struct keyring *keyring, const struct key_id *id);

/* Counts up whenever the set of keys changes: caches of "which keys may this peer use" compare it. */
unsigned keyring_generation(const struct keyring *keyring);

/* Adds a key and writes its files durably; the key is copied. ERR_EXISTS when name or id is taken; ERR_DISK_FULL...: then nothing was added. */
MUST_CHECK enum err keyring_add(struct keyring *keyring, const struct key *key);

/* The metadata file as text, both ways; for the tests and the fuzzer. */
MUST_CHECK enum err key_metadata_put(struct buf *buf, const struct key *key);
MUST_CHECK enum err key_metadata_parse(struct bytes text, struct key *ret_key);
