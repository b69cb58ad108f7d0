/*
 * A hostile daemon, as the clients hear it: the input is how the client asks (1 byte), what the world does to the connection (1 byte), and all that the daemon will ever say. Calls are made as the command line and the plugin make them, on a real socket,
 * and what they make of the answers is put into tables and sentences. A file key that comes out has its length, and an error has a sentence.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/daemon.h"
#include "cli/facts.h"
#include "cli/plugin_daemon.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int __real_connect(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len);
int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __real_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);

enum {
	KEYS,
	ONE_KEY,
	TOKENS,
	STATUS,
	UNWRAP,
	UNWRAP_KEY,
	PLUGIN_UNWRAP,
	PLUGIN_LOCKED,
	PLUGIN_RECIPIENT,
	WAYS
};

/* What the world does: nothing, or one of these. */
enum {
	WORLD_STRANGER = 1,
	WORLD_SILENT,
	WORLD_INTERRUPTS,
	WORLD_ENDS,
	WORLD_HANGS_UP,
	WORLD_REFUSES,
	WORLDS = 16
};

static int listener = -1;
static unsigned world;

static void check(bool good)
{
	if (!good)
		abort();
}

static const int refusals[] = { ENOENT, ECONNREFUSED, EACCES, EPERM, EAGAIN, ENOTDIR, ENFILE };

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len)
{
	if (world < WORLD_REFUSES)
		return __real_connect(fd, address, len);
	errno = refusals[(world - WORLD_REFUSES) % (sizeof(refusals) / sizeof(refusals[0]))];
	return -1;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	int result = __real_getsockopt(fd, level, name, value, len);

	if (result == 0 && name == SO_PEERCRED && world == WORLD_STRANGER)
		((struct ucred *)value)->uid = geteuid() + 1;
	return result;
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	if (world == WORLD_SILENT)
		return 0;
	if (world == WORLD_INTERRUPTS) {
		world = 0;
		errno = EINTR;
		return -1;
	}
	return __real_poll(fds, count, timeout);
}

static void init_once(void)
{
	static char directory[64];
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (listener >= 0)
		return;
	json_wiping_init();
	check(secret_client_init() == OK);
	(void)snprintf(directory, sizeof(directory), "/tmp/fuzz_daemon_reply.XXXXXX");
	check(mkdtemp(directory) && setenv("TOKEND_RUNTIME_DIR", directory, 1) == 0);
	control_path(address.sun_path, sizeof(address.sun_path));
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	check(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
	check(listen(listener, 4) == 0);
}

static void remove_socket(void)
{
	char path[108];

	control_path(path, sizeof(path));
	(void)unlink(path);
	(void)rmdir(getenv("TOKEND_RUNTIME_DIR"));
}

/* A connection on whose other end everything has been said. Returns that end; -1 when there is none. */
static int connect_daemon(struct daemon *daemon, struct bytes said)
{
	uid_t stranger;
	int fd, room = 4 << 20;

	/* Then the call connects by itself, or fails to. */
	if (world == WORLD_STRANGER || world >= WORLD_REFUSES)
		return -1;
	check(control_connect(&daemon->control, &stranger) == OK);
	fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	check(fd >= 0);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	(void)send(fd, said.data, said.len, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (world == WORLD_ENDS)
		close_fdp(&fd);
	else
		(void)shutdown(fd, world == WORLD_HANGS_UP ? SHUT_RDWR : SHUT_WR);
	return world == WORLD_ENDS ? -1 : fd;
}

/* What was left in the queue by a client that did not like who listens. */
static void forget_connections(void)
{
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
		(void)close(fd);
}

/* ---- what the command line does ---- */

static void show_keys(struct daemon *daemon, const char *name, struct problem *problem)
{
	CLEANUP(json_decrefp) json_t *keys = NULL;
	CLEANUP(json_decrefp) json_t *tokens = NULL;
	CLEANUP(table_freep) struct table *table = NULL;
	enum err err = keys_get(daemon, name, problem, &keys);

	check((err == OK) == json_is_array(keys) && (!err || problem_text(problem, err)[0]));
	if (err)
		return;
	check(!name || json_array_size(keys) == 1);
	(void)!tokens_get(daemon, problem, &tokens);
	for (size_t i = 0; i < json_array_size(keys); i++) {
		(void)daemon_box_key_for(tokens, json_array_get(keys, i));
		(void)key_has_pin(json_array_get(keys, i));
	}
	if (keys_table(keys, tokens, &table) == OK)
		table_print(table, stdout);
}

static void show_tokens(struct daemon *daemon, struct problem *problem)
{
	CLEANUP(json_decrefp) json_t *tokens = NULL;
	CLEANUP(table_freep) struct table *table = NULL;
	enum err err = tokens_get(daemon, problem, &tokens);

	check(!err || problem_text(problem, err)[0]);
	if (err)
		return;
	if (tokens_table(tokens, problem->hint[0], &table) == OK)
		table_print(table, stdout);
	tokens_print_problems(tokens);
}

static void show_status(struct daemon *daemon, struct problem *problem)
{
	CLEANUP(json_decrefp) json_t *status = NULL;
	enum err err = status_get(daemon, problem, &status);

	check((err == OK) == json_is_object(status));
	if (!err)
		(void)!json_print(json_incref(status));
}

static enum err ask(void *context, const char *key_name, struct secret **ret_pin)
{
	(void)context;
	check(key_name != NULL);
	return secret_new_from(bytes_of_string("1234"), ret_pin);
}

static const struct token_stanza stanzas[2] = { { .kind = KEY_KIND_X25519, .share = { 9 } },
	                                        { .kind = KEY_KIND_P256, .share = { 4, 9 } } };

static void unwrap(struct daemon *daemon, const char *key, struct problem *problem)
{
	static const uint8_t body[WRAPPED_LEN];
	struct bytes other[] = { bytes_of_string("grease") };
	struct bytes arguments[] = { bytes_of_string("X25519"),
		                     bytes_of_string("TEiF0ypqr+bpvcqXNyCVJpL7OuwPdVwPL7KQEbFDOCc") };
	const struct age_stanza sent[] = {
		{ .arguments = other, .argument_count = 1 },
		{ .arguments = arguments, .argument_count = 2, .body = bytes_of(body, sizeof(body)) },
	};
	const struct daemon_unwrap question = {
		.key = key, .stanzas = sent, .stanza_count = 2, .ask = key ? ask : NULL
	};
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	size_t index = 0;
	enum err err = daemon_unwrap(daemon, &question, problem, &index, &file_key);

	check((err == OK) == (file_key != NULL));
	check(err || (index == 1 && secret_len(file_key) == FILE_KEY_LEN));
	check(!err || problem_text(problem, err)[0]);
}

/* ---- what the plugin does ---- */

static void plugin_unwrap(struct plugin_daemon *plugin)
{
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	CLEANUP(secret_freep) struct secret *pin = NULL;
	static const struct key_id id = { { 7 } };
	struct plugin_problem problem = { 0 };
	enum err err = plugin_daemon_ops.unwrap(plugin, &id, stanzas, 2, &file_key, &problem);

	check((err == OK) == (file_key != NULL) && (err || secret_len(file_key) == FILE_KEY_LEN));
	if (err != ERR_PIN_NEEDED)
		return;
	check(secret_new_from(bytes_of_string("1234"), &pin) == OK);
	(void)!plugin_daemon_ops.unlock(plugin, &problem.lock, pin, &problem);
}

static void plugin_locked(struct plugin_daemon *plugin)
{
	struct key_id keys[4];
	size_t count = 0;

	if (plugin_daemon_ops.locked_keys(plugin, keys, 4, &count) == OK)
		check(count <= 4);
}

static void plugin_recipient(struct plugin_daemon *plugin)
{
	struct plugin_problem problem = { 0 };
	struct recipient recipient;

	if (plugin_daemon_ops.only_recipient(plugin, &recipient, &problem) == OK) {
		check(recipient.kind == RECIPIENT_X25519 || recipient.kind == RECIPIENT_P256TAG);
		recipient_done(&recipient);
	}
}

static void run(unsigned way, struct plugin_daemon *plugin, struct problem *problem)
{
	struct daemon *daemon = &plugin->daemon;

	switch (way) {
	case KEYS:
		show_keys(daemon, NULL, problem);
		break;
	case ONE_KEY:
		show_keys(daemon, "host", problem);
		break;
	case TOKENS:
		show_tokens(daemon, problem);
		break;
	case STATUS:
		show_status(daemon, problem);
		break;
	case UNWRAP:
		unwrap(daemon, NULL, problem);
		break;
	case UNWRAP_KEY:
		unwrap(daemon, "host", problem);
		break;
	case PLUGIN_UNWRAP:
		plugin_unwrap(plugin);
		break;
	case PLUGIN_LOCKED:
		plugin_locked(plugin);
		break;
	default:
		plugin_recipient(plugin);
		break;
	}
}

/* What is printed is no part of what is found; it goes where nobody reads it. */
static int silence(void)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	int kept = dup(STDOUT_FILENO);

	check(null >= 0 && kept >= 0 && fflush(stdout) == 0 && dup2(null, STDOUT_FILENO) >= 0);
	(void)close(null);
	return kept;
}

static void speak_again(int kept)
{
	check(fflush(stdout) == 0 && dup2(kept, STDOUT_FILENO) >= 0);
	(void)close(kept);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct plugin_daemon plugin = { 0 };
	struct problem problem = { 0 };
	int fd, kept;

	if (len < 2)
		return 0;
	if (listener < 0) {
		init_once();
		check(atexit(remove_socket) == 0);
	}
	world = data[1] % WORLDS;
	fd = connect_daemon(&plugin.daemon, bytes_of(data + 2, len - 2));
	if (data[0] & 0x80)
		problem_hint(&problem, "brief");
	kept = silence();
	run((data[0] & 0x7f) % WAYS, &plugin, &problem);
	speak_again(kept);
	plugin_daemon_done(&plugin);
	close_fdp(&fd);
	forget_connections();
	world = 0;
	return 0;
}
