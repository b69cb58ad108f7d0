#include "common/control.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/clock.h"
#include "common/file.h"

#define INTERFACE_PREFIX "io.tokend."
#define CONNECT_TIMEOUT_SECONDS 5
#define READ_STEP 4096U

struct control {
	int fd; /* owned */
	struct buf *out;
	struct buf *in; /* may hold a file key; wipes itself */
	bool ended;
	void (*says_waiting)(void); /* NULL: nothing is said */
	long long patient_until; /* in this call */
};

static void join_path(char *path, size_t path_len, const char *directory, const char *name)
{
	if (snprintf(path, path_len, "%s/%s", directory, name) >= (int)path_len)
		path[0] = '\0';
}

/* Is there a socket of a user's own daemon? Root has none: what a user's variable names would be another user's. */
static bool user_runtime_directory(char *path, size_t path_len)
{
	const char *base = getenv("XDG_RUNTIME_DIR");
	char socket_path[4096];

	if (!base || base[0] != '/' || geteuid() == 0)
		return false;
	join_path(path, path_len, base, "tokend");
	join_path(socket_path, sizeof(socket_path), path, CONTROL_SOCKET_NAME);
	return access(socket_path, F_OK) == 0;
}

void control_runtime_directory(char *path, size_t path_len)
{
	const char *named = getenv("TOKEND_RUNTIME_DIR");

	if (named && named[0])
		(void)snprintf(path, path_len, "%s", named);
	else if (!user_runtime_directory(path, path_len))
		(void)snprintf(path, path_len, "/run/tokend");
}

void control_path(char *path, size_t path_len)
{
	char directory[4096];

	control_runtime_directory(directory, sizeof(directory));
	join_path(path, path_len, directory, CONTROL_SOCKET_NAME);
}

static enum err connect_failed(int error_number)
{
	switch (error_number) {
	case ENOENT:
	case ENOTDIR:
	case ECONNREFUSED:
		return ERR_NO_DAEMON;
	case EACCES:
	case EPERM:
		return ERR_DENIED;
	case EAGAIN:
		return ERR_BUSY;
	default:
		return ERR_SYSTEM;
	}
}

/* Somebody else's socket in our way must not get our PINs and ciphertexts: who listens is root or us. */
static enum err check_daemon(int fd, uid_t *stranger)
{
	struct ucred daemon;
	socklen_t len = sizeof(daemon);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &daemon, &len) < 0)
		return ERR_SYSTEM;
	if (file_uid_is_ours(daemon.uid))
		return OK;
	*stranger = daemon.uid;
	return ERR_DENIED;
}

/* Where all of its queue is taken this waits, as long as SO_SNDTIMEO says. A signal, be it only that we were stopped and go on, ends that wait and leaves the socket as it was. */
static enum err connect_in_time(int fd, const struct sockaddr_un *address)
{
	const uint64_t end = clock_microseconds() + CONNECT_TIMEOUT_SECONDS * UINT64_C(1000000);

	while (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
		if (errno != EINTR)
			return connect_failed(errno);
		if (clock_microseconds() >= end)
			return ERR_BUSY;
	}
	return OK;
}

static enum err connect_socket(int fd, uid_t *stranger)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timeval timeout = { .tv_sec = CONNECT_TIMEOUT_SECONDS };
	char path[4096];
	enum err err;

	control_path(path, sizeof(path));
	if (strlen(path) == 0 || strlen(path) >= sizeof(address.sun_path))
		return ERR_NO_DAEMON;
	memcpy(address.sun_path, path, strlen(path) + 1);
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	err = connect_in_time(fd, &address);
	return err ? err : check_daemon(fd, stranger);
}

enum err control_connect(struct control **ret_control, uid_t *stranger)
{
	CLEANUP(control_freep) struct control *control = calloc(1, sizeof(*control));
	enum err err;

	if (!control)
		return ERR_NOMEM;
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (control->fd < 0)
		return ERR_SYSTEM;
	err = connect_socket(control->fd, stranger);
	if (!err)
		err = buf_new(CONTROL_MESSAGE_MAX, &control->out);
	if (!err)
		err = buf_new(CONTROL_MESSAGE_MAX, &control->in);
	if (err)
		return err;
	*ret_control = TAKE(control);
	return OK;
}

struct control *control_free(struct control *control)
{
	if (!control)
		return NULL;
	close_fdp(&control->fd);
	buf_free(control->out);
	buf_free(control->in);
	free(control);
	return NULL;
}

static int dump_to_buf(const char *text, size_t len, void *context)
{
	return buf_put(context, bytes_of(text, len)) ? -1 : 0;
}

static enum err put_call(struct control *control, const char *method, json_t *parameters)
{
	enum err err = buf_printf(control->out, "{\"method\":\"" INTERFACE_PREFIX "%s\"", method);

	if (!err && parameters)
		err = buf_put_string(control->out, ",\"parameters\":");
	if (!err && parameters && json_dump_callback(parameters, dump_to_buf, control->out, JSON_COMPACT) < 0)
		err = ERR_BUSY;
	if (!err)
		err = buf_put_string(control->out, "}");
	if (!err)
		err = buf_put_u8(control->out, 0);
	return err;
}

static long long now_ms(void)
{
	return (long long)(clock_microseconds() / 1000);
}

static enum err wait_for(int fd, short events, long long until)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };

	for (;;) {
		long long left = until - now_ms();
		int ready = left > 0 ? poll(&poll_fd, 1, (int)left) : 0;

		if (ready > 0)
			return OK;
		if (ready == 0)
			return ERR_TIMEOUT;
		if (errno != EINTR)
			return ERR_SYSTEM;
	}
}

/* A daemon that ends in the middle is no daemon; MSG_NOSIGNAL, because SIGPIPE would be the client's end instead. */
static enum err send_call(struct control *control, long long until)
{
	while (buf_len(control->out) > 0) {
		struct bytes rest = buf_bytes(control->out);
		ssize_t sent;
		enum err err = wait_for(control->fd, POLLOUT, until);

		if (err)
			return err;
		sent = send(control->fd, rest.data, rest.len, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (sent > 0)
			buf_consume(control->out, (size_t)sent);
		else if (sent < 0 && errno != EAGAIN && errno != EINTR)
			return errno == EPIPE || errno == ECONNRESET ? ERR_NO_DAEMON : ERR_SYSTEM;
	}
	return OK;
}

void control_say_waiting(struct control *control, void (*says)(void))
{
	control->says_waiting = says;
}

static enum err wait_for_answer(struct control *control, long long until)
{
	enum err err;

	if (!control->says_waiting || control->patient_until >= until)
		return wait_for(control->fd, POLLIN, until);
	err = wait_for(control->fd, POLLIN, control->patient_until);
	if (err != ERR_TIMEOUT)
		return err;
	control->patient_until = until;
	control->says_waiting();
	return wait_for(control->fd, POLLIN, until);
}

static enum err receive_reply(struct control *control, long long until, size_t *ret_len)
{
	size_t searched = 0;

	for (;;) {
		struct bytes have = buf_bytes(control->in);
		const uint8_t *end =
		        have.len > searched ? memchr(have.data + searched, 0, have.len - searched) : NULL;
		size_t got;
		enum err err;

		if (end) {
			*ret_len = (size_t)(end - have.data);
			return OK;
		}
		searched = have.len;
		err = wait_for_answer(control, until);
		if (!err)
			err = buf_read_fd(control->in, control->fd, READ_STEP, &got);
		if (err == ERR_SYSTEM && errno == ECONNRESET)
			return ERR_NO_DAEMON;
		if (err)
			return err == ERR_BUSY ? ERR_BAD_MESSAGE : err;
		if (got == 0)
			return ERR_NO_DAEMON;
	}
}

/* What the answer says went wrong. The errors of org.varlink.service mean that the two ends are of different versions, or that a parameter is none. */
static enum err reply_error(const json_t *reply)
{
	const json_t *error = json_object_get(reply, "error");
	enum err err;

	if (!error)
		return OK;
	if (!json_is_string(error))
		return ERR_BAD_MESSAGE;
	if (strcmp(json_string_value(error), "org.varlink.service.InvalidParameter") == 0)
		return ERR_USAGE;
	if (strcmp(json_string_value(error), "org.varlink.service.MethodNotFound") == 0)
		return ERR_UNSUPPORTED;
	err = err_from_varlink(json_string_value(error));
	return err ? err : ERR_BAD_MESSAGE;
}

static enum err read_reply(struct control *control, size_t len, json_t **ret_reply)
{
	CLEANUP(json_decrefp) json_t *reply = NULL;
	enum err err = json_read(bytes_of(buf_bytes(control->in).data, len), &reply);
	json_t *parameters = json_object_get(reply, "parameters");

	buf_consume(control->in, len + 1);
	if (err)
		return err;
	if (!json_is_object(reply))
		return ERR_BAD_MESSAGE;
	*ret_reply = json_is_object(parameters) ? json_incref(parameters) : NULL;
	return reply_error(reply);
}

/* A call that failed half-way would leave its answer to be taken for the next one's: the connection is of no more use. */
static enum err drop_connection(struct control *control, enum err err)
{
	(void)shutdown(control->fd, SHUT_RDWR);
	control->ended = true;
	return err;
}

bool control_has_ended(const struct control *control)
{
	return control->ended;
}

enum err control_call(struct control *control, const char *method, json_t *parameters, int deadline_ms,
                      json_t **ret_reply)
{
	CLEANUP(json_decrefp) json_t *owned = parameters;
	const long long now = now_ms(), until = now + deadline_ms;
	size_t len;
	enum err err;

	*ret_reply = NULL;
	control->patient_until = now + CONTROL_PATIENCE_MS;
	buf_clear(control->out);
	err = put_call(control, method, parameters);
	if (err)
		return err;
	err = send_call(control, until);
	if (!err)
		err = receive_reply(control, until, &len);
	if (err)
		return drop_connection(control, err);
	err = read_reply(control, len, ret_reply);
	/* It is ending: the next call is for the one after it. */
	return err == ERR_NO_DAEMON ? drop_connection(control, err) : err;
}
