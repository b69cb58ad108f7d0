/*
 * tokenctl run
 *
 * Runs a program with the values of SOPS files in its environment. The program takes this process's place, so signals and the exit code are its own, and nothing of tokenctl stays in memory.
 * Whoever may look into the program can read its environment; that is what was asked for, and docs/SOPS.md says it. What is handed over with --file is in memory files instead.
 */
#include <errno.h>
#include <string.h>

#include "cli/default_files.h"
#include "cli/memory_file.h"
#include "cli/shown.h"
#include "cli/sops_source.h"
#include "cli/verbs.h"
#include "formats/sops_decrypt.h"
#include "formats/sops_environment.h"
#include "formats/sops_path.h"
#include "tokend/text.h"

#define CHOICES_MAX 1024U
#define HANDED_MAX 64U
#define LISTED 8U /* names in a hint */

extern char **environ;

/* --file VAR=PATH */
struct handed {
	struct bytes name;
	const char *path; /* of the value */
	struct sops_path parsed;
	int fd; /* -1: not found yet */
	uint32_t index; /* in the file that is being read; SOPS_NONE: it is not there */
};

struct running {
	struct invocation *invocation; /* borrowed */
	struct file_opener opener;
	struct sops_environment environment;
	struct environment_choice choices[CHOICES_MAX];
	char *choice_words; /* owned: --only, cut into words */
	struct handed handed[HANDED_MAX];
	size_t handed_count;
	const struct sops_document *document; /* that is being read; borrowed */
};

static struct problem *problem_of(const struct running *running)
{
	return &running->invocation->problem;
}

static enum err hand_over(struct running *running, struct handed *handed, struct bytes text)
{
	enum err err;

	if (handed->fd >= 0)
		return problem_set(problem_of(running), ERR_EXISTS, "%s is in two of the files",
		                   handed->path);
	err = memory_file_of(text, &handed->fd);
	if (!err)
		err = memory_file_seal(handed->fd);
	return err ? problem_errno(problem_of(running), errno, "cannot hand over", handed->path) : OK;
}

/* A value is in a file of its own or in the environment, not in both. */
static enum err take_value(void *context, uint32_t index, enum sops_type type, struct bytes text)
{
	struct running *running = context;
	bool is_handed = false;
	enum err err = OK;

	for (size_t i = 0; !err && i < running->handed_count; i++) {
		if (running->handed[i].index != index)
			continue;
		is_handed = true;
		err = hand_over(running, &running->handed[i], text);
	}
	if (err || is_handed)
		return err;
	return sops_environment_add(&running->environment, running->document, index, type, text);
}

static void find_handed(struct running *running)
{
	for (size_t i = 0; i < running->handed_count; i++) {
		struct handed *handed = &running->handed[i];

		handed->index = SOPS_NONE;
		if (sops_path_find(running->document, &handed->parsed, handed->parsed.count, &handed->index))
			handed->index = SOPS_NONE;
	}
}

static enum err explain_value(struct running *running, const struct sops_source *source, enum err err)
{
	struct problem *problem = problem_of(running);

	if (!err || problem->message[0] || !running->environment.reason[0])
		return sops_source_explain(source, err);
	(void)problem_set(problem, err, "%s: %s", source->request.name, running->environment.reason);
	if (strstr(running->environment.reason, "export "))
		problem_hint(problem, "--quotes reads a dotenv file as a shell does");
	else if (err == ERR_USAGE && strstr(running->environment.reason, " --prefix "))
		problem_hint(problem,
		             "--prefix APP_   begins with a letter or _, and has letters, digits and _ only");
	else if (err == ERR_USAGE)
		problem_hint(problem,
		             "--only NAME,...   names the values that are wanted; --file VAR=PATH hands "
		             "one over as a file");
	else
		problem_hint(problem, "--file VAR=PATH   hands a value over as a file");
	return err;
}

static enum err read_file(struct running *running, const char *path)
{
	const char *input_type = options_value(&running->invocation->options, "input-type");
	struct sops_source source = { .text = NULL };
	enum err err = sops_source_open(&running->opener, path, input_type, &source);

	if (!err) {
		running->document = &source.document;
		find_handed(running);
		err = sops_decrypt_values(&source.document, source.metadata, source.data_key, take_value,
		                          running);
		err = explain_value(running, &source, err);
	}
	sops_source_close(&source);
	running->document = NULL;
	return err;
}

static enum err read_files(struct running *running)
{
	const struct options *options = &running->invocation->options;
	struct default_files files = { .count = 0 };
	const char *path;
	size_t cursor = 0;
	enum err err = OK;

	if (!options_given(options, "from"))
		err = default_files_find(problem_of(running), &files);
	while (!err && (path = options_next(options, "from", &cursor)))
		err = read_file(running, path);
	for (size_t i = 0; !err && i < files.count; i++)
		err = read_file(running, files.paths[i]);
	default_files_done(&files);
	return err;
}

/* A name that is there twice is asked for once; the blank that one types behind a comma is no part of it. */
static void add_choice(struct sops_environment *environment, const char *word)
{
	for (size_t i = 0; i < environment->only_count; i++)
		if (strcmp(environment->only[i].name, word) == 0)
			return;
	environment->only[environment->only_count++].name = word;
}

static enum err parse_only(struct running *running, const char *words)
{
	struct sops_environment *environment = &running->environment;
	char *rest, *word;

	if (!words)
		return OK;
	running->choice_words = rest = strdup(words);
	if (!rest)
		return ERR_NOMEM;
	environment->only = running->choices;
	while ((word = strsep(&rest, ","))) {
		word += strspn(word, " ");
		if (environment->only_count == CHOICES_MAX || !*word)
			return problem_set(problem_of(running), ERR_USAGE,
			                   "--only takes names with commas between");
		add_choice(environment, word);
	}
	return OK;
}

static enum err parse_handed(struct running *running, const char *word)
{
	struct handed *handed = &running->handed[running->handed_count];
	const char *equals = strchr(word, '=');

	if (running->handed_count == HANDED_MAX)
		return problem_set(problem_of(running), ERR_USAGE, "there are more than %u --file",
		                   HANDED_MAX);
	if (equals)
		*handed = (struct handed){ .name = bytes_of(word, (size_t)(equals - word)),
			                   .path = equals + 1,
			                   .fd = -1,
			                   .index = SOPS_NONE };
	if (!equals || !sops_environment_is_name(handed->name) ||
	    sops_path_parse(bytes_of_string(handed->path), &handed->parsed)) {
		(void)problem_set(problem_of(running), ERR_USAGE, "--file %s is not VAR=PATH", word);
		problem_hint(problem_of(running), "--file TLS_KEY=tls.key   hands over the value at tls.key");
		return ERR_USAGE;
	}
	running->handed_count++;
	return OK;
}

static enum err parse_options(struct running *running)
{
	const struct options *options = &running->invocation->options;
	const char *word;
	size_t cursor = 0;
	enum err err = parse_only(running, options_value(options, "only"));

	running->environment.prefix = options_value(options, "prefix");
	running->environment.quotes = options_given(options, "quotes");
	while (!err && (word = options_next(options, "file", &cursor)))
		err = parse_handed(running, word);
	return err ? err : sops_environment_init(&running->environment);
}

/* Of a path, what its variable is called. */
static bool hint_path(const struct running *running, const char *path)
{
	char name[256];

	if (!strpbrk(path, ".[") || snprintf(name, sizeof(name), "%s", path) >= (int)sizeof(name))
		return false;
	for (char *c = name; *c; c++)
		if (*c == '.')
			*c = '_';
	if (!sops_environment_is_name(bytes_of_string(name)))
		return false;
	problem_hint(problem_of(running), "--only %s   if the value at %s is meant: names are joined with _",
	             name, path);
	return true;
}

/* The one that was meant, or those that there are. */
static void hint_name(const struct running *running, const char *wanted)
{
	struct bytes rest = buf_bytes(running->environment.others);
	char names[512], near[ENVIRONMENT_NAME_MAX] = "";
	struct shown_list list = { .text = names, .size = sizeof(names), .limit = LISTED };
	size_t best = strlen(wanted) < 5 ? 2 : 3;
	const char *name;

	if (hint_path(running, wanted))
		return;
	while ((name = text_next_string(&rest))) {
		size_t changes = words_distance(wanted, name);

		shown_list_add(&list, bytes_of_string(name));
		if (changes >= best)
			continue;
		best = changes;
		(void)snprintf(near, sizeof(near), "%s", name);
	}
	shown_list_end(&list);
	if (near[0])
		problem_hint(problem_of(running), "did you mean %s?", near);
	else
		problem_hint(problem_of(running), "the values there are, by their variables: %s",
		             names[0] ? names : "none but what --only names");
}

static void hint_handed(const struct running *running, const char *path)
{
	const char *from = options_value(&running->invocation->options, "from");
	char file[SHOWN_QUOTED_MAX], quoted[SHOWN_QUOTED_MAX];

	shown_quote(from ? from : "FILE", file);
	shown_quote(path, quoted);
	problem_hint(problem_of(running), "tokenctl get %s %s   says what is there instead", file, quoted);
}

/* What was asked for by name and is nowhere. */
static enum err check_found(const struct running *running)
{
	const struct sops_environment *environment = &running->environment;

	for (size_t i = 0; i < environment->only_count; i++)
		if (!environment->only[i].found) {
			(void)problem_set(problem_of(running), ERR_USAGE, "there is no value %s in the files",
			                  environment->only[i].name);
			hint_name(running, environment->only[i].name);
			return ERR_USAGE;
		}
	for (size_t i = 0; i < running->handed_count; i++)
		if (running->handed[i].fd < 0) {
			(void)problem_set(problem_of(running), ERR_USAGE, "there is no value %s in the files",
			                  running->handed[i].path);
			hint_handed(running, running->handed[i].path);
			return ERR_USAGE;
		}
	return OK;
}

static enum err name_handed(struct running *running)
{
	struct buf *strings = running->environment.strings;
	enum err err = OK;

	for (size_t i = 0; !err && i < running->handed_count; i++) {
		const struct handed *handed = &running->handed[i];
		char path[MEMORY_FILE_PATH_MAX];

		memory_file_path(handed->fd, path);
		err = buf_put(strings, handed->name);
		if (!err)
			err = buf_printf(strings, "=%s", path);
		if (!err)
			err = buf_put_u8(strings, 0);
		running->environment.count += err == OK;
	}
	return err;
}

/* Comes back only when it did not work. */
static enum err execute(struct running *running)
{
	char *const *words = (char *const *)(uintptr_t)running->invocation->options.arguments;
	bool clean = options_given(&running->invocation->options, "clean-env");
	CLEANUP(freep) char **list = NULL;
	enum err err = sops_environment_list(&running->environment, clean ? NULL : environ, &list);

	if (err == ERR_EXISTS) {
		(void)problem_set(problem_of(running), err, "%s", running->environment.reason);
		problem_hint(problem_of(running),
		             "one of its values needs another name; --only NAME,...   leaves out names "
		             "that are not wanted");
	}
	if (err)
		return err;
	(void)execvpe(words[0], words, list);
	return verb_explain_exec(running->invocation, words[0], errno);
}

static enum err prepare(struct running *running)
{
	enum err err = parse_options(running);

	if (!err)
		err = read_files(running);
	if (!err)
		err = check_found(running);
	return err ? err : name_handed(running);
}

static enum err run(struct invocation *invocation)
{
	struct running *running = calloc(1, sizeof(*running));
	enum err err;

	if (!running)
		return ERR_NOMEM;
	running->invocation = invocation;
	err = file_opener_init(&running->opener, invocation);
	if (!err)
		err = prepare(running);
	/* Before, so that nothing is left to be done with when another program is in our place. */
	file_opener_done(&running->opener);
	daemon_done(&invocation->daemon);
	invocation->daemon = (struct daemon){ .control = NULL };
	if (!err)
		err = execute(running);
	sops_environment_done(&running->environment);
	for (size_t i = 0; i < running->handed_count; i++)
		close_fdp(&running->handed[i].fd);
	free(running->choice_words);
	free(running);
	return err;
}

static const struct option_row rows[] = {
	{ 'f', "from", "FILE", "a SOPS file; may be given again (none: run.files of .tokend.yaml)", true },
	{ 0, "only", "A,B", "only these values", false },
	{ 0, "prefix", "P", "before the name of each variable", false },
	{ 0, "clean-env", NULL, "nothing else in the environment", false },
	{ 0, "file", "VAR=PATH", "hands the value at PATH over as a file, whose name is in VAR", true },
	{ 0, "quotes", NULL, "reads dotenv values as a shell does: quotes, export, comments", false },
	FILE_OPENER_IDENTITY,
	{ 0, "input-type", "yaml|json|dotenv|ini|binary", "of the files, whatever their names", false },
	OPTIONS_END,
};

const struct verb run_verb = {
	.name = "run",
	.arguments = "-- COMMAND [ARGUMENT]...",
	.arguments_min = 1,
	.arguments_max = 65536,
	.summary = "Runs a program with the values of SOPS files in its environment",
	.details =
	        "Keys inside of maps and lists are joined with _ (db: {pass: x} is db_pass); two values with "
	        "one name,\n"
	        "and names that no variable can have, are errors; so are LD_*, PATH, BASH_ENV and "
	        "GCONV_PATH,\n"
	        "which choose what code is run, unless --only names them. The MAC is always checked. The\n"
	        "program takes the place of tokenctl, so signals and exit code are its own; it leaves no "
	        "core\n"
	        "dump.\n"
	        "--file hands over a file in memory, which /proc/self/fd/N opens; it is never on a disk.\n"
	        "Without -f the nearest .tokend.yaml says which files, from here upwards, then in git's "
	        "common\n"
	        "directory and the main working tree:  run: {files: [secrets.enc.yaml]}",
	.example = "  tokenctl run -f secrets.enc.yaml -- ./server --port 8080\n"
	           "  tokenctl run -f db.enc.yaml --only db_pass --prefix APP_ -- env\n"
	           "  tokenctl run -f tls.enc.yaml --file TLS_KEY=tls.key -- nginx",
	.options = rows,
	.run = run,
};
