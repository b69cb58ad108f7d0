#include "formats/dotenv.h"

#include "formats/text.h"

static struct bytes trim(struct bytes text)
{
	while (text.len && is_white_space(text.data[0]))
		text = bytes_of(text.data + 1, text.len - 1);
	while (text.len && is_white_space(text.data[text.len - 1]))
		text.len--;
	return text;
}

struct bytes dotenv_name(struct bytes name)
{
	static const char word[] = "export";
	size_t len = strlen(word);

	name = trim(name);
	if (bytes_begin_with(name, word) && name.len > len && is_white_space(name.data[len]))
		return trim(bytes_of(name.data + len, name.len - len));
	return name;
}

/* How much of text, which begins with a quote, is within the quotes, both included; 0: they do not end. */
static size_t quoted_len(struct bytes text)
{
	uint8_t quote = text.data[0];

	for (size_t i = 1; i < text.len; i++) {
		if (text.data[i] == quote)
			return i + 1;
		if (text.data[i] == '\\' && quote == '"')
			i++;
	}
	return 0;
}

static bool is_quote(struct bytes text)
{
	return text.len && (text.data[0] == '"' || text.data[0] == '\'');
}

/* Behind the quotes there may be a comment. */
static bool is_quoted(struct bytes text, size_t *ret_len)
{
	struct bytes rest;

	*ret_len = is_quote(text) ? quoted_len(text) : 0;
	if (*ret_len == 0)
		return false;
	rest = trim(bytes_of(text.data + *ret_len, text.len - *ret_len));
	return rest.len == 0 || rest.data[0] == '#';
}

static enum err put_escaped(struct bytes text, struct buf *out)
{
	static const char names[] = "nrt\"\\$`", meanings[] = "\n\r\t\"\\$`";
	enum err err = OK;

	for (size_t i = 0; !err && i < text.len; i++) {
		const char *name = NULL;

		if (text.data[i] == '\\' && i + 1 < text.len && text.data[i + 1])
			name = strchr(names, text.data[i + 1]);
		err = buf_put_u8(out, name ? (uint8_t)meanings[name - names] : text.data[i]);
		i += name != NULL;
	}
	return err;
}

static enum err put_bare(struct bytes text, struct buf *out)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] == '#' && (i == 0 || is_white_space(text.data[i - 1])))
			text.len = i;
	text = trim(text);
	return buf_put(out, text);
}

enum err dotenv_value(struct bytes text, struct buf *out)
{
	size_t len;

	text = trim(text);
	if (!is_quoted(text, &len))
		return put_bare(text, out);
	return text.data[0] == '"' ? put_escaped(bytes_of(text.data + 1, len - 2), out)
	                           : buf_put(out, bytes_of(text.data + 1, len - 2));
}

static bool is_harmless(struct bytes value)
{
	for (size_t i = 0; i < value.len; i++) {
		uint8_t c = value.data[i];

		if ((c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') &&
		    !(c && strchr("_-+.,:/@%=", c)))
			return false;
	}
	return true;
}

/* A line end may stand in quotes; the other ends of lines would be changed on the way. */
enum err dotenv_write(struct bytes value, struct buf *out)
{
	enum err err;

	if (is_harmless(value))
		return buf_put(out, value);
	if (!memchr(value.data, '\'', value.len) && !memchr(value.data, '\r', value.len)) {
		err = buf_put_u8(out, '\'');
		if (!err)
			err = buf_put(out, value);
		return err ? err : buf_put_u8(out, '\'');
	}
	err = buf_put_u8(out, '"');
	for (size_t i = 0; !err && i < value.len; i++) {
		uint8_t c = value.data[i];

		if (c && strchr("\"\\$`", c))
			err = buf_put_u8(out, '\\');
		if (!err)
			err = c == '\r' ? buf_put_string(out, "\\r") : buf_put_u8(out, c);
	}
	return err ? err : buf_put_u8(out, '"');
}

bool dotenv_is_name_letter(uint8_t c, bool first)
{
	bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

	return letter || (!first && ((c >= '0' && c <= '9') || c == '.' || c == '-'));
}

static size_t line_len(struct bytes text)
{
	const uint8_t *end = text.len ? memchr(text.data, '\n', text.len) : NULL;

	return end ? (size_t)(end - text.data) : text.len;
}

/* How much of text, behind the =, belongs to the value. */
static size_t value_len(struct bytes text)
{
	size_t line = line_len(text), space = 0, quoted;
	struct bytes rest;

	while (space < line && is_white_space(text.data[space]))
		space++;
	rest = bytes_of(text.data + space, text.len - space);
	quoted = is_quote(rest) ? quoted_len(rest) : 0;
	if (space + quoted <= line)
		return line;
	/* Quotes that go over lines end one that nothing but a comment follows; others were never meant. */
	rest = bytes_of(rest.data + quoted, rest.len - quoted);
	rest.len = line_len(rest);
	return trim(rest).len == 0 || trim(rest).data[0] == '#' ? space + quoted + rest.len : line;
}

static void take(struct bytes *text, size_t len)
{
	*text = bytes_of(text->data + len, text->len - len);
}

enum err dotenv_next(struct bytes *text, struct dotenv_entry *ret_entry)
{
	struct bytes line = bytes_of(text->data, line_len(*text)), rest = *text;
	struct bytes trimmed = trim(line);
	const uint8_t *equals = trimmed.len ? memchr(line.data, '=', line.len) : NULL;
	struct dotenv_entry entry = { .name = bytes_of(NULL, 0) };
	size_t len = line.len;

	if (trimmed.len && trimmed.data[0] == '#') {
		entry.value = bytes_of(trimmed.data + 1, trimmed.len - 1);
	} else if (equals) {
		entry.name = dotenv_name(bytes_of(line.data, (size_t)(equals - line.data)));
		take(&rest, (size_t)(equals - line.data) + 1);
		entry.value = bytes_of(rest.data, value_len(rest));
		len = (size_t)(equals - line.data) + 1 + entry.value.len;
	} else if (trimmed.len) {
		return ERR_BAD_FILE;
	}
	take(text, len);
	if (text->len)
		take(text, 1); /* its line end */
	*ret_entry = entry;
	return OK;
}
