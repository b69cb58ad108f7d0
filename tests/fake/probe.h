/*
 * Probe
 *
 * Hostile code inside our processes: linked into doubles of the programs (tests/integration/CMakeLists.txt), never into what is released. A double does all that the program does; when its
 * process's number is written into the plan, it tries everything in probe.c's table and writes down what came of it. The plan is the file "../devices/plan" beside the program, mapped before any
 * sandbox is shut (a helper's program begins in the supervisor's, in which only what is beside a device can be written to), so that neither a file nor a socket is needed later.
 */
#pragma once

#include <stdint.h>

#define PROBE_ROWS_MAX 192U
#define PROBE_NAME_MAX 48U

/* As tests/integration/isolation.py writes and reads it. */
struct probe_plan {
	uint32_t pid; /* whose turn it is */
	uint32_t count; /* of results; written last */
	uint32_t holder; /* a helper with a key in memory, other than who is asked */
	uint32_t supervisor;
	uint32_t sibling; /* a process of the same user, of no program of ours */
	uint32_t terminal; /* is stderr one? */
	uint64_t holder_address, sibling_address; /* something readable there */
	char directory[96]; /* all files that are tried stand below it */
	char abstract[32]; /* the name of a socket without a file */
	struct probe_result {
		char name[PROBE_NAME_MAX];
		int32_t error; /* 0: it works; -1: it was begun, and nothing came back */
	} results[PROBE_ROWS_MAX];
};

/* Maps the plan of that name; NULL when there is none. */
struct probe_plan *probe_map(const char *path);

/* Everything that the table has, one after the other, in this process. */
void probe_run(struct probe_plan *plan);

/* One row, for the control, which gives each a process; false behind the last. */
int probe_one(struct probe_plan *plan, unsigned row);

/* The plan beside the program, mapped before main; NULL: this is no test. */
extern struct probe_plan *probe_here;

/* Is it this process's turn? Then it is done, here and now. */
void probe_if_asked(void);
