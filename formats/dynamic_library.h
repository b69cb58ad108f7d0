/*
 * Dynamic library
 *
 * A shared library that is looked up when it is first needed, so that only who needs it pays for it: libcrypto, libnettle, libfyaml, libpcre2. It stays loaded until the process ends: unloading it would run its exit handlers
 * while its threads' data is alive.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

struct dynamic_symbol {
	const char *name;
	size_t offset; /* of the pointer to the function, in the struct of them all */
};

struct dynamic_library {
	const char *soname;
	const struct dynamic_symbol *symbols;
	size_t count;
	void *functions; /* where the pointers are */
	bool tried, loaded;
};

/* Loads the library of that soname (an absolute path would differ by architecture, and the loader looks where every program's libraries come from) and fills in the functions, the first time; later it only says
 * again whether that worked. False when it is not there, or one of the functions is not in it. Not for several threads at once. */
bool dynamic_library_load(struct dynamic_library *library);

/* A file's own library: FUNCTIONS(X) is X(name) for every function used, with the type that the library's header gives it. Defines the functions as call.name, and the library as dynamic. */
#define DYNAMIC_FUNCTION(name) __typeof__(name) *name;
#define DYNAMIC_SYMBOL(name) { #name, offsetof(struct functions, name) },
#define DYNAMIC_LIBRARY(soname_, FUNCTIONS)                                                      \
	struct functions {                                                                       \
		FUNCTIONS(DYNAMIC_FUNCTION)                                                      \
	};                                                                                       \
	static struct functions call;                                                            \
	static const struct dynamic_symbol symbols[] = { FUNCTIONS(DYNAMIC_SYMBOL) };            \
	static struct dynamic_library dynamic = { .soname = (soname_),                           \
		                                  .symbols = symbols,                            \
		                                  .count = sizeof(symbols) / sizeof(symbols[0]), \
		                                  .functions = &call }
