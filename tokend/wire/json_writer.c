#include "tokend/wire/json_writer.h"

#include "common/encoding.h"

static void put(struct json_writer *writer, const char *text)
{
	if (!writer->err)
		writer->err = buf_put_string(writer->buf, text);
}

static void put_bytes(struct json_writer *writer, struct bytes bytes)
{
	if (!writer->err)
		writer->err = buf_put(writer->buf, bytes);
}

static void put_escape(struct json_writer *writer, uint8_t c)
{
	if (!writer->err)
		writer->err = buf_printf(writer->buf, "\\u%04x", (unsigned)c);
}

/* How many bytes of valid UTF-8 (RFC 3629) begin at data; 0: none. */
static size_t utf8_len(const uint8_t *data, size_t len)
{
	size_t need = data[0] < 0x80   ? 1
	              : data[0] < 0xc2 ? 0
	              : data[0] < 0xe0 ? 2
	              : data[0] < 0xf0 ? 3
	              : data[0] < 0xf5 ? 4
	                               : 0;

	if (need == 0 || need > len)
		return 0;
	for (size_t i = 1; i < need; i++)
		if ((data[i] & 0xc0) != 0x80)
			return 0;
	if ((data[0] == 0xe0 && data[1] < 0xa0) || (data[0] == 0xed && data[1] > 0x9f) ||
	    (data[0] == 0xf0 && data[1] < 0x90) || (data[0] == 0xf4 && data[1] > 0x8f))
		return 0;
	return need;
}

static bool plain(uint8_t c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void put_text(struct json_writer *writer, struct bytes text)
{
	size_t i = 0;

	while (i < text.len && !writer->err) {
		size_t run = 0;

		while (i + run < text.len && plain(text.data[i + run]))
			run++;
		put_bytes(writer, bytes_of(text.data + i, run));
		i += run;
		if (i == text.len)
			break;
		run = text.data[i] >= 0x80 ? utf8_len(text.data + i, text.len - i) : 0;
		if (run)
			put_bytes(writer, bytes_of(text.data + i, run));
		else
			put_escape(writer, text.data[i]);
		i += run ? run : 1;
	}
}

static void begin_value(struct json_writer *writer, const char *name)
{
	if (writer->comma)
		put(writer, ",");
	writer->comma = true;
	if (!name)
		return;
	put(writer, "\"");
	put(writer, name);
	put(writer, "\":");
}

static void begin(struct json_writer *writer, const char *name, const char *bracket)
{
	begin_value(writer, name);
	put(writer, bracket);
	writer->comma = false;
}

static void end(struct json_writer *writer, const char *bracket)
{
	put(writer, bracket);
	writer->comma = true;
}

void json_begin_object(struct json_writer *writer, const char *name)
{
	begin(writer, name, "{");
}

void json_end_object(struct json_writer *writer)
{
	end(writer, "}");
}

void json_begin_array(struct json_writer *writer, const char *name)
{
	begin(writer, name, "[");
}

void json_end_array(struct json_writer *writer)
{
	end(writer, "]");
}

void json_put_string(struct json_writer *writer, const char *name, const char *value)
{
	if (!value)
		return;
	begin_value(writer, name);
	put(writer, "\"");
	put_text(writer, bytes_of_string(value));
	put(writer, "\"");
}

void json_put_integer(struct json_writer *writer, const char *name, long long value)
{
	begin_value(writer, name);
	if (!writer->err)
		writer->err = buf_printf(writer->buf, "%lld", value);
}

void json_put_boolean(struct json_writer *writer, const char *name, bool value)
{
	begin_value(writer, name);
	put(writer, value ? "true" : "false");
}

void json_put_base64(struct json_writer *writer, const char *name, struct bytes value)
{
	begin_value(writer, name);
	put(writer, "\"");
	if (!writer->err)
		writer->err = base64_put(writer->buf, value, BASE64_PADDED);
	put(writer, "\"");
}
