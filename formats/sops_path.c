#include "formats/sops_path.h"

#include "formats/sops_value.h"

static bool read_number(struct bytes text, uint32_t *ret_number)
{
	uint64_t number = 0;

	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return false;
		number = number * 10 + (text.data[i] - '0');
		if (number >= SOPS_NODES_MAX)
			return false;
	}
	*ret_number = (uint32_t)number;
	return text.len > 0;
}

static enum err add_step(struct sops_path *path, struct sops_step step)
{
	if (path->count == SOPS_PATH_STEPS_MAX)
		return ERR_USAGE;
	path->steps[path->count++] = step;
	return OK;
}

/* The key ends where its quotes and a bracket are followed by another step or by nothing. */
static enum err take_quoted(struct bytes text, size_t *at, struct sops_path *path)
{
	uint8_t quote = text.data[*at];
	size_t start = *at + 1;

	for (size_t i = start; i + 1 < text.len; i++) {
		bool ends = i + 2 == text.len || text.data[i + 2] == '[' || text.data[i + 2] == '.';

		if (text.data[i] != quote || text.data[i + 1] != ']' || !ends)
			continue;
		*at = i + 2;
		return add_step(path, (struct sops_step){ .key = bytes_of(text.data + start, i - start) });
	}
	return ERR_USAGE;
}

/* The bracket was passed. */
static enum err take_bracket(struct bytes text, size_t *at, struct sops_path *path)
{
	struct sops_step step = { .is_number = true };
	size_t start = *at;

	if (start < text.len && (text.data[start] == '"' || text.data[start] == '\''))
		return take_quoted(text, at, path);
	while (*at < text.len && text.data[*at] != ']')
		(*at)++;
	if (*at == text.len || !read_number(bytes_of(text.data + start, *at - start), &step.number))
		return ERR_USAGE;
	(*at)++;
	return add_step(path, step);
}

static enum err take_word(struct bytes text, size_t *at, struct sops_path *path)
{
	struct sops_step step = { .is_number = false };
	size_t start = *at;

	while (*at < text.len && text.data[*at] != '.' && text.data[*at] != '[')
		(*at)++;
	step.key = bytes_of(text.data + start, *at - start);
	step.is_number = read_number(step.key, &step.number);
	return step.key.len ? add_step(path, step) : ERR_USAGE;
}

enum err sops_path_parse(struct bytes text, struct sops_path *ret_path)
{
	size_t at = 0;
	enum err err = text.len <= SOPS_PATH_LEN_MAX ? OK : ERR_USAGE;

	ret_path->count = 0;
	while (!err && at < text.len) {
		if (text.data[at] == '[') {
			at++;
			err = take_bracket(text, &at, ret_path);
			continue;
		}
		if (ret_path->count && text.data[at++] != '.')
			return ERR_USAGE;
		err = take_word(text, &at, ret_path);
	}
	return err || ret_path->count ? err : ERR_USAGE;
}

bool sops_node_is_comment(const struct sops_node *node)
{
	struct sops_value value;

	return node->kind == SOPS_COMMENT ||
	       (node->kind == SOPS_STRING && sops_value_looks_like(node->text) &&
	        sops_value_parse(node->text, &value) == OK && value.type == SOPS_TYPE_COMMENT);
}

static bool find_child(const struct sops_document *document, uint32_t parent, const struct sops_step *step,
                       uint32_t *ret_index)
{
	bool list = document->nodes[parent].kind == SOPS_LIST;
	uint32_t position = 0;

	if (list && !step->is_number)
		return false;
	for (uint32_t i = parent + 1; i < document->count; i++) {
		const struct sops_node *node = &document->nodes[i];

		if (node->parent != parent || node->metadata || sops_node_is_comment(node))
			continue;
		if (list ? position++ == step->number
		         : step->key.data && node->key.data && bytes_equal(node->key, step->key)) {
			*ret_index = i;
			return true;
		}
	}
	return false;
}

enum err sops_path_find(const struct sops_document *document, const struct sops_path *path, size_t count,
                        uint32_t *ret_index)
{
	uint32_t index = 0;

	while (index < document->count && document->nodes[index].kind != SOPS_MAP)
		index++; /* comments may stand before it */
	if (index == document->count)
		return ERR_NO_MATCH;
	for (size_t i = 0; i < count; i++)
		if (!find_child(document, index, &path->steps[i], &index))
			return ERR_NO_MATCH;
	*ret_index = index;
	return OK;
}
