/*
 * Client
 *
 * One connection: its peer, what was read and not yet understood, the requests it waits for in the order they came, what could not be written yet. Each uid has ceilings; a
 * client is read only while its answers can be kept, so that whoever does not read his answers stops only himself. Users take turns, not connections, and a client that hung up is not
 * heard out: what it had sent is dropped, also what wants no answer. It knows no protocol and no key.
 */
#pragma once

#include <systemd/sd-event.h>

#include "common/cleanup.h"
#include "common/err.h"
#include "tokend/frontend.h"
#include "tokend/peer.h"

#define CLIENTS_MAX 4096U
#define CLIENTS_PER_UID_MAX 1024U /* one more ends the connection of that uid that was idle longest */
#define REQUESTS_PER_UID_MAX 64U
#define BUFFERED_PER_UID_MAX (8U << 20) /* bytes of half messages and unread answers */
/* Of all: one user may be many uids (subuid(5)). Beyond it the one with the most loses a connection. */
#define BUFFERED_MAX (64U << 20)

struct daemon;
struct request;
struct client;
struct clients;

MUST_CHECK enum err clients_new(struct daemon *daemon, struct clients **ret_clients);
struct clients *clients_free(struct clients *clients);
DEFINE_CLEANUP(struct clients *, clients_free);

/* Takes fd over: reads its peer, all but the unit, and serves it or closes it. */
void clients_add(struct clients *clients, const struct frontend *frontend, int fd);

/* Reads no more from anybody: the daemon is stopping. */
void clients_stop_reading(struct clients *clients);

/* A request is finished whose client hung up before (request->user). */
struct user;
void clients_request_gone(struct clients *clients, struct user *user);

/* Who it is, whose unit is read when this is called first. */
const struct peer *client_peer(struct client *client);
struct daemon *client_daemon(const struct client *client);
void *client_state(const struct client *client); /* what the front-end keeps for it */

/* A request came in: it waits for its turn to be answered. Sets its order (see worker.h). */
void client_add_request(struct client *client, struct request *request);

/* A request of the client is finished: it is answered once all before it are. It is the client's to free from now on. */
void client_request_finished(struct client *client, struct request *request);

/* Whatever else it says is not read; it is hung up on when it has its answers. */
void client_close_after_answers(struct client *client);
