/*
 * Peer
 *
 * Who is at the other end of a socket, by the kernel's word; nothing that the client says about itself is in here. uid, gid and groups are fixed by the
 * kernel when the peer connects; the systemd unit is read from the peer's cgroup, and believed only while a pidfd (SO_PEERPIDFD, or pidfd_open and a second
 * look where the kernel is older) says that the process is still the one that connected. Who hands his connection on and ends has no unit that is known: to be in none is something else, for
 * whoever wants to be rid of a unit could have that.
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
	char unit[UNIT_NAME_MAX]; /* system unit; "" if it is in none, UNIT_UNKNOWN if that cannot be known */
};

/* What keeps the process known until its unit is asked for. Taken when the connection is accepted, for a number can be given to another process later; used when somebody wants to know, for to read
 * a unit costs ten times what accepting does. */
struct peer_hold {
	int pidfd; /* owned; -1: there is none, or the unit has been read */
	bool exact; /* the kernel's own memory of who connected, not opened by number afterwards */
};

/* Reads the peer of a connected AF_UNIX socket, all but its unit, which is UNIT_UNKNOWN. ERR_DENIED when it cannot be established. */
MUST_CHECK enum err peer_read(int fd, struct peer *ret_peer, struct peer_hold *ret_hold);

/* Reads the unit, the first time, and gives hold back. */
void peer_read_unit(struct peer *peer, struct peer_hold *hold);

/* Gives hold back. */
void peer_release(struct peer_hold *hold);

/* The system unit of a process from the text of its /proc/PID/cgroup; "" when it is in none, UNIT_UNKNOWN when that is not to be seen from our cgroup namespace. */
void peer_unit_from_cgroup(struct bytes text, char ret_unit[static UNIT_NAME_MAX]);
