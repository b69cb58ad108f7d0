/* Guard's hook: what runs tokenctl guard, before a commit or, in a bare repository, before a push is taken. */
#pragma once

#include "cli/problem.h"
#include "common/err.h"

/* Writes it for the repository of the working directory, and says where. One that is there already is left as it is: ERR_EXISTS, unless it is ours. Errors have a sentence. */
MUST_CHECK enum err guard_hook_install(struct problem *problem);

/* Has the repository whose .git this is a pre-commit hook that runs tokenctl guard? ERR_NO_FILE: there is no such repository. */
MUST_CHECK enum err guard_hook_find(const char *git_directory, struct problem *problem, bool *ret_there);
