/*
 * identity-v1: the client names identities and hands over the stanzas of its files; the plugin gives back file keys.
 *
 * Only stanzas that an identity can open are put to the daemon: a p256 identity knows its public key, so the tags say which are its own, and a file
 * that is not for this machine costs no call, no prompt and no audit record.
 */
#include "cli/plugin_protocol.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

struct file_stanza {
	size_t file;
	size_t index; /* in the file */
	bool malformed;
	struct token_stanza stanza; /* unless malformed */
};

struct known_identity {
	struct identity identity;
	bool bad; /* not one of ours; identity is empty then */
};

struct conversation {
	struct plugin_wire *wire; /* borrowed */
	const struct plugin_ops *ops;
	void *context;
	struct known_identity *identities;
	size_t identity_count;
	struct file_stanza *stanzas; /* of our types, in the order of the files */
	size_t stanza_count;
	size_t stanza_room;
	size_t file_count;
	size_t stanzas_seen; /* of the last file, of all types */
	struct plugin_told told;
	char declined[PLUGIN_PROMPTS_MAX][2 * KEY_ID_LEN + 1]; /* keys for which nobody gave a PIN */
	size_t declined_count;
	size_t prompts;
	bool left_locked; /* a key that might have opened the file, because nobody gave its PIN */
	struct problem lock; /* then: which */
};

static void conversation_done(struct conversation *talk)
{
	for (size_t i = 0; i < talk->identity_count; i++)
		identity_done(&talk->identities[i].identity);
	free(talk->identities);
	free(talk->stanzas);
}

/* ---- phase 1: what the client wants ---- */

static enum err add_identity(struct conversation *talk, const struct plugin_stanza *stanza)
{
	struct known_identity *known = &talk->identities[talk->identity_count];
	struct bytes what;
	enum err err;

	if (stanza->argument_count != 2 || stanza->body.len != 0)
		return ERR_BAD_MESSAGE;
	if (talk->identity_count == PLUGIN_IDENTITIES_MAX)
		return ERR_BUSY;
	err = identity_parse(stanza->arguments[1], &known->identity, &what);
	if (err == ERR_NOMEM || err == ERR_MEMORY_LOCKED)
		return err;
	if (err)
		known->identity = (struct identity){ 0 };
	known->bad = err || known->identity.kind != IDENTITY_TOKEND;
	talk->identity_count++;
	return OK;
}

/* The file of a stanza: the one before, or the next. */
static enum err count_file(struct conversation *talk, struct bytes text)
{
	size_t file;
	enum err err;

	err = plugin_index_parse(text, &file);
	if (err)
		return err;
	if (file == talk->file_count) {
		if (talk->file_count == PLUGIN_FILES_MAX)
			return ERR_BUSY;
		talk->file_count++;
		talk->stanzas_seen = 0;
	} else if (file + 1 != talk->file_count) {
		return ERR_BAD_MESSAGE;
	}
	return OK;
}

static enum err make_room(struct conversation *talk)
{
	size_t room = talk->stanza_room ? 2 * talk->stanza_room : 16;
	struct file_stanza *grown;

	if (talk->stanza_count < talk->stanza_room)
		return OK;
	if (talk->stanza_count == PLUGIN_FILE_STANZAS_MAX)
		return ERR_BUSY;
	/* Nothing secret in it: stanzas are what stands in the file. */
	grown = reallocarray(talk->stanzas, room, sizeof(*grown));
	if (!grown)
		return ERR_NOMEM;
	talk->stanzas = grown;
	talk->stanza_room = room;
	return OK;
}

static enum err add_stanza(struct conversation *talk, const struct plugin_stanza *stanza)
{
	struct file_stanza entry = { 0 };
	struct age_stanza inner;
	enum err err;

	if (stanza->argument_count < 3)
		return ERR_BAD_MESSAGE;
	err = count_file(talk, stanza->arguments[1]);
	if (!err)
		err = make_room(talk);
	if (err)
		return err;
	inner = (struct age_stanza){ stanza->argument_count - 2, stanza->arguments + 2, stanza->body };
	entry.file = talk->file_count - 1;
	entry.index = talk->stanzas_seen++;
	err = token_stanza_read(&inner, &entry.stanza);
	entry.malformed = err == ERR_BAD_FILE;
	if (!err || entry.malformed)
		talk->stanzas[talk->stanza_count++] = entry;
	return err == ERR_BAD_FILE || err == ERR_NO_MATCH ? OK : err;
}

static enum err take_command(void *context, const struct plugin_stanza *stanza)
{
	if (plugin_stanza_is(stanza, "add-identity"))
		return add_identity(context, stanza);
	if (plugin_stanza_is(stanza, "recipient-stanza"))
		return add_stanza(context, stanza);
	return OK;
}

/* ---- phase 2: PINs ---- */

static bool was_declined(const struct conversation *talk, const struct plugin_lock *lock)
{
	for (size_t i = 0; i < talk->declined_count; i++)
		if (strcmp(talk->declined[i], lock->key) == 0)
			return true;
	return talk->prompts >= PLUGIN_PROMPTS_MAX;
}

static void decline(struct conversation *talk, const struct plugin_lock *lock)
{
	/* There is one place for each prompt. */
	(void)snprintf(talk->declined[talk->declined_count++], sizeof(talk->declined[0]), "%s", lock->key);
}

/* *ret_pin stays NULL when nobody answers: cancelled, or no terminal. */
static enum err ask_pin(struct conversation *talk, const struct plugin_lock *lock, const char *remark,
                        struct secret **ret_pin)
{
	static const char *const words[] = { "request-secret", NULL };
	const struct plugin_stanza *reply;
	char prompt[KEY_NAME_MAX + sizeof(lock->token) + 128];
	enum err err;

	talk->prompts++;
	(void)snprintf(prompt, sizeof(prompt), "%sPIN of the key %s%s%s", remark, lock->name,
	               lock->token[0] ? " on " : "", lock->token);
	err = plugin_wire_ask(talk->wire, words, bytes_of_string(prompt), &reply);
	if (err)
		return err;
	if (!plugin_stanza_is(reply, "ok") || reply->body.len == 0)
		return OK;
	return secret_new_from(reply->body, ret_pin);
}

static bool has_length(const struct secret *pin)
{
	return secret_len(pin) >= PIN_MIN && secret_len(pin) <= PIN_MAX;
}

/* A PIN that cannot be one is not tried: the device would count it. */
static enum err give_pin(struct conversation *talk, const struct plugin_lock *lock, const struct secret *pin,
                         struct plugin_problem *problem)
{
	if (has_length(pin))
		return talk->ops->unlock(talk->context, lock, pin, problem);
	problem->tries_left = -1;
	return problem_set(&problem->text, ERR_PIN_WRONG, "a PIN has %u to %u bytes", PIN_MIN, PIN_MAX);
}

static void remark_wrong(const struct secret *pin, int tries_left, char *remark, size_t len)
{
	if (!has_length(pin))
		(void)snprintf(remark, len, "a PIN has %u to %u bytes; ", PIN_MIN, PIN_MAX);
	else if (tries_left < 0)
		(void)snprintf(remark, len, "that was not it; ");
	else
		(void)snprintf(remark, len, "that was not it, %d %s left; ", tries_left,
		               tries_left == 1 ? "try" : "tries");
}

/* Said only when nothing else opens the file: whoever did not want to type a PIN needs no reminder of it. */
static void leave_locked(struct conversation *talk, const struct plugin_problem *needed)
{
	talk->left_locked = true;
	talk->lock = needed->text;
}

/* Asks for the PIN until it is right, no try is left, or nobody answers. ret_unlocked: it is worth asking the daemon again. */
static enum err unlock(struct conversation *talk, const struct plugin_problem *needed, bool *ret_unlocked)
{
	struct plugin_problem problem = *needed;
	const struct plugin_lock *lock = &needed->lock;
	char remark[64] = "";
	enum err refused = ERR_PIN_NEEDED;

	*ret_unlocked = false;
	while (lock->box_key[0] && !was_declined(talk, lock)) {
		CLEANUP(secret_freep) struct secret *pin = NULL;
		enum err err;

		err = ask_pin(talk, lock, remark, &pin);
		if (err)
			return err;
		if (!pin) {
			decline(talk, lock);
			leave_locked(talk, needed);
			return OK;
		}
		problem = (struct plugin_problem){ .tries_left = -1 };
		refused = give_pin(talk, lock, pin, &problem);
		if (!refused) {
			*ret_unlocked = true;
			return OK;
		}
		if (refused != ERR_PIN_WRONG || problem.tries_left == 0)
			break;
		remark_wrong(pin, problem.tries_left, remark, sizeof(remark));
	}
	if (was_declined(talk, lock) && refused == ERR_PIN_NEEDED) {
		leave_locked(talk, needed);
		return OK;
	}
	return plugin_explain(talk->wire, &talk->told, refused, &problem.text);
}

/* ---- phase 2: files ---- */

/* An error that only means "this identity does not open this file". */
static bool is_silent(enum err err)
{
	return err == ERR_NO_MATCH || err == ERR_NO_KEY;
}

static bool is_for(const struct identity *identity, const struct token_stanza *stanza)
{
	uint8_t hash[TAG_LEN];
	uint8_t tag[TAG_LEN];

	if (identity->any_key)
		return true;
	if (identity->key_kind != stanza->kind)
		return false;
	if (stanza->kind != KEY_KIND_P256)
		return true;
	p256tag_recipient_hash(identity->public_key, hash);
	p256tag_tag(stanza->share, hash, tag);
	return sodium_memcmp(tag, stanza->tag, TAG_LEN) == 0;
}

/* The stanzas of one file that an identity may open, from *position on, as many as fit into a call. */
static size_t choose(const struct conversation *talk, size_t file, const struct identity *identity,
                     size_t *position, struct token_stanza *chosen)
{
	size_t n = 0;

	for (; *position < talk->stanza_count && n < PLUGIN_CALL_STANZAS_MAX; (*position)++) {
		const struct file_stanza *entry = &talk->stanzas[*position];

		if (entry->file == file && is_for(identity, &entry->stanza))
			chosen[n++] = entry->stanza;
	}
	return n;
}

/* *ret_file_key stays NULL when it does not open; the client has been told why where that helps. */
static enum err open_stanzas(struct conversation *talk, const struct key_id *key,
                             const struct token_stanza *stanzas, size_t count, struct secret **ret_file_key)
{
	bool again = true;

	while (again) {
		struct plugin_problem problem = { .tries_left = -1 };
		enum err refused =
		        talk->ops->unwrap(talk->context, key, stanzas, count, ret_file_key, &problem);
		enum err err;

		if (!refused || is_silent(refused))
			return OK;
		if (refused != ERR_PIN_NEEDED)
			return plugin_explain(talk->wire, &talk->told, refused, &problem.text);
		err = unlock(talk, &problem, &again);
		if (err)
			return err;
	}
	return OK;
}

/* Who will not give one key's PIN may have another key's: asked for any key, the daemon names only the first that is locked. */
static enum err open_with_others(struct conversation *talk, const struct token_stanza *stanzas, size_t count,
                                 struct secret **ret_file_key)
{
	struct key_id keys[PLUGIN_PROMPTS_MAX];
	size_t key_count = 0;
	enum err err = OK;

	if (talk->ops->locked_keys(talk->context, keys, PLUGIN_PROMPTS_MAX, &key_count))
		return OK; /* a help, not a duty */
	for (size_t i = 0; i < key_count && !err && !*ret_file_key; i++)
		err = open_stanzas(talk, &keys[i], stanzas, count, ret_file_key);
	return err;
}

static enum err open_with(struct conversation *talk, const struct identity *identity,
                          const struct token_stanza *stanzas, size_t count, struct secret **ret_file_key)
{
	size_t declined = talk->declined_count;
	enum err err;

	if (!identity->any_key)
		return open_stanzas(talk, &identity->key_id, stanzas, count, ret_file_key);
	err = open_stanzas(talk, NULL, stanzas, count, ret_file_key);
	if (err || *ret_file_key || talk->declined_count == declined)
		return err;
	return open_with_others(talk, stanzas, count, ret_file_key);
}

static enum err open_file(struct conversation *talk, size_t file, struct token_stanza *scratch,
                          struct secret **ret_file_key)
{
	enum err err = OK;

	for (size_t i = 0; i < talk->identity_count && !err && !*ret_file_key; i++) {
		const struct identity *identity = &talk->identities[i].identity;
		size_t position = 0;
		size_t count;

		while (!err && !*ret_file_key &&
		       (count = choose(talk, file, identity, &position, scratch)) > 0)
			err = open_with(talk, identity, scratch, count, ret_file_key);
	}
	return err;
}

static enum err send_file_key(struct conversation *talk, size_t file, const struct secret *file_key)
{
	const struct plugin_stanza *reply;
	char number[24];
	const char *const words[] = { "file-key", number, NULL };

	(void)snprintf(number, sizeof(number), "%zu", file);
	return plugin_wire_ask(talk->wire, words, secret_reveal(file_key), &reply);
}

/* A malformed stanza of a type that we know is fatal for its file, as it is in age. */
static enum err report_malformed(struct conversation *talk, size_t file, bool *ret_malformed)
{
	enum err err = OK;

	*ret_malformed = false;
	for (size_t i = 0; i < talk->stanza_count && !err; i++) {
		char number[24];
		char index[24];
		const char *const words[] = { "error", "stanza", number, index, NULL };

		if (talk->stanzas[i].file != file || !talk->stanzas[i].malformed)
			continue;
		*ret_malformed = true;
		(void)snprintf(number, sizeof(number), "%zu", file);
		(void)snprintf(index, sizeof(index), "%zu", talk->stanzas[i].index);
		err = plugin_error(talk->wire, words, "the file's header is malformed");
	}
	return err;
}

static enum err answer_file(struct conversation *talk, size_t file, struct token_stanza *scratch)
{
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	bool malformed;
	enum err err;

	err = report_malformed(talk, file, &malformed);
	if (err || malformed)
		return err;
	talk->left_locked = false;
	err = open_file(talk, file, scratch, &file_key);
	if (err)
		return err;
	if (!file_key)
		return talk->left_locked
		               ? plugin_explain(talk->wire, &talk->told, ERR_PIN_NEEDED, &talk->lock)
		               : OK;
	return send_file_key(talk, file, file_key);
}

static enum err report_identities(struct conversation *talk, bool *ret_bad)
{
	enum err err = OK;

	*ret_bad = false;
	for (size_t i = 0; i < talk->identity_count && !err; i++) {
		char number[24];
		const char *const words[] = { "error", "identity", number, NULL };

		if (!talk->identities[i].bad)
			continue;
		*ret_bad = true;
		(void)snprintf(number, sizeof(number), "%zu", i);
		err = plugin_error(talk->wire, words,
		                   "this is not an identity of tokend; type tokenctl identity to get one");
	}
	return err;
}

static enum err answer_phase(struct conversation *talk)
{
	CLEANUP(freep) struct token_stanza *scratch = calloc(PLUGIN_CALL_STANZAS_MAX, sizeof(*scratch));
	bool bad;
	enum err err;

	if (!scratch)
		return ERR_NOMEM;
	err = report_identities(talk, &bad);
	if (bad)
		return err;
	for (size_t file = 0; file < talk->file_count && !err; file++)
		err = answer_file(talk, file, scratch);
	return err;
}

enum err plugin_identity_v1(struct plugin_wire *wire, const struct plugin_ops *ops, void *context)
{
	CLEANUP(conversation_done)
	struct conversation talk = { .wire = wire, .ops = ops, .context = context };
	enum err err;

	talk.identities = calloc(PLUGIN_IDENTITIES_MAX, sizeof(*talk.identities));
	if (!talk.identities)
		return ERR_NOMEM;
	err = plugin_read_phase(talk.wire, take_command, &talk);
	if (err)
		return err;
	return answer_phase(&talk);
}
