/* tokenctl keys */
#include "cli/facts.h"
#include "cli/verbs.h"

static bool any_has_pin(const json_t *keys)
{
	bool any = false;

	for (size_t i = 0; !any && i < json_array_size(keys); i++)
		any = key_has_pin(json_array_get(keys, i));
	return any;
}

static enum err print_table(struct invocation *invocation, const json_t *keys)
{
	CLEANUP(json_decrefp) json_t *tokens = NULL;
	struct problem ignored = { 0 };
	CLEANUP(table_freep) struct table *table = NULL;
	enum err err;

	if (json_array_size(keys) == 0) {
		(void)puts("There is no key that you may see.\nhint: tokenctl enroll --name host");
		return OK;
	}
	/* Only keys with a PIN depend on what the token says of its tries; the others are listed without asking a device. */
	if (any_has_pin(keys) && tokens_get(&invocation->daemon, &ignored, &tokens))
		tokens = NULL;
	err = keys_table(keys, tokens, &table);
	if (!err)
		table_print(table, stdout);
	return err;
}

static enum err run(struct invocation *invocation)
{
	const char *name = invocation->options.argument_count ? invocation->options.arguments[0] : NULL;
	CLEANUP(json_decrefp) json_t *keys = NULL;
	enum err err = keys_get(&invocation->daemon, name, &invocation->problem, &keys);

	if (err)
		return err;
	return options_given(&invocation->options, "json") ? json_print(TAKE(keys))
	                                                   : print_table(invocation, keys);
}

static const struct option_row rows[] = {
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb keys_verb = {
	.name = "keys",
	.arguments = "[KEY]",
	.arguments_max = 1,
	.summary = "Lists the keys that you may see, or one of them",
	.example = "  tokenctl keys",
	.options = rows,
	.run = run,
};
