/*
 * Usage
 *
 * Where the time of a call goes: what a client and the processes of the tokend that it asks spend on the processors while it asks, by process, and how much of it in the kernel. It stands
 * beside a ratio and shows why that is what it is; a processor that waits for the disk shows as what is left.
 */
#pragma once

#include <stddef.h>

struct usage;

/* Of the tokend that listens on that socket. Ends the program when nobody does. */
struct usage *usage_new(const char *socket_path);
struct usage *usage_free(struct usage *usage);

/* Around what is measured, as often as it is; calls: how many were answered in between. */
void usage_begin(struct usage *usage);
void usage_end(struct usage *usage, double calls);

/* One line of JSON: microseconds of all processors together for a call, and whose they were. */
void usage_print(const struct usage *usage, const char *id, const char *what);
