#include <stdio.h>

#include "common/encoding.h"
#include "formats/recipient.h"
#include "tokend/keyring.h"
#include "tokend/text.h"

#define VERSION "1"
#define NO_PARENT "-"
#define TIME_LEN strlen("2025-01-31T12:00:00Z")

static size_t public_len(enum key_kind kind)
{
	switch (kind) {
	case KEY_KIND_P256:
		return P256_POINT_LEN;
	case KEY_KIND_X25519:
		return X25519_LEN;
	case KEY_KIND_SYMMETRIC:
		return 0;
	}
	return 0;
}

void key_done(struct key *key)
{
	for (size_t i = 0; i < key->slot_count; i++)
		free(key->slots[i]);
	*key = (struct key){ 0 };
}

static enum err derive_recipient(struct key *key, struct buf *line)
{
	enum err err = ERR_USAGE;

	if (key->kind == KEY_KIND_X25519)
		err = recipient_put_x25519(line, key->public_key);
	else if (key->public_key[0] == 0x04)
		err = recipient_put_p256(line, key->compressed);
	if (err)
		return err;
	return text_copy(buf_bytes(line), key->recipient, sizeof(key->recipient)) ? OK : ERR_BUG;
}

enum err key_derive(struct key *key)
{
	CLEANUP(buf_freep) struct buf *line = NULL;
	enum err err = buf_new(sizeof(key->recipient), &line);

	key->recipient[0] = '\0';
	if (err || key->kind == KEY_KIND_SYMMETRIC)
		return err;
	if (key->kind == KEY_KIND_P256) {
		p256_compress(key->public_key, key->compressed);
		p256tag_recipient_hash(key->compressed, key->recipient_hash);
	}
	return derive_recipient(key, line);
}

/* ---- to text ---- */

static enum err put_hex(struct buf *buf, struct bytes bytes)
{
	char text[2 * TOKEN_BLOB_PART_MAX + 1];

	if (bytes.len > TOKEN_BLOB_PART_MAX)
		return ERR_BUG;
	hex_encode(bytes, text);
	return buf_put_string(buf, text);
}

static enum err put_public(struct buf *buf, const struct key *key)
{
	enum err err;

	if (key->kind == KEY_KIND_SYMMETRIC)
		return OK;
	err = buf_put_string(buf, "public: ");
	err = err ? err : put_hex(buf, bytes_of(key->public_key, public_len(key->kind)));
	return err ? err : buf_printf(buf, "\nrecipient: %s\n", key->recipient);
}

static enum err put_slot(struct buf *buf, const struct key_slot *slot)
{
	struct bytes parent = bytes_of(slot->blob.parent_name, slot->blob.parent_name_len);
	enum err err = buf_printf(buf, "slot: %u %s ", slot->number, slot->token_uri);

	if (!err)
		err = parent.len ? put_hex(buf, parent) : buf_put_string(buf, NO_PARENT);
	return err ? err : buf_put_u8(buf, '\n');
}

static enum err put_created(struct buf *buf, time_t created)
{
	struct tm parts;
	char text[64];

	if (!gmtime_r(&created, &parts) ||
	    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts) != TIME_LEN)
		return ERR_USAGE;
	return buf_printf(buf, "created: %s\n", text);
}

enum err key_metadata_put(struct buf *buf, const struct key *key)
{
	enum err err = buf_put_string(buf, "# A key of tokend: what is known of it, nothing secret. The .pem "
	                                   "files beside it are its slots.\n"
	                                   "version: " VERSION "\nid: ");

	err = err ? err : put_hex(buf, bytes_of(key->id.bytes, KEY_ID_LEN));
	err = err ? err
	          : buf_printf(buf, "\nname: %s\nkind: %s\nclass: %s\n", key->name, key_kind_name(key->kind),
	                       key_class_name(key->class));
	err = err ? err : put_created(buf, key->created);
	err = err ? err : put_public(buf, key);
	for (size_t i = 0; !err && i < key->slot_count; i++)
		err = put_slot(buf, key->slots[i]);
	return err;
}

/* ---- from text ---- */

struct draft {
	struct key key; /* owns its slots */
	struct text_place place;
	size_t public_len;
	char recipient[128]; /* as the file says */
};

static enum err version_value(struct draft *draft, struct bytes word, struct bytes *rest)
{
	(void)rest;
	if (!text_equals(word, VERSION))
		return text_problem(&draft->place,
		                    "version '%.*s' is not known here: a newer tokend wrote this",
		                    TEXT_SHOW(word));
	return OK;
}

static enum err id_value(struct draft *draft, struct bytes word, struct bytes *rest)
{
	(void)rest;
	if (hex_decode(word, draft->key.id.bytes, KEY_ID_LEN) != OK)
		return text_problem(&draft->place, "the id is not 32 hexadecimal digits");
	return OK;
}

static enum err name_value(struct draft *draft, struct bytes word, struct bytes *rest)
{
	(void)rest;
	if (!key_name_valid(word) || !text_copy(word, draft->key.name, sizeof(draft->key.name)))
		return text_problem(&draft->place, "'%.*s' is not a name for a key", TEXT_SHOW(word));
	return OK;
}

static enum err kind_value(struct draft *draft, struct bytes word, struct bytes *rest)
{
	char name[16];

	(void)rest;
	if (!text_copy(word, name, sizeof(name)) || key_kind_from_name(name, &draft->key.kind) != OK)
		return text_problem(&draft->place, "'%.*s' is not a kind (p256, x25519, symmetric)",
		                    TEXT_SHOW(word));
	return OK;
}

static enum err class_value(struct draft *draft, struct bytes word, struct bytes *rest)
{
	char name[16];

	(void)rest;
	if (!text_copy(word, name, sizeof(name)) || key_class_from_name(name, &draft->key.class) != OK)
		return text_problem(&draft->place, "'%.*s' is not a class (boot, session, admin)",
		                    TEXT_SHOW(word));
	return OK;
}

/* What strptime takes and would be written again in the same letters. */
static bool time_parse(struct bytes word, time_t *ret_time)
{
	struct tm parts = { 0 };
	char text[64], again[64];
	const char *end;

	if (word.len != TIME_LEN || !text_copy(word, text, sizeof(text)))
		return false;
	end = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts);
	if (!end || *end)
		return false;
	*ret_time = timegm(&parts);
	return gmtime_r(ret_time, &parts) &&
	       strftime(again, sizeof(again), "%Y-%m-%dT%H:%M:%SZ", &parts) == TIME_LEN &&
	       strcmp(text, again) == 0;
}

static enum err created_value(struct draft *draft, struct bytes word, struct bytes *rest)
{
	(void)rest;
	if (!time_parse(word, &draft->key.created))
		return text_problem(&draft->place, "'%.*s' is not a time such as 2025-01-31T12:00:00Z",
		                    TEXT_SHOW(word));
	return OK;
}

static enum err public_value(struct draft *draft, struct bytes word, struct bytes *rest)
{
	(void)rest;
	draft->public_len = word.len / 2;
	if ((draft->public_len != P256_POINT_LEN && draft->public_len != X25519_LEN) ||
	    hex_decode(word, draft->key.public_key, draft->public_len) != OK)
		return text_problem(&draft->place, "the public key is not 65 or 32 bytes in hexadecimal");
	return OK;
}

static enum err recipient_value(struct draft *draft, struct bytes word, struct bytes *rest)
{
	(void)rest;
	if (!text_copy(word, draft->recipient, sizeof(draft->recipient)))
		return text_problem(&draft->place, "the recipient is too long");
	return OK;
}

static enum err slot_parent(struct draft *draft, struct bytes word, struct token_blob *blob)
{
	if (text_equals(word, NO_PARENT))
		return OK;
	blob->parent_name_len = word.len / 2;
	if (word.len == 0 || blob->parent_name_len > TOKEN_PARENT_NAME_MAX ||
	    hex_decode(word, blob->parent_name, blob->parent_name_len) != OK)
		return text_problem(&draft->place,
		                    "the parent's name is not up to %u bytes in hexadecimal, or %s",
		                    TOKEN_PARENT_NAME_MAX, NO_PARENT);
	return OK;
}

static bool slot_number_taken(const struct key *key, unsigned long number)
{
	for (size_t i = 0; i < key->slot_count; i++)
		if (key->slots[i]->number == number)
			return true;
	return false;
}

static enum err slot_value(struct draft *draft, struct bytes word, struct bytes *rest)
{
	struct key *key = &draft->key;
	struct bytes uri, parent;
	struct key_slot *slot;
	unsigned long number;

	if (key->slot_count == KEY_SLOTS_MAX)
		return text_problem(&draft->place, "there are more than %u slots", KEY_SLOTS_MAX);
	if (!text_number(word, KEY_SLOT_NUMBER_MAX, &number) || slot_number_taken(key, number))
		return text_problem(&draft->place, "'%.*s' is not the number of another slot, 0 to %u",
		                    TEXT_SHOW(word), KEY_SLOT_NUMBER_MAX);
	if (!text_next_word(rest, &uri) || !text_next_word(rest, &parent))
		return text_problem(&draft->place, "a slot is a number, a token and its parent's name");
	slot = calloc(1, sizeof(*slot));
	if (!slot)
		return ERR_NOMEM;
	key->slots[key->slot_count++] = slot;
	slot->number = (unsigned)number;
	if (!memchr(uri.data, ':', uri.len) || !text_copy(uri, slot->token_uri, sizeof(slot->token_uri)))
		return text_problem(&draft->place, "'%.*s' is not a token", TEXT_SHOW(uri));
	return slot_parent(draft, parent, &slot->blob);
}

enum word {
	WORD_VERSION,
	WORD_ID,
	WORD_NAME,
	WORD_KIND,
	WORD_CLASS,
	WORD_CREATED,
	WORD_PUBLIC,
	WORD_RECIPIENT,
	WORD_SLOT,
	WORD_COUNT,
};

static const struct {
	const char *name;
	enum err (*value)(struct draft *draft, struct bytes word, struct bytes *rest);
} words[WORD_COUNT] = {
	[WORD_VERSION] = { "version:", version_value }, [WORD_ID] = { "id:", id_value },
	[WORD_NAME] = { "name:", name_value },          [WORD_KIND] = { "kind:", kind_value },
	[WORD_CLASS] = { "class:", class_value },       [WORD_CREATED] = { "created:", created_value },
	[WORD_PUBLIC] = { "public:", public_value },    [WORD_RECIPIENT] = { "recipient:", recipient_value },
	[WORD_SLOT] = { "slot:", slot_value },
};

static enum err parse_word(struct draft *draft, struct bytes name, struct bytes rest, bool said[WORD_COUNT])
{
	struct bytes value, more;
	size_t i = 0;
	enum err err;

	while (i < WORD_COUNT && !text_equals(name, words[i].name))
		i++;
	if (i == WORD_COUNT)
		return text_problem(&draft->place, "'%.*s' is not known here", TEXT_SHOW(name));
	if (said[i] && i != WORD_SLOT)
		return text_problem(&draft->place, "'%s' stands twice", words[i].name);
	said[i] = true;
	if (!text_next_word(&rest, &value))
		return text_problem(&draft->place, "'%s' needs a value", words[i].name);
	err = words[i].value(draft, value, &rest);
	if (!err && text_next_word(&rest, &more))
		return text_problem(&draft->place, "'%.*s' stands after the value", TEXT_SHOW(more));
	return err;
}

static enum err parse_line(struct draft *draft, struct bytes line, bool said[WORD_COUNT])
{
	struct bytes name;
	enum err err = text_check_plain(&draft->place, line);

	if (err || !text_next_word(&line, &name))
		return err;
	return parse_word(draft, name, line, said);
}

/* Is everything there, and does it agree? */
static enum err check_whole(struct draft *draft, const bool said[WORD_COUNT])
{
	struct key *key = &draft->key;
	bool has_public;
	enum err err;

	draft->place.line = 0;
	for (size_t i = 0; i < WORD_COUNT; i++)
		if (!said[i] && i != WORD_PUBLIC && i != WORD_RECIPIENT)
			return text_problem(&draft->place, "the line '%s' is missing", words[i].name);
	has_public = key->kind != KEY_KIND_SYMMETRIC;
	if (said[WORD_PUBLIC] != has_public || said[WORD_RECIPIENT] != has_public ||
	    draft->public_len != public_len(key->kind))
		return text_problem(&draft->place, "its public key is not one of kind %s",
		                    key_kind_name(key->kind));
	err = key_derive(key);
	if (err == ERR_NOMEM)
		return err;
	if (err)
		return text_problem(&draft->place, "its public key is not one of kind %s",
		                    key_kind_name(key->kind));
	if (strcmp(key->recipient, draft->recipient) != 0)
		return text_problem(&draft->place, "its recipient is not that of its public key");
	return OK;
}

enum err key_metadata_read(struct bytes text, const char *file, struct buf *problem, struct key *ret_key)
{
	struct draft draft = { .place = { file, 0, problem } };
	bool said[WORD_COUNT] = { false };
	struct bytes line;
	enum err err = OK;

	if (text.len > KEY_METADATA_MAX)
		return text_problem(&draft.place, "it is longer than %u bytes", KEY_METADATA_MAX);
	while (!err && text_next_line(&text, &line)) {
		draft.place.line++;
		err = parse_line(&draft, line, said);
	}
	if (!err)
		err = check_whole(&draft, said);
	if (err)
		key_done(&draft.key);
	else
		*ret_key = draft.key;
	return err;
}

enum err key_metadata_parse(struct bytes text, struct key *ret_key)
{
	return key_metadata_read(text, "", NULL, ret_key);
}
