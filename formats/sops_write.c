#include "formats/sops_write.h"

#include "common/encoding.h"
#include "formats/sops_number.h"
#include "formats/sops_text.h"
#include "formats/text.h"

enum err sops_json_string_write(struct bytes text, struct buf *out)
{
	static const char letters[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
	enum err err = buf_put_u8(out, '"');

	while (!err && text.len) {
		uint8_t encoded[4];
		uint32_t character;
		size_t len = sops_text_character(text, &character);
		const char *letter = character && character < 0x80 ? strchr(letters, (int)character) : NULL;

		if (letter)
			err = buf_printf(out, "\\%c", names[letter - letters]);
		else if (character < 0x20 || character == 0x2028 || character == 0x2029)
			err = buf_printf(out, "\\u%04x", character);
		else
			err = buf_put(out, bytes_of(encoded, sops_text_encode(character, encoded)));
		text = bytes_of(text.data + len, text.len - len);
	}
	return err ? err : buf_put_u8(out, '"');
}

static enum err write_number(enum sops_number_form form, struct bytes text, struct buf *out)
{
	char written[SOPS_NUMBER_MAX];
	double number;

	if (sops_number_read(text, &number) == OK)
		return buf_put(out, bytes_of(written, sops_number_write(number, form, written)));
	if (form == SOPS_NUMBER_JSON)
		return ERR_UNSUPPORTED; /* JSON has no infinity */
	return buf_put_string(out, text.data[0] == '+' ? ".inf" : text.data[0] == '-' ? "-.inf" : ".nan");
}

static enum err write_boolean(struct bytes text, struct buf *out)
{
	return buf_put_string(out, text.len && text.data[0] == 'T' ? "true" : "false");
}

static enum err write_json(enum sops_type type, struct bytes text, struct buf *out)
{
	if (type == SOPS_TYPE_INTEGER)
		return buf_put(out, text);
	if (type == SOPS_TYPE_FLOAT)
		return write_number(SOPS_NUMBER_JSON, text, out);
	if (type == SOPS_TYPE_BOOLEAN)
		return write_boolean(text, out);
	return sops_json_string_write(text, out);
}

/* What may stand in YAML as it is. */
static bool is_printable(uint32_t character)
{
	return character == '\t' || (character >= 0x20 && character < 0x7f) ||
	       (character >= 0xa0 && character < 0xd800 && character != 0x2028 && character != 0x2029) ||
	       (character >= 0xe000 && character < 0xfffe && character != 0xfeff) || character >= 0x10000;
}

static bool is_printable_text(struct bytes text, bool lines)
{
	while (text.len) {
		uint32_t character = text.data[0];
		size_t len = character < 0x80 ? 1 : sops_text_character(text, &character);

		if (!is_printable(character) && !(lines && character == '\n'))
			return false;
		text = bytes_of(text.data + len, text.len - len);
	}
	return true;
}

/* Cautious: what is quoted without need does no harm. */
static bool is_plain(const struct sops_node *node, struct bytes text)
{
	if (node->quoted || sops_text_is_ambiguous(text) || strchr("-?:,[]{}#&*!|>'\"%@` \t", text.data[0]) ||
	    is_white_space(text.data[text.len - 1]) || text.data[text.len - 1] == ':' ||
	    memmem(text.data, text.len, ": ", 2) || memmem(text.data, text.len, " #", 2) ||
	    memchr(text.data, '\t', text.len) || bytes_begin_with(text, "---") ||
	    bytes_begin_with(text, "..."))
		return false;
	for (size_t i = 0; node->in_flow && i < text.len; i++)
		if (strchr(",[]{}:", text.data[i]))
			return false;
	return is_printable_text(text, false);
}

static enum err write_double_quoted(struct bytes text, struct buf *out)
{
	static const char letters[] = "\"\\\n\r\t", names[] = "\"\\nrt";
	enum err err = buf_put_u8(out, '"');

	while (!err && text.len) {
		uint32_t character;
		size_t len = sops_text_character(text, &character);
		const char *letter = character && character < 0x80 ? strchr(letters, (int)character) : NULL;

		if (letter)
			err = buf_printf(out, "\\%c", names[letter - letters]);
		else if (is_printable(character))
			err = buf_put(out, bytes_of(text.data, len));
		else
			err = buf_printf(out, character < 0x10000 ? "\\u%04x" : "\\U%08x", character);
		text = bytes_of(text.data + len, text.len - len);
	}
	return err ? err : buf_put_u8(out, '"');
}

/* A block ends its line and takes the following ones: nothing may stand behind the value. */
static bool may_be_block(const struct sops_document *document, const struct sops_node *node,
                         struct bytes text)
{
	const uint8_t *all = document->text.data;
	size_t at = node->end;

	/* Empty lines at its end would run together with those that follow it in the file. */
	if (node->quoted || node->in_flow || !memchr(text.data, '\n', text.len) ||
	    (text.len > 1 && memcmp(text.data + text.len - 2, "\n\n", 2) == 0) ||
	    is_white_space(text.data[0]) || !is_printable_text(text, true))
		return false;
	while (at < document->text.len && (all[at] == ' ' || all[at] == '\r'))
		at++;
	return at < document->text.len && all[at] == '\n';
}

static enum err write_block(const struct sops_node *node, struct bytes text, struct buf *out)
{
	bool ends = text.data[text.len - 1] == '\n';
	unsigned indent = node->key.data ? node->column + 4 : node->column;
	enum err err = buf_put_string(out, ends ? "|" : "|-");

	text.len -= ends; /* the file's own line end follows */
	while (!err) {
		const uint8_t *end = text.len ? memchr(text.data, '\n', text.len) : NULL;
		size_t len = end ? (size_t)(end - text.data) : text.len;

		err = len ? buf_printf(out, "\n%*s", (int)indent, "") : buf_put_u8(out, '\n');
		if (!err)
			err = buf_put(out, bytes_of(text.data, len));
		if (!end)
			break;
		text = bytes_of(end + 1, text.len - len - 1);
	}
	return err;
}

static enum err write_yaml_string(const struct sops_document *document, const struct sops_node *node,
                                  struct bytes text, struct buf *out)
{
	enum err err;

	if (!sops_text_is_utf8(text)) {
		err = buf_put_string(out, "!!binary ");
		return err ? err : base64_put(out, text, BASE64_PADDED);
	}
	if (text.len && is_plain(node, text))
		return buf_put(out, text);
	if (text.len && may_be_block(document, node, text))
		return write_block(node, text, out);
	return write_double_quoted(text, out);
}

static enum err write_yaml(const struct sops_document *document, const struct sops_node *node,
                           enum sops_type type, struct bytes text, struct buf *out)
{
	if (type == SOPS_TYPE_INTEGER || type == SOPS_TYPE_TIME)
		return buf_put(out, text);
	if (type == SOPS_TYPE_FLOAT)
		return write_number(SOPS_NUMBER_YAML, text, out);
	if (type == SOPS_TYPE_BOOLEAN)
		return write_boolean(text, out);
	return write_yaml_string(document, node, text, out);
}

/* Line ends become the two characters \n. */
static enum err write_dotenv(struct bytes text, struct buf *out)
{
	enum err err = OK;

	for (size_t i = 0; !err && i < text.len; i++)
		err = text.data[i] == '\n' ? buf_put_string(out, "\\n") : buf_put_u8(out, text.data[i]);
	return err;
}

/* Quotes with which it is read as it is. */
static enum err write_ini(struct bytes text, struct buf *out)
{
	const char *quotes = "";
	enum err err;

	if (text.len && (memchr(text.data, '\n', text.len) || memchr(text.data, '`', text.len)))
		quotes = "\"\"\"";
	else if (text.len && (memchr(text.data, '#', text.len) || memchr(text.data, ';', text.len)))
		quotes = "`";
	else if (sops_ini_is_in_quotes(text))
		quotes = "`";
	else if (sops_text_space_before(text) || sops_text_space_behind(text))
		quotes = memchr(text.data, '"', text.len) ? "`" : "\"";
	err = buf_put_string(out, quotes);
	if (!err)
		err = buf_put(out, text);
	return err ? err : buf_put_string(out, quotes);
}

/* Every line of an INI comment after the first needs its mark again. */
static enum err write_comment(const struct sops_document *document, struct bytes text, struct buf *out)
{
	enum err err = OK;

	for (size_t i = 0; !err && i < text.len; i++) {
		err = buf_put_u8(out, text.data[i]);
		if (!err && text.data[i] == '\n' && document->format != SOPS_DOTENV && i + 1 < text.len &&
		    text.data[i + 1] != ';' && text.data[i + 1] != '#')
			err = buf_put_string(out, document->format == SOPS_INI ? "; " : "#");
	}
	return err;
}

enum err sops_value_write(const struct sops_document *document, const struct sops_node *node,
                          enum sops_type type, struct bytes text, struct buf *out)
{
	if (node->kind == SOPS_COMMENT)
		return write_comment(document, text, out);
	switch (document->format) {
	case SOPS_YAML:
		return write_yaml(document, node, type, text, out);
	case SOPS_DOTENV:
		return type == SOPS_TYPE_BOOLEAN ? write_boolean(text, out) : write_dotenv(text, out);
	case SOPS_INI:
		return type == SOPS_TYPE_BOOLEAN ? write_boolean(text, out) : write_ini(text, out);
	case SOPS_JSON:
	case SOPS_BINARY:
		break;
	}
	return write_json(type, text, out);
}
