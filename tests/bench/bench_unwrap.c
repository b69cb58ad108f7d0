/*
 * Unwrapping an x25519 key's stanza through tokend's control socket beside unwrapping in this process: bench_unwrap ID KEY-FILE CLIENTS BLOCKS. KEY-FILE is an
 * age key file (AGE-SECRET-KEY-1...) that tokend has a sealed copy of. Blocks of both take turns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/figure.h"
#include "tests/bench/socket_client.h"

#define BLOCK_SECONDS 0.1
#define KEY_LINE_MAX 256U

struct bench {
	struct identity identity;
	struct token_stanza stanza;
	struct socket_client *client;
};

static void read_identity(const char *path, struct identity *identity)
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
	err = identity_parse(bytes_of_string(line), identity, &what);
	secret_wipe(line, sizeof(line));
	if (err)
		bench_die(path, err);
}

static void make_stanza(struct bench *bench)
{
	struct recipient recipient = { .kind = RECIPIENT_X25519 };

	memcpy(recipient.public_key, bench->identity.public_key, X25519_LEN);
	bench_stanza(&recipient, &bench->stanza);
}

/* Unwraps a second. */
static double run_in_process(const struct bench *bench)
{
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

static void compare(struct bench *bench, struct figure *figure)
{
	(void)socket_client_run(bench->client, BLOCK_SECONDS);
	(void)run_in_process(bench);
	for (size_t i = 0; i < figure->runs; i++) {
		if (i % 2 == 0)
			figure->subject[i] = socket_client_run(bench->client, BLOCK_SECONDS);
		figure->floor_values[i] = run_in_process(bench);
		if (i % 2 == 1)
			figure->subject[i] = socket_client_run(bench->client, BLOCK_SECONDS);
	}
}

int main(int argc, char **argv)
{
	static struct bench bench;
	static struct figure figure = { .unit = "unwraps/s", .floor = "x25519_unwrap in one process" };
	char what[64];
	size_t clients;
	enum err err;

	if (argc != 5) {
		(void)fprintf(stderr, "usage: bench_unwrap ID KEY-FILE CLIENTS BLOCKS\n");
		return 2;
	}
	clients = (size_t)strtoul(argv[3], NULL, 10);
	figure.id = argv[1];
	figure.what = what;
	figure.runs = (size_t)strtoul(argv[4], NULL, 10);
	if (figure.runs < 1 || figure.runs > FIGURE_RUNS_MAX)
		bench_die("so many blocks", ERR_USAGE);
	(void)snprintf(what, sizeof(what), "x25519 unwrap through the socket, %zu client%s", clients,
	               clients == 1 ? "" : "s");
	err = secret_client_init();
	if (err)
		bench_die("start", err);
	read_identity(argv[2], &bench.identity);
	make_stanza(&bench);
	bench.client = socket_client_new(clients, &bench.stanza);
	compare(&bench, &figure);
	figure_print(&figure);
	(void)socket_client_free(bench.client);
	identity_done(&bench.identity);
	return 0;
}
