#include "cli/facts.h"

#include <stdio.h>

/* Steals reply's member. */
static enum err take_member(const json_t *reply, const char *name, struct problem *problem,
                            json_t **ret_member)
{
	json_t *member = json_object_get(reply, name);

	if (!json_is_array(member))
		return problem_set(problem, ERR_BAD_MESSAGE, "tokend's answer has no %s", name);
	*ret_member = json_incref(member);
	return OK;
}

static enum err no_such_key(const char *name, struct problem *problem)
{
	(void)problem_set(problem, ERR_NO_KEY, "there is no key %s that you may see", name);
	problem_hint(problem, "tokenctl keys   lists those that you may");
	return ERR_NO_KEY;
}

enum err keys_get(struct daemon *daemon, const char *name, struct problem *problem, json_t **ret_keys)
{
	CLEANUP(json_decrefp) json_t *reply = NULL;
	CLEANUP(json_decrefp) json_t *keys = NULL;
	json_t *parameters = name ? json_pack("{s:s}", "key", name) : json_object();
	enum err err;

	if (!parameters)
		return problem_set(problem, ERR_USAGE, "that is not a key's name");
	err = daemon_call(daemon, "GetKeys", parameters, DAEMON_DEADLINE_MS, problem, &reply);
	if (!err)
		err = take_member(reply, "keys", problem, &keys);
	if (!err && name && json_array_size(keys) != 1)
		err = no_such_key(name, problem);
	if (!err)
		*ret_keys = TAKE(keys);
	return err;
}

enum err tokens_get(struct daemon *daemon, struct problem *problem, json_t **ret_tokens)
{
	CLEANUP(json_decrefp) json_t *reply = NULL;
	enum err err = daemon_call(daemon, "GetTokens", NULL, DAEMON_TOKEN_DEADLINE_MS, problem, &reply);

	if (!err && !json_is_array(json_object_get(reply, "tokens")))
		err = problem_set(problem, ERR_BAD_MESSAGE, "tokend's answer has no tokens");
	if (!err)
		*ret_tokens = TAKE(reply);
	return err;
}

enum err status_get(struct daemon *daemon, struct problem *problem, json_t **ret_status)
{
	CLEANUP(json_decrefp) json_t *reply = NULL;
	enum err err = daemon_call(daemon, "GetStatus", NULL, DAEMON_DEADLINE_MS, problem, &reply);

	if (!err && !json_is_object(reply))
		err = problem_set(problem, ERR_BAD_MESSAGE, "tokend's answer has no status");
	if (!err)
		*ret_status = TAKE(reply);
	return err;
}

const char *token_state_text(const json_t *token)
{
	bool simulation = json_boolean_member(token, "simulation");

	if (!json_boolean_member(token, "present"))
		return "absent";
	if (json_boolean_member(token, "inLockout"))
		return simulation ? "in lockout, SIMULATION" : "in lockout";
	return simulation ? "present, SIMULATION" : "present";
}

void duration_text(json_int_t seconds, char *text, size_t len)
{
	if (seconds < 120)
		(void)snprintf(text, len, "%llds", (long long)seconds);
	else if (seconds < 7200)
		(void)snprintf(text, len, "%lldm", (long long)seconds / 60);
	else
		(void)snprintf(text, len, "%lldh", (long long)seconds / 3600);
}

void key_lock_text(const json_t *key, char *text, size_t len)
{
	json_int_t seconds = json_integer_member(key, "unlocked", -1);
	char duration[32];

	duration_text(seconds, duration, sizeof(duration));
	if (seconds < 0)
		(void)snprintf(text, len, "no PIN");
	else if (seconds == 0)
		(void)snprintf(text, len, "locked");
	else
		(void)snprintf(text, len, "open for %s", duration);
}

static const char *key_token_text(const json_t *key)
{
	const json_t *slots = json_object_get(key, "slots");

	return json_string_member(json_array_get(slots, 0), "token");
}

static enum err put_cells(struct table *table, const char *const *cells, size_t count)
{
	enum err err = OK;

	for (size_t i = 0; !err && i < count; i++)
		err = table_put(table, cells[i]);
	return err;
}

#define KEY_COLUMNS 7U

static enum err put_key(struct table *table, const json_t *key)
{
	char lock[64];
	const char *cells[KEY_COLUMNS] = { json_string_member(key, "name"),
		                           json_string_member(key, "kind"),
		                           json_string_member(key, "class"),
		                           lock,
		                           json_boolean_member(key, "usable") ? "usable" : "token absent",
		                           key_token_text(key),
		                           json_string_member(key, "recipient") };

	key_lock_text(key, lock, sizeof(lock));
	return put_cells(table, cells, KEY_COLUMNS);
}

enum err keys_table(const json_t *keys, struct table **ret_table)
{
	static const char *const heading[KEY_COLUMNS] = { "NAME",  "KIND",  "CLASS",    "PIN",
		                                          "STATE", "TOKEN", "RECIPIENT" };
	CLEANUP(table_freep) struct table *table = NULL;
	enum err err = table_new(KEY_COLUMNS, &table);

	if (!err)
		err = put_cells(table, heading, KEY_COLUMNS);
	for (size_t i = 0; !err && i < json_array_size(keys); i++)
		err = put_key(table, json_array_get(keys, i));
	if (!err)
		*ret_table = TAKE(table);
	return err;
}

#define TOKEN_COLUMNS 6U

static enum err put_token(struct table *table, const json_t *token)
{
	char tries[32] = "", commands[32];
	json_int_t left = json_integer_member(token, "pinTriesLeft", -1);
	const char *cells[TOKEN_COLUMNS] = { json_string_member(token, "uri"),
		                             token_state_text(token),
		                             json_string_member(token, "manufacturer"),
		                             json_string_member(token, "serial"),
		                             tries,
		                             commands };

	if (left >= 0)
		(void)snprintf(tries, sizeof(tries), "%lld", (long long)left);
	(void)snprintf(commands, sizeof(commands), "%lld",
	               (long long)json_integer_member(token, "commands", 0));
	return put_cells(table, cells, TOKEN_COLUMNS);
}

enum err tokens_table(const json_t *tokens, struct table **ret_table)
{
	static const char *const heading[TOKEN_COLUMNS] = { "TOKEN",  "STATE",     "MODEL",
		                                            "SERIAL", "PIN TRIES", "COMMANDS" };
	const json_t *list = json_object_get(tokens, "tokens");
	CLEANUP(table_freep) struct table *table = NULL;
	enum err err = table_new(TOKEN_COLUMNS, &table);

	if (!err)
		err = put_cells(table, heading, TOKEN_COLUMNS);
	for (size_t i = 0; !err && i < json_array_size(list); i++)
		err = put_token(table, json_array_get(list, i));
	if (!err)
		*ret_table = TAKE(table);
	return err;
}

void tokens_print_problems(const json_t *tokens)
{
	const json_t *list = json_object_get(tokens, "tokens");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *token = json_array_get(list, i);
		const char *problem = json_string_member(token, "problem");
		const char *hint = json_string_member(token, "hint");
		const char *uri = json_string_member(token, "uri");

		if (problem)
			(void)printf("%s: %s\n", uri ? uri : "token", problem);
		if (hint)
			(void)printf("hint: %s\n", hint);
	}
}

enum err json_print(json_t *value)
{
	int result;

	if (!value)
		return ERR_NOMEM;
	result = json_dumpf(value, stdout, JSON_INDENT(2));
	json_decref(value);
	return result < 0 || putchar('\n') == EOF ? ERR_SYSTEM : OK;
}
