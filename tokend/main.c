/* tokend: options, configuration, and then the supervisor. */
#include <getopt.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "common/file.h"
#include "common/log.h"
#include "common/quote.h"
#include "tokend/config.h"
#include "tokend/options.h"
#include "tokend/policy.h"
#include "tokend/startup.h"
#include "tokend/supervisor.h"

static const char help[] =
        "tokend [--system|--user] [--state-dir DIR] [--runtime-dir DIR] [--config FILE] [--check]\n"
        "\n"
        "Serves keys that live in a TPM to local clients; see tokend(8).\n"
        "\n"
        "  --system           the machine's daemon (what root gets unless it says otherwise)\n"
        "  --user             a user's own, in the XDG directories (what everybody else gets)\n"
        "  --state-dir DIR    keys, state and the audit log stand here; must be private\n"
        "  --runtime-dir DIR  the sockets stand here\n"
        "  --config FILE      tokend.conf; the policy is in policy.d beside it\n"
        "  --check            say what is wrong with the configuration and the policy, and end\n"
        "  --version, --help\n"
        "\n"
        "Example: tokend --state-dir ~/trial/state --runtime-dir ~/trial/run --config ~/trial/tokend.conf\n";

enum option_number {
	OPTION_SYSTEM = 256,
	OPTION_USER,
	OPTION_STATE,
	OPTION_RUNTIME,
	OPTION_CONFIG,
	OPTION_CHECK,
	OPTION_VERSION,
	OPTION_HELP,
};

static const struct option long_options[] = {
	{ "system", no_argument, NULL, OPTION_SYSTEM },
	{ "user", no_argument, NULL, OPTION_USER },
	{ "state-dir", required_argument, NULL, OPTION_STATE },
	{ "runtime-dir", required_argument, NULL, OPTION_RUNTIME },
	{ "config", required_argument, NULL, OPTION_CONFIG },
	{ "check", no_argument, NULL, OPTION_CHECK },
	{ "version", no_argument, NULL, OPTION_VERSION },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ NULL, 0, NULL, 0 },
};

/* A path from the command line, made absolute: the file "where" tells it to others. */
static enum err take_path(char path[static OPTIONS_PATH_MAX], const char *argument)
{
	char here[OPTIONS_PATH_MAX];
	int len;

	if (argument[0] == '/')
		len = snprintf(path, OPTIONS_PATH_MAX, "%s", argument);
	else if (getcwd(here, sizeof(here)))
		len = snprintf(path, OPTIONS_PATH_MAX, "%s/%s", here, argument);
	else
		return startup_failed(ERR_FILE_ACCESS, NULL, "the working directory cannot be read");
	while (len > 1 && len < (int)OPTIONS_PATH_MAX && path[len - 1] == '/')
		path[--len] = '\0';
	return argument[0] && len < (int)OPTIONS_PATH_MAX ? OK : ERR_USAGE;
}

enum choice {
	CHOICE_RUN,
	CHOICE_PRINTED, /* help or version: done */
};

static enum err take_option(int option, struct options *options, bool *mode_named, enum choice *choice)
{
	switch (option) {
	case OPTION_SYSTEM:
	case OPTION_USER:
		options->mode = option == OPTION_SYSTEM ? MODE_SYSTEM : MODE_USER;
		*mode_named = true;
		return OK;
	case OPTION_STATE:
		return take_path(options->state_directory, optarg);
	case OPTION_RUNTIME:
		return take_path(options->runtime_directory, optarg);
	case OPTION_CONFIG:
		options->configuration_named = true;
		return take_path(options->configuration, optarg);
	case OPTION_CHECK:
		options->check = true;
		return OK;
	case OPTION_VERSION:
	case OPTION_HELP:
		(void)fputs(option == OPTION_HELP ? help : "tokend " TOKEND_VERSION "\n", stdout);
		*choice = CHOICE_PRINTED;
		return OK;
	default:
		return ERR_USAGE;
	}
}

static enum err refuse_option(int option, const char *word)
{
	return startup_failed(ERR_USAGE, "tokend --help",
	                      option == ':' ? "%s stands without its value" : "there is no option %s", word);
}

static enum err read_options(int argc, char **argv, struct options *options, enum choice *choice)
{
	bool mode_named = false;
	enum err err = OK;
	int option;

	while (!err && *choice == CHOICE_RUN &&
	       (option = getopt_long(argc, argv, ":", long_options, NULL)) != -1)
		err = option == '?' || option == ':' ? refuse_option(option, argv[optind - 1])
		                                     : take_option(option, options, &mode_named, choice);
	if (err || *choice != CHOICE_RUN)
		return err;
	if (optind < argc)
		return startup_failed(ERR_USAGE, "tokend --help", "\"%s\" is not an option", argv[optind]);
	if (!mode_named && (options->state_directory[0] || options->runtime_directory[0]))
		options->mode = MODE_PRIVATE;
	else if (!mode_named)
		options->mode = geteuid() == 0 ? MODE_SYSTEM : MODE_USER;
	err = options_complete(options);
	if (err)
		return startup_failed(err, "tokend --state-dir DIR --runtime-dir DIR",
		                      "there is no place for a daemon: HOME and XDG_RUNTIME_DIR are not set");
	return OK;
}

static enum err read_configuration(const struct options *options, struct config *config)
{
	CLEANUP(buf_freep) struct buf *problem = NULL;
	char hint[STARTUP_HINT_MAX], quoted[STARTUP_QUOTED_MAX];
	enum err err = buf_new(4096, &problem);

	if (!err)
		err = config_load(options->configuration, options->configuration_named, problem, config);
	quote_word(options->configuration, quoted, sizeof(quoted));
	(void)snprintf(hint, sizeof(hint), "echo 'token tpm:device:/dev/tpmrm0' >%s", quoted);
	if (err == ERR_NO_FILE)
		return startup_failed(err, hint, "there is no file %s, which --config names",
		                      options->configuration);
	if (err)
		return startup_failed(err, "man 5 tokend.conf", "the configuration cannot be used: %s",
		                      problem && buf_len(problem) ? buf_string(problem)
		                                                  : err_info(err)->text);
	if (options->mode == MODE_SYSTEM)
		config_expect_device(config);
	log_set_level(config->log_level);
	return OK;
}

static enum err check_policy(const struct options *options, const struct config *config)
{
	CLEANUP(policy_freep) struct policy *policy = NULL;
	CLEANUP(buf_freep) struct buf *problem = NULL;
	enum err err = buf_new(4096, &problem);

	if (!err)
		err = policy_load(config->policy_directory, options->mode == MODE_SYSTEM, problem, &policy);
	if (err)
		return startup_failed(err, "man 5 tokend-policy", "the policy cannot be used: %s",
		                      problem && buf_len(problem) ? buf_string(problem)
		                                                  : err_info(err)->text);
	(void)fputs(policy_warnings(policy), stderr);
	(void)printf("%s and %s are in order: %zu %s, %zu %s\n", options->configuration,
	             config->policy_directory, config->token_count,
	             config->token_count == 1 ? "token" : "tokens", policy_rule_count(policy),
	             policy_rule_count(policy) == 1 ? "rule" : "rules");
	return OK;
}

/* Before there is anything that could be read anew, SIGHUP would be the end; it waits, and is a reload then. Whoever wants the end by another one is to have it at once. */
static void hold_reload(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGHUP);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
	static struct options options;
	static struct config config;
	enum choice choice = CHOICE_RUN;
	enum err err;

	hold_reload();
	/* The helpers get them, too. */
	err = file_hold_standard(0);
	log_init("tokend", LOG_LEVEL_INFO);
	if (err)
		err = startup_failed(
		        err, "ls -l /dev/null",
		        "/dev/null cannot be opened in the place of a standard descriptor that is closed");
	else
		err = read_options(argc, argv, &options, &choice);
	if (err || choice == CHOICE_PRINTED)
		return err_info(err)->exit_code;
	err = read_configuration(&options, &config);
	if (!err && options.check)
		err = check_policy(&options, &config);
	if (err || options.check)
		return err_info(err)->exit_code;
	return supervisor_run(&options, &config);
}
