/*
 * Socket client
 *
 * Calls of Unwrap on tokend's control socket as fast as it answers: some connections of one thread, each with one call under way, all with the same message,
 * made beforehand. What is measured with it is the service, not a client.
 */
#pragma once

#include "formats/recipient.h"

#define SOCKET_CLIENTS_MAX 64U

struct socket_client;

/* Connects so many times; the message asks for any key that opens this stanza. Ends the program when that fails: there is nothing to measure then. */
struct socket_client *socket_client_new(size_t connections, const struct token_stanza *stanza);
struct socket_client *socket_client_free(struct socket_client *client);

/* Calls for so long and returns how many were answered in a second. Ends the program when an answer is no file key. */
double socket_client_run(struct socket_client *client, double seconds);

/* Prints why and ends the program. */
void bench_die(const char *what, enum err err) __attribute__((noreturn));

/* The first key of an age key file (AGE-SECRET-KEY-1...). Ends the program when there is none. */
void bench_identity(const char *path, struct identity *ret_identity);

/* A stanza made for a recipient, as a token sees it. */
void bench_stanza(const struct recipient *recipient, struct token_stanza *ret_stanza);
