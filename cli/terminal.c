#include "cli/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#include "common/file.h"

/* The signals that would leave a terminal without echo if they ended or stopped us while a secret is typed. */
static const int caught[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGALRM };
#define CAUGHT_COUNT (sizeof(caught) / sizeof(caught[0]))

/* Which of them came; global because a handler has no other way to say it. */
static volatile sig_atomic_t pending_signal;

static void note_signal(int number)
{
	pending_signal = number;
}

static int terminal_open(void)
{
	return open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
}

/* ---- one asks at a time ---- */

/* Those of Unix98, 256 to each number; before them, the screen's and the serial lines, whose names are others. */
#define PTS_MAJOR_FIRST 136U
#define PTS_MAJOR_LAST 143U
#define PTS_OF_EACH 256U

/*
 * Two that ask on one terminal, as those of a pipeline do, would take the echo for off that the other has turned off, and turn it on while the other's is typed. So whoever asks holds the terminal's own file,
 * which belongs to its user: /dev/tty is everybody's. -1: there is none to be had, and nobody is waited for.
 */
static int terminal_hold(int fd)
{
	char path[32];
	unsigned number = 0;
	struct stat status;
	CLEANUP(close_fdp) int held = -1;

	if (ioctl(fd, TIOCGDEV, &number) < 0 || major(number) < PTS_MAJOR_FIRST ||
	    major(number) > PTS_MAJOR_LAST)
		return -1;
	(void)snprintf(path, sizeof(path), "/dev/pts/%u",
	               (major(number) - PTS_MAJOR_FIRST) * PTS_OF_EACH + minor(number));
	held = open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	if (held < 0 || fstat(held, &status) < 0 || status.st_rdev != makedev(major(number), minor(number)))
		return -1;
	/* As long as the other one's answer takes: whoever does not want to wait ends either. */
	return flock(held, LOCK_EX) < 0 ? -1 : TAKE_FD(held);
}

bool terminal_available(void)
{
	CLEANUP(close_fdp) int fd = terminal_open();

	return fd >= 0;
}

static void signals_catch(struct sigaction *saved)
{
	struct sigaction action = { .sa_handler = note_signal };

	(void)sigemptyset(&action.sa_mask);
	for (size_t i = 0; i < CAUGHT_COUNT; i++) {
		(void)sigaction(caught[i], NULL, &saved[i]);
		if (saved[i].sa_handler != SIG_IGN)
			(void)sigaction(caught[i], &action, NULL);
	}
}

static void signals_restore(const struct sigaction *saved)
{
	for (size_t i = 0; i < CAUGHT_COUNT; i++)
		(void)sigaction(caught[i], &saved[i], NULL);
}

/* Until there is something to read, and false when a signal came: also one that came just before it was waited, which read(2) would not notice. */
static bool wait_for_key(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	sigset_t all, before;

	(void)sigemptyset(&all);
	for (size_t i = 0; i < CAUGHT_COUNT; i++)
		(void)sigaddset(&all, caught[i]);
	(void)sigprocmask(SIG_BLOCK, &all, &before);
	if (!pending_signal)
		(void)ppoll(&poll_fd, 1, NULL, &before);
	(void)sigprocmask(SIG_SETMASK, &before, NULL);
	return !pending_signal;
}

/* One byte at a time, so that nothing of what is typed stays in any other buffer of ours. */
static enum err read_line(int fd, struct secret *line, size_t *ret_len)
{
	uint8_t *space = secret_fill(line);
	size_t len = 0;

	for (;;) {
		uint8_t c = 0;
		ssize_t n = wait_for_key(fd) ? read(fd, &c, 1) : -1;

		if (n < 0 && errno == EINTR && !pending_signal)
			continue;
		if (n <= 0 || c == '\n' || c == '\r') {
			*ret_len = len;
			return n < 0 || (n == 0 && len == 0) ? ERR_PIN_NEEDED : OK;
		}
		if (len == secret_len(line))
			return ERR_USAGE;
		space[len++] = c;
	}
}

static enum err read_without_echo(int fd, const char *prompt, struct secret *line, size_t *ret_len)
{
	struct sigaction saved_actions[CAUGHT_COUNT];
	struct termios saved, quiet;
	enum err err;

	if (tcgetattr(fd, &saved) < 0)
		return ERR_PIN_NEEDED;
	signals_catch(saved_actions);
	quiet = saved;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	quiet.c_lflag |= ICANON | ISIG | ECHONL;
	/* Where echo stays on, as for a process that runs in the background by then, nothing is asked. */
	err = tcsetattr(fd, TCSAFLUSH, &quiet) < 0 ? ERR_PIN_NEEDED : OK;
	if (!err)
		err = file_write_all(fd, bytes_of_string(prompt));
	if (!err)
		err = read_line(fd, line, ret_len);
	(void)tcsetattr(fd, TCSAFLUSH, &saved);
	signals_restore(saved_actions);
	return err;
}

/* What came while somebody was asked is done now that the terminal is as it was. True when it was a stop, and we go on: then he is to be asked again, for what is typed meanwhile is another's. */
static bool obey_signal(int number)
{
	(void)raise(number);
	return number == SIGTSTP || number == SIGTTIN || number == SIGTTOU;
}

static enum err ask(int fd, const char *prompt, struct secret *line, size_t *ret_len)
{
	int held, number;
	enum err err;

	do {
		held = terminal_hold(fd);
		err = read_without_echo(fd, prompt, line, ret_len);
		close_fdp(&held);
		number = pending_signal;
		pending_signal = 0;
	} while (number && obey_signal(number));
	return number ? ERR_PIN_NEEDED : err;
}

enum err terminal_read_secret(const char *prompt, struct secret **ret_secret)
{
	CLEANUP(close_fdp) int fd = terminal_open();
	CLEANUP(secret_freep) struct secret *line = NULL;
	size_t len = 0;
	enum err err;

	if (fd < 0)
		return ERR_PIN_NEEDED;
	err = secret_new(TERMINAL_SECRET_MAX, &line);
	if (!err)
		err = ask(fd, prompt, line, &len);
	if (err)
		return err;
	if (len == 0)
		return ERR_PIN_NEEDED;
	secret_truncate(line, len);
	*ret_secret = TAKE(line);
	return OK;
}

enum err terminal_read_secret_twice(const char *prompt, const char *prompt_again, struct secret **ret_secret)
{
	CLEANUP(secret_freep) struct secret *first = NULL;
	CLEANUP(secret_freep) struct secret *second = NULL;
	enum err err = terminal_read_secret(prompt, &first);

	if (!err)
		err = terminal_read_secret(prompt_again, &second);
	if (err)
		return err;
	if (!secret_equal(first, second))
		return ERR_USAGE;
	*ret_secret = TAKE(first);
	return OK;
}

bool terminal_colours(int fd)
{
	const char *no_colour = getenv("NO_COLOR");
	const char *terminal = getenv("TERM");

	if (no_colour && no_colour[0])
		return false;
	return terminal && strcmp(terminal, "dumb") != 0 && isatty(fd);
}
