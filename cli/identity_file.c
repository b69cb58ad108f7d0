#include "cli/identity_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "cli/input.h"
#include "cli/shown.h"
#include "cli/terminal.h"
#include "formats/age_file.h"
#include "formats/armor.h"
#include "formats/text.h"

#define PIPE_LIMIT (64U << 10) /* what is read from a pipe, whose length nobody knows */
#define MAX_WORK_FACTOR 22U

static enum err read_to_end(int fd, struct buf *buf, const char *path, struct problem *problem)
{
	enum err err = input_read(fd, path, buf, problem);

	return err == ERR_BUSY ? problem_set(problem, ERR_USAGE,
	                                     "%s is longer than is sensible for such a file", path)
	                       : err;
}

/* The whole of path, in locked memory of about its size. */
static enum err read_secret_file(const char *path, struct problem *problem, struct buf **ret_buf)
{
	CLEANUP(input_closep) int fd = -1;
	CLEANUP(buf_freep) struct buf *buf = NULL;
	size_t limit = PIPE_LIMIT;
	struct stat status;
	enum err err = input_open(path, problem, &fd);

	if (err)
		return err;
	if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode)) {
		if (status.st_size > (off_t)IDENTITY_FILE_MAX)
			return problem_set(problem, ERR_USAGE, "%s is too long for an identity file", path);
		limit = (size_t)status.st_size + 2; /* one to see the end, one for a NUL */
	}
	err = buf_new_locked(limit, &buf);
	if (!err)
		err = read_to_end(fd, buf, path, problem);
	if (!err)
		*ret_buf = TAKE(buf);
	return err;
}

static bool is_comment(struct bytes line)
{
	return line.len == 0 || line.data[0] == '#';
}

static enum err unsupported(struct problem *problem, const char *path, unsigned number, struct bytes what)
{
	return problem_set(problem, ERR_UNSUPPORTED, "%s:%u: %.*s is not supported yet", path, number,
	                   (int)(what.len < 100 ? what.len : 100), (const char *)what.data);
}

static enum err add_identity(struct identities *identities, struct bytes line, const char *path,
                             unsigned number, struct problem *problem)
{
	struct bytes what = { NULL, 0 };
	struct identity *items;
	enum err err;

	if (identities->count == IDENTITIES_MAX)
		return problem_set(problem, ERR_USAGE, "more than %u identities are too many",
		                   IDENTITIES_MAX);
	items = reallocarray(identities->items, identities->count + 1, sizeof(*items));
	if (!items)
		return ERR_NOMEM;
	identities->items = items;
	memset(&items[identities->count], 0, sizeof(*items));
	err = identity_parse(line, &items[identities->count], &what);
	if (err == ERR_UNSUPPORTED && identities->leave_plugins && bytes_begin_with(line, "AGE-PLUGIN-")) {
		identities->plugins_left++;
		return OK;
	}
	if (err == ERR_UNSUPPORTED)
		return unsupported(problem, path, number, what);
	if (err == ERR_USAGE) { /* the line may be a damaged key: it is not repeated */
		(void)problem_set(problem, err, "%s:%u: this line is not an identity", path, number);
		problem_hint(problem, "-i takes the file that age-keygen writes, or lines that tokenctl "
		                      "identity prints; without -i the keys "
		                      "of tokend are asked");
		return err;
	}
	if (!err)
		identities->count++;
	return err;
}

static enum err identities_parse(struct bytes text, const char *path, struct problem *problem,
                                 struct identities *identities)
{
	struct bytes line;
	size_t before = identities->count + identities->plugins_left;
	unsigned number = 0;

	if (bytes_begin_with(text, "-----BEGIN") && !armor_looks_like(text))
		return problem_set(problem, ERR_UNSUPPORTED, "%s: ssh keys are not supported yet", path);
	while (bytes_next_line(&text, &line)) {
		enum err err;

		number++;
		if (is_comment(line))
			continue;
		err = add_identity(identities, line, path, number, problem);
		if (err)
			return err;
	}
	if (identities->count + identities->plugins_left > before)
		return OK;
	(void)problem_set(problem, ERR_USAGE, "%s holds no identity", input_name(path));
	problem_hint(problem, "a line AGE-SECRET-KEY-1... is expected, which age-keygen writes, or "
	                      "AGE-PLUGIN-TOKEND-1..., which "
	                      "tokenctl identity prints");
	return ERR_USAGE;
}

static enum err open_by_passphrase(void *context, const struct age_header *header,
                                   struct secret **ret_file_key)
{
	const struct identity *identity = context;

	return identity_unwrap(identity, header, MAX_WORK_FACTOR, ret_file_key);
}

static enum err put_to_buf(void *context, struct bytes chunk)
{
	return buf_put(context, chunk);
}

static enum err decrypt_with_passphrase(struct bytes text, struct identity *passphrase, struct buf *plain)
{
	CLEANUP(age_reader_freep) struct age_reader *reader = NULL;
	enum err err = age_reader_new(open_by_passphrase, passphrase, put_to_buf, plain, &reader);

	if (!err)
		err = age_reader_push(reader, text);
	if (!err)
		err = age_reader_finish(reader);
	return err;
}

/* Its header has a stanza for a passphrase; the callback gets no key, so that nothing is opened. */
static enum err look_for_passphrase(void *context, const struct age_header *header,
                                    struct secret **ret_file_key)
{
	bool *found = context;

	(void)ret_file_key;
	*found = age_header_has_passphrase(header);
	return *found ? ERR_NO_MATCH : ERR_NO_KEY;
}

static enum err check_is_for_passphrase(struct bytes text, const char *path, struct problem *problem)
{
	CLEANUP(age_reader_freep) struct age_reader *reader = NULL;
	CLEANUP(buf_freep) struct buf *nothing = NULL;
	char quoted[SHOWN_QUOTED_MAX];
	bool found = false;
	enum err err = buf_new(1, &nothing);

	if (!err)
		err = age_reader_new(look_for_passphrase, &found, put_to_buf, nothing, &reader);
	if (!err)
		err = age_reader_push(reader, text);
	if (!err)
		err = age_reader_finish(reader);
	if (err != ERR_NO_KEY)
		return OK;
	(void)problem_set(problem, ERR_USAGE, "%s is encrypted to keys, and not with a passphrase", path);
	shown_quote(path, quoted);
	problem_hint(problem, "tokenctl decrypt %s | tokenctl VERB -i - ...   when one of your keys opens it",
	             quoted);
	return ERR_USAGE;
}

static enum err identities_decrypt(struct bytes text, const char *path, struct problem *problem,
                                   struct identities *identities)
{
	struct identity passphrase = { .kind = IDENTITY_PASSPHRASE };
	CLEANUP(buf_freep) struct buf *plain = NULL;
	char prompt[512];
	enum err err = check_is_for_passphrase(text, path, problem);

	if (err)
		return err;
	(void)snprintf(prompt, sizeof(prompt), "Passphrase of the identity file %.200s: ", path);
	err = terminal_read_secret(prompt, &passphrase.private_key);
	if (err)
		return problem_set(problem, err,
		                   "%s is encrypted with a passphrase and there is no terminal to ask on",
		                   path);
	err = buf_new_locked(text.len + 1, &plain);
	if (!err)
		err = decrypt_with_passphrase(text, &passphrase, plain);
	identity_done(&passphrase);
	if (err == ERR_NO_MATCH)
		return problem_set(problem, ERR_PIN_WRONG, "that is not the passphrase of %s", path);
	if (err)
		return problem_set(problem, err, "%s: %s", path, err_info(err)->text);
	return identities_parse(buf_bytes(plain), path, problem, identities);
}

enum err identities_read(const char *path, struct problem *problem, struct identities *identities)
{
	CLEANUP(buf_freep) struct buf *buf = NULL;
	enum err err = read_secret_file(path, problem, &buf);

	if (err)
		return err;
	if (bytes_begin_with(buf_bytes(buf), AGE_INTRO) || armor_looks_like(buf_bytes(buf)))
		return identities_decrypt(buf_bytes(buf), path, problem, identities);
	return identities_parse(buf_bytes(buf), path, problem, identities);
}

void identities_done(struct identities *identities)
{
	for (size_t i = 0; i < identities->count; i++)
		identity_done(&identities->items[i]);
	free(identities->items);
	*identities = (struct identities){ 0 };
}

static enum err recipients_room(struct recipients *recipients, struct recipient **ret_recipient)
{
	struct recipient *items = reallocarray(recipients->items, recipients->count + 1, sizeof(*items));

	if (!items)
		return ERR_NOMEM;
	recipients->items = items;
	memset(&items[recipients->count], 0, sizeof(*items));
	*ret_recipient = &items[recipients->count];
	return OK;
}

/* In either case, and wherever in it: behind a blank, a quote or the name of a setting it is a key all the same. */
static bool holds_private_key(struct bytes line)
{
	static const char mark[] = "AGE-SECRET-KEY-";
	const size_t len = strlen(mark);

	for (size_t i = 0; i + len <= line.len; i++)
		if (strncasecmp((const char *)line.data + i, mark, len) == 0)
			return true;
	return false;
}

/* where: "" or "FILE:LINE: ". A line that has a private key in it is never repeated. */
static enum err add_line(struct recipients *recipients, struct bytes line, const char *where,
                         struct problem *problem)
{
	struct bytes what = { NULL, 0 };
	struct recipient *recipient = NULL;
	int shown = (int)(line.len < 80 ? line.len : 80);
	enum err err = recipients_room(recipients, &recipient);

	if (err)
		return err;
	if (holds_private_key(line))
		return problem_set(problem, ERR_USAGE,
		                   "%sthis is a private key where a recipient is expected", where);
	err = recipient_parse(line, recipient, &what);
	if (!err)
		recipients->count++;
	if (err == ERR_UNSUPPORTED)
		return problem_set(problem, err, "%s%.*s is not supported yet", where,
		                   (int)(what.len < 100 ? what.len : 100), (const char *)what.data);
	if (err == ERR_USAGE)
		return problem_set(problem, err, "%s%.*s%s is not a recipient", where, shown,
		                   (const char *)line.data, line.len > 80 ? "..." : "");
	return err;
}

enum err recipients_add(const char *line, struct problem *problem, struct recipients *recipients)
{
	enum err err = add_line(recipients, bytes_of_string(line), "", problem);

	if (err == ERR_USAGE && strncmp(line, "age1", 4) != 0)
		problem_hint(problem,
		             "a recipient is a line age1...; for an enrolled key by its name: --key NAME");
	return err;
}

static enum err recipients_parse(struct bytes text, const char *path, struct problem *problem,
                                 struct recipients *recipients)
{
	size_t before = recipients->count;
	unsigned number = 0;
	struct bytes line;
	char where[600];

	while (bytes_next_line(&text, &line)) {
		enum err err;

		number++;
		if (is_comment(line))
			continue;
		(void)snprintf(where, sizeof(where), "%.500s:%u: ", path, number);
		err = add_line(recipients, line, where, problem);
		if (err)
			return err;
	}
	return recipients->count > before ? OK
	                                  : problem_set(problem, ERR_USAGE, "%s holds no recipient", path);
}

enum err recipients_read(const char *path, struct problem *problem, struct recipients *recipients)
{
	CLEANUP(input_closep) int fd = -1;
	CLEANUP(buf_freep) struct buf *buf = NULL;
	enum err err = input_open(path, problem, &fd);

	if (!err)
		err = buf_new(RECIPIENTS_FILE_MAX, &buf);
	if (!err)
		err = read_to_end(fd, buf, path, problem);
	return err ? err : recipients_parse(buf_bytes(buf), path, problem, recipients);
}

enum err recipients_add_identity(const struct identity *identity, struct problem *problem,
                                 struct recipients *recipients)
{
	struct recipient *recipient = NULL;
	enum err err = recipients_room(recipients, &recipient);

	if (err)
		return err;
	if (identity->kind == IDENTITY_TOKEND && identity->any_key) {
		(void)problem_set(problem, ERR_USAGE,
		                  "the identity stands for any key, so it does not say to which to encrypt");
		problem_hint(problem, "tokenctl identity NAME names one key; --key NAME encrypts to it");
		return ERR_USAGE;
	}
	if (identity->kind == IDENTITY_TOKEND && identity->key_kind == KEY_KIND_P256)
		recipient->kind = RECIPIENT_P256TAG;
	else if (identity->kind == IDENTITY_TOKEND && identity->key_kind != KEY_KIND_X25519)
		return problem_set(problem, ERR_USAGE, "a symmetric key is no recipient");
	memcpy(recipient->public_key, identity->public_key, sizeof(recipient->public_key));
	recipients->count++;
	return OK;
}

enum err recipients_add_passphrase(struct secret *passphrase, struct recipients *recipients)
{
	struct recipient *recipient = NULL;
	enum err err = recipients_room(recipients, &recipient);

	if (err) {
		(void)secret_free(passphrase);
		return err;
	}
	recipient->kind = RECIPIENT_PASSPHRASE;
	recipient->passphrase = passphrase;
	recipient->work_factor = 18;
	recipients->count++;
	return OK;
}

void recipients_done(struct recipients *recipients)
{
	for (size_t i = 0; i < recipients->count; i++)
		recipient_done(&recipients->items[i]);
	free(recipients->items);
	*recipients = (struct recipients){ 0 };
}

enum err secret_read_file(const char *path, struct problem *problem, struct secret **ret_secret)
{
	CLEANUP(buf_freep) struct buf *buf = NULL;
	struct bytes rest, line = { NULL, 0 };
	enum err err = read_secret_file(path, problem, &buf);

	if (err)
		return err;
	rest = buf_bytes(buf);
	if (!bytes_next_line(&rest, &line) || line.len == 0)
		return problem_set(problem, ERR_USAGE, "the first line of %s is empty", input_name(path));
	if (line.len > TERMINAL_SECRET_MAX)
		return problem_set(problem, ERR_USAGE, "the first line of %s is too long", input_name(path));
	return secret_new_from(line, ret_secret);
}
