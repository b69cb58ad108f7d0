/*
 * JSON as sops reads it (Go's encoding/json): an object at the top, strict syntax, escapes of lone surrogates and bytes that are no UTF-8 become U+FFFD. Numbers
 * keep their text's meaning: an integer that fits 64 bits, else a double.
 */
#include <errno.h>
#include <stdlib.h>

#include "formats/sops_document.h"
#include "formats/sops_number.h"
#include "formats/sops_text.h"
#include "formats/text.h"

struct json_frame {
	uint32_t node;
	uint32_t position; /* of the next element of a list */
	size_t begin; /* of the current member, its key included */
	size_t before; /* where what precedes it ends */
};

struct json_reader {
	struct sops_document *document;
	struct bytes text;
	size_t at;
	struct json_frame stack[SOPS_DEPTH_MAX];
	size_t depth;
	struct bytes key; /* of the next value, in an object */
	bool opened; /* a bracket was the last thing read */
};

static enum err refuse(struct json_reader *reader, const char *what)
{
	return sops_document_refuse(reader->document, reader->at, what);
}

static int peek(struct json_reader *reader)
{
	while (reader->at < reader->text.len && memchr(" \t\r\n", reader->text.data[reader->at], 4))
		reader->at++;
	return reader->at < reader->text.len ? reader->text.data[reader->at] : -1;
}

static bool hex4(struct json_reader *reader, uint32_t *ret_unit)
{
	*ret_unit = 0;
	if (reader->text.len - reader->at < 4)
		return false;
	for (size_t i = 0; i < 4; i++) {
		uint8_t c = reader->text.data[reader->at++];
		uint32_t letter = (c | 0x20U) - 'a' + 10U;
		uint32_t digit = c >= '0' && c <= '9' ? (uint32_t)c - '0' : letter;

		if (digit > 15 || (c > '9' && digit < 10))
			return false;
		*ret_unit = *ret_unit << 4 | digit;
	}
	return true;
}

static bool read_unicode(struct json_reader *reader, uint32_t *ret_character)
{
	uint32_t low;
	size_t back;

	if (!hex4(reader, ret_character))
		return false;
	if (*ret_character < 0xd800 || *ret_character > 0xdfff)
		return true;
	back = reader->at;
	if (*ret_character < 0xdc00 && reader->text.len - back >= 6 && reader->text.data[back] == '\\' &&
	    reader->text.data[back + 1] == 'u') {
		reader->at += 2;
		if (!hex4(reader, &low))
			return false;
		if (low >= 0xdc00 && low <= 0xdfff) {
			*ret_character = 0x10000 + ((*ret_character - 0xd800) << 10) + (low - 0xdc00);
			return true;
		}
		reader->at = back;
	}
	*ret_character = 0xfffd;
	return true;
}

/* What a backslash and a letter stand for; the backslash was read. */
static bool read_escape(struct json_reader *reader, uint32_t *ret_character)
{
	static const char letters[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
	uint8_t letter = reader->at < reader->text.len ? reader->text.data[reader->at++] : 0;
	const char *found = letter ? strchr(letters, letter) : NULL;

	if (letter == 'u')
		return read_unicode(reader, ret_character);
	if (found)
		*ret_character = (uint8_t)meanings[found - letters];
	return found != NULL;
}

static bool read_character(struct json_reader *reader, uint32_t *ret_character)
{
	uint8_t c = reader->text.data[reader->at];

	if (c == '\\') {
		reader->at++;
		return read_escape(reader, ret_character);
	}
	if (c < 0x20)
		return false;
	reader->at += sops_text_character(
	        bytes_of(reader->text.data + reader->at, reader->text.len - reader->at), ret_character);
	return true;
}

/* The length up to the closing quote, and whether the text stands for itself. */
static size_t measure(const struct json_reader *reader, bool *ret_plain)
{
	size_t at = reader->at;

	*ret_plain = true;
	while (at < reader->text.len && reader->text.data[at] != '"') {
		uint8_t c = reader->text.data[at];

		if (c == '\\' || c >= 0x80 || c < 0x20)
			*ret_plain = false;
		at += c == '\\' ? 2 : 1;
	}
	return at - reader->at;
}

static enum err read_string(struct json_reader *reader, struct bytes *ret_text)
{
	bool plain;
	size_t len, used = 0;
	uint8_t *space;

	reader->at++;
	len = measure(reader, &plain);
	if (reader->at + len >= reader->text.len)
		return refuse(reader, "the file ends inside a string");
	if (plain) {
		*ret_text = bytes_of(reader->text.data + reader->at, len);
		reader->at += len + 1;
		return OK;
	}
	space = sops_document_space(reader->document, 3 * len); /* a bad byte becomes three */
	if (!space)
		return ERR_NOMEM;
	while (reader->text.data[reader->at] != '"') {
		uint32_t character;

		if (!read_character(reader, &character) || reader->at >= reader->text.len)
			return refuse(reader, "this is no JSON string");
		used += sops_text_encode(character, space + used);
	}
	reader->at++;
	*ret_text = bytes_of(space, used);
	return OK;
}

static bool digits(const struct bytes text, size_t *at)
{
	size_t begin = *at;

	while (*at < text.len && text.data[*at] >= '0' && text.data[*at] <= '9')
		(*at)++;
	return *at > begin;
}

static bool number_is_json(struct bytes text, bool *ret_integer)
{
	size_t at = text.len && text.data[0] == '-';
	size_t begin = at;

	*ret_integer = true;
	if (!digits(text, &at) || (text.data[begin] == '0' && at > begin + 1))
		return false;
	if (at < text.len && text.data[at] == '.') {
		*ret_integer = false;
		at++;
		if (!digits(text, &at))
			return false;
	}
	if (at < text.len && (text.data[at] | 0x20) == 'e') {
		*ret_integer = false;
		at++;
		if (at < text.len && (text.data[at] == '+' || text.data[at] == '-'))
			at++;
		if (!digits(text, &at))
			return false;
	}
	return at == text.len;
}

static enum err read_number(struct json_reader *reader, struct sops_node *node)
{
	struct bytes text = bytes_of(reader->text.data + node->start, node->end - node->start);
	bool integer;
	double number;
	uint8_t *space;

	if (!number_is_json(text, &integer))
		return refuse(reader, "this is no JSON value");
	if (integer && sops_text_integer(reader->document, text, 10, &node->text) == OK) {
		node->kind = SOPS_INTEGER;
		return OK;
	}
	space = sops_document_space(reader->document, SOPS_NUMBER_MAX);
	if (!space)
		return ERR_NOMEM;
	if (sops_number_read(text, &number))
		return refuse(reader, "this number is too large");
	node->kind = SOPS_FLOAT;
	node->text = bytes_of(space, sops_number_write(number, SOPS_NUMBER_PLAIN, (char *)space));
	return OK;
}

static enum err read_word(struct json_reader *reader, struct sops_node *node)
{
	struct bytes word;

	while (reader->at < reader->text.len && !memchr(",]} \t\r\n\":[{", reader->text.data[reader->at], 11))
		reader->at++;
	node->end = reader->at;
	word = bytes_of(reader->text.data + node->start, node->end - node->start);
	node->kind = SOPS_BOOLEAN;
	if (bytes_equal(word, bytes_of_string("true")))
		node->text = bytes_of_string("True");
	else if (bytes_equal(word, bytes_of_string("false")))
		node->text = bytes_of_string("False");
	else if (bytes_equal(word, bytes_of_string("null")))
		node->kind = SOPS_NULL;
	else
		return read_number(reader, node);
	return OK;
}

static struct json_frame *top(struct json_reader *reader)
{
	return &reader->stack[reader->depth - 1];
}

static bool in_map(struct json_reader *reader)
{
	return reader->depth > 0 && reader->document->nodes[top(reader)->node].kind == SOPS_MAP;
}

static enum err push(struct json_reader *reader, struct sops_node *node)
{
	struct json_frame frame = { 0, 0, 0, ++reader->at };
	enum err err;

	if (reader->depth == SOPS_DEPTH_MAX)
		return refuse(reader, "it is nested too deeply");
	err = sops_document_add(reader->document, node, &frame.node);
	if (!err)
		reader->stack[reader->depth++] = frame;
	reader->opened = true;
	return err;
}

static void pop(struct json_reader *reader)
{
	reader->document->nodes[top(reader)->node].end = reader->at;
	reader->depth--;
}

/* A value begins here; key and parent are known. */
static enum err read_value(struct json_reader *reader)
{
	struct sops_node node = { .parent = SOPS_NONE, .key = reader->key };
	int c = peek(reader);
	uint32_t index;
	enum err err;

	if (reader->depth) {
		node.parent = top(reader)->node;
		node.position = top(reader)->position;
	}
	node.start = node.end = reader->at;
	node.begin = reader->key.data ? top(reader)->begin : node.start;
	reader->key = bytes_of(NULL, 0);
	node.kind = c == '{' ? SOPS_MAP : c == '[' ? SOPS_LIST : SOPS_STRING;
	if (reader->depth && (c == '{' || c == '['))
		top(reader)->position++;
	if (c == '{' || c == '[')
		return push(reader, &node);
	if (c == -1)
		return refuse(reader, "the file ends too early");
	node.quoted = c == '"';
	err = node.quoted ? read_string(reader, &node.text) : read_word(reader, &node);
	if (!err && reader->depth && !node.key.data)
		top(reader)->position += !sops_node_is_comment(&node);
	node.end = reader->at;
	return err ? err : sops_document_add(reader->document, &node, &index);
}

static enum err read_key(struct json_reader *reader)
{
	enum err err;

	if (peek(reader) != '"')
		return refuse(reader, "a key is missing");
	top(reader)->begin = reader->at;
	err = read_string(reader, &reader->key);
	if (err)
		return err;
	if (peek(reader) != ':')
		return refuse(reader, "a colon is missing");
	reader->at++;
	return OK;
}

/* After a member: the metadata is cut out together with the comma before it, or, when it comes first, the one after it. */
static enum err end_member(struct json_reader *reader, int next)
{
	struct json_frame *frame = top(reader);
	struct sops_document *document = reader->document;
	size_t end = reader->at;
	uint32_t last = (uint32_t)document->count - 1;

	while (document->nodes[last].parent != SOPS_NONE && document->nodes[last].parent != frame->node)
		last = document->nodes[last].parent;
	if (reader->depth != 1 || !document->nodes[last].metadata)
		return OK;
	if (frame->before > 1 && document->text.data[frame->before - 1] == ',')
		return sops_document_cut(document, frame->before - 1, end);
	return sops_document_cut(document, frame->begin, next == ',' ? end + 1 : end);
}

/* After a value: what closes, or a comma before the next. */
static enum err read_separator(struct json_reader *reader)
{
	bool map = in_map(reader);
	size_t end = reader->at;
	int c = peek(reader);
	enum err err = OK;

	if (c != ',' && c != (map ? '}' : ']'))
		return refuse(reader, c == -1 ? "the file ends too early" : "a comma or bracket is missing");
	if (map && c != ',')
		reader->at = end;
	if (map)
		err = end_member(reader, c);
	(void)peek(reader);
	reader->at++;
	top(reader)->before = reader->at;
	if (c != ',')
		pop(reader);
	else if (!err && map)
		err = read_key(reader);
	if (!err && c == ',')
		return read_value(reader);
	return err;
}

/* A container was just opened: its end, or its first member. */
static enum err read_opened(struct json_reader *reader)
{
	bool map = in_map(reader);
	int c = peek(reader);
	enum err err = OK;

	reader->opened = false;
	if (c == (map ? '}' : ']')) {
		reader->at++;
		pop(reader);
		return OK;
	}
	if (map)
		err = read_key(reader);
	return err ? err : read_value(reader);
}

enum err sops_json_read(struct sops_document *document)
{
	struct json_reader reader = { .document = document, .text = document->text };
	enum err err;

	if (peek(&reader) != '{')
		return refuse(&reader, "there is no JSON object");
	err = read_value(&reader);
	while (!err && reader.depth)
		err = reader.opened ? read_opened(&reader) : read_separator(&reader);
	if (!err && peek(&reader) != -1)
		return refuse(&reader, "something follows the JSON object");
	return err;
}
