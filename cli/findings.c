#include "cli/findings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/facts.h"
#include "cli/shown.h"

void findings_begin_file(struct findings *findings)
{
	findings->in_file = 0;
}

static enum err grow(struct findings *findings)
{
	size_t capacity = findings->capacity ? 2 * findings->capacity : 16;
	struct finding *items = calloc(capacity, sizeof(*items));

	if (!items)
		return ERR_NOMEM;
	if (findings->count)
		memcpy(items, findings->items, findings->count * sizeof(*items));
	free(findings->items);
	findings->items = items;
	findings->capacity = capacity;
	return OK;
}

static enum err append(struct findings *findings, const char *place, size_t line, const char *kind, bool note,
                       const char *text, const char *next)
{
	struct finding finding = { .line = line, .kind = kind, .note = note };

	if (findings->count == findings->capacity && grow(findings))
		return ERR_NOMEM;
	finding.place = strdup(place);
	finding.text = strdup(text);
	finding.next = strdup(next);
	findings->items[findings->count++] = finding;
	return finding.place && finding.text && finding.next ? OK : ERR_NOMEM;
}

enum err findings_add(struct findings *findings, const char *place, size_t line, const char *kind, bool note,
                      const char *text, const char *next)
{
	findings->refused += !note;
	if (findings->in_file++ < FINDINGS_PER_FILE_MAX)
		return append(findings, place, line, kind, note, text, next);
	if (findings->in_file > FINDINGS_PER_FILE_MAX + 1)
		return OK;
	return append(findings, place, 0, "more", true, "there is more of this, which is not shown", "");
}

void findings_done(struct findings *findings)
{
	for (size_t i = 0; i < findings->count; i++) {
		free(findings->items[i].place);
		free(findings->items[i].text);
		free(findings->items[i].next);
	}
	free(findings->items);
	*findings = (struct findings){ .count = 0 };
}

/* Names come from a repository that anybody may have written. */
static void print_line(const struct finding *finding)
{
	shown_print(stdout, finding->place);
	if (finding->line)
		(void)printf(":%zu", finding->line);
	(void)printf(": %s", finding->note ? "note: " : "");
	shown_line(stdout, "%s", finding->text);
	if (!finding->next[0])
		return;
	shown_line(stdout, "    next: %s", finding->next);
}

/* JSON is UTF-8, and a file's name need not be. */
static json_t *name_as_json(const char *name)
{
	json_t *string = json_string(name);
	char *copy = string ? NULL : strdup(name);

	for (char *c = copy; c && *c; c++)
		*c = (unsigned char)*c < 0x80 ? *c : '?';
	if (copy)
		string = json_string(copy);
	free(copy);
	return string;
}

static json_t *as_json(const struct finding *finding)
{
	return json_pack("{s:o, s:I, s:s, s:b, s:o, s:o}", "file", name_as_json(finding->place), "line",
	                 (json_int_t)finding->line, "kind", finding->kind, "note", finding->note, "text",
	                 name_as_json(finding->text), "next", name_as_json(finding->next));
}

enum err findings_print(const struct findings *findings, bool json)
{
	json_t *list = json ? json_array() : NULL;

	for (size_t i = 0; i < findings->count; i++) {
		if (!json)
			print_line(&findings->items[i]);
		else if (json_array_append_new(list, as_json(&findings->items[i])) < 0) {
			json_decref(list);
			return ERR_NOMEM;
		}
	}
	return json ? json_print(list) : OK;
}
