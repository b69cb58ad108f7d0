/*
 * tokenctl decrypt
 *
 * An age file's bulk is done here, chunk by chunk; only the file's header stanzas go to tokend, once, and a file key comes back. With identity files that hold private keys
 * themselves no daemon is asked. What does not begin like an age file is read as a whole and may be a SOPS file, whose data key is an age file.
 */
#include "cli/identity_file.h"
#include "cli/input.h"
#include "cli/output.h"
#include "cli/sops_file.h"
#include "cli/terminal.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "common/encoding.h"
#include "formats/age_file.h"
#include "formats/armor.h"

#define MAX_WORK_FACTOR 22U
#define PIECE_LEN 65536U /* of a file that is read as a whole */

struct decryption {
	struct invocation *invocation; /* borrowed */
	const char *name; /* of the input, for messages */
	bool is_stdin;
	struct identities identities;
	bool only_files; /* -i was given: nothing else is tried */
	bool passphrase; /* -p was given */
	struct age_reader *reader;
	struct buf *whole; /* what is no age file; NULL: it is one */
};

static enum err ask_passphrase(struct decryption *decryption, struct identity *ret_identity)
{
	struct problem *problem = &decryption->invocation->problem;
	enum err err;

	if (!terminal_available())
		return problem_set(problem, ERR_PIN_NEEDED,
		                   "%s is encrypted with a passphrase and there is no terminal to ask on",
		                   decryption->name);
	ret_identity->kind = IDENTITY_PASSPHRASE;
	err = terminal_read_secret("Passphrase: ", &ret_identity->private_key);
	return err ? problem_set(problem, err, "no passphrase was given") : OK;
}

static enum err open_with_passphrase(struct decryption *decryption, const struct age_header *header,
                                     struct secret **ret_file_key)
{
	struct identity identity = { .kind = IDENTITY_PASSPHRASE };
	struct problem *problem = &decryption->invocation->problem;
	enum err err = ask_passphrase(decryption, &identity);

	if (!err)
		err = identity_unwrap(&identity, header, MAX_WORK_FACTOR, ret_file_key);
	if (err == ERR_NO_MATCH)
		(void)problem_set(problem, err, "that is not the passphrase of %s", decryption->name);
	else if (err == ERR_UNSUPPORTED) /* no honest file does; it would keep the machine busy for minutes */
		err = problem_set(problem, ERR_BAD_FILE,
		                  "%s asks for more work than is sensible for a passphrase",
		                  decryption->name);
	identity_done(&identity);
	return err;
}

static enum err ask_pin(void *context, const char *key_name, struct secret **ret_pin)
{
	char prompt[KEY_NAME_MAX + 32];

	(void)context;
	(void)snprintf(prompt, sizeof(prompt), "PIN of the key %s: ", key_name);
	return terminal_read_secret(prompt, ret_pin);
}

/* key NULL: any. */
static enum err open_with_daemon(struct decryption *decryption, const char *key,
                                 const struct age_header *header, struct secret **ret_file_key)
{
	struct age_stanza stanzas[AGE_STANZAS_MAX];
	struct daemon_unwrap unwrap = { key, stanzas, age_header_stanza_count(header), ask_pin, NULL };
	struct problem *problem = &decryption->invocation->problem;
	size_t index;
	enum err err;

	for (size_t i = 0; i < unwrap.stanza_count; i++)
		stanzas[i] = *age_header_stanza(header, i);
	err = daemon_unwrap(&decryption->invocation->daemon, &unwrap, problem, &index, ret_file_key);
	if (err == ERR_NO_MATCH)
		*problem = (struct problem){ 0 }; /* explain_no_match knows more */
	return err;
}

static enum err open_with_tokend_identity(struct decryption *decryption, const struct identity *identity,
                                          const struct age_header *header, struct secret **ret_file_key)
{
	char id[2 * KEY_ID_LEN + 1];

	if (identity->any_key)
		return open_with_daemon(decryption, NULL, header, ret_file_key);
	hex_encode(bytes_of(identity->key_id.bytes, KEY_ID_LEN), id);
	return open_with_daemon(decryption, id, header, ret_file_key);
}

/* What is in the files comes first: it costs nothing and asks nobody. */
static enum err open_with_private_keys(const struct identities *identities, const struct age_header *header,
                                       struct secret **ret_file_key)
{
	enum err err = ERR_NO_MATCH;

	for (size_t i = 0; err == ERR_NO_MATCH && i < identities->count; i++)
		if (identities->items[i].kind == IDENTITY_X25519)
			err = identity_unwrap(&identities->items[i], header, MAX_WORK_FACTOR, ret_file_key);
	return err;
}

/* A key that is not ours, or not there, is no reason not to try the next. */
static bool tries_next(enum err err)
{
	return err == ERR_NO_MATCH || err == ERR_NO_KEY || err == ERR_DENIED || err == ERR_NO_TOKEN ||
	       err == ERR_BAD_CIPHERTEXT;
}

static enum err open_with_identities(struct decryption *decryption, const struct age_header *header,
                                     struct secret **ret_file_key)
{
	const struct identities *identities = &decryption->identities;
	enum err err = open_with_private_keys(identities, header, ret_file_key);

	for (size_t i = 0; tries_next(err) && i < identities->count; i++)
		if (identities->items[i].kind == IDENTITY_TOKEND)
			err = open_with_tokend_identity(decryption, &identities->items[i], header,
			                                ret_file_key);
	return err;
}

/* Says to whom the file is, when that explains why nothing opens it. */
static void explain_no_match(struct decryption *decryption, const struct age_header *header)
{
	struct problem *problem = &decryption->invocation->problem;
	size_t count = age_header_stanza_count(header);
	const char *other = NULL;

	for (size_t i = 0; i < count && !other; i++)
		other = stanza_type_text(age_header_stanza(header, i));
	if (decryption->only_files)
		(void)problem_set(problem, ERR_NO_MATCH, "none of the identities given opens %s%s%s",
		                  decryption->name, other ? ", which is encrypted to " : "",
		                  other ? other : "");
	else
		(void)problem_set(problem, ERR_NO_MATCH, "none of the keys that you may use opens %s%s%s",
		                  decryption->name, other ? ", which is encrypted to " : "",
		                  other ? other : "");
	problem_hint(problem, decryption->only_files
	                              ? "name the file's own identity file with -i, or leave -i away to "
	                                "use enrolled keys"
	                              : "tokenctl keys   lists your keys; -i FILE uses an identity file");
}

static bool has_passphrase(const struct age_header *header)
{
	for (size_t i = 0; i < age_header_stanza_count(header); i++)
		if (age_stanza_is(age_header_stanza(header, i), "scrypt"))
			return true;
	return false;
}

static enum err choose(struct decryption *decryption, const struct age_header *header,
                       struct secret **ret_file_key)
{
	struct problem *problem = &decryption->invocation->problem;

	if (has_passphrase(header) && age_header_stanza_count(header) > 1)
		return ERR_BAD_FILE;
	if (!has_passphrase(header) && decryption->passphrase)
		return problem_set(problem, ERR_NO_MATCH, "%s is not encrypted with a passphrase",
		                   decryption->name);
	if (decryption->only_files)
		return open_with_identities(decryption, header, ret_file_key);
	if (has_passphrase(header))
		return open_with_passphrase(decryption, header, ret_file_key);
	return open_with_daemon(decryption, NULL, header, ret_file_key);
}

static enum err open_file_key(void *context, const struct age_header *header, struct secret **ret_file_key)
{
	struct decryption *decryption = context;
	enum err err = choose(decryption, header, ret_file_key);

	if (err == ERR_NO_MATCH && !decryption->invocation->problem.message[0])
		explain_no_match(decryption, header);
	return err;
}

static bool begins_with(struct bytes text, const char *prefix)
{
	size_t len = strlen(prefix);

	return text.len >= len && memcmp(text.data, prefix, len) == 0;
}

/* What is given to us in error, and what opens it instead. */
static enum err explain_other_format(struct decryption *decryption, struct bytes piece)
{
	struct problem *problem = &decryption->invocation->problem;

	if (piece.len == 0)
		return problem_set(problem, ERR_BAD_FILE, "%s is empty", decryption->name);
	(void)problem_set(problem, ERR_BAD_FILE, "%s is not an age file, and not a SOPS file",
	                  decryption->name);
	if (!decryption->is_stdin)
		problem_hint(problem, "file %s   says what it is", decryption->name);
	return ERR_BAD_FILE;
}

static bool looks_like_age(struct bytes piece)
{
	static const char intro[] = "age-encryption.org/";
	size_t len = strlen(intro);

	if (piece.len && piece.len < len)
		return memcmp(piece.data, intro, piece.len) == 0 || armor_looks_like(piece);
	return begins_with(piece, intro) || armor_looks_like(piece);
}

/* A file of another kind shows it early, and is not read to its end; a short one is whole in its first piece. */
static bool may_be_sops(struct bytes piece)
{
	return piece.len && !memchr(piece.data, '\0', piece.len) &&
	       (piece.len == INPUT_FIRST_LEN || sops_file_is_likely(piece));
}

static enum err take_first(void *context, struct bytes piece)
{
	struct decryption *decryption = context;
	enum err err;

	if (looks_like_age(piece))
		return age_reader_push(decryption->reader, piece);
	if (!may_be_sops(piece))
		return explain_other_format(decryption, piece);
	err = buf_new(SOPS_FILE_MAX, &decryption->whole);
	return err ? err : buf_put(decryption->whole, piece);
}

/* NULL when a file is too large to be a SOPS file, too. */
static uint8_t *give_space(void *context, size_t *ret_len)
{
	struct decryption *decryption = context;
	uint8_t *space;

	if (!decryption->whole)
		return age_reader_space(decryption->reader, ret_len);
	*ret_len = PIECE_LEN < buf_room(decryption->whole) ? PIECE_LEN : buf_room(decryption->whole);
	if (*ret_len == 0)
		(void)problem_set(&decryption->invocation->problem, ERR_BAD_FILE,
		                  "%s is no age file, and too large for a SOPS file", decryption->name);
	return *ret_len && buf_reserve(decryption->whole, *ret_len, &space) == OK ? space : NULL;
}

static enum err take_more(void *context, size_t len)
{
	struct decryption *decryption = context;

	if (!decryption->whole)
		return age_reader_commit(decryption->reader, len);
	buf_commit(decryption->whole, len);
	return OK;
}

static enum err finish_sops(struct decryption *decryption, const char *path, struct output *output)
{
	const struct options *options = &decryption->invocation->options;
	struct sops_request request = { .name = decryption->name,
		                        .path = decryption->is_stdin ? NULL : path,
		                        .input_type = options_value(options, "input-type"),
		                        .output_type = options_value(options, "output-type"),
		                        .open = open_file_key,
		                        .open_context = decryption,
		                        .problem = &decryption->invocation->problem };
	CLEANUP(buf_freep) struct buf *plain = NULL;
	enum err err;

	if (!sops_file_is_likely(buf_bytes(decryption->whole)))
		return explain_other_format(decryption, buf_bytes(decryption->whole));
	err = buf_new(2 * SOPS_FILE_MAX, &plain);
	if (!err)
		err = sops_file_decrypt(&request, buf_bytes(decryption->whole), plain);
	return err ? err : output_write(output, buf_bytes(plain));
}

static bool is_damage(enum err err)
{
	return err == ERR_BAD_FILE || err == ERR_TRUNCATED || err == ERR_BAD_CIPHERTEXT;
}

static enum err explain_failure(struct decryption *decryption, enum err err)
{
	struct problem *problem = &decryption->invocation->problem;

	if (!err || problem->hint[0])
		return err;
	/* One text for every cause, but for a SOPS file: its values are no messages to anybody, and people have to find the line. */
	if (!problem->message[0] || (err == ERR_BAD_CIPHERTEXT && !decryption->whole))
		(void)problem_set(problem, err, "%s: %s", decryption->name, err_info(err)->text);
	if (is_damage(err))
		problem_hint(problem, "get it again from where it came, or from a backup");
	return err;
}

static enum err read_identities(struct decryption *decryption)
{
	const struct options *options = &decryption->invocation->options;
	struct problem *problem = &decryption->invocation->problem;
	const char *path;
	size_t cursor = 0;

	decryption->only_files = options_given(options, "identity");
	decryption->passphrase = options_given(options, "passphrase");
	if (decryption->only_files && decryption->passphrase)
		return problem_set(problem, ERR_USAGE, "-i and -p exclude each other");
	while ((path = options_next(options, "identity", &cursor))) {
		enum err err = identities_read(path, problem, &decryption->identities);

		if (err)
			return err;
	}
	return OK;
}

static enum err decrypt_stream(struct decryption *decryption, int input, const char *path,
                               struct output *output)
{
	const struct input_receiver receiver = { take_first, give_space, take_more, decryption };
	struct problem *problem = &decryption->invocation->problem;
	enum err err = age_reader_new(open_file_key, decryption, output_write, output, &decryption->reader);

	if (!err)
		err = input_pump(input, path, &receiver, problem);
	if (!err && decryption->whole)
		err = finish_sops(decryption, path, output);
	else if (!err)
		err = age_reader_finish(decryption->reader);
	if (!err)
		err = output_commit(output);
	return explain_failure(decryption, err);
}

static enum err run(struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	const char *path = options->argument_count ? options->arguments[0] : NULL;
	struct decryption decryption = { .invocation = invocation,
		                         .name = input_name(path),
		                         .is_stdin = input_name(path) != path };
	CLEANUP(input_closep) int input = -1;
	CLEANUP(output_freep) struct output *output = NULL;
	enum err err = read_identities(&decryption);

	if (!err)
		err = input_open(path, &invocation->problem, &input);
	if (!err)
		err = output_open(options_value(options, "output"), 0600, input, &invocation->problem,
		                  &output);
	if (!err)
		err = decrypt_stream(&decryption, input, path, output);
	(void)age_reader_free(decryption.reader);
	(void)buf_free(decryption.whole);
	identities_done(&decryption.identities);
	return err;
}

static const struct option_row rows[] = {
	{ 'o', "output", "FILE", "write here; the file appears only when everything is verified", false },
	{ 'i', "identity", "FILE", "an identity file; needs no daemon for private keys in it", true },
	{ 'p', "passphrase", NULL, "the file must be one that is encrypted with a passphrase", false },
	{ 0, "input-type", "yaml|json|dotenv|ini|binary", "of a SOPS file, whatever its name", false },
	{ 0, "output-type", "yaml|json|dotenv|ini|binary", "writes a SOPS file's values in another format",
	  false },
	{ 'd', "decrypt", NULL, "for those who are used to age", false },
	OPTIONS_END,
};

const struct verb decrypt_verb = {
	.name = "decrypt",
	.arguments = "[FILE]",
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
	        "comments. Its MAC is always checked, and nothing is written before it is.",
	.example = "  tokenctl decrypt secret.age\n"
	           "  tokenctl decrypt -o secret.txt secret.age\n"
	           "  tokenctl decrypt secrets.enc.yaml\n"
	           "  tokenctl decrypt -i key.txt < secret.age",
	.options = rows,
	.run = run,
};
