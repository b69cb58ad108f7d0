#include "formats/yaml_library.h"

#include "formats/dynamic_library.h"

#define LIBRARY_NAME "libfyaml.so.0"

static const struct dynamic_symbol symbols[] = {
#define SYMBOL(name) { #name, offsetof(struct yaml_library, name) },
	YAML_FUNCTIONS(SYMBOL)
};

static struct yaml_library library;
static bool tried, loaded;

enum err yaml_library_load(const struct yaml_library **ret_library)
{
	if (!tried)
		loaded = dynamic_library_load(LIBRARY_NAME, symbols, sizeof(symbols) / sizeof(symbols[0]),
		                              &library);
	tried = true;
	*ret_library = &library;
	return loaded ? OK : ERR_UNSUPPORTED;
}
