/* A header that parses is canonical: written again, it is the same bytes up to the MAC. */
#include <stdlib.h>

#include "formats/age_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static struct secret *fixed_key(void)
{
	static struct secret *key;

	if (!key)
		check(!secret_client_init() && !secret_new(16, &key));
	return key;
}

static void check_again(const struct age_header *header, struct bytes text)
{
	CLEANUP(buf_freep) struct buf *again = NULL;
	size_t mac_line = strlen(" ") + 43 + strlen("\n");

	check(!buf_new(2 * AGE_HEADER_MAX, &again) && !age_header_begin(again));
	for (size_t i = 0; i < age_header_stanza_count(header); i++) {
		const struct age_stanza *stanza = age_header_stanza(header, i);

		check(!age_stanza_put(again, stanza->arguments, stanza->argument_count, stanza->body));
	}
	check(!age_header_finish(again, fixed_key()));
	check(buf_len(again) == text.len);
	check(memcmp(buf_bytes(again).data, text.data, text.len - mac_line) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(age_header_freep) struct age_header *header = NULL;
	struct secret *key = fixed_key();
	size_t header_len = 0;

	if (age_header_parse(bytes_of(data, len), &header, &header_len))
		return 0;
	check(header_len <= len && age_header_stanza_count(header) > 0);
	(void)!age_header_verify(header, key);
	check_again(header, bytes_of(data, header_len));
	return 0;
}
