#include "cli/sops_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/file_lock.h"
#include "cli/input.h"
#include "cli/output.h"
#include "cli/shown.h"
#include "cli/sops_file.h"
#include "formats/sops_block.h"
#include "formats/sops_compare.h"
#include "formats/sops_decrypt.h"
#include "formats/sops_edit.h"
#include "formats/sops_seal.h"

const struct option_row sops_store_options[] = {
	FILE_OPENER_IDENTITY,
	SOPS_INPUT_TYPE,
	OPTIONS_END,
};

static struct problem *problem_of(struct sops_store *store)
{
	return &store->opener.invocation->problem;
}

/* It was a file when the tree was looked through. */
static enum err open_place(const struct tree_place *place, const char *path, struct problem *problem,
                           int *ret_fd)
{
	CLEANUP(input_closep) int fd = -1;
	struct stat status;

	if (tree_place_read(place, &fd) || fstat(fd, &status) < 0)
		return problem_errno(problem, errno, "cannot open", path);
	if (!S_ISREG(status.st_mode))
		return problem_set(problem, ERR_FILE_ACCESS, "%s is no file any more", path);
	*ret_fd = TAKE_FD(fd);
	return OK;
}

/* The limit is one more than a file may have, so that one that is too large is refused by its reader. */
enum err sops_text_read_opened(int input, const char *path, struct problem *problem, struct buf **ret_text)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	enum err err = buf_new(SOPS_FILE_MAX + 1, &text);

	if (!err)
		err = input_read(input, path, text, problem);
	if (err == ERR_BUSY)
		return problem_set(problem, ERR_BAD_FILE, "%s is too large for a SOPS file",
		                   input_name(path));
	if (!err)
		*ret_text = TAKE(text);
	return err;
}

enum err sops_text_read(const char *path, struct problem *problem, struct buf **ret_text)
{
	CLEANUP(input_closep) int input = -1;
	enum err err = input_open(path, problem, &input);

	return err ? err : sops_text_read_opened(input, path, problem, ret_text);
}

enum err sops_text_read_at(const struct tree_place *place, const char *path, struct problem *problem,
                           struct buf **ret_text)
{
	CLEANUP(input_closep) int input = -1;
	enum err err =
	        place ? open_place(place, path, problem, &input) : input_open_found(path, problem, &input);

	return err ? err : sops_text_read_opened(input, path, problem, ret_text);
}

enum err sops_store_explain(struct sops_store *store, const struct sops_document *document, enum err err)
{
	struct sops_request request = { .name = store->path,
		                        .path = store->path,
		                        .problem = problem_of(store) };

	return sops_file_explain(&request, document, err);
}

static enum err decrypt(struct sops_store *store, const struct sops_request *request)
{
	enum err err;

	store->metadata = malloc(sizeof(*store->metadata));
	err = store->metadata ? sops_metadata_read(&store->document, store->metadata) : ERR_NOMEM;
	if (!err)
		err = sops_file_open_key(request, store->metadata, &store->data_key);
	if (!err)
		err = sops_memory_new(&store->memory);
	if (!err)
		err = buf_new(2 * SOPS_FILE_MAX, &store->plain);
	return err ? err
	           : sops_decrypt_remember(&store->document, store->metadata, store->data_key, store->memory,
	                                   store->plain);
}

static enum err read_document(struct sops_store *store, const struct sops_request *request)
{
	enum sops_format format = SOPS_YAML;
	enum err err = sops_file_check(request, buf_bytes(store->text));

	if (!err)
		err = sops_file_format(request, buf_bytes(store->text), &format);
	return err ? err
	           : sops_sealed_read(&store->document, format, buf_bytes(store->text), &store->written);
}

static enum err open_text(struct sops_store *store, bool with_key)
{
	char pathspec[SHOWN_QUOTED_MAX];
	struct invocation *invocation = store->opener.invocation;
	struct sops_request request = { .name = store->path,
		                        .path = store->path,
		                        .input_type = options_value(&invocation->options, "input-type"),
		                        .opener = &store->opener,
		                        .problem = &invocation->problem };
	enum err err = read_document(store, &request);

	if (!err && with_key)
		err = decrypt(store, &request);
	err = sops_file_explain_marks(&request, buf_bytes(store->text), err);
	err = sops_store_explain(store, &store->document, err);
	shown_quote_pathspec(store->path, pathspec);
	if ((err == ERR_BAD_FILE || err == ERR_BAD_CIPHERTEXT) && !invocation->problem.hint[0])
		problem_hint(
		        &invocation->problem,
		        "git diff HEAD -- %s   shows what changed; git checkout HEAD -- %s takes it back",
		        pathspec, pathspec);
	return err;
}

static enum err refuse_stdin(struct invocation *invocation)
{
	(void)problem_set(&invocation->problem, ERR_USAGE,
	                  "%s changes a file in its place, and standard input has none",
	                  invocation->verb->name);
	problem_hint(&invocation->problem, "tokenctl %s %s   takes a file's name", invocation->verb->name,
	             invocation->verb->arguments);
	return ERR_USAGE;
}

/* Whoever sets or edits what is not there may want to make it. */
static bool may_be_new(const struct invocation *invocation, const char *path)
{
	const char *name = invocation->verb->name;

	return access(path, F_OK) < 0 && (strcmp(name, "set") == 0 || strcmp(name, "edit") == 0);
}

static enum err open_at(struct sops_store *store, struct invocation *invocation, const char *path,
                        const struct tree_place *place)
{
	char quoted[SHOWN_QUOTED_MAX];
	enum err err;

	*store = (struct sops_store){ .path = path, .place = place };
	if (strcmp(path, "-") == 0)
		return refuse_stdin(invocation);
	err = file_opener_init(&store->opener, invocation);
	store->opener.name = path;
	if (!err)
		err = sops_text_read_at(place, path, &invocation->problem, &store->text);
	if (err == ERR_NO_FILE && may_be_new(invocation, path)) {
		shown_quote(path, quoted);
		problem_hint(
		        &invocation->problem,
		        "tokenctl encrypt --sops --key NAME -o %s PLAINFILE   makes one (ls -l shows what is "
		        "there)",
		        quoted);
	}
	return err ? err : open_text(store, true);
}

enum err sops_store_open(struct sops_store *store, struct invocation *invocation, const char *path)
{
	return open_at(store, invocation, path, NULL);
}

enum err sops_store_look(struct sops_store *store, struct invocation *invocation, const char *path)
{
	return sops_store_look_at(store, invocation, path, NULL);
}

enum err sops_store_look_at(struct sops_store *store, struct invocation *invocation, const char *path,
                            const struct tree_place *place)
{
	enum err err;

	*store = (struct sops_store){ .path = path, .place = place, .opener = { .invocation = invocation } };
	if (strcmp(path, "-") == 0)
		return refuse_stdin(invocation);
	err = sops_text_read_at(place, path, &invocation->problem, &store->text);
	return err ? err : open_text(store, false);
}

enum err sops_store_open_to_change(struct sops_store *store, struct invocation *invocation, const char *path)
{
	return sops_store_open_to_change_at(store, invocation, path, NULL);
}

enum err sops_store_open_to_change_at(struct sops_store *store, struct invocation *invocation,
                                      const char *path, const struct tree_place *place)
{
	struct problem *problem = &invocation->problem;
	int lock = -1;
	enum err err = place ? file_lock_at(place, path, problem, &lock) : file_lock(path, problem, &lock);

	if (!err)
		err = open_at(store, invocation, path, place);
	store->locked = lock >= 0;
	store->lock = lock;
	return err;
}

void sops_store_done(struct sops_store *store)
{
	if (store->locked)
		(void)close(store->lock);
	file_opener_done(&store->opener);
	sops_document_done(&store->document);
	free(store->metadata);
	(void)secret_free(store->data_key);
	(void)sops_memory_free(store->memory);
	(void)buf_free(store->plain);
	(void)buf_free(store->written);
	(void)buf_free(store->text);
}

static enum err read_plain(enum sops_format format, struct bytes plain, struct sops_document *ret_document)
{
	return format == SOPS_BINARY ? sops_seal_read_binary(ret_document, plain)
	                             : sops_document_read(ret_document, format, plain);
}

enum err sops_store_read(struct sops_store *store, struct bytes plain, struct sops_document *ret_document)
{
	return sops_store_explain(store, ret_document,
	                          read_plain(store->document.format, plain, ret_document));
}

void sops_store_hint_edit(struct sops_store *store, const char *more)
{
	char quoted[SHOWN_QUOTED_MAX];

	shown_quote(store->path, quoted);
	problem_hint(problem_of(store), "tokenctl edit %s%s", quoted, more);
}

enum err sops_store_refuse_place(struct sops_store *store, const char *path)
{
	(void)problem_set(
	        problem_of(store), ERR_UNSUPPORTED,
	        "%s was left as it is: %s or what is beside it is written in a way that can only be "
	        "changed by hand",
	        store->path, path);
	sops_store_hint_edit(store, "");
	return ERR_UNSUPPORTED;
}

enum err sops_store_edit(struct sops_store *store, sops_text_edit edit, void *context, struct buf **ret_plain)
{
	CLEANUP(buf_freep) struct buf *plain = NULL;
	struct sops_document document = { .count = 0 };
	enum err err = sops_store_read(store, buf_bytes(store->plain), &document);

	if (!err)
		err = buf_new(2 * SOPS_FILE_MAX, &plain);
	if (!err)
		err = sops_store_explain(store, &document, edit(context, &document, plain));
	if (err == ERR_UNSUPPORTED && strstr(document.reason, SOPS_EDIT_NO_COLON))
		sops_store_hint_edit(store, "");
	sops_document_done(&document);
	if (!err)
		*ret_plain = TAKE(plain);
	return err;
}

/* What is opened for a change is written without doubt: hence the memory, which nobody asks. */
static enum err open_again(struct sops_document *document, const struct secret *data_key, struct buf *opened)
{
	CLEANUP(freep) struct sops_metadata *metadata = malloc(sizeof(*metadata));
	CLEANUP(sops_memory_freep) struct sops_memory *memory = NULL;
	enum err err = metadata ? sops_metadata_read(document, metadata) : ERR_NOMEM;

	if (!err)
		err = sops_memory_new(&memory);
	return err ? err : sops_decrypt_remember(document, metadata, data_key, memory, opened);
}

enum err sops_verify(struct bytes sealed, const struct secret *data_key, const struct sops_document *meant,
                     const char *name, struct problem *problem)
{
	struct sops_document document, plain = { .count = 0 };
	CLEANUP(buf_freep) struct buf *opened = NULL;
	enum err err = sops_document_read(&document, meant->format, sealed);

	if (!err)
		err = buf_new(2 * SOPS_FILE_MAX, &opened);
	if (!err)
		err = open_again(&document, data_key, opened);
	if (!err)
		err = read_plain(meant->format, buf_bytes(opened), &plain);
	if (!err && !sops_documents_are_same(&plain, meant))
		err = ERR_BAD_FILE;
	if (err && err != ERR_NOMEM && err != ERR_BUSY)
		err = problem_set(
		        problem, ERR_UNSUPPORTED,
		        "%s was left as it is: this cannot be written in its format without becoming "
		        "something else",
		        name);
	sops_document_done(&plain);
	sops_document_done(&document);
	return err;
}

/* A comment that is gone is found in the history; what is meant to be in the clear is a value of its own. What stands behind a value is moved in an editor. */
static void hint_comments(struct sops_store *store, const struct sops_document *plain)
{
	char quoted[SHOWN_QUOTED_MAX], pathspec[SHOWN_QUOTED_MAX];

	if (strstr(plain->reason, "would stay in the clear"))
		sops_store_hint_edit(store, "");
	if (!strstr(plain->reason, "by the comments here"))
		return;
	shown_quote(store->path, quoted);
	shown_quote_pathspec(store->path, pathspec);
	problem_hint(
	        problem_of(store),
	        "git log -p -- %s   shows the comments as they were, to be put back; a value that is meant "
	        "to be in the clear: tokenctl unset %s PATH, and tokenctl set %s PATH",
	        pathspec, quoted, quoted);
}

static enum err seal(struct sops_store *store, const struct sops_change *change, struct sops_document *plain,
                     struct buf *out)
{
	char now[SOPS_TIME_LEN + 1];
	struct sops_block block = { .format = store->document.format,
		                    .flow = sops_block_is_flow(&store->document),
		                    .tree = change->metadata,
		                    .old = &store->document,
		                    .metadata = store->metadata };
	const struct sops_seal sealing = { .plain = plain,
		                           .metadata = store->metadata,
		                           .data_key = change->data_key ? change->data_key : store->data_key,
		                           .memory = change->data_key ? NULL : store->memory,
		                           .sealed = store->memory,
		                           .now = now };
	enum err err;

	sops_seal_time(now);
	err = sops_seal(&sealing, sops_block_put, &block, out);
	if (!err)
		err = sops_verify(buf_bytes(out), sealing.data_key, plain, store->path, problem_of(store));
	err = sops_store_explain(store, plain, err);
	if (err == ERR_BAD_FILE)
		hint_comments(store, plain);
	return err;
}

static enum err open_output(struct sops_store *store, struct output **ret_output)
{
	const struct tree_place *place = store->place;

	return place ? output_open_change(place->directory, place->name, store->path, problem_of(store),
	                                  ret_output)
	             : output_open(store->path, 0600, -1, problem_of(store), ret_output);
}

enum err sops_store_check_writable(struct sops_store *store)
{
	CLEANUP(output_freep) struct output *output = NULL;

	return open_output(store, &output);
}

enum err sops_store_is_current(struct sops_store *store, bool *ret_same)
{
	CLEANUP(buf_freep) struct buf *now = NULL;
	enum err err = sops_text_read_at(store->place, store->path, problem_of(store), &now);

	if (!err)
		*ret_same = bytes_equal(buf_bytes(now), buf_bytes(store->text));
	return err;
}

/* Somebody else may have been faster who does not wait for others (git, an editor). */
static enum err check_unchanged(struct sops_store *store)
{
	bool same = false;
	enum err err = sops_store_is_current(store, &same);

	if (err || same)
		return err;
	(void)problem_set(problem_of(store), ERR_BUSY,
	                  "%s was changed by somebody else meanwhile, and was left as it is", store->path);
	problem_hint(problem_of(store), "do it again");
	return ERR_BUSY;
}

static enum err write_back(struct sops_store *store, struct bytes text)
{
	CLEANUP(output_freep) struct output *output = NULL;
	enum err err = check_unchanged(store);

	if (!err)
		err = open_output(store, &output);
	if (!err)
		err = output_write(output, text);
	return err ? err : output_commit(output);
}

enum err sops_plain_tell(size_t aliases, enum sops_rule rule, const char *name, struct problem *problem)
{
	if (aliases == 0)
		return OK;
	if (rule == SOPS_ENCRYPTED_COMMENT_REGEX || rule == SOPS_UNENCRYPTED_COMMENT_REGEX) {
		(void)problem_set(problem, ERR_UNSUPPORTED,
		                  "%s has aliases, and under a rule about comments they are not written out",
		                  name);
		problem_hint(problem, "write them out by hand, with the comments that their values need");
		return ERR_UNSUPPORTED;
	}
	shown_line(stderr,
	           "tokenctl: %s: %zu %s written out, for a SOPS file has none; from now on each copy is "
	           "changed by "
	           "itself",
	           name, aliases, aliases == 1 ? "alias was" : "aliases were");
	return OK;
}

/* What is new in it may be what a person typed: with aliases. */
static enum err read_change(struct sops_store *store, struct bytes text, struct sops_plain *plain)
{
	enum err err;

	*plain = (struct sops_plain){ .aliases = 0 };
	if (store->document.format == SOPS_BINARY)
		return sops_store_read(store, text, &plain->document);
	err = sops_plain_read(plain, store->document.format, text);
	if (!err)
		err = sops_plain_tell(plain->aliases, store->metadata->rule, store->path, problem_of(store));
	return sops_store_explain(store, &plain->document, err);
}

enum err sops_store_save(struct sops_store *store, const struct sops_change *change, bool *ret_changed)
{
	CLEANUP(buf_freep) struct buf *sealed = NULL;
	struct sops_plain plain;
	enum err err;

	*ret_changed =
	        change->data_key || change->metadata || !bytes_equal(change->plain, buf_bytes(store->plain));
	if (!*ret_changed)
		return OK;
	err = sops_plain_tell(store->document.aliases, store->metadata->rule, store->path, problem_of(store));
	if (err)
		return err;
	err = read_change(store, change->plain, &plain);
	if (!err)
		err = buf_new(2 * SOPS_FILE_MAX, &sealed);
	if (!err)
		err = seal(store, change, &plain.document, sealed);
	if (!err)
		err = write_back(store, buf_bytes(sealed));
	sops_plain_done(&plain);
	return err;
}

enum err sops_path_argument(struct invocation *invocation, const char *word, struct sops_path *ret_path)
{
	if (sops_path_parse(bytes_of_string(word), ret_path) == OK)
		return OK;
	(void)problem_set(&invocation->problem, ERR_USAGE, "\"%s\" is no path", word);
	problem_hint(&invocation->problem, "a path is written '[\"db\"][\"hosts\"][0]' or db.hosts.0");
	return ERR_USAGE;
}

enum err sops_store_has_paths(struct sops_store *store)
{
	if (store->document.format != SOPS_BINARY)
		return OK;
	(void)problem_set(problem_of(store), ERR_UNSUPPORTED, "%s is a binary file, which is one value",
	                  store->path);
	sops_store_hint_edit(store, "");
	return ERR_UNSUPPORTED;
}
