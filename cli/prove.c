#include "cli/prove.h"

#include <sodium.h>

#include "common/key.h"
#include "formats/recipient.h"

struct holder {
	const struct secret *pin; /* borrowed; NULL: none */
};

static enum err give_pin(void *context, const char *key_name, struct secret **ret_pin)
{
	const struct holder *holder = context;

	(void)key_name;
	return holder->pin ? secret_new_from(secret_reveal(holder->pin), ret_pin) : ERR_PIN_NEEDED;
}

/* A header with one stanza: file_key wrapped to recipient. */
static enum err make_header(const char *line, const struct secret *file_key, struct buf *text)
{
	struct recipient recipient = { 0 };
	struct bytes what;
	enum err err = recipient_parse(bytes_of_string(line), &recipient, &what);

	if (!err)
		err = age_header_begin(text);
	if (!err)
		err = recipient_wrap(&recipient, file_key, text);
	if (!err)
		err = age_header_finish(text, file_key);
	recipient_done(&recipient);
	return err;
}

static enum err unwrap_header(struct daemon *daemon, const char *id, struct bytes text,
                              const struct secret *pin, struct problem *problem, struct secret **ret_file_key)
{
	CLEANUP(age_header_freep) struct age_header *header = NULL;
	struct holder holder = { pin };
	struct daemon_unwrap unwrap = {
		.key = id, .stanza_count = 1, .ask = give_pin, .ask_context = &holder
	};
	size_t len, index;
	enum err err = age_header_parse(text, &header, &len);

	if (err)
		return err;
	unwrap.stanzas = age_header_stanza(header, 0);
	return daemon_unwrap(daemon, &unwrap, problem, &index, ret_file_key);
}

enum err prove_key(struct daemon *daemon, const char *id, const char *recipient, const struct secret *pin,
                   struct problem *problem)
{
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	CLEANUP(secret_freep) struct secret *returned = NULL;
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err = secret_new(FILE_KEY_LEN, &file_key);

	if (!err)
		err = buf_new(AGE_HEADER_MAX, &text);
	if (err)
		return err;
	randombytes_buf(secret_fill(file_key), FILE_KEY_LEN);
	err = make_header(recipient, file_key, text);
	if (!err)
		err = unwrap_header(daemon, id, buf_bytes(text), pin, problem, &returned);
	if (err)
		return err;
	return secret_equal(file_key, returned)
	               ? OK
	               : problem_set(problem, ERR_BUG, "something else came back than was encrypted");
}
