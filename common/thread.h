/* Threads beside the one that the program knows of: with a small stack, since an ordinary one would count in full against RLIMIT_MEMLOCK where memory is locked as it comes, and without
 * signals, which are for the first one. */
#pragma once

#include <pthread.h>
#include <stddef.h>

#include "common/err.h"

/* Starts run(context) on a stack of so many bytes. To be joined. ERR_NOMEM, ERR_SYSTEM. */
MUST_CHECK enum err thread_start(size_t stack_len, void *(*run)(void *context), void *context,
                                 pthread_t *ret_thread);
