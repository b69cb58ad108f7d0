/*
 * Peer
 *
 * Who is at the other end of a socket, by the kernel's word; nothing that the client says about itself is in here. uid, gid and groups are fixed by the
 * kernel when the peer connects; the systemd unit is read from the peer's cgroup, and believed only while a pidfd (SO_PEERPIDFD, or pidfd_open and a second
 * look where the kernel is older) says that the process is still the one that connected.
 *
 * The unit is the system manager's: the outermost service or scope of the cgroup's path. What a user's own manager or a container runs below it can name its
 * cgroups as it likes, and is all of it in "user@1000.service" or in the container's unit.
 */
#pragma once

#include <sys/types.h>

#include "common/bytes.h"
#include "common/err.h"
#include "tokend/unit.h"

#define PEER_GROUPS_MAX 128U /* more are refused rather than forgotten */

struct peer {
	uid_t uid;
	gid_t gid;
	pid_t pid; /* for the log only: may be reused by now */
	size_t group_count;
	gid_t groups[PEER_GROUPS_MAX];
	char unit[UNIT_NAME_MAX]; /* system unit, "" if none or not believed */
};

/* Reads the peer of a connected AF_UNIX socket. ERR_DENIED when it cannot be established. */
MUST_CHECK enum err peer_read(int fd, struct peer *ret_peer);

/* The system unit of a process from the text of its /proc/PID/cgroup; "" when it is in none. */
void peer_unit_from_cgroup(struct bytes text, char ret_unit[static UNIT_NAME_MAX]);
