#include "formats/sops_comment.h"

#include "formats/text.h"

static bool has_line_end(const struct sops_document *document, size_t start, size_t end)
{
	return end > start && memchr(document->text.data + start, '\n', end - start);
}

void sops_comments_init(struct sops_comments *comments, const struct sops_document *document)
{
	*comments = (struct sops_comments){ .document = document, .head_next = SOPS_NONE };
}

/* The comments around index are looked for when it is not one of those around the last. */
static void look_around(struct sops_comments *comments, uint32_t index)
{
	const struct sops_document *document = comments->document;
	uint32_t begin = index, end = index + 1;

	if (index >= comments->begin && index < comments->end)
		return;
	while (begin > 0 && document->nodes[begin - 1].kind == SOPS_COMMENT)
		begin--;
	while (end < document->count && document->nodes[end].kind == SOPS_COMMENT)
		end++;
	comments->begin = begin;
	comments->end = end;
	comments->asked = comments->next = end;
}

uint32_t sops_comment_behind(struct sops_comments *comments, uint32_t index)
{
	look_around(comments, index);
	return comments->end;
}

/* The next node that begins behind a comment; a container of which only the key stands before it is not one. For a later comment it is the same one or a later. */
static bool find_next(struct sops_comments *comments, uint32_t index, uint32_t *ret_next)
{
	const struct sops_document *document = comments->document;
	uint32_t next;

	look_around(comments, index);
	next = comments->asked <= index ? comments->next : comments->end;
	while (next < document->count &&
	       (document->nodes[next].kind == SOPS_COMMENT || document->nodes[next].parent == SOPS_NONE ||
	        document->nodes[next].begin < document->nodes[index].start))
		next++;
	comments->asked = index;
	comments->next = *ret_next = next;
	return next < document->count;
}

static bool find_previous(struct sops_comments *comments, uint32_t index, uint32_t *ret_previous)
{
	look_around(comments, index);
	if (comments->begin == 0)
		return false;
	*ret_previous = comments->begin - 1;
	return true;
}

bool sops_comment_is_inline(struct sops_comments *comments, uint32_t index, uint32_t *ret_value)
{
	const struct sops_document *document = comments->document;
	const struct sops_node *comment = &document->nodes[index];
	uint32_t previous;

	if (document->format != SOPS_YAML)
		return false;
	/* Behind the colon of a map that begins on the next line. */
	if (index + 1 < document->count && document->nodes[index + 1].parent != SOPS_NONE &&
	    document->nodes[index + 1].begin < comment->start) {
		*ret_value = index + 1;
		return !has_line_end(document, document->nodes[index + 1].begin, comment->start);
	}
	if (!find_previous(comments, index, &previous) || document->nodes[previous].parent == SOPS_NONE)
		return false;
	*ret_value = previous;
	return !has_line_end(document, document->nodes[previous].end, comment->start);
}

static uint32_t column_of(const struct sops_document *document, size_t at)
{
	size_t start = at;

	while (start > 0 && document->text.data[start - 1] != '\n')
		start--;
	return (uint32_t)(at - start);
}

/* An element of a list is indented to its dash. */
static uint32_t entry_column(const struct sops_node *node)
{
	return node->key.data || node->column < 2 ? node->column : node->column - 2;
}

/* The last line end of two between which nothing stands; those within comments do not count, for there are none. */
static size_t last_empty_line(struct bytes text, size_t from, size_t to)
{
	size_t last = SIZE_MAX, line_end = SIZE_MAX;

	for (size_t at = from; at < to; at++) {
		if (text.data[at] == '\n') {
			last = line_end != SIZE_MAX ? line_end : last;
			line_end = at;
		} else if (!is_white_space(text.data[at])) {
			line_end = SIZE_MAX;
		}
	}
	return last;
}

/* Nothing but comments stands in the lines between, and no empty line; one that is indented deeper is a foot of what precedes. */
static bool is_head(struct sops_comments *comments, uint32_t index, uint32_t next)
{
	const struct sops_document *document = comments->document;
	const struct sops_node *comment = &document->nodes[index], *node = &document->nodes[next];

	if (column_of(document, comment->start - 1) > entry_column(node))
		return false;
	if (comment->end >= node->begin)
		return true;
	if (comments->head_next != next || comment->end < comments->head_from) {
		comments->head_next = next;
		comments->head_from = comment->end;
		comments->empty_line = last_empty_line(document->text, comment->end, node->begin);
	}
	return comments->empty_line == SIZE_MAX || comments->empty_line < comment->end;
}

static uint32_t owner_by_column(const struct sops_document *document, uint32_t previous, uint32_t column)
{
	while (document->nodes[previous].parent != SOPS_NONE) {
		if (entry_column(&document->nodes[previous]) <= column)
			return document->nodes[previous].parent;
		previous = document->nodes[previous].parent;
	}
	return previous;
}

/* Behind brackets it is in what they enclose. */
static uint32_t owner_of_line(const struct sops_document *document, uint32_t index, uint32_t value)
{
	const struct sops_node *node = &document->nodes[value];
	bool container = value < index && (node->kind == SOPS_MAP || node->kind == SOPS_LIST);
	uint32_t owner = container ? value : node->parent;

	while (document->nodes[owner].in_flow)
		owner = document->nodes[owner].parent;
	return owner;
}

static uint32_t owner_in_yaml(struct sops_comments *comments, uint32_t index)
{
	const struct sops_document *document = comments->document;
	const struct sops_node *comment = &document->nodes[index];
	uint32_t next, previous;

	if (sops_comment_is_inline(comments, index, &previous))
		return owner_of_line(document, index, previous);
	if (find_next(comments, index, &next) && is_head(comments, index, next))
		return document->nodes[next].parent;
	if (!find_previous(comments, index, &previous))
		return SOPS_NONE;
	return owner_by_column(document, previous, column_of(document, comment->start - 1));
}

/* A section's header counts as what follows, too. */
static uint32_t owner_in_ini(struct sops_comments *comments, uint32_t index)
{
	const struct sops_document *document = comments->document;
	uint32_t behind = sops_comment_behind(comments, index);

	if (behind == document->count)
		return document->nodes[index].parent;
	return document->nodes[behind].kind == SOPS_MAP ? behind : document->nodes[behind].parent;
}

uint32_t sops_comment_owner(struct sops_comments *comments, uint32_t index)
{
	if (comments->document->format == SOPS_YAML)
		return owner_in_yaml(comments, index);
	if (comments->document->format == SOPS_INI)
		return owner_in_ini(comments, index);
	return comments->document->nodes[index].parent;
}

void sops_comment_places(struct sops_comments *comments, uint32_t index,
                         uint32_t ret_places[static SOPS_COMMENT_PLACES])
{
	uint32_t next = sops_comment_behind(comments, index), previous = SOPS_NONE;

	(void)find_previous(comments, index, &previous);
	ret_places[0] = comments->document->nodes[index].parent;
	ret_places[1] = previous;
	ret_places[2] = next < comments->document->count ? next : SOPS_NONE;
}
