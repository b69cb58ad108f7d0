/*
 * Sandbox
 *
 * What the broker gives up before it reads its first hostile byte: root, capabilities, and the system calls that it has no use for. It cannot start a program or a process,
 * reach a network, look into another process or signal one. Failure to give something up is fatal.
 */
#pragma once

#include <sys/types.h>

#include "common/err.h"

/* Becomes the user called name (with its groups), when root; drops every capability; sets no_new_privs. name NULL: stays who it is. */
MUST_CHECK enum err sandbox_drop_privileges(const char *name, uid_t uid, gid_t gid);

/* Installs the filter of system calls. */
MUST_CHECK enum err sandbox_filter(void);
