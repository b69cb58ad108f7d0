#include "formats/yaml_library.h"

static struct yaml_library functions;

static const struct dynamic_symbol symbols[] = {
#define SYMBOL(name) { #name, offsetof(struct yaml_library, name) },
	YAML_FUNCTIONS(SYMBOL)
};

enum err yaml_library_load(const struct yaml_library **ret_library)
{
	static struct dynamic_library dynamic = { .soname = "libfyaml.so.0",
		                                  .symbols = symbols,
		                                  .count = sizeof(symbols) / sizeof(symbols[0]),
		                                  .functions = &functions };

	*ret_library = &functions;
	return dynamic_library_load(&dynamic) ? OK : ERR_UNSUPPORTED;
}
