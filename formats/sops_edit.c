#include "formats/sops_edit.h"

#include <stdlib.h>

#include "formats/sops_comment.h"
#include "formats/sops_number.h"
#include "formats/sops_value.h"
#include "formats/sops_write.h"
#include "formats/text.h"

#define NEW_INDENT 4U
#define THERE_TWICE                                                                                         \
	"this key is there more than once, and which one a program takes is its own matter; tokenctl edit " \
	"changes any of them"

struct edit {
	struct sops_document *document; /* borrowed, as all of these */
	const struct sops_path *path;
	json_t *value;
	struct buf *out;
};

static const struct sops_node *node_at(const struct edit *edit, uint32_t index)
{
	return &edit->document->nodes[index];
}

static enum err complain(struct edit *edit, enum err err, const char *what)
{
	(void)snprintf(edit->document->reason, sizeof(edit->document->reason), "%s", what);
	return err;
}

static struct bytes part(const struct edit *edit, size_t start, size_t end)
{
	return end > start ? bytes_of(edit->document->text.data + start, end - start) : bytes_of(NULL, 0);
}

static bool is_json(const struct edit *edit)
{
	return edit->document->format == SOPS_JSON || edit->document->format == SOPS_BINARY;
}

static size_t line_start(const struct edit *edit, size_t at)
{
	while (at > 0 && edit->document->text.data[at - 1] != '\n')
		at--;
	return at;
}

static size_t line_next(const struct edit *edit, size_t at)
{
	struct bytes text = edit->document->text;
	const uint8_t *end = at < text.len ? memchr(text.data + at, '\n', text.len - at) : NULL;

	return end ? (size_t)(end - text.data) + 1 : text.len;
}

/* Where the entry of a node begins: at its key, or at the dash of a YAML list's element. */
static size_t entry_start(const struct edit *edit, const struct sops_node *node)
{
	const uint8_t *text = edit->document->text.data;
	size_t at = node->begin;

	if (edit->document->format != SOPS_YAML || node->key.data || node->in_flow)
		return at;
	while (at > 0 && (text[at - 1] == ' ' || text[at - 1] == '\t'))
		at--;
	return at > 0 && text[at - 1] == '-' ? at - 1 : node->begin;
}

/* dotenv alone may have a key twice; sops changes the first, and most programs take the last. */
static bool is_there_twice(const struct edit *edit, uint32_t index)
{
	for (uint32_t i = index + 1; edit->document->format == SOPS_DOTENV && i < edit->document->count; i++)
		if (node_at(edit, i)->kind != SOPS_COMMENT && !node_at(edit, i)->metadata &&
		    bytes_equal(node_at(edit, i)->key, node_at(edit, index)->key))
			return true;
	return false;
}

/* The first and the last entry of a container, and the ones beside one. SOPS_NONE: there is none. */
static uint32_t next_child(const struct edit *edit, uint32_t container, uint32_t after)
{
	for (uint32_t i = after + 1; i < edit->document->count; i++)
		if (node_at(edit, i)->parent == container && node_at(edit, i)->kind != SOPS_COMMENT)
			return i;
	return SOPS_NONE;
}

static uint32_t child_before(const struct edit *edit, uint32_t container, uint32_t before)
{
	uint32_t found = SOPS_NONE;

	for (uint32_t i = next_child(edit, container, container); i < before;
	     i = next_child(edit, container, i))
		found = i;
	return found;
}

/* Where what stands for a node ends: in INI files a section has no end of its own. */
static size_t entry_end(const struct edit *edit, uint32_t index)
{
	uint32_t last;

	if (edit->document->format != SOPS_INI || node_at(edit, index)->kind != SOPS_MAP)
		return node_at(edit, index)->end;
	last = child_before(edit, index, (uint32_t)edit->document->count);
	return last == SOPS_NONE ? node_at(edit, index)->end : node_at(edit, last)->end;
}

static bool is_flow(const struct edit *edit, uint32_t container)
{
	const struct sops_node *node = node_at(edit, container);
	uint8_t first = node->start < edit->document->text.len ? edit->document->text.data[node->start] : 0;

	return is_json(edit) ||
	       (edit->document->format == SOPS_YAML && first == (node->kind == SOPS_MAP ? '{' : '['));
}

/* Values */

static int take_piece(const char *piece, size_t len, void *out)
{
	return buf_put(out, bytes_of(piece, len)) ? -1 : 0;
}

static enum err put_json(const json_t *value, struct buf *out)
{
	int failed = json_dump_callback(value, take_piece, out, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));

	return failed ? ERR_BUSY : OK;
}

static enum err put_number(const struct edit *edit, const struct sops_node *place, const json_t *value,
                           struct buf *out)
{
	char text[SOPS_NUMBER_MAX];

	if (json_is_real(value))
		return sops_value_write(
		        edit->document, place, SOPS_TYPE_FLOAT,
		        bytes_of(text, sops_number_write(json_real_value(value), SOPS_NUMBER_PLAIN, text)),
		        out);
	return buf_printf(out, "%lld", (long long)json_integer_value(value));
}

/* As its format writes it at place; maps and lists between brackets. */
static enum err put_value(struct edit *edit, const struct sops_node *place, const json_t *value)
{
	bool flat = sops_format_is_flat(edit->document->format);
	const char *text = json_string_value(value);

	if (flat && (json_is_object(value) || json_is_array(value) || json_is_null(value)))
		return complain(edit, ERR_UNSUPPORTED, "this format holds nothing but text");
	if (json_is_object(value) || json_is_array(value))
		return put_json(value, edit->out);
	if (json_is_null(value))
		return buf_put_string(edit->out, "null");
	if (json_is_number(value))
		return put_number(edit, place, value, edit->out);
	if (json_is_boolean(value))
		return buf_put_string(edit->out, json_is_true(value) ? "true" : "false");
	return sops_value_write(edit->document, place, SOPS_TYPE_STRING,
	                        bytes_of(text, json_string_length(value)), edit->out);
}

/* What the steps from first on make of the value: maps around it. A new reference. */
static enum err wrap(const struct edit *edit, size_t first, json_t **ret_value)
{
	json_t *value = json_incref(edit->value);

	for (size_t i = edit->path->count; i-- > first;) {
		const struct sops_step *step = &edit->path->steps[i];
		json_t *outer = step->key.data ? json_object() : json_array();
		int failed =
		        !outer || (step->key.data ? json_object_setn_new(outer, (const char *)step->key.data,
		                                                         step->key.len, json_incref(value))
		                                  : json_array_append_new(outer, json_incref(value)));

		json_decref(value);
		value = outer;
		if (failed) {
			json_decref(outer);
			return ERR_NOMEM;
		}
	}
	*ret_value = value;
	return OK;
}

/* A key as the format writes it, with what divides it from its value. */
static enum err put_key(struct edit *edit, const struct sops_node *place, struct bytes key)
{
	enum err err;

	switch (edit->document->format) {
	case SOPS_DOTENV:
		err = buf_put(edit->out, key);
		return err ? err : buf_put_u8(edit->out, '=');
	case SOPS_INI:
		err = buf_put(edit->out, key);
		return err ? err : buf_put_string(edit->out, " = ");
	case SOPS_YAML:
		err = memchr(key.data, '\n', key.len)
		              ? sops_json_string_write(key, edit->out)
		              : sops_value_write(edit->document, place, SOPS_TYPE_STRING, key, edit->out);
		break;
	case SOPS_JSON:
	case SOPS_BINARY:
	default:
		err = sops_json_string_write(key, edit->out);
	}
	return err ? err : buf_put_u8(edit->out, ':');
}

/* Replacing */

static bool is_quoted(const struct edit *edit, const struct sops_node *node)
{
	uint8_t first = node->end > node->start ? edit->document->text.data[node->start] : 0;

	return first == '"' || first == '\'';
}

/* A block that becomes a single value moves up behind its key. */
static size_t value_start(const struct edit *edit, const struct sops_node *node, bool *ret_space)
{
	const uint8_t *text = edit->document->text.data;
	size_t at = node->start;

	*ret_space = false;
	if (edit->document->format != SOPS_YAML || !node->key.data)
		return at;
	while (at > 0 && is_white_space(text[at - 1]))
		at--;
	*ret_space = at > 0 && text[at - 1] == ':';
	return *ret_space ? at : node->start;
}

static bool is_nothing(const struct edit *edit, const struct sops_node *node)
{
	return edit->document->format == SOPS_YAML && node->kind == SOPS_NULL && node->start == node->end;
}

/* Of a value that is nothing at all the reader knows only what it comes after: its place is behind the colon or the dash. */
static size_t nothing_start(const struct edit *edit, const struct sops_node *node, bool *ret_space)
{
	struct bytes text = edit->document->text;
	size_t at = node->start;

	while (at < text.len && (is_white_space(text.data[at]) || text.data[at] == '#'))
		at = text.data[at] == '#' ? line_next(edit, at) : at + 1;
	*ret_space = at < text.len && text.data[at] == (node->key.data ? ':' : '-');
	return *ret_space ? at + 1 : node->start;
}

static enum err replace(struct edit *edit, uint32_t index)
{
	const struct sops_node *node = node_at(edit, index);
	struct sops_node place = *node;
	bool space, nothing = is_nothing(edit, node);
	size_t start = nothing ? nothing_start(edit, node, &space) : value_start(edit, node, &space);
	enum err err = buf_put(edit->out, part(edit, 0, start));

	if (edit->document->format == SOPS_INI && node->kind == SOPS_MAP)
		return complain(edit, ERR_UNSUPPORTED, "a section is no value");
	if (nothing && node->key.data && !space) {
		(void)sops_document_refuse(edit->document, node->begin, SOPS_EDIT_NO_COLON);
		return ERR_UNSUPPORTED;
	}
	if (!err && space)
		err = buf_put_u8(edit->out, ' ');
	place.kind = SOPS_STRING;
	place.quoted = is_quoted(edit, node);
	if (!err)
		err = put_value(edit, &place, edit->value);
	return err ? err
	           : buf_put(edit->out, part(edit, nothing ? start : node->end, edit->document->text.len));
}

/* Inserting */

/* The white space before an entry that stands between brackets: what a new one gets, too. */
static struct bytes space_before(const struct edit *edit, const struct sops_node *node)
{
	size_t at = node->begin;

	while (at > 0 && is_white_space(edit->document->text.data[at - 1]))
		at--;
	return part(edit, at, node->begin);
}

static enum err insert_in_flow(struct edit *edit, uint32_t container, const struct sops_step *step,
                               json_t *value)
{
	const struct sops_node *node = node_at(edit, container);
	uint32_t last = child_before(edit, container, (uint32_t)edit->document->count);
	size_t at = last == SOPS_NONE ? node->start + 1 : node_at(edit, last)->end;
	struct sops_node place = {
		.kind = SOPS_STRING, .in_flow = true, .quoted = true, .start = at, .end = at
	};
	enum err err = buf_put(edit->out, part(edit, 0, at));

	if (!err && last != SOPS_NONE)
		err = buf_put_u8(edit->out, ',');
	if (!err && last != SOPS_NONE)
		err = buf_put(edit->out, space_before(edit, node_at(edit, last)));
	if (!err && node->kind == SOPS_MAP)
		err = put_key(edit, &place, step->key);
	if (!err && node->kind == SOPS_MAP)
		err = buf_put_u8(edit->out, ' ');
	if (!err)
		err = put_value(edit, &place, value);
	return err ? err : buf_put(edit->out, part(edit, at, edit->document->text.len));
}

/* The maps that the steps from first on name, each deeper than the one before, and the value. column: of the first. */
static enum err put_nested(struct edit *edit, size_t first, uint32_t column, size_t at)
{
	const uint8_t *text = edit->document->text.data;
	struct sops_node place = { .kind = SOPS_STRING, .start = at, .end = at };
	enum err err = OK;

	for (size_t i = first; !err && i < edit->path->count; i++) {
		const struct sops_step *step = &edit->path->steps[i];

		place.column = column;
		place.key = step->key;
		if (!step->key.data)
			return complain(edit, ERR_NO_MATCH, "a list cannot be made this way");
		err = put_key(edit, &place, step->key);
		if (err || i + 1 == edit->path->count)
			break;
		column += NEW_INDENT;
		err = buf_printf(edit->out, "\n%*s", (int)column, "");
	}
	/* Several lines as a block need a line end behind them, which is looked for in the text. */
	place.quoted = at == 0 || text[at - 1] != '\n';
	place.end = at ? at - 1 : 0;
	if (!err)
		err = buf_put_u8(edit->out, ' ');
	return err ? err : put_value(edit, &place, edit->value);
}

/* Behind the comments that are indented deeper than the entries at column: they end what stands before, and would be about a new entry's value if that stood before them. */
static size_t behind_deeper_comments(const struct edit *edit, size_t at, uint32_t column)
{
	struct bytes text = edit->document->text;

	for (size_t line = at; line < text.len; line = line_next(edit, line)) {
		size_t first = line;

		while (first < text.len && text.data[first] == ' ')
			first++;
		if (first < text.len && text.data[first] == '#' && first - line > column)
			at = line_next(edit, line);
		else if (first < text.len && text.data[first] != '\n' && text.data[first] != '\r')
			break;
	}
	return at;
}

static enum err insert_in_block(struct edit *edit, uint32_t container, size_t step)
{
	const struct sops_node *node = node_at(edit, container);
	uint32_t last = child_before(edit, container, (uint32_t)edit->document->count);
	const struct sops_node *beside = node_at(edit, last);
	size_t start = entry_start(edit, beside);
	uint32_t column = (uint32_t)(start - line_start(edit, start));
	size_t at = behind_deeper_comments(edit, line_next(edit, beside->end), column);
	bool ends = at > 0 && edit->document->text.data[at - 1] == '\n';
	struct sops_node place = { .kind = SOPS_STRING, .quoted = true, .start = at, .end = at };
	enum err err = buf_put(edit->out, part(edit, 0, at));

	if (!err && !ends)
		err = buf_put_u8(edit->out, '\n');
	if (!err && column)
		err = buf_printf(edit->out, "%*s", (int)column, "");
	if (!err && node->kind == SOPS_LIST)
		err = buf_put_string(edit->out, "- ");
	if (!err && node->kind == SOPS_LIST && step + 1 == edit->path->count)
		err = put_value(edit, &place, edit->value);
	else if (!err && node->kind == SOPS_LIST)
		err = put_nested(edit, step + 1, column + 2, at);
	else if (!err)
		err = put_nested(edit, step, column, at);
	if (!err && ends)
		err = buf_put_u8(edit->out, '\n');
	return err ? err : buf_put(edit->out, part(edit, at, edit->document->text.len));
}

static enum err put_line(struct edit *edit, size_t at, const struct sops_step *section,
                         const struct sops_step *key)
{
	struct sops_node place = { .kind = SOPS_STRING, .start = at, .end = at };
	bool starts = at == 0 || edit->document->text.data[at - 1] == '\n';
	enum err err = buf_put(edit->out, part(edit, 0, at));

	if (!err && !starts)
		err = buf_put_u8(edit->out, '\n');
	if (!err && section)
		err = buf_printf(edit->out, "%s[%.*s]\n", at ? "\n" : "", (int)section->key.len,
		                 (const char *)section->key.data);
	if (!err)
		err = put_key(edit, &place, key->key);
	if (!err)
		err = put_value(edit, &place, edit->value);
	if (!err)
		err = buf_put_u8(edit->out, '\n');
	return err ? err : buf_put(edit->out, part(edit, at, edit->document->text.len));
}

/* A line of dotenv or INI; depth: how many steps are there already. */
static enum err insert_line(struct edit *edit, uint32_t container, size_t depth)
{
	const struct sops_step *steps = edit->path->steps;
	size_t count = edit->path->count, wanted = edit->document->format == SOPS_INI ? 2 : 1;

	for (size_t i = 0; i < count; i++)
		if (!steps[i].key.data)
			return complain(edit, ERR_NO_MATCH, "there is no list in this format");
	if (count != wanted)
		return complain(edit, ERR_NO_MATCH,
		                wanted == 2 ? "in an INI file a path is a section and a key"
		                            : "in a dotenv file a path is one key");
	if (wanted == 1 || depth == 0)
		return put_line(edit, edit->document->text.len, wanted == 2 ? &steps[0] : NULL,
		                &steps[count - 1]);
	return put_line(edit, line_next(edit, entry_end(edit, container)), NULL, &steps[1]);
}

static uint32_t children_of(const struct edit *edit, uint32_t container)
{
	uint32_t count = 0;

	for (uint32_t i = next_child(edit, container, container); i != SOPS_NONE;
	     i = next_child(edit, container, i))
		count++;
	return count;
}

/* What the path leads to is not there: the step at depth is the first that leads nowhere, in container. */
static enum err insert(struct edit *edit, uint32_t container, size_t depth)
{
	const struct sops_node *node = node_at(edit, container);
	const struct sops_step *step = &edit->path->steps[depth];
	CLEANUP(json_decrefp) json_t *value = NULL;
	enum err err;

	if (node->kind != SOPS_MAP && node->kind != SOPS_LIST)
		return complain(edit, ERR_NO_MATCH,
		                "the path leads through what is neither a map nor a list");
	if (node->kind == SOPS_LIST && (!step->is_number || step->number != children_of(edit, container)))
		return complain(edit, ERR_NO_MATCH, "the list there is shorter; it grows at its end only");
	if (node->kind == SOPS_MAP && !step->key.data)
		return complain(edit, ERR_NO_MATCH, "there is a map where the path has a place in a list");
	if (sops_format_is_flat(edit->document->format))
		return insert_line(edit, container, depth);
	if (!is_flow(edit, container))
		return insert_in_block(edit, container, depth);
	err = wrap(edit, depth + 1, &value);
	return err ? err : insert_in_flow(edit, container, step, value);
}

enum err sops_edit_put(struct sops_document *document, const struct sops_path *path, json_t *value,
                       struct buf *out)
{
	struct edit edit = { document, path, value, out };
	uint32_t index;
	size_t depth = path->count;
	enum err err;

	while ((err = sops_path_find(document, path, depth, &index)) == ERR_NO_MATCH && depth > 0)
		depth--;
	if (err)
		return complain(&edit, err, "there is no map in it");
	if (depth == path->count && is_there_twice(&edit, index))
		return complain(&edit, ERR_UNSUPPORTED, THERE_TWICE);
	return depth == path->count ? replace(&edit, index) : insert(&edit, index, depth);
}

/* Taking out */

static enum err cut(struct edit *edit, size_t start, size_t end, const char *instead)
{
	enum err err = buf_put(edit->out, part(edit, 0, start));

	if (!err)
		err = buf_put_string(edit->out, instead);
	return err ? err : buf_put(edit->out, part(edit, end, edit->document->text.len));
}

static enum err cut_in_flow(struct edit *edit, uint32_t index, uint32_t before, uint32_t after)
{
	const struct sops_node *node = node_at(edit, index);

	if (after != SOPS_NONE)
		return cut(edit, node->begin, node_at(edit, after)->begin, "");
	return cut(edit, before == SOPS_NONE ? node->begin : node_at(edit, before)->end, node->end, "");
}

static bool is_inside(const struct edit *edit, uint32_t index, uint32_t container)
{
	while (index != SOPS_NONE && index != container)
		index = node_at(edit, index)->parent;
	return index == container;
}

/* Where an entry ends with the comments that are in it: they may stand below its last value. */
static size_t whole_end(const struct edit *edit, uint32_t index)
{
	size_t end = node_at(edit, index)->end;
	struct sops_comments comments;

	sops_comments_init(&comments, edit->document);
	for (uint32_t i = index + 1; i < edit->document->count; i++) {
		bool comment = node_at(edit, i)->kind == SOPS_COMMENT;

		if (!is_inside(edit, comment ? sops_comment_owner(&comments, i) : i, index))
			break;
		if (comment && node_at(edit, i)->end > end)
			end = node_at(edit, i)->end;
	}
	return end;
}

static bool begins_line(const struct edit *edit, size_t at)
{
	size_t start = line_start(edit, at);

	while (start < at && is_white_space(edit->document->text.data[start]))
		start++;
	return start == at;
}

/* Where what is in a container begins: with the comments above its first entry. */
static size_t inside_start(const struct edit *edit, uint32_t container)
{
	const struct sops_node *node = node_at(edit, container);
	size_t start = node->start;

	for (uint32_t i = container; node->key.data && i-- > 0;) {
		const struct sops_node *comment = node_at(edit, i);

		/* That begins at its mark. */
		if (comment->kind != SOPS_COMMENT || comment->start <= node->begin ||
		    !begins_line(edit, comment->start - 1))
			break;
		start = comment->start - 1;
	}
	return start;
}

/* A container that is left with nothing is written between brackets, behind its key; what was said in it of what it had goes, as it does with sops. */
static enum err empty(struct edit *edit, uint32_t container)
{
	const uint8_t *text = edit->document->text.data;
	const char *brackets = node_at(edit, container)->kind == SOPS_MAP ? "{}" : "[]";
	size_t start = inside_start(edit, container), at = start;
	char instead[8];

	while (at > 0 && is_white_space(text[at - 1]))
		at--;
	if (node_at(edit, container)->key.data && at > 0 && text[at - 1] == ':')
		start = at;
	(void)snprintf(instead, sizeof(instead), "%s%s", start == at && start > 0 ? " " : "", brackets);
	return cut(edit, start, whole_end(edit, container), instead);
}

/* Lines of comments, as far in as the line at which. */
static enum err put_comments(struct edit *edit, size_t from, size_t to, size_t line)
{
	const uint8_t *text = edit->document->text.data;
	size_t indent = line;
	enum err err = OK;

	while (indent < edit->document->text.len && text[indent] == ' ')
		indent++;
	while (!err && from < to) {
		size_t next = line_next(edit, from), first = from;

		while (first < next && is_white_space(text[first]) && text[first] != '\n' &&
		       text[first] != '\r')
			first++;
		if (first < next && text[first] == '#')
			err = buf_put(edit->out, part(edit, line, indent));
		if (!err)
			err = buf_put(edit->out, part(edit, first, next));
		from = next;
	}
	return err;
}

/* The first entry in a list's element, on the line of the dash: it makes room for its neighbour, whose comments go above the dash. */
static enum err cut_behind_dash(struct edit *edit, size_t start, size_t end, size_t after)
{
	size_t line = line_start(edit, start);
	enum err err = buf_put(edit->out, part(edit, 0, line));

	if (!err)
		err = put_comments(edit, line_next(edit, end), line_start(edit, after), line);
	if (!err)
		err = buf_put(edit->out, part(edit, line, start));
	return err ? err : buf_put(edit->out, part(edit, after, edit->document->text.len));
}

static enum err cut_in_block(struct edit *edit, uint32_t index, uint32_t before, uint32_t after)
{
	size_t start = entry_start(edit, node_at(edit, index)), end = whole_end(edit, index);

	if (before == SOPS_NONE && after == SOPS_NONE)
		return empty(edit, node_at(edit, index)->parent);
	if (!begins_line(edit, start) && after != SOPS_NONE)
		return cut_behind_dash(edit, start, end, entry_start(edit, node_at(edit, after)));
	return cut(edit, line_start(edit, start), line_next(edit, end), "");
}

enum err sops_edit_remove(struct sops_document *document, const struct sops_path *path, struct buf *out)
{
	struct edit edit = { document, path, NULL, out };
	uint32_t index, before, after, parent;
	enum err err = sops_path_find(document, path, path->count, &index);

	if (err)
		return complain(&edit, err, "there is no such value in it");
	if (is_there_twice(&edit, index))
		return complain(&edit, ERR_UNSUPPORTED, THERE_TWICE);
	parent = node_at(&edit, index)->parent;
	before = child_before(&edit, parent, index);
	after = next_child(&edit, parent, index);
	if (node_at(&edit, parent)->parent == SOPS_NONE && before == SOPS_NONE && after == SOPS_NONE)
		return complain(&edit, ERR_UNSUPPORTED, SOPS_EDIT_LAST);
	if (sops_format_is_flat(document->format))
		return cut(&edit, line_start(&edit, node_at(&edit, index)->begin),
		           line_next(&edit, entry_end(&edit, index)), "");
	return is_flow(&edit, parent) ? cut_in_flow(&edit, index, before, after)
	                              : cut_in_block(&edit, index, before, after);
}
