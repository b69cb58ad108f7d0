#include "tpm/bus.h"

#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/thread.h"

#define THREAD_STACK 65536U

struct bus {
	TSS2_TCTI_CONTEXT *inner; /* borrowed */
	const struct token_meanwhile *meanwhile; /* borrowed */
	pthread_t thread;
	bool started;
	sem_t go;
	int done; /* an eventfd */
	/* the thread's from go to done, else the helper's */
	bool end;
	size_t len;
	uint8_t *data;
	TSS2_RC rc;
};

static void *wait_for_answers(void *context)
{
	struct bus *bus = context;
	const uint64_t one = 1;

	for (;;) {
		while (sem_wait(&bus->go) < 0)
			;
		if (bus->end)
			return NULL;
		bus->rc = Tss2_Tcti_Receive(bus->inner, &bus->len, bus->data, TSS2_TCTI_TIMEOUT_BLOCK);
		(void)!write(bus->done, &one, sizeof(one));
	}
}

enum err bus_new(TSS2_TCTI_CONTEXT *inner, const struct token_meanwhile *meanwhile, struct bus **ret_bus)
{
	CLEANUP(bus_freep) struct bus *bus = calloc(1, sizeof(*bus));
	enum err err;

	if (!bus)
		return ERR_NOMEM;
	bus->inner = inner;
	bus->meanwhile = meanwhile;
	(void)sem_init(&bus->go, 0, 0);
	bus->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	err = bus->done < 0 ? ERR_SYSTEM : thread_start(THREAD_STACK, wait_for_answers, bus, &bus->thread);
	if (err)
		return err;
	bus->started = true;
	*ret_bus = TAKE(bus);
	return OK;
}

struct bus *bus_free(struct bus *bus)
{
	if (!bus)
		return NULL;
	if (bus->started) {
		bus->end = true;
		(void)sem_post(&bus->go);
		(void)pthread_join(bus->thread, NULL);
	}
	(void)sem_destroy(&bus->go);
	if (bus->done >= 0)
		(void)close(bus->done);
	free(bus);
	return NULL;
}

/* The descriptor that is not to be watched any more is -1, which poll passes over. How long all of this may take is the broker's business: it ends the process. */
static void look_after_others(const struct bus *bus)
{
	struct pollfd fds[] = {
		{ .fd = bus->done, .events = POLLIN },
		{ .fd = bus->meanwhile->fd, .events = POLLIN },
	};

	while (!fds[0].revents) {
		/* A kernel without memory for a moment is no reason to leave the device in the middle of a command. */
		if (poll(fds, 2, -1) < 0) {
			fds[0].revents = fds[1].revents = 0;
			clock_pause(1);
		}
		if (!fds[0].revents && fds[1].revents && !bus->meanwhile->act(bus->meanwhile->context))
			fds[1].fd = -1;
	}
}

TSS2_RC bus_receive(struct bus *bus, size_t *len, uint8_t *data)
{
	uint64_t count;

	bus->len = *len;
	bus->data = data;
	(void)sem_post(&bus->go);
	look_after_others(bus);
	(void)!read(bus->done, &count, sizeof(count));
	*len = bus->len;
	return bus->rc;
}
