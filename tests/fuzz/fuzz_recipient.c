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

/* What is wrapped to a recipient opens with its identity, and with no other. */
static void check_wrapped(const struct recipient *recipient, const struct identity *identity)
{
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	CLEANUP(secret_freep) struct secret *opened = NULL;
	CLEANUP(buf_freep) struct buf *text = NULL;
	CLEANUP(age_header_freep) struct age_header *header = NULL;
	size_t header_len;

	check(!secret_new(FILE_KEY_LEN, &file_key) && !buf_new(AGE_HEADER_MAX, &text));
	check(!age_header_begin(text) && !recipient_wrap(recipient, file_key, text) &&
	      !age_header_finish(text, file_key));
	check(!age_header_parse(buf_bytes(text), &header, &header_len));
	check(!identity_unwrap(identity, header, 1, &opened) && secret_len(opened) == FILE_KEY_LEN);
	check(bytes_equal(secret_reveal(opened), secret_reveal(file_key)));
}

static void check_passphrase(struct bytes passphrase)
{
	struct recipient recipient = { .kind = RECIPIENT_PASSPHRASE, .work_factor = 1 };
	struct identity identity = { .kind = IDENTITY_PASSPHRASE };

	check(!secret_new_from(passphrase, &recipient.passphrase) &&
	      !secret_new_from(passphrase, &identity.private_key));
	check_wrapped(&recipient, &identity);
	recipient_done(&recipient);
	identity_done(&identity);
}

static void check_fresh(void)
{
	struct identity identity;
	struct recipient recipient = { .kind = RECIPIENT_X25519 };

	check(!identity_new_x25519(&identity));
	memcpy(recipient.public_key, identity.public_key, sizeof(identity.public_key));
	check_wrapped(&recipient, &identity);
	identity_done(&identity);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	init_once();
	if (len > 0 && len < 64) {
		check_passphrase(bytes_of(data, len));
		check_fresh();
	}
	check_recipient(bytes_of(data, len));
	check_identity(bytes_of(data, len));
	return 0;
}
