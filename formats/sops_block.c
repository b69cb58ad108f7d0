#include "formats/sops_block.h"

#include <stdlib.h>
#include <string.h>

#include "formats/sops_text.h"
#include "formats/sops_value.h"
#include "formats/sops_write.h"
#include "formats/text.h"

#define LIST_MARK "__list_"
#define MAP_MARK "__map_"
#define INDENT 4U
#define DEPTH_MAX 8U

bool sops_block_is_flow(const struct sops_document *document)
{
	size_t i = 0;

	if (document->format == SOPS_JSON || document->format == SOPS_BINARY)
		return true;
	while (i < document->count && document->nodes[i].kind == SOPS_COMMENT)
		i++;
	return document->format == SOPS_YAML && i < document->count &&
	       document->nodes[i].start < document->text.len &&
	       document->text.data[document->nodes[i].start] == '{';
}

/* As it stood */

static enum err put_replaced(const struct sops_document *old, const struct sops_node *node, struct bytes text,
                             struct buf *out)
{
	uint8_t quote = node->end > node->start ? old->text.data[node->start] : 0;
	bool quotes = node->quoted && (quote == '"' || quote == '\'');
	enum err err = quotes ? buf_put_u8(out, quote) : OK;

	if (!err)
		err = buf_put(out, text);
	return !err && quotes ? buf_put_u8(out, quote) : err;
}

/* An encrypted comment on the line of "sops:" is no part of the metadata; in the plain text it has a line of its own, and so it has afterwards (sops_decrypt.c). */
static bool is_stray_comment(const struct sops_node *node, size_t at, struct sops_span cut)
{
	return !node->metadata && node->kind == SOPS_COMMENT && node->start > at && node->end <= cut.end &&
	       sops_value_looks_like(node->text);
}

static enum err put_without_mark(const struct sops_document *old, size_t at, const struct sops_node *comment,
                                 struct buf *out)
{
	size_t end = comment->start - 1;

	while (end > at && (old->text.data[end - 1] == ' ' || old->text.data[end - 1] == '\t'))
		end--;
	return buf_put(out, bytes_of(old->text.data + at, end - at));
}

/* The cut's text with the time and the MAC replaced. */
static enum err put_cut(const struct sops_block *block, struct sops_span cut, struct bytes now,
                        struct bytes mac, struct buf *out)
{
	const struct sops_document *old = block->old;
	size_t at = cut.start;
	enum err err = OK;

	for (size_t i = 0; !err && i < old->count; i++) {
		const struct sops_node *node = &old->nodes[i];
		bool is_mac = node->text.data == block->metadata->mac.data;

		if (is_stray_comment(node, at, cut)) {
			err = put_without_mark(old, at, node, out);
			at = node->end;
			continue;
		}
		if (!node->metadata || node->start < at || node->end > cut.end || node->text.len == 0 ||
		    (!is_mac && node->text.data != block->metadata->last_modified.data))
			continue;
		err = buf_put(out, bytes_of(old->text.data + at, node->start - at));
		if (!err)
			err = put_replaced(old, node, is_mac ? mac : now, out);
		at = node->end;
	}
	return err ? err : buf_put(out, bytes_of(old->text.data + at, cut.end - at));
}

/* Between brackets it begins with its comma and ends without one. */
static struct sops_span without_comma(const struct sops_document *old, struct sops_span cut, bool *ret_comma)
{
	if (old->text.data[cut.end - 1] == ',')
		cut.end--;
	*ret_comma = old->text.data[cut.start] == ',';
	return cut;
}

static enum err put_old(const struct sops_block *block, struct bytes now, struct bytes mac, struct buf *out)
{
	const struct sops_document *old = block->old;
	/* A YAML file has the same in each of its documents; a dotenv file's stands in many lines. */
	size_t count = old->format == SOPS_DOTENV ? old->cut_count : old->cut_count ? 1 : 0;
	enum err err = OK;

	for (size_t i = 0; !err && i < count; i++) {
		struct sops_span cut = old->cuts[i];
		bool comma = true;

		if (block->flow)
			cut = without_comma(old, cut, &comma);
		err = comma ? OK : buf_put_string(out, ", ");
		if (!err)
			err = put_cut(block, cut, now, mac, out);
	}
	return err;
}

/* Written anew */

static bool is_word(const char *text)
{
	return text[0] &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") ==
	               strlen(text) &&
	       !sops_text_is_ambiguous(bytes_of_string(text));
}

/* Of a version; with two points it is no number. */
static bool is_version(const char *text)
{
	size_t len = strspn(text, "0123456789."), points = 0;

	for (const char *c = text; *c; c++)
		points += *c == '.';
	return text[len] == '\0' && points == 2 && text[0] != '.';
}

static enum err put_spaces(struct buf *out, unsigned count)
{
	return count ? buf_printf(out, "%*s", (int)count, "") : OK;
}

static enum err put_lines(const char *text, unsigned indent, struct buf *out)
{
	enum err err = buf_put_string(out, "|");

	while (!err && *text) {
		size_t len = strcspn(text, "\n");

		err = buf_put_u8(out, '\n');
		if (!err)
			err = put_spaces(out, indent);
		if (!err)
			err = buf_put(out, bytes_of(text, len));
		text += len + (text[len] == '\n');
	}
	return err;
}

/* Only what ends its last line, and has no empty ones, can stand as a block. */
static bool is_block(const char *text)
{
	size_t len = strlen(text);

	return len > 1 && text[len - 1] == '\n' && !strstr(text, "\n\n") && !is_white_space((uint8_t)text[0]);
}

static enum err put_text(const struct sops_block *block, const char *text, unsigned indent, struct buf *out)
{
	bool yaml = block->format == SOPS_YAML && !block->flow;

	if (yaml && is_block(text))
		return put_lines(text, indent, out);
	if (yaml && (is_word(text) || is_version(text) || sops_value_looks_like(bytes_of_string(text))))
		return buf_put_string(out, text);
	return sops_json_string_write(bytes_of_string(text), out);
}

static enum err put_scalar(const struct sops_block *block, const json_t *value, unsigned indent,
                           struct buf *out)
{
	if (json_is_string(value))
		return put_text(block, json_string_value(value), indent, out);
	if (json_is_integer(value))
		return buf_printf(out, "%lld", (long long)json_integer_value(value));
	return buf_put_string(out, json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null");
}

static enum err put_yaml(const struct sops_block *block, json_t *value, unsigned indent, struct buf *out);

/* first: the first key stands on a line that has begun. */
static enum err put_yaml_map(const struct sops_block *block, json_t *map, unsigned indent, bool first,
                             struct buf *out)
{
	const char *key;
	json_t *value;
	enum err err = OK;

	json_object_foreach(map, key, value)
	{
		err = first ? OK : put_spaces(out, indent);
		first = false;
		if (!err)
			err = buf_printf(out, "%s:", key);
		if (!err)
			err = put_yaml(block, value, indent, out);
		if (err)
			break;
	}
	return err;
}

static enum err put_yaml_list(const struct sops_block *block, json_t *list, unsigned indent, struct buf *out)
{
	enum err err = OK;

	for (size_t i = 0; !err && i < json_array_size(list); i++) {
		json_t *value = json_array_get(list, i);

		err = put_spaces(out, indent);
		if (!err)
			err = buf_put_string(out, json_is_object(value) ? "- " : "-");
		if (!err)
			err = json_is_object(value) ? put_yaml_map(block, value, indent + 2, true, out)
			                            : put_yaml(block, value, indent, out);
	}
	return err;
}

/* What follows a colon or a dash, and the line's end. At most as deep as a tree that was read. */
static enum err put_yaml(const struct sops_block *block, json_t *value, unsigned indent, struct buf *out)
{
	bool map = json_is_object(value);
	enum err err;

	if ((map && json_object_size(value)) || (json_is_array(value) && json_array_size(value))) {
		err = buf_put_u8(out, '\n');
		if (err)
			return err;
		return map ? put_yaml_map(block, value, indent + INDENT, false, out)
		           : put_yaml_list(block, value, indent + INDENT, out);
	}
	if (map || json_is_array(value))
		return buf_put_string(out, map ? " {}\n" : " []\n");
	err = buf_put_u8(out, ' ');
	if (!err)
		err = put_scalar(block, value, indent + (indent % INDENT ? 2 : INDENT), out);
	return err ? err : buf_put_u8(out, '\n');
}

static enum err put_new_line(unsigned depth, struct buf *out)
{
	enum err err = buf_put_u8(out, '\n');

	while (!err && depth-- > 0)
		err = buf_put_u8(out, '\t');
	return err;
}

static enum err put_json(const struct sops_block *block, json_t *value, unsigned depth, struct buf *out);

static enum err put_json_map(const struct sops_block *block, json_t *map, unsigned depth, struct buf *out)
{
	const char *key;
	json_t *value;
	bool first = true;
	enum err err = buf_put_u8(out, '{');

	json_object_foreach(map, key, value)
	{
		if (!err && !first)
			err = buf_put_u8(out, ',');
		first = false;
		if (!err)
			err = put_new_line(depth + 1, out);
		if (!err)
			err = sops_json_string_write(bytes_of_string(key), out);
		if (!err)
			err = buf_put_string(out, ": ");
		if (!err)
			err = put_json(block, value, depth + 1, out);
	}
	if (!err && !first)
		err = put_new_line(depth, out);
	return err ? err : buf_put_u8(out, '}');
}

static enum err put_json_list(const struct sops_block *block, json_t *list, unsigned depth, struct buf *out)
{
	enum err err = buf_put_u8(out, '[');

	for (size_t i = 0; !err && i < json_array_size(list); i++) {
		err = i ? buf_put_u8(out, ',') : OK;
		if (!err)
			err = put_new_line(depth + 1, out);
		if (!err)
			err = put_json(block, json_array_get(list, i), depth + 1, out);
	}
	if (!err && json_array_size(list))
		err = put_new_line(depth, out);
	return err ? err : buf_put_u8(out, ']');
}

static enum err put_json(const struct sops_block *block, json_t *value, unsigned depth, struct buf *out)
{
	if (json_is_object(value))
		return put_json_map(block, value, depth, out);
	return json_is_array(value) ? put_json_list(block, value, depth, out)
	                            : put_scalar(block, value, 0, out);
}

/* In dotenv and INI: the two characters \n for a line end. */
static enum err put_flat_scalar(const json_t *value, struct buf *out)
{
	struct sops_block plain = { .format = SOPS_JSON };
	const char *text = json_string_value(value);
	enum err err = OK;

	if (!text)
		return put_scalar(&plain, value, 0, out);
	for (; !err && *text; text++)
		err = *text == '\n' ? buf_put_string(out, "\\n") : buf_put_u8(out, (uint8_t)*text);
	return err;
}

static enum err put_flat(enum sops_format format, const char *name, json_t *value, struct buf *out)
{
	char longer[256];
	const char *key;
	json_t *member;
	enum err err = OK;

	if (strlen(name) > 128)
		return ERR_BAD_FILE;
	json_object_foreach(value, key, member)
	{
		(void)snprintf(longer, sizeof(longer), "%s%s%.64s", name, name[0] ? MAP_MARK : "", key);
		if (!err)
			err = put_flat(format, longer, member, out);
	}
	for (size_t i = 0; !err && i < json_array_size(value); i++) {
		(void)snprintf(longer, sizeof(longer), "%s" LIST_MARK "%zu", name, i);
		err = put_flat(format, longer, json_array_get(value, i), out);
	}
	if (err || json_is_object(value) || json_is_array(value))
		return err;
	err = format == SOPS_DOTENV ? buf_printf(out, "sops_%s=", name) : buf_printf(out, "%s = ", name);
	if (!err)
		err = put_flat_scalar(value, out);
	return err ? err : buf_put_u8(out, '\n');
}

static enum err put_tree(const struct sops_block *block, struct buf *out)
{
	enum err err;

	switch (block->format) {
	case SOPS_DOTENV:
		return put_flat(SOPS_DOTENV, "", block->tree, out);
	case SOPS_INI:
		err = buf_put_string(out, "\n[sops]\n");
		return err ? err : put_flat(SOPS_INI, "", block->tree, out);
	case SOPS_YAML:
		if (block->flow)
			break;
		err = buf_put_string(out, "sops:\n");
		return err ? err : put_yaml_map(block, block->tree, INDENT, false, out);
	case SOPS_JSON:
	case SOPS_BINARY:
		break;
	}
	err = buf_put_string(out, ",\n\t\"sops\": ");
	return err ? err : put_json(block, block->tree, 1, out);
}

static enum err set_text(json_t *tree, const char *name, struct bytes text)
{
	return json_object_set_new(tree, name, json_stringn((const char *)text.data, text.len)) ? ERR_NOMEM
	                                                                                        : OK;
}

enum err sops_block_put(void *block_, const char *now, struct bytes mac, struct buf *out)
{
	const struct sops_block *block = block_;
	enum err err;

	if (!block->tree)
		return put_old(block, bytes_of_string(now), mac, out);
	err = set_text(block->tree, "lastmodified", bytes_of_string(now));
	if (!err)
		err = set_text(block->tree, "mac", mac);
	return err ? err : put_tree(block, out);
}

/* Read */

/* The value that a scalar node stands for. */
static json_t *value_of(const struct sops_node *node)
{
	if (node->kind == SOPS_INTEGER)
		return json_integer(strtoll((const char *)node->text.data, NULL, 10));
	if (node->kind == SOPS_BOOLEAN)
		return json_boolean(node->text.data[0] == 'T');
	return json_stringn((const char *)node->text.data, node->text.len);
}

/* The next part of a flattened name: up to a mark, which is passed over; ret_list: that of a list. */
static size_t part_of(const char *name, bool *ret_list, size_t *ret_mark)
{
	const char *list = strstr(name, LIST_MARK), *map = strstr(name, MAP_MARK);

	*ret_list = list && (!map || list < map);
	*ret_mark = *ret_list ? strlen(LIST_MARK) : map ? strlen(MAP_MARK) : 0;
	return *ret_list ? (size_t)(list - name) : map ? (size_t)(map - name) : strlen(name);
}

/* The member of a container, made when it is not there; place: a key, or a number in a list. Borrowed. */
static json_t *member_of(json_t *container, const char *place, bool list)
{
	json_t *member, *fresh;
	size_t index;

	if (json_is_object(container)) {
		member = json_object_get(container, place);
		if (member)
			return member;
		fresh = list ? json_array() : json_object();
		return json_object_set_new(container, place, fresh) ? NULL : fresh;
	}
	index = strtoul(place, NULL, 10);
	if (!json_is_array(container) || index > json_array_size(container) || index >= SOPS_ENTRIES_MAX)
		return NULL;
	if (index < json_array_size(container))
		return json_array_get(container, index);
	fresh = list ? json_array() : json_object();
	return json_array_append_new(container, fresh) ? NULL : fresh;
}

static enum err insert(json_t *tree, const char *name, json_t *value)
{
	json_t *container = tree;

	for (unsigned depth = 0; container && depth < DEPTH_MAX; depth++) {
		char place[128];
		bool list;
		size_t mark, len = part_of(name, &list, &mark);

		if (len >= sizeof(place) || len == 0)
			break;
		memcpy(place, name, len);
		place[len] = '\0';
		if (!mark && json_is_object(container))
			return json_object_set_new(container, place, value) ? ERR_NOMEM : OK;
		if (!mark && json_is_array(container))
			return json_array_append_new(container, value) ? ERR_NOMEM : OK;
		container = mark ? member_of(container, place, list) : NULL;
		name += len + mark;
	}
	json_decref(value);
	return ERR_BAD_FILE;
}

static enum err insert_node(json_t *tree, const struct sops_document *document, const struct sops_node *node)
{
	char name[SOPS_METADATA_NAME_MAX];
	size_t len;
	json_t *value;

	if (!node->metadata || node->kind == SOPS_COMMENT || node->kind == SOPS_NULL ||
	    node->kind == SOPS_MAP || node->kind == SOPS_LIST)
		return OK;
	if (sops_metadata_name(document, node, name, &len))
		return ERR_BAD_FILE;
	value = value_of(node);
	return value ? insert(tree, name, value) : ERR_NOMEM;
}

enum err sops_block_read(const struct sops_document *document, json_t **ret_tree)
{
	json_t *tree = json_object();
	uint32_t roots = 0;
	enum err err = tree ? OK : ERR_NOMEM;

	for (size_t i = 0; !err && i < document->count; i++) {
		roots += document->nodes[i].parent == SOPS_NONE && document->nodes[i].kind == SOPS_MAP;
		if (roots > 1)
			break;
		err = insert_node(tree, document, &document->nodes[i]);
	}
	if (err) {
		json_decref(tree);
		return err;
	}
	*ret_tree = tree;
	return OK;
}
