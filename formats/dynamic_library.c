#include "formats/dynamic_library.h"

#include <dlfcn.h>
#include <string.h>

bool dynamic_library_load(const char *soname, const struct dynamic_symbol *symbols, size_t count,
                          void *functions)
{
	void *handle = dlopen(soname, RTLD_NOW | RTLD_LOCAL);

	for (size_t i = 0; handle && i < count; i++) {
		void *symbol = dlsym(handle, symbols[i].name);

		if (!symbol)
			return false;
		memcpy((char *)functions + symbols[i].offset, &symbol, sizeof(symbol));
	}
	return handle != NULL;
}
