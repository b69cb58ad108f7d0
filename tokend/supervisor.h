/*
 * Supervisor
 *
 * The first process of a daemon, and the parent of all others: it makes the sockets, forks the broker, and starts and ends the helpers when the broker asks. Only it may
 * fork, execute and signal, so the broker, which parses hostile bytes, needs none of that. All it parses after the start are messages of one fixed size from the broker.
 */
#pragma once

#include <stdint.h>

#include "common/err.h"
#include "tokend/config.h"
#include "tokend/options.h"

enum supervisor_op {
	SUPERVISOR_START = 1, /* broker: end helper N if it runs, start it anew */
	SUPERVISOR_STARTED, /* answer: a descriptor comes along when err is OK */
};

struct supervisor_message {
	uint32_t op;
	uint32_t helper; /* index of the token in the configuration the daemon was started with */
	uint32_t err;
	uint32_t pid; /* of the helper started; for the log */
};

/* Runs the daemon to its end; returns the exit status. The configuration is the one that was loaded at start. */
int supervisor_run(const struct options *options, const struct config *config);

/* The broker's end of the channel. Receiving: ret_fd is -1 when no descriptor came. ERR_AGAIN; ERR_NO_DAEMON when the supervisor is gone. */
MUST_CHECK enum err supervisor_send(int channel, const struct supervisor_message *message, int fd);
MUST_CHECK enum err supervisor_receive(int channel, struct supervisor_message *ret_message, int *ret_fd);
