/*
 * Unwrapping an x25519 key's stanza through tokend's control socket beside unwrapping in this process: bench_unwrap ID KEY-FILE CLIENTS BLOCKS [FLOOR RUNTIME-DIRECTORY]. KEY-FILE is an age key
 * file (AGE-SECRET-KEY-1...) that tokend has a sealed copy of. Blocks of both take turns. With a RUNTIME-DIRECTORY it is another tokend, and not this process, that is the floor. CLIENTS 0: one
 * client, and what is measured are the microseconds of each unwrap.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/figure.h"
#include "common/control.h"
#include "tests/bench/socket_client.h"
#include "tests/bench/usage.h"

#define BLOCK_SECONDS 0.1

struct bench {
	struct identity identity;
	struct token_stanza stanza;
	struct socket_client *client;
	struct socket_client *other; /* of the other tokend; NULL: there is none */
	struct usage *usage; /* of the first tokend; NULL: one call is too short for it */
	double seconds; /* of a block; 0: one call */
};

static void make_stanza(struct bench *bench)
{
	struct recipient recipient = { .kind = RECIPIENT_X25519 };

	memcpy(recipient.public_key, bench->identity.public_key, X25519_LEN);
	bench_stanza(&recipient, &bench->stanza);
}

static void unwrap(const struct bench *bench)
{
	struct secret *file_key = NULL;
	enum err err = x25519_unwrap(bench->identity.private_key, bench->identity.public_key,
	                             bench->stanza.share, bench->stanza.body, &file_key);

	if (err)
		bench_die("unwrapping", err);
	(void)secret_free(file_key);
}

/* Unwraps a second, or what one of them took. */
static double figure_of(const struct bench *bench, double per_second)
{
	return bench->seconds > 0 ? per_second : 1e6 / per_second;
}

static double run_floor(void *context)
{
	struct bench *bench = context;
	double start = figure_now();
	size_t done = 0;

	if (bench->other)
		return figure_of(bench, socket_client_run(bench->other, bench->seconds));
	do {
		unwrap(bench);
		done++;
	} while (figure_now() < start + bench->seconds);
	return figure_of(bench, (double)done / (figure_now() - start));
}

static double run_subject(void *context)
{
	struct bench *bench = context;
	double per_second;

	if (bench->usage)
		usage_begin(bench->usage);
	per_second = socket_client_run(bench->client, bench->seconds);
	if (bench->usage)
		usage_end(bench->usage, per_second * bench->seconds);
	return figure_of(bench, per_second);
}

static void print_added(const struct figure *figure)
{
	(void)printf("{\"id\":\"%s\",\"what\":\"added to an unwrap by all that is around it, 1 client: "
	             "p50\",\"value\":%.1f,\"unit\":\"us\",\"runs\":%zu}\n",
	             figure->id,
	             figure_median(figure->subject, figure->runs) -
	                     figure_median(figure->floor_values, figure->runs),
	             figure->runs);
}

int main(int argc, char **argv)
{
	static struct bench bench;
	static struct figure figure = { .floor = "x25519_unwrap in one process" };
	char what[96], path[4096];
	size_t clients;
	enum err err;

	if (argc != 5 && argc != 7) {
		(void)fprintf(stderr,
		              "usage: bench_unwrap ID KEY-FILE CLIENTS BLOCKS [FLOOR RUNTIME-DIRECTORY]\n");
		return 2;
	}
	clients = (size_t)strtoul(argv[3], NULL, 10);
	bench.seconds = clients ? BLOCK_SECONDS : 0;
	figure.id = argv[1];
	figure.what = what;
	figure.runs = figure_runs(argv[4]);
	figure.unit = clients ? "unwraps/s" : "us";
	(void)snprintf(what, sizeof(what), "x25519 unwrap through the socket, %zu client%s",
	               clients ? clients : 1, clients > 1 ? "s" : "");
	err = secret_client_init();
	if (err)
		bench_die("start", err);
	bench_identity(argv[2], &bench.identity);
	make_stanza(&bench);
	bench.client = socket_client_new(clients ? clients : 1, &bench.stanza);
	control_path(path, sizeof(path));
	if (clients)
		bench.usage = usage_new(path);
	if (argc == 7) {
		figure.floor = argv[5];
		if (setenv("TOKEND_RUNTIME_DIR", argv[6], 1) < 0)
			bench_die("the environment", ERR_NOMEM);
		bench.other = socket_client_new(clients ? clients : 1, &bench.stanza);
	}
	figure_compare(&figure, run_subject, run_floor, &bench);
	figure_print(&figure);
	if (bench.usage)
		usage_print(bench.usage, figure.id, what);
	else
		print_added(&figure);
	(void)usage_free(bench.usage);
	(void)socket_client_free(bench.client);
	if (bench.other)
		(void)socket_client_free(bench.other);
	identity_done(&bench.identity);
	return 0;
}
