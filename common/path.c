#include "common/path.h"

#include <stdio.h>
#include <string.h>

const char *path_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool path_directory(const char *path, char *out, size_t size)
{
	const size_t len = (size_t)(path_name(path) - path);

	return (size_t)snprintf(out, size, "%.*s", len ? (int)len : 1, len ? path : ".") < size;
}
