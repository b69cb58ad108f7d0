/* The first byte says which format; the data key is 00 01 02 ... 1f, so that the kept files open. What decrypts is a file of its format again, and converts without harm. */
#include <stdlib.h>

#include "common/secret.h"
#include "formats/sops_convert.h"
#include "formats/sops_decrypt.h"
#include "formats/sops_metadata.h"
#include "formats/sops_value.h"
#include "tests/fake/sops_data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

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
	if (sops_decrypt(document, metadata, sops_data_key(), out))
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

/* What is given as a format is one word or none. */
static void check_word(struct bytes text)
{
	char word[16];
	size_t len = text.len < sizeof(word) ? text.len : sizeof(word) - 1;
	const enum sops_format unset = (enum sops_format)UINT8_MAX;
	enum sops_format format = unset;

	memcpy(word, text.data, len);
	word[len] = '\0';
	check((sops_format_parse(word, &format) == OK) == (format != unset));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct sops_document document;
	struct sops_metadata *metadata;

	(void)sops_data_key();
	if (len < 1 || len > 65536)
		return 0;
	metadata = calloc(1, sizeof(*metadata));
	check(metadata != NULL);
	(void)sops_format_guess(NULL, bytes_of(data + 1, len - 1));
	check_word(bytes_of(data + 1, len - 1));
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
