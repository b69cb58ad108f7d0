/* The control: the same acts in processes that nothing confines, each in one of its own, with name spaces of its own for what it does to the machine. */
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/fake/probe.h"

/* Returns whether there is such a row. */
static int alone(struct probe_plan *plan, unsigned row)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		if (unshare(CLONE_NEWNS | CLONE_NEWUTS) < 0 ||
		    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
			_exit(2);
		_exit(!probe_one(plan, row));
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 0;
	return !WIFEXITED(status) || WEXITSTATUS(status) == 0;
}

int main(int argc, char **argv)
{
	struct probe_plan *plan = argc == 2 ? probe_map(argv[1]) : NULL;
	unsigned count = 0;

	if (!plan || geteuid() != 0) {
		(void)fprintf(stderr, "Usage: %s PLAN   (as root)\n", argv[0]);
		return 2;
	}
	while (count < PROBE_ROWS_MAX && alone(plan, count))
		count++;
	plan->count = count;
	return 0;
}
