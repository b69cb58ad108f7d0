#include "tests/bench/abusers.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/socket_client.h"

#define IDLE_CONNECTIONS 200U
#define CONNECTIONS 8U
#define SLOW_CONNECTIONS 32U
#define MESSAGE_MAX (64U << 10) /* of a call */
#define PIPELINED 1000U
#define PASSED 200U
#define PAUSE_USEC 1000U
#define PATIENCE_USEC 200000
#define SETTLE_USEC 150000U /* what was sent has been answered by then */

struct shared {
	_Atomic int let; /* enum abusers_do */
	_Atomic unsigned long counts[ABUSERS];
	_Atomic bool busy[ABUSERS];
};

struct abusers {
	struct shared *shared;
	pid_t pids[ABUSERS];
};

/* One of them, in its own process. */
struct abuser {
	const struct abusers_settings *settings;
	int sockets[IDLE_CONNECTIONS];
	size_t sent[SLOW_CONNECTIONS]; /* of the message that it sends byte by byte */
	char *space; /* MESSAGE_MAX * 2 */
	struct bytes status;
};

static const char status_call[] = "{\"method\":\"io.tokend.GetStatus\"}";

/* ---- sockets that never keep it waiting for long ---- */

static int open_socket(const struct abuser *abuser)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timeval patience = { .tv_usec = PATIENCE_USEC };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", abuser->settings->socket);
	if (fd < 0)
		return -1;
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	(void)close(fd);
	return -1;
}

static void close_socket(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static bool need_sockets(struct abuser *abuser, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (abuser->sockets[i] < 0 && (abuser->sockets[i] = open_socket(abuser)) < 0)
			return false;
	return true;
}

static bool send_all(int fd, struct bytes bytes)
{
	return send(fd, bytes.data, bytes.len, MSG_NOSIGNAL) == (ssize_t)bytes.len;
}

/* Reads answers until there were so many; returns how many it were. */
static size_t read_answers(const struct abuser *abuser, int fd, size_t count)
{
	size_t answers = 0;
	ssize_t got;

	while (answers < count && (got = recv(fd, abuser->space, MESSAGE_MAX, 0)) > 0)
		for (ssize_t i = 0; i < got; i++)
			answers += abuser->space[i] == '\0';
	return answers;
}

/* Sends on each of some connections, then reads what all of them are answered. */
static size_t flood(struct abuser *abuser, struct bytes call)
{
	size_t done = 0;

	if (!need_sockets(abuser, CONNECTIONS))
		return 0;
	for (size_t i = 0; i < CONNECTIONS; i++)
		if (!send_all(abuser->sockets[i], call))
			close_socket(&abuser->sockets[i]);
	for (size_t i = 0; i < CONNECTIONS; i++) {
		size_t answers = abuser->sockets[i] < 0 ? 0 : read_answers(abuser, abuser->sockets[i], 1);

		done += answers;
		if (answers == 0)
			close_socket(&abuser->sockets[i]);
	}
	return done;
}

/* One connection, what is said on it, and its answer, if there is one. */
static size_t say_once(struct abuser *abuser, struct bytes bytes)
{
	int fd = open_socket(abuser);

	if (fd < 0)
		return 0;
	(void)send_all(fd, bytes);
	(void)read_answers(abuser, fd, 1);
	(void)close(fd);
	return 1;
}

/* ---- what each of them does: one step, and how often it did it ---- */

static size_t be_idle(struct abuser *abuser)
{
	(void)need_sockets(abuser, IDLE_CONNECTIONS);
	for (size_t i = 0; i < IDLE_CONNECTIONS; i++) {
		struct pollfd poll_fd = { .fd = abuser->sockets[i], .events = POLLIN };

		if (abuser->sockets[i] >= 0 && poll(&poll_fd, 1, 0) > 0)
			close_socket(&abuser->sockets[i]);
	}
	(void)usleep(20 * PAUSE_USEC);
	return 1;
}

static size_t be_slow(struct abuser *abuser)
{
	if (!need_sockets(abuser, SLOW_CONNECTIONS))
		return 0;
	for (size_t i = 0; i < SLOW_CONNECTIONS; i++) {
		size_t at = abuser->sent[i]++ % abuser->status.len;

		if (!send_all(abuser->sockets[i], bytes_of(abuser->status.data + at, 1)))
			close_socket(&abuser->sockets[i]);
		while (abuser->sockets[i] >= 0 &&
		       recv(abuser->sockets[i], abuser->space, MESSAGE_MAX, MSG_DONTWAIT) > 0)
			;
	}
	(void)usleep(PAUSE_USEC);
	return SLOW_CONNECTIONS;
}

static size_t flood_status(struct abuser *abuser)
{
	return flood(abuser, abuser->status);
}

static size_t flood_sealed(struct abuser *abuser)
{
	return flood(abuser, buf_bytes(abuser->settings->sealed));
}

static size_t flood_device(struct abuser *abuser)
{
	return flood(abuser, buf_bytes(abuser->settings->device));
}

static size_t ask_for_denied(struct abuser *abuser)
{
	return flood(abuser, buf_bytes(abuser->settings->denied));
}

static size_t try_pins(struct abuser *abuser)
{
	return flood(abuser, buf_bytes(abuser->settings->wrong_pin));
}

/* A call that costs the helper as much as one may. */
static size_t ask_for_much(struct abuser *abuser)
{
	return flood(abuser, buf_bytes(abuser->settings->many));
}

/* As long as a message may be, and longer, in turn: both end without a sense. */
static size_t be_huge(struct abuser *abuser)
{
	memset(abuser->space, ' ', MESSAGE_MAX * 2);
	memcpy(abuser->space + MESSAGE_MAX - sizeof(status_call), status_call, sizeof(status_call));
	return say_once(abuser, bytes_of(abuser->space, MESSAGE_MAX)) +
	       say_once(abuser, bytes_of(memset(abuser->space, ' ', MESSAGE_MAX), MESSAGE_MAX * 2 - 1));
}

static size_t be_malformed(struct abuser *abuser)
{
	static const char *const texts[] = { "{", "\"\\ud800\"", "{\"method\":7}", "[1e999999]", "\xff\xfe" };
	size_t done = 0;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		done += say_once(abuser, bytes_of(texts[i], strlen(texts[i]) + 1));
	return done;
}

static size_t be_nested(struct abuser *abuser)
{
	memset(abuser->space, '[', MESSAGE_MAX);
	abuser->space[MESSAGE_MAX - 1] = '\0';
	return say_once(abuser, bytes_of(abuser->space, MESSAGE_MAX));
}

static size_t be_senseless(struct abuser *abuser)
{
	return be_malformed(abuser) + be_nested(abuser);
}

static size_t pass_descriptors(struct abuser *abuser)
{
	union {
		struct cmsghdr header;
		uint8_t space[CMSG_SPACE(PASSED * sizeof(int))];
	} control;
	struct iovec text = { .iov_base = (void *)(uintptr_t)abuser->status.data,
		              .iov_len = abuser->status.len };
	struct msghdr message = {
		.msg_iov = &text, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};

	memset(&control, 0, sizeof(control));
	control.header = (struct cmsghdr){ .cmsg_len = CMSG_LEN(PASSED * sizeof(int)),
		                           .cmsg_level = SOL_SOCKET,
		                           .cmsg_type = SCM_RIGHTS };
	if (!need_sockets(abuser, 1) || sendmsg(abuser->sockets[0], &message, MSG_NOSIGNAL) < 0 ||
	    read_answers(abuser, abuser->sockets[0], 1) == 0)
		close_socket(&abuser->sockets[0]);
	return PASSED;
}

static size_t connect_and_drop(struct abuser *abuser)
{
	size_t done = 0;

	for (; done < 50; done++) {
		int fd = open_socket(abuser);

		if (fd < 0)
			break;
		if (done % 2)
			(void)send_all(fd, bytes_of(abuser->status.data, done % abuser->status.len));
		(void)close(fd);
	}
	return done;
}

static size_t half_close(struct abuser *abuser)
{
	int fd = open_socket(abuser);

	if (fd < 0)
		return 0;
	(void)send_all(fd, abuser->status);
	(void)shutdown(fd, SHUT_WR);
	(void)read_answers(abuser, fd, 1);
	(void)close(fd);
	return 1;
}

/* Asks and asks on some connections until nothing more is taken, and reads nothing. */
static size_t be_deaf(struct abuser *abuser)
{
	size_t done = 0;

	if (!need_sockets(abuser, CONNECTIONS))
		return 0;
	for (size_t i = 0; i < CONNECTIONS; i++) {
		while (send(abuser->sockets[i], abuser->status.data, abuser->status.len,
		            MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)abuser->status.len)
			done++;
		close_socket(&abuser->sockets[i]);
	}
	return done;
}

static size_t pipeline(struct abuser *abuser)
{
	size_t answers = 0;

	if (!need_sockets(abuser, 1))
		return 0;
	/* In portions, so that not both sides wait for the other to read. */
	for (size_t i = 0; i < PIPELINED; i++) {
		if (!send_all(abuser->sockets[0], abuser->status))
			break;
		if (i % 100 == 99)
			answers += read_answers(abuser, abuser->sockets[0], 80);
	}
	answers += read_answers(abuser, abuser->sockets[0], PIPELINED - answers);
	if (answers < PIPELINED)
		close_socket(&abuser->sockets[0]);
	return answers;
}

static const struct kind {
	const char *name;
	size_t (*step)(struct abuser *abuser);
} kinds[ABUSERS] = {
	{ "200 idle connections", be_idle },
	{ "byte by byte", be_slow },
	{ "floods with status calls", flood_status },
	{ "floods with unwraps of its sealed key", flood_sealed },
	{ "floods with unwraps of its key on the device", flood_device },
	{ "unwraps of 256 stanzas", ask_for_much },
	{ "asks for keys of others", ask_for_denied },
	{ "tries PINs", try_pins },
	{ "huge messages", be_huge },
	{ "malformed and nested messages", be_senseless },
	{ "passes 200 descriptors with each call", pass_descriptors },
	{ "connects and drops", connect_and_drop },
	{ "shuts its side and reads", half_close },
	{ "never reads an answer", be_deaf },
	{ "pipelines 1,000 calls", pipeline },
};

/* ---- their processes ---- */

static void become(const struct abusers_settings *settings, size_t index, pid_t bench)
{
	uid_t uid = settings->first_uid + (uid_t)index;

	(void)signal(SIGPIPE, SIG_IGN);
	if (settings->first_uid && (setgroups(0, NULL) < 0 || setgid(uid) < 0 || setuid(uid) < 0))
		_exit(3);
	/* Only now, for the change of the user takes it back; and the bench may have ended before. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != bench)
		_exit(2);
}

static void be_abuser(const struct abusers_settings *settings, struct shared *shared, size_t index,
                      pid_t bench)
{
	struct abuser abuser = { .settings = settings, .status = bytes_of(status_call, sizeof(status_call)) };

	become(settings, index, bench);
	if (settings->only && settings->only != index + 1)
		for (;;)
			(void)pause();
	for (size_t i = 0; i < IDLE_CONNECTIONS; i++)
		abuser.sockets[i] = -1;
	abuser.space = malloc((size_t)MESSAGE_MAX * 2);
	if (!abuser.space)
		_exit(4);
	for (;;) {
		int let = shared->let;

		shared->busy[index] = let != ABUSERS_WAIT;
		if (let == ABUSERS_WAIT)
			(void)usleep(PAUSE_USEC);
		if (let == ABUSERS_ABUSE)
			shared->counts[index] += kinds[index].step(&abuser);
	}
}

struct abusers *abusers_start(const struct abusers_settings *settings)
{
	struct abusers *abusers = calloc(1, sizeof(*abusers));
	pid_t bench = getpid();

	if (!abusers)
		bench_die("starting the abusers", ERR_NOMEM);
	abusers->shared = mmap(NULL, sizeof(*abusers->shared), PROT_READ | PROT_WRITE,
	                       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (abusers->shared == MAP_FAILED)
		bench_die("starting the abusers", ERR_NOMEM);
	for (size_t i = 0; i < ABUSERS; i++) {
		abusers->pids[i] = fork();
		if (abusers->pids[i] < 0)
			bench_die("starting the abusers", ERR_SYSTEM);
		if (abusers->pids[i] == 0)
			be_abuser(settings, abusers->shared, i, bench);
	}
	return abusers;
}

void abusers_let(struct abusers *abusers, enum abusers_do what)
{
	abusers->shared->let = what;
	for (size_t i = 0; what == ABUSERS_WAIT && i < ABUSERS; i++)
		while (abusers->shared->busy[i] && waitpid(abusers->pids[i], NULL, WNOHANG) == 0)
			(void)usleep(PAUSE_USEC);
	(void)usleep(SETTLE_USEC);
}

unsigned long abusers_count(const struct abusers *abusers, size_t index)
{
	if (waitpid(abusers->pids[index], NULL, WNOHANG) != 0)
		bench_die(kinds[index].name, ERR_BUG);
	return abusers->shared->counts[index];
}

const char *abusers_name(size_t index)
{
	return kinds[index].name;
}

struct abusers *abusers_end(struct abusers *abusers)
{
	for (size_t i = 0; i < ABUSERS; i++) {
		(void)kill(abusers->pids[i], SIGKILL);
		(void)waitpid(abusers->pids[i], NULL, 0);
	}
	(void)munmap(abusers->shared, sizeof(*abusers->shared));
	free(abusers);
	return NULL;
}
