/*
 * A hostile daemon, as the clients hear it: the input is how the client asks (1 byte), what the world does to the connection and what the environment names (1 byte), if that byte says so which allocation fails (1 byte), and all that the
 * daemon will ever say. Calls are made as the command line and the plugin make them, on a real socket,
 * and what they make of the answers is put into tables and sentences. A file key that comes out has its length, and an error has a sentence.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "cli/daemon.h"
#include "cli/facts.h"
#include "cli/plugin_daemon.h"
#include "tests/fake/failing_memory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int __real_connect(int fd, const struct sockaddr *address, socklen_t len);
int __wrap_connect(int fd, const struct sockaddr *asked, socklen_t len);
int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len);
int __real_poll(struct pollfd *fds, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
uid_t __real_geteuid(void);
uid_t __wrap_geteuid(void);
int __wrap_lstat(const char *path, struct stat *status);
int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);
ssize_t __wrap_readlink(const char *path, char *target, size_t len);

#define LONG_PIN 200U /* no token takes one so long */

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

/* What the environment names, in the bits above. */
enum { NAMES_DIRECTORY, NAMES_USERS, NAMES_NOTHING, NAMES_TOO_LONG };
#define NAMES(byte) ((byte) >> 4 & 3)
#define IS_ODD \
	0x40U /* the key has no name, the PIN is too long, a trial stands beside the program, nothing on the way to the socket can be seen */
#define MEMORY_FAILS 0x80U

static int listener = -1;
static struct sockaddr_un address = { .sun_family = AF_UNIX };
static char directory[] = "/tmp/fuzz_daemon_reply.XXXXXX";
static unsigned world, names;
static bool odd;

static void check(bool good)
{
	if (!good)
		abort();
}

static const int refusals[] = { ENOENT, ECONNREFUSED, EACCES, EPERM, EAGAIN, ENOTDIR, ENFILE };

/* Whatever path is asked: no tokend of this machine is. */
int __wrap_connect(int fd, const struct sockaddr *asked, socklen_t len)
{
	(void)asked;
	(void)len;
	if (world < WORLD_REFUSES)
		return __real_connect(fd, (const struct sockaddr *)&address, sizeof(address));
	errno = refusals[(world - WORLD_REFUSES) % (sizeof(refusals) / sizeof(refusals[0]))];
	return -1;
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
	int result = __real_getsockopt(fd, level, name, value, len);

	if (result == 0 && name == SO_PEERCRED && world == WORLD_STRANGER)
		((struct ucred *)value)->uid = __real_geteuid() + 1;
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

/* Root has no daemon of its own. */
uid_t __wrap_geteuid(void)
{
	uid_t uid = __real_geteuid();

	return uid == 0 && names == NAMES_USERS ? 65534 : uid;
}

/* What keeps the client out is always the same, on whatever machine: a directory of a group, a socket of one, or a socket of somebody who is not known. */
int __wrap_lstat(const char *path, struct stat *status)
{
	const char *name = strrchr(path, '/');
	bool is_socket = name && strcmp(name, "/control.sock") == 0;
	bool in_directory = world == WORLD_REFUSES + 2;

	*status = (struct stat){ .st_gid = 1, .st_mode = is_socket ? S_IFSOCK | 0660U : S_IFDIR | 0710U };
	if (world == WORLDS - 1)
		*status = (struct stat){ .st_uid = 3999999999U, .st_mode = S_IFSOCK | 0600U };
	return odd || (is_socket && in_directory) ? -1 : 0;
}

int __wrap_access(const char *path, int mode)
{
	return strcmp(path, "/src/build/trial/env") == 0 && odd ? 0 : __real_access(path, mode);
}

ssize_t __wrap_readlink(const char *path, char *target, size_t len)
{
	static const char program[] = "/src/build/release/bin/tokenctl";

	check(strcmp(path, "/proc/self/exe") == 0 && len >= sizeof(program));
	memcpy(target, program, sizeof(program) - 1);
	return (ssize_t)sizeof(program) - 1;
}

static void set_environment(void)
{
	static char longer[4200];
	char own[sizeof(directory) + 8];

	(void)snprintf(own, sizeof(own), "%s/tokend", directory);
	memset(longer, '/', sizeof(longer) - 1);
	check(setenv("XDG_RUNTIME_DIR", names == NAMES_USERS ? directory : "", 1) == 0);
	if (names == NAMES_DIRECTORY || names == NAMES_TOO_LONG)
		check(setenv("TOKEND_RUNTIME_DIR", names == NAMES_DIRECTORY ? own : longer, 1) == 0);
	else
		check(unsetenv("TOKEND_RUNTIME_DIR") == 0);
}

static void init_once(void)
{
	char own[sizeof(directory) + 8];

	json_wiping_init();
	check(secret_client_init() == OK && mkdtemp(directory));
	(void)snprintf(own, sizeof(own), "%s/tokend", directory);
	check(mkdir(own, 0700) == 0);
	names = NAMES_DIRECTORY;
	set_environment();
	control_path(address.sun_path, sizeof(address.sun_path));
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	check(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof(address)) == 0);
	check(listen(listener, 4) == 0);
}

static void remove_socket(void)
{
	(void)unlink(address.sun_path);
	*strrchr(address.sun_path, '/') = '\0';
	(void)rmdir(address.sun_path);
	(void)rmdir(directory);
}

/* A connection on whose other end everything has been said. Returns that end; -1 when there is none. */
static int connect_daemon(struct daemon *daemon, struct bytes said)
{
	uid_t stranger;
	int fd, room = 4 << 20;

	/* Then the call connects by itself, or fails to. */
	if (world == WORLD_STRANGER || world >= WORLD_REFUSES || names == NAMES_TOO_LONG)
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
	keys_mark_absent(keys, tokens);
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
	static const uint8_t longer[LONG_PIN] = "1234";

	(void)context;
	check(key_name != NULL);
	return secret_new_from(odd ? bytes_of(longer, sizeof(longer)) : bytes_of_string("1234"), ret_pin);
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
		show_keys(daemon, odd ? "no name" : "host", problem);
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
	struct reader input = reader_of(bytes_of(data, len));
	uint8_t how = reader_u8(&input), around = reader_u8(&input);
	unsigned nth = around & MEMORY_FAILS ? reader_u8(&input) : 0;
	struct plugin_daemon plugin = { 0 };
	struct problem problem = { 0 };
	int fd, kept;

	if (input.failed)
		return 0;
	if (listener < 0) {
		init_once();
		check(atexit(remove_socket) == 0);
	}
	world = around % WORLDS;
	names = NAMES(around);
	odd = around & IS_ODD;
	set_environment();
	fd = connect_daemon(&plugin.daemon, input.rest);
	if (how & 0x80U)
		problem_hint(&problem, "brief");
	kept = silence();
	failing_memory_begin(nth);
	run((how & 0x7fU) % WAYS, &plugin, &problem);
	(void)failing_memory_end();
	speak_again(kept);
	plugin_daemon_done(&plugin);
	close_fdp(&fd);
	forget_connections();
	world = names = 0;
	return 0;
}
