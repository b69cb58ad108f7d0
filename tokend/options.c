#include "tokend/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *mode_name(enum mode mode)
{
	switch (mode) {
	case MODE_SYSTEM:
		return "system";
	case MODE_USER:
		return "user";
	case MODE_PRIVATE:
		return "private";
	}
	return "unknown";
}

static enum err set_path(char path[static OPTIONS_PATH_MAX], const char *directory, const char *name)
{
	if (path[0])
		return OK;
	int len = snprintf(path, OPTIONS_PATH_MAX, "%s%s", directory, name);

	return len > 0 && len < (int)OPTIONS_PATH_MAX ? OK : ERR_USAGE;
}

/* variable, else name under $HOME; as the XDG base directory specification says, a relative path counts as unset. */
static enum err set_user_path(char path[static OPTIONS_PATH_MAX], const char *variable,
                              const char *under_home, const char *name)
{
	const char *base = getenv(variable);
	const char *home = getenv("HOME");
	char directory[OPTIONS_PATH_MAX];

	if (path[0])
		return OK;
	if (base && base[0] == '/')
		return set_path(path, base, name);
	if (!under_home || !home || home[0] != '/')
		return ERR_USAGE;
	if (snprintf(directory, sizeof(directory), "%s/%s", home, under_home) >= (int)sizeof(directory))
		return ERR_USAGE;
	return set_path(path, directory, name);
}

static enum err complete_system(struct options *options)
{
	enum err err = set_path(options->state_directory, "/var/lib/tokend", "");

	if (!err)
		err = set_path(options->runtime_directory, "/run/tokend", "");
	if (!err)
		err = set_path(options->configuration, "/etc/tokend/tokend.conf", "");
	return err;
}

static enum err complete_user(struct options *options)
{
	enum err err = set_user_path(options->state_directory, "XDG_STATE_HOME", ".local/state", "/tokend");

	if (!err)
		err = set_user_path(options->runtime_directory, "XDG_RUNTIME_DIR", NULL, "/tokend");
	if (!err)
		err = set_user_path(options->configuration, "XDG_CONFIG_HOME", ".config",
		                    "/tokend/tokend.conf");
	return err;
}

/* One directory named is enough: a trial keeps everything in it. */
static enum err complete_private(struct options *options)
{
	enum err err = OK;

	if (options->state_directory[0])
		err = set_path(options->configuration, options->state_directory, "/tokend.conf");
	if (!err && options->state_directory[0])
		err = set_path(options->runtime_directory, options->state_directory, "/run");
	return err ? err : complete_user(options);
}

enum err options_complete(struct options *options)
{
	switch (options->mode) {
	case MODE_SYSTEM:
		return complete_system(options);
	case MODE_PRIVATE:
		return complete_private(options);
	case MODE_USER:
		return complete_user(options);
	}
	return ERR_BUG;
}
