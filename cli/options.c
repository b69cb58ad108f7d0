#include "cli/options.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DURATION_MAX (366UL * 24 * 60 * 60) /* seconds; more is a mistake */
#define WORD_MAX 64U /* longer words are near to nothing */

static const struct option_row *row_of_name(const struct option_row *rows, const char *name, size_t len)
{
	for (; rows->name; rows++)
		if (strlen(rows->name) == len && memcmp(rows->name, name, len) == 0)
			return rows;
	return NULL;
}

static const struct option_row *row_of_letter(const struct option_row *rows, char letter)
{
	for (; rows->name; rows++)
		if (rows->letter == letter)
			return rows;
	return NULL;
}

static size_t smallest(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

size_t words_distance(const char *a, const char *b)
{
	size_t rows[3][WORD_MAX + 1];
	size_t a_len = strlen(a), b_len = strlen(b);

	if (a_len > WORD_MAX || b_len > WORD_MAX)
		return WORD_MAX;
	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *now = rows[i % 3], *before = rows[(i - 1) % 3], *two_before = rows[(i + 1) % 3];

		now[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			now[j] = smallest(before[j] + 1, now[j - 1] + 1,
			                  before[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    two_before[j - 2] + 1 < now[j])
				now[j] = two_before[j - 2] + 1;
		}
	}
	return rows[a_len % 3][b_len];
}

/* A beginning is nearer than what looks alike: --pin is --pin-file, not --kind. */
static const char *nearest_option(const struct option_row *rows, const char *name)
{
	const char *nearest = NULL;
	size_t best = 3; /* farther than two changes is another word */

	for (; rows->name; rows++) {
		if (strncmp(rows->name, name, strlen(name)) == 0)
			return rows->name;
		size_t distance = words_distance(rows->name, name);

		if (distance < best) {
			best = distance;
			nearest = rows->name;
		}
	}
	return nearest;
}

/* What stands after the '=' may be a PIN, and is not repeated. */
static enum err unknown_option(const struct option_row *rows, const char *given, struct problem *problem)
{
	char word[WORD_MAX + 1];
	const char *nearest;

	(void)snprintf(word, sizeof(word), "%.*s", (int)strcspn(given, "="), given);
	nearest = strncmp(word, "--", 2) == 0 ? nearest_option(rows, word + 2) : NULL;
	(void)problem_set(problem, ERR_USAGE, "there is no option %s", word);
	if (nearest)
		problem_hint(problem, "did you mean --%s?", nearest);
	return ERR_USAGE;
}

static enum err add_use(struct options *options, const struct option_row *row, const char *value,
                        struct problem *problem)
{
	if (!row->repeats && options_given(options, row->name))
		return problem_set(problem, ERR_USAGE, "the option --%s is given twice", row->name);
	options->uses[options->use_count++] = (struct option_use){ row, value };
	return OK;
}

struct walk {
	const struct option_row *rows;
	size_t count, next;
	char *const *words;
	struct problem *problem;
	struct options *options;
};

/* attached: what stands in the same word, or NULL. */
static enum err take_value(struct walk *walk, const struct option_row *row, const char *attached)
{
	if (attached)
		return add_use(walk->options, row, attached, walk->problem);
	if (walk->next == walk->count && row->letter)
		return problem_set(walk->problem, ERR_USAGE, "the option -%c, --%s needs a value: %s",
		                   row->letter, row->name, row->argument);
	if (walk->next == walk->count)
		return problem_set(walk->problem, ERR_USAGE, "the option --%s needs a value: %s", row->name,
		                   row->argument);
	return add_use(walk->options, row, walk->words[walk->next++], walk->problem);
}

static enum err parse_long(struct walk *walk, const char *word)
{
	const char *equals = strchr(word, '=');
	size_t len = equals ? (size_t)(equals - word) - 2 : strlen(word) - 2;
	const struct option_row *row = row_of_name(walk->rows, word + 2, len);

	if (!row)
		return unknown_option(walk->rows, word, walk->problem);
	if (row->argument)
		return take_value(walk, row, equals ? equals + 1 : NULL);
	if (equals)
		return problem_set(walk->problem, ERR_USAGE, "the option --%s takes no value", row->name);
	return add_use(walk->options, row, NULL, walk->problem);
}

/* -o OUT, -oOUT, -a, -ap */
static enum err parse_letters(struct walk *walk, const char *word)
{
	for (const char *letter = word + 1; *letter; letter++) {
		const struct option_row *row = row_of_letter(walk->rows, *letter);
		enum err err;

		if (!row)
			return unknown_option(walk->rows, word, walk->problem);
		if (row->argument)
			return take_value(walk, row, letter[1] ? letter + 1 : NULL);
		err = add_use(walk->options, row, NULL, walk->problem);
		if (err)
			return err;
	}
	return OK;
}

static enum err parse_words(struct walk *walk)
{
	struct options *options = walk->options;
	bool only_arguments = false;

	while (walk->next < walk->count) {
		const char *word = walk->words[walk->next++];
		enum err err = OK;

		if (only_arguments || word[0] != '-' || word[1] == '\0')
			options->arguments[options->argument_count++] = word;
		else if (strcmp(word, "--") == 0)
			only_arguments = true;
		else if (word[1] == '-')
			err = parse_long(walk, word);
		else
			err = parse_letters(walk, word);
		if (err)
			return err;
	}
	return OK;
}

static size_t most_uses(size_t count, char *const *words)
{
	size_t most = count + 1;

	for (size_t i = 0; i < count; i++)
		most += strlen(words[i]);
	return most;
}

enum err options_parse(const struct option_row *rows, size_t count, char *const *words,
                       struct problem *problem, struct options *ret_options)
{
	struct options options = { 0 };
	struct walk walk = { rows, count, 0, words, problem, &options };
	enum err err;

	options.uses = calloc(most_uses(count, words), sizeof(*options.uses));
	options.arguments = calloc(count + 1, sizeof(*options.arguments));
	err = options.uses && options.arguments ? parse_words(&walk) : ERR_NOMEM;
	if (err)
		options_done(&options);
	else
		*ret_options = options;
	return err;
}

void options_done(struct options *options)
{
	free(options->uses);
	free(options->arguments);
	*options = (struct options){ 0 };
}

const char *options_next(const struct options *options, const char *name, size_t *cursor)
{
	while (*cursor < options->use_count) {
		const struct option_use *use = &options->uses[(*cursor)++];

		if (strcmp(use->row->name, name) == 0)
			return use->value ? use->value : "";
	}
	return NULL;
}

const char *options_value(const struct options *options, const char *name)
{
	size_t cursor = 0;

	return options_next(options, name, &cursor);
}

bool options_given(const struct options *options, const char *name)
{
	return options_value(options, name) != NULL;
}

static size_t help_width(const struct option_row *row)
{
	return strlen(row->name) + (row->argument ? strlen(row->argument) + 1 : 0);
}

/* What every verb understands besides its own options; main looks for it before anything is parsed. */
static const struct option_row help_row = { 'h', "help", NULL, "this text", false };

static void print_help_row(const struct option_row *row, size_t width, FILE *file)
{
	int padding = (int)(width - help_width(row));

	if (row->letter)
		(void)fprintf(file, "  -%c, --%s", row->letter, row->name);
	else
		(void)fprintf(file, "      --%s", row->name);
	(void)fprintf(file, "%s%s%*s  %s\n", row->argument ? " " : "", row->argument ? row->argument : "",
	              padding, "", row->help);
}

void options_print_help(const struct option_row *rows, FILE *file)
{
	size_t width = help_width(&help_row);

	for (const struct option_row *row = rows; row->name; row++)
		width = help_width(row) > width ? help_width(row) : width;
	for (const struct option_row *row = rows; row->name; row++)
		print_help_row(row, width, file);
	print_help_row(&help_row, width, file);
}

void options_print_words(const struct option_row *rows, FILE *file)
{
	for (; rows->name; rows++) {
		const char *argument = rows->argument ? rows->argument : "";

		if (rows->letter)
			(void)fprintf(file, "-%c %s\n", rows->letter, argument);
		(void)fprintf(file, "--%s %s\n", rows->name, argument);
	}
}

enum err options_number(const char *text, unsigned long maximum, unsigned long *ret_number)
{
	unsigned long number = 0;

	if (!*text)
		return ERR_USAGE;
	for (; *text; text++) {
		unsigned long digit = (unsigned long)(*text - '0');

		if (*text < '0' || *text > '9' || number > (ULONG_MAX - digit) / 10)
			return ERR_USAGE;
		number = number * 10 + digit;
	}
	if (number > maximum)
		return ERR_USAGE;
	*ret_number = number;
	return OK;
}

static unsigned long unit_seconds(char unit)
{
	switch (unit) {
	case 's':
		return 1;
	case 'm':
		return 60;
	case 'h':
		return 3600;
	default:
		return 0;
	}
}

enum err options_duration(const char *text, unsigned *ret_seconds)
{
	char digits[16];
	size_t len = strlen(text);
	unsigned long factor = len ? unit_seconds(text[len - 1]) : 0;
	unsigned long number;

	if (factor)
		len--;
	else
		factor = 1;
	if (len >= sizeof(digits))
		return ERR_USAGE;
	memcpy(digits, text, len);
	digits[len] = '\0';
	if (options_number(digits, DURATION_MAX, &number) || number * factor > DURATION_MAX)
		return ERR_USAGE;
	*ret_seconds = (unsigned)(number * factor);
	return OK;
}
