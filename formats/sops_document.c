#include "formats/sops_document.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/secret.h"
#include "formats/text.h"

#define BLOCK_LEN 65536U
#define FORMATS 5U

struct sops_space {
	struct sops_space *next;
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
	const uint8_t *at = text.data, *end = text.len ? text.data + text.len : NULL;

	while (at && at < end) {
		if (bytes_begin_with(bytes_of(at, (size_t)(end - at)), beginning))
			return true;
		at = memchr(at, '\n', (size_t)(end - at));
		at = at ? at + 1 : NULL;
	}
	return false;
}

bool sops_format_is_flat(enum sops_format format)
{
	return format == SOPS_DOTENV || format == SOPS_INI;
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
	struct sops_space *space = document->spaces;

	if (!space || space->len - space->used < len) {
		size_t size = len > BLOCK_LEN ? len : BLOCK_LEN;

		space = malloc(sizeof(*space) + size);
		if (!space)
			return NULL;
		*space = (struct sops_space){ document->spaces, size, 0 };
		document->spaces = space;
	}
	space->used += len;
	return space->bytes + space->used - len;
}

/* Nothing secret stands in it, so that it may be moved: the pages of a large one are, and not their bytes. NULL: no memory, and old is as it was. */
static void *grown(void *old, size_t *capacity, size_t size)
{
	size_t wanted = *capacity ? 2 * *capacity : 64;
	void *memory = reallocarray(old, wanted, size);

	if (memory)
		*capacity = wanted;
	return memory;
}

/* In dotenv it is what begins with "sops_", which its reader says. */
static bool is_metadata(const struct sops_document *document, const struct sops_node *node)
{
	const struct sops_node *parent;

	if (node->parent == SOPS_NONE)
		return false;
	parent = &document->nodes[node->parent];
	return node->metadata || parent->metadata ||
	       (parent->parent == SOPS_NONE && node->key.data && document->format != SOPS_DOTENV &&
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
		struct sops_node *nodes = grown(document->nodes, &document->capacity, sizeof(*nodes));

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
		struct sops_span *cuts = grown(document->cuts, &document->cut_capacity, sizeof(*cuts));

		if (!cuts)
			return ERR_NOMEM;
		document->cuts = cuts;
	}
	document->cuts[document->cut_count++] = (struct sops_span){ start, end, false };
	return OK;
}

enum err sops_document_refuse(struct sops_document *document, size_t position, const char *what)
{
	size_t line = 1;

	for (size_t i = 0; i < position && i < document->text.len; i++)
		line += document->text.data[i] == '\n';
	(void)snprintf(document->reason, sizeof(document->reason), "line %zu%s: %s", line,
	               document->aliases ? ", with its aliases written out" : "", what);
	return ERR_BAD_FILE;
}

static bool is_same_place(const struct sops_node *a, const struct sops_node *b)
{
	return a->parent == b->parent && bytes_equal(a->key, b->key);
}

/* Of the nodes with a key: an open table, at most half full, of their indices plus 1. Keyed, so that nobody can choose keys that fall on one place. */
struct key_table {
	uint32_t *slots; /* owned */
	size_t mask;
	uint8_t key[crypto_shorthash_KEYBYTES];
};

static enum err key_table_init(struct key_table *table, size_t count)
{
	size_t size = 16;

	while (size < 2 * count)
		size *= 2;
	table->mask = size - 1;
	table->slots = calloc(size, sizeof(*table->slots));
	randombytes_buf(table->key, sizeof(table->key));
	return table->slots ? OK : ERR_NOMEM;
}

/* Where the node stands, or is to stand. */
static uint32_t *key_table_find(const struct key_table *table, const struct sops_document *document,
                                const struct sops_node *node)
{
	uint8_t hash[crypto_shorthash_BYTES];
	uint64_t at;

	(void)crypto_shorthash(hash, node->key.data, node->key.len, table->key);
	memcpy(&at, hash, sizeof(at));
	at ^= node->parent * UINT64_C(0x9e3779b97f4a7c15);
	while (table->slots[at & table->mask] &&
	       !is_same_place(&document->nodes[table->slots[at & table->mask] - 1], node))
		at++;
	return &table->slots[at & table->mask];
}

enum err sops_document_check_keys(struct sops_document *document)
{
	struct key_table table;
	enum err err = key_table_init(&table, document->count);

	for (size_t i = 0; !err && i < document->count; i++) {
		const struct sops_node *node = &document->nodes[i];
		uint32_t *slot = node->key.data ? key_table_find(&table, document, node) : NULL;

		if (slot && *slot)
			err = sops_document_refuse(document, node->start, "this key is there twice");
		else if (slot)
			*slot = (uint32_t)i + 1;
	}
	free(table.slots);
	return err;
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

static enum err read_as(struct sops_document *document)
{
	static enum err (*const readers[FORMATS])(struct sops_document *) = {
		[SOPS_YAML] = sops_yaml_read,     [SOPS_JSON] = sops_json_read,
		[SOPS_DOTENV] = sops_dotenv_read, [SOPS_INI] = sops_ini_read,
		[SOPS_BINARY] = sops_json_read,
	};
	enum sops_format format = document->format;
	enum err err;

	if (document->text.len > SOPS_FILE_MAX) {
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

enum err sops_document_read(struct sops_document *document, enum sops_format format, struct bytes text)
{
	*document = (struct sops_document){ .format = format, .text = text };
	return read_as(document);
}

enum err sops_document_read_aliases(struct sops_document *document, struct bytes text)
{
	*document = (struct sops_document){ .format = SOPS_YAML, .text = text, .keeps_aliases = true };
	return read_as(document);
}

void sops_document_done(struct sops_document *document)
{
	while (document->spaces) {
		struct sops_space *next = document->spaces->next;

		secret_wipe(document->spaces->bytes, document->spaces->used);
		free(document->spaces);
		document->spaces = next;
	}
	free(document->nodes);
	free(document->cuts);
	document->nodes = NULL;
	document->cuts = NULL;
}
