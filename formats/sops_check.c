#include "formats/sops_check.h"

#include <stdlib.h>

#include "formats/age_file.h"
#include "formats/regex_library.h"
#include "formats/sops_selection.h"
#include "formats/sops_value.h"
#include "formats/text.h"

#define PATH_SHOWN_MAX 200U
#define TEXT_MAX 400U

struct checker {
	struct sops_document *document; /* borrowed, as all of these */
	const struct sops_metadata *metadata;
	struct sops_selection *selection;
	struct regex *comments; /* of a rule about comments, else NULL */
	bool *covered; /* by node: a comment asks for its encryption; only where comments is there */
	bool *asked; /* the same: one directly above does, or one directly above that */
	bool exempted; /* a comment that leaves a value clear was there */
	sops_check_found found;
	void *context;
	size_t line, line_at; /* of a position, counted on from the one before */
};

/* Nodes are asked for in order, so that the whole costs one pass. */
static size_t line_of(struct checker *checker, size_t position)
{
	struct bytes text = checker->document->text;

	if (checker->document->aliases)
		return 0; /* it has another line in the file */
	if (position < checker->line_at) {
		checker->line = 1;
		checker->line_at = 0;
	}
	for (; checker->line_at < position && checker->line_at < text.len; checker->line_at++)
		checker->line += text.data[checker->line_at] == '\n';
	return checker->line;
}

/* Keys joined by dots, without what would spoil a terminal; the last ones when there is no room for all. */
static void show_path(const struct sops_document *document, uint32_t index, char out[PATH_SHOWN_MAX])
{
	const struct sops_node *chain[SOPS_DEPTH_MAX + 2];
	size_t depth = 0, len = 0;

	for (; index != SOPS_NONE && depth < SOPS_DEPTH_MAX + 2; index = document->nodes[index].parent)
		if (document->nodes[index].parent != SOPS_NONE)
			chain[depth++] = &document->nodes[index];
	while (depth-- > 0 && len + 8 < PATH_SHOWN_MAX) {
		struct bytes key = chain[depth]->key;

		if (!key.data) {
			len += (size_t)snprintf(out + len, PATH_SHOWN_MAX - len, "[%u]",
			                        chain[depth]->position);
			continue;
		}
		if (len)
			out[len++] = '.';
		for (size_t i = 0; i < key.len && len + 4 < PATH_SHOWN_MAX; i++)
			out[len++] = key.data[i] < 0x20 || key.data[i] == 0x7f ? '?' : (char)key.data[i];
	}
	out[len < PATH_SHOWN_MAX ? len : PATH_SHOWN_MAX - 1] = '\0';
}

static enum err report(struct checker *checker, enum sops_finding finding, uint32_t index, const char *what)
{
	bool comment = checker->document->nodes[index].kind == SOPS_COMMENT;
	char path[PATH_SHOWN_MAX] = "", text[TEXT_MAX];

	if (!comment)
		show_path(checker->document, index, path);
	(void)snprintf(text, sizeof(text), "%s %s", comment ? "a comment" : path, what);
	return checker->found(checker->context, finding,
	                      line_of(checker, checker->document->nodes[index].start), text);
}

/* Does the comment end in the line above the one in which the key at position stands, with nothing but white space between, and in the same column? Then it is that key's for every reader. */
static bool is_directly_above(const struct sops_document *document, const struct sops_node *comment,
                              const struct sops_node *node)
{
	const uint8_t *text = document->text.data;
	size_t at = comment->end, lines = 0, column = 0, start = comment->start;

	for (; at < document->text.len && is_white_space(text[at]); at++) {
		lines += text[at] == '\n';
		column = text[at] == '\n' ? 0 : column + 1;
	}
	while (start > 0 && text[start - 1] != '\n')
		start--;
	return lines == 1 && comment->start >= 1 && comment->start - 1 - start == column && at <= node->start;
}

/* What stands before the first key of a document is that key's, not the document's. */
static bool is_document(const struct sops_node *node)
{
	return node->kind == SOPS_MAP && node->parent == SOPS_NONE;
}

/* Does one of the comments above, each directly above the next, match? Of comments in order each adds one question: what the one above it found is known. */
static enum err ask_above(struct checker *checker, uint32_t index, bool *ret_asked)
{
	const struct sops_node *nodes = checker->document->nodes;
	uint32_t above = index;

	*ret_asked = false;
	if (above > 0 && is_document(&nodes[above - 1]))
		above--;
	if (above == 0 || nodes[above - 1].kind != SOPS_COMMENT ||
	    !is_directly_above(checker->document, &nodes[above - 1], &nodes[index]))
		return OK;
	*ret_asked = checker->asked[above - 1];
	return *ret_asked ? OK : regex_match(checker->comments, nodes[above - 1].text, ret_asked);
}

static enum err take_comment_rule(struct checker *checker, uint32_t index)
{
	const struct sops_node *node = &checker->document->nodes[index];
	enum err err;

	if (is_document(node))
		return OK;
	err = ask_above(checker, index, &checker->asked[index]);
	checker->covered[index] =
	        checker->asked[index] || (node->parent != SOPS_NONE && checker->covered[node->parent]);
	return err;
}

/* Which values a rule about comments covers is certain only where a comment stands right above, or none stands anywhere before. */
static enum err ask_comment_rule(struct checker *checker, uint32_t index, bool *ret_encrypted,
                                 bool *ret_certain)
{
	enum err err = OK;

	if (checker->metadata->rule == SOPS_ENCRYPTED_COMMENT_REGEX) {
		err = take_comment_rule(checker, index);
		*ret_encrypted = *ret_certain = !err && checker->covered[index];
		return err;
	}
	if (checker->document->nodes[index].kind == SOPS_COMMENT && !checker->exempted)
		err = regex_match(checker->comments, checker->document->nodes[index].text,
		                  &checker->exempted);
	*ret_encrypted = *ret_certain = !err && !checker->exempted;
	return err;
}

static enum err check_comment(struct checker *checker, uint32_t index, bool encrypted)
{
	const struct sops_node *node = &checker->document->nodes[index];
	struct sops_value value;

	if (checker->comments || node->text.len == 0)
		return OK;
	if (!sops_value_looks_like(node->text))
		return !encrypted ? OK : report(checker, SOPS_FOUND_COMMENT, index, "is in the clear");
	return sops_value_parse(node->text, &value) == OK ? OK
	                                                  : report(checker, SOPS_FOUND_MALFORMED, index,
	                                                           "begins as an encrypted one and is none");
}

static enum err check_leaf(struct checker *checker, uint32_t index, bool encrypted, bool certain)
{
	const struct sops_node *node = &checker->document->nodes[index];
	bool looks = node->kind == SOPS_STRING && sops_value_looks_like(node->text);
	struct sops_value value;

	if (looks && sops_value_parse(node->text, &value))
		return report(checker, SOPS_FOUND_MALFORMED, index,
		              "begins as an encrypted value and is none");
	if (!certain || looks == encrypted || node->kind == SOPS_NULL ||
	    (node->kind == SOPS_STRING && node->text.len == 0))
		return OK;
	return encrypted ? report(checker, SOPS_FOUND_CLEAR, index, "is in the clear")
	                 : report(checker, SOPS_FOUND_ENCRYPTED, index,
	                          "is encrypted, though the file's rule leaves it clear");
}

static enum err check_node(struct checker *checker, uint32_t index)
{
	const struct sops_node *node = &checker->document->nodes[index];
	bool encrypted = false, certain = true;
	enum err err;

	if (node->metadata)
		return OK;
	err = sops_selection_ask(checker->selection, index, &encrypted);
	if (!err && checker->comments)
		err = ask_comment_rule(checker, index, &encrypted, &certain);
	if (err == ERR_BUSY) {
		(void)sops_document_refuse(checker->document, node->start,
		                           "the rule's pattern takes too long on this key");
		return ERR_BAD_FILE;
	}
	if (!err && encrypted && certain && sops_ini_has_tail(checker->document, index))
		err = report(checker, SOPS_FOUND_COMMENT, index,
		             "has something in the clear behind it, in its line");
	if (err || node->kind == SOPS_MAP || node->kind == SOPS_LIST)
		return err;
	return node->kind == SOPS_COMMENT ? check_comment(checker, index, encrypted)
	                                  : check_leaf(checker, index, encrypted, certain);
}

static enum err complain(struct checker *checker, const char *what)
{
	return checker->found(checker->context, SOPS_FOUND_METADATA, 0, what);
}

static enum err open_nothing(void *context, const struct age_header *header, struct secret **ret_file_key)
{
	(void)header;
	(void)ret_file_key;
	*(bool *)context = true;
	return ERR_NO_MATCH;
}

static enum err drop(void *context, struct bytes chunk)
{
	(void)context;
	(void)chunk;
	return OK;
}

/* An armored age file whose header is well-formed. */
static enum err check_age_entry(const struct sops_entry *entry, bool *ret_good)
{
	CLEANUP(age_reader_freep) struct age_reader *reader = NULL;
	enum err err = age_reader_new(open_nothing, ret_good, drop, NULL, &reader);

	*ret_good = false;
	if (!err)
		err = age_reader_push(reader, entry->enc);
	if (!err)
		err = age_reader_finish(reader);
	return err == ERR_NOMEM ? err : OK;
}

static enum err check_entry(struct checker *checker, const struct sops_entry *entry)
{
	char text[TEXT_MAX];
	bool good = entry->enc.len > 0;
	enum err err = OK;

	if (good && strcmp(entry->kind, "age") == 0)
		err = check_age_entry(entry, &good);
	if (err || (good && entry->recipient.len))
		return err;
	(void)snprintf(text, sizeof(text), "its %s entry %u %s", entry->kind, entry->number + 1,
	               good ? "names no recipient" : "holds no data key");
	return complain(checker, text);
}

static enum err check_metadata(struct checker *checker)
{
	const struct sops_metadata *metadata = checker->metadata;
	struct sops_value value;
	enum err err = OK;

	for (size_t i = 0; !err && i < metadata->entry_count; i++)
		err = check_entry(checker, &metadata->entries[i]);
	if (!err && metadata->mac.len == 0)
		err = complain(checker, "it has no MAC");
	else if (!err && (sops_value_parse(metadata->mac, &value) || value.type != SOPS_TYPE_STRING))
		err = complain(checker, "its MAC is no encrypted value");
	if (!err && metadata->threshold > metadata->group_count)
		err = complain(checker, "more key groups are needed to open it than there are");
	return err;
}

static enum err check_all(struct checker *checker)
{
	enum err err = check_metadata(checker);

	for (size_t i = 0; !err && i < checker->document->count; i++)
		err = check_node(checker, (uint32_t)i);
	return err;
}

enum err sops_check(struct sops_document *document, const struct sops_metadata *metadata,
                    sops_check_found found, void *context)
{
	CLEANUP(sops_selection_freep) struct sops_selection *selection = NULL;
	CLEANUP(regex_freep) struct regex *comments = NULL;
	CLEANUP(freep) bool *covered = calloc(document->count + 1, sizeof(*covered));
	CLEANUP(freep) bool *asked = calloc(document->count + 1, sizeof(*asked));
	struct checker checker = { .document = document,
		                   .metadata = metadata,
		                   .covered = covered,
		                   .asked = asked,
		                   .found = found,
		                   .context = context,
		                   .line = 1 };
	enum err err = covered && asked ? sops_selection_new(document, metadata, &selection) : ERR_NOMEM;

	if (!err && document->format != SOPS_BINARY && sops_selection_is_open(selection))
		err = regex_new(metadata->pattern, &comments);
	if (err == ERR_BAD_FILE)
		(void)snprintf(document->reason, sizeof(document->reason),
		               "its rule is no pattern that sops would take");
	if (err)
		return err;
	checker.selection = selection;
	checker.comments = comments;
	return check_all(&checker);
}
