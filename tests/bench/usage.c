#include "tests/bench/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/bench/figure.h"
#include "tests/bench/socket_client.h"

#define PROCESSES_MAX 18U /* tokend's supervisor and its children, and this one, which is the first */

struct times {
	double user, kernel; /* seconds */
};

struct process {
	pid_t pid;
	char name[32];
	struct times before, spent;
};

struct usage {
	struct process processes[PROCESSES_MAX];
	size_t count;
	double began, lasted, calls;
};

/* The times stand behind the name, which may hold anything but is in brackets. */
static struct times times_of(pid_t pid)
{
	const double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
	unsigned long user = 0, kernel = 0;
	char path[64], line[1024];
	const char *end;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	file = fopen(path, "re");
	if (!file || !fgets(line, sizeof(line), file))
		bench_die(path, ERR_NO_FILE);
	(void)fclose(file);
	end = strrchr(line, ')');
	if (!end || sscanf(end, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) != 2)
		bench_die(path, ERR_BAD_FILE);
	return (struct times){ (double)user * tick, (double)kernel * tick };
}

static void read_name(struct process *process)
{
	char path[64];
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)process->pid);
	file = fopen(path, "re");
	if (!file || fscanf(file, "%31s", process->name) != 1)
		bench_die(path, ERR_NO_FILE);
	(void)fclose(file);
}

static void add(struct usage *usage, pid_t pid, const char *name)
{
	struct process *process = &usage->processes[usage->count];

	if (usage->count == PROCESSES_MAX)
		return;
	process->pid = pid;
	if (name)
		(void)snprintf(process->name, sizeof(process->name), "%s", name);
	else
		read_name(process);
	usage->count++;
}

static void add_children(struct usage *usage, pid_t parent)
{
	char path[64];
	FILE *file;
	int pid;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)parent, (int)parent);
	file = fopen(path, "re");
	if (!file)
		bench_die(path, ERR_NO_FILE);
	while (fscanf(file, "%d", &pid) == 1)
		add(usage, pid, NULL);
	(void)fclose(file);
}

/* Who listens is the supervisor, whose children are the others. */
static pid_t find_listener(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct ucred peer = { .pid = 0 };
	socklen_t len = sizeof(peer);

	(void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		bench_die(path, ERR_NO_DAEMON);
	(void)close(fd);
	return peer.pid;
}

struct usage *usage_new(const char *socket_path)
{
	struct usage *usage = calloc(1, sizeof(*usage));

	if (!usage)
		bench_die("usage", ERR_NOMEM);
	add(usage, getpid(), "client");
	add_children(usage, find_listener(socket_path));
	return usage;
}

struct usage *usage_free(struct usage *usage)
{
	free(usage);
	return NULL;
}

void usage_begin(struct usage *usage)
{
	for (size_t i = 0; i < usage->count; i++)
		usage->processes[i].before = times_of(usage->processes[i].pid);
	usage->began = figure_now();
}

void usage_end(struct usage *usage, double calls)
{
	usage->lasted += figure_now() - usage->began;
	usage->calls += calls;
	for (size_t i = 0; i < usage->count; i++) {
		struct process *process = &usage->processes[i];
		struct times now = times_of(process->pid);

		process->spent.user += now.user - process->before.user;
		process->spent.kernel += now.kernel - process->before.kernel;
	}
}

void usage_print(const struct usage *usage, const char *id, const char *what)
{
	const double processors = (double)sysconf(_SC_NPROCESSORS_ONLN), each = 1e6 / usage->calls;
	double all = 0;

	for (size_t i = 0; i < usage->count; i++)
		all += usage->processes[i].spent.user + usage->processes[i].spent.kernel;
	(void)printf(
	        "{\"id\":\"%s\",\"what\":\"%s: processors\",\"value\":%.4g,\"unit\":\"us each\",\"note\":\"",
	        id, what, all * each);
	for (size_t i = 0; i < usage->count; i++) {
		const struct times *spent = &usage->processes[i].spent;

		(void)printf("%s %.0f (kernel %.0f), ", usage->processes[i].name,
		             (spent->user + spent->kernel) * each, spent->kernel * each);
	}
	(void)printf("idle or others' %.0f %%\"}\n", 100 * (1 - all / (usage->lasted * processors)));
	(void)fflush(stdout);
}
