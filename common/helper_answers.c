#include "common/helper_answers.h"

#include <errno.h>
#include <sys/socket.h>

#include "common/helper_operations.h"

#define LONG_QUESTION 512U /* bytes: more than four stanzas */

enum err helper_answers_init(struct helper_answers *answers, int socket, size_t answer_max)
{
	enum err err = buf_new_locked(answer_max, &answers->answer);

	answers->socket = socket;
	return err ? err : buf_new_locked(HELPER_READY_MAX * HELPER_READY_LEN, &answers->ready);
}

void helper_answers_done(struct helper_answers *answers)
{
	answers->answer = buf_free(answers->answer);
	answers->ready = buf_free(answers->ready);
}

/* A broker that has hung up wants no answers: that is the end of the conversation, as it is for questions. */
static enum err not_sent(void)
{
	return errno == EPIPE || errno == ECONNRESET ? ERR_TRUNCATED : ERR_SYSTEM;
}

static enum err send_one(const struct helper_answers *answers, struct bytes packet)
{
	ssize_t sent;

	do
		sent = send(answers->socket, packet.data, packet.len, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? not_sent() : OK;
}

/* One packet each, in one call where the kernel takes them all. */
static enum err send_many(const struct helper_answers *answers)
{
	struct mmsghdr packets[HELPER_READY_MAX] = { 0 };
	struct iovec parts[HELPER_READY_MAX];
	uint8_t *data = (uint8_t *)(uintptr_t)buf_bytes(answers->ready).data;
	unsigned sent = 0;

	for (size_t i = 0; i < answers->ready_count; i++) {
		parts[i] = (struct iovec){ data, answers->ready_len[i] };
		packets[i].msg_hdr = (struct msghdr){ .msg_iov = &parts[i], .msg_iovlen = 1 };
		data += answers->ready_len[i];
	}
	while (sent < answers->ready_count) {
		int now = sendmmsg(answers->socket, packets + sent, (unsigned)answers->ready_count - sent,
		                   MSG_NOSIGNAL);

		if (now < 0 && errno != EINTR)
			return not_sent();
		sent += now > 0 ? (unsigned)now : 0U;
	}
	return OK;
}

enum err helper_answers_send(struct helper_answers *answers)
{
	enum err err = answers->failed;

	if (!err && answers->ready_count == 1)
		err = send_one(answers, buf_bytes(answers->ready));
	else if (!err && answers->ready_count > 1)
		err = send_many(answers);
	buf_clear(answers->ready);
	answers->ready_count = 0;
	answers->failed = err;
	return err;
}

static enum err add(struct helper_answers *answers)
{
	struct bytes packet = buf_bytes(answers->answer);
	enum err err = OK;

	if (packet.len > HELPER_READY_LEN) {
		err = helper_answers_send(answers);
		if (!err)
			err = send_one(answers, packet);
	} else {
		err = buf_put(answers->ready, packet);
		if (!err)
			answers->ready_len[answers->ready_count++] = packet.len;
		if (!err && answers->ready_count == HELPER_READY_MAX)
			err = helper_answers_send(answers);
	}
	buf_clear(answers->answer);
	return err;
}

enum err helper_answers_make(struct helper_answers *answers, struct helper *helper,
                             const struct token_message *question)
{
	enum err err = OK;

	/* A long question is many tries: answers that are ready do not wait for that. */
	if (question->fields.len > LONG_QUESTION)
		err = helper_answers_send(answers);
	if (!err)
		err = helper_operate(helper, question, answers->answer);
	return err ? err : add(answers);
}
