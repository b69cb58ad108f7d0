/* A stream of bytes from a hostile client: messages are found and read, and every string of what parses is written again as an answer that parses. */
#include <stdlib.h>

#include "common/control.h"
#include "tokend/wire/varlink.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool right)
{
	if (!right)
		abort();
}

/* Strings come back as they were: the writer's escapes are right for whatever the parser lets in. */
static void write_again(const char *text)
{
	CLEANUP(buf_freep) struct buf *out = NULL;
	CLEANUP(json_decrefp) json_t *reply = NULL;
	struct json_writer writer;

	check(buf_new(8 * VARLINK_MESSAGE_MAX, &out) == OK);
	varlink_reply_begin(&writer, out, text);
	json_put_string(&writer, "text", text);
	check(varlink_reply_end(&writer) == OK);
	reply = json_loads(buf_string(out), JSON_REJECT_DUPLICATES, NULL);
	check(reply && strcmp(json_string_member(reply, "error"), text) == 0);
}

static void walk(const json_t *value, unsigned depth)
{
	const char *name;
	json_t *member;
	size_t i;

	check(depth <= VARLINK_DEPTH_MAX);
	if (json_is_string(value))
		write_again(json_string_value(value));
	json_array_foreach(value, i, member) walk(member, depth + 1);
	if (json_is_object(value))
		json_object_foreach((json_t *)(uintptr_t)value, name, member) walk(member, depth + 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static bool ready;
	struct bytes rest = bytes_of(data, len);
	size_t message_len;

	if (!ready)
		json_wiping_init();
	ready = true;
	while (varlink_find_message(rest, &message_len) == OK) {
		struct varlink_call call;

		check(message_len > 0 && message_len <= rest.len && message_len <= VARLINK_MESSAGE_MAX);
		if (varlink_parse(bytes_of(rest.data, message_len - 1), &call) == OK) {
			check(strlen(call.method) <= VARLINK_METHOD_MAX);
			walk(call.message, 0);
			varlink_call_done(&call);
		}
		rest = bytes_of(rest.data + message_len, rest.len - message_len);
	}
	return 0;
}
