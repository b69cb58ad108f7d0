#include "tokend/supervisor_message.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/cleanup.h"

/* The kernel rounds the room for one descriptor up, and puts into it as many as fit. */
#define DESCRIPTORS_MAX 2U

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(DESCRIPTORS_MAX * sizeof(int))];
};

/* Of the kernel, for now; the channel is as good as before. */
static bool is_passing(int error)
{
	return error == EAGAIN || error == EINTR || error == ENOBUFS || error == ENOMEM ||
	       error == ETOOMANYREFS;
}

enum err supervisor_send(int channel, const struct supervisor_message *message, int fd)
{
	struct iovec part = { .iov_base = (struct supervisor_message *)(uintptr_t)message,
		              .iov_len = sizeof(*message) };
	union control control = { 0 };
	struct msghdr packet = { .msg_iov = &part, .msg_iovlen = 1 };

	if (fd >= 0) {
		packet.msg_control = control.space;
		packet.msg_controllen = CMSG_SPACE(sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
	}
	if (sendmsg(channel, &packet, MSG_NOSIGNAL) >= 0)
		return OK;
	return is_passing(errno) ? ERR_AGAIN : ERR_NO_DAEMON;
}

/* All that came along; those after the first are closed. */
static int take_descriptor(const struct msghdr *packet)
{
	const struct cmsghdr *header = CMSG_FIRSTHDR(packet);
	int fds[DESCRIPTORS_MAX] = { -1, -1 };
	size_t len;

	if (!header || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
		return -1;
	len = header->cmsg_len - CMSG_LEN(0);
	memcpy(fds, CMSG_DATA(header), len < sizeof(fds) ? len : sizeof(fds));
	for (size_t i = 1; i < DESCRIPTORS_MAX; i++)
		close_fdp(&fds[i]);
	return fds[0];
}

enum err supervisor_receive(int channel, struct supervisor_message *ret_message, int *ret_fd)
{
	struct supervisor_message message;
	struct iovec part = { .iov_base = &message, .iov_len = sizeof(message) };
	union control control = { 0 };
	struct msghdr packet = { .msg_iov = &part,
		                 .msg_iovlen = 1,
		                 .msg_control = control.space,
		                 .msg_controllen = sizeof(control.space) };
	ssize_t got = recvmsg(channel, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	CLEANUP(close_fdp) int fd = -1;

	if (got < 0)
		return is_passing(errno) ? ERR_AGAIN : ERR_NO_DAEMON;
	fd = take_descriptor(&packet);
	if (got != (ssize_t)sizeof(message) || packet.msg_flags & MSG_TRUNC)
		return ERR_NO_DAEMON;
	*ret_fd = TAKE_FD(fd);
	*ret_message = message;
	return OK;
}

bool supervisor_message_is(const struct supervisor_message *message, enum supervisor_op op, size_t helpers)
{
	return message->op == (uint32_t)op && message->helper < helpers;
}
