#include "cli/sops_file.h"

#include <stdlib.h>
#include <string.h>

#include "cli/conflict_marks.h"
#include "cli/shown.h"
#include "common/path.h"
#include "formats/age_file.h"
#include "formats/sops_convert.h"
#include "formats/sops_decrypt.h"
#include "formats/sops_expand.h"
#include "formats/sops_metadata.h"
#include "formats/sops_shamir.h"
#include "formats/sops_value.h"

#define TAG_TEXT_LEN ((SOPS_TAG_LEN + 2U) / 3U * 4U) /* base64 */
#define SHARE_MAX 64U /* a data key has 32 bytes, a share 33 */
#define TAIL_LEN 4096U
#define LISTED 4U /* recipients that a message names */

/* sops writes it at the end of most files. */
static bool names_sops(struct bytes text)
{
	size_t end = text.len < TAIL_LEN ? text.len : TAIL_LEN;

	return memmem(text.data + text.len - end, end, "sops", 4) || memmem(text.data, text.len, "sops", 4);
}

bool sops_file_is_likely(struct bytes text)
{
	return text.len && names_sops(text) &&
	       (memmem(text.data, text.len, SOPS_VALUE_BEGIN, strlen(SOPS_VALUE_BEGIN)) ||
	        memmem(text.data, text.len, "lastmodified", 12));
}

/* The last bracket that opens before one that closes: between those of a value stand no others, so that nothing is looked at twice. */
bool sops_file_has_value(struct bytes text)
{
	static const char name[] = "ENC";
	const size_t name_len = sizeof(name) - 1;
	const uint8_t *at = text.data, *end, *closes;
	struct sops_value value;

	if (text.len == 0)
		return false; /* and there may be no address */
	end = at + text.len;
	for (; at < end && (closes = memchr(at, ']', (size_t)(end - at))); at = closes + 1) {
		const uint8_t *opens = memrchr(at, '[', (size_t)(closes - at));

		if (opens && (size_t)(opens - at) >= name_len &&
		    sops_value_parse(bytes_of(opens - name_len, (size_t)(closes - opens) + name_len + 1),
		                     &value) == OK &&
		    value.tag.len == TAG_TEXT_LEN)
			return true;
	}
	return false;
}

static enum err keep_key(void *context, struct bytes chunk)
{
	return buf_put(context, chunk);
}

/* ---- the data key ---- */

/* What is being put together: a data key, of the shares of so many groups (of one, it is the share). */
struct opening {
	const struct sops_request *request;
	const struct sops_metadata *metadata;
	unsigned wanted, opened;
	struct secret *shares[SOPS_GROUPS_MAX]; /* owned; as they come */
	bool is_open[SOPS_GROUPS_MAX];
	enum err worst; /* of those that were no reason to stop, the one that says most */
	struct problem problem; /* its sentence */
};

/* An entry's enc is an age file, armored. */
static enum err read_entry(struct file_opener *opener, const struct sops_entry *entry,
                           struct secret **ret_share)
{
	CLEANUP(age_reader_freep) struct age_reader *reader = NULL;
	CLEANUP(buf_freep) struct buf *plain = NULL;
	enum err err = buf_new_locked(SHARE_MAX, &plain);

	if (!err)
		err = age_reader_new(file_opener_open, opener, keep_key, plain, &reader);
	if (!err)
		err = age_reader_push(reader, entry->enc);
	if (!err)
		err = age_reader_finish(reader);
	if (!err && buf_len(plain) == 0)
		err = ERR_BAD_CIPHERTEXT;
	return err ? err : secret_new_from(buf_bytes(plain), ret_share);
}

/* Whom it is for stands beside it: so no key that it is not for is asked, nor stands in the way because it is locked. */
static enum err open_entry(const struct sops_request *request, const struct sops_entry *entry, bool asks,
                           struct secret **ret_share)
{
	struct file_opener *opener = request->opener;
	const bool may_ask = opener->asks;
	enum err err;

	*request->problem = (struct problem){ 0 };
	opener->recipient = entry->recipient;
	opener->asks = may_ask && asks;
	err = read_entry(opener, entry, ret_share);
	opener->asks = may_ask;
	opener->recipient = bytes_of(NULL, 0);
	return err;
}

/* An entry is an age file of its own: one that is damaged is no reason not to try the next. */
static bool tries_next(enum err err)
{
	return file_opener_tries_next(err) || err == ERR_BAD_FILE || err == ERR_TRUNCATED;
}

static void note_failure(struct opening *opening, enum err err)
{
	if (file_opener_weight(err) <= file_opener_weight(opening->worst))
		return;
	opening->worst = err;
	opening->problem = *opening->request->problem;
}

static enum err open_group(struct opening *opening, unsigned group, bool asks)
{
	const struct sops_metadata *metadata = opening->metadata;
	enum err err = ERR_NO_MATCH;

	for (size_t i = 0; tries_next(err) && i < metadata->entry_count; i++) {
		const struct sops_entry *entry = &metadata->entries[i];

		if (entry->group != group || strcmp(entry->kind, "age") != 0)
			continue;
		err = open_entry(opening->request, entry, asks, &opening->shares[opening->opened]);
		note_failure(opening, err);
	}
	if (err)
		return tries_next(err) ? OK : err;
	opening->is_open[group] = true;
	opening->opened++;
	return OK;
}

static enum err open_groups(struct opening *opening, bool asks)
{
	enum err err = OK;

	for (unsigned group = 0;
	     !err && opening->opened < opening->wanted && group < opening->metadata->group_count; group++)
		if (!opening->is_open[group])
			err = open_group(opening, group, asks);
	return err;
}

/* Those of groups that opened are no answer to what is missing. They are long, so fewer are named than of other names. */
static void list_recipients(const struct opening *opening, char *names, size_t size)
{
	const struct sops_metadata *metadata = opening->metadata;
	struct shown_list list = { .text = names, .size = size, .limit = LISTED };

	for (size_t i = 0; i < metadata->entry_count; i++) {
		const struct sops_entry *entry = &metadata->entries[i];
		bool age = strcmp(entry->kind, "age") == 0;
		char name[256];

		if (opening->is_open[entry->group])
			continue;
		(void)snprintf(name, sizeof(name), "%s%s%.*s", age ? "" : entry->kind, age ? "" : " ",
		               (int)(entry->recipient.len < 200 ? entry->recipient.len : 200),
		               entry->recipient.len ? (const char *)entry->recipient.data : "");
		shown_list_add(&list, bytes_of_string(name));
	}
	shown_list_end(&list);
}

static bool is_missing(const struct opening *opening, const char *recipient)
{
	const struct sops_metadata *metadata = opening->metadata;

	for (size_t i = 0; recipient && i < metadata->entry_count; i++)
		if (!opening->is_open[metadata->entries[i].group] &&
		    bytes_equal(metadata->entries[i].recipient, bytes_of_string(recipient)))
			return true;
	return false;
}

/* A key that may be seen, and that the file is for: it is most likely the policy that does not let it be used. */
static bool explain_policy(const struct opening *opening)
{
	CLEANUP(json_decrefp) json_t *keys = NULL;
	struct problem ignored = { 0 };
	struct problem *problem = opening->request->problem;

	if (opening->request->opener->only_files || daemon_keys(&opening->request->opener->invocation->daemon,
	                                                        NULL, DAEMON_DEADLINE_MS, &ignored, &keys))
		return false;
	for (size_t i = 0; i < json_array_size(keys); i++) {
		const json_t *key = json_array_get(keys, i);
		const char *name = json_string_member(key, "name");

		if (!name || !is_missing(opening, json_string_member(key, "recipient")))
			continue;
		(void)problem_set(
		        problem, ERR_NO_MATCH,
		        "%s is encrypted to the key %s, but does not open with it: the policy does not "
		        "let you use it, or the entry is damaged",
		        opening->request->name, name);
		problem_hint(problem, "tokenctl policy explain --key %s", name);
		return true;
	}
	return false;
}

static enum err explain_no_match(const struct opening *opening)
{
	const struct sops_request *request = opening->request;
	char names[512] = "";

	if (explain_policy(opening))
		return ERR_NO_MATCH;
	list_recipients(opening, names, sizeof(names));
	if (opening->wanted > 1) {
		(void)problem_set(request->problem, ERR_NO_MATCH,
		                  "%u of the %u key groups needed for %s opened with the keys that you may "
		                  "use; the others are encrypted to %s",
		                  opening->opened, opening->wanted, request->name, names);
		problem_hint(request->problem,
		             "-i FILE, with a key of each group in FILE; the line that tokenctl identity "
		             "prints stands for those of tokend");
		return ERR_NO_MATCH;
	}
	/* Who names files with -i has asked for nothing else. */
	(void)problem_set(request->problem, ERR_NO_MATCH, "none of the %s opens %s, which is encrypted to %s",
	                  request->opener->only_files ? "identities given" : "keys that you may use",
	                  request->name, names);
	problem_hint(
	        request->problem,
	        request->opener->only_files
	                ? "name the file's own identity file with -i, or leave -i away to use enrolled keys"
	                : "tokenctl keys   lists your keys; -i FILE uses an identity file");
	return ERR_NO_MATCH;
}

static enum err explain_failure(const struct opening *opening)
{
	if (file_opener_weight(opening->worst) <= file_opener_weight(ERR_NO_MATCH))
		return explain_no_match(opening);
	*opening->request->problem = opening->problem;
	return opening->worst;
}

/* Nobody is asked for a PIN while something else may open the file. */
static enum err open_shares(struct opening *opening)
{
	enum err err = open_groups(opening, false);

	if (!err && opening->worst == ERR_PIN_NEEDED && file_opener_can_ask(opening->request->opener)) {
		opening->worst = OK;
		err = open_groups(opening, true);
	}
	return !err && opening->opened < opening->wanted ? explain_failure(opening) : err;
}

static enum err combine(struct opening *opening, struct secret **ret_key)
{
	if (opening->metadata->group_count > 1)
		return sops_shamir_combine(opening->shares, opening->opened, ret_key);
	*ret_key = TAKE(opening->shares[0]);
	return OK;
}

static unsigned groups_wanted(const struct sops_metadata *metadata)
{
	if (metadata->group_count <= 1)
		return 1;
	return metadata->threshold ? metadata->threshold : metadata->group_count;
}

enum err sops_file_open_key(const struct sops_request *request, const struct sops_metadata *metadata,
                            struct secret **ret_key)
{
	struct opening opening = { .request = request,
		                   .metadata = metadata,
		                   .wanted = groups_wanted(metadata) };
	CLEANUP(secret_freep) struct secret *key = NULL;
	enum err err = open_shares(&opening);

	if (!err)
		err = combine(&opening, &key);
	for (unsigned i = 0; i < opening.opened; i++)
		(void)secret_free(opening.shares[i]);
	if (err)
		return err;
	if (secret_len(key) != SOPS_DATA_KEY_LEN)
		return problem_set(request->problem, ERR_BAD_CIPHERTEXT, "%s: its data key is none",
		                   request->name);
	*ret_key = TAKE(key);
	return OK;
}

/* ---- the file ---- */

enum err sops_file_explain(const struct sops_request *request, const struct sops_document *document,
                           enum err err)
{
	char quoted[SHOWN_QUOTED_MAX];

	if (!err || request->problem->message[0])
		return err;
	if (err == ERR_NO_MATCH)
		return problem_set(request->problem, ERR_BAD_FILE,
		                   "%s is not an age file, and not a SOPS file", request->name);
	if (err == ERR_UNSUPPORTED && !document->reason[0]) {
		(void)problem_set(request->problem, err,
		                  "SOPS files need libnettle, for YAML libfyaml and for patterns libpcre2");
		problem_hint(request->problem, "sudo apt-get install libnettle8 libfyaml0 libpcre2-8-0");
		return err;
	}
	(void)problem_set(request->problem, err, "%s: %s", request->name,
	                  document->reason[0] ? document->reason : err_info(err)->text);
	if (strstr(document->reason, "CR LF")) {
		shown_quote(request->path ? request->path : "FILE", quoted);
		problem_hint(request->problem, "sed -i 's/\\r$//' %s", quoted);
	}
	return err;
}

enum err sops_file_refuse_remains(const char *name, struct problem *problem)
{
	char quoted[SHOWN_QUOTED_MAX];

	(void)problem_set(problem, ERR_BAD_FILE,
	                  "%s holds values that SOPS encrypted, but no sops metadata, without which they "
	                  "cannot be opened",
	                  name);
	shown_quote_pathspec(name, quoted);
	problem_hint(problem, "git log -p -S lastmodified -- %s   shows when it was lost", quoted);
	return ERR_BAD_FILE;
}

enum err sops_file_explain_marks(const struct sops_request *request, struct bytes text, enum err err)
{
	const char *path = request->path ? request->path : "FILE";
	char quoted[SHOWN_QUOTED_MAX], pattern[SHOWN_QUOTED_MAX];
	size_t line = 0;

	if (err == ERR_BAD_FILE && !request->problem->message[0])
		line = conflict_marks_find(text, bytes_of_string(""));
	if (!line)
		return err;
	(void)problem_set(request->problem, err,
	                  "%s: line %zu is a mark of git, of a conflict that is not decided", request->name,
	                  line);
	shown_quote_attribute(path_name(path), pattern);
	shown_quote_pathspec(path, quoted);
	problem_hint(request->problem,
	             "tokenctl git --install %s && git checkout -m %s   merges the values, and says how to "
	             "finish it",
	             pattern, quoted);
	return err;
}

enum err sops_file_check(const struct sops_request *request, struct bytes text)
{
	char path[SHOWN_QUOTED_MAX];
	bool age = age_file_looks_like(text);

	if (sops_file_is_likely(text))
		return OK;
	if (!age && sops_file_has_value(text))
		return sops_file_refuse_remains(request->name, request->problem);
	if (!text.len) /* nothing can be made of it */
		return problem_set(request->problem, ERR_BAD_FILE, "%s is empty", request->name);
	shown_quote(request->path ? request->path : "FILE", path);
	(void)problem_set(request->problem, ERR_BAD_FILE, "%s is %s", request->name,
	                  age ? "an age file, and not a SOPS file" : "not a SOPS file");
	if (age)
		problem_hint(request->problem, "tokenctl decrypt %s", path);
	else
		problem_hint(request->problem,
		             "tokenctl encrypt --sops --key NAME --in-place %s   makes one of it", path);
	return ERR_BAD_FILE;
}

static enum err choose_type(const struct sops_request *request, const char *word, enum sops_format *format)
{
	if (!word || sops_format_parse(word, format) == OK)
		return OK;
	(void)problem_set(request->problem, ERR_USAGE, "there is no type %s", word);
	problem_hint(request->problem, "the types are yaml, json, dotenv, ini and binary");
	return ERR_USAGE;
}

enum err sops_file_format(const struct sops_request *request, struct bytes text, enum sops_format *ret_format)
{
	enum sops_format format = sops_format_guess(request->path, text);
	enum err err = choose_type(request, request->input_type, &format);

	if (!err)
		*ret_format = format;
	return err;
}

static enum err decrypt_as(const struct sops_request *request, struct sops_document *document,
                           enum sops_format output, struct buf *out)
{
	CLEANUP(freep) struct sops_metadata *metadata = malloc(sizeof(*metadata));
	CLEANUP(secret_freep) struct secret *key = NULL;
	CLEANUP(buf_freep) struct buf *same = NULL;
	enum err err = metadata ? sops_metadata_read(document, metadata) : ERR_NOMEM;

	if (!err)
		err = sops_file_open_key(request, metadata, &key);
	if (err || output == document->format)
		return err ? err : sops_decrypt(document, metadata, key, out);
	err = buf_new(SOPS_FILE_MAX, &same);
	if (!err)
		err = sops_decrypt(document, metadata, key, same);
	return err ? err : sops_convert(document, buf_bytes(same), output, out);
}

static enum err decrypt_document(const struct sops_request *request, struct sops_document *document,
                                 enum sops_format output, struct buf *out)
{
	CLEANUP(buf_freep) struct buf *plain = NULL;
	enum err err;

	if (!request->quotes || output != SOPS_DOTENV)
		return decrypt_as(request, document, output, out);
	err = buf_new(SOPS_FILE_MAX, &plain);
	if (!err)
		err = decrypt_as(request, document, output, plain);
	return err ? err : sops_convert_quote(buf_bytes(plain), out);
}

enum err sops_file_decrypt(const struct sops_request *request, struct bytes text, struct buf *out)
{
	CLEANUP(buf_freep) struct buf *written = NULL;
	struct sops_document document = { .count = 0 };
	enum sops_format input, output;
	enum err err = sops_file_format(request, text, &input);

	if (!err)
		err = choose_type(request, request->output_type, &output);
	if (err)
		return err;
	err = sops_sealed_read(&document, input, text, &written);
	if (!request->output_type)
		output = document.format;
	if (!err)
		err = decrypt_document(request, &document, output, out);
	err = sops_file_explain_marks(request, text, err);
	err = sops_file_explain(request, &document, err);
	if (err == ERR_UNSUPPORTED && output != document.format && !request->problem->hint[0])
		problem_hint(request->problem,
		             "--output-type json   writes everything that such a file holds");
	sops_document_done(&document);
	return err;
}
