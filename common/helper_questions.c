#include "common/helper_questions.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/helper_operations.h"

struct kept {
	struct kept *next;
	size_t len;
	uint8_t data[];
};

struct helper_questions {
	struct kept *first, **end;
	size_t count;
	bool closing; /* one of them may take a key away, or replace it */
	enum err failed; /* nothing more comes */
	struct buf *came;
	struct helper_answers answers; /* the interrupted operation is making another one */
};

enum err helper_questions_new(int socket, struct helper_questions **ret_questions)
{
	CLEANUP(helper_questions_freep) struct helper_questions *questions = calloc(1, sizeof(*questions));
	enum err err;

	if (!questions)
		return ERR_NOMEM;
	questions->end = &questions->first;
	err = buf_new(TOKEN_MESSAGE_MAX, &questions->came);
	if (!err)
		err = helper_answers_init(&questions->answers, socket, HELPER_READY_LEN);
	if (!err)
		*ret_questions = TAKE(questions);
	return err;
}

static struct kept *take_kept(struct helper_questions *questions)
{
	struct kept *kept = questions->first;

	if (!kept)
		return NULL;
	questions->first = kept->next;
	if (!questions->first) {
		questions->end = &questions->first;
		questions->closing = false;
	}
	questions->count--;
	return kept;
}

struct helper_questions *helper_questions_free(struct helper_questions *questions)
{
	struct kept *kept;

	if (!questions)
		return NULL;
	while ((kept = take_kept(questions)))
		free(kept);
	buf_free(questions->came);
	helper_answers_done(&questions->answers);
	free(questions);
	return NULL;
}

/* One packet, whole, into question. */
static enum err receive(const struct helper *helper, int flags, struct buf *question)
{
	uint8_t *space;
	ssize_t got;
	enum err err;

	buf_clear(question);
	err = buf_reserve(question, TOKEN_MESSAGE_MAX, &space);
	if (err)
		return err;
	do
		got = recv(helper->socket, space, TOKEN_MESSAGE_MAX, MSG_TRUNC | flags);
	while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN)
		return ERR_AGAIN;
	if (got < 0)
		return errno == ECONNRESET ? ERR_TRUNCATED : ERR_SYSTEM;
	if (got > (ssize_t)TOKEN_MESSAGE_MAX)
		return ERR_BAD_MESSAGE;
	buf_commit(question, (size_t)got);
	return got == 0 ? ERR_TRUNCATED : OK;
}

enum err helper_questions_next(const struct helper *helper, bool wait, struct buf *question)
{
	struct kept *kept = take_kept(helper->questions);
	enum err err;

	if (!kept)
		return helper->questions->failed ? helper->questions->failed
		                                 : receive(helper, wait ? 0 : MSG_DONTWAIT, question);
	buf_clear(question);
	err = buf_put(question, bytes_of(kept->data, kept->len));
	free(kept);
	return err;
}

/* ---- what is kept for later ---- */

static bool closes_keys(enum token_op op)
{
	return op == TOKEN_OP_LOCK || op == TOKEN_OP_UNLOAD || op == TOKEN_OP_LOAD;
}

static enum err kept_new(struct bytes packet, struct kept **ret_kept)
{
	struct kept *kept = malloc(sizeof(*kept) + packet.len);

	if (!kept)
		return ERR_NOMEM;
	kept->len = packet.len;
	memcpy(kept->data, packet.data, packet.len);
	*ret_kept = kept;
	return OK;
}

static void note_kept(struct helper_questions *questions, struct bytes packet)
{
	struct token_message question;

	questions->closing |= token_message_parse(packet, &question) == OK && closes_keys(question.op);
	questions->count++;
}

static enum err keep(struct helper_questions *questions, struct bytes packet)
{
	struct kept *kept;
	enum err err = kept_new(packet, &kept);

	if (err)
		return err;
	kept->next = NULL;
	*questions->end = kept;
	questions->end = &kept->next;
	note_kept(questions, packet);
	return OK;
}

void helper_questions_fail(struct helper *helper, enum err err)
{
	if (!helper->questions->failed)
		helper->questions->failed = err;
}

void helper_questions_put_back(struct helper *helper, const struct buf *question)
{
	struct helper_questions *questions = helper->questions;
	struct kept *kept;
	enum err err = kept_new(buf_bytes(question), &kept);

	if (err) {
		helper_questions_fail(helper, err);
		return;
	}
	kept->next = questions->first;
	questions->first = kept;
	if (!kept->next)
		questions->end = &kept->next;
	note_kept(questions, buf_bytes(question));
}

bool helper_questions_ahead(struct helper *helper)
{
	struct helper_questions *questions = helper->questions;
	enum err err;

	if (questions->first || questions->failed)
		return questions->first != NULL;
	err = receive(helper, MSG_DONTWAIT, questions->came);
	if (!err)
		err = keep(questions, buf_bytes(questions->came));
	if (err && err != ERR_AGAIN)
		questions->failed = err;
	return !err;
}

/* ---- while the device is at work ---- */

static enum err answer_now(struct helper *helper, const struct token_message *question)
{
	struct helper_answers *answers = &helper->questions->answers;
	enum err err = helper_answers_make(answers, helper, question);

	return err ? err : helper_answers_send(answers);
}

/* What does not parse is kept too: it ends the conversation when it is its turn. */
static enum err take_in(struct helper *helper)
{
	struct helper_questions *questions = helper->questions;
	struct token_message question;
	bool parsed = token_message_parse(buf_bytes(questions->came), &question) == OK;

	if (parsed && question.err == OK && !questions->closing && helper_needs_no_device(helper, &question))
		return answer_now(helper, &question);
	return keep(questions, buf_bytes(questions->came));
}

bool helper_questions_meanwhile(void *context)
{
	struct helper *helper = context;
	struct helper_questions *questions = helper->questions;
	enum err err;

	if (questions->failed || questions->count >= HELPER_KEPT_MAX)
		return false;
	err = receive(helper, MSG_DONTWAIT, questions->came);
	if (!err)
		err = take_in(helper);
	if (err && err != ERR_AGAIN)
		questions->failed = err;
	return questions->failed == OK;
}
