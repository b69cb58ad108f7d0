/*
 * TPM errors
 *
 * The only place where a TSS2_RC becomes an enum err. Layers above see the latter alone.
 */
#pragma once

#include <tss2/tss2_common.h>

#include "common/err.h"

enum err tpm_error(TSS2_RC rc);

/* Is rc the TPM's own code? The handle, parameter or session number that a format-1 code carries is not compared. */
bool tpm_error_is(TSS2_RC rc, TSS2_RC code);

/* Was it the TPM that answered (or a resource manager in its name), and not a layer of ours that failed? */
bool tpm_error_is_answer(TSS2_RC rc);
