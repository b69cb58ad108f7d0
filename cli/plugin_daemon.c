#include "cli/plugin_daemon.h"

#include <stdio.h>

#include "common/encoding.h"

#define FIELD_TEXT_MAX 128U /* base64 of a share, a tag or a body */

void plugin_daemon_done(struct plugin_daemon *daemon)
{
	daemon_done(&daemon->daemon);
}

/* After these the connection carries no more calls, or another would wait as long as this one did. */
static bool ends_connection(enum err err)
{
	return err == ERR_NO_DAEMON || err == ERR_TIMEOUT || err == ERR_SYSTEM || err == ERR_BAD_MESSAGE;
}

static enum err call(struct plugin_daemon *self, const char *method, json_t *parameters,
                     struct problem *problem, json_t **ret_reply)
{
	enum err err;

	*ret_reply = NULL;
	if (self->gone) {
		json_decref(parameters);
		return self->gone;
	}
	err = daemon_call(&self->daemon, method, parameters, DAEMON_TOKEN_DEADLINE_MS, problem, ret_reply);
	if (ends_connection(err))
		self->gone = err;
	return err;
}

/* ---- what is asked ---- */

/* NULL when there is no memory, as jansson's own constructors do. */
static json_t *base64_json(struct bytes bytes)
{
	CLEANUP(buf_freep) struct buf *text = NULL;

	if (buf_new(FIELD_TEXT_MAX, &text) || base64_put(text, bytes, BASE64_UNPADDED))
		return NULL;
	return json_string(buf_string(text));
}

static json_t *stanza_json(const struct token_stanza *stanza)
{
	struct bytes tag = bytes_of(stanza->tag, TAG_LEN);
	struct bytes body = bytes_of(stanza->body, WRAPPED_LEN);

	if (stanza->kind == KEY_KIND_P256)
		return json_pack("{s:s, s:[o, o], s:o}", "type", "p256tag", "arguments", base64_json(tag),
		                 base64_json(bytes_of(stanza->share, P256_POINT_LEN)), "body",
		                 base64_json(body));
	return json_pack("{s:s, s:[o], s:o}", "type", "X25519", "arguments",
	                 base64_json(bytes_of(stanza->share, X25519_LEN)), "body", base64_json(body));
}

static json_t *stanzas_json(const struct token_stanza *stanzas, size_t count)
{
	json_t *list = json_array();

	for (size_t i = 0; i < count; i++)
		if (json_array_append_new(list, stanza_json(&stanzas[i]))) {
			json_decref(list);
			return NULL;
		}
	return list;
}

/* ---- what is answered ---- */

static void copy_member(const json_t *object, const char *name, char *out, size_t len)
{
	const char *text = json_string_member(object, name);

	(void)snprintf(out, len, "%s", text ? text : "");
}

static void read_lock(const json_t *reply, struct plugin_lock *lock)
{
	copy_member(reply, "key", lock->key, sizeof(lock->key));
	copy_member(reply, "name", lock->name, sizeof(lock->name));
	copy_member(reply, "token", lock->token, sizeof(lock->token));
	copy_member(reply, "boxKey", lock->box_key, sizeof(lock->box_key));
}

static enum err read_file_key(const json_t *reply, struct secret **ret_file_key)
{
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	const char *text = json_string_member(reply, "fileKey");
	size_t len;
	enum err err;

	if (!text)
		return ERR_BAD_MESSAGE;
	err = secret_new(FILE_KEY_LEN, &file_key);
	if (err)
		return err;
	err = base64_decode(bytes_of_string(text), BASE64_PADDED, secret_fill(file_key), FILE_KEY_LEN, &len);
	if (err || len != FILE_KEY_LEN)
		return ERR_BAD_MESSAGE;
	*ret_file_key = TAKE(file_key);
	return OK;
}

/* Nobody is asked for a PIN that will not be tried. */
static enum err refuse_in_vain(struct plugin_daemon *self, const struct plugin_lock *lock,
                               struct problem *problem)
{
	struct problem why = { 0 };
	enum err err = daemon_pin_check(&self->daemon, lock->box_key, &why);

	if (!err)
		return ERR_PIN_NEEDED;
	*problem = why;
	return err;
}

static enum err unwrap(void *context, const struct key_id *key, const struct token_stanza *stanzas,
                       size_t stanza_count, struct secret **ret_file_key, struct plugin_problem *ret_problem)
{
	CLEANUP(json_decrefp) json_t *reply = NULL;
	char id[2 * KEY_ID_LEN + 1];
	json_t *parameters;
	enum err err;

	if (key)
		hex_encode(bytes_of(key->bytes, KEY_ID_LEN), id);
	parameters = json_pack("{s:s*, s:o}", "key", key ? id : NULL, "stanzas",
	                       stanzas_json(stanzas, stanza_count));
	if (!parameters)
		return ERR_NOMEM;
	err = call(context, "Unwrap", parameters, &ret_problem->text, &reply);
	if (err == ERR_PIN_NEEDED) {
		read_lock(reply, &ret_problem->lock);
		err = refuse_in_vain(context, &ret_problem->lock, &ret_problem->text);
	}
	if (err)
		return err;
	return read_file_key(reply, ret_file_key);
}

static enum err unlock(void *context, const struct plugin_lock *lock, const struct secret *pin,
                       struct plugin_problem *ret_problem)
{
	struct plugin_daemon *self = context;
	CLEANUP(json_decrefp) json_t *reply = NULL;
	enum err err;

	err = daemon_unlock(&self->daemon, lock->key, lock->box_key, pin, 0, &ret_problem->text, &reply);
	ret_problem->tries_left = (int)json_integer_member(reply, "triesLeft", -1);
	if (ends_connection(err))
		self->gone = err;
	return err;
}

/* ---- which keys there are ---- */

static bool wants_pin(const json_t *key)
{
	return json_boolean_member(key, "usable") && json_integer_member(key, "unlocked", -1) == 0;
}

static enum err all_keys(struct plugin_daemon *self, struct problem *problem, json_t **ret_keys)
{
	enum err err = self->gone;

	if (!err)
		err = daemon_keys(&self->daemon, NULL, DAEMON_TOKEN_DEADLINE_MS, problem, ret_keys);
	if (ends_connection(err))
		self->gone = err;
	return err;
}

static enum err locked_keys(void *context, struct key_id *keys, size_t keys_max, size_t *ret_count)
{
	CLEANUP(json_decrefp) json_t *list = NULL;
	struct problem problem = { 0 };
	size_t count = 0;
	size_t i;
	json_t *key;
	enum err err;

	err = all_keys(context, &problem, &list);
	if (err)
		return err;
	json_array_foreach(list, i, key)
	{
		const char *id = json_string_member(key, "id");

		if (id && wants_pin(key) && count < keys_max &&
		    hex_decode(bytes_of_string(id), keys[count].bytes, KEY_ID_LEN) == OK)
			count++;
	}
	*ret_count = count;
	return OK;
}

static enum err only_recipient(void *context, struct recipient *ret_recipient,
                               struct plugin_problem *ret_problem)
{
	CLEANUP(json_decrefp) json_t *list = NULL;
	struct problem *problem = &ret_problem->text;
	const char *line = NULL;
	struct bytes what;
	size_t i;
	json_t *key;
	enum err err;

	err = all_keys(context, problem, &list);
	if (err)
		return err;
	json_array_foreach(list, i, key)
	{
		const char *recipient = json_string_member(key, "recipient");

		if (recipient && line) {
			(void)problem_set(problem, ERR_USAGE,
			                  "this identity names no key, and there are several");
			problem_hint(problem, "name one with -r and what tokenctl recipient prints");
			return ERR_USAGE;
		}
		line = recipient ? recipient : line;
	}
	if (!line) {
		(void)problem_set(problem, ERR_NO_KEY, "this identity names no key, and there is none");
		problem_hint(problem, "type tokenctl enroll to make one");
		return ERR_NO_KEY;
	}
	return recipient_parse(bytes_of_string(line), ret_recipient, &what);
}

const struct plugin_ops plugin_daemon_ops = {
	.unwrap = unwrap,
	.unlock = unlock,
	.locked_keys = locked_keys,
	.only_recipient = only_recipient,
};
