#include "cli/conflict_marks.h"

#include <stdbool.h>
#include <string.h>

#include "formats/text.h"

#define MARK_LEN 7U

struct walk {
	struct bytes rest;
	size_t line; /* of what was taken last */
};

/* Seven times the character; behind it a name, or nothing. */
static bool is_mark(struct bytes line, char character, bool named)
{
	for (size_t i = 0; i < MARK_LEN; i++)
		if (line.len <= i || line.data[i] != (uint8_t)character)
			return false;
	return named ? line.len > MARK_LEN && line.data[MARK_LEN] == ' ' : line.len == MARK_LEN;
}

/* The next whole group: its first line, and where that is. */
static bool take_group(struct walk *walk, struct bytes *ret_first, size_t *ret_line)
{
	struct bytes line;
	bool begun = false, halved = false;

	while (bytes_next_line(&walk->rest, &line)) {
		walk->line++;
		if (is_mark(line, '<', true)) {
			begun = true;
			halved = false;
			*ret_first = line;
			*ret_line = walk->line;
		} else if (begun && is_mark(line, '=', false)) {
			halved = true;
		} else if (halved && is_mark(line, '>', true)) {
			return true;
		}
	}
	return false;
}

/* Those from before are expected in their order. */
size_t conflict_marks_find(struct bytes text, struct bytes before)
{
	struct walk walk = { .rest = text }, old = { .rest = before };
	struct bytes first, expected;
	bool expects;
	size_t line, ignored;

	expects = take_group(&old, &expected, &ignored);
	while (take_group(&walk, &first, &line)) {
		if (!expects || !bytes_equal(first, expected))
			return line;
		expects = take_group(&old, &expected, &ignored);
	}
	return 0;
}
