#include "tokend/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include "common/clock.h"
#include "common/log.h"
#include "tokend/patience.h"
#include "tokend/startup.h"

#define ACCEPT_USEC \
	500U /* connections are taken for so long before others get their turn, or as long as these took it */
#define ACCEPT_USEC_MAX 5000U
#define PAUSE_USEC 200000U /* after a failure to accept that only time mends */

static size_t frontend_index(const char *name)
{
	size_t i = 0;

	while (i < FRONTENDS_MAX && frontends[i] && strcmp(frontends[i]->name, name) != 0)
		i++;
	return i < FRONTENDS_MAX && frontends[i] ? i : FRONTENDS_MAX;
}

/* ---- in the supervisor ---- */

static void free_strings(char ***strings)
{
	for (char **string = *strings; string && *string; string++)
		free(*string);
	free(*strings);
}

/* Sockets passed by systemd. The names decide, since several socket units have no order. ret_count: how many were of use. */
static enum err take_passed(int sockets[static FRONTENDS_MAX], size_t *ret_count)
{
	CLEANUP(free_strings) char **names = NULL;
	int count = sd_listen_fds_with_names(1, &names);

	*ret_count = 0;
	if (count < 0)
		return startup_failed(ERR_SYSTEM, NULL, "the sockets passed by systemd cannot be read: %s",
		                      strerror(-count));
	for (int i = 0; i < count; i++) {
		int fd = SD_LISTEN_FDS_START + i;
		size_t index = frontend_index(names[i]);

		if (index == FRONTENDS_MAX || sockets[index] >= 0 ||
		    sd_is_socket_unix(fd, SOCK_STREAM, 1, NULL, 0) <= 0) {
			log_warning("the passed socket \"%s\" is of no use and was closed", names[i]);
			(void)close(fd);
			continue;
		}
		if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
			return ERR_SYSTEM;
		patience_refuse(fd);
		sockets[index] = fd;
		(*ret_count)++;
	}
	return OK;
}

/*
 * Bound under a temporary name, given its mode, and only then renamed: nobody can connect to a socket with the wrong mode, and the name never dangles. A stale one is replaced;
 * a live one cannot be there, because we hold the lock of the directory. The detour over /proc keeps long paths from mattering here.
 */
static enum err bind_socket(int runtime, const char *name, mode_t mode, int backlog, int fd)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	static const char temporary[] = ".socket.new";

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", runtime, temporary);
	(void)unlinkat(runtime, temporary, 0);
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    fchmodat(runtime, temporary, mode, 0) < 0 || listen(fd, backlog) < 0 ||
	    renameat(runtime, temporary, runtime, name) < 0)
		return ERR_SYSTEM;
	return OK;
}

static enum err open_own(const struct options *options, int runtime, const struct frontend *frontend,
                         int *ret_fd)
{
	CLEANUP(close_fdp) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	char name[64];

	(void)snprintf(name, sizeof(name), "%s.sock", frontend->name);
	if (strlen(options->runtime_directory) + 1 + strlen(name) >=
	    sizeof(((struct sockaddr_un *)0)->sun_path))
		return startup_failed(ERR_USAGE, "tokend --runtime-dir with a shorter path",
		                      "the path %s is too long for a socket", options->runtime_directory);
	/* Every user may ask; the policy decides. A daemon of one user is that user's. */
	if (fd < 0 ||
	    bind_socket(runtime, name, options->mode == MODE_SYSTEM ? 0666 : 0600, frontend->backlog, fd))
		return startup_failed(ERR_SYSTEM, NULL, "%s/%s cannot be made: %s",
		                      options->runtime_directory, name, strerror(errno));
	patience_refuse(fd);
	*ret_fd = TAKE_FD(fd);
	return OK;
}

enum err listener_open_sockets(const struct options *options, int runtime, int sockets[static FRONTENDS_MAX],
                               bool *ret_own)
{
	size_t passed;
	enum err err;

	for (size_t i = 0; i < FRONTENDS_MAX; i++)
		sockets[i] = -1;
	err = take_passed(sockets, &passed);
	for (size_t i = 0; !err && passed == 0 && frontends[i]; i++)
		err = open_own(options, runtime, frontends[i], &sockets[i]);
	*ret_own = passed == 0;
	return err;
}

void listener_close_sockets(int sockets[static FRONTENDS_MAX])
{
	for (size_t i = 0; i < FRONTENDS_MAX; i++) {
		close_fdp(&sockets[i]);
		sockets[i] = -1;
	}
}

void listener_remove_sockets(const struct options *options)
{
	char path[OPTIONS_PATH_MAX + 64];

	for (size_t i = 0; frontends[i]; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s.sock", options->runtime_directory,
		               frontends[i]->name);
		(void)unlink(path);
	}
}

/* ---- in the broker ---- */

struct socket_source {
	struct listener *listener;
	const struct frontend *frontend;
	int fd;
	sd_event_source *source;
	sd_event_source *pause;
	uint64_t looked_at; /* when connections were taken last */
};

struct listener {
	sd_event *event;
	listener_accepted accepted;
	void *context;
	struct socket_source sockets[FRONTENDS_MAX];
};

static int pause_over(sd_event_source *source, uint64_t usec, void *context)
{
	struct socket_source *from = context;

	(void)source;
	(void)usec;
	(void)sd_event_source_set_enabled(from->source, SD_EVENT_ON);
	return 0;
}

/* Out of descriptors or memory: the queue keeps those who wait, and the loop must not spin over them. */
static void pause_accepting(struct socket_source *from)
{
	log_warning("no connection can be accepted for a moment: %s", strerror(errno));
	(void)sd_event_source_set_enabled(from->source, SD_EVENT_OFF);
	from->pause = sd_event_source_unref(from->pause);
	if (sd_event_add_time_relative(from->listener->event, &from->pause, CLOCK_MONOTONIC, PAUSE_USEC, 0,
	                               pause_over, from) < 0)
		(void)sd_event_source_set_enabled(from->source, SD_EVENT_ON);
}

/* Half of the time, if it must be: else whoever comes and goes fast enough could fill the queue, and a newcomer would be behind all of it. */
static uint64_t accept_usec(const struct socket_source *from, uint64_t now)
{
	uint64_t others = now - from->looked_at;

	if (others < ACCEPT_USEC)
		return ACCEPT_USEC;
	return others < ACCEPT_USEC_MAX ? others : ACCEPT_USEC_MAX;
}

static void accept_all(struct socket_source *from, int fd, uint64_t end)
{
	/* All that wait, if possible: who is behind somebody's thousand connections that are closed already is to get past them at once. */
	do {
		int connection = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (connection >= 0) {
			from->listener->accepted(from->listener->context, from->frontend, connection);
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
			pause_accepting(from);
			return;
		} else if (errno != ECONNABORTED && errno != EINTR) {
			return;
		}
	} while (clock_microseconds() < end);
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *context)
{
	struct socket_source *from = context;
	uint64_t now = clock_microseconds();

	(void)source;
	(void)events;
	accept_all(from, fd, now + accept_usec(from, now));
	from->looked_at = clock_microseconds();
	return 0;
}

static enum err add_socket(struct listener *listener, size_t index, int fd)
{
	struct socket_source *from = &listener->sockets[index];

	*from = (struct socket_source){ .listener = listener, .frontend = frontends[index], .fd = fd };
	return sd_event_add_io(listener->event, &from->source, fd, EPOLLIN, on_connection, from) < 0
	               ? ERR_SYSTEM
	               : OK;
}

enum err listener_new(sd_event *event, int sockets[static FRONTENDS_MAX], listener_accepted accepted,
                      void *context, struct listener **ret_listener)
{
	CLEANUP(listener_freep) struct listener *listener = calloc(1, sizeof(*listener));
	enum err err = OK;

	if (!listener)
		return ERR_NOMEM;
	listener->event = event;
	listener->accepted = accepted;
	listener->context = context;
	for (size_t i = 0; i < FRONTENDS_MAX; i++)
		listener->sockets[i].fd = -1;
	for (size_t i = 0; !err && i < FRONTENDS_MAX; i++)
		if (sockets[i] >= 0)
			err = add_socket(listener, i, TAKE_FD(sockets[i]));
	if (err)
		return err;
	*ret_listener = TAKE(listener);
	return OK;
}

struct listener *listener_free(struct listener *listener)
{
	if (!listener)
		return NULL;
	for (size_t i = 0; i < FRONTENDS_MAX; i++) {
		sd_event_source_unref(listener->sockets[i].source);
		sd_event_source_unref(listener->sockets[i].pause);
		/* With the connections that nobody took yet, and what lies in them. */
		patience_close(listener->sockets[i].fd);
	}
	free(listener);
	return NULL;
}
