/*
 * Plugin daemon
 *
 * The struct plugin_ops that asks tokend: one connection for the life of the plugin, one call for each file. It knows the control interface and
 * nothing of the plugin protocol's text.
 */
#pragma once

#include "cli/daemon.h"
#include "cli/plugin_protocol.h"

/* The context of the ops. */
struct plugin_daemon {
	struct daemon daemon;
	enum err gone; /* the connection failed for good; said again instead of waiting once more */
};

extern const struct plugin_ops plugin_daemon_ops;

void plugin_daemon_done(struct plugin_daemon *daemon);
