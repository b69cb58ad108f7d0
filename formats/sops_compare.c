#include "formats/sops_compare.h"

static size_t skip_comments(const struct sops_document *document, size_t index)
{
	while (index < document->count &&
	       (document->nodes[index].kind == SOPS_COMMENT || document->nodes[index].metadata))
		index++;
	return index;
}

static unsigned depth_of(const struct sops_document *document, const struct sops_node *node)
{
	unsigned depth = 0;

	for (; node->parent != SOPS_NONE; node = &document->nodes[node->parent])
		depth++;
	return depth;
}

static bool kinds_are_same(enum sops_kind a, enum sops_kind b)
{
	return a == b || (a == SOPS_INTEGER && b == SOPS_FLOAT) || (a == SOPS_FLOAT && b == SOPS_INTEGER);
}

static bool nodes_are_same(const struct sops_document *a, size_t i, const struct sops_document *b, size_t j)
{
	const struct sops_node *left = &a->nodes[i], *right = &b->nodes[j];

	return kinds_are_same(left->kind, right->kind) && bytes_equal(left->key, right->key) &&
	       (left->key.data == NULL) == (right->key.data == NULL) &&
	       bytes_equal(left->text, right->text) && depth_of(a, left) == depth_of(b, right);
}

bool sops_documents_are_same(const struct sops_document *a, const struct sops_document *b)
{
	size_t i = skip_comments(a, 0), j = skip_comments(b, 0);

	for (; i < a->count && j < b->count; i = skip_comments(a, i + 1), j = skip_comments(b, j + 1))
		if (!nodes_are_same(a, i, b, j))
			return false;
	return i == a->count && j == b->count;
}

static bool is_inside(const struct sops_document *document, size_t at, uint32_t index)
{
	uint32_t node = (uint32_t)at;

	while (node != SOPS_NONE && node != index)
		node = document->nodes[node].parent;
	return node == index;
}

bool sops_document_is_without(const struct sops_document *less, const struct sops_document *document,
                              uint32_t index)
{
	size_t j = skip_comments(less, 0);

	for (size_t i = skip_comments(document, 0); i < document->count; i = skip_comments(document, i + 1)) {
		if (is_inside(document, i, index))
			continue;
		if (j == less->count || !nodes_are_same(document, i, less, j))
			return false;
		j = skip_comments(less, j + 1);
	}
	return j == less->count;
}
