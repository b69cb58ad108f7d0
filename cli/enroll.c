/*
 * tokenctl enroll
 *
 * Makes a key on a token, or has a token seal one that exists; proves that it works; says what to type next. PINs and imported keys are sealed here for the process that
 * talks to the token, so that the broker does not see them.
 */
#include <stdio.h>

#include "cli/facts.h"
#include "cli/identity_file.h"
#include "cli/input.h"
#include "cli/pin.h"
#include "cli/prove.h"
#include "cli/shown.h"
#include "cli/shred.h"
#include "cli/verbs.h"
#include "common/key.h"

struct enrolment {
	struct invocation *invocation; /* borrowed */
	char name[KEY_NAME_MAX + 1];
	bool name_given;
	enum key_kind kind;
	enum key_class class;
	const char *import_path; /* borrowed; NULL: make a new key */
	struct stat import_status; /* of the file, before it was read */
	struct identities imported; /* of the file; tokend's lines among them */
	const struct identity
	        *secret; /* borrowed from imported: the one to import, when import_path is set */
	struct secret *pin; /* NULL: none */
	json_t *tokens; /* GetTokens */
	const json_t *token; /* borrowed from tokens */
	json_t *key; /* what was made */
	bool proven;
	bool may_not_use; /* the policy lets the caller make the key, and not unwrap with it */
};

static void enrolment_done(struct enrolment *enrolment)
{
	identities_done(&enrolment->imported);
	enrolment->pin = secret_free(enrolment->pin);
	json_decref(enrolment->tokens);
	json_decref(enrolment->key);
}

static struct problem *problem_of(const struct enrolment *enrolment)
{
	return &enrolment->invocation->problem;
}

/* The first label of the host's name, where that is a name for a key; else "host". */
static void default_name(char *name, size_t len)
{
	char host[256] = "";
	size_t label;

	if (gethostname(host, sizeof(host) - 1) < 0)
		host[0] = '\0';
	label = strcspn(host, ".");
	if (!key_name_valid(bytes_of(host, label)) || label >= len)
		(void)snprintf(name, len, "host");
	else
		(void)snprintf(name, len, "%.*s", (int)label, host);
}

static enum err read_name(struct enrolment *enrolment, const char *name)
{
	enrolment->name_given = name != NULL;
	if (!name) {
		default_name(enrolment->name, sizeof(enrolment->name));
		return OK;
	}
	if (!key_name_valid(bytes_of_string(name))) {
		(void)problem_set(problem_of(enrolment), ERR_USAGE,
		                  "%s is not a name for a key: letters, digits, '_', '.', '-', in parts "
		                  "separated by '/'",
		                  name);
		problem_hint(problem_of(enrolment), "tokenctl enroll --name host");
		return ERR_USAGE;
	}
	(void)snprintf(enrolment->name, sizeof(enrolment->name), "%s", name);
	return OK;
}

static bool is_standard_input(const char *path)
{
	return path && strcmp(path, "-") == 0;
}

/* Standard input can be read once and not be removed. */
static enum err check_input(struct enrolment *enrolment)
{
	const struct options *options = &enrolment->invocation->options;
	struct problem *problem = problem_of(enrolment);

	if (!is_standard_input(enrolment->import_path))
		return OK;
	if (options_given(options, "shred"))
		return problem_set(problem, ERR_USAGE,
		                   "--shred removes a file, and --import - reads standard input");
	if (is_standard_input(options_value(options, "pin-file")))
		return problem_set(problem, ERR_USAGE,
		                   "--import - and --pin-file - cannot both read standard input");
	return OK;
}

static enum err read_words(struct enrolment *enrolment)
{
	const struct options *options = &enrolment->invocation->options;
	struct problem *problem = problem_of(enrolment);
	const char *kind = options_value(options, "kind");
	const char *class = options_value(options, "class");

	enrolment->import_path = options_value(options, "import");
	if (key_kind_from_name(kind ? kind : enrolment->import_path ? "x25519" : "p256", &enrolment->kind))
		return problem_set(problem, ERR_USAGE, "%s is not a kind of key: p256, x25519 or symmetric",
		                   kind);
	if (key_class_from_name(class ? class : "boot", &enrolment->class))
		return problem_set(problem, ERR_USAGE, "%s is not a class: boot, session or admin", class);
	if (enrolment->import_path && enrolment->kind != KEY_KIND_X25519)
		return problem_set(
		        problem, ERR_USAGE,
		        "an age key is imported as the kind x25519, not %s: a %s key is made on the token",
		        kind, kind);
	if (options_given(options, "pin-file") && enrolment->class == KEY_CLASS_BOOT)
		return problem_set(
		        problem, ERR_USAGE,
		        "a key of the class boot has no PIN: use --class session or --class admin");
	if (options_given(options, "shred") && !enrolment->import_path)
		return problem_set(problem, ERR_USAGE, "--shred removes the file that --import names");
	return check_input(enrolment);
}

static enum err read_arguments(struct enrolment *enrolment)
{
	enum err err = read_words(enrolment);

	return err ? err : read_name(enrolment, options_value(&enrolment->invocation->options, "name"));
}

/* Of the lines of a file that holds identities of several kinds, the one private key. */
static enum err choose_secret(struct enrolment *enrolment)
{
	struct problem *problem = problem_of(enrolment);
	const struct identities *imported = &enrolment->imported;
	size_t count = 0;

	for (size_t i = 0; i < imported->count; i++) {
		if (imported->items[i].kind != IDENTITY_X25519)
			continue;
		enrolment->secret = &imported->items[i];
		count++;
	}
	if (count == 1)
		return OK;
	if (count == 0)
		return problem_set(problem, ERR_USAGE, "%s holds no AGE-SECRET-KEY-1... line",
		                   input_name(enrolment->import_path));
	(void)problem_set(problem, ERR_USAGE, "%s holds %zu secret keys; one at a time is imported",
	                  input_name(enrolment->import_path), count);
	problem_hint(problem, "put each AGE-SECRET-KEY-1... line into a file of its own");
	return ERR_USAGE;
}

/* Does the file hold anything besides the secret key that goes to the token? */
static bool holds_others(const struct enrolment *enrolment)
{
	return enrolment->imported.count + enrolment->imported.plugins_left > 1;
}

static enum err check_shred(struct enrolment *enrolment)
{
	struct problem *problem = problem_of(enrolment);
	const char *path = enrolment->import_path;

	if (!options_given(&enrolment->invocation->options, "shred"))
		return OK;
	if (!holds_others(enrolment))
		return shred_check(path, problem);
	(void)problem_set(problem, ERR_USAGE, "%s holds other identities too, so --shred would remove them",
	                  path);
	problem_hint(problem, "import it without --shred, then take the AGE-SECRET-KEY-1... line out of it");
	return ERR_USAGE;
}

static enum err read_import(struct enrolment *enrolment)
{
	const char *path = enrolment->import_path;
	enum err err;

	if (!path)
		return OK;
	if (stat(path, &enrolment->import_status) < 0)
		enrolment->import_status =
		        (struct stat){ 0 }; /* that it is not there is said by whoever reads it */
	enrolment->imported.leave_plugins = true;
	err = identities_read(path, problem_of(enrolment), &enrolment->imported);
	if (!err)
		err = choose_secret(enrolment);
	return err ? err : check_shred(enrolment);
}

static bool is_named(const json_t *token, const char *uri)
{
	const char *own = json_string_member(token, "uri");

	return own && (!uri || strcmp(own, uri) == 0);
}

static enum err no_token(struct enrolment *enrolment, const char *uri, const json_t *absent)
{
	struct problem *problem = problem_of(enrolment);
	char hint[PROBLEM_TEXT_MAX] = "", absence[PROBLEM_TEXT_MAX] = "";

	if (absent) {
		token_hint(absent, hint, sizeof(hint));
		token_absence(absent, absence, sizeof(absence));
	}
	if (absent)
		(void)problem_set(problem, ERR_NO_TOKEN, "the token %s %s", json_string_member(absent, "uri"),
		                  absence);
	else if (uri)
		(void)problem_set(problem, ERR_NO_TOKEN, "tokend knows no token %s", uri);
	else
		(void)problem_set(problem, ERR_NO_TOKEN, "tokend knows no token");
	if (!absent && !uri)
		(void)snprintf(hint, sizeof(hint), "%s", token_none_hint());
	problem_hint(problem, "%s",
	             hint[0] ? hint
	                     : "tokenctl tokens   lists them; tokend.conf names them: token "
	                       "tpm:device:/dev/tpmrm0");
	return ERR_NO_TOKEN;
}

static enum err check_token(struct enrolment *enrolment, const json_t *token)
{
	struct problem *problem = problem_of(enrolment);
	char hint[PROBLEM_TEXT_MAX];

	if (token_tries_used_up(token) && enrolment->class != KEY_CLASS_BOOT) {
		(void)problem_set(
		        problem, ERR_PIN_LOCKED,
		        "wrong PINs have used up the tries of %s, so a key with a PIN cannot be made "
		        "now",
		        json_string_member(token, "uri"));
		token_tries_hint(token, hint, sizeof(hint));
		problem_hint(problem, "%s", hint);
		return ERR_PIN_LOCKED;
	}
	enrolment->token = token;
	return OK;
}

/* The token named, or the only one that is there. */
static enum err choose_token(struct enrolment *enrolment)
{
	const char *uri = options_value(&enrolment->invocation->options, "token");
	const json_t *list = json_object_get(enrolment->tokens, "tokens");
	const json_t *found = NULL, *absent = NULL;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *token = json_array_get(list, i);

		if (!is_named(token, uri))
			continue;
		if (!json_boolean_member(token, "present")) {
			absent = token;
			continue;
		}
		if (found) {
			(void)problem_set(problem_of(enrolment), ERR_USAGE,
			                  "there are several tokens: say which by --token");
			problem_hint(problem_of(enrolment), "tokenctl enroll --token %s ...",
			             json_string_member(found, "uri"));
			return ERR_USAGE;
		}
		found = token;
	}
	return found ? check_token(enrolment, found) : no_token(enrolment, uri, absent);
}

static bool is_on_token(const json_t *key, const char *uri)
{
	const json_t *slots = json_object_get(key, "slots");
	bool found = false;

	for (size_t i = 0; !found && i < json_array_size(slots); i++) {
		const char *own = json_string_member(json_array_get(slots, i), "token");

		found = own && uri && strcmp(own, uri) == 0;
	}
	return found;
}

/* The key of keys that recipient encrypts to, on the token chosen: the same secret may well be sealed to another one. */
static const json_t *find_sealed(const struct enrolment *enrolment, const json_t *keys, const char *recipient)
{
	const char *uri = json_string_member(enrolment->token, "uri");

	for (size_t i = 0; i < json_array_size(keys); i++) {
		const json_t *key = json_array_get(keys, i);
		const char *own = json_string_member(key, "recipient");

		if (own && strcmp(own, recipient) == 0 && is_on_token(key, uri))
			return key;
	}
	return NULL;
}

static enum err explain_sealed(const struct enrolment *enrolment, const char *name)
{
	struct problem *problem = problem_of(enrolment);
	const char *path = enrolment->import_path;
	char quoted[SHOWN_QUOTED_MAX];

	(void)problem_set(problem, ERR_EXISTS, "the key in %s is sealed already as %s", input_name(path),
	                  name);
	if (is_standard_input(path) || holds_others(enrolment)) {
		problem_hint(problem, "tokenctl keys %s   shows it", name);
	} else {
		shown_quote(path, quoted);
		problem_hint(problem, "to remove the file: shred -u %s; tokenctl keys %s   shows the key",
		             quoted, name);
	}
	return ERR_EXISTS;
}

/* Who may not list keys learns nothing here, and it is not in the way. */
static enum err check_not_sealed(struct enrolment *enrolment)
{
	CLEANUP(json_decrefp) json_t *keys = NULL;
	CLEANUP(buf_freep) struct buf *line = NULL;
	struct problem ignored = { 0 };
	const json_t *key;
	enum err err;

	if (!enrolment->secret || keys_get(&enrolment->invocation->daemon, NULL, &ignored, &keys))
		return OK;
	err = buf_new(BUFSIZ, &line);
	if (!err)
		err = recipient_put_x25519(line, enrolment->secret->public_key);
	if (err)
		return err;
	key = find_sealed(enrolment, keys, buf_string(line));
	return key ? explain_sealed(enrolment, json_string_member(key, "name")) : OK;
}

static enum err read_pin(struct enrolment *enrolment)
{
	if (enrolment->class == KEY_CLASS_BOOT)
		return OK;
	return pin_read(options_value(&enrolment->invocation->options, "pin-file"), enrolment->name, true,
	                problem_of(enrolment), &enrolment->pin);
}

static enum err set_sealed(struct enrolment *enrolment, json_t *parameters, const char *member,
                           const struct secret *secret)
{
	const char *box_key = json_string_member(enrolment->token, "boxKey");
	CLEANUP(freep) char *sealed = NULL;
	enum err err;

	if (!secret)
		return OK;
	if (!box_key)
		return problem_set(problem_of(enrolment), ERR_BAD_MESSAGE, "tokend gave no key to seal to");
	err = daemon_seal(box_key, secret, problem_of(enrolment), &sealed);
	if (!err && json_object_set_new(parameters, member, json_string(sealed)) < 0)
		err = ERR_NOMEM;
	return err;
}

static enum err make_parameters(struct enrolment *enrolment, json_t **ret_parameters)
{
	const struct secret *imported = enrolment->secret ? enrolment->secret->private_key : NULL;
	CLEANUP(json_decrefp)
	json_t *parameters =
	        json_pack("{s:s, s:s, s:s, s:s}", "name", enrolment->name, "kind",
	                  key_kind_name(enrolment->kind), "class", key_class_name(enrolment->class), "token",
	                  json_string_member(enrolment->token, "uri"));
	enum err err = parameters ? OK : ERR_NOMEM;

	if (!err)
		err = set_sealed(enrolment, parameters, "sealedPin", enrolment->pin);
	if (!err)
		err = set_sealed(enrolment, parameters, "sealedKey", imported);
	if (!err)
		*ret_parameters = TAKE(parameters);
	return err;
}

static enum err call_enroll(struct enrolment *enrolment)
{
	CLEANUP(json_decrefp) json_t *reply = NULL;
	json_t *parameters = NULL;
	enum err err = make_parameters(enrolment, &parameters);

	if (err)
		return err;
	err = daemon_call(&enrolment->invocation->daemon, "Enroll", parameters, DAEMON_TOKEN_DEADLINE_MS,
	                  problem_of(enrolment), &reply);
	if (err == ERR_EXISTS) {
		(void)problem_set(problem_of(enrolment), err, "there is a key %s already", enrolment->name);
		problem_hint(problem_of(enrolment),
		             "tokenctl enroll --name ANOTHER ...; tokenctl keys lists them");
	}
	/* Of a refusal that tokend knows more about it says what helps. */
	if (err == ERR_DENIED && !json_string_member(reply, "hint"))
		problem_hint(
		        problem_of(enrolment),
		        "tokenctl policy explain --op admin --key %s   says why; tokenctl keys   lists the "
		        "keys that you may see",
		        enrolment->name);
	if (err)
		return err;
	enrolment->key = json_incref(json_object_get(reply, "key"));
	return enrolment->key
	               ? OK
	               : problem_set(problem_of(enrolment), ERR_BAD_MESSAGE, "tokend's answer names no key");
}

/* Closes the key again that the proof opened with the PIN. */
static void lock_again(struct enrolment *enrolment, const char *id)
{
	struct problem ignored = { 0 };
	json_t *reply = NULL;

	if (daemon_call(&enrolment->invocation->daemon, "Lock", json_pack("{s:s}", "key", id),
	                DAEMON_TOKEN_DEADLINE_MS, &ignored, &reply))
		(void)fprintf(stderr, "warning: the key is still open; tokenctl lock closes it\n");
	json_decref(reply);
}

/* A key that was made stays made, but what cannot be proven is not called proven, and no file is removed for it. */
static enum err prove(struct enrolment *enrolment)
{
	const char *id = json_string_member(enrolment->key, "id");
	const char *recipient = json_string_member(enrolment->key, "recipient");
	struct problem *problem = problem_of(enrolment);
	struct problem why = { 0 };
	enum err err;

	if (!id || !recipient)
		return OK;
	err = prove_key(&enrolment->invocation->daemon, id, recipient, enrolment->pin, &why);
	if (enrolment->pin && !err)
		lock_again(enrolment, id);
	enrolment->proven = !err;
	if (!err)
		return OK;
	/* Who makes keys for others may well not use them; but a file that is to be removed for the proof stays. */
	enrolment->may_not_use =
	        err == ERR_DENIED && !options_given(&enrolment->invocation->options, "shred");
	if (enrolment->may_not_use)
		return OK;
	(void)problem_set(problem, err, "the key %s was made, but could not be proven to work: %s",
	                  enrolment->name, problem_text(&why, err));
	problem_hint(problem, "%s%s", why.hint[0] ? why.hint : "tokenctl doctor",
	             enrolment->import_path ? "; keep the imported file until it works" : "");
	return err;
}

/* ---- what is said about it ---- */

static void print_next(const struct enrolment *enrolment, const char *recipient)
{
	const char *name = enrolment->name;
	bool pin = enrolment->class != KEY_CLASS_BOOT;

	(void)printf("\nrecipient\n  %s\n\nnext\n", recipient);
	(void)printf("  tokenctl encrypt --key %s -o secret.age secret.txt\n", name);
	if (pin)
		(void)printf("  tokenctl unlock %s   (asks for the PIN; %s)\n", name,
		             enrolment->class == KEY_CLASS_ADMIN ? "for one use" : "for a time");
	(void)printf("  tokenctl decrypt secret.age\n");
	(void)printf("  age -d -i <(tokenctl identity %s) secret.age\n", name);
	(void)printf("  .sops.yaml:\n    creation_rules:\n      - age: %s\n", recipient);
	(void)printf("\nThere is no recovery kit yet: give every file a second recipient (-r, or a comma in\n"
	             ".sops.yaml), or what is encrypted to this key alone is lost with this token.\n");
}

static void print_file_advice(const struct enrolment *enrolment, bool shredded)
{
	const char *path = enrolment->import_path;
	char quoted[SHOWN_QUOTED_MAX];

	if (!path)
		return;
	shown_quote(path, quoted);
	if (shredded)
		(void)printf(
		        "\n%s was written over and removed. On an SSD, on a file system that copies on write "
		        "and\n"
		        "in backups older copies may remain: if that matters, make a new key and rotate.\n",
		        path);
	else if (holds_others(enrolment))
		(void)printf("\nThe key is still in %s as well, among other identities. When no other "
		             "machine needs "
		             "it:\n"
		             "take its line out. Keep a copy off this machine: it is your recovery.\n",
		             path);
	else if (!is_standard_input(path))
		(void)printf("\nThe key is still in %s as well. When no other machine needs it: shred -u %s\n"
		             "(tokenctl enroll --shred does it after the proof). Keep a copy off this "
		             "machine: it is\n"
		             "your recovery.\n",
		             path, quoted);
}

static enum err report(const struct enrolment *enrolment, bool shredded)
{
	const char *recipient = json_string_member(enrolment->key, "recipient");

	if (options_given(&enrolment->invocation->options, "json"))
		return json_print(json_pack("{s:O, s:b, s:b}", "key", enrolment->key, "proven",
		                            enrolment->proven, "shredded", shredded));
	if (!enrolment->name_given)
		(void)printf("no --name was given, so the key is named after this host: %s\n",
		             enrolment->name);
	(void)printf("%s %s (%s, class %s) on %s%s\n", enrolment->import_path ? "imported" : "enrolled",
	             enrolment->name, key_kind_name(enrolment->kind), key_class_name(enrolment->class),
	             json_string_member(enrolment->token, "uri"),
	             json_boolean_member(enrolment->token, "simulation")
	                     ? ", a SIMULATION: it protects against nobody who is root here"
	                     : "");
	if (enrolment->may_not_use)
		(void)printf("not proven: the policy lets you make this key, but not unwrap with it\n"
		             "  tokenctl policy explain --key %s --op unwrap   says why\n",
		             enrolment->name);
	else if (enrolment->proven)
		(void)printf("proven: what was encrypted to it came back through tokend\n");
	else
		(void)printf(
		        "not proven: nothing uses a symmetric key yet; the front-end for vaults, which comes "
		        "later, will\n");
	if (recipient)
		print_next(enrolment, recipient);
	print_file_advice(enrolment, shredded);
	return OK;
}

static enum err prepare(struct enrolment *enrolment)
{
	enum err err = read_arguments(enrolment);

	if (!err)
		err = read_import(enrolment);
	if (!err)
		err = tokens_get(&enrolment->invocation->daemon, problem_of(enrolment), &enrolment->tokens);
	if (!err)
		err = choose_token(enrolment);
	if (!err)
		err = check_not_sealed(enrolment);
	if (!err)
		err = read_pin(enrolment);
	return err;
}

static enum err shred(const struct enrolment *enrolment, bool *ret_shredded)
{
	enum err err;

	if (!options_given(&enrolment->invocation->options, "shred"))
		return OK;
	err = shred_file(enrolment->import_path, &enrolment->import_status, problem_of(enrolment));
	*ret_shredded = !err;
	return err;
}

static enum err run(struct invocation *invocation)
{
	struct enrolment enrolment = { .invocation = invocation };
	bool shredded = false;
	enum err err = prepare(&enrolment);

	if (!err)
		err = call_enroll(&enrolment);
	if (!err)
		err = prove(&enrolment);
	if (!err) {
		enum err shred_err = shred(&enrolment, &shredded);

		err = report(&enrolment, shredded);
		err = err ? err : shred_err;
	}
	enrolment_done(&enrolment);
	return err;
}

static const struct option_row rows[] = {
	{ 0, "name", "NAME", "the key's name (the host's unless said)", false },
	{ 0, "token", "URI", "on which token, e.g. tpm:device:/dev/tpmrm0 (needed when there are several)",
	  false },
	{ 0, "kind", "p256|x25519|symmetric", "p256 is made on the token and never leaves it (the default)",
	  false },
	{ 0, "class", "boot|session|admin", "no PIN (the default); PIN once for a time; PIN each time",
	  false },
	{ 0, "import", "FILE",
	  "seal the AGE-SECRET-KEY-1... in FILE (-: standard input) to the token (kind x25519)", false },
	{ 0, "shred", NULL, "write over the imported FILE and remove it, once the key is proven", false },
	{ 0, "pin-file", "FILE", "take the PIN from the first line of FILE (-: standard input)", false },
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb enroll_verb = {
	.name = "enroll",
	.arguments = "",
	.summary = "Makes a key on a token, or imports an age key, and proves that it works",
	.details = "Needs the permission admin. A PIN is asked for twice on the terminal, or read by "
	           "--pin-file; it\n"
	           "is never an argument. An imported file is left alone unless --shred is given. Lines of "
	           "other\n"
	           "plugins in it are left out. Nothing uses a symmetric key yet.",
	.example = "  tokenctl enroll --name host\n"
	           "  tokenctl enroll --name repo/prod --class session\n"
	           "  tokenctl enroll --name legacy --import ~/.config/sops/age/keys.txt",
	.options = rows,
	.run = run,
};
