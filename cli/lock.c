/* tokenctl lock */
#include "cli/facts.h"
#include "cli/shown.h"
#include "cli/verbs.h"

/* Nothing was closed: is that because there is nothing to close? What cannot be found out is no failure. */
static enum err check_has_pin(struct invocation *invocation, const char *name)
{
	CLEANUP(json_decrefp) json_t *keys = NULL;
	struct problem ignored = { 0 };
	const json_t *key;

	if (keys_get(&invocation->daemon, name, &ignored, &keys))
		return OK;
	key = json_array_get(keys, 0);
	if (key_has_pin(key))
		return OK;
	return problem_set(&invocation->problem, ERR_USAGE, "the key %s has no PIN, so it is always open",
	                   json_string_member(key, "name"));
}

static enum err run(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	CLEANUP(json_decrefp) json_t *reply = NULL;
	const char *name = options->argument_count ? options->arguments[0] : NULL;
	json_t *parameters;
	long long locked;
	enum err err = name ? key_argument_check(name, &invocation->problem) : OK;

	if (err)
		return err;
	parameters = name ? json_pack("{s:s}", "key", name) : json_object();
	if (!parameters)
		return ERR_NOMEM;
	err = daemon_call(&invocation->daemon, "Lock", parameters, DAEMON_TOKEN_DEADLINE_MS,
	                  &invocation->problem, &reply);
	locked = (long long)json_integer_member(reply, "locked", 0);
	if (!err && name && locked == 0)
		err = check_has_pin(invocation, name);
	if (err)
		return err;
	if (options_given(options, "json"))
		return json_print(TAKE(reply));
	if (locked)
		(void)fprintf(stderr, "%lld %s locked\n", locked, locked == 1 ? "key was" : "keys were");
	else if (name)
		shown_line(stderr, "%s was not open", name);
	else
		(void)fputs("no key was open\n", stderr);
	return OK;
}

static const struct option_row rows[] = {
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb lock_verb = {
	.name = "lock",
	.arguments = "[KEY]",
	.arguments_max = 1,
	.summary = "Closes a key that you unlocked, or all of them",
	.example = "  tokenctl lock",
	.options = rows,
	.run = run,
};
