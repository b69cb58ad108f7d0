/*
 * tokenctl exec-file
 *
 * Runs a program with a decrypted file, as sops exec-file does, but on a file in memory that is whole and verified before the program begins, and that it may open more than once.
 */
#include <errno.h>
#include <string.h>

#include "cli/file_decrypt.h"
#include "cli/input.h"
#include "cli/memory_file.h"
#include "cli/verbs.h"

#define PLACE "{}"
#define WORD_MAX (128U << 10)

static enum err decrypt_to(struct file_opener *opener, int *memory)
{
	const struct options *options = &opener->invocation->options;
	const char *path = options->arguments[0];
	struct problem *problem = &opener->invocation->problem;
	struct file_decryption decryption = { .opener = opener,
		                              .path = input_name(path) == path ? path : NULL,
		                              .input_type = options_value(options, "input-type"),
		                              .output_type = options_value(options, "output-type"),
		                              .sink = memory_file_write,
		                              .sink_context = memory };
	CLEANUP(input_closep) int input = -1;
	enum err err = input_open(path, problem, &input);

	opener->name = input_name(path);
	if (!err && memory_file_new(memory))
		err = problem_errno(problem, errno, "cannot make", "a file in memory");
	if (!err)
		err = file_decrypt(&decryption, input);
	if (!err && memory_file_seal(*memory))
		err = problem_errno(problem, errno, "cannot make", "a file in memory");
	return err;
}

/* word with the path in each of its places; to be freed by the caller. */
static enum err put_path(const char *word, const char *path, char **ret_word)
{
	CLEANUP(buf_freep) struct buf *buf = NULL;
	const char *place;
	enum err err = buf_new(WORD_MAX, &buf);

	while (!err && (place = strstr(word, PLACE))) {
		err = buf_put(buf, bytes_of(word, (size_t)(place - word)));
		if (!err)
			err = buf_put_string(buf, path);
		word = place + strlen(PLACE);
	}
	if (!err)
		err = buf_put_string(buf, word);
	if (err)
		return err;
	*ret_word = strdup(buf_string(buf));
	return *ret_word ? OK : ERR_NOMEM;
}

static enum err execute(struct invocation *invocation, char **words)
{
	char *shell[] = { (char[]){ "sh" }, (char[]){ "-c" }, words[0], NULL };

	if (words[1]) {
		(void)execvp(words[0], words);
		return verb_explain_exec(invocation, words[0], errno);
	}
	(void)execv("/bin/sh", shell);
	return verb_explain_exec(invocation, "/bin/sh", errno);
}

/* Without the path the program does not know of the file; it may want nothing but to be run, so that is no error. */
static void warn_unless_placed(const struct options *options)
{
	for (size_t i = 1; i < options->argument_count; i++)
		if (strstr(options->arguments[i], PLACE))
			return;
	(void)fputs("warning: " PLACE " is not in the command, so it is not told where the file is\n",
	            stderr);
}

/* One word is for the shell, as in sops; several are a program and its arguments. */
static enum err run_with(struct invocation *invocation, int memory)
{
	size_t count = invocation->options.argument_count - 1;
	char **words = calloc(count + 1, sizeof(*words));
	char path[MEMORY_FILE_PATH_MAX];
	enum err err = words ? OK : ERR_NOMEM;

	memory_file_path(memory, path);
	warn_unless_placed(&invocation->options);
	for (size_t i = 0; !err && i < count; i++)
		err = put_path(invocation->options.arguments[i + 1], path, &words[i]);
	if (!err)
		err = execute(invocation, words);
	for (size_t i = 0; words && i < count; i++)
		free(words[i]);
	free(words);
	return err;
}

static enum err run(struct invocation *invocation)
{
	struct file_opener opener;
	CLEANUP(close_fdp) int memory = -1;
	enum err err = file_opener_init(&opener, invocation);

	if (!err)
		err = decrypt_to(&opener, &memory);
	file_opener_done(&opener);
	daemon_done(&invocation->daemon);
	invocation->daemon = (struct daemon){ .control = NULL };
	return err ? err : run_with(invocation, memory);
}

static const struct option_row rows[] = {
	FILE_OPENER_IDENTITY,
	{ 'p', "passphrase", NULL, "the file must be one that is encrypted with a passphrase", false },
	{ 0, "input-type", "yaml|json|dotenv|ini|binary", "of a SOPS file, whatever its name", false },
	{ 0, "output-type", "yaml|json|dotenv|ini|binary", "writes a SOPS file's values in another format",
	  false },
	OPTIONS_END,
};

const struct verb exec_file_verb = {
	.name = "exec-file",
	.arguments = "FILE COMMAND [ARGUMENT]...",
	.arguments_min = 2,
	.arguments_max = 65536,
	.summary = "Runs a program with a decrypted file that is in memory only",
	.details = "{} in the command is the file's name, /proc/self/fd/N. One COMMAND is given to the "
	           "shell, as by "
	           "sops;\n"
	           "behind -- and with arguments it is a program. The program takes the place of tokenctl: "
	           "signals "
	           "and\n"
	           "exit code are its own. It must not close descriptors that it does not know (sudo does).",
	.example = "  tokenctl exec-file secrets.enc.json 'jq .db {}'\n"
	           "  tokenctl exec-file kubeconfig.age -- kubectl --kubeconfig {} get pods",
	.options = rows,
	.run = run,
};
