#include "tokend/request.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/encoding.h"
#include "common/log.h"
#include "tokend/request_stages.h"

/* ---- life ---- */

enum err request_new(struct client *client, enum request_kind kind, const char *via,
                     struct request **ret_request)
{
	struct request *request = calloc(1, sizeof(*request));

	if (!request)
		return ERR_NOMEM;
	request->client = client;
	request->daemon = client_daemon(client);
	request->kind = kind;
	request->via = via;
	request->peer = *client_peer(client);
	*ret_request = request;
	return OK;
}

struct request *request_free(struct request *request)
{
	if (!request)
		return NULL;
	request_enroll_done(request);
	secret_free(request->file_key);
	free(request->stanzas);
	free(request->tries);
	free(request->key_facts);
	free(request->token_facts);
	free(request->local);
	free(request->status);
	free(request->rotated);
	free(request->other);
	free(request);
	return NULL;
}

void request_abandon(struct request *request)
{
	request->client = NULL;
	if (request->finished)
		request_free(request);
	else if (request->kind == REQUEST_UNWRAP && request->worker)
		worker_withdraw(request->worker, &request->call);
}

static void (*const first_stages[])(struct request *request) = {
	[REQUEST_UNWRAP] = request_unwrap, [REQUEST_KEYS] = request_keys,
	[REQUEST_TOKENS] = request_tokens, [REQUEST_STATUS] = request_status,
	[REQUEST_ENROLL] = request_enroll, [REQUEST_UNLOCK] = request_unlock,
	[REQUEST_LOCK] = request_lock,     [REQUEST_EXPLAIN] = request_explain,
	[REQUEST_ROTATE] = request_rotate,
};

void request_submit(struct request *request)
{
	request->submitted = true;
	request->policy = request->daemon->policy;
	request->daemon->requests++;
	request->daemon->in_flight++;
	client_add_request(request->client, request);
	request->call.order = request->order;
	request->call.owner = (uint64_t)request->peer.uid + 1;
	first_stages[request->kind](request);
}

/* ---- policy, then keyring ---- */

static void rule_text(const char *file, unsigned line, size_t text_len, char *text)
{
	(void)snprintf(text, text_len, "%s:%u", file, line);
}

void request_note_rule(struct request *request, const char *file, unsigned line)
{
	if (file)
		rule_text(file, line, sizeof(request->rule), request->rule);
}

/* Both tables are looked at in any case: a key that is there takes no shorter time to be denied than one that is not. */
static const struct key *find_named(const struct request *request)
{
	const struct keyring *keyring = request->daemon->keyring;
	const struct key *of_id = NULL, *of_name = keyring_find(keyring, request->key_name);
	struct key_id id;

	if (hex_decode(bytes_of_string(request->key_name), id.bytes, KEY_ID_LEN) == OK)
		of_id = keyring_find_id(keyring, &id);
	return of_id ? of_id : of_name;
}

static void check(const struct request *request, const char *via, enum operation operation, const char *name,
                  struct policy_decision *ret_decision)
{
	policy_check(request->daemon->policy, &request->peer, via, operation, name, ret_decision);
}

static unsigned lasts_for(const struct request *request, const struct policy_decision *decision)
{
	return decision->for_seconds ? decision->for_seconds : request->daemon->config.session_seconds;
}

/*
 * Any of the front-ends: to unlock a key is worth as much as any use of it. So it lasts no longer than the shortest of them allows. All are asked in any case: a refusal takes no shorter time
 * than a permission.
 */
static void check_any(const struct request *request, enum operation operation, const char *name,
                      struct policy_decision *ret_decision)
{
	static const char *const vias[] = { "age", "sops", "credential", "control" };
	struct policy_decision decision;

	check(request, vias[0], operation, name, ret_decision);
	for (size_t i = 1; i < sizeof(vias) / sizeof(vias[0]); i++) {
		check(request, vias[i], operation, name, &decision);
		if (decision.verdict == VERDICT_DENY)
			continue;
		if (ret_decision->verdict == VERDICT_DENY ||
		    lasts_for(request, &decision) < lasts_for(request, ret_decision))
			*ret_decision = decision;
	}
}

/* PERMIT_WITH_PIN on a key that has none cannot be met. */
static bool usable_verdict(enum verdict verdict, const struct key *key)
{
	switch (verdict) {
	case VERDICT_PERMIT:
		return true;
	case VERDICT_PERMIT_WITH_PIN:
		return key && key->class != KEY_CLASS_BOOT;
	case VERDICT_DENY:
		break;
	}
	return false;
}

enum err request_find_key(struct request *request, enum operation operation, bool any_frontend,
                          struct candidate *ret_candidate)
{
	/* Both are asked in any case, so that the time says nothing either. The third question, whose cost grows with the peer's own rules, is put only where the policy permits the name: that
	 * does not depend on whether there is such a key. */
	const struct key *key = find_named(request);
	const char *name = key ? key->name : request->key_name;
	struct policy_decision decision, every;

	if (any_frontend)
		check_any(request, operation, name, &decision);
	else
		check(request, request->via, operation, name, &decision);
	request_note_rule(request, decision.file, decision.line);
	if (decision.verdict == VERDICT_DENY)
		return ERR_DENIED;
	if (!key || !usable_verdict(decision.verdict, key)) {
		check(request, request->via, operation, NULL, &every);
		return !key && every.verdict != VERDICT_DENY ? ERR_NO_KEY : ERR_DENIED;
	}
	request->key = key;
	*ret_candidate = (struct candidate){
		.key = key,
		.for_seconds = decision.for_seconds,
		.pin_each_time = key->class == KEY_CLASS_ADMIN || decision.verdict == VERDICT_PERMIT_WITH_PIN,
		.rule_file = decision.file,
		.rule_line = decision.line,
	};
	return OK;
}

bool request_key_closed(const struct request *request, const struct key *key)
{
	const struct daemon *daemon = request->daemon;

	return key->class != KEY_CLASS_BOOT &&
	       unlock_left(daemon->unlocks, request->peer.uid, &key->id, daemon_seconds(daemon)) == 0;
}

bool request_key_locked(const struct request *request, const struct candidate *candidate)
{
	const struct key *key = candidate->key;

	if (key->class != KEY_CLASS_BOOT && candidate->pin_each_time &&
	    unlock_reserved(request->daemon->unlocks, request->peer.uid, &key->id))
		return true;
	return request_key_closed(request, key);
}

uint32_t request_worker_bit(const struct request *request, const struct worker *worker)
{
	for (size_t i = 0; i < request->daemon->worker_count; i++)
		if (request->daemon->workers[i] == worker)
			return UINT32_C(1) << i;
	return 0;
}

struct worker *request_worker(const struct request *request, const struct key *key, uint32_t without)
{
	for (size_t i = 0; i < key->slot_count; i++) {
		struct worker *worker = daemon_worker(request->daemon, key->slots[i]->token_uri);

		if (worker && !(without & request_worker_bit(request, worker)))
			return worker;
	}
	return NULL;
}

/* ---- what is asked ---- */

enum err request_want_recipient(struct request *request, struct bytes line)
{
	CLEANUP(recipient_done) struct recipient recipient = { 0 };
	struct bytes what;
	enum err err = recipient_parse(line, &recipient, &what);

	if (err == ERR_USAGE || err == ERR_UNSUPPORTED)
		return ERR_NO_MATCH;
	if (err)
		return err;
	request->recipient_named = true;
	request->recipient_kind = recipient.kind;
	memcpy(request->recipient, recipient.public_key, sizeof(request->recipient));
	return OK;
}

/* ---- the end ---- */

/* What an answer says of the key that it is about. The rest of a fact is not made: an unwrap must not pay for it. */
enum err request_name_key(struct request *request, const struct key *key)
{
	request->key_facts = calloc(1, sizeof(*request->key_facts));
	if (!request->key_facts)
		return ERR_NOMEM;
	hex_encode(bytes_of(key->id.bytes, KEY_ID_LEN), request->key_facts[0].id);
	request->key_facts[0].name = key->name;
	request->fact_count = 1;
	return OK;
}

enum err request_one_fact(struct request *request, const struct key *key)
{
	request->key_facts = calloc(1, sizeof(*request->key_facts));
	if (!request->key_facts)
		return ERR_NOMEM;
	request_key_fact(request, key, &request->key_facts[0]);
	request->fact_count = 1;
	return OK;
}

static void drop_result(struct request *request)
{
	request->file_key = secret_free(request->file_key);
	request->message[0] = request->hint[0] = '\0';
}

static const char *operation_text(const struct request *request)
{
	switch (request->kind) {
	case REQUEST_UNWRAP:
		return "unwrap";
	case REQUEST_ENROLL:
		return "enroll";
	case REQUEST_UNLOCK:
		return "unlock";
	case REQUEST_LOCK:
		return "lock";
	case REQUEST_ROTATE:
		return "rotate";
	case REQUEST_KEYS:
	case REQUEST_TOKENS:
	case REQUEST_EXPLAIN:
		/* Looking is not a release; being refused to look is a refusal. */
		return request->err == ERR_DENIED || request->err == ERR_NO_KEY ? "list" : NULL;
	case REQUEST_STATUS:
	case REQUEST_LOCAL:
		break;
	}
	return NULL;
}

/* The next command to type, where the stage that refused named none. It depends on the error alone, so that it tells no more than that. */
static const char *usual_hint(enum err err)
{
	static const struct {
		enum err err;
		const char *hint;
	} hints[] = {
		{ ERR_DENIED, "tokenctl keys" },        { ERR_NO_KEY, "tokenctl keys" },
		{ ERR_NO_MATCH, "tokenctl keys" },      { ERR_EXISTS, "tokenctl keys" },
		{ ERR_NO_TOKEN, "tokenctl tokens" },    { ERR_TIMEOUT, "tokenctl tokens" },
		{ ERR_TOKEN_STATE, "tokenctl doctor" }, { ERR_TOKEN_FULL, "tokenctl doctor" },
		{ ERR_TOKEN, "tokenctl doctor" },       { ERR_AUDIT, "tokenctl doctor" },
		{ ERR_DISK_FULL, "tokenctl doctor" },   { ERR_STATE_DIR, "tokenctl doctor" },
		{ ERR_PIN_LOCKED, "tokenctl tokens" },
	};

	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (hints[i].err == err)
			return hints[i].hint;
	return "";
}

void request_answer_locally(struct request *request, enum err err)
{
	client_add_request(request->client, request);
	request->err = err;
	(void)snprintf(request->hint, sizeof(request->hint), "%s", usual_hint(err));
	request->finished = true;
	client_request_finished(request->client, request);
}

/* Whoever asked knows by which name, and what to type with it. */
static bool is_plain_refusal_of_enrolment(const struct request *request)
{
	return request->kind == REQUEST_ENROLL && request->err == ERR_DENIED;
}

/* Its client hung up. */
static void drop(struct request *request)
{
	clients_request_gone(request->daemon->clients, request->user);
	request_free(request);
}

/* Whoever hears it from us knows that we run. */
static void explain_stop(struct request *request)
{
	(void)snprintf(request->message, sizeof(request->message),
	               "tokend was stopped before the token answered");
	(void)snprintf(request->hint, sizeof(request->hint), "the same command again");
}

static void answer(struct request *request)
{
	struct daemon *daemon = request->daemon;

	request->finished = true;
	if (request->foreseen)
		audit_unforesee(daemon->audit);
	if (request->err == ERR_NO_DAEMON)
		explain_stop(request);
	if (request->err && !request->hint[0] && !is_plain_refusal_of_enrolment(request))
		(void)snprintf(request->hint, sizeof(request->hint), "%s", usual_hint(request->err));
	if (request->client)
		client_request_finished(request->client, request);
	else
		drop(request);
	daemon_request_done(daemon);
}

static void audited(void *context, enum err err);

/* What the log is to say of it; borrowed from request. */
static struct audit_record record_of(const struct request *request, const char *operation)
{
	return (struct audit_record){
		.frontend = request->via,
		.operation = operation,
		.peer = &request->peer,
		.key_name = request->key           ? request->key->name
		            : request->key_name[0] ? request->key_name
		                                   : NULL,
		.key = request->key ? &request->key->id : NULL,
		.token_uri = request->worker ? worker_uri(request->worker) : NULL,
		.rule = request->rule[0] ? request->rule : NULL,
		.result = request->err,
	};
}

/* Alone, and asking one key of one token: what the log will say of it is nearly sure, and can be made durable while the token works. */
void request_foresee(struct request *request, const struct request_try *try)
{
	struct audit_record record = record_of(request, operation_text(request));
	char rule[sizeof(request->rule)];

	if (request->daemon->in_flight != 1)
		return;
	record.key = &try->key->id;
	record.key_name = try->key->name;
	if (try->rule_file) {
		rule_text(try->rule_file, try->rule_line, sizeof(rule), rule);
		record.rule = rule;
	}
	audit_foresee(request->daemon->audit, &record);
	request->foreseen = true;
}

static enum err write_record(struct request *request, const char *operation)
{
	const struct audit_record record = record_of(request, operation);

	audit_expect(request->daemon->audit, request->worker ? worker_in_flight(request->worker) : 0);
	return audit_write(request->daemon->audit, &record, audited, request);
}

/* Once for each beginning and each end of it: whoever is refused meanwhile is told himself. */
static void note_audit(struct daemon *daemon, bool failing)
{
	if (failing && !daemon->audit_failing)
		log_warning("the audit log cannot be written in time, so nothing is released until it can; "
		            "tokenctl doctor says why");
	if (!failing && daemon->audit_failing)
		log_info("the audit log is written again");
	daemon->audit_failing = failing;
}

/* What the log says was done was not: it has to say that too. */
static void committed(struct request *request, enum err err)
{
	request->err = err;
	if (err && write_record(request, operation_text(request)) == OK)
		return;
	answer(request);
}

static void rotated(void *context, enum err err)
{
	struct request *request = context;

	committed(request, request_rotate_done(request, err));
}

static void audited(void *context, enum err err)
{
	struct request *request = context;

	note_audit(request->daemon, err != OK);
	if (err) {
		drop_result(request);
		request->err = ERR_AUDIT;
	} else if (request->kind == REQUEST_ENROLL && request->err == OK) {
		committed(request, request_enroll_commit(request));
		return;
	} else if (request->kind == REQUEST_ROTATE && request->err == OK) {
		err = request_rotate_commit(request, rotated);
		if (err)
			committed(request, err);
		return;
	}
	answer(request);
}

/* Gave nothing away and changed nothing: anybody can have that, as often as he likes. */
static bool is_refusal(const struct request *request)
{
	return request->err || (request->kind == REQUEST_LOCK && request->locked_count == 0);
}

void request_finish(struct request *request, enum err err)
{
	const char *operation;

	request->err = err;
	if (err)
		request->file_key = secret_free(request->file_key);
	operation = operation_text(request);
	/* Beyond its uid's measure it is counted instead; its answer is the same, and comes at once. */
	if (operation && is_refusal(request) &&
	    !audit_admits_refusal(request->daemon->audit, request->peer.uid))
		operation = NULL;
	else if (operation && write_record(request, operation)) {
		drop_result(request);
		request->err = ERR_AUDIT;
		operation = NULL;
	}
	if (!operation)
		answer(request);
}

void request_forget(struct request *request)
{
	answer(request);
}

void request_refuse_foreign(struct request *request)
{
	request_refuse(
	        request, ERR_TOKEN_STATE,
	        "tokenctl tokens; when the TPM it was made on does not come back, the key is lost: -i FILE "
	        "opens what "
	        "was encrypted to another recipient, too",
	        "the token does not take the key: it was made on another TPM, or this one was cleared");
}

void request_refuse(struct request *request, enum err err, const char *hint, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(request->message, sizeof(request->message), format, arguments);
	va_end(arguments);
	if (hint)
		(void)snprintf(request->hint, sizeof(request->hint), "%s", hint);
	request_finish(request, err);
}
