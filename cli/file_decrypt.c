#include "cli/file_decrypt.h"

#include <string.h>
#include <sys/stat.h>

#include "cli/input.h"
#include "cli/shown.h"
#include "cli/sops_file.h"
#include "formats/text.h"

#define PIECE_LEN 65536U /* of a file that is read as a whole */

static struct problem *problem_of(const struct file_decryption *decryption)
{
	return &decryption->opener->invocation->problem;
}

/* What is given to us in error, and what opens it instead. */
static enum err explain_other_format(struct file_decryption *decryption, struct bytes piece)
{
	struct problem *problem = problem_of(decryption);
	char quoted[SHOWN_QUOTED_MAX];

	decryption->foreign = true;
	if (piece.len == 0)
		return problem_set(problem, ERR_BAD_FILE, "%s is empty", decryption->opener->name);
	(void)problem_set(problem, ERR_BAD_FILE, "%s is not an age file, and not a SOPS file",
	                  decryption->opener->name);
	shown_quote(decryption->opener->name, quoted);
	if (decryption->path)
		problem_hint(problem, "file %s   says what it is", quoted);
	return ERR_BAD_FILE;
}

/* One that ends within the first word as well: it was cut off. */
static bool looks_like_age(struct bytes piece)
{
	return age_file_looks_like(piece) || (piece.len && piece.len < strlen(AGE_INTRO_ANY) &&
	                                      memcmp(piece.data, AGE_INTRO_ANY, piece.len) == 0);
}

/* One that is text by its name is looked at as a whole even with a NUL byte in it: with that it is damaged, not of another kind. */
static bool is_text_by_name(const char *path)
{
	return path && sops_format_guess(path, bytes_of_string("{")) != SOPS_BINARY;
}

/* A file of another kind shows it early, and is not read to its end; a short one is whole in its first piece. */
static bool may_be_sops(const char *path, struct bytes piece)
{
	if (piece.len == 0)
		return false;
	if (sops_file_is_likely(piece) || sops_file_has_value(piece) || is_text_by_name(path))
		return true;
	return piece.len == INPUT_FIRST_LEN && !memchr(piece.data, '\0', piece.len);
}

static enum err refuse_size(struct file_decryption *decryption)
{
	decryption->too_large = true;
	return problem_set(problem_of(decryption), ERR_BAD_FILE,
	                   "%s is no age file, and too large for a SOPS file", decryption->opener->name);
}

static enum err take_first(void *context, struct bytes piece)
{
	struct file_decryption *decryption = context;
	uint8_t *ignored;
	size_t room;
	enum err err;

	if (looks_like_age(piece))
		return age_reader_push(decryption->reader, piece);
	if (!may_be_sops(decryption->path, piece))
		return explain_other_format(decryption, piece);
	if (decryption->size > SOPS_FILE_MAX) /* said before it is read */
		return refuse_size(decryption);
	err = buf_new(SOPS_FILE_MAX, &decryption->whole);
	room = (size_t)decryption->size + PIECE_LEN;
	if (!err && room <= SOPS_FILE_MAX) /* at once: to grow is to copy, and to wipe what was */
		err = buf_reserve(decryption->whole, room, &ignored);
	return err ? err : buf_put(decryption->whole, piece);
}

/* NULL when a file is too large to be a SOPS file, too. */
static uint8_t *give_space(void *context, size_t *ret_len)
{
	struct file_decryption *decryption = context;
	uint8_t *space;

	if (!decryption->whole)
		return age_reader_space(decryption->reader, ret_len);
	*ret_len = PIECE_LEN < buf_room(decryption->whole) ? PIECE_LEN : buf_room(decryption->whole);
	if (*ret_len == 0)
		(void)refuse_size(decryption);
	return *ret_len && buf_reserve(decryption->whole, *ret_len, &space) == OK ? space : NULL;
}

static enum err take_more(void *context, size_t len)
{
	struct file_decryption *decryption = context;

	if (!decryption->whole)
		return age_reader_commit(decryption->reader, len);
	buf_commit(decryption->whole, len);
	return OK;
}

static enum err finish_sops(struct file_decryption *decryption)
{
	struct sops_request request = { .name = decryption->opener->name,
		                        .path = decryption->path,
		                        .input_type = decryption->input_type,
		                        .output_type = decryption->output_type,
		                        .quotes = decryption->quotes,
		                        .opener = decryption->opener,
		                        .problem = problem_of(decryption) };
	CLEANUP(buf_freep) struct buf *plain = NULL;
	bool likely = sops_file_is_likely(buf_bytes(decryption->whole));
	enum err err;

	if (!likely && sops_file_has_value(buf_bytes(decryption->whole)))
		return sops_file_refuse_remains(decryption->opener->name, problem_of(decryption));
	if (!likely)
		return explain_other_format(decryption, buf_bytes(decryption->whole));
	err = buf_new(2 * SOPS_FILE_MAX, &plain);
	if (!err)
		err = sops_file_decrypt(&request, buf_bytes(decryption->whole), plain);
	return err ? err : decryption->sink(decryption->sink_context, buf_bytes(plain));
}

static bool is_damage(enum err err)
{
	return err == ERR_BAD_FILE || err == ERR_TRUNCATED || err == ERR_BAD_CIPHERTEXT;
}

static enum err explain_failure(struct file_decryption *decryption, enum err err)
{
	struct problem *problem = problem_of(decryption);

	if (!err || problem->hint[0])
		return err;
	/* One text for every cause, but for a SOPS file: its values are no messages to anybody, and people have to find the line. */
	if (!problem->message[0] || (err == ERR_BAD_CIPHERTEXT && !decryption->whole))
		(void)problem_set(problem, err, "%s: %s", decryption->opener->name, err_info(err)->text);
	if (is_damage(err))
		problem_hint(problem, "get it again from where it came, or from a backup");
	return err;
}

static enum err decrypt_input(struct file_decryption *decryption, int input)
{
	const struct input_receiver receiver = { take_first, give_space, take_more, decryption };
	enum err err = age_reader_new(file_opener_open, decryption->opener, decryption->sink,
	                              decryption->sink_context, &decryption->reader);
	struct stat status;

	decryption->size = fstat(input, &status) == 0 && S_ISREG(status.st_mode) ? status.st_size : 0;
	if (!err)
		err = input_pump(input, decryption->path, &receiver, problem_of(decryption));
	if (decryption->too_large)
		return ERR_BAD_FILE;
	if (!err && decryption->whole)
		return finish_sops(decryption);
	return err ? err : age_reader_finish(decryption->reader);
}

enum err file_decrypt(struct file_decryption *decryption, int input)
{
	enum err err = decrypt_input(decryption, input);

	err = explain_failure(decryption, err);
	decryption->reader = age_reader_free(decryption->reader);
	decryption->whole = buf_free(decryption->whole);
	return err;
}

bool file_decrypt_is_encrypted(const char *path, int input)
{
	CLEANUP(buf_freep) struct buf *text = NULL;
	struct problem unsaid = { 0 };
	enum err err = buf_new(SOPS_FILE_MAX, &text);
	struct bytes read;

	if (!err)
		err = input_read(input, path, text, &unsaid);
	if (err && err != ERR_BUSY)
		return true;
	read = buf_bytes(text);
	return looks_like_age(bytes_of(read.data, read.len < INPUT_FIRST_LEN ? read.len : INPUT_FIRST_LEN)) ||
	       (!err && (sops_file_is_likely(read) || sops_file_has_value(read)));
}
