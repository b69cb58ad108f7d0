/*
 * tokenctl doctor
 *
 * Looks for what is wrong, or soon will be, and names the next command for each. Every check is one row of a table and adds findings; none changes anything.
 */
#include <errno.h>
#include <grp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/audit_log.h"
#include "cli/facts.h"
#include "cli/policy_files.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "tokend/text.h"

#define FINDINGS_MAX 128U
#define DEVICE TOKEN_DEVICE
#define LOG_LARGE ((off_t)256 << 20) /* two seconds' reading */

enum severity {
	SEVERITY_OK,
	SEVERITY_NOTE, /* good to know */
	SEVERITY_WARNING, /* works, but not as well or as safely as it could */
	SEVERITY_PROBLEM, /* does not work */
};

struct finding {
	enum severity severity;
	const char *check; /* static */
	char text[PROBLEM_TEXT_MAX];
	char next[PROBLEM_TEXT_MAX]; /* what to type; "": nothing */
};

struct examination {
	struct daemon *daemon;
	struct policy_files files; /* files.where.status is NULL when there is no daemon */
	json_t *tokens, *keys; /* NULL when there is no daemon, or it may not be asked */
	enum err keys_err;
	struct problem keys_problem;
	struct finding *findings;
	size_t count;
	enum err worst; /* of those that say that tokend or a token is not there */
};

static void find(struct examination *examination, enum severity severity, const char *check, const char *next,
                 const char *format, ...) __attribute__((format(printf, 5, 6)));

static void find(struct examination *examination, enum severity severity, const char *check, const char *next,
                 const char *format, ...)
{
	struct finding *finding = &examination->findings[examination->count];
	va_list arguments;

	if (examination->count == FINDINGS_MAX)
		return;
	examination->count++;
	finding->severity = severity;
	finding->check = check;
	(void)snprintf(finding->next, sizeof(finding->next), "%s", next);
	va_start(arguments, format);
	(void)vsnprintf(finding->text, sizeof(finding->text), format, arguments);
	va_end(arguments);
}

/* ---- checks that ask the daemon ---- */

static const char *status_text(const struct examination *examination, const char *name)
{
	const char *text = json_string_member(examination->files.where.status, name);

	return text ? text : "?";
}

static void check_daemon(struct examination *examination)
{
	struct problem problem = { 0 };
	json_t *status = NULL;
	enum err err = status_get(examination->daemon, &problem, &status);

	json_decref(status);
	if (err) {
		find(examination, SEVERITY_PROBLEM, "daemon", problem.hint, "%s",
		     problem_text(&problem, err));
		examination->worst = err;
		return;
	}
	find(examination, SEVERITY_OK, "daemon", "", "tokend %s answers, mode %s",
	     status_text(examination, "version"), status_text(examination, "mode"));
	if (strcmp(status_text(examination, "version"), TOKEND_VERSION) != 0)
		find(examination, SEVERITY_WARNING, "version", "sudo systemctl restart tokend",
		     "tokend is version %s and tokenctl %s", status_text(examination, "version"),
		     TOKEND_VERSION);
}

static void check_memory(struct examination *examination)
{
	if (!examination->files.where.status)
		return;
	if (json_boolean_member(examination->files.where.status, "memoryLocked"))
		find(examination, SEVERITY_OK, "memory", "", "all of tokend's memory is locked");
	else
		find(examination, SEVERITY_NOTE, "memory",
		     "LimitMEMLOCK=infinity in the unit, or ulimit -l unlimited",
		     "only the memory that holds secrets is locked");
}

/* The configuration is read with the policy, and named in what is wrong with it. */
static void report_reload(struct examination *examination, const char *problem)
{
	const char *configuration = status_text(examination, "configuration");
	size_t len = strlen(configuration);
	char next[PROBLEM_TEXT_MAX] = "tokenctl policy check", reload[64];

	where_reload_command(&examination->files.where, reload, sizeof(reload));
	if (strncmp(problem, configuration, len) == 0 && problem[len] == ':')
		(void)snprintf(next, sizeof(next), "man 5 tokend.conf; mend %s, then %s", configuration,
		               reload);
	find(examination, SEVERITY_PROBLEM, "policy", next,
	     "the last reload failed and what was loaded before is in force: %s", problem);
}

static void report_policy(struct examination *examination)
{
	const struct where *where = &examination->files.where;
	long long count = (long long)json_integer_member(where->status, "policyRules", 0);

	if (where_is_built_in(where, status_text(examination, "policyDigest")))
		find(examination, SEVERITY_OK, "policy", "", "built-in policy (no rules in %s)",
		     status_text(examination, "policyDirectory"));
	else
		find(examination, SEVERITY_OK, "policy", "", "%lld %s from %s", count,
		     count == 1 ? "rule" : "rules", status_text(examination, "policyDirectory"));
}

static void report_warnings(struct examination *examination)
{
	struct bytes rest = bytes_of_string(policy_warnings(examination->files.policy)), line;

	while (text_next_line(&rest, &line))
		find(examination, SEVERITY_WARNING, "policy", "tokenctl policy check", "%.*s", (int)line.len,
		     (const char *)line.data);
}

/* Whoever may not read the files learns of them what the daemon says. */
static void check_files(struct examination *examination, bool reload_failed)
{
	struct policy_files *files = &examination->files;
	struct problem problem = { 0 };
	char reload[64];
	enum err err;

	files->path = files->where.policy_directory;
	err = files->path[0] ? policy_files_load(files, &problem) : ERR_NO_FILE;
	where_reload_command(&files->where, reload, sizeof(reload));
	if (err == ERR_BAD_CONFIG && !reload_failed)
		find(examination, SEVERITY_WARNING, "policy", "tokenctl policy check",
		     "the policy would not load again: %s", problem.message);
	if (err)
		return;
	if (policy_files_outdated(files) && !reload_failed)
		find(examination, SEVERITY_WARNING, "policy", reload,
		     "the rules in %s are not those that tokend has loaded", files->path);
	report_warnings(examination);
}

/* A tokend that is not running may be one that the policy kept from starting, and to start it would not help then. */
static void check_startable(struct examination *examination)
{
	struct policy_files *files = &examination->files;
	struct problem problem = { 0 };
	enum err err;

	files->path = files->where.policy_directory;
	if (examination->worst == ERR_NO_DAEMON && files->path[0] &&
	    ((err = policy_files_load(files, &problem)) == ERR_BAD_CONFIG || err == ERR_STATE_DIR))
		find(examination, SEVERITY_PROBLEM, "policy", "tokenctl policy check",
		     "tokend does not start with this policy: %s", problem.message);
}

static void check_policy(struct examination *examination)
{
	const char *problem = json_string_member(examination->files.where.status, "policyProblem");

	if (!examination->files.where.status) {
		check_startable(examination);
		return;
	}
	if (problem)
		report_reload(examination, problem);
	else
		report_policy(examination);
	check_files(examination, problem != NULL);
}

static void report_chain(struct examination *examination, const struct verification *result)
{
	const char *path = status_text(examination, "auditFile");

	if (result->bad_line)
		find(examination, SEVERITY_PROBLEM, "audit", "tokenctl audit verify",
		     "the audit log %s is damaged at record %llu: %s", path, result->bad_sequence,
		     result->reason);
	else
		find(examination, SEVERITY_OK, "audit", "", "%llu record%s in %s, the chain is whole",
		     result->lines, PLURAL(result->lines), path);
}

/* It is read as a whole here, and grows as long as nobody moves it away. */
static void report_size(struct examination *examination, FILE *file)
{
	struct stat status;

	if (fstat(fileno(file), &status) == 0 && status.st_size > LOG_LARGE)
		find(examination, SEVERITY_NOTE, "audit",
		     "sudo tokenctl audit rotate   closes it and begins a new one",
		     "the audit log is %lld MiB long, so that this look takes its time",
		     (long long)(status.st_size >> 20));
}

/* The chain of a log that took another's place is whole. */
static void report_replaced(struct examination *examination, const struct verification *result)
{
	if (result->replaced)
		find(examination, SEVERITY_WARNING, "audit",
		     "tokenctl audit verify --head HEAD   compares with a head that you have kept",
		     "another audit log was in the place of this one: record %llu says that it was replaced, "
		     "cut off "
		     "or written to while tokend was down",
		     result->replaced);
}

static void check_chain(struct examination *examination)
{
	const char *path = status_text(examination, "auditFile");
	struct audit_known known = {
		.records = (long long)json_integer_member(examination->files.where.status, "auditRecords", 0),
	};
	CLEANUP(fclosep) FILE *file = NULL;
	struct problem problem = { 0 };
	struct verification result;
	enum err err;

	where_audit_memo(&examination->files.where, &known.memo);
	err = audit_log_open(path, &problem, &file);
	if (!err)
		err = audit_log_verify(file, path, &known, &problem, &result);
	if (!err) {
		report_chain(examination, &result);
		report_size(examination, file);
		report_replaced(examination, &result);
	} else if (err == ERR_NO_FILE)
		find(examination, SEVERITY_WARNING, "audit",
		     "sudo systemctl restart tokend   begins a new log",
		     "the audit log %s is missing, though tokend wrote %lld record%s", path, known.records,
		     PLURAL(known.records));
	else
		find(examination, SEVERITY_NOTE, "audit", "sudo tokenctl audit verify",
		     "%lld record%s in the audit log, not checked: %s", known.records, PLURAL(known.records),
		     problem_text(&problem, err));
}

/* A directory that we may not enter says nothing of what is in it. */
static bool is_gone(const char *path)
{
	return *path == '/' && access(path, F_OK) < 0 && errno == ENOENT;
}

static void check_audit(struct examination *examination)
{
	if (!examination->files.where.status)
		return;
	if (json_boolean_member(examination->files.where.status, "auditWorks"))
		check_chain(examination);
	else if (is_gone(status_text(examination, "auditFile")))
		find(examination, SEVERITY_PROBLEM, "audit",
		     "put it back, or sudo systemctl restart tokend, which begins a new one",
		     "the audit log %s was moved or removed, so nothing is released",
		     status_text(examination, "auditFile"));
	else
		find(examination, SEVERITY_PROBLEM, "audit",
		     "df -h; journalctl -u tokend -e; where it was exchanged, as logrotate does: sudo "
		     "systemctl "
		     "restart tokend",
		     "the audit log %s cannot be written, so nothing is released",
		     status_text(examination, "auditFile"));
}

static void check_token(struct examination *examination, const json_t *token)
{
	const char *uri = json_string_member(token, "uri");
	const char *problem = json_string_member(token, "problem");
	char hint[PROBLEM_TEXT_MAX], absence[PROBLEM_TEXT_MAX], tries[PROBLEM_TEXT_MAX];

	token_tries_hint(token, tries, sizeof(tries));
	token_hint(token, hint, sizeof(hint));
	token_absence(token, absence, sizeof(absence));
	uri = uri ? uri : "?";
	if (!json_boolean_member(token, "present")) {
		find(examination, SEVERITY_PROBLEM, "token", hint[0] ? hint : "tokenctl tokens", "%s %s", uri,
		     absence);
		examination->worst = examination->worst ? examination->worst : ERR_NO_TOKEN;
		return;
	}
	find(examination, problem ? SEVERITY_WARNING : SEVERITY_OK, "token", problem ? hint : "",
	     "%s is there%s%s", uri, problem ? ", but: " : "", problem ? problem : "");
	if (json_boolean_member(token, "simulation"))
		find(examination, SEVERITY_WARNING, "token", "token tpm:device:" DEVICE " in tokend.conf",
		     "%s is a SIMULATION: whoever is root here can read its keys", uri);
	if (token_tries_used_up(token))
		find(examination, SEVERITY_WARNING, "token", tries,
		     "wrong PINs have used up the tries of %s%s, so no PIN is tried; keys without one still "
		     "work",
		     uri, json_boolean_member(token, "inLockout") ? ", which is in lockout" : "");
}

static void check_tokens(struct examination *examination)
{
	const json_t *list = json_object_get(examination->tokens, "tokens");

	if (!examination->tokens)
		return;
	if (json_array_size(list) == 0) {
		find(examination, SEVERITY_PROBLEM, "token", token_none_hint(),
		     "tokend was told of no token");
		examination->worst = examination->worst ? examination->worst : ERR_NO_TOKEN;
	}
	for (size_t i = 0; i < json_array_size(list); i++)
		check_token(examination, json_array_get(list, i));
}

/* As after a restore by root. Who may see which keys is not asked: it is a number. */
static bool report_left_out(struct examination *examination)
{
	const json_t *status = examination->files.where.status;
	const char *path = status_text(examination, "stateDirectory");
	long long count = (long long)json_integer_member(status, "keysLeftOut", 0);
	char next[PROBLEM_TEXT_MAX] = "see what tokend wrote when it started";

	if (examination->files.where.system_mode)
		(void)snprintf(
		        next, sizeof(next),
		        "journalctl -u tokend -e says why; after a restore: sudo chown -R --reference=%s %s "
		        "&& sudo systemctl restart tokend",
		        path, path);
	if (count > 0)
		find(examination, SEVERITY_WARNING, "keys", next,
		     "%lld file%s of keys in %s/keys could not be read: what %s for is not served", count,
		     PLURAL(count), path, count == 1 ? "it is" : "they are");
	return count > 0;
}

/* Of an exchanged or cleared TPM all of them are, so they are one finding. */
static void report_foreign(struct examination *examination)
{
	size_t count = 0;
	const char *first = NULL;

	for (size_t i = 0; i < json_array_size(examination->keys); i++) {
		const json_t *key = json_array_get(examination->keys, i);

		if (!key_is_foreign(key))
			continue;
		first = first ? first : json_string_member(key, "name");
		count++;
	}
	if (count > 0)
		find(examination, SEVERITY_PROBLEM, "keys",
		     "tokenctl keys; when the TPM that they were made on does not come back they are lost: "
		     "tokenctl decrypt -i FILE opens what was encrypted to another recipient, too",
		     "%zu key%s, %s%s, %s not of the TPM that is there: %s made on another one, or this one "
		     "was cleared",
		     count, PLURAL(count), first ? first : "?", count > 1 ? " the first" : "",
		     count > 1 ? "are" : "is", count > 1 ? "they were" : "it was");
}

/* The token of a key all of whose tokens the configuration does not name any more; NULL: one of them it does, or that is not known. */
static const char *unnamed_token(const struct examination *examination, const json_t *key)
{
	const json_t *slots = json_object_get(key, "slots");

	for (size_t i = 0; i < json_array_size(slots); i++)
		if (token_of_uri(examination->tokens, json_string_member(json_array_get(slots, i), "token")))
			return NULL;
	return examination->tokens ? json_string_member(json_array_get(slots, 0), "token") : NULL;
}

/* A key stays with the URI that its token had when it was made. */
static void report_unusable(struct examination *examination, const json_t *key)
{
	const char *name = json_string_member(key, "name"), *id = json_string_member(key, "id");
	const char *uri = unnamed_token(examination, key);
	char next[PROBLEM_TEXT_MAX];

	if (!uri) {
		find(examination, SEVERITY_WARNING, "keys", "tokenctl tokens",
		     "the key %s cannot be used: no token that holds it is there", name ? name : "?");
		return;
	}
	(void)snprintf(next, sizeof(next),
	               "\"token %s\" in %s; where that TPM has another URI now: write it behind \"slot:\" in "
	               "%s/keys/%s.key; then restart tokend",
	               uri, status_text(examination, "configuration"),
	               status_text(examination, "stateDirectory"), id ? id : "?");
	find(examination, SEVERITY_WARNING, "keys", next,
	     "the key %s cannot be used: it is on %s, which is not in the configuration", name ? name : "?",
	     uri);
}

static void check_keys(struct examination *examination)
{
	size_t count = json_array_size(examination->keys);
	bool left_out = report_left_out(examination);

	if (examination->keys_err && examination->keys_err != ERR_DENIED)
		find(examination, SEVERITY_PROBLEM, "keys", examination->keys_problem.hint,
		     "the keys cannot be listed: %s",
		     problem_text(&examination->keys_problem, examination->keys_err));
	if (!examination->keys)
		return;
	if (count == 0 && left_out)
		return;
	if (count == 0) {
		find(examination, SEVERITY_NOTE, "keys", where_no_keys_hint(&examination->files.where),
		     "there is no key that you may see");
		return;
	}
	for (size_t i = 0; i < count; i++) {
		const json_t *key = json_array_get(examination->keys, i);

		if (!json_boolean_member(key, "usable") && !key_is_foreign(key))
			report_unusable(examination, key);
	}
	report_foreign(examination);
	find(examination, SEVERITY_OK, "keys", "", "you may see %zu", count);
	find(examination, SEVERITY_NOTE, "recovery",
	     "age-keygen -o recovery.txt, kept off this machine, and -r for it",
	     "there is no recovery kit yet: what is encrypted to one key alone is lost with its token");
}

/* ---- checks that look at the machine ---- */

static void check_state(struct examination *examination)
{
	const char *path = json_string_member(examination->files.where.status, "stateDirectory");
	char next[PROBLEM_TEXT_MAX];
	struct stat status;

	if (!path || stat(path, &status) < 0)
		return;
	(void)snprintf(next, sizeof(next), "chmod 0700 %s", path);
	if (status.st_mode & 0077)
		find(examination, SEVERITY_PROBLEM, "state", next, "%s can be read or written by others",
		     path);
	else
		find(examination, SEVERITY_OK, "state", "", "%s is tokend's alone", path);
}

static bool reads_as(const char *path, const char *prefix)
{
	CLEANUP(fclosep) FILE *file = fopen(path, "re");
	char line[128] = "";

	return file && fgets(line, sizeof(line), file) && strncmp(line, prefix, strlen(prefix)) == 0;
}

/* zram stays in memory; device mapper says whether it encrypts. */
static bool is_safe_swap(const char *device)
{
	char real[PATH_MAX], path[PATH_MAX + 64];
	const char *name;

	if (!realpath(device, real))
		return false;
	name = strrchr(real, '/') + 1;
	if (strncmp(name, "zram", 4) == 0)
		return true;
	(void)snprintf(path, sizeof(path), "/sys/class/block/%s/dm/uuid", name);
	return reads_as(path, "CRYPT-");
}

static void check_swap(struct examination *examination)
{
	CLEANUP(fclosep) FILE *file = fopen("/proc/swaps", "re");
	char line[512], device[512];
	bool first = true;

	for (; file && fgets(line, sizeof(line), file); first = false)
		if (!first && sscanf(line, "%511s", device) == 1 && !is_safe_swap(device))
			find(examination, SEVERITY_WARNING, "swap",
			     "encrypt it with a fresh key at each boot: crypttab(5), option swap",
			     "%s is swap that is not encrypted: tokend's secrets are locked in memory, but "
			     "what "
			     "you decrypt may be written there",
			     device);
}

static bool in_path(const char *program)
{
	const char *rest = getenv("PATH");
	char path[PATH_MAX];

	while (rest && *rest) {
		size_t len = strcspn(rest, ":");

		(void)snprintf(path, sizeof(path), "%.*s/%s", (int)len, rest, program);
		if (access(path, X_OK) == 0)
			return true;
		rest += len;
		rest += *rest == ':';
	}
	return false;
}

static void check_programs(struct examination *examination)
{
	static const struct {
		const char *name;
		enum severity missing;
		const char *next;
		const char *text;
	} programs[] = {
		{ "age-plugin-tokend", SEVERITY_WARNING,
		  "cmake --install build/release, or put its directory into PATH",
		  "age, rage and sops cannot use tokend" },
		{ "age", SEVERITY_NOTE, "apt install age", "tokenctl encrypt and decrypt do without it" },
		{ "sops", SEVERITY_NOTE, "https://github.com/getsops/sops/releases",
		  "needed for files with encrypted values" },
	};

	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++)
		if (in_path(programs[i].name))
			find(examination, SEVERITY_OK, "programs", "", "%s is in PATH", programs[i].name);
		else
			find(examination, programs[i].missing, "programs", programs[i].next,
			     "%s is not in PATH: %s", programs[i].name, programs[i].text);
}

/* Only who runs tokend needs the device; whoever asks tokend does not. */
static void check_device(struct examination *examination)
{
	const struct group *group;
	char next[PROBLEM_TEXT_MAX];
	struct stat status;
	bool ours = json_integer_member(examination->files.where.status, "uid", (json_int_t)getuid()) ==
	            (json_int_t)getuid();

	if (stat(DEVICE, &status) < 0 || !ours || access(DEVICE, R_OK | W_OK) == 0)
		return;
	group = getgrgid(status.st_gid);
	(void)snprintf(next, sizeof(next), "sudo usermod -aG %s \"$USER\", then log in again",
	               group ? group->gr_name : "tss");
	find(examination, examination->files.where.status ? SEVERITY_NOTE : SEVERITY_WARNING, "device", next,
	     "you may not use %s, so a tokend that you run yourself cannot either", DEVICE);
}

/* ---- the examination ---- */

static void (*const checks[])(struct examination *examination) = {
	check_daemon, check_tokens, check_keys, check_policy,   check_audit,
	check_memory, check_state,  check_swap, check_programs, check_device,
};

static void examine(struct examination *examination)
{
	struct problem ignored = { 0 };

	where_find(examination->daemon, &examination->files.where);
	if (examination->files.where.status) {
		if (tokens_get(examination->daemon, &ignored, &examination->tokens))
			examination->tokens = NULL;
		examination->keys_err =
		        keys_get(examination->daemon, NULL, &examination->keys_problem, &examination->keys);
		if (examination->keys_err)
			examination->keys = NULL;
		keys_mark_absent(examination->keys, examination->tokens);
	}
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++)
		checks[i](examination);
}

static const char *severity_name(enum severity severity)
{
	switch (severity) {
	case SEVERITY_OK:
		return "ok";
	case SEVERITY_NOTE:
		return "note";
	case SEVERITY_WARNING:
		return "warning";
	case SEVERITY_PROBLEM:
		break;
	}
	return "problem";
}

static const char *severity_colour(enum severity severity)
{
	switch (severity) {
	case SEVERITY_OK:
		return "\033[32m";
	case SEVERITY_NOTE:
		return "\033[36m";
	case SEVERITY_WARNING:
		return "\033[33m";
	case SEVERITY_PROBLEM:
		break;
	}
	return "\033[31m";
}

static void print_findings(const struct examination *examination)
{
	bool colours = terminal_colours(STDOUT_FILENO);

	for (size_t i = 0; i < examination->count; i++) {
		const struct finding *finding = &examination->findings[i];

		(void)printf("%s%-8s%s  %-9s %s\n", colours ? severity_colour(finding->severity) : "",
		             severity_name(finding->severity), colours ? "\033[0m" : "", finding->check,
		             finding->text);
		if (finding->next[0])
			(void)printf("%21s%s\n", "-> ", finding->next);
	}
}

static enum err print_findings_json(const struct examination *examination)
{
	CLEANUP(json_decrefp) json_t *list = json_array();

	for (size_t i = 0; i < examination->count; i++) {
		const struct finding *finding = &examination->findings[i];
		json_t *row =
		        json_pack("{s:s, s:s, s:s, s:s}", "severity", severity_name(finding->severity),
		                  "check", finding->check, "text", finding->text, "next", finding->next);

		if (json_array_append_new(list, row) < 0)
			return ERR_NOMEM;
	}
	return json_print(TAKE(list));
}

static enum err conclude(const struct examination *examination, struct problem *problem)
{
	size_t count = 0;

	for (size_t i = 0; i < examination->count; i++)
		count += examination->findings[i].severity == SEVERITY_PROBLEM;
	if (count == 0)
		return OK;
	return problem_set(problem, examination->worst ? examination->worst : ERR_STATE_DIR,
	                   "%zu %s not work", count, count == 1 ? "thing does" : "things do");
}

static enum err run(struct invocation *invocation)
{
	struct examination examination = { .daemon = &invocation->daemon };
	enum err err = OK;

	examination.findings = calloc(FINDINGS_MAX, sizeof(*examination.findings));
	if (!examination.findings)
		return ERR_NOMEM;
	examine(&examination);
	if (options_given(&invocation->options, "json"))
		err = print_findings_json(&examination);
	else
		print_findings(&examination);
	if (!err)
		err = conclude(&examination, &invocation->problem);
	policy_files_done(&examination.files);
	json_decref(examination.tokens);
	json_decref(examination.keys);
	free(examination.findings);
	return err;
}

static const struct option_row rows[] = {
	{ 0, "json", NULL, "print JSON", false },
	OPTIONS_END,
};

const struct verb doctor_verb = {
	.name = "doctor",
	.arguments = "",
	.summary = "Looks for what is wrong and names the next command to type",
	.details = "Exits with 0 when everything works, warnings or not, 3 when you may not use "
	           "tokend's\n"
	           "socket, 6 when tokend or a token is not there, else 1.",
	.example = "  tokenctl doctor",
	.options = rows,
	.run = run,
};
