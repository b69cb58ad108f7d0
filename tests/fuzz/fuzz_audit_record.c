/* Audit lines from a log that anybody may have written: what parses is walked to its end, and its strings, written again, parse again. */
#include <stdlib.h>

#include "formats/audit_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void write_again(struct bytes value)
{
	CLEANUP(buf_freep) struct buf *line = NULL;
	CLEANUP(freep) char *text = strndup((const char *)value.data, value.len);
	struct audit_chain writer = { 0 }, reader = { 0 };

	if (!text || buf_new(8U * AUDIT_LINE_MAX, &line) || buf_put_string(line, "{\"a\":") ||
	    audit_put_string(line, text) || buf_put_string(line, ","))
		abort();
	if (audit_chain_close(&writer, line))
		return;
	if (audit_chain_next(&reader, bytes_of(buf_bytes(line).data, buf_len(line) - 1)) != AUDIT_WHOLE)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct audit_cursor cursor = audit_cursor_of(bytes_of(data, len));
	struct audit_chain chain = { 0 }, before = { 0 };
	struct audit_member member;

	while (audit_next_member(&cursor, &member))
		write_again(member.value);
	if (audit_chain_next(&chain, bytes_of(data, len)) == AUDIT_WHOLE && cursor.failed)
		abort();
	/* A log that goes on from another one follows from where that one ended. */
	if (audit_record_goes_on(bytes_of(data, len), &before)) {
		enum audit_fault fault = audit_chain_next(&before, bytes_of(data, len));

		if (fault != AUDIT_WHOLE && fault != AUDIT_FAULT_CHECK)
			abort();
	}
	if (len < 1024)
		write_again(bytes_of(data, len));
	return 0;
}
