/*
 * The channel between broker and supervisor, with a hostile other end. An input is a list of packets: how many descriptors go along (1 byte), the length (1), the bytes. Whatever comes: what is read is a
 * whole message, and afterwards no descriptor is open that the reader was not given.
 */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/cleanup.h"
#include "tokend/supervisor_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define HELPERS 3U
#define DESCRIPTORS 4U
#define PACKETS_MAX 16U

static void check(bool good)
{
	if (!good)
		abort();
}

/* The last of a few new ones: the same before and after means that no other was left open among them. */
static int highest_new(int like)
{
	int fds[2 * DESCRIPTORS];

	for (size_t i = 0; i < 2 * DESCRIPTORS; i++)
		check((fds[i] = dup(like)) >= 0);
	for (size_t i = 0; i < 2 * DESCRIPTORS; i++)
		(void)close(fds[i]);
	return fds[2 * DESCRIPTORS - 1];
}

static void send_packet(int fd, size_t descriptors, struct bytes packet)
{
	struct iovec part = { .iov_base = (uint8_t *)(uintptr_t)packet.data, .iov_len = packet.len };
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
	} control = { 0 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	int sent[DESCRIPTORS] = { fd, fd, fd, fd };

	if (descriptors > 0) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(descriptors * sizeof(int));
		memcpy(CMSG_DATA(&control.header), sent, descriptors * sizeof(int));
		message.msg_control = control.space;
		message.msg_controllen = CMSG_SPACE(descriptors * sizeof(int));
	}
	check(sendmsg(fd, &message, MSG_NOSIGNAL) >= 0);
}

/* What was read and is good goes out again as it was. */
static void send_again(const struct supervisor_message *message, int fd)
{
	struct supervisor_message again;
	int pair[2], got;

	check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	check(supervisor_send(pair[0], message, fd) == OK);
	check(supervisor_receive(pair[1], &again, &got) == OK);
	check(memcmp(message, &again, sizeof(again)) == 0 && (got < 0) == (fd < 0));
	close_fdp(&got);
	check(supervisor_receive(pair[1], &again, &got) == ERR_AGAIN);
	(void)close(pair[0]);
	check(supervisor_receive(pair[1], &again, &got) == ERR_NO_DAEMON);
	(void)close(pair[1]);
}

static void one_packet(int ours, int theirs, size_t descriptors, struct bytes packet)
{
	struct supervisor_message message;
	int fd = -1, before = highest_new(ours);
	enum err err;

	send_packet(theirs, descriptors, packet);
	err = supervisor_receive(ours, &message, &fd);
	check((err == OK) == (packet.len == sizeof(message)));
	check((fd >= 0) == (err == OK && descriptors > 0));
	if (!err) {
		check(memcmp(&message, packet.data, sizeof(message)) == 0);
		if (supervisor_message_is(&message, SUPERVISOR_START, HELPERS))
			check(message.op == SUPERVISOR_START && message.helper < HELPERS);
		send_again(&message, fd);
	}
	close_fdp(&fd);
	check(highest_new(ours) == before);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader reader = reader_of(bytes_of(data, len));
	int pair[2];

	check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) == 0);
	for (size_t i = 0; i < PACKETS_MAX && reader.rest.len > 0; i++) {
		size_t descriptors = reader_u8(&reader) % (DESCRIPTORS + 1);
		struct bytes packet = reader_take(&reader, reader_u8(&reader));

		if (!reader.failed)
			one_packet(pair[0], pair[1], descriptors, packet);
	}
	(void)close(pair[0]);
	(void)close(pair[1]);
	return 0;
}
