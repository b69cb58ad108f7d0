#include "tokend/client.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/log.h"
#include "common/secret.h"
#include "tokend/daemon.h"
#include "tokend/request.h"

#define READ_FIRST 8192U /* a usual message fits, and a flood of small ones is cut into portions */
#define READ_MORE 65536U /* when it is known to be a long one */
#define LOCKED_REPLY_MAX 2000U
#define REPLY_KEPT_MAX 65536U /* a longer answer's memory is given back */
#define USEC_PER_SECOND 1000000U

struct user {
	struct user *next;
	uid_t uid;
	size_t connections;
	size_t requests;
	size_t busy; /* connections with requests */
	size_t buffered; /* bytes */
	bool stalled; /* some connection is not read because of requests */
};

struct client {
	struct client *previous, *next; /* in the order of their last activity, oldest first */
	struct clients *clients;
	const struct frontend *frontend;
	struct user *user;
	struct peer peer;
	int fd;
	sd_event_source *source;
	uint32_t events; /* asked for */
	struct buf *in; /* NULL: nothing */
	struct buf *out; /* NULL: nothing */
	size_t buffered; /* as counted for the user */
	uint64_t since; /* when in or out began to wait */
	struct request *first, **last_end; /* in the order they came */
	size_t request_count;
	uint64_t turn;
	bool no_more_input; /* it shut down its side, or said something that ends the connection */
	bool processing;
	bool dead; /* to be freed by the tidying */
};

struct clients {
	struct daemon *daemon; /* borrowed */
	struct user *users;
	struct client *oldest, *newest;
	size_t count;
	struct buf *reply;
	struct buf *locked_reply;
	sd_event_source *tidy; /* frees the dead, wakes the stalled: outside of all handlers */
	sd_event_source *sweep;
	bool sweep_on;
	bool stopped;
	uint8_t scratch[READ_FIRST];
};

static void process(struct client *client);

static uint64_t now_usec(const struct clients *clients)
{
	uint64_t now = 0;

	(void)sd_event_now(clients->daemon->event, CLOCK_MONOTONIC, &now);
	return now;
}

/* ---- users ---- */

static struct user *find_user(struct clients *clients, uid_t uid)
{
	struct user *user = clients->users;

	while (user && user->uid != uid)
		user = user->next;
	if (user)
		return user;
	user = calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	user->uid = uid;
	user->next = clients->users;
	clients->users = user;
	return user;
}

static void drop_user(struct clients *clients, struct user *user)
{
	struct user **at = &clients->users;

	if (user->connections > 0 || user->requests > 0)
		return;
	while (*at != user)
		at = &(*at)->next;
	*at = user->next;
	free(user);
}

/* ---- the list of clients ---- */

static void unlink_client(struct client *client)
{
	struct clients *clients = client->clients;

	*(client->previous ? &client->previous->next : &clients->oldest) = client->next;
	*(client->next ? &client->next->previous : &clients->newest) = client->previous;
}

static void append_client(struct client *client)
{
	struct clients *clients = client->clients;

	client->previous = clients->newest;
	client->next = NULL;
	*(clients->newest ? &clients->newest->next : &clients->oldest) = client;
	clients->newest = client;
}

static void touch(struct client *client)
{
	if (client->clients->newest == client)
		return;
	unlink_client(client);
	append_client(client);
}

static void want_tidying(struct clients *clients)
{
	(void)sd_event_source_set_enabled(clients->tidy, SD_EVENT_ONESHOT);
}

/* Its requests go on without it; their results are for nobody. */
static void abandon_requests(struct client *client)
{
	while (client->first) {
		struct request *request = client->first;

		client->first = request->next;
		request->next = NULL;
		/* One that is still on its way goes on counting: hanging up is no way around the ceiling. */
		if (request->finished)
			client->user->requests--;
		else
			request->user = client->user;
		request_abandon(request);
	}
	client->last_end = &client->first;
	if (client->request_count > 0)
		client->user->busy--;
	client->request_count = 0;
}

/* The connection is over. The struct stays until the tidying, since handlers further up may still look at it. */
static void end_client(struct client *client)
{
	if (client->dead)
		return;
	client->dead = true;
	client->source = sd_event_source_disable_unref(client->source);
	close_fdp(&client->fd);
	client->fd = -1;
	abandon_requests(client);
	want_tidying(client->clients);
}

static void free_client(struct client *client)
{
	struct clients *clients = client->clients;
	struct user *user = client->user;

	unlink_client(client);
	clients->count--;
	user->connections--;
	user->buffered -= client->buffered;
	buf_free(client->in);
	buf_free(client->out);
	sd_event_source_disable_unref(client->source);
	close_fdp(&client->fd);
	free(client);
	drop_user(clients, user);
}

/* ---- what is waited for ---- */

static bool may_take(const struct client *client)
{
	return !client->dead && !client->no_more_input && !client->out && !client->clients->stopped &&
	       client->request_count < REQUESTS_PER_CLIENT_MAX &&
	       client->user->requests < REQUESTS_PER_UID_MAX;
}

static void update_events(struct client *client)
{
	uint32_t events = (may_take(client) ? (uint32_t)EPOLLIN : 0) | (client->out ? (uint32_t)EPOLLOUT : 0);

	if (client->dead)
		return;
	if (!client->no_more_input && client->user->requests >= REQUESTS_PER_UID_MAX)
		client->user->stalled = true;
	if (events == client->events)
		return;
	if (sd_event_source_set_io_events(client->source, events) < 0)
		end_client(client);
	client->events = events;
}

static void arm_sweep(struct clients *clients)
{
	if (clients->sweep_on)
		return;
	if (sd_event_source_set_time(clients->sweep,
	                             now_usec(clients) + HALF_MESSAGE_SECONDS * USEC_PER_SECOND / 2) >= 0 &&
	    sd_event_source_set_enabled(clients->sweep, SD_EVENT_ONESHOT) >= 0)
		clients->sweep_on = true;
}

/* What it holds in memory, counted against its user; too much ends the connection. */
static void account(struct client *client)
{
	size_t buffered = (client->in ? buf_len(client->in) : 0) + (client->out ? buf_len(client->out) : 0);

	client->user->buffered = client->user->buffered - client->buffered + buffered;
	client->buffered = buffered;
	if (buffered == 0)
		return;
	if (client->user->buffered > BUFFERED_PER_UID_MAX) {
		log_info("a connection of uid %lu was ended: too much of it is unread",
		         (unsigned long)client->user->uid);
		end_client(client);
		return;
	}
	arm_sweep(client->clients);
}

/* ---- answers ---- */

/* What the socket does not take waits in memory of its own: locked, if a file key is in it. */
static enum err keep_rest(struct client *client, struct bytes rest, bool secret)
{
	CLEANUP(buf_freep) struct buf *out = NULL;
	enum err err = secret ? buf_new_locked(rest.len, &out) : buf_new(rest.len, &out);

	if (!err)
		err = buf_put(out, rest);
	if (err)
		return err;
	client->out = TAKE(out);
	client->since = now_usec(client->clients);
	account(client);
	return OK;
}

static enum err send_reply(struct client *client, struct buf *reply, bool secret)
{
	struct bytes text = buf_bytes(reply);
	ssize_t sent = send(client->fd, text.data, text.len, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		return ERR_SYSTEM;
	if (sent < 0)
		sent = 0;
	if ((size_t)sent == text.len)
		return OK;
	return keep_rest(client, bytes_of(text.data + sent, text.len - (size_t)sent), secret);
}

/* A reply buffer that had to grow for once is not kept at that size. */
static void clear_reply(struct clients *clients)
{
	struct buf *smaller;

	if (buf_len(clients->reply) <= REPLY_KEPT_MAX) {
		buf_clear(clients->reply);
		return;
	}
	buf_clear(clients->reply);
	if (buf_new(buf_room(clients->reply), &smaller))
		return;
	buf_free(clients->reply);
	clients->reply = smaller;
}

static enum err write_reply(struct client *client, const struct request *request)
{
	struct clients *clients = client->clients;
	bool secret = request->file_key != NULL;
	struct buf *reply = secret ? clients->locked_reply : clients->reply;
	enum err err;

	err = client->frontend->reply(request, reply);
	if (!err)
		err = send_reply(client, reply, secret);
	if (secret)
		buf_clear(reply);
	else
		clear_reply(clients);
	return err;
}

/* Sends what is due: in the order of the requests, and only while the client takes it. */
static void flush(struct client *client)
{
	while (!client->dead && !client->out && client->first && client->first->finished) {
		struct request *request = client->first;
		enum err err = request->silent ? OK : write_reply(client, request);

		client->first = request->next;
		if (!client->first)
			client->last_end = &client->first;
		client->user->requests--;
		if (--client->request_count == 0)
			client->user->busy--;
		request_free(request);
		if (err)
			end_client(client);
	}
	if (client->user->stalled)
		want_tidying(client->clients);
	if (!client->dead && client->no_more_input && !client->first && !client->out)
		end_client(client);
}

static void write_rest(struct client *client)
{
	enum err err = OK;

	while (client->out && !err) {
		struct bytes rest = buf_bytes(client->out);
		ssize_t sent = send(client->fd, rest.data, rest.len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (sent < 0)
			err = ERR_SYSTEM;
		else
			buf_consume(client->out, (size_t)sent);
		if (buf_len(client->out) == 0)
			client->out = buf_free(client->out);
	}
	account(client);
	if (err)
		end_client(client);
}

/* ---- questions ---- */

/* Lets the front-end take messages from data while there is room for their answers; returns what is left. */
static struct bytes take_messages(struct client *client, struct bytes data)
{
	enum err err = OK;

	client->processing = true;
	while (!err && data.len > 0 && may_take(client)) {
		size_t taken = 0;

		err = client->frontend->input(client, data, &taken);
		if (err)
			break;
		data = bytes_of(data.data + taken, data.len - taken);
		flush(client);
	}
	client->processing = false;
	if (err && err != ERR_AGAIN)
		end_client(client);
	return client->dead || client->no_more_input ? bytes_of(NULL, 0) : data;
}

/* Keeps what could not be taken yet. */
static void keep_input(struct client *client, struct bytes rest)
{
	enum err err = OK;

	if (client->dead)
		return;
	if (client->in) {
		buf_consume(client->in, buf_len(client->in) - rest.len);
		if (rest.len == 0)
			client->in = buf_free(client->in);
	} else if (rest.len > 0) {
		err = buf_new(client->frontend->max_message + READ_MORE, &client->in);
		if (!err)
			err = buf_put(client->in, rest);
	}
	client->since = now_usec(client->clients);
	if (err)
		end_client(client);
	else
		account(client);
}

static void process_data(struct client *client, struct bytes data)
{
	struct bytes rest = take_messages(client, data);

	if (rest.len == data.len && client->in)
		account(client); /* still the same half message: its time runs on */
	else
		keep_input(client, rest);
}

static void process(struct client *client)
{
	if (client->in && !client->dead)
		process_data(client, buf_bytes(client->in));
}

/*
 * Plain recv: descriptors that a client passes along are dropped by the kernel, before they take a place in our table. One read for each event: others get their turn.
 * Returns false at the end of the connection.
 */
static bool read_input(struct client *client)
{
	struct clients *clients = client->clients;
	uint8_t *space = clients->scratch;
	size_t room = sizeof(clients->scratch);
	ssize_t got;

	if (client->in) {
		room = buf_room(client->in) < READ_MORE ? buf_room(client->in) : READ_MORE;
		if (room == 0 || buf_reserve(client->in, room, &space))
			return false;
	}
	got = recv(client->fd, space, room, MSG_DONTWAIT);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR;
	if (got == 0) {
		client->no_more_input = true;
		return false;
	}
	touch(client);
	if (client->in) {
		buf_commit(client->in, (size_t)got);
		process(client);
	} else {
		process_data(client, bytes_of(space, (size_t)got));
	}
	return true;
}

static int on_client(sd_event_source *source, int fd, uint32_t events, void *context)
{
	struct client *client = context;

	(void)source;
	(void)fd;
	if (events & EPOLLOUT)
		write_rest(client);
	if (events & EPOLLOUT)
		flush(client);
	if (!client->dead && (events & EPOLLIN) && may_take(client) && !read_input(client) &&
	    !client->no_more_input)
		end_client(client);
	/* Both sides are closed: nobody is left to answer. What was sent before is read first. */
	if (!client->dead && (events & (EPOLLHUP | EPOLLERR)) &&
	    (client->no_more_input || !(events & EPOLLIN)))
		end_client(client);
	flush(client);
	update_events(client);
	return 0;
}

/* ---- requests ---- */

void client_add_request(struct client *client, struct request *request)
{
	struct daemon *daemon = client->clients->daemon;
	/* A connection's share shrinks with the number of its user's busy ones, so that users, not connections, take turns. */
	uint64_t turn = client->turn + (client->user->busy ? client->user->busy : 1);

	if (turn < daemon->turn)
		turn = daemon->turn;
	client->turn = request->order = turn;
	request->next = NULL;
	*client->last_end = request;
	client->last_end = &request->next;
	client->user->requests++;
	if (client->request_count++ == 0)
		client->user->busy++;
}

void client_request_finished(struct client *client, struct request *request)
{
	struct daemon *daemon = client->clients->daemon;

	if (request->order > daemon->turn)
		daemon->turn = request->order;
	/* The loop that takes messages flushes after each. */
	if (client->processing)
		return;
	flush(client);
	if (may_take(client))
		process(client);
	update_events(client);
}

void clients_request_gone(struct clients *clients, struct user *user)
{
	user->requests--;
	if (user->stalled)
		want_tidying(clients);
	drop_user(clients, user);
}

const struct frontend *client_frontend(const struct client *client)
{
	return client->frontend;
}

const struct peer *client_peer(const struct client *client)
{
	return &client->peer;
}

struct daemon *client_daemon(const struct client *client)
{
	return client->clients->daemon;
}

void client_close_after_answers(struct client *client)
{
	client->no_more_input = true;
}

/* ---- the tidying and the sweep ---- */

static int on_tidy(sd_event_source *source, void *context)
{
	struct clients *clients = context;

	(void)source;
	for (struct client *client = clients->oldest; client;) {
		struct client *next = client->next;

		if (client->dead)
			free_client(client);
		client = next;
	}
	for (struct user *user = clients->users; user; user = user->next)
		if (user->stalled && user->requests < REQUESTS_PER_UID_MAX)
			user->stalled = false;
	for (struct client *client = clients->oldest; client; client = client->next) {
		if (client->dead || client->user->stalled)
			continue;
		if (client->in && may_take(client) && !client->first)
			process(client);
		flush(client);
		update_events(client);
	}
	return 0;
}

static int on_sweep(sd_event_source *source, uint64_t usec, void *context)
{
	struct clients *clients = context;
	uint64_t now = now_usec(clients);
	bool waiting = false;

	(void)source;
	(void)usec;
	clients->sweep_on = false;
	for (struct client *client = clients->oldest; client; client = client->next) {
		bool half = client->out || (client->in && !client->first && may_take(client));

		if (client->dead || !half)
			continue;
		if (now - client->since >= HALF_MESSAGE_SECONDS * USEC_PER_SECOND)
			end_client(client);
		else
			waiting = true;
	}
	if (waiting)
		arm_sweep(clients);
	return 0;
}

/* ---- coming and going ---- */

/* The connection of user that has been idle longest makes room; false when all of them are at work. */
static bool evict_idle(struct clients *clients, const struct user *user)
{
	for (struct client *client = clients->oldest; client; client = client->next)
		if (client->user == user && !client->dead && !client->first && !client->in && !client->out) {
			end_client(client);
			return true;
		}
	return false;
}

static enum err start_client(struct client *client)
{
	client->events = EPOLLIN;
	if (sd_event_add_io(client->clients->daemon->event, &client->source, client->fd, EPOLLIN, on_client,
	                    client) < 0)
		return ERR_SYSTEM;
	append_client(client);
	client->clients->count++;
	client->user->connections++;
	return OK;
}

void clients_add(struct clients *clients, const struct frontend *frontend, int fd)
{
	CLEANUP(close_fdp) int owned = fd;
	CLEANUP(freep) struct client *client = calloc(1, sizeof(*client));

	if (!client || clients->stopped || peer_read(fd, &client->peer))
		return;
	client->clients = clients;
	client->frontend = frontend;
	client->last_end = &client->first;
	client->user = find_user(clients, client->peer.uid);
	if (!client->user)
		return;
	if ((client->user->connections >= CLIENTS_PER_UID_MAX || clients->count >= CLIENTS_MAX) &&
	    !evict_idle(clients, client->user)) {
		log_info("a connection of uid %lu was refused: it has too many",
		         (unsigned long)client->peer.uid);
		drop_user(clients, client->user);
		return;
	}
	client->fd = TAKE_FD(owned);
	if (start_client(client)) {
		close_fdp(&client->fd);
		drop_user(clients, client->user);
		return;
	}
	(void)TAKE(client);
}

void clients_stop_reading(struct clients *clients)
{
	clients->stopped = true;
	for (struct client *client = clients->oldest; client; client = client->next)
		update_events(client);
}

enum err clients_new(struct daemon *daemon, struct clients **ret_clients)
{
	CLEANUP(clients_freep) struct clients *clients = calloc(1, sizeof(*clients));
	size_t largest = 0;
	enum err err;

	if (!clients)
		return ERR_NOMEM;
	clients->daemon = daemon;
	for (size_t i = 0; frontends[i]; i++)
		largest = frontends[i]->max_reply > largest ? frontends[i]->max_reply : largest;
	err = buf_new(largest, &clients->reply);
	if (!err)
		err = buf_new_locked(LOCKED_REPLY_MAX, &clients->locked_reply);
	if (err)
		return err;
	if (sd_event_add_defer(daemon->event, &clients->tidy, on_tidy, clients) < 0 ||
	    sd_event_source_set_enabled(clients->tidy, SD_EVENT_OFF) < 0 ||
	    sd_event_add_time(daemon->event, &clients->sweep, CLOCK_MONOTONIC, UINT64_MAX, 0, on_sweep,
	                      clients) < 0 ||
	    sd_event_source_set_enabled(clients->sweep, SD_EVENT_OFF) < 0)
		return ERR_SYSTEM;
	*ret_clients = TAKE(clients);
	return OK;
}

struct clients *clients_free(struct clients *clients)
{
	if (!clients)
		return NULL;
	while (clients->oldest) {
		end_client(clients->oldest);
		free_client(clients->oldest);
	}
	sd_event_source_disable_unref(clients->tidy);
	sd_event_source_disable_unref(clients->sweep);
	buf_free(clients->reply);
	buf_free(clients->locked_reply);
	free(clients);
	return NULL;
}
