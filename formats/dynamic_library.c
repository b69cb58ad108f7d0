#include "formats/dynamic_library.h"

#include <dlfcn.h>
#include <string.h>

static bool load(const struct dynamic_library *library)
{
	/* What is used is looked up below; what it calls inside itself can wait, and mostly is never called. */
	void *handle = dlopen(library->soname, RTLD_LAZY | RTLD_LOCAL);

	for (size_t i = 0; handle && i < library->count; i++) {
		void *symbol = dlsym(handle, library->symbols[i].name);

		if (!symbol)
			return false;
		memcpy((char *)library->functions + library->symbols[i].offset, &symbol, sizeof(symbol));
	}
	return handle != NULL;
}

bool dynamic_library_load(struct dynamic_library *library)
{
	if (!library->tried)
		library->loaded = load(library);
	library->tried = true;
	return library->loaded;
}
