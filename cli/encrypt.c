/*
 * tokenctl encrypt
 *
 * Needs neither a device nor, unless a key is named by --key, the daemon: a recipient is a public key.
 */
#include "cli/identity_file.h"
#include "cli/input.h"
#include "cli/facts.h"
#include "cli/output.h"
#include "cli/sops_encrypt.h"
#include "cli/terminal.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "formats/age_file.h"

#define RECIPIENTS_MAX 256U

struct encryption {
	struct invocation *invocation; /* borrowed */
	struct recipients recipients;
	struct age_writer *writer;
};

typedef enum err (*add_value)(struct encryption *encryption, const char *value);

static enum err add_recipient(struct encryption *encryption, const char *value)
{
	return recipients_add(value, &encryption->invocation->problem, &encryption->recipients);
}

static enum err add_file(struct encryption *encryption, const char *path)
{
	return recipients_read(path, &encryption->invocation->problem, &encryption->recipients);
}

static enum err add_key(struct encryption *encryption, const char *name)
{
	struct invocation *invocation = encryption->invocation;
	CLEANUP(json_decrefp) json_t *keys = NULL;
	const char *recipient;
	enum err err = keys_get(&invocation->daemon, name, &invocation->problem, &keys);

	if (err)
		return err;
	recipient = json_string_member(json_array_get(keys, 0), "recipient");
	if (!recipient)
		return problem_set(&invocation->problem, ERR_USAGE,
		                   "the key %s is symmetric, so nothing can be encrypted to it", name);
	return recipients_add(recipient, &invocation->problem, &encryption->recipients);
}

static enum err add_identities(struct encryption *encryption, const char *path)
{
	struct problem *problem = &encryption->invocation->problem;
	struct identities identities = { 0 };
	enum err err = identities_read(path, problem, &identities);

	for (size_t i = 0; !err && i < identities.count; i++)
		err = recipients_add_identity(&identities.items[i], problem, &encryption->recipients);
	identities_done(&identities);
	return err;
}

static enum err add_all(struct encryption *encryption, const char *option, add_value add)
{
	const char *value;
	size_t cursor = 0;

	while ((value = options_next(&encryption->invocation->options, option, &cursor))) {
		enum err err = add(encryption, value);

		if (err)
			return err;
	}
	return OK;
}

static enum err add_passphrase(struct encryption *encryption)
{
	struct problem *problem = &encryption->invocation->problem;
	struct secret *passphrase = NULL;
	enum err err;

	if (encryption->recipients.count)
		return problem_set(problem, ERR_USAGE,
		                   "a passphrase must be the only recipient, so -p excludes the others");
	if (!terminal_available())
		return problem_set(problem, ERR_PIN_NEEDED,
		                   "a passphrase is asked for on a terminal, and there is none");
	err = terminal_read_secret_twice("Passphrase: ", "The same again: ", &passphrase);
	if (err == ERR_USAGE) {
		(void)problem_set(problem, err, "the two passphrases differ");
		problem_hint(problem, "the same command asks again");
		return err;
	}
	if (err)
		return problem_set(problem, err, "no passphrase was given");
	return recipients_add_passphrase(passphrase, &encryption->recipients);
}

static enum err check_recipients(struct encryption *encryption)
{
	struct problem *problem = &encryption->invocation->problem;

	if (encryption->recipients.count > RECIPIENTS_MAX)
		return problem_set(problem, ERR_USAGE, "more than %u recipients are too many",
		                   RECIPIENTS_MAX);
	if (encryption->recipients.count)
		return OK;
	(void)problem_set(problem, ERR_USAGE, "no recipient is given: to whom shall it be encrypted?");
	problem_hint(problem,
	             "tokenctl encrypt --key NAME ...   (tokenctl keys lists the names), or -r age1..., "
	             "-R FILE, -p");
	return ERR_USAGE;
}

static enum err gather_recipients(struct encryption *encryption)
{
	enum err err = add_all(encryption, "recipient", add_recipient);

	if (!err)
		err = add_all(encryption, "recipients-file", add_file);
	if (!err)
		err = add_all(encryption, "identity", add_identities);
	if (!err)
		err = add_all(encryption, "key", add_key);
	if (!err && options_given(&encryption->invocation->options, "passphrase"))
		err = add_passphrase(encryption);
	return err ? err : check_recipients(encryption);
}

static enum err take_first(void *context, struct bytes piece)
{
	struct encryption *encryption = context;

	return age_writer_push(encryption->writer, piece);
}

static uint8_t *give_space(void *context, size_t *ret_len)
{
	struct encryption *encryption = context;

	return age_writer_space(encryption->writer, ret_len);
}

static enum err take_more(void *context, size_t len)
{
	struct encryption *encryption = context;

	return age_writer_commit(encryption->writer, len);
}

/* A terminal would be handed binary data by the first write; better to say so before anything is asked. */
static enum err check_terminal(struct invocation *invocation, const struct output *output)
{
	if (!output_is_careful(output) || options_given(&invocation->options, "armor"))
		return OK;
	(void)problem_set(&invocation->problem, ERR_USAGE,
	                  "an encrypted file is binary and is not written to a terminal");
	problem_hint(&invocation->problem, "-a makes it text, -o FILE writes it to a file");
	return ERR_USAGE;
}

static enum err encrypt_stream(struct encryption *encryption, int input, const char *path,
                               struct output *output)
{
	const struct input_receiver receiver = { take_first, give_space, take_more, encryption };
	struct invocation *invocation = encryption->invocation;
	const struct recipients *recipients = &encryption->recipients;
	bool armored = options_given(&invocation->options, "armor");
	enum err err = age_writer_new(recipients->items, recipients->count, armored, output_write, output,
	                              &encryption->writer);

	if (!err)
		err = input_pump(input, path, &receiver, &invocation->problem);
	if (!err)
		err = age_writer_finish(encryption->writer);
	if (!err)
		err = output_commit(output);
	if (err == ERR_UNSUPPORTED && !invocation->problem.message[0])
		return problem_set(&invocation->problem, err,
		                   "libcrypto (OpenSSL 3) is needed for age1tag1... and is "
		                   "not installed");
	return err;
}

static bool names_recipients(const struct options *options)
{
	return options_given(options, "recipient") || options_given(options, "recipients-file") ||
	       options_given(options, "identity") || options_given(options, "key");
}

static enum err encrypt_sops(struct encryption *encryption, const char *path)
{
	enum err err =
	        names_recipients(&encryption->invocation->options) ? gather_recipients(encryption) : OK;

	return err ? err : sops_encrypt_file(encryption->invocation, path, &encryption->recipients);
}

static enum err encrypt_age(struct encryption *encryption, const char *path)
{
	struct invocation *invocation = encryption->invocation;
	const struct options *options = &invocation->options;
	CLEANUP(input_closep) int input = -1;
	CLEANUP(output_freep) struct output *output = NULL;
	enum err err = input_open(path, &invocation->problem, &input);

	if (!err)
		err = output_open(options_value(options, "output"), 0666, input, &invocation->problem,
		                  &output);
	if (!err)
		err = check_terminal(invocation, output);
	if (!err)
		err = gather_recipients(encryption);
	if (err == ERR_UNSUPPORTED && !invocation->problem.hint[0])
		problem_hint(&invocation->problem, "age encrypts to it and to your keys: age -r RECIPIENT -R "
		                                   "<(tokenctl recipient) -o FILE.age FILE");
	return err ? err : encrypt_stream(encryption, input, path, output);
}

static enum err run(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	const char *path = options->argument_count ? options->arguments[0] : NULL;
	struct encryption encryption = { .invocation = invocation };
	bool sops;
	enum err err = sops_encrypt_is_meant(invocation, path, names_recipients(options), &sops);

	if (!err)
		err = sops ? encrypt_sops(&encryption, path) : encrypt_age(&encryption, path);
	(void)age_writer_free(encryption.writer);
	recipients_done(&encryption.recipients);
	return err;
}

static const struct option_row rows[] = {
	{ 'k', "key", "KEY", "encrypt to an enrolled key (asks tokend for its recipient)", true },
	{ 'r', "recipient", "RECIPIENT", "encrypt to age1... or age1tag1...", true },
	{ 'R', "recipients-file", "FILE", "encrypt to every recipient in the file", true },
	{ 'i', "identity", "FILE", "encrypt to the identities in the file", true },
	{ 'p', "passphrase", NULL, "encrypt with a passphrase, asked for on the terminal", false },
	{ 'o', "output", "FILE", "write here; the file appears only when it is complete", false },
	{ 'a', "armor", NULL, "write text instead of binary data", false },
	{ 0, "sops", NULL, "write a SOPS file: the values are encrypted, and the names stay legible", false },
	{ 0, "in-place", NULL, "write it in the file's own place", false },
	{ 0, "input-type", "yaml|json|dotenv|ini|binary", "of the plain file, whatever its name (SOPS)",
	  false },
	{ 0, "encrypted-suffix", "SUFFIX", "encrypt only what is under a key that ends so (SOPS)", false },
	{ 0, "unencrypted-suffix", "SUFFIX", "encrypt all but that; _unencrypted, when nothing is said",
	  false },
	{ 0, "encrypted-regex", "PATTERN", "encrypt only what is under a key that matches (SOPS)", false },
	{ 0, "unencrypted-regex", "PATTERN", "encrypt all but that", false },
	{ 0, "encrypted-comment-regex", "PATTERN",
	  "encrypt only what a matching comment stands before (SOPS)", false },
	{ 0, "unencrypted-comment-regex", "PATTERN", "encrypt all but that", false },
	{ 0, "mac-only-encrypted", NULL, "leave clear values out of the MAC (SOPS)", false },
	{ 'e', "encrypt", NULL, "for those who are used to age", false },
	OPTIONS_END,
};

const struct verb encrypt_verb = {
	.name = "encrypt",
	.arguments = "[FILE]",
	.arguments_max = 1,
	.summary = "Encrypts to recipients as age does, or makes a SOPS file",
	.details = "-r, -R, -i, -p, -a and -o mean what they mean for age. Without a FILE standard input is "
	           "read.\n"
	           "With --sops, or another option that is SOPS', and where no recipient is given and a rule "
	           "of\n"
	           ".sops.yaml covers the file, it becomes a SOPS file: order, comments and formatting stay. "
	           "What the\n"
	           "options say wins over .sops.yaml.",
	.example = "  tokenctl encrypt --key host -o secret.age secret.txt\n"
	           "  tokenctl encrypt -r age1... -r age1tag1... -a < secret.txt\n"
	           "  tokenctl encrypt --sops --key host -o secrets.enc.yaml secrets.yaml\n"
	           "  tokenctl encrypt --in-place secrets.yaml      # to those whom .sops.yaml names",
	.options = rows,
	.run = run,
};
