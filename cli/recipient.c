/* tokenctl recipient */
#include "cli/facts.h"
#include "cli/verbs.h"

static void print_recipients(const json_t *keys, bool comma)
{
	bool first = true;

	for (size_t i = 0; i < json_array_size(keys); i++) {
		const char *recipient = json_string_member(json_array_get(keys, i), "recipient");

		if (!recipient)
			continue;
		(void)printf("%s%s", first ? "" : comma ? "," : "\n", recipient);
		first = false;
	}
	(void)putchar('\n');
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

static enum err no_recipient(struct problem *problem, const char *name)
{
	if (name)
		(void)problem_set(problem, ERR_NO_KEY, "the key %s is symmetric and has no recipient", name);
	else
		(void)problem_set(problem, ERR_NO_KEY, "there is no key with a recipient that you may see");
	problem_hint(problem, "tokenctl enroll --name host   makes one");
	return ERR_NO_KEY;
}

/* One key by its name, or all (NULL), behind those that are there. */
static enum err add_keys(struct invocation *invocation, const char *name, json_t *keys)
{
	CLEANUP(json_decrefp) json_t *found = NULL;
	enum err err = keys_get(&invocation->daemon, name, &invocation->problem, &found);

	if (!err && count_recipients(found) == 0)
		return no_recipient(&invocation->problem, name);
	if (!err && json_array_extend(keys, found))
		err = ERR_NOMEM;
	return err;
}

/* All of them, or nothing: to whom something is encrypted is not to be a part of those who were meant. */
static enum err run(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	CLEANUP(json_decrefp) json_t *keys = json_array();
	enum err err = !keys ? ERR_NOMEM : options->argument_count ? OK : add_keys(invocation, NULL, keys);

	for (size_t i = 0; !err && i < options->argument_count; i++)
		err = add_keys(invocation, options->arguments[i], keys);
	if (err)
		return err;
	if (options_given(options, "json"))
		return json_print(as_json(keys));
	print_recipients(keys, options_given(options, "comma"));
	return OK;
}

static const struct option_row rows[] = {
	{ 0, "comma", NULL, "all on one line with commas between them, as sops --age takes them", false },
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb recipient_verb = {
	.name = "recipient",
	.arguments = "[KEY]...",
	.arguments_max = SIZE_MAX,
	.summary = "Prints the age1... lines of keys, or those of all keys that you may see",
	.details =
	        "The line goes after -r of age, rage and tokenctl, and into .sops.yaml. Of several keys "
	        "each is a\n"
	        "line of its own, in the order in which they are named, as a recipients file (-R) has them; "
	        "--comma\n"
	        "joins them for sops. When one of them is not there, none is printed.",
	.example = "  age -r \"$(tokenctl recipient host)\" -o secret.age secret.txt\n"
	           "  sops -e --age \"$(tokenctl recipient --comma)\" secrets.yaml",
	.options = rows,
	.run = run,
};
