/* tokenctl recipient */
#include "cli/facts.h"
#include "cli/verbs.h"

static void print_lines(const json_t *keys)
{
	for (size_t i = 0; i < json_array_size(keys); i++) {
		const char *recipient = json_string_member(json_array_get(keys, i), "recipient");

		if (recipient)
			(void)puts(recipient);
	}
}

static size_t count_recipients(const json_t *keys)
{
	size_t count = 0;

	for (size_t i = 0; i < json_array_size(keys); i++)
		count += json_string_member(json_array_get(keys, i), "recipient") != NULL;
	return count;
}

static json_t *as_json(const json_t *keys)
{
	json_t *list = json_array();

	for (size_t i = 0; list && i < json_array_size(keys); i++) {
		const json_t *key = json_array_get(keys, i);
		const char *recipient = json_string_member(key, "recipient");

		if (recipient && json_array_append_new(list, json_pack("{s:s, s:s}", "name",
		                                                       json_string_member(key, "name"),
		                                                       "recipient", recipient)) < 0) {
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

static enum err run(struct invocation *invocation)
{
	const char *name = invocation->options.argument_count ? invocation->options.arguments[0] : NULL;
	struct problem *problem = &invocation->problem;
	CLEANUP(json_decrefp) json_t *keys = NULL;
	enum err err = keys_get(&invocation->daemon, name, problem, &keys);

	if (err)
		return err;
	if (count_recipients(keys) == 0) {
		if (name)
			(void)problem_set(problem, ERR_NO_KEY, "the key %s is symmetric and has no recipient",
			                  name);
		else
			(void)problem_set(problem, ERR_NO_KEY,
			                  "there is no key with a recipient that you may see");
		problem_hint(problem, "tokenctl enroll --name host   makes one");
		return ERR_NO_KEY;
	}
	if (options_given(&invocation->options, "json"))
		return json_print(as_json(keys));
	print_lines(keys);
	return OK;
}

static const struct option_row rows[] = {
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb recipient_verb = {
	.name = "recipient",
	.arguments = "[KEY]",
	.arguments_max = 1,
	.summary = "Prints the age1... line of a key, or those of all keys that you may see",
	.details = "The line goes after -r of age, rage and tokenctl, and into .sops.yaml.",
	.example = "  age -r \"$(tokenctl recipient host)\" -o secret.age secret.txt",
	.options = rows,
	.run = run,
};
