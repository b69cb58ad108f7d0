#include "cli/shown.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/cleanup.h"
#include "common/quote.h"
#include "common/utf8.h"

/* How many bytes may be shown; 0: the first may not. */
static size_t showable_len(struct bytes text)
{
	uint32_t point = 0;
	size_t len = utf8_take(text, &point);

	return utf8_is_unprintable(point) ? 0 : len;
}

bool shown_is_clean(const char *text)
{
	struct bytes rest = bytes_of_string(text);
	size_t len = 1;

	while (len && rest.len) {
		len = showable_len(rest);
		rest = bytes_of(rest.data + len, rest.len - len);
	}
	return len > 0;
}

void shown_clean(char *text)
{
	struct bytes rest = bytes_of_string(text);

	while (rest.len) {
		size_t len = showable_len(rest);

		if (len == 0)
			text[0] = '?';
		len = len ? len : 1;
		text += len;
		rest = bytes_of(rest.data + len, rest.len - len);
	}
}

void shown_print(FILE *file, const char *text)
{
	struct bytes rest = bytes_of_string(text);

	while (rest.len) {
		size_t len = showable_len(rest);

		if (len)
			(void)fwrite(rest.data, 1, len, file);
		else
			(void)fputc('?', file);
		len = len ? len : 1;
		rest = bytes_of(rest.data + len, rest.len - len);
	}
}

void shown_line(FILE *file, const char *format, ...)
{
	CLEANUP(freep) char *text = NULL;
	va_list arguments;
	int len;

	va_start(arguments, format);
	len = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (len < 0)
		text = NULL;
	if (text)
		shown_print(file, text);
	(void)fputc('\n', file);
}

/* ---- names in a row ---- */

#define LISTED_NAME_MAX 80U /* bytes of one */

/* Where a name is cut, so that no character is. */
static size_t cut_len(struct bytes name)
{
	size_t len = name.len < LISTED_NAME_MAX ? name.len : LISTED_NAME_MAX;

	while (len < name.len && len > 0 && (name.data[len] & 0xc0) == 0x80)
		len--;
	return len;
}

void shown_list_add(struct shown_list *list, struct bytes name)
{
	size_t at = list->count ? strlen(list->text) : 0, len = cut_len(name);

	if (list->count++ < list->limit)
		(void)snprintf(list->text + at, list->size - at, "%s%.*s%s", at ? ", " : "", (int)len,
		               (const char *)name.data, len < name.len ? "..." : "");
}

void shown_list_end(struct shown_list *list)
{
	size_t at = list->count ? strlen(list->text) : 0, others = list->count - list->limit;

	list->text[at] = '\0';
	if (list->count > list->limit)
		(void)snprintf(list->text + at, list->size - at, " and %zu other%s", others,
		               others == 1 ? "" : "s");
}

/* ---- for a shell ---- */

/* A quote within quotes is '\''; names of ordinary characters need none. */
void shown_quote(const char *word, char out[static SHOWN_QUOTED_MAX])
{
	quote_word(word, out, SHOWN_QUOTED_MAX);
}

void shown_quote_pathspec(const char *path, char out[static SHOWN_QUOTED_MAX])
{
	char literal[SHOWN_QUOTED_MAX];

	if (*path != ':' && !path[strcspn(path, "*?[\\")]) {
		shown_quote(path, out);
		return;
	}
	(void)snprintf(literal, sizeof(literal), ":(literal)%s", path);
	shown_quote(literal, out);
}

void shown_quote_attribute(const char *name, char out[static SHOWN_QUOTED_MAX])
{
	char pattern[SHOWN_QUOTED_MAX];
	size_t len = 0;

	for (const char *c = name; *c && len + 2 < sizeof(pattern); c++) {
		/* What divides words there may stand in no pattern. */
		bool divides = strchr(" \t\n\"", *c);

		if (strchr("*?[\\", *c) || (c == name && strchr("!#-", *c)))
			pattern[len++] = '\\';
		pattern[len++] = divides ? '?' : *c;
	}
	pattern[len] = '\0';
	shown_quote(pattern, out);
}
