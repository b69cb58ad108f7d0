#include "tests/fake/failing_memory.h"

#include <stddef.h>

void *__real_malloc(size_t len);
void *__real_calloc(size_t count, size_t len);
void *__real_realloc(void *old, size_t len);
void *__real_reallocarray(void *old, size_t count, size_t len);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);
void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t count, size_t len);
void *__wrap_realloc(void *old, size_t len);
void *__wrap_reallocarray(void *old, size_t count, size_t len);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);

static _Thread_local unsigned left; /* until one fails; 0: none does */
static _Thread_local bool failed;

void failing_memory_begin(unsigned nth)
{
	left = nth;
	failed = false;
}

bool failing_memory_end(void)
{
	left = 0;
	return failed;
}

unsigned failing_memory_pause(void)
{
	unsigned paused = left;

	left = 0;
	return paused;
}

void failing_memory_resume(unsigned paused)
{
	left = paused;
}

static bool fails(void)
{
	if (left == 0 || --left > 0)
		return false;
	failed = true;
	return true;
}

void *__wrap_malloc(size_t len)
{
	return fails() ? NULL : __real_malloc(len);
}

void *__wrap_calloc(size_t count, size_t len)
{
	return fails() ? NULL : __real_calloc(count, len);
}

void *__wrap_realloc(void *old, size_t len)
{
	return fails() ? NULL : __real_realloc(old, len);
}

void *__wrap_reallocarray(void *old, size_t count, size_t len)
{
	return fails() ? NULL : __real_reallocarray(old, count, len);
}

char *__wrap_strdup(const char *text)
{
	return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t len)
{
	return fails() ? NULL : __real_strndup(text, len);
}
