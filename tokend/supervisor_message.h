/*
 * Supervisor message
 *
 * What broker and supervisor say to each other: packets of one fixed size on a SOCK_SEQPACKET pair, and with an answer a descriptor. The supervisor takes the broker for hostile: whatever comes is
 * read whole or refused, and no descriptor that came unasked stays open.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

enum supervisor_op {
	SUPERVISOR_START = 1, /* broker: end helper N if it runs, start it anew */
	SUPERVISOR_STARTED, /* answer: a descriptor comes along when err is OK */
	SUPERVISOR_END, /* broker: end helper N if it runs; no answer */
};

struct supervisor_message {
	uint32_t op;
	uint32_t helper; /* index of the token in the configuration the daemon was started with */
	uint32_t err;
	uint32_t pid; /* of the helper started; for the log */
};

/* fd: -1 for none. ERR_AGAIN when the kernel cannot now, ERR_NO_DAEMON when nobody is there to read it. */
MUST_CHECK enum err supervisor_send(int channel, const struct supervisor_message *message, int fd);

/* One packet; *ret_fd is the caller's, -1 when no descriptor came. ERR_AGAIN when there is none now, or it cannot be had now; ERR_NO_DAEMON when the other end is gone or sent something else. */
MUST_CHECK enum err supervisor_receive(int channel, struct supervisor_message *ret_message, int *ret_fd);

/* Is it what is expected here, about one of the helpers that there are? */
bool supervisor_message_is(const struct supervisor_message *message, enum supervisor_op op, size_t helpers);
