#include "formats/yaml_library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

#define LIBRARY_NAME "libfyaml.so.0"

static const struct {
	const char *name;
	size_t offset;
} symbols[] = {
#define SYMBOL(name) { #name, offsetof(struct yaml_library, name) },
	YAML_FUNCTIONS(SYMBOL)
};

static struct yaml_library library;
static bool tried, loaded;

static bool functions_find(void *handle)
{
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		void *symbol = dlsym(handle, symbols[i].name);

		if (!symbol)
			return false;
		memcpy((char *)&library + symbols[i].offset, &symbol, sizeof(symbol));
	}
	return true;
}

/* It stays loaded until the process ends. */
enum err yaml_library_load(const struct yaml_library **ret_library)
{
	if (!tried) {
		void *handle = dlopen(LIBRARY_NAME, RTLD_NOW | RTLD_LOCAL);

		tried = true;
		loaded = handle && functions_find(handle);
	}
	*ret_library = &library;
	return loaded ? OK : ERR_UNSUPPORTED;
}
