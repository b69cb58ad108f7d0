/*
 * The keyring: what a metadata file is and is not, that what was added is there after a load, that nothing half-written becomes a key and nothing unreadable hides one, and that a failure
 * or an end at any moment of adding leaves the old set or the new one.
 *
 * TOKEND_BENCH=1 loads 100,000 keys and says how long that takes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "common/encoding.h"
#include "common/file.h"
#include "formats/tpmkey.h"
#include "tokend/keyring.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* RFC 7748, 6.1: Alice's public key. */
#define ALICE "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"

static char directory[64];
static int directory_fd = -1;

static int set_up(void **state)
{
	(void)state;
	(void)strcpy(directory, "/tmp/test_keyring.XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return directory_fd < 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	(void)close(directory_fd);
	(void)snprintf(command, sizeof(command), "rm -rf %s", directory);
	return system(command);
}

static struct keyring *load(char problems[4096])
{
	struct keyring *keyring;
	struct buf *text;

	assert_int_equal(buf_new(4095, &text), OK);
	assert_int_equal(keyring_load(directory_fd, text, &keyring), OK);
	(void)snprintf(problems, 4096, "%s", buf_string(text));
	buf_free(text);
	return keyring;
}

static void make_id(struct key_id *id, unsigned number)
{
	memset(id->bytes, 0, sizeof(id->bytes));
	for (unsigned i = 0; i < 4; i++)
		id->bytes[i] = (uint8_t)(number >> (24 - 8 * i));
}

/* A key as an enrolment makes it; slots in slot_storage. */
static struct key_slot slot_storage[KEY_SLOTS_MAX];

static void make_key(struct key *key, unsigned number, enum key_kind kind, size_t slot_count)
{
	*key = (struct key){ .kind = kind, .class = KEY_CLASS_BOOT, .created = 1700000000 + number };
	make_id(&key->id, number);
	(void)snprintf(key->name, sizeof(key->name), "repo/key-%u", number);
	memset(key->public_key, (int)(0x11 + number % 0x70),
	       kind == KEY_KIND_X25519 ? X25519_LEN : P256_POINT_LEN);
	if (kind == KEY_KIND_P256)
		key->public_key[0] = 0x04;
	for (size_t i = 0; i < slot_count; i++) {
		struct key_slot *slot = &slot_storage[i];

		*slot = (struct key_slot){ .blob = { .parent = 0x81000001,
			                             .parent_name_len = 34,
			                             .public_area_len = 90,
			                             .private_area_len = 160 } };
		(void)snprintf(slot->token_uri, sizeof(slot->token_uri), "tpm:swtpm:path=/run/%zu", i);
		memset(slot->blob.parent_name, 0x22, 34);
		memset(slot->blob.public_area, (int)i + 1, 90);
		memset(slot->blob.private_area, 0x33, 160);
		/* each begins with its own size */
		slot->blob.public_area[0] = slot->blob.private_area[0] = 0;
		slot->blob.public_area[1] = 88;
		slot->blob.private_area[1] = 158;
		key->slots[key->slot_count++] = slot;
	}
}

static void assert_same(const struct key *a, const struct key *b)
{
	assert_memory_equal(&a->id, &b->id, sizeof(a->id));
	assert_string_equal(a->name, b->name);
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->class, b->class);
	assert_int_equal(a->created, b->created);
	if (a->kind != KEY_KIND_SYMMETRIC)
		assert_memory_equal(a->public_key, b->public_key,
		                    a->kind == KEY_KIND_P256 ? P256_POINT_LEN : X25519_LEN);
	assert_int_equal(a->slot_count, b->slot_count);
	for (size_t i = 0; i < a->slot_count; i++) {
		assert_string_equal(a->slots[i]->token_uri, b->slots[i]->token_uri);
		assert_memory_equal(&a->slots[i]->blob, &b->slots[i]->blob, sizeof(a->slots[i]->blob));
	}
}

static void key_path(unsigned number, const char *ending, char path[128])
{
	struct key_id id;
	char text[2 * KEY_ID_LEN + 1];

	make_id(&id, number);
	hex_encode(bytes_of(id.bytes, KEY_ID_LEN), text);
	(void)snprintf(path, 128, "keys/%s%s", text, ending);
}

static bool exists(unsigned number, const char *ending)
{
	char path[128];

	key_path(number, ending, path);
	return faccessat(directory_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = openat(directory_fd, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	assert_int_equal(close(fd), 0);
}

static void remove_file(unsigned number, const char *ending)
{
	char path[128];

	key_path(number, ending, path);
	assert_int_equal(unlinkat(directory_fd, path, 0), 0);
}

static void add(struct keyring *keyring, unsigned number, enum key_kind kind, size_t slot_count)
{
	struct key key;

	make_key(&key, number, kind, slot_count);
	assert_int_equal(keyring_add(keyring, &key), OK);
}

/* ---- metadata ---- */

#define ID "id: 00112233445566778899aabbccddeeff\n"
#define HEAD "version: 1\n" ID "name: a\n"
#define KIND "kind: x25519\nclass: boot\ncreated: 2025-01-31T12:00:00Z\n"
#define PUBLIC "public: " ALICE "\n"
#define SLOT "slot: 0 tpm:tabrmd 000b00\n"

static char alice_recipient[128];

static const struct {
	const char *name;
	const char *text; /* '@' stands for Alice's recipient */
	const char *problem; /* NULL: it is fine */
} texts[] = {
	{ "whole", HEAD KIND PUBLIC "recipient: @\n" SLOT, NULL },
	{ "in another order", SLOT "recipient: @\n" PUBLIC KIND HEAD, NULL },
	{ "with comments", "# \xc3\xa9\n\n" HEAD KIND PUBLIC "recipient: @ # age\n" SLOT, NULL },
	{ "symmetric", HEAD "kind: symmetric\nclass: admin\ncreated: 1970-01-01T00:00:00Z\n" SLOT, NULL },
	{ "slots of any numbers", HEAD KIND PUBLIC "recipient: @\nslot: 99 a:b -\nslot: 3 c:d 00\n", NULL },
	{ "empty", "", "f: the line 'version:' is missing" },
	{ "no slot", HEAD KIND PUBLIC "recipient: @\n", "f: the line 'slot:' is missing" },
	{ "no public key", HEAD KIND "recipient: @\n" SLOT, "f: its public key is not one of kind x25519" },
	{ "no recipient", HEAD KIND PUBLIC SLOT, "f: its public key is not one of kind x25519" },
	{ "symmetric with a public key",
	  HEAD "kind: symmetric\nclass: admin\ncreated: 1970-01-01T00:00:00Z\n" PUBLIC "recipient: @\n" SLOT,
	  "f: its public key is not one of kind symmetric" },
	{ "p256 with an x25519 key",
	  HEAD "kind: p256\nclass: boot\ncreated: 1970-01-01T00:00:00Z\n" PUBLIC "recipient: @\n" SLOT,
	  "f: its public key is not one of kind p256" },
	{ "another recipient", HEAD KIND PUBLIC "recipient: age1x\n" SLOT,
	  "f: its recipient is not that of its public key" },
	{ "another public key",
	  HEAD KIND
	  "public: 0520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a\nrecipient: @\n" SLOT,
	  "f: its recipient is not that of its public key" },
	{ "a newer version", "version: 2\n",
	  "f:1: version '2' is not known here: a newer tokend wrote this" },
	{ "an unknown word", HEAD "policy: x\n", "f:4: 'policy:' is not known here" },
	{ "no colon", "version 1\n", "f:1: 'version' is not known here" },
	{ "a word twice", HEAD "name: b\n", "f:4: 'name:' stands twice" },
	{ "no value", "name:\n", "f:1: 'name:' needs a value" },
	{ "two values", "name: a b\n", "f:1: 'b' stands after the value" },
	{ "id too short", "id: 0011\n", "f:1: the id is not 32 hexadecimal digits" },
	{ "name with dots", "name: ../a\n", "f:1: '../a' is not a name for a key" },
	{ "unknown kind", "kind: rsa\n", "f:1: 'rsa' is not a kind (p256, x25519, symmetric)" },
	{ "unknown class", "class: none\n", "f:1: 'none' is not a class (boot, session, admin)" },
	{ "no time", "created: yesterday\n", "f:1: 'yesterday' is not a time such as 2025-01-31T12:00:00Z" },
	{ "no such day", "created: 2025-02-30T00:00:00Z\n",
	  "f:1: '2025-02-30T00:00:00Z' is not a time such as 2025-01-31T12:00:00Z" },
	{ "local time", "created: 2025-01-31T12:00:00+",
	  "f:1: '2025-01-31T12:00:00+' is not a time such as 2025-01-31T12:00:00Z" },
	{ "public key of another length", "public: 00\n",
	  "f:1: the public key is not 65 or 32 bytes in hexadecimal" },
	{ "slot number too large", "slot: 100 a:b -\n",
	  "f:1: '100' is not the number of another slot, 0 to 99" },
	{ "slot number twice", "slot: 1 a:b -\nslot: 1 a:b -\n",
	  "f:2: '1' is not the number of another slot, 0 to 99" },
	{ "slot without a parent", "slot: 1 a:b\n",
	  "f:1: a slot is a number, a token and its parent's name" },
	{ "slot without a scheme", "slot: 1 ab -\n", "f:1: 'ab' is not a token" },
	{ "slot with half a byte of parent", "slot: 1 a:b 0\n",
	  "f:1: the parent's name is not up to 66 bytes in hexadecimal, or -" },
	{ "too many slots",
	  "slot: 0 a:b -\nslot: 1 a:b -\nslot: 2 a:b -\nslot: 3 a:b -\nslot: 4 a:b -\nslot: 5 a:b -\nslot: 6 "
	  "a:b -\nslot: 7 a:b -\nslot: 8 a:b -\n",
	  "f:9: there are more than 8 slots" },
	{ "not ASCII", "name: caf\xc3\xa9\n",
	  "f:1: a character outside of printable ASCII stands in the line" },
	{ "carriage return", "version: 1\r\n", "f:1: the line ends with CR LF; here LF alone ends one" },
};

static void fill_in(const char *text, struct buf *out)
{
	buf_clear(out);
	for (; *text; text++)
		assert_int_equal(*text == '@' ? buf_put_string(out, alice_recipient)
		                              : buf_put(out, bytes_of(text, 1)),
		                 OK);
}

static void find_alice(void)
{
	struct key alice = { .kind = KEY_KIND_X25519 };

	assert_int_equal(hex_decode(bytes_of_string(ALICE), alice.public_key, X25519_LEN), OK);
	assert_int_equal(key_derive(&alice), OK);
	(void)strcpy(alice_recipient, alice.recipient);
}

static void test_texts(void **state)
{
	CLEANUP(buf_freep) struct buf *text = NULL;

	(void)state;
	find_alice();
	assert_int_equal(buf_new(KEY_METADATA_MAX, &text), OK);
	for (size_t i = 0; i < COUNT(texts); i++) {
		CLEANUP(buf_freep) struct buf *problem = NULL;
		struct key key = { .created = 7 };
		enum err err;

		assert_int_equal(buf_new(1024, &problem), OK);
		fill_in(texts[i].text, text);
		err = key_metadata_read(buf_bytes(text), "f", problem, &key);
		if (err != (texts[i].problem ? ERR_BAD_CONFIG : OK) ||
		    strcmp(buf_string(problem), texts[i].problem ? texts[i].problem : "") != 0)
			fail_msg("%s: %s %s", texts[i].name, err_info(err)->name, buf_string(problem));
		if (err)
			assert_int_equal(key.created, 7); /* nothing was given out */
		else
			key_done(&key);
	}
}

/* Every kind and class, written and read. */
static void test_there_and_back(void **state)
{
	(void)state;
	for (int kind = KEY_KIND_P256; kind <= KEY_KIND_SYMMETRIC; kind++)
		for (int class = KEY_CLASS_BOOT; class <= KEY_CLASS_ADMIN; class ++) {
			CLEANUP(buf_freep) struct buf *text = NULL;
			struct key key, read;

			make_key(&key, 7, (enum key_kind)kind, 2);
			key.class = (enum key_class) class;
			slot_storage[1].number = 4;
			slot_storage[1].blob.parent_name_len = 0;
			memset(slot_storage[1].blob.parent_name, 0, sizeof(slot_storage[1].blob.parent_name));
			assert_int_equal(key_derive(&key), OK);
			assert_int_equal(buf_new(KEY_METADATA_MAX, &text), OK);
			assert_int_equal(key_metadata_put(text, &key), OK);
			assert_int_equal(key_metadata_parse(buf_bytes(text), &read), OK);
			assert_int_equal(read.slots[1]->number, 4);
			/* the blobs' other parts are in the .pem files */
			for (size_t i = 0; i < 2; i++) {
				memcpy(read.slots[i]->blob.public_area, key.slots[i]->blob.public_area,
				       TOKEN_BLOB_PART_MAX);
				memcpy(read.slots[i]->blob.private_area, key.slots[i]->blob.private_area,
				       TOKEN_BLOB_PART_MAX);
				read.slots[i]->blob.parent = key.slots[i]->blob.parent;
				read.slots[i]->blob.public_area_len = key.slots[i]->blob.public_area_len;
				read.slots[i]->blob.private_area_len = key.slots[i]->blob.private_area_len;
			}
			assert_same(&read, &key);
			assert_memory_equal(read.recipient, key.recipient, sizeof(key.recipient));
			assert_memory_equal(read.recipient_hash, key.recipient_hash, TAG_LEN);
			key_done(&read);
		}
}

/* ---- the set ---- */

static void test_add_and_load(void **state)
{
	static const enum key_kind kinds[] = { KEY_KIND_P256, KEY_KIND_X25519, KEY_KIND_SYMMETRIC };
	struct keyring *keyring;
	char problems[4096];
	unsigned generation;

	(void)state;
	keyring = load(problems);
	assert_int_equal(keyring_count(keyring), 0);
	assert_null(keyring_find(keyring, "repo/key-0"));
	for (unsigned i = 0; i < 50; i++) {
		generation = keyring_generation(keyring);
		add(keyring, (i * 37) % 50, kinds[i % 3], 1 + i % 3);
		assert_int_equal(keyring_generation(keyring), generation + 1);
	}
	for (unsigned again = 0; again < 2; again++) {
		assert_int_equal(keyring_count(keyring), 50);
		for (unsigned i = 0; i < 50; i++) {
			unsigned number = (i * 37) % 50;
			const struct key *found;
			struct key key;

			make_key(&key, number, kinds[i % 3], 1 + i % 3);
			found = keyring_find(keyring, key.name);
			assert_non_null(found);
			assert_same(found, &key);
			assert_ptr_equal(keyring_find_id(keyring, &key.id), found);
			assert_int_equal(found->recipient[0] != '\0', key.kind != KEY_KIND_SYMMETRIC);
			if (i > 0)
				assert_true(strcmp(keyring_at(keyring, i - 1)->name,
				                   keyring_at(keyring, i)->name) < 0);
		}
		assert_null(keyring_find(keyring, "repo/key-50"));
		assert_null(keyring_find(keyring, "repo/key-"));
		assert_null(keyring_find(keyring, ""));
		keyring_free(keyring);
		keyring = load(problems);
		assert_string_equal(problems, "");
	}
	keyring_free(keyring);
}

static void test_files(void **state)
{
	char problems[4096], path[128];
	struct keyring *keyring = load(problems);
	struct stat st;

	(void)state;
	add(keyring, 1, KEY_KIND_P256, 2);
	keyring_free(keyring);
	assert_int_equal(fstatat(directory_fd, "keys", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 0700);
	key_path(1, ".key", path);
	assert_int_equal(fstatat(directory_fd, path, &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	key_path(1, ".1.pem", path);
	assert_int_equal(fstatat(directory_fd, path, &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
}

static void test_add_refused(void **state)
{
	char problems[4096];
	struct keyring *keyring = load(problems);
	unsigned generation;
	struct key key;

	(void)state;
	add(keyring, 1, KEY_KIND_P256, 1);
	generation = keyring_generation(keyring);
	make_key(&key, 1, KEY_KIND_P256, 1);
	assert_int_equal(keyring_add(keyring, &key), ERR_EXISTS);
	(void)strcpy(key.name, "other"); /* the id is still taken */
	assert_int_equal(keyring_add(keyring, &key), ERR_EXISTS);
	make_key(&key, 2, KEY_KIND_P256, 1);
	(void)strcpy(key.name, "repo/key-1");
	assert_int_equal(keyring_add(keyring, &key), ERR_EXISTS);
	make_key(&key, 3, KEY_KIND_P256, 0);
	assert_int_equal(keyring_add(keyring, &key), ERR_USAGE);
	make_key(&key, 3, KEY_KIND_P256, 1);
	(void)strcpy(key.name, "../x");
	assert_int_equal(keyring_add(keyring, &key), ERR_USAGE);
	make_key(&key, 3, KEY_KIND_P256, 1);
	key.public_key[0] = 0x02;
	assert_int_equal(keyring_add(keyring, &key), ERR_USAGE);
	make_key(&key, 3, KEY_KIND_P256, 1);
	(void)strcpy(key.slots[0]->token_uri, "a b");
	assert_int_equal(keyring_add(keyring, &key), ERR_USAGE);
	assert_int_equal(keyring_count(keyring), 1);
	assert_int_equal(keyring_generation(keyring), generation);
	keyring_free(keyring);
	keyring = load(problems);
	assert_string_equal(problems, ""); /* and nothing was left on disk */
	assert_int_equal(keyring_count(keyring), 1);
	keyring_free(keyring);
}

/* ---- files that are not as they should be ---- */

static void assert_problem(const char *problems, unsigned number, const char *ending, const char *sentence)
{
	char path[128], line[512];

	key_path(number, ending, path);
	(void)snprintf(line, sizeof(line), "%s%s\n", path, sentence);
	if (strcmp(problems, line) != 0)
		fail_msg("'%s', not '%s'", problems, line);
}

static void break_and_load(unsigned number, const char *ending, const char *text, mode_t mode,
                           const char *sentence)
{
	char problems[4096], path[128];
	struct keyring *keyring;

	key_path(number, ending, path);
	write_file(path, text, mode);
	keyring = load(problems);
	assert_problem(problems, number, ending, sentence);
	assert_int_equal(keyring_count(keyring), 1);
	assert_non_null(keyring_find(keyring, "repo/key-1")); /* the other one is served all the same */
	keyring_free(keyring);
}

static void test_bad_files(void **state)
{
	static const char *const private_sentence =
	        ": it must be a regular file of ours that nobody else can read or write";
	static char too_long[KEY_METADATA_MAX + 2];
	char problems[4096];
	struct keyring *keyring = load(problems);

	(void)state;
	add(keyring, 1, KEY_KIND_P256, 1);
	keyring_free(keyring);
	memset(too_long, '\n', sizeof(too_long) - 1);
	break_and_load(2, ".key", "nonsense\n", 0600, ":1: 'nonsense' is not known here");
	break_and_load(2, ".key", "", 0600, ": the line 'version:' is missing");
	break_and_load(2, ".key", "", 0640, private_sentence);
	break_and_load(2, ".key", "", 0602, private_sentence);
	break_and_load(2, ".key", too_long, 0600, ": it is too long");
	remove_file(2, ".key");
	break_and_load(2, ".key.bak", "", 0600, ": it is none of tokend's files");
	remove_file(2, ".key.bak");
	break_and_load(2, ".0.pem", "", 0600,
	               ": it belongs to no key: an interrupted enrolment left it, or its .key file is lost");
	remove_file(2, ".0.pem");
	break_and_load(2, ".00.pem", "", 0600, ": it is none of tokend's files");
	remove_file(2, ".00.pem");
}

static void test_symlink(void **state)
{
	char problems[4096], path[128], target[160];
	struct keyring *keyring = load(problems);

	(void)state;
	add(keyring, 1, KEY_KIND_P256, 1);
	keyring_free(keyring);
	key_path(1, ".key", path);
	assert_int_equal(renameat(directory_fd, path, directory_fd, "elsewhere"), 0);
	(void)snprintf(target, sizeof(target), "%s/elsewhere", directory);
	assert_int_equal(symlinkat(target, directory_fd, path), 0);
	keyring = load(problems);
	assert_int_equal(keyring_count(keyring), 0);
	assert_problem(problems, 1, ".key",
	               ": it must be a regular file of ours that nobody else can read or write");
	keyring_free(keyring);
}

/* A slot that cannot be read costs the slot, and the last one the key. */
static void test_bad_slots(void **state)
{
	char problems[4096], path[128];
	struct keyring *keyring = load(problems);

	(void)state;
	add(keyring, 1, KEY_KIND_P256, 3);
	keyring_free(keyring);
	key_path(1, ".1.pem", path);
	write_file(path, "-----BEGIN NONSENSE-----\n", 0600);
	keyring = load(problems);
	assert_problem(problems, 1, ".1.pem", ": it is not a TSS2 PRIVATE KEY in PEM");
	assert_int_equal(keyring_at(keyring, 0)->slot_count, 2);
	assert_int_equal(keyring_at(keyring, 0)->slots[1]->number, 2);
	assert_int_equal(keyring_at(keyring, 0)->slots[1]->blob.public_area[2], 3);
	keyring_free(keyring);
	remove_file(1, ".1.pem");
	keyring = load(problems);
	assert_problem(problems, 1, ".1.pem", ": there is no such file");
	keyring_free(keyring);
	remove_file(1, ".0.pem");
	remove_file(1, ".2.pem");
	keyring = load(problems);
	assert_non_null(strstr(problems, ".key: none of its slots can be read, so it is left out\n"));
	assert_int_equal(keyring_count(keyring), 0);
	assert_int_equal(keyring_left_out(keyring), 1);
	keyring_free(keyring);
	assert_true(exists(1, ".key")); /* nothing is ever removed for being unreadable */
}

/* What the blob says of itself has to go with what the metadata says. */
static void test_disagreeing_slots(void **state)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	char problems[4096], path[128];
	struct keyring *keyring = load(problems);
	struct key key;

	(void)state;
	add(keyring, 1, KEY_KIND_P256, 1);
	keyring_free(keyring);
	make_key(&key, 1, KEY_KIND_P256, 1);
	key_path(1, ".0.pem", path);
	assert_int_equal(buf_new(TPMKEY_TEXT_MAX, &text), OK);
	assert_int_equal(tpmkey_put(text, &slot_storage[0].blob, KEY_KIND_P256, false), OK);
	write_file(path, buf_string(text), 0600);
	keyring = load(problems);
	assert_non_null(
	        strstr(problems, "that it has a PIN, or has none, does not go with its class: boot\n"));
	keyring_free(keyring);
	buf_clear(text);
	assert_int_equal(tpmkey_put(text, &slot_storage[0].blob, KEY_KIND_X25519, true), OK);
	write_file(path, buf_string(text), 0600);
	keyring = load(problems);
	assert_non_null(strstr(problems, "it does not hold what a key of its kind does: p256\n"));
	keyring_free(keyring);
}

static void rename_key(unsigned from, unsigned to)
{
	char old_path[128], new_path[128];

	key_path(from, ".key", old_path);
	key_path(to, ".key", new_path);
	assert_int_equal(renameat(directory_fd, old_path, directory_fd, new_path), 0);
}

static void test_id_of_another(void **state)
{
	char problems[4096];
	struct keyring *keyring = load(problems);

	(void)state;
	add(keyring, 1, KEY_KIND_P256, 1);
	keyring_free(keyring);
	rename_key(1, 2);
	keyring = load(problems);
	assert_int_equal(keyring_count(keyring), 0);
	assert_non_null(strstr(problems, ".key: the id in it is another one than in its name\n"));
	keyring_free(keyring);
}

/* Edited by hand until two have one name: the older one keeps it, whichever is read first. */
static void test_same_name(void **state)
{
	char problems[4096], path[128], wanted[512];
	struct keyring *keyring = load(problems);
	struct buf *text;

	(void)state;
	add(keyring, 5, KEY_KIND_SYMMETRIC, 1);
	add(keyring, 4, KEY_KIND_SYMMETRIC, 1);
	add(keyring, 6, KEY_KIND_SYMMETRIC, 1);
	keyring_free(keyring);
	for (unsigned i = 5; i <= 6; i++) {
		char *name;

		key_path(i, ".key", path);
		assert_int_equal(file_read(directory_fd, path, KEY_METADATA_MAX, 0077, &text), OK);
		name = strstr(buf_string(text), "name: repo/key-");
		name[strlen("name: repo/key-")] = '4';
		write_file(path, buf_string(text), 0600);
		buf_free(text);
	}
	keyring = load(problems);
	assert_int_equal(keyring_count(keyring), 1);
	assert_int_equal(keyring_left_out(keyring), 2);
	assert_int_equal(keyring_find(keyring, "repo/key-4")->created, 1700000004);
	key_path(4, ".key", path);
	(void)snprintf(wanted, sizeof(wanted),
	               ".key: it is left out, for its name 'repo/key-4' is that of the older %s\n", path);
	assert_non_null(strstr(problems, wanted));
	assert_non_null(strstr(strstr(problems, wanted) + 1, wanted)); /* one line for each of the two */
	keyring_free(keyring);
}

/* What an enrolment leaves when it ends at any of its steps: no key, nothing in the way, nothing half of one. */
static void test_leftovers(void **state)
{
	char problems[4096], path[128];
	struct keyring *keyring = load(problems);

	(void)state;
	write_file("keys/.00000001000000000000000000000000.key.123.new", "half", 0600);
	write_file("keys/.00000001000000000000000000000000.0.pem.123.new", "", 0600);
	write_file("keys/.hidden", "somebody's", 0600);
	add(keyring, 2, KEY_KIND_P256, 2);
	keyring_free(keyring);
	remove_file(2, ".key"); /* both blobs are there, the key is not yet */
	keyring = load(problems);
	assert_int_equal(keyring_count(keyring), 0);
	assert_int_equal(
	        faccessat(directory_fd, "keys/.00000001000000000000000000000000.key.123.new", F_OK, 0), -1);
	assert_int_equal(
	        faccessat(directory_fd, "keys/.00000001000000000000000000000000.0.pem.123.new", F_OK, 0), -1);
	assert_int_equal(faccessat(directory_fd, "keys/.hidden", F_OK, 0), 0);
	assert_true(exists(2, ".0.pem"));
	key_path(2, ".1.pem", path);
	assert_non_null(strstr(problems, path));
	add(keyring, 3, KEY_KIND_P256, 1);
	keyring_free(keyring);
}

/* A blob's name is taken: the key is refused whole, what was there stays, and what was written is gone. */
static void test_add_fails_in_the_middle(void **state)
{
	char problems[4096], path[128];
	struct keyring *keyring = load(problems);
	struct key key;

	(void)state;
	key_path(1, ".1.pem", path);
	write_file(path, "somebody's", 0600);
	make_key(&key, 1, KEY_KIND_P256, 3);
	assert_int_equal(keyring_add(keyring, &key), ERR_EXISTS);
	assert_int_equal(keyring_count(keyring), 0);
	assert_null(keyring_find_id(keyring, &key.id));
	assert_false(exists(1, ".0.pem"));
	assert_true(exists(1, ".1.pem"));
	assert_false(exists(1, ".2.pem"));
	remove_file(1, ".1.pem");
	key_path(1, ".key", path);
	write_file(path, "somebody's", 0600);
	assert_int_equal(keyring_add(keyring, &key), ERR_EXISTS);
	assert_false(exists(1, ".0.pem"));
	remove_file(1, ".key");
	assert_int_equal(keyring_add(keyring, &key), OK);
	keyring_free(keyring);
}

static void test_directory_refused(void **state)
{
	CLEANUP(buf_freep) struct buf *problems = NULL;
	struct keyring *keyring;

	(void)state;
	assert_int_equal(buf_new(1024, &problems), OK);
	assert_int_equal(mkdirat(directory_fd, "keys", 0750), 0);
	assert_int_equal(fchmodat(directory_fd, "keys", 0750, 0), 0);
	assert_int_equal(keyring_load(directory_fd, problems, &keyring), ERR_STATE_DIR);
	assert_int_equal(fchmodat(directory_fd, "keys", 0700, 0), 0);
	assert_int_equal(renameat(directory_fd, "keys", directory_fd, "elsewhere"), 0);
	assert_int_equal(symlinkat("elsewhere", directory_fd, "keys"), 0);
	assert_int_equal(keyring_load(directory_fd, problems, &keyring), ERR_STATE_DIR);
	assert_int_equal(unlinkat(directory_fd, "keys", 0), 0);
	write_file("keys", "", 0600);
	assert_int_equal(keyring_load(directory_fd, problems, &keyring), ERR_STATE_DIR);
}

/* Problems beyond what the buffer holds are lost, not the load. */
static void test_many_problems(void **state)
{
	CLEANUP(buf_freep) struct buf *problems = NULL;
	struct keyring *keyring;
	char path[128];

	(void)state;
	assert_int_equal(mkdirat(directory_fd, "keys", 0700), 0);
	for (unsigned i = 0; i < 100; i++) {
		key_path(i, ".key", path);
		write_file(path, "", 0600);
	}
	assert_int_equal(buf_new(300, &problems), OK);
	assert_int_equal(keyring_load(directory_fd, problems, &keyring), OK);
	assert_true(buf_len(problems) > 200);
	keyring_free(keyring);
}

/* ---- what it costs ---- */

static double seconds_now(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The files of a key without the syncs, which are not what is measured. */
static void write_unsynced(unsigned number)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	struct key key;
	char path[128];

	make_key(&key, number, number % 2 ? KEY_KIND_P256 : KEY_KIND_X25519, 1);
	assert_int_equal(key_derive(&key), OK);
	assert_int_equal(buf_new(KEY_METADATA_MAX, &text), OK);
	assert_int_equal(key_metadata_put(text, &key), OK);
	key_path(number, ".key", path);
	write_file(path, buf_string(text), 0600);
	buf_clear(text);
	assert_int_equal(tpmkey_put(text, &slot_storage[0].blob, key.kind, true), OK);
	key_path(number, ".0.pem", path);
	write_file(path, buf_string(text), 0600);
}

static void test_cost(void **state)
{
	const unsigned count = getenv("TOKEND_BENCH") ? 100000 : 500, rounds = 1000000;
	struct keyring *keyring;
	char problems[4096];
	double start;
	size_t found = 0;

	(void)state;
	assert_int_equal(mkdirat(directory_fd, "keys", 0700), 0);
	for (unsigned i = 0; i < count; i++)
		write_unsynced(i);
	start = seconds_now();
	keyring = load(problems);
	print_message("%u keys loaded in %.0f ms\n", count, (seconds_now() - start) * 1e3);
	assert_string_equal(problems, "");
	assert_int_equal(keyring_count(keyring), count);
	start = seconds_now();
	for (unsigned i = 0; i < rounds; i++)
		found += keyring_find(keyring, keyring_at(keyring, i % count)->name) != NULL;
	assert_int_equal(found, rounds);
	print_message("%.0f ns to find one by name\n", (seconds_now() - start) / rounds * 1e9);
	start = seconds_now();
	add(keyring, count, KEY_KIND_P256, 1);
	print_message("%.1f ms to add one, durably\n", (seconds_now() - start) * 1e3);
	keyring_free(keyring);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_there_and_back),
		TEST(test_add_and_load),
		TEST(test_files),
		TEST(test_add_refused),
		TEST(test_bad_files),
		TEST(test_symlink),
		TEST(test_bad_slots),
		TEST(test_disagreeing_slots),
		TEST(test_id_of_another),
		TEST(test_same_name),
		TEST(test_leftovers),
		TEST(test_add_fails_in_the_middle),
		TEST(test_directory_refused),
		TEST(test_many_problems),
		TEST(test_cost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
