/*
 * Keyservice client
 *
 * A connection to sops.sock for tests and benches: calls one after the other, or so many at once for a time. Whatever goes wrong with the connection itself ends the program and says so.
 */
#pragma once

#include "tests/fake/grpc_client.h"

#define KEYSERVICE_ENCRYPT "/KeyService/Encrypt"
#define KEYSERVICE_DECRYPT "/KeyService/Decrypt"

struct keyservice_client;

struct keyservice_client *keyservice_client_new(const char *socket_path);
struct keyservice_client *keyservice_client_free(struct keyservice_client *client);
DEFINE_CLEANUP(struct keyservice_client *, keyservice_client_free);

/* One call. The result is borrowed until the next. */
const struct grpc_result *keyservice_client_ask(struct keyservice_client *client, const char *path,
                                                struct bytes message);

/* The same call again and again, streams of them at once, until seconds have passed. Calls per second that were answered with status 0; that there were others is said. */
double keyservice_client_run(struct keyservice_client *client, const char *path, struct bytes message,
                             size_t streams, double seconds);

/* What the answer holds, out of its gRPC frame and its message; empty if that is not what it is. */
struct bytes keyservice_answer_data(struct bytes answer);
