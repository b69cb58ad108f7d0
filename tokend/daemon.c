#include "tokend/daemon.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "common/confine.h"
#include "common/control.h"
#include "common/give_back.h"
#include "common/log.h"
#include "common/quote.h"
#include "common/secret.h"
#include "formats/crypto_library.h"
#include "formats/sha256.h"
#include "tokend/patience.h"
#include "tokend/sandbox.h"
#include "tokend/startup.h"
#include "tokend/supervisor_message.h"
#include "tokend/text.h"

#define USEC_PER_SECOND 1000000U
#define STOP_DEADLINE_USEC (4U * USEC_PER_SECOND)
#define PROBLEM_MAX (16U << 10) /* what is wrong with a policy */
#define DESCRIPTORS_WANTED 65536U

struct policy_list {
	struct policy_list *next;
	struct policy *policy;
};

/* ---- small services to the requests ---- */

int64_t daemon_seconds(const struct daemon *daemon)
{
	uint64_t now = 0;

	/* Counts on while the machine sleeps: an unlock is not to outlive a night in a closed laptop. */
	(void)sd_event_now(daemon->event, CLOCK_BOOTTIME, &now);
	return (int64_t)(now / USEC_PER_SECOND);
}

struct worker *daemon_worker(const struct daemon *daemon, const char *token_uri)
{
	for (size_t i = 0; i < daemon->worker_count; i++)
		if (strcmp(worker_uri(daemon->workers[i]), token_uri) == 0)
			return daemon->workers[i];
	return NULL;
}

static void free_old_policies(struct daemon *daemon)
{
	while (daemon->old_policies) {
		struct policy_list *old = daemon->old_policies;

		daemon->old_policies = old->next;
		policy_free(old->policy);
		free(old);
	}
}

void daemon_request_done(struct daemon *daemon)
{
	daemon->in_flight--;
	if (daemon->in_flight > 0)
		return;
	free_old_policies(daemon);
	if (daemon->stopping)
		(void)sd_event_exit(daemon->event, 0);
}

/* ---- unlocks: their end, and what the helpers are told of it ---- */

struct lock_call {
	struct worker_call call;
	struct key_id key;
};

static enum err build_lock(struct worker_call *call, struct buf *packet)
{
	const struct lock_call *lock = (const struct lock_call *)call;

	return token_message_put(packet, TOKEN_FIELD_KEY_ID, bytes_of(lock->key.bytes, KEY_ID_LEN));
}

static void lock_done(struct worker_call *call, enum err err, const struct token_message *message)
{
	(void)message;
	if (err && err != ERR_NO_TOKEN && err != ERR_NO_DAEMON && err != ERR_NO_KEY)
		log_warning("a key could not be closed in its helper: %s", err_info(err)->text);
	free(call);
}

static void send_lock(struct worker *worker, const struct key_id *key)
{
	struct lock_call *lock = calloc(1, sizeof(*lock));

	if (!lock) {
		/* Better no helper than one that keeps open what it must not. */
		worker_restart(worker);
		return;
	}
	lock->key = *key;
	lock->call.op = TOKEN_OP_LOCK;
	lock->call.build = build_lock;
	lock->call.done = lock_done;
	lock->call.once = true;
	worker_submit(worker, &lock->call);
}

static void on_closed(void *context, const struct key_id *id)
{
	struct daemon *daemon = context;
	const struct key *key = keyring_find_id(daemon->keyring, id);

	for (size_t i = 0; key && i < key->slot_count; i++) {
		struct worker *worker = daemon_worker(daemon, key->slots[i]->token_uri);

		if (worker && worker_running(worker))
			send_lock(worker, id);
	}
}

static int on_unlock_timer(sd_event_source *source, uint64_t usec, void *context)
{
	(void)source;
	(void)usec;
	daemon_watch_unlocks(context);
	return 0;
}

void daemon_watch_unlocks(struct daemon *daemon)
{
	int64_t next = unlock_expire(daemon->unlocks, daemon_seconds(daemon));

	if (next == 0) {
		(void)sd_event_source_set_enabled(daemon->unlock_timer, SD_EVENT_OFF);
		return;
	}
	(void)sd_event_source_set_time(daemon->unlock_timer, (uint64_t)next * USEC_PER_SECOND);
	(void)sd_event_source_set_enabled(daemon->unlock_timer, SD_EVENT_ONESHOT);
}

/* ---- helpers, by way of the supervisor ---- */

static bool ask_supervisor(const struct daemon *daemon, enum supervisor_op op, size_t index)
{
	const struct supervisor_message message = { .op = op, .helper = (uint32_t)index };
	enum err err = supervisor_send(daemon->channel, &message, -1);

	if (err)
		log_error("the supervisor cannot be asked about a helper: %s", strerror(errno));
	return err == OK;
}

static bool start_helper(void *context, size_t index)
{
	return ask_supervisor(context, SUPERVISOR_START, index);
}

/* The next start ends it anyway. */
static void end_helper(void *context, size_t index)
{
	(void)ask_supervisor(context, SUPERVISOR_END, index);
}

/* What a helper held open is closed for everybody once the helper is gone. */
static void helper_lost(void *context, struct worker *worker)
{
	const struct daemon *daemon = context;

	for (size_t i = 0; i < keyring_count(daemon->keyring); i++) {
		const struct key *key = keyring_at(daemon->keyring, i);

		for (size_t j = 0; key->class != KEY_CLASS_BOOT && j < key->slot_count; j++)
			if (strcmp(key->slots[j]->token_uri, worker_uri(worker)) == 0)
				unlock_lost(daemon->unlocks, &key->id);
	}
}

static int on_supervisor(sd_event_source *source, int fd, uint32_t events, void *context)
{
	struct daemon *daemon = context;
	struct supervisor_message message;
	CLEANUP(close_fdp) int socket = -1;
	enum err err = supervisor_receive(fd, &message, &socket);

	(void)source;
	(void)events;
	if (err == ERR_AGAIN)
		return 0;
	if (err || !supervisor_message_is(&message, SUPERVISOR_STARTED, daemon->worker_count)) {
		log_error("the supervisor is gone");
		return sd_event_exit(daemon->event, 1);
	}
	log_debug("the helper of %s is process %u", daemon->worker_uris[message.helper], message.pid);
	worker_started(daemon->workers[message.helper], message.err ? -1 : TAKE_FD(socket));
	return 0;
}

static enum err start_workers(struct daemon *daemon)
{
	enum err err = OK;

	for (size_t i = 0; !err && i < daemon->config.token_count; i++) {
		const struct worker_settings settings = {
			.index = i,
			.uri = daemon->worker_uris[i],
			.deadline_ms = daemon->config.token_deadline_ms,
			.start = start_helper,
			.end = end_helper,
			.lost = helper_lost,
			.context = daemon,
		};

		(void)snprintf(daemon->worker_uris[i], sizeof(daemon->worker_uris[i]), "%s",
		               daemon->config.tokens[i]);
		err = worker_new(daemon->event, &settings, &daemon->workers[i]);
		if (!err)
			daemon->worker_count++;
	}
	for (size_t i = 0; !err && i < daemon->worker_count; i++)
		worker_start(daemon->workers[i]);
	return err;
}

/* ---- reload ---- */

static void no_answer(void *context, enum err err)
{
	(void)context;
	/* Nobody waits for these, and on a busy disk, as at boot, they come a little later. */
	if (err)
		log_warning("the audit log was not written in time; tokenctl doctor says whether it is now");
}

static void record(struct daemon *daemon, const char *operation, enum err result)
{
	const struct audit_record entry = { .frontend = "control", .operation = operation, .result = result };

	if (audit_write(daemon->audit, &entry, no_answer, daemon))
		log_warning("the audit log cannot be written");
}

static void warn_about_tokens(const struct daemon *daemon, const struct config *config)
{
	bool same = config->token_count == daemon->worker_count;

	for (size_t i = 0; same && i < config->token_count; i++)
		same = strcmp(config->tokens[i], daemon->worker_uris[i]) == 0;
	if (!same)
		log_warning("the tokens in %s have changed; they count from the next start on: "
		            "systemctl restart tokend",
		            daemon->options->configuration);
}

static void log_lines(const char *text)
{
	while (*text) {
		size_t len = strcspn(text, "\n");

		if (len)
			log_warning("%.*s", (int)len, text);
		text += len + (text[len] == '\n');
	}
}

/* The one that it replaces may still be pointed into. */
static enum err use_policy(struct daemon *daemon, struct policy *policy)
{
	struct policy_list *old = calloc(1, sizeof(*old));

	if (!old)
		return ERR_NOMEM;
	old->policy = daemon->policy;
	old->next = daemon->old_policies;
	daemon->old_policies = old;
	daemon->policy = policy;
	candidate_cache_clear(daemon->candidates);
	log_lines(policy_warnings(policy));
	if (daemon->in_flight == 0)
		free_old_policies(daemon);
	return OK;
}

static enum err load_again(struct daemon *daemon, struct buf *problem)
{
	CLEANUP(policy_freep) struct policy *policy = NULL;
	CLEANUP(freep) struct config *config = malloc(sizeof(*config));
	enum err err = config ? config_load(daemon->options->configuration,
	                                    daemon->options->configuration_named, problem, config)
	                      : ERR_NOMEM;

	if (!err)
		err = policy_load(config->policy_directory, daemon->options->mode == MODE_SYSTEM, problem,
		                  &policy);
	if (!err)
		err = use_policy(daemon, policy);
	if (err)
		return err;
	policy = NULL;
	if (daemon->options->mode == MODE_SYSTEM)
		config_expect_device(config);
	warn_about_tokens(daemon, config);
	daemon->config = *config;
	log_set_level(config->log_level);
	for (size_t i = 0; i < daemon->worker_count; i++)
		worker_set_deadline(daemon->workers[i], config->token_deadline_ms);
	return OK;
}

static void notify_reloading(struct daemon *daemon)
{
	uint64_t now = 0;

	(void)sd_event_now(daemon->event, CLOCK_MONOTONIC, &now);
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)now);
}

static int on_reload(sd_event_source *source, const struct signalfd_siginfo *info, void *context)
{
	CLEANUP(buf_freep) struct buf *problem = NULL;
	struct daemon *daemon = context;
	enum err err = buf_new(PROBLEM_MAX, &problem);

	(void)source;
	(void)info;
	notify_reloading(daemon);
	if (!err)
		err = load_again(daemon, problem);
	daemon->policy_problem[0] = '\0';
	if (err) {
		if (problem && buf_len(problem))
			text_first_problem(problem, daemon->policy_problem, sizeof(daemon->policy_problem));
		else
			(void)snprintf(daemon->policy_problem, sizeof(daemon->policy_problem), "%s",
			               err_info(err)->text);
		log_error("not reloaded, what was loaded before stays in force: %s", daemon->policy_problem);
		/* The sandbox knows the directories of the start. */
		if (err == ERR_FILE_ACCESS)
			log_error(
			        "a directory that was not there at the start is read from the next start on: "
			        "systemctl restart tokend");
	} else {
		log_info("configuration and policy were loaded anew (%zu rules)",
		         policy_rule_count(daemon->policy));
	}
	record(daemon, "reload", err);
	(void)sd_notify(0, "READY=1");
	return 0;
}

/* ---- the end ---- */

static int on_stop_deadline(sd_event_source *source, uint64_t usec, void *context)
{
	const struct daemon *daemon = context;

	(void)source;
	(void)usec;
	log_warning("%zu requests were not finished in time", daemon->in_flight);
	return sd_event_exit(daemon->event, 0);
}

/* What is on its way is finished, nothing new begins. */
static int on_stop(sd_event_source *source, const struct signalfd_siginfo *info, void *context)
{
	struct daemon *daemon = context;

	(void)source;
	(void)info;
	if (daemon->stopping)
		return 0;
	daemon->stopping = true;
	(void)sd_notify(0, "STOPPING=1");
	daemon->listener = listener_free(daemon->listener);
	clients_stop_reading(daemon->clients);
	if (daemon->in_flight == 0 ||
	    sd_event_add_time_relative(daemon->event, NULL, CLOCK_MONOTONIC, STOP_DEADLINE_USEC, 0,
	                               on_stop_deadline, daemon) < 0)
		return sd_event_exit(daemon->event, 0);
	return 0;
}

static void daemon_done(struct daemon *daemon)
{
	listener_free(daemon->listener);
	/* Who is told by the one may ask the next: none goes before all have ended. */
	for (size_t i = 0; i < daemon->worker_count; i++)
		worker_end(daemon->workers[i]);
	for (size_t i = 0; i < daemon->worker_count; i++)
		daemon->workers[i] = worker_free(daemon->workers[i]);
	daemon->worker_count = 0;
	if (daemon->audit)
		record(daemon, "stop", OK);
	/* Requests that waited for the log are answered by its end, so the clients go after it. */
	audit_free(daemon->audit);
	clients_free(daemon->clients);
	candidate_cache_free(daemon->candidates);
	unlocks_free(daemon->unlocks);
	keyring_free(daemon->keyring);
	free_old_policies(daemon);
	policy_free(daemon->policy);
	sd_event_source_unref(daemon->unlock_timer);
	sd_event_unref(daemon->event);
	close_fdp(&daemon->channel);
}

/* ---- the start ---- */

static enum err load_policy(struct daemon *daemon)
{
	CLEANUP(buf_freep) struct buf *problem = NULL;
	char sentence[1024];
	enum err err = buf_new(PROBLEM_MAX, &problem);

	if (!err)
		err = policy_load(daemon->config.policy_directory, daemon->options->mode == MODE_SYSTEM,
		                  problem, &daemon->policy);
	if (err && problem)
		text_first_problem(problem, sentence, sizeof(sentence));
	if (err)
		return startup_failed(err, "tokenctl policy check", "the policy cannot be loaded: %s",
		                      problem && buf_len(problem) ? sentence : err_info(err)->text);
	log_lines(policy_warnings(daemon->policy));
	return OK;
}

/* The next command for what in the state directory cannot be used; already is one for what is only open to others. */
static void hint_state(const struct options *options, enum err err, const char *already,
                       char ret_hint[static STARTUP_HINT_MAX])
{
	const char *path = options->state_directory;
	char quoted[STARTUP_QUOTED_MAX];

	if (options->mode == MODE_SYSTEM && (err == ERR_FILE_ACCESS || err == ERR_STATE_DIR)) {
		startup_hint_owner(path, geteuid(), getegid(), ret_hint);
	} else if (err == ERR_STATE_DIR && already) {
		quote_word(path, quoted, sizeof(quoted));
		(void)snprintf(ret_hint, STARTUP_HINT_MAX, "%s %s/keys", already, quoted);
	} else {
		startup_hint_look(path, ret_hint);
	}
}

static enum err explain_no_keyring(const struct options *options, enum err err)
{
	const char *path = options->state_directory;
	char hint[STARTUP_HINT_MAX];

	hint_state(options, err, "chmod 700", hint);
	if (err == ERR_STATE_DIR)
		return startup_failed(err, hint, "%s/keys must be a directory that is tokend's alone", path);
	return startup_failed(err, hint, "the keys in %s cannot be read or kept: %s", path,
	                      err_info(err)->text);
}

static enum err explain_no_audit(const struct options *options, enum err err)
{
	char hint[STARTUP_HINT_MAX];

	hint_state(options, err, NULL, hint);
	return startup_failed(err, hint, "the audit log in %s cannot be written: %s",
	                      options->state_directory, err_info(err)->text);
}

static enum err load_keyring(struct daemon *daemon, int state_directory)
{
	CLEANUP(buf_freep) struct buf *problems = NULL;
	enum err err = buf_new(65536, &problems);

	if (!err)
		err = keyring_load(state_directory, problems, &daemon->keyring);
	if (err)
		return explain_no_keyring(daemon->options, err);
	log_lines(buf_string(problems));
	return OK;
}

static void accepted(void *context, const struct frontend *frontend, int fd)
{
	const struct daemon *daemon = context;

	clients_add(daemon->clients, frontend, fd);
}

/* What a shell may lock is of no use to a unit. */
static const char *lock_hint(void)
{
	return getenv("NOTIFY_SOCKET")
	               ? "LimitMEMLOCK=infinity under [Service] in a drop-in: systemctl edit tokend"
	               : SECRET_LOCK_HINT;
}

static enum err cannot_start(enum err err)
{
	return startup_failed(err, err == ERR_MEMORY_LOCKED ? lock_hint() : NULL,
	                      "the broker cannot start: %s", err_info(err)->text);
}

static enum err make_parts(struct daemon *daemon, struct daemon_start *start)
{
	enum err err = load_policy(daemon);

	if (!err)
		err = load_keyring(daemon, start->state_directory);
	if (err)
		return err;
	err = audit_new(daemon->event, start->state_directory, &daemon->audit);
	if (err)
		return explain_no_audit(daemon->options, err);
	audit_use_memo(daemon->audit, start->memo, daemon->options->state_directory);
	err = unlocks_new(on_closed, daemon, &daemon->unlocks);
	if (!err)
		err = candidate_cache_new(&daemon->candidates);
	if (!err)
		err = clients_new(daemon, &daemon->clients);
	if (!err)
		err = start_workers(daemon);
	if (!err)
		err = listener_new(daemon->event, start->sockets, accepted, daemon, &daemon->listener);
	return err ? cannot_start(err) : OK;
}

/* The service manager names the process that it started, which is the supervisor. The word that all is well is the broker's to give, as NotifyAccess=all lets it, and sd-event gives it for nobody else. */
static void take_over_watchdog(pid_t supervisor)
{
	const char *named = getenv("WATCHDOG_PID");

	if (named && strtol(named, NULL, 10) == (long)supervisor)
		(void)unsetenv("WATCHDOG_PID");
}

static enum err add_sources(struct daemon *daemon)
{
	if (sd_event_add_signal(daemon->event, NULL, SIGTERM, on_stop, daemon) < 0 ||
	    sd_event_add_signal(daemon->event, NULL, SIGINT, on_stop, daemon) < 0 ||
	    sd_event_add_signal(daemon->event, NULL, SIGHUP, on_reload, daemon) < 0 ||
	    sd_event_add_io(daemon->event, NULL, daemon->channel, EPOLLIN, on_supervisor, daemon) < 0 ||
	    sd_event_add_time(daemon->event, &daemon->unlock_timer, CLOCK_BOOTTIME, 0, 0, on_unlock_timer,
	                      daemon) < 0 ||
	    sd_event_source_set_enabled(daemon->unlock_timer, SD_EVENT_OFF) < 0)
		return ERR_SYSTEM;
	/* On only when the service manager asked for it; otherwise nothing ever wakes an idle daemon. */
	return sd_event_set_watchdog(daemon->event, true) < 0 ? ERR_SYSTEM : OK;
}

/* As secret_process_init wishes it: only where no limit stands against it. */
static bool all_memory_locked(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur == RLIM_INFINITY &&
	       mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) == 0;
}

/* Whatever whoever started us left open. */
static enum err close_others(const struct daemon_start *start)
{
	int keep[3 + STARTUP_LOCKS_MAX + FRONTENDS_MAX] = { start->channel, start->state_directory,
		                                            start->memo };

	memcpy(&keep[3], start->locks, sizeof(start->locks));
	memcpy(&keep[3 + STARTUP_LOCKS_MAX], start->sockets, sizeof(start->sockets));
	return confine_descriptors(keep, sizeof(keep) / sizeof(keep[0]));
}

static enum err close_files(const struct daemon_start *start)
{
	const char *slash = strrchr(start->options->configuration, '/');
	CLEANUP(freep)
	char *directory = strndup(start->options->configuration,
	                          slash ? (size_t)(slash - start->options->configuration) + 1 : 0);

	return directory ? sandbox_files(start->options->state_directory, directory,
	                                 start->config->policy_directory)
	                 : ERR_NOMEM;
}

static enum err confine(struct daemon *daemon, const struct daemon_start *start)
{
	struct rlimit files;
	const char *user = geteuid() == 0 && start->uid != 0 ? start->config->user : NULL;
	enum err err = close_others(start);

	if (!err)
		err = sandbox_drop_privileges(user, start->uid, start->gid, start->supervisor);
	if (err)
		return startup_failed(err, NULL, "privileges cannot be given up: %s", strerror(errno));
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < DESCRIPTORS_WANTED) {
		files.rlim_cur = files.rlim_max < DESCRIPTORS_WANTED ? files.rlim_max : DESCRIPTORS_WANTED;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
	err = secret_process_init();
	if (err)
		return cannot_start(err);
	daemon->memory_locked = all_memory_locked();
	/* sops may have us encrypt to a p256 key, and from here on no library can be loaded. */
	if (p256_prepare())
		log_warning("without libcrypto (OpenSSL 3) the front-end for sops does not encrypt to "
		            "age1tag1 recipients");
	(void)sha256_prepare();
	if (!confine_files_possible())
		log_warning("Landlock is not to be had here (%s): what the broker may open is left to its "
		            "user's rights",
		            strerror(errno));
	err = close_files(start);
	if (err)
		return startup_failed(err, NULL, "the file system cannot be closed: %s", strerror(errno));
	err = sandbox_filter(getenv("NOTIFY_SOCKET") != NULL);
	return err ? startup_failed(err, NULL, "the filter of system calls cannot be installed") : OK;
}

static enum err daemon_init(struct daemon *daemon, struct daemon_start *start)
{
	enum err err;

	json_wiping_init(); /* asks /dev/urandom, so before the files are closed */
	err = confine(daemon, start);
	if (err)
		return err;
	take_over_watchdog(start->supervisor);
	if (patience_init() || sd_event_new(&daemon->event) < 0 || add_sources(daemon))
		return startup_failed(ERR_SYSTEM, NULL, "the event loop cannot be made: %s", strerror(errno));
	return make_parts(daemon, start);
}

int daemon_run(struct daemon_start *start)
{
	struct daemon *daemon = calloc(1, sizeof(*daemon));
	int status;
	enum err err;

	if (!daemon)
		return err_info(cannot_start(ERR_NOMEM))->exit_code;
	daemon->options = start->options;
	daemon->config = *start->config;
	daemon->channel = start->channel;
	daemon->started_at = time(NULL);
	err = daemon_init(daemon, start);
	status = err_info(err)->exit_code;
	if (!err) {
		record(daemon, "start", OK);
		log_info("%zu keys, %zu tokens, %zu rules; ready", keyring_count(daemon->keyring),
		         daemon->worker_count, policy_rule_count(daemon->policy));
		(void)sd_notify(0, "READY=1");
		give_back_text();
		status = sd_event_loop(daemon->event);
		if (status < 0)
			log_error("the broker cannot go on: %s", strerror(-status));
	}
	daemon_done(daemon);
	free(daemon);
	return status < 0 ? 1 : status;
}
