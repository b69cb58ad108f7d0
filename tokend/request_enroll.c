/*
 * Enroll: the token makes the key, or seals one; its record is written to the log; then it joins the keyring. In that order nothing is half-made: a key that nobody wrote down
 * is never usable, and a record whose key could not be kept is followed by one that says so.
 */
#include <sodium.h>
#include <stdlib.h>
#include <time.h>

#include "tokend/request_stages.h"

struct reservation {
	struct reservation *next;
	char name[KEY_NAME_MAX + 1];
};

static void ask_token(struct request *request);
static bool still_permitted(const struct request *request);

/* ---- names on their way ---- */

static bool name_taken(const struct request *request)
{
	const struct reservation *reservation = request->daemon->reservations;

	while (reservation && strcmp(reservation->name, request->key_name) != 0)
		reservation = reservation->next;
	return reservation || keyring_find(request->daemon->keyring, request->key_name);
}

static enum err reserve_name(struct request *request)
{
	struct reservation *reservation = calloc(1, sizeof(*reservation));

	if (!reservation)
		return ERR_NOMEM;
	memcpy(reservation->name, request->key_name, sizeof(reservation->name));
	reservation->next = request->daemon->reservations;
	request->daemon->reservations = reservation;
	request->enroll.reserved = true;
	return OK;
}

static void release_name(struct request *request)
{
	struct reservation **at = &request->daemon->reservations;
	struct reservation *found;

	if (!request->enroll.reserved)
		return;
	while (strcmp((*at)->name, request->key_name) != 0)
		at = &(*at)->next;
	found = *at;
	*at = found->next;
	free(found);
	request->enroll.reserved = false;
}

static struct key *made_free(struct key *key)
{
	if (!key)
		return NULL;
	for (size_t i = 0; i < key->slot_count; i++)
		free(key->slots[i]);
	free(key);
	return NULL;
}

void request_enroll_done(struct request *request)
{
	release_name(request);
	request->enroll.made = made_free(request->enroll.made);
}

/* ---- the key that the token made ---- */

/* What follows from the public key, such as the recipient, the keyring makes itself. */
static enum err fill_public(struct key *key, const struct token_message *message)
{
	struct bytes public_key;

	if (key->kind == KEY_KIND_SYMMETRIC)
		return OK;
	if (!token_message_find(message, TOKEN_FIELD_PUBLIC, &public_key) ||
	    public_key.len != (key->kind == KEY_KIND_P256 ? P256_POINT_LEN : X25519_LEN))
		return ERR_TOKEN;
	memcpy(key->public_key, public_key.data, public_key.len);
	return OK;
}

static enum err fill_slot(struct key *key, const char *uri, const struct token_message *message)
{
	struct key_slot *slot = calloc(1, sizeof(*slot));

	if (!slot)
		return ERR_NOMEM;
	key->slots[key->slot_count++] = slot;
	(void)snprintf(slot->token_uri, sizeof(slot->token_uri), "%s", uri);
	return token_message_blob(message, &slot->blob) ? ERR_TOKEN : OK;
}

static enum err take_key(struct request *request, const struct token_message *message)
{
	struct key *key = request->enroll.made;
	enum err err = message ? fill_public(key, message) : ERR_BUG;

	return err ? err : fill_slot(key, worker_uri(request->worker), message);
}

/* ---- asking the token ---- */

struct trusted {
	const struct token_blob *parents[TOKEN_TRUSTED_MAX]; /* borrowed; each of another Name */
	size_t count;
};

static void trusted_add(struct trusted *trusted, const struct token_blob *blob)
{
	const struct bytes name = bytes_of(blob->parent_name, blob->parent_name_len);

	for (size_t i = 0; i < trusted->count; i++)
		if (bytes_equal(name, bytes_of(trusted->parents[i]->parent_name,
		                               trusted->parents[i]->parent_name_len)))
			return;
	if (name.len && trusted->count < TOKEN_TRUSTED_MAX)
		trusted->parents[trusted->count++] = blob;
}

/* The parents of all keys that this token has already: it is known by them, and what is to be sealed is not for another one. */
static enum err put_trusted(const struct keyring *keyring, const char *uri, struct buf *packet)
{
	struct trusted trusted = { .count = 0 };
	enum err err = OK;

	for (size_t i = 0; i < keyring_count(keyring); i++) {
		const struct key *key = keyring_at(keyring, i);

		for (size_t slot = 0; slot < key->slot_count; slot++)
			if (strcmp(key->slots[slot]->token_uri, uri) == 0)
				trusted_add(&trusted, &key->slots[slot]->blob);
	}
	for (size_t i = 0; !err && i < trusted.count; i++)
		err = token_message_put(
		        packet, TOKEN_FIELD_TRUSTED_PARENT,
		        bytes_of(trusted.parents[i]->parent_name, trusted.parents[i]->parent_name_len));
	return err;
}

static enum err build(struct worker_call *call, struct buf *packet)
{
	const struct request *request = (const struct request *)call;
	const struct key *key = request->enroll.made;
	enum err err = token_message_put(packet, TOKEN_FIELD_KEY_ID, bytes_of(key->id.bytes, KEY_ID_LEN));

	if (!err)
		err = token_message_put_u8(packet, TOKEN_FIELD_KIND, (uint8_t)key->kind);
	if (!err)
		err = token_message_put_u8(packet, TOKEN_FIELD_CLASS, (uint8_t)key->class);
	if (!err && request->sealed_pin_len)
		err = token_message_put(packet, TOKEN_FIELD_SEALED_PIN,
		                        bytes_of(request->sealed_pin, request->sealed_pin_len));
	if (!err && request->sealed_key_len)
		err = token_message_put(packet, TOKEN_FIELD_SEALED_KEY,
		                        bytes_of(request->sealed_key, request->sealed_key_len));
	if (!err)
		err = put_trusted(request->daemon->keyring, worker_uri(request->worker), packet);
	return err;
}

/* Keys that are lost with their device stay in the way of new ones until somebody who knows that takes them away. */
static void refuse_other_device(struct request *request)
{
	const char *uri = worker_uri(request->worker);
	const char *state = request->daemon->options->state_directory;
	char hint[REQUEST_TEXT_MAX + OPTIONS_PATH_MAX];
	int len = snprintf(hint, sizeof(hint),
	                   "tokenctl tokens; if that device is lost, or was cleared: move its keys (grep -l "
	                   "%s %s/keys/*.key) and "
	                   "the .pem files beside them to another directory, and restart tokend",
	                   uri, state);

	request_refuse(request, ERR_TOKEN_STATE, len < (int)REQUEST_TEXT_MAX ? hint : "tokenctl tokens",
	               "%s makes no key: it is not the device that the other keys there were made on, "
	               "or its state forbids it",
	               uri);
}

/* What the helper found too long or too short can be told from outside: a box is as much longer than what is in it as all others. */
static void refuse_length(struct request *request)
{
	_Static_assert(X25519_LEN == 32, "the sentence says so");

	if (request->sealed_key_len && request->sealed_key_len != crypto_box_SEALBYTES + X25519_LEN)
		request_refuse(request, ERR_USAGE, "tokenctl enroll --help",
		               "a key to import is sealed as its 32 bytes, not as the text "
		               "AGE-SECRET-KEY-1...");
	else if (request->sealed_pin_len)
		request_refuse(request, ERR_USAGE, "tokenctl enroll --help", "a PIN has %u to %u bytes",
		               PIN_MIN, PIN_MAX);
	else
		request_finish(request, ERR_USAGE);
}

static void done(struct worker_call *call, enum err err, const struct token_message *message)
{
	struct request *request = (struct request *)call;

	if (err == OK) {
		err = take_key(request, message);
		if (err == ERR_TOKEN)
			worker_restart(request->worker);
		request_finish(request, err || still_permitted(request) ? err : ERR_DENIED);
		return;
	}
	if (err == ERR_NO_TOKEN && !request->enroll.token[0]) {
		request->failed_workers |= request_worker_bit(request, request->worker);
		ask_token(request);
		return;
	}
	if (err == ERR_BAD_MESSAGE)
		request_refuse(request, ERR_USAGE, "the same command again",
		               "the PIN or key is not sealed to the helper that runs now, as when that was "
		               "started anew since");
	else if (err == ERR_USAGE)
		refuse_length(request);
	else if (err == ERR_TOKEN_STATE)
		refuse_other_device(request);
	else if (err == ERR_NO_TOKEN)
		request_refuse(request, err, "tokenctl tokens", "the token %s is not there",
		               worker_uri(request->worker));
	else
		request_finish(request, err);
}

/* The token named, else the first that is there. */
static void ask_token(struct request *request)
{
	const struct daemon *daemon = request->daemon;
	struct worker *worker = NULL;

	if (request->enroll.token[0])
		worker = daemon_worker(daemon, request->enroll.token);
	for (size_t i = 0; !request->enroll.token[0] && !worker && i < daemon->worker_count; i++)
		if (!(request->failed_workers & (UINT32_C(1) << i)))
			worker = daemon->workers[i];
	if (worker) {
		request->worker = worker;
		worker_submit(worker, &request->call);
	} else if (request->enroll.token[0]) {
		request_refuse(request, ERR_USAGE, "tokenctl tokens",
		               "the token %s is not in the configuration", request->enroll.token);
	} else if (daemon->worker_count == 0) {
		request_refuse(request, ERR_NO_TOKEN, "man tokend.conf", "no token is configured");
	} else {
		request_refuse(request, ERR_NO_TOKEN, "tokenctl tokens", "none of the tokens is there");
	}
}

/* ---- the stages ---- */

/* Is it a key whose PIN speaks for what the peer administers: of class admin, and one of those? */
static bool proves_admin(const struct request *request, const struct key *key)
{
	struct policy_decision decision;

	if (key->class != KEY_CLASS_ADMIN)
		return false;
	policy_check(request->daemon->policy, &request->peer, request->via, OPERATION_ADMIN, key->name,
	             &decision);
	return decision.verdict != VERDICT_DENY;
}

/* Spends the one use of such a key that the peer has unlocked, whichever. */
static enum err spend_admin(struct request *request)
{
	struct daemon *daemon = request->daemon;
	uid_t uid = request->peer.uid;

	for (size_t i = 0; i < keyring_count(daemon->keyring); i++) {
		const struct key *key = keyring_at(daemon->keyring, i);

		if (proves_admin(request, key) &&
		    unlock_reserve(daemon->unlocks, uid, &key->id, daemon_seconds(daemon))) {
			unlock_spend(daemon->unlocks, uid, &key->id);
			return OK;
		}
	}
	return ERR_PIN_NEEDED;
}

void request_refuse_without_pin(struct request *request)
{
	const struct keyring *keyring = request->daemon->keyring;
	char hint[sizeof(request->hint)];

	for (size_t i = 0; i < keyring_count(keyring); i++) {
		if (!proves_admin(request, keyring_at(keyring, i)))
			continue;
		(void)snprintf(hint, sizeof(hint),
		               "tokenctl unlock %s   (which a rule has to permit: unwrap)",
		               keyring_at(keyring, i)->name);
		request_refuse(request, ERR_DENIED, hint,
		               "the policy wants the PIN of a key of class admin first");
		return;
	}
	request_refuse(
	        request, ERR_DENIED,
	        "take pin out of the rule, then tokenctl enroll --name admin --class admin, and put it "
	        "in again",
	        "the policy wants the PIN of a key of class admin first, and there is none");
}

enum err request_authorise_admin(struct request *request, const char *key_name)
{
	struct policy_decision decision;

	policy_check(request->daemon->policy, &request->peer, request->via, OPERATION_ADMIN, key_name,
	             &decision);
	request_note_rule(request, decision.file, decision.line);
	switch (decision.verdict) {
	case VERDICT_PERMIT:
		return OK;
	case VERDICT_PERMIT_WITH_PIN:
		request->proven = true; /* or it goes no further */
		return spend_admin(request);
	case VERDICT_DENY:
		break;
	}
	return ERR_DENIED;
}

/* When the token has made the key: has another policy that is in force since taken the permission away, or made it one for whoever gives a PIN? */
static bool still_permitted(const struct request *request)
{
	const struct policy *policy = request->daemon->policy;
	struct policy_decision decision;

	if (request->policy == policy)
		return true;
	policy_check(policy, &request->peer, request->via, OPERATION_ADMIN, request->key_name, &decision);
	return decision.verdict == VERDICT_PERMIT ||
	       (decision.verdict == VERDICT_PERMIT_WITH_PIN && request->proven);
}

/* A sentence when kind, class and what came along do not go together. */
static const char *misfit(const struct request *request)
{
	const struct request_enroll *enroll = &request->enroll;

	if (!key_name_valid(bytes_of_string(request->key_name)))
		return "a name is made of letters, digits, '.', '_', '-' and '/'; no part of it is empty, "
		       "'.' or '..', or begins with '-'";
	if (enroll->class == KEY_CLASS_BOOT && request->sealed_pin_len)
		return "a key of class boot has no PIN";
	if (enroll->class != KEY_CLASS_BOOT && !request->sealed_pin_len)
		return "a key of class session or admin needs a PIN";
	if (enroll->kind == KEY_KIND_P256 && request->sealed_key_len)
		return "a key of kind p256 is made on the token and cannot be imported";
	return NULL;
}

static enum err begin_key(struct request *request)
{
	struct key *key = calloc(1, sizeof(*key));

	if (!key)
		return ERR_NOMEM;
	request->enroll.made = key;
	randombytes_buf(key->id.bytes, KEY_ID_LEN);
	memcpy(key->name, request->key_name, sizeof(key->name));
	key->kind = request->enroll.kind;
	key->class = request->enroll.class;
	key->created = time(NULL);
	return reserve_name(request);
}

void request_enroll(struct request *request)
{
	const char *problem = misfit(request);
	enum err err;

	/* What is wrong in itself is said to anybody: it tells nothing about what there is. */
	if (problem) {
		request_refuse(request, ERR_USAGE, "tokenctl enroll --help", "%s", problem);
		return;
	}
	err = request_authorise_admin(request, request->key_name);
	if (err == ERR_PIN_NEEDED) {
		request_refuse_without_pin(request);
		return;
	}
	if (!err && name_taken(request))
		err = ERR_EXISTS;
	if (!err)
		err = begin_key(request);
	if (err) {
		request_finish(request, err);
		return;
	}
	request->call.op = TOKEN_OP_CREATE;
	request->call.build = build;
	request->call.done = done;
	request->call.once = true;
	ask_token(request);
}

/* It is tokend's directory, so "you may not" would be the wrong answer to whoever asked. */
static enum err explain_unwritable(struct request *request)
{
	const char *state = request->daemon->options->state_directory;

	(void)snprintf(request->message, sizeof(request->message),
	               "the key cannot be kept: tokend cannot write in %.120s/keys", state);
	(void)snprintf(request->hint, sizeof(request->hint), "ls -ld %.120s/keys", state);
	return ERR_STATE_DIR;
}

enum err request_enroll_commit(struct request *request)
{
	enum err err = keyring_add(request->daemon->keyring, request->enroll.made);

	if (err == ERR_FILE_ACCESS || err == ERR_NO_FILE)
		return explain_unwritable(request);
	if (err)
		return err;
	release_name(request);
	request->key = keyring_find(request->daemon->keyring, request->key_name);
	return request->key ? request_one_fact(request, request->key) : ERR_BUG;
}
