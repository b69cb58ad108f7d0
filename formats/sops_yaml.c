/*
 * YAML as sops reads it (go-yaml): documents whose top is a map, keys that are strings, and aliases only where they are asked for (sops writes none, and what they stand for would be hashed as often as
 * they stand; sops_expand.h writes them out). libfyaml gives events with byte positions; comments, which it does not give, stand in the gaps between them.
 */
#include <stdlib.h>

#include "common/encoding.h"
#include "formats/sops_document.h"
#include "formats/sops_scalar.h"
#include "formats/sops_text.h"
#include "formats/text.h"
#include "formats/yaml_library.h"

struct yaml_frame {
	uint32_t node;
	uint32_t position; /* of the next element of a list */
	bool flow;
	bool has_key; /* in a map: the next scalar is a value */
	bool has_others; /* a document's map: keys beside sops */
	struct bytes key;
	uint32_t key_column;
	size_t key_start;
	size_t last_end; /* of what was read last in it */
};

#define ANCHORS_MAX 1024U
#define UNCLOSED_MAX 50000U /* brackets */
#define EMPTY_LINES_FEW 16U /* in a row, with white space between */
#define EMPTY_LINES_COST_MAX \
	((size_t)1           \
	 << 26) /* lines in a row times bytes of them, summed up: 8192 in one row; a fifth of a second */

struct yaml_anchor {
	struct bytes name;
	uint32_t node; /* SOPS_NONE: a key */
	struct bytes key;
};

struct yaml_reader {
	const struct yaml_library *library;
	struct sops_document *document;
	struct yaml_frame stack[SOPS_DEPTH_MAX];
	size_t depth;
	size_t cursor; /* everything before was read */
	size_t metadata; /* where the key sops of this document begins; SIZE_MAX: it did not yet, or is over */
	size_t before_metadata; /* flow: where what precedes it ends */
	struct yaml_anchor *anchors; /* owned; only where aliases are kept */
	size_t anchor_count;
};

static enum err refuse(struct yaml_reader *reader, const char *what)
{
	return sops_document_refuse(reader->document, reader->cursor, what);
}

static struct yaml_frame *top(struct yaml_reader *reader)
{
	return &reader->stack[reader->depth - 1];
}

static enum err add_comment(struct yaml_reader *reader, size_t start, size_t end)
{
	struct sops_node node = { .kind = SOPS_COMMENT, .parent = SOPS_NONE, .start = start + 1, .end = end };
	uint32_t index;

	if (reader->depth)
		node.parent = top(reader)->node;
	if (end > start + 1 && reader->document->text.data[end - 1] == '\r')
		node.end--;
	node.text = bytes_of(reader->document->text.data + node.start, node.end - node.start);
	return sops_document_add(reader->document, &node, &index);
}

/* Comments between what was read and position. */
static enum err pass_gap(struct yaml_reader *reader, size_t position)
{
	const uint8_t *text = reader->document->text.data;
	enum err err = OK;

	for (size_t i = reader->cursor; !err && i < position; i++) {
		const uint8_t *end;

		if (text[i] != '#' || (i > 0 && !is_white_space(text[i - 1])))
			continue;
		end = memchr(text + i, '\n', reader->document->text.len - i);
		err = add_comment(reader, i, end ? (size_t)(end - text) : reader->document->text.len);
		i = end ? (size_t)(end - text) : position;
	}
	if (position > reader->cursor)
		reader->cursor = position;
	return err;
}

static size_t line_start(const struct yaml_reader *reader, size_t at)
{
	while (at > 0 && reader->document->text.data[at - 1] != '\n')
		at--;
	return at;
}

static size_t line_next(const struct yaml_reader *reader, size_t at)
{
	const uint8_t *text = reader->document->text.data;
	const uint8_t *end;

	if (at > 0 && text[at - 1] == '\n')
		return at;
	end = at < reader->document->text.len ? memchr(text + at, '\n', reader->document->text.len - at)
	                                      : NULL;
	return end ? (size_t)(end - text) + 1 : reader->document->text.len;
}

/* The value of the key sops is complete: it and its key go, as whole lines or with a comma. */
static enum err end_metadata(struct yaml_reader *reader)
{
	const uint8_t *text = reader->document->text.data;
	size_t start = reader->metadata, end = reader->cursor;

	reader->metadata = SIZE_MAX;
	if (!top(reader)->flow)
		return sops_document_cut(reader->document, line_start(reader, start), line_next(reader, end));
	if (reader->before_metadata)
		return sops_document_cut(reader->document, reader->before_metadata, end);
	while (end < reader->document->text.len && is_white_space(text[end]))
		end++;
	end += end < reader->document->text.len && text[end] == ',';
	return sops_document_cut(reader->document, start, end);
}

/* A value, or a container that begins, takes its place: key or position, and parent. */
static enum err place(struct yaml_reader *reader, struct sops_node *node)
{
	struct yaml_frame *frame;

	node->parent = SOPS_NONE;
	node->begin = node->start;
	if (reader->depth == 0)
		return node->kind == SOPS_MAP ? OK : refuse(reader, "a document is no map");
	frame = top(reader);
	node->parent = frame->node;
	node->in_flow = frame->flow;
	if (reader->document->nodes[frame->node].kind == SOPS_LIST) {
		node->position = frame->position;
		frame->position += !sops_node_is_comment(node);
		return OK;
	}
	if (!frame->has_key)
		return refuse(reader, "a key is no string");
	node->key = frame->key;
	node->column = frame->key_column;
	node->begin = frame->key_start;
	frame->has_key = false;
	return OK;
}

static bool ends_metadata(struct yaml_reader *reader)
{
	return reader->depth == 1 && reader->metadata != SIZE_MAX && !top(reader)->has_key;
}

static enum err after_value(struct yaml_reader *reader)
{
	if (reader->depth == 0)
		return OK;
	top(reader)->last_end = reader->cursor;
	return ends_metadata(reader) ? end_metadata(reader) : OK;
}

static enum err copy_text(struct yaml_reader *reader, struct fy_token *token, struct bytes *ret_text)
{
	size_t len = 0;
	const char *text = reader->library->fy_token_get_text(token, &len);
	uint8_t *space;

	if (!text)
		len = 0;
	space = sops_document_space(reader->document, len + 1);
	if (!space)
		return ERR_NOMEM;
	if (len)
		memcpy(space, text, len);
	*ret_text = bytes_of(space, len);
	return OK;
}

/* The last one of a name counts, as in YAML. */
static const struct yaml_anchor *find_anchor(const struct yaml_reader *reader, struct bytes name)
{
	for (size_t i = reader->anchor_count; i-- > 0;)
		if (bytes_equal(reader->anchors[i].name, name))
			return &reader->anchors[i];
	return NULL;
}

/* key: what it stands for when node is SOPS_NONE. */
static enum err keep_anchor(struct yaml_reader *reader, struct fy_token *anchor, uint32_t node,
                            struct bytes key)
{
	struct bytes name;
	enum err err;

	if (!anchor || !reader->document->keeps_aliases)
		return OK;
	if (!reader->anchors)
		reader->anchors = calloc(ANCHORS_MAX, sizeof(*reader->anchors));
	if (!reader->anchors)
		return ERR_NOMEM;
	if (reader->anchor_count == ANCHORS_MAX)
		return refuse(reader, "there are too many anchors");
	err = copy_text(reader, anchor, &name);
	if (!err)
		reader->anchors[reader->anchor_count++] = (struct yaml_anchor){ name, node, key };
	return err;
}

static enum err begin_container(struct yaml_reader *reader, struct fy_event *event, struct fy_token *anchor,
                                enum sops_kind kind)
{
	const struct fy_mark *mark = reader->library->fy_event_start_mark(event);
	struct sops_node node = { .kind = kind, .start = reader->cursor, .end = reader->cursor };
	struct yaml_frame frame = { .flow = false };
	enum err err;

	if (mark) {
		uint8_t c = mark->input_pos < reader->document->text.len
		                    ? reader->document->text.data[mark->input_pos]
		                    : 0;

		err = pass_gap(reader, mark->input_pos);
		if (err)
			return err;
		frame.flow = c == (kind == SOPS_MAP ? '{' : '[');
		node.start = node.end = mark->input_pos;
		node.column = (uint32_t)mark->column;
		reader->cursor += frame.flow;
	}
	if (reader->depth == SOPS_DEPTH_MAX)
		return refuse(reader, "it is nested too deeply");
	frame.flow |= reader->depth && top(reader)->flow;
	err = place(reader, &node);
	if (!err)
		err = sops_document_add(reader->document, &node, &frame.node);
	if (!err)
		reader->stack[reader->depth++] = frame;
	return err ? err : keep_anchor(reader, anchor, frame.node, bytes_of(NULL, 0));
}

static enum err end_container(struct yaml_reader *reader, struct fy_event *event)
{
	const struct fy_mark *mark = reader->library->fy_event_start_mark(event);
	enum err err = OK;

	/* A block ends where the next thing begins; only a bracket is a place of its own. */
	if (mark && top(reader)->flow && mark->input_pos >= reader->cursor) {
		err = pass_gap(reader, mark->input_pos);
		reader->cursor = mark->input_pos + 1;
	}
	reader->document->nodes[top(reader)->node].end = reader->cursor;
	if (reader->depth == 1 && !top(reader)->flow && !top(reader)->has_others &&
	    reader->document->cut_count)
		reader->document->cuts[reader->document->cut_count - 1].leaves_nothing = true;
	reader->depth--;
	return err ? err : after_value(reader);
}

/* sops sees a string in a key, or refuses the file. */
static enum err take_key(struct yaml_reader *reader, const struct sops_node *node, uint32_t column)
{
	struct yaml_frame *frame = top(reader);

	if (node->kind != SOPS_STRING)
		return refuse(reader, "a key is no string");
	frame->key = node->text;
	if (!frame->key.data)
		frame->key.data = (const uint8_t *)"";
	frame->key_column = column;
	frame->has_key = true;
	frame->key_start = node->start;
	if (reader->depth == 1 && bytes_equal(node->text, bytes_of_string("sops"))) {
		reader->metadata = node->start;
		reader->before_metadata = frame->last_end;
	} else {
		frame->has_others = true;
	}
	return OK;
}

static bool is_key(struct yaml_reader *reader)
{
	return reader->depth && reader->document->nodes[top(reader)->node].kind == SOPS_MAP &&
	       !top(reader)->has_key;
}

/* For go-yaml it is a string of the bytes. */
static enum err decode_binary(struct yaml_reader *reader, struct sops_node *node)
{
	uint8_t *space = sops_document_space(reader->document, node->text.len + 1);
	size_t len;

	if (!space)
		return ERR_NOMEM;
	if (!bytes_are_ascii(node->text) ||
	    base64_decode(node->text, BASE64_PADDED, space, node->text.len + 1, &len))
		return refuse(reader, "this is no base64");
	node->text = bytes_of(space, len);
	node->quoted = true;
	return OK;
}

/* A tag that only says what is seen anyway, or makes a string of it. */
static enum err apply_tag(struct yaml_reader *reader, struct fy_token *tag, struct sops_node *node)
{
	struct bytes text;
	enum err err;

	if (!tag)
		return OK;
	err = copy_text(reader, tag, &text);
	if (err)
		return err;
	if (bytes_equal(text, bytes_of_string("!")) ||
	    bytes_equal(text, bytes_of_string("tag:yaml.org,2002:str")) ||
	    bytes_equal(text,
	                bytes_of_string("tag:yaml.org,2002:merge")) /* so sops writes the string "<<" */) {
		node->quoted = true;
		return OK;
	}
	if (bytes_equal(text, bytes_of_string("tag:yaml.org,2002:binary")))
		return decode_binary(reader, node);
	if (node->kind == SOPS_STRING)
		return refuse(reader, "values with a tag are not read");
	return OK;
}

/* The library's marks of a block are those of its lines, with what is empty behind them: it begins with its | or >, and ends with its last line. */
static void mark_block(const struct yaml_reader *reader, struct sops_node *node)
{
	const uint8_t *text = reader->document->text.data;
	size_t content = node->start, limit = node->end;

	while (node->start > reader->cursor && text[node->start - 1] == '\n')
		node->start--;
	node->end = node->start;
	node->start = line_start(reader, node->start);
	if (node->start < reader->cursor)
		node->start = reader->cursor;
	while (node->start < node->end && text[node->start] != '|' && text[node->start] != '>')
		node->start++;
	while (limit > content && is_white_space(text[limit - 1]))
		limit--;
	while (limit > content && limit < reader->document->text.len && text[limit] != '\n')
		limit++;
	if (limit > content)
		node->end = limit;
	if (node->end > node->start && text[node->end - 1] == '\r')
		node->end--;
}

/* A tag that makes a string of it goes with the value: what is written in its place is one without. */
static void mark_tag(const struct yaml_reader *reader, struct fy_token *tag, struct sops_node *node)
{
	const struct fy_mark *start = tag ? reader->library->fy_token_start_mark(tag) : NULL;

	if (start && start->input_pos >= reader->cursor && start->input_pos < node->start &&
	    reader->document->text.data[start->input_pos] == '!')
		node->start = start->input_pos;
}

/* Not folded: a plain scalar in one line, of characters that are no line end in any version of YAML. To have the library put it together costs as much as to have it found. */
static bool stands_as_written(const struct yaml_reader *reader, const struct fy_mark *start,
                              const struct fy_mark *end)
{
	const uint8_t *text = reader->document->text.data;
	uint8_t farthest = 0; /* from the first printable character: one comparison for both ends */

	for (size_t i = start->input_pos; i < end->input_pos; i++) {
		uint8_t distance = (uint8_t)(text[i] - ' ');

		farthest = distance > farthest ? distance : farthest;
	}
	return farthest <= '~' - ' ';
}

/* Between single quotes, in one line: libfyaml 0.7.12 takes two apostrophes in a row, which are written as four, for three and loses what stands at the end. */
static enum err decode_apostrophes(struct yaml_reader *reader, struct bytes piece, struct bytes *ret_text)
{
	uint8_t *space = sops_document_space(reader->document, piece.len);
	size_t len = 0;

	if (!space)
		return ERR_NOMEM;
	for (size_t i = 0; i < piece.len; i++) {
		space[len++] = piece.data[i];
		i += piece.data[i] == '\'';
	}
	*ret_text = bytes_of(space, len);
	return OK;
}

/* As the library has it, but where that is not what stands there. */
static enum err decode_text(struct yaml_reader *reader, struct fy_token *token, struct bytes *ret_text)
{
	const struct fy_mark *start = reader->library->fy_token_start_mark(token),
	                     *end = reader->library->fy_token_end_mark(token);
	struct bytes piece = { NULL, 0 };

	if (start && end && reader->library->fy_token_scalar_style(token) == FYSS_SINGLE_QUOTED)
		piece = bytes_of(reader->document->text.data + start->input_pos,
		                 end->input_pos - start->input_pos);
	if (!piece.len || !memmem(piece.data, piece.len, "''''", 4))
		return copy_text(reader, token, ret_text);
	if (memchr(piece.data, '\n', piece.len))
		return refuse(reader,
		              "two apostrophes in a row are not read here; write it in double quotes");
	return decode_apostrophes(reader, piece, ret_text);
}

static enum err check_block(struct yaml_reader *reader, struct sops_node *node)
{
	struct sops_document *document = reader->document;
	size_t start = node->start, container;

	if (reader->depth == 0)
		return OK; /* refused anyhow */
	container = document->nodes[top(reader)->node].start; /* its first key or dash */
	while (start < node->end && document->text.data[start] != '|' && document->text.data[start] != '>')
		start++; /* behind a tag */
	if (!sops_scalar_is_as_written(document->text, start, container - line_start(reader, container),
	                               node->text))
		return sops_document_refuse(document, start,
		                            "a block (| or >) that has no lines, or spaces alone, is not "
		                            "read here; write it in double quotes");
	/* For go-yaml the last line of a file has no line end when none stands there. */
	if (node->end == document->text.len && node->text.len && node->text.data[node->text.len - 1] == '\n')
		node->text.len--;
	return OK;
}

static enum err read_scalar(struct yaml_reader *reader, struct fy_token *token, struct fy_token *tag,
                            struct sops_node *node)
{
	const struct yaml_library *library = reader->library;
	const struct fy_mark *start = library->fy_token_start_mark(token),
	                     *end = library->fy_token_end_mark(token);
	enum fy_scalar_style style = library->fy_token_scalar_style(token);
	bool marks = style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED;
	enum err err = OK;

	node->kind = SOPS_STRING;
	node->quoted = style != FYSS_PLAIN;
	node->start = node->end = reader->cursor;
	if (start && end) {
		node->start = start->input_pos - marks;
		node->end = end->input_pos + marks;
		if (style == FYSS_LITERAL || style == FYSS_FOLDED)
			mark_block(reader, node);
		mark_tag(reader, tag, node);
		err = pass_gap(reader, node->start);
		reader->cursor = node->end;
	}
	if (!err && start && end && style == FYSS_PLAIN && stands_as_written(reader, start, end))
		node->text = bytes_of(reader->document->text.data + start->input_pos,
		                      end->input_pos - start->input_pos);
	else if (!err)
		err = decode_text(reader, token, &node->text);
	if (!err && (style == FYSS_LITERAL || style == FYSS_FOLDED))
		err = check_block(reader, node);
	if (!err)
		err = apply_tag(reader, tag, node);
	if (!err && !node->quoted)
		err = sops_text_resolve(reader->document, node->text, node);
	return err == ERR_BUSY ? refuse(reader, "an integer is too large") : err;
}

/* The library's is that of what stands between quotes, or of a block's first line. */
static uint32_t column_of(const struct yaml_reader *reader, const struct sops_node *node,
                          const struct fy_mark *start)
{
	size_t back = start->input_pos - node->start;

	if (node->start < node->end && memchr("|>", reader->document->text.data[node->start], 2))
		return (uint32_t)(node->start - line_start(reader, node->start));
	return (size_t)start->column > back ? (uint32_t)((size_t)start->column - back) : 0;
}

/* A document without a map may be empty. */
static enum err take_nothing(struct yaml_reader *reader, const struct sops_node *node)
{
	bool first = true;

	for (size_t i = 0; first && i < reader->document->count; i++)
		first = reader->document->nodes[i].kind == SOPS_COMMENT;
	reader->document->begins_empty |= first;
	return node->kind == SOPS_NULL ? OK : refuse(reader, "a document is no map");
}

static enum err take_scalar(struct yaml_reader *reader, struct fy_token *token, struct fy_token *tag,
                            struct fy_token *anchor)
{
	const struct fy_mark *start = reader->library->fy_token_start_mark(token);
	struct sops_node node = { .kind = SOPS_STRING };
	uint32_t index, column;
	enum err err = read_scalar(reader, token, tag, &node);

	if (err)
		return err;
	column = start ? column_of(reader, &node, start) : 0;
	if (is_key(reader)) {
		err = keep_anchor(reader, anchor, SOPS_NONE, node.text);
		return err ? err : take_key(reader, &node, column);
	}
	if (reader->depth == 0)
		return take_nothing(reader, &node);
	node.column = column;
	err = place(reader, &node);
	if (!err)
		err = sops_document_add(reader->document, &node, &index);
	if (!err)
		err = keep_anchor(reader, anchor, index, bytes_of(NULL, 0));
	return err ? err : after_value(reader);
}

/* What an alias says in the place of a key: a string, as everywhere else. */
static enum err take_alias_key(struct yaml_reader *reader, const struct yaml_anchor *anchor,
                               struct sops_node *node)
{
	const struct sops_node *target =
	        anchor->node == SOPS_NONE ? NULL : &reader->document->nodes[anchor->node];

	node->kind = target ? target->kind : SOPS_STRING;
	node->text = target ? target->text : anchor->key;
	return take_key(reader, node, node->column);
}

/* The alias of a key is a string, which is all that a key can be. */
static enum err take_alias_value(struct yaml_reader *reader, const struct yaml_anchor *anchor,
                                 struct sops_node *node)
{
	uint32_t index;
	enum err err;

	if (anchor->node == SOPS_NONE) {
		node->kind = SOPS_STRING;
		node->quoted = true;
		node->text = anchor->key;
	}
	node->target = anchor->node;
	err = place(reader, node);
	if (!err)
		err = sops_document_add(reader->document, node, &index);
	return err ? err : after_value(reader);
}

static enum err take_alias(struct yaml_reader *reader, struct fy_token *token)
{
	const struct fy_mark *start = reader->library->fy_token_start_mark(token);
	struct sops_node node = { .kind = SOPS_ALIAS };
	const struct yaml_anchor *anchor;
	enum err err = OK;

	reader->document->met_alias = true;
	if (!reader->document->keeps_aliases)
		return refuse(reader, "aliases are not read");
	if (start && start->input_pos > reader->cursor) /* the library's is that of the name */
		err = pass_gap(reader, start->input_pos - 1);
	node.start = reader->cursor;
	if (!err)
		err = copy_text(reader, token, &node.text);
	if (err)
		return err;
	anchor = find_anchor(reader, node.text);
	if (!anchor || reader->depth == 0)
		return refuse(reader, "this alias stands for nothing");
	reader->cursor += 1 + node.text.len;
	node.end = reader->cursor;
	node.column = (uint32_t)(node.start - line_start(reader, node.start));
	return is_key(reader) ? take_alias_key(reader, anchor, &node)
	                      : take_alias_value(reader, anchor, &node);
}

/* What the library left unread would go into the output without anybody having looked at it. */
static enum err check_end(struct yaml_reader *reader, struct fy_event *event)
{
	const struct fy_mark *mark = reader->library->fy_event_start_mark(event);

	return mark && mark->input_pos == reader->document->text.len
	               ? OK
	               : refuse(reader, "here, or in a line that follows, this is no YAML");
}

static enum err take_event(struct yaml_reader *reader, struct fy_event *event)
{
	switch (event->type) {
	case FYET_MAPPING_START:
		return begin_container(reader, event, event->mapping_start.anchor, SOPS_MAP);
	case FYET_SEQUENCE_START:
		return begin_container(reader, event, event->sequence_start.anchor, SOPS_LIST);
	case FYET_MAPPING_END:
	case FYET_SEQUENCE_END:
		return end_container(reader, event);
	case FYET_SCALAR:
		return take_scalar(reader, event->scalar.value, event->scalar.tag, event->scalar.anchor);
	case FYET_ALIAS:
		return take_alias(reader, event->alias.anchor);
	case FYET_STREAM_END:
		return check_end(reader, event);
	case FYET_NONE:
	case FYET_STREAM_START:
	case FYET_DOCUMENT_START:
	case FYET_DOCUMENT_END:
		break;
	}
	return OK;
}

static enum err read_events(struct yaml_reader *reader, struct fy_parser *parser)
{
	enum err err = OK;
	bool ended = false;
	struct fy_event *event;

	while (!err && (event = reader->library->fy_parser_parse(parser))) {
		ended = event->type == FYET_STREAM_END;
		err = take_event(reader, event);
		reader->library->fy_parser_event_free(parser, event);
	}
	if (!err && !ended)
		return refuse(reader, "here, or in a line that follows, this is no YAML");
	return err ? err : pass_gap(reader, reader->document->text.len);
}

static size_t count_up_to(struct bytes text, char character, size_t limit)
{
	const uint8_t *at = text.data;
	size_t count = 0, left = text.len;

	while (left && count <= limit && (at = memchr(at, character, left))) {
		count++;
		at++;
		left = text.len - (size_t)(at - text.data);
	}
	return count;
}

/* libfyaml reads all brackets that open before it says the first of them: five million took seconds. More than this never close again in no honest file, and far fewer are too deep anyhow; those in
 * texts and comments count as well, for they come to nothing against those that close. */
static bool opens_too_much(struct bytes text)
{
	size_t open = 0;

	if (count_up_to(text, '[', UNCLOSED_MAX) + count_up_to(text, '{', UNCLOSED_MAX) <= UNCLOSED_MAX)
		return false; /* whatever closes */
	for (size_t i = 0; i < text.len && open <= UNCLOSED_MAX; i++) {
		if (text.data[i] == '[' || text.data[i] == '{')
			open++;
		else if (open && (text.data[i] == ']' || text.data[i] == '}'))
			open--;
	}
	return open > UNCLOSED_MAX;
}

static size_t find_line_end(struct bytes text, size_t from)
{
	const uint8_t *at, *feed, *carriage;
	size_t end;

	if (from >= text.len)
		return text.len; /* of nothing there may be no address */
	at = text.data + from;
	feed = memchr(at, '\n', text.len - from);
	end = feed ? (size_t)(feed - text.data) : text.len;
	carriage = memchr(at, '\r', end - from);
	return carriage ? (size_t)(carriage - text.data) : end;
}

/* The white space from at on: where it ends, and how many line ends are in it. */
static size_t pass_white_space(struct bytes text, size_t at, size_t *ret_lines)
{
	*ret_lines = 0;
	for (; at < text.len && is_white_space(text.data[at]); at++)
		*ret_lines += text.data[at] == '\n' || text.data[at] == '\r';
	return at;
}

/* libfyaml 0.7.12 looks at all of a gap between two words for each line end in it, which a hundred thousand empty lines in one value made minutes. Counted is what that costs, over the whole file; few
 * lines are nobody's attack, however often. SIZE_MAX: it is little, else where it became too much. */
static size_t find_too_empty(struct bytes text)
{
	size_t lines, end = 0, cost = 0;

	for (size_t at; (at = find_line_end(text, end)) < text.len;) {
		while (at > end && is_white_space(text.data[at - 1]))
			at--;
		end = pass_white_space(text, at, &lines);
		cost += lines > EMPTY_LINES_FEW ? lines * (end - at) : 0;
		if (cost > EMPTY_LINES_COST_MAX)
			return end;
	}
	return SIZE_MAX;
}

/* The library would say on standard error what it does not like, with the text of the file. */
static struct fy_diag *silence(const struct yaml_library *library)
{
	struct fy_diag_cfg quiet = { .level = FYET_MAX };

	return library->fy_diag_create(&quiet);
}

enum err sops_yaml_read(struct sops_document *document)
{
	struct yaml_reader reader = { .document = document, .metadata = SIZE_MAX };
	/* sops itself writes brackets that close in the first column. */
	struct fy_parse_cfg settings = { .flags = FYPCF_QUIET | FYPCF_SLOPPY_FLOW_INDENTATION };
	struct fy_parser *parser;
	size_t too_empty;
	enum err err = yaml_library_load(&reader.library);

	if (err)
		return err;
	if (document->text.len &&
	    memchr(document->text.data, '\0', document->text.len)) /* its end, for the library */
		return refuse(&reader, "there is a NUL byte in it");
	/* libfyaml 0.7.12 never comes back from a directive that is not. */
	if (!sops_text_is_utf8(document->text))
		return refuse(&reader, "it is not UTF-8");
	if (opens_too_much(document->text))
		return refuse(&reader, "it is nested too deeply");
	too_empty = find_too_empty(document->text);
	if (too_empty != SIZE_MAX)
		return sops_document_refuse(document, too_empty,
		                            "before it are too many empty lines in a row");
	settings.diag = silence(reader.library);
	parser = settings.diag ? reader.library->fy_parser_create(&settings) : NULL;
	err = parser ? OK : ERR_NOMEM;
	if (!err &&
	    reader.library->fy_parser_set_string(
	            parser, document->text.data ? (const char *)document->text.data : "",
	            document->text.len)) /* a text without an address is empty, and no lack of memory */
		err = ERR_NOMEM;
	if (!err)
		err = read_events(&reader, parser);
	if (parser)
		reader.library->fy_parser_destroy(parser);
	if (settings.diag)
		reader.library->fy_diag_destroy(settings.diag);
	free(reader.anchors);
	return err;
}
