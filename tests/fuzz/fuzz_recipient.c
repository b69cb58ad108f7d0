/* A line of a recipients or of an identity file. What is understood is written as the same line; what is not supported is named by a part of it. */
#include <stdlib.h>

#include "formats/recipient.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void check(bool good)
{
	if (!good)
		abort();
}

static void init_once(void)
{
	static bool done;

	if (!done)
		check(!secret_client_init());
	done = true;
}

static void check_recipient(struct bytes line)
{
	CLEANUP(buf_freep) struct buf *again = NULL;
	struct recipient recipient;
	struct bytes what = { NULL, 0 };
	enum err err = recipient_parse(line, &recipient, &what);

	if (err == ERR_UNSUPPORTED)
		check(what.len > 0 && what.len <= line.len);
	if (err)
		return;
	check(!buf_new(256, &again));
	if (recipient.kind == RECIPIENT_X25519)
		check(!recipient_put_x25519(again, recipient.public_key));
	else
		check(!recipient_put_p256(again, recipient.public_key));
	check(bytes_equal(buf_bytes(again), line));
	recipient_done(&recipient);
}

static void check_identity(struct bytes line)
{
	CLEANUP(buf_freep) struct buf *again = NULL;
	struct identity identity;
	struct bytes what = { NULL, 0 };
	enum err err = identity_parse(line, &identity, &what);

	if (err == ERR_UNSUPPORTED)
		check(what.len > 0);
	if (err)
		return;
	check(!buf_new(256, &again));
	if (identity.kind == IDENTITY_X25519)
		check(!identity_put_x25519(again, identity.private_key));
	else
		check(!identity_put_tokend(again, identity.any_key ? NULL : &identity.key_id,
		                           identity.key_kind, identity.public_key));
	check(bytes_equal(buf_bytes(again), line));
	identity_done(&identity);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	init_once();
	check_recipient(bytes_of(data, len));
	check_identity(bytes_of(data, len));
	return 0;
}
