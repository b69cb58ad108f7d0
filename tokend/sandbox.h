/*
 * Sandbox
 *
 * What the broker gives up before it reads its first hostile byte: root, capabilities, the files that are not its business and the system calls that it has no use for. It
 * cannot start a program or a process, reach a network, look into another process or signal one, nor make memory executable. Failure to give something up is fatal;
 * Landlock alone may be missing from the kernel.
 *
 * And what the supervisor gives up when the broker is forked: all but starting helpers and ending them.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "common/err.h"
#include "tokend/config.h"

/* Becomes the user called name (with its groups), when root; drops every capability; sets no_new_privs; is ended with parent. name NULL: stays who it is. ERR_SYSTEM, also when parent has
 * ended already. */
MUST_CHECK enum err sandbox_drop_privileges(const char *name, uid_t uid, gid_t gid, pid_t parent);

/* From here on only files below these may be opened: state for reading and writing, configuration (a directory) and policy for reading; and /proc and /etc, for the units and the names of peers. Counts for
 * this thread and those made later. ERR_SYSTEM. */
MUST_CHECK enum err sandbox_files(const char *state, const char *configuration, const char *policy);

/* Installs the filter of system calls, for this thread and those made later. notify: the service manager is told how we are, which takes a socket. ERR_SYSTEM. */
MUST_CHECK enum err sandbox_filter(bool notify);

/* The supervisor's, after which it may start programs, become the users of the configuration when changes_user is set, signal, and remove files from the runtime directory: no other file is written to, no
 * network, no name space, no look into others. Inherited by the helpers, which close theirs further. ERR_SYSTEM. */
MUST_CHECK enum err sandbox_supervisor(const struct config *config, const char *runtime, bool changes_user);
