#include "tests/fake/keyservice_client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_SECONDS 60

struct keyservice_client {
	struct grpc_client *grpc;
	int fd;
	struct grpc_result last;
	char text[2048];
	uint8_t answer[16384];
	size_t done, failed;
	char refusal[2048]; /* the last one's text */
};

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "keyservice client: %s\n", what);
	exit(99);
}

static double now(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void on_done(void *context, const struct grpc_result *result)
{
	struct keyservice_client *client = context;

	client->done++;
	if (result->status) {
		client->failed++;
		(void)snprintf(client->refusal, sizeof(client->refusal), "%s", result->text);
	}
	client->last = *result;
	(void)snprintf(client->text, sizeof(client->text), "%s", result->text);
	client->last.text = client->text;
	if (result->answer.len > 0)
		memcpy(client->answer, result->answer.data, result->answer.len);
	client->last.answer = bytes_of(client->answer, result->answer.len);
}

struct keyservice_client *keyservice_client_new(const char *socket_path)
{
	struct keyservice_client *client = calloc(1, sizeof(*client));
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const struct timeval limit = { .tv_sec = ANSWER_SECONDS };

	if (!client || strlen(socket_path) >= sizeof(address.sun_path))
		die("no memory, or too long a path");
	memcpy(address.sun_path, socket_path, strlen(socket_path) + 1);
	client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (client->fd < 0 || connect(client->fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		die("it cannot connect");
	if (setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0)
		die("no time limit");
	client->grpc = grpc_client_new(on_done, client);
	return client;
}

struct keyservice_client *keyservice_client_free(struct keyservice_client *client)
{
	if (!client)
		return NULL;
	grpc_client_free(client->grpc);
	(void)close(client->fd);
	free(client);
	return NULL;
}

/* All there is to say, in one piece where it fits. */
static void say(const struct keyservice_client *client)
{
	static uint8_t all[65536];
	struct bytes said;
	size_t len = 0;

	do {
		said = grpc_client_say(client->grpc);
		if (said.len == 0 || said.len > sizeof(all) - len) {
			if (len && send(client->fd, all, len, MSG_NOSIGNAL) != (ssize_t)len)
				die("the daemon hung up");
			len = 0;
		}
		if (said.len > sizeof(all))
			die("too much to say");
		if (said.len)
			memcpy(all + len, said.data, said.len);
		len += said.len;
	} while (said.len > 0);
}

static void hear(const struct keyservice_client *client)
{
	static uint8_t heard[65536];
	ssize_t len = recv(client->fd, heard, sizeof(heard), 0);

	if (len <= 0)
		die(len == 0 ? "the daemon hung up" : "no answer in time");
	if (!grpc_client_hear(client->grpc, bytes_of(heard, (size_t)len)))
		die("what the daemon says does not parse");
}

const struct grpc_result *keyservice_client_ask(struct keyservice_client *client, const char *path,
                                                struct bytes message)
{
	size_t done = client->done;

	if (grpc_client_call(client->grpc, path, message) < 0)
		die("no call can be made");
	while (client->done == done) {
		say(client);
		hear(client);
	}
	say(client);
	return &client->last;
}

double keyservice_client_run(struct keyservice_client *client, const char *path, struct bytes message,
                             size_t streams, double seconds)
{
	size_t begun = client->done, before = client->done;
	double start = now();

	client->failed = 0;
	do {
		while (begun < client->done + streams) {
			if (grpc_client_call(client->grpc, path, message) < 0)
				die("no call can be made");
			begun++;
		}
		say(client);
		hear(client);
	} while (now() < start + seconds);
	while (client->done < begun) {
		say(client);
		hear(client);
	}
	if (client->failed == client->done - before)
		die(client->refusal);
	if (client->failed)
		(void)fprintf(stderr, "keyservice client: %zu calls were refused: %s\n", client->failed,
		              client->refusal);
	return (double)(client->done - before - client->failed) / (now() - start);
}

struct bytes keyservice_answer_data(struct bytes answer)
{
	struct reader reader = reader_of(answer);
	size_t len = 0;
	unsigned shift = 0;
	uint8_t byte;

	(void)reader_take(&reader, 5);
	if (reader_u8(&reader) != 0x0a)
		return bytes_of(NULL, 0);
	do {
		byte = reader_u8(&reader);
		len |= (size_t)(byte & 0x7f) << shift;
		shift += 7;
	} while ((byte & 0x80) && shift < 28);
	return reader_take(&reader, len);
}
