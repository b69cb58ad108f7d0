/*
 * Daemon
 *
 * The broker: it owns the parts and the loop that drives them. What a request needs of the daemon it reaches through struct daemon; no part reaches another by itself.
 */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

#include "tokend/audit.h"
#include "tokend/candidates.h"
#include "tokend/client.h"
#include "tokend/config.h"
#include "tokend/keyring.h"
#include "tokend/listener.h"
#include "tokend/options.h"
#include "tokend/policy.h"
#include "tokend/startup.h"
#include "tokend/unlock.h"
#include "tokend/worker.h"

struct reservation;
struct policy_list;

struct daemon {
	sd_event *event;
	const struct options *options; /* borrowed */
	struct config config;
	int channel; /* to the supervisor */
	struct policy *policy;
	struct policy_list *old_policies; /* replaced while requests that point into them were on their way */
	char policy_problem[512]; /* of the last reload; "" when it worked */
	struct keyring *keyring;
	struct audit *audit;
	bool audit_failing; /* said in the log once, not for every request */
	struct unlocks *unlocks;
	struct candidate_cache *candidates;
	struct clients *clients;
	struct listener *listener;
	size_t worker_count;
	struct worker *workers[CONFIG_TOKENS_MAX]; /* in the order of the configuration at start */
	char worker_uris[CONFIG_TOKENS_MAX][TOKEN_URI_MAX];
	struct reservation *reservations; /* names of keys being made (request_enroll.c) */
	sd_event_source *unlock_timer;
	time_t started_at;
	bool memory_locked;
	bool stopping;
	uint64_t requests; /* served since the start */
	size_t in_flight; /* requests that are not finished */
	uint64_t turn; /* how far the fair order of requests has come; client.c */
};

/* What the supervisor hands to the broker that it forks. */
struct daemon_start {
	const struct options *options;
	const struct config *config;
	int channel;
	int state_directory;
	int memo; /* of the audit log's head; -1: none */
	int sockets[FRONTENDS_MAX];
	int locks[STARTUP_LOCKS_MAX]; /* held open as long as either process lives; -1: none */
	pid_t supervisor;
	uid_t uid; /* whom the broker runs as */
	gid_t gid;
};

/* Runs the broker to its end; returns the exit status. Says on stderr what kept it from starting. */
int daemon_run(struct daemon_start *start);

/* Seconds of a clock that never jumps: for unlocks. */
int64_t daemon_seconds(const struct daemon *daemon);

/* The worker of a token; NULL when it is not configured. */
struct worker *daemon_worker(const struct daemon *daemon, const char *token_uri);

/* An unlock was added or closed: the timer that ends them must know. */
void daemon_watch_unlocks(struct daemon *daemon);

/* A request has finished. */
void daemon_request_done(struct daemon *daemon);
