/*
 * age-plugin-tokend: opens and makes age files for clients that know plugins (age, rage, sops), with keys that tokend keeps. Under the name
 * age-plugin-tag it only makes them, for clients that do not know age1tag1 recipients themselves.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/plugin_daemon.h"
#include "common/control.h"
#include "common/file.h"
#include "common/path.h"
#include "common/secret.h"

#define EXIT_NOT_A_PLUGIN_CALL 2
#define EXIT_UNKNOWN_STATE_MACHINE 4
#define READ_LEN 4096U

typedef enum err (*state_machine)(struct plugin_wire *wire, const struct plugin_ops *ops, void *context);

static const char help[] = "usage: age-plugin-tokend --age-plugin=identity-v1|recipient-v1\n"
                           "\n"
                           "age, rage and sops start this program themselves when they meet an identity "
                           "AGE-PLUGIN-TOKEND-1...;\n"
                           "it must be found through PATH. Under the name age-plugin-tag it encrypts to "
                           "age1tag1... for programs\n"
                           "that do not know such recipients.\n"
                           "\n"
                           "example:  tokenctl identity host > keys.txt; age -d -i keys.txt secret.age\n";

static enum err receive(void *context, struct buf *input)
{
	size_t len;
	enum err err = buf_read_fd(input, STDIN_FILENO, READ_LEN, &len);

	(void)context;
	if (err)
		return err;
	return len > 0 ? OK : ERR_TRUNCATED;
}

static enum err send_all(void *context, struct buf *output)
{
	(void)context;
	return buf_write_fd(output, STDOUT_FILENO);
}

/* sops logs what a plugin says at a level that it does not show. It is known by its name, which nobody need trust: all that depends on it is how an
 * explanation is sent. */
static bool client_hides_messages(void)
{
	char path[64];
	char name[16] = "";
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)getppid());
	file = fopen(path, "re");
	if (!file)
		return false;
	(void)!fgets(name, sizeof(name), file);
	(void)fclose(file);
	return strncmp(name, "sops", 4) == 0;
}

static bool is_tag(const char *program)
{
	return strcmp(path_name(program), "age-plugin-tag") == 0;
}

static state_machine find_machine(const char *name, const char *program)
{
	if (strcmp(name, "recipient-v1") == 0)
		return plugin_recipient_v1;
	if (strcmp(name, "identity-v1") == 0 && !is_tag(program))
		return plugin_identity_v1;
	return NULL;
}

/* The client sends SIGINT as soon as it has read "done", so everything is put away before that is written. */
static enum err run(state_machine machine)
{
	CLEANUP(plugin_wire_freep) struct plugin_wire *wire = NULL;
	struct plugin_pipe pipe = { receive, send_all, NULL, client_hides_messages() };
	struct plugin_daemon daemon = { 0 };
	enum err err;

	err = plugin_wire_new(&pipe, &wire);
	if (err)
		return err;
	err = machine(wire, &plugin_daemon_ops, &daemon);
	plugin_daemon_done(&daemon);
	if (err)
		return err;
	(void)signal(SIGINT, SIG_IGN);
	return plugin_wire_done(wire);
}

static int speak(state_machine machine)
{
	enum err err;

	/* A client that goes away is an error of write(), not the end of the process in the middle of a clean-up. */
	(void)signal(SIGPIPE, SIG_IGN);
	err = secret_client_init();
	if (!err) {
		json_wiping_init();
		err = run(machine);
	}
	if (!err)
		return 0;
	if (err == ERR_TRUNCATED)
		(void)fprintf(stderr, "age-plugin-tokend: the client ended the conversation early\n");
	else if (err == ERR_BUSY)
		(void)fprintf(stderr,
		              "age-plugin-tokend: too much in one conversation: at most %u identities and "
		              "recipients, %u files or file keys, and %u stanzas that could be ours\n",
		              PLUGIN_IDENTITIES_MAX, PLUGIN_FILES_MAX, PLUGIN_FILE_STANZAS_MAX);
	else if (err == ERR_BAD_MESSAGE)
		(void)fprintf(stderr, "age-plugin-tokend: what the client said is not the protocol of age's "
		                      "plugins, or a stanza of more than 64 KiB\n");
	else
		(void)fprintf(stderr, "age-plugin-tokend: %s\n%s", err_info(err)->text,
		              err == ERR_MEMORY_LOCKED ? "hint: " SECRET_LOCK_HINT "\n" : "");
	return 1;
}

int main(int argc, char **argv)
{
	static const char option[] = "--age-plugin=";
	state_machine machine;

	if (file_hold_standard(O_CLOEXEC))
		return 1;
	if (argc == 2 && strcmp(argv[1], "--help") == 0)
		return fputs(help, stdout) < 0;
	if (argc == 2 && strcmp(argv[1], "--version") == 0)
		return printf("age-plugin-tokend %s\n", TOKEND_VERSION) < 0;
	if (argc != 2 || strncmp(argv[1], option, sizeof(option) - 1) != 0) {
		(void)fputs(help, stderr);
		return EXIT_NOT_A_PLUGIN_CALL;
	}
	machine = find_machine(argv[1] + sizeof(option) - 1, argv[0]);
	if (!machine) {
		(void)fprintf(stderr, "%s: unknown state machine \"%s\"\n", argv[0],
		              argv[1] + sizeof(option) - 1);
		return EXIT_UNKNOWN_STATE_MACHINE;
	}
	return speak(machine);
}
