#include "tokend/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "common/clock.h"
#include "common/give_back.h"
#include "common/log.h"
#include "common/secret.h"
#include "common/token.h"
#include "tokend/daemon.h"
#include "tokend/listener.h"
#include "tokend/sandbox.h"
#include "tokend/startup.h"
#include "tokend/supervisor_message.h"

#define HELPER_SOCKET 3
#define HELPER_NOTES 4
#define HELPER_END_MS 2000
#define HELPER_KILL_MS 500
#define HELPER_GROUPS_MAX 64

struct supervisor {
	const struct options *options;
	const struct config *config;
	pid_t pid; /* our own */
	int channel; /* to the broker */
	int signals;
	pid_t broker;
	int broker_status;
	pid_t helpers[CONFIG_TOKENS_MAX]; /* 0: not running */
	int notes
	        [CONFIG_TOKENS_MAX]; /* what one helper of a token leaves to the next: a struct token_notes each */
	char helper_directory[OPTIONS_PATH_MAX];
	uid_t helper_uid;
	gid_t helper_gid;
	gid_t helper_groups[HELPER_GROUPS_MAX];
	int helper_group_count;
	bool own_sockets; /* to be removed at the end */
};

/* ---- helpers ---- */

/* What a helper may inherit: how to log, and what the test builds' sanitizers are told. */
static char **helper_environment(void)
{
	static const char *const kept[] = { "JOURNAL_STREAM", "TSS2_LOG", "ASAN_OPTIONS", "UBSAN_OPTIONS",
		                            "LSAN_OPTIONS" };
	static char lines[sizeof(kept) / sizeof(kept[0])][1024];
	static char *environment[sizeof(kept) / sizeof(kept[0]) + 1];
	size_t count = 0;

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
		const char *value = getenv(kept[i]);

		if (value &&
		    snprintf(lines[i], sizeof(lines[i]), "%s=%s", kept[i], value) < (int)sizeof(lines[i]))
			environment[count++] = lines[i];
	}
	environment[count] = NULL;
	return environment;
}

static bool changes_user(const struct supervisor *supervisor)
{
	return geteuid() == 0 && supervisor->options->mode == MODE_SYSTEM;
}

static bool become_helper_user(const struct supervisor *supervisor)
{
	if (!changes_user(supervisor))
		return true;
	return setgroups((size_t)supervisor->helper_group_count, supervisor->helper_groups) == 0 &&
	       setresgid(supervisor->helper_gid, supervisor->helper_gid, supervisor->helper_gid) == 0 &&
	       setresuid(supervisor->helper_uid, supervisor->helper_uid, supervisor->helper_uid) == 0;
}

/* Of the standard streams only the one for messages is of use below the supervisor. */
static bool forget_terminal(void)
{
	CLEANUP(close_fdp) int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	return null >= 0 && dup2(null, STDIN_FILENO) >= 0 && dup2(null, STDOUT_FILENO) >= 0;
}

/* As the standard numbers say, whatever the two are now. */
static bool place_descriptors(int socket, int notes)
{
	CLEANUP(close_fdp) int aside = fcntl(notes, F_DUPFD_CLOEXEC, HELPER_NOTES + 1);

	if (aside < 0)
		return false;
	if (socket == HELPER_SOCKET ? fcntl(socket, F_SETFD, 0) < 0 : dup2(socket, HELPER_SOCKET) < 0)
		return false;
	return dup2(aside, HELPER_NOTES) == HELPER_NOTES;
}

/* In the child; does not return. Of what we have open only stderr, the socket and the notes go along. */
static void helper_execute(const struct supervisor *supervisor, size_t index, int socket)
{
	const char *uri = supervisor->config->tokens[index];
	char program[OPTIONS_PATH_MAX + 32], token[TOKEN_URI_MAX], socket_number[] = "3",
	                                                           notes_number[] = "4";
	char name_option[] = "--socket", notes_option[] = "--notes", token_option[] = "--token";
	const char *scheme_end = strchr(uri, ':');
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	/* Not in the terminal's process group: an interrupt from the keyboard must leave it time to end in order. */
	(void)setpgid(0, 0);
	if (!forget_terminal())
		_exit(71);
	if (!place_descriptors(socket, supervisor->notes[index]))
		_exit(71);
	(void)close_range(HELPER_NOTES + 1, ~0U, 0);
	if (!become_helper_user(supervisor) || prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ||
	    getppid() != supervisor->pid)
		_exit(77);
	(void)snprintf(token, sizeof(token), "%s", uri);
	(void)snprintf(program, sizeof(program), "%s/tokend-%.*s", supervisor->helper_directory,
	               (int)(scheme_end ? scheme_end - uri : 0), uri);
	(void)execve(program,
	             (char *[]){ program, name_option, socket_number, notes_option, notes_number,
	                         token_option, token, NULL },
	             helper_environment());
	(void)dprintf(STDERR_FILENO, "tokend: %s cannot be started: %s\n", program, strerror(errno));
	_exit(72);
}

static enum err helper_start(struct supervisor *supervisor, size_t index, int *ret_socket)
{
	CLEANUP(close_fdp) int ours = -1;
	CLEANUP(close_fdp) int theirs = -1;
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return ERR_SYSTEM;
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid < 0)
		return ERR_SYSTEM;
	if (pid == 0)
		helper_execute(supervisor, index, theirs);
	supervisor->helpers[index] = pid;
	*ret_socket = TAKE_FD(ours);
	return OK;
}

/* ---- the life of the daemon ---- */

static void reap(struct supervisor *supervisor)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == supervisor->broker) {
			supervisor->broker = 0;
			supervisor->broker_status = status;
		}
		for (size_t i = 0; i < CONFIG_TOKENS_MAX; i++)
			if (supervisor->helpers[i] == pid)
				supervisor->helpers[i] = 0;
	}
}

static void read_signal(struct supervisor *supervisor)
{
	struct signalfd_siginfo info;

	if (read(supervisor->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD)
		reap(supervisor);
	else if (supervisor->broker > 0)
		(void)kill(supervisor->broker, (int)info.ssi_signo);
}

static bool helpers_left(const struct supervisor *supervisor, size_t first, size_t end)
{
	for (size_t i = first; i < end; i++)
		if (supervisor->helpers[i] > 0)
			return true;
	return false;
}

/* For the end of those from first on and before end, but not longer than so many milliseconds. */
static void wait_for_helpers(struct supervisor *supervisor, size_t first, size_t end, long longest)
{
	struct pollfd signals = { .fd = supervisor->signals, .events = POLLIN };
	const uint64_t start = clock_microseconds();

	for (reap(supervisor); helpers_left(supervisor, first, end); reap(supervisor)) {
		const long spent = (long)((clock_microseconds() - start) / 1000);

		if (spent >= longest)
			break;
		if (poll(&signals, 1, (int)(longest - spent)) > 0)
			read_signal(supervisor);
	}
}

/* Is it gone? Then the next one finds the device free. A process that its driver holds in the kernel ends when that lets go of it; the other tokens do not wait for that. */
static bool helper_kill(struct supervisor *supervisor, size_t index)
{
	if (supervisor->helpers[index] <= 0)
		return true;
	(void)kill(supervisor->helpers[index], SIGKILL);
	wait_for_helpers(supervisor, index, index + 1, HELPER_KILL_MS);
	return supervisor->helpers[index] <= 0;
}

/* A broker that waits for an answer for ever would have no helper any more. So when this one cannot be sent, that is said instead, without the descriptor; and if not even that can be, it is no broker's supervisor any longer. */
static enum err answer_broker(struct supervisor *supervisor, struct supervisor_message *message, int socket)
{
	enum err err = supervisor_send(supervisor->channel, message, socket);

	if (err != ERR_AGAIN)
		return err;
	(void)helper_kill(supervisor, message->helper);
	message->err = ERR_SYSTEM;
	err = supervisor_send(supervisor->channel, message, -1);
	return err == ERR_AGAIN ? ERR_SYSTEM : err;
}

static enum err broker_asks(struct supervisor *supervisor)
{
	struct supervisor_message message;
	CLEANUP(close_fdp) int unexpected = -1;
	CLEANUP(close_fdp) int helper_socket = -1;
	bool gone;
	enum err err = supervisor_receive(supervisor->channel, &message, &unexpected);

	if (err)
		return err == ERR_AGAIN ? OK : err;
	if (!supervisor_message_is(&message, SUPERVISOR_START, supervisor->config->token_count) &&
	    !supervisor_message_is(&message, SUPERVISOR_END, supervisor->config->token_count))
		return ERR_BAD_MESSAGE;
	gone = helper_kill(supervisor, message.helper);
	if (message.op == SUPERVISOR_END)
		return OK;
	message.op = SUPERVISOR_STARTED;
	message.err = gone ? helper_start(supervisor, message.helper, &helper_socket) : ERR_BUSY;
	message.pid = (uint32_t)supervisor->helpers[message.helper];
	return answer_broker(supervisor, &message, helper_socket);
}

/* Returns what is to be listened to from now on. A broker that hung up is ending; one that talks nonsense, or cannot be answered, is ended. */
static int hear_broker(struct supervisor *supervisor)
{
	enum err err = broker_asks(supervisor);

	if (err == OK)
		return supervisor->channel;
	if (err != ERR_NO_DAEMON && supervisor->broker > 0) {
		log_error("the broker %s; it is ended",
		          err == ERR_BAD_MESSAGE ? "asks for what there is not" : "cannot be answered");
		(void)kill(supervisor->broker, SIGKILL);
	}
	return -1;
}

/* Until the broker has ended; false when nothing can be heard of it any more. */
static bool serve(struct supervisor *supervisor)
{
	struct pollfd fds[2] = { { .fd = supervisor->signals, .events = POLLIN },
		                 { .fd = supervisor->channel, .events = POLLIN } };

	while (supervisor->broker > 0) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR) {
			log_error("the supervisor cannot wait for the broker any more: %s", strerror(errno));
			return false;
		}
		if (fds[1].revents)
			fds[1].fd = hear_broker(supervisor);
		if (fds[0].revents)
			read_signal(supervisor);
	}
	return true;
}

/* The broker's end closed their sockets: they are ending already, some with a last command to a simulated device. */
static void end_helpers(struct supervisor *supervisor)
{
	wait_for_helpers(supervisor, 0, CONFIG_TOKENS_MAX, HELPER_END_MS);
	for (size_t i = 0; i < CONFIG_TOKENS_MAX; i++)
		(void)helper_kill(supervisor, i);
}

static int exit_status(int status)
{
	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	log_error("the broker was ended by signal %d", WTERMSIG(status));
	return 1;
}

static enum err block_signals(struct supervisor *supervisor)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGCHLD);
	if (sigprocmask(SIG_BLOCK, &set, NULL) == 0)
		supervisor->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (supervisor->signals < 0)
		return startup_failed(ERR_SYSTEM, NULL, "signals cannot be heard: %s", strerror(errno));
	return OK;
}

/* tokend-tpm is always built, so that it tells the directory. */
static bool holds_helpers(const char *directory)
{
	char program[OPTIONS_PATH_MAX + 32];

	(void)snprintf(program, sizeof(program), "%s/tokend-tpm", directory);
	return access(program, X_OK) == 0;
}

/* Helpers stand beside us where we were built, and in ../libexec/tokend where we were installed. */
static enum err find_helpers(struct supervisor *supervisor)
{
	char *directory = supervisor->helper_directory;
	size_t size = sizeof(supervisor->helper_directory);
	const char installed[] = "/../libexec/tokend";
	ssize_t len = readlink("/proc/self/exe", directory, size - 1);
	char *slash;

	if (len <= 0)
		return startup_failed(ERR_SYSTEM, NULL, "where this program stands cannot be found out: %s",
		                      strerror(errno));
	directory[len] = '\0';
	slash = strrchr(directory, '/');
	if (slash)
		*slash = '\0';
	if (holds_helpers(directory))
		return OK;
	if (strlen(directory) + sizeof(installed) > size)
		return startup_failed(ERR_SYSTEM, NULL, "the path %s is too long", directory);
	memcpy(directory + strlen(directory), installed, sizeof(installed));
	if (!holds_helpers(directory))
		return startup_failed(ERR_BAD_CONFIG, NULL,
		                      "tokend-tpm is not installed beside tokend, nor in ../libexec/tokend");
	return OK;
}

static enum err find_user(const char *name, uid_t *ret_uid, gid_t *ret_gid)
{
	const struct passwd *user = getpwnam(name);

	if (!user)
		return startup_failed(ERR_BAD_CONFIG,
		                      "sudo systemd-sysusers && sudo systemd-tmpfiles --create",
		                      "there is no user \"%s\" to run as", name);
	*ret_uid = user->pw_uid;
	*ret_gid = user->pw_gid;
	return OK;
}

/* Its groups are asked for here, because the sandbox knows nothing of where names may come from. */
static enum err find_helper_user(struct supervisor *supervisor)
{
	const char *name = supervisor->config->helper_user;
	enum err err = find_user(name, &supervisor->helper_uid, &supervisor->helper_gid);

	supervisor->helper_group_count = HELPER_GROUPS_MAX;
	if (!err && getgrouplist(name, supervisor->helper_gid, supervisor->helper_groups,
	                         &supervisor->helper_group_count) < 0)
		return startup_failed(ERR_BAD_CONFIG, NULL, "the user \"%s\" is in more than %d groups", name,
		                      HELPER_GROUPS_MAX);
	return err;
}

/* In the forked child; returns its exit status. */
static int run_broker(struct supervisor *supervisor, struct daemon_start *start, int supervisor_end)
{
	close_fdp(&supervisor_end);
	close_fdp(&supervisor->signals);
	for (size_t i = 0; i < supervisor->config->token_count; i++)
		close_fdp(&supervisor->notes[i]);
	/* Until it is another user, which needs it said again. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM) < 0 || !forget_terminal())
		return err_info(startup_failed(ERR_SYSTEM, NULL, "the broker cannot start: %s",
		                               strerror(errno)))
		        ->exit_code;
	return daemon_run(start);
}

static enum err fork_broker(struct supervisor *supervisor, struct daemon_start *start)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return startup_failed(ERR_SYSTEM, NULL, "no socket pair: %s", strerror(errno));
	supervisor->channel = pair[0];
	start->channel = pair[1];
	supervisor->broker = fork();
	if (supervisor->broker < 0)
		return startup_failed(ERR_SYSTEM, NULL, "no second process: %s", strerror(errno));
	if (supervisor->broker == 0)
		_exit(run_broker(supervisor, start, pair[0]));
	(void)close(pair[1]);
	return OK;
}

static enum err open_notes(struct supervisor *supervisor, int runtime)
{
	enum err err = OK;

	for (size_t i = 0; !err && i < supervisor->config->token_count; i++)
		err = startup_notes(supervisor->options, runtime, supervisor->config->tokens[i],
		                    &supervisor->notes[i]);
	return err;
}

static enum err prepare(struct supervisor *supervisor, struct daemon_start *start)
{
	const struct options *options = supervisor->options;
	CLEANUP(close_fdp) int runtime = -1;
	enum err err = OK;

	start->uid = geteuid();
	start->gid = getegid();
	if (changes_user(supervisor)) {
		err = find_user(supervisor->config->user, &start->uid, &start->gid);
		if (!err)
			err = find_helper_user(supervisor);
	}
	if (!err)
		err = find_helpers(supervisor);
	if (!err)
		err = startup_directories(options, start->uid, start->gid, &start->state_directory, &runtime,
		                          start->locks);
	if (!err)
		err = open_notes(supervisor, runtime);
	if (!err)
		start->memo = startup_memo(options, runtime, start->uid, start->gid);
	if (!err)
		err = listener_open_sockets(options, runtime, start->sockets, &supervisor->own_sockets);
	if (!err)
		err = startup_where(options, supervisor->config, runtime);
	return err;
}

/* With the broker's end of the channel in the broker's hands, nothing new is needed any more. */
static enum err confine(const struct supervisor *supervisor)
{
	enum err err = sandbox_supervisor(supervisor->config, supervisor->options->runtime_directory,
	                                  changes_user(supervisor));

	return err ? startup_failed(err, NULL, "the supervisor cannot be confined: %s", strerror(errno)) : OK;
}

int supervisor_run(const struct options *options, const struct config *config)
{
	struct supervisor supervisor = {
		.options = options, .config = config, .pid = getpid(), .signals = -1
	};
	struct daemon_start start = { .options = options,
		                      .config = config,
		                      .state_directory = -1,
		                      .memo = -1,
		                      .supervisor = getpid() };
	bool served;
	enum err err;

	/* The pool of secrets is not for this process, and must not be made before the fork: locks are not inherited. */
	err = secret_client_init();
	if (err)
		(void)startup_failed(err, NULL, "the supervisor cannot start: %s", strerror(errno));
	else
		err = block_signals(&supervisor);
	if (!err)
		err = prepare(&supervisor, &start);
	if (!err)
		err = fork_broker(&supervisor, &start);
	if (!err)
		err = confine(&supervisor);
	if (err)
		return err_info(err)->exit_code;
	listener_close_sockets(start.sockets);
	close_fdp(&start.memo);
	give_back_text();
	served = serve(&supervisor);
	end_helpers(&supervisor);
	if (supervisor.own_sockets)
		listener_remove_sockets(options);
	return served ? exit_status(supervisor.broker_status) : 1;
}
