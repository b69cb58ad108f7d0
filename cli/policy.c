/*
 * tokenctl policy check, policy explain
 *
 * Judges by the files, with the broker's own code, so that a policy can be tried before it is loaded.
 */
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>

#include "cli/facts.h"
#include "cli/policy_files.h"
#include "cli/verbs.h"
#include "common/key.h"

/* argument NULL: the policy of the daemon that is there, or of the one that would be. way_on: how one names another. */
static enum err find_and_load(struct invocation *invocation, const char *argument, const char *way_on,
                              struct policy_files *files)
{
	where_find(&invocation->daemon, &files->where);
	files->path = argument ? argument : files->where.policy_directory;
	if (files->path[0])
		return policy_files_load(files, &invocation->problem);
	if (files->where.err == ERR_DENIED) {
		invocation->problem = files->where.problem;
		return ERR_DENIED;
	}
	(void)problem_set(&invocation->problem, ERR_NO_DAEMON,
	                  "tokend is not running, so it is not known where its policy is");
	problem_hint(&invocation->problem, "%s", way_on);
	return ERR_NO_DAEMON;
}

static void warn_outdated(const struct policy_files *files)
{
	char reload[64];

	if (!policy_files_outdated(files))
		return;
	where_reload_command(&files->where, reload, sizeof(reload));
	(void)fprintf(stderr,
	              "warning: the running tokend has another version of the policy loaded\nhint: %s\n",
	              reload);
}

/* ---- check ---- */

static void print_checked(const struct policy_files *files)
{
	size_t count = policy_rule_count(files->policy);

	if (files->is_built_in)
		(void)printf("built-in policy (no rules in %s)\n", files->path);
	else
		(void)printf("%s: %zu %s, no errors\n", files->path, count, count == 1 ? "rule" : "rules");
	policy_files_print(policy_warnings(files->policy), stdout);
}

/* One is the sentence of the error itself. */
static void print_problems(const struct policy_files *files, struct problem *problem)
{
	policy_files_print(buf_string(files->problems), stderr);
	(void)fputc('\n', stderr);
	(void)problem_set(problem, ERR_BAD_CONFIG, "%zu errors in %s", files->problem_count, files->path);
	problem_hint(problem, POLICY_FILES_HINT);
}

static enum err run_check(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	struct policy_files files = { 0 };
	enum err err = find_and_load(invocation, options->argument_count ? options->arguments[0] : NULL,
	                             "tokenctl policy check DIRECTORY", &files);

	if (!err && options_given(options, "json"))
		err = json_print(
		        json_pack("{s:s, s:b, s:I, s:s, s:s, s:b}", "path", files.path, "builtIn",
		                  files.is_built_in, "rules", (json_int_t)policy_rule_count(files.policy),
		                  "digest", policy_digest(files.policy), "warnings",
		                  policy_warnings(files.policy), "loaded", !policy_files_outdated(&files)));
	else if (!err)
		print_checked(&files);
	if (!err)
		warn_outdated(&files);
	else if (err == ERR_STATE_DIR)
		invocation->exit_code =
		        err_info(ERR_BAD_CONFIG)->exit_code; /* as for any other error in it */
	if (err && files.problem_count > 1 && !options_given(options, "json"))
		print_problems(&files, &invocation->problem);
	policy_files_done(&files);
	return err;
}

/* ---- explain ---- */

struct question {
	struct peer peer;
	enum operation operation;
	const char *key;
	const char *frontend;
};

static enum err add_group(struct peer *peer, gid_t gid, struct problem *problem)
{
	if (peer->group_count == PEER_GROUPS_MAX)
		return problem_set(problem, ERR_USAGE, "more than %u groups are too many", PEER_GROUPS_MAX);
	peer->groups[peer->group_count++] = gid;
	return OK;
}

static enum err add_groups_of(struct peer *peer, const struct passwd *user, struct problem *problem)
{
	gid_t groups[PEER_GROUPS_MAX];
	int count = (int)PEER_GROUPS_MAX;

	if (getgrouplist(user->pw_name, user->pw_gid, groups, &count) < 0)
		return problem_set(problem, ERR_USAGE, "%s is in more than %u groups", user->pw_name,
		                   PEER_GROUPS_MAX);
	for (int i = 0; i < count; i++) {
		enum err err = add_group(peer, groups[i], problem);

		if (err)
			return err;
	}
	return OK;
}

/* Only "user *" matches such a one. */
static void set_nobody(struct peer *peer)
{
	peer->uid = (uid_t)-1;
	peer->gid = (gid_t)-1;
}

static enum err set_user(struct peer *peer, const char *name, struct problem *problem)
{
	unsigned long number;
	const struct passwd *user = getpwnam(name);

	if (!user && options_number(name, UINT32_MAX - 1, &number) == OK) {
		peer->uid = (uid_t)number;
		peer->gid = (gid_t)-1;
		user = getpwuid(peer->uid);
		if (!user)
			return OK;
	}
	if (!user) {
		/* A policy may be written before its users are made. */
		(void)fprintf(stderr, "warning: there is no user %s on this machine\n", name);
		set_nobody(peer);
		return OK;
	}
	peer->uid = user->pw_uid;
	peer->gid = user->pw_gid;
	return add_groups_of(peer, user, problem);
}

static enum err set_group(struct peer *peer, const char *name, struct problem *problem)
{
	unsigned long number;
	const struct group *group = getgrnam(name);

	if (group)
		return add_group(peer, group->gr_gid, problem);
	if (options_number(name, UINT32_MAX - 1, &number) == OK)
		return add_group(peer, (gid_t)number, problem);
	return problem_set(problem, ERR_USAGE, "there is no group %s", name);
}

static enum err set_peer(struct peer *peer, const struct options *options, struct problem *problem)
{
	const char *user = options_value(options, "user");
	const char *unit = options_value(options, "unit");
	const char *group;
	char own[32];
	size_t cursor = 0;
	enum err err = OK;

	(void)snprintf(own, sizeof(own), "%lu", (unsigned long)getuid());
	/* A unit is not permitted what a rule permits whoever types this, and that is often root. */
	if (user || !unit)
		err = set_user(peer, user ? user : own, problem);
	else
		set_nobody(peer);
	while (!err && (group = options_next(options, "group", &cursor)))
		err = set_group(peer, group, problem);
	if (unit && !policy_knows_unit(unit))
		return problem_set(problem, ERR_USAGE,
		                   "%s is not the whole name of a unit, such as jellyfin.service", unit);
	if (unit)
		(void)snprintf(peer->unit, sizeof(peer->unit), "%s", unit);
	return err;
}

static const char *verdict_text(enum verdict verdict)
{
	switch (verdict) {
	case VERDICT_PERMIT:
		return "permitted";
	case VERDICT_PERMIT_WITH_PIN:
		return "permitted, with the PIN each time";
	case VERDICT_DENY:
		break;
	}
	return "denied";
}

/* The whole name of the file of the rule, or "built-in". */
static const char *file_of(const struct policy_decision *decision, const struct policy_files *files,
                           char *space, size_t len)
{
	if (!decision->file || !files->is_directory || strcmp(decision->file, "built-in") == 0)
		return decision->file;
	(void)snprintf(space, len, "%s/%s", files->path, decision->file);
	return space;
}

static void print_decision(const struct policy_decision *decision, const struct policy_files *files)
{
	char duration[32], space[PATH_MAX + 256];

	(void)puts(verdict_text(decision->verdict));
	if (files->is_built_in)
		(void)printf("built-in policy (no rules in %s)\n", files->path);
	if (!decision->file) {
		(void)printf("no rule of %s matched, and no match is a no\n",
		             files->is_built_in ? "it" : files->path);
		return;
	}
	(void)printf("%s:%u: %s\n", file_of(decision, files, space, sizeof(space)), decision->line,
	             decision->text);
	if (decision->for_seconds) {
		duration_text(decision->for_seconds, duration, sizeof(duration));
		(void)printf("an unlock lasts %s\n", duration);
	}
}

/* The README's next step for who is new on a machine. */
static void print_way_in(const struct policy_decision *decision, const struct policy_files *files,
                         const struct question *question)
{
	const struct passwd *user = getpwuid(question->peer.uid);

	if (decision->verdict == VERDICT_DENY && files->is_built_in && files->where.system_mode && user &&
	    question->operation != OPERATION_ADMIN)
		(void)printf("hint: it lets root and members of the group tokend: sudo usermod -aG tokend "
		             "%s, then "
		             "log in again\n",
		             user->pw_name);
}

static void print_answer(const struct policy_decision *decision, const struct policy_files *files,
                         const struct question *question)
{
	print_decision(decision, files);
	print_way_in(decision, files, question);
}

static json_t *decision_json(const struct policy_decision *decision, const struct policy_files *files)
{
	char space[PATH_MAX + 256];

	return json_pack("{s:s, s:b, s:s?, s:i, s:s?, s:i}", "verdict", verdict_text(decision->verdict),
	                 "permitted", decision->verdict != VERDICT_DENY, "file",
	                 file_of(decision, files, space, sizeof(space)), "line", (int)decision->line, "text",
	                 decision->text, "seconds", (int)decision->for_seconds);
}

static enum err read_question(const struct options *options, struct problem *problem,
                              struct question *question)
{
	const char *operation = options_value(options, "op");
	const char *frontend = options_value(options, "via");

	question->key = options_value(options, "key");
	if (!question->key)
		return problem_set(problem, ERR_USAGE, "--key says which key is asked for");
	if (!key_name_valid(bytes_of_string(question->key)))
		return problem_set(problem, ERR_USAGE, "%s is not a name that a key can have", question->key);
	if (operation_from_name(operation ? operation : "unwrap", &question->operation))
		return problem_set(problem, ERR_USAGE, "%s is not an operation: unwrap, list or admin",
		                   operation);
	question->frontend = frontend                                  ? frontend
	                     : question->operation == OPERATION_UNWRAP ? "age"
	                                                               : "control";
	if (!policy_knows_frontend(question->frontend))
		return problem_set(problem, ERR_USAGE,
		                   "%s is not a front-end: age, sops, credential or control",
		                   question->frontend);
	return set_peer(&question->peer, options, problem);
}

static enum err run_explain(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	struct question question = { 0 };
	struct policy_decision decision;
	struct policy_files files = { 0 };
	enum err err = read_question(options, &invocation->problem, &question);

	if (!err)
		err = find_and_load(invocation, options_value(options, "policy"),
		                    "the same with --policy DIRECTORY   judges by the policy that is there",
		                    &files);
	if (!err) {
		policy_check(files.policy, &question.peer, question.frontend, question.operation,
		             question.key, &decision);
		warn_outdated(&files);
		if (options_given(options, "json"))
			err = json_print(decision_json(&decision, &files));
		else
			print_answer(&decision, &files, &question);
	}
	policy_files_done(&files);
	return err;
}

static const struct option_row check_rows[] = {
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb policy_check_verb = {
	.name = "policy check",
	.arguments = "[FILE|DIRECTORY]",
	.arguments_max = 1,
	.summary = "Says what is wrong with a policy, without loading it",
	.details = "Without an argument: the policy directory of the tokend that runs, or would run. Exits "
	           "with 2 when\n"
	           "there is an error, and names all of them; what is probably not meant (a user that does "
	           "not exist) is a warning.",
	.example = "  tokenctl policy check && sudo systemctl reload tokend",
	.options = check_rows,
	.run = run_check,
};

static const struct option_row explain_rows[] = {
	{ 0, "user", "USER", "who asks: a name or uid (yourself, but nobody with --unit, unless said)",
	  false },
	{ 0, "group", "GROUP", "a group besides those that the user is in", true },
	{ 0, "unit", "UNIT", "the systemd unit that asks", false },
	{ 0, "key", "KEY", "the key that is asked for; it need not exist", false },
	{ 0, "op", "unwrap|list|admin", "what is asked (unwrap unless said)", false },
	{ 0, "via", "age|sops|credential|control", "how it is asked (age for unwrap, else control)", false },
	{ 0, "policy", "FILE|DIRECTORY", "judge by this policy", false },
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb policy_explain_verb = {
	.name = "policy explain",
	.arguments = "",
	.summary = "Says what the policy decides for somebody, and which rule decides it",
	.details = "Judges by the files, not by what is loaded; a warning says when these differ. The exit "
	           "code is 0\n"
	           "whatever the verdict.",
	.example = "  tokenctl policy explain --user deploy --key host --op unwrap",
	.options = explain_rows,
	.run = run_explain,
};
