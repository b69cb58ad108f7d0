/*
 * Listener
 *
 * The sockets that clients connect to: our own, one for each front-end, or those that systemd passes by name. The supervisor makes them before it forks; the broker
 * accepts. The queue of a socket is first come, first served, so whoever connects and hangs up in a loop is before everybody else as often as he likes: up to half of the event loop's time goes into
 * emptying it. (A thread for that did worse: those who were held up by the loop then never rested, and it had to share the processors with them.) It knows no protocol.
 */
#pragma once

#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "tokend/frontend.h"
#include "tokend/options.h"

/* In the supervisor: fills sockets, by the index of the front-end; -1 where there is none. ret_own: they are ours, not systemd's. Says on stderr
 * what failed. */
MUST_CHECK enum err listener_open_sockets(const struct options *options, int runtime,
                                          int sockets[static FRONTENDS_MAX], bool *ret_own);
void listener_close_sockets(int sockets[static FRONTENDS_MAX]);

/* Removes the names of our own sockets; those that systemd passed stay. */
void listener_remove_sockets(const struct options *options);

/* In the broker: a connection, non-blocking and close-on-exec, which the callee owns from now on. */
typedef void (*listener_accepted)(void *context, const struct frontend *frontend, int fd);

struct listener;

/* Takes the sockets over. ERR_NOMEM, ERR_SYSTEM. */
MUST_CHECK enum err listener_new(sd_event *event, int sockets[static FRONTENDS_MAX],
                                 listener_accepted accepted, void *context, struct listener **ret_listener);
struct listener *listener_free(struct listener *listener);
DEFINE_CLEANUP(struct listener *, listener_free);
