/*
 * Path
 *
 * The two parts of a file's path. Nothing of it is looked at on the disk.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What stands behind the last slash; "" when that ends it. Borrowed from path. */
const char *path_name(const char *path);

/* The directory of that name: all before, with the slash; "." when there is none. False when out has no room for it. */
bool path_directory(const char *path, char *out, size_t size);
