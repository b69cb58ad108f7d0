/*
 * Dynamic library
 *
 * A shared library that is looked up when it is first needed, so that only who needs it pays for it: libcrypto, libfyaml, libpcre2. It stays loaded until the process ends: unloading it would run its exit handlers
 * while its threads' data is alive.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct dynamic_symbol {
	const char *name;
	size_t offset; /* of the pointer to the function, in the struct of them all */
};

/* Loads the library of that soname (an absolute path would differ by architecture, and the loader looks where every program's libraries come from) and fills in the functions. False when it is not there, or one
 * of them is not in it. */
bool dynamic_library_load(const char *soname, const struct dynamic_symbol *symbols, size_t count,
                          void *functions);
