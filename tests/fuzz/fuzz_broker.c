/*
 * The broker with hostile clients before it and a hostile helper behind: real front-end, client, policy, keyring, audit and worker, from bytes to bytes. An input is the policy, the world, and whether the client leaves early and helpers may say nothing (1 byte), how the client cuts what it
 * says, or that it waits for each answer (1), the length of what it says (2) and that, for some worlds at which of its times it happens (1), then the helper's answers: how each is made (1 byte), its length (2), the bytes. An answer is an honest one, or the input's: with a right header,
 * with no right header, or the helper's end. When the input is used up the helper is honest. Whatever happens: the client is answered in order with messages that the client's own parser takes, as many as it
 * asked for at most; nothing is under way when it is over, and no secret is left. Time stands still while anything can be done without it, and then goes on to the next deadline of a worker: a busy machine changes nothing, and a
 * minute takes none.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/control.h"
#include "common/file.h"
#include "common/log.h"
#include "tokend/daemon.h"
#include "tests/fake/failing_memory.h"
#include "tokend/frontend/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
void __wrap_log_line(enum log_level level, const char *format, ...);
ssize_t __real_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);
int __real_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now);
int __wrap_sd_event_now(sd_event *event, clockid_t clock, uint64_t *ret_now);
int __wrap_sd_event_add_time(sd_event *event, sd_event_source **ret_source, clockid_t clock, uint64_t at,
                             uint64_t accuracy, sd_event_time_handler_t handler, void *context);
int __wrap_sd_event_source_set_time(sd_event_source *source, uint64_t at);
int __wrap_sd_event_source_set_time_relative(sd_event_source *source, uint64_t wait);
int __real_sd_event_source_set_enabled(sd_event_source *source, int enabled);
int __wrap_sd_event_source_set_enabled(sd_event_source *source, int enabled);

#define TOKENS 2U
#define ROUNDS_MAX 40000U /* of the loop: more would be a request that never ends */
#define WAIT_USEC 1000U
#define RUNS_PER_STATE 2000U /* then the audit log is begun anew, for it grows */
#define ANSWERS_MAX 64U
#define DEADLINE_MS 60000U
#define LEAVES_EARLY 0x40U
#define MAY_SAY_NOTHING 0x80U
#define TIMERS_MAX 16U
#define WAITS 255U /* instead of a cut */

enum { ANSWER_HONEST, ANSWER_FIELDS, ANSWER_PACKET, ANSWER_END, ANSWER_NONE, ANSWER_WAYS };

/* What else is so, beside what is said. Those from WORLD_NO_HELPER on happen once, or from then on. */
enum {
	WORLD_USUAL,
	WORLD_DEVICES, /* the keys' tokens are not there, but others */
	WORLD_OTHERS,
	WORLD_SYSTEM,
	WORLD_NO_HELPER, /* the supervisor does not take the wish for one */
	WORLD_NO_SOCKET, /* it is told that there is none */
	WORLD_BLOCKS, /* the helper's socket takes no message for now */
	WORLD_BREAKS, /* it takes none any more */
	WORLD_MEMORY, /* an allocation fails */
	WORLDS
};

static const char *const uris[TOKENS] = { "tpm:swtpm:path=/one", "tpm:swtpm:path=/two" };
static const char *const other_uris[][TOKENS] = { [WORLD_DEVICES] = { "tpm:device:/dev/tpmrm0",
	                                                              "tpm:tabrmd:" },
	                                          [WORLD_OTHERS] = { "pkcs11:", "tpm:swtpm:path=/two" } };
static const char *const policies[] = {
	"permit unwrap list admin key * user *\n",
	"permit unwrap key sealed user *\npermit list key host user *\n",
	"permit unwrap list key * user * pin\npermit admin key new/* user *\n",
	"deny unwrap key host user *\npermit unwrap list key * user * via age\n",
	"",
};

static char directory[] = "/dev/shm/fuzz_broker.XXXXXX";
static int directory_fd = -1;
static struct keyring *keyring;
static size_t keys_made;
static unsigned runs;
static unsigned world, world_at; /* at which of its times; 0: never */
static struct options options = { .mode = MODE_PRIVATE,
	                          .state_directory = "/state",
	                          .runtime_directory = "/run" };

static void check_at(bool good, int line)
{
	if (good)
		return;
	(void)fprintf(stderr, "fuzz_broker.c:%d does not hold\n", line);
	abort();
}
#define check(good) check_at(good, __LINE__)

void __wrap_log_line(enum log_level level, const char *format, ...)
{
	(void)level;
	check(format[0] != '\0');
}

/* Is this the time at which it happens? */
static bool happens(unsigned what)
{
	return world == what && world_at > 0 && --world_at == 0;
}

/* ---- time ---- */

struct timer {
	sd_event_source *source; /* one that is due as soon as it is on */
	sd_event_time_handler_t handler;
	void *context;
	uint64_t at;
	bool on;
};

static struct timer timers[TIMERS_MAX];
static size_t timer_count;
static uint64_t virtual_now; /* 0: outside of a run the clock is the machine's */
static _Thread_local bool is_loop; /* the audit's thread waits in real time */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret_now)
{
	if (!is_loop || virtual_now == 0 || clock != CLOCK_MONOTONIC)
		return __real_clock_gettime(clock, ret_now);
	*ret_now = (struct timespec){ .tv_sec = (time_t)(virtual_now / 1000000),
		                      .tv_nsec = (long)(virtual_now % 1000000) * 1000 };
	return 0;
}

int __wrap_sd_event_now(sd_event *event, clockid_t clock, uint64_t *ret_now)
{
	(void)event;
	(void)clock;
	*ret_now = virtual_now;
	return 0;
}

static struct timer *find_timer(const sd_event_source *source)
{
	for (size_t i = 0; i < timer_count; i++)
		if (timers[i].source == source)
			return &timers[i];
	return NULL;
}

static int on_due(sd_event_source *source, void *context)
{
	struct timer *timer = context;

	return timer->handler(source, timer->at, timer->context);
}

int __wrap_sd_event_add_time(sd_event *event, sd_event_source **ret_source, clockid_t clock, uint64_t at,
                             uint64_t accuracy, sd_event_time_handler_t handler, void *context)
{
	struct timer *timer = &timers[timer_count++];

	(void)clock;
	(void)accuracy;
	check(timer_count <= TIMERS_MAX);
	*timer = (struct timer){ .handler = handler, .context = context, .at = at };
	check(sd_event_add_defer(event, &timer->source, on_due, timer) >= 0);
	check(__real_sd_event_source_set_enabled(timer->source, SD_EVENT_OFF) >= 0);
	*ret_source = timer->source;
	return 0;
}

int __wrap_sd_event_source_set_time(sd_event_source *source, uint64_t at)
{
	struct timer *timer = find_timer(source);

	check(timer != NULL);
	timer->at = at;
	return 0;
}

int __wrap_sd_event_source_set_time_relative(sd_event_source *source, uint64_t wait)
{
	return __wrap_sd_event_source_set_time(source, virtual_now + wait);
}

int __wrap_sd_event_source_set_enabled(sd_event_source *source, int enabled)
{
	struct timer *timer = find_timer(source);

	if (!timer)
		return __real_sd_event_source_set_enabled(source, enabled);
	timer->on = enabled != SD_EVENT_OFF;
	return 0;
}

static void time_begin(void)
{
	timer_count = 0;
	virtual_now = 1000000;
	is_loop = true;
}

/* Goes on to what a worker waits for. What the disk is given and a client's patience are no matter of what is said. */
static void time_pass(const struct daemon *daemon)
{
	struct timer *next = NULL;

	for (size_t i = 0; i < timer_count; i++)
		for (size_t j = 0; timers[i].on && j < daemon->worker_count; j++)
			if (timers[i].context == daemon->workers[j] && (!next || timers[i].at < next->at))
				next = &timers[i];
	if (!next)
		return;
	virtual_now = next->at > virtual_now ? next->at : virtual_now;
	next->on = false;
	check(__real_sd_event_source_set_enabled(next->source, SD_EVENT_ONESHOT) >= 0);
}

/* ---- the helpers ---- */

struct helper {
	struct worker *worker;
	bool wanted;
	int fd; /* the helper's end; -1: not running */
};

static struct helper helpers[TOKENS];
static struct reader answers;
static size_t answered;
static bool patient;

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
	int type = 0;
	socklen_t size = sizeof(type);

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET &&
	    (happens(WORLD_BLOCKS) || happens(WORLD_BREAKS))) {
		errno = world == WORLD_BLOCKS ? EAGAIN : EPIPE;
		return -1;
	}
	return __real_send(fd, data, len, flags);
}

static bool ask_for_helper(void *context, size_t index)
{
	(void)context;
	if (happens(WORLD_NO_HELPER))
		return false;
	helpers[index].wanted = true;
	return true;
}

static void no_helper(void *context, size_t index)
{
	(void)context;
	helpers[index].wanted = false;
}

static void helper_lost(void *context, struct worker *worker)
{
	(void)context;
	(void)worker;
}

static void helper_end(struct helper *helper)
{
	close_fdp(&helper->fd);
	helper->fd = -1;
}

static bool helper_begin(struct helper *helper)
{
	int pair[2];

	if (!helper->wanted)
		return false;
	helper->wanted = false;
	helper_end(helper);
	if (happens(WORLD_NO_SOCKET)) {
		worker_started(helper->worker, -1);
		return true;
	}
	check(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	helper->fd = pair[0];
	worker_started(helper->worker, pair[1]);
	return true;
}

static enum err put_first_try(const struct token_message *question, struct buf *packet)
{
	static const uint8_t file_key[FILE_KEY_LEN] = "sixteen secrets";
	struct bytes try;
	size_t cursor = 0;
	enum err err;

	if (!token_message_next(question, TOKEN_FIELD_TRY, &cursor, &try))
		return OK;
	err = token_message_put(packet, TOKEN_FIELD_KEY_ID, bytes_of(try.data, KEY_ID_LEN));
	if (!err)
		err = token_message_put(packet, TOKEN_FIELD_INDEX, bytes_of(try.data + KEY_ID_LEN, 2));
	return err ? err : token_message_put(packet, TOKEN_FIELD_FILE_KEY, bytes_of(file_key, FILE_KEY_LEN));
}

static enum err put_made(const struct token_message *question, struct buf *packet)
{
	static const struct token_blob blob = { .parent = 1, .public_area_len = 2, .private_area_len = 2 };
	static const uint8_t public_key[P256_POINT_LEN] = { 0x04, 7 };
	enum key_kind kind = KEY_KIND_P256;
	size_t len = P256_POINT_LEN;
	enum err err = OK;

	(void)!token_message_kind(question, &kind);
	if (kind != KEY_KIND_P256)
		len = X25519_LEN;
	if (kind != KEY_KIND_SYMMETRIC)
		err = token_message_put(packet, TOKEN_FIELD_PUBLIC, bytes_of(public_key, len));
	return err ? err : token_message_put_blob(packet, &blob);
}

static enum err put_honest(const struct token_message *question, struct buf *packet)
{
	static const struct token_status status = { .present = true,
		                                    .simulation = true,
		                                    .pin_tries_left = 3 };
	static const uint8_t box_key[TOKEN_BOX_KEY_LEN] = "the box key";

	switch (question->op) {
	case TOKEN_OP_HELLO:
		return token_message_put(packet, TOKEN_FIELD_BOX_KEY, bytes_of(box_key, sizeof(box_key)));
	case TOKEN_OP_STATUS:
		return token_message_put_status(packet, &status);
	case TOKEN_OP_CREATE:
		return put_made(question, packet);
	case TOKEN_OP_UNWRAP:
		return put_first_try(question, packet);
	case TOKEN_OP_LOAD:
	case TOKEN_OP_UNLOAD:
	case TOKEN_OP_UNLOCK:
	case TOKEN_OP_LOCK:
		break;
	}
	return OK;
}

/* spec: the error (1 byte), and fields as in a message. */
static enum err put_fields(struct bytes spec, struct buf *packet)
{
	struct reader reader = reader_of(spec);
	uint8_t refusal = reader_u8(&reader);
	enum err err = token_message_set_err(packet, (enum err)(refusal % ERR_COUNT));

	return err ? err : buf_put(packet, reader.rest);
}

static void send_answer(struct helper *helper, const struct token_message *question)
{
	CLEANUP(buf_freep) struct buf *packet = NULL;
	bool left = answers.rest.len > 0 && answered++ < ANSWERS_MAX;
	unsigned ways = patient ? ANSWER_NONE : ANSWER_WAYS;
	unsigned way = left ? reader_u8(&answers) % ways : ANSWER_HONEST;
	struct bytes spec = { NULL, 0 };
	enum err err;

	if (way == ANSWER_END) {
		helper_end(helper);
		return;
	}
	if (way == ANSWER_NONE)
		return;
	if (way != ANSWER_HONEST)
		spec = reader_take(&answers, reader_u16(&answers));
	check(buf_new(2 * TOKEN_MESSAGE_MAX, &packet) == OK);
	if (way == ANSWER_PACKET) {
		(void)__real_send(helper->fd, spec.data, spec.len, MSG_NOSIGNAL);
		return;
	}
	err = token_message_begin(packet, question->op, OK, question->id);
	if (!err)
		err = way == ANSWER_HONEST ? put_honest(question, packet) : put_fields(spec, packet);
	if (!err)
		err = token_message_end(packet);
	check(err == OK);
	(void)__real_send(helper->fd, buf_bytes(packet).data, buf_len(packet), MSG_NOSIGNAL);
}

/* Did it do anything? */
static bool helper_step(struct helper *helper)
{
	static uint8_t packet[TOKEN_MESSAGE_MAX];
	struct token_message question;
	unsigned paused;
	ssize_t got;

	if (helper_begin(helper))
		return true;
	if (helper->fd < 0)
		return false;
	got = recv(helper->fd, packet, sizeof(packet), MSG_DONTWAIT);
	if (got <= 0)
		return false;
	paused = failing_memory_pause();
	/* What a broker sends is right, whoever asked it for whatever. */
	check(token_message_parse(bytes_of(packet, (size_t)got), &question) == OK && question.err == OK);
	send_answer(helper, &question);
	failing_memory_resume(paused);
	return true;
}

/* ---- as much of a daemon as a request needs ---- */

int64_t daemon_seconds(const struct daemon *daemon)
{
	(void)daemon;
	return 1000;
}

struct worker *daemon_worker(const struct daemon *daemon, const char *token_uri)
{
	for (size_t i = 0; i < daemon->worker_count; i++)
		if (strcmp(worker_uri(daemon->workers[i]), token_uri) == 0)
			return daemon->workers[i];
	return NULL;
}

void daemon_watch_unlocks(struct daemon *daemon)
{
	(void)daemon;
}

void daemon_request_done(struct daemon *daemon)
{
	check(daemon->in_flight > 0);
	daemon->in_flight--;
}

static void closed(void *context, const struct key_id *key)
{
	(void)context;
	(void)key;
}

static void add_key(const char *name, enum key_kind kind, enum key_class class, uint8_t number, size_t token)
{
	struct key_slot slot = { .blob = { .parent = 1, .public_area_len = 4, .private_area_len = 4 } };
	struct key key = { .kind = kind, .class = class, .created = 1, .slot_count = 1, .slots = { &slot } };

	(void)snprintf(slot.token_uri, sizeof(slot.token_uri), "%s", uris[token]);
	(void)snprintf(key.name, sizeof(key.name), "%s", name);
	memset(key.id.bytes, number, KEY_ID_LEN);
	memset(key.public_key, number, sizeof(key.public_key));
	key.public_key[0] = kind == KEY_KIND_P256 ? 0x04 : number;
	check(keyring_add(keyring, &key) == OK);
}

static void remove_all(int parent, const char *name)
{
	struct stat status;
	CLEANUP(close_fdp) int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *open_directory = fd >= 0 ? fdopendir(dup(fd)) : NULL;

	for (struct dirent *entry; open_directory && (entry = readdir(open_directory));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			remove_all(fd, entry->d_name);
	if (open_directory)
		(void)closedir(open_directory);
	if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0)
		(void)unlinkat(parent, name, S_ISDIR(status.st_mode) ? AT_REMOVEDIR : 0);
}

static void state_end(void)
{
	keyring = keyring_free(keyring);
	if (directory_fd < 0)
		return;
	close_fdp(&directory_fd);
	directory_fd = -1;
	remove_all(AT_FDCWD, directory);
}

/* A directory of its own in memory, with keys of every kind and class. */
static void state_begin(void)
{
	memcpy(directory + strlen(directory) - 6, "XXXXXX", 6);
	check(mkdtemp(directory) != NULL);
	directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(directory_fd >= 0 && keyring_load(directory_fd, NULL, &keyring) == OK);
	add_key("sealed", KEY_KIND_X25519, KEY_CLASS_BOOT, 1, 0);
	add_key("host", KEY_KIND_P256, KEY_CLASS_BOOT, 2, 0);
	add_key("held", KEY_KIND_X25519, KEY_CLASS_SESSION, 3, 1);
	add_key("boss", KEY_KIND_P256, KEY_CLASS_ADMIN, 4, 1);
	add_key("master", KEY_KIND_SYMMETRIC, KEY_CLASS_BOOT, 5, 1);
	keys_made = keyring_count(keyring);
	runs = 0;
}

static void state_ready(void)
{
	static bool ready;

	if (!ready) {
		json_wiping_init();
		check(secret_client_init() == OK && atexit(state_end) == 0);
	}
	ready = true;
	if (keyring && keyring_count(keyring) == keys_made && ++runs < RUNS_PER_STATE)
		return;
	state_end();
	state_begin();
}

/* On a busy machine the thread of the run before may still be at the disk, and the file is its. */
static enum err audit_begin(struct daemon *daemon)
{
	enum err err = ERR_BUSY;

	for (unsigned milliseconds = 0; err == ERR_BUSY && milliseconds < 5000; milliseconds++) {
		err = audit_new(daemon->event, directory_fd, &daemon->audit);
		if (err == ERR_BUSY)
			(void)usleep(1000);
	}
	return err;
}

static void daemon_begin(struct daemon *daemon, const char *policy)
{
	const char *const *served =
	        world == WORLD_DEVICES || world == WORLD_OTHERS ? other_uris[world] : uris;

	time_begin();
	options.mode = world == WORLD_SYSTEM ? MODE_SYSTEM : MODE_PRIVATE;
	*daemon = (struct daemon){ .options = &options, .channel = -1 };
	daemon->config.session_seconds = 900;
	check(sd_event_new(&daemon->event) >= 0);
	check(policy_new(&daemon->policy) == OK);
	check(policy_add(daemon->policy, "fuzz", bytes_of_string(policy), NULL) == OK);
	daemon->keyring = keyring;
	check(audit_begin(daemon) == OK);
	check(unlocks_new(closed, NULL, &daemon->unlocks) == OK);
	check(candidate_cache_new(&daemon->candidates) == OK);
	check(clients_new(daemon, &daemon->clients) == OK);
	for (size_t i = 0; i < TOKENS; i++) {
		const struct worker_settings settings = { i,         served[i],   DEADLINE_MS, ask_for_helper,
			                                  no_helper, helper_lost, daemon };

		helpers[i] = (struct helper){ .fd = -1 };
		check(worker_new(daemon->event, &settings, &helpers[i].worker) == OK);
		daemon->workers[daemon->worker_count++] = helpers[i].worker;
		worker_set_deadline(helpers[i].worker, DEADLINE_MS);
		worker_start(helpers[i].worker);
		(void)helper_begin(&helpers[i]);
	}
}

static void daemon_end(struct daemon *daemon)
{
	virtual_now = 0;
	for (size_t i = 0; i < TOKENS; i++) {
		worker_free(helpers[i].worker);
		helper_end(&helpers[i]);
	}
	audit_free(daemon->audit);
	clients_free(daemon->clients);
	candidate_cache_free(daemon->candidates);
	unlocks_free(daemon->unlocks);
	policy_free(daemon->policy);
	sd_event_unref(daemon->event);
}

/* ---- the client ---- */

struct talk {
	int fd;
	struct bytes left; /* to be said */
	size_t step;
	bool waits;
	struct buf *heard;
	size_t asked, told;
};

static void check_reply(struct bytes text)
{
	CLEANUP(json_decrefp)
	json_t *reply = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);
	const char *error = json_string_member(reply, "error");

	check(json_is_object(reply));
	check(!error || strncmp(error, "org.varlink.service.", 20) == 0 || err_from_varlink(error) != OK);
	check(!json_object_get(json_object_get(reply, "parameters"), "fileKey") || !error);
}

static bool hear(struct talk *talk)
{
	unsigned paused = failing_memory_pause();
	size_t got = 0;
	const uint8_t *end;
	bool any = buf_read_fd(talk->heard, talk->fd, 65536, &got) == OK && got > 0;

	while ((end = memchr(buf_bytes(talk->heard).data, 0, buf_len(talk->heard)))) {
		size_t len = (size_t)(end - buf_bytes(talk->heard).data);

		check_reply(bytes_of(buf_bytes(talk->heard).data, len));
		buf_consume(talk->heard, len + 1);
		check(++talk->told <= talk->asked);
	}
	failing_memory_resume(paused);
	return any;
}

/* One that waits for its answers says one message at a time. */
static size_t how_much(const struct talk *talk)
{
	size_t len = talk->step < talk->left.len ? talk->step : talk->left.len;
	const uint8_t *end = talk->waits && len > 0 ? memchr(talk->left.data, 0, talk->left.len) : NULL;

	if (talk->waits && talk->told < talk->asked)
		return 0;
	return end ? (size_t)(end - talk->left.data) + 1 : len;
}

static bool say(struct talk *talk)
{
	size_t len = how_much(talk);
	ssize_t sent = len > 0 ? send(talk->fd, talk->left.data, len, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;

	if (sent <= 0)
		return false;
	for (ssize_t i = 0; i < sent; i++)
		talk->asked += talk->left.data[i] == 0;
	talk->left = bytes_of(talk->left.data + sent, talk->left.len - (size_t)sent);
	return true;
}

static bool somebody_waits(const struct daemon *daemon)
{
	for (size_t i = 0; i < daemon->worker_count; i++)
		if (worker_in_flight(daemon->workers[i]) > 0)
			return true;
	return false;
}

/* Until nothing is left to be done. The audit's thread is waited for; nothing else takes time. */
static void run(struct daemon *daemon, struct talk *talk)
{
	for (unsigned round = 0;; round++) {
		bool busy = talk && say(talk);

		check(round < ROUNDS_MAX);
		busy |= sd_event_run(daemon->event, 0) > 0;
		for (size_t i = 0; i < TOKENS; i++)
			busy |= helper_step(&helpers[i]);
		busy |= talk && hear(talk);
		if (!busy && daemon->in_flight == 0)
			return;
		if (!busy && somebody_waits(daemon))
			time_pass(daemon);
		else if (!busy)
			(void)sd_event_run(daemon->event, WAIT_USEC);
	}
}

static void converse(struct daemon *daemon, struct bytes said, uint8_t cut, bool leaves_early)
{
	struct talk talk = { .left = said, .step = cut ? (size_t)cut * 16U : said.len + 1 };
	int pair[2];

	talk.waits = cut == WAITS;
	check(buf_new(control_frontend.max_reply, &talk.heard) == OK);
	check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	talk.fd = pair[0];
	failing_memory_begin(world == WORLD_MEMORY ? world_at : 0);
	clients_add(daemon->clients, &control_frontend, pair[1]);
	if (leaves_early) {
		(void)say(&talk);
		(void)sd_event_run(daemon->event, 0);
		(void)sd_event_run(daemon->event, 0);
	} else {
		run(daemon, &talk);
	}
	buf_free(talk.heard);
	(void)close(talk.fd);
	run(daemon, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reader input = reader_of(bytes_of(data, len));
	uint8_t how = reader_u8(&input), cut = reader_u8(&input);
	const unsigned policy_count = sizeof(policies) / sizeof(policies[0]);
	const char *policy = policies[how % LEAVES_EARLY % policy_count];
	struct bytes said = reader_take(&input, reader_u16(&input));
	struct daemon daemon;
	size_t live;

	world = how % LEAVES_EARLY / policy_count % WORLDS;
	world_at = world >= WORLD_NO_HELPER ? reader_u8(&input) : 0;
	if (input.failed)
		return 0;
	state_ready();
	live = secret_stats().live;
	answers = input;
	answered = 0;
	patient = !(how & MAY_SAY_NOTHING);
	daemon_begin(&daemon, policy);
	run(&daemon, NULL);
	converse(&daemon, said, cut, how & LEAVES_EARLY);
	(void)failing_memory_end();
	check(daemon.in_flight == 0);
	daemon_end(&daemon);
	check(secret_stats().live == live);
	return 0;
}
