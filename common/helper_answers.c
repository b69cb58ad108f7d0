#include "common/helper_answers.h"

#include <errno.h>
#include <sys/socket.h>

#include "common/helper_operations.h"

static enum err send_one(struct helper *helper, struct bytes packet)
{
	ssize_t sent;

	do
		sent = send(helper->socket, packet.data, packet.len, MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? ERR_SYSTEM : OK;
}

/* One packet each, in one call where the kernel takes them all. */
static enum err send_many(struct helper *helper)
{
	struct mmsghdr packets[HELPER_READY_MAX] = { 0 };
	struct iovec parts[HELPER_READY_MAX];
	uint8_t *data = (uint8_t *)(uintptr_t)buf_bytes(helper->ready).data;
	unsigned sent = 0;

	for (size_t i = 0; i < helper->ready_count; i++) {
		parts[i] = (struct iovec){ data, helper->ready_len[i] };
		packets[i].msg_hdr = (struct msghdr){ .msg_iov = &parts[i], .msg_iovlen = 1 };
		data += helper->ready_len[i];
	}
	while (sent < helper->ready_count) {
		int now = sendmmsg(helper->socket, packets + sent, (unsigned)helper->ready_count - sent,
		                   MSG_NOSIGNAL);

		if (now < 0 && errno != EINTR)
			return ERR_SYSTEM;
		sent += now > 0 ? (unsigned)now : 0U;
	}
	return OK;
}

enum err helper_answers_send(struct helper *helper)
{
	enum err err = helper->answers_failed;

	if (!err && helper->ready_count == 1)
		err = send_one(helper, buf_bytes(helper->ready));
	else if (!err && helper->ready_count > 1)
		err = send_many(helper);
	buf_clear(helper->ready);
	helper->ready_count = 0;
	helper->answers_failed = err;
	return err;
}

enum err helper_answers_make(struct helper *helper, const struct token_message *question)
{
	enum err refusal;
	enum err err = token_message_begin(helper->answer, question->op, OK, question->id);

	if (err)
		return err;
	refusal = helper_operate(helper, question);
	if (refusal)
		err = token_message_set_err(helper->answer, refusal);
	return err ? err : token_message_end(helper->answer);
}

enum err helper_answers_add(struct helper *helper)
{
	struct bytes packet = buf_bytes(helper->answer);
	enum err err = OK;

	if (packet.len > HELPER_READY_LEN) {
		err = helper_answers_send(helper);
		if (!err)
			err = send_one(helper, packet);
	} else {
		err = buf_put(helper->ready, packet);
		if (!err)
			helper->ready_len[helper->ready_count++] = packet.len;
		if (!err && helper->ready_count == HELPER_READY_MAX)
			err = helper_answers_send(helper);
	}
	buf_clear(helper->answer);
	return err;
}
