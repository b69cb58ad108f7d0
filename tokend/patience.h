/*
 * Patience
 *
 * Who passes a descriptor over a connection has it dropped in our name, when we read or close; and to drop one may last as long as its owner likes (a TCP socket with SO_LINGER that has something left to
 * send). The event loop must not wait for anybody, so the kernel is asked to refuse descriptors (Linux 6.16), and where it cannot a signal ends each such wait: what the kernel does there it gives up for one.
 */
#pragma once

#include <stdbool.h>

#include "common/err.h"

/* The socket, and each connection that it takes from now on, gets no descriptors, if the kernel knows that. */
void patience_refuse(int listener);

/* Can descriptors come with what is read from this connection? */
bool patience_is_needed(int connection);

/* In the process whose loop it is. ERR_SYSTEM. */
MUST_CHECK enum err patience_init(void);

/* Closes what may have descriptors in it unread. */
void patience_close(int fd);

/* Between these nothing takes long; in the main thread, and with nothing in between that a signal disturbs. */
void patience_begin(void);
void patience_end(void);
