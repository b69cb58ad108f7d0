/* Scope-bound release, and the two words that go with it: CLEANUP and TAKE. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* "unused" is for clang, which does not count the cleanup as a use. */
#define CLEANUP(fn) __attribute__((cleanup(fn), unused))

/* Defines foo_freep() from foo_free(), for CLEANUP(foo_freep) struct foo *x = NULL; */
#define DEFINE_CLEANUP(type, fn)          \
	static inline void fn##p(type *p) \
	{                                 \
		if (*p)                   \
			(void)fn(*p);     \
	}                                 \
	struct allow_trailing_semicolon

/* Hands ownership on: yields the pointer and leaves NULL behind. */
#define TAKE(ptr)                                \
	(__extension__({                         \
		__typeof__(ptr) *take_ = &(ptr); \
		__typeof__(ptr) taken_ = *take_; \
		*take_ = NULL;                   \
		taken_;                          \
	}))

/* The same for a file descriptor: yields it and leaves -1 behind. */
#define TAKE_FD(fd)                  \
	(__extension__({             \
		int *take_ = &(fd);  \
		int taken_ = *take_; \
		*take_ = -1;         \
		taken_;              \
	}))

static inline void close_fdp(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
}

static inline void freep(void *p)
{
	free(*(void **)p);
}

static inline void fclosep(FILE **file)
{
	if (*file)
		(void)fclose(*file);
}
