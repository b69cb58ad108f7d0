#include "cli/sops_file.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "formats/sops_convert.h"
#include "formats/sops_decrypt.h"
#include "formats/sops_metadata.h"
#include "formats/sops_shamir.h"
#include "formats/sops_value.h"

#define SHARE_MAX 64U /* a data key has 32 bytes, a share 33 */
#define LISTED 4U /* recipients that a message names */

bool sops_file_is_likely(struct bytes text)
{
	return text.len && memmem(text.data, text.len, "sops", 4) &&
	       (memmem(text.data, text.len, SOPS_VALUE_BEGIN, strlen(SOPS_VALUE_BEGIN)) ||
	        memmem(text.data, text.len, "lastmodified", 12));
}

static enum err keep_key(void *context, struct bytes chunk)
{
	return buf_put(context, chunk);
}

/* An entry's enc is an age file, armored. */
static enum err open_entry(const struct sops_request *request, const struct sops_entry *entry,
                           struct secret **ret_share)
{
	CLEANUP(age_reader_freep) struct age_reader *reader = NULL;
	CLEANUP(buf_freep) struct buf *plain = NULL;
	enum err err = buf_new_locked(SHARE_MAX, &plain);

	if (!err)
		err = age_reader_new(request->open, request->open_context, keep_key, plain, &reader);
	if (!err)
		err = age_reader_push(reader, entry->enc);
	if (!err)
		err = age_reader_finish(reader);
	if (!err && buf_len(plain) == 0)
		err = ERR_BAD_CIPHERTEXT;
	return err ? err : secret_new_from(buf_bytes(plain), ret_share);
}

static bool tries_next(enum err err)
{
	return err == ERR_NO_MATCH || err == ERR_NO_KEY || err == ERR_DENIED || err == ERR_NO_TOKEN ||
	       err == ERR_BAD_CIPHERTEXT || err == ERR_BAD_FILE || err == ERR_TRUNCATED;
}

static enum err open_group(const struct sops_request *request, const struct sops_metadata *metadata,
                           unsigned group, struct secret **ret_share)
{
	enum err err = ERR_NO_MATCH;

	for (size_t i = 0; tries_next(err) && i < metadata->entry_count; i++) {
		const struct sops_entry *entry = &metadata->entries[i];

		if (entry->group != group || strcmp(entry->kind, "age") != 0)
			continue;
		*request->problem = (struct problem){ 0 };
		err = open_entry(request, entry, ret_share);
	}
	return tries_next(err) ? ERR_NO_MATCH : err;
}

/* Appends to a message; what does not fit is left out. */
__attribute__((format(printf, 3, 4))) static void add(char *text, size_t size, const char *format, ...)
{
	size_t len = strlen(text);
	va_list arguments;

	va_start(arguments, format);
	(void)vsnprintf(text + len, size - len, format, arguments);
	va_end(arguments);
}

static enum err explain_no_match(const struct sops_request *request, const struct sops_metadata *metadata,
                                 unsigned opened, unsigned wanted)
{
	char names[512] = "";

	for (size_t i = 0; i < metadata->entry_count && i < LISTED; i++) {
		const struct sops_entry *entry = &metadata->entries[i];

		add(names, sizeof(names), "%s%s %.*s", i ? ", " : "", entry->kind,
		    (int)(entry->recipient.len < 80 ? entry->recipient.len : 80),
		    (const char *)entry->recipient.data);
	}
	if (metadata->entry_count > LISTED)
		add(names, sizeof(names), " and others");
	if (metadata->group_count > 1)
		add(names, sizeof(names), "; %u of the %u key groups needed opened", opened, wanted);
	(void)problem_set(request->problem, ERR_NO_MATCH,
	                  "none of the keys that you may use opens %s, which is encrypted to %s",
	                  request->name, names);
	problem_hint(request->problem, "tokenctl keys   lists your keys; -i FILE uses an identity file");
	return ERR_NO_MATCH;
}

/* The shares of at most SOPS_GROUPS_MAX groups, until there are enough. */
static enum err combine_groups(const struct sops_request *request, const struct sops_metadata *metadata,
                               struct secret **ret_key)
{
	struct secret *shares[SOPS_GROUPS_MAX] = { NULL };
	unsigned wanted = metadata->threshold ? metadata->threshold : metadata->group_count;
	unsigned opened = 0;
	enum err err = OK;

	for (unsigned group = 0; !err && opened < wanted && group < metadata->group_count; group++) {
		err = open_group(request, metadata, group, &shares[opened]);
		opened += err == OK;
		if (err == ERR_NO_MATCH)
			err = OK;
	}
	if (!err && opened < wanted)
		err = explain_no_match(request, metadata, opened, wanted);
	if (!err)
		err = sops_shamir_combine(shares, opened, ret_key);
	for (unsigned i = 0; i < opened; i++)
		(void)secret_free(shares[i]);
	return err;
}

static enum err open_data_key(const struct sops_request *request, const struct sops_metadata *metadata,
                              struct secret **ret_key)
{
	CLEANUP(secret_freep) struct secret *key = NULL;
	enum err err;

	if (metadata->group_count > 1)
		err = combine_groups(request, metadata, &key);
	else
		err = open_group(request, metadata, 0, &key);
	if (err == ERR_NO_MATCH && metadata->group_count <= 1)
		return explain_no_match(request, metadata, 0, 1);
	if (err)
		return err;
	if (secret_len(key) != SOPS_DATA_KEY_LEN)
		return problem_set(request->problem, ERR_BAD_CIPHERTEXT, "%s: its data key is none",
		                   request->name);
	*ret_key = TAKE(key);
	return OK;
}

static enum err explain(const struct sops_request *request, const struct sops_document *document,
                        enum err err)
{
	if (!err || request->problem->message[0])
		return err;
	if (err == ERR_NO_MATCH)
		return problem_set(request->problem, ERR_BAD_FILE,
		                   "%s is not an age file, and not a SOPS file", request->name);
	if (err == ERR_UNSUPPORTED && !document->reason[0])
		return problem_set(request->problem, err,
		                   "SOPS files need libcrypto, for YAML libfyaml and for patterns libpcre2");
	(void)problem_set(request->problem, err, "%s: %s", request->name,
	                  document->reason[0] ? document->reason : err_info(err)->text);
	return err;
}

static enum err choose_type(const struct sops_request *request, const char *word, enum sops_format *format)
{
	if (!word || sops_format_parse(word, format) == OK)
		return OK;
	(void)problem_set(request->problem, ERR_USAGE, "there is no type %s", word);
	problem_hint(request->problem, "the types are yaml, json, dotenv, ini and binary");
	return ERR_USAGE;
}

static enum err decrypt_document(const struct sops_request *request, struct sops_document *document,
                                 enum sops_format output, struct buf *out)
{
	CLEANUP(freep) struct sops_metadata *metadata = malloc(sizeof(*metadata));
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(buf_freep) struct buf *same = NULL;
	enum err err = metadata ? sops_metadata_read(document, metadata) : ERR_NOMEM;

	if (!err)
		err = open_data_key(request, metadata, &key);
	if (err || output == document->format)
		return err ? err : sops_decrypt(document, metadata, key, out);
	err = buf_new(SOPS_FILE_MAX, &same);
	if (!err)
		err = sops_decrypt(document, metadata, key, same);
	return err ? err : sops_convert(document, buf_bytes(same), output, out);
}

enum err sops_file_decrypt(const struct sops_request *request, struct bytes text, struct buf *out)
{
	struct sops_document document = { .count = 0 };
	enum sops_format input = sops_format_guess(request->path, text), output;
	enum err err = choose_type(request, request->input_type, &input);

	if (!err)
		err = choose_type(request, request->output_type, &output);
	if (err)
		return err;
	err = sops_document_read(&document, input, text);
	if (!request->output_type)
		output = document.format;
	if (!err)
		err = decrypt_document(request, &document, output, out);
	err = explain(request, &document, err);
	sops_document_done(&document);
	return err;
}
