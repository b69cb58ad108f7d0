#include "tpm/tcti.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static const struct tcti_driver drivers[] = {
	{ "device", "libtss2-tcti-device.so.0", false, false },
	{ "swtpm", "libtss2-tcti-swtpm.so.0", true, false },
	{ "mssim", "libtss2-tcti-mssim.so.0", true, false },
	{ "tabrmd", "libtss2-tcti-tabrmd.so.0", false, true },
};

/* The one that was loaded; a helper has one token. */
static TSS2_TCTI_INIT_FUNC loaded_init;

enum err tcti_driver_find(const char *uri, const struct tcti_driver **ret_driver,
                          const char **ret_configuration)
{
	size_t len = strcspn(uri, ":");

	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++) {
		if (strlen(drivers[i].name) != len || strncmp(drivers[i].name, uri, len) != 0)
			continue;
		*ret_driver = &drivers[i];
		*ret_configuration = uri[len] == ':' ? uri + len + 1 : "";
		return OK;
	}
	return ERR_USAGE;
}

/* The libraries print what they think to stderr, PINs excepted, but a helper says a thing once. Whoever debugs sets it himself. */
static void silence(void)
{
	(void)setenv("TSS2_LOG", "all+none", 0);
}

enum err tcti_load(const struct tcti_driver *driver)
{
	void *library;
	const TSS2_TCTI_INFO *(*info)(void);

	silence();
	/* Never closed: after the sandbox shut, it could not be loaded again. */
	library = dlopen(driver->library, RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return ERR_SYSTEM;
	*(void **)(&info) = dlsym(library, TSS2_TCTI_INFO_SYMBOL);
	if (!info || !info() || !info()->init)
		return ERR_SYSTEM;
	loaded_init = info()->init;
	return OK;
}

static enum err directory_of(const char *path, char *out, size_t out_len)
{
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	if (path[0] != '/' || len >= out_len)
		return ERR_USAGE;
	/* A device in the root directory would open all of it. */
	if (len == 0)
		return ERR_USAGE;
	memcpy(out, path, len);
	out[len] = '\0';
	return OK;
}

enum err tcti_sandbox(const char *uri, struct token_sandbox *ret_sandbox)
{
	const struct tcti_driver *driver;
	const char *configuration;
	struct token_sandbox sandbox = { 0 };
	enum err err = tcti_driver_find(uri, &driver, &configuration);

	if (err)
		return err;
	sandbox.threads = driver->threads;
	if (strcmp(driver->name, "device") == 0) {
		err = directory_of(configuration, sandbox.directory, sizeof(sandbox.directory));
	} else {
		sandbox.unix_sockets = true;
		/* Without a path these two speak TCP. */
		sandbox.inet_sockets = driver->simulation && strncmp(configuration, "path=", 5) != 0;
	}
	if (!err)
		*ret_sandbox = sandbox;
	return err;
}

/* The kernel's manager has names of its own for the devices: /dev/tpmrm0 beside /dev/tpm0. */
bool tcti_keeps_sessions(const struct tcti_driver *driver, const char *configuration)
{
	const char *slash = strrchr(configuration, '/');

	if (strcmp(driver->name, "device") == 0)
		return strncmp(slash ? slash + 1 : configuration, "tpmrm", 5) != 0;
	return driver->simulation;
}

enum err tcti_connect(const struct tcti_driver *driver, const char *configuration,
                      TSS2_TCTI_CONTEXT **ret_tcti)
{
	size_t size = 0;
	TSS2_TCTI_CONTEXT *tcti;

	(void)driver;
	if (!loaded_init || loaded_init(NULL, &size, NULL) != TSS2_RC_SUCCESS)
		return ERR_BUG;
	tcti = calloc(1, size);
	if (!tcti)
		return ERR_NOMEM;
	if (loaded_init(tcti, &size, configuration) != TSS2_RC_SUCCESS) {
		free(tcti);
		return ERR_NO_TOKEN;
	}
	*ret_tcti = tcti;
	return OK;
}
