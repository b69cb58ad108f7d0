#include "cli/sops_encrypt.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/file_lock.h"
#include "cli/input.h"
#include "cli/output.h"
#include "cli/shown.h"
#include "cli/sops_config.h"
#include "cli/sops_file.h"
#include "cli/sops_recipients.h"
#include "cli/sops_store.h"
#include "common/path.h"
#include "formats/regex_library.h"
#include "formats/sops_block.h"
#include "formats/sops_expand.h"
#include "formats/sops_seal.h"
#include "formats/sops_value.h"
#include "formats/text.h"

#define RECIPIENTS_MAX SOPS_RULE_RECIPIENTS_MAX
#define RULES 6U
#define VERSION "3.9.0" /* the oldest whose files are as these */

struct encryption {
	struct invocation *invocation; /* borrowed */
	const char *path; /* the same; NULL: standard input */
	struct tree_place place; /* of the file, unless that is standard input */
	bool in_place;
	int input, lock; /* open, or -1 */
	struct sops_config *config; /* owned; NULL: there is none, or none was needed */
	struct sops_creation_rule rule;
	struct sops_rule_recipient listed[RECIPIENTS_MAX]; /* those of the options */
	struct buf *names; /* their text */
	struct buf *text; /* the file */
	enum sops_format format;
};

static struct problem *problem_of(const struct encryption *encryption)
{
	return &encryption->invocation->problem;
}

static const char *const rule_options[RULES] = {
	[SOPS_UNENCRYPTED_SUFFIX] = "unencrypted-suffix",
	[SOPS_ENCRYPTED_SUFFIX] = "encrypted-suffix",
	[SOPS_UNENCRYPTED_REGEX] = "unencrypted-regex",
	[SOPS_ENCRYPTED_REGEX] = "encrypted-regex",
	[SOPS_UNENCRYPTED_COMMENT_REGEX] = "unencrypted-comment-regex",
	[SOPS_ENCRYPTED_COMMENT_REGEX] = "encrypted-comment-regex",
};

static bool has_sops_option(const struct options *options)
{
	bool found = options_given(options, "sops") || options_given(options, "in-place") ||
	             options_given(options, "mac-only-encrypted") || options_given(options, "input-type");

	for (size_t i = 0; i < RULES; i++)
		found |= options_given(options, rule_options[i]);
	return found;
}

static enum err check_options(struct invocation *invocation, const char *path)
{
	const struct options *options = &invocation->options;

	if (options_given(options, "passphrase") || options_given(options, "armor"))
		return problem_set(&invocation->problem, ERR_USAGE,
		                   "-p and -a are for age files, not for SOPS files");
	if (options_given(options, "in-place") && (!path || options_given(options, "output")))
		return problem_set(&invocation->problem, ERR_USAGE,
		                   "--in-place needs a file, and excludes -o");
	return OK;
}

enum err sops_encrypt_is_meant(struct invocation *invocation, const char *path, bool has_recipients,
                               bool *ret_meant)
{
	CLEANUP(sops_config_freep) struct sops_config *config = NULL;
	struct problem ignored = { 0 };
	struct sops_creation_rule rule;
	enum err err;

	*ret_meant = has_sops_option(&invocation->options);
	if (*ret_meant)
		return check_options(invocation, path);
	if (has_recipients || !path || options_given(&invocation->options, "passphrase"))
		return OK;
	err = sops_config_find(path, &invocation->problem, &config);
	if (err || !config)
		return err;
	err = sops_config_choose(config, path, &ignored, &rule);
	*ret_meant = err == OK;
	if (err && err != ERR_NO_MATCH)
		invocation->problem = ignored;
	return err == ERR_NO_MATCH ? OK : err;
}

static enum err put_name(const struct recipient *recipient, struct buf *names)
{
	if (recipient->kind == RECIPIENT_X25519)
		return recipient_put_x25519(names, recipient->public_key);
	return recipient_put_p256(names, recipient->public_key);
}

/* The recipients of the options as one group. */
static enum err list_recipients(struct encryption *encryption, const struct recipients *recipients)
{
	size_t ends[RECIPIENTS_MAX], at = 0;
	enum err err = recipients->count > RECIPIENTS_MAX ? ERR_USAGE : OK;

	if (!err)
		err = buf_new(RECIPIENTS_MAX * 256U, &encryption->names);
	for (size_t i = 0; !err && i < recipients->count; i++) {
		err = put_name(&recipients->items[i], encryption->names);
		ends[i] = err ? 0 : buf_len(encryption->names);
	}
	for (size_t i = 0; !err && i < recipients->count; at = ends[i++])
		encryption->listed[i] = (struct sops_rule_recipient){
			.kind = "age", .name = bytes_of(buf_bytes(encryption->names).data + at, ends[i] - at)
		};
	encryption->rule.recipients = encryption->listed;
	encryption->rule.recipient_count = recipients->count;
	encryption->rule.group_count = 1;
	encryption->rule.threshold = 0;
	return err;
}

/* Said of the option, and not of the file. */
static enum err check_pattern(struct encryption *encryption, const char *option)
{
	CLEANUP(regex_freep) struct regex *regex = NULL;
	struct problem *problem = problem_of(encryption);
	enum err err = regex_new(encryption->rule.pattern, &regex);

	if (err != ERR_BAD_FILE)
		return err == ERR_UNSUPPORTED ? OK
		                              : err; /* the same library is missed later, with a sentence */
	(void)problem_set(problem, ERR_USAGE, "what --%s was given is no pattern that sops would take",
	                  option);
	problem_hint(problem, "a pattern is as RE2 has it, e.g. --%s '^(pass|token)$'", option);
	return ERR_USAGE;
}

static enum err take_rule_option(struct encryption *encryption)
{
	const struct options *options = &encryption->invocation->options;
	unsigned given = 0;
	enum err err = OK;

	for (unsigned i = 0; !err && i < RULES; i++) {
		const char *value = options_value(options, rule_options[i]);

		if (!value)
			continue;
		encryption->rule.rule = (enum sops_rule)i;
		encryption->rule.pattern = bytes_of_string(value);
		given++;
		if (strstr(rule_options[i], "regex"))
			err = check_pattern(encryption, rule_options[i]);
	}
	if (err)
		return err;
	if (options_given(options, "mac-only-encrypted"))
		encryption->rule.mac_only_encrypted = true;
	return given > 1 ? problem_set(problem_of(encryption), ERR_USAGE,
	                               "only one rule can say what is encrypted, and %u were given", given)
	                 : OK;
}

/* What .sops.yaml says is what holds where the options say nothing. */
static enum err read_config(struct encryption *encryption, bool needed)
{
	struct problem *problem = problem_of(encryption);
	const char *path = encryption->path;
	enum err err =
	        path ? sops_config_find_at(&encryption->place, path, problem, &encryption->config) : OK;

	if (!err && encryption->config)
		err = sops_config_choose_opened(encryption->config, path, encryption->input, problem,
		                                &encryption->rule);
	if (!err && encryption->config) {
		sops_config_warn(encryption->config->path, &encryption->rule);
		return OK;
	}
	if (!needed && (!err || err == ERR_NO_MATCH)) {
		*problem = (struct problem){ 0 };
		return OK;
	}
	if (err)
		return err;
	(void)problem_set(problem, ERR_USAGE, "no recipient is given, and no .sops.yaml names one");
	problem_hint(problem, "tokenctl encrypt --sops --key NAME ...   or -r age1...");
	return ERR_USAGE;
}

static enum err choose_rule(struct encryption *encryption, const struct recipients *recipients)
{
	enum err err;

	encryption->rule = (struct sops_creation_rule){ .rule = SOPS_UNENCRYPTED_SUFFIX,
		                                        .pattern = bytes_of_string("_unencrypted") };
	err = read_config(encryption, recipients->count == 0);
	if (!err && recipients->count)
		err = list_recipients(encryption, recipients);
	if (!err)
		err = take_rule_option(encryption);
	/* A binary file is one value; the rules are not for it. */
	encryption->rule.mac_only_encrypted &= encryption->format != SOPS_BINARY;
	return err;
}

/* As sops does: by the name, and what has none of its endings is binary. */
static enum err choose_format(struct encryption *encryption)
{
	struct sops_request request = {
		.path = encryption->path,
		.input_type = options_value(&encryption->invocation->options, "input-type"),
		.problem = problem_of(encryption),
	};

	return sops_file_format(&request, bytes_of_string("{"), &encryption->format);
}

static enum err new_tree(struct encryption *encryption, const struct secret *key, json_t **ret_tree)
{
	const struct sops_creation_rule *rule = &encryption->rule;
	CLEANUP(json_decrefp)
	json_t *tree = json_pack("{s:s, s:s, s:s}", "lastmodified", "", "mac", "", "version", VERSION);
	bool changed;
	enum err err = tree ? OK : ERR_NOMEM;

	if (!err && rule->mac_only_encrypted)
		err = sops_tree_put(tree, "mac_only_encrypted", json_true());
	if (!err && encryption->format != SOPS_BINARY)
		err = sops_tree_put(tree, sops_rule_name(rule->rule),
		                    json_stringn((const char *)rule->pattern.data, rule->pattern.len));
	if (!err)
		err = sops_recipients_follow(tree, rule, key, input_name(encryption->path),
		                             problem_of(encryption), &changed);
	if (!err)
		*ret_tree = json_incref(tree);
	return err;
}

static enum err seal(struct encryption *encryption, struct sops_document *plain, struct buf *out)
{
	char now[SOPS_TIME_LEN + 1];
	struct sops_block block = { .format = encryption->format, .flow = sops_block_is_flow(plain) };
	CLEANUP(freep) struct sops_metadata *metadata = calloc(1, sizeof(*metadata));
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(json_decrefp) json_t *tree = NULL;
	struct sops_seal sealing = { .plain = plain, .metadata = metadata, .now = now };
	enum err err = metadata ? sops_data_key_new(&key) : ERR_NOMEM;

	if (err)
		return err;
	metadata->rule = encryption->rule.rule;
	metadata->pattern = encryption->rule.pattern;
	metadata->mac_only_encrypted = encryption->rule.mac_only_encrypted;
	err = new_tree(encryption, key, &tree);
	block.tree = tree;
	sealing.data_key = key;
	sops_seal_time(now);
	if (!err)
		err = sops_seal(&sealing, sops_block_put, &block, out);
	if (err)
		return err;
	return sops_verify(buf_bytes(out), key, plain, input_name(encryption->path), problem_of(encryption));
}

/* The plain text is the user's own: there is no other place to get it from. */
static void hint_text(struct encryption *encryption)
{
	char path[SHOWN_QUOTED_MAX];

	shown_quote(encryption->path ? encryption->path : "FILE", path);
	if (sops_file_is_likely(buf_bytes(encryption->text)))
		problem_hint(problem_of(encryption), "tokenctl edit %s   opens what is encrypted already",
		             path);
	else if (strstr(problem_of(encryption)->message, ": line "))
		problem_hint(problem_of(encryption), "mend that line of %s, then the same command", path);
	else if (buf_len(encryption->text) == 0)
		problem_hint(problem_of(encryption),
		             "write what is to be encrypted into %s, then the same command", path);
}

/* Text of any format but binary. */
static enum err read_plain(struct encryption *encryption, struct sops_plain *plain)
{
	enum err err = sops_plain_read(plain, encryption->format, buf_bytes(encryption->text));

	if (!err)
		err = sops_plain_check_merges(&plain->document);
	return err ? err
	           : sops_plain_tell(plain->aliases, encryption->rule.rule, input_name(encryption->path),
	                             problem_of(encryption));
}

/* Values that were encrypted, of a file whose metadata was cut off; a binary file is anything, unless it looks as sops writes one. */
static bool is_remains(const struct encryption *encryption, const struct sops_document *plain)
{
	struct bytes text = buf_bytes(encryption->text);

	for (size_t i = 0; i < plain->count; i++)
		if (plain->nodes[i].metadata)
			return false;
	return (encryption->format != SOPS_BINARY || bytes_begin_with(text, "{")) &&
	       sops_file_has_value(text);
}

static enum err seal_text(struct encryption *encryption, struct buf *out)
{
	struct sops_request request = { .name = input_name(encryption->path),
		                        .problem = problem_of(encryption) };
	struct sops_plain plain = { .aliases = 0 };
	enum err err = encryption->format == SOPS_BINARY
	                       ? sops_seal_read_binary(&plain.document, buf_bytes(encryption->text))
	                       : read_plain(encryption, &plain);

	/* In the other formats that is found where it stands. */
	if (!err && encryption->format == SOPS_BINARY && bytes_begin_with(buf_bytes(encryption->text), "{") &&
	    sops_file_is_likely(buf_bytes(encryption->text)))
		err = problem_set(request.problem, ERR_BAD_FILE, "%s: it has metadata of sops already",
		                  request.name);
	if (!err && is_remains(encryption, &plain.document))
		err = sops_file_refuse_remains(request.name, request.problem);
	if (!err)
		err = seal(encryption, &plain.document, out);
	err = sops_file_explain(&request, &plain.document, err);
	if (err == ERR_BAD_FILE && !problem_of(encryption)->hint[0])
		hint_text(encryption);
	sops_plain_done(&plain);
	return err;
}

/* A rule that covers no value leaves all in the clear, which looks like a SOPS file all the same. */
static void warn_of_nothing(const struct encryption *encryption, struct bytes sealed)
{
	const struct sops_creation_rule *rule = &encryption->rule;
	struct sops_document document;
	bool found = sops_document_read(&document, encryption->format, sealed) != OK;

	for (size_t i = 0; !found && i < document.count; i++)
		found = !document.nodes[i].metadata && sops_value_looks_like(document.nodes[i].text);
	sops_document_done(&document);
	if (!found)
		shown_line(stderr, "warning: nothing in %s is encrypted, for no value is covered by its %s",
		           input_name(encryption->path), sops_rule_name(rule->rule));
}

/* sops keeps it, too, so it is not taken away silently; but a program that gets the value seldom wants it. */
static void warn_of_carriage_returns(const struct encryption *encryption)
{
	struct bytes text = buf_bytes(encryption->text);
	char quoted[SHOWN_QUOTED_MAX];

	if (encryption->format != SOPS_DOTENV || !memmem(text.data, text.len, "\r\n", 2))
		return;
	shown_quote(encryption->path ? encryption->path : "FILE", quoted);
	shown_line(stderr,
	           "warning: lines of %s end in CR LF, and the CR is a part of their values, as for sops; "
	           "without: "
	           "sed -i 's/\\r$//' %s before it is encrypted",
	           input_name(encryption->path), quoted);
}

static enum err write_out(struct encryption *encryption, struct bytes sealed)
{
	const struct tree_place *place = &encryption->place;
	const char *path = options_value(&encryption->invocation->options, "output");
	CLEANUP(output_freep) struct output *output = NULL;
	enum err err = encryption->in_place
	                       ? output_open_change(place->directory, place->name, encryption->path,
	                                            problem_of(encryption), &output)
	                       : output_open(path, 0666, -1, problem_of(encryption), &output);

	if (!err)
		err = output_write(output, sealed);
	return err ? err : output_commit(output);
}

/* The file itself, and all of it: whatever a link leads to would be replaced, and under its other names a file would stay in the clear. */
static enum err refuse_link(const struct encryption *encryption)
{
	struct problem *problem = problem_of(encryption);
	char quoted[SHOWN_QUOTED_MAX];

	(void)problem_set(problem, ERR_USAGE, "%s is a link, and what it leads to is not replaced through it",
	                  encryption->path);
	shown_quote(encryption->path, quoted);
	problem_hint(problem, "readlink -f %s   says which file is meant, to be named itself", quoted);
	return ERR_USAGE;
}

static enum err check_in_place(const struct encryption *encryption)
{
	struct problem *problem = problem_of(encryption);
	const char *path = encryption->path;
	char quoted[SHOWN_QUOTED_MAX];
	struct stat status;

	if (fstat(encryption->input, &status) < 0)
		return problem_errno(problem, errno, "cannot look at", path);
	if (S_ISDIR(status.st_mode))
		return problem_set(problem, ERR_USAGE, "%s is a directory", path);
	if (!S_ISREG(status.st_mode))
		return input_refuse_special(path, problem);
	if (status.st_nlink <= 1)
		return OK;
	(void)problem_set(problem, ERR_USAGE,
	                  "%s has %lu names, and under the others it would stay in the clear", path,
	                  (unsigned long)status.st_nlink);
	shown_quote(path, quoted);
	problem_hint(problem, "find . -samefile %s   shows those below here; rm takes one away", quoted);
	return ERR_USAGE;
}

static enum err open_in_place(struct encryption *encryption)
{
	struct problem *problem = problem_of(encryption);
	enum err err = file_lock_at(&encryption->place, encryption->path, problem, &encryption->lock);

	if (!err && tree_place_read(&encryption->place, &encryption->input))
		return errno == ELOOP ? refuse_link(encryption)
		                      : problem_errno(problem, errno, "cannot open", encryption->path);
	return err ? err : check_in_place(encryption);
}

/* Before the rules are looked for: it is what is open that they have to be for, and its directory whose owner may have written them, whatever has their names a moment later. */
static enum err open_input(struct encryption *encryption)
{
	struct problem *problem = problem_of(encryption);
	const char *path = encryption->path;
	char directory[PATH_MAX];
	enum err err;

	if (!path)
		return input_open(NULL, problem, &encryption->input);
	encryption->place.name = path_name(path);
	if (encryption->in_place) {
		err = output_open_directory_of(path, problem, &encryption->place.directory);
		return err ? err : open_in_place(encryption);
	}
	if (!path_directory(path, directory, sizeof(directory)))
		return problem_errno(problem, ENAMETOOLONG, "cannot open", path);
	encryption->place.directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (encryption->place.directory < 0)
		return problem_errno(problem, errno, "cannot open", path);
	return input_open_at(encryption->place.directory, encryption->place.name, path, problem,
	                     &encryption->input);
}

static enum err encrypt(struct encryption *encryption, const struct recipients *recipients)
{
	CLEANUP(buf_freep) struct buf *sealed = NULL;
	enum err err = choose_format(encryption);

	if (!err)
		err = open_input(encryption);
	if (!err)
		err = choose_rule(encryption, recipients);
	if (!err)
		err = sops_text_read_opened(encryption->input, encryption->path, problem_of(encryption),
		                            &encryption->text);
	if (!err)
		err = buf_new(2 * SOPS_FILE_MAX, &sealed);
	if (!err)
		err = seal_text(encryption, sealed);
	if (!err)
		err = write_out(encryption, buf_bytes(sealed));
	if (!err) {
		warn_of_nothing(encryption, buf_bytes(sealed));
		warn_of_carriage_returns(encryption);
	}
	return err;
}

enum err sops_encrypt_file(struct invocation *invocation, const char *path,
                           const struct recipients *recipients)
{
	struct encryption *encryption = calloc(1, sizeof(*encryption));
	enum err err;

	if (!encryption)
		return ERR_NOMEM;
	encryption->invocation = invocation;
	encryption->path = path && strcmp(path, "-") != 0 ? path : NULL;
	encryption->in_place = encryption->path && options_given(&invocation->options, "in-place");
	encryption->input = encryption->lock = encryption->place.directory = -1;
	err = encrypt(encryption, recipients);
	(void)sops_config_free(encryption->config);
	(void)buf_free(encryption->names);
	(void)buf_free(encryption->text);
	input_closep(&encryption->input);
	close_fdp(&encryption->lock);
	close_fdp(&encryption->place.directory);
	free(encryption);
	return err;
}
