/*
 * Whose turn it is. The event loop looks at each ready source again before each step, so with one source per connection somebody's thousand ready ones would make every step of everybody
 * dear, and a newcomer would come after all of them. Therefore the connections have an epoll of their own, which is one source, and tells of each when something happens to it (EPOLLET), and
 * not for as long as it is so: what there may be to read is remembered here (readable), and costs no call into the kernel for each message.
 *
 *	waiting --(something to read, and room for its answer)--> ready, in its user's queue --(its user's turn, and it is the first)--> read, answered --> waiting
 *
 * Users take turns, one message of one connection each, and whoever had his last turn longest ago is next: who comes now and then does not wait for those who always want something.
 * After TURNS_AT_ONCE of them (more while nobody else wants any), or a dear one, the event loop goes on to the listener, the helpers and the log. A user at the ceiling of his requests
 * takes no turns until one of them is finished; his connections stay where they are. A connection that hung up is dropped wherever it is, with all that it still had to say.
 */
#include "tokend/client.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/secret.h"
#include "tokend/daemon.h"
#include "tokend/patience.h"
#include "tokend/request.h"

#define READ_FIRST 8192U /* a usual message fits, and a flood of small ones is cut into portions */
#define READ_MORE 65536U /* when it is known to be a long one */
#define LOCKED_REPLY_MAX 8192U
#define REPLY_KEPT_MAX 65536U /* a longer answer's memory is given back */
#define USEC_PER_MS 1000U
#define TURNS_AT_ONCE 2U
#define TURNS_ALONE \
	8U /* of a user whom nobody else waits behind: each way through the event loop costs as much as a turn */
#define TURNS_USEC 100U /* and no further one when they have taken so long: some messages are dear */
#define MESSAGES_AT_ONCE \
	1U /* in a turn: each step of whoever is served meanwhile waits for TURNS_AT_ONCE times so many */
#define EVENTS_AT_ONCE 256

struct user {
	struct user *next;
	uid_t uid;
	size_t connections;
	size_t requests;
	size_t busy; /* connections with requests */
	size_t buffered; /* bytes */
	struct client *oldest, *newest; /* all of them, in the order of their last activity */
	struct client *ready_first, *ready_last;
	struct user *next_turn;
	uint64_t last_turn; /* its number; 0: none yet */
	bool has_turn; /* in the queue for turns */
	bool is_named; /* in our own log, as one who has too much; once is enough, for the log has a ceiling too */
};

struct client {
	struct client *previous, *next; /* of its user */
	struct client *ready_previous, *ready_next;
	struct client *next_dead;
	struct client *next_speaker;
	bool speaks; /* in the list of those that have something to say */
	struct clients *clients;
	const struct frontend *frontend;
	void *state; /* owned; the front-end's, if it has one */
	struct user *user;
	struct peer peer;
	struct peer_hold hold; /* until somebody asks who it is */
	int fd;
	bool may_pass; /* descriptors, which are dropped in our name */
	bool readable; /* there may be something that was not read yet */
	bool tells_writable; /* the epoll tells of it */
	bool ready; /* in its user's queue */
	bool held; /* in begins with what could be taken but for a ceiling */
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
	struct user *turn_first,
	        *turn_last; /* those with ready connections, in the order of their last turns */
	uint64_t turns;
	struct client *dead;
	size_t count;
	size_t buffered; /* bytes, of all */
	int epoll;
	int more; /* an eventfd in the epoll: readable while there are turns to take */
	bool more_set;
	bool in_turns; /* who is there looks at the queue again */
	sd_event_source *ready;
	struct buf *reply;
	struct buf *locked_reply;
	sd_event_source *tidy; /* frees the dead: outside of all handlers */
	struct client *speakers;
	sd_event_source *speech; /* lets them speak: what came together is said together */
	sd_event_source *sweep;
	uint64_t sweep_at; /* 0: not at all */
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

	if (user->connections > 0 || user->requests > 0 || user->has_turn)
		return;
	while (*at != user)
		at = &(*at)->next;
	*at = user->next;
	free(user);
}

/* ---- the lists of clients ---- */

static void unlink_client(struct client *client)
{
	struct user *user = client->user;

	*(client->previous ? &client->previous->next : &user->oldest) = client->next;
	*(client->next ? &client->next->previous : &user->newest) = client->previous;
}

static void append_client(struct client *client)
{
	struct user *user = client->user;

	client->previous = user->newest;
	client->next = NULL;
	*(user->newest ? &user->newest->next : &user->oldest) = client;
	user->newest = client;
}

static struct client *first_client(const struct user *user)
{
	while (user && !user->oldest)
		user = user->next;
	return user ? user->oldest : NULL;
}

/* The one behind client, when all of them are walked through. */
static struct client *next_client(const struct client *client)
{
	return client->next ? client->next : first_client(client->user->next);
}

static void touch(struct client *client)
{
	if (client->user->newest == client)
		return;
	unlink_client(client);
	append_client(client);
}

/* ---- turns ---- */

static void set_more(struct clients *clients, bool more)
{
	uint64_t one = 1;

	if (more == clients->more_set)
		return;
	clients->more_set = more;
	if (more)
		(void)!write(clients->more, &one, sizeof(one));
	else
		(void)!read(clients->more, &one, sizeof(one));
}

/* Gives user a place in the queue for turns, if he has use for one. */
static void want_turn(struct clients *clients, struct user *user)
{
	struct user **at = &clients->turn_first;

	if (user->has_turn || !user->ready_first || user->requests >= REQUESTS_PER_UID_MAX)
		return;
	user->has_turn = true;
	/* Mostly he just had one, and is the last. */
	if (clients->turn_last && clients->turn_last->last_turn <= user->last_turn)
		at = &clients->turn_last->next_turn;
	while (*at && (*at)->last_turn <= user->last_turn)
		at = &(*at)->next_turn;
	user->next_turn = *at;
	*at = user;
	if (!user->next_turn)
		clients->turn_last = user;
	if (!clients->in_turns)
		set_more(clients, true);
}

static struct user *take_turn(struct clients *clients)
{
	struct user *user = clients->turn_first;

	if (!user)
		return NULL;
	clients->turn_first = user->next_turn;
	if (!clients->turn_first)
		clients->turn_last = NULL;
	user->has_turn = false;
	user->last_turn = ++clients->turns;
	return user;
}

static void make_ready(struct client *client)
{
	struct user *user = client->user;

	if (client->ready)
		return;
	client->ready = true;
	client->ready_previous = user->ready_last;
	client->ready_next = NULL;
	*(user->ready_last ? &user->ready_last->ready_next : &user->ready_first) = client;
	user->ready_last = client;
	want_turn(client->clients, user);
}

static void make_unready(struct client *client)
{
	struct user *user = client->user;

	if (!client->ready)
		return;
	client->ready = false;
	*(client->ready_previous ? &client->ready_previous->ready_next : &user->ready_first) =
	        client->ready_next;
	*(client->ready_next ? &client->ready_next->ready_previous : &user->ready_last) =
	        client->ready_previous;
}

static void request_answered(struct client *client)
{
	client->user->requests--;
	want_turn(client->clients, client->user);
}

/* ---- the end of a connection ---- */

/* Its requests go on without it; their results are for nobody. */
static void abandon_requests(struct client *client)
{
	while (client->first) {
		struct request *request = client->first;

		client->first = request->next;
		request->next = NULL;
		/* One that is still on its way goes on counting: hanging up is no way around the ceiling. */
		if (request->finished)
			request_answered(client);
		else
			request->user = client->user;
		request_abandon(request);
	}
	client->last_end = &client->first;
	if (client->request_count > 0)
		client->user->busy--;
	client->request_count = 0;
}

static void count_buffered(struct client *client, size_t buffered)
{
	client->user->buffered += buffered - client->buffered;
	client->clients->buffered += buffered - client->buffered;
	client->buffered = buffered;
}

/* With what lies in it unread. */
static void close_connection(int fd, bool may_pass)
{
	if (may_pass)
		patience_close(fd);
	else
		close_fdp(&fd);
}

static void close_newp(int *fd)
{
	if (*fd >= 0)
		patience_close(*fd);
}

/* The connection is over. The struct stays until the tidying, since handlers further up may still look at it; what it holds goes then too, which is soon. */
static void end_client(struct client *client)
{
	if (client->dead)
		return;
	client->dead = true;
	make_unready(client);
	count_buffered(client, 0);
	close_connection(client->fd, client->may_pass);
	client->fd = -1;
	peer_release(&client->hold);
	abandon_requests(client);
	client->next_dead = client->clients->dead;
	client->clients->dead = client;
	(void)sd_event_source_set_enabled(client->clients->tidy, SD_EVENT_ONESHOT);
}

static void silence(struct client *client)
{
	struct client **at = &client->clients->speakers;

	if (!client->speaks)
		return;
	while (*at != client)
		at = &(*at)->next_speaker;
	*at = client->next_speaker;
	client->speaks = false;
}

static void free_client(struct client *client)
{
	struct clients *clients = client->clients;
	struct user *user = client->user;

	silence(client);
	unlink_client(client);
	clients->count--;
	user->connections--;
	buf_free(client->in);
	buf_free(client->out);
	if (client->state)
		client->frontend->state->close(client->state);
	free(client);
	drop_user(clients, user);
}

static void free_dead(struct clients *clients)
{
	while (clients->dead) {
		struct client *client = clients->dead;

		clients->dead = client->next_dead;
		free_client(client);
	}
}

/* Both sides are closed: nobody is left to answer. */
static bool hung_up(int fd)
{
	struct pollfd poll_fd = { .fd = fd };

	return poll(&poll_fd, 1, 0) > 0;
}

/* ---- what is waited for ---- */

/* Has it room for the answer to one more? */
static bool has_room(const struct client *client)
{
	return !client->dead && !client->no_more_input && !client->out && !client->clients->stopped &&
	       client->request_count < client->frontend->max_requests;
}

static bool may_take(const struct client *client)
{
	return has_room(client) && client->user->requests < REQUESTS_PER_UID_MAX;
}

/* Whoever does not take his answers is told of when he does; the others take them all the time, and nobody asks. */
static void watch_writable(struct client *client, bool on)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET | (on ? (uint32_t)EPOLLOUT : 0),
		                     .data.ptr = client };

	if (client->tells_writable == on)
		return;
	client->tells_writable = on;
	if (epoll_ctl(client->clients->epoll, EPOLL_CTL_MOD, client->fd, &event) < 0)
		end_client(client);
}

/* What it waits for from now on: its turn, if there is something to take; else what the epoll tells. */
static void wait_on(struct client *client)
{
	if (client->dead)
		return;
	if ((client->held || client->readable) && has_room(client))
		make_ready(client);
	watch_writable(client, client->out != NULL);
}

/* The sweep comes at that time, or sooner. */
static void arm_sweep(struct clients *clients, uint64_t at)
{
	if (clients->sweep_at && clients->sweep_at <= at)
		return;
	if (sd_event_source_set_time(clients->sweep, at) >= 0 &&
	    sd_event_source_set_enabled(clients->sweep, SD_EVENT_ONESHOT) >= 0)
		clients->sweep_at = at;
}

static uint64_t patience_usec(const struct client *client)
{
	return (uint64_t)client->frontend->patience_ms * USEC_PER_MS;
}

static void name_user(struct user *user, const char *what)
{
	if (!user->is_named)
		log_info("a connection of uid %lu %s", (unsigned long)user->uid, what);
	user->is_named = true;
}

static void end_unread(struct client *client)
{
	name_user(client->user, "was ended: too much of it is unread");
	end_client(client);
}

/* The connection that holds most, of the user who does. */
static struct client *largest_client(const struct clients *clients)
{
	const struct user *most = clients->users;
	struct client *largest;

	for (const struct user *user = most; user; user = user->next)
		if (user->buffered > most->buffered)
			most = user;
	largest = most->oldest;
	for (struct client *client = largest; client; client = client->next)
		if (client->buffered > largest->buffered)
			largest = client;
	return largest;
}

/* What it holds in memory, counted against its user; too much ends the connection. */
static void account(struct client *client)
{
	size_t buffered = (client->in ? buf_len(client->in) : 0) + (client->out ? buf_len(client->out) : 0);

	if (client->dead)
		return;
	if (client->state)
		buffered += client->frontend->state->held(client->state);
	count_buffered(client, buffered);
	if (client->user->buffered > BUFFERED_PER_UID_MAX)
		end_unread(client);
	else if (client->clients->buffered > BUFFERED_MAX)
		end_unread(largest_client(client->clients));
	if (client->buffered == 0)
		return;
	arm_sweep(client->clients, now_usec(client->clients) + patience_usec(client));
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
	if (client->state)
		return err;
	if (!err)
		err = send_reply(client, reply, secret);
	if (secret)
		buf_clear(reply);
	else
		clear_reply(clients);
	return err;
}

/* What a connection with a state has to say, which may be more than answers. */
static void speak(struct client *client)
{
	struct buf *out = client->clients->locked_reply;
	size_t said = 1;
	enum err err = OK;

	while (client->state && !err && said && !client->out && !client->dead) {
		err = client->frontend->state->output(client->state, out);
		said = buf_len(out);
		if (!err && said)
			err = send_reply(client, out, true);
		buf_clear(out);
	}
	if (err)
		end_client(client);
	else if (client->state && !client->dead)
		account(client);
}

/* Answers come from the log in groups, and each thing said wakes whoever listens. */
static void speak_later(struct client *client)
{
	struct clients *clients = client->clients;

	if (client->speaks || client->dead)
		return;
	client->speaks = true;
	client->next_speaker = clients->speakers;
	clients->speakers = client;
	(void)sd_event_source_set_enabled(clients->speech, SD_EVENT_ONESHOT);
}

static void end_if_done(struct client *client)
{
	if (!client->dead && client->no_more_input && !client->first && !client->out)
		end_client(client);
}

/* Whose answer is due; NULL: nobody's. In the order of the requests, unless the answers themselves say what they answer. */
static struct request **find_due(struct client *client)
{
	struct request **at = &client->first;

	if (client->dead || client->out)
		return NULL;
	while (client->state && *at && !(*at)->finished)
		at = &(*at)->next;
	return *at && (*at)->finished ? at : NULL;
}

/* Out of the queue before it is answered: an answer that nobody takes may end the connection, which drops all that stands there. */
static void take_out(struct client *client, struct request **at)
{
	const struct request *request = *at;

	*at = request->next;
	if (!request->next)
		client->last_end = at;
	if (--client->request_count == 0)
		client->user->busy--;
}

/* Sends what is due, and only while the client takes it. */
static void flush(struct client *client)
{
	struct request **at;

	while ((at = find_due(client)) != NULL) {
		struct request *request = *at;
		enum err err;

		take_out(client, at);
		err = request->silent ? OK : write_reply(client, request);
		request_free(request);
		request_answered(client);
		if (err)
			end_client(client);
	}
	if (client->state)
		speak_later(client);
	else
		end_if_done(client);
}

static int on_speech(sd_event_source *source, void *context)
{
	struct clients *clients = context;

	(void)source;
	while (clients->speakers) {
		struct client *client = clients->speakers;

		silence(client);
		speak(client);
		end_if_done(client);
		wait_on(client);
	}
	return 0;
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

/* Lets the front-end take messages from data, so many for each turn, while there is room for their answers; returns what is left. */
static struct bytes take_messages(struct client *client, struct bytes data)
{
	enum err err = OK;

	client->processing = true;
	for (unsigned i = 0; i < MESSAGES_AT_ONCE && !err && data.len > 0 && may_take(client); i++) {
		size_t taken = 0;

		err = client->frontend->input(client, data, &taken);
		if (err)
			break;
		data = bytes_of(data.data + taken, data.len - taken);
		flush(client);
	}
	client->processing = false;
	client->held = !err && data.len > 0 && !client->no_more_input;
	if (err && err != ERR_AGAIN) {
		speak(client);
		end_client(client);
	}
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
 * What was less than there is room for was all there is, except that a read ends behind what descriptors came with. Those are dropped by the kernel, which says so, before they take a place in our
 * table. As recv(2).
 */
static ssize_t receive(struct client *client, uint8_t *space, size_t room)
{
	struct iovec part = { .iov_base = space, .iov_len = room };
	struct msghdr header = { .msg_iov = &part, .msg_iovlen = 1 };
	ssize_t got;

	if (client->may_pass)
		patience_begin();
	got = recvmsg(client->fd, &header, MSG_DONTWAIT);
	if (client->may_pass)
		patience_end();
	if (got < 0)
		client->readable = errno != EAGAIN;
	else
		client->readable = (size_t)got == room || (header.msg_flags & MSG_CTRUNC);
	return got;
}

/* One read for each turn. Returns false at the end of the connection. */
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
	got = receive(client, space, room);
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
		/* What is not sealed may be secret. */
		if (client->state)
			secret_wipe(space, (size_t)got);
	}
	return true;
}

static void serve(struct client *client)
{
	if (client->held)
		process(client);
	else if (may_take(client) && !read_input(client) && !client->no_more_input)
		end_client(client);
	flush(client);
	wait_on(client);
}

static void on_client(struct client *client, uint32_t events)
{
	if (client->dead)
		return;
	if (events & (EPOLLHUP | EPOLLERR)) {
		end_client(client);
		return;
	}
	if (events & EPOLLOUT) {
		write_rest(client);
		flush(client);
	}
	if (events & EPOLLIN)
		client->readable = true;
	wait_on(client);
}

/* Who has something to read comes into the queues; that costs little, so all of them at once. */
static void collect(struct clients *clients)
{
	struct epoll_event events[EVENTS_AT_ONCE];
	size_t collected = 0;
	int count;

	do {
		count = epoll_wait(clients->epoll, events, EVENTS_AT_ONCE, 0);
		for (int i = 0; i < count; i++)
			if (events[i].data.ptr)
				on_client(events[i].data.ptr, events[i].events);
		collected += count > 0 ? (size_t)count : 0;
	} while (count == EVENTS_AT_ONCE && collected < CLIENTS_MAX);
}

static void take_turns(struct clients *clients)
{
	const uint64_t end = clock_microseconds() + TURNS_USEC;
	const bool alone = clients->turn_first && !clients->turn_first->next_turn;
	const unsigned turns = alone ? TURNS_ALONE : TURNS_AT_ONCE;
	struct user *user;

	for (unsigned i = 0;
	     i < turns && (i == 0 || clock_microseconds() < end) && (user = take_turn(clients)); i++) {
		struct client *client = user->requests < REQUESTS_PER_UID_MAX ? user->ready_first : NULL;

		if (client) {
			make_unready(client);
			serve(client);
		}
		want_turn(clients, user);
		drop_user(clients, user);
	}
}

static int on_ready(sd_event_source *source, int fd, uint32_t events, void *context)
{
	struct clients *clients = context;

	(void)source;
	(void)fd;
	(void)events;
	clients->in_turns = true;
	collect(clients);
	take_turns(clients);
	clients->in_turns = false;
	set_more(clients, clients->turn_first != NULL);
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
	wait_on(client);
}

void clients_request_gone(struct clients *clients, struct user *user)
{
	user->requests--;
	want_turn(clients, user);
	drop_user(clients, user);
}

const struct peer *client_peer(struct client *client)
{
	peer_read_unit(&client->peer, &client->hold);
	return &client->peer;
}

struct daemon *client_daemon(const struct client *client)
{
	return client->clients->daemon;
}

void *client_state(const struct client *client)
{
	return client->state;
}

void client_close_after_answers(struct client *client)
{
	client->no_more_input = true;
}

/* ---- the tidying and the sweep ---- */

static int on_tidy(sd_event_source *source, void *context)
{
	(void)source;
	free_dead(context);
	return 0;
}

/* Since when it is waited for: for half a message, for taking an answer, or for what the state waits for. 0: it is not. */
static uint64_t waits_since(const struct client *client)
{
	bool heard = !client->held && !client->ready;
	bool half = client->in && heard && (!client->first || client->state) && has_room(client);
	uint64_t since = client->out || half ? client->since : 0;
	uint64_t own = client->state && heard ? client->frontend->state->waits_since(client->state) : 0;

	return own && (!since || own < since) ? own : since;
}

static int on_sweep(sd_event_source *source, uint64_t usec, void *context)
{
	struct clients *clients = context;
	uint64_t now = now_usec(clients);
	uint64_t next = UINT64_MAX;

	(void)source;
	(void)usec;
	clients->sweep_at = 0;
	for (struct client *client = first_client(clients->users); client; client = next_client(client)) {
		uint64_t since = client->dead ? 0 : waits_since(client);
		uint64_t end = since + patience_usec(client);

		if (since && end <= now)
			end_client(client);
		else if (since && end < next)
			next = end;
	}
	if (next != UINT64_MAX)
		arm_sweep(clients, next);
	return 0;
}

/* ---- coming and going ---- */

/* The connection of user that has been idle longest makes room; false when all of them are at work. */
static bool evict_idle(const struct user *user)
{
	for (struct client *client = user->oldest; client; client = client->next)
		if (!client->dead && !client->first && !client->in && !client->out && !client->ready) {
			end_client(client);
			return true;
		}
	return false;
}

static const struct user *largest_user(const struct clients *clients)
{
	const struct user *largest = clients->users;

	for (const struct user *user = clients->users; user; user = user->next)
		if (user->connections > largest->connections)
			largest = user;
	return largest;
}

/* At his own ceiling a user makes room for himself; at that of all, the one with the most connections does. */
static bool make_room(const struct clients *clients, const struct user *user)
{
	if (user->connections >= CLIENTS_PER_UID_MAX)
		return evict_idle(user);
	return clients->count < CLIENTS_MAX || evict_idle(largest_user(clients));
}

static enum err start_client(struct client *client)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.ptr = client };

	const struct frontend_state *state = client->frontend->state;
	enum err err = state ? state->open(client, &client->state) : OK;

	if (err)
		return err;
	if (epoll_ctl(client->clients->epoll, EPOLL_CTL_ADD, client->fd, &event) < 0) {
		if (state)
			state->close(client->state);
		return ERR_SYSTEM;
	}
	append_client(client);
	client->clients->count++;
	client->user->connections++;
	return OK;
}

static void discard_clientp(struct client **client)
{
	if (*client)
		peer_release(&(*client)->hold);
	free(*client);
}

void clients_add(struct clients *clients, const struct frontend *frontend, int fd)
{
	CLEANUP(close_newp) int owned = fd;
	CLEANUP(discard_clientp) struct client *client = NULL;

	/* Who comes and goes faster than we look must not cost us the look at who he was. */
	if (clients->stopped || hung_up(fd))
		return;
	free_dead(clients);
	client = calloc(1, sizeof(*client));
	if (!client)
		return;
	client->hold.pidfd = -1;
	if (peer_read(fd, &client->peer, &client->hold))
		return;
	client->clients = clients;
	client->frontend = frontend;
	client->last_end = &client->first;
	client->user = find_user(clients, client->peer.uid);
	if (!client->user)
		return;
	if (!make_room(clients, client->user)) {
		name_user(client->user, "was refused: it has too many");
		drop_user(clients, client->user);
		return;
	}
	client->may_pass = patience_is_needed(owned);
	client->fd = TAKE_FD(owned);
	if (start_client(client)) {
		close_connection(client->fd, client->may_pass);
		drop_user(clients, client->user);
		return;
	}
	(void)TAKE(client);
}

void clients_stop_reading(struct clients *clients)
{
	clients->stopped = true;
	for (struct client *client = first_client(clients->users); client; client = next_client(client))
		wait_on(client);
}

static enum err add_sources(struct clients *clients)
{
	struct epoll_event event = { .events = EPOLLIN };
	sd_event *loop = clients->daemon->event;

	clients->epoll = epoll_create1(EPOLL_CLOEXEC);
	clients->more = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (clients->epoll < 0 || clients->more < 0 ||
	    epoll_ctl(clients->epoll, EPOLL_CTL_ADD, clients->more, &event) < 0 ||
	    sd_event_add_io(loop, &clients->ready, clients->epoll, EPOLLIN, on_ready, clients) < 0 ||
	    sd_event_add_defer(loop, &clients->tidy, on_tidy, clients) < 0 ||
	    sd_event_source_set_enabled(clients->tidy, SD_EVENT_OFF) < 0 ||
	    sd_event_add_defer(loop, &clients->speech, on_speech, clients) < 0 ||
	    sd_event_source_set_enabled(clients->speech, SD_EVENT_OFF) < 0 ||
	    sd_event_add_time(loop, &clients->sweep, CLOCK_MONOTONIC, UINT64_MAX, 0, on_sweep, clients) < 0 ||
	    sd_event_source_set_enabled(clients->sweep, SD_EVENT_OFF) < 0)
		return ERR_SYSTEM;
	return OK;
}

enum err clients_new(struct daemon *daemon, struct clients **ret_clients)
{
	CLEANUP(clients_freep) struct clients *clients = calloc(1, sizeof(*clients));
	size_t largest = 0;
	enum err err;

	if (!clients)
		return ERR_NOMEM;
	clients->daemon = daemon;
	clients->epoll = clients->more = -1;
	for (size_t i = 0; frontends[i]; i++)
		largest = frontends[i]->max_reply > largest ? frontends[i]->max_reply : largest;
	err = buf_new(largest, &clients->reply);
	if (!err)
		err = buf_new_locked(LOCKED_REPLY_MAX, &clients->locked_reply);
	if (!err)
		err = add_sources(clients);
	if (err)
		return err;
	*ret_clients = TAKE(clients);
	return OK;
}

struct clients *clients_free(struct clients *clients)
{
	struct user *user;

	if (!clients)
		return NULL;
	for (struct client *client = first_client(clients->users); client; client = next_client(client))
		end_client(client);
	free_dead(clients);
	while ((user = take_turn(clients)))
		drop_user(clients, user);
	sd_event_source_disable_unref(clients->ready);
	close_fdp(&clients->epoll);
	close_fdp(&clients->more);
	sd_event_source_disable_unref(clients->tidy);
	sd_event_source_disable_unref(clients->speech);
	sd_event_source_disable_unref(clients->sweep);
	buf_free(clients->reply);
	buf_free(clients->locked_reply);
	free(clients);
	return NULL;
}
