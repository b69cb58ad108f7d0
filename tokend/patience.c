#include "tokend/patience.h"

#include <errno.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/cleanup.h"

#define OPTION_PASSRIGHTS 83 /* SO_PASSRIGHTS; the headers of Debian 12 do not have it */
#define PATIENCE_USEC 50 /* until the first signal; there can be a thousand to wait for */
#define PATIENCE_USEC_MAX 50000L

void patience_refuse(int listener)
{
	const int no = 0;

	(void)setsockopt(listener, SOL_SOCKET, OPTION_PASSRIGHTS, &no, sizeof(no));
}

bool patience_is_needed(int connection)
{
	int passes = 1;
	socklen_t len = sizeof(passes);

	return getsockopt(connection, SOL_SOCKET, OPTION_PASSRIGHTS, &passes, &len) < 0 || passes;
}

/* Where nobody handles it, in a test of parts, the signal would be the end. */
static bool handled;

static volatile sig_atomic_t patience; /* until the signal after this one; 0: none is wanted */

static void set_timer(long usec)
{
	const struct itimerval timer = { .it_value.tv_usec = usec };

	patience = (sig_atomic_t)usec;
	(void)setitimer(ITIMER_REAL, &timer, NULL);
}

/* That it came is all; but it may have come before the wait began, so another one follows. Each after twice as long: where a signal takes longer than the time between two of them, nothing else would get on. */
static void on_alarm(int number)
{
	const int error = errno;

	(void)number;
	if (patience > 0)
		set_timer(patience < PATIENCE_USEC_MAX ? 2 * patience : patience);
	errno = error;
}

enum err patience_init(void)
{
	const struct sigaction action = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	sigset_t alarm_only;

	(void)sigemptyset(&alarm_only);
	(void)sigaddset(&alarm_only, SIGALRM);
	if (sigaction(SIGALRM, &action, NULL) < 0 || sigprocmask(SIG_UNBLOCK, &alarm_only, NULL) < 0)
		return ERR_SYSTEM;
	handled = true;
	return OK;
}

void patience_begin(void)
{
	if (handled)
		set_timer(PATIENCE_USEC);
}

/* What went wrong in between is still to be asked for. */
void patience_end(void)
{
	const int error = errno;

	if (handled)
		set_timer(0);
	errno = error;
}

void patience_close(int fd)
{
	patience_begin();
	close_fdp(&fd);
	patience_end();
}
