/*
 * Identity files, recipients files and the files that a PIN stands in. The first byte chooses which. A file encrypted with a passphrase is opened with the one of the vectors, and with little
 * work, whatever it asks for. What a file as a whole says is what its lines say one by one.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "cli/identity_file.h"
#include "cli/terminal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
enum err __real_identity_unwrap(const struct identity *identity, const struct age_header *header,
                                unsigned max_work_factor, struct secret **ret_file_key);
enum err __wrap_identity_unwrap(const struct identity *identity, const struct age_header *header,
                                unsigned max_work_factor, struct secret **ret_file_key);
enum err __wrap_terminal_read_secret(const char *prompt, struct secret **ret_secret);

#define PASSPHRASE "password"
#define WORK_FACTOR_MAX 4U /* more would be time spent, not paths found */

enum { IDENTITIES, IDENTITIES_LEAVING_PLUGINS, RECIPIENTS, SECRET, IDENTITIES_ALONE, WAYS };

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

static void check_identities(const struct identities *identities, struct problem *problem)
{
	struct recipients recipients = { 0 };

	for (size_t i = 0; i < identities->count; i++) {
		size_t before = recipients.count;
		enum err err = recipients_add_identity(&identities->items[i], problem, &recipients);

		check(err == OK || err == ERR_USAGE);
		check(recipients.count == before + (err ? 0 : 1));
	}
	recipients_done(&recipients);
}

static void read_identities(const char *path, struct bytes text, bool leave_plugins)
{
	struct identities identities = { .leave_plugins = leave_plugins };
	struct problem problem = { 0 };
	enum err err = identities_read(path, &problem, &identities);
	bool encrypted =
	        text.len > 0 && (text.data[0] == 'a' || memmem(text.data, text.len, "-----BEGIN", 10));
	size_t count;

	check(!err || problem.message[0] || err == ERR_NOMEM);
	check(err || identities.count + identities.plugins_left > 0);
	check(identities.count <= IDENTITIES_MAX);
	if (!encrypted && identities.plugins_left == 0 && count_lines(text, &count) && count > 0 &&
	    count <= IDENTITIES_MAX)
		check(err == OK && identities.count == count);
	check_identities(&identities, &problem);
	identities_done(&identities);
}

static void read_recipients(const char *path, const char *line)
{
	struct recipients recipients = { 0 };
	struct problem problem = { 0 };
	enum err err = recipients_read(path, &problem, &recipients);

	check(!err || problem.message[0]);
	check(err || recipients.count > 0);
	recipients_done(&recipients);
	problem = (struct problem){ 0 };
	err = recipients_add(line, &problem, &recipients);
	check((err == OK) == (recipients.count == 1));
	/* A private key that was given for a recipient is never repeated. */
	check(strncmp(line, "AGE-SECRET-KEY-", 15) != 0 || !strstr(problem.message, "AGE-SECRET"));
	recipients_done(&recipients);
}

static void read_secret(const char *path, struct bytes text)
{
	CLEANUP(secret_freep) struct secret *secret = NULL;
	struct problem problem = { 0 };
	enum err err = secret_read_file(path, &problem, &secret);

	check((err == OK) == (secret != NULL));
	check(!err || problem.message[0]);
	if (!err)
		check(secret_len(secret) <= text.len && secret_len(secret) <= TERMINAL_SECRET_MAX &&
		      memcmp(secret_reveal(secret).data, text.data, secret_len(secret)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	CLEANUP(close_fdp) int fd = -1;
	char path[64];

	if (len < 1)
		return 0;
	check(secret_client_init() == OK);
	fd = memfd_create("file", MFD_CLOEXEC);
	check(fd >= 0 && write(fd, data + 1, len - 1) == (ssize_t)(len - 1));
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	alone = data[0] % WAYS == IDENTITIES_ALONE;
	if (data[0] % WAYS == RECIPIENTS) {
		CLEANUP(freep) char *line = strndup((const char *)data + 1, len - 1);

		check(line);
		read_recipients(path, line);
	} else if (data[0] % WAYS == SECRET) {
		read_secret(path, bytes_of(data + 1, len - 1));
	} else {
		read_identities(path, bytes_of(data + 1, len - 1),
		                data[0] % WAYS == IDENTITIES_LEAVING_PLUGINS);
	}
	return 0;
}
