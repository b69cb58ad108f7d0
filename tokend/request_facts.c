/* What there is to know: keys, tokens, the daemon's own state, and what the policy would say. */
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "common/encoding.h"
#include "tokend/request_stages.h"

#define STATUS_DEADLINE_MS 5000U
#define KEYS_AT_ONCE 64U /* in one answer, so that the longest of them still fit into a message */
#define KEYS_LOOKED_AT 4096U /* for one answer, so that nobody else waits for long */

static void format_time(time_t time, char text[static 32])
{
	struct tm parts;

	if (!gmtime_r(&time, &parts) || strftime(text, 32, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
		text[0] = '\0';
}

/* ---- keys ---- */

#define NAME_ALGORITHM_LEN 2U
#define NAME_SHOWN_LEN \
	8U /* enough to tell devices apart, and what they are called by (tokenctl tokens, SERIAL) */

static void format_parent(uint32_t handle, struct bytes name, char text[static PARENT_FACT_LEN])
{
	char shown[2 * NAME_SHOWN_LEN + 1] = "";

	text[0] = '\0';
	if (name.len >= NAME_ALGORITHM_LEN + NAME_SHOWN_LEN)
		hex_encode(bytes_of(name.data + NAME_ALGORITHM_LEN, NAME_SHOWN_LEN), shown);
	if (handle)
		(void)snprintf(text, PARENT_FACT_LEN, "%08lx:%s", (unsigned long)handle, shown);
}

void request_key_fact(const struct request *request, const struct key *key, struct key_fact *ret_fact)
{
	const struct daemon *daemon = request->daemon;

	hex_encode(bytes_of(key->id.bytes, KEY_ID_LEN), ret_fact->id);
	format_time(key->created, ret_fact->created);
	ret_fact->name = key->name;
	ret_fact->kind = key_kind_name(key->kind);
	ret_fact->class = key_class_name(key->class);
	ret_fact->recipient = key->recipient[0] ? key->recipient : NULL;
	ret_fact->usable = false;
	ret_fact->slot_count = key->slot_count;
	for (size_t i = 0; i < key->slot_count; i++) {
		const struct worker *worker = daemon_worker(daemon, key->slots[i]->token_uri);
		const struct token_blob *blob = &key->slots[i]->blob;

		ret_fact->slots[i].token = key->slots[i]->token_uri;
		ret_fact->slots[i].present = worker && worker_running(worker);
		format_parent(blob->parent, bytes_of(blob->parent_name, blob->parent_name_len),
		              ret_fact->slots[i].parent);
		ret_fact->usable = ret_fact->usable || ret_fact->slots[i].present;
	}
	ret_fact->unlocked = key->class == KEY_CLASS_BOOT
	                             ? -1
	                             : (long)unlock_left(daemon->unlocks, request->peer.uid, &key->id,
	                                                 daemon_seconds(daemon));
}

static bool may_list(const struct request *request, const struct key *key)
{
	struct policy_decision decision;

	policy_check(request->daemon->policy, &request->peer, request->via, OPERATION_LIST, key->name,
	             &decision);
	return decision.verdict == VERDICT_PERMIT;
}

static void list_one(struct request *request)
{
	struct candidate candidate;
	enum err err = request_find_key(request, OPERATION_LIST, false, &candidate);

	request_finish(request, err ? err : request_one_fact(request, request->key));
}

void request_keys(struct request *request)
{
	const struct keyring *keyring = request->daemon->keyring;
	size_t count = keyring_count(keyring);
	size_t i = (size_t)request->from < count ? (size_t)request->from : count;
	size_t end = count - i > KEYS_LOOKED_AT ? i + KEYS_LOOKED_AT : count;

	if (request->key_name[0]) {
		list_one(request);
		return;
	}
	request->key_facts = calloc(KEYS_AT_ONCE, sizeof(*request->key_facts));
	for (; request->key_facts && i < end && request->fact_count < KEYS_AT_ONCE; i++)
		if (may_list(request, keyring_at(keyring, i)))
			request_key_fact(request, keyring_at(keyring, i),
			                 &request->key_facts[request->fact_count++]);
	request->more_from = i < count ? (long)i : 0;
	request_finish(request, request->key_facts ? OK : ERR_NOMEM);
}

/* ---- tokens ---- */

struct status_call {
	struct worker_call call;
	struct request *request;
	size_t index;
};

/* That tokend was stopped meanwhile says nothing of a token. */
static enum err tokens_result(const struct request *request)
{
	for (size_t i = 0; i < request->fact_count; i++)
		if (request->token_facts[i].err == ERR_NO_DAEMON)
			return ERR_NO_DAEMON;
	return OK;
}

static void token_answered(struct request *request)
{
	if (--request->pending == 0)
		request_finish(request, tokens_result(request));
}

/* Nobody but who runs it sees what a tokend that is not the system's writes. */
static const char *log_hint(const struct request *request)
{
	if (request->daemon->options->mode == MODE_SYSTEM)
		return "journalctl -u tokend -e; sudo systemctl restart tokend";
	return "see what tokend wrote to its standard error (the trial's is tokend.log in its directory)";
}

static const char *after(const char *text, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(text, prefix, len) == 0 ? text + len : NULL;
}

/* Of a device that is away or hangs: what there is to look at, or to start again. */
static void hint_device(struct token_fact *fact)
{
	const char *device = after(fact->uri, "tpm:device:"), *socket = after(fact->uri, "tpm:swtpm:path=");

	if (device && fact->err)
		(void)snprintf(fact->hint, sizeof(fact->hint), "sudo dmesg | grep -i tpm");
	else if (device)
		(void)snprintf(fact->hint, sizeof(fact->hint),
		               "ls -l %s; id tokend-tpm   (no such file: switch the TPM on in the machine's "
		               "firmware; nothing needs to be restarted)",
		               device);
	else if (after(fact->uri, "tpm:tabrmd"))
		(void)snprintf(fact->hint, sizeof(fact->hint), "systemctl status tpm2-abrmd");
	else if (socket)
		(void)snprintf(fact->hint, sizeof(fact->hint),
		               "start the software TPM that listens on %s, and on that path with .ctrl "
		               "behind it, again; the trial's: tools/try",
		               socket);
	else
		(void)snprintf(fact->hint, sizeof(fact->hint), "start what serves %s again", fact->uri);
}

static void explain_absence(const struct request *request, struct token_fact *fact)
{
	if (fact->err == OK && fact->status.present)
		return;
	fact->problem = fact->err == OK             ? "the token is not there"
	                : fact->err == ERR_NO_TOKEN ? "the token's helper is not running"
	                                            : err_info(fact->err)->text;
	if (fact->err == OK || fact->err == ERR_TIMEOUT)
		hint_device(fact);
	else
		(void)snprintf(fact->hint, sizeof(fact->hint), "%s", log_hint(request));
}

static void status_done(struct worker_call *call, enum err err, const struct token_message *message)
{
	struct status_call *status_call = (struct status_call *)call;
	struct request *request = status_call->request;
	struct token_fact *fact = &request->token_facts[status_call->index];
	const struct worker *worker = request->daemon->workers[status_call->index];

	if (!err)
		err = message ? token_message_status(message, &fact->status) : ERR_BUG;
	if (err)
		fact->status = (struct token_status){ .pin_tries_left = -1 };
	fact->err = err;
	format_parent(fact->status.parent, bytes_of(fact->status.parent_name, fact->status.parent_name_len),
	              fact->parent);
	fact->box_key_known = worker_box_key(worker) != NULL;
	if (fact->box_key_known)
		memcpy(fact->box_key, worker_box_key(worker), TOKEN_BOX_KEY_LEN);
	explain_absence(request, fact);
	free(status_call);
	token_answered(request);
}

static void ask_status(struct request *request, size_t index)
{
	struct status_call *call = calloc(1, sizeof(*call));

	request->token_facts[index].uri = worker_uri(request->daemon->workers[index]);
	request->pending++;
	if (!call) {
		request->token_facts[index].err = ERR_NOMEM;
		token_answered(request);
		return;
	}
	call->request = request;
	call->index = index;
	call->call.op = TOKEN_OP_STATUS;
	call->call.done = status_done;
	call->call.order = request->order;
	call->call.owner = request->call.owner;
	call->call.deadline_ms = STATUS_DEADLINE_MS;
	worker_submit(request->daemon->workers[index], &call->call);
}

/* A device's time is not for everybody: who may use, list or make some key may ask. One that is to be made is not there yet, so to make and to list are questions about rules, not
 * about keys. */
static bool may_see_tokens(const struct request *request)
{
	struct daemon *daemon = request->daemon;
	const struct candidates *candidates;

	if (policy_permits_some(daemon->policy, &request->peer, request->via, OPERATION_ADMIN) ||
	    policy_permits_some(daemon->policy, &request->peer, request->via, OPERATION_LIST) ||
	    policy_permits_some(daemon->policy, &request->peer, request->via, OPERATION_UNWRAP))
		return true;
	if (candidates_find(daemon->candidates, daemon->policy, daemon->keyring, &request->peer, "age",
	                    &candidates))
		return false;
	return candidates->p256_count + candidates->sealed_count + candidates->other_count > 0;
}

void request_tokens(struct request *request)
{
	size_t count = request->daemon->worker_count;

	if (!may_see_tokens(request)) {
		request_finish(request, ERR_DENIED);
		return;
	}
	request->token_facts = calloc(count ? count : 1, sizeof(*request->token_facts));
	if (!request->token_facts) {
		request_finish(request, ERR_NOMEM);
		return;
	}
	request->fact_count = count;
	request->pending = 1; /* this loop's own, so that the first answer is not taken for the last */
	for (size_t i = 0; i < count; i++)
		ask_status(request, i);
	token_answered(request);
}

/* ---- the daemon ---- */

void request_status(struct request *request)
{
	const struct daemon *daemon = request->daemon;
	struct status_fact *status = calloc(1, sizeof(*status));

	request->status = status;
	if (!status) {
		request_finish(request, ERR_NOMEM);
		return;
	}
	status->mode = mode_name(daemon->options->mode);
	status->uid = (long)geteuid();
	format_time(daemon->started_at, status->started_at);
	status->state_directory = daemon->options->state_directory;
	status->runtime_directory = daemon->options->runtime_directory;
	status->configuration = daemon->options->configuration;
	status->policy_directory = daemon->config.policy_directory;
	status->policy_rules = policy_rule_count(daemon->policy);
	status->policy_digest = policy_digest(daemon->policy);
	status->policy_problem = daemon->policy_problem[0] ? daemon->policy_problem : NULL;
	(void)snprintf(status->audit_file, sizeof(status->audit_file), "%s/" AUDIT_FILE_NAME,
	               daemon->options->state_directory);
	status->audit_records = audit_count(daemon->audit);
	status->audit_works = audit_works(daemon->audit);
	status->memory_locked = daemon->memory_locked;
	status->keys_left_out = keyring_left_out(daemon->keyring);
	status->keys = keyring_count(daemon->keyring);
	status->tokens = daemon->worker_count;
	status->requests = daemon->requests;
	request_finish(request, OK);
}

/* ---- what the policy would say ---- */

static const char *verdict_text(enum verdict verdict)
{
	switch (verdict) {
	case VERDICT_PERMIT:
		return "permit";
	case VERDICT_PERMIT_WITH_PIN:
		return "permit-with-pin";
	case VERDICT_DENY:
		break;
	}
	return "deny";
}

/* The groups that the system's database gives to a uid; a uid without an entry has none. */
static void fill_groups(struct peer *peer)
{
	const struct passwd *user = getpwuid(peer->uid);
	int count = (int)PEER_GROUPS_MAX;

	if (!user)
		return;
	peer->gid = user->pw_gid;
	if (getgrouplist(user->pw_name, user->pw_gid, peer->groups, &count) >= 0)
		peer->group_count = (size_t)count;
}

static void judge(struct request *request, enum operation operation)
{
	struct request_explain *explain = &request->explain;
	struct policy_decision decision;

	if (request->other)
		fill_groups(request->other);
	policy_check(request->daemon->policy, request->other ? request->other : &request->peer,
	             explain->frontend, operation, request->key_name, &decision);
	(void)snprintf(explain->verdict, sizeof(explain->verdict), "%s", verdict_text(decision.verdict));
	if (decision.file)
		(void)snprintf(explain->rule, sizeof(explain->rule), "%s:%u: %s", decision.file,
		               decision.line, decision.text ? decision.text : "");
}

/* A sentence when it asks for what no rule can be about: the answer would be a "deny" that says nothing of the policy. */
static const char *misfit(const struct request *request, enum operation *ret_operation)
{
	if (operation_from_name(request->explain.operation, ret_operation))
		return "an operation is unwrap, list or admin";
	if (!policy_knows_frontend(request->explain.frontend))
		return "a front-end is age, sops, control or credential";
	if (request->other && request->other->unit[0] && !policy_knows_unit(request->other->unit))
		return "a unit has its whole name, such as jellyfin.service";
	return NULL;
}

void request_explain(struct request *request)
{
	struct policy_decision decision;
	enum operation operation;
	const char *problem;

	if (request->other) {
		policy_check(request->daemon->policy, &request->peer, request->via, OPERATION_ADMIN,
		             request->key_name, &decision);
		if (decision.verdict == VERDICT_DENY) {
			request_finish(request, ERR_DENIED);
			return;
		}
	}
	problem = misfit(request, &operation);
	if (problem) {
		request_refuse(request, ERR_USAGE, "man tokend-policy", "%s", problem);
		return;
	}
	judge(request, operation);
	request_finish(request, OK);
}
