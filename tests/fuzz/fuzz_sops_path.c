/* Paths into SOPS documents, and what they find in one. */
#include <stdlib.h>

#include "formats/sops_path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char text[] =
        "{\"a\": {\"b\": [1, {\"c\": 2}, [3]], \"0\": 4}, \"a.b\": 5, \"sops\": {\"a\": 6}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct sops_document document;
	struct sops_path path;
	uint32_t index = 0;

	if (sops_document_read(&document, SOPS_JSON, bytes_of_string(text)))
		abort();
	if (sops_path_parse(bytes_of(data, len), &path) == OK) {
		if (path.count == 0 || path.count > SOPS_PATH_STEPS_MAX)
			abort();
		if (sops_path_find(&document, &path, path.count, &index) == OK &&
		    (index >= document.count || document.nodes[index].metadata))
			abort();
	}
	sops_document_done(&document);
	return 0;
}
