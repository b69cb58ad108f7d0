/* What peer.c offers to its test alone. */
#pragma once

#include "tokend/peer.h"

/* How the process that connected is known. */
struct peer_process {
	int proc; /* an open /proc */
	int pidfd; /* of the process; -1: gone */
	bool exact; /* pidfd is the kernel's own memory of who connected, not opened by number afterwards */
	pid_t pid;
	uid_t uid;
};

/* The unit of a process that is still alive when all has been read, "" if it is in none; UNIT_UNKNOWN otherwise. */
void peer_unit_read(const struct peer_process *process, char ret_unit[static UNIT_NAME_MAX]);
