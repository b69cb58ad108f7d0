#include "formats/sops_selection.h"

#include <stdlib.h>

#include "formats/regex_library.h"

struct sops_selection {
	const struct sops_document *document;
	const struct sops_metadata *metadata;
	struct regex *regex;
	bool *matched; /* by node: a key on its way matches */
};

enum err sops_selection_new(const struct sops_document *document, const struct sops_metadata *metadata,
                            struct sops_selection **ret_selection)
{
	CLEANUP(sops_selection_freep) struct sops_selection *selection = calloc(1, sizeof(*selection));
	enum err err = OK;

	if (!selection)
		return ERR_NOMEM;
	selection->document = document;
	selection->metadata = metadata;
	selection->matched = calloc(document->count + 1, sizeof(*selection->matched));
	if (!selection->matched)
		return ERR_NOMEM;
	if (metadata->rule == SOPS_ENCRYPTED_REGEX || metadata->rule == SOPS_UNENCRYPTED_REGEX)
		err = regex_new(metadata->pattern, &selection->regex);
	if (err)
		return err;
	*ret_selection = TAKE(selection);
	return OK;
}

struct sops_selection *sops_selection_free(struct sops_selection *selection)
{
	if (!selection)
		return NULL;
	(void)regex_free(selection->regex);
	free(selection->matched);
	free(selection);
	return NULL;
}

static enum err match(const struct sops_selection *selection, struct bytes key, bool *ret_match)
{
	struct bytes suffix = selection->metadata->pattern;

	if (selection->regex)
		return regex_match(selection->regex, key, ret_match);
	*ret_match = key.len >= suffix.len && (suffix.len == 0 || memcmp(key.data + key.len - suffix.len,
	                                                                 suffix.data, suffix.len) == 0);
	return OK;
}

bool sops_selection_is_open(const struct sops_selection *selection)
{
	return selection->metadata->rule == SOPS_ENCRYPTED_COMMENT_REGEX ||
	       selection->metadata->rule == SOPS_UNENCRYPTED_COMMENT_REGEX;
}

enum err sops_selection_ask(struct sops_selection *selection, uint32_t index, bool *ret_encrypted)
{
	const struct sops_node *node = &selection->document->nodes[index];
	enum sops_rule rule = selection->metadata->rule;
	bool *matched = &selection->matched[index];
	enum err err = OK;

	*matched = node->parent != SOPS_NONE && selection->matched[node->parent];
	if (!*matched && node->key.data)
		err = match(selection, node->key, matched);
	*ret_encrypted = *matched == (rule == SOPS_ENCRYPTED_SUFFIX || rule == SOPS_ENCRYPTED_REGEX);
	/* A binary file is one value; the rules are not for it. */
	if (selection->document->format == SOPS_BINARY)
		*ret_encrypted = true;
	return err;
}
