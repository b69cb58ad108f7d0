#include "tokend/keyring.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>

#include "common/encoding.h"
#include "common/file.h"
#include "formats/tpmkey.h"
#include "tokend/text.h"

#define DIRECTORY "keys"
#define FILE_MODE 0600
#define FORBIDDEN_MODE 0077
#define ID_TEXT_LEN (2U * KEY_ID_LEN)
#define FILE_NAME_MAX (ID_TEXT_LEN + 16U)
#define SHOWN_NAME_MAX (sizeof(DIRECTORY) + FILE_NAME_MAX)

/* Keys by a hash of theirs: open addressing, a power of two of places, at least twice as many as keys. */
struct table {
	struct key **places;
	size_t len;
};

struct keyring {
	int directory;
	struct key **keys; /* owned, each; in the order of their names */
	size_t count;
	size_t left_out; /* when it was loaded */
	size_t capacity;
	struct table names;
	struct table ids;
	unsigned generation;
};

/* ---- the set ---- */

static uint64_t hash_bytes(struct bytes bytes)
{
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < bytes.len; i++)
		hash = (hash ^ bytes.data[i]) * 0x100000001b3ULL;
	return hash ^ hash >> 29;
}

static uint64_t hash_name(const char *name)
{
	return hash_bytes(bytes_of_string(name));
}

static uint64_t hash_id(const struct key_id *id)
{
	return hash_bytes(bytes_of(id->bytes, KEY_ID_LEN));
}

static void table_put(struct table *table, uint64_t hash, struct key *key)
{
	size_t place = (size_t)hash & (table->len - 1);

	while (table->places[place])
		place = (place + 1) & (table->len - 1);
	table->places[place] = key;
}

static enum err table_make(struct table *table, size_t len)
{
	struct key **places = calloc(len, sizeof(struct key *));

	if (!places)
		return ERR_NOMEM;
	free(table->places);
	*table = (struct table){ places, len };
	return OK;
}

/* Room for capacity keys. What is in the keyring stays in it, also when there is no memory. */
static enum err grow(struct keyring *keyring, size_t capacity)
{
	CLEANUP(freep) struct key **keys = calloc(capacity, sizeof(struct key *));
	struct table names = { NULL, 0 }, ids = { NULL, 0 };

	if (!keys || table_make(&names, 2 * capacity) != OK || table_make(&ids, 2 * capacity) != OK) {
		free(names.places);
		return ERR_NOMEM;
	}
	for (size_t i = 0; i < keyring->count; i++) {
		keys[i] = keyring->keys[i];
		table_put(&names, hash_name(keys[i]->name), keys[i]);
		table_put(&ids, hash_id(&keys[i]->id), keys[i]);
	}
	free(keyring->keys);
	free(keyring->names.places);
	free(keyring->ids.places);
	keyring->keys = TAKE(keys);
	keyring->names = names;
	keyring->ids = ids;
	keyring->capacity = capacity;
	return OK;
}

size_t keyring_count(const struct keyring *keyring)
{
	return keyring->count;
}

size_t keyring_left_out(const struct keyring *keyring)
{
	return keyring->left_out;
}

const struct key *keyring_at(const struct keyring *keyring, size_t index)
{
	return keyring->keys[index];
}

const struct key *keyring_find(const struct keyring *keyring, const char *name)
{
	const struct table *table = &keyring->names;
	size_t place = (size_t)hash_name(name) & (table->len - 1);

	for (; table->places[place]; place = (place + 1) & (table->len - 1))
		if (strcmp(table->places[place]->name, name) == 0)
			return table->places[place];
	return NULL;
}

const struct key *keyring_find_id(const struct keyring *keyring, const struct key_id *id)
{
	const struct table *table = &keyring->ids;
	size_t place = (size_t)hash_id(id) & (table->len - 1);

	for (; table->places[place]; place = (place + 1) & (table->len - 1))
		if (key_id_equal(&table->places[place]->id, id))
			return table->places[place];
	return NULL;
}

unsigned keyring_generation(const struct keyring *keyring)
{
	return keyring->generation;
}

static void key_free(struct key *key)
{
	if (!key)
		return;
	key_done(key);
	free(key);
}

static void key_freep(struct key **key)
{
	key_free(*key);
}

struct keyring *keyring_free(struct keyring *keyring)
{
	if (!keyring)
		return NULL;
	for (size_t i = 0; i < keyring->count; i++)
		key_free(keyring->keys[i]);
	free(keyring->keys);
	free(keyring->names.places);
	free(keyring->ids.places);
	close_fdp(&keyring->directory);
	free(keyring);
	return NULL;
}

/* ---- names of files ---- */

static void key_file_name(const struct key_id *id, char out[static FILE_NAME_MAX])
{
	hex_encode(bytes_of(id->bytes, KEY_ID_LEN), out);
	memcpy(out + ID_TEXT_LEN, ".key", sizeof(".key"));
}

static void blob_file_name(const struct key_id *id, unsigned number, char out[static FILE_NAME_MAX])
{
	hex_encode(bytes_of(id->bytes, KEY_ID_LEN), out);
	(void)snprintf(out + ID_TEXT_LEN, FILE_NAME_MAX - ID_TEXT_LEN, ".%u.pem", number);
}

enum file_kind {
	FILE_OTHER,
	FILE_KEY,
	FILE_BLOB,
	FILE_TEMPORARY,
};

/* What a name in the directory stands for; id and number as far as it has them. Only names as we would write them count. */
static enum file_kind file_kind(const char *name, struct key_id *ret_id, unsigned *ret_number)
{
	struct bytes text = bytes_of_string(name);
	bool temporary = name[0] == '.' && text_ends_with(text, ".new");
	struct bytes id = bytes_of(text.data + temporary, ID_TEXT_LEN);
	char again[FILE_NAME_MAX];
	unsigned long number;

	if (text.len < ID_TEXT_LEN + 4 || hex_decode(id, ret_id->bytes, KEY_ID_LEN) != OK)
		return FILE_OTHER;
	if (temporary)
		return FILE_TEMPORARY;
	key_file_name(ret_id, again);
	if (strcmp(name, again) == 0)
		return FILE_KEY;
	text = bytes_of(text.data + ID_TEXT_LEN + 1, text.len - ID_TEXT_LEN - 1);
	if (!text_ends_with(text, ".pem") ||
	    !text_number(bytes_of(text.data, text.len - 4), KEY_SLOT_NUMBER_MAX, &number))
		return FILE_OTHER;
	*ret_number = (unsigned)number;
	blob_file_name(ret_id, *ret_number, again);
	return strcmp(name, again) == 0 ? FILE_BLOB : FILE_OTHER;
}

/* ---- reading ---- */

struct load {
	struct keyring *keyring;
	struct buf *problems; /* borrowed */
	DIR *entries; /* owned */
	size_t count; /* of the keys that were read, in keyring->keys */
	size_t files; /* of keys, read or not */
};

/* A line for a file, as long as there is room. ERR_NOMEM or OK. */
static enum err report(struct load *load, const char *name, const char *sentence, const char *more)
{
	enum err err = buf_printf(load->problems, DIRECTORY "/%s: %s%s\n", name, sentence, more);

	return err == ERR_NOMEM ? err : OK;
}

/* Where a file's own words are clearer than those of the error. */
static const struct {
	enum err err;
	const char *sentence;
} file_sentences[] = {
	{ ERR_STATE_DIR, "it must be a regular file of ours that nobody else can read or write" },
	{ ERR_BUSY, "it is too long" },
	{ ERR_BAD_FILE, "it is not a TSS2 PRIVATE KEY in PEM" },
	{ ERR_UNSUPPORTED, "it is a TSS2 PRIVATE KEY of a sort that tokend does not use" },
};

static enum err report_file(struct load *load, const char *name, enum err err)
{
	const char *sentence = err_info(err)->text;

	if (err == ERR_NOMEM)
		return err;
	for (size_t i = 0; i < sizeof(file_sentences) / sizeof(file_sentences[0]); i++)
		if (file_sentences[i].err == err)
			sentence = file_sentences[i].sentence;
	return report(load, name, sentence, "");
}

/* Reads a slot's blob beside what the metadata said of it. OK with *ret_good false when it was reported. */
static enum err read_blob(struct load *load, const struct key *key, struct key_slot *slot, bool *ret_good)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	struct token_blob blob;
	char name[FILE_NAME_MAX];
	bool sealed, empty_auth;
	enum err err;

	*ret_good = false;
	blob_file_name(&key->id, slot->number, name);
	err = file_read(load->keyring->directory, name, TPMKEY_TEXT_MAX, FORBIDDEN_MODE, &text);
	if (!err)
		err = tpmkey_read(buf_bytes(text), &blob, &sealed, &empty_auth);
	if (err)
		return report_file(load, name, err);
	if (sealed != (key->kind != KEY_KIND_P256))
		return report(load, name,
		              "it does not hold what a key of its kind does: ", key_kind_name(key->kind));
	if (empty_auth != (key->class == KEY_CLASS_BOOT))
		return report(load, name, "that it has a PIN, or has none, does not go with its class: ",
		              key_class_name(key->class));
	blob.parent_name_len = slot->blob.parent_name_len;
	memcpy(blob.parent_name, slot->blob.parent_name, sizeof(blob.parent_name));
	slot->blob = blob;
	*ret_good = true;
	return OK;
}

/* Keeps the slots whose blobs can be read. */
static enum err read_blobs(struct load *load, struct key *key)
{
	size_t kept = 0;
	enum err err = OK;

	for (size_t i = 0; i < key->slot_count; i++) {
		bool good = false;

		if (!err)
			err = read_blob(load, key, key->slots[i], &good);
		if (good)
			key->slots[kept++] = key->slots[i];
		else
			free(key->slots[i]);
	}
	key->slot_count = kept;
	return err;
}

/* Reads ID.key alone. OK with an empty key when it was reported. */
static enum err read_metadata(struct load *load, const char *name, const struct key_id *id, struct key *key)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(buf_freep) struct buf *problem = NULL;
	char shown[SHOWN_NAME_MAX];
	enum err err = file_read(load->keyring->directory, name, KEY_METADATA_MAX, FORBIDDEN_MODE, &text);

	if (err)
		return report_file(load, name, err);
	err = buf_new(1024, &problem);
	if (err)
		return err;
	(void)snprintf(shown, sizeof(shown), "%.*s", (int)sizeof(shown) - 1, name);
	err = key_metadata_read(buf_bytes(text), shown, problem, key);
	if (err == ERR_NOMEM)
		return err;
	if (err && buf_printf(load->problems, DIRECTORY "/%s\n", buf_string(problem)) == ERR_NOMEM)
		return ERR_NOMEM;
	if (!err && !key_id_equal(&key->id, id)) {
		key_done(key);
		return report(load, name, "the id in it is another one than in its name", "");
	}
	return OK;
}

static enum err keep(struct load *load, struct key *key)
{
	struct keyring *keyring = load->keyring;

	if (load->count == keyring->capacity) {
		size_t capacity = 2 * keyring->capacity;
		struct key **keys = reallocarray(keyring->keys, capacity, sizeof(struct key *));

		if (!keys)
			return ERR_NOMEM;
		keyring->keys = keys;
		keyring->capacity = capacity;
	}
	keyring->keys[load->count++] = key;
	keyring->count = load->count; /* so that it is freed with the rest */
	return OK;
}

static enum err read_key(struct load *load, const char *name, const struct key_id *id)
{
	CLEANUP(key_freep) struct key *key = calloc(1, sizeof(*key));
	enum err err = key ? read_metadata(load, name, id, key) : ERR_NOMEM;

	if (err || key->slot_count == 0)
		return err;
	err = read_blobs(load, key);
	if (err)
		return err;
	if (key->slot_count == 0)
		return report(load, name, "none of its slots can be read, so it is left out", "");
	if (load->count == KEYS_MAX)
		return report(load, name, "there are too many keys, so it is left out", "");
	err = keep(load, key);
	if (!err)
		(void)TAKE(key);
	return err;
}

static enum err read_entry(struct load *load, const char *name)
{
	struct key_id id;
	unsigned number;

	switch (file_kind(name, &id, &number)) {
	case FILE_KEY:
		load->files++;
		return read_key(load, name, &id);
	case FILE_TEMPORARY:
		(void)unlinkat(load->keyring->directory, name, 0); /* nobody ever saw it whole */
		return OK;
	case FILE_BLOB:
		return OK; /* looked at when all keys are known */
	case FILE_OTHER:
		break;
	}
	return report(load, name, "it is none of tokend's files", "");
}

/* Calls what for every name in the directory but "." and "..". */
static enum err each_entry(struct load *load, enum err (*what)(struct load *load, const char *name))
{
	struct dirent *entry;
	enum err err = OK;

	rewinddir(load->entries);
	while (!err && (errno = 0, entry = readdir(load->entries)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			err = what(load, entry->d_name);
	return err ? err : errno ? ERR_SYSTEM : OK;
}

/* ---- from files to a set ---- */

static int compare(const struct key *a, const struct key *b)
{
	int order = strcmp(a->name, b->name);

	if (order == 0)
		order = (a->created > b->created) - (a->created < b->created);
	return order ? order : memcmp(a->id.bytes, b->id.bytes, KEY_ID_LEN);
}

static int compare_places(const void *a, const void *b)
{
	return compare(*(struct key *const *)a, *(struct key *const *)b);
}

static enum err report_same_name(struct load *load, const struct key *older, const struct key *younger)
{
	char name[FILE_NAME_MAX], other[FILE_NAME_MAX];
	char sentence[KEY_NAME_MAX + 128];

	key_file_name(&younger->id, name);
	key_file_name(&older->id, other);
	(void)snprintf(sentence, sizeof(sentence),
	               "it is left out, for its name '%s' is that of the older " DIRECTORY "/",
	               younger->name);
	return report(load, name, sentence, other);
}

/* Sorts what was read and leaves out younger keys of the same name. */
static enum err drop_same_names(struct load *load)
{
	struct keyring *keyring = load->keyring;
	size_t kept = 0;
	enum err err = OK;

	qsort(keyring->keys, load->count, sizeof(struct key *), compare_places);
	for (size_t i = 0; i < load->count; i++) {
		struct key *key = keyring->keys[i];

		if (kept == 0 || strcmp(keyring->keys[kept - 1]->name, key->name) != 0) {
			keyring->keys[kept++] = key;
			continue;
		}
		if (!err)
			err = report_same_name(load, keyring->keys[kept - 1], key);
		key_free(key);
	}
	keyring->count = kept;
	return err;
}

/* A blob without a key's file: what an interrupted enrolment left, or all that is left of a key. */
static enum err check_blob(struct load *load, const char *name)
{
	struct key_id id;
	unsigned number;
	char key_name[FILE_NAME_MAX];

	if (file_kind(name, &id, &number) != FILE_BLOB || keyring_find_id(load->keyring, &id))
		return OK;
	key_file_name(&id, key_name);
	if (faccessat(load->keyring->directory, key_name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return OK; /* it could not be read, and that was reported */
	return report(load, name,
	              "it belongs to no key: an interrupted enrolment left it, or its .key file is lost", "");
}

static enum err read_all(struct load *load)
{
	struct keyring *keyring = load->keyring;
	enum err err = each_entry(load, read_entry);

	if (!err)
		err = drop_same_names(load);
	keyring->left_out = load->files - keyring->count;
	if (!err)
		err = grow(keyring, keyring->capacity); /* fills the tables */
	return err ? err : each_entry(load, check_blob);
}

/* ---- the directory ---- */

static enum err open_directory(int state_directory, int *ret_fd)
{
	CLEANUP(close_fdp) int fd = -1;
	struct stat st;

	if (mkdirat(state_directory, DIRECTORY, 0700) == 0) {
		if (fsync(state_directory) < 0)
			return err_from_errno(errno);
	} else if (errno != EEXIST) {
		return err_from_errno(errno);
	}
	fd = openat(state_directory, DIRECTORY, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ELOOP || errno == ENOTDIR ? ERR_STATE_DIR : err_from_errno(errno);
	if (fstat(fd, &st) < 0)
		return ERR_SYSTEM;
	if (!file_is_ours(&st, FORBIDDEN_MODE))
		return ERR_STATE_DIR;
	*ret_fd = TAKE_FD(fd);
	return OK;
}

static enum err keyring_new(int state_directory, struct keyring **ret_keyring)
{
	CLEANUP(keyring_freep) struct keyring *keyring = calloc(1, sizeof(*keyring));
	enum err err;

	if (!keyring)
		return ERR_NOMEM;
	keyring->directory = -1;
	keyring->generation = randombytes_random();
	err = open_directory(state_directory, &keyring->directory);
	if (!err)
		err = grow(keyring, 16);
	if (err)
		return err;
	*ret_keyring = TAKE(keyring);
	return OK;
}

static void close_entries(DIR **entries)
{
	if (*entries)
		(void)closedir(*entries);
}

enum err keyring_load(int state_directory, struct buf *problems, struct keyring **ret_keyring)
{
	CLEANUP(keyring_freep) struct keyring *keyring = NULL;
	CLEANUP(close_fdp) int fd = -1;
	CLEANUP(close_entries) DIR *entries = NULL;
	struct load load;
	enum err err = keyring_new(state_directory, &keyring);

	if (err)
		return err;
	/* Not a dup: that would share its place in the directory with the one that stays open. */
	fd = openat(keyring->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	entries = fd < 0 ? NULL : fdopendir(fd);
	if (!entries)
		return ERR_SYSTEM;
	(void)TAKE_FD(fd);
	load = (struct load){ .keyring = keyring, .problems = problems, .entries = entries };
	err = read_all(&load);
	if (!err)
		*ret_keyring = TAKE(keyring);
	return err;
}

/* ---- adding ---- */

static bool key_valid(const struct key *key)
{
	if (!key_name_valid(bytes_of_string(key->name)) || key->slot_count == 0 ||
	    key->slot_count > KEY_SLOTS_MAX || key->kind < KEY_KIND_P256 || key->kind > KEY_KIND_SYMMETRIC ||
	    key->class < KEY_CLASS_BOOT || key->class > KEY_CLASS_ADMIN)
		return false;
	return true;
}

static enum err key_copy(const struct key *key, struct key **ret_copy)
{
	CLEANUP(key_freep) struct key *copy = malloc(sizeof(*copy));

	if (!copy)
		return ERR_NOMEM;
	*copy = *key;
	copy->slot_count = 0;
	for (size_t i = 0; i < key->slot_count; i++) {
		struct key_slot *slot = malloc(sizeof(*slot));

		if (!slot)
			return ERR_NOMEM;
		*slot = *key->slots[i];
		slot->number = (unsigned)i;
		copy->slots[copy->slot_count++] = slot;
	}
	*ret_copy = TAKE(copy);
	return OK;
}

static enum err write_blob(const struct keyring *keyring, const struct key *key, const struct key_slot *slot)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	char name[FILE_NAME_MAX];
	enum err err = buf_new(TPMKEY_TEXT_MAX, &text);

	if (!err)
		err = tpmkey_put(text, &slot->blob, key->kind, key->class == KEY_CLASS_BOOT);
	if (err)
		return err;
	blob_file_name(&key->id, slot->number, name);
	return file_write(keyring->directory, name, buf_bytes(text), FILE_MODE, true);
}

/* What is written must be readable: the text is parsed before it becomes a file. */
static enum err write_metadata(const struct keyring *keyring, const struct key *key)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(key_done) struct key again = { 0 };
	char name[FILE_NAME_MAX];
	enum err err = buf_new(KEY_METADATA_MAX, &text);

	if (!err)
		err = key_metadata_put(text, key);
	if (!err)
		err = key_metadata_parse(buf_bytes(text), &again);
	if (err)
		return err == ERR_BAD_CONFIG ? ERR_USAGE : err;
	key_file_name(&key->id, name);
	return file_write(keyring->directory, name, buf_bytes(text), FILE_MODE, true);
}

static void remove_blobs(const struct keyring *keyring, const struct key *key, size_t count)
{
	char name[FILE_NAME_MAX];

	for (size_t i = 0; i < count; i++) {
		blob_file_name(&key->id, key->slots[i]->number, name);
		(void)unlinkat(keyring->directory, name, 0);
	}
}

/* Blobs first: with the metadata file the key is there. */
static enum err write_files(const struct keyring *keyring, const struct key *key)
{
	size_t written = 0;
	enum err err = OK;

	for (; !err && written < key->slot_count; written += !err)
		err = write_blob(keyring, key, key->slots[written]);
	if (!err)
		err = write_metadata(keyring, key);
	if (err)
		remove_blobs(keyring, key, written);
	return err;
}

static void insert(struct keyring *keyring, struct key *key)
{
	size_t low = 0, high = keyring->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(keyring->keys[middle], key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	memmove(&keyring->keys[low + 1], &keyring->keys[low], (keyring->count - low) * sizeof(struct key *));
	keyring->keys[low] = key;
	keyring->count++;
	table_put(&keyring->names, hash_name(key->name), key);
	table_put(&keyring->ids, hash_id(&key->id), key);
	keyring->generation++;
}

/* All memory before the first file: once the key is on disk, nothing can keep it out of the set. */
enum err keyring_add(struct keyring *keyring, const struct key *key)
{
	CLEANUP(key_freep) struct key *copy = NULL;
	enum err err;

	if (!key_valid(key))
		return ERR_USAGE;
	if (keyring->count >= KEYS_MAX)
		return ERR_BUSY;
	if (keyring_find(keyring, key->name) || keyring_find_id(keyring, &key->id))
		return ERR_EXISTS;
	err = key_copy(key, &copy);
	if (!err)
		err = key_derive(copy);
	if (!err && keyring->count == keyring->capacity)
		err = grow(keyring, 2 * keyring->capacity);
	if (!err)
		err = write_files(keyring, copy);
	if (!err)
		insert(keyring, TAKE(copy));
	return err;
}
