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

bool sops_documents_are_same(const struct sops_document *a, const struct sops_document *b)
{
	size_t i = skip_comments(a, 0), j = skip_comments(b, 0);

	for (; i < a->count && j < b->count; i = skip_comments(a, i + 1), j = skip_comments(b, j + 1)) {
		const struct sops_node *left = &a->nodes[i], *right = &b->nodes[j];

		if (!kinds_are_same(left->kind, right->kind) || !bytes_equal(left->key, right->key) ||
		    (left->key.data == NULL) != (right->key.data == NULL) ||
		    !bytes_equal(left->text, right->text) || depth_of(a, left) != depth_of(b, right))
			return false;
	}
	return i == a->count && j == b->count;
}
