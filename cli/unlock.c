/* tokenctl unlock */
#include "cli/facts.h"
#include "cli/pin.h"
#include "cli/verbs.h"
#include "common/key.h"

#define LONGEST (24U * 60 * 60) /* that a policy may say */

/* The one key with a PIN, when none is named. */
static enum err choose_key(const json_t *keys, struct problem *problem, const json_t **ret_key)
{
	const json_t *found = NULL;

	for (size_t i = 0; i < json_array_size(keys); i++) {
		const json_t *key = json_array_get(keys, i);

		if (!key_has_pin(key))
			continue;
		if (found) {
			(void)problem_set(problem, ERR_USAGE, "several keys have a PIN: say which");
			problem_hint(problem, "tokenctl unlock %s", json_string_member(key, "name"));
			return ERR_USAGE;
		}
		found = key;
	}
	if (!found)
		return problem_set(problem, ERR_NO_KEY, "there is no key with a PIN that you may see");
	*ret_key = found;
	return OK;
}

/* asked: seconds, 0 when nothing was. */
static enum err report(const json_t *key, const json_t *reply, unsigned asked, bool as_json)
{
	const char *class = json_string_member(key, "class");
	bool once = class && strcmp(class, key_class_name(KEY_CLASS_ADMIN)) == 0;
	char duration[32];
	json_int_t seconds = json_integer_member(reply, "seconds", 0);

	if (as_json)
		return json_print(json_deep_copy(reply));
	duration_text(seconds, duration, sizeof(duration));
	(void)fprintf(stderr, once ? "%s is open for one use within %s\n" : "%s is open for %s\n",
	              json_string_member(reply, "name"), duration);
	if (seconds >= (json_int_t)asked)
		return OK;
	duration_text((json_int_t)asked, duration, sizeof(duration));
	(void)fprintf(
	        stderr,
	        "note: not for %s: \"for\" in the policy, or else session-time in tokend.conf, allows no "
	        "more\n",
	        duration);
	return OK;
}

static enum err unlock_key(struct invocation *invocation, const json_t *key, unsigned seconds)
{
	struct problem *problem = &invocation->problem;
	const char *name = json_string_member(key, "name");
	const char *box_key;
	CLEANUP(json_decrefp) json_t *tokens = NULL;
	CLEANUP(json_decrefp) json_t *reply = NULL;
	CLEANUP(secret_freep) struct secret *pin = NULL;
	enum err err;

	if (!name || !key_has_pin(key)) {
		(void)problem_set(problem, ERR_USAGE, "the key %s has no PIN", name ? name : "");
		problem_hint(problem, "tokenctl decrypt FILE   needs none");
		return ERR_USAGE;
	}
	err = tokens_get(&invocation->daemon, problem, &tokens);
	if (err)
		return err;
	box_key = daemon_box_key_for(tokens, key);
	/* Before anybody types a PIN that nobody will try. */
	if (box_key)
		err = token_pin_check(token_of_box_key(tokens, box_key), problem);
	if (err)
		return err;
	if (!box_key) {
		(void)problem_set(problem, ERR_NO_TOKEN, "the token of the key %s is not there", name);
		problem_hint(problem, "tokenctl tokens");
		return ERR_NO_TOKEN;
	}
	err = pin_read(options_value(&invocation->options, "pin-file"), name, false, problem, &pin);
	if (!err)
		err = daemon_unlock(&invocation->daemon, name, box_key, pin, seconds, problem, &reply);
	return err ? err : report(key, reply, seconds, options_given(&invocation->options, "json"));
}

static enum err run(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	const char *name = options->argument_count ? options->arguments[0] : NULL;
	const char *duration = options_value(options, "for");
	CLEANUP(json_decrefp) json_t *keys = NULL;
	const json_t *key = NULL;
	unsigned seconds = 0;
	enum err err;

	if (duration && (options_duration(duration, &seconds) || seconds == 0))
		return problem_set(&invocation->problem, ERR_USAGE,
		                   "%s is not a duration such as 30s, 15m or 2h", duration);
	if (seconds > LONGEST)
		return problem_set(&invocation->problem, ERR_USAGE, "%s is longer than the limit, 24h",
		                   duration);
	err = keys_get(&invocation->daemon, name, &invocation->problem, &keys);
	if (!err && name)
		key = json_array_get(keys, 0);
	else if (!err)
		err = choose_key(keys, &invocation->problem, &key);
	return err ? err : unlock_key(invocation, key, seconds);
}

static const struct option_row rows[] = {
	{ 0, "for", "DURATION", "how long, e.g. 15m; at most what the policy allows, and 24h", false },
	{ 0, "pin-file", "FILE", "take the PIN from the first line of FILE (-: standard input)", false },
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb unlock_verb = {
	.name = "unlock",
	.arguments = "[KEY]",
	.arguments_max = 1,
	.summary = "Gives a key its PIN and keeps it open for your user for a time",
	.details = "The PIN is asked for on the terminal, sealed to the process that talks to the token, and "
	           "tried\n"
	           "there once. A key of the class admin is open for one use only.",
	.example = "  tokenctl unlock repo/prod --for 30m",
	.options = rows,
	.run = run,
};
