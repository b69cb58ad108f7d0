#include "tokend/text.h"

#include <stdarg.h>
#include <stdio.h>

static void drop(struct bytes *rest, size_t len)
{
	rest->data += len;
	rest->len -= len;
}

bool text_next_line(struct bytes *rest, struct bytes *ret_line)
{
	const uint8_t *newline;

	if (rest->len == 0)
		return false;
	newline = memchr(rest->data, '\n', rest->len);
	*ret_line = bytes_of(rest->data, newline ? (size_t)(newline - rest->data) : rest->len);
	drop(rest, newline ? ret_line->len + 1 : ret_line->len);
	return true;
}

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t';
}

bool text_next_word(struct bytes *rest, struct bytes *ret_word)
{
	size_t len = 0;

	while (rest->len > 0 && is_blank(rest->data[0]))
		drop(rest, 1);
	if (rest->len == 0 || rest->data[0] == '#')
		return false;
	while (len < rest->len && !is_blank(rest->data[len]))
		len++;
	*ret_word = bytes_of(rest->data, len);
	drop(rest, len);
	return true;
}

const char *text_next_string(struct bytes *rest)
{
	const uint8_t *end = rest->len ? memchr(rest->data, '\0', rest->len) : NULL;
	const char *string = (const char *)rest->data;

	if (!end)
		return NULL;
	rest->len -= (size_t)(end - rest->data) + 1;
	rest->data = end + 1;
	return string;
}

bool text_equals(struct bytes word, const char *literal)
{
	return bytes_equal(word, bytes_of_string(literal));
}

bool text_ends_with(struct bytes word, const char *ending)
{
	size_t len = strlen(ending);

	return word.len >= len && memcmp(word.data + word.len - len, ending, len) == 0;
}

bool text_copy(struct bytes word, char *out, size_t out_len)
{
	if (word.len == 0 || word.len >= out_len)
		return false;
	memcpy(out, word.data, word.len);
	out[word.len] = '\0';
	return true;
}

bool text_number(struct bytes word, unsigned long max, unsigned long *ret_number)
{
	unsigned long number = 0;

	if (word.len == 0)
		return false;
	for (size_t i = 0; i < word.len; i++) {
		unsigned long digit = word.data[i] - (unsigned long)'0';

		if (word.data[i] < '0' || word.data[i] > '9' || digit > max || number > (max - digit) / 10)
			return false;
		number = number * 10 + digit;
	}
	*ret_number = number;
	return true;
}

enum err text_problem(const struct text_place *place, const char *format, ...)
{
	char sentence[512];
	va_list arguments;
	const char *newline = place->problem && buf_len(place->problem) ? "\n" : "";
	enum err err = OK;

	va_start(arguments, format);
	(void)vsnprintf(sentence, sizeof(sentence), format, arguments);
	va_end(arguments);
	if (place->problem && place->line)
		err = buf_printf(place->problem, "%s%s:%u: %s", newline, place->file, place->line, sentence);
	else if (place->problem)
		err = buf_printf(place->problem, "%s%s: %s", newline, place->file, sentence);
	return err == ERR_NOMEM ? err : ERR_BAD_CONFIG;
}

static bool is_plain(struct bytes line)
{
	struct bytes word;

	while (text_next_word(&line, &word))
		for (size_t i = 0; i < word.len; i++)
			if (word.data[i] < 0x21 || word.data[i] > 0x7e)
				return false;
	return true;
}

enum err text_check_plain(const struct text_place *place, struct bytes line)
{
	if (is_plain(line))
		return OK;
	if (line.data[line.len - 1] == '\r' && is_plain(bytes_of(line.data, line.len - 1)))
		return text_problem(place, "the line ends with CR LF; here LF alone ends one");
	return text_problem(place, "a character outside of printable ASCII stands in the line");
}

void text_first_problem(const struct buf *problem, char *out, size_t out_len)
{
	const char *text = buf_string(problem);
	size_t len = strcspn(text, "\n");
	size_t more = 0;

	for (const char *rest = text + len; *rest; rest++)
		more += *rest == '\n';
	if (more)
		(void)snprintf(out, out_len, "%.*s (and %zu more)", (int)len, text, more);
	else
		(void)snprintf(out, out_len, "%s", text);
}
