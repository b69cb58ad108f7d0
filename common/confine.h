/*
 * Confine
 *
 * What the sandboxes of the broker and of the helpers are built from: allow-lists of system calls (seccomp), of directories (Landlock, where the kernel has it) and
 * of open file descriptors. It knows how; which calls and which directories is the business of tokend/sandbox.c and common/helper_sandbox.c.
 */
#pragma once

#include <seccomp.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/cleanup.h"
#include "common/err.h"

/* Sanitizers map code and start threads when they report: their builds keep the list, but a wider one, and no Landlock. */
#if defined(__SANITIZE_ADDRESS__)
#define CONFINE_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CONFINE_SANITIZED 1
#endif
#endif
#ifndef CONFINE_SANITIZED
#define CONFINE_SANITIZED 0
#endif

/* A filter that refuses (EPERM) all but what any of our processes needs: reading and writing what is open, memory that never becomes code, the clock, ending itself. NULL
 * when there is no memory. */
scmp_filter_ctx confine_filter_new(void);
static inline void confine_filter_freep(scmp_filter_ctx *filter)
{
	if (*filter)
		seccomp_release(*filter);
}

/* Allows each of calls, whatever its arguments. False when it cannot. */
MUST_CHECK bool confine_allow(scmp_filter_ctx filter, const int *calls, size_t count);
#define CONFINE_ALLOW(filter, calls) confine_allow(filter, calls, sizeof(calls) / sizeof((calls)[0]))

/* Allows call where its argument (counted from 0) masked with mask is value. */
MUST_CHECK bool confine_allow_masked(scmp_filter_ctx filter, int call, unsigned argument, uint64_t mask,
                                     uint64_t value);

/* Allows threads, and no processes: the flags stand in clone(2), where a filter can see them, and not in clone3(2), so libc is told that there is none. False when it cannot. */
MUST_CHECK bool confine_allow_threads(scmp_filter_ctx filter);

/* Installs the filter for this thread and those that it makes: not for older ones, which takes a call that containers keep from us. The process must have no_new_privs.
 * ERR_SYSTEM. */
MUST_CHECK enum err confine_filter_load(scmp_filter_ctx filter);

struct confine_directory {
	const char *path; /* or one file; "" or not there: nothing is allowed */
	bool listed; /* the names in it may be read */
	bool written; /* the files in it may be written to */
	bool changed; /* files in it may be made, replaced and removed */
	bool removed; /* files in it may be removed */
	bool executed; /* the programs in it may be started */
};

/* What else is closed together with the files, where the kernel can (since Landlock's version 6). */
#define CONFINE_SIGNALS 1U /* no signal to a process that is not as confined as this one */
#define CONFINE_ABSTRACT 2U /* no connection to a socket without a file that such a process listens on */

/* Closes the file system for this thread and those that it makes, but for the files below the directories, which may be read, and what else they say. OK as well when the
 * kernel has no Landlock or a container keeps it from us: then the process's uid is what is left. ERR_SYSTEM. */
MUST_CHECK enum err confine_files(const struct confine_directory *directories, size_t count, unsigned apart);

/* Would confine_files do anything here? errno says why not: ENOSYS and EOPNOTSUPP, it is not in this kernel; EPERM, it is kept from us by a container or a unit. */
bool confine_files_possible(void);

/* Gives up every capability but those in kept (a mask of 1 << CAP_...), for this process and what it starts. ERR_SYSTEM. */
MUST_CHECK enum err confine_capabilities(uint64_t kept);

/* Closes every file descriptor but 0 to 2 and those in keep, which is sorted; -1 is none. ERR_SYSTEM. */
MUST_CHECK enum err confine_descriptors(int *keep, size_t count);
