/*
 * Clock
 *
 * The time that only goes forward, whatever is done to the time of day (CLOCK_MONOTONIC): for deadlines, and for how long something took. It knows no date; who writes one down asks for the time of day himself.
 */
#pragma once

#include <stdint.h>

/* Microseconds since some moment before the process began: only differences say something, and the times of an event loop's timers, which are of the same clock. */
uint64_t clock_microseconds(void);

/* Waits so many milliseconds, or less when a signal comes: whoever waits for something looks again, and has a deadline of his own. Not for an event loop. */
void clock_pause(unsigned milliseconds);
