/*
 * A plain YAML document whose aliases are written out. What comes of it has none, and stays as it is when it is done again; that it says what was meant is asked by the code itself.
 */
#include <stdlib.h>

#include "common/buf.h"
#include "formats/sops_expand.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct sops_plain plain, again;

	if (len > 65536)
		return 0;
	if (sops_plain_read(&plain, SOPS_YAML, bytes_of(data, len)) == OK) {
		bool merges = sops_plain_check_merges(&plain.document) == OK;

		if (plain.expanded) {
			if (sops_plain_read(&again, SOPS_YAML, buf_bytes(plain.expanded)) || again.expanded ||
			    merges != (sops_plain_check_merges(&again.document) == OK))
				abort();
			sops_plain_done(&again);
		}
	}
	sops_plain_done(&plain);
	return 0;
}
