#include "cli/editor.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/shown.h"
#include "common/cleanup.h"
#include "common/path.h"

#define COMMAND_MAX 4096U
#define CHILDREN_MAX 1024U /* bytes of their list */
#define MOMENT 3U /* seconds for an editor that was told to end */

/* Those of the keyboard, those of others, and what is ours to be waited for. */
static const int signals[] = { SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGPIPE, SIGCHLD };
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))
#define KEYBOARD 2U
#define NOTED 4U

/* Global because a handler has no argument. */
static volatile sig_atomic_t noted;

static void note(int number)
{
	noted = number;
}

static void set(size_t i, void (*handler)(int))
{
	const struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };

	(void)sigaction(signals[i], &action, NULL);
}

/* What was ignored when we were started (nohup) stays so. */
void editor_signals_take(void)
{
	struct sigaction before;

	noted = 0;
	for (size_t i = 0; i < SIGNALS; i++) {
		(void)sigaction(signals[i], NULL, &before);
		if (i < NOTED && before.sa_handler != SIG_IGN)
			set(i, note);
		else if (signals[i] == SIGPIPE)
			set(i, SIG_IGN);
		else if (signals[i] == SIGCHLD)
			set(i, SIG_DFL);
	}
}

int editor_signal(void)
{
	return noted;
}

static const char *editor(void)
{
	static const char *const names[] = { "SOPS_EDITOR", "VISUAL", "EDITOR" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);

		if (value && value[0])
			return value;
	}
	return "vi";
}

/* The default is a name of many editors; which one it is shows where it leads. */
static bool is_vim(const char *command, size_t len)
{
	static const char *const names[] = { "vim", "nvim", "gvim", "vimx" };
	const char *slash = memrchr(command, '/', len);
	char path[PATH_MAX];

	if (slash) {
		len -= (size_t)(slash + 1 - command);
		command = slash + 1;
	}
	if (len == strlen("vi") && memcmp(command, "vi", len) == 0)
		return realpath("/usr/bin/vi", path) && strstr(path_name(path), "vim");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == len && memcmp(names[i], command, len) == 0)
			return true;
	return false;
}

/* vim keeps what was copied or deleted in a file of its own, and backups, swap and undo files wherever its user wants to have them: none of this text. */
static bool editor_command(char out[static COMMAND_MAX])
{
	static const char nowhere_else[] = " -n -c 'set viminfo= nobackup nowritebackup noundofile'";
	const char *command = editor();
	size_t len = strcspn(command, " \t");

	return (size_t)snprintf(out, COMMAND_MAX, "trap : HUP TERM; %.*s%s%s \"$1\"", (int)len, command,
	                        is_vim(command, len) ? nowhere_else : "", command + len) < COMMAND_MAX;
}

/* Through the shell, for an editor may have arguments of its own. What ends an editor does not end the shell before it: only when the editor is over it has saved what it saves then. */
static _Noreturn void become_editor(const char *file, const sigset_t *mask)
{
	char command[COMMAND_MAX];

	for (size_t i = 0; i < SIGNALS; i++)
		set(i, SIG_DFL);
	(void)sigprocmask(SIG_SETMASK, mask, NULL);
	if (editor_command(command))
		(void)execl("/bin/sh", "sh", "-c", command, "tokenctl", file, (char *)NULL);
	_exit(127);
}

/* Those whom the shell waits for; false when there are none. */
static bool tell_children(pid_t shell)
{
	char path[64], list[CHILDREN_MAX];
	const char *rest = list;
	bool told = false;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)shell, (int)shell);
	CLEANUP(fclosep) FILE *file = fopen(path, "re");
	if (!file || !fgets(list, sizeof(list), file))
		return false;
	for (;;) {
		char *end;
		long child = strtol(rest, &end, 10);

		if (end == rest || child <= 1)
			return told;
		told |= kill((pid_t)child, noted) == 0;
		rest = end;
	}
}

/* The editor, and not the shell before it. */
static void tell(pid_t child)
{
	if (!tell_children(child))
		(void)kill(child, noted);
}

/* Signals come in while it waits, and at no other time. False: the editor goes on although it was told to end. */
static bool wait_for(pid_t child, const sigset_t *mask, int *ret_status)
{
	static const struct timespec second = { .tv_sec = 1 };
	CLEANUP(close_fdp) int handle = pidfd_open(child, 0);
	struct pollfd end = { .fd = handle, .events = POLLIN };
	unsigned told = 0;

	while (waitpid(child, ret_status, WNOHANG) == 0) {
		if (noted && told == 0)
			tell(child);
		if (noted && told++ > MOMENT)
			return false;
		(void)ppoll(&end, 1, &second, mask);
	}
	return true;
}

/* The editor's status, or -1. */
static enum err start_and_wait(const char *file, int *ret_status)
{
	sigset_t ending, mask;
	enum err err = OK;
	pid_t child;

	(void)sigemptyset(&ending);
	for (size_t i = 0; i < NOTED; i++)
		(void)sigaddset(&ending, signals[i]);
	(void)sigprocmask(SIG_BLOCK, &ending, &mask);
	child = fork();
	if (child == 0)
		become_editor(file, &mask);
	if (child < 0)
		err = ERR_SYSTEM;
	else if (!wait_for(child, &mask, ret_status))
		*ret_status = -1;
	(void)sigprocmask(SIG_SETMASK, &mask, NULL);
	return err;
}

static enum err run(const char *file, int *ret_status)
{
	struct sigaction before[KEYBOARD];
	enum err err;

	for (size_t i = 0; i < KEYBOARD; i++) {
		(void)sigaction(signals[i], NULL, &before[i]);
		set(i, SIG_IGN);
	}
	err = start_and_wait(file, ret_status);
	for (size_t i = 0; i < KEYBOARD; i++)
		(void)sigaction(signals[i], &before[i], NULL);
	return err;
}

static enum err explain(int status, const char *edited, struct problem *problem)
{
	char quoted[SHOWN_QUOTED_MAX];

	shown_quote(edited, quoted);
	if (noted)
		(void)problem_set(problem, ERR_SYSTEM, "tokenctl was told to end (%s) while %s was edited",
		                  strsignal(noted), edited);
	else
		(void)problem_set(problem, ERR_SYSTEM, "the editor (%s) ended with %s %d", editor(),
		                  WIFEXITED(status) ? "status" : "signal",
		                  WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	problem_hint(problem,
	             noted ? "tokenctl edit %s" : "EDITOR=nano tokenctl edit %s   takes another editor",
	             quoted);
	return ERR_SYSTEM;
}

enum err editor_run(const char *file, const char *edited, struct problem *problem)
{
	int status = -1;

	if (run(file, &status))
		return problem_errno(problem, errno, "cannot start", editor());
	return !noted && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? OK
	                                                               : explain(status, edited, problem);
}
