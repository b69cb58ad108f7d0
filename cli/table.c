#include "cli/table.h"

#include <stdlib.h>
#include <string.h>

#include "cli/shown.h"

#define COLUMNS_MAX 12U

struct table {
	size_t columns;
	size_t count, room;
	char **cells; /* owned strings, row after row */
};

enum err table_new(size_t columns, struct table **ret_table)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return ERR_NOMEM;
	table->columns = columns < COLUMNS_MAX ? columns : COLUMNS_MAX;
	*ret_table = table;
	return OK;
}

struct table *table_free(struct table *table)
{
	if (!table)
		return NULL;
	for (size_t i = 0; i < table->count; i++)
		free(table->cells[i]);
	free(table->cells);
	free(table);
	return NULL;
}

static enum err make_room(struct table *table)
{
	size_t room = table->room ? 2 * table->room : 64;
	char **cells;

	if (table->count < table->room)
		return OK;
	cells = reallocarray(table->cells, room, sizeof(*cells));
	if (!cells)
		return ERR_NOMEM;
	table->cells = cells;
	table->room = room;
	return OK;
}

enum err table_put(struct table *table, const char *text)
{
	enum err err = make_room(table);
	char *cell;

	if (err)
		return err;
	cell = strdup(text && *text ? text : "-");
	if (!cell)
		return ERR_NOMEM;
	shown_clean(cell);
	table->cells[table->count++] = cell;
	return OK;
}

/* Characters, not bytes: continuation bytes of UTF-8 do not count. */
static size_t width_of(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0U) != 0x80U;
	return width;
}

static void measure(const struct table *table, size_t *widths)
{
	for (size_t i = 0; i < table->count; i++) {
		size_t width = width_of(table->cells[i]);

		if (width > widths[i % table->columns])
			widths[i % table->columns] = width;
	}
}

void table_print(const struct table *table, FILE *file)
{
	size_t widths[COLUMNS_MAX] = { 0 };

	measure(table, widths);
	for (size_t i = 0; i < table->count; i++) {
		size_t column = i % table->columns;
		bool last = column + 1 == table->columns || i + 1 == table->count;
		int padding = last ? 0 : (int)(widths[column] - width_of(table->cells[i])) + 2;

		(void)fprintf(file, "%s%*s%s", table->cells[i], padding, "", last ? "\n" : "");
	}
}
