#include "tests/bench/socket_client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/control.h"
#include "common/encoding.h"
#include "common/secret.h"
#include "tests/bench/figure.h"

#define ANSWER_MAX 4096U
#define KEY_LINE_MAX 256U

struct socket_client {
	struct buf *call; /* the message, with its NUL */
	struct pollfd sockets[SOCKET_CLIENTS_MAX];
	struct buf *answers[SOCKET_CLIENTS_MAX];
	size_t connections;
	size_t refused;
};

void bench_die(const char *what, enum err err)
{
	(void)fprintf(stderr, "bench: %s%s%s\n", what, err ? ": " : "", err ? err_info(err)->text : "");
	exit(1);
}

void bench_identity(const char *path, struct identity *ret_identity)
{
	char line[KEY_LINE_MAX];
	FILE *file = fopen(path, "re");
	struct bytes what;
	enum err err;

	if (!file)
		bench_die(path, ERR_NO_FILE);
	do {
		if (!fgets(line, sizeof(line), file))
			bench_die(path, ERR_NO_KEY);
		line[strcspn(line, "\n")] = '\0';
	} while (strncmp(line, "AGE-SECRET-KEY-", 15) != 0);
	(void)fclose(file);
	err = identity_parse(bytes_of_string(line), ret_identity, &what);
	secret_wipe(line, sizeof(line));
	if (err)
		bench_die(path, err);
}

static void need(enum err err)
{
	if (err)
		bench_die("the message", err);
}

static void put_json(struct buf *call, const char *before, const uint8_t *data, size_t len)
{
	need(buf_put_string(call, before));
	need(base64_put(call, bytes_of(data, len), BASE64_UNPADDED));
}

static void put_call(struct buf *call, const struct token_stanza *stanza)
{
	bool tagged = stanza->kind == KEY_KIND_P256;

	need(buf_printf(call,
	                "{\"method\":\"io.tokend.Unwrap\",\"parameters\":{\"stanzas\":[{\"type\":\"%s\","
	                "\"arguments\":[",
	                tagged ? "p256tag" : "X25519"));
	if (tagged)
		put_json(call, "\"", stanza->tag, TAG_LEN);
	put_json(call, tagged ? "\",\"" : "\"", stanza->share, tagged ? P256_POINT_LEN : X25519_LEN);
	put_json(call, "\"],\"body\":\"", stanza->body, WRAPPED_LEN);
	need(buf_put_string(call, "\"}]}}"));
	need(buf_put_u8(call, 0));
}

static int open_socket(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	control_path(address.sun_path, sizeof(address.sun_path));
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		bench_die("connecting", ERR_NO_DAEMON);
	return fd;
}

struct socket_client *socket_client_new(size_t connections, const struct token_stanza *stanza)
{
	struct socket_client *client = calloc(1, sizeof(*client));

	if (!client || connections < 1 || connections > SOCKET_CLIENTS_MAX)
		bench_die("so many connections", ERR_USAGE);
	need(buf_new(ANSWER_MAX, &client->call));
	put_call(client->call, stanza);
	client->connections = connections;
	for (size_t i = 0; i < connections; i++) {
		client->sockets[i] = (struct pollfd){ .fd = open_socket(), .events = POLLIN };
		need(buf_new(ANSWER_MAX, &client->answers[i]));
	}
	return client;
}

struct socket_client *socket_client_free(struct socket_client *client)
{
	if (client->refused)
		(void)fprintf(stderr,
		              "bench: %zu releases were refused, because the disk took longer than the audit "
		              "log may\n",
		              client->refused);
	for (size_t i = 0; i < client->connections; i++) {
		(void)close(client->sockets[i].fd);
		(void)buf_free(client->answers[i]);
	}
	(void)buf_free(client->call);
	free(client);
	return NULL;
}

static void send_call(struct socket_client *client, size_t i)
{
	struct bytes call = buf_bytes(client->call);

	if (write(client->sockets[i].fd, call.data, call.len) != (ssize_t)call.len)
		bench_die("a call could not be sent", OK);
}

enum answer { ANSWER_PART, ANSWER_KEY, ANSWER_REFUSED };

/* It has to be a file key, or the refusal of a log that a busy disk keeps from being written in time. */
static enum answer take_answer(struct socket_client *client, size_t i)
{
	struct buf *answer = client->answers[i];
	bool key;
	size_t len;
	enum err err = buf_read_fd(answer, client->sockets[i].fd, ANSWER_MAX, &len);

	if (err || len == 0)
		bench_die("an answer", err ? err : ERR_TRUNCATED);
	if (buf_bytes(answer).data[buf_len(answer) - 1] != 0)
		return ANSWER_PART;
	key = strstr(buf_string(answer), "\"fileKey\"");
	if (!key && !strstr(buf_string(answer), "io.tokend.Audit"))
		bench_die(buf_string(answer), OK);
	buf_clear(answer);
	return key ? ANSWER_KEY : ANSWER_REFUSED;
}

static size_t take_answers(struct socket_client *client, bool more, size_t *under_way)
{
	size_t done = 0;

	if (poll(client->sockets, client->connections, 10000) <= 0)
		bench_die("no answer within 10 seconds", ERR_TIMEOUT);
	for (size_t i = 0; i < client->connections; i++) {
		enum answer answer = ANSWER_PART;

		if (client->sockets[i].revents & (POLLIN | POLLHUP))
			answer = take_answer(client, i);
		if (answer == ANSWER_PART)
			continue;
		done += answer == ANSWER_KEY;
		client->refused += answer == ANSWER_REFUSED;
		if (more)
			send_call(client, i);
		else
			*under_way -= 1;
	}
	return done;
}

double socket_client_run(struct socket_client *client, double seconds)
{
	double start = figure_now();
	size_t under_way = client->connections;
	size_t done = 0;

	for (size_t i = 0; i < client->connections; i++)
		send_call(client, i);
	while (under_way > 0)
		done += take_answers(client, figure_now() < start + seconds, &under_way);
	return (double)done / (figure_now() - start);
}

void bench_stanza(const struct recipient *recipient, struct token_stanza *ret_stanza)
{
	CLEANUP(age_header_freep) struct age_header *header = NULL;
	CLEANUP(secret_freep) struct secret *file_key = NULL;
	CLEANUP(buf_freep) struct buf *text = NULL;
	size_t len;

	need(secret_new_from(bytes_of("0123456789abcdef", FILE_KEY_LEN), &file_key));
	need(buf_new(ANSWER_MAX, &text));
	need(age_header_begin(text));
	need(recipient_wrap(recipient, file_key, text));
	need(age_header_finish(text, file_key));
	need(age_header_parse(buf_bytes(text), &header, &len));
	need(token_stanza_read(age_header_stanza(header, 0), ret_stanza));
}
