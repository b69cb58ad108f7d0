#include "common/clock.h"

#include <time.h>

uint64_t clock_microseconds(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void clock_pause(unsigned milliseconds)
{
	const struct timespec pause = { .tv_sec = milliseconds / 1000,
		                        .tv_nsec = (long)(milliseconds % 1000) * 1000000L };

	(void)nanosleep(&pause, NULL);
}
