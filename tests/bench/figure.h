/*
 * Figure
 *
 * What one comparison found: subject and floor measured in turn in one run, their ratio with an interval, printed as one line of JSON (DESIGN part 10).
 * Times on a shared machine are noise; the ratio of neighbours is what counts.
 */
#pragma once

#include <stddef.h>

#define FIGURE_RUNS_MAX 10000U

struct figure {
	const char *id;
	const char *what;
	const char *unit;
	const char *floor;
	size_t runs;
	double subject[FIGURE_RUNS_MAX];
	double floor_values[FIGURE_RUNS_MAX];
};

/* The middle one of values. */
double figure_median(const double *values, size_t n);

/* Seconds of the monotonic clock. */
double figure_now(void);

/* Fills both rows: subject and floor in turn (A B B A), each called once before that to warm up. Both get context. */
typedef double (*figure_measure)(void *context);
void figure_compare(struct figure *figure, figure_measure subject, figure_measure floor, void *context);

/* The number of runs from a command line; ends the program when it is none. */
size_t figure_runs(const char *text);

/* Prints medians, the median of the ratios and its 95 % bootstrap interval (low, high). */
void figure_print(const struct figure *figure);
