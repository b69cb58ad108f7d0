/*
 * One honest client beside fifteen abusers and without them: bench_abuse SOCKET CALLS FIRST-UID ROUNDS [ONLY]. CALLS is a directory of messages (tests/lab/messages); the abusers are
 * users of their own from FIRST-UID on, or with 0 the same as the honest one.
 *
 * The honest client is like a command on a command line: now and then it comes, connects, asks once, and goes. It so asks for less than its share of the service: who wants more than that
 * waits for those who want it too. In each round it is measured alone, beside the abusers while they do nothing but take the processors, and beside them while they abuse, and that again in the
 * opposite order; what counts is the ratio of the slowest hundredths of each round.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/abusers.h"
#include "tests/bench/figure.h"
#include "tests/bench/socket_client.h"

#define CALL_MAX (256U << 10)
#define ANSWER_MAX 4096U
#define REQUESTS 60U /* in a block, of each kind; a round has two blocks of each sort */
#define THINKING_NSEC 3000000L
#define ROUNDS_MAX 100U
#define ANSWER_DEADLINE_MS 10000

#define ABUSERS_DO_COUNT 3U

enum honest { HONEST_SEALED, HONEST_DEVICE, HONEST_COUNT };

static const char *const honest_names[] = { "an x25519 unwrap", "a p256 unwrap" };

struct bench {
	const char *socket;
	struct buf *honest[HONEST_COUNT];
	size_t refused;
	size_t asked;
	double times[ABUSERS_DO_COUNT][HONEST_COUNT][2 * REQUESTS];
	double p50[ABUSERS_DO_COUNT][HONEST_COUNT][ROUNDS_MAX];
	double p99[ABUSERS_DO_COUNT][HONEST_COUNT][ROUNDS_MAX];
};

static struct buf *read_call(const char *directory, const char *name)
{
	char path[4096];
	struct buf *call = NULL;
	FILE *file;
	int byte;

	(void)snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "re");
	if (!file || buf_new(CALL_MAX, &call))
		bench_die(path, ERR_NO_FILE);
	while ((byte = fgetc(file)) != EOF)
		if (buf_put_u8(call, (uint8_t)byte))
			bench_die(path, ERR_TRUNCATED);
	(void)fclose(file);
	return call;
}

/* ---- the honest client ---- */

static int come(const struct bench *bench)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", bench->socket);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		bench_die("the honest client cannot connect", ERR_NO_DAEMON);
	return fd;
}

static void take_answer(struct bench *bench, int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	char answer[ANSWER_MAX];
	size_t len = 0;
	ssize_t got;

	do {
		if (poll(&poll_fd, 1, ANSWER_DEADLINE_MS) <= 0)
			bench_die("the honest client was not answered", ERR_TIMEOUT);
		got = recv(fd, answer + len, sizeof(answer) - 1 - len, 0);
		if (got <= 0)
			bench_die("the honest client was hung up on", ERR_TRUNCATED);
		len += (size_t)got;
		answer[len] = '\0';
	} while (answer[len - 1] != '\0' && len < sizeof(answer) - 1);
	bench->asked++;
	if (strstr(answer, "\"fileKey\""))
		return;
	if (!strstr(answer, "io.tokend.Audit"))
		bench_die(answer, ERR_BUG);
	bench->refused++;
}

static double ask(struct bench *bench, const struct buf *call)
{
	struct bytes bytes = buf_bytes(call);
	double start = figure_now();
	int fd = come(bench);

	if (send(fd, bytes.data, bytes.len, MSG_NOSIGNAL) != (ssize_t)bytes.len)
		bench_die("the honest client was hung up on", ERR_TRUNCATED);
	take_answer(bench, fd);
	(void)close(fd);
	return figure_now() - start;
}

static void ask_on(struct bench *bench, double times[HONEST_COUNT][2 * REQUESTS], size_t from)
{
	const struct timespec thinking = { .tv_nsec = THINKING_NSEC };

	for (size_t i = 0; i < REQUESTS; i++)
		for (size_t kind = 0; kind < HONEST_COUNT; kind++) {
			(void)nanosleep(&thinking, NULL);
			times[kind][from + i] = ask(bench, bench->honest[kind]);
		}
}

/* ---- rounds ---- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

static void keep(double *times, double *ret_p50, double *ret_p99)
{
	qsort(times, 2 * (size_t)REQUESTS, sizeof(*times), by_value);
	*ret_p50 = times[REQUESTS] * 1e6;
	*ret_p99 = times[2 * REQUESTS * 99 / 100] * 1e6;
}

static void measure(struct bench *bench, struct abusers *abusers, enum abusers_do what, size_t from)
{
	abusers_let(abusers, what);
	ask_on(bench, bench->times[what], from);
	abusers_let(abusers, ABUSERS_WAIT);
}

static void run_round(struct bench *bench, struct abusers *abusers, size_t round)
{
	static const enum abusers_do order[] = { ABUSERS_WAIT,  ABUSERS_SPIN, ABUSERS_ABUSE,
		                                 ABUSERS_ABUSE, ABUSERS_SPIN, ABUSERS_WAIT };

	for (size_t i = 0; i < 2U * ABUSERS_DO_COUNT; i++)
		measure(bench, abusers, order[i], i < ABUSERS_DO_COUNT ? 0 : REQUESTS);
	for (size_t what = 0; what < ABUSERS_DO_COUNT; what++)
		for (size_t kind = 0; kind < HONEST_COUNT; kind++)
			keep(bench->times[what][kind], &bench->p50[what][kind][round],
			     &bench->p99[what][kind][round]);
}

static void print(const char *what, const char *floor, size_t rounds, const double *subject,
                  const double *floor_values)
{
	static struct figure figure = { .id = "P12", .unit = "us" };

	figure.what = what;
	figure.floor = floor;
	figure.runs = rounds;
	memcpy(figure.subject, subject, rounds * sizeof(*subject));
	memcpy(figure.floor_values, floor_values, rounds * sizeof(*floor_values));
	figure_print(&figure);
}

static void print_all(const struct bench *bench, const char *whose, size_t rounds)
{
	char what[128];

	for (size_t kind = 0; kind < HONEST_COUNT; kind++) {
		(void)snprintf(what, sizeof(what), "p99 of %s beside 15 abusers, %s", honest_names[kind],
		               whose);
		print(what, "alone", rounds, bench->p99[ABUSERS_ABUSE][kind], bench->p99[ABUSERS_WAIT][kind]);
		print(what, "beside 15 that only spin", rounds, bench->p99[ABUSERS_ABUSE][kind],
		      bench->p99[ABUSERS_SPIN][kind]);
		(void)snprintf(what, sizeof(what), "p99 of %s beside 15 that only spin", honest_names[kind]);
		print(what, "alone", rounds, bench->p99[ABUSERS_SPIN][kind], bench->p99[ABUSERS_WAIT][kind]);
		(void)snprintf(what, sizeof(what), "p50 of %s beside 15 abusers, %s", honest_names[kind],
		               whose);
		print(what, "alone", rounds, bench->p50[ABUSERS_ABUSE][kind], bench->p50[ABUSERS_WAIT][kind]);
	}
}

/* None of them may have been held up so much that it abused nobody. */
static void tell_of_abusers(const struct abusers *abusers, size_t only, double seconds)
{
	for (size_t i = 0; i < ABUSERS; i++) {
		unsigned long count = abusers_count(abusers, i);

		(void)fprintf(stderr, "abuser %zu, %s: %.0f a second\n", i + 1, abusers_name(i),
		              (double)count / seconds);
		if (count == 0 && !only)
			bench_die("an abuser did nothing", ERR_BUG);
	}
}

static void run(struct bench *bench, const struct abusers_settings *settings, size_t rounds)
{
	const char *whose = settings->first_uid ? "users of their own" : "the same user";
	struct abusers *abusers = abusers_start(settings);
	double start = figure_now();

	for (size_t kind = 0; kind < HONEST_COUNT; kind++)
		for (size_t i = 0; i < 10; i++)
			(void)ask(bench, bench->honest[kind]);
	for (size_t round = 0; round < rounds; round++)
		run_round(bench, abusers, round);
	tell_of_abusers(abusers, settings->only, (figure_now() - start) / ABUSERS_DO_COUNT);
	(void)abusers_end(abusers);
	print_all(bench, whose, rounds);
	(void)fprintf(stderr, "%zu of %zu of its releases were refused, because the audit log was late\n",
	              bench->refused, bench->asked);
}

int main(int argc, char **argv)
{
	static struct bench bench;
	struct abusers_settings settings = { .only = argc == 6 ? (size_t)strtoul(argv[5], NULL, 10) : 0 };
	size_t rounds;

	if (argc != 5 && argc != 6) {
		(void)fprintf(stderr, "usage: bench_abuse SOCKET CALLS FIRST-UID ROUNDS [ONLY]\n");
		return 2;
	}
	rounds = figure_runs(argv[4]);
	if (rounds > ROUNDS_MAX)
		bench_die("so many rounds", ERR_USAGE);
	settings.socket = bench.socket = argv[1];
	settings.first_uid = (uid_t)strtoul(argv[3], NULL, 10);
	bench.honest[HONEST_SEALED] = read_call(argv[2], "honest-sealed");
	bench.honest[HONEST_DEVICE] = read_call(argv[2], "honest-device");
	settings.sealed = read_call(argv[2], "sealed");
	settings.device = read_call(argv[2], "device");
	settings.denied = read_call(argv[2], "denied");
	settings.wrong_pin = read_call(argv[2], "wrong-pin");
	settings.many = read_call(argv[2], "many");
	run(&bench, &settings, rounds);
	return 0;
}
