#include "common/helper_operations.h"

#include <sodium.h>

#include "formats/filekey.h"

/* The base point of P-256. ECDH of a private key with it is the public key, which is no secret: so a PIN is proven with it. */
static const uint8_t p256_base_point[P256_POINT_LEN] = {
	0x04, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
	0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f,
	0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce,
	0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
};

/* ---- what came sealed to this helper ---- */

static enum err box_open(struct helper *helper, struct bytes box, size_t shortest, size_t longest,
                         struct secret **ret_secret)
{
	CLEANUP(secret_freep) struct secret *secret = NULL;
	enum err err;

	if (box.len < crypto_box_SEALBYTES)
		return ERR_BAD_MESSAGE;
	if (box.len - crypto_box_SEALBYTES < shortest || box.len - crypto_box_SEALBYTES > longest)
		return ERR_USAGE;
	err = secret_new(box.len - crypto_box_SEALBYTES, &secret);
	if (err)
		return err;
	if (crypto_box_seal_open(secret_fill(secret), box.data, box.len, helper->box_public,
	                         secret_reveal(helper->box_secret).data) != 0)
		return ERR_BAD_MESSAGE;
	*ret_secret = TAKE(secret);
	return OK;
}

/* NULL when the field is not there. */
static enum err field_open(struct helper *helper, const struct token_message *question,
                           enum token_field field, struct secret **ret_secret)
{
	struct bytes box;

	*ret_secret = NULL;
	if (!token_message_find(question, field, &box))
		return OK;
	if (field == TOKEN_FIELD_SEALED_PIN)
		return box_open(helper, box, PIN_MIN, PIN_MAX, ret_secret);
	return box_open(helper, box, SEALED_LEN, SEALED_LEN, ret_secret);
}

static struct helper_key *question_key(struct helper *helper, const struct token_message *question,
                                       enum err *ret_err)
{
	struct key_id id;
	struct helper_key *key = NULL;

	*ret_err = token_message_key_id(question, &id);
	if (*ret_err)
		return NULL;
	key = helper_keys_find(helper->keys, &id);
	if (!key)
		*ret_err = ERR_NO_KEY;
	return key;
}

/* ---- a key on the device ---- */

static enum err key_load(struct helper *helper, struct helper_key *key)
{
	struct token_blob blob;
	const struct token_load load = { &key->id, key->kind, &blob, key->class != KEY_CLASS_BOOT };
	enum err err;

	if (key->device)
		return OK;
	err = token_message_blob(&key->load, &blob);
	return err ? err : helper->ops->load(helper->token, &load, &key->device);
}

struct key_action {
	struct helper_key *key;
	const struct secret *pin; /* borrowed; one that is to be proven */
	const uint8_t *point; /* p256 */
	struct secret **ret_secret;
};

/* Once unsealed there is no more use for the object, and slots are few. */
static enum err unseal_action(struct helper *helper, void *context)
{
	const struct key_action *action = context;
	enum err err = key_load(helper, action->key);

	if (!err)
		err = helper->ops->unseal(helper->token, action->key->device, action->pin,
		                          action->ret_secret);
	helper_device_unload(helper, action->key);
	return err;
}

/* With the PIN that is to be proven, or with the one that the key was opened with: that may just have been taken away, by a reset. */
static enum err ecdh_action(struct helper *helper, void *context)
{
	const struct key_action *action = context;
	const struct secret *pin = action->pin ? action->pin : action->key->pin;
	enum err err;

	if (action->key->class != KEY_CLASS_BOOT && !pin)
		return ERR_PIN_NEEDED;
	err = key_load(helper, action->key);
	if (err)
		return err;
	return helper->ops->ecdh(helper->token, action->key->device, pin, action->point, action->ret_secret);
}

/* Not part of the actions above: only a PIN that may be wrong is worth a command to ask for the device's tries. */
static enum err prove_action(struct helper *helper, void *context)
{
	const struct key_action *action = context;
	enum err err = helper->ops->may_try_pin(helper->token);

	if (err)
		return err;
	return action->key->kind == KEY_KIND_P256 ? ecdh_action(helper, context)
	                                          : unseal_action(helper, context);
}

static enum err status_action(struct helper *helper, void *context)
{
	return helper->ops->status(helper->token, context);
}

/* Keeps what was unsealed; an X25519 key's public half is made once, here. */
static void key_keep(struct helper_key *key, struct secret *unsealed)
{
	helper_key_lock(key);
	key->unsealed = unsealed;
	if (key->kind == KEY_KIND_X25519)
		x25519_public(unsealed, key->public_key);
}

static enum err key_unseal(struct helper *helper, struct helper_key *key)
{
	CLEANUP(secret_freep) struct secret *unsealed = NULL;
	struct key_action action = { key, NULL, NULL, &unsealed };
	enum err err = OK;

	if (key->unsealed)
		return OK;
	if (key->class != KEY_CLASS_BOOT)
		return ERR_PIN_NEEDED;
	err = helper_device_do(helper, unseal_action, &action);
	if (!err)
		key_keep(key, TAKE(unsealed));
	return err;
}

/* ---- CREATE ---- */

struct create_action {
	struct token_create create;
	struct token_parent trusted[TOKEN_TRUSTED_MAX];
	struct token_blob blob;
	uint8_t point[P256_POINT_LEN];
};

static enum err create_on_device(struct helper *helper, void *context)
{
	struct create_action *action = context;

	return helper->ops->create(helper->token, &action->create, &action->blob, action->point);
}

/* What was asked for, before the device is: a class with a PIN has one, a class without has none; only sealed kinds can be imported. */
static enum err create_check(enum key_kind kind, enum key_class class, const struct secret *pin,
                             const struct secret *import)
{
	if (class != KEY_CLASS_BOOT && !pin)
		return ERR_PIN_NEEDED;
	if (class == KEY_CLASS_BOOT && pin)
		return ERR_USAGE;
	return kind == KEY_KIND_P256 && import ? ERR_USAGE : OK;
}

/* As many as the message may have, and of no more than their greatest length: it was parsed. */
static void trusted_read(const struct token_message *question, struct create_action *action)
{
	size_t cursor = 0, count = 0;
	struct bytes name;

	while (token_message_next(question, TOKEN_FIELD_TRUSTED_PARENT, &cursor, &name)) {
		memcpy(action->trusted[count].name, name.data, name.len);
		action->trusted[count++].len = name.len;
	}
	action->create.trusted = action->trusted;
	action->create.trusted_count = count;
}

static enum err random_key(struct secret **ret_key)
{
	enum err err = secret_new(SEALED_LEN, ret_key);

	if (!err)
		randombytes_buf(secret_fill(*ret_key), SEALED_LEN);
	return err;
}

static enum err create_answer(const struct create_action *action, struct buf *answer)
{
	uint8_t public_key[X25519_LEN];
	enum err err = OK;

	if (action->create.kind == KEY_KIND_P256) {
		err = token_message_put(answer, TOKEN_FIELD_PUBLIC, bytes_of(action->point, P256_POINT_LEN));
	} else if (action->create.kind == KEY_KIND_X25519) {
		x25519_public(action->create.sealed, public_key);
		err = token_message_put(answer, TOKEN_FIELD_PUBLIC, bytes_of(public_key, X25519_LEN));
	}
	return err ? err : token_message_put_blob(answer, &action->blob);
}

static enum err operate_create(struct helper *helper, const struct token_message *question,
                               struct buf *answer)
{
	CLEANUP(secret_freep) struct secret *pin = NULL;
	CLEANUP(secret_freep) struct secret *sealed = NULL;
	struct create_action action = { 0 };
	struct key_id id;
	enum key_class class;
	enum err err = token_message_key_id(question, &id);

	if (!err)
		err = token_message_kind(question, &action.create.kind);
	if (!err)
		err = token_message_class(question, &class);
	if (!err)
		err = field_open(helper, question, TOKEN_FIELD_SEALED_PIN, &pin);
	if (!err)
		err = field_open(helper, question, TOKEN_FIELD_SEALED_KEY, &sealed);
	if (!err)
		err = create_check(action.create.kind, class, pin, sealed);
	if (!err && !sealed && action.create.kind != KEY_KIND_P256)
		err = random_key(&sealed);
	action.create.id = &id;
	action.create.pin = pin;
	action.create.sealed = sealed;
	trusted_read(question, &action);
	if (!err)
		err = helper_device_do(helper, create_on_device, &action);
	return err ? err : create_answer(&action, answer);
}

/* ---- LOAD, UNLOAD, UNLOCK, LOCK ---- */

static enum err operate_load(struct helper *helper, const struct token_message *question)
{
	struct helper_key *key = NULL;
	enum err err = helper_keys_add(helper->keys, question, &key);

	if (err != ERR_EXISTS)
		return err;
	if (bytes_equal(key->load.fields, question->fields))
		return OK;
	helper_device_unload(helper, key);
	helper_keys_remove(helper->keys, key);
	return helper_keys_add(helper->keys, question, &key);
}

static enum err operate_unload(struct helper *helper, const struct token_message *question)
{
	enum err err;
	struct helper_key *key = question_key(helper, question, &err);

	if (!key)
		return err;
	helper_device_unload(helper, key);
	helper_keys_remove(helper->keys, key);
	return OK;
}

/* A wrong PIN is worth some commands more, for whoever typed it has to know what is left. A device that does not say leaves the answer as it is. */
static enum err wrong_pin(struct helper *helper, struct buf *answer)
{
	struct token_status status = { .pin_tries_left = -1 };
	enum err err = OK;

	if (helper_device_do(helper, status_action, &status) == OK && status.pin_tries_left >= 0)
		err = token_message_put_u32(answer, TOKEN_FIELD_PIN_TRIES_LEFT,
		                            (uint32_t)status.pin_tries_left);
	return err ? err : ERR_PIN_WRONG;
}

static enum err operate_unlock(struct helper *helper, const struct token_message *question,
                               struct buf *answer)
{
	CLEANUP(secret_freep) struct secret *pin = NULL;
	CLEANUP(secret_freep) struct secret *result = NULL;
	struct key_action action = { NULL, NULL, p256_base_point, &result };
	enum err err;

	action.key = question_key(helper, question, &err);
	if (!action.key)
		return err;
	if (action.key->class == KEY_CLASS_BOOT)
		return ERR_USAGE;
	err = field_open(helper, question, TOKEN_FIELD_SEALED_PIN, &pin);
	if (!err && !pin)
		err = ERR_PIN_NEEDED;
	action.pin = pin;
	if (!err)
		err = helper_device_do(helper, prove_action, &action);
	if (err)
		return err == ERR_PIN_WRONG ? wrong_pin(helper, answer) : err;
	if (action.key->kind == KEY_KIND_P256) {
		helper_key_lock(action.key);
		action.key->pin = TAKE(pin);
	} else {
		key_keep(action.key, TAKE(result));
	}
	return OK;
}

static void lock_visit(struct helper_key *key, void *context)
{
	(void)context;
	helper_key_lock(key);
}

static enum err operate_lock(struct helper *helper, const struct token_message *question)
{
	struct bytes id;
	enum err err = OK;

	if (token_message_find(question, TOKEN_FIELD_KEY_ID, &id)) {
		struct helper_key *key = question_key(helper, question, &err);

		if (key)
			helper_key_lock(key);
		return err;
	}
	helper_keys_each(helper->keys, lock_visit, NULL);
	return OK;
}

/* ---- STATUS ---- */

static enum err operate_status(struct helper *helper, struct buf *answer)
{
	struct token_status status = { .pin_tries_left = -1 };
	enum err err = helper_device_do(helper, status_action, &status);

	if (err && err != ERR_NO_TOKEN)
		return err;
	if (err)
		status = (struct token_status){ .pin_tries_left = -1 };
	return token_message_put_status(answer, &status);
}

/* ---- UNWRAP ---- */

struct stanza {
	enum key_kind kind;
	const uint8_t *share;
	const uint8_t *body;
};

static enum err unwrap_p256(struct helper *helper, struct helper_key *key, const struct stanza *stanza,
                            struct secret **ret_file_key)
{
	CLEANUP(secret_freep) struct secret *x = NULL;
	struct key_action action = { key, NULL, stanza->share, &x };
	enum err err = ERR_PIN_NEEDED;

	if (helper_key_usable(key))
		err = helper_device_do(helper, ecdh_action, &action);
	return err ? err : p256tag_unwrap(x, stanza->share, key->public_key, stanza->body, ret_file_key);
}

static enum err unwrap_x25519(struct helper *helper, struct helper_key *key, const struct stanza *stanza,
                              struct secret **ret_file_key)
{
	enum err err = key_unseal(helper, key);

	if (err)
		return err;
	err = x25519_unwrap(key->unsealed, key->public_key, stanza->share, stanza->body, ret_file_key);
	return err == ERR_BAD_FILE ? ERR_BAD_CIPHERTEXT : err;
}

/* What a symmetric key opens is not an age stanza: it has no unwrap in this message yet. */
static enum err unwrap(struct helper *helper, struct helper_key *key, const struct stanza *stanza,
                       struct secret **ret_file_key)
{
	if (key->kind != stanza->kind)
		return ERR_NO_MATCH;
	switch (key->kind) {
	case KEY_KIND_P256:
		return unwrap_p256(helper, key, stanza, ret_file_key);
	case KEY_KIND_X25519:
		return unwrap_x25519(helper, key, stanza, ret_file_key);
	case KEY_KIND_SYMMETRIC:
		break;
	}
	return ERR_UNSUPPORTED;
}

/* The order in which token_message.h promises to tell what stood in the way. */
static unsigned weight(enum err err)
{
	if (err == ERR_NO_KEY)
		return 5;
	if (err == ERR_PIN_NEEDED)
		return 3;
	if (err == ERR_BAD_CIPHERTEXT)
		return 2;
	if (err == ERR_NO_MATCH)
		return 1;
	return 4;
}

static bool stanza_read(struct bytes value, struct stanza *ret_stanza)
{
	if (value.data[0] < KEY_KIND_P256 || value.data[0] > KEY_KIND_SYMMETRIC)
		return false;
	ret_stanza->kind = (enum key_kind)value.data[0];
	ret_stanza->share = value.data + 1;
	ret_stanza->body = value.data + 1 + P256_POINT_LEN;
	return true;
}

static enum err stanzas_read(const struct token_message *question,
                             struct stanza stanzas[static TOKEN_STANZAS_MAX], size_t *ret_count)
{
	size_t cursor = 0, count = 0;
	struct bytes value;

	while (token_message_next(question, TOKEN_FIELD_STANZA, &cursor, &value))
		if (!stanza_read(value, &stanzas[count++]))
			return ERR_BAD_MESSAGE;
	*ret_count = count;
	return count ? OK : ERR_BAD_MESSAGE;
}

struct attempt {
	struct key_id id;
	uint16_t index; /* of the stanza */
};

static struct attempt attempt_read(struct bytes value)
{
	struct reader reader = reader_of(value);
	struct attempt attempt;

	reader_copy(&reader, attempt.id.bytes, KEY_ID_LEN);
	attempt.index = reader_u16(&reader);
	return attempt;
}

static enum err unwrap_attempt(struct helper *helper, const struct attempt *attempt,
                               const struct stanza *stanza, struct secret **ret_file_key)
{
	struct helper_key *key = helper_keys_find(helper->keys, &attempt->id);
	enum err err;

	if (!key)
		return ERR_NO_KEY;
	err = unwrap(helper, key, stanza, ret_file_key);
	/* Opened for one unwrap, and this was it; one that was not for this key spends nothing. */
	if (!err && key->class == KEY_CLASS_ADMIN)
		helper_key_lock(key);
	return err;
}

static enum err unwrap_answer(const struct attempt *attempt, const struct secret *file_key,
                              struct buf *answer)
{
	enum err err = token_message_put(answer, TOKEN_FIELD_FILE_KEY, secret_reveal(file_key));

	if (!err)
		err = token_message_put(answer, TOKEN_FIELD_KEY_ID, bytes_of(attempt->id.bytes, KEY_ID_LEN));
	if (!err)
		err = token_message_put_u16(answer, TOKEN_FIELD_INDEX, attempt->index);
	return err;
}

/* A refusal names the key it is about, if it is about one. */
static enum err unwrap_refuse(const struct attempt *attempt, enum err refusal, struct buf *answer)
{
	enum err err = OK;

	if (weight(refusal) >= weight(ERR_PIN_NEEDED))
		err = token_message_put(answer, TOKEN_FIELD_KEY_ID, bytes_of(attempt->id.bytes, KEY_ID_LEN));
	return err ? err : refusal;
}

static enum err operate_unwrap(struct helper *helper, const struct token_message *question,
                               struct buf *answer)
{
	struct stanza stanzas[TOKEN_STANZAS_MAX];
	struct attempt heaviest = { 0 };
	enum err refusal = ERR_NO_MATCH;
	size_t count = 0, cursor = 0;
	struct bytes value;
	enum err err = stanzas_read(question, stanzas, &count);

	if (err)
		return err;
	while (token_message_next(question, TOKEN_FIELD_TRY, &cursor, &value)) {
		CLEANUP(secret_freep) struct secret *file_key = NULL;
		struct attempt attempt = attempt_read(value);

		if (attempt.index >= count)
			return ERR_BAD_MESSAGE;
		err = unwrap_attempt(helper, &attempt, &stanzas[attempt.index], &file_key);
		if (!err)
			return unwrap_answer(&attempt, file_key, answer);
		if (weight(err) > weight(refusal)) {
			refusal = err;
			heaviest = attempt;
		}
	}
	return unwrap_refuse(&heaviest, refusal, answer);
}

/* ---- what needs no device ---- */

/* One that is opened for one unwrap is closed by it. */
static bool key_is_ready(const struct helper *helper, struct bytes attempt)
{
	const struct attempt read = attempt_read(attempt);
	const struct helper_key *key = helper_keys_find(helper->keys, &read.id);

	return key && key->kind == KEY_KIND_X25519 && key->class != KEY_CLASS_ADMIN && key->unsealed;
}

static bool unwrap_is_ready(const struct helper *helper, const struct token_message *question)
{
	size_t cursor = 0;
	struct bytes attempt;

	while (token_message_next(question, TOKEN_FIELD_TRY, &cursor, &attempt))
		if (!key_is_ready(helper, attempt))
			return false;
	return true;
}

static bool load_is_new(const struct helper *helper, const struct token_message *question)
{
	struct key_id id;

	return token_message_key_id(question, &id) == OK && !helper_keys_find(helper->keys, &id);
}

bool helper_only_reads(const struct helper *helper, const struct token_message *question)
{
	return !helper->reset_doubted && question->op == TOKEN_OP_UNWRAP && unwrap_is_ready(helper, question);
}

bool helper_needs_no_device(const struct helper *helper, const struct token_message *question)
{
	if (question->op == TOKEN_OP_LOAD)
		return !helper->reset_doubted && load_is_new(helper, question);
	return helper_only_reads(helper, question);
}

/* ---- HELLO, and the list ---- */

static enum err operate_hello(const struct helper *helper, struct buf *answer)
{
	return token_message_put(answer, TOKEN_FIELD_BOX_KEY,
	                         bytes_of(helper->box_public, TOKEN_BOX_KEY_LEN));
}

static enum err operate(struct helper *helper, const struct token_message *question, struct buf *answer)
{
	switch (question->op) {
	case TOKEN_OP_HELLO:
		return operate_hello(helper, answer);
	case TOKEN_OP_STATUS:
		return operate_status(helper, answer);
	case TOKEN_OP_CREATE:
		return operate_create(helper, question, answer);
	case TOKEN_OP_LOAD:
		return operate_load(helper, question);
	case TOKEN_OP_UNLOAD:
		return operate_unload(helper, question);
	case TOKEN_OP_UNLOCK:
		return operate_unlock(helper, question, answer);
	case TOKEN_OP_LOCK:
		return operate_lock(helper, question);
	case TOKEN_OP_UNWRAP:
		return operate_unwrap(helper, question, answer);
	}
	return ERR_BAD_MESSAGE;
}

enum err helper_operate(struct helper *helper, const struct token_message *question, struct buf *answer)
{
	enum err refusal;
	enum err err = token_message_begin(answer, question->op, OK, question->id);

	if (err)
		return err;
	refusal = operate(helper, question, answer);
	if (refusal)
		err = token_message_set_err(answer, refusal);
	return err ? err : token_message_end(answer);
}
