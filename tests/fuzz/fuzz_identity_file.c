/*
 * Identity files, recipients files and the files that a PIN stands in. The first byte chooses which, and whether the second says which allocation fails. A file encrypted with a passphrase is opened with the one of the vectors, and with little
 * work, whatever it asks for. What a file as a whole says is what its lines say one by one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "cli/identity_file.h"
#include "cli/terminal.h"
#include "tests/fake/failing_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
enum err __real_identity_unwrap(const struct identity *identity, const struct age_header *header,
                                unsigned max_work_factor, struct secret **ret_file_key);
enum err __wrap_identity_unwrap(const struct identity *identity, const struct age_header *header,
                                unsigned max_work_factor, struct secret **ret_file_key);
enum err __wrap_terminal_read_secret(const char *prompt, struct secret **ret_secret);

#define PASSPHRASE "password"
#define WORK_FACTOR_MAX 4U /* more would be time spent, not paths found */

#define MEMORY_FAILS 0x80U

enum { IDENTITIES, IDENTITIES_LEAVING_PLUGINS, RECIPIENTS, SECRET, IDENTITIES_ALONE, WAYS };

static unsigned nth; /* allocation that fails; 0: none */
static bool alone; /* nobody to ask for a passphrase */

static void check(bool good)
{
	if (!good)
		abort();
}

enum err __wrap_terminal_read_secret(const char *prompt, struct secret **ret_secret)
{
	check(prompt && prompt[0]);
	return alone ? ERR_PIN_NEEDED : secret_new_from(bytes_of_string(PASSPHRASE), ret_secret);
}

enum err __wrap_identity_unwrap(const struct identity *identity, const struct age_header *header,
                                unsigned max_work_factor, struct secret **ret_file_key)
{
	check(max_work_factor >= WORK_FACTOR_MAX);
	return __real_identity_unwrap(identity, header, WORK_FACTOR_MAX, ret_file_key);
}

/* How many lines are identities; false when one that is no comment is none. */
static bool count_lines(struct bytes text, size_t *ret_count)
{
	*ret_count = 0;
	while (text.len > 0) {
		const uint8_t *end = memchr(text.data, '\n', text.len);
		struct bytes line = bytes_of(text.data, end ? (size_t)(end - text.data) : text.len), what;
		struct identity identity = { 0 };

		text = bytes_of(text.data + line.len + (end ? 1 : 0), text.len - line.len - (end ? 1 : 0));
		if (line.len > 0 && line.data[line.len - 1] == '\r')
			line.len--;
		if (line.len == 0 || line.data[0] == '#')
			continue;
		if (identity_parse(line, &identity, &what))
			return false;
		identity_done(&identity);
		++*ret_count;
	}
	return true;
}

static void add_passphrase(struct recipients *recipients)
{
	struct secret *passphrase = NULL;
	size_t before = recipients->count;
	enum err err;

	check(secret_new_from(bytes_of_string(PASSPHRASE), &passphrase) == OK);
	failing_memory_begin(nth);
	err = recipients_add_passphrase(passphrase, recipients);
	check(failing_memory_end() == (err == ERR_NOMEM));
	check(recipients->count == before + (err ? 0 : 1));
}

static void check_identities(const struct identities *identities, struct problem *problem)
{
	struct recipients recipients = { 0 };

	for (size_t i = 0; i < identities->count; i++) {
		size_t before = recipients.count;
		enum err err;

		failing_memory_begin(nth);
		err = recipients_add_identity(&identities->items[i], problem, &recipients);
		check(failing_memory_end() == (err == ERR_NOMEM));
		check(err == OK || err == ERR_USAGE || err == ERR_NOMEM);
		check(recipients.count == before + (err ? 0 : 1));
	}
	add_passphrase(&recipients);
	recipients_done(&recipients);
}

static void read_identities(const char *path, struct bytes text, bool leave_plugins)
{
	struct identities identities = { .leave_plugins = leave_plugins };
	struct problem problem = { 0 };
	enum err err;
	bool failed, encrypted = text.len > 0 &&
	                         (text.data[0] == 'a' || memmem(text.data, text.len, "-----BEGIN", 10));
	size_t count;

	failing_memory_begin(nth);
	err = identities_read(path, &problem, &identities);
	failed = failing_memory_end();
	check(!err || problem.message[0] || err == ERR_NOMEM);
	check(err || identities.count + identities.plugins_left > 0);
	check(identities.count <= IDENTITIES_MAX);
	if (!failed && !encrypted && identities.plugins_left == 0 && count_lines(text, &count) && count > 0 &&
	    count <= IDENTITIES_MAX)
		check(err == OK && identities.count == count);
	check_identities(&identities, &problem);
	identities_done(&identities);
}

static void read_recipients(const char *path, const char *line)
{
	struct recipients recipients = { 0 };
	struct problem problem = { 0 };
	enum err err;

	failing_memory_begin(nth);
	err = recipients_read(path, &problem, &recipients);
	check(!err || problem.message[0] || (failing_memory_end() && err == ERR_NOMEM));
	check(err || recipients.count > 0);
	recipients_done(&recipients);
	problem = (struct problem){ 0 };
	failing_memory_begin(nth);
	err = recipients_add(line, &problem, &recipients);
	(void)failing_memory_end();
	check((err == OK) == (recipients.count == 1));
	/* A private key that was given for a recipient is never repeated. */
	check(strncmp(line, "AGE-SECRET-KEY-", 15) != 0 || !strstr(problem.message, "AGE-SECRET"));
	recipients_done(&recipients);
}

static void read_secret(const char *path, struct bytes text)
{
	CLEANUP(secret_freep) struct secret *secret = NULL;
	struct problem problem = { 0 };
	enum err err;

	failing_memory_begin(nth);
	err = secret_read_file(path, &problem, &secret);
	check((err == OK) == (secret != NULL));
	check(!err || problem.message[0] || (failing_memory_end() && err == ERR_NOMEM));
	(void)failing_memory_end();
	if (!err)
		check(secret_len(secret) <= text.len && secret_len(secret) <= TERMINAL_SECRET_MAX &&
		      memcmp(secret_reveal(secret).data, text.data, secret_len(secret)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader input = reader_of(bytes_of(data, len));
	uint8_t choice = reader_u8(&input);
	unsigned way = (choice & ~MEMORY_FAILS) % WAYS;
	CLEANUP(close_fdp) int fd = -1;
	struct bytes text;
	char path[64];

	nth = choice & MEMORY_FAILS ? reader_u8(&input) : 0;
	if (input.failed)
		return 0;
	text = input.rest;
	check(secret_client_init() == OK);
	fd = memfd_create("file", MFD_CLOEXEC);
	check(fd >= 0 && write(fd, text.data, text.len) == (ssize_t)text.len);
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	alone = way == IDENTITIES_ALONE;
	if (way == RECIPIENTS) {
		CLEANUP(freep) char *line = strndup((const char *)text.data, text.len);

		check(line);
		read_recipients(path, line);
	} else if (way == SECRET) {
		read_secret(path, text);
	} else {
		read_identities(path, text, way == IDENTITIES_LEAVING_PLUGINS);
	}
	return 0;
}
