#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/control.h"

#define ALARMS 3 /* before the daemon takes somebody out of its queue */

static int listener = -1;
static volatile sig_atomic_t alarms;

static void on_alarm(int number)
{
	(void)number;
	if (++alarms == ALARMS)
		(void)accept(listener, NULL, NULL);
}

static void listen_at(const char *directory, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	assert_true(snprintf(address->sun_path, sizeof(address->sun_path), "%s/" CONTROL_SOCKET_NAME,
	                     directory) < (int)sizeof(address->sun_path));
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (const struct sockaddr *)address, sizeof(*address)), 0);
	assert_int_equal(listen(listener, 0), 0);
}

/* The queue is full, and signals come while we wait for room in it: each of them ends the system call. */
static void test_signals_while_connecting(void **state)
{
	const struct sigaction action = { .sa_handler = on_alarm }; /* without SA_RESTART */
	const struct itimerval often = { { 0, 20000 }, { 0, 20000 } }, never = { { 0, 0 }, { 0, 0 } };
	char directory[] = "/tmp/test_control.XXXXXX";
	CLEANUP(control_freep) struct control *control = NULL;
	struct sockaddr_un address;
	uid_t stranger = 0;
	int first = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	enum err err;

	(void)state;
	assert_non_null(mkdtemp(directory));
	assert_int_equal(setenv("TOKEND_RUNTIME_DIR", directory, 1), 0);
	listen_at(directory, &address);
	assert_int_equal(connect(first, (const struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(sigaction(SIGALRM, &action, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	err = control_connect(&control, &stranger);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	assert_int_equal(err, OK);
	assert_true(alarms >= ALARMS);
	(void)close(first);
	(void)close(listener);
	(void)unlink(address.sun_path);
	(void)rmdir(directory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signals_while_connecting),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
