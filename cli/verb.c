#include "cli/verb.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "cli/shown.h"

/* How many of words the name takes up, 0 when it is another. */
static size_t matches(const char *name, size_t count, char *const *words)
{
	const char *space = strchr(name, ' ');

	if (!space)
		return count >= 1 && strcmp(words[0], name) == 0 ? 1 : 0;
	if (count < 2 || strlen(words[0]) != (size_t)(space - name))
		return 0;
	return strncmp(words[0], name, (size_t)(space - name)) == 0 && strcmp(words[1], space + 1) == 0 ? 2
	                                                                                                : 0;
}

const struct verb *verb_find(size_t count, char *const *words, size_t *ret_used)
{
	for (size_t i = 0; verbs[i]; i++) {
		size_t used = matches(verbs[i]->name, count, words);

		if (used) {
			*ret_used = used;
			return verbs[i];
		}
	}
	return NULL;
}

/* A name begun but not finished is nearer than any misspelling. */
static size_t verb_distance(const char *name, const char *word)
{
	size_t len = strlen(word);

	return len >= 3 && strncmp(name, word, len) == 0 ? 0 : words_distance(name, word);
}

const char *verb_nearest(const char *word)
{
	const char *nearest = NULL;
	size_t best = strlen(word) < 5 ? 2 : 3;

	for (size_t i = 0; verbs[i]; i++) {
		size_t distance = verb_distance(verbs[i]->name, word);

		if (distance < best) {
			best = distance;
			nearest = verbs[i]->name;
		}
	}
	return nearest;
}

bool verb_is_prefix(const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; verbs[i]; i++)
		if (len && strncmp(verbs[i]->name, word, len) == 0 && verbs[i]->name[len] == ' ')
			return true;
	return false;
}

enum err verb_explain_exec(struct invocation *invocation, const char *program, int error_number)
{
	struct problem *problem = &invocation->problem;
	bool is_missing = error_number == ENOENT;
	char here[PATH_MAX], quoted[SHOWN_QUOTED_MAX];

	invocation->exit_code = is_missing ? 127 : 126;
	if (!is_missing || strchr(program, '/'))
		return problem_errno(problem, error_number, "cannot run", program);
	(void)problem_set(problem, ERR_NO_FILE, "there is no program %s in the PATH", program);
	problem_hint(problem, "echo $PATH   says where programs are looked for");
	if (snprintf(here, sizeof(here), "./%s", program) < PATH_MAX && access(here, X_OK) == 0) {
		shown_quote(here, quoted);
		problem_hint(problem, "%s is the one in this directory", quoted);
	}
	return ERR_NO_FILE;
}

void verb_print_usage(const struct verb *verb, FILE *file)
{
	(void)fprintf(file, "usage: tokenctl %s%s%s%s\n", verb->name,
	              verb->options->name ? " [OPTION]..." : "", verb->arguments[0] ? " " : "",
	              verb->arguments);
}

void verb_print_help(const struct verb *verb, FILE *file)
{
	verb_print_usage(verb, file);
	(void)fprintf(file, "%s.\n", verb->summary);
	if (verb->details)
		(void)fprintf(file, "\n%s\n", verb->details);
	(void)fputs("\noptions:\n", file);
	options_print_help(verb->options, file);
	(void)fprintf(file, "\nexample:\n%s\n", verb->example);
}

void verbs_print_help(const char *prefix, FILE *file)
{
	size_t len = strlen(prefix);

	for (size_t i = 0; verbs[i]; i++)
		if (strncmp(verbs[i]->name, prefix, len) == 0)
			(void)fprintf(file, "  %-16s%s\n", verbs[i]->name, verbs[i]->summary);
}
