/* tokenctl status */
#include "cli/facts.h"
#include "cli/policy_files.h"
#include "cli/verbs.h"

static const char *yes_or_no(bool value)
{
	return value ? "yes" : "NO";
}

static const char *text_of(const json_t *status, const char *name)
{
	const char *text = json_string_member(status, name);

	return text ? text : "?";
}

static long long number_of(const json_t *status, const char *name)
{
	return (long long)json_integer_member(status, name, 0);
}

static void print_outdated(struct daemon *daemon)
{
	struct policy_files files = { 0 };
	struct problem ignored = { 0 };
	char reload[64];

	where_find(daemon, &files.where);
	files.path = files.where.policy_directory;
	if (files.path[0] && policy_files_load(&files, &ignored) == OK && policy_files_outdated(&files)) {
		where_reload_command(&files.where, reload, sizeof(reload));
		(void)printf("; the rules there are not those that are loaded: %s", reload);
	}
	policy_files_done(&files);
}

static void print_policy(struct daemon *daemon, const json_t *status)
{
	const char *problem = json_string_member(status, "policyProblem");
	const char *mode = json_string_member(status, "mode");
	struct where where = { .system_mode = mode && strcmp(mode, "system") == 0 };
	long long count = number_of(status, "policyRules");

	if (where_is_built_in(&where, json_string_member(status, "policyDigest")))
		(void)printf("policy      built-in policy (no rules in %s)",
		             text_of(status, "policyDirectory"));
	else
		(void)printf("policy      %s, %lld %s", text_of(status, "policyDirectory"), count,
		             count == 1 ? "rule" : "rules");
	if (problem)
		(void)printf("; the last reload failed: %s", problem);
	else
		print_outdated(daemon);
	(void)putchar('\n');
}

static void print_daemon(struct daemon *daemon, const json_t *status)
{
	(void)printf("tokend      %s, process %lld, mode %s, uid %lld, since %s\n",
	             text_of(status, "version"), number_of(status, "pid"), text_of(status, "mode"),
	             number_of(status, "uid"), text_of(status, "startedAt"));
	(void)printf("requests    %lld\n", number_of(status, "requests"));
	(void)printf("sockets     %s\n", text_of(status, "runtimeDirectory"));
	(void)printf("state       %s\n", text_of(status, "stateDirectory"));
	print_policy(daemon, status);
	(void)printf("audit       %s, %lld record%s, works: %s\n", text_of(status, "auditFile"),
	             number_of(status, "auditRecords"), PLURAL(number_of(status, "auditRecords")),
	             yes_or_no(json_boolean_member(status, "auditWorks")));
	(void)printf("memory      locked: %s\n\n", json_boolean_member(status, "memoryLocked")
	                                                   ? "all of it"
	                                                   : "only the pool that holds secrets");
}

static enum err print_all(struct daemon *daemon, const json_t *status, const json_t *tokens,
                          const json_t *keys)
{
	const char *mode = json_string_member(status, "mode");
	const struct where where = { .system_mode = mode && strcmp(mode, "system") == 0 };
	CLEANUP(table_freep) struct table *token_table = NULL;
	CLEANUP(table_freep) struct table *key_table = NULL;
	enum err err = tokens_table(tokens, true, &token_table);

	if (!err)
		err = keys_table(keys, tokens, &key_table);
	if (err)
		return err;
	print_daemon(daemon, status);
	table_print(token_table, stdout);
	tokens_print_problems(tokens);
	(void)putchar('\n');
	table_print(key_table, stdout);
	if (json_array_size(keys) == 0)
		(void)printf("\nhint: there is no key that you may see: %s\n", where_no_keys_hint(&where));
	return OK;
}

/* Who may use no key may not ask for the tokens either, and learns the rest. */
static enum err get_tokens(struct daemon *daemon, struct problem *problem, json_t **ret_tokens)
{
	enum err err = tokens_get(daemon, problem, ret_tokens);

	if (err != ERR_DENIED)
		return err;
	*ret_tokens = json_pack("{s:[]}", "tokens");
	return *ret_tokens ? OK : ERR_NOMEM;
}

static enum err run(struct invocation *invocation)
{
	CLEANUP(json_decrefp) json_t *status = NULL;
	CLEANUP(json_decrefp) json_t *tokens = NULL;
	CLEANUP(json_decrefp) json_t *keys = NULL;
	struct problem *problem = &invocation->problem;
	enum err err = status_get(&invocation->daemon, problem, &status);

	if (!err)
		err = get_tokens(&invocation->daemon, problem, &tokens);
	if (!err)
		err = keys_get(&invocation->daemon, NULL, problem, &keys);
	if (err)
		return err;
	keys_mark_absent(keys, tokens);
	if (!options_given(&invocation->options, "json"))
		return print_all(&invocation->daemon, status, tokens, keys);
	return json_print(json_pack("{s:O, s:O, s:O}", "daemon", status, "tokens",
	                            json_object_get(tokens, "tokens"), "keys", keys));
}

static const struct option_row rows[] = {
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb status_verb = {
	.name = "status",
	.arguments = "",
	.summary = "Shows tokend, its tokens and the keys that you may see",
	.example = "  tokenctl status",
	.options = rows,
	.run = run,
};
