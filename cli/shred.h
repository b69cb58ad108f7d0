/* Removes a file that held a key, after writing over it. */
#pragma once

#include <sys/stat.h>

#include "cli/problem.h"

/* Could shred_file do it? To be asked before something is done that cannot be undone. */
MUST_CHECK enum err shred_check(const char *path, struct problem *problem);

/* Overwrites path, waits for the disk, removes it. Refuses what is not a regular file, or has a second name under which it would stay; and what is not the file of which `read` was said before it was
 * read, as it was then: another key would be lost that nobody has. */
MUST_CHECK enum err shred_file(const char *path, const struct stat *read, struct problem *problem);
