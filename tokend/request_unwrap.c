/*
 * Unwrap: which keys may open which stanzas, then one token after the other is asked. Tags decide for p256; keys that are only sealed carry no tag and are tried in the helper.
 * A key that is locked is not asked for: it stands in the way, if nothing else opens the file. One whose PIN is worth one use is reserved from the choice to the end.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tokend/request_stages.h"

/* Of p256 keys in one request: each is an operation of the device, which may take it 50 ms that others wait. */
#define DEVICE_TRIES_MAX 16U

#define SHARE_MAX (2 * WORKER_COST_DEVICE) /* work of one request that the token is given at a time */

static void unwrap_next(struct request *request);
static void refuse_locked(struct request *request);

/* ---- which keys, which stanzas ---- */

/* Is there a try of the same key with the same share? It would cost the device the same work for the same secret. */
static bool share_chosen(const struct request *request, const struct key *key, size_t stanza)
{
	const uint8_t *share = request->stanzas[stanza].stanza.share;

	for (size_t i = 0; i < request->try_count; i++)
		if (request->tries[i].key == key &&
		    memcmp(request->stanzas[request->tries[i].stanza].stanza.share, share, P256_POINT_LEN) ==
		            0)
			return true;
	return false;
}

/* The tries of p256 keys come first, so they are all there are when one of them is added. A file of somebody who means well has no more: each has its tag. */
static bool costs_too_much(const struct request *request, const struct candidate *candidate, size_t stanza)
{
	return candidate->key->kind == KEY_KIND_P256 &&
	       (request->try_count >= DEVICE_TRIES_MAX || share_chosen(request, candidate->key, stanza));
}

static enum err add_try(struct request *request, const struct candidate *candidate, size_t stanza)
{
	struct request_try *grown;

	if (request_key_locked(request, candidate)) {
		/* The tag of a p256 stanza is nearly sure; for a sealed key it is a guess, so the former is named. */
		if (!request->locked_key ||
		    (request->locked_key->kind != KEY_KIND_P256 && candidate->key->kind == KEY_KIND_P256))
			request->locked_key = candidate->key;
		return OK;
	}
	if (request->try_count >= TOKEN_TRIES_MAX || costs_too_much(request, candidate, stanza))
		return OK;
	if ((request->try_count & (request->try_count - 1)) == 0) {
		grown = reallocarray(request->tries, request->try_count ? request->try_count * 2 : 1,
		                     sizeof(*grown));
		if (!grown)
			return ERR_NOMEM;
		request->tries = grown;
	}
	request->tries[request->try_count++] = (struct request_try){
		.key = candidate->key,
		.stanza = (uint16_t)stanza,
		.pin_each_time = candidate->pin_each_time,
		.rule_file = candidate->rule_file,
		.rule_line = candidate->rule_line,
	};
	return OK;
}

/* Of the recipient that was named, if one was. What is named is public. */
static bool is_wanted(const struct request *request, const struct key *key)
{
	if (!request->recipient_named)
		return true;
	switch (key->kind) {
	case KEY_KIND_P256:
		return request->recipient_kind == RECIPIENT_P256TAG &&
		       memcmp(request->recipient, key->compressed, P256_COMPRESSED_LEN) == 0;
	case KEY_KIND_X25519:
		return request->recipient_kind == RECIPIENT_X25519 &&
		       memcmp(request->recipient, key->public_key, X25519_LEN) == 0;
	case KEY_KIND_SYMMETRIC:
		break;
	}
	return false;
}

/* p256: those whose tag fits. tags: how many may still be computed. */
static enum err add_tagged(struct request *request, const struct candidate *candidates, size_t count,
                           size_t *tags)
{
	enum err err = OK;

	for (size_t i = 0; i < request->stanza_count; i++) {
		const struct token_stanza *stanza = &request->stanzas[i].stanza;

		if (stanza->kind != KEY_KIND_P256)
			continue;
		for (size_t j = 0; !err && j < count && *tags; j++) {
			if (!is_wanted(request, candidates[j].key))
				continue;
			(*tags)--;
			if (candidate_matches(&candidates[j], stanza))
				err = add_try(request, &candidates[j], i);
		}
	}
	return err;
}

static enum err add_sealed(struct request *request, const struct candidate *candidates, size_t count)
{
	enum err err = OK;

	for (size_t i = 0; i < request->stanza_count; i++)
		for (size_t j = 0; !err && request->stanzas[i].stanza.kind == KEY_KIND_X25519 && j < count;
		     j++)
			if (is_wanted(request, candidates[j].key))
				err = add_try(request, &candidates[j], i);
	return err;
}

static enum err choose_named(struct request *request)
{
	size_t tags = CANDIDATE_TAGS_MAX;
	struct candidate candidate;
	enum err err = request_find_key(request, OPERATION_UNWRAP, false, &candidate);

	if (err)
		return err;
	switch (candidate.key->kind) {
	case KEY_KIND_P256:
		return add_tagged(request, &candidate, 1, &tags);
	case KEY_KIND_X25519:
		return add_sealed(request, &candidate, 1);
	case KEY_KIND_SYMMETRIC:
		return OK;
	}
	return ERR_BUG;
}

/* A peer that may use nothing learns nothing; one that may use everything is told that there is nothing. */
static enum err no_candidates(struct request *request)
{
	struct policy_decision every;

	policy_check(request->daemon->policy, &request->peer, request->via, OPERATION_UNWRAP, NULL, &every);
	request_note_rule(request, every.file, every.line);
	return every.verdict == VERDICT_DENY ? ERR_DENIED : ERR_NO_KEY;
}

static enum err choose_any(struct request *request)
{
	struct daemon *daemon = request->daemon;
	const struct candidates *candidates;
	size_t tags = CANDIDATE_TAGS_MAX;
	enum err err = candidates_find(daemon->candidates, daemon->policy, daemon->keyring, &request->peer,
	                               request->via, &candidates);

	if (err)
		return err;
	if (candidates->p256_count + candidates->sealed_count + candidates->other_count == 0)
		return no_candidates(request);
	err = add_tagged(request, candidates->p256, candidates->p256_count, &tags);
	return err ? err : add_sealed(request, candidates->sealed, candidates->sealed_count);
}

/* ---- the one use of a key that wants its PIN each time ---- */

/* That none of them was taken is known from the choice, so a no means that an earlier try of this request has it. */
static void reserve_uses(struct request *request)
{
	struct daemon *daemon = request->daemon;

	for (size_t i = 0; i < request->try_count; i++) {
		struct request_try *try = &request->tries[i];

		if (try->pin_each_time)
			try->reserved = unlock_reserve(daemon->unlocks, request->peer.uid, &try->key->id,
			                               daemon_seconds(daemon));
	}
}

/* What was spent is not there any more to be given back. */
static void give_back_uses(struct request *request)
{
	for (size_t i = 0; i < request->try_count; i++)
		if (request->tries[i].reserved)
			unlock_give_back(request->daemon->unlocks, request->peer.uid,
			                 &request->tries[i].key->id);
}

static void end(struct request *request, enum err err)
{
	give_back_uses(request);
	request_finish(request, err);
}

/* ---- asking a token ---- */

/* Is it one of those that the token asked now is to try? */
static bool try_is_due(const struct request *request, const struct request_try *try)
{
	return !try->tried && try->worker == request->worker;
}

static const struct key *needed_key(const struct worker_call *call, size_t *cursor)
{
	const struct request *request = (const struct request *)call;

	while (*cursor < request->try_count) {
		const struct request_try *try = &request->tries[(*cursor)++];

		if (try_is_due(request, try))
			return try->key;
	}
	return NULL;
}

static enum err put_stanza(struct buf *packet, const struct token_stanza *stanza)
{
	uint8_t value[TOKEN_STANZA_LEN];

	value[0] = (uint8_t)stanza->kind;
	memcpy(value + 1, stanza->share, P256_POINT_LEN);
	memcpy(value + 1 + P256_POINT_LEN, stanza->body, WRAPPED_LEN);
	return token_message_put(packet, TOKEN_FIELD_STANZA, bytes_of(value, sizeof(value)));
}

static enum err put_try(struct buf *packet, const struct request_try *try)
{
	uint8_t value[TOKEN_TRY_LEN];

	memcpy(value, try->key->id.bytes, KEY_ID_LEN);
	value[KEY_ID_LEN] = (uint8_t)(try->sent_stanza >> 8);
	value[KEY_ID_LEN + 1] = (uint8_t)try->sent_stanza;
	return token_message_put(packet, TOKEN_FIELD_TRY, bytes_of(value, sizeof(value)));
}

/* Those that something is to be tried on, counted anew: of a file with many stanzas each share is to name its own. Tries are in the order of their stanzas, but for p256 before the others. */
static enum err put_stanzas(struct request *request, struct buf *packet)
{
	size_t count = 0, last = SIZE_MAX;
	enum err err = OK;

	for (size_t i = 0; !err && i < request->try_count; i++) {
		struct request_try *try = &request->tries[i];

		if (!try_is_due(request, try))
			continue;
		if (try->stanza != last) {
			err = put_stanza(packet, &request->stanzas[try->stanza].stanza);
			count++;
		}
		last = try->stanza;
		try->sent_stanza = (uint16_t)(count - 1);
	}
	return err;
}

static enum err build(struct worker_call *call, struct buf *packet)
{
	struct request *request = (struct request *)call;
	enum err err = OK;

	/* Nobody waits for it any more: the token's time is for others. */
	if (!request->client)
		return ERR_BUSY;
	err = put_stanzas(request, packet);
	for (size_t i = 0; !err && i < request->try_count; i++)
		if (try_is_due(request, &request->tries[i]))
			err = put_try(packet, &request->tries[i]);
	return err;
}

/* ---- what it answered ---- */

static struct request_try *find_try(const struct request *request, const struct key_id *id, size_t stanza)
{
	for (size_t i = 0; i < request->try_count; i++)
		if (request->tries[i].sent_stanza == stanza && key_id_equal(&request->tries[i].key->id, id) &&
		    try_is_due(request, &request->tries[i]))
			return &request->tries[i];
	return NULL;
}

/*
 * What the token worked on was permitted when it was asked for. If another policy is in force since, that one has the last word: whoever lost a permission is not to have what he queued up before, and
 * the log is to name a rule that is there.
 */
static enum err judge_again(struct request *request, const struct request_try *try)
{
	const struct policy *policy = request->daemon->policy;
	struct candidate candidate;
	bool permitted;

	if (request->policy == policy) {
		request_note_rule(request, try->rule_file, try->rule_line);
		return OK;
	}
	permitted = candidate_judge(policy, &request->peer, request->via, try->key, &candidate);
	request->rule[0] = '\0';
	request_note_rule(request, candidate.rule_file, candidate.rule_line);
	return permitted && (try->pin_each_time || !candidate.pin_each_time) ? OK : ERR_DENIED;
}

/* Takes the file key, if the answer is one to what was asked. */
static enum err take_file_key(struct request *request, const struct token_message *message)
{
	struct request_try *try;
	struct bytes file_key;
	struct key_id id;
	uint16_t stanza;
	enum err err;

	if (token_message_key_id(message, &id) || token_message_u16(message, TOKEN_FIELD_INDEX, &stanza) ||
	    !token_message_find(message, TOKEN_FIELD_FILE_KEY, &file_key))
		return ERR_TOKEN;
	try = find_try(request, &id, stanza);
	if (!try)
		return ERR_TOKEN;
	request->key = try->key;
	request->index = request->stanzas[try->stanza].index;
	err = judge_again(request, try);
	if (err)
		return err;
	/* It was open when the token was asked. Whoever has closed it since, or whose time is over, is told so: what waited for the device is not to come out after that. */
	if (request_key_closed(request, try->key)) {
		request->locked_key = try->key;
		return ERR_PIN_NEEDED;
	}
	if (try->pin_each_time)
		unlock_spend(request->daemon->unlocks, request->peer.uid, &try->key->id);
	err = secret_new_from(file_key, &request->file_key);
	return err ? err : request_name_key(request, try->key);
}

static void mark_tried(struct request *request)
{
	for (size_t i = 0; i < request->try_count; i++)
		if (try_is_due(request, &request->tries[i]))
			request->tries[i].tried = true;
}

/* Of several refusals the one that says most: a device's trouble hides whether it would have opened; a damaged stanza of ours more than one that is nobody's. */
static unsigned weight(enum err err)
{
	if (err == OK)
		return 0;
	if (err == ERR_NO_MATCH)
		return 1;
	if (err == ERR_NO_TOKEN)
		return 2;
	return err == ERR_BAD_CIPHERTEXT ? 4 : 3;
}

static void note_refusal(struct request *request, enum err err)
{
	if (weight(err) > weight(request->worst))
		request->worst = err;
}

/* The helper says that a key is locked which we took for open: it was started anew, or its device was reset. About keys that it was not asked for it has nothing to say. */
static void note_locked(struct request *request, const struct token_message *message)
{
	struct key_id id;
	bool named = message && token_message_key_id(message, &id) == OK;

	for (size_t i = 0; named && i < request->try_count; i++) {
		if (!try_is_due(request, &request->tries[i]) ||
		    !key_id_equal(&request->tries[i].key->id, &id))
			continue;
		unlock_lost(request->daemon->unlocks, &id);
		request->locked_key = request->tries[i].key;
		return;
	}
	note_refusal(request, ERR_TOKEN);
}

static void done(struct worker_call *call, enum err err, const struct token_message *message)
{
	struct request *request = (struct request *)call;

	if (err == OK) {
		err = message ? take_file_key(request, message) : ERR_BUG;
		if (err == ERR_TOKEN)
			worker_restart(request->worker);
		if (err == ERR_PIN_NEEDED)
			refuse_locked(request);
		else
			end(request, err);
		return;
	}
	if (!request->client && !message) {
		give_back_uses(request);
		request_forget(request);
		return;
	}
	if (err == ERR_TIMEOUT || err == ERR_NO_DAEMON || !request->client) {
		end(request, err);
		return;
	}
	if (err == ERR_NO_MATCH || err == ERR_BAD_CIPHERTEXT || err == ERR_PIN_NEEDED || err == ERR_NO_KEY) {
		if (err == ERR_PIN_NEEDED)
			note_locked(request, message);
		else
			note_refusal(request, err == ERR_NO_KEY ? ERR_TOKEN : err);
		mark_tried(request);
	} else {
		request->failed_workers |= request_worker_bit(request, request->worker);
		note_refusal(request, err);
	}
	unwrap_next(request);
}

/* ---- the stages ---- */

/* Nobody can say whom a sealed key's stanza is for without the key: then it is a guess, and said to be one. */
static bool is_guess(const struct request *request, const struct key *key)
{
	return key->kind == KEY_KIND_X25519 && !request->key_name[0] && !request->recipient_named;
}

static void refuse_locked(struct request *request)
{
	const struct key *key = request->locked_key;
	char hint[KEY_NAME_MAX + 32];

	request->key = key;
	request->worker = request_worker(request, key, request->failed_workers);
	request->box_key_known = request->worker && worker_box_key(request->worker);
	if (request->box_key_known)
		memcpy(request->box_key, worker_box_key(request->worker), TOKEN_BOX_KEY_LEN);
	give_back_uses(request);
	if (request_name_key(request, key)) {
		request_finish(request, ERR_NOMEM);
		return;
	}
	(void)snprintf(hint, sizeof(hint), "tokenctl unlock %s", key->name);
	if (is_guess(request, key))
		request_refuse(request, ERR_PIN_NEEDED, hint,
		               "no open key opens this; it may be for the key %s, which is locked and needs "
		               "its PIN",
		               key->name);
	else
		request_refuse(request, ERR_PIN_NEEDED, hint, "the key %s is locked and needs its PIN",
		               key->name);
}

/* What a try is to the token at most. A sealed key is open after its first use, and a try of it is the processor's work. */
static unsigned cost_of(const struct request_try *try)
{
	return try->key->kind == KEY_KIND_P256 ? WORKER_COST_DEVICE : 1;
}

/*
 * The token to ask next: that of the first try that is left. What else it may try goes along, but no more than a share: the rest has to wait for another turn, for others do not wait for
 * all that somebody may ask at once.
 */
static struct worker *assign_tries(struct request *request)
{
	struct worker *next = NULL;
	unsigned cost = 0;

	for (size_t i = 0; i < request->try_count; i++) {
		struct request_try *try = &request->tries[i];

		if (try->tried)
			continue;
		try->worker = request_worker(request, try->key, request->failed_workers);
		next = next ? next : try->worker;
		if (try->worker != next)
			continue;
		cost += cost_of(try);
		if (cost > SHARE_MAX)
			try->worker = NULL;
	}
	return next;
}

/* Is all that the token is asked now a matter of keys that it has open, or will have after their first use? */
static bool is_without_device(const struct request *request)
{
	for (size_t i = 0; i < request->try_count; i++)
		if (try_is_due(request, &request->tries[i]) && request->tries[i].key->kind == KEY_KIND_P256)
			return false;
	return true;
}

/* What the token asked now has to do at most. */
static unsigned work_of(const struct request *request)
{
	unsigned cost = 0;

	for (size_t i = 0; i < request->try_count; i++)
		if (try_is_due(request, &request->tries[i]))
			cost += cost_of(&request->tries[i]);
	return cost;
}

static void unwrap_next(struct request *request)
{
	struct worker *worker = assign_tries(request);

	if (worker) {
		request->worker = worker;
		request->call.cost = work_of(request);
		request->call.without_device = is_without_device(request);
		if (request->try_count == 1)
			request_foresee(request, &request->tries[0]);
		worker_submit(worker, &request->call);
		return;
	}
	for (size_t i = 0; i < request->try_count; i++)
		if (!request->tries[i].tried)
			note_refusal(request, ERR_NO_TOKEN);
	if (request->locked_key && request->worst != ERR_BAD_CIPHERTEXT)
		refuse_locked(request);
	else if (request->worst == ERR_TOKEN_STATE)
		request_refuse_foreign(request);
	else
		end(request, request->worst ? request->worst : ERR_NO_MATCH);
}

void request_unwrap(struct request *request)
{
	enum err err = request->key_name[0] ? choose_named(request) : choose_any(request);

	if (err) {
		request_finish(request, err);
		return;
	}
	request->call.op = TOKEN_OP_UNWRAP;
	request->call.build = build;
	request->call.done = done;
	request->call.key = needed_key;
	reserve_uses(request);
	unwrap_next(request);
}
