/*
 * tokenctl
 *
 * Finds the verb, parses its options, runs it, and turns what went wrong into one sentence, a hint and an exit code. Everything it does is in the verb's own file.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/shown.h"
#include "cli/verbs.h"
#include "common/file.h"

#define PROGRAM "tokenctl"

static void print_help(FILE *file)
{
	(void)fputs("usage: tokenctl VERB [OPTION]... [ARGUMENT]...\n"
	            "Decrypts with keys that stay in a TPM.\n\nverbs:\n",
	            file);
	verbs_print_help("", file);
	(void)fputs("\n'tokenctl help VERB' explains a verb, with an example.\n"
	            "exit codes: 0 done, 1 fault, 2 usage, 3 denied, 4 no such key, 5 PIN needed, wrong or "
	            "locked,\n"
	            "            6 tokend or token not there, 7 damaged or wrong file, 8 busy or too slow\n\n"
	            "example:\n"
	            "  tokenctl enroll --name host && tokenctl encrypt --key host -o a.age a.txt\n",
	            file);
}

static int complain(const struct problem *problem, enum err err)
{
	problem_print(problem, err, PROGRAM);
	return err_info(err)->exit_code;
}

static bool is_one_of(const char *word, const char *a, const char *b)
{
	return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

/* The words that may follow, for packaging/completion.bash: verbs, or the options of one. */
static int print_words(size_t count, char *const *words)
{
	size_t used = 0;
	const struct verb *verb = count ? verb_find(count, words, &used) : NULL;

	if (verb) {
		options_print_words(verb->options, stdout);
		(void)printf("--help \nargument %s\n", verb->arguments);
		return 0;
	}
	for (size_t i = 0; verbs[i]; i++)
		(void)puts(verbs[i]->name);
	return 0;
}

static int print_prefixed(const char *word, FILE *file)
{
	(void)fprintf(file, "usage: tokenctl %s WORD; these are:\n", word);
	verbs_print_help(word, file);
	return file == stdout ? 0 : err_info(ERR_USAGE)->exit_code;
}

/* What other programs call it, or what there is not. */
static void explain_word(const char *word, struct problem *problem)
{
	static const char unused[] =
	        "tokenctl enroll --name ANOTHER   makes another one; one that is not used any more stays in "
	        "the state directory";
	static const char copied[] = "sudo cp -a /var/lib/tokend/keys DIRECTORY   or with the host: the copy "
	                             "is of use to the same TPM alone";
	static const struct {
		const char *word, *instead, *hint;
	} words[] = {
		{ "add", "enroll", NULL },      { "import", "enroll --import FILE", NULL },
		{ "keygen", "enroll", NULL },   { "list", "keys", NULL },
		{ "ls", "keys", NULL },         { "log", "audit show", NULL },
		{ "exec-env", "run -f", NULL }, { "version", "--version", NULL },
		{ "info", "status", NULL },     { "delete", NULL, unused },
		{ "remove", NULL, unused },     { "rm", NULL, unused },
		{ "rename", NULL, unused },     { "passwd", NULL, unused },
		{ "change-pin", NULL, unused }, { "export", NULL, copied },
		{ "backup", NULL, copied },     { "move", NULL, copied },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(word, words[i].word) != 0)
			continue;
		if (words[i].instead) {
			problem_hint(problem, "did you mean " PROGRAM " %s?", words[i].instead);
			return;
		}
		(void)problem_set(
		        problem, ERR_USAGE,
		        "there is no verb %s: a key that is there cannot be changed, removed or taken out",
		        word);
		problem_hint(problem, "%s", words[i].hint);
	}
}

/* "audit shwo" is misspelt as a whole; of "decript a b" only the first word is a verb. */
static int unknown_verb(size_t count, char *const *words)
{
	struct problem problem = { 0 };
	bool two = verb_is_prefix(words[0]);
	char phrase[128];
	const char *nearest;

	if (two && count > 1 && is_one_of(words[1], "--help", "-h"))
		return print_prefixed(words[0], stdout);
	if (two && (count == 1 || words[1][0] == '-'))
		return print_prefixed(words[0], stderr);
	(void)snprintf(phrase, sizeof(phrase), "%s%s%s", words[0], two ? " " : "", two ? words[1] : "");
	nearest = verb_nearest(phrase);
	(void)problem_set(&problem, ERR_USAGE, "there is no verb %s", phrase);
	explain_word(phrase, &problem);
	if (problem.hint[0])
		return complain(&problem, ERR_USAGE);
	if (nearest)
		problem_hint(&problem, "did you mean tokenctl %s?", nearest);
	else if (two)
		problem_hint(&problem, "tokenctl %s   lists what there is", words[0]);
	else
		problem_hint(&problem, "tokenctl --help lists the verbs");
	return complain(&problem, ERR_USAGE);
}

static int print_help_of(size_t count, char *const *words)
{
	size_t used = 0;
	const struct verb *verb = verb_find(count, words, &used);

	if (count == 0)
		print_help(stdout);
	else if (verb)
		verb_print_help(verb, stdout);
	else if (count == 1 && verb_is_prefix(words[0]))
		return print_prefixed(words[0], stdout);
	else
		return unknown_verb(count, words);
	return 0;
}

static enum err check_arguments(const struct verb *verb, const struct options *options,
                                struct problem *problem)
{
	if (options->argument_count < verb->arguments_min)
		return problem_set(problem, ERR_USAGE, "%s needs an argument: %s", verb->name,
		                   verb->arguments);
	if (options->argument_count > verb->arguments_max)
		return problem_set(problem, ERR_USAGE, "%s is one argument too many for %s",
		                   options->arguments[verb->arguments_max], verb->name);
	return OK;
}

/* Results that did not reach the disk or the pipe are no results. */
static enum err flush_results(struct problem *problem)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return OK;
	return problem_errno(problem, errno, "cannot write", "to standard output");
}

/* For errors of which nobody knew more. Doctor's findings have their own. */
static void hint_usual(const struct verb *verb, enum err err, struct problem *problem)
{
	static const struct {
		enum err err;
		const char *hint;
	} hints[] = {
		{ ERR_PIN_NEEDED, "the same command at a terminal asks for it" },
		{ ERR_PIN_WRONG, "the same command asks again" },
		{ ERR_NO_KEY, PROGRAM " keys   lists the keys that you may see" },
		{ ERR_NO_MATCH, PROGRAM " keys   lists the keys that you may see" },
		{ ERR_DENIED, PROGRAM " keys   lists the keys that you may see" },
		{ ERR_BAD_FILE, "get it again from where it came, or from a backup" },
		{ ERR_TRUNCATED, "get it again from where it came, or from a backup" },
		{ ERR_BAD_CIPHERTEXT, "get it again from where it came, or from a backup" },
		{ ERR_MEMORY_LOCKED, "" }, /* problem_print knows */
	};

	if (problem->hint[0] || strcmp(verb->name, "doctor") == 0)
		return;
	problem_hint(problem, PROGRAM " doctor");
	if (err == ERR_USAGE || err == ERR_UNSUPPORTED)
		problem_hint(problem, PROGRAM " %s --help", verb->name);
	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (hints[i].err == err)
			problem_hint(problem, "%s", hints[i].hint);
}

static enum err run(struct invocation *invocation)
{
	enum err err = secret_client_init();

	if (err)
		return err;
	json_wiping_init();
	err = invocation->verb->run(invocation);
	return err ? err : flush_results(&invocation->problem);
}

static bool wants_help(size_t count, char *const *words)
{
	for (size_t i = 0; i < count && strcmp(words[i], "--") != 0; i++)
		if (is_one_of(words[i], "--help", "-h"))
			return true;
	return false;
}

/* Options of a program that is to be run are none of ours. */
static void hint_separator(const struct verb *verb, enum err err, struct problem *problem)
{
	const char *command = strstr(verb->arguments, "COMMAND");

	if (err != ERR_USAGE || problem->hint[0] || !command)
		return;
	problem_hint(problem, PROGRAM " %s %s-- %s   where COMMAND has options of its own", verb->name,
	             verb->arguments[0] == '-' ? "" : "FILE ", command);
}

/* The place in the file, and then the file: whatever else was said of it, that is what to mend. */
static void hint_order(const struct invocation *invocation, struct problem *problem)
{
	const struct options *options = &invocation->options;
	char file[SHOWN_QUOTED_MAX], place[SHOWN_QUOTED_MAX];

	if (strncmp(invocation->verb->arguments, "FILE PATH", strlen("FILE PATH")) != 0 ||
	    access(options->arguments[0], F_OK) == 0 || access(options->arguments[1], F_OK) < 0)
		return;
	shown_quote(options->arguments[1], file);
	shown_quote(options->arguments[0], place);
	problem_hint(problem, PROGRAM " %s %s %s   has the file first", invocation->verb->name, file, place);
}

static int start_verb(const struct verb *verb, size_t count, char *const *words)
{
	struct invocation invocation = { .verb = verb };
	struct problem *problem = &invocation.problem;
	enum err err = options_parse(verb->options, count, words, problem, &invocation.options);

	if (!err)
		err = check_arguments(verb, &invocation.options, problem);
	if (err) {
		int exit_code;

		hint_separator(verb, err, problem);
		exit_code = complain(problem, err);

		if (err == ERR_USAGE)
			verb_print_usage(verb, stderr);
		options_done(&invocation.options);
		return exit_code;
	}
	err = run(&invocation);
	(void)fflush(stdout);
	if (err) {
		hint_order(&invocation, problem);
		hint_usual(verb, err, problem);
		(void)complain(problem, err);
	}
	daemon_done(&invocation.daemon);
	options_done(&invocation.options);
	return err && invocation.exit_code ? invocation.exit_code : err_info(err)->exit_code;
}

static int run_words(int argc, char **argv)
{
	size_t count = argc > 1 ? (size_t)argc - 1 : 0, used = 0;
	char *const *words = argv + 1;
	const struct verb *verb;

	if (count == 0) {
		print_help(stderr);
		return err_info(ERR_USAGE)->exit_code;
	}
	if (is_one_of(words[0], "--help", "-h"))
		return print_help_of(0, NULL);
	if (strcmp(words[0], "help") == 0)
		return print_help_of(count - 1, words + 1);
	if (is_one_of(words[0], "--version", "-V")) {
		(void)puts(PROGRAM " " TOKEND_VERSION);
		return 0;
	}
	if (strcmp(words[0], "--completion-words") == 0)
		return print_words(count - 1, words + 1);
	verb = verb_find(count, words, &used);
	if (!verb)
		return unknown_verb(count, words);
	if (wants_help(count - used, words + used)) {
		verb_print_help(verb, stdout);
		return 0;
	}
	return start_verb(verb, count - used, words + used);
}

int main(int argc, char **argv)
{
	struct problem problem = { 0 };
	enum err err = file_hold_standard(O_CLOEXEC);
	int status;

	if (err) {
		(void)problem_set(
		        &problem, err,
		        "/dev/null cannot be opened in the place of a standard descriptor that is closed");
		problem_hint(&problem, "ls -l /dev/null");
		problem_print(&problem, err, PROGRAM);
		return err_info(err)->exit_code;
	}
	status = run_words(argc, argv);
	/* A verb has said it itself; help and the like have not. */
	if (status || (err = flush_results(&problem)) == OK)
		return status;
	problem_print(&problem, err, PROGRAM);
	return err_info(err)->exit_code;
}
