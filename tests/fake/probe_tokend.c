/* The double of tokend: broker and supervisor serve as ever, and look now and then whether it is their turn. */
#include <poll.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "tests/fake/probe.h"

#define LOOK_MS 20

int __wrap_sd_event_loop(sd_event *event);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout);
int __real_poll(struct pollfd *fds, nfds_t count, int timeout);

/* The broker's: all of it is set up. */
int __wrap_sd_event_loop(sd_event *event)
{
	int status = 0;

	while (sd_event_get_state(event) != SD_EVENT_FINISHED) {
		int result = sd_event_run(event, LOOK_MS * 1000);

		if (result < 0)
			return result;
		probe_if_asked();
	}
	return sd_event_get_exit_code(event, &status) < 0 ? 1 : status;
}

/* The supervisor's waits without end; others ask how things are now. */
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout)
{
	int result;

	if (timeout >= 0)
		return __real_poll(fds, count, timeout);
	while ((result = __real_poll(fds, count, LOOK_MS)) == 0)
		probe_if_asked();
	return result;
}
