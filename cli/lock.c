/* tokenctl lock */
#include "cli/facts.h"
#include "cli/verbs.h"

static enum err run(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	CLEANUP(json_decrefp) json_t *reply = NULL;
	json_t *parameters =
	        options->argument_count ? json_pack("{s:s}", "key", options->arguments[0]) : json_object();
	long long locked;
	enum err err;

	if (!parameters)
		return problem_set(&invocation->problem, ERR_USAGE, "that is not a key's name");
	err = daemon_call(&invocation->daemon, "Lock", parameters, DAEMON_TOKEN_DEADLINE_MS,
	                  &invocation->problem, &reply);
	if (err)
		return err;
	if (options_given(options, "json"))
		return json_print(TAKE(reply));
	locked = (long long)json_integer_member(reply, "locked", 0);
	(void)fprintf(stderr, "%lld %s locked\n", locked, locked == 1 ? "key was" : "keys were");
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
