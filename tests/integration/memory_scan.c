/*
 * Looks for known secrets in the memory of processes, from outside and as root: what tests/integration/memory.py judges by.
 *
 *	memory_scan now PATTERNS PID...             the processes, as they are
 *	memory_scan exit PATTERNS REPORT COMMAND... runs it; each process of it is looked at when it is about to end, while its memory still stands
 *	memory_scan during PATTERNS PID             the process, whenever its main thread is about to write or to send, until SIGTERM comes
 *	memory_scan crash PID                       has it end by SIGSEGV, and says whether the kernel wrote a core dump
 *
 * PATTERNS has a line "NAME HEX" for each string of bytes. A report has a line for each place that holds one, and one for each process:
 *
 *	hit PID PROGRAM NAME PLACE ADDRESS          PLACE: pool (locked, left out of core dumps and of children), or the name of another mapping
 *	scanned PID PROGRAM BYTES MAPPINGS
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATTERNS_MAX 4096U
#define PATTERN_MAX 256U
#define PIECE_LEN (1U << 20)

struct pattern {
	char name[96];
	uint8_t bytes[PATTERN_MAX];
	size_t len;
};

static struct pattern patterns[PATTERNS_MAX];
static size_t pattern_count;
/* For the first two bytes of what may be one: the first pattern, and for each pattern the next with the same; counted from 1. */
static uint16_t first_of[65536], next_of[PATTERNS_MAX + 1];
static uint8_t piece[PIECE_LEN + PATTERN_MAX];
static FILE *report;

static __attribute__((noreturn)) void die(const char *what, const char *name)
{
	(void)fprintf(stderr, "memory_scan: %s %s: %s\n", what, name, strerror(errno));
	exit(2);
}

/* ---- what is looked for ---- */

static unsigned pair_of(const uint8_t *bytes)
{
	return (unsigned)bytes[0] << 8 | bytes[1];
}

static void pattern_add(const char *name, const char *hex)
{
	struct pattern *pattern = &patterns[pattern_count];

	if (pattern_count == PATTERNS_MAX || strlen(hex) > 2 * PATTERN_MAX || strlen(hex) < 16)
		die("cannot take the pattern", name);
	(void)snprintf(pattern->name, sizeof(pattern->name), "%s", name);
	for (; isxdigit(hex[0]) && isxdigit(hex[1]); hex += 2)
		if (sscanf(hex, "%2hhx", &pattern->bytes[pattern->len++]) != 1)
			die("cannot read the pattern", name);
	pattern_count++;
	next_of[pattern_count] = first_of[pair_of(pattern->bytes)];
	first_of[pair_of(pattern->bytes)] = (uint16_t)pattern_count;
}

static void patterns_read(const char *path)
{
	char name[96], hex[2 * PATTERN_MAX + 1];
	FILE *file = fopen(path, "re");

	if (!file)
		die("cannot open", path);
	while (fscanf(file, "%95s %512s", name, hex) == 2)
		pattern_add(name, hex);
	(void)fclose(file);
	if (pattern_count == 0)
		die("no patterns in", path);
}

/* ---- the mappings of a process ---- */

struct mapping {
	unsigned long start, end;
	char permissions[8];
	char name[64];
	unsigned long resident, swapped; /* KiB */
	bool pool;
};

/* The flags that common/secret.c asks for, and nobody else: locked, left out of core dumps, wiped in children. */
static bool flags_of_pool(const char *flags)
{
	return strstr(flags, " lo") && strstr(flags, " dd") && strstr(flags, " wf");
}

/* Reads one entry of smaps: a line of addresses, and lines of numbers up to the one with the flags. */
static bool mapping_read(FILE *smaps, struct mapping *mapping)
{
	char line[512];
	int name = 0;

	*mapping = (struct mapping){ 0 };
	if (!fgets(line, sizeof(line), smaps))
		return false;
	if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %n", &mapping->start, &mapping->end, mapping->permissions,
	           &name) < 3)
		return false;
	(void)snprintf(mapping->name, sizeof(mapping->name), "%.*s", (int)strcspn(line + name, " \n"),
	               line + name);
	if (mapping->name[0] == '\0')
		(void)snprintf(mapping->name, sizeof(mapping->name), "anonymous");
	while (fgets(line, sizeof(line), smaps) && strncmp(line, "VmFlags:", 8) != 0) {
		(void)sscanf(line, "Rss: %lu", &mapping->resident);
		(void)sscanf(line, "Swap: %lu", &mapping->swapped);
	}
	mapping->pool = flags_of_pool(line);
	return true;
}

/* ---- looking ---- */

struct process {
	pid_t pid;
	char program[64];
	int memory;
	unsigned long long bytes;
	unsigned mappings;
};

static void look_at(const struct process *process, const struct mapping *mapping, unsigned long address,
                    size_t fresh, size_t len)
{
	for (size_t i = 0; i < fresh && i + 1 < len; i++)
		for (uint16_t number = first_of[pair_of(piece + i)]; number; number = next_of[number]) {
			const struct pattern *pattern = &patterns[number - 1];

			if (i + pattern->len <= len && memcmp(piece + i, pattern->bytes, pattern->len) == 0)
				(void)fprintf(report, "hit %d %s %s %s %lx\n", process->pid, process->program,
				              pattern->name, mapping->pool ? "pool" : mapping->name,
				              address + i);
		}
}

/* In pieces that overlap, so that what lies across two of them is seen. */
static void scan_mapping(struct process *process, const struct mapping *mapping)
{
	process->mappings++;
	for (unsigned long at = mapping->start; at < mapping->end; at += PIECE_LEN) {
		unsigned long left = mapping->end - at;
		size_t wanted = left < sizeof(piece) ? left : sizeof(piece);
		ssize_t got = pread(process->memory, piece, wanted, (off_t)at);

		if (got <= 0)
			continue;
		process->bytes += (size_t)got < PIECE_LEN ? (size_t)got : PIECE_LEN;
		look_at(process, mapping, at, PIECE_LEN, (size_t)got);
	}
}

static bool worth_looking(const struct mapping *mapping)
{
	/* Nobody can read the kernel's own; where no page is, none was written. */
	return mapping->permissions[0] == 'r' && (mapping->resident || mapping->swapped) &&
	       strcmp(mapping->name, "[vvar]") != 0 && strcmp(mapping->name, "[vsyscall]") != 0;
}

static FILE *open_of(pid_t pid, const char *name)
{
	char path[64];
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	file = fopen(path, "re");
	if (!file)
		die("cannot open", path);
	return file;
}

static void scan(pid_t pid)
{
	struct process process = { .pid = pid };
	struct mapping mapping;
	char path[64];
	FILE *file = open_of(pid, "comm");

	if (fscanf(file, "%63s", process.program) != 1)
		die("nameless", "process");
	(void)fclose(file);
	(void)snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	process.memory = open(path, O_RDONLY | O_CLOEXEC);
	if (process.memory < 0)
		die("cannot open", path);
	file = open_of(pid, "smaps");
	while (mapping_read(file, &mapping))
		if (worth_looking(&mapping))
			scan_mapping(&process, &mapping);
	(void)fclose(file);
	(void)close(process.memory);
	(void)fprintf(report, "scanned %d %s %llu %u\n", pid, process.program, process.bytes,
	              process.mappings);
}

/* ---- at the end of a process ---- */

#define OPTIONS                                                                                \
	(PTRACE_O_TRACEEXIT | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | \
	 PTRACE_O_TRACEEXEC)

static pid_t leader_of(pid_t thread)
{
	char line[128];
	int leader = 0;
	FILE *file = open_of(thread, "status");

	while (fgets(line, sizeof(line), file) && sscanf(line, "Tgid: %d", &leader) != 1)
		;
	(void)fclose(file);
	return leader;
}

/* What to pass on to a stopped thread, after whatever is to be done where it stopped. */
static long at_stop(pid_t pid, int status)
{
	int signal_number = WSTOPSIG(status), event = status >> 16;

	if (event == PTRACE_EVENT_EXIT && leader_of(pid) == pid)
		scan(pid);
	if (event || signal_number == SIGSTOP || signal_number == SIGTRAP)
		return 0;
	return signal_number;
}

static int follow(pid_t first)
{
	int status, result = 2;
	pid_t pid;

	while ((pid = waitpid(-1, &status, __WALL)) > 0) {
		if (WIFSTOPPED(status))
			(void)ptrace(PTRACE_CONT, pid, NULL, at_stop(pid, status));
		else if (pid == first)
			result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	}
	return result;
}

static int scan_at_exit(char **command)
{
	pid_t pid = fork();

	if (pid < 0)
		die("cannot fork for", command[0]);
	if (pid == 0) {
		(void)raise(SIGSTOP);
		(void)execvp(command[0], command);
		_exit(127);
	}
	/* A plugin's client sends it when it has heard enough. The plugin does not mind, and whoever looks must not. */
	(void)signal(SIGINT, SIG_IGN);
	if (waitpid(pid, NULL, WUNTRACED) != pid || ptrace(PTRACE_SEIZE, pid, NULL, OPTIONS) < 0)
		die("cannot trace", command[0]);
	(void)kill(pid, SIGCONT);
	return follow(pid);
}

/* ---- while something is under way ---- */

static volatile sig_atomic_t told_to_end;

static void on_term(int number)
{
	(void)number;
	told_to_end = 1;
}

static bool is_about_to_send(pid_t pid)
{
	static const uint64_t calls[] = { SYS_write,    SYS_writev,    SYS_sendto,     SYS_sendmsg,
		                          SYS_pwrite64, SYS_fdatasync, SYS_epoll_wait, SYS_epoll_pwait };
	struct __ptrace_syscall_info info;

	if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0 ||
	    info.op != PTRACE_SYSCALL_INFO_ENTRY)
		return false;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (info.entry.nr == calls[i])
			return true;
	return false;
}

/* Its end lets the process go on alone. */
static int scan_during(pid_t pid)
{
	const struct sigaction action = { .sa_handler = on_term };
	int status;

	(void)sigaction(SIGTERM, &action, NULL);
	if (ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACESYSGOOD) < 0 ||
	    ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0)
		die("cannot trace", "the process");
	while (!told_to_end && waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {
		bool at_call = WSTOPSIG(status) == (SIGTRAP | 0x80);

		if (at_call && is_about_to_send(pid))
			scan(pid);
		if (!at_call && status >> 16 == PTRACE_EVENT_STOP) {
			(void)fputs("ready\n", report);
			(void)fflush(report);
		}
		(void)ptrace(PTRACE_SYSCALL, pid, NULL,
		             at_call || status >> 16 ? 0L : (long)WSTOPSIG(status));
	}
	return 0;
}

/* ---- a crash ---- */

static int crash(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, NULL, 0) < 0 || kill(pid, SIGSEGV) < 0)
		die("cannot trace", "the process");
	while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
		(void)ptrace(PTRACE_CONT, pid, NULL, WSTOPSIG(status) == SIGTRAP ? 0 : WSTOPSIG(status));
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSEGV) {
		(void)printf("it did not crash: status %x\n", (unsigned)status);
		return 1;
	}
	(void)puts(WCOREDUMP(status) ? "core" : "no core");
	return 0;
}

int main(int argc, char **argv)
{
	int result = 0;

	if (argc == 3 && strcmp(argv[1], "crash") == 0)
		return crash(atoi(argv[2]));
	if (argc < 4)
		return 2;
	patterns_read(argv[2]);
	report = strcmp(argv[1], "exit") == 0 ? fopen(argv[3], "ae") : stdout;
	if (!report)
		die("cannot open", argv[3]);
	if (strcmp(argv[1], "exit") == 0)
		result = scan_at_exit(argv + 4);
	else if (strcmp(argv[1], "during") == 0)
		result = scan_during(atoi(argv[3]));
	else
		for (int i = 3; i < argc; i++)
			scan(atoi(argv[i]));
	return fflush(report) == 0 ? result : 2;
}
