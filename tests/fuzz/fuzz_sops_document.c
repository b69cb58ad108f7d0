/* The first byte says which format; the data key is 00 01 02 ... 1f, so that the kept files open. What decrypts is a file of its format again, and converts without harm. */
#include <stdlib.h>

#include "common/secret.h"
#include "formats/sops_convert.h"
#include "formats/sops_decrypt.h"
#include "formats/sops_metadata.h"
#include "formats/sops_value.h"

/* libfyaml 0.7.12 forgets some memory of its own where it refuses a text; tokenctl reads one file and ends. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libfyaml.so";
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct secret *data_key(void)
{
	static struct secret *key;

	if (!key) {
		if (secret_client_init() || secret_new(SOPS_DATA_KEY_LEN, &key))
			abort();
		for (uint8_t i = 0; i < SOPS_DATA_KEY_LEN; i++)
			secret_fill(key)[i] = i;
	}
	return key;
}

static void check(bool good)
{
	if (!good)
		abort();
}

static void check_nodes(const struct sops_document *document)
{
	for (size_t i = 0; i < document->count; i++) {
		const struct sops_node *node = &document->nodes[i];

		check(node->start <= node->end && node->end <= document->text.len);
		check(node->parent == SOPS_NONE || node->parent < i);
	}
	for (size_t i = 0; i < document->cut_count; i++)
		check(document->cuts[i].start <= document->cuts[i].end &&
		      document->cuts[i].end <= document->text.len);
}

static void decrypt(struct sops_document *document, const struct sops_metadata *metadata)
{
	CLEANUP(buf_freep) struct buf *out = NULL;
	struct sops_document again;

	check(!buf_new(SOPS_FILE_MAX, &out));
	if (sops_decrypt(document, metadata, data_key(), out))
		return;
	if (document->format != SOPS_BINARY) {
		check(sops_document_read(&again, document->format, buf_bytes(out)) == OK);
		sops_document_done(&again);
	}
	for (unsigned format = SOPS_YAML; format <= SOPS_BINARY; format++) {
		CLEANUP(buf_freep) struct buf *converted = NULL;

		check(!buf_new(SOPS_FILE_MAX, &converted));
		if (sops_convert(document, buf_bytes(out), (enum sops_format)format, converted))
			continue;
		if (format == SOPS_JSON) {
			check(sops_document_read(&again, SOPS_JSON, buf_bytes(converted)) == OK);
			sops_document_done(&again);
		}
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct sops_document document;
	struct sops_metadata *metadata;

	(void)data_key();
	if (len < 1 || len > 65536)
		return 0;
	metadata = calloc(1, sizeof(*metadata));
	check(metadata != NULL);
	(void)sops_format_guess(NULL, bytes_of(data + 1, len - 1));
	if (sops_document_read(&document, (enum sops_format)(data[0] % 5), bytes_of(data + 1, len - 1)) ==
	    OK) {
		check_nodes(&document);
		if (sops_metadata_read(&document, metadata) == OK)
			decrypt(&document, metadata);
	}
	sops_document_done(&document);
	free(metadata);
	return 0;
}
