/*
 * dotenv and INI, as sops and the library that it uses (gopkg.in/ini.v1) read them. dotenv: KEY=VALUE to the end of the line, nothing quoted, the two characters \n in a value
 * are a line end, and # begins a comment line. INI: sections, ; and # comments, values in three kinds of quotes.
 */
#include "formats/sops_document.h"
#include "formats/sops_text.h"
#include "formats/text.h"

struct line {
	size_t start, end; /* without the line end */
	size_t next;
};

static struct line line_at(struct bytes text, size_t start)
{
	const uint8_t *end = memchr(text.data + start, '\n', text.len - start);
	size_t len = end ? (size_t)(end - text.data) : text.len;

	return (struct line){ start, len, end ? len + 1 : len };
}

static struct bytes part(const struct sops_document *document, size_t start, size_t end)
{
	return bytes_of(document->text.data + start, end - start);
}

/* The two characters \n become a line end. */
static enum err unescape(struct sops_document *document, struct bytes *text)
{
	size_t used = 0;
	uint8_t *space;

	if (!text->len || !memmem(text->data, text->len, "\\n", 2))
		return OK;
	space = sops_document_space(document, text->len);
	if (!space)
		return ERR_NOMEM;
	for (size_t i = 0; i < text->len; i++) {
		bool pair = text->data[i] == '\\' && i + 1 < text->len && text->data[i + 1] == 'n';

		space[used++] = pair ? '\n' : text->data[i];
		i += pair;
	}
	*text = bytes_of(space, used);
	return OK;
}

static enum err read_dotenv_line(struct sops_document *document, const struct line *line)
{
	struct sops_node node = { .kind = SOPS_STRING, .parent = 0, .begin = line->start, .end = line->end };
	const uint8_t *equals;
	uint32_t index;
	enum err err;

	if (document->text.data[line->start] == '#') {
		node.kind = SOPS_COMMENT;
		node.start = line->start + 1;
		node.text = part(document, node.start, node.end);
		return sops_document_add(document, &node, &index);
	}
	equals = memchr(document->text.data + line->start, '=', line->end - line->start);
	if (!equals)
		return sops_document_refuse(document, line->start, "there is no = in this line");
	node.start = (size_t)(equals - document->text.data) + 1;
	node.key = part(document, line->start, node.start - 1);
	node.text = part(document, node.start, node.end);
	err = unescape(document, &node.text);
	if (err)
		return err;
	if (bytes_begin_with(node.key, "sops_")) {
		node.metadata = true;
		node.key = bytes_of(node.key.data + 5, node.key.len - 5);
		err = sops_document_cut(document, line->start, line->next);
	}
	return err ? err : sops_document_add(document, &node, &index);
}

static enum err add_root(struct sops_document *document)
{
	struct sops_node root = { .kind = SOPS_MAP, .parent = SOPS_NONE };
	uint32_t index;

	return sops_document_add(document, &root, &index);
}

enum err sops_dotenv_read(struct sops_document *document)
{
	enum err err = add_root(document);

	for (size_t at = 0; !err && at < document->text.len;) {
		struct line line = line_at(document->text, at);

		if (line.end > line.start)
			err = read_dotenv_line(document, &line);
		at = line.next;
	}
	return err;
}

struct ini_reader {
	struct sops_document *document;
	uint32_t section; /* its node */
	size_t metadata; /* where [sops] began; SIZE_MAX: it did not, or is over */
};

static void trim(const struct sops_document *document, size_t *start, size_t *end)
{
	*start += sops_text_space_before(part(document, *start, *end));
	*end -= sops_text_space_behind(part(document, *start, *end));
}

/* The empty line before a section that ends the file was written with it, by us and by sops. */
static enum err end_metadata(struct ini_reader *reader, size_t at)
{
	const uint8_t *text = reader->document->text.data;
	size_t start = reader->metadata;

	if (start != SIZE_MAX && at == reader->document->text.len && start >= 1 && text[start - 1] == '\n' &&
	    (start == 1 || text[start - 2] == '\n'))
		start--;
	reader->metadata = SIZE_MAX;
	return start == SIZE_MAX ? OK : sops_document_cut(reader->document, start, at);
}

static enum err read_section(struct ini_reader *reader, const struct line *line, size_t start, size_t end)
{
	struct sops_node node = { .kind = SOPS_MAP, .parent = 0, .begin = start, .start = start, .end = end };
	enum err err = end_metadata(reader, line->start);

	while (end > start && reader->document->text.data[end - 1] != ']')
		end--;
	if (end < start + 2)
		return sops_document_refuse(reader->document, start, "this section's name does not end");
	node.key = part(reader->document, start + 1, end - 1);
	if (bytes_equal(node.key, bytes_of_string("sops")))
		reader->metadata = line->start;
	return err ? err : sops_document_add(reader->document, &node, &reader->section);
}

/* Comments may stand before the first section. */
static enum err read_ini_comment(struct ini_reader *reader, size_t start, size_t end)
{
	struct sops_node node = { .kind = SOPS_COMMENT, .parent = reader->section, .end = end };
	uint32_t index;

	while (start < end && strchr(";# ", reader->document->text.data[start]) &&
	       reader->document->text.data[start])
		start++;
	node.start = start;
	node.text = part(reader->document, start, end);
	return sops_document_add(reader->document, &node, &index);
}

/* A key in quotes ends with them, others at the first = or :. ret_after: behind what ends it. */
static enum err read_ini_key(struct sops_document *document, size_t start, size_t end, struct bytes *ret_key,
                             size_t *ret_after)
{
	static const char *const quotes[] = { "\"\"\"", "`", "\"" };
	size_t key_end = start;

	for (size_t i = 0; i < 3; i++) {
		size_t len = strlen(quotes[i]);
		const uint8_t *close;

		if (!bytes_begin_with(part(document, start, end), quotes[i]))
			continue;
		close = memmem(document->text.data + start + len, end - start - len, quotes[i], len);
		if (!close)
			return sops_document_refuse(document, start, "this key's quotes do not end");
		*ret_key = part(document, start + len, (size_t)(close - document->text.data));
		key_end = (size_t)(close - document->text.data) + len;
		break;
	}
	*ret_after = key_end;
	while (*ret_after < end && !memchr("=:", document->text.data[*ret_after], 2))
		(*ret_after)++;
	if (*ret_after == end)
		return sops_document_refuse(document, start, "there is no = in this line");
	if (key_end == start) {
		key_end = *ret_after;
		trim(document, &start, &key_end);
		*ret_key = part(document, start, key_end);
	}
	(*ret_after)++;
	return OK;
}

/* A value in """ or ` goes on to the closing quotes, over lines if need be. */
static enum err read_ini_quoted(struct sops_document *document, const char *quotes, struct sops_node *node,
                                struct line *line)
{
	size_t len = strlen(quotes), begin = node->start + len;
	struct bytes rest = bytes_of(document->text.data + begin, document->text.len - begin);
	const uint8_t *close = rest.len ? memmem(rest.data, rest.len, quotes, len) : NULL;

	if (!close)
		return sops_document_refuse(document, node->start, "this value's quotes do not end");
	node->text = bytes_of(rest.data, (size_t)(close - rest.data));
	node->end = begin + node->text.len + len;
	if (node->end > line->end)
		*line = line_at(document->text, node->end);
	return OK;
}

bool sops_ini_is_in_quotes(struct bytes text)
{
	return text.len >= 2 && (*text.data == '"' || *text.data == '\'') &&
	       memchr(text.data + 1, *text.data, text.len - 1) == text.data + text.len - 1;
}

static enum err read_ini_plain(struct sops_document *document, struct sops_node *node)
{
	const uint8_t *text = document->text.data;

	for (size_t i = node->start; i < node->end; i++)
		if (text[i] == '#' || text[i] == ';')
			node->end = i;
	trim(document, &node->start, &node->end);
	if (node->end > node->start && text[node->end - 1] == '\\')
		return sops_document_refuse(document, node->start,
		                            "values that go on in the next line are not read");
	node->text = part(document, node->start, node->end);
	if (sops_ini_is_in_quotes(node->text))
		node->text = part(document, node->start + 1, node->end - 1);
	return OK;
}

static enum err read_ini_value(struct ini_reader *reader, struct line *line, size_t start, size_t end)
{
	struct sops_document *document = reader->document;
	struct sops_node node = {
		.kind = SOPS_STRING, .parent = reader->section, .begin = start, .end = end
	};
	uint32_t index;
	enum err err = read_ini_key(document, start, end, &node.key, &node.start);

	if (err)
		return err;
	trim(document, &node.start, &node.end);
	if (bytes_begin_with(part(document, node.start, node.end), "\"\"\""))
		err = read_ini_quoted(document, "\"\"\"", &node, line);
	else if (bytes_begin_with(part(document, node.start, node.end), "`"))
		err = read_ini_quoted(document, "`", &node, line);
	else
		err = read_ini_plain(document, &node);
	if (!err && reader->metadata != SIZE_MAX)
		err = unescape(document, &node.text);
	return err ? err : sops_document_add(document, &node, &index);
}

static enum err read_ini_line(struct ini_reader *reader, struct line *line)
{
	size_t start = line->start, end = line->end;

	trim(reader->document, &start, &end);
	if (start == end)
		return OK;
	if (reader->document->text.data[start] == '[')
		return read_section(reader, line, start, end);
	if (reader->document->text.data[start] == ';' || reader->document->text.data[start] == '#')
		return read_ini_comment(reader, start, end);
	return read_ini_value(reader, line, start, end);
}

/* A mark of byte order is nothing to read. */
static size_t begin_of(const struct sops_document *document)
{
	return bytes_begin_with(document->text, "\xef\xbb\xbf") ? 3 : 0;
}

/* Does the file name the section DEFAULT itself, with no key before the first section? */
static bool names_default(const struct sops_document *document)
{
	bool any = false; /* section yet */

	for (size_t at = begin_of(document); at < document->text.len;) {
		struct line line = line_at(document->text, at);
		size_t start = line.start, end = line.end;
		struct bytes text;

		trim(document, &start, &end);
		text = part(document, start, end);
		if (bytes_begin_with(text, "[DEFAULT]"))
			return true;
		any = any || bytes_begin_with(text, "[");
		if (!any && text.len && !memchr(";#", *text.data, 2))
			return false;
		at = line.next;
	}
	return false;
}

/* What stands before the first section is in one that is called DEFAULT; when the file names that itself, it is the same. */
enum err sops_ini_read(struct sops_document *document)
{
	struct sops_node first = { .kind = SOPS_MAP, .parent = 0, .key = bytes_of_string("DEFAULT") };
	struct ini_reader reader = { .document = document, .metadata = SIZE_MAX };
	enum err err = add_root(document);

	if (!err && !names_default(document))
		err = sops_document_add(document, &first, &reader.section);
	for (size_t at = begin_of(document); !err && at < document->text.len;) {
		struct line line = line_at(document->text, at);

		err = read_ini_line(&reader, &line);
		at = line.next;
	}
	return err ? err : end_metadata(&reader, document->text.len);
}

bool sops_ini_has_tail(const struct sops_document *document, uint32_t index)
{
	const struct sops_node *node = &document->nodes[index];
	bool section = node->kind == SOPS_MAP;
	size_t at = node->end;
	struct line line;

	/* A section that nobody wrote has no line. */
	if (document->format != SOPS_INI || node->kind == SOPS_COMMENT || node->end <= node->begin)
		return false;
	if (section)
		at = (size_t)(node->key.data + node->key.len + 1 - document->text.data);
	line = line_at(document->text, at);
	at += sops_text_space_before(part(document, at, line.end));
	return at < line.end;
}
