/* tokenctl keys */
#include "cli/facts.h"
#include "cli/verbs.h"
#include "cli/where.h"

static enum err print_table(const json_t *keys, const json_t *tokens)
{
	CLEANUP(table_freep) struct table *table = NULL;
	enum err err;

	err = keys_table(keys, tokens, &table);
	if (!err)
		table_print(table, stdout);
	return err;
}

static enum err print_none(struct daemon *daemon)
{
	struct where where = { 0 };

	where_find(daemon, &where);
	(void)printf("There is no key that you may see.\nhint: %s\n", where_no_keys_hint(&where));
	where_done(&where);
	return OK;
}

static enum err run(struct invocation *invocation)
{
	const char *name = invocation->options.argument_count ? invocation->options.arguments[0] : NULL;
	CLEANUP(json_decrefp) json_t *keys = NULL;
	CLEANUP(json_decrefp) json_t *tokens = NULL;
	struct problem ignored = { 0 };
	enum err err = keys_get(&invocation->daemon, name, &invocation->problem, &keys);

	if (err)
		return err;
	/* Only the device itself knows whether it is there and tries a PIN. Who may not ask it sees what the broker knows. */
	if (json_array_size(keys) > 0 && tokens_get(&invocation->daemon, &ignored, &tokens))
		tokens = NULL;
	keys_mark_absent(keys, tokens);
	if (options_given(&invocation->options, "json"))
		return json_print(TAKE(keys));
	return json_array_size(keys) > 0 ? print_table(keys, tokens) : print_none(&invocation->daemon);
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
