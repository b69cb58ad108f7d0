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

/* ---- the unit from a cgroup ---- */

/* The path that systemd keeps its units in: of the line "N:name=systemd:PATH" (version 1 and hybrid), else of "0::PATH" (version 2). */
static bool find_path(struct bytes text, struct bytes *ret_path)
{
	static const char named[] = ":name=systemd:";
	static const char unified[] = "0::";
	struct bytes line;
	bool found = false;

	while (text_next_line(&text, &line)) {
		const uint8_t *at = memmem(line.data, line.len, named, strlen(named));
		size_t number_len = at ? (size_t)(at - line.data) : 0;
		unsigned long number;

		if (at && text_number(bytes_of(line.data, number_len), 999, &number)) {
			*ret_path = bytes_of(at + strlen(named), line.len - number_len - strlen(named));
			return true;
		}
		if (line.len > strlen(unified) && memcmp(line.data, unified, strlen(unified)) == 0) {
			*ret_path = bytes_of(line.data + strlen(unified), line.len - strlen(unified));
			found = true;
		}
	}
	return found;
}

/* The next part of a path that begins with '/'. */
static bool next_part(struct bytes *path, struct bytes *ret_part)
{
	size_t len = 1;

	if (path->len == 0 || path->data[0] != '/')
		return false;
	while (len < path->len && path->data[len] != '/')
		len++;
	*ret_part = bytes_of(path->data + 1, len - 1);
	*path = bytes_of(path->data + len, path->len - len);
	return true;
}

void peer_unit_from_cgroup(struct bytes text, char ret_unit[static UNIT_NAME_MAX])
{
	struct bytes path, part;

	ret_unit[0] = '\0';
	if (!find_path(text, &path))
		return;
	while (next_part(&path, &part)) {
		/* systemd writes '_' before a name that would be one of the kernel's own files. */
		if (part.len > 1 && part.data[0] == '_')
			part = bytes_of(part.data + 1, part.len - 1);
		if (unit_name_is_slice(part))
			continue;
		/* Whatever stands here is the system manager's last word: what is below belongs to somebody else. */
		if (unit_name_valid(part))
			(void)text_copy(part, ret_unit, UNIT_NAME_MAX);
		return;
	}
}

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

void peer_unit_read(const struct peer_process *process, char ret_unit[static UNIT_NAME_MAX])
{
	uint8_t text[CGROUP_TEXT_MAX];
	size_t len;

	ret_unit[0] = '\0';
	if (process->pidfd < 0 || process->pid <= 0)
		return;
	len = read_proc(process, "cgroup", text, sizeof(text));
	if (len == 0 || len == sizeof(text))
		return;
	peer_unit_from_cgroup(bytes_of(text, len), ret_unit);
	if ((!process->exact && !runs_as(process)) || !is_alive(process->pidfd))
		ret_unit[0] = '\0';
}

/* ---- the socket ---- */

static void open_process(int fd, struct peer_process *process)
{
	socklen_t len = sizeof(process->pidfd);

	process->exact = true;
	if (getsockopt(fd, SOL_SOCKET, OPTION_PEERPIDFD, &process->pidfd, &len) == 0)
		return;
	process->exact = false;
	process->pidfd = errno == ENOPROTOOPT ? (int)syscall(SYS_pidfd_open, process->pid, 0) : -1;
}

static void read_unit(int fd, struct peer *peer)
{
	struct peer_process process = { .proc = -1, .pidfd = -1, .pid = peer->pid, .uid = peer->uid };

	/* A process of another PID namespace has no number here. */
	if (peer->pid <= 0)
		return;
	process.proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (process.proc >= 0) {
		open_process(fd, &process);
		peer_unit_read(&process, peer->unit);
	}
	close_fdp(&process.pidfd);
	close_fdp(&process.proc);
}

static enum err read_groups(int fd, struct peer *peer)
{
	socklen_t len = sizeof(peer->groups);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, peer->groups, &len) < 0)
		return ERR_DENIED;
	peer->group_count = len / sizeof(peer->groups[0]);
	return OK;
}

enum err peer_read(int fd, struct peer *ret_peer)
{
	struct ucred credentials;
	socklen_t len = sizeof(credentials);
	struct peer peer = { 0 };
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
	read_unit(fd, &peer);
	*ret_peer = peer;
	return OK;
}
