/*
 * The control front-end: io.tokend over Varlink. One row per method says how its parameters are read and its answer is written; what the call does is the spine's business.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/control.h"
#include "common/encoding.h"
#include "tokend/client.h"
#include "tokend/frontend/interface_text.h"
#include "tokend/frontend/table.h"
#include "tokend/request.h"
#include "tokend/wire/varlink.h"

#define INTERFACE "io.tokend"
#define SERVICE "org.varlink.service"
#define REPLY_MAX CONTROL_MESSAGE_MAX /* what clients take */
#define STANZA_BODY_TEXT_MAX 43U /* 32 bytes in base64 without padding */
#define RECIPIENT_TEXT_MAX 127U /* age1tag1... has 70 characters */
#define STANZA_ARGUMENTS_MAX 8U

#define TOO_LONG "a call has at most 64 KiB, the NUL byte at its end included; the connection ends here"
#define NOT_A_CALL                                                                                          \
	"this is not a call: an object of JSON with a method, at most 32 deep, and one NUL byte after it; " \
	"the connection ends here"
_Static_assert(VARLINK_MESSAGE_MAX == 64U << 10 && VARLINK_DEPTH_MAX == 32, "the sentences say so");

struct method {
	const char *name;
	enum request_kind kind;
	const char *via; /* what the policy calls it */
	const char *parameters; /* the names that may be there, each followed by a space */

	/* ERR_USAGE: ret_parameter (static or borrowed from the call) names the parameter that is wrong. May be NULL. */
	enum err (*parse)(const json_t *parameters, struct request *request, const char **ret_parameter);
	void (*write)(struct json_writer *writer, const struct request *request);
};

/* ---- reading parameters ---- */

/* A string of 1 to len - 1 bytes; missing or null is "". An empty one is refused: whoever lost the name of one key does not mean all of them. */
static enum err read_text(const json_t *parameters, const char *name, char *text, size_t len,
                          const char **ret_parameter)
{
	const json_t *member = json_object_get(parameters, name);

	*ret_parameter = name;
	if (!member || json_is_null(member))
		return OK;
	if (!json_is_string(member) || json_string_length(member) == 0 || json_string_length(member) >= len ||
	    strlen(json_string_value(member)) != json_string_length(member))
		return ERR_USAGE;
	memcpy(text, json_string_value(member), json_string_length(member) + 1);
	return OK;
}

static enum err read_needed_text(const json_t *parameters, const char *name, char *text, size_t len,
                                 const char **ret_parameter)
{
	enum err err = read_text(parameters, name, text, len, ret_parameter);

	return err || text[0] ? err : ERR_USAGE;
}

static enum err read_integer(const json_t *parameters, const char *name, json_int_t least, json_int_t most,
                             long *ret_value, const char **ret_parameter)
{
	const json_t *member = json_object_get(parameters, name);

	*ret_parameter = name;
	if (!member || json_is_null(member))
		return OK;
	if (!json_is_integer(member) || json_integer_value(member) < least ||
	    json_integer_value(member) > most)
		return ERR_USAGE;
	*ret_value = (long)json_integer_value(member);
	return OK;
}

/* Something sealed to a helper, in base64; missing is empty. */
static enum err read_sealed(const json_t *parameters, const char *name,
                            uint8_t sealed[static TOKEN_SEALED_MAX], size_t *ret_len,
                            const char **ret_parameter)
{
	const json_t *member = json_object_get(parameters, name);

	*ret_parameter = name;
	if (!member || json_is_null(member))
		return OK;
	if (!json_is_string(member))
		return ERR_USAGE;
	if (base64_decode_public(bytes_of(json_string_value(member), json_string_length(member)),
	                         BASE64_PADDED, sealed, TOKEN_SEALED_MAX, ret_len) ||
	    *ret_len == 0)
		return ERR_USAGE;
	return OK;
}

static enum err parse_key(const json_t *parameters, struct request *request, const char **ret_parameter)
{
	return read_text(parameters, "key", request->key_name, sizeof(request->key_name), ret_parameter);
}

static enum err parse_keys(const json_t *parameters, struct request *request, const char **ret_parameter)
{
	enum err err = parse_key(parameters, request, ret_parameter);

	return err ? err : read_integer(parameters, "from", 0, INT32_MAX, &request->from, ret_parameter);
}

/* ---- stanzas ---- */

static bool known_type(const json_t *type)
{
	return json_is_string(type) && (strcmp(json_string_value(type), "X25519") == 0 ||
	                                strcmp(json_string_value(type), "p256tag") == 0);
}

static struct bytes text_of(const json_t *string)
{
	return bytes_of(json_string_value(string), json_string_length(string));
}

/* A stanza of a type that tokens open. ERR_NO_MATCH: of another type; ERR_USAGE: not a stanza; ERR_BAD_FILE: a malformed one. */
static enum err read_stanza(const json_t *item, struct token_stanza *ret_stanza)
{
	const json_t *type = json_object_get(item, "type");
	const json_t *list = json_object_get(item, "arguments");
	const json_t *body_text = json_object_get(item, "body");
	struct bytes arguments[STANZA_ARGUMENTS_MAX + 1];
	struct age_stanza stanza = { .arguments = arguments };
	uint8_t body[WRAPPED_LEN];
	size_t body_len = 0;

	if (!json_is_string(type) || !json_is_array(list) || !json_is_string(body_text))
		return ERR_USAGE;
	if (!known_type(type))
		return ERR_NO_MATCH;
	if (json_array_size(list) > STANZA_ARGUMENTS_MAX ||
	    json_string_length(body_text) > STANZA_BODY_TEXT_MAX)
		return ERR_BAD_FILE;
	arguments[stanza.argument_count++] = text_of(type);
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (!json_is_string(json_array_get(list, i)))
			return ERR_USAGE;
		arguments[stanza.argument_count++] = text_of(json_array_get(list, i));
	}
	if (base64_decode_public(text_of(body_text), BASE64_UNPADDED, body, sizeof(body), &body_len))
		return ERR_BAD_FILE;
	stanza.body = bytes_of(body, body_len);
	return token_stanza_read(&stanza, ret_stanza);
}

static enum err read_stanzas(const json_t *list, struct request *request)
{
	size_t count = json_array_size(list);
	enum err err = OK;

	if (!json_is_array(list) || count > TOKEN_STANZAS_MAX)
		return ERR_USAGE;
	request->stanzas = calloc(count ? count : 1, sizeof(*request->stanzas));
	if (!request->stanzas)
		return ERR_NOMEM;
	for (size_t i = 0; !err && i < count; i++) {
		struct request_stanza *stanza = &request->stanzas[request->stanza_count];

		err = read_stanza(json_array_get(list, i), &stanza->stanza);
		stanza->index = (uint16_t)i;
		if (!err)
			request->stanza_count++;
		else if (err == ERR_NO_MATCH)
			err = OK;
	}
	return err;
}

/* One of a kind that no token holds is like one of nobody's keys. */
static enum err read_recipient(const json_t *parameters, struct request *request, const char **ret_parameter)
{
	char line[RECIPIENT_TEXT_MAX + 1] = "";
	enum err err = read_text(parameters, "recipient", line, sizeof(line), ret_parameter);

	return err || !line[0] ? err : request_want_recipient(request, bytes_of_string(line));
}

static enum err parse_unwrap(const json_t *parameters, struct request *request, const char **ret_parameter)
{
	enum err err = parse_key(parameters, request, ret_parameter);

	if (!err)
		err = read_recipient(parameters, request, ret_parameter);
	if (err)
		return err;
	*ret_parameter = "stanzas";
	return read_stanzas(json_object_get(parameters, "stanzas"), request);
}

/* ---- the other methods' parameters ---- */

static enum err parse_enroll(const json_t *parameters, struct request *request, const char **ret_parameter)
{
	struct request_enroll *enroll = &request->enroll;
	char kind[16] = "", class[16] = "";
	enum err err = read_needed_text(parameters, "name", request->key_name, sizeof(request->key_name),
	                                ret_parameter);

	if (!err)
		err = read_needed_text(parameters, "kind", kind, sizeof(kind), ret_parameter);
	if (!err)
		err = key_kind_from_name(kind, &enroll->kind);
	if (!err)
		err = read_needed_text(parameters, "class", class, sizeof(class), ret_parameter);
	if (!err)
		err = key_class_from_name(class, &enroll->class);
	if (!err)
		err = read_text(parameters, "token", enroll->token, sizeof(enroll->token), ret_parameter);
	if (!err)
		err = read_sealed(parameters, "sealedPin", request->sealed_pin, &request->sealed_pin_len,
		                  ret_parameter);
	if (!err)
		err = read_sealed(parameters, "sealedKey", request->sealed_key, &request->sealed_key_len,
		                  ret_parameter);
	return err;
}

static enum err parse_unlock(const json_t *parameters, struct request *request, const char **ret_parameter)
{
	enum err err = read_needed_text(parameters, "key", request->key_name, sizeof(request->key_name),
	                                ret_parameter);

	if (!err)
		err = read_sealed(parameters, "sealedPin", request->sealed_pin, &request->sealed_pin_len,
		                  ret_parameter);
	if (!err && request->sealed_pin_len == 0)
		err = ERR_USAGE;
	return err ? err
	           : read_integer(parameters, "seconds", 1, 366 * 86400, &request->seconds, ret_parameter);
}

/* Somebody else, if uid or unit was named. Only units of the system are believed, and they are asked for by the manager. */
static enum err read_other(const json_t *parameters, struct request *request, const char **ret_parameter)
{
	char unit[UNIT_NAME_MAX] = "";
	long uid = -1;
	enum err err = read_integer(parameters, "uid", 0, UINT32_MAX - 1, &uid, ret_parameter);

	if (!err)
		err = read_text(parameters, "unit", unit, sizeof(unit), ret_parameter);
	if (err || (uid < 0 && !unit[0]))
		return err;
	request->other = calloc(1, sizeof(*request->other));
	if (!request->other)
		return ERR_NOMEM;
	/* Only "user *" matches a uid that there is none of: what a rule for root permits, a unit is not permitted. */
	request->other->uid = uid >= 0 ? (uid_t)uid : (uid_t)-1;
	request->other->gid = (gid_t)-1;
	memcpy(request->other->unit, unit, sizeof(unit));
	return OK;
}

static enum err parse_explain(const json_t *parameters, struct request *request, const char **ret_parameter)
{
	struct request_explain *explain = &request->explain;
	enum err err = read_needed_text(parameters, "operation", explain->operation,
	                                sizeof(explain->operation), ret_parameter);

	if (!err)
		err = read_needed_text(parameters, "key", request->key_name, sizeof(request->key_name),
		                       ret_parameter);
	if (!err)
		err = read_needed_text(parameters, "frontend", explain->frontend, sizeof(explain->frontend),
		                       ret_parameter);
	return err ? err : read_other(parameters, request, ret_parameter);
}

/* ---- writing answers ---- */

static void write_unwrap(struct json_writer *writer, const struct request *request)
{
	const struct key_fact *fact = &request->key_facts[0];

	json_put_integer(writer, "index", request->index);
	json_put_string(writer, "key", fact->id);
	json_put_string(writer, "name", fact->name);
	json_put_base64(writer, "fileKey", secret_reveal(request->file_key));
}

static void write_slots(struct json_writer *writer, const struct key_fact *fact)
{
	json_begin_array(writer, "slots");
	for (size_t i = 0; i < fact->slot_count; i++) {
		json_begin_object(writer, NULL);
		json_put_string(writer, "token", fact->slots[i].token);
		json_put_boolean(writer, "present", fact->slots[i].present);
		json_put_string(writer, "parent", fact->slots[i].parent[0] ? fact->slots[i].parent : NULL);
		json_end_object(writer);
	}
	json_end_array(writer);
}

static void write_key(struct json_writer *writer, const char *name, const struct key_fact *fact)
{
	json_begin_object(writer, name);
	json_put_string(writer, "id", fact->id);
	json_put_string(writer, "name", fact->name);
	json_put_string(writer, "kind", fact->kind);
	json_put_string(writer, "class", fact->class);
	json_put_string(writer, "recipient", fact->recipient);
	json_put_string(writer, "created", fact->created);
	write_slots(writer, fact);
	json_put_boolean(writer, "usable", fact->usable);
	if (fact->unlocked >= 0)
		json_put_integer(writer, "unlocked", fact->unlocked);
	json_end_object(writer);
}

static void write_keys(struct json_writer *writer, const struct request *request)
{
	json_begin_array(writer, "keys");
	for (size_t i = 0; i < request->fact_count; i++)
		write_key(writer, NULL, &request->key_facts[i]);
	json_end_array(writer);
	if (request->more_from)
		json_put_integer(writer, "next", request->more_from);
}

static void write_token(struct json_writer *writer, const struct token_fact *fact)
{
	const struct token_status *status = &fact->status;

	json_begin_object(writer, NULL);
	json_put_string(writer, "uri", fact->uri);
	json_put_boolean(writer, "present", status->present);
	json_put_boolean(writer, "simulation", status->simulation);
	json_put_string(writer, "manufacturer", status->manufacturer);
	json_put_string(writer, "serial", status->serial);
	json_put_string(writer, "parent", fact->parent[0] ? fact->parent : NULL);
	json_put_boolean(writer, "inLockout", status->in_lockout);
	if (status->pin_tries_left >= 0)
		json_put_integer(writer, "pinTriesLeft", status->pin_tries_left);
	if (status->pin_recovery)
		json_put_integer(writer, "pinRecoverySeconds", status->pin_recovery);
	json_put_integer(writer, "commands", status->commands);
	if (fact->box_key_known)
		json_put_base64(writer, "boxKey", bytes_of(fact->box_key, TOKEN_BOX_KEY_LEN));
	json_put_string(writer, "problem", fact->problem);
	json_put_string(writer, "hint", fact->hint[0] ? fact->hint : NULL);
	json_end_object(writer);
}

static void write_tokens(struct json_writer *writer, const struct request *request)
{
	json_begin_array(writer, "tokens");
	for (size_t i = 0; i < request->fact_count; i++)
		write_token(writer, &request->token_facts[i]);
	json_end_array(writer);
}

static void write_status(struct json_writer *writer, const struct request *request)
{
	const struct status_fact *status = request->status;

	json_put_string(writer, "version", TOKEND_VERSION);
	json_put_integer(writer, "pid", getpid());
	json_put_string(writer, "mode", status->mode);
	json_put_integer(writer, "uid", status->uid);
	json_put_string(writer, "startedAt", status->started_at);
	json_put_string(writer, "stateDirectory", status->state_directory);
	json_put_string(writer, "runtimeDirectory", status->runtime_directory);
	json_put_string(writer, "configuration", status->configuration);
	json_put_string(writer, "policyDirectory", status->policy_directory);
	json_put_integer(writer, "policyRules", (long long)status->policy_rules);
	json_put_string(writer, "policyDigest", status->policy_digest);
	json_put_string(writer, "policyProblem", status->policy_problem);
	json_put_string(writer, "auditFile", status->audit_file);
	json_put_integer(writer, "auditRecords", (long long)status->audit_records);
	json_put_boolean(writer, "auditWorks", status->audit_works);
	json_put_boolean(writer, "memoryLocked", status->memory_locked);
	json_put_integer(writer, "keys", (long long)status->keys);
	json_put_integer(writer, "keysLeftOut", (long long)status->keys_left_out);
	json_put_integer(writer, "tokens", (long long)status->tokens);
	json_put_integer(writer, "requests", (long long)status->requests);
}

static void write_enroll(struct json_writer *writer, const struct request *request)
{
	write_key(writer, "key", &request->key_facts[0]);
}

static void write_unlock(struct json_writer *writer, const struct request *request)
{
	json_put_string(writer, "key", request->key_facts[0].id);
	json_put_string(writer, "name", request->key_facts[0].name);
	json_put_integer(writer, "seconds", request->seconds);
}

static void write_lock(struct json_writer *writer, const struct request *request)
{
	json_put_integer(writer, "locked", (long long)request->locked_count);
}

static void write_rotated(struct json_writer *writer, const struct request *request)
{
	json_put_string(writer, "file", request->rotated->file);
	json_put_integer(writer, "lastRecord", (long long)request->rotated->last);
}

static void write_explain(struct json_writer *writer, const struct request *request)
{
	json_put_string(writer, "verdict", request->explain.verdict);
	if (request->explain.rule[0])
		json_put_string(writer, "rule", request->explain.rule);
}

/* ---- the table ---- */

/* clang-format off */
static const struct method methods[] = {
	{ "Unwrap", REQUEST_UNWRAP, "age", "key stanzas recipient ", parse_unwrap, write_unwrap },
	{ "GetKeys", REQUEST_KEYS, "control", "key from ", parse_keys, write_keys },
	{ "GetTokens", REQUEST_TOKENS, "control", "", NULL, write_tokens },
	{ "GetStatus", REQUEST_STATUS, "control", "", NULL, write_status },
	{ "Enroll", REQUEST_ENROLL, "control", "name kind class token sealedPin sealedKey ", parse_enroll, write_enroll },
	{ "Unlock", REQUEST_UNLOCK, "control", "key sealedPin seconds ", parse_unlock, write_unlock },
	{ "Lock", REQUEST_LOCK, "control", "key ", parse_key, write_lock },
	{ "ExplainPolicy", REQUEST_EXPLAIN, "control", "operation key frontend uid unit ", parse_explain, write_explain },
	{ "RotateAudit", REQUEST_ROTATE, "control", "", NULL, write_rotated },
};
/* clang-format on */

static const struct method *find_method(const char *name)
{
	size_t prefix = strlen(INTERFACE ".");

	if (strncmp(name, INTERFACE ".", prefix) != 0)
		return NULL;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (strcmp(methods[i].name, name + prefix) == 0)
			return &methods[i];
	return NULL;
}

/* The first parameter that the method does not have; NULL: none. */
static const char *unknown_parameter(const struct method *method, const json_t *parameters)
{
	void *at = json_object_iter((json_t *)(uintptr_t)parameters);

	for (; at; at = json_object_iter_next((json_t *)(uintptr_t)parameters, at)) {
		const char *name = json_object_iter_key(at);
		const char *found =
		        strlen(name) > 0 && !strchr(name, ' ') ? strstr(method->parameters, name) : NULL;
		size_t len = strlen(name);

		while (found && !((found == method->parameters || found[-1] == ' ') && found[len] == ' '))
			found = strstr(found + 1, name);
		if (!found)
			return name;
	}
	return NULL;
}

/* ---- answers that need no daemon: org.varlink.service, and what is not a call of ours ---- */

static enum err put_service_info(struct buf *out)
{
	struct json_writer writer;

	varlink_reply_begin(&writer, out, NULL);
	json_put_string(&writer, "vendor", "tokend");
	json_put_string(&writer, "product", "tokend");
	json_put_string(&writer, "version", TOKEND_VERSION);
	json_put_string(&writer, "url", "");
	json_begin_array(&writer, "interfaces");
	json_put_string(&writer, NULL, SERVICE);
	json_put_string(&writer, NULL, INTERFACE);
	json_end_array(&writer);
	return varlink_reply_end(&writer);
}

static const char service_description[] =
        "interface org.varlink.service\n\n"
        "method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: "
        "[]string)\n\n"
        "method GetInterfaceDescription(interface: string) -> (description: string)\n\n"
        "error InterfaceNotFound (interface: string)\n"
        "error MethodNotFound (method: string)\n"
        "error MethodNotImplemented (method: string)\n"
        "error InvalidParameter (parameter: string)\n";

/* What is longer than any name of ours is not repeated: it would wait here at the cost of all, and be up to six times as long. */
static enum err put_one(struct buf *out, const char *error, const char *name, const char *value)
{
	struct json_writer writer;

	varlink_reply_begin(&writer, out, error);
	json_put_string(&writer, name, error && strlen(value) > VARLINK_METHOD_MAX ? "" : value);
	return varlink_reply_end(&writer);
}

static enum err put_description(struct buf *out, const json_t *parameters)
{
	const char *name = json_string_value(json_object_get(parameters, "interface"));

	if (!name)
		return put_one(out, SERVICE ".InvalidParameter", "parameter", "interface");
	if (strcmp(name, INTERFACE) == 0)
		return put_one(out, NULL, "description", interface_text);
	if (strcmp(name, SERVICE) == 0)
		return put_one(out, NULL, "description", service_description);
	return put_one(out, SERVICE ".InterfaceNotFound", "interface", name);
}

static enum err put_local(struct buf *out, const struct varlink_call *call)
{
	char interface[VARLINK_METHOD_MAX + 1];
	const char *dot = strrchr(call->method, '.');
	size_t len = dot ? (size_t)(dot - call->method) : 0;

	if (strcmp(call->method, SERVICE ".GetInfo") == 0)
		return put_service_info(out);
	if (strcmp(call->method, SERVICE ".GetInterfaceDescription") == 0)
		return put_description(out, call->parameters);
	memcpy(interface, call->method, len);
	interface[len] = '\0';
	if (strcmp(interface, INTERFACE) == 0 || strcmp(interface, SERVICE) == 0)
		return put_one(out, SERVICE ".MethodNotFound", "method", call->method);
	return put_one(out, SERVICE ".InterfaceNotFound", "interface", interface);
}

/* Waits in the queue like every other answer, as text. */
static enum err answer_text(struct client *client, struct buf *text, bool oneway)
{
	struct request *request = NULL;
	enum err err = request_new(client, REQUEST_LOCAL, "control", &request);

	if (err)
		return err;
	request->silent = oneway;
	request->local = malloc(buf_len(text));
	if (!request->local) {
		request_free(request);
		return ERR_NOMEM;
	}
	memcpy(request->local, buf_bytes(text).data, buf_len(text));
	request->tag = buf_len(text);
	request_answer_locally(request, OK);
	return OK;
}

/* ---- in and out ---- */

/* sentence NULL: the error's own. */
static enum err answer_error(struct client *client, enum err answer, const char *sentence, bool oneway)
{
	struct request *request = NULL;
	enum err err = request_new(client, REQUEST_LOCAL, "control", &request);

	if (err)
		return err;
	request->silent = oneway;
	if (sentence)
		(void)snprintf(request->message, sizeof(request->message), "%s", sentence);
	request_answer_locally(request, answer);
	return OK;
}

static enum err submit(struct client *client, const struct method *method, const struct varlink_call *call,
                       const char **ret_parameter)
{
	CLEANUP(request_freep) struct request *request = NULL;
	enum err err;

	*ret_parameter = unknown_parameter(method, call->parameters);
	if (*ret_parameter)
		return ERR_USAGE;
	err = request_new(client, method->kind, method->via, &request);
	if (!err && method->parse)
		err = method->parse(call->parameters, request, ret_parameter);
	if (err)
		return err;
	request->silent = call->oneway;
	request->tag = (uint64_t)(method - methods);
	request_submit(TAKE(request));
	return OK;
}

static enum err answer_call(struct client *client, const struct varlink_call *call)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	const struct method *method = find_method(call->method);
	const char *parameter = NULL;
	enum err err = OK;

	if (call->upgrade)
		return answer_error(client, ERR_UNSUPPORTED, "no method upgrades its connection",
		                    call->oneway);
	if (method)
		err = submit(client, method, call, &parameter);
	if (method && err == OK)
		return OK;
	if (err && err != ERR_USAGE)
		return answer_error(client, err, NULL, call->oneway);
	err = buf_new(REPLY_MAX, &text);
	if (!err && method)
		err = put_one(text, SERVICE ".InvalidParameter", "parameter", parameter);
	else if (!err)
		err = put_local(text, call);
	return err ? err : answer_text(client, text, call->oneway);
}

/* What cannot be read is answered once more, so that whoever wrote it learns why, and is the connection's last word. */
static enum err refuse_message(struct client *client, const char *sentence, size_t len, size_t *ret_taken)
{
	*ret_taken = len;
	client_close_after_answers(client);
	return answer_error(client, ERR_BAD_MESSAGE, sentence, false);
}

static enum err control_input(struct client *client, struct bytes data, size_t *ret_taken)
{
	struct varlink_call call;
	size_t len = 0;
	enum err err = varlink_find_message(data, &len);

	if (err == ERR_AGAIN)
		return err;
	if (err)
		return refuse_message(client, TOO_LONG, data.len, ret_taken);
	if (varlink_parse(bytes_of(data.data, len - 1), &call))
		return refuse_message(client, NOT_A_CALL, len, ret_taken);
	*ret_taken = len;
	err = answer_call(client, &call);
	varlink_call_done(&call);
	return err;
}

static void put_pin_needed(struct json_writer *writer, const struct request *request)
{
	json_put_string(writer, "key", request->key_facts[0].id);
	json_put_string(writer, "name", request->key_facts[0].name);
	if (request->box_key_known)
		json_put_base64(writer, "boxKey", bytes_of(request->box_key, TOKEN_BOX_KEY_LEN));
}

static enum err put_error(const struct request *request, struct buf *out)
{
	const struct err_info *info = err_info(request->err);
	struct json_writer writer;

	varlink_reply_begin(&writer, out, info->varlink);
	json_put_string(&writer, "message", request->message[0] ? request->message : info->text);
	if (request->hint[0])
		json_put_string(&writer, "hint", request->hint);
	if (request->err == ERR_PIN_NEEDED && request->fact_count)
		put_pin_needed(&writer, request);
	if (request->err == ERR_PIN_WRONG && request->tries_left_known)
		json_put_integer(&writer, "triesLeft", request->tries_left);
	return varlink_reply_end(&writer);
}

static enum err control_reply(const struct request *request, struct buf *out)
{
	struct json_writer writer;

	if (request->local)
		return buf_put(out, bytes_of(request->local, request->tag));
	if (request->err)
		return put_error(request, out);
	varlink_reply_begin(&writer, out, NULL);
	methods[request->tag].write(&writer, request);
	return varlink_reply_end(&writer);
}

const struct frontend control_frontend = {
	.name = "control",
	.max_message = VARLINK_MESSAGE_MAX,
	.max_reply = REPLY_MAX,
	.max_requests = 16,
	.backlog =
	        32, /* its clients wait in connect(2) until there is room: a long queue would only be one that others can fill */
	.patience_ms = 10000,
	.input = control_input,
	.reply = control_reply,
};
