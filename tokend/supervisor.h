/*
 * Supervisor
 *
 * The first process of a daemon, and the parent of all others: it makes the sockets, forks the broker, and starts and ends the helpers when the broker asks. Only it may
 * fork, execute and signal, so the broker, which parses hostile bytes, needs none of that. All it parses after the start are messages of one fixed size from the broker
 * (supervisor_message.h).
 */
#pragma once

#include "common/err.h"
#include "tokend/config.h"
#include "tokend/options.h"

/* Runs the daemon to its end; returns the exit status. The configuration is the one that was loaded at start. */
int supervisor_run(const struct options *options, const struct config *config);
