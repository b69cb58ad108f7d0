#include "cli/daemon.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/shown.h"
#include "cli/token_facts.h"
#include "common/clock.h"
#include "common/encoding.h"
#include "common/key.h"
#include "formats/recipient.h"

#define BOX_KEY_LEN crypto_box_PUBLICKEYBYTES
#define SEALED_PLAIN_MAX 128U
#define AWAIT_STEP_MS 20

void daemon_done(struct daemon *daemon)
{
	daemon->control = control_free(daemon->control);
}

#define BINARY "/build/release/bin/"
#define TRIAL_ENVIRONMENT "/build/trial/env"

/* The environment of a trial that stands where tools/try puts it, beside the program that runs; false: there is none. */
static bool find_trial(char *path, size_t len)
{
	ssize_t length = readlink("/proc/self/exe", path, len - 1);
	char *end;

	path[length < 0 ? 0 : length] = '\0';
	end = strstr(path, BINARY);
	if (!end || len - (size_t)(end - path) < sizeof(TRIAL_ENVIRONMENT))
		return false;
	memcpy(end, TRIAL_ENVIRONMENT, sizeof(TRIAL_ENVIRONMENT));
	return access(path, R_OK) == 0;
}

static void hint_no_daemon(struct problem *problem)
{
	char trial[PROBLEM_TEXT_MAX / 2];

	if (getenv("TOKEND_RUNTIME_DIR"))
		problem_hint(
		        problem,
		        "start that tokend again, or the trial: tools/try; without TOKEND_RUNTIME_DIR in the "
		        "environment the system's tokend is asked");
	else if (find_trial(trial, sizeof(trial)))
		problem_hint(problem, ". %s   for the trial; sudo systemctl start tokend   for the system's",
		             trial);
	else
		problem_hint(problem, "sudo systemctl start tokend   (if that fails, journalctl -u tokend -e "
		                      "says why; or, for yourself alone: tokend --user &)");
}

static enum err explain_no_daemon(struct problem *problem)
{
	char path[4096];

	control_path(path, sizeof(path));
	(void)problem_set(problem, ERR_NO_DAEMON, "tokend is not running: nobody listens on %s", path);
	hint_no_daemon(problem);
	return ERR_NO_DAEMON;
}

/* The refusal of control_connect, whose reason is who would have got our PINs. */
static enum err explain_stranger(struct problem *problem, uid_t stranger)
{
	char path[4096];

	control_path(path, sizeof(path));
	(void)problem_set(
	        problem, ERR_DENIED,
	        "the daemon on %s is run by uid %lu, who is neither root nor you, and was told nothing", path,
	        (unsigned long)stranger);
	problem_hint(problem,
	             "ls -ld %s; unset TOKEND_RUNTIME_DIR XDG_RUNTIME_DIR   asks the system's tokend", path);
	return ERR_DENIED;
}

/* What keeps us out: the socket, or the directory on the way to it beyond which nothing can be seen. */
static bool find_barrier(const char *path, struct stat *ret_status)
{
	char place[4096];

	(void)snprintf(place, sizeof(place), "%s", path);
	while (lstat(place, ret_status) < 0) {
		char *slash = strrchr(place, '/');

		if (!slash || slash == place)
			return false;
		*slash = '\0';
	}
	return true;
}

/* Of a directory of somebody's own the group is no way in: behind it is the next one. */
static void hint_access(struct problem *problem, const char *path, const struct stat *barrier)
{
	bool system = strncmp(path, "/run/tokend/", strlen("/run/tokend/")) == 0;
	bool of_group = S_ISDIR(barrier->st_mode) ? system && (barrier->st_mode & S_IXGRP)
	                                          : (barrier->st_mode & S_IWGRP) != 0;
	const struct group *group = of_group && barrier->st_gid != 0 ? getgrgid(barrier->st_gid) : NULL;

	if (group)
		problem_hint(problem, "sudo usermod -aG %s \"$USER\", then log in again", group->gr_name);
	else if (system)
		problem_hint(problem, "sudo ls -ld /run/tokend %s   shows who may", path);
	else
		problem_hint(problem, "unset TOKEND_RUNTIME_DIR XDG_RUNTIME_DIR   asks the system's tokend; "
		                      "tokend --user &   runs one of your own");
}

/* A tokend of somebody's own, a trial most of all, is not for others: to be in a group does not help there. */
static enum err explain_denied(struct problem *problem, const char *path)
{
	struct stat barrier = { .st_uid = 0 };
	const struct passwd *owner = find_barrier(path, &barrier) ? getpwuid(barrier.st_uid) : NULL;

	if (owner)
		(void)problem_set(problem, ERR_DENIED,
		                  "you may not use the socket of tokend, %s, which is %s's", path,
		                  owner->pw_name);
	else
		(void)problem_set(problem, ERR_DENIED,
		                  "you may not use the socket of tokend, %s, which is uid %lu's", path,
		                  (unsigned long)barrier.st_uid);
	hint_access(problem, path, &barrier);
	return ERR_DENIED;
}

static enum err explain_connect(struct problem *problem, enum err err)
{
	char path[4096];

	if (err == ERR_NO_DAEMON || err == ERR_NO_FILE)
		return explain_no_daemon(problem);
	control_path(path, sizeof(path));
	if (err == ERR_DENIED || err == ERR_FILE_ACCESS)
		return explain_denied(problem, path);
	return problem_set(problem, err, "cannot connect to tokend on %s: %s", path, err_info(err)->text);
}

/* To a person alone: what a program reads is to be the same, however slow a token is. */
static void say_waiting(void)
{
	if (isatty(STDERR_FILENO))
		(void)fprintf(stderr, "%s: no answer from tokend yet, still waiting (Ctrl-C gives up)\n",
		              program_invocation_short_name);
}

static enum err daemon_connect(struct daemon *daemon, struct problem *problem)
{
	uid_t stranger = (uid_t)-1;
	enum err err;

	if (daemon->control && !control_has_ended(daemon->control))
		return OK;
	daemon->control = control_free(daemon->control);
	err = control_connect(&daemon->control, &stranger);
	if (stranger != (uid_t)-1)
		return explain_stranger(problem, stranger);
	if (err)
		return explain_connect(problem, err);
	control_say_waiting(daemon->control, say_waiting);
	return OK;
}

/* What to type next, when the daemon said none itself. */
static const char *usual_hint(enum err err)
{
	static const struct {
		enum err err;
		const char *hint;
	} hints[] = {
		{ ERR_DENIED,
		  "tokenctl keys   lists the keys that you may see; tokenctl policy explain says why not" },
		{ ERR_NO_KEY, "tokenctl keys   lists the keys that you may see" },
		{ ERR_NO_TOKEN, "tokenctl tokens" },
		{ ERR_TOKEN_STATE, "tokenctl tokens" },
		{ ERR_PIN_LOCKED, "tokenctl tokens" },
		{ ERR_TIMEOUT, "tokenctl doctor" },
		{ ERR_AUDIT, "tokenctl doctor" },
		{ ERR_TOKEN, "journalctl -u tokend -e" },
		{ ERR_BUG, "journalctl -u tokend -e" },
	};

	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (hints[i].err == err)
			return hints[i].hint;
	return "";
}

/* Which key was asked for is known here, and the daemon says the same of one that is denied and one that is not there. */
static void name_key(struct problem *problem, enum err err, const char *key)
{
	if (strcmp(problem->message, err_info(err)->text) != 0)
		return;
	if (err == ERR_DENIED)
		(void)snprintf(problem->message, sizeof(problem->message), "%s: %s", err_info(err)->text,
		               key);
	else if (err == ERR_NO_KEY)
		(void)snprintf(problem->message, sizeof(problem->message), "there is no key %s", key);
}

/* A member or a method that the daemon does not take, although we ask as we should: it is of another version, as after an update without a restart. False when it said something else. */
static bool explain_version(struct problem *problem, enum err err, const json_t *reply)
{
	const char *unknown = json_string_member(reply, err == ERR_USAGE ? "parameter" : "method");

	if (!unknown || (err != ERR_USAGE && err != ERR_UNSUPPORTED))
		return false;
	(void)problem_set(problem, err, "the tokend that runs does not take \"%s\" as this tokenctl says it",
	                  unknown);
	problem_hint(problem,
	             "sudo systemctl restart tokend   when it was updated and runs as it was before");
	return true;
}

/* What the daemon said for itself, or what the error's row says. key: of the question, or "". */
static void explain_reply(struct problem *problem, enum err err, const char *key, const json_t *reply)
{
	const char *message = json_string_member(reply, "message");
	const char *hint = json_string_member(reply, "hint");

	if (explain_version(problem, err, reply))
		return;
	(void)problem_set(problem, err, "%s", message ? message : err_info(err)->text);
	problem_hint(problem, "%s", hint ? hint : usual_hint(err));
	if (key[0])
		name_key(problem, err, key);
}

/* What a daemon says, be it one that hostile code runs in, is shown by a terminal and not obeyed. What is as it should be is not touched: it may hold a file key. */
static enum err clean(json_t *value)
{
	CLEANUP(freep) char *text = NULL;
	const char *key;
	json_t *member;
	size_t i;
	enum err err = OK;

	json_object_foreach(value, key, member) err = err ? err : clean(member);
	json_array_foreach(value, i, member) err = err ? err : clean(member);
	if (err || !json_is_string(value) || shown_is_clean(json_string_value(value)))
		return err;
	text = strdup(json_string_value(value));
	if (!text)
		return ERR_NOMEM;
	shown_clean(text);
	return json_string_set(value, text) < 0 ? ERR_NOMEM : OK;
}

enum err daemon_call(struct daemon *daemon, const char *method, json_t *parameters, int deadline_ms,
                     struct problem *problem, json_t **ret_reply)
{
	const char *name = json_string_member(parameters, "key");
	char key[KEY_NAME_MAX + 1];
	enum err err = daemon_connect(daemon, problem);

	name = name ? name : json_string_member(parameters, "name"); /* of one that is to be made */
	(void)snprintf(key, sizeof(key), "%s", name ? name : "");
	*ret_reply = NULL;
	if (err) {
		json_decref(parameters);
		return err;
	}
	err = control_call(daemon->control, method, parameters, deadline_ms, ret_reply);
	if (clean(*ret_reply))
		return ERR_NOMEM;
	if (err == ERR_NO_DAEMON) {
		(void)problem_set(problem, err, "tokend ended before it answered");
		if (getenv("TOKEND_RUNTIME_DIR"))
			problem_hint(
			        problem,
			        "tools/try   starts the trial again; tokend.log in its directory says why "
			        "it ended");
		else
			problem_hint(problem,
			             "journalctl -u tokend -e   says why; sudo systemctl start tokend");
	} else if (err) {
		explain_reply(problem, err, key, *ret_reply);
	}
	daemon->answered = !err || daemon->answered;
	return err;
}

/* Until it is there again, or patience is at its end: a restart takes a moment, and an update of the package a few. */
static enum err daemon_await(struct daemon *daemon, struct problem *problem)
{
	enum err err = ERR_NO_DAEMON;

	for (int waited = 0; err == ERR_NO_DAEMON && waited < daemon->patience_ms; waited += AWAIT_STEP_MS) {
		clock_pause(AWAIT_STEP_MS);
		err = daemon_connect(daemon, problem);
	}
	daemon->answered = false; /* of the next one; it is waited for once */
	return err;
}

/* ---- keys ---- */

static bool same_key(const json_t *one, const json_t *other)
{
	const char *id = json_string_member(one, "id"), *other_id = json_string_member(other, "id");

	return id && other_id && strcmp(id, other_id) == 0;
}

/* One that was enrolled meanwhile moved the others by one place, so that the last one comes again. */
static enum err add_keys(json_t *keys, const json_t *page)
{
	const json_t *last = json_array_get(keys, json_array_size(keys) - 1);
	size_t first = json_array_size(keys) > 0 && same_key(last, json_array_get(page, 0));

	for (size_t i = first; i < json_array_size(page); i++)
		if (json_array_append(keys, json_array_get(page, i)))
			return ERR_NOMEM;
	return OK;
}

static enum err keys_page(struct daemon *daemon, json_t *parameters, int deadline_ms, struct problem *problem,
                          json_t *keys, json_int_t *ret_next)
{
	CLEANUP(json_decrefp) json_t *reply = NULL;
	enum err err = parameters ? daemon_call(daemon, "GetKeys", parameters, deadline_ms, problem, &reply)
	                          : ERR_NOMEM;

	if (!err && !json_is_array(json_object_get(reply, "keys")))
		err = problem_set(problem, ERR_BAD_MESSAGE, "tokend's answer has no keys");
	if (!err)
		err = add_keys(keys, json_object_get(reply, "keys"));
	*ret_next = json_integer_member(reply, "next", 0);
	return err;
}

enum err daemon_keys(struct daemon *daemon, const char *name, int deadline_ms, struct problem *problem,
                     json_t **ret_keys)
{
	CLEANUP(json_decrefp) json_t *keys = json_array();
	json_int_t from = 0, next = 0;
	enum err err = keys ? OK : ERR_NOMEM;

	for (unsigned pages = 0; !err && (pages == 0 || next); pages++) {
		if (pages == DAEMON_PAGES_MAX || (next && next <= from))
			return problem_set(problem, ERR_BAD_MESSAGE, "tokend's list of keys has no end");
		from = next;
		err = keys_page(daemon,
		                name ? json_pack("{s:s}", "key", name) : json_pack("{s:I}", "from", from),
		                deadline_ms, problem, keys, &next);
	}
	if (!err)
		*ret_keys = TAKE(keys);
	return err;
}

/* ---- secrets ---- */

enum err daemon_seal(const char *box_key, const struct secret *secret, struct problem *problem,
                     char **ret_sealed)
{
	uint8_t public_key[BOX_KEY_LEN];
	uint8_t sealed[SEALED_PLAIN_MAX + crypto_box_SEALBYTES];
	CLEANUP(buf_freep) struct buf *text = NULL;
	struct bytes plain = secret_reveal(secret);
	size_t len = 0;
	enum err err;

	if (plain.len > SEALED_PLAIN_MAX)
		return problem_set(problem, ERR_USAGE, "a PIN is at most %u bytes long", PIN_MAX);
	err = base64_decode(bytes_of_string(box_key), BASE64_PADDED, public_key, sizeof(public_key), &len);
	if (err || len != sizeof(public_key) ||
	    crypto_box_seal(sealed, plain.data, plain.len, public_key) != 0)
		return problem_set(problem, ERR_BAD_MESSAGE, "tokend sent a box key that is none");
	err = buf_new(512, &text);
	if (!err)
		err = base64_put(text, bytes_of(sealed, plain.len + crypto_box_SEALBYTES), BASE64_PADDED);
	if (err)
		return err;
	*ret_sealed = strdup(buf_string(text));
	return *ret_sealed ? OK : ERR_NOMEM;
}

static const char *box_key_of_token(const json_t *tokens, const char *uri)
{
	const json_t *list = json_object_get(tokens, "tokens");

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *token = json_array_get(list, i);
		const char *name = json_string_member(token, "uri");

		if (name && uri && strcmp(name, uri) == 0)
			return json_string_member(token, "boxKey");
	}
	return NULL;
}

const char *daemon_box_key_for(const json_t *tokens, const json_t *key)
{
	const json_t *slots = json_object_get(key, "slots");

	for (size_t i = 0; i < json_array_size(slots); i++) {
		const json_t *slot = json_array_get(slots, i);
		const char *box_key = box_key_of_token(tokens, json_string_member(slot, "token"));

		if (json_boolean_member(slot, "present") && box_key)
			return box_key;
	}
	return NULL;
}

enum err daemon_pin_check(struct daemon *daemon, const char *box_key, struct problem *problem)
{
	CLEANUP(json_decrefp) json_t *tokens = NULL;
	struct problem ignored = { 0 };

	if (daemon_call(daemon, "GetTokens", NULL, DAEMON_TOKEN_DEADLINE_MS, &ignored, &tokens))
		return OK;
	return token_pin_check(token_of_box_key(tokens, box_key), problem);
}

static void explain_wrong_pin(struct problem *problem, const json_t *reply, const char *key)
{
	json_int_t left = json_integer_member(reply, "triesLeft", -1);

	if (left < 0)
		problem_hint(problem, "tokenctl unlock %s   tries again", key);
	else if (left == 0)
		problem_hint(problem, "tokenctl tokens   shows when a try is left; none is now");
	else
		problem_hint(problem, "tokenctl unlock %s   tries again; %lld %s left", key, (long long)left,
		             left == 1 ? "try is" : "tries are");
}

enum err daemon_unlock(struct daemon *daemon, const char *key, const char *box_key, const struct secret *pin,
                       unsigned seconds, struct problem *problem, json_t **ret_reply)
{
	CLEANUP(freep) char *sealed = NULL;
	json_t *parameters;
	enum err err;

	*ret_reply = NULL;
	err = daemon_seal(box_key, pin, problem, &sealed);
	if (err)
		return err;
	parameters = json_pack("{s:s, s:s}", "key", key, "sealedPin", sealed);
	if (!parameters)
		return ERR_NOMEM;
	if (seconds && json_object_set_new(parameters, "seconds", json_integer((json_int_t)seconds)) < 0) {
		json_decref(parameters);
		return ERR_NOMEM;
	}
	err = daemon_call(daemon, "Unlock", parameters, DAEMON_TOKEN_DEADLINE_MS, problem, ret_reply);
	if (err == ERR_PIN_WRONG)
		explain_wrong_pin(problem, *ret_reply, key);
	return err;
}

static json_t *stanza_json(const struct age_stanza *stanza)
{
	CLEANUP(buf_freep) struct buf *body = NULL;
	CLEANUP(json_decrefp) json_t *arguments = json_array();

	for (size_t i = 1; i < stanza->argument_count; i++) {
		struct bytes argument = stanza->arguments[i];

		if (json_array_append_new(arguments,
		                          json_stringn((const char *)argument.data, argument.len)) < 0)
			return NULL;
	}
	if (buf_new(256, &body) || base64_put(body, stanza->body, BASE64_UNPADDED))
		return NULL;
	return json_pack("{s:s%, s:O, s:s}", "type", (const char *)stanza->arguments[0].data,
	                 stanza->arguments[0].len, "arguments", arguments, "body", buf_string(body));
}

struct question {
	json_t *stanzas; /* owned */
	size_t indices[AGE_STANZAS_MAX]; /* of each that is sent */
};

static enum err question_add(struct question *question, const struct daemon_unwrap *unwrap, size_t index)
{
	struct token_stanza ignored;
	enum err err = token_stanza_read(&unwrap->stanzas[index], &ignored);

	if (err == ERR_NO_MATCH)
		return OK;
	if (err)
		return err;
	question->indices[json_array_size(question->stanzas)] = index;
	if (json_array_append_new(question->stanzas, stanza_json(&unwrap->stanzas[index])) < 0)
		return ERR_NOMEM;
	return OK;
}

static enum err question_make(const struct daemon_unwrap *unwrap, struct question *question)
{
	question->stanzas = json_array();
	for (size_t i = 0; i < unwrap->stanza_count && i < AGE_STANZAS_MAX; i++) {
		enum err err = question_add(question, unwrap, i);

		if (err)
			return err;
	}
	return json_array_size(question->stanzas) ? OK : ERR_NO_MATCH;
}

/* A recipient of another kind than tokens hold keys of, or what is none: then its stanzas decide, as in an age file. */
static bool names_key(struct bytes line)
{
	CLEANUP(recipient_done) struct recipient recipient = { 0 };
	struct bytes what;

	return recipient_parse(line, &recipient, &what) == OK;
}

static json_t *question_parameters(const struct daemon_unwrap *unwrap, const struct question *question)
{
	CLEANUP(json_decrefp) json_t *parameters = json_pack("{s:O}", "stanzas", question->stanzas);
	const char *line = (const char *)unwrap->recipient.data;

	if (!parameters)
		return NULL;
	if (unwrap->key && json_object_set_new(parameters, "key", json_string(unwrap->key)) < 0)
		return NULL;
	if (names_key(unwrap->recipient) &&
	    json_object_set_new(parameters, "recipient", json_stringn(line, unwrap->recipient.len)) < 0)
		return NULL;
	return TAKE(parameters);
}

static enum err question_ask(struct daemon *daemon, const struct daemon_unwrap *unwrap,
                             const struct question *question, struct problem *problem, json_t **ret_reply)
{
	json_t *parameters = question_parameters(unwrap, question);

	*ret_reply = NULL;
	if (!parameters)
		return ERR_NOMEM;
	return daemon_call(daemon, "Unwrap", parameters, DAEMON_TOKEN_DEADLINE_MS, problem, ret_reply);
}

/* A tokend that is started anew while many files are opened costs none of them: to unwrap twice is the same as once. */
static enum err question_ask_patiently(struct daemon *daemon, const struct daemon_unwrap *unwrap,
                                       const struct question *question, struct problem *problem,
                                       json_t **ret_reply)
{
	enum err err = question_ask(daemon, unwrap, question, problem, ret_reply);

	if (err != ERR_NO_DAEMON || !daemon->answered || daemon->patience_ms == 0)
		return err;
	err = daemon_await(daemon, problem);
	return err ? err : question_ask(daemon, unwrap, question, problem, ret_reply);
}

/* refused: the parameters of PinNeeded. */
static enum err unlock_asking(struct daemon *daemon, const struct daemon_unwrap *unwrap,
                              const json_t *refused, struct problem *problem)
{
	const char *key = json_string_member(refused, "key");
	const char *name = json_string_member(refused, "name");
	const char *box_key = json_string_member(refused, "boxKey");
	CLEANUP(secret_freep) struct secret *pin = NULL;
	CLEANUP(json_decrefp) json_t *reply = NULL;
	enum err err = daemon_pin_check(daemon, box_key, problem);

	if (err)
		return err;
	err = ERR_PIN_NEEDED;
	if (unwrap->ask && box_key && key)
		err = unwrap->ask(unwrap->ask_context, name ? name : key, &pin);
	if (err == ERR_PIN_NEEDED && name)
		problem_hint(problem, "tokenctl unlock %s", name);
	if (err)
		return err;
	err = daemon_unlock(daemon, key, box_key, pin, 0, problem, &reply);
	if (err == ERR_PIN_WRONG && name)
		explain_wrong_pin(problem, reply, name);
	return err;
}

static enum err read_answer(const json_t *reply, const struct question *question, struct problem *problem,
                            size_t *ret_index, struct secret **ret_file_key)
{
	const char *text = json_string_member(reply, "fileKey");
	json_int_t index = json_integer_member(reply, "index", -1);
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	size_t len = 0;
	enum err err = secret_new(FILE_KEY_LEN, &file_key);

	if (err)
		return err;
	if (!text || index < 0 || (size_t)index >= json_array_size(question->stanzas) ||
	    base64_decode(bytes_of_string(text), BASE64_PADDED, secret_fill(file_key), FILE_KEY_LEN, &len) ||
	    len != FILE_KEY_LEN)
		return problem_set(problem, ERR_BAD_MESSAGE, "tokend's answer holds no file key");
	*ret_index = question->indices[index];
	*ret_file_key = TAKE(file_key);
	return OK;
}

enum err daemon_unwrap(struct daemon *daemon, const struct daemon_unwrap *unwrap, struct problem *problem,
                       size_t *ret_index, struct secret **ret_file_key)
{
	struct question question;
	CLEANUP(json_decrefp) json_t *reply = NULL;
	CLEANUP(json_decrefp) json_t *refused = NULL;
	enum err err = question_make(unwrap, &question);

	if (!err)
		err = question_ask_patiently(daemon, unwrap, &question, problem, &reply);
	if (err == ERR_PIN_NEEDED) {
		refused = TAKE(reply);
		err = unlock_asking(daemon, unwrap, refused, problem);
		if (!err)
			err = question_ask(daemon, unwrap, &question, problem, &reply);
	}
	if (!err)
		err = read_answer(reply, &question, problem, ret_index, ret_file_key);
	json_decref(question.stanzas);
	return err;
}
