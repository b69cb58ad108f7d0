#include "tokend/worker.h"

#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "common/log.h"
#include "common/secret.h"
#include "tokend/keyring.h"

#define USEC_PER_MS 1000U
#define USEC_PER_SECOND 1000000U
#define START_DEADLINE_USEC (20U * USEC_PER_SECOND)
#define BACKOFF_FIRST_USEC (250U * USEC_PER_MS)
#define BACKOFF_MAX_USEC (1U * USEC_PER_SECOND) /* a start costs milliseconds, and who asks waits for it */
#define STABLE_USEC (10U * USEC_PER_SECOND) /* a helper that lived this long did not die of its start */
#define LOADED_MAX 16384U /* keys given to one helper; below its own limit */
#define LOADED_BUCKETS (2U * LOADED_MAX)
#define ANSWERS_AT_ONCE 8U
#define SERVED_KEPT 16U /* owners whose last turn is known */

enum worker_state {
	WORKER_DOWN, /* none, and none asked for; what is asked meanwhile waits for the end of the back-off */
	WORKER_STARTING, /* asked for */
	WORKER_UP,
	WORKER_ENDED, /* nothing is taken in any more */
};

/* What needs the device waits for its turn at the device, and what does not for nothing but its own kind. */
enum { LANE_DEVICE, LANE_SEALED, LANE_COUNT };

struct lane {
	size_t cost; /* the work on its way that it may be */
	uint64_t serves;
	struct {
		uint64_t owner, at; /* at: the number of the serve */
	} served[SERVED_KEPT];
};

/* A message of the worker's own: HELLO, LOAD, UNLOAD. */
struct own_call {
	struct worker_call call;
	struct worker *worker;
	const struct key *key;
};

struct worker {
	sd_event *event; /* borrowed */
	struct worker_settings settings;
	enum worker_state state;
	int fd;
	sd_event_source *io;
	sd_event_source *timer;
	bool timer_on;
	uint64_t timer_at;
	bool write_blocked;
	bool cut; /* nothing goes out to it any more */
	bool pumping;
	uint64_t started_at;
	unsigned starts; /* asked for and not answered: only the last one's helper lives */
	uint64_t head_since; /* when the first of sent became the first, or when the start was asked for */
	uint64_t not_before; /* back-off after a death */
	uint64_t backoff;
	uint32_t next_id;
	struct worker_call *sent, **sent_end;
	size_t sent_count;
	struct lane lanes[LANE_COUNT];
	struct worker_call *waiting; /* sorted by order */
	size_t waiting_count;
	bool box_key_known;
	uint8_t box_key[TOKEN_BOX_KEY_LEN];
	struct buf *packet; /* what goes out; nothing in it is secret: PINs are sealed */
	struct buf *answer; /* locked: what comes in may be a file key */
	uint16_t *loaded; /* hash table over loaded_keys: index + 1; 0: free */
	const struct key **loaded_keys;
	size_t loaded_count;
};

static uint64_t now_usec(const struct worker *worker)
{
	uint64_t now = 0;

	(void)sd_event_now(worker->event, CLOCK_MONOTONIC, &now);
	return now;
}

/* ---- the keys the helper has ---- */

/* Ids are random, so any part of one is a hash. */
static size_t loaded_bucket(const struct key *key)
{
	uint32_t hash;

	memcpy(&hash, key->id.bytes, sizeof(hash));
	return hash % LOADED_BUCKETS;
}

static bool is_loaded(const struct worker *worker, const struct key *key)
{
	size_t bucket = loaded_bucket(key);

	if (!worker->loaded)
		return false;
	for (; worker->loaded[bucket]; bucket = (bucket + 1) % LOADED_BUCKETS)
		if (worker->loaded_keys[worker->loaded[bucket] - 1] == key)
			return true;
	return false;
}

static enum err make_loaded_table(struct worker *worker)
{
	if (worker->loaded)
		return OK;
	worker->loaded = calloc(LOADED_BUCKETS, sizeof(*worker->loaded));
	worker->loaded_keys = calloc(LOADED_MAX, sizeof(const struct key *));
	return worker->loaded && worker->loaded_keys ? OK : ERR_NOMEM;
}

static void forget_loaded(struct worker *worker)
{
	free(worker->loaded);
	free(worker->loaded_keys);
	worker->loaded = NULL;
	worker->loaded_keys = NULL;
	worker->loaded_count = 0;
}

static void mark_loaded(struct worker *worker, const struct key *key)
{
	size_t bucket = loaded_bucket(key);

	worker->loaded_keys[worker->loaded_count++] = key;
	while (worker->loaded[bucket])
		bucket = (bucket + 1) % LOADED_BUCKETS;
	worker->loaded[bucket] = (uint16_t)worker->loaded_count;
}

/* Its place stays taken, until all are given back; it is found no more. */
static void unmark_loaded(const struct worker *worker, const struct key *key)
{
	for (size_t i = 0; i < worker->loaded_count; i++)
		if (worker->loaded_keys[i] == key)
			worker->loaded_keys[i] = NULL;
}

/* ---- what happens to calls ---- */

static unsigned cost_of(const struct worker_call *call)
{
	return call->cost ? call->cost : WORKER_COST_DEVICE;
}

static unsigned lane_of(const struct worker_call *call)
{
	return call->without_device ? LANE_SEALED : LANE_DEVICE;
}

static void nothing_sent(struct worker *worker)
{
	worker->sent = NULL;
	worker->sent_end = &worker->sent;
	worker->sent_count = 0;
	for (size_t i = 0; i < LANE_COUNT; i++)
		worker->lanes[i].cost = 0;
}

static void finish(struct worker_call *call, enum err err)
{
	call->next = NULL;
	call->done(call, err, NULL);
}

/* The one that id answers. Mostly it is the first; but what needs no device comes back before what does. */
static struct worker_call **find_sent(struct worker *worker, uint32_t id)
{
	struct worker_call **at = &worker->sent;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static struct worker_call *take_sent(struct worker *worker, struct worker_call **at)
{
	struct worker_call *call = *at;

	*at = call->next;
	if (!*at)
		worker->sent_end = at;
	worker->sent_count--;
	worker->lanes[lane_of(call)].cost -= cost_of(call);
	call->next = NULL;
	return call;
}

static void insert_waiting(struct worker *worker, struct worker_call *call)
{
	struct worker_call **at = &worker->waiting;

	while (*at && (*at)->order <= call->order)
		at = &(*at)->next;
	call->next = *at;
	*at = call;
	worker->waiting_count++;
}

static void fail_all(struct worker *worker, enum err err)
{
	struct worker_call *failed;

	*worker->sent_end = worker->waiting;
	failed = worker->sent;
	worker->waiting = NULL;
	worker->waiting_count = 0;
	nothing_sent(worker);
	while (failed) {
		struct worker_call *next = failed->next;

		finish(failed, err);
		failed = next;
	}
}

/* The helper died: who asked for something that may be asked twice gets a second chance, at the head of the queue in the old order. */
static void requeue_sent(struct worker *worker)
{
	struct worker_call *call = worker->sent;

	nothing_sent(worker);
	while (call) {
		struct worker_call *next = call->next;

		if (call->once || call->asked_again) {
			finish(call, ERR_NO_TOKEN);
		} else {
			call->asked_again = true;
			insert_waiting(worker, call);
		}
		call = next;
	}
}

/* ---- the helper's life ---- */

static void disconnect(struct worker *worker)
{
	bool was_up = worker->state == WORKER_UP;

	worker->io = sd_event_source_disable_unref(worker->io);
	close_fdp(&worker->fd);
	worker->fd = -1;
	worker->state = WORKER_DOWN;
	worker->write_blocked = worker->cut = false;
	worker->box_key_known = false;
	forget_loaded(worker);
	if (was_up)
		worker->settings.lost(worker->settings.context, worker);
}

/* At at, or earlier if it is set for earlier: what it finds when it rings decides, so it need not be moved with every call. */
static void arm_timer(struct worker *worker, uint64_t at)
{
	if (worker->timer_on && worker->timer_at <= at)
		return;
	worker->timer_on = sd_event_source_set_time(worker->timer, at) >= 0 &&
	                   sd_event_source_set_enabled(worker->timer, SD_EVENT_ONESHOT) >= 0;
	worker->timer_at = at;
}

static void ask_for_helper(struct worker *worker)
{
	worker->head_since = now_usec(worker);
	if (!worker->settings.start(worker->settings.context, worker->settings.index)) {
		worker->not_before = worker->head_since + BACKOFF_FIRST_USEC;
		arm_timer(worker, worker->not_before);
		return;
	}
	worker->state = WORKER_STARTING;
	worker->starts++;
	arm_timer(worker, worker->head_since + START_DEADLINE_USEC);
}

/* The next one, as soon as it may be. */
static void start_when_due(struct worker *worker)
{
	if (now_usec(worker) >= worker->not_before)
		ask_for_helper(worker);
	else
		arm_timer(worker, worker->not_before);
}

/* Those who were told may have asked again, and so for a helper. */
static void start_next(struct worker *worker, bool at_once)
{
	if (worker->state == WORKER_DOWN && (at_once || worker->waiting))
		start_when_due(worker);
}

/* How long the next one has to wait: not at all after the first end, and then longer each time. What is left of the last one, which may be anything but good, is ended meanwhile. */
static uint64_t back_off(struct worker *worker)
{
	uint64_t now = now_usec(worker), wait;

	if (now - worker->started_at > STABLE_USEC)
		worker->backoff = 0;
	wait = worker->backoff;
	worker->not_before = now + wait;
	worker->backoff = wait == 0                     ? BACKOFF_FIRST_USEC
	                  : wait * 2 > BACKOFF_MAX_USEC ? BACKOFF_MAX_USEC
	                                                : wait * 2;
	if (wait > 0)
		worker->settings.end(worker->settings.context, worker->settings.index);
	return wait;
}

/*
 * The first death is answered with a new helper at once. One that keeps dying is started anew after a while that grows, and only if somebody asks for it; who asked already waits for that, but
 * not for one that cannot even start, nor for one that has died so often.
 */
static void after_death(struct worker *worker, bool greeted)
{
	uint64_t wait = back_off(worker);

	if (wait > 0 && (!greeted || wait == BACKOFF_MAX_USEC))
		fail_all(worker, ERR_NO_TOKEN);
	start_next(worker, wait == 0);
}

static void helper_died(struct worker *worker)
{
	bool greeted = worker->box_key_known;

	log_warning("the helper of %s has ended", worker->settings.uri);
	disconnect(worker);
	requeue_sent(worker);
	after_death(worker, greeted);
}

/* It hangs, which takes its time: everything that was asked of it fails, and a new one is started, which ends this one. */
static void give_up(struct worker *worker)
{
	disconnect(worker);
	fail_all(worker, ERR_TIMEOUT);
	worker->started_at = now_usec(worker);
	if (worker->state == WORKER_DOWN)
		ask_for_helper(worker);
}

/* It answers nonsense, which takes no time at all: so the next one may have to wait. */
void worker_restart(struct worker *worker)
{
	uint64_t wait;

	disconnect(worker);
	wait = back_off(worker);
	fail_all(worker, ERR_TOKEN);
	start_next(worker, wait == 0);
}

static unsigned deadline_ms(const struct worker *worker, const struct worker_call *call)
{
	const unsigned longest = worker->settings.deadline_ms;

	return call->deadline_ms && call->deadline_ms < longest ? call->deadline_ms : longest;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *context)
{
	struct worker *worker = context;
	uint64_t now = now_usec(worker);
	uint64_t due;

	(void)source;
	(void)usec;
	worker->timer_on = false;
	if (worker->state == WORKER_DOWN && worker->waiting) {
		start_when_due(worker);
		return 0;
	}
	if (worker->cut) {
		helper_died(worker);
		return 0;
	}
	if (worker->state == WORKER_STARTING)
		due = worker->head_since + START_DEADLINE_USEC;
	else if (worker->sent)
		due = worker->head_since + (uint64_t)deadline_ms(worker, worker->sent) * USEC_PER_MS;
	else
		return 0;
	if (now < due) {
		arm_timer(worker, due);
		return 0;
	}
	log_warning("%s did not answer in time; its helper is started anew", worker->settings.uri);
	give_up(worker);
	return 0;
}

/* ---- sending ---- */

static void watch_writable(struct worker *worker, bool on)
{
	worker->write_blocked = on;
	(void)sd_event_source_set_io_events(worker->io, on ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void append_sent(struct worker *worker, struct worker_call *call)
{
	uint64_t now = now_usec(worker);

	call->next = NULL;
	*worker->sent_end = call;
	worker->sent_end = &call->next;
	worker->sent_count++;
	worker->lanes[lane_of(call)].cost += cost_of(call);
	if (worker->sent == call)
		worker->head_since = now;
	arm_timer(worker, now + (uint64_t)deadline_ms(worker, call) * USEC_PER_MS);
}

static enum err send_call(struct worker *worker, struct worker_call *call)
{
	struct bytes packet;
	enum err err = token_message_begin(worker->packet, call->op, OK, worker->next_id);

	if (!err && call->build)
		err = call->build(call, worker->packet);
	if (!err)
		err = token_message_end(worker->packet);
	if (err)
		return err == ERR_AGAIN ? ERR_BUG : err;
	packet = buf_bytes(worker->packet);
	if (send(worker->fd, packet.data, packet.len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? ERR_AGAIN : ERR_NO_TOKEN;
	call->id = worker->next_id++;
	append_sent(worker, call);
	return OK;
}

static void own_done(struct worker_call *call, enum err err, const struct token_message *message)
{
	struct own_call *own = (struct own_call *)call;

	(void)message;
	if (err && err != ERR_NO_TOKEN)
		log_warning("%s: the helper refused %s: %s", own->worker->settings.uri,
		            call->op == TOKEN_OP_LOAD ? own->key->name : "a message", err_info(err)->text);
	/* That passes, and then the key is to be had. */
	if (err == ERR_NOMEM && call->op == TOKEN_OP_LOAD)
		unmark_loaded(own->worker, own->key);
	free(own);
}

static const struct key_slot *slot_of(const struct worker *worker, const struct key *key)
{
	for (size_t i = 0; i < key->slot_count; i++)
		if (strcmp(key->slots[i]->token_uri, worker->settings.uri) == 0)
			return key->slots[i];
	return NULL;
}

static enum err build_load(struct worker_call *call, struct buf *packet)
{
	const struct own_call *own = (const struct own_call *)call;
	const struct key *key = own->key;
	const struct key_slot *slot = slot_of(own->worker, key);
	enum err err = slot ? OK : ERR_BUG;

	if (!err)
		err = token_message_put(packet, TOKEN_FIELD_KEY_ID, bytes_of(key->id.bytes, KEY_ID_LEN));
	if (!err)
		err = token_message_put_u8(packet, TOKEN_FIELD_KIND, (uint8_t)key->kind);
	if (!err)
		err = token_message_put_u8(packet, TOKEN_FIELD_CLASS, (uint8_t)key->class);
	if (!err)
		err = token_message_put_blob(packet, &slot->blob);
	if (!err && key->kind != KEY_KIND_SYMMETRIC)
		err = token_message_put(
		        packet, TOKEN_FIELD_PUBLIC,
		        bytes_of(key->public_key, key->kind == KEY_KIND_P256 ? P256_POINT_LEN : X25519_LEN));
	return err;
}

static enum err build_key_id(struct worker_call *call, struct buf *packet)
{
	const struct own_call *own = (const struct own_call *)call;

	return token_message_put(packet, TOKEN_FIELD_KEY_ID, bytes_of(own->key->id.bytes, KEY_ID_LEN));
}

static void hello_done(struct worker_call *call, enum err err, const struct token_message *message)
{
	struct own_call *own = (struct own_call *)call;
	struct worker *worker = own->worker;
	struct bytes key;

	free(own);
	if (err || !message || !token_message_find(message, TOKEN_FIELD_BOX_KEY, &key))
		return;
	memcpy(worker->box_key, key.data, TOKEN_BOX_KEY_LEN);
	worker->box_key_known = true;
}

static enum err send_own(struct worker *worker, enum token_op op, const struct key *key)
{
	struct own_call *own = calloc(1, sizeof(*own));
	enum err err;

	if (!own)
		return ERR_NOMEM;
	own->worker = worker;
	own->key = key;
	own->call.op = op;
	own->call.once = true;
	own->call.build = op == TOKEN_OP_LOAD ? build_load : op == TOKEN_OP_HELLO ? NULL : build_key_id;
	own->call.done = op == TOKEN_OP_HELLO ? hello_done : own_done;
	err = send_call(worker, &own->call);
	if (err)
		free(own);
	return err;
}

/* A helper holds many keys, but not any number of them: the table starts anew when it is full, and the helper forgets what it had. */
static enum err make_room(struct worker *worker)
{
	enum err err = OK;

	while (!err && worker->loaded_count > 0) {
		const struct key *last = worker->loaded_keys[worker->loaded_count - 1];

		err = last ? send_own(worker, TOKEN_OP_UNLOAD, last) : OK;
		if (!err)
			worker->loaded_count--;
	}
	if (!err)
		memset(worker->loaded, 0, LOADED_BUCKETS * sizeof(*worker->loaded));
	return err;
}

/* Gives the helper the keys of call that it does not have yet. */
static enum err load_keys(struct worker *worker, const struct worker_call *call)
{
	enum err err = call->key ? make_loaded_table(worker) : OK;
	const struct key *key;
	size_t cursor = 0;

	while (!err && call->key && (key = call->key(call, &cursor))) {
		if (is_loaded(worker, key))
			continue;
		if (worker->loaded_count >= LOADED_MAX)
			err = make_room(worker);
		if (!err)
			err = send_own(worker, TOKEN_OP_LOAD, key);
		if (!err)
			mark_loaded(worker, key);
	}
	return err;
}

/* ---- whose turn it is ---- */

/* When owner was last served, in calls; 0: not lately. */
static uint64_t last_served(const struct lane *lane, uint64_t owner)
{
	for (size_t i = 0; i < SERVED_KEPT; i++)
		if (lane->served[i].owner == owner)
			return lane->served[i].at;
	return 0;
}

/* In the place of what is known of owner, else of whoever was served longest ago: not to be there comes to the same. */
static void note_served(struct lane *lane, uint64_t owner)
{
	size_t oldest = 0;

	for (size_t i = 0; i < SERVED_KEPT; i++) {
		if (lane->served[i].owner == owner) {
			oldest = i;
			break;
		}
		if (lane->served[i].at < lane->served[oldest].at)
			oldest = i;
	}
	lane->served[oldest].owner = owner;
	lane->served[oldest].at = ++lane->serves;
}

/* The first in order of the owner who was served longest ago. The broker's own wait for nobody. */
static struct worker_call **find_next(struct worker *worker, unsigned lane)
{
	struct worker_call **found = NULL;
	uint64_t found_at = UINT64_MAX, looked_at = 0;

	for (struct worker_call **at = &worker->waiting; *at && found_at > 0; at = &(*at)->next) {
		uint64_t owner = (*at)->owner;
		uint64_t served;

		if (lane_of(*at) != lane || (owner != 0 && owner == looked_at))
			continue;
		if (owner == 0)
			return at;
		looked_at = owner;
		served = last_served(&worker->lanes[lane], owner);
		if (served < found_at) {
			found = at;
			found_at = served;
		}
	}
	return found;
}

/* The one whose turn it is in this lane, if there is room for what it costs. One that costs more than there ever is room for goes alone. */
static struct worker_call **take_turn_in(struct worker *worker, unsigned lane)
{
	const size_t cost = worker->lanes[lane].cost;
	struct worker_call **at = cost < WORKER_SENT_MAX ? find_next(worker, lane) : NULL;

	return at && (cost == 0 || cost + cost_of(*at) <= WORKER_SENT_MAX) ? at : NULL;
}

static struct worker_call **take_turn(struct worker *worker)
{
	struct worker_call **at = NULL;

	if (worker->state != WORKER_UP || worker->write_blocked || worker->cut)
		return NULL;
	for (unsigned lane = 0; !at && worker->waiting && lane < LANE_COUNT; lane++)
		at = take_turn_in(worker, lane);
	return at;
}

static void pump(struct worker *worker)
{
	struct worker_call **at;

	/* A call that fails at once may submit another from inside its done; that one is taken by the loop that already runs. */
	if (worker->pumping)
		return;
	worker->pumping = true;
	while ((at = take_turn(worker))) {
		struct worker_call *call = *at;
		enum err err = load_keys(worker, call);

		if (!err) {
			struct worker_call *next = call->next;

			err = send_call(worker, call);
			if (!err) {
				*at = next;
				note_served(&worker->lanes[lane_of(call)], call->owner);
				worker->waiting_count--;
				continue;
			}
		}
		if (err == ERR_AGAIN) {
			watch_writable(worker, true);
			break;
		}
		if (err == ERR_NO_TOKEN) {
			/* Not from inside of somebody's call. If the socket has ended, on_helper finds out as well. */
			worker->cut = true;
			arm_timer(worker, now_usec(worker));
			break;
		}
		*at = call->next;
		worker->waiting_count--;
		finish(call, err);
	}
	worker->pumping = false;
}

void worker_submit(struct worker *worker, struct worker_call *call)
{
	call->asked_again = false;
	if (worker->state == WORKER_ENDED) {
		finish(call, ERR_NO_DAEMON);
		return;
	}
	if (worker->state == WORKER_DOWN)
		start_when_due(worker);
	/* The broker's own is no more than keys are open; and were it lost, a key that was locked would stay open in the helper. */
	if (call->owner != 0 && worker->waiting_count >= WORKER_WAITING_MAX) {
		finish(call, ERR_BUSY);
		return;
	}
	insert_waiting(worker, call);
	pump(worker);
}

size_t worker_in_flight(const struct worker *worker)
{
	return worker->sent_count + worker->waiting_count;
}

void worker_withdraw(struct worker *worker, struct worker_call *call)
{
	struct worker_call **at = &worker->waiting;

	while (*at && *at != call)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = call->next;
	worker->waiting_count--;
	finish(call, ERR_BUSY);
}

/* ---- receiving ---- */

static void new_head(struct worker *worker)
{
	worker->head_since = now_usec(worker);
	arm_timer(worker, worker->head_since + (uint64_t)deadline_ms(worker, worker->sent) * USEC_PER_MS);
}

/* ERR_TOKEN: that was not the answer to a question that is due. */
static enum err take_answer(struct worker *worker, size_t len)
{
	struct token_message message;
	struct worker_call *const head = worker->sent;
	struct bytes packet = buf_bytes(worker->answer);
	struct worker_call **at, *call;

	if (len > TOKEN_MESSAGE_MAX || token_message_parse(packet, &message))
		return ERR_TOKEN;
	at = find_sent(worker, message.id);
	if (!*at || message.op != (*at)->op)
		return ERR_TOKEN;
	call = take_sent(worker, at);
	if (call == head && worker->sent)
		new_head(worker);
	call->done(call, message.err, &message);
	return OK;
}

static enum err receive_one(struct worker *worker)
{
	uint8_t *space;
	ssize_t got;
	enum err err;

	buf_clear(worker->answer);
	err = buf_reserve(worker->answer, TOKEN_MESSAGE_MAX, &space);
	if (err)
		return err;
	got = recv(worker->fd, space, TOKEN_MESSAGE_MAX, MSG_DONTWAIT | MSG_TRUNC);
	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? ERR_AGAIN : ERR_NO_TOKEN;
	if (got == 0)
		return ERR_NO_TOKEN;
	buf_commit(worker->answer, (size_t)got > TOKEN_MESSAGE_MAX ? TOKEN_MESSAGE_MAX : (size_t)got);
	err = take_answer(worker, (size_t)got);
	/* Only as long as somebody needs it: it may have been a file key. */
	buf_clear(worker->answer);
	return err;
}

static int on_helper(sd_event_source *source, int fd, uint32_t events, void *context)
{
	struct worker *worker = context;
	enum err err = OK;

	(void)source;
	(void)fd;
	if (worker->write_blocked && (events & EPOLLOUT))
		watch_writable(worker, false);
	/*
	 * No look for an answer that nothing is due for: that would be a call into the kernel for each. But one look there is, for the end of the socket shows there. And not all there are: a
	 * helper that is asked anew from inside of this may answer as fast as we read, and others wait meanwhile.
	 */
	for (unsigned i = 0; i < ANSWERS_AT_ONCE && !err && worker->state == WORKER_UP; i++)
		err = i == 0 || worker->sent ? receive_one(worker) : ERR_AGAIN;
	if (worker->state != WORKER_UP)
		return 0;
	if (err == ERR_NO_TOKEN) {
		helper_died(worker);
	} else if (err && err != ERR_AGAIN) {
		log_warning("%s: the helper's answer makes no sense; it is started anew (after an update of "
		            "tokend: systemctl restart tokend)",
		            worker->settings.uri);
		worker_restart(worker);
	}
	pump(worker);
	return 0;
}

void worker_started(struct worker *worker, int fd)
{
	if (worker->starts > 0)
		worker->starts--;
	/* The answer to an older wish: that helper has been ended again. */
	if (worker->state != WORKER_STARTING || worker->starts > 0) {
		close_fdp(&fd);
		return;
	}
	worker->started_at = now_usec(worker);
	worker->fd = fd;
	worker->state = WORKER_UP;
	if (fd < 0 || sd_event_add_io(worker->event, &worker->io, fd, EPOLLIN, on_helper, worker) < 0 ||
	    send_own(worker, TOKEN_OP_HELLO, NULL)) {
		helper_died(worker);
		return;
	}
	pump(worker);
}

/* ---- making and ending ---- */

enum err worker_new(sd_event *event, const struct worker_settings *settings, struct worker **ret_worker)
{
	CLEANUP(worker_freep) struct worker *worker = calloc(1, sizeof(*worker));
	enum err err;

	if (!worker)
		return ERR_NOMEM;
	worker->event = event;
	worker->settings = *settings;
	worker->fd = -1;
	worker->sent_end = &worker->sent;
	worker->next_id = 1;
	err = buf_new(TOKEN_MESSAGE_MAX, &worker->packet);
	if (!err)
		err = buf_new_locked(TOKEN_MESSAGE_MAX, &worker->answer);
	if (err)
		return err;
	if (sd_event_add_time(event, &worker->timer, CLOCK_MONOTONIC, UINT64_MAX, 0, on_timer, worker) < 0 ||
	    sd_event_source_set_enabled(worker->timer, SD_EVENT_OFF) < 0)
		return ERR_SYSTEM;
	*ret_worker = TAKE(worker);
	return OK;
}

void worker_end(struct worker *worker)
{
	worker->state = WORKER_ENDED;
	fail_all(worker, ERR_NO_DAEMON);
}

struct worker *worker_free(struct worker *worker)
{
	if (!worker)
		return NULL;
	worker_end(worker);
	sd_event_source_disable_unref(worker->io);
	sd_event_source_disable_unref(worker->timer);
	close_fdp(&worker->fd);
	forget_loaded(worker);
	buf_free(worker->packet);
	buf_free(worker->answer);
	free(worker);
	return NULL;
}

void worker_start(struct worker *worker)
{
	if (worker->state == WORKER_DOWN)
		ask_for_helper(worker);
}

const char *worker_uri(const struct worker *worker)
{
	return worker->settings.uri;
}

bool worker_running(const struct worker *worker)
{
	return worker->state != WORKER_DOWN;
}

const uint8_t *worker_box_key(const struct worker *worker)
{
	return worker->box_key_known ? worker->box_key : NULL;
}

void worker_set_deadline(struct worker *worker, unsigned deadline_ms)
{
	worker->settings.deadline_ms = deadline_ms;
}
