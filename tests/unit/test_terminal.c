/* What is typed for a secret does not show on the terminal: this file is the terminal, and processes on it ask. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cli/terminal.h"

#define SHOWN_MAX 1024U
#define WAIT_MS 5000
#define QUIET_MS 300

int __real_tcsetattr(int fd, int actions, const struct termios *termios);
int __wrap_tcsetattr(int fd, int actions, const struct termios *termios);

static bool refused; /* the next change of the terminal */

int __wrap_tcsetattr(int fd, int actions, const struct termios *termios)
{
	bool now = refused;

	refused = false;
	return now ? -1 : __real_tcsetattr(fd, actions, termios);
}

struct terminal {
	int fd; /* the other end */
	pid_t leader;
	char shown[SHOWN_MAX];
	size_t len;
};

/* What comes until it holds text; false when it does not come in time. */
static bool shows(struct terminal *terminal, const char *text, int wait_ms)
{
	struct pollfd poll_fd = { .fd = terminal->fd, .events = POLLIN };

	while (!text || !strstr(terminal->shown, text)) {
		ssize_t got = 0;

		if (poll(&poll_fd, 1, wait_ms) <= 0)
			return false;
		got = read(terminal->fd, terminal->shown + terminal->len, SHOWN_MAX - 1 - terminal->len);
		if (got <= 0)
			return false;
		terminal->len += (size_t)got;
	}
	return true;
}

static void type(const struct terminal *terminal, const char *text)
{
	assert_int_equal(write(terminal->fd, text, strlen(text)), strlen(text));
}

/* Asks once, and says on the terminal what came of it. */
static _Noreturn void ask(const char *prompt, bool refuse)
{
	struct secret *secret = NULL;
	enum err err;

	refused = refuse;
	err = terminal_read_secret(prompt, &secret);
	(void)dprintf(STDOUT_FILENO, "[%s]", err_info(err)->name);
	secret_free(secret);
	_exit(0);
}

/* A terminal with as many processes on it as there are prompts. */
static void terminal_begin(struct terminal *terminal, const char *const *prompts, size_t count, bool refuse)
{
	int other;

	memset(terminal, 0, sizeof(*terminal));
	terminal->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(terminal->fd >= 0 && grantpt(terminal->fd) == 0 && unlockpt(terminal->fd) == 0);
	other = open(ptsname(terminal->fd), O_RDWR | O_NOCTTY);
	assert_true(other >= 0);
	terminal->leader = fork();
	assert_true(terminal->leader >= 0);
	if (terminal->leader > 0) {
		(void)close(other);
		return;
	}
	(void)alarm(20);
	(void)setsid();
	(void)ioctl(other, TIOCSCTTY, 0);
	(void)dup2(other, STDOUT_FILENO);
	for (size_t i = 0; i < count; i++)
		if (fork() == 0)
			ask(prompts[i], refuse);
	while (wait(NULL) > 0)
		;
	_exit(0);
}

static void terminal_end(struct terminal *terminal)
{
	int status = 0;

	assert_int_equal(waitpid(terminal->leader, &status, 0), terminal->leader);
	assert_int_equal(status, 0);
	(void)close(terminal->fd);
}

static void test_not_shown(void **state)
{
	static const char *const prompts[] = { "PIN: " };
	struct terminal terminal;

	(void)state;
	terminal_begin(&terminal, prompts, 1, false);
	assert_true(shows(&terminal, "PIN: ", WAIT_MS));
	type(&terminal, "2468\n");
	assert_true(shows(&terminal, "[ok]", WAIT_MS));
	assert_null(strstr(terminal.shown, "2468"));
	terminal_end(&terminal);
}

/* Neither is answered while the other one's echo is on. */
static void test_two_at_once(void **state)
{
	static const char *const prompts[] = { "first: ", "second: " };
	struct terminal terminal;
	bool second;

	(void)state;
	terminal_begin(&terminal, prompts, 2, false);
	assert_true(shows(&terminal, ": ", WAIT_MS));
	second = strstr(terminal.shown, prompts[1]) != NULL;
	assert_false(shows(&terminal, prompts[!second], QUIET_MS));
	type(&terminal, "2468\n");
	assert_true(shows(&terminal, prompts[!second], WAIT_MS));
	type(&terminal, "1357\n");
	(void)shows(&terminal, NULL, QUIET_MS);
	assert_null(strstr(terminal.shown, "2468"));
	assert_null(strstr(terminal.shown, "1357"));
	terminal_end(&terminal);
}

/* Where echo cannot be turned off nobody is asked. */
static void test_echo_stays(void **state)
{
	static const char *const prompts[] = { "PIN: " };
	struct terminal terminal;

	(void)state;
	terminal_begin(&terminal, prompts, 1, true);
	assert_true(shows(&terminal, "]", WAIT_MS));
	assert_null(strstr(terminal.shown, "PIN: "));
	assert_null(strstr(terminal.shown, "[ok]"));
	terminal_end(&terminal);
}

/* Who stopped it and lets it go on is asked again: what he types is not for the shell's history. (In a group that nobody could let go on, the kernel lets none be stopped.) */
static void test_stopped(void **state)
{
	static const char *const prompts[] = { "PIN: " };
	struct terminal terminal;

	(void)state;
	terminal_begin(&terminal, prompts, 1, false);
	assert_true(shows(&terminal, "PIN: ", WAIT_MS));
	type(&terminal, "24\x1a");
	assert_true(shows(&terminal, "PIN: PIN: ", WAIT_MS));
	type(&terminal, "1357\n");
	assert_true(shows(&terminal, "[ok]", WAIT_MS));
	assert_null(strstr(terminal.shown, "24"));
	assert_null(strstr(terminal.shown, "1357"));
	terminal_end(&terminal);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_shown),
		cmocka_unit_test(test_two_at_once),
		cmocka_unit_test(test_echo_stays),
		cmocka_unit_test(test_stopped),
	};

	return cmocka_run_group_tests_name("terminal", tests, NULL, NULL);
}
