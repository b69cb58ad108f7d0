/* A dotenv file: each entry lies in it and takes some of it; what a value means, written anew, means the same. */
#include <stdlib.h>

#include "formats/dotenv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void there_and_back(struct bytes value)
{
	CLEANUP(buf_freep) struct buf *read = NULL;
	CLEANUP(buf_freep) struct buf *written = NULL;
	CLEANUP(buf_freep) struct buf *again = NULL;

	if (buf_new(1U << 20, &read) || buf_new(1U << 21, &written) || buf_new(1U << 20, &again))
		abort();
	if (dotenv_value(value, read))
		return;
	if (dotenv_write(buf_bytes(read), written) || dotenv_value(buf_bytes(written), again) ||
	    !bytes_equal(buf_bytes(read), buf_bytes(again)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bytes text = bytes_of(data, len);
	struct dotenv_entry entry;

	while (text.len) {
		size_t before = text.len;

		if (dotenv_next(&text, &entry))
			return 0;
		if (text.len >= before)
			abort();
		there_and_back(entry.value);
	}
	return 0;
}
