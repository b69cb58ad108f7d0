#include "tests/bench/figure.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RESAMPLES 1000U

double figure_now(void)
{
	struct timespec time;

	(void)clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a;
	double y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts values. */
static double at_fraction(double *values, size_t n, double fraction)
{
	qsort(values, n, sizeof(*values), by_value);
	return values[(size_t)(fraction * (double)(n - 1) + 0.5)];
}

double figure_median(const double *values, size_t n)
{
	static double sorted[FIGURE_RUNS_MAX];

	memcpy(sorted, values, n * sizeof(*values));
	return at_fraction(sorted, n, 0.5);
}

/* Enough for resampling, and the same in every run. */
static size_t next_index(uint64_t *seed, size_t n)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (size_t)(*seed % n);
}

static void bootstrap(const double *ratios, size_t n, double *ret_low, double *ret_high)
{
	static double sample[FIGURE_RUNS_MAX];
	static double medians[RESAMPLES];
	uint64_t seed = 0x9e3779b97f4a7c15;

	for (size_t i = 0; i < RESAMPLES; i++) {
		for (size_t k = 0; k < n; k++)
			sample[k] = ratios[next_index(&seed, n)];
		medians[i] = figure_median(sample, n);
	}
	*ret_low = at_fraction(medians, RESAMPLES, 0.025);
	*ret_high = at_fraction(medians, RESAMPLES, 0.975);
}

void figure_compare(struct figure *figure, figure_measure subject, figure_measure floor, void *context)
{
	(void)subject(context);
	(void)floor(context);
	for (size_t i = 0; i < figure->runs; i++) {
		if (i % 2 == 0)
			figure->subject[i] = subject(context);
		figure->floor_values[i] = floor(context);
		if (i % 2 == 1)
			figure->subject[i] = subject(context);
	}
}

size_t figure_runs(const char *text)
{
	unsigned long runs = strtoul(text, NULL, 10);

	if (runs >= 1 && runs <= FIGURE_RUNS_MAX)
		return runs;
	(void)fprintf(stderr, "bench: %s is no number of runs from 1 to %u\n", text, FIGURE_RUNS_MAX);
	exit(2);
}

void figure_print(const struct figure *figure)
{
	static double ratios[FIGURE_RUNS_MAX];
	double low;
	double high;

	for (size_t i = 0; i < figure->runs; i++)
		ratios[i] = figure->subject[i] / figure->floor_values[i];
	bootstrap(ratios, figure->runs, &low, &high);
	(void)printf("{\"id\":\"%s\",\"what\":\"%s\",\"value\":%.4g,\"unit\":\"%s\",\"floor\":\"%s\","
	             "\"floor_value\":%.4g,\"ratio\":%.3f,\"low\":%.3f,\"high\":%.3f,\"runs\":%zu}\n",
	             figure->id, figure->what, figure_median(figure->subject, figure->runs), figure->unit,
	             figure->floor, figure_median(figure->floor_values, figure->runs),
	             figure_median(ratios, figure->runs), low, high, figure->runs);
	(void)fflush(stdout);
}
