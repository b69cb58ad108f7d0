/* tokenctl tokens */
#include "cli/facts.h"
#include "cli/verbs.h"

static enum err print_table(const json_t *tokens)
{
	CLEANUP(table_freep) struct table *table = NULL;
	enum err err;

	if (json_array_size(json_object_get(tokens, "tokens")) == 0) {
		(void)printf("tokend was told of no token.\nhint: %s\n", token_none_hint());
		return OK;
	}
	err = tokens_table(tokens, false, &table);
	if (err)
		return err;
	table_print(table, stdout);
	tokens_print_problems(tokens);
	return OK;
}

static enum err run(struct invocation *invocation)
{
	CLEANUP(json_decrefp) json_t *tokens = NULL;
	enum err err = tokens_get(&invocation->daemon, &invocation->problem, &tokens);

	if (err)
		return err;
	if (options_given(&invocation->options, "json"))
		return json_print(json_incref(json_object_get(tokens, "tokens")));
	return print_table(tokens);
}

static const struct option_row rows[] = {
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb tokens_verb = {
	.name = "tokens",
	.arguments = "",
	.summary = "Lists the tokens (TPMs) and how they are",
	.example = "  tokenctl tokens",
	.options = rows,
	.run = run,
};
