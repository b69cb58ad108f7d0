/*
 * Helper sandbox
 *
 * What a helper gives up before it reads the first byte that somebody else wrote: every file descriptor but its own, new privileges, its core
 * dump, the file system except one directory (Landlock, where the kernel has it) and every system call that answering token messages does not
 * need (seccomp). What is missing afterwards fails with EPERM.
 */
#pragma once

#include "common/token.h"

/* keep_fd and 0 to 2 stay open. ERR_SYSTEM when any of it cannot be done; Landlock alone may be missing. */
MUST_CHECK enum err helper_sandbox_close(const struct token_sandbox *sandbox, int keep_fd);
