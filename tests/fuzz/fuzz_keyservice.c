/* Bytes as a message of sops' key service, with and without its gRPC frame: what is read lies inside of what was given, and an answer made of it can be read. */
#include <stdlib.h>

#include "tokend/wire/keyservice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool right)
{
	if (!right)
		abort();
}

static void check_inside(struct bytes whole, struct bytes part)
{
	check(part.len == 0 || (part.data >= whole.data && part.data + part.len <= whole.data + whole.len));
}

static void read_message(struct bytes message)
{
	CLEANUP(buf_freep) struct buf *out = NULL;
	struct keyservice_request request;
	struct bytes answer;

	if (keyservice_read_request(message, &request))
		return;
	check_inside(message, request.recipient);
	check_inside(message, request.data);
	check(request.recipient.len == 0 || request.key != KEYSERVICE_KEY_NONE);
	check(buf_new(message.len + 16, &out) == OK);
	check(keyservice_put_answer(out, request.data) == OK);
	check(grpc_read_frame(buf_bytes(out), &answer) == OK);
	check(answer.len >= request.data.len + 2 && answer.data[0] == 0x0a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct bytes message;

	read_message(bytes_of(data, len));
	if (grpc_read_frame(bytes_of(data, len), &message) == OK) {
		check_inside(bytes_of(data, len), message);
		read_message(message);
	}
	return 0;
}
