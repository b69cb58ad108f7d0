#include "formats/sops_expand.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "formats/sops_text.h"
#include "formats/sops_write.h"

#define INDENT 4U
#define INDENT_MAX 8U

struct expansion {
	struct sops_document *document; /* borrowed; with aliases */
	size_t *values, *bytes; /* owned: what the nodes before each come to */
	struct buf *out; /* borrowed */
	size_t cursor; /* of the text, up to here it is in out */
	size_t aliases;
	unsigned indent;
};

static const struct sops_node *node_at(const struct expansion *expansion, uint32_t index)
{
	return &expansion->document->nodes[index];
}

static uint8_t byte_at(const struct sops_document *document, size_t at)
{
	return at < document->text.len ? document->text.data[at] : 0;
}

static bool is_alias(const struct expansion *expansion, const struct sops_node *node)
{
	return node->kind == SOPS_ALIAS || (node->kind == SOPS_STRING && node->end > node->start &&
	                                    byte_at(expansion->document, node->start) == '*');
}

/* The node that another stands for; one that is no alias, or that of a key, stands for itself. */
static uint32_t behind(const struct expansion *expansion, uint32_t index)
{
	const struct sops_node *node = node_at(expansion, index);

	return node->kind == SOPS_ALIAS ? node->target : index;
}

/* The first node behind what is in a container; limit: no farther. */
static uint32_t end_of(const struct sops_document *document, uint32_t container, uint32_t limit)
{
	uint32_t i = container + 1;

	while (i < limit && document->nodes[i].parent != SOPS_NONE && document->nodes[i].parent >= container)
		i++;
	return i;
}

/* The next entry of a container; SOPS_NONE: there is none. */
static uint32_t next_entry(const struct expansion *expansion, uint32_t container, uint32_t after)
{
	uint32_t end = (uint32_t)expansion->document->count;

	for (uint32_t i = after + 1; i < end; i++) {
		const struct sops_node *node = node_at(expansion, i);

		if (node->parent == SOPS_NONE || node->parent < container)
			break;
		if (node->parent == container && node->kind != SOPS_COMMENT)
			return i;
	}
	return SOPS_NONE;
}

/* ---- how much it comes to ---- */

static enum err too_much(struct expansion *expansion, const struct sops_node *node)
{
	return sops_document_refuse(expansion->document, node->start,
	                            "the aliases up to here come to more than 100,000 values or 16 MiB");
}

/* Of an alias what its target comes to, whose end is before it: else it would be a part of it. */
static enum err weigh_alias(struct expansion *expansion, uint32_t index, size_t *values, size_t *bytes)
{
	const struct sops_node *node = node_at(expansion, index);
	uint32_t end = end_of(expansion->document, node->target, index);

	if (end == index && node->parent >= node->target)
		return sops_document_refuse(expansion->document, node->start,
		                            "this alias is a part of what it stands for");
	*values += expansion->values[end] - expansion->values[node->target];
	*bytes += expansion->bytes[end] - expansion->bytes[node->target];
	return OK;
}

/* What stands in the file is limited already: only what aliases add is counted against the limit. */
static enum err weigh_all(struct expansion *expansion)
{
	size_t count = expansion->document->count, added = 0, added_bytes = 0;
	enum err err = OK;

	for (uint32_t i = 0; !err && i < count; i++) {
		const struct sops_node *node = node_at(expansion, i);
		size_t values = 1, bytes = node->key.len + node->text.len + SOPS_DEPTH_MAX;

		if (node->kind == SOPS_ALIAS) {
			err = weigh_alias(expansion, i, &values, &bytes);
			added += values;
			added_bytes += bytes;
		}
		if (!err && (added > SOPS_EXPAND_VALUES_MAX || added_bytes > SOPS_EXPAND_BYTES_MAX))
			return too_much(expansion, node);
		expansion->values[i + 1] = expansion->values[i] + values;
		expansion->bytes[i + 1] = expansion->bytes[i] + bytes;
	}
	return err;
}

/* ---- writing it ---- */

static enum err copy_to(struct expansion *expansion, size_t end)
{
	size_t start = expansion->cursor;

	if (end <= start)
		return OK;
	expansion->cursor = end;
	return buf_put(expansion->out, bytes_of(expansion->document->text.data + start, end - start));
}

/* Text that is a string wherever it stands. */
static bool is_word(struct bytes text)
{
	static const char others[] = "_-./";

	for (size_t i = 0; i < text.len; i++) {
		uint8_t c = text.data[i];
		bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');

		if (!letter && (i == 0 || !((c >= '0' && c <= '9') || (c && strchr(others, c)))))
			return false;
	}
	return text.len && !sops_text_is_ambiguous(text);
}

static enum err put_string(struct bytes text, struct buf *out)
{
	return is_word(text) ? buf_put(out, text) : sops_json_string_write(text, out);
}

static enum err put_key(struct bytes key, struct buf *out)
{
	enum err err = bytes_equal(key, bytes_of_string("<<")) ? buf_put(out, key) : put_string(key, out);

	return err ? err : buf_put_u8(out, ':');
}

/* A value as it was written, when it is in one line and means the same here. */
static enum err put_scalar(struct expansion *expansion, const struct sops_node *node, bool flow)
{
	const struct sops_document *document = expansion->document;
	struct bytes piece = bytes_of(document->text.data + node->start, node->end - node->start);
	uint8_t first = piece.len ? piece.data[0] : 0;
	bool quotes = first == '"' || first == '\'';

	if (node->kind == SOPS_NULL)
		return buf_put_string(expansion->out, "null");
	if (piece.len == 0 || first == '*' || first == '|' || first == '>' ||
	    memchr(piece.data, '\n', piece.len) || (flow && !quotes && node->kind == SOPS_STRING))
		return put_string(node->text, expansion->out);
	return buf_put(expansion->out, piece);
}

static enum err put_spaces(struct expansion *expansion, unsigned count)
{
	return count ? buf_printf(expansion->out, "%*s", (int)count, "") : OK;
}

static bool is_container(const struct sops_node *node)
{
	return node->kind == SOPS_MAP || node->kind == SOPS_LIST;
}

static enum err put_flow(struct expansion *expansion, uint32_t index, unsigned depth);

static enum err put_flow_entries(struct expansion *expansion, uint32_t container, unsigned depth)
{
	bool first = true;
	enum err err = OK;

	for (uint32_t i = next_entry(expansion, container, container); !err && i != SOPS_NONE;
	     i = next_entry(expansion, container, i)) {
		err = first ? OK : buf_put_string(expansion->out, ", ");
		first = false;
		if (!err && node_at(expansion, container)->kind == SOPS_MAP) {
			err = put_key(node_at(expansion, i)->key, expansion->out);
			if (!err)
				err = buf_put_u8(expansion->out, ' ');
		}
		if (!err)
			err = put_flow(expansion, i, depth + 1);
	}
	return err;
}

static enum err too_deep(struct expansion *expansion)
{
	return sops_document_refuse(expansion->document, expansion->cursor,
	                            "with its aliases written out it is nested too deeply");
}

/* Between brackets. At most as deep as a document may be. */
static enum err put_flow(struct expansion *expansion, uint32_t index, unsigned depth)
{
	uint32_t target = behind(expansion, index);
	const struct sops_node *node = node_at(expansion, target);
	bool map = node->kind == SOPS_MAP;
	enum err err;

	if (!is_container(node))
		return put_scalar(expansion, node, true);
	if (depth >= SOPS_DEPTH_MAX)
		return too_deep(expansion);
	err = buf_put_u8(expansion->out, map ? '{' : '[');
	if (!err)
		err = put_flow_entries(expansion, target, depth);
	return err ? err : buf_put_u8(expansion->out, map ? '}' : ']');
}

static enum err put_block(struct expansion *expansion, uint32_t container, unsigned column, bool begun,
                          unsigned depth);

/* What follows a colon (column: of its key) or, in a list, a dash (column: behind it), where a block begins in the same line; no line end. */
static enum err put_entry(struct expansion *expansion, uint32_t index, bool in_map, unsigned column,
                          unsigned depth)
{
	uint32_t target = behind(expansion, index);
	const struct sops_node *node = node_at(expansion, target);
	bool block = is_container(node) && next_entry(expansion, target, target) != SOPS_NONE;
	enum err err = in_map && block ? buf_put_u8(expansion->out, '\n') : buf_put_u8(expansion->out, ' ');

	if (err)
		return err;
	if (block)
		return put_block(expansion, target, in_map ? column + expansion->indent : column, !in_map,
		                 depth + 1);
	return put_flow(expansion, target, depth);
}

/* The entries of a container that has some, each in its lines; begun: the first stands in a line that has begun. No line end behind the last. */
static enum err put_block(struct expansion *expansion, uint32_t container, unsigned column, bool begun,
                          unsigned depth)
{
	bool map = node_at(expansion, container)->kind == SOPS_MAP, first = true;
	enum err err = depth >= SOPS_DEPTH_MAX ? too_deep(expansion) : OK;

	for (uint32_t i = next_entry(expansion, container, container); !err && i != SOPS_NONE;
	     i = next_entry(expansion, container, i)) {
		err = first ? OK : buf_put_u8(expansion->out, '\n');
		if (!err && !(first && begun))
			err = put_spaces(expansion, column);
		first = false;
		if (!err)
			err = map ? put_key(node_at(expansion, i)->key, expansion->out)
			          : buf_put_u8(expansion->out, '-');
		if (!err)
			err = put_entry(expansion, i, map, map ? column : column + 2, depth);
	}
	return err;
}

static unsigned depth_of(const struct expansion *expansion, uint32_t index)
{
	unsigned depth = 0;

	for (; node_at(expansion, index)->parent != SOPS_NONE; index = node_at(expansion, index)->parent)
		depth++;
	return depth;
}

/* Behind an alias that is not between brackets stands nothing but a comment, which stays in its line: what comes of the alias begins below it. */
static bool has_comment(const struct expansion *expansion, const struct sops_node *alias, size_t *ret_end)
{
	struct bytes text = expansion->document->text;
	bool found = false;

	for (*ret_end = alias->end; *ret_end < text.len && !strchr("\r\n", text.data[*ret_end]); (*ret_end)++)
		found |= text.data[*ret_end] == '#';
	return found;
}

/* A map or a list in the place of an alias that is not between brackets: lines, of which the first of an element stands behind its dash. */
static enum err put_lines(struct expansion *expansion, uint32_t index)
{
	const struct sops_node *alias = node_at(expansion, index);
	size_t start = alias->start, end;
	bool comment = has_comment(expansion, alias, &end), below = comment || alias->key.data;
	unsigned column = alias->column + (alias->key.data ? expansion->indent : 0);
	enum err err;

	while (below && start > expansion->cursor && byte_at(expansion->document, start - 1) == ' ')
		start--;
	err = copy_to(expansion, start);
	expansion->cursor = comment ? alias->end : end;
	if (!err)
		err = copy_to(expansion, end);
	if (!err && below)
		err = buf_put_u8(expansion->out, '\n');
	return err ? err : put_block(expansion, alias->target, column, !below, depth_of(expansion, index));
}

static enum err put_alias(struct expansion *expansion, uint32_t index)
{
	const struct sops_node *alias = node_at(expansion, index);
	uint32_t target = behind(expansion, index);
	enum err err;

	expansion->aliases++;
	if (is_container(node_at(expansion, target)) && !alias->in_flow &&
	    next_entry(expansion, target, target) != SOPS_NONE)
		return put_lines(expansion, index);
	err = copy_to(expansion, alias->start);
	expansion->cursor = alias->end;
	if (!err && !is_container(node_at(expansion, target)))
		return put_scalar(expansion, node_at(expansion, target), alias->in_flow);
	return err ? err : put_flow(expansion, target, depth_of(expansion, index));
}

/* A key that is one: up to white space, for a colon may be a part of its name. */
static enum err put_alias_key(struct expansion *expansion, const struct sops_node *node)
{
	enum err err = copy_to(expansion, node->begin);
	size_t end = node->begin;

	while (byte_at(expansion->document, end) &&
	       !strchr(" \t\r\n,[]{}", byte_at(expansion->document, end)))
		end++;
	expansion->cursor = end;
	expansion->aliases++;
	return err ? err : put_string(node->key, expansion->out);
}

static enum err put_all(struct expansion *expansion)
{
	enum err err = OK;

	for (uint32_t i = 0; !err && i < expansion->document->count; i++) {
		const struct sops_node *node = node_at(expansion, i);

		if (node->key.data && node->begin >= expansion->cursor &&
		    byte_at(expansion->document, node->begin) == '*')
			err = put_alias_key(expansion, node);
		if (!err && is_alias(expansion, node))
			err = put_alias(expansion, i);
	}
	return err ? err : copy_to(expansion, expansion->document->text.len);
}

/* As in the first block of the document that says. */
static unsigned indent_of(const struct sops_document *document)
{
	for (size_t i = 0; i < document->count; i++) {
		const struct sops_node *node = &document->nodes[i], *parent;

		if (!node->key.data || node->in_flow || node->parent == SOPS_NONE)
			continue;
		parent = &document->nodes[node->parent];
		if (parent->key.data && node->column > parent->column &&
		    node->column - parent->column <= INDENT_MAX)
			return node->column - parent->column;
	}
	return INDENT;
}

/* ---- was it written as it was meant? ---- */

static void digest_node(crypto_generichash_state *state, const struct sops_node *node, struct bytes key,
                        unsigned depth)
{
	const struct bytes parts[] = { key, node->text };
	const size_t lens[] = { node->kind, depth, key.data != NULL, key.len, node->text.len };

	(void)crypto_generichash_update(state, (const uint8_t *)lens, sizeof(lens));
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		(void)crypto_generichash_update(state, parts[i].data, parts[i].len);
}

/* The node and what is in it. Not deeper than what was written. */
static void digest_tree(const struct expansion *expansion, crypto_generichash_state *state, uint32_t index,
                        unsigned depth)
{
	uint32_t target = behind(expansion, index);
	const struct sops_node *node = node_at(expansion, target);

	digest_node(state, node, node_at(expansion, index)->key, depth);
	if (!is_container(node))
		return;
	for (uint32_t i = next_entry(expansion, target, target); i != SOPS_NONE;
	     i = next_entry(expansion, target, i))
		digest_tree(expansion, state, i, depth + 1);
}

static void digest_document(struct sops_document *document, uint8_t out[static crypto_generichash_BYTES])
{
	const struct expansion expansion = { .document = document };
	crypto_generichash_state state;

	(void)crypto_generichash_init(&state, NULL, 0, crypto_generichash_BYTES);
	for (uint32_t i = 0; i < document->count; i++)
		if (document->nodes[i].parent == SOPS_NONE && document->nodes[i].kind != SOPS_COMMENT)
			digest_tree(&expansion, &state, i, 0);
	(void)crypto_generichash_final(&state, out, crypto_generichash_BYTES);
}

static enum err check_same(struct sops_document *aliased, struct sops_plain *plain)
{
	uint8_t meant[crypto_generichash_BYTES], written[crypto_generichash_BYTES];

	digest_document(aliased, meant);
	digest_document(&plain->document, written);
	if (memcmp(meant, written, sizeof(meant)) == 0)
		return OK;
	(void)snprintf(plain->document.reason, sizeof(plain->document.reason),
	               "one of its aliases stands where it cannot be written out; write it out by hand");
	return ERR_BAD_FILE;
}

/* ---- all of it ---- */

static enum err expand(struct sops_document *aliased, struct sops_plain *plain)
{
	struct expansion expansion = { .document = aliased, .indent = indent_of(aliased) };
	enum err err;

	expansion.values = calloc(aliased->count + 1, sizeof(size_t));
	expansion.bytes = calloc(aliased->count + 1, sizeof(size_t));
	err = expansion.values && expansion.bytes ? weigh_all(&expansion) : ERR_NOMEM;
	if (!err)
		err = buf_new(2 * SOPS_FILE_MAX, &plain->expanded);
	expansion.out = plain->expanded;
	if (!err)
		err = put_all(&expansion);
	plain->aliases = expansion.aliases;
	free(expansion.values);
	free(expansion.bytes);
	return err;
}

/* The reason of the one becomes that of the other. */
static enum err read_expanded(struct sops_document *aliased, struct sops_plain *plain)
{
	enum err err = expand(aliased, plain);

	sops_document_done(&plain->document);
	if (err) {
		plain->document = (struct sops_document){ .format = SOPS_YAML };
		memcpy(plain->document.reason, aliased->reason, sizeof(aliased->reason));
		return err;
	}
	err = sops_document_read(&plain->document, SOPS_YAML, buf_bytes(plain->expanded));
	return err ? err : check_same(aliased, plain);
}

enum err sops_plain_read(struct sops_plain *plain, enum sops_format format, struct bytes text)
{
	struct sops_document aliased = { .count = 0 };
	enum err err;

	*plain = (struct sops_plain){ .aliases = 0 };
	err = sops_document_read(&plain->document, format, text);
	if (!plain->document.met_alias)
		return err;
	err = sops_document_read_aliases(&aliased, text);
	if (!err)
		err = read_expanded(&aliased, plain);
	else
		memcpy(plain->document.reason, aliased.reason, sizeof(aliased.reason));
	sops_document_done(&aliased);
	return err;
}

enum err sops_sealed_read(struct sops_document *document, enum sops_format format, struct bytes text,
                          struct buf **ret_written)
{
	struct sops_plain plain;
	enum err err = sops_plain_read(&plain, format, text);

	*document = plain.document;
	document->aliases = plain.aliases;
	*ret_written = plain.expanded;
	return err;
}

void sops_plain_done(struct sops_plain *plain)
{
	sops_document_done(&plain->document);
	plain->expanded = buf_free(plain->expanded);
}

static bool can_be_merged(const struct sops_document *document, uint32_t index)
{
	uint32_t end = (uint32_t)document->count;

	if (document->nodes[index].kind != SOPS_LIST)
		return document->nodes[index].kind == SOPS_MAP;
	for (uint32_t i = index + 1;
	     i < end && document->nodes[i].parent != SOPS_NONE && document->nodes[i].parent >= index; i++)
		if (document->nodes[i].parent == index && document->nodes[i].kind != SOPS_MAP &&
		    document->nodes[i].kind != SOPS_COMMENT)
			return false;
	return true;
}

enum err sops_plain_check_merges(struct sops_document *document)
{
	for (uint32_t i = 0; document->format == SOPS_YAML && i < document->count; i++) {
		const struct sops_node *node = &document->nodes[i];

		uint8_t first = byte_at(document, node->begin);

		/* Plain, or with the tag that sops gives it. */
		if (bytes_equal(node->key, bytes_of_string("<<")) && (first == '<' || first == '!') &&
		    !can_be_merged(document, i))
			return sops_document_refuse(
			        document, node->begin,
			        "<< takes a map or a list of maps; in quotes it is a key");
	}
	return OK;
}
