/*
 * tokenctl policy check, policy explain
 *
 * Judges by the files, with the broker's own code, so that a policy can be tried before it is loaded.
 */
#include "tokend/policy.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "cli/facts.h"
#include "cli/input.h"
#include "cli/verbs.h"
#include "cli/where.h"

#define PROBLEM_LINES_MAX (16U << 10)

struct judged {
	struct where where;
	const char *path; /* borrowed: the argument, or where's directory */
	bool is_directory; /* rules then name their files without it */
	bool is_built_in; /* there are no rules at path */
	struct policy *policy;
};

static void judged_done(struct judged *judged)
{
	(void)policy_free(judged->policy);
	where_done(&judged->where);
}

static enum err load_file(struct judged *judged, struct buf *lines, struct problem *problem)
{
	CLEANUP(input_closep) int fd = -1;
	CLEANUP(buf_freep) struct buf *text = NULL;
	size_t len = 1;
	enum err err = input_open(judged->path, problem, &fd);

	if (!err)
		err = buf_new(POLICY_TEXT_MAX, &text);
	while (!err && len > 0)
		err = buf_read_fd(text, fd, 65536, &len);
	if (!err)
		err = policy_new(&judged->policy);
	return err ? err : policy_add(judged->policy, judged->path, buf_bytes(text), lines);
}

/* The daemon's own directory may be missing, which means the built-in policy; one that somebody named may not. */
static enum err look_at(struct judged *judged, struct problem *problem)
{
	struct stat status;

	if (stat(judged->path, &status) == 0) {
		judged->is_directory = S_ISDIR(status.st_mode);
		return OK;
	}
	judged->is_directory = true;
	if (judged->path == judged->where.policy_directory && errno == ENOENT)
		return OK;
	return problem_errno(problem, errno, "cannot open", judged->path);
}

static enum err load(struct judged *judged, struct problem *problem)
{
	CLEANUP(buf_freep) struct buf *lines = NULL;
	enum err err = look_at(judged, problem);

	if (!err)
		err = buf_new(PROBLEM_LINES_MAX, &lines);
	if (err)
		return err;
	if (!judged->is_directory)
		err = load_file(judged, lines, problem);
	else
		err = policy_load(judged->path, judged->where.system_mode, lines, &judged->policy);
	judged->is_built_in = !err && judged->is_directory &&
	                      where_is_built_in(&judged->where, policy_digest(judged->policy));
	if (err && buf_len(lines)) {
		(void)problem_set(problem, err, "%s", buf_string(lines));
		problem_hint(problem, "man 5 tokend-policy; a running tokend keeps the policy it has");
	}
	return err;
}

/* argument NULL: the policy of the daemon that is there, or of the one that would be. */
static enum err find_and_load(struct invocation *invocation, const char *argument, struct judged *judged)
{
	where_find(&invocation->daemon, &judged->where);
	judged->path = argument ? argument : judged->where.policy_directory;
	if (judged->path[0])
		return load(judged, &invocation->problem);
	if (judged->where.err == ERR_DENIED) {
		invocation->problem = judged->where.problem;
		return ERR_DENIED;
	}
	(void)problem_set(&invocation->problem, ERR_NO_DAEMON,
	                  "tokend is not running, so it is not known where its policy is");
	problem_hint(&invocation->problem, "tokenctl policy check DIRECTORY");
	return ERR_NO_DAEMON;
}

/* Does the running daemon still go by another version of these files? */
static bool is_outdated(const struct judged *judged)
{
	const char *digest = json_string_member(judged->where.status, "policyDigest");

	return digest && judged->path == judged->where.policy_directory &&
	       strcmp(digest, policy_digest(judged->policy)) != 0;
}

static void warn_outdated(const struct judged *judged)
{
	if (is_outdated(judged))
		(void)fputs("warning: the running tokend has another version of the policy loaded\n"
		            "hint: sudo systemctl reload tokend   (or: kill -HUP its process)\n",
		            stderr);
}

/* ---- check ---- */

static void print_checked(const struct judged *judged)
{
	size_t count = policy_rule_count(judged->policy);

	if (judged->is_built_in)
		(void)printf("built-in policy (no rules in %s)\n", judged->path);
	else
		(void)printf("%s: %zu %s, no errors\n", judged->path, count, count == 1 ? "rule" : "rules");
	(void)fputs(policy_warnings(judged->policy), stdout);
}

static enum err run_check(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	struct judged judged = { 0 };
	enum err err =
	        find_and_load(invocation, options->argument_count ? options->arguments[0] : NULL, &judged);

	if (!err && options_given(options, "json"))
		err = json_print(json_pack("{s:s, s:b, s:I, s:s, s:s, s:b}", "path", judged.path, "builtIn",
		                           judged.is_built_in, "rules",
		                           (json_int_t)policy_rule_count(judged.policy), "digest",
		                           policy_digest(judged.policy), "warnings",
		                           policy_warnings(judged.policy), "loaded", !is_outdated(&judged)));
	else if (!err)
		print_checked(&judged);
	if (!err)
		warn_outdated(&judged);
	judged_done(&judged);
	return err;
}

/* ---- explain ---- */

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
	if (unit && strlen(unit) >= sizeof(peer->unit))
		return problem_set(problem, ERR_USAGE, "that is not the name of a unit");
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
static const char *file_of(const struct policy_decision *decision, const struct judged *judged, char *space,
                           size_t len)
{
	if (!decision->file || !judged->is_directory || strcmp(decision->file, "built-in") == 0)
		return decision->file;
	(void)snprintf(space, len, "%s/%s", judged->path, decision->file);
	return space;
}

static void print_decision(const struct policy_decision *decision, const struct judged *judged)
{
	char duration[32], space[PATH_MAX + 256];

	(void)puts(verdict_text(decision->verdict));
	if (judged->is_built_in)
		(void)printf("built-in policy (no rules in %s)\n", judged->path);
	if (!decision->file) {
		(void)printf("no rule of %s matched, and no match is a no\n",
		             judged->is_built_in ? "it" : judged->path);
		return;
	}
	(void)printf("%s:%u: %s\n", file_of(decision, judged, space, sizeof(space)), decision->line,
	             decision->text);
	if (decision->for_seconds) {
		duration_text(decision->for_seconds, duration, sizeof(duration));
		(void)printf("an unlock lasts %s\n", duration);
	}
}

static json_t *decision_json(const struct policy_decision *decision, const struct judged *judged)
{
	char space[PATH_MAX + 256];

	return json_pack("{s:s, s:b, s:s?, s:i, s:s?, s:i}", "verdict", verdict_text(decision->verdict),
	                 "permitted", decision->verdict != VERDICT_DENY, "file",
	                 file_of(decision, judged, space, sizeof(space)), "line", (int)decision->line, "text",
	                 decision->text, "seconds", (int)decision->for_seconds);
}

struct question {
	struct peer peer;
	enum operation operation;
	const char *key;
	const char *frontend;
};

static enum err read_question(const struct options *options, struct problem *problem,
                              struct question *question)
{
	const char *operation = options_value(options, "op");
	const char *frontend = options_value(options, "via");

	question->key = options_value(options, "key");
	if (!question->key)
		return problem_set(problem, ERR_USAGE, "--key says which key is asked for");
	if (operation_from_name(operation ? operation : "unwrap", &question->operation))
		return problem_set(problem, ERR_USAGE, "%s is not an operation: unwrap, list or admin",
		                   operation);
	question->frontend = frontend                                  ? frontend
	                     : question->operation == OPERATION_UNWRAP ? "age"
	                                                               : "control";
	return set_peer(&question->peer, options, problem);
}

static enum err run_explain(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	struct question question = { 0 };
	struct policy_decision decision;
	struct judged judged = { 0 };
	enum err err = read_question(options, &invocation->problem, &question);

	if (!err)
		err = find_and_load(invocation, options_value(options, "policy"), &judged);
	if (!err) {
		policy_check(judged.policy, &question.peer, question.frontend, question.operation,
		             question.key, &decision);
		warn_outdated(&judged);
		if (options_given(options, "json"))
			err = json_print(decision_json(&decision, &judged));
		else
			print_decision(&decision, &judged);
	}
	judged_done(&judged);
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
	           "there is an error; what is probably not meant (a user that does not exist) is a warning.",
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
