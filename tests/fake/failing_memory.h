/*
 * One allocation that fails, chosen by the input of a fuzz target: whoever reads what others wrote has to bear that as well. Only the thread that asked for it is refused, and only what our own code
 * asks for; what a library allocates for itself is its own.
 */
#pragma once

#include <stdbool.h>

/* The nth allocation from now on fails, counted from 1; 0: none does. */
void failing_memory_begin(unsigned nth);

/* None fails any more. Did one? */
bool failing_memory_end(void);

/* What the target itself allocates in between does not count: the result is for failing_memory_resume. */
unsigned failing_memory_pause(void);
void failing_memory_resume(unsigned paused);
