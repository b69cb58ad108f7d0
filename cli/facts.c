#include "cli/facts.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/key.h"

static enum err no_such_key(const char *name, struct problem *problem)
{
	(void)problem_set(problem, ERR_NO_KEY, "there is no key %s that you may see", name);
	problem_hint(problem, "tokenctl keys   lists those that you may");
	return ERR_NO_KEY;
}

/* An id is a valid name as well. */
enum err key_argument_check(const char *name, struct problem *problem)
{
	if (key_name_valid(bytes_of_string(name)))
		return OK;
	(void)problem_set(problem, ERR_USAGE, "'%s' is not a name of a key", name);
	problem_hint(problem, "tokenctl keys   lists the keys that you may see");
	return ERR_USAGE;
}

enum err keys_get(struct daemon *daemon, const char *name, struct problem *problem, json_t **ret_keys)
{
	CLEANUP(json_decrefp) json_t *keys = NULL;
	enum err err = name ? key_argument_check(name, problem) : OK;

	if (!err)
		err = daemon_keys(daemon, name, DAEMON_DEADLINE_MS, problem, &keys);
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

bool key_has_pin(const json_t *key)
{
	return json_integer_member(key, "unlocked", -1) >= 0;
}

/* At the same place stands another key than the slot was made under, or none. */
static bool slot_is_foreign(const json_t *slot, const json_t *token)
{
	const char *needed = json_string_member(slot, "parent"), *there = json_string_member(token, "parent");
	size_t place = needed ? strcspn(needed, ":") : 0;

	return place > 0 && there && strncmp(needed, there, place + 1) == 0 && strcmp(needed, there) != 0;
}

bool key_is_foreign(const json_t *key)
{
	const json_t *slots = json_object_get(key, "slots");
	bool foreign = false;

	for (size_t i = 0; i < json_array_size(slots); i++)
		foreign = foreign || json_boolean_member(json_array_get(slots, i), "foreign");
	return foreign && !json_boolean_member(key, "usable");
}

/* What the broker knows is that the token's helper runs. */
static void mark_absent(json_t *key, const json_t *tokens)
{
	const json_t *slots = json_object_get(key, "slots");
	bool usable = false;

	for (size_t i = 0; i < json_array_size(slots); i++) {
		json_t *slot = json_array_get(slots, i);
		const json_t *token = token_of_uri(tokens, json_string_member(slot, "token"));

		if (token && !json_boolean_member(token, "present"))
			(void)json_object_set_new(slot, "present", json_false());
		if (slot_is_foreign(slot, token))
			(void)json_object_set_new(slot, "foreign", json_true());
		else
			usable = usable || json_boolean_member(slot, "present");
	}
	if (!usable)
		(void)json_object_set_new(key, "usable", json_false());
}

void keys_mark_absent(const json_t *keys, const json_t *tokens)
{
	for (size_t i = 0; i < json_array_size(keys); i++)
		mark_absent(json_array_get(keys, i), tokens);
}

/* Where one of several is there, that one. */
static const char *key_token_uri(const json_t *key)
{
	const json_t *slots = json_object_get(key, "slots");
	const json_t *shown = json_array_get(slots, 0);

	for (size_t i = json_array_size(slots); i > 0; i--)
		if (json_boolean_member(json_array_get(slots, i - 1), "present"))
			shown = json_array_get(slots, i - 1);
	return json_string_member(shown, "token");
}

void key_lock_text(const json_t *key, const json_t *tokens, char *text, size_t len)
{
	json_int_t seconds = json_integer_member(key, "unlocked", -1);
	const char *class = json_string_member(key, "class");
	char duration[32];

	duration_text(seconds, duration, sizeof(duration));
	if (seconds < 0)
		(void)snprintf(text, len, "no PIN");
	else if (seconds > 0 && class && strcmp(class, key_class_name(KEY_CLASS_ADMIN)) == 0)
		(void)snprintf(text, len, "open for one use");
	else if (seconds > 0)
		(void)snprintf(text, len, "open for %s", duration);
	else if (token_tries_used_up(token_of_uri(tokens, key_token_uri(key))))
		(void)snprintf(text, len, "locked, PIN tries used up");
	else
		(void)snprintf(text, len, "locked");
}

#define SHORT_ENOUGH 28U

/* The length of "tpm:swtpm" in "tpm:swtpm:path=/run/x.sock". */
static size_t driver_len(const char *uri)
{
	size_t scheme = strcspn(uri, ":");

	return uri[scheme] ? scheme + 1 + strcspn(uri + scheme + 1, ":") : scheme;
}

static bool is_other_of_driver(const char *other, const char *uri)
{
	size_t len = driver_len(uri);

	return other && driver_len(other) == len && strncmp(other, uri, len) == 0 && strcmp(other, uri) != 0;
}

/* All the tokens that a table is about, each once; many keys are on few of them. */
#define URIS_MAX 32U
struct uris {
	const char *uris[URIS_MAX]; /* borrowed */
	size_t count;
};

static void add_uri(struct uris *uris, const char *uri)
{
	for (size_t i = 0; uri && i < uris->count; i++)
		if (strcmp(uris->uris[i], uri) == 0)
			return;
	if (uri && uris->count < URIS_MAX)
		uris->uris[uris->count++] = uri;
}

/* Of a list of tokens and of one of keys; each may be NULL. */
static struct uris uris_of(const json_t *tokens, const json_t *keys)
{
	const json_t *list = json_object_get(tokens, "tokens");
	struct uris uris = { 0 };

	for (size_t i = 0; i < json_array_size(list); i++)
		add_uri(&uris, json_string_member(json_array_get(list, i), "uri"));
	for (size_t i = 0; i < json_array_size(keys); i++)
		add_uri(&uris, key_token_uri(json_array_get(keys, i)));
	return uris;
}

static bool driver_is_shared(const char *uri, const struct uris *uris)
{
	bool shared = uris->count == URIS_MAX;

	for (size_t i = 0; !shared && i < uris->count; i++)
		shared = is_other_of_driver(uris->uris[i], uri);
	return shared;
}

/* As much of uri as distinguishes it. */
static void put_token_name(const char *uri, const struct uris *uris, char *text, size_t len)
{
	if (!uri)
		uri = "";
	if (strlen(uri) <= SHORT_ENOUGH || driver_is_shared(uri, uris))
		(void)snprintf(text, len, "%s", uri);
	else
		(void)snprintf(text, len, "%.*s", (int)driver_len(uri), uri);
}

#define TOKEN_NAME_MAX 1024U

static enum err put_cells(struct table *table, const char *const *cells, size_t count)
{
	enum err err = OK;

	for (size_t i = 0; !err && i < count; i++)
		err = table_put(table, cells[i]);
	return err;
}

#define KEY_COLUMNS 7U

static const char *key_state_text(const json_t *key)
{
	if (json_boolean_member(key, "usable"))
		return "usable";
	return key_is_foreign(key) ? "of another TPM" : "token absent";
}

static enum err put_key(struct table *table, const json_t *key, const json_t *tokens, const struct uris *uris)
{
	const char *uri = key_token_uri(key);
	bool simulation = json_boolean_member(token_of_uri(tokens, uri), "simulation");
	char lock[64], name[TOKEN_NAME_MAX], token[TOKEN_NAME_MAX + 16];
	const char *cells[KEY_COLUMNS] = { json_string_member(key, "name"),
		                           json_string_member(key, "kind"),
		                           json_string_member(key, "class"),
		                           lock,
		                           key_state_text(key),
		                           token,
		                           json_string_member(key, "recipient") };

	key_lock_text(key, tokens, lock, sizeof(lock));
	put_token_name(uri, uris, name, sizeof(name));
	(void)snprintf(token, sizeof(token), "%s%s", name, simulation ? " (SIMULATION)" : "");
	return put_cells(table, cells, KEY_COLUMNS);
}

enum err keys_table(const json_t *keys, const json_t *tokens, struct table **ret_table)
{
	static const char *const heading[KEY_COLUMNS] = { "NAME",  "KIND",  "CLASS",    "PIN",
		                                          "STATE", "TOKEN", "RECIPIENT" };
	const struct uris uris = uris_of(tokens, keys);
	CLEANUP(table_freep) struct table *table = NULL;
	enum err err = table_new(KEY_COLUMNS, &table);

	if (!err)
		err = put_cells(table, heading, KEY_COLUMNS);
	for (size_t i = 0; !err && i < json_array_size(keys); i++)
		err = put_key(table, json_array_get(keys, i), tokens, &uris);
	if (!err)
		*ret_table = TAKE(table);
	return err;
}

#define TOKEN_COLUMNS 6U

/* uris: of which this one has to be told; NULL: the whole URI is shown. */
static enum err put_token(struct table *table, const json_t *token, const struct uris *uris)
{
	char name[TOKEN_NAME_MAX], tries[32] = "", commands[32];
	const char *uri = json_string_member(token, "uri");
	json_int_t left = json_integer_member(token, "pinTriesLeft", -1);
	const char *cells[TOKEN_COLUMNS] = { uris ? name : uri,
		                             token_state_text(token),
		                             json_string_member(token, "manufacturer"),
		                             json_string_member(token, "serial"),
		                             tries,
		                             commands };

	if (uris)
		put_token_name(uri, uris, name, sizeof(name));
	if (left >= 0)
		(void)snprintf(tries, sizeof(tries), "%lld", (long long)left);
	(void)snprintf(commands, sizeof(commands), "%lld",
	               (long long)json_integer_member(token, "commands", 0));
	return put_cells(table, cells, TOKEN_COLUMNS);
}

enum err tokens_table(const json_t *tokens, bool brief, struct table **ret_table)
{
	static const char *const heading[TOKEN_COLUMNS] = { "TOKEN",  "STATE",     "MODEL",
		                                            "SERIAL", "PIN TRIES", "COMMANDS" };
	const json_t *list = json_object_get(tokens, "tokens");
	const struct uris uris = uris_of(tokens, NULL);
	CLEANUP(table_freep) struct table *table = NULL;
	enum err err = table_new(TOKEN_COLUMNS, &table);

	if (!err)
		err = put_cells(table, heading, TOKEN_COLUMNS);
	for (size_t i = 0; !err && i < json_array_size(list); i++)
		err = put_token(table, json_array_get(list, i), brief ? &uris : NULL);
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
		const char *uri = json_string_member(token, "uri");
		char hint[PROBLEM_TEXT_MAX];

		if (!problem && token_tries_used_up(token))
			problem = TRIES_USED_UP;
		if (problem)
			(void)printf("%s: %s\n", uri ? uri : "token", problem);
		token_hint(token, hint, sizeof(hint));
		if (hint[0])
			(void)printf("hint: %s\n", hint);
	}
}

/* The one control character that the encoder leaves. */
static int print_piece(const char *text, size_t len, void *context)
{
	(void)context;
	for (size_t i = 0; i < len; i++)
		if (text[i] == 0x7f ? fputs("\\u007f", stdout) == EOF : putchar(text[i]) == EOF)
			return -1;
	return 0;
}

/* A terminal gets the same in ASCII alone: texts of others may be in it. */
enum err json_print(json_t *value)
{
	size_t flags = JSON_INDENT(2) | (isatty(STDOUT_FILENO) ? JSON_ENSURE_ASCII : 0);
	int result;

	if (!value)
		return ERR_NOMEM;
	result = json_dump_callback(value, print_piece, NULL, flags);
	json_decref(value);
	return result < 0 || putchar('\n') == EOF ? ERR_SYSTEM : OK;
}
