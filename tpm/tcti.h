/*
 * TCTI
 *
 * The driver that reaches a TPM, by a closed list of names: device, swtpm, mssim, tabrmd. There is none that starts a program, and none is ever
 * guessed: without a name the libraries would try one after the other, a TCP port of this machine among them.
 */
#pragma once

#include <tss2/tss2_tcti.h>

#include "common/token.h"

struct tcti_driver {
	const char *name;
	const char *library;
	bool simulation; /* a software TPM: nobody but us starts it or shuts it down in order */
	bool threads;
};

/* Finds the driver that uri ("swtpm:path=/run/x.sock") names; *ret_configuration is what follows the name, borrowed from uri. ERR_USAGE. */
MUST_CHECK enum err tcti_driver_find(const char *uri, const struct tcti_driver **ret_driver,
                                     const char **ret_configuration);

/* Loads the driver's library, for good. ERR_SYSTEM when it is not installed. */
MUST_CHECK enum err tcti_load(const struct tcti_driver *driver);

/* What the sandbox must leave open for uri. ERR_USAGE. */
MUST_CHECK enum err tcti_sandbox(const char *uri, struct token_sandbox *ret_sandbox);

/* Does the device keep the sessions of a connection that was closed? One that a resource manager stands before does not. */
bool tcti_keeps_sessions(const struct tcti_driver *driver, const char *configuration);

/* A connection, allocated with malloc; needs tcti_load. ERR_NO_TOKEN, ERR_NOMEM. */
MUST_CHECK enum err tcti_connect(const struct tcti_driver *driver, const char *configuration,
                                 TSS2_TCTI_CONTEXT **ret_tcti);
