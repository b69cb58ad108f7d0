/*
 * The second thread is asleep, or has something in hand (busy). Where the first thread is says whether it may take a question:
 *
 *	waits for one, or answers one that changes something    may_take false
 *	answers one that only reads                             may_take true, from when it has seen that another one is there
 *
 * Busy lasts until its answers have left. A failure (no memory, a socket that is gone) is not its own: the socket is shut for reading, which the first thread takes for the end, and finds the
 * reason when it ends the second.
 */
#include "common/helper_second.h"

#include <malloc.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/helper_operations.h"
#include "common/helper_questions.h"
#include "common/thread.h"

#define STACK_LEN (256U << 10) /* all of it may be locked memory */

struct helper_second {
	struct helper *helper;
	pthread_t thread;
	struct buf *question; /* its own, as the answers are */
	struct helper_answers answers;

	pthread_mutex_t lock; /* for what follows, and for taking questions */
	pthread_cond_t work, idle;
	bool may_take, busy, end;
	enum err failed;
};

/* ---- the second thread, its lock held ---- */

/* One of the kind that both may answer, or nothing. */
static bool is_shared(const struct helper *helper, const struct buf *question,
                      struct token_message *ret_message)
{
	return token_message_parse(buf_bytes(question), ret_message) == OK && ret_message->err == OK &&
	       helper_only_reads(helper, ret_message);
}

static bool take(struct helper_second *second, struct token_message *ret_message)
{
	enum err err = second->failed || !second->may_take
	                       ? ERR_AGAIN
	                       : helper_questions_next(second->helper, false, second->question);

	if (err) {
		/* It is for the first thread to find, which does not receive this packet again. */
		if (err != ERR_AGAIN)
			helper_questions_fail(second->helper, err);
		return false;
	}
	if (is_shared(second->helper, second->question, ret_message))
		return true;
	second->may_take = false;
	helper_questions_put_back(second->helper, second->question);
	return false;
}

static void fail(struct helper_second *second, enum err err)
{
	second->failed = err;
	second->may_take = false;
	(void)shutdown(second->answers.socket, SHUT_RD);
}

/* Answers one, or sends what is ready when there is none, without the lock. False when there was neither. */
static bool work_once(struct helper_second *second)
{
	struct token_message question;
	bool taken = take(second, &question);
	enum err err;

	if (second->failed || (!taken && second->answers.ready_count == 0))
		return false;
	second->busy = true;
	(void)pthread_mutex_unlock(&second->lock);
	err = taken ? helper_answers_make(&second->answers, second->helper, &question)
	            : helper_answers_send(&second->answers);
	(void)pthread_mutex_lock(&second->lock);
	if (err)
		fail(second, err);
	return !err;
}

static void *second_main(void *context)
{
	struct helper_second *second = context;

	(void)pthread_mutex_lock(&second->lock);
	while (!second->end) {
		if (work_once(second))
			continue;
		second->busy = false;
		(void)pthread_cond_signal(&second->idle);
		(void)pthread_cond_wait(&second->work, &second->lock);
	}
	(void)pthread_mutex_unlock(&second->lock);
	return NULL;
}

/* ---- the first thread ---- */

static struct helper_second *second_free(struct helper_second *second)
{
	if (!second)
		return NULL;
	helper_answers_done(&second->answers);
	buf_free(second->question);
	(void)pthread_cond_destroy(&second->idle);
	(void)pthread_cond_destroy(&second->work);
	(void)pthread_mutex_destroy(&second->lock);
	free(second);
	return NULL;
}
DEFINE_CLEANUP(struct helper_second *, second_free);

static enum err second_new(struct helper *helper, struct helper_second **ret_second)
{
	CLEANUP(second_freep) struct helper_second *second = calloc(1, sizeof(*second));
	enum err err;

	if (!second)
		return ERR_NOMEM;
	second->helper = helper;
	(void)pthread_mutex_init(&second->lock, NULL);
	(void)pthread_cond_init(&second->work, NULL);
	(void)pthread_cond_init(&second->idle, NULL);
	err = buf_new(TOKEN_MESSAGE_MAX, &second->question);
	if (!err)
		err = helper_answers_init(&second->answers, helper->socket, HELPER_READY_LEN);
	if (!err)
		*ret_second = TAKE(second);
	return err;
}

static bool two_processors(void)
{
	cpu_set_t processors;

	return sched_getaffinity(0, sizeof(processors), &processors) == 0 && CPU_COUNT(&processors) > 1;
}

/* One that could not be started is not tried again: there is no hurry that would be worth it. */
static void start(struct helper *helper)
{
	struct helper_second *second = NULL;

	helper->second_tried = true;
	if (!two_processors() || second_new(helper, &second))
		return;
	/* One heap for both: a second one would be more memory than the whole helper. */
	(void)mallopt(M_ARENA_MAX, 1);
	if (thread_start(STACK_LEN, second_main, second, &second->thread))
		second_free(second);
	else
		helper->second = second;
}

void helper_second_help(struct helper *helper)
{
	struct helper_second *second = helper->second;

	if (!second && !helper->second_tried && helper_questions_ahead(helper))
		start(helper);
	second = helper->second;
	if (!second)
		return;
	(void)pthread_mutex_lock(&second->lock);
	if (second->busy) {
		second->may_take = true;
	} else if (helper_questions_ahead(helper)) {
		second->may_take = true;
		(void)pthread_cond_signal(&second->work);
	} else {
		helper->alone = true;
	}
	(void)pthread_mutex_unlock(&second->lock);
}

void helper_second_stop(struct helper *helper)
{
	struct helper_second *second = helper->second;

	if (!second)
		return;
	(void)pthread_mutex_lock(&second->lock);
	second->may_take = false;
	(void)pthread_mutex_unlock(&second->lock);
}

void helper_second_rest(struct helper *helper)
{
	struct helper_second *second = helper->second;

	if (!second)
		return;
	(void)pthread_mutex_lock(&second->lock);
	second->may_take = false;
	while (second->busy)
		(void)pthread_cond_wait(&second->idle, &second->lock);
	(void)pthread_mutex_unlock(&second->lock);
}

enum err helper_second_end(struct helper *helper)
{
	struct helper_second *second = helper->second;
	enum err err;

	helper_second_rest(helper);
	helper->second = NULL;
	if (!second)
		return OK;
	(void)pthread_mutex_lock(&second->lock);
	second->end = true;
	(void)pthread_cond_signal(&second->work);
	(void)pthread_mutex_unlock(&second->lock);
	(void)pthread_join(second->thread, NULL);
	err = second->failed;
	second_free(second);
	return err;
}
