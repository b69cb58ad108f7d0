#include "formats/sops_document.h"

#include <stdlib.h>
#include <string.h>

#include "common/secret.h"
#include "formats/text.h"

#define BLOCK_LEN 65536U
#define FORMATS 5U

struct sops_block {
	struct sops_block *next;
	size_t len, used;
	uint8_t bytes[];
};

static const struct {
	const char *word;
	const char *endings[3];
} formats[FORMATS] = {
	[SOPS_YAML] = { "yaml", { ".yaml", ".yml", NULL } },
	[SOPS_JSON] = { "json", { ".json", NULL, NULL } },
	[SOPS_DOTENV] = { "dotenv", { ".env", NULL, NULL } },
	[SOPS_INI] = { "ini", { ".ini", NULL, NULL } },
	[SOPS_BINARY] = { "binary", { NULL, NULL, NULL } },
};

enum err sops_format_parse(const char *word, enum sops_format *ret_format)
{
	for (unsigned i = 0; i < FORMATS; i++) {
		if (strcmp(word, formats[i].word) == 0) {
			*ret_format = (enum sops_format)i;
			return OK;
		}
	}
	return ERR_USAGE;
}

static bool ends_with(const char *name, const char *ending)
{
	size_t len = strlen(name), ending_len = strlen(ending);

	return len >= ending_len && strcmp(name + len - ending_len, ending) == 0;
}

static bool has_line_with(struct bytes text, const char *beginning)
{
	const uint8_t *at = text.data, *end = text.data + text.len;

	while (at && at < end) {
		if (bytes_begin_with(bytes_of(at, (size_t)(end - at)), beginning))
			return true;
		at = memchr(at, '\n', (size_t)(end - at));
		at = at ? at + 1 : NULL;
	}
	return false;
}

enum sops_format sops_format_guess(const char *name, struct bytes text)
{
	size_t i = 0;

	for (unsigned format = 0; name && format < FORMATS; format++)
		for (const char *const *ending = formats[format].endings; *ending; ending++)
			if (ends_with(name, *ending))
				return (enum sops_format)format;
	while (i < text.len && is_white_space(text.data[i]))
		i++;
	if (i < text.len && text.data[i] == '{')
		return SOPS_BINARY; /* or JSON, which differs by what its keys are */
	if (has_line_with(text, "[sops]"))
		return SOPS_INI;
	return has_line_with(text, "sops_version=") || has_line_with(text, "sops_mac=") ? SOPS_DOTENV
	                                                                                : SOPS_YAML;
}

uint8_t *sops_document_space(struct sops_document *document, size_t len)
{
	struct sops_block *block = document->blocks;

	if (!block || block->len - block->used < len) {
		size_t size = len > BLOCK_LEN ? len : BLOCK_LEN;

		block = malloc(sizeof(*block) + size);
		if (!block)
			return NULL;
		*block = (struct sops_block){ document->blocks, size, 0 };
		document->blocks = block;
	}
	block->used += len;
	return block->bytes + block->used - len;
}

static void *grown(void *old, size_t count, size_t *capacity, size_t size)
{
	size_t wanted = *capacity ? 2 * *capacity : 64;
	void *memory = calloc(wanted, size);

	if (!memory)
		return NULL;
	if (count)
		memcpy(memory, old, count * size);
	free(old);
	*capacity = wanted;
	return memory;
}

static bool is_metadata(const struct sops_document *document, const struct sops_node *node)
{
	const struct sops_node *parent;

	if (node->parent == SOPS_NONE)
		return false;
	parent = &document->nodes[node->parent];
	return node->metadata || parent->metadata ||
	       (parent->parent == SOPS_NONE && node->key.data &&
	        bytes_equal(node->key, bytes_of_string("sops")) && node->kind != SOPS_COMMENT);
}

enum err sops_document_add(struct sops_document *document, const struct sops_node *node, uint32_t *ret_index)
{
	if (document->count >= SOPS_NODES_MAX) {
		(void)snprintf(document->reason, sizeof(document->reason), "it has more than %u values",
		               SOPS_NODES_MAX);
		return ERR_BUSY;
	}
	if (document->count == document->capacity) {
		struct sops_node *nodes =
		        grown(document->nodes, document->count, &document->capacity, sizeof(*nodes));

		if (!nodes)
			return ERR_NOMEM;
		document->nodes = nodes;
	}
	document->nodes[document->count] = *node;
	document->nodes[document->count].metadata = is_metadata(document, node);
	*ret_index = (uint32_t)document->count++;
	return OK;
}

enum err sops_document_cut(struct sops_document *document, size_t start, size_t end)
{
	if (document->cut_count == document->cut_capacity) {
		struct sops_span *cuts =
		        grown(document->cuts, document->cut_count, &document->cut_capacity, sizeof(*cuts));

		if (!cuts)
			return ERR_NOMEM;
		document->cuts = cuts;
	}
	document->cuts[document->cut_count++] = (struct sops_span){ start, end };
	return OK;
}

enum err sops_document_refuse(struct sops_document *document, size_t position, const char *what)
{
	size_t line = 1;

	for (size_t i = 0; i < position && i < document->text.len; i++)
		line += document->text.data[i] == '\n';
	(void)snprintf(document->reason, sizeof(document->reason), "line %zu: %s", line, what);
	return ERR_BAD_FILE;
}

static int by_place(const struct sops_node *a, const struct sops_node *b)
{
	size_t len = a->key.len < b->key.len ? a->key.len : b->key.len;
	int difference;

	if (a->parent != b->parent)
		return a->parent < b->parent ? -1 : 1;
	difference = len ? memcmp(a->key.data, b->key.data, len) : 0;
	if (difference)
		return difference;
	return a->key.len == b->key.len ? 0 : a->key.len < b->key.len ? -1 : 1;
}

static int compare(const void *a, const void *b)
{
	return by_place(*(const struct sops_node *const *)a, *(const struct sops_node *const *)b);
}

enum err sops_document_check_keys(struct sops_document *document)
{
	CLEANUP(freep) const struct sops_node **keyed = calloc(document->count + 1, sizeof(const void *));
	size_t count = 0;

	if (!keyed)
		return ERR_NOMEM;
	for (size_t i = 0; i < document->count; i++)
		if (document->nodes[i].key.data)
			keyed[count++] = &document->nodes[i];
	qsort(keyed, count, sizeof(const void *), compare);
	for (size_t i = 1; i < count; i++)
		if (by_place(keyed[i - 1], keyed[i]) == 0)
			return sops_document_refuse(document, keyed[i]->start, "this key is there twice");
	return OK;
}

enum err sops_path_put(struct buf *buf, const struct sops_document *document, uint32_t index)
{
	const struct sops_node *chain[SOPS_DEPTH_MAX + 2];
	size_t depth = 0;
	enum err err = OK;

	for (; index != SOPS_NONE && depth < SOPS_DEPTH_MAX + 2; index = document->nodes[index].parent)
		if (document->nodes[index].key.data)
			chain[depth++] = &document->nodes[index];
	if (depth == 0)
		return buf_put_u8(buf, ':');
	while (!err && depth-- > 0) {
		err = buf_put(buf, chain[depth]->key);
		if (!err)
			err = buf_put_u8(buf, ':');
	}
	return err;
}

/* What was taken for a binary file is a JSON file when it has other keys beside data. */
static void settle_binary(struct sops_document *document)
{
	size_t others = 0, data = 0;

	for (size_t i = 0; i < document->count; i++) {
		const struct sops_node *node = &document->nodes[i];

		if (node->parent != 0 || node->metadata)
			continue;
		if (node->kind == SOPS_STRING && bytes_equal(node->key, bytes_of_string("data")))
			data++;
		else
			others++;
	}
	if (data != 1 || others)
		document->format = SOPS_JSON;
}

enum err sops_document_read(struct sops_document *document, enum sops_format format, struct bytes text)
{
	static enum err (*const readers[FORMATS])(struct sops_document *) = {
		[SOPS_YAML] = sops_yaml_read,     [SOPS_JSON] = sops_json_read,
		[SOPS_DOTENV] = sops_dotenv_read, [SOPS_INI] = sops_ini_read,
		[SOPS_BINARY] = sops_json_read,
	};
	enum err err;

	*document = (struct sops_document){ .format = format, .text = text };
	if (text.len > SOPS_FILE_MAX) {
		(void)snprintf(document->reason, sizeof(document->reason), "it has more than %u MiB",
		               SOPS_FILE_MAX >> 20);
		return ERR_BUSY;
	}
	err = readers[format](document);
	if (!err && format != SOPS_DOTENV)
		err = sops_document_check_keys(document);
	if (!err && format == SOPS_BINARY)
		settle_binary(document);
	return err;
}

void sops_document_done(struct sops_document *document)
{
	while (document->blocks) {
		struct sops_block *next = document->blocks->next;

		secret_wipe(document->blocks->bytes, document->blocks->used);
		free(document->blocks);
		document->blocks = next;
	}
	free(document->nodes);
	free(document->cuts);
	document->nodes = NULL;
	document->cuts = NULL;
}
