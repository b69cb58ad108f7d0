/*
 * YAML as sops reads it (go-yaml): documents whose top is a map, keys that are strings, no aliases (sops writes none, and what they stand for would be hashed as often as
 * they stand). libfyaml gives events with byte positions; comments, which it does not give, stand in the gaps between them.
 */
#include "common/encoding.h"
#include "formats/sops_document.h"
#include "formats/sops_text.h"
#include "formats/text.h"
#include "formats/yaml_library.h"

struct yaml_frame {
	uint32_t node;
	uint32_t position; /* of the next element of a list */
	bool flow;
	bool has_key; /* in a map: the next scalar is a value */
	struct bytes key;
	uint32_t key_column;
	size_t key_start;
	size_t last_end; /* of what was read last in it */
};

struct yaml_reader {
	const struct yaml_library *library;
	struct sops_document *document;
	struct yaml_frame stack[SOPS_DEPTH_MAX];
	size_t depth;
	size_t cursor; /* everything before was read */
	size_t metadata; /* where the key sops of this document begins; SIZE_MAX: it did not yet, or is over */
	size_t before_metadata; /* flow: where what precedes it ends */
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
	if (reader->depth == 0)
		return node->kind == SOPS_MAP ? OK : refuse(reader, "a document is no map");
	frame = top(reader);
	node->parent = frame->node;
	node->in_flow = frame->flow;
	if (reader->document->nodes[frame->node].kind == SOPS_LIST) {
		node->position = frame->position++;
		return OK;
	}
	if (!frame->has_key)
		return refuse(reader, "a key is no string");
	node->key = frame->key;
	node->column = frame->key_column;
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

static enum err begin_container(struct yaml_reader *reader, struct fy_event *event, enum sops_kind kind)
{
	const struct fy_mark *mark = reader->library->fy_event_start_mark(event);
	struct sops_node node = { .kind = kind };
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
	return err;
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
	}
	return OK;
}

static bool is_key(struct yaml_reader *reader)
{
	return reader->depth && reader->document->nodes[top(reader)->node].kind == SOPS_MAP &&
	       !top(reader)->has_key;
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
		err = pass_gap(reader, node->start);
		reader->cursor = node->end;
	}
	if (!err)
		err = copy_text(reader, token, &node->text);
	if (!err)
		err = apply_tag(reader, tag, node);
	if (!err && !node->quoted)
		err = sops_text_resolve(reader->document, node->text, node);
	return err == ERR_BUSY ? refuse(reader, "an integer is too large") : err;
}

static enum err take_scalar(struct yaml_reader *reader, struct fy_token *token, struct fy_token *tag)
{
	const struct fy_mark *start = reader->library->fy_token_start_mark(token);
	struct sops_node node = { .kind = SOPS_STRING };
	uint32_t index, column = start ? (uint32_t)start->column : 0;
	enum err err = read_scalar(reader, token, tag, &node);

	if (err)
		return err;
	if (is_key(reader))
		return take_key(reader, &node, column);
	if (reader->depth == 0)
		return node.kind == SOPS_NULL ? OK : refuse(reader, "a document is no map");
	node.column = column;
	err = place(reader, &node);
	if (!err)
		err = sops_document_add(reader->document, &node, &index);
	return err ? err : after_value(reader);
}

/* What the library left unread would go into the output without anybody having looked at it. */
static enum err check_end(struct yaml_reader *reader, struct fy_event *event)
{
	const struct fy_mark *mark = reader->library->fy_event_start_mark(event);

	return mark && mark->input_pos == reader->document->text.len ? OK : refuse(reader, "this is no YAML");
}

static enum err take_event(struct yaml_reader *reader, struct fy_event *event)
{
	switch (event->type) {
	case FYET_MAPPING_START:
		return begin_container(reader, event, SOPS_MAP);
	case FYET_SEQUENCE_START:
		return begin_container(reader, event, SOPS_LIST);
	case FYET_MAPPING_END:
	case FYET_SEQUENCE_END:
		return end_container(reader, event);
	case FYET_SCALAR:
		return take_scalar(reader, event->scalar.value, event->scalar.tag);
	case FYET_ALIAS:
		return refuse(reader, "aliases are not read");
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
		return refuse(reader, "this is no YAML");
	return err ? err : pass_gap(reader, reader->document->text.len);
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
	enum err err = yaml_library_load(&reader.library);

	if (err)
		return err;
	if (document->text.len &&
	    memchr(document->text.data, '\0', document->text.len)) /* its end, for the library */
		return refuse(&reader, "there is a NUL byte in it");
	/* libfyaml 0.7.12 never comes back from a directive that is not. */
	if (!sops_text_is_utf8(document->text))
		return refuse(&reader, "it is not UTF-8");
	settings.diag = silence(reader.library);
	parser = settings.diag ? reader.library->fy_parser_create(&settings) : NULL;
	err = parser ? OK : ERR_NOMEM;
	if (!err && reader.library->fy_parser_set_string(parser, (const char *)document->text.data,
	                                                 document->text.len))
		err = ERR_NOMEM;
	if (!err)
		err = read_events(&reader, parser);
	if (parser)
		reader.library->fy_parser_destroy(parser);
	if (settings.diag)
		reader.library->fy_diag_destroy(settings.diag);
	return err;
}
