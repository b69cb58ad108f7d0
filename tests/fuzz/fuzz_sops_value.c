/* One value under the data key 00 01 02 ... 1f at the path a:b. Whatever it is: opened, or refused, and nothing stands in the output then. */
#include <stdlib.h>

#include "formats/sops_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct gcm *cipher;
	CLEANUP(buf_freep) struct buf *out = NULL;
	struct sops_value value;

	if (!cipher) {
		CLEANUP(secret_freep) struct secret *key = NULL;

		if (secret_client_init() || secret_new(SOPS_DATA_KEY_LEN, &key))
			abort();
		for (uint8_t i = 0; i < SOPS_DATA_KEY_LEN; i++)
			secret_fill(key)[i] = i;
		if (gcm_new(key, &cipher))
			abort();
	}
	if (sops_value_parse(bytes_of(data, len), &value))
		return 0;
	if (buf_new(65536, &out))
		abort();
	if (sops_value_open(&value, cipher, bytes_of_string("a:b:"), out) != OK && buf_len(out))
		abort();
	return 0;
}
