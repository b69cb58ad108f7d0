/*
 * tokenctl decrypt
 *
 * An age file's bulk is done here, chunk by chunk; only the file's header stanzas go to tokend, once, and a file key comes back. With identity files that hold private keys
 * themselves no daemon is asked. A SOPS file's data key is an age file.
 */
#include "cli/decrypt_tree.h"
#include "cli/file_decrypt.h"
#include "cli/input.h"
#include "cli/output.h"
#include "cli/shown.h"
#include "cli/verbs.h"

/* It is nothing but a directory that input_open calls a wrong use. */
static void hint_directory(struct invocation *invocation, const char *path)
{
	bool check = options_given(&invocation->options, "check");
	char quoted[SHOWN_QUOTED_MAX];

	shown_quote(path, quoted);
	problem_hint(&invocation->problem,
	             check ? "tokenctl decrypt -r %s --check" : "tokenctl decrypt -r %s --output-dir OUT",
	             quoted);
}

static enum err decrypt_one(struct file_opener *opener, const char *path)
{
	const struct options *options = &opener->invocation->options;
	bool check = options_given(options, "check");
	struct file_decryption decryption = { .opener = opener,
		                              .path = input_name(path) == path ? path : NULL,
		                              .input_type = options_value(options, "input-type"),
		                              .output_type = options_value(options, "output-type"),
		                              .quotes = options_given(options, "quotes"),
		                              .sink = check ? output_discard : output_write };
	struct problem *problem = &opener->invocation->problem;
	CLEANUP(input_closep) int input = -1;
	CLEANUP(output_freep) struct output *output = NULL;
	enum err err = input_open(path, problem, &input);

	opener->name = input_name(path);
	if (err == ERR_USAGE)
		hint_directory(opener->invocation, path);
	if (!err && !check)
		err = output_open_plain(options_value(options, "output"), input, problem, &output);
	decryption.sink_context = output;
	if (!err)
		err = file_decrypt(&decryption, input);
	return err || check ? err : output_commit(output);
}

static enum err run(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	const char *path = options->argument_count ? options->arguments[0] : NULL;
	struct file_opener opener;
	enum err err;

	if (options_given(options, "recursive"))
		return path ? decrypt_tree(invocation, path)
		            : problem_set(&invocation->problem, ERR_USAGE, "-r needs a directory");
	if (options_given(options, "output-dir")) {
		(void)problem_set(&invocation->problem, ERR_USAGE, "--output-dir goes with -r");
		problem_hint(&invocation->problem, "-o FILE   for one file; -r DIRECTORY   for all below it");
		return ERR_USAGE;
	}
	err = file_opener_init(&opener, invocation);

	if (!err)
		err = decrypt_one(&opener, path);
	file_opener_done(&opener);
	return err;
}

static const struct option_row rows[] = {
	{ 'o', "output", "FILE", "write here; the file appears only when everything is verified", false },
	FILE_OPENER_IDENTITY,
	{ 'p', "passphrase", NULL, "the file must be one that is encrypted with a passphrase", false },
	{ 'r', "recursive", NULL, "every age and SOPS file below a directory, by content", false },
	{ 0, "output-dir", "DIR", "with -r: where the decrypted files go, under the same names", false },
	{ 0, "check", NULL, "decrypts and verifies, and throws the result away", false },
	{ 0, "input-type", "yaml|json|dotenv|ini|binary", "of a SOPS file, whatever its name", false },
	{ 0, "output-type", "yaml|json|dotenv|ini|binary", "writes a SOPS file's values in another format",
	  false },
	{ 0, "quotes", NULL, "writes dotenv so that a shell reads it: values in quotes where they need them",
	  false },
	{ 'd', "decrypt", NULL, "for those who are used to age", false },
	OPTIONS_END,
};

const struct verb decrypt_verb = {
	.name = "decrypt",
	.arguments = "[FILE|DIR]",
	.arguments_max = 1,
	.summary = "Decrypts an age or SOPS file with an enrolled key or an identity file",
	.details =
	        "Without -i tokend is asked, once, and tries every key that you may use. With -i only the\n"
	        "identities in these files are tried; a line AGE-PLUGIN-TOKEND-1... in one of them means "
	        "tokend.\n"
	        "A new output file gets the mode 0600; one that is replaced keeps its mode. Standard output\n"
	        "gets each chunk as soon as it is verified. Binary data goes to a terminal only with -o -.\n"
	        "A SOPS file (YAML, JSON, dotenv, INI, binary; by name and content) keeps its formatting, "
	        "order and\n"
	        "comments. Its MAC is always checked, and nothing is written before it is.\n"
	        "-r goes on when a file fails, lists at the end what failed, and ends with the exit code of "
	        "the\n"
	        "first. Symbolic links are not followed. The files get the mode 0600; file.age becomes "
	        "file.",
	.example = "  tokenctl decrypt secret.age\n"
	           "  tokenctl decrypt -o secret.txt secret.age\n"
	           "  tokenctl decrypt secrets.enc.yaml\n"
	           "  tokenctl decrypt -r deploy/secrets --output-dir /run/secrets\n"
	           "  tokenctl decrypt -r . --check\n"
	           "  tokenctl decrypt -i key.txt < secret.age",
	.options = rows,
	.run = run,
};
