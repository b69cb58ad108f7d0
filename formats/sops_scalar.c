#include "formats/sops_scalar.h"

#include "formats/text.h"

struct lines {
	struct bytes text;
	size_t start, end, next; /* of the one that was read last */
	size_t indent; /* its spaces; SIZE_MAX: nothing else is in it */
};

static bool next_line(struct lines *lines)
{
	const uint8_t *text = lines->text.data, *end;
	size_t at = lines->start = lines->next;

	if (at >= lines->text.len)
		return false;
	end = memchr(text + at, '\n', lines->text.len - at);
	lines->end = end ? (size_t)(end - text) : lines->text.len;
	lines->next = lines->end + (end != NULL);
	while (at < lines->end && text[at] == ' ')
		at++;
	lines->indent =
	        at == lines->end || (text[at] == '\r' && at + 1 == lines->end) ? SIZE_MAX : at - lines->start;
	return true;
}

/* How much deeper than indent the text is said to stand; 0: its first line decides. */
static size_t indication(struct bytes text, size_t start)
{
	for (size_t at = start + 1; at < text.len && memchr("+-123456789", text.data[at], 11); at++)
		if (text.data[at] >= '1' && text.data[at] <= '9')
			return (size_t)(text.data[at] - '0');
	return 0;
}

/* Passes what of read stands in the line. */
static bool line_is_next(const struct lines *lines, struct bytes read, size_t *at)
{
	for (size_t i = lines->start; i < lines->end; i++) {
		if (is_white_space(lines->text.data[i]))
			continue;
		while (*at < read.len && is_white_space(read.data[*at]))
			(*at)++;
		if (*at == read.len || read.data[(*at)++] != lines->text.data[i])
			return false;
	}
	return true;
}

bool sops_scalar_is_as_written(struct bytes text, size_t start, size_t indent, struct bytes read)
{
	struct lines lines = { .text = text, .next = start };
	size_t deeper = indication(text, start), least = indent + (deeper ? deeper : 1), at = 0;
	bool any = false;

	(void)next_line(&lines); /* the block's first */
	while (next_line(&lines)) {
		if (lines.indent == SIZE_MAX && !any && deeper && lines.end - lines.start > least)
			return false; /* spaces that are its text, which the library loses */
		if (lines.indent == SIZE_MAX)
			continue;
		if (lines.indent < least)
			break;
		if (!any && !deeper)
			least = lines.indent;
		any = true;
		if (!line_is_next(&lines, read, &at))
			return false;
	}
	while (at < read.len && is_white_space(read.data[at]))
		at++;
	return at == read.len;
}
