/*
 * A first byte for the format, a line with a path, and a plain document. It is sealed and decrypted: in JSON and dotenv, where every text can be written, it says the same again. A value is set at the path and
 * one taken out; what comes of it is read again.
 */
#include <stdlib.h>

#include "formats/sops_block.h"
#include "formats/sops_compare.h"
#include "formats/sops_decrypt.h"
#include "formats/sops_edit.h"
#include "formats/sops_seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static struct secret *data_key(void)
{
	static struct secret *key;

	if (!key && (secret_client_init() || secret_new(SOPS_DATA_KEY_LEN, &key)))
		abort();
	return key;
}

static json_t *new_tree(void)
{
	return json_pack("{s:[{s:s, s:s}], s:s, s:s, s:s}", "age", "recipient", "age1x", "enc", "a\nb\n",
	                 "lastmodified", "", "mac", "", "version", "3.9.0");
}

static void open_again(const struct sops_document *plain, struct buf *sealed)
{
	struct sops_document document, again = { .count = 0 };
	struct sops_metadata *metadata = calloc(1, sizeof(*metadata));
	CLEANUP(buf_freep) struct buf *opened = NULL;
	bool sure = plain->format == SOPS_JSON || plain->format == SOPS_DOTENV;
	enum err err = sops_document_read(&document, plain->format, buf_bytes(sealed));

	check(metadata && !buf_new(SOPS_FILE_MAX, &opened));
	if (!err)
		err = sops_metadata_read(&document, metadata);
	if (!err)
		err = sops_decrypt(&document, metadata, data_key(), opened);
	if (!err)
		err = sops_document_read(&again, plain->format, buf_bytes(opened));
	check(!sure || (!err && sops_documents_are_same(&again, plain)));
	sops_document_done(&again);
	sops_document_done(&document);
	free(metadata);
}

static void seal(struct sops_document *plain, enum sops_rule rule)
{
	CLEANUP(buf_freep) struct buf *out = NULL;
	CLEANUP(json_decrefp) json_t *tree = new_tree();
	struct sops_metadata *metadata = calloc(1, sizeof(*metadata));
	struct sops_block block = { .format = plain->format,
		                    .flow = sops_block_is_flow(plain),
		                    .tree = tree };
	struct sops_seal sealing = { plain, metadata, data_key(), NULL, "2026-01-02T03:04:05Z", NULL };

	check(metadata && tree && !buf_new(SOPS_FILE_MAX, &out));
	metadata->rule = rule;
	metadata->pattern = bytes_of_string(rule == SOPS_UNENCRYPTED_SUFFIX ? "_unencrypted" : "c");
	if (sops_seal(&sealing, sops_block_put, &block, out) == OK && rule == SOPS_UNENCRYPTED_SUFFIX)
		open_again(plain, out);
	free(metadata);
}

static void edit(struct sops_document *document, const struct sops_path *path, json_t *value)
{
	CLEANUP(buf_freep) struct buf *out = NULL;
	struct sops_document again;

	check(!buf_new(SOPS_FILE_MAX, &out));
	if (value ? sops_edit_put(document, path, value, out) : sops_edit_remove(document, path, out))
		return;
	if (sops_document_read(&again, document->format, buf_bytes(out)) == OK)
		(void)sops_documents_are_same(&again, document);
	sops_document_done(&again);
}

static void edit_both(struct sops_document *document, struct bytes text)
{
	CLEANUP(json_decrefp) json_t *value = json_string("a: b\n# c\n");
	CLEANUP(json_decrefp) json_t *list = json_pack("[i, {s:b}]", 1, "x", 1);
	struct sops_path path;

	if (sops_path_parse(text, &path))
		return;
	edit(document, &path, value);
	edit(document, &path, list);
	edit(document, &path, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	const uint8_t *line = len > 1 ? memchr(data + 1, '\n', len - 1) : NULL;
	struct sops_document document;
	struct bytes text;

	if (!line || len > 65536)
		return 0;
	text = bytes_of(line + 1, len - (size_t)(line - data) - 1);
	if (sops_document_read(&document, (enum sops_format)(data[0] % 4), text) == OK) {
		seal(&document, SOPS_UNENCRYPTED_SUFFIX);
		seal(&document, SOPS_ENCRYPTED_COMMENT_REGEX);
		edit_both(&document, bytes_of(data + 1, (size_t)(line - data) - 1));
	}
	sops_document_done(&document);
	return 0;
}
