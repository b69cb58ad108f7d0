/*
 * Options
 *
 * Where a daemon lives: what the command line says, filled up with the places of its mode. Nothing is read or made here.
 */
#pragma once

#include <stdbool.h>

#include "common/err.h"

#define OPTIONS_PATH_MAX 4096U

enum mode {
	MODE_SYSTEM, /* one for the machine: started as root, drops to users of its own */
	MODE_USER, /* one for a user, in the XDG directories */
	MODE_PRIVATE, /* in directories named on the command line: trials and tests */
};

struct options {
	enum mode mode;
	bool configuration_named; /* on the command line: then it has to be there */
	bool check; /* read configuration and policy, say what is wrong, do not serve */
	char state_directory[OPTIONS_PATH_MAX];
	char runtime_directory[OPTIONS_PATH_MAX];
	char configuration[OPTIONS_PATH_MAX];
};

const char *mode_name(enum mode mode);

/* Fills in what the command line left empty. ERR_USAGE when a user's daemon has no XDG_RUNTIME_DIR or HOME to stand in, or a path is too long. */
MUST_CHECK enum err options_complete(struct options *options);
