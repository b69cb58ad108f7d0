#include "common/helper.h"

#include <errno.h>
#include <getopt.h>
#include <sodium.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "common/give_back.h"
#include "common/helper_operations.h"
#include "common/helper_questions.h"
#include "common/helper_sandbox.h"
#include "common/helper_second.h"
#include "common/log.h"

#define SETTLED_AFTER 64U /* questions */

static void helper_done(struct helper *helper)
{
	helper_device_close(helper);
	helper_answers_done(&helper->answers);
	helper->keys = helper_keys_free(helper->keys);
	helper->box_secret = secret_free(helper->box_secret);
	helper->questions = helper_questions_free(helper->questions);
	if (helper->notes)
		(void)munmap(helper->notes, sizeof(*helper->notes));
	helper->notes = NULL;
}

static enum err helper_init(struct helper *helper)
{
	enum err err = helper_keys_new(&helper->keys);

	if (!err)
		err = helper_answers_init(&helper->answers, helper->socket, TOKEN_MESSAGE_MAX);
	if (!err)
		err = helper_questions_new(helper->socket, &helper->questions);
	if (!err)
		err = secret_new(crypto_box_SECRETKEYBYTES, &helper->box_secret);
	helper->meanwhile = (struct token_meanwhile){ helper->socket, helper_questions_meanwhile, helper };
	if (!err && crypto_box_keypair(helper->box_public, secret_fill(helper->box_secret)) != 0)
		err = ERR_BUG;
	return err;
}

/* What the device's opening and a key's first use needed is not needed again. When that was nobody says, so this is tried after 1, 2, 4 ... questions. */
static void settle(struct helper *helper)
{
	if (!helper->token || helper->waits >= SETTLED_AFTER)
		return;
	helper->waits++;
	if ((helper->waits & (helper->waits - 1)) == 0)
		give_back_text();
}

static void look_after_device(struct helper *helper)
{
	if (!helper_device_watch_due(helper))
		return;
	helper_second_rest(helper);
	helper_device_watch(helper);
}

/* Answers are kept back only while the next question is there already. That none is was seen when this one was begun by a thread that is alone; another look would cost as much as an answer's leaving. */
static enum err question_next(struct helper *helper, struct buf *question)
{
	bool look = !helper->alone && helper->answers.ready_count > 0;
	enum err err = ERR_AGAIN;

	helper->alone = false;
	helper_second_stop(helper);
	if (look)
		err = helper_questions_next(helper, false, question);
	if (err != ERR_AGAIN)
		return err;
	err = helper_answers_send(&helper->answers);
	if (err)
		return err;
	look_after_device(helper);
	settle(helper);
	return helper_questions_next(helper, true, question);
}

static enum err serve_one(struct helper *helper, struct buf *question)
{
	struct token_message message;
	enum err err = question_next(helper, question);

	if (!err)
		err = token_message_parse(buf_bytes(question), &message);
	/* What does not parse has no op and no id that an answer could carry: whoever sends that is not our broker any more. */
	if (!err && message.err != OK)
		err = ERR_BAD_MESSAGE;
	if (err)
		return err;
	if (helper_only_reads(helper, &message))
		helper_second_help(helper);
	else
		helper_second_rest(helper);
	return helper_answers_make(&helper->answers, helper, &message);
}

static enum err serve(struct helper *helper)
{
	CLEANUP(buf_freep) struct buf *question = NULL;
	enum err err = buf_new(TOKEN_MESSAGE_MAX, &question), second;

	while (!err)
		err = serve_one(helper, question);
	second = helper_second_end(helper);
	if (err == ERR_TRUNCATED)
		err = second;
	return err == ERR_TRUNCATED ? OK : err;
}

/* The memory stays when the sandbox closes the descriptor, and nobody can change the file's length from then on. One of another length would be a trap: then nothing is noted. */
static enum err notes_map(struct helper *helper, int notes)
{
	struct stat status;
	void *memory;

	if (notes == 0)
		return OK;
	if (fstat(notes, &status) < 0)
		return ERR_USAGE;
	if (status.st_size != (off_t)sizeof(*helper->notes)) {
		log_warning("what a killed helper left on the device is not known: the notes have another "
		            "length");
		return OK;
	}
	memory = mmap(NULL, sizeof(*helper->notes), PROT_READ | PROT_WRITE, MAP_SHARED, notes, 0);
	if (memory == MAP_FAILED)
		return ERR_SYSTEM;
	helper->notes = memory;
	if (helper->notes->format != TOKEN_NOTES_FORMAT)
		*helper->notes = (struct token_notes){ .format = TOKEN_NOTES_FORMAT };
	return OK;
}

/* Everything that needs more rights than the rest of the process's life. */
static enum err shut(struct helper *helper, const struct helper_options *options)
{
	const struct token_ops *ops = helper->ops;
	struct token_sandbox sandbox = { 0 };
	enum err err = secret_process_init();

	if (!err)
		err = notes_map(helper, options->notes);
	if (err)
		return err;
	err = ops->prepare(options->uri, &sandbox);
	if (!err && sandbox.inet_sockets && !options->allow_inet)
		err = ERR_USAGE;
	if (err)
		return err;
	err = helper_sandbox_close(&sandbox, options->socket);
	if (err)
		log_error("the sandbox could not be closed (%s), so nothing is served", strerror(errno));
	return err;
}

static void complain(enum err err)
{
	log_error("%s", err_info(err)->text);
	if (err == ERR_MEMORY_LOCKED)
		log_error("next: " SECRET_LOCK_HINT);
}

int helper_run(const struct token_ops *ops, const struct helper_options *options)
{
	struct helper helper = { .ops = ops, .uri = options->uri, .socket = options->socket };
	enum err err = shut(&helper, options);

	if (!err)
		err = helper_init(&helper);
	if (!err)
		err = serve(&helper);
	helper_done(&helper);
	if (err)
		complain(err);
	return err ? err_info(err)->exit_code : 0;
}

/* ---- the command line ---- */

static int usage(const char *program, FILE *out, int status)
{
	(void)fprintf(
	        out,
	        "Usage: %s --socket FD [--notes FD] --token URI\n"
	        "Started by tokend, one for each token; there is no use for it by hand.\n\n"
	        "  --socket FD     the socket pair to tokend\n"
	        "  --notes FD      memory that outlives this process, for what it would leave on the token\n"
	        "  --token URI     the token\n"
	        "  --allow-inet    allow a token behind TCP (a laboratory's simulator)\n"
	        "  --version, --help\n",
	        program);
	return status;
}

static bool parse_fd(const char *text, int *ret_fd)
{
	char *end;
	long fd = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || fd < 3 || fd > 1 << 20)
		return false;
	*ret_fd = (int)fd;
	return true;
}

/* The URI after "scheme:"; PKCS#11 URIs are passed on from there as well. NULL when it is of another scheme. */
static const char *uri_of_scheme(const char *uri, const char *scheme)
{
	size_t len = strlen(scheme);

	return strncmp(uri, scheme, len) == 0 && uri[len] == ':' ? uri + len + 1 : NULL;
}

int helper_main(const struct token_ops *ops, const char *program, int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "socket", required_argument, NULL, 's' },
		{ "token", required_argument, NULL, 't' },
		{ "notes", required_argument, NULL, 'n' },
		{ "allow-inet", no_argument, NULL, 'i' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct helper_options options = { .socket = -1 };
	int option;

	log_init(program, LOG_LEVEL_INFO);
	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (option == 's' && !parse_fd(optarg, &options.socket))
			return usage(program, stderr, 2);
		if (option == 'n' && !parse_fd(optarg, &options.notes))
			return usage(program, stderr, 2);
		if (option == 't')
			options.uri = uri_of_scheme(optarg, ops->scheme);
		if (option == 'i')
			options.allow_inet = true;
		if (option == 'V')
			return printf("%s %s\n", program, TOKEND_VERSION) < 0;
		if (option == 'h')
			return usage(program, stdout, 0);
		if (option == '?')
			return usage(program, stderr, 2);
	}
	if (optind != argc || options.socket < 0 || !options.uri)
		return usage(program, stderr, 2);
	return helper_run(ops, &options);
}
