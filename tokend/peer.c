/*
 * uid, gid and groups need no process: the kernel copied them when the peer connected. The unit does, and a process can end while its number goes to another one. With
 * SO_PEERPIDFD (Linux 6.5) the kernel hands out a descriptor of the very process that connected: if that one lives after /proc was read by number, the number was its own. An
 * older kernel (ENOPROTOOPT, and no other answer: on a newer one EINVAL means that the process is gone) leaves pidfd_open by number. Then a process that connected, ended, and whose number
 * was given away before we looked would pass for its successor; so the successor must at least run as the uid that connected, which keeps other users' services out of reach.
 */
#include "tokend/peer_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "common/cleanup.h"
#include "tokend/text.h"

#define OPTION_PEERPIDFD 77 /* SO_PEERPIDFD; the headers of Debian 12 do not have it */
#define CGROUP_TEXT_MAX 8192U /* a path is at most PATH_MAX */
#define STATUS_TEXT_MAX 8192U
#define STAT_TEXT_MAX 1024U
#define STAT_FLAGS_WORD 7U /* behind the name: the state, five numbers, the flags (proc(5)) */
#define FLAG_EXITING 0x4UL /* PF_EXITING */

/* ---- /proc ---- */

/* Reads /proc/PID/NAME, or as much as fits. 0 when it cannot be read. */
static size_t read_proc(const struct peer_process *process, const char *name, uint8_t *out, size_t out_len)
{
	char path[64];
	CLEANUP(close_fdp) int fd = -1;
	size_t len = 0;
	ssize_t got;

	(void)snprintf(path, sizeof(path), "%ld/%s", (long)process->pid, name);
	fd = openat(process->proc, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return 0;
	do {
		got = read(fd, out + len, out_len - len);
		len += got > 0 ? (size_t)got : 0;
	} while (got > 0 && len < out_len);
	return got < 0 ? 0 : len;
}

static bool is_alive(int pidfd)
{
	struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };

	return poll(&poll_fd, 1, 0) == 0;
}

/* Does the line "Uid:" of /proc/PID/status hold uid, as any of the four? */
static bool runs_as(const struct peer_process *process)
{
	uint8_t buffer[STATUS_TEXT_MAX];
	struct bytes text = bytes_of(buffer, read_proc(process, "status", buffer, sizeof(buffer)));
	struct bytes line, word;
	unsigned long uid;

	while (text_next_line(&text, &line)) {
		if (!text_next_word(&line, &word) || !text_equals(word, "Uid:"))
			continue;
		while (text_next_word(&line, &word))
			if (text_number(word, UINT32_MAX, &uid) && uid == process->uid)
				return true;
		return false;
	}
	return false;
}

/*
 * Has the first thread begun to end? The others go on, the process lives, and in the hierarchies of version 1 its cgroup is the root from then on. The flag is set before that and never taken back, so whoever
 * looks for it afterwards finds it. The name in /proc/PID/stat is the process's own choice and ends with the last parenthesis.
 */
static bool is_ending(const struct peer_process *process)
{
	uint8_t buffer[STAT_TEXT_MAX];
	struct bytes text = bytes_of(buffer, read_proc(process, "stat", buffer, sizeof(buffer)));
	const uint8_t *name_end = text.len ? memrchr(text.data, ')', text.len) : NULL;
	size_t before = name_end ? (size_t)(name_end + 1 - text.data) : 0;
	struct bytes rest = bytes_of(text.data + before, text.len - before), word = { NULL, 0 };
	unsigned long flags;

	for (unsigned i = 0; i < STAT_FLAGS_WORD; i++)
		if (!text_next_word(&rest, &word))
			return true;
	return !name_end || !text_number(word, UINT32_MAX, &flags) || (flags & FLAG_EXITING);
}

void peer_unit_read(const struct peer_process *process, char ret_unit[static UNIT_NAME_MAX])
{
	uint8_t text[CGROUP_TEXT_MAX];
	char unit[UNIT_NAME_MAX] = "";
	size_t len;

	memcpy(ret_unit, UNIT_UNKNOWN, sizeof(UNIT_UNKNOWN));
	if (process->pidfd < 0 || process->pid <= 0)
		return;
	len = read_proc(process, "cgroup", text, sizeof(text));
	if (len == 0 || len == sizeof(text))
		return;
	peer_unit_from_cgroup(bytes_of(text, len), unit);
	if ((!unit[0] && is_ending(process)) || (!process->exact && !runs_as(process)) ||
	    !is_alive(process->pidfd))
		return;
	memcpy(ret_unit, unit, UNIT_NAME_MAX);
}

/* ---- the socket ---- */

static void take_hold(int fd, pid_t pid, struct peer_hold *hold)
{
	socklen_t len = sizeof(hold->pidfd);

	*hold = (struct peer_hold){ .pidfd = -1, .exact = true };
	/* A process of another PID namespace has no number here. */
	if (pid <= 0 || getsockopt(fd, SOL_SOCKET, OPTION_PEERPIDFD, &hold->pidfd, &len) == 0)
		return;
	hold->exact = false;
	hold->pidfd = errno == ENOPROTOOPT ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
}

void peer_read_unit(struct peer *peer, struct peer_hold *hold)
{
	struct peer_process process = {
		.pidfd = hold->pidfd, .exact = hold->exact, .pid = peer->pid, .uid = peer->uid
	};

	if (hold->pidfd < 0)
		return;
	process.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (process.proc >= 0)
		peer_unit_read(&process, peer->unit);
	close_fdp(&process.proc);
	peer_release(hold);
}

void peer_release(struct peer_hold *hold)
{
	close_fdp(&hold->pidfd);
	hold->pidfd = -1;
}

static enum err read_groups(int fd, struct peer *peer)
{
	socklen_t len = sizeof(peer->groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, peer->groups, &len) < 0)
		return ERR_DENIED;
	peer->group_count = len / sizeof(peer->groups[0]);
	return OK;
}

enum err peer_read(int fd, struct peer *ret_peer, struct peer_hold *ret_hold)
{
	struct ucred credentials;
	socklen_t len = sizeof(credentials);
	struct peer peer = { .unit = UNIT_UNKNOWN };
	enum err err;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &len) < 0 || len != sizeof(credentials) ||
	    credentials.uid == (uid_t)-1 || credentials.gid == (gid_t)-1)
		return ERR_DENIED;
	peer.uid = credentials.uid;
	peer.gid = credentials.gid;
	peer.pid = credentials.pid;
	err = read_groups(fd, &peer);
	if (err)
		return err;
	take_hold(fd, peer.pid, ret_hold);
	*ret_peer = peer;
	return OK;
}
