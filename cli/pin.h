/* A PIN for a key: from a file or a pipe when one is named, else from the terminal; never from the command line or the environment. */
#pragma once

#include "cli/problem.h"
#include "common/secret.h"

/* path NULL: the terminal. fresh: asked for twice there. ERR_PIN_NEEDED when nobody can answer, ERR_USAGE when it is too short or too long. */
MUST_CHECK enum err pin_read(const char *path, const char *key_name, bool fresh, struct problem *problem,
                             struct secret **ret_pin);
