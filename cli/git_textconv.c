/*
 * tokenctl git textconv
 *
 * What git shows in diffs instead of a SOPS file: its plain text, to whoever may open it, and below it what decides who that is, so that no diff hides a new recipient. To everybody else the file as
 * it is, for a diff that fails would hide the rest of it; and the file as it is where git writes the diff into a file of its own, for that is on a disk.
 *
 * What a terminal would obey does not reach it: in a text '?' stands for it, and of a binary file that is no text its length is shown. So that no change is hidden by that, a fingerprint stands below. It is keyed with the file's data
 * key: a plain hash of a short secret gives that away to whoever sees the diff, in a log or over a shoulder, and can try what it might be.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/git.h"
#include "cli/input.h"
#include "cli/output.h"
#include "cli/shown.h"
#include "cli/sops_file.h"
#include "cli/sops_store.h"
#include "cli/verb.h"
#include "cli/verbs.h"
#include "common/utf8.h"
#include "formats/text.h"
#include "tokend/text.h"

#define PIECE_LEN 65536U
#define DRIVER_MAX 256U /* of a driver's name in git's configuration */

static enum err print(struct bytes text, struct problem *problem)
{
	CLEANUP(output_freep) struct output *output = NULL;
	enum err err = output_open(NULL, 0600, -1, problem, &output);

	if (!err)
		err = output_write(output, text);
	return err ? err : output_commit(output);
}

/* Of any size: what we do not take, git shows all the same. */
static enum err copy_out(int input, const char *path, struct problem *problem)
{
	CLEANUP(output_freep) struct output *output = NULL;
	CLEANUP(buf_freep) struct buf *piece = NULL;
	size_t len = 1;
	enum err err = buf_new(PIECE_LEN, &piece);

	if (!err)
		err = output_open(NULL, 0600, input, problem, &output);
	while (!err && len > 0) {
		buf_clear(piece);
		err = buf_read_fd(piece, input, PIECE_LEN, &len);
		if (err && err != ERR_NOMEM)
			err = problem_errno(problem, errno, "cannot read", path);
		if (!err)
			err = output_write(output, buf_bytes(piece));
	}
	return err ? err : output_commit(output);
}

/* Why it is not plain is said beside it. */
static enum err print_as_it_is(const char *path, struct problem *problem, enum err why)
{
	CLEANUP(input_closep) int input = -1;
	struct problem said = *problem;
	enum err err;

	*problem = (struct problem){ 0 };
	err = input_open(path, problem, &input);
	if (err) /* what is not there is not shown at all, and why is said once */
		return err;
	if (why == ERR_NO_DAEMON)
		git_hint_key_file(&said);
	problem_print(&said, why, "tokenctl");
	return copy_out(input, path, problem);
}

/* ---- where it goes ---- */

#define MESSAGE_NAME "/COMMIT_EDITMSG"

DEFINE_CLEANUP(DIR *, closedir);

static bool is_message(const char *path)
{
	size_t len = strlen(path), name_len = strlen(MESSAGE_NAME);

	return len > name_len && strcmp(path + len - name_len, MESSAGE_NAME) == 0;
}

/* `git commit -v` puts the diff into the file of the message, and hands its descriptor on to us, as it does with all that it has open. */
static bool goes_into_message(void)
{
	CLEANUP(closedirp) DIR *directory = opendir("/proc/self/fd");
	const struct dirent *entry;
	char path[PATH_MAX];

	while (directory && (entry = readdir(directory))) {
		ssize_t len = readlinkat(dirfd(directory), entry->d_name, path, sizeof(path) - 1);

		path[len > 0 ? len : 0] = '\0';
		if (is_message(path))
			return true;
	}
	return false;
}

#define ANCESTORS_MAX 8U /* a shell, git log, git format-patch, and what an alias has between */
#define PROCESS_MAX 4096U /* of what /proc says of one */

static size_t read_process(pid_t pid, const char *name, char text[static PROCESS_MAX])
{
	CLEANUP(close_fdp) int fd = -1;
	char path[64];
	ssize_t len;

	(void)snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	len = fd < 0 ? -1 : read(fd, text, PROCESS_MAX - 1);
	text[len > 0 ? len : 0] = '\0';
	return len > 0 ? (size_t)len : 0;
}

/* "PID (NAME) STATE PARENT"; 0: nobody knows. */
static pid_t parent_of(pid_t pid)
{
	char text[PROCESS_MAX];
	const char *name_end = read_process(pid, "stat", text) ? strrchr(text, ')') : NULL;

	return name_end && strlen(name_end) > 4 ? (pid_t)strtol(name_end + 4, NULL, 10) : 0;
}

static bool has_word(pid_t pid, const char *word)
{
	char words[PROCESS_MAX];
	size_t len = read_process(pid, "cmdline", words);

	for (size_t at = 0; at < len; at += strlen(words + at) + 1)
		if (strcmp(words + at, word) == 0)
			return true;
	return false;
}

/* `git format-patch` itself asks nobody, but with --range-diff it has `git log` show the commits, and what that says goes into a file that is made to be sent. */
static bool goes_into_patch(void)
{
	pid_t pid = getppid();

	for (size_t i = 0; pid > 1 && i < ANCESTORS_MAX; i++, pid = parent_of(pid))
		if (has_word(pid, "format-patch"))
			return true;
	return false;
}

/* The last place in the configuration counts. type: as git config has it. */
static enum err setting_has(const char *driver, const char *setting, const char *type, const char *words,
                            bool *ret_has)
{
	CLEANUP(buf_freep) struct buf *value = NULL;
	struct problem ignored = { 0 };
	char name[DRIVER_MAX + 32];
	enum err err;

	(void)snprintf(name, sizeof(name), "diff.%s.%s", driver, setting);
	err = git_line((const char *const[]){ "config", type, "--get", name, NULL }, true, &ignored, &value);
	*ret_has = !err && strstr(buf_string(value), words);
	return err == ERR_NO_MATCH ? OK : err;
}

/* Is it we whom that driver calls, and does git keep what we say? */
static enum err is_keeping(const char *driver, bool *ret_keeping)
{
	enum err err = setting_has(driver, "textconv", "--no-type", "git textconv", ret_keeping);

	return err || !*ret_keeping
	               ? err
	               : setting_has(driver, "cachetextconv", "--type=bool", "true", ret_keeping);
}

/* "diff.DRIVER.cachetextconv" */
static bool parse_driver(const char *name, char driver[static DRIVER_MAX])
{
	static const char before[] = "diff.", after[] = ".cachetextconv";
	size_t len = strlen(name), around = strlen(before) + strlen(after);

	return len > around &&
	       text_copy(bytes_of((const uint8_t *)name + strlen(before), len - around), driver, DRIVER_MAX);
}

/* A driver with cachetextconv: git keeps what we say among its objects, below refs/notes/textconv. Those of other programs may. driver: "" when there is none of ours, or no git to ask. */
static enum err find_keeping_driver(char driver[static DRIVER_MAX])
{
	static const char *const arguments[] = {
		"config", "-z", "--name-only", "--get-regexp", "^diff\\..*\\.cachetextconv$", NULL
	};
	CLEANUP(buf_freep) struct buf *output = NULL;
	struct problem ignored = { 0 };
	enum err err = git_run(arguments, true, &ignored, &output);
	struct bytes rest = { NULL, 0 };
	bool keeping = false;
	const char *name;

	if (!err)
		rest = buf_bytes(output);
	while (!err && !keeping && rest.len && (name = text_next_string(&rest)))
		if (parse_driver(name, driver))
			err = is_keeping(driver, &keeping);
	if (!keeping)
		driver[0] = '\0';
	return err == ERR_NO_MATCH || err == ERR_UNSUPPORTED ? OK : err;
}

static enum err refuse_file(const char *path, const char *what, struct problem *problem)
{
	(void)problem_set(problem, ERR_UNSUPPORTED,
	                  "%s is not shown in the clear, for %s keeps what it shows on the disk", path, what);
	problem_hint(problem, "git diff --cached   shows what is staged, git log -p what is committed");
	return print_as_it_is(path, problem, ERR_UNSUPPORTED);
}

static enum err refuse_keeping(const char *path, const char *driver, struct problem *problem)
{
	char name[DRIVER_MAX + 32], notes[DRIVER_MAX + 32];
	char quoted_name[SHOWN_QUOTED_MAX], quoted_notes[SHOWN_QUOTED_MAX];

	(void)snprintf(name, sizeof(name), "diff.%s.cachetextconv", driver);
	(void)snprintf(notes, sizeof(notes), "refs/notes/textconv/%s", driver);
	shown_quote(name, quoted_name);
	shown_quote(notes, quoted_notes);
	(void)problem_set(problem, ERR_UNSUPPORTED,
	                  "%s is not shown in the clear, for %s has git keep what is shown in the repository",
	                  path, name);
	problem_hint(problem,
	             "git config %s false && git update-ref -d %s && git gc --prune=now   ends that, and "
	             "takes away what was kept",
	             quoted_name, quoted_notes);
	return print_as_it_is(path, problem, ERR_UNSUPPORTED);
}

/* ---- what is shown ---- */

/* Groups are numbered as updatekeys does; where there is only one it has no number. */
static enum err put_entry(struct buf *out, const struct sops_metadata *metadata,
                          const struct sops_entry *entry)
{
	enum err err = buf_put_string(out, "# sops: ");

	if (!err && metadata->group_count > 1)
		err = buf_printf(out, "group %u, ", entry->group + 1);
	if (!err)
		err = buf_printf(out, "%s ", entry->kind);
	if (!err)
		err = buf_put(out, entry->recipient);
	return err ? err : buf_put_u8(out, '\n');
}

static enum err put_rule(struct buf *out, const struct sops_metadata *metadata)
{
	enum err err = buf_put_string(out, "# sops: ");

	if (!err && metadata->group_count > 1)
		err = buf_printf(out, "threshold %u, ", metadata->threshold);
	if (!err)
		err = buf_printf(out, "%s ", sops_rule_name(metadata->rule));

	if (!err)
		err = buf_put(out, metadata->pattern);
	return err ? err
	           : buf_put_string(out, metadata->mac_only_encrypted ? ", mac_only_encrypted\n" : "\n");
}

/* Who can read the file from now on, and what of it is encrypted. */
static enum err put_metadata(struct buf *out, const struct sops_metadata *metadata)
{
	struct bytes text = buf_bytes(out);
	enum err err = text.len && text.data[text.len - 1] != '\n' ? buf_put_u8(out, '\n') : OK;

	for (size_t i = 0; !err && i < metadata->entry_count; i++)
		err = put_entry(out, metadata, &metadata->entries[i]);
	return err ? err : put_rule(out, metadata);
}

/* ---- what a terminal does not show ---- */

#define FINGERPRINT_LEN 16U
#define FINGERPRINT_OF "tokenctl git textconv 1" /* so that it is no other program's */

/* How many bytes may be shown; 0: the first may not. */
static size_t showable_len(struct bytes text)
{
	uint32_t point = 0;
	size_t len;

	if (text.data[0] == '\n' || text.data[0] == '\t' || bytes_begin_with(text, "\r\n"))
		return 1;
	len = utf8_take(text, &point);
	return utf8_is_unprintable(point) ? 0 : len;
}

/* As many as may be shown. */
static size_t run_len(struct bytes text)
{
	size_t len = 0, more = 1;

	while (more && len < text.len) {
		more = showable_len(bytes_of(text.data + len, text.len - len));
		len += more;
	}
	return len;
}

/* As a terminal shows it; NULL: nowhere. ret_whole: nothing was left out. */
static enum err put_shown(struct buf *out, struct bytes text, bool *ret_whole)
{
	enum err err = OK;

	*ret_whole = true;
	while (!err && text.len) {
		size_t len = run_len(text);
		bool hidden = len == 0;

		*ret_whole &= !hidden;
		if (out)
			err = hidden ? buf_put_u8(out, '?') : buf_put(out, bytes_of(text.data, len));
		len += hidden;
		text = bytes_of(text.data + len, text.len - len);
	}
	return err;
}

/* Its state is as good as the key, and is kept as one. */
static enum err make_fingerprint(struct bytes plain, const struct secret *data_key,
                                 char ret_hex[static 2 * FINGERPRINT_LEN + 1])
{
	CLEANUP(secret_freep) struct secret *memory = NULL;
	uint8_t mac[crypto_auth_hmacsha256_BYTES];
	struct bytes key = secret_reveal(data_key);
	crypto_auth_hmacsha256_state *state;
	enum err err = secret_new(sizeof(*state), &memory);

	if (err)
		return err;
	state = (crypto_auth_hmacsha256_state *)(void *)secret_fill(memory);
	(void)crypto_auth_hmacsha256_init(state, key.data, key.len);
	(void)crypto_auth_hmacsha256_update(state, (const uint8_t *)FINGERPRINT_OF, sizeof(FINGERPRINT_OF));
	if (plain.len)
		(void)crypto_auth_hmacsha256_update(state, plain.data, plain.len);
	(void)crypto_auth_hmacsha256_final(state, mac);
	(void)sodium_bin2hex(ret_hex, 2 * FINGERPRINT_LEN + 1, mac, FINGERPRINT_LEN);
	return OK;
}

/* Two versions under one data key have the same one if they are the same. */
static enum err put_fingerprint(struct buf *out, struct bytes plain, const struct secret *data_key)
{
	struct bytes text = buf_bytes(out);
	char hex[2 * FINGERPRINT_LEN + 1];
	enum err err = text.len && text.data[text.len - 1] != '\n' ? buf_put_u8(out, '\n') : OK;

	if (!err)
		err = make_fingerprint(plain, data_key, hex);
	return err ? err
	           : buf_printf(out, "# not shown as it is: %zu bytes, fingerprint under the data key %s\n",
	                        plain.len, hex);
}

static enum err put_all(struct buf *out, const struct sops_store *store)
{
	struct bytes plain = buf_bytes(store->plain);
	bool whole;
	enum err err = put_shown(NULL, plain, &whole);

	if (!err && (whole || store->document.format != SOPS_BINARY))
		err = buf_put(out, plain);
	if (!err && !whole)
		err = put_fingerprint(out, plain, store->data_key);
	return err ? err : put_metadata(out, store->metadata);
}

static enum err print_plain(const struct sops_store *store, struct problem *problem)
{
	CLEANUP(buf_freep) struct buf *out = NULL;
	CLEANUP(buf_freep) struct buf *shown = NULL;
	bool whole;
	enum err err = buf_new(3 * SOPS_FILE_MAX, &out);

	if (!err)
		err = buf_new(3 * SOPS_FILE_MAX, &shown);
	if (!err)
		err = put_all(out, store);
	if (!err)
		err = put_shown(shown, buf_bytes(out), &whole);
	return err ? err : print(buf_bytes(shown), problem);
}

static enum err run(struct invocation *invocation)
{
	const char *path = invocation->options.arguments[0];
	char driver[DRIVER_MAX];
	struct sops_store store;
	enum err err = find_keeping_driver(driver);

	if (err)
		return err;
	if (driver[0])
		return refuse_keeping(path, driver, &invocation->problem);
	if (goes_into_message())
		return refuse_file(path, "git commit -v", &invocation->problem);
	if (goes_into_patch())
		return refuse_file(path, "git format-patch", &invocation->problem);
	err = sops_store_open(&store, invocation, path);
	err = err ? print_as_it_is(path, &invocation->problem, err)
	          : print_plain(&store, &invocation->problem);
	sops_store_done(&store);
	return err;
}

const struct verb git_textconv_verb = {
	.name = "git textconv",
	.arguments = "FILE",
	.arguments_min = 1,
	.arguments_max = 1,
	.summary = "Prints a SOPS file for git diff: its plain text, or as it is",
	.details =
	        "Called by git, after tokenctl git --install. Below the text stand the recipients and the "
	        "rule. Who may\n"
	        "not open the file sees it as it is, with the reason, and so do git commit -v and "
	        "format-patch, which\n"
	        "keep it on the disk. Of a binary file that is no text its length is shown, with a "
	        "fingerprint that "
	        "is "
	        "keyed with\n"
	        "its data key; in a text '?' stands for what a terminal would obey. Each file that is shown "
	        "is "
	        "a release,\n"
	        "with a record in the audit log.",
	.example = "  git config diff.tokend.textconv 'tokenctl git textconv --'",
	.options = sops_store_options,
	.run = run,
};
