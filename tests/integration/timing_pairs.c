/*
 * timing_pairs SOCKET PAIRS SPIN CALL-A NAME-A CALL-B NAME-B
 *
 * Makes two calls over one connection, PAIRS times, the two of a pair in random order, and says whether one takes longer. The answers have to be the same, byte for byte, but for the names. Before each B it
 * keeps its processor busy for SPIN nanoseconds within the time that is taken: the control. Prints the median of the differences with its interval; exits with 0 when there is no difference, with 3 when there
 * is, with 1 when the answers differ or do not come.
 *
 * The median of differences within pairs, and an interval from ranks: what the machine does meanwhile makes some pairs wild, and these statistics do not mind. Z is four standard deviations; a difference
 * below SLACK, which is less than a program beside it on the machine makes, is none.
 */
#include <math.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define Z 4.0
#define SLACK 1000.0 /* nanoseconds */
#define ANSWER_MAX 4096U
#define DEADLINE_MS 20000
#define WARM 200U /* pairs that are not counted */

struct call {
	const char *text, *name;
	uint64_t spin;
	char answer[ANSWER_MAX];
};

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "timing_pairs: %s\n", what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000U + (uint64_t)time.tv_nsec;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(address.sun_path))
		die("the socket's name is too long");
	strcpy(address.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("no connection");
	return fd;
}

/* The answer, to its NUL. Returns how long it took. */
static double make_call(int fd, struct call *call)
{
	size_t len = strlen(call->text) + 1, have = 0;
	uint64_t start = now();

	while (now() - start < call->spin) {
	}
	if (write(fd, call->text, len) != (ssize_t)len)
		die("a call could not be sent");
	do {
		struct pollfd wait = { .fd = fd, .events = POLLIN };
		ssize_t got = poll(&wait, 1, DEADLINE_MS) > 0
		                      ? read(fd, call->answer + have, sizeof(call->answer) - have)
		                      : -1;

		if (got <= 0)
			die("no answer");
		have += (size_t)got;
	} while (call->answer[have - 1] != '\0');
	return (double)(now() - start);
}

/* The names are of the same length, so that the calls are. */
static void compare_answers(const struct call *a, struct call *b)
{
	size_t len = strlen(a->name);

	for (char *at = b->answer; len && (at = strstr(at, b->name)); at += len)
		memcpy(at, a->name, len);
	if (strcmp(a->answer, b->answer) != 0) {
		(void)fprintf(stderr, "%s\n%s\n", a->answer, b->answer);
		die("the answers differ");
	}
}

static double take_pair(int fd, struct call *a, struct call *b)
{
	uint8_t coin = 0;
	double of_a = 0, of_b;

	if (getrandom(&coin, 1, 0) != 1)
		die("no random numbers");
	if (coin & 1)
		of_a = make_call(fd, a);
	of_b = make_call(fd, b);
	if (!(coin & 1))
		of_a = make_call(fd, a);
	compare_answers(a, b);
	return of_b - of_a;
}

static int by_size(const void *a, const void *b)
{
	double one = *(const double *)a, other = *(const double *)b;

	return (one > other) - (one < other);
}

static double *take_pairs(int fd, size_t count, struct call *a, struct call *b)
{
	double *differences = calloc(count, sizeof(*differences));

	if (!differences)
		die("no memory");
	for (size_t i = 0; i < WARM; i++)
		(void)take_pair(fd, a, b);
	for (size_t i = 0; i < count; i++)
		differences[i] = take_pair(fd, a, b);
	qsort(differences, count, sizeof(*differences), by_size);
	return differences;
}

int main(int argc, char **argv)
{
	struct call a = { 0 }, b = { 0 };
	double *differences, low, high;
	size_t count, reach;
	int fd;

	if (argc != 8 || strlen(argv[4]) != strlen(argv[6]) || strlen(argv[5]) != strlen(argv[7]))
		die("usage: timing_pairs SOCKET PAIRS SPIN CALL-A NAME-A CALL-B NAME-B");
	count = strtoul(argv[2], NULL, 10);
	a.text = argv[4];
	a.name = argv[5];
	b.text = argv[6];
	b.name = argv[7];
	b.spin = strtoul(argv[3], NULL, 10);
	if (count < 100 || count > 10000000)
		die("from 100 to 10,000,000 pairs");
	fd = connect_to(argv[1]);
	differences = take_pairs(fd, count, &a, &b);
	reach = (size_t)ceil(Z * sqrt((double)count) / 2);
	low = differences[count / 2 - reach];
	high = differences[count / 2 + reach];
	(void)printf("%zu pairs, the second takes %.0f ns longer (%.0f to %.0f): %s\n", count,
	             differences[count / 2], low, high, a.answer);
	free(differences);
	(void)close(fd);
	return low > SLACK || high < -SLACK ? 3 : 0;
}
