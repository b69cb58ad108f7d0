/*
 * Keyring
 *
 * The keys there are: names, kinds, classes, public keys and blobs. Nothing in it is secret, and nothing in it talks to a device. Each key is one human-readable
 * metadata file keys/ID.key and one blob file per slot, keys/ID.N.pem (TSS2 PEM), in the state directory; there is no database, and a file that cannot be read costs that
 * key only until it is mended, never its ciphertexts.
 *
 * A key appears with its metadata file, which is written last and never over another: what a crash leaves behind is a blob without a key or a temporary file. The
 * latter is removed at the next load. The former is reported and left alone, for it could as well be a key whose metadata file was lost. Of two keys with one name the
 * older keeps it; the other is reported and left out.
 *
 * The metadata file is lines of "word: value" in any order:
 *
 *	version: 1
 *	id: 32 hexadecimal digits, as in the file's name
 *	name: repo/prod
 *	kind: p256|x25519|symmetric
 *	class: boot|session|admin
 *	created: 2025-01-31T12:00:00Z
 *	public: p256: 65 bytes, x25519: 32, in hexadecimal; not for symmetric
 *	recipient: what follows from public, for people; it has to agree
 *	slot: NUMBER TOKEN-URI PARENT-NAME    one line per slot; the TPM's Name of the parent key in hexadecimal, '-' when there is none
 *
 * A word that is not one of these is refused, not kept: it would be a newer tokend's, and to serve a key without minding what that meant is worse than not to serve it.
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
#define KEY_METADATA_MAX 16384U
#define KEY_SLOT_NUMBER_MAX 99U

struct key_slot {
	unsigned number; /* of its blob file, ID.number.pem; keyring_add gives it */
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

/* Frees the slots and empties the key. */
void key_done(struct key *key);

/* Reads all keys of directory (an open fd, "keys" inside it is made when missing). A file that cannot be understood is skipped; problems gets a line for it, as long as it has
 * room. ERR_STATE_DIR when "keys" is not a directory of ours alone. */
MUST_CHECK enum err keyring_load(int state_directory, struct buf *problems, struct keyring **ret_keyring);
struct keyring *keyring_free(struct keyring *keyring);
DEFINE_CLEANUP(struct keyring *, keyring_free);

size_t keyring_count(const struct keyring *keyring);
size_t keyring_left_out(
        const struct keyring
                *keyring); /* how many files of keys were there at the start whose keys are not in it */
const struct key *keyring_at(const struct keyring *keyring, size_t index); /* in the order of their names */
const struct key *keyring_find(const struct keyring *keyring, const char *name);
const struct key *keyring_find_id(const struct keyring *keyring, const struct key_id *id);

/* Counts up whenever the set of keys changes: caches of "which keys may this peer use" compare it. It begins anywhere, so that another keyring is another set. */
unsigned keyring_generation(const struct keyring *keyring);

/* Adds a key and writes its files durably; the key is copied, and what follows from its public key (compressed, recipient_hash, recipient) is made anew. ERR_EXISTS when name or
 * id is taken; ERR_USAGE for a key that could not be read back; ERR_DISK_FULL...: then nothing was added. Keys stay where they are in memory. */
MUST_CHECK enum err keyring_add(struct keyring *keyring, const struct key *key);

/* The metadata file as text, both ways; for the tests and the fuzzer. A key that was read has its slots' numbers, URIs and parent names, but no other part of their blobs. ERR_BAD_CONFIG;
 * key_metadata_read says why ("file:line: what is wrong" in problem, which may be NULL). */
MUST_CHECK enum err key_metadata_put(struct buf *buf, const struct key *key);
MUST_CHECK enum err key_metadata_parse(struct bytes text, struct key *ret_key);
MUST_CHECK enum err key_metadata_read(struct bytes text, const char *file, struct buf *problem,
                                      struct key *ret_key);

/* Fills in what follows from kind and public_key. ERR_USAGE when the public key is none. */
MUST_CHECK enum err key_derive(struct key *key);
