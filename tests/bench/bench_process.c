/*
 * The wall time of whole processes: bench_process ID WHAT FLOOR-NAME RUNS SUBJECT... -- FLOOR... starts both in turn (A B B A), standard output
 * to /dev/null, and compares from the start to the end of each. A run that fails is repeated, for a failure is quick, and how many did is said; one that keeps failing ends the bench.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/figure.h"

#define WARM_UP 5U
#define TRIES 5

extern char **environ;

static posix_spawn_file_actions_t quiet;
static unsigned repeated;

__attribute__((noreturn)) static void die(const char *what, const char *why)
{
	(void)fprintf(stderr, "bench_process: %s: %s\n", what, why);
	exit(1);
}

/* False: it did not end with 0. */
static bool run(char **command, double *ret_milliseconds)
{
	double start = figure_now();
	int status;
	pid_t pid;
	int problem = posix_spawnp(&pid, command[0], &quiet, NULL, command, environ);

	if (problem)
		die(command[0], strerror(problem));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("waitpid", strerror(errno));
	*ret_milliseconds = (figure_now() - start) * 1e3;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static double milliseconds_of(char **command)
{
	double milliseconds;

	for (int i = 0; i < TRIES; i++) {
		if (run(command, &milliseconds))
			return milliseconds;
		repeated++;
	}
	die(command[0], "did not end with 0");
}

struct commands {
	char **subject, **floor;
};

static double run_subject(void *context)
{
	return milliseconds_of(((const struct commands *)context)->subject);
}

static double run_floor(void *context)
{
	return milliseconds_of(((const struct commands *)context)->floor);
}

int main(int argc, char **argv)
{
	static struct figure figure = { .unit = "ms" };
	struct commands commands = { argv + 5, argv + 5 };

	while (commands.floor < argv + argc && strcmp(*commands.floor, "--") != 0)
		commands.floor++;
	if (argc < 8 || commands.floor == commands.subject || commands.floor + 1 >= argv + argc) {
		(void)fprintf(stderr,
		              "usage: bench_process ID WHAT FLOOR-NAME RUNS SUBJECT... -- FLOOR...\n");
		return 2;
	}
	*commands.floor++ = NULL;
	figure.id = argv[1];
	figure.what = argv[2];
	figure.floor = argv[3];
	figure.runs = figure_runs(argv[4]);
	if (posix_spawn_file_actions_init(&quiet) ||
	    posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0))
		die("posix_spawn", "no memory");
	for (size_t i = 1; i < WARM_UP; i++) {
		(void)run_subject(&commands);
		(void)run_floor(&commands);
	}
	figure_compare(&figure, run_subject, run_floor, &commands);
	figure_print(&figure);
	if (repeated)
		(void)fprintf(stderr, "bench: %u runs failed and were repeated\n", repeated);
	(void)posix_spawn_file_actions_destroy(&quiet);
	return 0;
}
