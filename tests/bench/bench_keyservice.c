/*
 * Decrypt of sops' key service for an x25519 key beside the same unwrap in this process: bench_keyservice ID KEY-FILE SOCKET STREAMS BLOCKS. KEY-FILE is an age key file (AGE-SECRET-KEY-1...) that tokend has a
 * sealed copy of. The floor is what the answer takes at least: the file key unwrapped from its stanza.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/figure.h"
#include "tests/bench/socket_client.h"
#include "tests/bench/usage.h"
#include "tests/fake/keyservice_client.h"

#define BLOCK_SECONDS 0.1

struct bench {
	struct identity identity;
	struct token_stanza stanza;
	struct buf *message;
	struct keyservice_client *client;
	struct usage *usage;
	size_t streams;
};

/* tokend encrypts a data key, which is then decrypted again and again. */
static void make_message(struct bench *bench, const char *recipient)
{
	CLEANUP(buf_freep) struct buf *question = NULL;
	static const uint8_t data_key[] = "the data key of a file, 32 bytes";
	const struct grpc_result *result;

	if (buf_new(65536, &question) || buf_new(65536, &bench->message))
		bench_die("start", ERR_NOMEM);
	grpc_put_request(question, recipient, bytes_of(data_key, sizeof(data_key) - 1));
	result = keyservice_client_ask(bench->client, KEYSERVICE_ENCRYPT, buf_bytes(question));
	if (result->status)
		bench_die(result->text, ERR_DENIED);
	grpc_put_request(bench->message, recipient, keyservice_answer_data(result->answer));
}

static double run_floor(void *context)
{
	const struct bench *bench = context;
	double start = figure_now();
	size_t done = 0;

	do {
		struct secret *file_key = NULL;
		enum err err = x25519_unwrap(bench->identity.private_key, bench->identity.public_key,
		                             bench->stanza.share, bench->stanza.body, &file_key);

		if (err)
			bench_die("unwrapping", err);
		(void)secret_free(file_key);
		done++;
	} while (figure_now() < start + BLOCK_SECONDS);
	return (double)done / (figure_now() - start);
}

static double run_subject(void *context)
{
	const struct bench *bench = context;
	double per_second;

	usage_begin(bench->usage);
	per_second = keyservice_client_run(bench->client, KEYSERVICE_DECRYPT, buf_bytes(bench->message),
	                                   bench->streams, BLOCK_SECONDS);
	usage_end(bench->usage, per_second * BLOCK_SECONDS);
	return per_second;
}

int main(int argc, char **argv)
{
	static struct bench bench;
	static struct figure figure = { .floor = "x25519_unwrap in one process", .unit = "decrypts/s" };
	CLEANUP(buf_freep) struct buf *line = NULL;
	struct recipient recipient = { .kind = RECIPIENT_X25519 };
	char what[96];

	if (argc != 6) {
		(void)fprintf(stderr, "usage: bench_keyservice ID KEY-FILE SOCKET STREAMS BLOCKS\n");
		return 2;
	}
	figure.id = argv[1];
	bench.streams = (size_t)strtoul(argv[4], NULL, 10);
	figure.runs = figure_runs(argv[5]);
	figure.what = what;
	(void)snprintf(what, sizeof(what), "gRPC Decrypt of an x25519 key, %zu streams", bench.streams);
	if (secret_client_init() || buf_new(1024, &line))
		bench_die("start", ERR_NOMEM);
	bench_identity(argv[2], &bench.identity);
	memcpy(recipient.public_key, bench.identity.public_key, X25519_LEN);
	bench_stanza(&recipient, &bench.stanza);
	if (recipient_put_x25519(line, recipient.public_key))
		bench_die("the recipient", ERR_NOMEM);
	bench.client = keyservice_client_new(argv[3]);
	make_message(&bench, buf_string(line));
	bench.usage = usage_new(argv[3]);
	figure_compare(&figure, run_subject, run_floor, &bench);
	figure_print(&figure);
	usage_print(bench.usage, figure.id, what);
	(void)usage_free(bench.usage);
	(void)keyservice_client_free(bench.client);
	buf_free(bench.message);
	identity_done(&bench.identity);
	return 0;
}
