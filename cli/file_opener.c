#include "cli/file_opener.h"

#include <stdio.h>

#include "cli/terminal.h"
#include "common/encoding.h"

#define MAX_WORK_FACTOR 22U

static enum err ask_passphrase(struct file_opener *opener, struct identity *ret_identity)
{
	struct problem *problem = &opener->invocation->problem;
	enum err err;

	if (!opener->asks || !terminal_available())
		return problem_set(problem, ERR_PIN_NEEDED,
		                   "%s is encrypted with a passphrase and there is no terminal to ask on",
		                   opener->name);
	ret_identity->kind = IDENTITY_PASSPHRASE;
	err = terminal_read_secret("Passphrase: ", &ret_identity->private_key);
	return err ? problem_set(problem, err, "no passphrase was given") : OK;
}

static enum err open_with_passphrase(struct file_opener *opener, const struct age_header *header,
                                     struct secret **ret_file_key)
{
	struct identity identity = { .kind = IDENTITY_PASSPHRASE };
	struct problem *problem = &opener->invocation->problem;
	enum err err = ask_passphrase(opener, &identity);

	if (!err)
		err = identity_unwrap(&identity, header, MAX_WORK_FACTOR, ret_file_key);
	if (err == ERR_NO_MATCH) {
		(void)problem_set(problem, err, "that is not the passphrase of %s", opener->name);
		problem_hint(problem, "the same command asks again");
	} else if (err ==
	           ERR_UNSUPPORTED) /* no honest file does; it would keep the machine busy for minutes */
		err = problem_set(problem, ERR_BAD_FILE,
		                  "%s asks for more work than is sensible for a passphrase", opener->name);
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
static enum err open_with_daemon(struct file_opener *opener, const char *key, const struct age_header *header,
                                 struct secret **ret_file_key)
{
	struct age_stanza stanzas[AGE_STANZAS_MAX];
	struct daemon_unwrap unwrap = { .key = key,
		                        .recipient = opener->recipient,
		                        .stanzas = stanzas,
		                        .stanza_count = age_header_stanza_count(header),
		                        .ask = opener->asks ? ask_pin : NULL };
	struct problem *problem = &opener->invocation->problem;
	size_t index;
	enum err err;

	for (size_t i = 0; i < unwrap.stanza_count; i++)
		stanzas[i] = *age_header_stanza(header, i);
	err = daemon_unwrap(&opener->invocation->daemon, &unwrap, problem, &index, ret_file_key);
	if (err == ERR_NO_MATCH)
		*problem = (struct problem){ 0 }; /* explain_no_match knows more */
	return err;
}

static enum err open_with_tokend_identity(struct file_opener *opener, const struct identity *identity,
                                          const struct age_header *header, struct secret **ret_file_key)
{
	char id[2 * KEY_ID_LEN + 1];

	if (identity->any_key)
		return open_with_daemon(opener, NULL, header, ret_file_key);
	hex_encode(bytes_of(identity->key_id.bytes, KEY_ID_LEN), id);
	return open_with_daemon(opener, id, header, ret_file_key);
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

bool file_opener_tries_next(enum err err)
{
	return err == ERR_NO_MATCH || err == ERR_NO_KEY || err == ERR_DENIED || err == ERR_NO_TOKEN ||
	       err == ERR_BAD_CIPHERTEXT || err == ERR_PIN_NEEDED || err == ERR_PIN_LOCKED ||
	       err == ERR_TOKEN_STATE;
}

unsigned file_opener_weight(enum err err)
{
	if (err == OK)
		return 0;
	if (err == ERR_PIN_NEEDED || err == ERR_PIN_LOCKED)
		return 5;
	if (err == ERR_NO_TOKEN || err == ERR_TOKEN_STATE)
		return 4;
	if (err == ERR_BAD_CIPHERTEXT)
		return 3;
	return err == ERR_NO_KEY || err == ERR_DENIED ? 2 : 1;
}

static enum err open_with_identities(struct file_opener *opener, const struct age_header *header,
                                     struct secret **ret_file_key)
{
	const struct identities *identities = &opener->identities;
	struct problem *problem = &opener->invocation->problem;
	enum err err = open_with_private_keys(identities, header, ret_file_key), worst = err;
	struct problem said = *problem;

	for (size_t i = 0; file_opener_tries_next(err) && i < identities->count; i++) {
		if (identities->items[i].kind != IDENTITY_TOKEND)
			continue;
		*problem = (struct problem){ 0 };
		err = open_with_tokend_identity(opener, &identities->items[i], header, ret_file_key);
		if (file_opener_weight(err) <= file_opener_weight(worst))
			continue;
		worst = err;
		said = *problem;
	}
	if (!file_opener_tries_next(err))
		return err;
	*problem = said;
	return worst;
}

/* Says to whom the file is, when that explains why nothing opens it. */
static void explain_no_match(struct file_opener *opener, const struct age_header *header)
{
	struct problem *problem = &opener->invocation->problem;
	size_t count = age_header_stanza_count(header);
	const char *other = NULL;

	for (size_t i = 0; i < count && !other; i++)
		other = stanza_type_text(age_header_stanza(header, i));
	if (opener->only_files)
		(void)problem_set(problem, ERR_NO_MATCH, "none of the identities given opens %s%s%s",
		                  opener->name, other ? ", which is encrypted to " : "", other ? other : "");
	else
		(void)problem_set(problem, ERR_NO_MATCH, "none of the keys that you may use opens %s%s%s",
		                  opener->name, other ? ", which is encrypted to " : "", other ? other : "");
	problem_hint(problem,
	             opener->only_files && age_header_has_passphrase(header)
	                     ? "the same command without -i asks for the passphrase"
	             : opener->only_files
	                     ? "name the file's own identity file with -i, or leave -i away to "
	                       "use enrolled keys"
	                     : "tokenctl keys   lists your keys; tokenctl policy explain --key NAME   says "
	                       "whether policy lets you use one that you know of; -i FILE uses an "
	                       "identity file");
}

static enum err choose(struct file_opener *opener, const struct age_header *header,
                       struct secret **ret_file_key)
{
	struct problem *problem = &opener->invocation->problem;

	if (age_header_has_passphrase(header) && age_header_stanza_count(header) > 1)
		return ERR_BAD_FILE;
	if (!age_header_has_passphrase(header) && opener->passphrase) {
		(void)problem_set(problem, ERR_NO_MATCH, "%s is not encrypted with a passphrase",
		                  opener->name);
		problem_hint(problem, "the same command without -p");
		return ERR_NO_MATCH;
	}
	if (opener->only_files)
		return open_with_identities(opener, header, ret_file_key);
	if (age_header_has_passphrase(header))
		return open_with_passphrase(opener, header, ret_file_key);
	return open_with_daemon(opener, NULL, header, ret_file_key);
}

bool file_opener_can_ask(const struct file_opener *opener)
{
	return opener->asks && terminal_available();
}

enum err file_opener_open(void *context, const struct age_header *header, struct secret **ret_file_key)
{
	struct file_opener *opener = context;
	enum err err = choose(opener, header, ret_file_key);

	if (err == ERR_NO_MATCH && !opener->invocation->problem.message[0])
		explain_no_match(opener, header);
	return err;
}

enum err file_opener_init(struct file_opener *opener, struct invocation *invocation)
{
	const struct options *options = &invocation->options;
	struct problem *problem = &invocation->problem;
	const char *path;
	size_t cursor = 0;

	*opener = (struct file_opener){ .invocation = invocation, .asks = true };
	opener->only_files = options_given(options, "identity");
	opener->passphrase = options_given(options, "passphrase");
	if (opener->only_files && opener->passphrase)
		return problem_set(problem, ERR_USAGE, "-i and -p exclude each other");
	while ((path = options_next(options, "identity", &cursor))) {
		enum err err = identities_read(path, problem, &opener->identities);

		if (err)
			return err;
	}
	return OK;
}

void file_opener_done(struct file_opener *opener)
{
	identities_done(&opener->identities);
}
